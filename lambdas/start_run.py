"""Starts the run of a scheduled night, once: what EventBridge Scheduler delivers twice is one execution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.executions import (
    InvalidStartError,
    Started,
    Starter,
    StartRefusedError,
    scheduled_name,
)
from nightspot.aws.table.open_runs import PendingDeliveries
from nightspot.aws.table.run_table import RunTable
from nightspot.decide.audit import Delivery
from nightspot.lambdas.dependencies import late_client, read_environment
from nightspot.lambdas.observability import count, entry, logger

REQUESTED_BY = "schedule"


class InvalidScheduleError(ValueError):
    """A schedule's input does not say which night of which job to start."""


class ScheduledStart(BaseModel):
    """What a schedule passes. Scheduler fills in the moment that it was set for, not the one at which it calls.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    job: str = Field(min_length=1)
    scheduled_at: AwareDatetime

    @property
    def name(self) -> str:
        """The name of the run's execution."""
        return scheduled_name(self.job, self.scheduled_at)


@dataclass(frozen=True)
class StartDependencies:
    """What starting works with. A test passes its own."""

    starter: Starter
    pending: PendingDeliveries
    now: Callable[[], datetime]


@entry("StartScheduled")
def handler(
    event: dict[str, Any], context: LambdaContext, *, use: StartDependencies | None = None
) -> dict[str, Any]:
    """`{"run_id", "execution_arn", "is_new"}`. The same night again starts nothing, even after its run is over.

    `{"pending": true}` where Step Functions does not take it now, whatever it says: the reconciler starts it.
    Raises InvalidScheduleError and InvalidStartError with the field, its value and the rule, NameTakenError; and
    what `Starter.start` raises where the table does not keep the start either. Lambda brings the event back twice
    then, and gives it to the dead letters.
    """
    wanted = _read(event)
    use = use or start_dependencies()
    try:
        started = start(wanted, use.starter)
    except InvalidStartError:
        raise
    except (TransientAwsError, StartRefusedError) as error:
        if not use.pending.keep(Delivery.START, wanted.name, wanted.model_dump_json(), use.now()):
            raise
        count("StartPending")
        logger.warning("start pending", extra={"execution": wanted.name, "error": str(error)})
        return {"pending": True}
    if not started.is_new:
        count("RunAlreadyStarted")
    return {
        "run_id": started.run_id,
        "execution_arn": started.execution_arn,
        "is_new": started.is_new,
    }


def start(wanted: ScheduledStart, starter: Starter) -> Started:
    """Start the run unless it was started before. Raises what `Starter.start` raises."""
    started = starter.start(
        wanted.job,
        {},
        name=wanted.name,
        scheduled_at=wanted.scheduled_at,
        requested_by=REQUESTED_BY,
    )
    logger.info(
        "run started" if started.is_new else "the night's run was started before",
        extra={
            "job": wanted.job,
            "run": started.run_id,
            "scheduled_at": wanted.scheduled_at.isoformat(),
            "execution_arn": started.execution_arn,
        },
    )
    return started


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
    environment = read_environment()
    # Its two calls and the table's one together stay within the function's 60 seconds.
    return StartDependencies(
        Starter(late_client("stepfunctions"), environment.state_machine_arn),
        RunTable(late_client("dynamodb"), environment.table_name).pending,
        now=lambda: datetime.now(UTC),
    )
