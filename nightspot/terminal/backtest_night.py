"""Decides which night of a backtest is worth a picture, and how ours, a rival and the omniscient look in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from nightspot.market.availability import Availability
from nightspot.market.backtest import DEFAULT, OMNISCIENT, OURS, Score, needs_to_see_spot, player
from nightspot.market.model import Doing, NightResult, Span
from nightspot.market.omniscient import Schedule, schedule_of
from nightspot.market.samples import Sample, Setting, Zone, samples_of
from nightspot.run.model import Run

HOUR = 3600.0
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
    schedule: Schedule

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
class Look:
    """How a stretch of a timeline is drawn: told apart by hatches and words where colours are not seen."""

    label: str
    colour: str
    hatch: str


LOOKS: Mapping[tuple[str | None, Doing], Look] = {
    (None, Doing.WAITING): Look("waiting, nothing is paid", "#ffffff", "...."),
    (None, Doing.STOPPING): Look("stopping", "#999999", ""),
    ("spot", Doing.STARTING): Look("starting on Spot", "#a6d8f5", "////"),
    ("spot", Doing.TRAINING): Look("training on Spot", "#56B4E9", ""),
    ("spot", Doing.STOPPING): Look("stopping", "#999999", ""),
    (ON_DEMAND, Doing.STARTING): Look("starting on on-demand", "#e8a06f", "\\\\\\\\"),
    (ON_DEMAND, Doing.TRAINING): Look("training on on-demand", "#D55E00", ""),
    (ON_DEMAND, Doing.STOPPING): Look("stopping", "#999999", ""),
}


def rival_of(scores: Mapping[str, Score]) -> str:
    """The cheapest rival, never late if there is one, that needs only what SageMaker shows and is not like ours."""
    ours = scores[DEFAULT].cost_ratio
    names = [name for name in scores if name not in OURS and not needs_to_see_spot(name)]
    # The rule that ours is a form of plays most nights alike; a second such line tells nothing.
    different = [name for name in names if abs(scores[name].cost_ratio - ours) > ALIKE * ours]
    return min(different or names, key=lambda name: (scores[name].late_rate, scores[name].cost_ratio))


def telling_night(
    setting: Setting, zones: Sequence[Zone], rival: str, *, run: Run | None = None
) -> SampleNight:
    """Of some nights of every zone the one that tells most: both markets used, reclaims, and the three differ."""
    nights = (
        played_night(setting, zone, sample, rival, run=run)
        for zone in zones
        for sample in samples_of(replace(setting, starts=NIGHTS_SOUGHT), zone)
    )
    return max(nights, key=_tells)


def played_night(
    setting: Setting, zone: Zone, sample: Sample, rival: str, *, run: Run | None = None
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


def draw_night(axes: Axes, night: SampleNight, setting: Setting) -> None:
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
    axes.set_xlabel("hours since the night's start")
    axes.set_title(
        f"One night in {_short(night.zone.name)}; costs in hours of on-demand",
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


def spans_of(schedule: Schedule) -> Iterator[Span]:
    """The stretches of the omniscient's machines, and the waits between them."""
    now = 0.0
    for stay in schedule.stays:
        market = str(stay.mode)
        if stay.start_seconds > now:
            yield Span(now, stay.start_seconds, None, Doing.WAITING)
        if stay.ready_seconds > stay.start_seconds:
            yield Span(stay.start_seconds, stay.ready_seconds, market, Doing.STARTING)
        yield Span(stay.ready_seconds, stay.end_seconds, market, Doing.TRAINING)
        now = stay.end_seconds


def ups(market: Availability, window_seconds: float) -> Iterator[tuple[float, float]]:
    """When the market is up, from start to end, within the window."""
    starts = [float(start) for start in market.starts_seconds]
    for start, stop, is_up in zip(starts, [*starts[1:], window_seconds], market.up, strict=True):
        if is_up and start < window_seconds:
            yield start, min(stop, window_seconds)


def _name_span(axes: Axes, span: Span, place: float) -> None:
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
