"""What the deadline policy costs on Spot markets, beside its rivals and the bound that nobody can beat.

On real availability traces (--traces DIR, or NIGHTSPOT_TRACES, or ../shared/traces beside the repository), else on
made-up markets fitted to them. `--quick` plays a tenth of the nights. Goals stand below the tables.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nightspot.job.markets import Market, Policy
from nightspot.market.backtest import (
    DEFAULT,
    OMNISCIENT,
    OURS,
    Score,
    backtest,
    needs_to_see_spot,
    plan,
    player,
)
from nightspot.market.model import Belief, NightResult
from nightspot.market.night import Planned, SimulatedNight
from nightspot.market.omniscient import omniscient_of
from nightspot.market.rivals import RIVALS
from nightspot.market.samples import HOUR, BacktestSetting, Sample, Zone, from_traces, generated, samples_of
from nightspot.run.model import Run, Step
from tests.market import speeds
from tests.market.ledger_night import moment, play_through_ledger

ROOT = Path(__file__).parents[1]
CHANGEOVER_HOURS = (0.03, 0.1, 0.2)
WINDOW_HOURS = (5, 6, 8, 12)
WORK_ERRORS = (0.0, 0.05, 0.10)
STARTS = 300
RANDOM_NIGHTS = 5_000
QUICK = 10  # so many times fewer nights
TIMED_SECONDS = 5
PLANS = ("learnt limits", "median change-over", "expected work", "both guessed", "tonight's truth")

KINDS = ("on-demand is nowhere faster", "on-demand is faster than all Spot", "than some")

POSSIBLE = [name for name in RIVALS if not needs_to_see_spot(name) and name not in OURS]
BOUNDS = [name for name in RIVALS if needs_to_see_spot(name)]
SHORT = {
    "on_demand": "on-dem.",
    "spot_once": "once",
    "spot_once_scratch": "scratch",
    "max_wait_safe": "safe",
    "max_wait_unsafe": "unsafe",
    "spot_whenever": "whenever",
    "uniform_progress": "uniform",
    "greedy": "greedy",
    "greedy_then_uniform": "gr.+un.",
}


@dataclass(frozen=True)
class Goal:
    """What was to be reached, and what was."""

    what: str
    limit: float
    reached: float
    at_least: bool = False

    def __str__(self) -> str:
        met = self.reached >= self.limit if self.at_least else self.reached <= self.limit
        return f"{'MET   ' if met else 'MISSED'}  {self.what}: {self.reached:,.4g}, goal {self.limit:,g}"


def main() -> None:
    """Print the tables and the goals."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("NIGHTSPOT_TRACES") or str(ROOT.parent / "shared" / "traces")
    parser.add_argument("--traces", type=Path, default=Path(default), help="a folder of availability traces")
    parser.add_argument("--quick", action="store_true", help=f"play {QUICK} times fewer nights")
    parser.add_argument(
        "--night", action="store_true", help="print the decisions of one night, and nothing else"
    )
    parser.add_argument(
        "--speed", action="store_true", help="print how fast runs are played, and nothing else"
    )
    parser.add_argument(
        "--speeds", action="store_true", help="print random ladders of different speeds, and nothing else"
    )
    options = parser.parse_args()
    fewer = QUICK if options.quick else 1
    if options.speeds:
        for goal in different_speeds(speeds.NIGHTS // fewer):
            print(goal)
        return
    zones = zones_of(options.traces)
    if options.night:
        one_night(zones)
        return
    if options.speed:
        for goal in playing(zones):
            print(goal)
        return
    scores = single_zones(zones, STARTS // fewer)
    random = list(random_nights(zones, RANDOM_NIGHTS // fewer))
    pooling(zones, options.traces, STARTS // fewer)
    different = list(different_speeds(speeds.NIGHTS // fewer))
    print("\nGoals")
    for goal in (*goals_of(scores), *random, *different, *playing(zones), *bounds(zones)):
        print(goal)


def zones_of(traces: Path) -> tuple[Zone, ...]:
    """The zones to play on, and a word on where they come from."""
    if traces.is_dir():
        zones = from_traces(traces)
        print(f"Real availability, {len(zones)} single zones, up {_share_up(zones):.0%} of the time.")
        return zones
    zones = generated(seed=7)
    print(f"No traces: made-up markets instead, {len(zones)} zones, up {_share_up(zones):.0%} of the time.")
    return zones


def one_night(zones: Sequence[Zone]) -> None:
    """The decisions of the default policy in the night that the picture of `nightspot backtest` shows."""
    from nightspot.terminal.backtest_plot import telling_night, ups  # noqa: PLC0415 - matplotlib

    setting = BacktestSetting()
    found = telling_night(setting, zones, "max_wait_safe")
    spot = ups(found.sample.truth.market, setting.window_seconds)
    shown = ", ".join(f"{moment(start):%H:%M}-{moment(end):%H:%M}" for start, end in spot)
    print(
        f"{found.zone.name}, {found.sample.offset_seconds / HOUR:.2f} h into it; Spot is up {shown}; due 08:00\n"
    )
    run = plan(setting, found.sample.belief, Policy.PATIENT)
    play_through_ledger(run, SimulatedNight(found.sample.truth), tell)
    print(
        f"\ncost {found.ours.cost:.2f} h of on-demand, omniscient {found.schedule.cost_on_demand_hours:.2f} h"
    )


def tell(step: Step) -> None:
    """A decision in a line or more."""
    line = f"{step.at:%H:%M:%S}  {step.action.value:<7} {step.because}"
    print(textwrap.fill(line, 110, subsequent_indent=" " * 18))


def single_zones(zones: Sequence[Zone], starts: int) -> dict[tuple[float, float], Mapping[str, Score]]:
    """Cost over omniscient at each setting, by (change-over, window) in hours."""
    print(f"\n4 h of work, Spot at 0.30 of on-demand, {starts} starts in each zone: cost over omniscient")
    heads = [SHORT[name] for name in (*POSSIBLE, *BOUNDS)]
    print(
        f"{'change-over':>11}{'window':>7}{'ours':>8}{'late':>6}{'best rival in time':>21}{'ours +/-':>10}"
        + "".join(f"{head:>9}" for head in ("on-dem.", *heads))
    )
    scores = {}
    for changeover in CHANGEOVER_HOURS:
        for window in WINDOW_HOURS:
            setting = BacktestSetting(
                changeover_seconds=changeover * HOUR, window_seconds=window * HOUR, starts=starts
            )
            played = backtest(setting, zones, policies=[DEFAULT, "on_demand", *POSSIBLE, *BOUNDS])
            scores[changeover, window] = played
            best = best_rival(played)
            names = ("on_demand", *POSSIBLE, *BOUNDS)
            print(
                f"{changeover:9g} h{window:5g} h{played[DEFAULT].vs_omniscient:9.4f}"
                f"{played[DEFAULT].late_rate:6.1%}{best:>21}{above_best(played):>+10.2%}"
                + "".join(f"{played[name].vs_omniscient:9.3f}" for name in names)
            )
    late = {name: max(played[name].late_rate for played in scores.values()) for name in POSSIBLE}
    print(
        "Late by construction: "
        + ", ".join(f"{name} up to {rate:.0%}" for name, rate in late.items() if rate)
    )
    print(f"Bounds, which must see Spot come back: {', '.join(SHORT[name] for name in BOUNDS)}.")
    return scores


def best_rival(scores: Mapping[str, Score]) -> str:
    """The cheapest rival that needs only what SageMaker shows and is never late."""
    in_time = [name for name in POSSIBLE if not scores[name].late_rate]
    return min(in_time, key=lambda name: scores[name].cost)


def above_best(scores: Mapping[str, Score]) -> float:
    """How far ours costs more than that one: 0.01 is a hundredth more."""
    return scores[DEFAULT].cost / scores[best_rival(scores)].cost - 1


def random_nights(zones: Sequence[Zone], nights: int) -> Iterator[Goal]:
    """Nights that differ from what was planned with: with learnt limits, with guesses, and with the truth."""
    starts = -(-nights // len(zones))
    print(
        f"\nRandom change-over (log-normal, median 0.1 h, sigma 0.6), window 8 h, {starts * len(zones):,} nights: "
        "late nights, cost over on-demand"
    )
    print(f"{'work error':>10}" + "".join(f"{name:>21}" for name in PLANS) + f"{'price':>12}")
    worst_late = worst_price = 0.0
    for error in WORK_ERRORS:
        setting = BacktestSetting(starts=starts, random_changeover=True, work_error=error)
        late, cost = planned_nights(setting, zones)
        price = 100 * (cost["learnt limits"] - cost["tonight's truth"])
        row = "".join(f"{late[name]:>12.2%}{cost[name]:>9.3f}" for name in PLANS)
        print(f"{error:>10.0%}{row}{price:>12.2f}")
        if error:
            worst_late = max(worst_late, 100 * late["learnt limits"])
            worst_price = max(worst_price, price)
    print("Price: learnt limits over tonight's truth, in points of on-demand's cost.")
    yield Goal("late nights with learnt limits, work off by 5 and 10 %, %", 0.1, worst_late)
    yield Goal("price of not knowing, points of on-demand's cost", 4, worst_price)


def planned_nights(
    setting: BacktestSetting, zones: Sequence[Zone]
) -> tuple[dict[str, float], dict[str, float]]:
    """The share of late nights and the cost over on-demand, by what the default policy plans with."""
    late, cost, alone = dict.fromkeys(PLANS, 0.0), dict.fromkeys(PLANS, 0.0), 0.0
    play = player(setting, DEFAULT)
    for zone in zones:
        for sample in samples_of(setting, zone):
            truth = sample.truth
            alone += (truth.work_seconds + truth.on_demand_changeover_seconds[0]) / HOUR
            for name, belief in zip(PLANS, beliefs_of(setting, sample), strict=True):
                result = play(replace(sample, belief=belief))
                late[name] += result.late / (setting.starts * len(zones))
                cost[name] += result.cost
    return late, {name: hours / alone for name, hours in cost.items()}


def beliefs_of(setting: BacktestSetting, sample: Sample) -> tuple[Belief, ...]:
    """What is planned with, in the order of `PLANS`."""
    learnt, truth = sample.belief, sample.truth
    median, expected = setting.changeover_seconds, setting.work_seconds
    middle = replace(learnt, spot_changeover_seconds=median, on_demand_changeover_seconds=median)
    known = replace(learnt, work_seconds=truth.work_seconds, spot_changeover_seconds=median)
    return (
        learnt,
        middle,
        replace(learnt, work_seconds=expected),
        replace(middle, work_seconds=expected),
        replace(known, on_demand_changeover_seconds=truth.on_demand_changeover_seconds[0]),
    )


def pooling(zones: Sequence[Zone], traces: Path, starts: int) -> None:
    """What taking any of the zones is worth."""
    pooled = from_traces(traces, pooled=True) if traces.is_dir() else generated(7, pooled=True)
    print(
        "\nPooled against single zones, change-over 0.1 h: cost over on-demand (moves between zones are free)"
    )
    print(f"{'window':>7}{'single':>10}{'pooled':>10}{'single, omniscient':>21}{'pooled, omniscient':>21}")
    for window in WINDOW_HOURS:
        setting = BacktestSetting(window_seconds=window * HOUR, starts=starts)
        one_by_one, together = (backtest(setting, each, policies=[DEFAULT]) for each in (zones, pooled))
        print(
            f"{window:5g} h{one_by_one[DEFAULT].cost_ratio:10.3f}{together[DEFAULT].cost_ratio:10.3f}"
            f"{one_by_one[OMNISCIENT].cost_ratio:21.3f}{together[OMNISCIENT].cost_ratio:21.3f}"
        )


def different_speeds(nights: int) -> Iterator[Goal]:
    """Random ladders and markets, planned with the truth; by how the first types in turn compare."""
    count: Counter[str] = Counter()
    late: Counter[str] = Counter()
    cost, alone = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0.0)
    for seed in range(nights):
        run, night = speeds.night_of(seed)
        result, bought = Planned(run).play(night), Planned(replace(run, policy=Policy.ON_DEMAND)).play(night)
        kind = kind_of(run)
        count[kind] += 1
        late[kind] += result.late
        cost[kind] += result.cost
        alone[kind] += bought.cost
    print(f"\n{nights:,} random ladders and markets, types of different speed, exact inputs")
    print(f"{'':>32}{'runs':>8}{'late':>6}{'mean cost, h':>14}{'over on-demand':>16}")
    for kind in KINDS:
        print(
            f"{kind:>32}{count[kind]:>8,}{late[kind]:>6}{cost[kind] / count[kind]:>14.3f}"
            f"{cost[kind] / alone[kind]:>16.3f}"
        )
    yield Goal("late runs on random ladders of different speeds", 0, late.total())


def kind_of(run: Run) -> str:
    """Whether the slack of a Spot job can shrink, and where."""
    spot, bought = ({rung.speed for rung in run.rungs_of(market)} for market in Market)
    if min(spot) >= max(bought):
        return KINDS[0]
    return KINDS[1] if max(spot) < min(bought) else KINDS[2]


def goals_of(scores: Mapping[tuple[float, float], Mapping[str, Score]]) -> Iterator[Goal]:
    """The goals for nights whose figures are known exactly."""
    at_eight = max(played[DEFAULT].vs_omniscient for (_, window), played in scores.items() if window == 8)
    yield Goal("cost over omniscient at 8 h, worst change-over", 1.08, at_eight)
    yield Goal(
        "above the best rival in time, %, worst setting", 0.5, 100 * max(map(above_best, scores.values()))
    )
    yield Goal(
        "late nights with exact inputs, %", 0, 100 * max(p[DEFAULT].late_rate for p in scores.values())
    )


def playing(zones: Sequence[Zone]) -> Iterator[Goal]:
    """How fast the default policy plays 4 h of work in 8 h, beside the same nights through the ledger."""
    setting = BacktestSetting(starts=STARTS // QUICK)
    samples = [sample for zone in zones for sample in samples_of(setting, zone)]
    play = player(setting, DEFAULT)

    def through_ledger(sample: Sample) -> NightResult:
        run = plan(setting, sample.belief, Policy.PATIENT)
        return play_through_ledger(run, SimulatedNight(sample.truth))

    slow, fast = (best_nights_a_second(each, samples) for each in (through_ledger, play))
    print(
        f"\n{DEFAULT}, 4 h of work in 8 h, {len(samples)} nights, the best of {TIMED_SECONDS} s each;"
        f" {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'':>20}{'nights a second':>17}{'ratio':>8}")
    print(f"{'through the ledger':>20}{slow:>17,.0f}{1:>8.1f}")
    print(f"{'without a ledger':>20}{fast:>17,.0f}{fast / slow:>8.1f}")
    yield Goal(f"nights a second of {DEFAULT} at 8 h", 15_000, fast, at_least=True)


def best_nights_a_second(play: Callable[[Sample], object], samples: Sequence[Sample]) -> float:
    """Of this process's own time; the best round, because others use the machine as well."""
    best, since = math.inf, time.perf_counter()
    while time.perf_counter() - since < TIMED_SECONDS:
        started = time.process_time()
        for sample in samples:
            play(sample)
        best = min(best, time.process_time() - started)
    return len(samples) / best


def bounds(zones: Sequence[Zone]) -> Iterator[Goal]:
    """How fast the omniscient bound is, and how big all of it."""
    setting = BacktestSetting(starts=STARTS)
    samples = list(samples_of(setting, zones[0]))
    started = time.perf_counter()
    omniscient_of(setting, zones[0], samples)
    yield Goal(f"omniscient for {STARTS} starts, s", 10, time.perf_counter() - started)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield Goal("peak memory, MB", 500, peak_mb)


def _share_up(zones: Sequence[Zone]) -> float:
    return sum(zone.changes.share_up for zone in zones) / len(zones)


if __name__ == "__main__":
    main()
