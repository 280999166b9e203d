"""Reads what one run cost and saved, and how its night ended, out of the summary that is kept of it.

A summary from before a figure was recorded lacks it: it is told from the attempts where those say it, else unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from math import fsum, inf
from typing import Any

from nightspot.costs.account import Missing
from nightspot.costs.lost_work import Evidence
from nightspot.run.model import Outcome
from nightspot.run.reasons import Reason

Summary = Mapping[str, Any]
"""The summary of a run as recorded, see `nightspot.record.summary.summarise`."""


class SummaryError(ValueError):
    """A value that is no summary of a run."""


class Ending(StrEnum):
    """How a run's night ended: with a model in time or late, or without one."""

    RUNNING = "running"
    IN_TIME = "in_time"
    LATE = "late"  # there is a model, after the deadline
    FAILED = "failed"
    SKIPPED = "skipped"  # no capacity, and on-demand is forbidden: yesterday's model stays
    STOPPED = "stopped"  # by a person, or by a newer run
    REFUSED = "refused"  # another run held the job: no night of its own


# A succeeded run is in time or late by its deadline.
_ENDINGS = {
    Outcome.FAILED.value: Ending.FAILED,
    Outcome.SKIPPED.value: Ending.SKIPPED,
    Outcome.STOPPED.value: Ending.STOPPED,
    Outcome.REFUSED.value: Ending.REFUSED,
    "running": Ending.RUNNING,
}
MOST = 10**15  # seconds or USD: so that no sum of them is infinite
_WITH_MODEL = (Ending.IN_TIME, Ending.LATE)


@dataclass(frozen=True)
class RunAccount:
    """One run's figures. None: not known, never 0. Nothing but the savings and the margin is ever negative."""

    job: str
    run_id: str
    started_at: datetime  # aware, UTC: its month is this one's
    ended_at: datetime | None
    ending: Ending
    margin_seconds: float | None  # from the model to the deadline; below 0: late; None: no model
    attempts: int
    fell_back: bool  # on-demand was asked for although the job wants Spot
    fell_back_reason: Reason | None  # None: it did not, or the version that ran it did not say
    interruptions: int
    waited_seconds: float | None
    starting_seconds: float | None
    trained_seconds: float | None
    billable_seconds: float | None
    repeated_seconds: float | None
    repeated_evidence: Evidence | None
    lost_seconds: float | None
    cost_usd: float | None
    cost_at_least_usd: float
    on_demand_cost_usd: float | None
    saved_usd: float | None
    saved_percent: float | None
    uses_plan_rate: bool
    missing: tuple[str, ...]  # what `saved_usd` lacks; values of `costs.Missing`

    @property
    def has_model(self) -> bool:
        """True where the run delivered."""
        return self.ending in _WITH_MODEL

    @property
    def month(self) -> str:
        """The calendar month in UTC in which the run started, "2026-11"."""
        return f"{self.started_at:%Y-%m}"


def run_account(summary: Summary) -> RunAccount:
    """The account in a summary as stored, or as `to_json` wrote it.

    Raises SummaryError, naming the field, where a field that every summary has is missing or makes no sense.
    """
    attempts = summary.get("attempts", [])
    if isinstance(attempts, int):  # `to_json` keeps the number alone
        count, attempts = attempts, []
    elif isinstance(attempts, list) and all(isinstance(attempt, Mapping) for attempt in attempts):
        count = len(attempts)
    else:
        raise SummaryError(f"attempts: {attempts!r:.80}: must be a list of mappings")
    ending = _ending(summary)
    cost = _figure(summary, "cost_usd")
    on_demand = 0.0 if _is_without_model(ending) else _figure(summary, "on_demand_cost_usd")
    missing = _missing(summary, ending, cost, on_demand)
    # Told from its two parts and not from a stored figure, so that it cannot outlive one of them.
    saved = None if missing or cost is None or on_demand is None else on_demand - cost
    return RunAccount(
        job=_text(summary, "job"),
        run_id=_text(summary, "run_id"),
        started_at=_moment(summary, "started_at"),
        ended_at=None if summary.get("ended_at") is None else _moment(summary, "ended_at"),
        ending=ending,
        margin_seconds=_figure(summary, "margin_seconds", signed=True),
        attempts=count,
        fell_back=_fell_back(summary, attempts),
        fell_back_reason=_fell_back_reason(summary),
        interruptions=int(_of_attempts(summary, attempts, "interruptions") or 0),
        waited_seconds=_of_attempts(summary, attempts, "waited_seconds"),
        starting_seconds=_figure(summary, "starting_seconds"),
        trained_seconds=_of_attempts(summary, attempts, "trained_seconds"),
        billable_seconds=_of_attempts(summary, attempts, "billable_seconds"),
        repeated_seconds=_figure(summary, "repeated_seconds"),
        repeated_evidence=_evidence(summary),
        lost_seconds=_figure(summary, "lost_seconds"),
        cost_usd=cost,
        cost_at_least_usd=_at_least_usd(summary, attempts, cost),
        on_demand_cost_usd=on_demand,
        saved_usd=saved,
        saved_percent=saved / on_demand * 100 if saved is not None and on_demand else None,
        uses_plan_rate=bool(summary.get("uses_plan_rate")),
        missing=missing,
    )


def to_json(account: RunAccount) -> dict[str, Any]:
    """JSON-ready, in a summary's words; `run_account` reads it back."""
    with_model = account.has_model
    return {
        **asdict(account),
        "started_at": account.started_at.isoformat(),
        "ended_at": account.ended_at.isoformat() if account.ended_at else None,
        "outcome": "succeeded" if with_model else account.ending.value,
        "deadline_met": account.ending is Ending.IN_TIME,
        "month": account.month,
        "missing": list(account.missing),
    }


def _is_without_model(ending: Ending) -> bool:
    return ending is not Ending.RUNNING and ending not in _WITH_MODEL


def _missing(
    summary: Summary, ending: Ending, cost: float | None, on_demand: float | None
) -> tuple[str, ...]:
    """What is said to be missing, else what shows: older summaries do not say."""
    said = summary.get("missing")
    if said and not isinstance(said, list | tuple):
        raise SummaryError(f"missing: {said!r:.80}: must be a list")
    if said:
        return tuple(str(field) for field in said)
    lacks = {
        Missing.OUTCOME: ending is Ending.RUNNING,
        Missing.BILLABLE_SECONDS: cost is None,
        Missing.WORK_SECONDS: on_demand is None,
    }
    return tuple(field.value for field, is_missing in lacks.items() if is_missing)


def _ending(summary: Summary) -> Ending:
    outcome = summary.get("outcome")
    if outcome == Outcome.SUCCEEDED.value:
        return Ending.IN_TIME if summary.get("deadline_met") else Ending.LATE
    if not isinstance(outcome, str) or outcome not in _ENDINGS:
        known = ", ".join(("succeeded", *_ENDINGS))
        raise SummaryError(f"outcome: {outcome!r}: must be one of {known}")
    return _ENDINGS[outcome]


def _fell_back(summary: Summary, attempts: list[Summary]) -> bool:
    said = summary.get("fell_back")
    if said is not None:
        return bool(said)
    markets = [attempt.get("market") for attempt in attempts]
    return "spot" in markets and "on_demand" in markets


def _fell_back_reason(summary: Summary) -> Reason | None:
    """A reason that a newer version has added is not known here."""
    said = summary.get("fell_back_reason")
    return Reason(said) if isinstance(said, str) and said in set(Reason) else None


def _of_attempts(summary: Summary, attempts: list[Summary], name: str) -> float | None:
    """The run's figure, else the sum of its attempts'; None where one of them is not known."""
    if name in summary:
        return _figure(summary, name)
    figures = [_figure(attempt, name) for attempt in attempts]
    return None if None in figures else fsum(figure for figure in figures if figure is not None)


def _at_least_usd(summary: Summary, attempts: list[Summary], cost: float | None) -> float:
    said = _figure(summary, "cost_at_least_usd")
    if said is not None:
        return said
    known = [_figure(attempt, "cost_usd") for attempt in attempts] if cost is None else [cost]
    return fsum(figure for figure in known if figure is not None)


def _evidence(summary: Summary) -> Evidence | None:
    said = summary.get("repeated_evidence")
    if said is None:
        return None
    if not isinstance(said, str) or said not in set(Evidence):
        raise SummaryError(f"repeated_evidence: {said!r}: must be one of {', '.join(Evidence)}")
    return Evidence(said)


def _figure(summary: Summary, name: str, *, signed: bool = False) -> float | None:
    value = summary.get(name)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and abs(value) <= MOST and (signed or value >= 0):
        return float(value)
    is_large = is_number and abs(value) > MOST and value not in (inf, -inf)
    rule = f"between -{MOST} and {MOST}" if is_large else "a finite number"
    raise SummaryError(
        f"{name}: {value!r:.80}: must be {rule}{'' if signed else ' that is not negative'}, or null"
    )


def _text(summary: Summary, name: str) -> str:
    value = summary.get(name)
    if not isinstance(value, str) or not value:
        raise SummaryError(f"{name}: {value!r}: must be a text")
    return value


def _moment(summary: Summary, name: str) -> datetime:
    text = _text(summary, name)
    try:
        moment = datetime.fromisoformat(text)
        if moment.utcoffset() is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise SummaryError(f"{name}: {text!r}: must be an ISO 8601 time") from error
    raise SummaryError(f"{name}: {text!r}: must have a time zone")
