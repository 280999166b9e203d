"""Writes the page of a run that is over, and says where it is; a page that cannot be written harms nothing else."""

from __future__ import annotations

from aws_lambda_powertools.metrics import MetricUnit
from botocore.exceptions import ClientError

from nightspot.lambdas.dependencies import Dependencies
from nightspot.lambdas.observability import logger, metrics
from nightspot.aws.faults import TransientAwsError
from nightspot.run.model import Run


def written(run: Run, use: Dependencies) -> str | None:
    """The S3 URI of the run's page; None where this deployment keeps none, or where it could not be written."""
    if use.reports is None:
        return None
    # At the end of a run alone: a template engine is no part of any other call.
    from jinja2 import TemplateError  # noqa: PLC0415

    from nightspot.record.summary import record_of  # noqa: PLC0415
    from nightspot.view.html import charts_script  # noqa: PLC0415
    from nightspot.view.html.run_page import run_page  # noqa: PLC0415

    try:
        record = record_of(run, use.table.steps(run.run_id), use.table.phases(run.run_id))
        return use.reports.write(run.run_id, run_page(record, charts_script.read()))
    # Of a page's own mistakes, ValueError is a record that it cannot read.
    except (ClientError, TransientAwsError, TemplateError, OSError, ValueError) as error:
        metrics.add_metric(name="ReportLost", unit=MetricUnit.Count, value=1)
        logger.warning("the report was not written", extra={"run": run.run_id, "error": str(error)})
        return None
