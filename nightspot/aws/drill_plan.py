"""What a drill on AWS asks of SageMaker: two short jobs on one checkpoint prefix, their worst price, the calls."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.faults import NO_ANSWER, TransientAwsError, code_of
from nightspot.aws.runs.checkpoints import Checkpoints
from nightspot.aws.runs.training_jobs import TrainingJobs
from nightspot.costs.account import hourly_usd
from nightspot.decide import limits
from nightspot.decide.ledger import JobView
from nightspot.failures.classify import Fault, classify
from nightspot.failures.codes import FailureClass
from nightspot.formats.figures import format_duration
from nightspot.formats.statuses import Status
from nightspot.job.errors import InvalidJobError, Problem
from nightspot.job.markets import Market
from nightspot.job.model import Job
from nightspot.plan import planning
from nightspot.run.model import STOP_SECONDS, Progress, Run, Rung

TRAINING_JOBS = 2
ID_CHARACTERS = 12  # more would not fit into a training job's name beside the longest job name
_TOKEN_CHARACTERS = 5
# A queue for a machine is not billed; on-demand GPUs have been seen to take most of an hour.
# fact: sagemaker.capacity.pending.seconds
MOST_WAIT_SECONDS = 2 * 3600

Price = Callable[[str, str], float | None]
"""(instance type, region) -> on-demand USD per instance hour, or None where it is not known."""


@dataclass(frozen=True)
class DrillPlan:
    """A drill that has not begun.

    `run` is its ledger, without attempts; its run id is `drill-ID`, so that names, tags and prefix are built like
    those of any run. `output_uri` is where the two jobs put what they call a model.
    """

    run: Run
    rung: Rung
    max_runtime_seconds: int  # of each job, as SageMaker holds it
    checkpoint_uri: str
    output_uri: str
    to_the_end: bool = False  # job 2 trains until it is complete

    @property
    def most_usd(self) -> float | None:
        """What both jobs cost at most, their stops included; None without a price.

        At the on-demand price in either market: Spot never costs more.
        """
        price = hourly_usd(self.rung)
        if price is None:
            return None
        return TRAINING_JOBS * (self.max_runtime_seconds + STOP_SECONDS) / 3600 * price

    @property
    def price_in_words(self) -> str:
        """ "at most $3.30: two training jobs on 1 x on-demand ml.g5.xlarge, …": one sentence for who has to pay."""
        limit = f"of at most {format_duration(self.max_runtime_seconds)} and a stop each"
        what = f"two training jobs on {self.rung.instance_count} x {self.rung.label}, {limit}"
        if self.most_usd is None:
            return f"{what}; no price is known for {self.rung.instance_type} in {self.rung.region}"
        of_spot = ", which Spot stays below" if self.rung.market is Market.SPOT else ""
        return f"at most ${self.most_usd:,.2f}: {what}, at ${self.rung.usd_per_hour:,.3f} an hour{of_spot}"


def drill_id(now: datetime, token: str) -> str:
    """The drill's own name, from the day and five characters of `token` (random hexadecimal): "261121-3fa9c"."""
    return f"{now:%y%m%d}-{token[:_TOKEN_CHARACTERS]}"


def plan_drill(
    job: Job,
    *,
    drill_id: str,
    region: str,
    now: datetime,
    price: Price,
    market: Market = Market.ON_DEMAND,
    instance_type: str | None = None,
    max_runtime_seconds: int = 3600,
    to_the_end: bool = False,
) -> DrillPlan:
    """The drill of `job`, whose request has no placeholders any more, on its first instance type or on another.

    Raises InvalidJobError for a job without checkpoints: there would be nothing to resume from.
    """
    run_id = f"drill-{drill_id}"
    checkpoint_uri = planning.checkpoint_prefix(job.training_job, run_id)
    if checkpoint_uri is None:
        rule = "must be given: without checkpoints there is nothing to resume from"
        raise InvalidJobError([Problem("training_job.CheckpointConfig.S3Uri", "nothing", rule)], job.name)
    kind = instance_type or _first_type(job, market)
    rung = Rung(market, kind, region, instance_count=job.instance_count, usd_per_hour=price(kind, region))
    output_uri = f"{checkpoint_uri.removesuffix(run_id)}drill-output-{drill_id}"
    request, limit_seconds = _short(job.training_job, max_runtime_seconds, output_uri)
    run = Run(
        job=job.name,
        run_id=run_id,
        execution_arn="",
        started_at=now,
        deadline=now,
        rungs=(rung,),
        work_seconds=job.work_seconds,
        work_upper_seconds=job.work_seconds,
        checkpoint_every_seconds=job.checkpoint_every_seconds,
        checkpoint_s3_uri=checkpoint_uri,
        training_job=request,
    )
    return DrillPlan(run, rung, limit_seconds, checkpoint_uri, output_uri, to_the_end)


def create_request(plan: DrillPlan, run: Run, attempt: int, now: datetime) -> dict[str, Any]:
    """The CreateTrainingJob request of one of the two jobs, 1 or 2, asked for at `now`."""
    request = planning.create_training_job(run, plan.rung, attempt, now)
    # A run's limits come from its work and its deadline; a drill has neither.
    stopping = request["StoppingCondition"]
    stopping["MaxRuntimeInSeconds"] = plan.max_runtime_seconds
    if plan.rung.market is Market.SPOT:
        stopping["MaxWaitTimeInSeconds"] = MOST_WAIT_SECONDS + plan.max_runtime_seconds
    return request


def _first_type(job: Job, market: Market) -> str:
    rungs = job.capacity.rungs_of(market) or (job.capacity.first,)
    return rungs[0].instance_type


def _short(request: dict[str, Any], limit_seconds: int, output_uri: str) -> tuple[dict[str, Any], int]:
    """The job's request as a drill has it, and the limit that holds: the tighter of the user's and the drill's."""
    short = copy.deepcopy(request)
    stopping = short.setdefault("StoppingCondition", {})
    own_seconds: int = stopping.get("MaxRuntimeInSeconds", limits.DEFAULT_RUNTIME_SECONDS)
    stopping["MaxRuntimeInSeconds"] = min(limit_seconds, own_seconds)
    stopping.pop("MaxWaitTimeInSeconds", None)  # made for a whole night
    # A warm pool would go on costing after the drill.
    short.get("ResourceConfig", {}).pop("KeepAlivePeriodInSeconds", None)
    # Stopping a job uploads what it has as its model: nobody may take that for tonight's. Not below the checkpoint
    # prefix, and not a name that begins like it, or job 2 would be given it as a checkpoint.
    short.setdefault("OutputDataConfig", {})["S3OutputPath"] = output_uri
    return short, stopping["MaxRuntimeInSeconds"]


class DrillOutcome(StrEnum):
    """What a drill says of the training script."""

    PASSED = "pass"
    FAILED = "fail"
    NOT_VISIBLE = "not_visible"  # it writes no progress file, so nobody can see where it began


@dataclass(frozen=True)
class AwsDrillVerdict:
    """The outcome, and one sentence of why, with the steps in it."""

    outcome: DrillOutcome
    because: str


@dataclass(frozen=True)
class DrillResult:
    """A drill that is over: its verdict, the ledger of its two jobs, and what it left in S3."""

    verdict: AwsDrillVerdict
    run: Run
    kept: tuple[str, ...]  # S3 URIs below which its files still lie
    notes: tuple[str, ...] = ()


def went_on(saved: int, resumed: int, whither: str) -> AwsDrillVerdict:
    """Job 2 took up the training at step `resumed`, step `saved` being the last that was safe."""
    again = f" (step {saved} was safe; what lies between was trained again)" if resumed < saved else ""
    because = f"job 2 resumed from step {resumed}, saved by job 1{again}, and {whither}"
    return AwsDrillVerdict(DrillOutcome.PASSED, because)


def broken(saved: int, progress: Progress) -> AwsDrillVerdict:
    """Job 2 wrote `progress`, in which nothing follows from step `saved`."""
    began = (
        "started again from zero"
        if progress.resumed_from_step is None
        else f"went back to step {progress.resumed_from_step}"
    )
    because = f"job 2 {began}, although step {saved} was safe in S3: it has now saved step {progress.step}"
    return AwsDrillVerdict(DrillOutcome.FAILED, because)


def no_progress_file(how_long: str) -> AwsDrillVerdict:
    """Job 1 kept files, but not through the library, nor a progress file of its own."""
    because = (
        f"the script writes no nightspot.json: there were files in its checkpoint prefix {how_long}, and nothing "
        "that says which step they hold; save through nightspot.checkpoint, and the drill can see it"
    )
    return AwsDrillVerdict(DrillOutcome.NOT_VISIBLE, because)


def no_word(how_long: str) -> AwsDrillVerdict:
    """The progress file is still the one that job 1 has written."""
    because = f"job 2 wrote nothing into nightspot.json {how_long}, so nobody can see where it began"
    return AwsDrillVerdict(DrillOutcome.NOT_VISIBLE, because)


# How long after a fault that may pass the call is made again; boto3 has repeated it a few times by then.
RETRY_SECONDS = (2, 5, 15, 30)
# fact: s3.delete.count
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
    FailureClass.CONFIGURATION: "fix the request in the job file",
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


class DrillJobs:
    """A drill's training jobs and what they leave in S3. `s3` is boto3's client; `sleep` takes seconds.

    Every method raises DrillError where AWS refuses, in words, after as many tries as are worth it.
    """

    def __init__(self, sagemaker: Any, s3: Any, *, sleep: Callable[[float], None]) -> None:
        self._sagemaker = sagemaker
        self._s3 = s3
        self._sleep = sleep
        self._jobs = TrainingJobs(sagemaker)
        self._checkpoints = Checkpoints(s3, asks_list=False)

    def create(self, request: Mapping[str, Any]) -> None:
        """Start the training job of `request`. Asking twice for one name starts one job."""
        name = request["TrainingJobName"]
        try:
            self._persist(f"cannot start {name}", lambda: self._sagemaker.create_training_job(**request))
        except DrillError as error:
            # Its name is this drill's own, so an earlier try has come through without an answer.
            if code_of(error.__cause__) != "ResourceInUse":
                raise

    def stop(self, name: str) -> bool:
        """Ask for the stop of a training job. True once it is stopping or over, False where there is none."""
        try:
            self._persist(
                f"cannot stop {name}", lambda: self._sagemaker.stop_training_job(TrainingJobName=name)
            )
        except DrillError:
            view = self.view(name)
            if view is not None and view.status == Status.IN_PROGRESS:
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
