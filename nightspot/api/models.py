"""The bodies of the API's answers: one closed model each, from which the OpenAPI document is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema, ErrorDetails

from nightspot.aws.runs.training_jobs import StopState
from nightspot.job.errors import Problem, describe, found_by_pydantic
from nightspot.job.limits import limits_of
from nightspot.job.markets import Fallback, MarketChoice
from nightspot.job.model import Job, OverrideName
from nightspot.job.overrides import Overrides
from nightspot.job.request_shape import LARGEST_COUNT, LONGEST_NAME, LONGEST_VALUE
from nightspot.record.model import Ending, Figures, Moment, RunRecord, RunState
from nightspot.record.statement import Statement, statement
from nightspot.run.reasons import Reason

Schema = dict[str, Any]

_DURATION: Schema = {
    "anyOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 1}],
    "description": 'A duration such as "6h" or "1h30m", or whole seconds.',
    "examples": ["6h"],
}
_TYPE_NAME: Schema = {
    "type": "string",
    "pattern": r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$",
    "examples": ["ml.g5.xlarge"],
}
_USD: Schema = {"type": "number", "exclusiveMinimum": 0}


def _mapping(properties: Schema, **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


def _or_null(*schemas: Schema, description: str) -> Schema:
    return {"anyOf": [*schemas, {"type": "null"}], "description": description}


_RUNG: Schema = {
    "anyOf": [
        _TYPE_NAME,
        _mapping(
            {
                "instance_type": _TYPE_NAME,
                "speed": {"type": "number", "exclusiveMinimum": 0, "maximum": 100},
                "patience": {"anyOf": [_DURATION, {"type": "null"}]},
            },
            required=["instance_type"],
        ),
    ]
}
_RUNGS: Schema = {"type": "array", "items": _RUNG, "minItems": 1}

OVERRIDES: Schema = {
    **_mapping(
        {
            "market": _or_null(
                {"enum": [choice.value for choice in MarketChoice]},
                description="spot buys Spot or nothing, on_demand buys no Spot, auto is the job's own ladder.",
            ),
            "instance_types": _or_null(
                _RUNGS,
                _mapping(
                    {name: {"anyOf": [_RUNGS, {"type": "null"}]} for name in ("spot", "on_demand")},
                    minProperties=1,
                ),
                description="Instance types, best first: for every market in use, or for each by itself.",
            ),
            "deadline": _or_null(
                _DURATION,
                {"type": "string", "pattern": "^[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?$", "examples": ["07:00"]},
                _mapping(
                    {
                        "at": {"anyOf": [{"type": "string", "examples": ["07:00"]}, {"type": "null"}]},
                        "timezone": {"type": "string", "examples": ["Europe/Dublin"]},
                        "within": {"anyOf": [_DURATION, {"type": "null"}]},
                    }
                ),
                description="When the model must be ready: a time of day, or a duration from the start.",
            ),
            "hyperparameters": _or_null(
                {
                    "type": "object",
                    "maxProperties": LARGEST_COUNT,
                    "propertyNames": {"minLength": 1, "maxLength": LONGEST_NAME},
                    "additionalProperties": {
                        "anyOf": [
                            {"type": "string", "maxLength": LONGEST_VALUE},
                            {"type": "number"},
                            {"type": "boolean"},
                        ]
                    },
                },
                description="Merged over the job's. They are stored and shown: no place for secrets.",
            ),
            "budget": _or_null(
                _USD,
                _mapping({"per_run_usd": _USD}, required=["per_run_usd"]),
                description="The most that this run may cost, in US dollars.",
            ),
            "fallback": _or_null(
                {"enum": [fallback.value for fallback in Fallback]},
                description="What follows when Spot cannot make the deadline.",
            ),
        }
    ),
    "title": "RunOverrides",
    "description": "What one run does otherwise than its job file says.",
}


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
    warnings: list[str] = Field(
        default_factory=list,
        description="What the one who started it should know, such as a deadline that is shorter than the work.",
    )


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


class RunResource(RunRecord):
    """A run with its links; in a list without its decisions and phases."""

    links: RunLinks


class RunsPage(Body):
    """Runs, the newest first."""

    runs: list[RunResource]
    next: str | None = Field(description="The `cursor` of the page behind this one; null: there is none.")


class LastRun(Figures):
    """The figures of a job's newest run."""

    job: str
    run_id: str
    started_at: Moment
    ended_at: Moment | None
    ending: Ending
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
    saved_at_most_usd: float | None
    yardstick: str | None
    uses_plan_rate: bool
    price_assumed: bool


class MonthCosts(Body):
    """What a job's runs of the month cost."""

    runs: int
    cost_usd: float | None = Field(description="null: not every run's cost is known.")
    cost_at_least_usd: float


class TypesToBuy(Body):
    """Instance types by market, the ladder's first."""

    spot: list[str]
    on_demand: list[str]


class LimitsOfStarts(Body):
    """How far a start may go, whatever of it the job file says or leaves to the default."""

    allow: list[OverrideName] = Field(description="The overrides that a start may give.")
    instance_types: TypesToBuy = Field(description="What a start may name under `instance_types`.")
    per_run_usd: float | None = Field(description="The largest `budget`; null: any.")
    deadline: int = Field(
        description="The longest `deadline`, in seconds from the start. Below a day (86400) a start may give no "
        "time of day but the job's own."
    )
    hyperparameters: list[str] | None = Field(
        description="The names that a start may set; null: all but those that begin with `sagemaker_`."
    )


class JobDescription(Body):
    """A job: what its file says, and how it does. Of the training job itself nothing is told."""

    name: str
    schedule: dict[str, Any] | None = Field(description="As in the job file; null: only by hand or API.")
    deadline: dict[str, Any] | None = Field(description="As in the job file.")
    capacity: dict[str, Any] | None = Field(description="The ladder, as in the job file.")
    budget: dict[str, Any] | None = Field(description="As in the job file; null: none.")
    concurrency: str | None
    fallback: str | None
    overrides: LimitsOfStarts | None = Field(
        default=None, description="What a start may change of the job; null where `described` is false."
    )
    code: dict[str, Any] | None = Field(default=None, description="As in the job file; null: none.")
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
    last: RunRecord | None
    month: Statement


def lines_of(described: Mapping[str, Job], runs: Sequence[RunRecord], month: str) -> list[JobLine]:
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
        "overrides": asdict(limits_of(job)) if job else None,
        "code": _section(job.code) if job else None,
        "described": job is not None,
        "last_run": line.last.account() if line.last else None,
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
