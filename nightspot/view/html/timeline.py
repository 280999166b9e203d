"""The picture of a night: a lane per rung, decisions and checkpoints above them, moments across."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from nightspot.formats.figures import clock, duration, plain
from nightspot.record.model import RunRecord, StepRecord
from nightspot.run.model import Action
from nightspot.view.html.theme import (
    BAD,
    KIND_COLOURS,
    MUTED,
    SAYS,
    TEXT,
    WARN,
    WORDS,
    Spec,
    Stretch,
    StretchKind,
    clock_axis,
    framed,
    from_until,
    milliseconds,
    names_above,
    stretches_of,
)

LANE_PIXELS = 50
ROUND_MILLISECONDS = 10 * 60_000
MOMENT_PIXELS = 30  # above the lanes, where the names of moments stand
LONGEST_SAYING = 400  # of a failure's text in a tooltip
_Values = list[dict[str, Any]]


def timeline_spec(run: RunRecord, *, legend: bool = False) -> Spec:
    """The night of `run`; with `legend` it explains its colours itself, as a picture has to."""
    told = [stretch for stretch in stretches_of(run) if stretch.attempt is not None]
    lanes = list(dict.fromkeys(_lane(stretch) for stretch in told))
    names = ["Decisions", *(["Checkpoints seen"] if checkpoints_of(run) else []), *lanes]
    # From a round moment on, or midnight would have no label in a night that starts three seconds after it.
    start = milliseconds(run.started_at) // ROUND_MILLISECONDS * ROUND_MILLISECONDS
    end = milliseconds(max(run.over_at, run.deadline or run.over_at))
    span = max(end - start, 60_000)
    domain = {"domain": list(range(len(names)))}
    lane = {"field": "lane", "type": "ordinal", "axis": None, "scale": domain}
    x = {"type": "temporal"}
    named = [{"lane": number, "at": start, "name": plain(name)} for number, name in enumerate(names)]
    layers = [
        from_until(start, round(end + span * 0.015), clock_axis(grid=True, tickCount=9)),
        names_above(named, x, lane, dy=-14, color=MUTED),
        _stretches_layer(told, lanes, len(names) - len(lanes), x, lane, legend=legend),
        _checkpoints_layer(run, x, lane),
        _decisions_layer(run, x, lane),
        *_moments_layers(run, x, end, start),
    ]
    return framed(
        LANE_PIXELS * len(names),
        padding={"left": 2, "right": 6, "top": MOMENT_PIXELS, "bottom": 4},
        layer=[layer for layer in layers if layer],
        resolve={"scale": {"color": "independent", "shape": "independent"}},
    )


def last_safe_of(run: RunRecord) -> StepRecord | None:
    """The decision that saw the newest last safe moment; None where no decision had one."""
    return next((step for step in reversed(run.steps or ()) if step.last_safe_at is not None), None)


def checkpoints_of(run: RunRecord) -> list[StepRecord]:
    """The decisions that saw a checkpoint first, oldest first."""
    firsts: dict[tuple[int, datetime], StepRecord] = {}
    for step in run.steps or ():
        if step.progress is not None:
            firsts.setdefault((step.progress.step, step.progress.saved_at), step)
    return list(firsts.values())


def _lane(stretch: Stretch) -> str:
    attempt = stretch.attempt
    return "" if attempt is None else attempt.market.of(attempt.instance_type)


def _stretches_layer(
    told: list[Stretch], lanes: list[str], first: int, x: Spec, lane: Spec, *, legend: bool
) -> Spec | None:
    values = [
        {
            "from": milliseconds(stretch.started_at),
            "to": milliseconds(stretch.ended_at),
            "lane": first + lanes.index(_lane(stretch)),
            "kind": WORDS[stretch.kind],
            "seconds": stretch.seconds,
            "says": f"{_hours(stretch)}, {duration(stretch.seconds)}: {WORDS[stretch.kind]}",
        }
        for stretch in told
    ]
    if not values:
        return None
    present = [kind for kind in StretchKind if any(stretch.kind is kind for stretch in told)]
    colour = {
        "field": "kind",
        "type": "nominal",
        "scale": {
            "domain": [WORDS[kind] for kind in present],
            "range": [KIND_COLOURS[kind] for kind in present],
        },
        "legend": {"orient": "bottom", "columns": 4, "symbolType": "square"} if legend else None,
    }
    return {
        "name": "stretches",
        "data": {"values": values},
        "mark": {"type": "bar", "height": 18, "yOffset": 6, "minBandSize": 1},
        "encoding": {
            "x": {**x, "field": "from"},
            "x2": {"field": "to"},
            "y": lane,
            "color": colour,
            **SAYS,
        },
    }


def _decisions_layer(run: RunRecord, x: Spec, lane: Spec) -> Spec | None:
    values: _Values = [
        {
            "at": milliseconds(step.at),
            "lane": 0,
            "loud": step.action not in {Action.WATCH, Action.PAUSE},
            "says": plain(f"{clock(step.at, run.started_at)}, {step.action.value}: {step.because}")[
                :LONGEST_SAYING
            ],
        }
        for step in run.steps or ()
    ]
    return _points("decisions", "triangle-down", TEXT, values, x, lane) if values else None


def _checkpoints_layer(run: RunRecord, x: Spec, lane: Spec) -> Spec | None:
    values: _Values = [
        {
            "at": milliseconds(max(seen.saved_at, run.started_at)),
            "lane": 1,
            "loud": True,
            "says": f"step {seen.step}{f' of {seen.total_steps}' if seen.total_steps else ''},"
            f" saved at {clock(seen.saved_at, run.started_at)}",
        }
        for step in checkpoints_of(run)
        if (seen := step.progress) is not None
    ]
    return _points("checkpoints", "diamond", TEXT, values, x, lane) if values else None


def _points(name: str, shape: str, colour: str, values: _Values, x: Spec, lane: Spec) -> Spec:
    return {
        "name": name,
        "data": {"values": values},
        "mark": {"type": "point", "shape": shape, "size": 110, "filled": True, "color": colour, "yOffset": 6},
        "encoding": {
            "x": {**x, "field": "at"},
            "y": lane,
            "opacity": {"condition": {"test": "datum.loud", "value": 1}, "value": 0.45},
            **SAYS,
        },
    }


def _moments_layers(run: RunRecord, x: Spec, end: int, start: int) -> Iterable[Spec]:
    """The deadline and the last safe moment: a line across, and its name above it."""
    moments = [] if run.deadline is None else [("deadline", run.deadline, BAD, [1, 0], -20)]
    if (seen := last_safe_of(run)) is not None and seen.last_safe_at is not None:
        moments.append(("last safe moment", seen.last_safe_at, WARN, [5, 3], -7))
    for name, moment, colour, dash, dy in moments:
        at = milliseconds(moment)
        if not start <= at <= end:
            continue
        data = {"values": [{"at": at, "name": f"{name} {clock(moment, run.started_at)}"}]}
        yield {
            "data": data,
            "mark": {"type": "rule", "color": colour, "strokeWidth": 1.5, "strokeDash": dash, "aria": False},
            "encoding": {"x": {**x, "field": "at"}, "tooltip": {"field": "name"}},
        }
        right = at - start > (end - start) * 0.6
        yield {
            "data": data,
            "mark": {
                "type": "text",
                "color": colour,
                "align": "right" if right else "left",
                "dx": -4 if right else 4,
                "y": 0,
                "dy": dy,
                "fontWeight": "bold",
                "aria": False,
            },
            "encoding": {"x": {**x, "field": "at"}, "text": {"field": "name"}},
        }


def _hours(stretch: Stretch) -> str:
    begin, end = clock(stretch.started_at), clock(stretch.ended_at, stretch.started_at)
    return f"{begin.removesuffix(' UTC')}-{end}"
