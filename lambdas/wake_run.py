"""Wakes the run that waits for a training job's news. An event is a wake-up call, never the truth.

So no event is worth a dead letter: what belongs to no open run is dropped at once, what no run waits for is brought
back by Lambda's asynchronous retry and dropped at its last return. The loop looks by itself.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError
from pydantic import BaseModel, BeforeValidator, Field

from nightspot.aws.faults import NotYetError, asking_aws, code_of
from nightspot.aws.runs.executions import WAIT_IS_OVER
from nightspot.aws.table.run_table import Waiting
from nightspot.formats.event_times import read_event_ms
from nightspot.formats.run_ids import read_training_job_name
from nightspot.formats.statuses import ENDED, Secondary, Status
from nightspot.lambdas.dependencies import Dependencies, dependencies
from nightspot.lambdas.observability import count, entry, logger, not_ours, wake_refused

# What a decision could answer differently; the way to a machine and the upload change nothing.
NEWS = frozenset({Secondary.TRAINING, Secondary.INTERRUPTED, Secondary.STOPPING})


EventMs = Annotated[int | None, BeforeValidator(read_event_ms)]


class WakeDetail(BaseModel):
    """The event's detail, as far as waking needs it. Only the name is needed."""

    training_job_name: str = Field(alias="TrainingJobName")
    status: str | None = Field(alias="TrainingJobStatus", default=None)
    secondary_status: str | None = Field(alias="SecondaryStatus", default=None)
    last_modified_ms: EventMs = Field(alias="LastModifiedTime", default=None)

    @property
    def state(self) -> str:
        """Both statuses: what tells an event from another of the same moment."""
        return f"{self.status}/{self.secondary_status}"


class StateChange(BaseModel):
    """EventBridge's `SageMaker Training Job State Change`."""

    detail: WakeDetail
    time_ms: EventMs = Field(alias="time", default=None)

    def is_young(self, use: Dependencies) -> bool:
        """Whether Lambda brings the event back once more; one without any time is not waited for."""
        ms = self.time_ms if self.detail.last_modified_ms is None else self.detail.last_modified_ms
        # One that lies in the future has a clock of its own: it must not wait for ever either.
        return ms is not None and abs(use.now() - datetime.fromtimestamp(ms / 1000, UTC)) < use.event_life


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
    if waiting is None:
        # Whose it is comes before everything that could bring the event back.
        run = use.table.run(run_id)
        if run is None:
            return not_ours(detail.training_job_name)
        if run.outcome is not None:
            return _left(detail, "its run is over")
        raise NotYetError(detail.training_job_name)
    if waiting.closed:
        return _left(detail, "the run knows its end")
    if _was_woken_for(detail, waiting):
        return _left(detail, "already woken for it")
    if waiting.token is None:
        raise NotYetError(detail.training_job_name)
    # Returned before it is taken out: whatever fails in between, Lambda's retry finds the token again, and Step
    # Functions takes a token once only.
    if not _return_token(waiting.token, detail, use):
        use.table.take_token(detail.training_job_name, waiting.token, None)
        raise NotYetError(detail.training_job_name)
    use.table.take_token(
        detail.training_job_name, waiting.token, detail.last_modified_ms, woken_for=detail.state
    )
    return True


def _was_woken_for(detail: WakeDetail, waiting: Waiting) -> bool:
    """Whether the decision after the last wake-up looked at the world after this event.

    Nobody knows how fine LastModifiedTime is, nor whether it grows with each event, so a moment alone does not tell
    two events apart, and an end is never taken for old news.
    """
    moment, last = detail.last_modified_ms, waiting.woken_for_ms
    if moment is None or last is None:
        return False
    if detail.state == waiting.woken_for:
        return moment <= last
    return moment < last and detail.status not in ENDED


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
