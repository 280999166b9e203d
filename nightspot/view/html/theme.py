"""How charts look: colours by what they mean, as CSS names, so that one serves light, dark and paper."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nightspot.record.model import Ending
from nightspot.view.html.stretches import Kind

Spec = dict[str, Any]
"""A Vega-Lite specification, JSON-ready."""

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

TEXT, MUTED, LINE = "var(--text)", "var(--muted)", "var(--line)"
SPOT, ON_DEMAND, GOOD, BAD, WARN = (
    "var(--spot)",
    "var(--on-demand)",
    "var(--good)",
    "var(--bad)",
    "var(--warn)",
)

KIND_COLOURS: Mapping[Kind, str] = {
    Kind.NOTHING: "var(--nothing)",
    Kind.ASKED: "var(--asked)",
    Kind.WAITING: "var(--waiting)",
    Kind.STARTING: "var(--starting)",
    Kind.TRAINING_ON_SPOT: SPOT,
    Kind.TRAINING_ON_DEMAND: ON_DEMAND,
    Kind.INTERRUPTED: "var(--interrupted)",
    Kind.STOPPING: "var(--stopping)",
    Kind.NOT_TOLD: "var(--waiting)",
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
