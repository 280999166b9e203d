"""The least that a night could have cost somebody who knew the whole market beforehand.

The model is that of "Can't Be Late" (NSDI'24, usenix.org/conference/nsdi24/presentation/wu-zhanghao):
one machine at a time; every launch, on Spot or on-demand, first time or again, is paid for one
change-over in which no work is done; on-demand can always be had; Spot only while the market is up,
and it is lost when the market goes down. Who knows the market saves a checkpoint just before, so no
work is ever lost. (Two machines at once are outside the model: a second one, launched while the
first still works, could hide its change-over in a short window.)

Time is a grid, and the cost found on it is a lower bound for schedulers in continuous time. Rounding
only helps: change-over and work are rounded down, the window up, and a slot is up, at its lowest
price, if the market is so at any moment of it (`nightspot.market.grid`). Starting and stopping on
the grid costs nothing more: for a given order of launches, and given the slots in which each starts
and ends, the least cost is a linear programme whose constraints (on each start, each end, each
length, and the sum of the lengths) form a totally unimodular matrix by Ghouila-Houri's criterion, so
one of its best answers is in whole slots. All that makes the bound low is therefore the rounding: for
every launch less than one step of change-over; for every stretch of the market less than two steps
of availability, which can close a gap shorter than that; and less than one step each of work and of
window. On a step from `exact_step_seconds`, for nights that start on its multiples, nothing is
rounded and the bound is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nightspot.job.markets import Market
from nightspot.market.grid import (
    available_slots,
    check_step,
    exact_step_seconds,
    slots_down,
    spot_ratio_slots,
)
from nightspot.market.model import BoolArray, FloatArray, MarketValueError
from nightspot.market.samples import HOUR, BacktestSetting, Sample, Zone, own_prices

# Nights are taken together up to so many values per slot: their tables then stay in the cache.
VALUES_AT_ONCE = 16_384
SHORTEST_STEP_SECONDS = 12.0
MOST_STEPS = 4_000  # of a night
FEWEST_STEPS_OF_WORK = 60
NIGHTS_AT_ONCE = 500  # whose grids are in memory
WORK_BIN = 0.05


@dataclass(frozen=True)
class Stay:
    """One machine, in seconds since the night's start: launched, ready to work, given back."""

    mode: Market
    start_seconds: float
    ready_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class OmniscientSchedule:
    """The machines of one night, in order, and what they cost in hours of on-demand.

    A night that cannot be in time costs inf and has no stays.
    """

    stays: tuple[Stay, ...]
    cost_on_demand_hours: float

    @property
    def in_time(self) -> bool:
        return math.isfinite(self.cost_on_demand_hours)


@dataclass(frozen=True)
class _Nights:
    """Some nights on the grid, everything in slots and in the price of an on-demand slot.

    `running`: (slots, nights), what a slot on Spot costs, inf where there is none; `launching`:
    the same for a whole Spot change-over that starts there.
    """

    running: FloatArray
    launching: FloatArray
    work: int
    changeover: int


@dataclass(frozen=True)
class _Tables:
    """The least cost to go, (slots kept, work left + 1, nights), slot t at index t modulo kept.

    `idle`: with no machine; `spot`, `on_demand`: with one that is ready.
    """

    idle: FloatArray
    spot: FloatArray
    on_demand: FloatArray


def omniscient_costs(
    available: BoolArray,
    *,
    work_seconds: float,
    changeover_seconds: float,
    spot_ratio: npt.ArrayLike,
    step_seconds: float,
) -> FloatArray:
    """The least cost of each night, (nights,), in hours of on-demand; inf where none is in time.

    `available`: (nights, slots) bool, as `available_slots` makes it; the window is all its slots.
    `spot_ratio`: what Spot costs over what on-demand does, for all slots, (slots,), or (nights,
    slots). Raises `MarketValueError` naming the argument, its value and the rule.
    """
    if available.ndim != 2 or not available.size:
        raise MarketValueError(f"available: shape {available.shape}; must be (nights, slots) and not empty")
    ratio = _ratio(spot_ratio, available.shape)
    work, changeover = _whole_slots(work_seconds, changeover_seconds, step_seconds)
    costs = np.empty(len(available))
    at_once = max(1, VALUES_AT_ONCE // (work + 1))
    for first in range(0, len(available), at_once):
        block = slice(first, first + at_once)
        nights = _nights(available[block], ratio[block], work, changeover)
        # A value looks as far ahead as a change-over or one slot: older ones are overwritten.
        tables = _solved(nights, kept=max(changeover, 1) + 1)
        costs[block] = tables.idle[0, work]
    return costs * (step_seconds / 3600)


def omniscient_schedule(
    available: BoolArray,
    *,
    work_seconds: float,
    changeover_seconds: float,
    spot_ratio: npt.ArrayLike,
    step_seconds: float,
) -> OmniscientSchedule:
    """One of the cheapest schedules of one night, `available` and `spot_ratio` being (slots,).

    Its cost is that of `omniscient_costs`. Among equals it launches early. Keeps every slot's
    values: 24 bytes per slot and slot of work. Raises `MarketValueError` as `omniscient_costs` does.
    """
    if available.ndim != 1 or not available.size:
        raise MarketValueError(f"available: shape {available.shape}; must be (slots,) and not empty")
    ratio = _ratio(spot_ratio, (1, len(available)))
    work, changeover = _whole_slots(work_seconds, changeover_seconds, step_seconds)
    nights = _nights(available[None, :], ratio, work, changeover)
    tables = _solved(nights, kept=len(available) + changeover + 1)
    cost = float(tables.idle[0, work, 0]) * (step_seconds / 3600)
    if math.isinf(cost):
        return OmniscientSchedule((), math.inf)
    stays = tuple(
        Stay(mode, start * step_seconds, (start + changeover) * step_seconds, end * step_seconds)
        for mode, start, end in _stays(nights, tables)
    )
    return OmniscientSchedule(stays, cost)


def _solved(nights: _Nights, *, kept: int) -> _Tables:
    """Dynamic programme from the last slot to the first.

    In slot t with w slots of work left a ready machine works for the slot, or is given back; with
    no machine, one waits for the slot or pays a whole change-over at once (who gives up halfway
    has paid for nothing). Only such w are looked at as can still come about and still be done.
    """
    slots, count = nights.running.shape
    shape = (kept, nights.work + 1, count)
    tables = _Tables(np.full(shape, np.inf), np.full(shape, np.inf), np.full(shape, np.inf))
    idle, spot, on_demand = tables.idle, tables.spot, tables.on_demand
    for table in (idle, spot, on_demand):
        table[:, 0] = 0
    option = np.empty(shape[1:])
    for slot in range(slots - 1, -1, -1):
        least, most = max(1, nights.work - slot), min(nights.work, slots - slot)
        left, worked = slice(least, most + 1), slice(least - 1, most)
        now, following, ready = slot % kept, (slot + 1) % kept, (slot + nights.changeover) % kept
        np.add(spot[following, worked], nights.running[slot], out=spot[now, left])
        np.add(on_demand[following, worked], 1.0, out=on_demand[now, left])
        best, choice = idle[now, left], option[left]
        np.add(on_demand[ready, left], float(nights.changeover), out=choice)
        np.minimum(idle[following, left], choice, out=best)
        np.add(spot[ready, left], nights.launching[slot], out=choice)
        np.minimum(best, choice, out=best)
        np.minimum(spot[now, left], best, out=spot[now, left])
        np.minimum(on_demand[now, left], best, out=on_demand[now, left])
    return tables


def _stays(nights: _Nights, tables: _Tables) -> Iterator[tuple[Market, int, int]]:
    """Walk through the only night's tables: mode, slot launched, slot given back.

    The sums are those of `_solved`, term by term, so equal floats show which choice was taken.
    """
    markets = {
        Market.SPOT: (nights.launching[:, 0], nights.running[:, 0], tables.spot[:, :, 0]),
        Market.ON_DEMAND: (
            np.full(len(nights.running), float(nights.changeover)),
            np.ones(len(nights.running)),
            tables.on_demand[:, :, 0],
        ),
    }
    slot, work = 0, nights.work
    while work:
        ready = slot + nights.changeover
        costs = {
            mode: running[ready] + to_go[ready + 1, work - 1] + launching[slot]
            for mode, (launching, running, to_go) in markets.items()
        }
        mode = min(costs, key=costs.__getitem__)
        if costs[mode] > tables.idle[slot, work, 0]:
            slot += 1
            continue
        start, slot = slot, ready
        _, running, to_go = markets[mode]
        while work and running[slot] + to_go[slot + 1, work - 1] <= to_go[slot, work]:
            slot, work = slot + 1, work - 1
        yield mode, start, slot


def _nights(available: BoolArray, ratio: FloatArray, work: int, changeover: int) -> _Nights:
    running = np.where(available, ratio, np.inf).T
    launching = np.full(running.shape, np.inf)
    slots = len(running)
    if changeover == 0:
        launching[:] = 0
    elif changeover <= slots:
        # One infinite slot makes a change-over infinite, so the slots add up without a mask.
        windows = np.lib.stride_tricks.sliding_window_view(running, changeover, axis=0)
        launching[: slots - changeover + 1] = windows.sum(axis=-1)
    return _Nights(np.ascontiguousarray(running), launching, work, changeover)


def _whole_slots(work_seconds: float, changeover_seconds: float, step_seconds: float) -> tuple[int, int]:
    check_step(step_seconds)
    for field, seconds in (("work_seconds", work_seconds), ("changeover_seconds", changeover_seconds)):
        if not 0 <= seconds < math.inf:
            raise MarketValueError(f"{field}: {seconds:g} must be finite and at least 0")
    return slots_down(work_seconds, step_seconds), slots_down(changeover_seconds, step_seconds)


def _ratio(spot_ratio: npt.ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    ratio = np.asarray(spot_ratio, dtype=np.float64)
    if not (np.isfinite(ratio) & (ratio >= 0)).all():
        raise MarketValueError("spot_ratio: every value must be finite and at least 0")
    try:
        return np.broadcast_to(ratio, shape)
    except ValueError as error:
        raise MarketValueError(
            f"spot_ratio: shape {ratio.shape} must be that of one value, of the slots, or of {shape}"
        ) from error


# --- of sampled nights --------------------------------------------------------------------------------------


def omniscient_of(setting: BacktestSetting, zone: Zone, samples: Sequence[Sample]) -> FloatArray:
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


def schedule_of(setting: BacktestSetting, zone: Zone, sample: Sample) -> OmniscientSchedule:
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


def step_seconds(setting: BacktestSetting, zone: Zone) -> float:
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


def _lowest_ratio(setting: BacktestSetting, zone: Zone) -> float:
    if setting.spot_ratio is not None:
        return setting.spot_ratio
    prices, on_demand = own_prices(zone)
    return float(prices.usd_per_hour.min()) / on_demand


def _grids(setting: BacktestSetting, zone: Zone, offsets: Sequence[float], step: float) -> tuple[Any, Any]:
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
