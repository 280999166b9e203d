"""Decides what of a run's summary goes into its closing message: the figures, the attempts, the advice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nightspot.failures.classes import FailureClass
from nightspot.failures.explanations import EXPLANATIONS
from nightspot.record.events import Happening
from nightspot.view.messages.plain import UNKNOWN, clean, moment, percent, span, usd
from nightspot.view.messages.wording import HAD_HAPPENED

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
