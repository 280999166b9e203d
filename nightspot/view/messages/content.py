"""What a message is made of, before it is written for e-mail or for chat."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nightspot.failures.codes import FailureClass
from nightspot.failures.explanations import EXPLANATIONS
from nightspot.failures.redaction import redact
from nightspot.record import sentences
from nightspot.record.events import RunEvent
from nightspot.record.model import AttemptRecord, RunRecord, RunState
from nightspot.view.messages.plain import UNKNOWN, Console, Link, clean, moment, percent, span, usd
from nightspot.view.messages.wording import (
    CLOSING,
    HAD_HAPPENED,
    LATE,
    REMARKED,
    WORDINGS,
    Severity,
    Wording,
    happened,
    run_of,
)

MOST_ATTEMPTS = 6  # told one by one; the table and the report have all
_FIRST_ATTEMPTS = 2


def figures(run: RunRecord, zone: str) -> Iterator[tuple[str, str]]:
    """The labelled figures. None of them is computed from one that is missing."""
    if run.has_model:
        before = UNKNOWN_MARGIN if run.margin_seconds is None else sentences.margin(run.margin_seconds)
        yield "Ready", f"{moment(run.ended_at, zone)}, {before}"
    yield "Deadline", moment(run.deadline, zone)
    yield "Cost", _cost(run)
    if run.has_model:
        of = f" ({run.yardstick})" if run.yardstick and run.on_demand_cost_usd is not None else ""
        yield "On-demand alone", clean(f"{usd(run.on_demand_cost_usd)}{of}")
        yield "Saved", _saved(run)
    if doubt := sentences.how_too_high(run):
        yield "Caution", clean(doubt)
    if run.code:
        yield "Code", clean(run.code.version.words)


UNKNOWN_MARGIN = "how long before or after the deadline is unknown"


def margin(run: RunRecord) -> str:
    """ "57 min early", "25 min LATE"; of a model of which it is not known, that."""
    if run.margin_seconds is None:
        return "perhaps late"
    return f"{span(abs(run.margin_seconds))} {'early' if run.margin_seconds >= 0 else 'LATE'}"


def _cost(run: RunRecord) -> str:
    if run.cost_usd is not None:
        return usd(run.cost_usd)
    least = f"; at least {usd(run.cost_at_least_usd)}" if run.cost_at_least_usd else ""
    return f"{UNKNOWN}{sentences.unpriced(run)}{least}"


def _saved(run: RunRecord) -> str:
    saved = run.saved_usd
    if saved is None:
        return UNKNOWN
    share = "" if run.saved_percent is None else f" ({percent(abs(run.saved_percent))})"
    words = f"{usd(saved)}{share}" if saved >= 0 else f"nothing; it cost {usd(-saved)}{share} more"
    return f"{words}.{best}" if (best := sentences.at_best(run)) else words


def had_happened(run: RunRecord, happened: Sequence[RunEvent]) -> tuple[str, ...]:
    """One sentence for each thing that had happened before the end."""
    said = (HAD_HAPPENED[run_event] for run_event in happened if run_event in HAD_HAPPENED)
    counted = (sentence.format(interruptions=run.interruptions) for sentence in said)
    return tuple(sentence.replace(" 1 times", " once") for sentence in counted)


def attempts(run: RunRecord) -> tuple[str, ...]:
    """One line for each attempt; of many, the first and the last ones."""
    lines = [_attempt(attempt) for attempt in run.attempts]
    if len(lines) <= MOST_ATTEMPTS:
        return tuple(lines)
    last = MOST_ATTEMPTS - _FIRST_ATTEMPTS
    between = f"({len(lines) - MOST_ATTEMPTS} more attempts)"
    return (*lines[:_FIRST_ATTEMPTS], between, *lines[-last:])


def _attempt(attempt: AttemptRecord) -> str:
    parts = [f"waited {span(attempt.waited_seconds)}"]
    if attempt.trained_seconds or attempt.failure_class is None:
        parts.append(f"trained {span(attempt.trained_seconds)}")
    taken = attempt.interruptions
    if taken:
        parts.append(f"{taken} interruption{'s' if taken > 1 else ''}")
    ended = sentences.how_an_attempt_ended(attempt)
    if attempt.failure_class is not None:
        ended = f"ended: {ended}"
    cost = f"cost {UNKNOWN}" if attempt.cost_usd is None else usd(attempt.cost_usd)
    where = attempt.market.of(attempt.instance_type)
    return clean(f"{attempt.number}. {where}: {', '.join(parts)}; {ended}; {cost}")


def with_logs(run: RunRecord, most: int) -> list[AttemptRecord]:
    """The newest attempts that had a machine, and so may have written a log."""
    return [attempt for attempt in run.attempts if attempt.trained_seconds][-most:]


def last_failure(run: RunRecord) -> FailureClass | None:
    return run.attempts[-1].failure_class if run.attempts else None


def advice(run: RunRecord, default: str) -> str:
    """What can be done about the end of a run without a model."""
    failure = last_failure(run)
    ends_it = run.outcome in {RunState.FAILED, RunState.STOPPED}
    return EXPLANATIONS[failure].advice if ends_it and failure is not None else default


MOST_LOGS = 3


@dataclass(frozen=True)
class Notice:
    """An event of Nightspot's: what happened, and the event's detail. `zone`: the job's, an IANA name."""

    run_event: RunEvent
    detail: Mapping[str, Any]
    zone: str = "UTC"

    @property
    def key(self) -> str:
        """The same for every delivery of the same notice, and for no other."""
        own = f"{self.detail.get('execution_arn')}/{self.run_event.value}"
        return str(self.detail.get("notice_id") or own)


@dataclass(frozen=True)
class Content:
    """The parts of a message, each clean and on one line, none of them escaped for any program."""

    run_event: RunEvent
    job: str
    run_id: str
    mood: Severity
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
    if notice.run_event in CLOSING:
        return _closing(notice)
    if notice.run_event in {RunEvent.DECISION_FAILING, RunEvent.DECISION_CRASHED}:
        return _crashed(notice)
    return _at_once(notice)


def _closing(notice: Notice) -> Content:
    detail, run = notice.detail, run_of(notice.detail)
    if run is None:
        wording = WORDINGS[notice.run_event]
        told = {
            "subject": wording.subject,
            "figures": (("Deadline", moment(detail.get("deadline"), notice.zone)),),
        }
        return _content(
            notice, wording, because=detail.get("because"), links=_links(detail, lambda _: []), **told
        )
    late = notice.run_event is RunEvent.RUN_SUCCEEDED and not run.deadline_met
    wording = REMARKED if run.remarks else LATE if late else WORDINGS[notice.run_event]
    trained = with_logs(run, MOST_LOGS)
    return _content(
        notice,
        wording,
        subject=", ".join(_closing_subject(notice, run, wording)),
        because=run.because or detail.get("because"),
        had_happened=(
            *(clean(f"{remark.text[:1].upper()}{remark.text[1:]}.") for remark in run.remarks),
            *had_happened(run, happened(detail)),
        ),
        figures=tuple(figures(run, notice.zone)),
        attempts=attempts(run),
        advice=clean(advice(run, wording.advice)),
        links=(
            *_links(
                detail,
                lambda console: [
                    Link(f"Logs of attempt {each.number}", console.training_job_logs(each.training_job_name))
                    for each in trained
                ],
            ),
            *(Link(name, clean(link)) for name, link in sentences.tracker_pages(run)),
        ),
    )


def _closing_subject(notice: Notice, run: RunRecord, wording: Wording) -> list[str]:
    remarks = clean(sentences.remarks_in_words(run))
    parts = [f"{wording.subject}, but {remarks}" if remarks else wording.subject]
    if notice.run_event is RunEvent.RUN_SUCCEEDED:
        parts.append(margin(run))
        parts.append("fell back to on-demand" if RunEvent.FELL_BACK in happened(notice.detail) else "")
    failure = last_failure(run)
    if notice.run_event is RunEvent.RUN_FAILED and failure is not None:
        parts[0] += f" ({sentences.failure_in_words(failure)})"
    if notice.run_event is not RunEvent.RUN_REFUSED:
        parts.append("cost unknown" if run.cost_usd is None else usd(run.cost_usd))
    return [part for part in parts if part]


def _at_once(notice: Notice) -> Content:
    detail = notice.detail
    wording = WORDINGS[notice.run_event]
    name, market = str(detail.get("training_job_name") or ""), detail.get("market")
    figures = [("Deadline", moment(detail.get("deadline"), notice.zone))]
    if name:
        where = f"{str(market).replace('_', '-')} {detail.get('instance_type')}"
        figures.append((f"Attempt {detail.get('attempt')}", clean(f"{name}, {where}")))
    if notice.run_event is RunEvent.PROGRESS_UNREADABLE:
        figures.append(("The refusal", clean(redact(str(detail.get("progress_unreadable") or "not known")))))
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
        WORDINGS[notice.run_event],
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
        run_event=notice.run_event,
        job=job,
        run_id=run_id,
        mood=wording.mood,
        because=clean(because or ""),
        resources=(arn,) if arn else (),
        **told,
    )


def _execution_arn(detail: Mapping[str, Any]) -> str:
    run = None if detail.get("execution_arn") else run_of(detail)
    return clean(detail.get("execution_arn") or (run.execution_arn if run else None) or "")


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
