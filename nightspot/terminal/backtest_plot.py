"""Decides how a backtest is drawn: cost against how loose the deadline is, and one night as three timelines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nightspot.formats.durations import format_duration
from nightspot.market.backtest import DEFAULT, OMNISCIENT, Score, backtest
from nightspot.market.samples import BacktestError, Setting, Zone, check
from nightspot.run.model import Run
from nightspot.terminal import backtest_night

LOOSENESS = (1.25, 1.5, 2.0, 2.5, 3.0)
STARTS = 60  # from each zone: a curve is smooth enough then
INCHES = (15.0, 7.2)
DOTS_PER_INCH = 130
HOUR = 3600.0

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Line:
    """How a policy's line looks: told apart by its dashes and marks where colours are not seen."""

    colour: str
    dashes: str
    mark: str
    width: float


# Okabe and Ito's colours, which the colour-blind tell apart (jfly.uni-koeln.de/color).
LINES: Mapping[str, Line] = {
    DEFAULT: Line("#000000", "-", "o", 2.8),
    "eager": Line("#0072B2", "-", "s", 1.3),
    "on_demand": Line("#555555", "-", "x", 1.3),
    "spot_once": Line("#009E73", "-", "^", 1.3),
    "spot_once_scratch": Line("#009E73", ":", "v", 1.3),
    "max_wait_safe": Line("#D55E00", "-", "D", 1.3),
    "max_wait_unsafe": Line("#D55E00", ":", "d", 1.3),
    "greedy": Line("#CC79A7", "-", "+", 1.3),
    "spot_whenever": Line("#0072B2", "--", "<", 1.3),
    "uniform_progress": Line("#CC79A7", "--", ">", 1.3),
    "greedy_then_uniform": Line("#009E73", "--", "*", 1.3),
    OMNISCIENT: Line("#000000", "--", "", 1.8),
}


def draw(
    path: Path,
    setting: Setting,
    zones: Sequence[Zone],
    *,
    run: Run | None = None,
    on_progress: OnProgress = lambda _done, _total: None,
) -> None:
    """Write the picture to `path`, whose ending says what kind: .png, .svg or .pdf.

    `run`: see `backtest`. Plays up to `STARTS` nights from each zone for each deadline. Raises OSError.
    """
    curves = costs_by_looseness(setting, zones, run=run, on_progress=on_progress)
    own = curves[setting.window_seconds / setting.work_seconds]
    night = backtest_night.telling_night(setting, zones, backtest_night.rival_of(own), run=run)
    style: dict[Any, Any] = {"font.size": 10.5, "hatch.linewidth": 0.7, "svg.hashsalt": "nightspot"}
    with mpl.rc_context(style):
        figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.15))
        draw_costs(left, curves, setting)
        backtest_night.draw_night(right, night, setting)
        figure.savefig(path, metadata={} if path.suffix.lower() == ".png" else _undated(path))


def costs_by_looseness(
    setting: Setting,
    zones: Sequence[Zone],
    *,
    run: Run | None = None,
    on_progress: OnProgress = lambda _done, _total: None,
) -> dict[float, Mapping[str, Score]]:
    """The scores of every policy by window over work, for those of `LOOSENESS` that can be played, and the own."""
    own = setting.window_seconds / setting.work_seconds
    few = replace(setting, starts=min(setting.starts, STARTS))
    wanted = {ratio: _with_window(few, ratio, zones) for ratio in sorted({*LOOSENESS, own})}
    possible = {ratio: loose for ratio, loose in wanted.items() if loose is not None}
    curves: dict[float, Mapping[str, Score]] = {}
    for ratio, loose in possible.items():
        before = len(curves)

        def on_part(done: int, total: int, before: int = before) -> None:
            on_progress(before * total + done, len(possible) * total)

        curves[ratio] = backtest(loose, zones, run=run, on_progress=on_part)
    return curves


def _with_window(setting: Setting, ratio: float, zones: Sequence[Zone]) -> Setting | None:
    """The setting with another deadline; None where nobody can meet it, or the traces are too short."""
    try:
        loose = replace(setting, window_seconds=ratio * setting.work_seconds)
        check(loose, zones)
    except BacktestError:
        return None
    return loose


def draw_costs(axes: Axes, curves: Mapping[float, Mapping[str, Score]], setting: Setting) -> None:
    """One line per policy, its name at its right end."""
    ratios = list(curves)
    names = list(next(iter(curves.values())))
    ends: dict[str, float] = {}
    for name in names:
        costs = [100 * curves[ratio][name].cost_ratio for ratio in ratios]
        line = LINES[name]
        axes.plot(
            ratios,
            costs,
            color=line.colour,
            linestyle=line.dashes,
            marker=line.mark,
            linewidth=line.width,
            markersize=5.5,
            zorder=3 if name == DEFAULT else 2,
        )
        ends[name] = costs[-1]
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.04 * (high - low), high)
    span = max(ratios) - min(ratios) or 1.0
    axes.set_xlim(min(ratios) - 0.03 * span, max(ratios) + 0.75 * span)
    for name, at in spread(ends, (high - low) * 0.045).items():
        axes.annotate(
            _end_label(name, [scores[name] for scores in curves.values()]),
            xy=(ratios[-1], ends[name]),
            xytext=(max(ratios) + 0.1 * span, at),
            fontsize=9,
            fontweight="bold" if name == DEFAULT else "normal",
            verticalalignment="center",
            color=LINES[name].colour,
            arrowprops={"arrowstyle": "-", "color": LINES[name].colour, "linewidth": 0.6, "shrinkB": 4},
        )
    axes.set_xticks([ratio for ratio in ratios if ratio in LOOSENESS] or ratios)
    axes.set_xlabel("time to the deadline over work")
    axes.set_ylabel("cost, % of on-demand from the start")
    nights = f"{min(setting.starts, STARTS)} nights from each market"
    axes.set_title(
        f"What a night costs: {format_duration(setting.work_seconds)} of work, {nights}",
        loc="left",
        fontsize=11.5,
    )
    axes.text(
        0,
        -0.13,
        "solid: needs only what SageMaker shows    dotted: may be late    dashed: a bound, must see Spot come back",
        transform=axes.transAxes,
        fontsize=8.5,
    )
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def spread(wanted: Mapping[str, float], gap: float) -> dict[str, float]:
    """The places next to the wanted ones that keep at least `gap` from each other, in the same order.

    Neighbours that are too close form a group around their mean, which may swallow more neighbours.
    """
    groups: list[tuple[list[str], float]] = []  # names, and the middle of their places
    for name in sorted(wanted, key=wanted.__getitem__):
        names, middle = [name], wanted[name]
        while groups and middle - gap * len(names) / 2 < groups[-1][1] + gap * len(groups[-1][0]) / 2:
            names = groups.pop()[0] + names
            middle = sum(wanted[each] for each in names) / len(names)
        groups.append((names, middle))
    return {
        name: middle + gap * (position - (len(names) - 1) / 2)
        for names, middle in groups
        for position, name in enumerate(names)
    }


def _end_label(name: str, scores: Sequence[Score]) -> str:
    late = max(score.late_rate for score in scores)
    often = f", late up to {100 * late:.0f} %" if late >= 0.005 else ""
    default = " (default)" if name == DEFAULT else ""
    return f"{name}{default} {100 * scores[-1].cost_ratio:.0f} %{often}"


def _undated(path: Path) -> dict[str, Any]:
    """The same nights give the same file."""
    return {"Date": None} if path.suffix.lower() == ".svg" else {"CreationDate": None}
