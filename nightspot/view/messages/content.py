"""Decides what a message is made of, before it is written for e-mail or for chat."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nightspot.failures.redaction import redact
from nightspot.record.events import Happening
from nightspot.record.remarks import joined, texts_of
from nightspot.view.messages import story
from nightspot.view.messages.links import Console, Link
from nightspot.view.messages.plain import clean, moment, usd
from nightspot.view.messages.wording import CLOSING, LATE, REMARKED, WORDINGS, Mood, Wording, happened

MOST_LOGS = 3


@dataclass(frozen=True)
class Notice:
    """An event of Nightspot's: what happened, and the event's detail. `zone`: the job's, an IANA name."""

    happening: Happening
    detail: Mapping[str, Any]
    zone: str = "UTC"

    @property
    def key(self) -> str:
        """The same for every delivery of the same notice, and for no other."""
        own = f"{self.detail.get('execution_arn')}/{self.happening.value}"
        return str(self.detail.get("notice_id") or own)


@dataclass(frozen=True)
class Content:
    """The parts of a message, each clean and on one line, none of them escaped for any program."""

    happening: Happening
    job: str
    run_id: str
    mood: Mood
    subject: str  # without the job's name
    headline: str
    because: str
    had_happened: tuple[str, ...]
    figures: tuple[tuple[str, str], ...]
    attempts: tuple[str, ...]
    advice: str
    links: tuple[Link, ...]
    resources: tuple[str, ...]  # ARNs


def content_of(notice: Notice) -> Content:
    """What there is to say about a notice that is told. Raises KeyError for one that never is."""
    if notice.happening in CLOSING:
        return _closing(notice)
    if notice.happening in {Happening.DECISION_FAILING, Happening.DECISION_CRASHED}:
        return _crashed(notice)
    return _at_once(notice)


def _closing(notice: Notice) -> Content:
    detail, summary = notice.detail, notice.detail.get("summary", {})
    late = notice.happening is Happening.RUN_SUCCEEDED and summary.get("deadline_met") is not True
    remarks = texts_of(summary)
    wording = REMARKED if remarks else LATE if late else WORDINGS[notice.happening]
    trained = story.with_logs(summary, MOST_LOGS)
    return _content(
        notice,
        wording,
        subject=", ".join(_closing_subject(notice, wording)),
        because=summary.get("because") or detail.get("because"),
        had_happened=(
            *(clean(f"{text[:1].upper()}{text[1:]}.") for text in remarks),
            *story.had_happened(summary, happened(detail)),
        ),
        figures=story.figures(summary, notice.zone),
        attempts=story.attempts(summary),
        advice=clean(story.advice(summary, wording.advice)),
        links=_links(
            detail,
            lambda console: [
                Link(f"Logs of attempt {number}", console.training_job_logs(name)) for number, name in trained
            ],
        ),
    )


def _closing_subject(notice: Notice, wording: Wording) -> list[str]:
    summary = notice.detail.get("summary", {})
    remarks = texts_of(summary)
    parts = [f"{wording.subject}, but {clean(joined(remarks))}" if remarks else wording.subject]
    if notice.happening is Happening.RUN_SUCCEEDED:
        parts.append(story.margin(summary))
        parts.append("fell back to on-demand" if Happening.FELL_BACK in happened(notice.detail) else "")
    failure = story.last_failure(summary)
    if notice.happening is Happening.RUN_FAILED and failure is not None:
        parts[0] += f" ({story.failure_words(failure.value)})"
    if notice.happening is not Happening.RUN_REFUSED:
        parts.append(usd(summary.get("cost_usd")) if summary.get("cost_usd") is not None else "cost unknown")
    return [part for part in parts if part]


def _at_once(notice: Notice) -> Content:
    detail = notice.detail
    wording = WORDINGS[notice.happening]
    name, market = str(detail.get("training_job_name") or ""), detail.get("market")
    figures = [("Deadline", moment(detail.get("deadline"), notice.zone))]
    if name:
        where = f"{str(market).replace('_', '-')} {detail.get('instance_type')}"
        figures.append((f"Attempt {detail.get('attempt')}", clean(f"{name}, {where}")))
    return _content(
        notice,
        wording,
        because=detail.get("because"),
        figures=tuple(figures),
        links=_links(detail, lambda console: _pages(console, name) if name else []),
    )


def _crashed(notice: Notice) -> Content:
    detail = notice.detail
    left = detail.get("training_jobs_left_running") or []
    names = [clean(name) for name in ([left] if isinstance(left, str) else left)]
    figures = (
        ("Error", clean(redact(str(detail.get("error", ""))))),
        ("Training jobs that go on", ", ".join(names) or "none"),
    )
    return _content(
        notice,
        WORDINGS[notice.happening],
        # By a state machine of an earlier version: today's sends no cause, because nobody has redacted it.
        because=redact(_sentence(str(detail.get("cause", "")))),
        figures=figures,
        links=_links(detail, lambda console: [Link(name, console.training_job(name)) for name in names]),
    )


def _sentence(cause: str) -> str:
    """What a function's error says; Lambda wraps it into JSON with a stack trace."""
    try:
        parsed = json.loads(cause)
    except ValueError:
        return cause
    message = parsed.get("errorMessage") if isinstance(parsed, dict) else None
    return message if isinstance(message, str) else cause


def _content(notice: Notice, wording: Wording, *, because: Any, **parts: Any) -> Content:
    job, run_id = clean(notice.detail.get("job", "")), clean(notice.detail.get("run_id", ""))
    arn = _execution_arn(notice.detail)
    told: dict[str, Any] = {
        "subject": wording.subject,
        "headline": wording.headline.format(job=job or "a job"),
        "had_happened": (),
        "attempts": (),
        "advice": wording.advice,
        **parts,
    }
    return Content(
        happening=notice.happening,
        job=job,
        run_id=run_id,
        mood=wording.mood,
        because=clean(because or ""),
        resources=(arn,) if arn else (),
        **told,
    )


def _execution_arn(detail: Mapping[str, Any]) -> str:
    return clean(detail.get("execution_arn") or detail.get("summary", {}).get("execution_arn") or "")


def _links(detail: Mapping[str, Any], of_jobs: Callable[[Console], list[Link]]) -> tuple[Link, ...]:
    """Report, execution, and what there is to see of the training jobs."""
    arn = _execution_arn(detail)
    console = Console.of_arn(arn)
    report = _report(detail.get("report"), console)
    if console is None:
        return report
    return (*report, Link("Execution", console.execution(arn)), *of_jobs(console))


def _pages(console: Console, name: str) -> list[Link]:
    return [Link("Training job", console.training_job(name)), Link("Logs", console.training_job_logs(name))]


def _report(report: object, console: Console | None) -> tuple[Link, ...]:
    """The run's page, where one was written: an address, or an S3 URI, which the console opens."""
    if not isinstance(report, str):
        return ()
    address = clean(report)
    if address.startswith("https://") and " " not in address:
        return (Link("Report", address),)
    if address.startswith("s3://") and console is not None:
        return (Link("Report", console.s3_object(address)),)
    return ()
