"""Wakes the run that waits for a training job's news. An event is a wake-up call, never the truth.

So no event is worth a dead letter: what belongs to no open run is dropped at once, what no run waits for is brought
back by Lambda's asynchronous retry and dropped at its last return. The loop looks by itself.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError
from pydantic import AwareDatetime, BaseModel, Field

from nightspot.aws.faults import NotYetError, asking_aws, code_of
from nightspot.aws.runs.executions import WAIT_IS_OVER
from nightspot.formats.run_ids import read_training_job_name
from nightspot.formats.statuses import Secondary, Status
from nightspot.lambdas.dependencies import Dependencies, dependencies
from nightspot.lambdas.observability import count, entry, logger, wake_refused

# What a decision could answer differently; the way to a machine and the upload change nothing.
NEWS = frozenset({Secondary.TRAINING, Secondary.INTERRUPTED, Secondary.STOPPING})


class WakeDetail(BaseModel):
    """The event's detail, as far as waking needs it."""

    training_job_name: str = Field(alias="TrainingJobName")
    status: str = Field(alias="TrainingJobStatus")
    secondary_status: str = Field(alias="SecondaryStatus", default="")
    last_modified_ms: int | None = Field(alias="LastModifiedTime", default=None)


class StateChange(BaseModel):
    """EventBridge's `SageMaker Training Job State Change`."""

    detail: WakeDetail
    time: AwareDatetime | None = None

    def is_young(self, use: Dependencies) -> bool:
        """Whether Lambda brings the event back once more; one without any time is not waited for."""
        ms = self.detail.last_modified_ms
        moment = self.time if ms is None else datetime.fromtimestamp(ms / 1000, UTC)
        return moment is not None and use.now() - moment < use.event_life


@entry("StateChange")
def handler(
    event: dict[str, Any], context: LambdaContext, *, use: Dependencies | None = None
) -> dict[str, Any]:
    """`{"woke": whether}`.

    Raises NotYetError, with which Lambda brings a young event back; an old one is dropped, and counted as
    WakeUpDropped.
    """
    change = StateChange.model_validate(event)
    detail = change.detail
    named = read_training_job_name(detail.training_job_name)
    if named is None or named.is_drill:
        return {"woke": _left(detail, "no run's training job")}
    run_id = named.run_id
    if detail.status == Status.IN_PROGRESS and detail.secondary_status not in NEWS:
        return {"woke": _left(detail, "no news")}
    use = use or dependencies()
    try:
        return {"woke": _wake(run_id, detail, use)}
    except NotYetError as error:
        if change.is_young(use):
            raise
        count("WakeUpDropped")
        name = detail.training_job_name
        logger.warning("wake-up dropped", extra={"training_job": name, "error": repr(error)})
        return {"woke": False}


def _wake(run_id: str, detail: WakeDetail, use: Dependencies) -> bool:
    waiting = use.table.waiting(detail.training_job_name)
    if waiting is None and not _is_open(run_id, use):
        return _left(detail, "no open run of this deployment")
    if waiting is not None and waiting.closed:
        return _left(detail, "the run knows its end")
    moment = detail.last_modified_ms
    if waiting is not None and moment is not None and moment <= (waiting.woken_for_ms or 0):
        # The decision that followed that wake-up looked at the world after this event.
        return _left(detail, "already woken for it")
    if waiting is None or waiting.token is None:
        raise NotYetError(detail.training_job_name)
    # Returned before it is taken out: whatever fails in between, Lambda's retry finds the token again, and Step
    # Functions takes a token once only.
    if not _return_token(waiting.token, detail, use):
        use.table.take_token(detail.training_job_name, waiting.token, None)
        raise NotYetError(detail.training_job_name)
    use.table.take_token(detail.training_job_name, waiting.token, moment)
    return True


def _is_open(run_id: str, use: Dependencies) -> bool:
    """False too for the run of another deployment, whose training jobs have the same prefix."""
    run = use.table.run(run_id)
    return run is not None and run.outcome is None


def _left(detail: WakeDetail, why: str) -> bool:
    logger.debug("left alone", extra={"training_job": detail.training_job_name, "why": why})
    return False


def _return_token(token: str, detail: WakeDetail, use: Dependencies) -> bool:
    try:
        with asking_aws():
            use.step_functions.send_task_success(taskToken=token, output="{}")
    except ClientError as error:
        if code_of(error) in WAIT_IS_OVER:
            # The wait has ended by itself. The decision that follows may have looked already: try the next wait.
            logger.info("the wait was over", extra={"training_job": detail.training_job_name})
            return False
        # Forbidden, most likely. Without the alarm nobody would see it: runs go on by their timers.
        wake_refused()
        raise
    return True
