"""In which words each event is told, and what a person is advised to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nightspot.failures.codes import FailureClass
from nightspot.failures.explanations import EXPLANATIONS
from nightspot.record.events import OF_OUTCOME, RunEvent
from nightspot.record.model import RecordNotReadableError, RunRecord, read_record
from nightspot.run.model import Action


class Severity(StrEnum):
    """How a message looks at first sight, before it is read."""

    GOOD = "good"
    CAUTION = "caution"
    BAD = "bad"


@dataclass(frozen=True)
class Wording:
    """`subject` follows the job's name in a subject; `headline` is a sentence with `{job}` in it."""

    mood: Severity
    subject: str
    headline: str
    advice: str = ""


_LATE_ADVICE = (
    "So that it does not come again: start the job earlier, let its deadline be later, or name another instance "
    "type under capacity.on_demand."
)

# `RUN_SUCCEEDED`'s is that of a model in time; `LATE` that of one that was not.
WORDINGS: Mapping[RunEvent, Wording] = {
    RunEvent.AT_RISK: Wording(
        Severity.CAUTION,
        "the model may be late",
        "The model of {job} is expected after its deadline.",
        "Notify those who wait for the model. Nightspot goes on with what is fastest. " + _LATE_ADVICE,
    ),
    RunEvent.NO_SPOT_PLANNED: Wording(
        Severity.CAUTION,
        "no Spot is planned any more",
        "Past runs of {job} leave its plan no time for Spot, though its job file does: on-demand starts at once.",
        "Look at the run that sets the limit: `nightspot history` shows what is learnt from which run, and "
        "`--forget RUN` takes one out. If the work has grown, give the job more time. This is told once, not for "
        "each run that follows.",
    ),
    RunEvent.UNKNOWN_FAILURE: Wording(
        Severity.BAD,
        "an unknown failure",
        "SageMaker gave a reason for the end of a training job of {job} that Nightspot does not understand.",
        EXPLANATIONS[FailureClass.UNKNOWN].advice,
    ),
    RunEvent.RESUME_BROKEN: Wording(
        Severity.CAUTION,
        "training did not resume from its checkpoint",
        "A training job of {job} was given a checkpoint and began again from nothing, or far behind it.",
        "Fix how the training script loads its checkpoint; docs/checkpoints.md says how. Tonight nothing is "
        "interrupted any more to save money.",
    ),
    RunEvent.PROGRESS_UNREADABLE: Wording(
        Severity.CAUTION,
        "its progress may not be read",
        "AWS refuses to show Nightspot the progress files of {job}: what is saved is not known.",
        "The run goes on, as if its script wrote none: the work left is estimated by time, and a resume is not "
        "proven. The refusal names who may not do what. Let the roles of the stack's outputs PlanRunRoleArn, "
        "DecideNextStepRoleArn, CloseRunRoleArn and ReconcileRoleArn read: `kms:Decrypt` in the policy of the "
        "bucket's key, `s3:GetObject` and `s3:ListBucket` in the policy of a bucket of another account; "
        "docs/deploy.md has both. `nightspot doctor` checks the roles. The run reads again at its next look. "
        "This is told once for each run.",
    ),
    RunEvent.RUN_SUCCEEDED: Wording(Severity.GOOD, "model ready", "The model of {job} is ready."),
    RunEvent.RUN_FAILED: Wording(
        Severity.BAD, "NO MODEL, the run failed", "There is no new model of {job}: its run failed."
    ),
    RunEvent.RUN_SKIPPED: Wording(
        Severity.CAUTION,
        "no new model, the run was skipped",
        "There is no new model of {job}: the market had nothing in time, and the one before stays.",
        "The job forbids on-demand. `fallback: on_demand` in its file buys a model on such nights.",
    ),
    RunEvent.RUN_STOPPED: Wording(
        Severity.CAUTION,
        "no new model, the run was stopped",
        "There is no new model of {job}: its run was stopped.",
    ),
    RunEvent.RUN_REFUSED: Wording(
        Severity.CAUTION,
        "run refused, nothing was started",
        "A run of {job} was refused: another one of the same job is still going on.",
        "`concurrency: replace` in the job file lets the newer run take the older one's place, `allow` lets both "
        "train.",
    ),
    RunEvent.STOP_REFUSED: Wording(
        Severity.CAUTION,
        "AWS does not stop a training job",
        "AWS keeps refusing to stop a training job of {job}.",
        "Nightspot asks again every five minutes at least, and starts nothing else until it has stopped. Stop it "
        "in the console if you can; where AWS names a missing permission, docs/operate.md says which.",
    ),
    RunEvent.DECISION_FAILING: Wording(
        Severity.CAUTION,
        "Nightspot cannot decide just now",
        "A function that decides for a run of {job} keeps failing. A training job that is running goes on.",
        "Nightspot tries again by itself, every minute at first. Look at AWS's health dashboard and at the "
        "function's log; a mistake in the code can be deployed over, and the run goes on with it.",
    ),
    RunEvent.DECISION_CRASHED: Wording(
        Severity.BAD,
        "THE RUN CRASHED, machines may still be running",
        "The execution of a run of {job} crashed. While there is time for a model, another one goes on with it.",
        "It is tried three times at most, then the run is closed when its training job ends; another message says "
        "how it ended. `nightspot audit` shows where it stands, `nightspot stop RUN` ends it. The execution has "
        "the cause.",
    ),
}

LATE = Wording(
    Severity.CAUTION, "model ready", "The model of {job} is ready, after its deadline.", _LATE_ADVICE
)

# SageMaker says Completed, and the evidence says less: which, stands in the subject.
REMARKED = Wording(
    Severity.CAUTION,
    "model ready",
    "The model of {job} is ready, but check it before you use it.",
    "Read the training log. A script that ends early on purpose is fine; one that saves its last step as well "
    "(`save_if_due` does) shows that it did not.",
)

# What a closing message says had happened before the end. How often the machine was taken back is counted.
HAD_HAPPENED: Mapping[RunEvent, str] = {
    RunEvent.INTERRUPTED: "Spot interrupted the training {interruptions} times.",
    RunEvent.FELL_BACK: "It fell back to on-demand.",
    RunEvent.NO_SPOT_PLANNED: "Past runs left its plan no time for Spot.",
    RunEvent.AT_RISK: "It was expected to be late.",
    RunEvent.UNKNOWN_FAILURE: "A training job ended for an unknown reason.",
    RunEvent.RESUME_BROKEN: "Training did not continue from its checkpoint.",
    RunEvent.PROGRESS_UNREADABLE: "AWS refused to show its progress files.",
    RunEvent.STOP_REFUSED: "AWS refused for a while to stop a training job.",
    RunEvent.DECISION_FAILING: "Nightspot could not decide for some minutes.",
    RunEvent.DECISION_CRASHED: "Nightspot had lost hold of the run.",
}


class NotifyWhen(StrEnum):
    """When a person hears of an event."""

    AT_ONCE = "at once"  # and the closing message follows, whatever the end
    AT_THE_END = "in the closing message"
    UNLESS_QUIET = "in the closing message, unless the run was quiet"
    NEVER = "never"


NOTIFY_WHEN: Mapping[RunEvent, NotifyWhen] = {
    RunEvent.RUN_STARTED: NotifyWhen.NEVER,
    RunEvent.NO_SPOT_PLANNED: NotifyWhen.AT_ONCE,
    RunEvent.ATTEMPT_STARTED: NotifyWhen.NEVER,
    # The daily bread of Spot: no reason for a message, though every message counts them.
    RunEvent.INTERRUPTED: NotifyWhen.NEVER,
    RunEvent.FELL_BACK: NotifyWhen.AT_THE_END,
    RunEvent.AT_RISK: NotifyWhen.AT_ONCE,
    RunEvent.UNKNOWN_FAILURE: NotifyWhen.AT_ONCE,
    RunEvent.RESUME_BROKEN: NotifyWhen.AT_ONCE,
    RunEvent.PROGRESS_UNREADABLE: NotifyWhen.AT_ONCE,
    RunEvent.RUN_SUCCEEDED: NotifyWhen.UNLESS_QUIET,
    RunEvent.RUN_FAILED: NotifyWhen.AT_THE_END,
    RunEvent.RUN_SKIPPED: NotifyWhen.AT_THE_END,
    RunEvent.RUN_STOPPED: NotifyWhen.AT_THE_END,
    RunEvent.RUN_REFUSED: NotifyWhen.AT_THE_END,
    RunEvent.STOP_REFUSED: NotifyWhen.AT_ONCE,
    RunEvent.DECISION_FAILING: NotifyWhen.AT_ONCE,
    # The run is closed when its training job has ended, and that is told then.
    RunEvent.DECISION_CRASHED: NotifyWhen.AT_ONCE,
}

CLOSING = frozenset(OF_OUTCOME.values())
_LOUD = {NotifyWhen.AT_ONCE, NotifyWhen.AT_THE_END}


def run_event_of(detail_type: str) -> RunEvent | None:
    """The event behind an EventBridge detail type; None for one that is not Nightspot's."""
    return next((run_event for run_event in RunEvent if run_event.detail_type == detail_type), None)


def may_be_told(run_event: RunEvent) -> bool:
    """Whether its notices can become messages: the end of a run, and what is told at once."""
    return run_event in CLOSING or NOTIFY_WHEN[run_event] is NotifyWhen.AT_ONCE


def is_told(run_event: RunEvent, detail: Mapping[str, Any], *, tell_success: bool = False) -> bool:
    """Whether the notice of `run_event` with this detail becomes a message.

    What the last decision of a run brings to light is left to the closing message, which comes seconds later.
    `tell_success`: quiet successes are told as well.
    """
    if run_event not in CLOSING:
        return NOTIFY_WHEN[run_event] is NotifyWhen.AT_ONCE and detail.get("action") != Action.FINISH.value
    if NOTIFY_WHEN[run_event] is not NotifyWhen.UNLESS_QUIET:
        return True
    return tell_success or not is_quiet(detail)


def is_quiet(detail: Mapping[str, Any]) -> bool:
    """Whether a success is one that nobody needs to hear of: in time, without a remark, and nothing loud before."""
    run = run_of(detail)
    in_time = run is not None and run.deadline_met and not run.remarks
    return in_time and not any(NOTIFY_WHEN[run_event] in _LOUD for run_event in happened(detail))


def happened(detail: Mapping[str, Any]) -> tuple[RunEvent, ...]:
    """What `record_outcome` says had happened in the run, by the names that this version knows."""
    known = {run_event.value for run_event in RunEvent}
    return tuple(RunEvent(name) for name in detail.get("happened", ()) if name in known)


def run_of(detail: Mapping[str, Any]) -> RunRecord | None:
    """The run in the detail of a closing notice; None where it has none, or none that can be read."""
    summary = detail.get("summary")
    if not isinstance(summary, Mapping):
        return None
    try:
        return read_record(summary)
    except RecordNotReadableError:
        return None
