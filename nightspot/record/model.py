"""Decides which records a page can be made of, and how their fields are understood; what is missing stays so."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from nightspot.costs.lost_work import Evidence
from nightspot.failures.codes import FailureClass
from nightspot.formats.figures import visible
from nightspot.job.markets import Market
from nightspot.record.run_account import MOST, RunAccount, SummaryError, run_account
from nightspot.run.model import Action, AttemptState, Resume


def _moment(given: object) -> datetime:
    """As `datetime.isoformat` writes it, and as everybody reads it who has not looked here first."""
    try:
        moment = datetime.fromisoformat(given) if isinstance(given, str) else given
        if isinstance(moment, datetime) and moment.utcoffset() is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("must be an ISO 8601 time with its zone")


# Strict, so that what is checked here is as good as checked for those who read the record itself.
Moment = Annotated[datetime, BeforeValidator(_moment)]
Number = Annotated[int, Field(gt=-MOST, lt=MOST, strict=True)]
Count = Annotated[int, Field(ge=0, lt=MOST, strict=True)]
Amount = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Seconds = Annotated[float, Field(ge=0, le=MOST, strict=True)]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]


class RecordNotReadableError(ValueError):
    """A record of a run lacks what a page needs; the text names the field, the value and the rule."""


class Part(BaseModel):
    """One piece of a record."""

    # Records of other versions have more, or fewer, fields.
    model_config = ConfigDict(frozen=True, extra="ignore")

    @field_validator("*", mode="before")
    @classmethod
    def _visible(cls, value: Any) -> Any:
        """In a record of any version may be what a training script, AWS or a person wrote: it steers nothing."""
        if isinstance(value, Mapping):
            return {visible(name) if isinstance(name, str) else name: each for name, each in value.items()}
        return visible(value) if isinstance(value, str) else value


class PhaseRecord(Part):
    """A stretch of an attempt in one state; `ended_at` is None while it lasts."""

    state: AttemptState
    started_at: Moment
    ended_at: Moment | None = None


class AttemptRecord(Part):
    """One training job."""

    number: Number
    training_job_name: str
    market: Market
    instance_type: str
    asked_at: Moment
    ended_at: Moment | None = None
    status: str | None = None
    secondary_status: str | None = None
    failure_class: FailureClass | None = None
    failure_reason: str | None = None
    queued_seconds: Seconds | None = None
    waited_seconds: Seconds | None = None
    trained_seconds: Seconds | None = None
    billable_seconds: Seconds | None = None
    interruptions: Count = 0
    resume: Resume | None = None
    resumed_from_step: Number | None = None
    step_before: Number | None = None
    step_after: Number | None = None
    cost_usd: Amount | None = None
    starting_seconds: Seconds | None = None
    repeated_seconds: Seconds | None = None
    repeated_evidence: Evidence | None = None
    lost_seconds: Seconds | None = None
    on_demand_cost_usd: Amount | None = None
    saved_usd: Amount | None = None
    missing: tuple[str, ...] = ()
    phases: tuple[PhaseRecord, ...] = ()


class ProgressRecord(Part):
    """What was durable at a moment."""

    step: Count
    saved_at: Moment
    total_steps: Count | None = None
    fraction: Share | None = None
    metrics: Mapping[str, Amount | None] = {}


class StepRecord(Part):
    """One decision."""

    action: Action
    at: Moment
    because: str
    reason: str | None = None  # of `nightspot.run.reasons`, or of a newer version's
    attempt: Number | None = None
    late: bool = False
    last_safe_at: Moment | None = None
    progress: ProgressRecord | None = None


class LeftOutRecord(Part):
    """A rung that the run did without."""

    market: Market
    instance_type: str
    because: str


class RemarkRecord(Part):
    """What is odd about a success, in words."""

    text: str


class _Run(Part):
    """What a record of a run says itself."""

    job: str
    run_id: str
    because: str | None = None
    remarks: tuple[RemarkRecord, ...] = ()
    started_at: Moment
    ended_at: Moment | None = None
    deadline: Moment
    unpriced_attempts: tuple[Number, ...] = ()
    model_artifact: str | None = None
    checkpoints: str | None = None
    metrics: Mapping[str, Amount | None] = {}
    execution_arn: str | None = None
    resume: Resume | None = None
    requested_by: str | None = None
    plan_note: str | None = None
    left_out: tuple[LeftOutRecord, ...] = ()
    attempts: tuple[AttemptRecord, ...] = ()
    steps: tuple[StepRecord, ...] = ()
    # Of a night that was played on somebody's machine.
    simulated: bool = False
    story: str | None = None


class RunRecord(_Run):
    """One run: `record.record_of`'s shape, or a summary alone, whose steps and phases are not at hand."""

    account: RunAccount

    @property
    def succeeded(self) -> bool:
        """True if it left a model."""
        return self.account.has_model

    @property
    def over_at(self) -> datetime:
        """When the record ends: the newest moment that it knows."""
        known = [self.started_at, self.ended_at, *(step.at for step in self.steps)]
        known += [moment for attempt in self.attempts for moment in (attempt.asked_at, attempt.ended_at)]
        return max(moment for moment in known if moment is not None)


def read_record(value: Mapping[str, Any]) -> RunRecord:
    """`value` as a page needs it.

    Raises RecordNotReadableError, naming the first field that is not as it must be.
    """
    # A local record, where the execution's input was refused before there was a ledger, has neither.
    known = {
        **value,
        "run_id": value.get("run_id") or "refused",
        "started_at": value.get("started_at") or value.get("story_started_at"),
    }
    try:
        # The account only counts what is well-formed.
        fields = dict(_Run.model_validate(known))
        return RunRecord.model_validate({**fields, "account": run_account(known)})
    except SummaryError as error:
        raise RecordNotReadableError(str(error)) from error
    except ValidationError as error:
        raise RecordNotReadableError(in_words(error)) from error


def in_words(error: ValidationError) -> str:
    """The first field that is not as it must be: "deadline: 'soon': must be an ISO 8601 time with its zone"."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    given = "nothing" if first["type"] == "missing" else repr(first["input"])[:80]
    rule = first["msg"].removeprefix("Value error, ")
    return f"{field}: {given}: {rule[:1].lower()}{rule[1:]}"
