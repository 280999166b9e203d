"""Starts the run of a scheduled night, once: what EventBridge Scheduler delivers twice is one execution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from lambdas.dependencies import late_client
from lambdas.environment import read_environment
from lambdas.observability import logger, metrics, traced
from nightspot.aws.starting import Starter, scheduled_name

REQUESTED_BY = "schedule"
# botocore's Config: all tries of its two calls together stay within the function's 60 seconds in all but the worst
# case, and what they cannot outlast is tried again a minute later, by Lambda.
PATIENT = {
    "connect_timeout": 2,
    "read_timeout": 5,
    "retries": {"mode": "standard", "total_max_attempts": 5},
}


class InvalidScheduleError(ValueError):
    """A schedule's input does not say which night of which job to start."""


class ScheduledStart(BaseModel):
    """What a schedule passes. Scheduler fills in the moment that it was set for, not the one at which it calls.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    job: str = Field(min_length=1)
    scheduled_at: AwareDatetime


@dataclass(frozen=True)
class StartDependencies:
    """What starting works with. A test passes its own."""

    starter: Starter


@logger.inject_lambda_context
@traced
@metrics.log_metrics
def handler(
    event: dict[str, Any], context: LambdaContext, *, use: StartDependencies | None = None
) -> dict[str, Any]:
    """`{"run_id", "execution_arn", "is_new"}`. The same night again starts nothing, even after its run is over.

    Raises InvalidScheduleError with the field, its value and the rule, and what `Starter.start` raises; Lambda
    brings the event back twice, and gives it to the dead letters then.
    """
    metrics.add_metric(name="StartScheduled", unit=MetricUnit.Count, value=1)
    wanted = _read(event)
    use = use or start_dependencies()
    started = use.starter.start(
        wanted.job,
        {},
        name=scheduled_name(wanted.job, wanted.scheduled_at),
        scheduled_at=wanted.scheduled_at,
        requested_by=REQUESTED_BY,
    )
    if not started.is_new:
        metrics.add_metric(name="RunAlreadyStarted", unit=MetricUnit.Count, value=1)
    logger.info(
        "run started" if started.is_new else "the night's run was started before",
        extra={
            "job": wanted.job,
            "run": started.run_id,
            "scheduled_at": wanted.scheduled_at.isoformat(),
            "execution_arn": started.execution_arn,
        },
    )
    return {
        "run_id": started.run_id,
        "execution_arn": started.execution_arn,
        "is_new": started.is_new,
    }


def _read(event: Any) -> ScheduledStart:
    try:
        return ScheduledStart.model_validate(event)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "input"
        rule = 'must be like {"job": "recommender", "scheduled_at": "2026-11-21T00:00:00Z"}'
        raise InvalidScheduleError(
            f"{field}: {first['input']!r}: {first['msg']}. The input {rule}"
        ) from error


@cache
def start_dependencies() -> StartDependencies:
    """The deployed function's."""
    client = late_client("stepfunctions", config=PATIENT)
    return StartDependencies(Starter(client, read_environment().state_machine_arn))
