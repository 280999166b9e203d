"""The charts of a run: money per attempt, safe work over time, metrics over steps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from nightspot.formats.figures import clock, day, number, plain, usd
from nightspot.job.markets import Market
from nightspot.record.model import RunRecord
from nightspot.view.html.theme import (
    GOOD,
    ON_DEMAND,
    SAYS,
    SPOT,
    USD_AXIS,
    Spec,
    clock_axis,
    framed,
    from_until,
    line_and_points,
    milliseconds,
    names_above,
)
from nightspot.view.html.timeline import checkpoints_of

BAR_PIXELS = 52
GREY = "var(--waiting)"
MONTH_PIXELS = 220
_COLOURS = {Market.SPOT: SPOT, Market.ON_DEMAND: ON_DEMAND}


def cost_spec(run: RunRecord) -> Spec | None:
    """The attempts that cost something, end to end, above what on-demand alone would have cost.

    None where the run's cost is not known or nothing: a bar would lie.
    """
    cost, alone = run.cost_usd, run.on_demand_cost_usd
    if not cost:
        return None
    values = []
    begin = 0.0
    for attempt in run.attempts:
        if attempt.cost_usd:
            what = f"attempt {attempt.number}, {attempt.market.of(attempt.instance_type)}"
            values.append(
                {
                    "bar": 0,
                    "from": begin,
                    "to": begin + attempt.cost_usd,
                    "colour": _COLOURS[attempt.market],
                    "says": plain(f"{what}: {usd(attempt.cost_usd)}"),
                }
            )
            begin += attempt.cost_usd
    names = [{"bar": 0, "at": 0, "name": f"this run: {usd(cost)}"}]
    if run.has_model and alone is not None:
        says = f"on-demand alone: {usd(alone)}"
        values.append({"bar": 1, "from": 0.0, "to": alone, "colour": GREY, "says": says})
        names.append({"bar": 1, "at": 0, "name": says})
    y = {"field": "bar", "type": "ordinal", "axis": None}
    bars = _bars(values, {"height": 20, "yOffset": 8}, "from", y)
    bars["encoding"]["x2"] = {"field": "to"}
    return framed(BAR_PIXELS * len(names), layer=[bars, names_above(names, _USD, y)])


_USD = {"type": "quantitative", "axis": USD_AXIS}


def _bars(values: list[Spec], mark: Spec, field: str, y: Spec) -> Spec:
    colour = {"field": "colour", "type": "nominal", "scale": None}
    return {
        "data": {"values": values},
        "mark": {"type": "bar", **mark},
        "encoding": {"x": {**_USD, "field": field}, "y": y, "color": colour, **SAYS},
    }


def saved_spec(runs: Sequence[RunRecord]) -> Spec | None:
    """What runs have saved, added up from the first to the last; None where none is known.

    A run whose saving is not known adds nothing and has no point.
    """
    known = [run for run in sorted(runs, key=lambda run: run.started_at) if run.saved_usd is not None]
    if not known:
        return None
    sums = accumulate(run.saved_usd or 0.0 for run in known)
    values = [
        {
            "at": milliseconds(run.started_at),
            "sum": total,
            "says": plain(
                f"{day(run.started_at)}, {run.job}: {usd(run.saved_usd)} saved, {usd(total)} so far"
            ),
        }
        for run, total in zip(known, sums, strict=True)
    ]
    x = {
        "field": "at",
        "type": "temporal",
        "scale": {"type": "utc", "nice": False, "padding": 12},
        "axis": {"title": None, "format": "%-d %b", "grid": False, "labelOverlap": "greedy", "tickCount": 6},
    }
    y = {
        "field": "sum",
        "type": "quantitative",
        "stack": None,
        "axis": {"title": "USD saved so far", "format": "$,.0f", "tickCount": 5},
    }
    area = {
        "mark": {"type": "area", "color": GOOD, "opacity": 0.15, "interpolate": "step-after", "aria": False},
        "encoding": {"x": x, "y": y},
    }
    curve = line_and_points(x, y, GOOD, "step-after")
    return framed(MONTH_PIXELS, data={"values": values}, layer=[area, *curve])


def per_job_spec(names_and_costs: Sequence[tuple[str, float, float]]) -> Spec | None:
    """For each job (name, cost, on-demand alone), in USD, two bars above each other; None for nothing."""
    if not names_and_costs:
        return None
    values, names = [], []
    for place, (name, cost, alone) in enumerate(names_and_costs):
        for offset, colour, amount, what in ((0, SPOT, cost, "cost"), (10, GREY, alone, "on-demand alone")):
            says = plain(f"{name}, {what}: {usd(amount)}")
            values.append({"job": place, "usd": amount, "colour": colour, "offset": offset, "says": says})
        names.append({"job": place, "at": 0, "name": plain(name)})
    y = {"field": "job", "type": "ordinal", "axis": None}
    bars = [
        _bars([v for v in values if v["offset"] == n], {"height": 9, "yOffset": 4 + n}, "usd", y)
        for n in (0, 10)
    ]
    return framed(BAR_PIXELS * len(names), layer=[*bars, names_above(names, _USD, y)])


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
    x = clock_axis(grid=False)
    y = {
        "field": "step",
        "type": "quantitative",
        "scale": {"domain": [0, total]} if total else {"zero": True},
        "axis": {"title": "step that is safe", "tickCount": 4, "tickMinStep": 1},
    }
    night = from_until(milliseconds(run.started_at), milliseconds(run.over_at), x)
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
    axis = {"title": "step", "titleAnchor": "end", "grid": False}
    x = {"field": "step", "type": "quantitative", "axis": axis}
    axis = {"title": None, "tickCount": 4}
    y = {"field": "value", "type": "quantitative", "scale": {"zero": False}, "axis": axis}
    return _curve(values, x, y, "linear")


def _curve(values: list[dict[str, object]], x: Spec, y: Spec, interpolate: str, *before: Spec) -> Spec:
    layer = [*before, *line_and_points(x, y, SPOT, interpolate)]
    return framed(CURVE_PIXELS, data={"values": values}, layer=layer)
