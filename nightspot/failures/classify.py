"""What a failure was: every way in which SageMaker says "no" gets one class, and every class one answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from nightspot.failures import texts
from nightspot.failures.codes import START_UNANSWERED, FailureClass
from nightspot.failures.redaction import MAX_REASON_CHARACTERS, redact
from nightspot.formats.statuses import Secondary, Status
from nightspot.job.markets import Market

__all__ = ["MAX_REASON_CHARACTERS", "RESPONSES", "Failure", "Fault", "Response", "classify", "redact"]


class Response(StrEnum):
    """What a run does about a class of failure."""

    MARKET = "market"  # try again, on the rung that the deadline allows
    WITHOUT_RUNG = "without_rung"  # the same, never on this rung again
    BACK_OFF = "back_off"  # try the same again, later and later
    RETRY = "retry"  # try the same again, at most twice
    IF_PROGRESS = "if_progress"  # after a newer checkpoint as for the market; without one, end the run
    FINISH = "finish"  # end the run; buy nothing more


# What an answer depends on beside the class is in `limits.response_to`.
# fact: sagemaker.refusal.*
RESPONSES: dict[FailureClass, Response] = {
    FailureClass.NO_CAPACITY: Response.MARKET,
    FailureClass.INTERRUPTED: Response.MARKET,
    FailureClass.WAIT_LIMIT: Response.MARKET,
    FailureClass.STOPPED_BY_NIGHTSPOT: Response.MARKET,
    FailureClass.QUOTA_TEMPORARY: Response.MARKET,
    FailureClass.QUOTA_PERMANENT: Response.WITHOUT_RUNG,
    FailureClass.THROTTLED: Response.BACK_OFF,
    FailureClass.SERVICE_FAULT: Response.RETRY,
    FailureClass.RUNTIME_LIMIT: Response.IF_PROGRESS,
    FailureClass.USER_CODE: Response.FINISH,
    FailureClass.OUT_OF_MEMORY: Response.FINISH,
    FailureClass.CONFIGURATION: Response.FINISH,
    FailureClass.PERMISSION: Response.FINISH,
    FailureClass.STOPPED_BY_PERSON: Response.FINISH,
    FailureClass.UNKNOWN: Response.FINISH,
}


@dataclass(frozen=True)
class Fault:
    """An AWS call that was refused: Step Functions' error name and cause, or boto3's code and message.

    Of CreateTrainingJob it is `SageMaker.` and AWS's code, and a cause that ends with the HTTP status
    (`lambdas/start_training_job.py`), or START_UNANSWERED. Workflows of before call it themselves, and have
    `SageMaker.SageMakerException` for most codes.
    """

    error: str
    cause: str = ""


# Nothing is known of the training job after one of these: it may exist although CreateTrainingJob failed.
_IN_DOUBT = frozenset({FailureClass.SERVICE_FAULT, FailureClass.THROTTLED, FailureClass.UNKNOWN})
_A_REFUSAL = re.compile(r"Status Code: 4\d\d\b")
# fact: sagemaker.name.reuse
_EXISTS = re.compile(r"(?:.*\.)?ResourceInUse(?:Exception)?")


@dataclass(frozen=True)
class Failure:
    """The class, and AWS's words with what must not be stored taken out.

    `quota_market`: whose quota it was, for the two quota classes; None where the text does not say.
    """

    failure: FailureClass
    reason: str
    quota_market: Market | None = None


# What the secondary status alone says; the same names stand in SecondaryStatusTransitions.
# fact: sagemaker.spot.neverlaunched, sagemaker.maxruntime.end
_BY_SECONDARY: Mapping[str, FailureClass] = {
    Secondary.MAX_WAIT_TIME_EXCEEDED: FailureClass.WAIT_LIMIT,
    Secondary.MAX_RUNTIME_EXCEEDED: FailureClass.RUNTIME_LIMIT,
    Secondary.INTERRUPTED: FailureClass.INTERRUPTED,
}
_ENDS = {Secondary.FAILED, Secondary.STOPPED, Secondary.COMPLETED}
_WAITING = {
    Secondary.STARTING,
    Secondary.PENDING,
    Secondary.LAUNCHING_ML_INSTANCES,
    Secondary.PREPARING_TRAINING_STACK,
    Secondary.RESTARTING,
}
# AWS's words that explain a stop better than "somebody did it".
_STOPS_OF_SAGEMAKER = {
    FailureClass.NO_CAPACITY,
    FailureClass.INTERRUPTED,
    FailureClass.RUNTIME_LIMIT,
    FailureClass.WAIT_LIMIT,
}
# A fault as people paste it: the name, a colon, and a cause that is JSON.
_PASTED_FAULT = re.compile(r"\s*(?P<error>(?:States|SageMaker|Lambda)\.\w+)\s*:\s*(?=\{)")


def classify(
    *,
    status: str | None = None,
    secondary_status: str | None = None,
    failure_reason: str | None = None,
    fault: Fault | None = None,
    transitions: Sequence[str] = (),
    stop_requested: bool = False,
) -> Failure:
    """The class of a training job's end or of a refused call. Never raises, and `Stopped` is never success.

    `failure_reason` and a fault's cause may be JSON (DescribeTrainingJob, Step Functions' `{"Error", "Cause"}`).
    `transitions`: the names in SecondaryStatusTransitions, oldest first; they settle what status and reason leave
    open. `stop_requested`: Nightspot itself asked for the stop. What is not understood is UNKNOWN.
    """
    if fault is not None:
        return _of_fault(fault, stop_requested)
    reason = failure_reason or ""
    pasted = _PASTED_FAULT.match(reason)
    if pasted:
        return _of_fault(Fault(pasted["error"], reason[pasted.end() :]), stop_requested)
    words = texts.parse(reason)
    if isinstance(words, texts.FaultWords):
        return _of_fault(Fault(words.error, words.cause), stop_requested)
    if words is None:
        words = texts.JobWords(None, None, reason)
    job = texts.JobWords(
        words.status or status,
        words.secondary_status or secondary_status,
        words.failure_reason,
        tuple(transitions) or words.transitions,
    )
    return _of_job(job, stop_requested)


def says_it_exists(fault: Fault) -> bool:
    """Whether CreateTrainingJob was refused because there is a training job of that name already: our own."""
    return _EXISTS.fullmatch(fault.error.strip()) is not None


def of_start(fault: Fault) -> tuple[Failure, bool]:
    """The class of a refused CreateTrainingJob, and whether the training job may exist all the same.

    A 5xx, a time-out, a throttle (one of the SDK's own repetitions may have gone through) and what nobody
    understands leave that open; AWS's refusal of the request does not.
    """
    failure = classify(fault=fault)
    if failure.failure not in {*_IN_DOUBT, FailureClass.USER_CODE} and texts.is_server_fault(fault.cause):
        # Whatever the code's name says; but a training script may say anything.
        failure = replace(failure, failure=FailureClass.SERVICE_FAULT)
    if failure.failure is FailureClass.RUNTIME_LIMIT:
        # The call's own time-out, not a training job's.
        failure = replace(failure, failure=FailureClass.SERVICE_FAULT)
    refused = failure.failure is FailureClass.UNKNOWN and _A_REFUSAL.search(fault.cause) is not None
    return failure, failure.failure in _IN_DOUBT and not refused


def _of_fault(fault: Fault, stop_requested: bool) -> Failure:
    if fault.error.strip() == START_UNANSWERED:
        # What ended the function tells nothing of SageMaker, whatever it is called.
        said = ": ".join(filter(None, (START_UNANSWERED, texts.innermost(fault.cause))))
        return Failure(FailureClass.SERVICE_FAULT, redact(said))
    words = texts.parse(fault.cause)
    if isinstance(words, texts.FaultWords):
        return _of_fault(Fault(words.error or fault.error, words.cause), stop_requested)
    if words is not None:
        failure = _of_job(words, stop_requested)
        said = failure.reason or f"{words.status}/{words.secondary_status}"
        return Failure(failure.failure, redact(f"{fault.error}: {said}"), failure.quota_market)
    error = fault.error.strip()
    said = ": ".join(filter(None, (error, fault.cause)))
    if re.fullmatch(r"[\w.#-]*", error) is None:
        # Some callers pass a whole sentence for the name.
        return classify(failure_reason=said, stop_requested=stop_requested)
    verdict = texts.read(fault.cause, error)
    if verdict.failure is FailureClass.UNKNOWN and not fault.cause.strip():
        verdict = texts.read(error)  # a status, or the name that a FailureReason starts with
    return Failure(_own_stop(verdict.failure, stop_requested), redact(said), verdict.quota_market)


def _of_job(job: texts.JobWords, stop_requested: bool) -> Failure:
    verdict = texts.read(job.failure_reason)
    failure = verdict.failure
    if job.status in {Status.STOPPED, Status.STOPPING}:
        failure = _of_stopped(job, failure, stop_requested)
    elif not job.failure_reason.strip() or (
        job.status == Status.IN_PROGRESS and failure is FailureClass.UNKNOWN
    ):
        failure = _BY_SECONDARY.get(job.secondary_status or "") or _of_transitions(job.transitions) or failure
        if job.status is None and job.secondary_status in {Secondary.STOPPED, Secondary.STOPPING}:
            failure = _of_stopped(job, failure, stop_requested)
    market = verdict.quota_market if failure is verdict.failure else None
    return Failure(_own_stop(failure, stop_requested), redact(job.failure_reason), market)


def _of_stopped(job: texts.JobWords, said: FailureClass, stop_requested: bool) -> FailureClass:
    by_sagemaker = _BY_SECONDARY.get(job.secondary_status or "")
    if by_sagemaker is None and not stop_requested:
        by_sagemaker = _of_transitions(job.transitions)
        if by_sagemaker is None and said in _STOPS_OF_SAGEMAKER:
            by_sagemaker = said
    return by_sagemaker or FailureClass.STOPPED_BY_PERSON


def _own_stop(failure: FailureClass, stop_requested: bool) -> FailureClass:
    if failure is FailureClass.STOPPED_BY_PERSON and stop_requested:
        return FailureClass.STOPPED_BY_NIGHTSPOT
    return failure


def _of_transitions(transitions: Sequence[str]) -> FailureClass | None:
    """What a job's own history says of its end: a limit, or an interruption after which no machine came back.

    A stop that somebody asked for passes through `Stopping`, which ends the search.
    """
    for status in reversed(transitions):
        if status in _BY_SECONDARY:
            return _BY_SECONDARY[status]
        if status not in _ENDS and status not in _WAITING:
            return None
    return None
