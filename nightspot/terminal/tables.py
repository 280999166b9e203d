"""How a run's record is shown: what was played, its decisions, its attempts, and what it came to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from nightspot.formats.figures import MINUTE_SECONDS, NOT_KNOWN, format_duration, plain, usd
from nightspot.job.markets import Market
from nightspot.local.stage.records import LocalRecord, Played
from nightspot.record.model import AttemptRecord, RunRecord
from nightspot.record.sentences import (
    RESUMES,
    at_best,
    how_an_attempt_ended,
    how_too_high,
    on_demand_alone,
    remarks_in_words,
    tracker_pages,
    unpriced,
)
from nightspot.run.model import Action, Resume
from nightspot.terminal.lines import NIGHTSPOT, paragraph, plain_table, tell

# https://aws.amazon.com/step-functions/pricing/, standard workflows.
USD_PER_STATE_TRANSITION = 0.025 / 1000


def show_header(console: Console, played: Played) -> None:
    """What is played, and which parts of it are real."""
    pace = f"1 s = {format_duration(played.time_scale)}"
    hours = (
        "Hours of the story are seconds here" if played.time_scale > 1 else "The story takes its real time"
    )
    paragraph(
        console,
        "Simulated",
        "SageMaker, its Spot market, S3, DynamoDB, EventBridge, and the interpreter of Step Functions (moto).",
    )
    paragraph(
        console,
        "Real",
        "the workflow file, the Lambda handlers, the training process, its checkpoints and model. "
        f"{hours}: {pace}.",
    )
    paragraph(console, "Job", f"{played.job} ({played.job_file}): {', '.join(_plan(played))}.")
    paragraph(console, "Night", f"{played.night}: {played.story}")
    if played.overrides:
        paragraph(console, "This run", f"{overrides_in_words(played.overrides)}.")
    console.print()


def _plan(played: Played) -> Iterator[str]:
    # Records of older versions have the work that was done in the place of the work that was expected.
    if played.expected_work_seconds is not None:
        yield f"{format_duration(played.expected_work_seconds)} of work expected"
    began = played.story_started_at
    if began is not None:
        yield f"start {began:%Y-%m-%d %H:%M} UTC"
    if played.deadline is not None:
        yield f"model due by {_clock(played.deadline, began or played.deadline)}"


def overrides_in_words(overrides: Mapping[str, Any]) -> str:
    """What a run does otherwise than its job file says: "deadline: 6h; budget: per_run_usd 50"."""
    return "; ".join(f"{name}: {_in_words(value)}" for name, value in overrides.items())


def _in_words(value: Any) -> str:
    """An override's value as a person would write it."""
    if isinstance(value, dict):
        if "instance_type" in value:
            speed = f" (speed {_in_words(value['speed'])})" if "speed" in value else ""
            return f"{value['instance_type']}{speed}"
        if isinstance(value.get("within"), int):
            return f"within {format_duration(value['within'])}"
        return ", ".join(f"{name} {_in_words(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", then ".join(_in_words(inner) for inner in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def show_decisions(console: Console, run: RunRecord, *, spot_first: bool) -> None:
    """Every decision with its time (UTC) and its `because`; `spot_first`: on-demand is a fallback."""
    attempts = iter(run.attempts)
    for step in run.steps or ():
        what, fallback = "", False
        if step.action is Action.START and (attempt := next(attempts, None)) is not None:
            fallback = attempt.market is Market.ON_DEMAND and spot_first
            what = f"{attempt.market.of(attempt.instance_type)} as job {attempt.number}"
        elif step.action is Action.FINISH:
            what = run.outcome.value
        text = in_words(step.action, step.because, what=what, fallback=fallback)
        tell(console, step.at, NIGHTSPOT, text, style_of(step.action, fallback=fallback))


def attempts_table(run: RunRecord) -> Table:
    """One row per training job, failed ones included."""
    table = plain_table()
    table.add_column("#", justify="right", no_wrap=True)
    for heading in ("market", "instance type"):
        table.add_column(heading, no_wrap=True)
    for heading in ("waited", "trained", "billed"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("inter-\nrupted", justify="right")
    table.add_column("resumed\nfrom", justify="right")
    table.add_column("ended as", min_width=10)
    table.add_column("cost", justify="right", no_wrap=True)
    for attempt in run.attempts:
        table.add_row(*_row(attempt))
    return table


def _row(attempt: AttemptRecord) -> tuple[str, ...]:
    return (
        str(attempt.number),
        attempt.market.label,
        plain(attempt.instance_type),
        _narrow(attempt.waited_seconds),
        _narrow(attempt.trained_seconds),
        _narrow(attempt.billable_seconds),
        f"{attempt.interruptions} x" if attempt.interruptions else "-",
        "-" if attempt.resumed_from_step is None else f"step {attempt.resumed_from_step}",
        how_an_attempt_ended(attempt),
        usd(attempt.cost_usd),
    )


def show_outcome(console: Console, run: LocalRecord) -> None:
    """The attempts and what they came to, in sentences."""
    if run.attempts:
        console.print()
        console.print(attempts_table(run))
    console.print()
    style = "bold red" if not run.deadline_met else "bold yellow" if run.remarks else "bold green"
    paragraph(console, "Model", _model(run), style)
    for title, text in _sums(run):
        paragraph(console, title, text)


def _model(run: LocalRecord) -> str:
    if not run.has_model:
        why = run.because or run.cause or "the workflow ended without a word."
        return f"none ({run.outcome.value}). {why}"
    but = f", but {remarks_in_words(run)}" if run.remarks else ""
    if run.ended_at is None or run.margin_seconds is None or run.deadline is None:
        return f"ready{but}."
    when = "before" if run.margin_seconds >= 0 else "AFTER"
    deadline = _clock(run.deadline, run.ended_at)
    margin = f"{_duration(abs(run.margin_seconds))} {when} the deadline at {deadline}"
    return f"ready at {run.ended_at:%H:%M} UTC, {margin}{but}."


def _sums(run: LocalRecord) -> Iterator[tuple[str, str]]:
    resumes = [
        _resume(attempt.number, attempt.resume, attempt.resumed_from_step)
        for attempt in run.attempts
        if attempt.resume
    ]
    if resumes:
        yield "Resume", f"{'; '.join(resumes)}."
    if run.progress_unreadable:
        yield "Progress", f"could not be read: {run.progress_unreadable}"
    if run.code:
        yield "Code", f"{run.code.version.words}."
    yield "Cost", _cost(run)
    if doubt := how_too_high(run):
        yield "Caution", doubt
    yield "Prices", _prices(run)
    if run.metrics:
        text = ", ".join(
            f"{name.replace('_at_', '@')} {_metric(value)}" for name, value in run.metrics.items()
        )
        yield (
            "Quality",
            f"{text} ({'of the model' if run.has_model else 'at the last checkpoint that is safe'}).",
        )
    if run.model_artifact:
        yield "Artefact", f"{run.model_artifact} (in the simulated S3, which is gone with the run)."
    yield from tracker_pages(run)
    if run.state_transitions is not None:
        cost = run.state_transitions * USD_PER_STATE_TRANSITION
        yield "Workflow", f"{run.state_transitions} state transitions: ${cost:.4f} at $0.025 per 1,000."
    if run.scratch:
        yield "Logs", f"training: {run.scratch}/logs, Lambda functions: {run.scratch}/functions.log."


def _metric(value: float | None) -> str:
    return NOT_KNOWN if value is None else f"{value:.4f}"


def _resume(number: int, resume: Resume, step: int | None) -> str:
    """ "job 2: proven, from step 15"."""
    return f"job {number}: {RESUMES[resume]}{'' if step is None else f', from step {step}'}"


def _cost(run: RunRecord) -> str:
    if run.cost_usd is None:
        return f"{NOT_KNOWN}{unpriced(run)}."
    text = f"{usd(run.cost_usd)} for all attempts"
    if not run.has_model:
        return f"{text}."
    if run.on_demand_cost_usd is None:
        return f"{text}; what on-demand alone would have cost is {NOT_KNOWN}."
    text += f"; {on_demand_alone(run)}"
    saved = run.saved_percent
    if saved is None:
        return f"{text}.{at_best(run)}"
    words = f"{saved:.1f} % saved" if saved >= 0 else f"{-saved:.1f} % more than that"
    return f"{text}: {words}.{at_best(run)}"


def _prices(run: LocalRecord) -> str:
    said = [
        f"{price.instance_type} {usd(price.usd_per_hour)} an hour on-demand"
        f" ({'assumed' if price.assumed else 'listed'} {price.date})"
        if price.usd_per_hour is not None
        else f"{price.instance_type} {NOT_KNOWN}"
        for price in run.prices
    ]
    if run.spot_discount is not None:
        said.append(f"Spot is simulated at {run.spot_discount:.0%} less".replace("%", " %"))
    return f"{'; '.join(said) or NOT_KNOWN}."


def _duration(seconds: float | None) -> str:
    """In the two largest units, without seconds beside minutes."""
    if seconds is None:
        return "-"
    whole = seconds if seconds < MINUTE_SECONDS else seconds // MINUTE_SECONDS * MINUTE_SECONDS
    return format_duration(whole)


def _narrow(seconds: float | None) -> str:
    """`1h 31m`, so that a whole row fits into 100 columns."""
    return _duration(seconds).replace(" min", "m").replace(" d", "d").replace(" h", "h").replace(" s", "s")


def _clock(moment: datetime, beside: datetime) -> str:
    """`08:00 UTC`, with its date where that is not the one of `beside`."""
    day = "" if moment.date() == beside.date() else f"{moment:%Y-%m-%d} "
    return f"{day}{moment:%H:%M} UTC"


_STYLES: Mapping[Action, str] = {
    Action.START: "bold cyan",
    Action.WATCH: "cyan",
    Action.STOP: "bold yellow",
    Action.PAUSE: "cyan",
    Action.FINISH: "bold cyan",
}
_FALLBACK_STYLE = "bold magenta"


def in_words(action: Action, because: str, *, what: str = "", fallback: bool = False) -> str:
    """`START Spot ml.p4d.24xlarge as job 1: <because>`; `what` is the part after the action.

    What acts is in capitals, what only looks on is not. A fallback is a start that buys on-demand for a job
    that would rather have Spot.
    """
    name = action.value if action in {Action.WATCH, Action.PAUSE} else action.value.upper()
    doing = " ".join(part for part in ("FALLBACK:" if fallback else "", name, what) if part)
    return f"{doing}: {because}"


def style_of(action: Action, *, fallback: bool = False) -> str:
    """rich's style for the line."""
    return _FALLBACK_STYLE if fallback else _STYLES[action]
