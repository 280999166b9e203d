"""Wakes the run that waits for a training job's news. An event is a wake-up call, never the truth."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError
from pydantic import BaseModel, ConfigDict, Field

from lambdas.dependencies import Dependencies, dependencies
from lambdas.observability import logger, metrics, traced
from nightspot.run_ids import read_training_job_name

# What a decision could answer differently; the way to a machine and the upload change nothing.
NEWS = frozenset({"Training", "Interrupted", "Stopping"})
IN_PROGRESS = "InProgress"


class NotWaitingYetError(Exception):
    """The run has not begun to wait for this job's news; Lambda's asynchronous retry brings the event back."""


class TrainingJobDetail(BaseModel):
    """The event's detail, as far as waking needs it."""

    model_config = ConfigDict(extra="ignore")

    training_job_name: str = Field(alias="TrainingJobName")
    status: str = Field(alias="TrainingJobStatus")
    secondary_status: str = Field(alias="SecondaryStatus", default="")
    last_modified_ms: int | None = Field(alias="LastModifiedTime", default=None)


class StateChange(BaseModel):
    """EventBridge's `SageMaker Training Job State Change`."""

    model_config = ConfigDict(extra="ignore")

    detail: TrainingJobDetail


@logger.inject_lambda_context
@traced
@metrics.log_metrics
def handler(
    event: dict[str, Any], context: LambdaContext, *, use: Dependencies | None = None
) -> dict[str, Any]:
    """`{"woke": whether}`. Raises NotWaitingYetError where the token is not there yet."""
    metrics.add_metric(name="StateChange", unit=MetricUnit.Count, value=1)
    detail = StateChange.model_validate(event).detail
    named = read_training_job_name(detail.training_job_name)
    if named is not None and named.is_drill:
        return {"woke": _left(detail, "a drill")}
    if detail.status == IN_PROGRESS and detail.secondary_status not in NEWS:
        return {"woke": _left(detail, "no news")}
    return {"woke": _wake(detail, use or dependencies())}


def _wake(detail: TrainingJobDetail, use: Dependencies) -> bool:
    waiting = use.table.waiting(detail.training_job_name)
    if waiting is not None and waiting.closed:
        return _left(detail, "the run knows its end")
    moment = detail.last_modified_ms
    if waiting is not None and moment is not None and moment <= (waiting.woken_for_ms or 0):
        # The decision that followed that wake-up looked at the world after this event.
        return _left(detail, "already woken for it")
    if waiting is None or waiting.token is None:
        raise NotWaitingYetError(detail.training_job_name)
    # Returned before it is taken out: whatever fails in between, Lambda's retry finds the token again, and Step
    # Functions takes a token once only.
    if not _return_token(waiting.token, detail, use):
        use.table.take_token(detail.training_job_name, waiting.token, None)
        raise NotWaitingYetError(detail.training_job_name)
    use.table.take_token(detail.training_job_name, waiting.token, moment)
    return True


def _left(detail: TrainingJobDetail, why: str) -> bool:
    logger.debug("left alone", extra={"training_job": detail.training_job_name, "why": why})
    return False


def _return_token(token: str, detail: TrainingJobDetail, use: Dependencies) -> bool:
    try:
        use.step_functions.send_task_success(taskToken=token, output="{}")
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in {
            "TaskTimedOut",
            "TaskDoesNotExist",
            "InvalidToken",
        }:
            # The wait has ended by itself. The decision that follows may have looked already: try the next wait.
            logger.info("the wait was over", extra={"training_job": detail.training_job_name})
            return False
        raise
    return True
