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
from nightspot.job.markets import Market
from nightspot.record.run_account import Ending
from nightspot.record.sentences import joined, texts_of
from nightspot.record.summary import RUNNING
from nightspot.run.model import Action
from nightspot.terminal import tables
from nightspot.terminal.lines import paragraph
from nightspot.view.html.runs_page import accounted
from nightspot.view.messages.plain import Console

"""`nightspot.record.summary.record_of`'s shape, or a local record, which has all of it."""


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
    "Starting": "asked for a machine",
    "Pending": "waits for a machine",
    "LaunchingMLInstances": "waits for a machine",
    "PreparingTrainingStack": "prepares its machine",
    "Downloading": "has a machine and downloads its data",
    "DownloadingTrainingImage": "has a machine and downloads its image",
    "Training": "trains",
    "Interrupted": "INTERRUPTED: the machine was taken away",
    "Restarting": "restarts after a fault inside SageMaker",
    "Uploading": "uploads its model",
    "Stopping": "is stopping",
    "MaxWaitTimeExceeded": "was stopped by SageMaker: the time to wait for Spot is used up",
    "MaxRuntimeExceeded": "was stopped by SageMaker: MaxRuntimeInSeconds is used up",
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


def news_between(before: Record | None, after: Record) -> list[News]:
    """What `after` says that `before` (None: nothing was seen yet) did not, in the order of the story."""
    lines = [*_decisions(before, after), *_attempts(before, after)]
    lines.sort(key=lambda line: line.at or datetime.max.replace(tzinfo=UTC))
    if is_over(after) and not (before is not None and is_over(before)):
        lines.append(end_of(after))
    return lines


def is_over(record: Record) -> bool:
    """Whether the record has an outcome."""
    return record.get("outcome") != RUNNING


def end_of(record: Record) -> News:
    """How the run ended, what it cost and what it saved; the last line of a story, also by its time.

    A run ends (`ended_at`) with its last training job, and is told to have ended by the decision after that.
    """
    facts = {name: record.get(name) for name in _FACTS_OF_THE_END}
    words = " ".join(sentence for sentence in (_outcome(record), _cost(record)) if sentence)
    return News(NewsKind.END, words, story_now(record), facts)


def still(record: Record, now: datetime) -> News:
    """How a run stands that has nothing new to tell. `now`: aware, the story's."""
    return News(
        NewsKind.STILL,
        f"{standing(record)}; {time_left(record, now)}.",
        now,
        {"attempt": _number(record), "fraction": fraction(record)},
    )


def standing(record: Record) -> str:
    """ "job 2 (on-demand ml.p4d.24xlarge) trains, 45 % are safe"."""
    attempts = record.get("attempts") or []
    if not attempts:
        return "no training job yet"
    words = f"{_name(attempts[-1])} {_state(attempts[-1])}"
    done = fraction(record)
    return f"{words}, {done:.0%} are safe".replace("%", " %") if done is not None else words


def time_left(record: Record, now: datetime) -> str:
    """ "3 h 12 min to the deadline (08:00 UTC)"; what is past is said as such."""
    deadline = _moment(record["deadline"])
    seconds = (deadline - now).total_seconds()
    where = "to the deadline" if seconds >= 0 else "past the deadline"
    return f"{duration(abs(seconds))} {where} ({clock(deadline, now)})"


def fraction(record: Record) -> float | None:
    """How much of the training the last durable checkpoint holds, 0..1; None where nothing says it."""
    for step in reversed(record.get("steps") or []):
        if step.get("progress"):
            known = step["progress"].get("fraction")
            return None if known is None else float(known)
    return None


def story_now(record: Record) -> datetime | None:
    """The latest moment that the record speaks of: what a simulated night's clock shows at least."""
    moments = [step["at"] for step in record.get("steps") or []]
    for attempt in record.get("attempts") or []:
        moments += [attempt["asked_at"], attempt.get("ended_at")]
    known = [_moment(text) for text in (*moments, record.get("ended_at"), record.get("started_at")) if text]
    return max(known, default=None)


def _decisions(before: Record | None, after: Record) -> Iterator[News]:
    seen = len(before.get("steps") or []) if before is not None else 0
    for step in (after.get("steps") or [])[seen:]:
        action = Action(step["action"])
        attempt = _attempt(after, step.get("attempt"))
        what = _name(attempt) if action is Action.START and attempt else ""
        if action is Action.FINISH:
            what = str(after.get("outcome") or "")
        text = tables.in_words(action, step["because"], what=what)
        facts = {
            name: step.get(name)
            for name in ("action", "because", "attempt", "late", "last_safe_at", "progress")
        }
        yield News(NewsKind.DECISION, text, _moment(step["at"]), facts)


def _attempts(before: Record | None, after: Record) -> Iterator[News]:
    old = {each["number"]: each for each in (before.get("attempts") or [])} if before is not None else {}
    for attempt in after.get("attempts") or []:
        known = old.get(attempt["number"])
        if known is not None and _state(known) == _state(attempt):
            continue
        ended = attempt.get("ended_at")
        facts = {
            name: attempt.get(name)
            for name in ("number", "training_job_name", "status", "secondary_status", "failure_class")
        }
        at = _moment(ended) if ended else story_now(after)
        yield News(NewsKind.ATTEMPT, f"{_name(attempt)} {_state(attempt)}", at, facts)


def _state(attempt: Record) -> str:
    interruptions = attempt.get("interruptions") or 0
    often = f" (interrupted {interruptions} x)" if interruptions else ""
    if attempt.get("ended_at"):
        failure = attempt.get("failure_class")
        return f"ended as {failure.replace('_', ' ')}{often}" if failure else f"has completed{often}"
    if attempt.get("status") is None:
        return "was asked for"
    secondary = attempt.get("secondary_status") or ""
    return STATUS_WORDS.get(secondary, f"is {secondary or attempt['status']}") + often


def _name(attempt: Record) -> str:
    market = "Spot" if attempt["market"] == Market.SPOT.value else "on-demand"
    return f"job {attempt['number']} ({market} {attempt['instance_type']})"


def _attempt(record: Record, number: int | None) -> Record | None:
    return next((each for each in record.get("attempts") or [] if each["number"] == number), None)


def _number(record: Record) -> int | None:
    attempts = record.get("attempts") or []
    return int(attempts[-1]["number"]) if attempts else None


def _outcome(record: Record) -> str:
    remarks = texts_of(record)
    but = f", but {joined(remarks)}" if remarks else ""
    if record.get("outcome") == "succeeded" and record.get("margin_seconds") is not None:
        margin = float(record["margin_seconds"])
        where = "before" if margin >= 0 else "AFTER"
        return f"The model is ready, {duration(abs(margin))} {where} the deadline{but}."
    if record.get("outcome") == "succeeded":
        return f"The model is ready{but}."
    why = record.get("because") or record.get("cause") or "It says nothing of why."
    return f"There is no model: {record.get('outcome') or 'the workflow crashed'}. {why}"


def _cost(record: Record) -> str:
    if not record.get("run_id") or record.get("outcome") is None or not record.get("started_at"):
        return ""
    account = accounted(record)
    if account.cost_usd is None:
        return f"It cost at least {usd(account.cost_at_least_usd)}."
    saved = account.saved_percent
    if account.ending not in {Ending.IN_TIME, Ending.LATE} or saved is None:
        return f"It cost {usd(account.cost_usd)}."
    words = f"{percent(saved)} less" if saved >= 0 else f"{percent(-saved)} more"
    return f"It cost {usd(account.cost_usd)}, {words} than on-demand alone."


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


Record = Mapping[str, Any]
"""`nightspot.record.summary.record_of`'s shape."""

NEWS_LINES = 8  # of the live view


def show(terminal: Terminal, record: Record, now: datetime, *, with_links: bool) -> None:
    """The whole record. `now` is the story's clock (aware), for a run that is going on."""
    for title, text in _head(record, now):
        paragraph(terminal, title, text)
    terminal.print()
    tables.show_decisions(terminal, {**record, "spot_first": _has_spot(record)})
    if record.get("attempts"):
        terminal.print()
        terminal.print(tables.attempts_table(record))
    terminal.print()
    paragraph(terminal, "Outcome", end_of(record).text if is_over(record) else _going_on(record, now))
    if record.get("model_artifact"):
        paragraph(terminal, "Artefact", str(record["model_artifact"]))
    if with_links:
        for title, url in _link_lines(links_of(record)):
            paragraph(terminal, title, url)


def view(record: Record | None, lines: Sequence[News], now: datetime, run_id: str) -> Group:
    """What `nightspot watch` shows on a terminal while the run goes on; `lines` are all its news so far."""
    told = [Text(f"{(line.at or now).astimezone(UTC):%H:%M:%S}  {line.text}") for line in lines[-NEWS_LINES:]]
    if record is None:
        return Group(Text(f"Run {run_id} is not on record yet.", style="bold"), *told)
    head = Table.grid(padding=(0, 2))
    for title, text in (*_head(record, now), ("Now", f"{standing(record)}.")):
        head.add_row(Text(title, style="bold"), Text(text))
    parts: list[Any] = [head]
    if record.get("attempts"):
        parts.append(tables.attempts_table(record))
    return Group(*parts, Text(""), *told)


def links_of(record: Record) -> dict[str, Any]:
    """The run's pages in the AWS console: its execution, and each training job with its logs. JSON-ready."""
    arn = record.get("execution_arn")
    console = Console.of_arn(arn) if isinstance(arn, str) else None
    if console is None or not isinstance(arn, str):
        return {"execution": None, "training_jobs": []}
    names = [
        (attempt["number"], attempt["training_job_name"])
        for attempt in record.get("attempts") or []
        if attempt.get("status") is not None
    ]
    return {
        "execution": console.execution(arn),
        "training_jobs": [
            {"attempt": number, "page": console.training_job(name), "logs": console.training_job_logs(name)}
            for number, name in names
        ],
    }


def _head(record: Record, now: datetime) -> list[tuple[str, str]]:
    started = datetime.fromisoformat(record["started_at"])
    lines = [
        ("Run", f"{record['run_id']} of {record['job']}, started {started:%Y-%m-%d} {clock(started)}."),
        ("Deadline", f"{clock(datetime.fromisoformat(record['deadline']), started)}."),
    ]
    if not is_over(record):
        lines[-1] = ("Deadline", f"{time_left(record, now)}.")
    if record.get("requested_by"):
        lines.append(("Started by", f"{plain(record['requested_by'])}."))
    if record.get("overrides"):
        lines.append(("This run", f"{tables.overrides_in_words(record['overrides'])}."))
    if record.get("plan_note"):
        lines.append(("Plan", plain(record["plan_note"])))
    account = accounted(record)
    if account.cost_usd is None or not is_over(record):
        lines.append(("Cost", f"at least {usd(account.cost_at_least_usd)} so far."))
    return lines


def _going_on(record: Record, now: datetime) -> str:
    return f"none yet: {standing(record)}; {time_left(record, now)}."


def _has_spot(record: Record) -> bool:
    markets = {attempt["market"] for attempt in record.get("attempts") or []}
    return bool(record.get("fell_back")) or Market.SPOT.value in markets


def _link_lines(links: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = [("Console", links["execution"])] if links["execution"] else []
    for job in links["training_jobs"]:
        lines += [(f"Job {job['attempt']}", job["page"]), (f"Logs {job['attempt']}", job["logs"])]
    return lines
