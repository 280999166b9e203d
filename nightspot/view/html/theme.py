"""How a night is told as one row of stretches, and how charts look: colours by what they mean, as CSS names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from nightspot.job.markets import Market
from nightspot.record.model import AttemptRecord, Ending, RunRecord
from nightspot.run.model import AttemptState


class StretchKind(StrEnum):
    """What was going on."""

    NOTHING = "nothing"  # no training job was open
    ASKED = "asked"  # asked for, and not yet seen
    WAITING = "waiting"
    STARTING = "starting"
    TRAINING_ON_SPOT = "training_on_spot"
    TRAINING_ON_DEMAND = "training_on_demand"
    INTERRUPTED = "interrupted"  # and waiting for the next machine
    STOPPING = "stopping"
    NOT_TOLD = "not_told"  # a record without phases: all that is known is that the job was open


WORDS: Mapping[StretchKind, str] = {
    StretchKind.NOTHING: "no training job",
    StretchKind.ASKED: "asked for",
    StretchKind.WAITING: "waiting for a machine",
    StretchKind.STARTING: "starting",
    StretchKind.TRAINING_ON_SPOT: "training on Spot",
    StretchKind.TRAINING_ON_DEMAND: "training on-demand",
    StretchKind.INTERRUPTED: "interrupted, waiting again",
    StretchKind.STOPPING: "stopping",
    StretchKind.NOT_TOLD: "open (no details on record)",
}
# An attempt's state, as long as it has not had a machine, on Spot.
_KINDS: Mapping[AttemptState, StretchKind] = {
    AttemptState.ASKED: StretchKind.ASKED,
    AttemptState.WAITING: StretchKind.WAITING,
    AttemptState.STARTING: StretchKind.STARTING,
    AttemptState.TRAINING: StretchKind.TRAINING_ON_SPOT,
    AttemptState.STOPPING: StretchKind.STOPPING,
    AttemptState.ENDED: StretchKind.STOPPING,
}


@dataclass(frozen=True)
class Stretch:
    """A piece of the night. `attempt` is None where no training job was open."""

    kind: StretchKind
    started_at: datetime
    ended_at: datetime
    attempt: AttemptRecord | None = None

    @property
    def seconds(self) -> float:
        return (self.ended_at - self.started_at).total_seconds()


def stretches_of(run: RunRecord) -> tuple[Stretch, ...]:
    """The night from `started_at` to `over_at`; the seconds of all stretches add up to it exactly."""
    end = run.over_at
    told: list[Stretch] = []
    cursor = run.started_at
    for attempt in sorted(run.attempts, key=lambda each: each.number):
        cursor = _add(told, StretchKind.NOTHING, cursor, attempt.asked_at, None)
        for kind, until in _within(attempt, end):
            cursor = _add(told, kind, cursor, until, attempt)
    _add(told, StretchKind.NOTHING, cursor, end, None)
    return tuple(told)


def kind_of(state: AttemptState, market: Market, *, had_a_machine: bool) -> StretchKind:
    """What an attempt's state is called on a page."""
    kind = _KINDS[state]
    if kind is StretchKind.TRAINING_ON_SPOT and market is Market.ON_DEMAND:
        return StretchKind.TRAINING_ON_DEMAND
    return StretchKind.INTERRUPTED if kind is StretchKind.WAITING and had_a_machine else kind


def _within(attempt: AttemptRecord, end: datetime) -> Iterator[tuple[StretchKind, datetime]]:
    """What followed upon what while the attempt was open, each with its end."""
    over = attempt.ended_at or end
    if not attempt.phases:
        yield StretchKind.NOT_TOLD, over
        return
    yield StretchKind.ASKED, min(attempt.phases[0].started_at, over)
    had_a_machine = False
    for number, phase in enumerate(attempt.phases):
        last = number + 1 == len(attempt.phases)
        # Between two looks SageMaker may have been silent: what was known goes on until the next is.
        until = over if last else attempt.phases[number + 1].started_at
        yield kind_of(phase.state, attempt.market, had_a_machine=had_a_machine), min(until, over)
        had_a_machine = had_a_machine or phase.state in {AttemptState.STARTING, AttemptState.TRAINING}


def _add(
    told: list[Stretch], kind: StretchKind, cursor: datetime, until: datetime, attempt: AttemptRecord | None
) -> datetime:
    if until <= cursor:
        return cursor
    told.append(Stretch(kind, cursor, until, attempt))
    return until


Spec = dict[str, Any]
"""A Vega-Lite specification, JSON-ready."""

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

TEXT, MUTED, LINE = "var(--text)", "var(--muted)", "var(--line)"
SPOT, ON_DEMAND = "var(--spot)", "var(--on-demand)"
GOOD, BAD, WARN = "var(--good)", "var(--bad)", "var(--warn)"

KIND_COLOURS: Mapping[StretchKind, str] = {
    StretchKind.NOTHING: "var(--nothing)",
    StretchKind.ASKED: "var(--asked)",
    StretchKind.WAITING: "var(--waiting)",
    StretchKind.STARTING: "var(--starting)",
    StretchKind.TRAINING_ON_SPOT: SPOT,
    StretchKind.TRAINING_ON_DEMAND: ON_DEMAND,
    StretchKind.INTERRUPTED: "var(--interrupted)",
    StretchKind.STOPPING: "var(--stopping)",
    StretchKind.NOT_TOLD: "var(--waiting)",
}

# By CSS name: (light, dark). Text and surfaces hold 4.5 : 1, the colours of marks 3 : 1 against their ground.
PALETTE: Mapping[str, tuple[str, str]] = {
    "ground": ("#ffffff", "#14171c"),
    "card": ("#f6f7f9", "#1d2229"),
    "text": ("#1c2430", "#e8ebf0"),
    "muted": ("#566172", "#a3adbb"),
    "line": ("#d9dee5", "#343c47"),
    "link": ("#1a5fb4", "#8ab8ff"),
    "spot": ("#0f7b6c", "#3fbfa8"),
    "on-demand": ("#3b5bdb", "#8fa6ff"),
    "good": ("#0f7b6c", "#3fbfa8"),
    "bad": ("#c0392b", "#ff8a7a"),
    "warn": ("#9a6700", "#e3b341"),
    "nothing": ("#eceff3", "#262c35"),
    "asked": ("#d5dbe3", "#3a434f"),
    "waiting": ("#aab4c1", "#6c7786"),
    "starting": ("#8cc9bf", "#2b6f65"),
    "interrupted": ("#e59a8f", "#a8503f"),
    "stopping": ("#8d6cab", "#b794d6"),
}

# What a badge's colour says.
MOODS: Mapping[Ending, str] = {
    Ending.RUNNING: "quiet",
    Ending.IN_TIME: "good",
    Ending.LATE: "warn",
    Ending.FAILED: "bad",
    Ending.SKIPPED: "warn",
    Ending.STOPPED: "quiet",
    Ending.REFUSED: "quiet",
}


def css(column: int) -> str:
    """The custom properties of one look: 0 is light, 1 dark."""
    return " ".join(f"--{name}: {colours[column]};" for name, colours in PALETTE.items())


def concrete(value: Any) -> Any:
    """A spec with light's colours in place of CSS names: for pictures, which know no style sheet."""
    if isinstance(value, Mapping):
        return {name: concrete(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [concrete(inner) for inner in value]
    if isinstance(value, str) and value.startswith("var(--") and value.endswith(")"):
        return PALETTE[value[len("var(--") : -1]][0]
    return value


def framed(height: Any, **parts: Any) -> Spec:
    """A whole spec: as wide as its place, in the page's font, without a background of its own."""
    axis = {
        "labelColor": MUTED,
        "titleColor": MUTED,
        "tickColor": LINE,
        "gridColor": LINE,
        "domainColor": LINE,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelSeparation": 6,
    }
    return {
        "$schema": SCHEMA,
        "width": "container",
        "height": height,
        "background": None,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": {"left": 2, "right": 6, "top": 4, "bottom": 4},
        "config": {
            "font": FONT,
            "axis": axis,
            "view": {"stroke": None},
            "text": {"color": TEXT, "fontSize": 12},
            "legend": {"labelColor": TEXT, "labelFontSize": 12, "title": None},
            "title": {"color": TEXT, "anchor": "start", "fontSize": 15},
        },
        **parts,
    }


SAYS = {"tooltip": {"field": "says"}, "description": {"field": "says"}}
USD_AXIS = {"title": "USD", "titleAnchor": "end", "format": "$,.0f", "tickCount": 5}


def clock_axis(**more: Any) -> Spec:
    """A time axis that shows the hours of a night, in UTC."""
    axis = {"title": "UTC", "titleAnchor": "end", "format": "%H:%M", "labelOverlap": "greedy", **more}
    return {"field": "at", "type": "temporal", "scale": {"type": "utc", "nice": False}, "axis": axis}


def names_above(values: Sequence[Spec], x: Spec, y: Spec, **mark: Any) -> Spec:
    """A layer of texts, each above its bar."""
    return {
        "data": {"values": values},
        "mark": {"type": "text", "align": "left", "dy": -12, **mark, "aria": False},
        "encoding": {"x": {**x, "field": "at"}, "y": y, "text": {"field": "name"}},
    }


def line_and_points(x: Spec, y: Spec, colour: str, interpolate: str) -> list[Spec]:
    """The layers of a curve whose points say what they are."""
    line = {"type": "line", "color": colour, "interpolate": interpolate, "strokeWidth": 2, "aria": False}
    point = {"type": "point", "filled": True, "size": 60, "color": colour}
    return [
        {"mark": line, "encoding": {"x": x, "y": y}},
        {"mark": point, "encoding": {"x": x, "y": y, **SAYS}},
    ]


def milliseconds(moment: datetime) -> int:
    """A moment as charts count: since 1970, UTC."""
    return round(moment.timestamp() * 1000)


def from_until(start: int, end: int, x: Spec) -> Spec:
    """A layer that draws nothing and makes the time axis `x` reach from `start` to `end`.

    Vega's interpreter, without which a page would have to allow `eval`, does not take moments as a scale's domain.
    """
    return {
        "data": {"values": [{"at": start}, {"at": end}]},
        "mark": {"type": "point", "opacity": 0, "aria": False},
        "encoding": {"x": {**x, "field": "at"}},
    }
