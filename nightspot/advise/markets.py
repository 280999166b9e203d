"""Decides which Spot markets a worked month is played on: made up after the pool, or cut from the user's traces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nightspot.advise.pool import PROFILE_OF, Pool
from nightspot.formats.durations import DAY_SECONDS
from nightspot.market.availability import Availability
from nightspot.market.generator import generate, profile
from nightspot.market.samples import BacktestError, Zone

MonthMarkets = Callable[[int], tuple[Availability, ...]]
"""(number of the month) -> the market of each of its nights, from the night's start on."""

MONTH_SECONDS = 30.0 * DAY_SECONDS
MOVE_SECONDS = 60.0  # between losing a machine in one zone and asking in another


def made_up(pool: Pool, *, nights: int, night_seconds: float, seed: int) -> MonthMarkets:
    """Nights at even distances in a month of the pool's fitted market, which draws on each of its zones.

    The same seed gives the same months.
    """
    lives = profile(PROFILE_OF[pool.depth])

    def month(number: int) -> tuple[Availability, ...]:
        randomness = np.random.default_rng([seed, number])
        seconds = MONTH_SECONDS + night_seconds
        zones = [generate(lives, seconds=seconds, randomness=randomness) for _ in range(pool.zones)]
        whole = roaming(zones, randomness)
        starts = (n * MONTH_SECONDS / nights for n in range(nights))
        return tuple(whole.window(start, night_seconds) for start in starts)

    return month


def of_traces(zones: Sequence[Zone], *, nights: int, night_seconds: float, seed: int) -> MonthMarkets:
    """Nights at random moments of random traces. Raises BacktestError for a trace that is shorter than a night."""
    for zone in zones:
        if zone.changes.length_seconds <= night_seconds:
            raise BacktestError(
                f"window_seconds: {night_seconds:g} s must be shorter than what is known of {zone.name},"
                f" {zone.changes.length_seconds:g} s"
            )

    def month(number: int) -> tuple[Availability, ...]:
        randomness = np.random.default_rng([seed, number])
        chosen = [zones[int(n)].changes for n in randomness.integers(0, len(zones), size=nights)]
        return tuple(
            changes.window(
                float(randomness.uniform(0, changes.length_seconds - night_seconds)), night_seconds
            )
            for changes in chosen
        )

    return month


def roaming(zones: Sequence[Availability], randomness: np.random.Generator) -> Availability:
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
    return Availability.merged([starts[n] for n in known], [up[n] for n in known], length_seconds=length)
