"""The bodies of the API's answers: one closed model each, from which the OpenAPI document is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema, ErrorDetails

from nightspot.api.override_schema import OVERRIDES
from nightspot.aws.runs.stopping import StopState
from nightspot.job.errors import Problem, describe, found_by_pydantic
from nightspot.job.model import Job
from nightspot.job.overrides import Overrides
from nightspot.record.run_account import Ending, RunAccount, to_json
from nightspot.record.statement import Statement, statement
from nightspot.run.model import Remark
from nightspot.run.reasons import Reason


class RunState(StrEnum):
    """The outcome of a run, or that it has none yet."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    STOPPED = "stopped"
    REFUSED = "refused"


class RunOverrides(Overrides):
    """What one run does otherwise than its job file says, as in an execution's input."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return OVERRIDES


class Body(BaseModel):
    """An answer's body."""

    model_config = ConfigDict(frozen=True)


class RunLinks(Body):
    """Addresses of the API, below its own."""

    self: str = Field(examples=["/runs/20261121-25feuomo"])
    stop: str | None = Field(default=None, description="Where it can be stopped; null: it is over.")
    retry: str | None = Field(default=None, description="Where it can be retried; null: it cannot.")
    console: str | None = Field(default=None, description="The execution in the AWS console.")


class RunStarted(Body):
    """A run was started, or had been by the same request."""

    run_id: str = Field(examples=["20261121-25feuomo"])
    job: str
    execution_arn: str = Field(
        description="The run's execution, which says why where the run stays off the record."
    )
    started_at: datetime
    is_new: bool = Field(description="False: an earlier request with the same Idempotency-Key started it.")
    links: RunLinks


class RunStopping(Body):
    """How far the stop of a run is."""

    run_id: str
    job: str
    state: StopState = Field(
        description="asked: its training job is stopping; noted: it has none just now and ends with its next "
        "decision; over: its outcome is on record; unrecorded: its execution is gone, and its end is recorded in "
        "some minutes."
    )
    sentence: str = Field(description="The state in words.")
    training_job_name: str | None
    outcome: RunState
    because: str | None
    links: RunLinks


class Figures(Body):
    """What a run and its attempts are accounted for by alike."""

    waited_seconds: float | None = None
    starting_seconds: float | None = None
    trained_seconds: float | None = None
    billable_seconds: float | None = None
    repeated_seconds: float | None = None
    repeated_evidence: str | None = None
    lost_seconds: float | None = None
    cost_usd: float | None = None
    on_demand_cost_usd: float | None = None
    saved_usd: float | None = None
    missing: list[str] = []


class AttemptSummary(Figures):
    """One training job of a run."""

    number: int
    training_job_name: str
    market: str
    instance_type: str
    asked_at: datetime
    ended_at: datetime | None = None
    status: str | None = Field(default=None, description="SageMaker's TrainingJobStatus.")
    secondary_status: str | None = Field(default=None, description="SageMaker's SecondaryStatus.")
    failure_class: str | None = None
    failure_reason: str | None = Field(default=None, description="In SageMaker's words, without secrets.")
    queued_seconds: float | None = None
    ready_seconds: float | None = None
    interruptions: int = 0
    resume: str | None = None
    resumed_from_step: int | None = None
    step_before: int | None = None
    step_after: int | None = None


class LeftOutRung(Body):
    """A rung of the ladder that the run does without."""

    market: str
    instance_type: str
    because: str


class RunRemark(Body):
    """What is odd about a success."""

    kind: Remark
    text: str = Field(examples=["finished at step 3 of 24"])


class RunHead(Figures):
    """What is told of a run before its attempts."""

    job: str
    run_id: str
    headline: str | None = Field(default=None, description="How the run stands, in one sentence.")
    outcome: RunState
    because: str | None = None
    remarks: list[RunRemark] = Field(
        default=[],
        description="Of a success: what the evidence says against it. A gate can refuse such a model.",
    )
    crashed: bool = Field(
        default=False, description="Its execution crashed, or ran out of time, and left no model."
    )
    plan_note: str | None = Field(default=None, description="What the plan has to say beside its figures.")
    scheduled_at: datetime | None = Field(default=None, description="The night that it was started for.")
    requested_by: str | None = None
    resume_from: str | None = Field(default=None, description="The run whose checkpoint it went on from.")
    started_at: datetime
    ended_at: datetime | None = None
    deadline: datetime | None = None
    deadline_met: bool = False
    margin_seconds: float | None = None
    work_key: str | None = None
    expected_work_seconds: float | None = Field(default=None, description="As planned.")
    work_seconds: float | None = Field(default=None, description="That the model took; null: there is none.")
    cost_at_least_usd: float | None = None
    saved_percent: float | None = None
    uses_plan_rate: bool = False
    spent_usd: float | None = None
    committed_usd: float | None = None
    unpriced_attempts: list[int] = []
    interruptions: int = 0
    fell_back: bool | None = None
    fell_back_reason: Reason | None = Field(
        default=None,
        description="Why on-demand was asked for, the first time; null: it was not, or not recorded.",
    )
    model_artifact: str | None = None
    checkpoints: str | None = None
    metrics: dict[str, float] = {}
    execution_arn: str | None = None
    resume: str | None = None
    decisions: int = 0
    overrides: dict[str, Any] = {}
    rungs_left: int | None = Field(default=None, description="Rungs of its ladder that are not left out.")
    left_out: list[LeftOutRung] = []


class RunSummary(RunHead):
    """A run as its job's history has it."""

    attempts: list[AttemptSummary] = []
    links: RunLinks


class RunsPage(Body):
    """Runs, the newest first."""

    runs: list[RunSummary]
    next: str | None = Field(description="The `cursor` of the page behind this one; null: there is none.")


class PhaseRecord(Body):
    """A stretch of an attempt in one state."""

    state: str
    started_at: datetime
    ended_at: datetime | None


class AttemptRecord(AttemptSummary):
    """One training job of a run, with what it went through."""

    phases: list[PhaseRecord]


class ProgressRecord(Body):
    """What was durable when a decision was taken."""

    step: int
    total_steps: int | None
    fraction: float | None
    saved_at: datetime
    metrics: dict[str, float]


class StepRecord(Body):
    """One decision: the sentence, and the reason and figures of which it is made."""

    action: str
    at: datetime
    because: str
    reason: Reason | None = Field(description="null: an older version decided it.")
    figures: dict[str, Any] = Field(
        description="The figures of the reason: seconds, USD, times, counts and names, as their names say."
    )
    attempt: int | None
    late: bool
    last_safe_at: datetime | None
    progress: ProgressRecord | None


class RunRecord(RunHead):
    """A run with all that is on record of it."""

    attempts: list[AttemptRecord]
    steps: list[StepRecord]
    links: RunLinks


class LastRun(Figures):
    """The account of a job's newest run."""

    job: str
    run_id: str
    started_at: datetime
    ended_at: datetime | None
    ending: str
    outcome: RunState
    deadline_met: bool
    month: str
    margin_seconds: float | None
    attempts: int
    fell_back: bool
    fell_back_reason: Reason | None
    interruptions: int
    cost_at_least_usd: float
    saved_percent: float | None
    uses_plan_rate: bool


class MonthCosts(Body):
    """What a job's runs of the month cost."""

    runs: int
    cost_usd: float | None = Field(description="null: not every run's cost is known.")
    cost_at_least_usd: float


class JobDescription(Body):
    """A job: what its file says, and how it does. Of the training job itself nothing is told."""

    name: str
    schedule: dict[str, Any] | None = Field(description="As in the job file; null: only by hand or API.")
    deadline: dict[str, Any] | None = Field(description="As in the job file.")
    capacity: dict[str, Any] | None = Field(description="The ladder, as in the job file.")
    budget: dict[str, Any] | None = Field(description="As in the job file; null: none.")
    concurrency: str | None
    fallback: str | None
    described: bool = Field(description="False: it has runs, and no job file any more.")
    last_run: LastRun | None
    month: MonthCosts


class JobsList(Body):
    """All deployed jobs, by name."""

    month: str = Field(description="The month (UTC) that is added up.", examples=["2026-11"])
    jobs: list[JobDescription]


_BODY = "body"
# pydantic's words for parameters, which are all text.
_RULES = {
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must be printable ASCII",
    "string_type": "must be given once",
}


class _Parameter(BaseModel):
    """A value that stands by itself."""


def findings_of(errors: Iterable[Mapping[str, Any]]) -> Iterator[Problem]:
    """One finding for each of pydantic's error details, whose `loc` begins with where it stands: body, query, …"""
    for details in errors:
        where, *path = details["loc"]
        same = cast("ErrorDetails", {**details, "loc": tuple(path)})
        if where == _BODY:
            yield found_by_pydantic(same, RunOverrides)
            continue
        found = found_by_pydantic(same, _Parameter)
        rule = _RULES.get(str(details["type"]), found.rule)
        name = str(path[0]) if path else str(where)
        # Headers have lost their case on the way.
        field = name.title() if where == "header" else name
        yield Problem(field, describe(details.get("input")), rule)


_USD_DIGITS = 4


@dataclass(frozen=True)
class JobLine:
    """A job, its newest run, and what its runs of a month came to."""

    name: str
    job: Job | None  # None: it has runs, and no description any more
    last: RunAccount | None
    month: Statement


def lines_of(described: Mapping[str, Job], runs: Sequence[RunAccount], month: str) -> list[JobLine]:
    """A line for each job that is described or has run, by name; `month` ("2026-11") is what is added up.

    `runs`: each job's newest first.
    """
    return [
        JobLine(
            name,
            described.get(name),
            own[0] if own else None,
            statement(run for run in own if run.month == month),
        )
        for name in sorted({*described, *(run.job for run in runs)})
        for own in [[run for run in runs if run.job == name]]
    ]


def line_as_json(line: JobLine) -> dict[str, Any]:
    """JSON-ready. Nothing of the training job itself: its hyperparameters and environment may hold secrets."""
    job = line.job
    return {
        "name": line.name,
        "schedule": _section(job.schedule) if job else None,
        "deadline": _section(job.deadline) if job else None,
        "capacity": _section(job.capacity) if job else None,
        "budget": _section(job.budget) if job else None,
        "concurrency": job.concurrency.value if job else None,
        "fallback": job.fallback.value if job else None,
        "described": job is not None,
        "last_run": to_json(line.last) if line.last else None,
        "month": _month(line.month),
    }


def _month(month: Statement) -> dict[str, Any]:
    """The cost is known where that of every night is, and no run is still adding to it."""
    total = month.totals["cost_usd"]
    known = None if month.endings[Ending.RUNNING] else total.value
    return {
        "runs": month.runs,
        "cost_usd": None if known is None else round(known, _USD_DIGITS),
        "cost_at_least_usd": round(total.known + month.open_cost_at_least_usd, _USD_DIGITS),
    }


def _section(section: Any) -> dict[str, Any] | None:
    """A part of the job file, with the file's own keys."""
    return None if section is None else section.model_dump(mode="json", by_alias=True)
