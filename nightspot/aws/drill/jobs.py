"""Makes a drill's calls to SageMaker and S3: which are repeated, and how a refusal is told in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.faults import NO_ANSWER, TransientAwsError
from nightspot.aws.runs import training_jobs
from nightspot.aws.runs.checkpoints import Checkpoints
from nightspot.aws.runs.training_jobs import TrainingJobs
from nightspot.decide.ledger import JobView
from nightspot.failures.classes import FailureClass
from nightspot.failures.classify import Fault, classify
from nightspot.run.model import Progress

# How long after a fault that may pass the call is made again; boto3 has repeated it a few times by then.
RETRY_SECONDS = (2, 5, 15, 30)
_PAGE = 1000  # the most that DeleteObjects takes

_PASSING = {FailureClass.THROTTLED, FailureClass.SERVICE_FAULT}

T = TypeVar("T")

HINTS: Mapping[FailureClass, str] = {
    FailureClass.NO_CAPACITY: "AWS has no machine of this type: try later, or --instance-type or --market",
    FailureClass.INTERRUPTED: "Spot took the machine: try again, or --market on_demand",
    FailureClass.WAIT_LIMIT: "no machine came in time: try later, or --instance-type or --market",
    FailureClass.RUNTIME_LIMIT: "the job's time was used up: give it more with --max-minutes",
    FailureClass.QUOTA_TEMPORARY: "the quota is in use: wait until other jobs have ended, or --instance-type",
    FailureClass.QUOTA_PERMANENT: "the account's quota is too small: ask in Service Quotas, or --instance-type",
    FailureClass.THROTTLED: "AWS asks for fewer calls: try again in a few minutes",
    FailureClass.SERVICE_FAULT: "the fault is AWS's own: try again in a few minutes",
    FailureClass.USER_CODE: "the training script failed: its log is in /aws/sagemaker/TrainingJobs",
    FailureClass.OUT_OF_MEMORY: "the machine's memory is too small for it: try --instance-type",
    FailureClass.CONFIGURATION: "mend the request in the job file",
    FailureClass.PERMISSION: "check the credentials (--profile), their permissions and those of the training role",
    FailureClass.STOPPED_BY_PERSON: "somebody else stopped the training job",
    FailureClass.STOPPED_BY_NIGHTSPOT: "the drill itself stopped the training job",
    FailureClass.UNKNOWN: "Nightspot does not know this refusal",
}


class DrillError(Exception):
    """A drill could not be carried out; says nothing about the training script."""

    def __init__(self, message: str, failure: FailureClass) -> None:
        super().__init__(message)
        self.failure = failure


class SageMakerClient(training_jobs.SageMakerClient, Protocol):
    """The part of boto3's SageMaker client that is used here."""

    def create_training_job(self, **request: Any) -> dict[str, Any]: ...


class DrillJobs:
    """A drill's training jobs and what they leave in S3. `s3` is boto3's client; `sleep` takes seconds.

    Every method raises DrillError where AWS refuses, in words, after as many tries as are worth it.
    """

    def __init__(self, sagemaker: SageMakerClient, s3: Any, *, sleep: Callable[[float], None]) -> None:
        self._sagemaker = sagemaker
        self._s3 = s3
        self._sleep = sleep
        self._jobs = TrainingJobs(sagemaker)
        self._checkpoints = Checkpoints(s3)

    def create(self, request: Mapping[str, Any]) -> None:
        """Start the training job of `request`. Asking twice for one name starts one job."""
        name = request["TrainingJobName"]
        try:
            self._persist(f"cannot start {name}", lambda: self._sagemaker.create_training_job(**request))
        except DrillError as error:
            # Its name is this drill's own, so an earlier try has come through without an answer.
            if not _is_in_use(error.__cause__):
                raise

    def stop(self, name: str) -> bool:
        """Ask for the stop of a training job. True once it is stopping or over, False where there is none."""
        try:
            self._persist(
                f"cannot stop {name}", lambda: self._sagemaker.stop_training_job(TrainingJobName=name)
            )
        except DrillError:
            view = self.view(name)
            if view is not None and view.status == "InProgress":
                raise
            return view is not None
        return True

    def view(self, name: str) -> JobView | None:
        """The training job as it is now; None where SageMaker does not know it."""
        return self._persist(f"cannot see {name}", lambda: self._jobs.describe(name))

    def progress(self, uri: str) -> Progress | None:
        """What is durable below `uri`; None where no progress file says so."""
        return self._persist(f"cannot read {uri}", lambda: self._checkpoints.progress(uri))

    def has_files(self, uri: str) -> bool:
        """Whether anything at all lies below `uri`."""
        return self._persist(f"cannot list {uri}", lambda: next(self._keys(uri), None) is not None)

    def delete(self, uri: str) -> int:
        """Delete every object below `uri`, and say how many; in a versioned bucket their versions stay."""
        return self._persist(f"cannot delete {uri}", lambda: self._delete_below(uri))

    def _delete_below(self, uri: str) -> int:
        keys = list(self._keys(uri))
        for start in range(0, len(keys), _PAGE):
            objects = [{"Key": key} for key in keys[start : start + _PAGE]]
            answer = self._s3.delete_objects(
                Bucket=urlsplit(uri).netloc, Delete={"Objects": objects, "Quiet": True}
            )
            for refused in answer.get("Errors", ()):
                raise ClientError({"Error": refused}, "DeleteObjects")
        return len(keys)

    def _keys(self, uri: str) -> Iterator[str]:
        parts = urlsplit(uri)
        # With the slash: without it, a prefix that only begins like this one would be found too.
        prefix = f"{parts.path.strip('/')}/"
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=parts.netloc, Prefix=prefix):
            yield from (entry["Key"] for entry in page.get("Contents", ()))

    def _persist(self, what: str, call: Callable[[], T]) -> T:
        """The call's answer; once more after each of RETRY_SECONDS while its fault is one that may pass."""
        for pause in (*RETRY_SECONDS, None):
            try:
                return call()
            except (ClientError, BotoCoreError, TransientAwsError) as error:
                refused = refusal(what, error)
                if pause is None or refused.failure not in _PASSING:
                    raise refused from error
            self._sleep(pause)
        raise AssertionError("the last try answers or raises")


def refusal(what: str, error: ClientError | BotoCoreError | TransientAwsError) -> DrillError:
    """ "cannot start X: AWS's words (a hint)", with what must not be shown taken out of AWS's words."""
    cause = (error.__cause__ or error) if isinstance(error, TransientAwsError) else error
    code, message = type(cause).__name__, str(cause)
    if isinstance(cause, ClientError):
        details = cause.response.get("Error", {})
        code, message = details.get("Code", code), details.get("Message", message)
    said = classify(fault=Fault(code, message))
    failure = said.failure
    if isinstance(error, (TransientAwsError, *NO_ANSWER)) and failure not in _PASSING:
        failure = FailureClass.SERVICE_FAULT
    return DrillError(told(what, said.reason, failure), failure)


def told(what: str, reason: str | None, failure: FailureClass) -> str:
    """One line of what happened, AWS's reason where there is one, and what to do about it."""
    return ": ".join(part.rstrip(" .") for part in (what, reason or "") if part) + f" ({HINTS[failure]})"


def _is_in_use(error: BaseException | None) -> bool:
    return isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") == "ResourceInUse"
