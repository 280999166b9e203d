"""The Powertools objects that all handlers share, and how an event becomes metric and notice."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import datetime
from functools import cache, wraps
from typing import Any, TextIO

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.notices import Notices
from nightspot.failures.redaction import redact
from nightspot.lambdas import time_left
from nightspot.record.events import RunEvent
from nightspot.run.model import Run


class _Redacted(logging.Filter):
    """What AWS said, in a line's `error`, goes into no log as it stands: nor what a container said through AWS."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = getattr(record, "error", None)
        if isinstance(error, str):
            record.error = redact(error)
        elif isinstance(error, (list, tuple)):
            record.error = [redact(str(each)) for each in error]
        return True


logger = Logger(service="nightspot")
logger.addFilter(_Redacted())
metrics = Metrics(namespace="Nightspot", service="nightspot")
if environment := os.environ.get("NIGHTSPOT_ENVIRONMENT"):
    # Beside the service and beside the job: an account's environments share one namespace.
    metrics.set_default_dimensions(environment=environment)

Handler = Callable[..., dict[str, Any]]


def traced(handler: Handler) -> Handler:
    """`handler` with X-Ray's subsegment around every call, and one for each call to AWS in it.

    The SDK is loaded by the first call: it brings all of botocore, which an import has no use for yet. Outside
    Lambda, where no X-Ray daemon listens, it is `handler` itself.
    """
    if "LAMBDA_TASK_ROOT" not in os.environ:
        return handler

    @cache
    def with_subsegment() -> Handler:
        return Tracer(service="nightspot", patch_modules=["botocore"]).capture_lambda_handler(
            handler, capture_response=False
        )

    @wraps(handler)
    def call(event: dict[str, Any], context: LambdaContext, **use: Any) -> dict[str, Any]:
        return with_subsegment()(event, context, **use)

    return call


def uncounted_entry(handler: Handler) -> Handler:
    """What a handler is wrapped in that counts nothing by itself: its time, log and trace."""

    @wraps(handler)
    def call(event: dict[str, Any], context: LambdaContext, **use: Any) -> dict[str, Any]:
        time_left.begins(context)
        return handler(event, context, **use)

    wrapped: Handler = logger.inject_lambda_context(traced(call))
    return wrapped


def entry(counted: str) -> Callable[[Handler], Handler]:
    """What every other handler is wrapped in: metrics too, the first of which counts its calls."""

    def wrap(handler: Handler) -> Handler:
        @wraps(handler)
        def call(event: dict[str, Any], context: LambdaContext, **use: Any) -> dict[str, Any]:
            count(counted)
            return handler(event, context, **use)

        measured: Handler = metrics.log_metrics(call)
        return uncounted_entry(measured)

    return wrap


def count(name: str, times: int = 1) -> None:
    """Count that something happened."""
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=times)


def not_ours(training_job_name: str) -> bool:
    """Count and log an event of a training job that no run of this table has asked for. Always False.

    It is another deployment's, or was made by hand with such a name: the event is not worth a second try.
    """
    count("NotOurs")
    logger.info("not ours", extra={"training_job": training_job_name})
    return False


def wake_refused() -> None:
    """Count that AWS refused to wake a run: every run then looks by its timer alone."""
    count("WakeRefused")


def emit() -> None:
    """Emit what was counted so far, under its own dimensions; nothing where nothing was."""
    if metrics.metric_set:
        metrics.flush_metrics()
    else:
        metrics.clear_metrics()


def tell(
    run_events: Iterable[RunEvent],
    run: Run,
    at: datetime,
    detail: dict[str, Any],
    notices: Notices,
    *,
    counted: bool = True,
) -> bool:
    """One metric (unless not `counted`) and one notice for each; whether EventBridge took all of these.

    A notice that cannot be sent is logged and counted, and no more: training goes on where EventBridge is down.
    """
    lost = 0
    for run_event in run_events:
        if counted:
            count(run_event.value)
        try:
            notices.send(run_event, run, at, detail)
        except (TransientAwsError, ClientError, BotoCoreError) as error:
            lost += 1
            logger.error("notice lost", extra={"event": run_event.value, "error": str(error)})
            count("NoticeLost")
    return lost == 0


@contextmanager
def writing_to(log: TextIO) -> Iterator[None]:
    """Inside: what the handlers log and their metrics go to `log`, as in Lambda to CloudWatch."""
    streams = [h for h in logger.handlers if isinstance(h, logging.StreamHandler)]
    before = [handler.setStream(log) for handler in streams]
    try:
        with redirect_stdout(log):
            yield
    finally:
        for handler, stream in zip(streams, before, strict=True):
            if stream is not None:
                handler.setStream(stream)
