"""How a backtest is drawn: cost against how loose the deadline is, and one run as three timelines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from nightspot.formats.figures import format_duration
from nightspot.market.backtest import DEFAULT, OMNISCIENT, OURS, Score, backtest, needs_to_see_spot, player
from nightspot.market.model import Doing, MarketAvailability, NightResult, UpSpan
from nightspot.market.omniscient import OmniscientSchedule, schedule_of
from nightspot.market.samples import BacktestError, BacktestSetting, Sample, Zone, check, samples_of
from nightspot.run.model import Run

NIGHTS_SOUGHT = 15  # from each zone
ALIKE = 0.005  # of the costs
ON_DEMAND = "on_demand"


@dataclass(frozen=True)
class SampleNight:
    """A night as three played it."""

    zone: Zone
    sample: Sample
    ours: NightResult
    rival: str
    rivals: NightResult
    schedule: OmniscientSchedule

    @property
    def last_safe_seconds(self) -> float | None:
        """When ours gave Spot up; None where it never did."""
        begin = next((span.start_seconds for span in self.ours.spans if span.market == ON_DEMAND), None)
        if begin is None:
            return None
        # What it took to stop Spot, and to wait for on-demand's machine, came after that moment.
        stops = (
            s.start_seconds for s in self.ours.spans if s.doing is Doing.STOPPING and s.end_seconds <= begin
        )
        return max(stops, default=begin)


@dataclass(frozen=True)
class PlotLook:
    """How a stretch of a timeline is drawn: told apart by hatches and words where colours are not seen."""

    label: str
    colour: str
    hatch: str


LOOKS: Mapping[tuple[str | None, Doing], PlotLook] = {
    (None, Doing.WAITING): PlotLook("waiting, nothing is paid", "#ffffff", "...."),
    (None, Doing.STOPPING): PlotLook("stopping", "#999999", ""),
    ("spot", Doing.STARTING): PlotLook("starting on Spot", "#a6d8f5", "////"),
    ("spot", Doing.TRAINING): PlotLook("training on Spot", "#56B4E9", ""),
    ("spot", Doing.STOPPING): PlotLook("stopping", "#999999", ""),
    (ON_DEMAND, Doing.STARTING): PlotLook("starting on on-demand", "#e8a06f", "\\\\\\\\"),
    (ON_DEMAND, Doing.TRAINING): PlotLook("training on on-demand", "#D55E00", ""),
    (ON_DEMAND, Doing.STOPPING): PlotLook("stopping", "#999999", ""),
}


def rival_of(scores: Mapping[str, Score]) -> str:
    """The cheapest rival, never late if there is one, that needs only what SageMaker shows and is not like ours."""
    ours = scores[DEFAULT].cost_ratio
    names = [name for name in scores if name not in OURS and not needs_to_see_spot(name)]
    # The rule that ours is a form of plays most nights alike; a second such line tells nothing.
    different = [name for name in names if abs(scores[name].cost_ratio - ours) > ALIKE * ours]
    return min(different or names, key=lambda name: (scores[name].late_rate, scores[name].cost_ratio))


def telling_night(
    setting: BacktestSetting, zones: Sequence[Zone], rival: str, *, run: Run | None = None
) -> SampleNight:
    """Of some nights of every zone the one that tells most: both markets used, reclaims, and the three differ."""
    nights = (
        played_night(setting, zone, sample, rival, run=run)
        for zone in zones
        for sample in samples_of(replace(setting, starts=NIGHTS_SOUGHT), zone)
    )
    return max(nights, key=_tells)


def played_night(
    setting: BacktestSetting, zone: Zone, sample: Sample, rival: str, *, run: Run | None = None
) -> SampleNight:
    """One night, as ours, the rival and one who knows it all play it."""
    ours = player(setting, DEFAULT, run, with_spans=True)(sample)
    rivals = player(setting, rival, with_spans=True)(sample)
    return SampleNight(zone, sample, ours, rival, rivals, schedule_of(setting, zone, sample))


def _tells(night: SampleNight) -> tuple[int, float]:
    ours, best = night.ours, night.schedule.cost_on_demand_hours
    facts = (
        not ours.late,
        ours.on_demand_seconds > 0,
        2 <= ours.interruptions <= 3,
        ours.waited_seconds > HOUR / 2,
        min(ours.spot_seconds, ours.on_demand_seconds) > HOUR / 2,
        best < 0.95 * ours.cost,
        night.rivals.cost > 1.05 * ours.cost,
    )
    return sum(facts), night.rivals.cost - ours.cost


def draw_night(axes: Axes, night: SampleNight, setting: BacktestSetting) -> None:
    """Three timelines above the market's availability, with the last safe moment and the deadline."""
    window = setting.window_seconds / HOUR
    rows = (
        (f"{DEFAULT}\n(ours)", night.ours.spans, night.ours.cost),
        (night.rival, night.rivals.spans, night.rivals.cost),
        (OMNISCIENT, tuple(spans_of(night.schedule)), night.schedule.cost_on_demand_hours),
    )
    last = max(window, *(span.end_seconds / HOUR for _, spans, _ in rows for span in spans))
    right = last + 0.03 * window
    for place, (_, spans, cost) in zip((3, 2, 1), rows, strict=True):
        for span in spans:
            look = LOOKS[span.market, span.doing]
            axes.broken_barh(
                [(span.start_seconds / HOUR, (span.end_seconds - span.start_seconds) / HOUR)],
                (place - 0.3, 0.6),
                facecolor=look.colour,
                hatch=look.hatch,
                edgecolor="#333333",
                linewidth=0.7,
            )
            _name_span(axes, span, place)
        axes.text(right, place, f"{cost:.2f}", verticalalignment="center", fontweight="bold")
    for start, stop in ups(night.sample.truth.market, setting.window_seconds):
        axes.broken_barh([(start / HOUR, (stop - start) / HOUR)], (0.15, 0.3), facecolor="#000000")
    axes.axhline(0.15, color="#000000", linewidth=0.7)
    axes.plot([window, window], [0, 3.9], color="#000000", linewidth=2)
    axes.text(window, 3.95, "deadline", horizontalalignment="center", fontsize=9.5)
    axes.text(right, 3.7, "cost", fontsize=9.5, fontweight="bold")
    safe = night.last_safe_seconds
    if safe is not None:
        axes.plot([safe / HOUR, safe / HOUR], [2.62, 3.5], color="#000000", linestyle=":", linewidth=1.8)
        axes.text(
            safe / HOUR, 3.56, "last safe moment: Spot is given up", horizontalalignment="right", fontsize=9.5
        )
    axes.set_yticks([3, 2, 1, 0.3], [*(name for name, _, _ in rows), "Spot is up"])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(0, 4.1)
    axes.set_xlim(0, right + 0.07 * window)
    axes.set_xlabel("hours since the run's start")
    axes.set_title(
        f"One run in {_short(night.zone.name)}; costs in hours of on-demand",
        loc="left",
        fontsize=11.5,
    )
    shown = {(s.market, s.doing) for _, spans, _ in rows for s in spans}
    looks = dict.fromkeys(look for key, look in LOOKS.items() if key in shown)
    patches = [Patch(facecolor=k.colour, hatch=k.hatch, edgecolor="#333333", label=k.label) for k in looks]
    axes.legend(
        handles=patches, loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=3, frameon=False, fontsize=9
    )
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def spans_of(schedule: OmniscientSchedule) -> Iterator[UpSpan]:
    """The stretches of the omniscient's machines, and the waits between them."""
    now = 0.0
    for stay in schedule.stays:
        market = str(stay.mode)
        if stay.start_seconds > now:
            yield UpSpan(now, stay.start_seconds, None, Doing.WAITING)
        if stay.ready_seconds > stay.start_seconds:
            yield UpSpan(stay.start_seconds, stay.ready_seconds, market, Doing.STARTING)
        yield UpSpan(stay.ready_seconds, stay.end_seconds, market, Doing.TRAINING)
        now = stay.end_seconds


def ups(market: MarketAvailability, window_seconds: float) -> Iterator[tuple[float, float]]:
    """When the market is up, from start to end, within the window."""
    starts = [float(start) for start in market.starts_seconds]
    for start, stop, is_up in zip(starts, [*starts[1:], window_seconds], market.up, strict=True):
        if is_up and start < window_seconds:
            yield start, min(stop, window_seconds)


def _name_span(axes: Axes, span: UpSpan, place: float) -> None:
    words = {
        ("spot", Doing.TRAINING): "Spot",
        (ON_DEMAND, Doing.TRAINING): "on-demand",
        (None, Doing.WAITING): "wait",
    }
    word = words.get((span.market, span.doing))
    hours = (span.end_seconds - span.start_seconds) / HOUR
    if word is None or hours < 0.08 * len(word):
        return
    axes.text(
        (span.start_seconds + span.end_seconds) / 2 / HOUR,
        place,
        word,
        horizontalalignment="center",
        verticalalignment="center",
        fontsize=9,
        bbox={"facecolor": "#ffffff", "edgecolor": "none", "pad": 1.2},
    )


def _short(name: str) -> str:
    return f"{name.count('+') + 1} zones as one market" if "+" in name else name


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
    setting: BacktestSetting,
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
    night = telling_night(setting, zones, rival_of(own), run=run)
    style: dict[Any, Any] = {"font.size": 10.5, "hatch.linewidth": 0.7, "svg.hashsalt": "nightspot"}
    with mpl.rc_context(style):
        figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.15))
        draw_costs(left, curves, setting)
        draw_night(right, night, setting)
        figure.savefig(path, metadata={} if path.suffix.lower() == ".png" else _undated(path))


def costs_by_looseness(
    setting: BacktestSetting,
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


def _with_window(setting: BacktestSetting, ratio: float, zones: Sequence[Zone]) -> BacktestSetting | None:
    """The setting with another deadline; None where nobody can meet it, or the traces are too short."""
    try:
        loose = replace(setting, window_seconds=ratio * setting.work_seconds)
        check(loose, zones)
    except BacktestError:
        return None
    return loose


def draw_costs(axes: Axes, curves: Mapping[float, Mapping[str, Score]], setting: BacktestSetting) -> None:
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
    nights = f"{min(setting.starts, STARTS)} runs from each market"
    axes.set_title(
        f"What a run costs: {format_duration(setting.work_seconds)} of work, {nights}",
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
