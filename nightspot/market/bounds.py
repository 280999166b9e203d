"""Decides the least that sampled nights could have cost: the omniscient bound, on a grid that can be computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nightspot.job.markets import Market
from nightspot.market.availability import FloatArray
from nightspot.market.grid import available_slots, exact_step_seconds, slots_down, spot_ratio_slots
from nightspot.market.omniscient import Schedule, omniscient_costs, omniscient_schedule
from nightspot.market.samples import HOUR, Sample, Setting, Zone, own_prices

SHORTEST_STEP_SECONDS = 12.0
MOST_STEPS = 4_000  # of a night
FEWEST_STEPS_OF_WORK = 60
NIGHTS_AT_ONCE = 500  # whose grids are in memory
WORK_BIN = 0.05


def omniscient_of(setting: Setting, zone: Zone, samples: Sequence[Sample]) -> FloatArray:
    """The bound of each night, (nights,), in hours of on-demand.

    Where change-overs are random, each of a night is taken for its least one; where the work is, for the lower end
    of its bin: both only lower the bound. A night that nobody could be in time for counts as the whole work at the
    lowest price.
    """
    step = step_seconds(setting, zone)
    costs = np.empty(len(samples))
    alike: dict[tuple[float, float], list[int]] = {}
    for index, sample in enumerate(samples):
        truth = sample.truth
        least = min(*truth.spot_changeover_seconds, *truth.on_demand_changeover_seconds)
        work = truth.work_seconds
        if setting.work_error:
            width = WORK_BIN * setting.work_seconds
            work = math.floor(work / width) * width
        alike.setdefault((work, slots_down(least, step) * step), []).append(index)
    batches = (
        (lengths, members[first : first + NIGHTS_AT_ONCE])
        for lengths, members in alike.items()
        for first in range(0, len(members), NIGHTS_AT_ONCE)
    )
    for (work, changeover), indices in batches:
        offsets = [samples[index].offset_seconds for index in indices]
        available, ratio = _grids(setting, zone, offsets, step)
        costs[indices] = omniscient_costs(
            available, work_seconds=work, changeover_seconds=changeover, spot_ratio=ratio, step_seconds=step
        )
        hopeless = [index for index in indices if math.isinf(costs[index])]
        costs[hopeless] = _lowest_ratio(setting, zone) * (work + changeover) / HOUR
    return costs


def schedule_of(setting: Setting, zone: Zone, sample: Sample) -> Schedule:
    """One of the cheapest schedules of a night, with its least change-over for each."""
    step = step_seconds(setting, zone)
    truth = sample.truth
    available, ratio = _grids(setting, zone, [sample.offset_seconds], step)
    return omniscient_schedule(
        available[0],
        work_seconds=truth.work_seconds,
        changeover_seconds=min(*truth.spot_changeover_seconds, *truth.on_demand_changeover_seconds),
        spot_ratio=ratio if isinstance(ratio, float) else ratio[0],
        step_seconds=step,
    )


def step_seconds(setting: Setting, zone: Zone) -> float:
    """The grid's step: one on which nothing is rounded, unless that is too fine to be computed with."""
    lengths = [setting.work_seconds, *(setting.changeover_of(market) for market in Market)]
    # A long window with fine steps takes hours, a short work with coarse ones vanishes.
    shortest = max(SHORTEST_STEP_SECONDS, setting.window_seconds / MOST_STEPS)
    shortest = min(shortest, setting.work_seconds / FEWEST_STEPS_OF_WORK)
    exact = exact_step_seconds(*lengths, zone.gap_seconds)
    if exact >= shortest:
        return exact
    # The market's changes are rounded then, in favour of the bound; the work and the change-over are not, unless
    # they have no long enough step in common.
    common = exact_step_seconds(*lengths)
    return common / math.floor(common / shortest) if common >= shortest else shortest


def _lowest_ratio(setting: Setting, zone: Zone) -> float:
    if setting.spot_ratio is not None:
        return setting.spot_ratio
    prices, on_demand = own_prices(zone)
    return float(prices.usd_per_hour.min()) / on_demand


def _grids(setting: Setting, zone: Zone, offsets: Sequence[float], step: float) -> tuple[Any, Any]:
    """Availability, (nights, slots), and Spot's price over on-demand's: a number, or of the same shape."""
    grid: dict[str, Any] = {
        "offsets_seconds": offsets,
        "window_seconds": setting.window_seconds,
        "step_seconds": step,
    }
    available = available_slots(zone.changes, **grid)
    if setting.spot_ratio is not None:
        return available, setting.spot_ratio
    prices, on_demand = own_prices(zone)
    return available, spot_ratio_slots(prices, on_demand_usd_per_hour=on_demand, **grid)
