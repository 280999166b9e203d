"""Adds up what runs cost and saved: of a month, of a job, of all jobs, and writes both as rows of CSV."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import fsum
from typing import Any

from nightspot.costs.lost_work import Evidence
from nightspot.record.model import Ending, RunRecord
from nightspot.run.reasons import Reason

NOT_A_NIGHT = (Ending.RUNNING, Ending.REFUSED)
_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


class MonthError(ValueError):
    """A text that names no month."""


@dataclass(frozen=True)
class Total:
    """A sum over nights: of those whose figure is known. The nights that are not covered make it a lower bound.

    (Not so of savings: what is not known may have been a loss.)
    """

    known: float = 0.0
    covers: int = 0
    of: int = 0

    @property
    def value(self) -> float | None:
        """The sum, where it covers every night; else None."""
        return self.known if self.covers == self.of else None

    @property
    def words(self) -> str:
        """ "27 of 30 nights"."""
        return f"{self.covers} of {self.of} {'night' if self.of == 1 else 'nights'}"


FIGURES = (
    "waited_seconds",
    "starting_seconds",
    "trained_seconds",
    "billable_seconds",
    "repeated_seconds",
    "lost_seconds",
    "cost_usd",
    "on_demand_cost_usd",
    "saved_usd",
    "saved_at_most_usd",
)
"""What a statement has totals of: fields of `RunRecord`."""


@dataclass(frozen=True)
class Statement:
    """What came of any number of runs, and their totals by the names in `FIGURES`.

    A night is a run that is over and was not refused. The totals are of nights: a run under way is counted in
    `endings` and in `open_cost_at_least_usd` alone, until it is over. Of a night without a model the whole cost is
    a loss.
    """

    endings: Mapping[Ending, int] = field(default_factory=lambda: dict.fromkeys(Ending, 0))
    fell_back: int = 0  # nights
    fell_back_reasons: Mapping[Reason, int] = field(
        default_factory=dict
    )  # of those nights whose reason is known
    interrupted: int = 0  # nights
    interruptions: int = 0
    repeated_estimated: int = 0  # nights whose repeated work is estimated, not measured
    uses_plan_rate: int = 0  # nights for which a Savings Plan may have room
    plan_is_used_up: int = 0  # nights for which a Savings Plan counts as used up
    yardstick_late: int = 0  # nights compared with a type on which on-demand alone was expected to be late
    yardstick_unknown: int = 0  # nights that an older version compared with the first on-demand type
    price_assumed: int = 0  # nights with a price that no price list stands behind
    totals: Mapping[str, Total] = field(default_factory=lambda: dict.fromkeys(FIGURES, Total()))
    compared_usd: float = 0.0  # on-demand alone, of the nights that `saved_usd` covers
    open_cost_at_least_usd: float = 0.0  # what the runs under way have cost, as far as it is known

    @property
    def runs(self) -> int:
        return sum(self.endings.values())

    @property
    def nights(self) -> int:
        """The runs that are over and were not refused."""
        return sum(count for ending, count in self.endings.items() if ending not in NOT_A_NIGHT)

    @property
    def shares(self) -> dict[str, float | None]:
        """Of the nights, 0..1: each ending that a night can have, fallen back, interrupted. None without nights."""
        counts = {ending.value: self.endings[ending] for ending in Ending if ending not in NOT_A_NIGHT}
        counts |= {"fell_back": self.fell_back, "interrupted": self.interrupted}
        return {name: count / self.nights if self.nights else None for name, count in counts.items()}

    @property
    def saved_percent(self) -> float | None:
        """Of what on-demand alone would have cost; None where it is not known of every night."""
        return None if self.totals["saved_usd"].value is None else self.known_saved_percent

    @property
    def known_saved_percent(self) -> float | None:
        """The same, over the nights that `saved_usd` covers; None where on-demand would have cost nothing."""
        return self.totals["saved_usd"].known / self.compared_usd * 100 if self.compared_usd else None


def statement(runs: Iterable[RunRecord]) -> Statement:
    """The runs, added up. No run may come twice: sums cannot tell."""
    runs = list(runs)
    nights = [run for run in runs if run.ending not in NOT_A_NIGHT]
    saving = [run for run in nights if run.saved_usd is not None]
    return Statement(
        endings={ending: sum(run.ending is ending for run in runs) for ending in Ending},
        fell_back=sum(run.fell_back for run in nights),
        fell_back_reasons=_counted(Counter(r.fell_back_reason for r in nights if r.fell_back_reason)),
        interrupted=sum(run.interruptions > 0 for run in nights),
        interruptions=sum(run.interruptions for run in nights),
        repeated_estimated=sum(run.repeated_evidence is Evidence.ESTIMATED for run in nights),
        uses_plan_rate=sum(run.uses_plan_rate for run in nights),
        plan_is_used_up=sum(run.plan_is_used_up for run in nights),
        yardstick_late=sum(run.yardstick_in_time is False for run in saving),
        yardstick_unknown=sum(run.has_model and run.yardstick is None for run in saving),
        price_assumed=sum(run.price_assumed for run in nights),
        totals={name: _total(nights, name) for name in FIGURES},
        compared_usd=fsum(run.on_demand_cost_usd or 0.0 for run in saving),
        open_cost_at_least_usd=fsum(run.cost_at_least_usd for run in runs if run.ending is Ending.RUNNING),
    )


def by_month(runs: Iterable[RunRecord]) -> dict[str, Statement]:
    """A statement for each month with a run ("2026-11"), oldest first."""
    return _grouped(runs, lambda run: run.month)


def by_job(runs: Iterable[RunRecord]) -> dict[str, Statement]:
    return _grouped(runs, lambda run: run.job)


def bounds_of(month: str) -> tuple[datetime, datetime]:
    """The first moment of a month such as "2026-11", and of the next one; both UTC. Raises MonthError."""
    match = _MONTH.fullmatch(month)
    if match is None or not 1 <= int(match[1]) <= 9998:
        raise MonthError(f"month: {month!r}: must be a year and a month, such as 2026-11")
    year, number = int(match[1]), int(match[2])
    after = (year + 1, 1) if number == 12 else (year, number + 1)
    return datetime(year, number, 1, tzinfo=UTC), datetime(*after, 1, tzinfo=UTC)


def to_json(statement: Statement) -> dict[str, Any]:
    """JSON-ready. What a statement tells from its own figures is written out too."""
    return {
        "runs": statement.runs,
        "nights": statement.nights,
        "endings": {ending.value: count for ending, count in statement.endings.items()},
        "fell_back": statement.fell_back,
        "fell_back_reasons": {reason.value: n for reason, n in statement.fell_back_reasons.items()},
        "interrupted": statement.interrupted,
        "interruptions": statement.interruptions,
        "repeated_estimated": statement.repeated_estimated,
        "uses_plan_rate": statement.uses_plan_rate,
        "plan_is_used_up": statement.plan_is_used_up,
        "yardstick_late": statement.yardstick_late,
        "yardstick_unknown": statement.yardstick_unknown,
        "price_assumed": statement.price_assumed,
        "shares": statement.shares,
        "totals": {
            name: {"value": total.value, "known": total.known, "covers": total.covers, "of": total.of}
            for name, total in statement.totals.items()
        },
        "saved_percent": statement.saved_percent,
        "known_saved_percent": statement.known_saved_percent,
        "compared_usd": statement.compared_usd,
        "open_cost_at_least_usd": statement.open_cost_at_least_usd,
    }


def _counted(counts: Counter[Reason]) -> dict[Reason, int]:
    """The most frequent first."""
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _total(nights: list[RunRecord], name: str) -> Total:
    figures = [getattr(run, name) for run in nights]
    known = [figure for figure in figures if figure is not None]
    # Of a night that is not wholly priced, what is priced belongs into the lower bound.
    partly = [run.cost_at_least_usd for run in nights if run.cost_usd is None] if name == "cost_usd" else []
    return Total(fsum([*known, *partly]), len(known), len(nights))


def _grouped(runs: Iterable[RunRecord], key_of: Callable[[RunRecord], str]) -> dict[str, Statement]:
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(key_of(run), []).append(run)
    return {key: statement(groups[key]) for key in sorted(groups)}


Row = dict[str, str | int | float | bool | None]

# fmt: off
RUN_COLUMNS = (
    "month", "job", "run_id", "started_at", "ended_at", "ending", "margin_seconds", "attempts",
    "fell_back", "interruptions", "waited_seconds", "starting_seconds", "trained_seconds",
    "billable_seconds", "repeated_seconds", "repeated_evidence", "lost_seconds", "cost_usd",
    "cost_at_least_usd", "on_demand_cost_usd", "saved_usd", "saved_percent", "uses_plan_rate",
    "missing", "saved_at_most_usd", "yardstick",
)

ATTEMPT_COLUMNS = (
    "job", "run_id", "number", "training_job_name", "market", "instance_type", "asked_at",
    "ended_at", "status", "failure_class", "interruptions", "waited_seconds", "starting_seconds",
    "trained_seconds", "billable_seconds", "repeated_seconds", "repeated_evidence", "lost_seconds",
    "cost_usd", "on_demand_cost_usd", "saved_usd", "missing",
)
# fmt: on

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def run_rows(runs: Iterable[RunRecord]) -> list[Row]:
    return [_row(run.account(), RUN_COLUMNS) for run in runs]


def attempt_rows(runs: Iterable[RunRecord]) -> list[Row]:
    return [
        _row({**attempt.model_dump(mode="json"), "job": run.job, "run_id": run.run_id}, ATTEMPT_COLUMNS)
        for run in runs
        for attempt in run.attempts
    ]


def to_csv(columns: Sequence[str], rows: Iterable[Row]) -> str:
    """RFC 4180 text, headed by the columns' names. A text that a spreadsheet would run as a formula is disarmed."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return out.getvalue()


def _row(values: Mapping[str, Any], columns: Sequence[str]) -> Row:
    row: Row = {}
    for column in columns:
        value = values.get(column)
        row[column] = " ".join(value) if isinstance(value, list) else value
    return row


def _cell(value: str | float | bool | None) -> str | float:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"  # OWASP, "CSV Injection"
    return value
