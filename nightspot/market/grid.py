"""How a market looks on a regular grid of time, always a little better than it is.

A slot counts as up if the market is up at any moment of it, and costs the lowest price of any
moment of it: what is cheapest on the grid is then a lower bound for what time itself allows.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from nightspot.market.model import (
    BoolArray,
    FloatArray,
    MarketAvailability,
    MarketValueError,
    Prices,
    check_window,
)
from nightspot.market.traces import Trace

# A duration this close to a whole number of slots, in slots, is whole: floats are not exact.
ROUNDING_SLOTS = 1e-9


def slots_up(seconds: float, step_seconds: float) -> int:
    """The least number of slots that hold so many seconds."""
    return math.ceil(seconds / step_seconds - ROUNDING_SLOTS)


def slots_down(seconds: float, step_seconds: float) -> int:
    """The largest number of slots that fit into so many seconds."""
    return math.floor(seconds / step_seconds + ROUNDING_SLOTS)


def exact_step_seconds(*durations_seconds: float) -> float:
    """The longest step of which all these durations are multiples: on it nothing is rounded.

    Sampling gap 195 s, change-over 360 s and work 4 h give 15 s. Durations of 0 fit any step; all
    are read to the millisecond. Raises `MarketValueError` for a negative or infinite one, and if none is
    longer than 0.
    """
    for seconds in durations_seconds:
        if not 0 <= seconds < math.inf:
            raise MarketValueError(f"durations_seconds: {seconds:g} must be finite and at least 0")
    milliseconds = math.gcd(*(round(seconds * 1000) for seconds in durations_seconds))
    if milliseconds == 0:
        raise MarketValueError(f"durations_seconds: {durations_seconds}; one must be longer than 0")
    return float(Fraction(milliseconds, 1000))


def available_slots(
    market: Trace | MarketAvailability,
    *,
    offsets_seconds: npt.ArrayLike,
    window_seconds: float,
    step_seconds: float,
) -> BoolArray:
    """Which slots of each night have a Spot machine: (nights, slots), one night per offset.

    A slot is up if the market is up at any moment of it. Where the step does not divide the
    window, the last slot reaches beyond it. Raises `MarketValueError` for a step or window of no
    length, and `MarketValueError` for a window beyond what is known.
    """
    changes = market.changes() if isinstance(market, Trace) else market
    edges = _edges(offsets_seconds, window_seconds, step_seconds, changes.length_seconds)
    begins, ends = edges[:, :-1], edges[:, 1:]
    stretches = np.searchsorted(changes.starts_seconds, begins, side="right") - 1
    # The stretch after a down one is up: it is enough that it starts within the slot.
    following = np.append(changes.starts_seconds, np.inf)[stretches + 1]
    return np.asarray(changes.up[stretches] | (following < ends), dtype=np.bool_)


def spot_ratio_slots(
    prices: Prices,
    *,
    on_demand_usd_per_hour: float,
    offsets_seconds: npt.ArrayLike,
    window_seconds: float,
    step_seconds: float,
) -> FloatArray:
    """The lowest Spot price of each slot over the on-demand price: (nights, slots).

    The slots are those of `available_slots`. Raises `MarketValueError` for a step or window of no
    length and an on-demand price that is not greater than 0, and `MarketValueError` for a window that starts
    before 0.
    """
    if not 0 < on_demand_usd_per_hour < math.inf:
        raise MarketValueError(
            f"on_demand_usd_per_hour: {on_demand_usd_per_hour:g} must be finite and greater than 0"
        )
    edges = _edges(offsets_seconds, window_seconds, step_seconds, math.inf)
    return prices.lowest_usd_per_hour(edges[:, :-1], edges[:, 1:]) / on_demand_usd_per_hour


def check_step(step_seconds: float) -> None:
    """Raise `MarketValueError` unless the step has a length."""
    if not 0 < step_seconds < math.inf:
        raise MarketValueError(f"step_seconds: {step_seconds:g} must be finite and greater than 0")


def _edges(
    offsets_seconds: npt.ArrayLike, window_seconds: float, step_seconds: float, known_seconds: float
) -> FloatArray:
    """The moments between slots, (nights, slots + 1)."""
    check_step(step_seconds)
    if not 0 < window_seconds < math.inf:
        raise MarketValueError(f"window_seconds: {window_seconds:g} must be finite and greater than 0")
    offsets = np.asarray(offsets_seconds, dtype=np.float64)
    if offsets.ndim != 1 or not offsets.size:
        raise MarketValueError(
            f"offsets_seconds: shape {offsets.shape}; must be a flat list with at least one"
        )
    for offset in (offsets.min(), offsets.max()):
        check_window(float(offset), window_seconds, known_seconds)
    slots = slots_up(window_seconds, step_seconds)
    return np.asarray(offsets[:, None] + np.arange(slots + 1) * step_seconds, dtype=np.float64)
