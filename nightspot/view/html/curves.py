"""Decides the curves of a run: how far the work was safe over the night, and each metric over the steps."""

from __future__ import annotations

from nightspot.formats.figures import clock, number, plain
from nightspot.record.model import RunRecord
from nightspot.view.html.theme import SPOT, Spec, framed, from_until, milliseconds
from nightspot.view.html.timeline import checkpoints_of

CURVE_PIXELS = 180
MOST_METRICS = 4
FEWEST_POINTS = 2  # one point is no curve; the number is in the table


def progress_spec(run: RunRecord) -> Spec | None:
    """Steps that were safe over time, or shares of the work where the total is known; None without a curve."""
    seen = [step.progress for step in checkpoints_of(run) if step.progress is not None]
    if len(seen) < FEWEST_POINTS:
        return None
    total = seen[-1].total_steps
    values = [
        {
            "at": milliseconds(progress.saved_at),
            "step": progress.step,
            "says": f"{clock(progress.saved_at, run.started_at)}: step {progress.step}"
            + (f" of {total} is safe" if total else " is safe"),
        }
        for progress in seen
    ]
    x = {
        "field": "at",
        "type": "temporal",
        "scale": {"type": "utc", "nice": False},
        "axis": {
            "title": "UTC",
            "titleAnchor": "end",
            "format": "%H:%M",
            "grid": False,
            "labelOverlap": "greedy",
        },
    }
    y = {
        "field": "step",
        "type": "quantitative",
        "scale": {"domain": [0, total]} if total else {"zero": True},
        "axis": {"title": "step that is safe", "tickCount": 4, "tickMinStep": 1},
    }
    night = from_until(milliseconds(run.started_at), milliseconds(run.over_at), {**x, "field": "at"})
    return _curve(values, x, y, "step-after", night)


def metric_names(run: RunRecord) -> list[str]:
    """The metrics that have a curve, in alphabetical order; the first few, where there are many."""
    points: dict[str, int] = {}
    for step in checkpoints_of(run):
        for name, value in (step.progress.metrics if step.progress else {}).items():
            points[name] = points.get(name, 0) + (value is not None)
    return sorted(name for name, count in points.items() if count >= FEWEST_POINTS)[:MOST_METRICS]


def metric_spec(run: RunRecord, name: str) -> Spec:
    """A metric at each checkpoint that a decision saw, over the steps."""
    values = []
    for step in checkpoints_of(run):
        value = step.progress.metrics.get(name) if step.progress else None
        if step.progress is not None and value is not None:
            says = f"step {step.progress.step}: {plain(name)} {number(value)}"
            values.append({"step": step.progress.step, "value": value, "says": says})
    x = {
        "field": "step",
        "type": "quantitative",
        "axis": {"title": "step", "titleAnchor": "end", "grid": False},
    }
    y = {
        "field": "value",
        "type": "quantitative",
        "scale": {"zero": False},
        "axis": {"title": None, "tickCount": 4},
    }
    return _curve(values, x, y, "linear")


def _curve(values: list[dict[str, object]], x: Spec, y: Spec, interpolate: str, *before: Spec) -> Spec:
    points = {
        "mark": {"type": "point", "filled": True, "size": 60, "color": SPOT},
        "encoding": {"x": x, "y": y, "tooltip": {"field": "says"}, "description": {"field": "says"}},
    }
    line = {
        "mark": {"type": "line", "color": SPOT, "interpolate": interpolate, "strokeWidth": 2, "aria": False},
        "encoding": {"x": x, "y": y},
    }
    return framed(CURVE_PIXELS, data={"values": values}, layer=[*before, line, points])
