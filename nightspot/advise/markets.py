"""The markets that a job's nights are played on: made up for its pool, or the user's own traces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from zoneinfo import ZoneInfo

import numpy as np

from nightspot.advise.pool import PROFILE_OF, Pool
from nightspot.formats.figures import DAY_SECONDS
from nightspot.job.times import Schedule, values_of
from nightspot.market.fitting import generate, profile
from nightspot.market.model import MarketAvailability
from nightspot.market.samples import BacktestError, Zone


@dataclass(frozen=True)
class MonthMarkets:
    """Where the nights of a month are played."""

    month: Callable[[int], tuple[MarketAvailability, ...]]
    """(number of the month) -> the market of each of its nights, from the night's start on."""
    distinct: int | None = (
        None  # how many nights that do not overlap there are at all; None: as many as one likes
    )


MONTH_SECONDS = 30.0 * DAY_SECONDS
MOVE_SECONDS = 60.0  # between losing a machine in one zone and asking in another
# What is known are the lives of single machines. Of more than a handful they say nothing.
MOST_MACHINES = 8


def made_up(pool: Pool, *, nights: int, night_seconds: float, seed: int, machines: int = 1) -> MonthMarkets:
    """Nights at even distances in a month of the pool's fitted market, which draws on each of its zones.

    `machines`: so many that come and go independently, of which the job needs all at once; 1 also stands for any
    number that one event gives and takes together. The same seed gives the same months.
    """
    lives = profile(PROFILE_OF[pool.depth])

    def month(number: int) -> tuple[MarketAvailability, ...]:
        randomness = np.random.default_rng([seed, number])
        seconds = MONTH_SECONDS + night_seconds
        zones = [
            all_at_once([generate(lives, seconds=seconds, randomness=randomness) for _ in range(machines)])
            for _ in range(pool.zones)
        ]
        whole = roaming(zones, randomness)
        starts = (n * MONTH_SECONDS / nights for n in range(nights))
        return tuple(whole.window(start, night_seconds) for start in starts)

    return MonthMarkets(month)


def of_traces(
    zones: Sequence[Zone], schedule: Schedule | None, *, nights: int, night_seconds: float, seed: int
) -> MonthMarkets:
    """Nights of random traces, which begin at the hours of `schedule`; at random where either has no hours.

    Raises BacktestError for a trace that is shorter than a night, or holds no whole one from such an hour on.
    """
    starts = [night_starts(zone, schedule, night_seconds) for zone in zones]

    def month(number: int) -> tuple[MarketAvailability, ...]:
        randomness = np.random.default_rng([seed, number])
        chosen = randomness.integers(0, len(zones), size=nights)
        first = int(randomness.integers(0, MOST_STARTS))
        windows = []
        for night, n in enumerate(chosen):
            zone, known = zones[int(n)].changes, starts[int(n)]
            # Day by day from a random one on.
            start = (
                known[(first + night) % len(known)]
                if known
                else float(randomness.uniform(0, zone.length_seconds - night_seconds))
            )
            windows.append(zone.window(start, night_seconds))
        return tuple(windows)

    apart = [int(zone.changes.length_seconds // night_seconds) for zone in zones]
    return MonthMarkets(month, sum(min(n, len(known) or n) for n, known in zip(apart, starts, strict=True)))


MOST_STARTS = 1_000_000


def night_starts(zone: Zone, schedule: Schedule | None, night_seconds: float) -> tuple[float, ...]:
    """When a night may begin in a trace: on each of its days at the schedule's hours, whatever the day of the week.

    Seconds from the trace's start, in order; empty where the trace has no date, or the schedule no hour. Raises
    BacktestError for a trace that holds no whole night.
    """
    length = zone.changes.length_seconds
    if length <= night_seconds:
        raise BacktestError(
            f"window_seconds: {night_seconds:g} s must be shorter than what is known of {zone.name}, {length:g} s"
        )
    if zone.start is None or schedule is None or schedule.cron is None:
        return ()
    minutes, hours, *_ = values_of(schedule.cron)
    here = ZoneInfo(schedule.timezone)
    today = zone.start.astimezone(here).date()
    moments = (datetime.combine(today, time(h, m), here) for h in hours.numbers for m in minutes.numbers)
    offsets = {(moment - zone.start).total_seconds() % DAY_SECONDS for moment in moments}
    days = range(int(length // DAY_SECONDS) + 1)
    starts = (day * DAY_SECONDS + offset for day in days for offset in offsets)
    found = tuple(sorted(start for start in starts if start + night_seconds <= length))
    if not found:
        raise BacktestError(
            f"window_seconds: {night_seconds:g} s from the schedule's hour on must lie within {zone.name},"
            f" {length:g} s from {zone.start:%Y-%m-%d %H:%M} UTC on"
        )
    return found


def all_at_once(machines: Sequence[MarketAvailability]) -> MarketAvailability:
    """The market of a job that needs all of these: up while each of them is, lost with the first of them."""
    if len(machines) == 1:
        return machines[0]
    starts = np.unique(np.concatenate([each.starts_seconds for each in machines]))
    up = np.ones(len(starts), dtype=np.bool_)
    for each in machines:
        up &= each.up[np.searchsorted(each.starts_seconds, starts, side="right") - 1]
    return MarketAvailability.merged(starts, up, length_seconds=min(each.length_seconds for each in machines))


def roaming(zones: Sequence[MarketAvailability], randomness: np.random.Generator) -> MarketAvailability:
    """The market of a job that any of these zones will do, and that loses its machine with the zone that gave it.

    Unlike a pool that counts as up while any zone is, a move to another zone is an interruption.
    """
    length = min(zone.length_seconds for zone in zones)
    starts, up = [0.0], [False]
    now = 0.0
    while now < length:
        open_zones = [zone for zone in zones if zone.is_up_at(now)]
        if not open_zones:
            now = min(zone.next_up_from(now) for zone in zones)
            continue
        zone = open_zones[int(randomness.integers(len(open_zones)))]
        lost = zone.next_change_after(now)
        starts += [now, lost]
        up += [True, False]
        now = lost + MOVE_SECONDS
    # What happens beyond the end is dropped.
    known = [n for n, start in enumerate(starts) if start < length]
    return MarketAvailability.merged(
        [starts[n] for n in known], [up[n] for n in known], length_seconds=length
    )
