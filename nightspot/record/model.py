"""The record of a run: one model, which is written once, stored, and read by everybody.

Older versions recorded less: `read_record` fills in what the rest of such a record says; anything else is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from math import fsum
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    field_validator,
)

from nightspot.costs.account import Missing
from nightspot.costs.lost_work import Evidence
from nightspot.failures.codes import FailureClass
from nightspot.formats.figures import visible
from nightspot.job.code_version import CodeVersion
from nightspot.job.markets import Market
from nightspot.run.model import Action, AttemptState, Outcome, Remark, Resume
from nightspot.run.reasons import Reason

SCHEMA_VERSION = 1
"""What `RunRecord.schema_version` is of records written today; those from before it was written say nothing."""

MOST = 10**15  # seconds or USD: so that no sum of them is infinite


class RunState(StrEnum):
    """The outcome of a run, or that it has none yet."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    STOPPED = "stopped"
    REFUSED = "refused"


class Ending(StrEnum):
    """How a run ended: with a model in time or late, or without one."""

    RUNNING = "running"
    IN_TIME = "in_time"
    LATE = "late"  # there is a model, after the deadline
    FAILED = "failed"
    SKIPPED = "skipped"  # no capacity, and on-demand is forbidden: yesterday's model stays
    STOPPED = "stopped"  # by a person, or by a newer run
    REFUSED = "refused"  # another run held the job: no run of its own


_WITH_MODEL = (Ending.IN_TIME, Ending.LATE)


def _moment(given: object) -> datetime:
    """As `datetime.isoformat` writes it, and as everybody reads it who has not looked here first."""
    try:
        moment = datetime.fromisoformat(given) if isinstance(given, str) else given
        if isinstance(moment, datetime) and moment.utcoffset() is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("must be an ISO 8601 time with its zone")


def _known(kind: type[StrEnum]) -> BeforeValidator:
    """None for a member that only a newer version has."""
    return BeforeValidator(lambda value: value if isinstance(value, str) and value in set(kind) else None)


# Strict, so that what is checked here is as good as checked for those who read the record itself.
Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    PlainSerializer(datetime.isoformat, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Number = Annotated[int, Field(gt=-MOST, lt=MOST, strict=True)]
Count = Annotated[int, Field(ge=0, lt=MOST, strict=True)]
Amount = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Cost = Annotated[float, Field(ge=0, le=MOST, strict=True)]  # USD
Seconds = Annotated[float, Field(ge=0, le=MOST, strict=True)]
Margin = Annotated[float, Field(ge=-MOST, le=MOST, strict=True)]  # seconds or USD, below 0 too
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
KnownReason = Annotated[Reason | None, _known(Reason)]


_Kind = TypeVar("_Kind", bound="RunRecord")


class RecordNotReadableError(ValueError):
    """A record of a run lacks what a reader needs; the text names the field, the value and the rule."""


class Part(BaseModel):
    """One piece of a record."""

    # Records of other versions have more, or fewer, fields.
    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        """JSON-ready, with the fields that were given; `read_record` reads a run's back."""
        return self.model_dump(mode="json", exclude_unset=True, warnings="none")

    @field_validator("*", mode="before")
    @classmethod
    def _visible(cls, value: Any) -> Any:
        """In a record of any version may be what a training script, AWS or a person wrote: it steers nothing."""
        if isinstance(value, Mapping):
            return {visible(name) if isinstance(name, str) else name: each for name, each in value.items()}
        return visible(value) if isinstance(value, str) else value


class Figures(Part):
    """What a run and its attempts are accounted for by alike, in seconds and USD; None: not known."""

    waited_seconds: Seconds | None = None
    starting_seconds: Seconds | None = None
    trained_seconds: Seconds | None = None
    billable_seconds: Seconds | None = None
    repeated_seconds: Seconds | None = None
    repeated_evidence: Evidence | None = None
    lost_seconds: Seconds | None = None
    cost_usd: Cost | None = None
    on_demand_cost_usd: Cost | None = None
    saved_usd: Margin | None = None
    missing: tuple[str, ...] = Field(default=(), description="What `saved_usd` lacks.")


class PhaseRecord(Part):
    """A stretch of an attempt in one state; `ended_at` is None while it lasts."""

    state: AttemptState
    started_at: Moment
    ended_at: Moment | None = None


class AttemptRecord(Figures):
    """One training job of a run."""

    number: Number
    training_job_name: str
    market: Market
    instance_type: str
    instance_count: Count | None = Field(
        default=None, description="null: an older version did not record it."
    )
    asked_at: Moment
    ended_at: Moment | None = None
    status: str | None = Field(default=None, description="SageMaker's TrainingJobStatus.")
    secondary_status: str | None = Field(default=None, description="SageMaker's SecondaryStatus.")
    failure_class: FailureClass | None = None
    failure_reason: str | None = Field(default=None, description="In SageMaker's words, without secrets.")
    queued_seconds: Seconds | None = None
    ready_seconds: Seconds | None = None
    seconds_per_step: Seconds | None = Field(
        default=None, description="Its pace, as its training script says."
    )
    interruptions: Count = 0
    resume: Resume | None = None
    resumed_from_step: Number | None = None
    step_before: Number | None = None
    step_after: Number | None = None
    phases: tuple[PhaseRecord, ...] | None = Field(
        default=None, description="null: not at hand, as in a list."
    )


class ProgressRecord(Part):
    """What was durable when a decision was taken."""

    step: Count
    saved_at: Moment
    total_steps: Count | None = None
    fraction: Share | None = None
    metrics: Mapping[str, Amount | None] = {}


class StepRecord(Part):
    """One decision: the sentence, and the reason and figures of which it is made."""

    action: Action
    at: Moment
    because: str
    reason: KnownReason = Field(default=None, description="null: an older version decided it.")
    figures: Mapping[str, Any] = Field(
        default={},
        description="The figures of the reason: seconds, USD, times, counts and names, as their names say.",
    )
    attempt: Number | None = None
    late: bool = False
    last_safe_at: Moment | None = None
    progress: ProgressRecord | None = None


class CodeRecord(Part):
    """The code that all attempts of a run fetched."""

    digest: str = Field(description="SHA-256 of the archive's content, as hex.")
    entry_point: str
    revision: str | None = Field(
        default=None, description="The git commit that changed it last; null: not in git."
    )
    dirty: bool = Field(default=False, description="It is not what that commit has.")
    pushed_by: str | None = Field(default=None, description="null: it came with the deployment.")

    @property
    def version(self) -> CodeVersion:
        """The same, as plans have it."""
        return CodeVersion(self.digest, self.entry_point, self.revision, self.dirty, self.pushed_by)


class LeftOutRecord(Part):
    """A rung of the ladder that the run does without."""

    market: Market
    instance_type: str
    because: str


class RemarkRecord(Part):
    """What is odd about a success."""

    kind: Annotated[Remark | None, _known(Remark)] = None
    text: str = Field(examples=["finished at step 3 of 24"])


class RunRecord(Figures):
    """One run. In a job's history and in lists it stands without its decisions and phases."""

    schema_version: Count = Field(default=0, description="0: from before records had one.")
    job: str = Field(min_length=1)
    run_id: str = Field(min_length=1, examples=["20261121-25feuomo"])
    headline: str | None = Field(default=None, description="How the run stands, in one sentence.")
    outcome: RunState
    because: str | None = None
    remarks: tuple[RemarkRecord, ...] = Field(
        default=(),
        description="Of a success: what the evidence says against it. A gate can refuse such a model.",
    )
    crashed: bool = Field(
        default=False, description="Its execution crashed, or ran out of time, and left no model."
    )
    plan_note: str | None = Field(default=None, description="What the plan has to say beside its figures.")
    requested_by: str | None = None
    resume_from: str | None = Field(default=None, description="The run whose checkpoint it went on from.")
    code: CodeRecord | None = Field(
        default=None, description="null: the image's own, or an older version did not record it."
    )
    scheduled_at: Moment | None = Field(
        default=None, description="The schedule's time that it was started for."
    )
    started_at: Moment
    ended_at: Moment | None = None
    deadline: Moment | None = None
    deadline_met: bool = False
    margin_seconds: Margin | None = Field(
        default=None, description="From the model to the deadline; below 0: late; null: no model."
    )
    work_key: str | None = None
    expected_work_seconds: Seconds | None = Field(default=None, description="As planned.")
    work_seconds: Seconds | None = Field(
        default=None, description="That the model took; null: there is none."
    )
    steps_done: Count | None = Field(
        default=None,
        description="Steps of the model, as its training script says; null: no model, or no steps.",
    )
    total_steps: Count | None = Field(default=None, description="Of which it might have taken so many.")
    overhead_seconds: Seconds | None = Field(
        default=None,
        description="Training time before the first step and after the last; null: interrupted, or no steps.",
    )
    limited_by_run: str | None = Field(
        default=None, description="The past run because of which the plan left Spot no turn; null: none did."
    )
    forgotten: bool = Field(default=False, description="Taken out of what later plans learn from.")
    cost_at_least_usd: Cost = 0.0
    saved_percent: Amount | None = None
    saved_at_most_usd: Margin | None = Field(
        default=None, description="More than `saved_usd` where it depends on the room in a Savings Plan."
    )
    yardstick: str | None = Field(
        default=None,
        description="The instance type that on-demand alone is priced on; null: no model, or not recorded.",
    )
    yardstick_in_time: bool | None = Field(
        default=None, description="Whether on-demand alone was expected to be in time on it."
    )
    uses_plan_rate: bool = Field(
        default=False, description="A Savings Plan may have room for a type of its ladder."
    )
    plan_is_used_up: bool = Field(
        default=False,
        description="One covers such a type, but other work used all of it on the days before: it counts as none.",
    )
    price_assumed: bool = Field(
        default=False, description="No price list stands behind a price that is in the figures."
    )
    spent_usd: Cost | None = None
    committed_usd: Cost | None = None
    unpriced_attempts: tuple[Number, ...] = ()
    interruptions: Count = 0
    fell_back: bool = Field(default=False, description="On-demand was asked for although the job wants Spot.")
    fell_back_reason: KnownReason = Field(
        default=None,
        description="Why on-demand was asked for, the first time; null: it was not, or not recorded.",
    )
    model_artifact: str | None = None
    checkpoints: str | None = None
    metrics: Mapping[str, Amount | None] = {}
    trackers: Mapping[str, str] = Field(
        default={},
        description="The run's pages in MLflow (`mlflow`) and Weights & Biases (`wandb`), if known.",
    )
    execution_arn: str | None = None
    resume: Resume | None = None
    progress_unreadable: str | None = Field(
        default=None,
        description="Why AWS refused to show its progress files, the first time; null: it did not.",
    )
    decisions: Count = 0
    overrides: Mapping[str, Any] = {}
    rungs_left: Count | None = Field(default=None, description="Rungs of its ladder that are not left out.")
    left_out: tuple[LeftOutRecord, ...] = ()
    attempts: tuple[AttemptRecord, ...] = ()
    steps: tuple[StepRecord, ...] | None = Field(default=None, description="null: not at hand, as in a list.")
    simulated: bool = Field(default=False, description="Played on somebody's machine, not on AWS.")
    story: str | None = Field(default=None, description="What was played.")

    @property
    def ending(self) -> Ending:
        """How it ended; a succeeded run is in time or late by its deadline."""
        if self.outcome is RunState.SUCCEEDED:
            return Ending.IN_TIME if self.deadline_met else Ending.LATE
        return Ending(self.outcome.value)

    @property
    def has_model(self) -> bool:
        """True where the run delivered."""
        return self.ending in _WITH_MODEL

    @property
    def was_refused(self) -> bool:
        """True where another run held the job: it started nothing."""
        return self.outcome is RunState.REFUSED

    @property
    def is_over(self) -> bool:
        """True once it has an outcome."""
        return self.outcome is not RunState.RUNNING

    @property
    def month(self) -> str:
        """The calendar month in UTC in which the run started, "2026-11"."""
        return f"{self.started_at:%Y-%m}"

    @property
    def over_at(self) -> datetime:
        known = [self.started_at, self.ended_at, *(step.at for step in self.steps or ())]
        known += [moment for attempt in self.attempts for moment in (attempt.asked_at, attempt.ended_at)]
        return max(moment for moment in known if moment is not None)

    def to_json(self) -> dict[str, Any]:
        """The same; the headline stands first, where people who look at the JSON begin to read."""
        return {"headline": self.headline, **super().to_json()}

    def account(self) -> dict[str, Any]:
        """JSON-ready: the run's figures in one flat row, with the number of its attempts."""
        return {
            **self.model_dump(mode="json", include=set(_ACCOUNT), warnings="none"),
            "ending": self.ending.value,
            "attempts": len(self.attempts),
            "month": self.month,
        }


_ACCOUNT = (
    "job",
    "run_id",
    "started_at",
    "ended_at",
    "outcome",
    "deadline_met",
    "margin_seconds",
    "fell_back",
    "fell_back_reason",
    "interruptions",
    *Figures.model_fields,
    "cost_at_least_usd",
    "saved_percent",
    "saved_at_most_usd",
    "yardstick",
    "uses_plan_rate",
    "price_assumed",
)


def read_record(value: Mapping[str, Any]) -> RunRecord:
    """The record in `value`, as any version wrote it.

    Raises RecordNotReadableError, naming the first field that is not as it must be.
    """
    return read_as(RunRecord, value)


def read_as(kind: type[_Kind], value: Mapping[str, Any]) -> _Kind:
    """The same, as a kind of record that has more fields."""
    # A local record whose input was refused, before there was a ledger, has neither id nor start.
    known = {
        **value,
        "run_id": value.get("run_id") or "refused",
        "started_at": value.get("started_at") or value.get("story_started_at"),
    }
    try:
        run = kind.model_validate(known)
    except ValidationError as error:
        raise RecordNotReadableError(in_words(error)) from error
    return run.model_copy(update=_figures(run))


def _figures(run: RunRecord) -> dict[str, Any]:
    """The fields that older versions did not record, told from what they did; and the saving, from its parts."""
    given, attempts = run.model_fields_set, run.attempts
    figures: dict[str, Any] = {
        name: _sum([getattr(attempt, name) for attempt in attempts])
        for name in ("waited_seconds", "trained_seconds", "billable_seconds")
        if name not in given
    }
    if "interruptions" not in given:
        figures["interruptions"] = sum(attempt.interruptions for attempt in attempts)
    if "fell_back" not in given:
        figures["fell_back"] = {attempt.market for attempt in attempts} == set(Market)
    if "cost_at_least_usd" not in given:
        figures["cost_at_least_usd"] = fsum(
            cost or 0.0
            for cost in ([a.cost_usd for a in attempts] if run.cost_usd is None else [run.cost_usd])
        )
    # Of a run without a model the whole cost is a loss: on-demand would have bought nothing better.
    alone = run.on_demand_cost_usd if run.has_model or not run.is_over else 0.0
    missing = run.missing or _missing(run, alone)
    # Not the stored figure, so that it cannot outlive one of its two parts.
    saved = None if missing or run.cost_usd is None or alone is None else alone - run.cost_usd
    percent = saved / alone * 100 if saved is not None and alone else None
    # Older records know of one bound.
    stored, most = run.saved_usd, run.saved_at_most_usd
    between = 0.0 if stored is None or most is None else max(0.0, most - stored)
    return {
        **figures,
        "on_demand_cost_usd": alone,
        "missing": missing,
        "saved_usd": saved,
        "saved_percent": percent,
        "saved_at_most_usd": None if saved is None else saved + between,
    }


def _missing(run: RunRecord, on_demand_usd: float | None) -> tuple[str, ...]:
    """What shows to be missing: older records do not say."""
    lacks = {
        Missing.OUTCOME: not run.is_over,
        Missing.BILLABLE_SECONDS: run.cost_usd is None,
        Missing.WORK_SECONDS: on_demand_usd is None,
    }
    return tuple(field.value for field, is_missing in lacks.items() if is_missing)


def _sum(figures: list[float | None]) -> float | None:
    return None if None in figures else fsum(figure for figure in figures if figure is not None)


def in_words(error: ValidationError) -> str:
    """The first field that is not as it must be: "deadline: 'soon': must be an ISO 8601 time with its zone"."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    given = "nothing" if first["type"] == "missing" or first["input"] is None else repr(first["input"])[:80]
    rule = first["msg"].removeprefix("Value error, ")
    return f"{field}: {given}: {rule[:1].lower()}{rule[1:]}"


def outcome_of(outcome: Outcome | None) -> RunState:
    return RunState.RUNNING if outcome is None else RunState(outcome.value)
