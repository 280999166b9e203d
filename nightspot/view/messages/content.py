"""What a message is made of, before it is written for e-mail or for chat."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nightspot.failures.codes import FailureClass
from nightspot.failures.explanations import EXPLANATIONS
from nightspot.failures.redaction import redact
from nightspot.record.events import Happening
from nightspot.record.sentences import joined, texts_of
from nightspot.view.messages.plain import UNKNOWN, Console, Link, clean, moment, percent, span, usd
from nightspot.view.messages.wording import (
    CLOSING,
    HAD_HAPPENED,
    LATE,
    REMARKED,
    WORDINGS,
    Mood,
    Wording,
    happened,
)

Summary = Mapping[str, Any]
"""`nightspot.record.summary.summarise`'s shape; fields may be missing in one that an older version wrote."""

MOST_ATTEMPTS = 6  # told one by one; the table and the report have all
_MARKETS = {"spot": "Spot", "on_demand": "on-demand"}
_FIRST_ATTEMPTS = 2


def figures(summary: Summary, zone: str) -> tuple[tuple[str, str], ...]:
    """The labelled figures. None of them is computed from one that is missing."""
    return tuple(_figures(summary, zone))


def _figures(summary: Summary, zone: str) -> Iterator[tuple[str, str]]:
    succeeded = summary.get("outcome") == "succeeded"
    if succeeded:
        yield "Ready", f"{moment(summary.get('ended_at'), zone)}, {_margin(summary)}"
    yield "Deadline", moment(summary.get("deadline"), zone)
    yield "Cost", _cost(summary)
    if succeeded:
        yield "On-demand alone", usd(summary.get("on_demand_cost_usd"))
        yield "Saved", _saved(summary)


def margin(summary: Summary) -> str:
    """ "57 min early", "25 min LATE"; of a model of which it is not known, that."""
    seconds = summary.get("margin_seconds")
    if seconds is None:
        return "perhaps late"
    return f"{span(abs(seconds))} {'early' if seconds >= 0 else 'LATE'}"


def _margin(summary: Summary) -> str:
    seconds = summary.get("margin_seconds")
    if seconds is None:
        return "how long before or after the deadline is unknown"
    return f"{span(abs(seconds))} {'before' if seconds >= 0 else 'after'} the deadline"


def _cost(summary: Summary) -> str:
    cost, least = summary.get("cost_usd"), summary.get("cost_at_least_usd")
    if cost is not None:
        return usd(cost)
    unpriced = ", ".join(str(number) for number in summary.get("unpriced_attempts", ()))
    why = f": no price or no billed time for attempt {unpriced}" if unpriced else ""
    return f"{UNKNOWN}{why}" + (f"; at least {usd(least)}" if least else "")


def _saved(summary: Summary) -> str:
    saved, share = summary.get("saved_usd"), summary.get("saved_percent")
    if saved is None or share is None:
        return UNKNOWN
    if saved < 0:
        return f"nothing; it cost {usd(-saved)} ({percent(-share)}) more"
    return f"{usd(saved)} ({percent(share)})"


def had_happened(summary: Summary, happened: Sequence[Happening]) -> tuple[str, ...]:
    """One sentence for each thing that had happened before the end."""
    interruptions = sum(attempt.get("interruptions") or 0 for attempt in _attempts(summary))
    sentences = (HAD_HAPPENED[happening] for happening in happened if happening in HAD_HAPPENED)
    told = (sentence.format(interruptions=interruptions) for sentence in sentences)
    return tuple(sentence.replace(" 1 times", " once") for sentence in told)


def attempts(summary: Summary) -> tuple[str, ...]:
    """One line for each attempt; of many, the first and the last ones."""
    lines = [_attempt(attempt) for attempt in _attempts(summary)]
    if len(lines) <= MOST_ATTEMPTS:
        return tuple(lines)
    last = MOST_ATTEMPTS - _FIRST_ATTEMPTS
    between = f"({len(lines) - MOST_ATTEMPTS} more attempts)"
    return (*lines[:_FIRST_ATTEMPTS], between, *lines[-last:])


def _attempt(attempt: Mapping[str, Any]) -> str:
    market = attempt.get("market")
    parts = [f"waited {span(attempt.get('waited_seconds'))}"]
    if attempt.get("trained_seconds") or attempt.get("failure_class") is None:
        parts.append(f"trained {span(attempt.get('trained_seconds'))}")
    interruptions = attempt.get("interruptions") or 0
    if interruptions:
        parts.append(f"{interruptions} interruption{'s' if interruptions > 1 else ''}")
    cost = attempt.get("cost_usd")
    where = f"{_MARKETS.get(str(market), market)} {attempt.get('instance_type')}"
    told = f"{attempt.get('number')}. {where}: {', '.join(parts)}; {_end(attempt)}; "
    return clean(told + (usd(cost) if cost is not None else f"cost {UNKNOWN}"))


def _end(attempt: Mapping[str, Any]) -> str:
    failure = attempt.get("failure_class")
    if failure is not None:
        return f"ended: {failure_words(str(failure))}"
    return "completed" if attempt.get("ended_at") else "not over"


def with_logs(summary: Summary, most: int) -> tuple[tuple[int, str], ...]:
    """Number and training job of the newest attempts that had a machine, and so may have written a log."""
    trained = [
        (int(attempt["number"]), str(attempt["training_job_name"]))
        for attempt in _attempts(summary)
        if attempt.get("trained_seconds")
    ]
    return tuple(trained[-most:])


def last_failure(summary: Summary) -> FailureClass | None:
    """The class of the last attempt's failure; None where there is none that this version knows."""
    failure = _attempts(summary)[-1].get("failure_class") if _attempts(summary) else None
    known = {each.value for each in FailureClass}
    return FailureClass(failure) if failure in known else None


def failure_words(failure: str) -> str:
    """ "out of memory", "stopped by Nightspot"."""
    return failure.replace("_", " ").replace("nightspot", "Nightspot")


def advice(summary: Summary, default: str) -> str:
    """What can be done about the end of a run without a model."""
    failure = last_failure(summary)
    ends_it = summary.get("outcome") in {"failed", "stopped"}
    return EXPLANATIONS[failure].advice if ends_it and failure is not None else default


def _attempts(summary: Summary) -> Sequence[Mapping[str, Any]]:
    return summary.get("attempts") or ()


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
    trained = with_logs(summary, MOST_LOGS)
    return _content(
        notice,
        wording,
        subject=", ".join(_closing_subject(notice, wording)),
        because=summary.get("because") or detail.get("because"),
        had_happened=(
            *(clean(f"{text[:1].upper()}{text[1:]}.") for text in remarks),
            *had_happened(summary, happened(detail)),
        ),
        figures=figures(summary, notice.zone),
        attempts=attempts(summary),
        advice=clean(advice(summary, wording.advice)),
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
        parts.append(margin(summary))
        parts.append("fell back to on-demand" if Happening.FELL_BACK in happened(notice.detail) else "")
    failure = last_failure(summary)
    if notice.happening is Happening.RUN_FAILED and failure is not None:
        parts[0] += f" ({failure_words(failure.value)})"
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
