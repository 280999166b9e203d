"""The Powertools objects that all handlers share, and how a happening becomes metric and notice."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.notices import NoticeNotSentError, Notices
from nightspot.happenings import Happening
from nightspot.run import Run

logger = Logger(service="nightspot")
metrics = Metrics(namespace="Nightspot", service="nightspot")
tracer = Tracer(service="nightspot")


def tell(
    happenings: Iterable[Happening], run: Run, at: datetime, detail: dict[str, Any], notices: Notices
) -> None:
    """One metric and one notice for each. A notice that cannot be sent is logged and counted, and no more.

    Training goes on where EventBridge is down.
    """
    for happening in happenings:
        metrics.add_metric(name=happening.value, unit=MetricUnit.Count, value=1)
        try:
            notices.send(happening, run, at, detail)
        except (NoticeNotSentError, ClientError, BotoCoreError) as error:
            logger.error("notice lost", extra={"happening": happening.value, "error": str(error)})
            metrics.add_metric(name="NoticeLost", unit=MetricUnit.Count, value=1)
