"""Last state but one: closes the run's record and tells how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError
from pydantic import BaseModel

from nightspot.aws.faults import TransientAwsError
from nightspot.decide.audit import is_whole
from nightspot.lambdas import turns
from nightspot.lambdas.dependencies import Dependencies, dependencies
from nightspot.lambdas.observability import count, entry, logger, metrics, tell
from nightspot.record.events import OF_OUTCOME, RunEvent, of_run
from nightspot.record.model import RunRecord
from nightspot.record.sentences import remarks_of
from nightspot.record.summary import summarise
from nightspot.run.model import Outcome, Run, run_from_json


class RunNotOverError(ValueError):
    """The ledger has no outcome to record."""


class OutcomeRequest(BaseModel):
    """What the state machine passes."""

    run: dict[str, Any]


@entry("RunOver")
def handler(
    event: dict[str, Any], context: LambdaContext, *, use: Dependencies | None = None
) -> dict[str, Any]:
    """The run's summary, which becomes the execution's output. Raises RunNotOverError."""
    use = use or dependencies()
    run = run_from_json(OutcomeRequest.model_validate(event).run)
    return close(_written(run, use), use).to_json()


def _written(run: Run, use: Dependencies) -> Run:
    """`run`, once the decisions are on record that the table could not take when they were made."""
    if not run.unwritten:
        return run
    written = replace(run, unwritten=())
    *earlier, last = run.unwritten
    # What an invocation before this one has written is not written again: it would never come to the end of many.
    there = {step.number for step in use.table.steps(run.run_id)} if earlier else set()
    for step in earlier:
        if step.number not in there:
            use.table.record_earlier_step(run.run_id, step)
    use.table.record_step(replace(run, attempts=()), written, last)
    return written


def close(run: Run, use: Dependencies, *, has_crashed: bool = False) -> RunRecord:
    """The summary of `run`, once its outcome is recorded, what it holds freed, and people told.

    `has_crashed`: who heard of that hears of the end too, however good. A notice that could not be sent leaves a
    mark, by which the reconciler sends it again. Raises RunNotOverError.
    """
    if run.outcome is None:
        raise RunNotOverError(run.run_id)
    run = _remarked(run, use)
    summary = summarise(run)
    use.table.close_turns.begin_to_tell(run.run_id, use.now())
    use.table.record_outcome(run)
    turns.give_back(run, use)
    logger.info("run over", extra={"job": run.job, "run": run.run_id, "outcome": summary.outcome})
    if not tell_end(run, use, has_crashed=has_crashed):
        use.table.close_turns.has_counted(run.run_id)
    elif is_whole(run):
        use.table.open_runs.forget(run.run_id)
    return summary


def _remarked(run: Run, use: Dependencies) -> Run:
    """`run` with what is odd about its success. It is looked at once: what was seen stays."""
    last = run.last_attempt
    if run.outcome is not Outcome.SUCCEEDED or last is None or run.remarks:
        return run
    model = None if use.models is None else use.models.state(last.model_artifact)
    return replace(run, remarks=remarks_of(run, model))


def tell_end(run: Run, use: Dependencies, *, has_crashed: bool = False, counted: bool = False) -> bool:
    """Count the end of `run`, unless it is `counted` already, and tell it; whether EventBridge took the notice."""
    if run.outcome is None:
        raise RunNotOverError(run.run_id)
    summary = summarise(run)
    if not counted:
        count_figures(run, figures_of(run, summary))
    happened = (*of_run(run), *((RunEvent.DECISION_CRASHED,) if has_crashed or run.restarts else ()))
    detail = {
        "because": run.outcome_because,
        "happened": [run_event.value for run_event in happened],
        "summary": summary.to_json(),
        "report": write_report(run, use),
    }
    is_told = tell([OF_OUTCOME[run.outcome]], run, use.now(), detail, use.notices, counted=not counted)
    if is_told:
        use.table.close_turns.has_told(run.run_id)
    return is_told


def figures_of(run: Run, record: RunRecord) -> dict[str, tuple[MetricUnit, float | None]]:
    """What is counted of a run that is over, by the metric's name; None where it is not known (yet)."""
    return {
        "CostUsd": (MetricUnit.NoUnit, record.cost_usd),
        "OnDemandCostUsd": (MetricUnit.NoUnit, record.on_demand_cost_usd),
        "WaitedSeconds": (MetricUnit.Seconds, sum(a.waited_seconds for a in run.attempts)),
        "TrainedSeconds": (MetricUnit.Seconds, sum(a.trained_seconds for a in run.attempts)),
        "SavedPercent": (MetricUnit.Percent, record.saved_percent),
        "DeadlineMarginSeconds": (MetricUnit.Seconds, record.margin_seconds),
    }


def count_figures(run: Run, figures: Mapping[str, tuple[MetricUnit, float | None]]) -> None:
    """One metric for each figure that is known."""
    metrics.add_dimensions(job=run.job)
    for name, (unit, value) in figures.items():
        if value is not None:
            metrics.add_metric(name=name, unit=unit, value=value)


def write_report(run: Run, use: Dependencies) -> str | None:
    """The S3 URI of the run's page; None where this deployment keeps none, or where it could not be written."""
    if use.reports is None:
        return None
    # At the end of a run alone: a template engine is no part of any other call.
    from jinja2 import TemplateError  # noqa: PLC0415

    from nightspot.record.model import read_record  # noqa: PLC0415
    from nightspot.record.summary import record_of  # noqa: PLC0415
    from nightspot.view.html import charts_script  # noqa: PLC0415
    from nightspot.view.html.pages import run_page  # noqa: PLC0415

    try:
        written = record_of(run, use.table.steps(run.run_id), use.table.phases(run.run_id))
        record = read_record(written.to_json())  # checked: it may hold anything that a script wrote
        return use.reports.write(run.run_id, run_page(record, charts_script.read()))
    # Of a page's own mistakes, ValueError is a record that it cannot read.
    except (ClientError, TransientAwsError, TemplateError, OSError, ValueError) as error:
        count("ReportLost")
        logger.warning("the report was not written", extra={"run": run.run_id, "error": str(error)})
        return None
