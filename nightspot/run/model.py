"""The ledger of one run: what was asked of SageMaker, what came of it, and what is decided next.

Plain frozen records that travel through the state machine as JSON. Every time is an aware UTC datetime,
every duration is in seconds, every amount in USD.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, TypeVar

from nightspot.failures.codes import FailureClass
from nightspot.job.code_version import CodeVersion
from nightspot.job.markets import Fallback, Market, Policy
from nightspot.run.pricing import Basis, PriceSource
from nightspot.run.reasons import Figures, Reason, sentence

# fact: sagemaker.stop.signal.seconds, sagemaker.stop.waiting.seconds, sagemaker.stop.starting.seconds
# fact: sagemaker.stop.training.seconds
STOP_SECONDS = 180  # StopTrainingJob: SIGTERM, 120 s, SIGKILL, and the upload after it
# Ten years: a longer estimate comes from a number that cannot be true, and dates end.
MOST_WORK_SECONDS = 10 * 365 * 24 * 3600.0
CONSOLE = "console"  # who asks for a run that does not say
BEFORE_THE_FIRST = 0  # the attempt of a progress file that another run has left


class AttemptState(StrEnum):
    """Where a training job stands, as far as a decision cares."""

    ASKED = "asked"  # CreateTrainingJob was handed to the state machine; not yet seen
    WAITING = "waiting"  # no machine: queueing, or interrupted and queueing again
    STARTING = "starting"  # has a machine: downloading the image, data and checkpoint
    TRAINING = "training"
    STOPPING = "stopping"
    ENDED = "ended"


class StopCall(StrEnum):
    """What became of the newest StopTrainingJob of an attempt."""

    ASKED = "asked"  # the state machine calls it; the next decision knows more
    REFUSED = "refused"
    ACCEPTED = "accepted"


class Action(StrEnum):
    """What the state machine does next."""

    START = "start"
    WATCH = "watch"
    STOP = "stop"
    PAUSE = "pause"
    FINISH = "finish"


class Outcome(StrEnum):
    """How a run ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"  # the market had nothing and the job forbids on-demand: yesterday's model stays
    STOPPED = "stopped"  # a person stopped the training job, or a newer run took this one's place
    REFUSED = "refused"  # another run holds the job: nothing was started


class Remark(StrEnum):
    """What is odd about a success."""

    UNFINISHED_STEPS = "unfinished_steps"  # the last checkpoint is not of the last step
    MODEL_EMPTY = "model_empty"  # the artefact has no file with a byte in it
    MODEL_MISSING = "model_missing"


class Resume(StrEnum):
    """Whether training went on from its checkpoint after it was cut short."""

    PROVEN = "proven"  # the progress file says so
    BROKEN = "broken"  # it began again from nothing, or much further back than the newest checkpoint
    NOT_VISIBLE = "not_visible"  # the script writes no progress file


@dataclass(frozen=True)
class Rung:
    """One way to get a machine."""

    market: Market
    instance_type: str
    region: str
    instance_count: int = 1
    speed: float = 1.0  # work done per second, relative to the rung for which `work` is stated
    usd_per_hour: float | None = None  # on-demand price of one instance; None: not known
    change_over_seconds: int = 600  # upper estimate: queue, start, restore
    patience_seconds: int = 1800  # how long to wait for a machine before the next rung gets its turn
    mean_life_seconds: float | None = None  # of a Spot machine, learnt from past runs
    price_source: PriceSource | None = None  # who says `usd_per_hour`; None: nobody, or not recorded
    price_date: date | None = None  # when it held
    price_assumed: bool = False  # no price list stands behind it
    # What an instance bought on-demand adds to an hour's bill at least, while the account's Savings Plans are idle;
    # the list price where other work is known to use them up. None: no plan covers it, or an older version, which
    # recorded a plan's rate. At most it adds `usd_per_hour`.
    least_usd_per_hour: float | None = None
    # Spot alone: the part of the price that it is expected to save, 0..1, and how that came to be.
    spot_discount: float | None = None
    spot_discount_basis: Basis | None = None

    @property
    def label(self) -> str:
        return self.market.of(self.instance_type)

    @property
    def key(self) -> tuple[Market, str]:
        """What makes a rung itself; price and estimates may change."""
        return (self.market, self.instance_type)


@dataclass(frozen=True)
class LeftOut:
    """A rung that this run does without, and why."""

    rung: Rung
    because: str


@dataclass(frozen=True)
class LimitingRun:
    """The past run because of which a plan leaves Spot no turn, though the job file's figures would."""

    run_id: str
    seconds: float  # that its training took, at speed 1; or its start on on-demand
    is_start: bool = False
    is_new: bool = True  # the plan before had Spot: people hear of it


@dataclass(frozen=True)
class Progress:
    """What a progress file in the checkpoint prefix says is durable."""

    step: int
    saved_at: datetime
    total_steps: int | None = None
    fraction: float | None = None  # 0..1
    seconds_per_step: float | None = None  # measured during `attempt`
    attempt: int | None = None  # 0: one of the run that this one resumes
    resumed_from_step: int | None = None  # where `attempt` took up the training
    process_started_at: datetime | None = None  # of the process that wrote it: each machine has its own
    metrics: Mapping[str, float] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()  # what the file says besides and what cannot be true, see `progress_file`
    # Which of the processes that wrote progress files here, from 1 on, and which of its files. None: an older
    # library, or a script without it.
    process: int | None = None
    number: int | None = None
    trackers: Mapping[str, str] = field(
        default_factory=dict
    )  # pages of the run in MLflow or Weights & Biases

    def is_older_than(self, other: Progress) -> bool:
        """Whether `other` was written later; where one of the two has no number, it is not known to be.

        By numbers, because each machine has a clock of its own. But a process that began later and counts from 1
        again has found its checkpoints gone, and is the newer one.
        """
        if self.process is None or other.process is None:
            return False
        mine, its = self.process_started_at, other.process_started_at
        began_later = mine is not None and its is not None and mine > its
        numbers = self.process, self.step, self.number or 0
        return numbers < (other.process, other.step, other.number or 0) and not began_later


@dataclass(frozen=True)
class RunRemark:
    """A remark on a run that succeeded, in words."""

    kind: Remark
    text: str  # "finished at step 3 of 24"


@dataclass(frozen=True)
class Phase:
    """A stretch of an attempt in one state. On record beside the ledger, which carries the sums alone."""

    state: AttemptState
    started_at: datetime
    ended_at: datetime | None = None  # None: it is still in it


@dataclass(frozen=True)
class Doubt:
    """CreateTrainingJob failed in a way that leaves open whether the training job exists."""

    failure: FailureClass
    reason: str  # redacted
    calls: int = 1  # that failed so, one after the other


@dataclass(frozen=True)
class Attempt:
    """One training job, from the asking to its end."""

    number: int
    rung: Rung
    training_job_name: str
    asked_at: datetime
    state: AttemptState = AttemptState.ASKED
    status: str | None = None  # AWS's TrainingJobStatus
    secondary_status: str | None = None  # AWS's SecondaryStatus
    state_since: datetime | None = None
    ended_at: datetime | None = None
    stop_requested_at: datetime | None = None
    stop_call: StopCall | None = None
    stop_faults: int = 0  # StopTrainingJob calls that AWS refused
    # CreateTrainingJob is asked for again under the same name while it is in doubt whether the job exists.
    asked_last_at: datetime | None = None  # None: asked once, at `asked_at`
    doubt: Doubt | None = None  # None: there is none
    unseen_since: datetime | None = None  # SageMaker has not answered what it is since then
    unsettled: bool = False  # closed without being seen to its end; its bill is read later
    failure: FailureClass | None = None
    failure_reason: str | None = None  # redacted
    failed_in: str | None = None  # the secondary status in which it failed
    ended_waiting: bool = False  # it had no machine when it ended
    queued_seconds: float | None = None  # from the asking to the first machine; None: never had one
    ready_seconds: float | None = None  # from the asking to the first training
    waited_seconds: float = 0.0
    trained_seconds: float = 0.0  # with a machine, its downloads included: as SageMaker counts
    worked_seconds: float | None = None  # in Training alone; None: not known
    billable_seconds: float | None = None  # already discounted by SageMaker; None: not reported
    interruptions: int = 0
    fruitless_interruptions: int = 0  # the newest in a row, without a new checkpoint between them
    # How far the durable checkpoint was when it was last seen to move: a step, or a fraction where no steps are
    # visible; and `trained_seconds` then: what came after it may be in vain.
    safe_point: float = 0.0
    safe_seconds: float = 0.0
    step_before: int | None = None  # the durable step when it was asked for
    step_after: int | None = None  # the durable step it left behind
    resumed_from_step: int | None = None  # what the training script says it resumed from
    resume: Resume | None = None  # None: there was nothing to resume from
    model_artifact: str | None = None  # S3 URI
    max_runtime_seconds: float | None = None  # its own limit, as SageMaker shows it; None: not shown
    seconds_per_step: float | None = None  # pace on this rung
    best_seconds_per_step: float | None = None  # the best that it has shown

    @property
    def is_open(self) -> bool:
        """True until SageMaker says it is over."""
        return self.state is not AttemptState.ENDED

    @property
    def last_asked_at(self) -> datetime:
        """When CreateTrainingJob was called the last time."""
        return self.asked_last_at or self.asked_at

    @property
    def was_created(self) -> bool:
        """True once SageMaker has shown the training job."""
        return self.status is not None

    def seconds_in_state(self, now: datetime) -> float:
        return (now - (self.state_since or self.asked_at)).total_seconds()


class _Sentence:
    """A step's `because`: the text that it was given, else made of its reason and figures whenever it is read."""

    def __get__(self, step: Step | None, _owner: type) -> str:
        if step is None:
            return ""  # the field's default
        given: str = step.__dict__["because"]
        return given if given or step.reason is None else sentence(step.reason, step.figures, step.at)

    def __set__(self, step: Step, text: str) -> None:
        step.__dict__["because"] = text


_SENTENCE: Any = _Sentence()


@dataclass(frozen=True)
class Step:
    """One decision. `because` says `reason` and its figures in a sentence, see `reasons`."""

    number: int
    at: datetime
    action: Action
    because: str = _SENTENCE
    reason: Reason | None = None  # None: an older version decided it
    figures: Figures = field(default_factory=dict)  # the numbers that decided
    attempt: int | None = None
    training_job_name: str | None = None
    rung: Rung | None = None  # start: what to start
    wait_seconds: int | None = None  # start, watch, stop: until the next look; pause: its length
    outcome: Outcome | None = None  # finish
    late: bool = False  # the model is expected after the deadline
    request: Mapping[str, Any] | None = None  # start: the CreateTrainingJob request
    # What the decision saw; written down with it, and not carried on.
    progress: Progress | None = None
    last_safe_at: datetime | None = None  # until when Spot may be waited for, as of this decision


@dataclass(frozen=True)
class Run:
    """The ledger: plan, attempts and durable progress of one night."""

    job: str
    run_id: str
    execution_arn: str
    started_at: datetime
    deadline: datetime
    rungs: tuple[Rung, ...]  # Spot best first, then on-demand best first
    work_seconds: float  # expected, at speed 1
    work_upper_seconds: float  # planned for, at speed 1
    checkpoint_every_seconds: int
    checkpoint_s3_uri: str | None  # this run's own prefix, shared by its attempts; None: no checkpoints
    training_job: Mapping[str, Any]  # the user's CreateTrainingJob request
    environment: str = ""  # the deployment's; "": of a version that knew none, or on one machine
    fallback: Fallback = Fallback.ON_DEMAND
    budget_usd: float | None = None
    budget_of: str = "run"  # whose money is the tighter: the "run"'s own, or what is left of the "month"'s
    # The month's budget, until the run has its turn and its share: until then `budget_usd` is the most it may get.
    month_budget_usd: float | None = None
    work_key: str = ""  # the same for runs with the same work to do
    policy: Policy = Policy.PATIENT
    stop_seconds: int = STOP_SECONDS
    left_out: tuple[LeftOut, ...] = ()  # rungs that the plan found to be of no use
    overrides: Mapping[str, Any] = field(default_factory=dict)  # what this run's input changed of the job
    scheduled_at: datetime | None = None  # when it should have started; the deadline is counted from here
    requested_by: str = CONSOLE  # "schedule", "api: arn:aws:sts::…", "ci: owner/repo#run"
    resume_from: str | None = None  # the run on whose checkpoints it goes on
    inherited: Progress | None = None  # what the progress file of that run says, as that run wrote it
    inherited_fraction: float = (
        0.0  # of the work, by that run's own estimate, where no progress file says more
    )
    # What past runs of the same work teach of it: training time before the first step and after the last, at
    # speed 1, and the share of `Progress.total_steps` that it comes to, where training stops early.
    overhead_seconds: float = 0.0
    steps_share: float = 1.0
    limited_by: LimitingRun | None = None
    code: CodeVersion | None = (
        None  # that all its attempts train with; None: the image's own, or not recorded
    )
    trackers: Mapping[str, str] = field(default_factory=dict)  # pages that the job file names, by tracker
    plan_note: str | None = None  # what a person should know of the plan: a late start, a resumed run
    locked: bool = False  # it holds the job's lock, and must renew and release it
    prefix_locked: bool = False  # and that of the checkpoints on which it goes on
    waits_for_run: str | None = None  # the older run that it replaces, until that one has ended
    replaced_by: str | None = None  # the newer run that takes its place
    stop_asked_by: str | None = None  # who wants the run to end, whatever it is doing just now
    refused_because: str | None = None
    attempts: tuple[Attempt, ...] = ()
    progress: Progress | None = None
    furthest_step: int = 0  # the highest durable step that was ever seen
    # The longest that a training was seen to go on with nothing newer in S3: the interval between two checkpoints
    # and their upload, as it really is.
    behind_seconds: float = 0.0
    progress_unreadable: str | None = None  # why AWS refused to show the progress, the first time; redacted
    # The lowest mean pace of an uninterrupted stretch that is long enough to be that of all steps, at speed 1.
    paced_seconds_per_step: float | None = None
    steps: int = 0  # decisions taken so far
    said_late: bool = False
    stop_reason: Reason | None = None  # why Nightspot stops the newest attempt; None: it does not
    # Why on-demand was asked for, the first time; None: it was not, or an older version did.
    fell_back_reason: Reason | None = None
    outcome: Outcome | None = None
    outcome_because: str | None = None
    remarks: tuple[RunRemark, ...] = ()  # of a success; see `nightspot.record.sentences`
    restarts: int = 0  # how often another execution has taken it on, after a crash
    forgotten: bool = False  # a person has taken it out of what later plans learn from
    crashed: bool = False  # its execution did, nobody had wanted its end, and no model came of it
    unwritten: tuple[Step, ...] = ()  # decisions that the table could not take yet, oldest first

    @property
    def open_attempt(self) -> Attempt | None:
        """The attempt that is not over yet. Today's rule keeps at most one."""
        return next((a for a in self.attempts if a.is_open), None)

    @property
    def resume_is_broken(self) -> bool:
        """True once an attempt did not continue from its checkpoint: what is saved cannot be counted on."""
        return any(attempt.resume is Resume.BROKEN for attempt in self.attempts)

    @property
    def last_attempt(self) -> Attempt | None:
        return self.attempts[-1] if self.attempts else None

    def rung_of(self, market: Market | None, instance_type: str | None) -> Rung | None:
        """The rung of this market and type; None where the ladder has none, or one of the two is not known."""
        return next((rung for rung in self.rungs if rung.key == (market, instance_type)), None)

    def rungs_of(self, market: Market) -> tuple[Rung, ...]:
        return tuple(rung for rung in self.rungs if rung.market is market)

    def with_attempt(self, attempt: Attempt) -> Run:
        """This run with `attempt` in place of the one of the same number, or added."""
        others = [a for a in self.attempts if a.number != attempt.number]
        return evolve(self, attempts=tuple(sorted([*others, attempt], key=lambda a: a.number)))


_Record = TypeVar("_Record", Run, Attempt, Step, Progress)


def evolve(record: _Record, **changes: Any) -> _Record:
    """`dataclasses.replace` for the ledger's records, five times as fast: simulated nights make millions of them.

    Raises TypeError for a name that is no field.
    """
    if not changes.keys() <= record.__dict__.keys():
        raise TypeError(
            f"{type(record).__name__} has no {', '.join(changes.keys() - record.__dict__.keys())}"
        )
    changed = object.__new__(type(record))
    changed.__dict__.update(record.__dict__)
    changed.__dict__.update(changes)
    return changed


_adapters: dict[type, Any] = {}


def _adapter(kind: type) -> Any:
    from pydantic import TypeAdapter  # noqa: PLC0415 - the pure rooms can be used without the codec

    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def to_json(record: Run | Step | Attempt | Progress | Phase) -> dict[str, Any]:
    """The record as JSON-ready values (times as ISO 8601 strings)."""
    dumped: dict[str, Any] = _adapter(type(record)).dump_python(record, mode="json")
    return dumped


def run_from_json(value: Mapping[str, Any]) -> Run:
    """The run written by `to_json`.

    Raises pydantic.ValidationError, naming the field, where the value is no run.
    """
    run: Run = _adapter(Run).validate_python(value)
    return run


def step_from_json(value: Mapping[str, Any]) -> Step:
    """The step written by `to_json`. Raises pydantic.ValidationError like `run_from_json`."""
    step: Step = _adapter(Step).validate_python(value)
    return step


def phase_from_json(value: Mapping[str, Any]) -> Phase:
    """The phase written by `to_json`. Raises pydantic.ValidationError like `run_from_json`."""
    phase: Phase = _adapter(Phase).validate_python(value)
    return phase
