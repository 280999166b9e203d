"""A deployed run in a terminal: the whole record, and what is new in one that is going on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from rich.console import Console as Terminal
from rich.console import Group
from rich.table import Table
from rich.text import Text

from nightspot.formats.figures import clock, duration, percent, plain, usd
from nightspot.formats.statuses import Secondary
from nightspot.job.markets import Market
from nightspot.record.model import AttemptRecord, RunRecord
from nightspot.record.sentences import (
    at_best,
    failure_in_words,
    how_too_high,
    remarks_in_words,
    tracker_pages,
)
from nightspot.run.model import Action
from nightspot.terminal import tables
from nightspot.terminal.lines import paragraph
from nightspot.view.messages.plain import Console


class NewsKind(StrEnum):
    """What a piece of news is about."""

    DECISION = "decision"
    ATTEMPT = "attempt"
    STILL = "still"  # nothing new: how it stands
    FAULT = "fault"  # the run could not be looked at
    END = "end"


@dataclass(frozen=True)
class News:
    """One line. `at` is the story's time, None where only the reader's clock tells; `facts` are JSON-ready."""

    kind: NewsKind
    text: str
    at: datetime | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self, run_id: str) -> dict[str, Any]:
        """One line of `--json`."""
        at = self.at.isoformat() if self.at else None
        return {"kind": self.kind.value, "run_id": run_id, "at": at, "text": self.text, **self.facts}


# AWS's SecondaryStatus as somebody who waits reads it; any other is shown as AWS writes it.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeTrainingJob.html
STATUS_WORDS: Mapping[str, str] = {
    Secondary.STARTING: "asked for a machine",
    Secondary.PENDING: "waits for a machine",
    Secondary.LAUNCHING_ML_INSTANCES: "waits for a machine",
    Secondary.PREPARING_TRAINING_STACK: "prepares its machine",
    Secondary.DOWNLOADING: "has a machine and downloads its data",
    Secondary.DOWNLOADING_TRAINING_IMAGE: "has a machine and downloads its image",
    Secondary.TRAINING: "trains",
    Secondary.INTERRUPTED: "INTERRUPTED: the machine was taken away",
    Secondary.RESTARTING: "restarts after a fault inside SageMaker",
    Secondary.UPLOADING: "uploads its model",
    Secondary.STOPPING: "is stopping",
    Secondary.MAX_WAIT_TIME_EXCEEDED: "was stopped by SageMaker: the time to wait for Spot is used up",
    Secondary.MAX_RUNTIME_EXCEEDED: "was stopped by SageMaker: MaxRuntimeInSeconds is used up",
}


_FACTS_OF_THE_END = (
    "outcome",
    "because",
    "remarks",
    "ended_at",
    "deadline_met",
    "margin_seconds",
    "cost_usd",
    "saved_percent",
)


def news_between(before: RunRecord | None, after: RunRecord) -> list[News]:
    """What `after` says that `before` (None: nothing was seen yet) did not, in the order of the story."""
    lines = [*_decisions(before, after), *_attempts(before, after)]
    lines.sort(key=lambda line: line.at or datetime.max.replace(tzinfo=UTC))
    if after.is_over and not (before is not None and before.is_over):
        lines.append(end_of(after))
    return lines


def end_of(record: RunRecord) -> News:
    """How the run ended, what it cost and what it saved; the last line of a story, also by its time.

    A run ends (`ended_at`) with its last training job, and is told to have ended by the decision after that.
    """
    facts = record.model_dump(mode="json", include=set(_FACTS_OF_THE_END))
    words = " ".join(sentence for sentence in (_outcome(record), _cost(record)) if sentence)
    return News(NewsKind.END, words, record.over_at, facts)


def still(record: RunRecord, now: datetime) -> News:
    """How a run stands that has nothing new to tell. `now`: aware, the story's."""
    return News(
        NewsKind.STILL,
        f"{standing(record)}; {time_left(record, now)}.",
        now,
        {"attempt": record.attempts[-1].number if record.attempts else None, "fraction": fraction(record)},
    )


def standing(record: RunRecord) -> str:
    """ "job 2 (on-demand ml.p4d.24xlarge) trains, 45 % are safe"."""
    if not record.attempts:
        return "no training job yet"
    words = f"{_name(record.attempts[-1])} {_state(record.attempts[-1])}"
    done = fraction(record)
    return f"{words}, {done:.0%} are safe".replace("%", " %") if done is not None else words


def time_left(record: RunRecord, now: datetime) -> str:
    """ "3 h 12 min to the deadline (08:00 UTC)"; what is past is said as such."""
    deadline = record.deadline
    if deadline is None:
        return "its deadline is not known"
    seconds = (deadline - now).total_seconds()
    where = "to the deadline" if seconds >= 0 else "past the deadline"
    return f"{duration(abs(seconds))} {where} ({clock(deadline, now)})"


def fraction(record: RunRecord) -> float | None:
    """How much of the training the last durable checkpoint holds, 0..1; None where nothing says it."""
    known = next((step.progress for step in reversed(record.steps or ()) if step.progress), None)
    return known.fraction if known else None


def _decisions(before: RunRecord | None, after: RunRecord) -> Iterator[News]:
    seen = len(before.steps or ()) if before is not None else 0
    for step in (after.steps or ())[seen:]:
        attempt = next((each for each in after.attempts if each.number == step.attempt), None)
        what = _name(attempt) if step.action is Action.START and attempt else ""
        if step.action is Action.FINISH:
            what = after.outcome.value
        facts = step.model_dump(
            mode="json", include={"action", "because", "attempt", "late", "last_safe_at", "progress"}
        )
        yield News(NewsKind.DECISION, tables.in_words(step.action, step.because, what=what), step.at, facts)


def _attempts(before: RunRecord | None, after: RunRecord) -> Iterator[News]:
    old = {each.number: _state(each) for each in before.attempts} if before is not None else {}
    for attempt in after.attempts:
        state = _state(attempt)
        if old.get(attempt.number) == state:
            continue
        facts = attempt.model_dump(
            mode="json",
            include={"number", "training_job_name", "status", "secondary_status", "failure_class"},
        )
        yield News(NewsKind.ATTEMPT, f"{_name(attempt)} {state}", attempt.ended_at or after.over_at, facts)


def _state(attempt: AttemptRecord) -> str:
    often = f" (interrupted {attempt.interruptions} x)" if attempt.interruptions else ""
    if attempt.ended_at:
        failure = attempt.failure_class
        return f"ended as {failure_in_words(failure)}{often}" if failure else f"has completed{often}"
    if attempt.status is None:
        return "was asked for"
    secondary = attempt.secondary_status or ""
    return STATUS_WORDS.get(secondary, f"is {secondary or attempt.status}") + often


def _name(attempt: AttemptRecord) -> str:
    return f"job {attempt.number} ({attempt.market.of(attempt.instance_type)})"


def _outcome(record: RunRecord) -> str:
    but = f", but {remarks_in_words(record)}" if record.remarks else ""
    if record.has_model and record.margin_seconds is not None:
        where = "before" if record.margin_seconds >= 0 else "AFTER"
        return f"The model is ready, {duration(abs(record.margin_seconds))} {where} the deadline{but}."
    if record.has_model:
        return f"The model is ready{but}."
    return f"There is no model: {record.outcome.value}. {record.because or 'It does not say why.'}"


def _cost(record: RunRecord) -> str:
    if record.cost_usd is None:
        return f"It cost at least {usd(record.cost_at_least_usd)}."
    saved = record.saved_percent
    if not record.has_model or record.saved_usd is None:
        return f"It cost {usd(record.cost_usd)}."
    share = usd(abs(record.saved_usd)) if saved is None else percent(abs(saved))
    words = f"{share} {'less' if record.saved_usd >= 0 else 'more'}"
    return f"It cost {usd(record.cost_usd)}, {words} than on-demand alone.{at_best(record)}"


NEWS_LINES = 8  # of the live view


def show(terminal: Terminal, record: RunRecord, now: datetime, *, with_links: bool) -> None:
    """The whole record. `now` is the story's clock (aware), for a run that is going on."""
    for title, text in _head(record, now):
        paragraph(terminal, title, text)
    terminal.print()
    has_spot = record.fell_back or any(attempt.market is Market.SPOT for attempt in record.attempts)
    tables.show_decisions(terminal, record, spot_first=has_spot)
    if record.attempts:
        terminal.print()
        terminal.print(tables.attempts_table(record))
    terminal.print()
    going_on = f"none yet: {standing(record)}; {time_left(record, now)}."
    paragraph(terminal, "Outcome", end_of(record).text if record.is_over else going_on)
    if doubt := how_too_high(record):
        paragraph(terminal, "Caution", doubt)
    if record.model_artifact:
        paragraph(terminal, "Artefact", record.model_artifact)
    for name, link in tracker_pages(record):
        paragraph(terminal, name, link)
    if with_links:
        links = links_of(record)
        if links["execution"]:
            paragraph(terminal, "Console", links["execution"])
        for job in links["training_jobs"]:
            paragraph(terminal, f"Job {job['attempt']}", job["page"])
            paragraph(terminal, f"Logs {job['attempt']}", job["logs"])


def view(record: RunRecord | None, lines: Sequence[News], now: datetime, run_id: str) -> Group:
    """What `nightspot watch` shows on a terminal while the run goes on; `lines` are all its news so far."""
    told = [Text(f"{(line.at or now).astimezone(UTC):%H:%M:%S}  {line.text}") for line in lines[-NEWS_LINES:]]
    if record is None:
        return Group(Text(f"Run {run_id} is not on record yet.", style="bold"), *told)
    head = Table.grid(padding=(0, 2))
    for title, text in (*_head(record, now), ("Now", f"{standing(record)}.")):
        head.add_row(Text(title, style="bold"), Text(text))
    parts: list[Any] = [head]
    if record.attempts:
        parts.append(tables.attempts_table(record))
    return Group(*parts, Text(""), *told)


def links_of(record: RunRecord) -> dict[str, Any]:
    """The run's pages in the AWS console: its execution, and each training job with its logs. JSON-ready."""
    arn = record.execution_arn
    console = Console.of_arn(arn) if arn else None
    if console is None or not arn:
        return {"execution": None, "training_jobs": []}
    return {
        "execution": console.execution(arn),
        "training_jobs": [
            {
                "attempt": attempt.number,
                "page": console.training_job(attempt.training_job_name),
                "logs": console.training_job_logs(attempt.training_job_name),
            }
            for attempt in record.attempts
            if attempt.status is not None
        ],
    }


def _head(record: RunRecord, now: datetime) -> list[tuple[str, str]]:
    started = record.started_at
    left = clock(record.deadline, started) if record.is_over else time_left(record, now)
    lines = [
        ("Run", f"{record.run_id} of {record.job}, started {started:%Y-%m-%d} {clock(started)}."),
        ("Deadline", f"{left}."),
    ]
    if record.requested_by:
        lines.append(("Started by", f"{plain(record.requested_by)}."))
    if record.overrides:
        lines.append(("This run", f"{tables.overrides_in_words(record.overrides)}."))
    if record.code:
        lines.append(("Code", f"{plain(record.code.version.words)}."))
    if record.plan_note:
        lines.append(("Plan", plain(record.plan_note)))
    if record.cost_usd is None or not record.is_over:
        lines.append(("Cost", f"at least {usd(record.cost_at_least_usd)} so far."))
    return lines
