"""Decides what a Spot machine costs per hour at a given time: real prices, or a flat one."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from math import inf

import numpy as np
import numpy.typing as npt

from nightspot.market.availability import FloatArray


class PricesError(ValueError):
    """These prices, or this stretch of time, mean no cost."""


@dataclass(frozen=True, eq=False)
class Prices:
    """Spot prices over time: from `starts_seconds[i]` on, an hour costs `usd_per_hour[i]`.

    Both (n,) float64, the starts strictly rising from 0; the last price holds for ever. The
    arrays are copied and made read-only. Raises `PricesError`.
    """

    starts_seconds: FloatArray
    usd_per_hour: FloatArray
    _flat_usd_per_hour: float | None = field(init=False, repr=False)  # where it never changes

    def __post_init__(self) -> None:
        starts = np.array(self.starts_seconds, dtype=np.float64)
        usd = np.array(self.usd_per_hour, dtype=np.float64)
        if starts.ndim != 1 or starts.shape != usd.shape or not starts.size:
            raise PricesError(
                f"starts_seconds, usd_per_hour: shapes {starts.shape} and {usd.shape}; both must be flat,"
                " equally long and not empty"
            )
        if starts[0] != 0 or not np.isfinite(starts).all() or (np.diff(starts) <= 0).any():
            raise PricesError("starts_seconds: must be finite and rise strictly, the first one 0")
        if not np.isfinite(usd).all() or (usd <= 0).any():
            raise PricesError(f"usd_per_hour: {usd.tolist()} must be finite and greater than 0")
        starts.flags.writeable = False
        usd.flags.writeable = False
        object.__setattr__(self, "starts_seconds", starts)
        object.__setattr__(self, "usd_per_hour", usd)
        object.__setattr__(self, "_flat_usd_per_hour", float(usd[0]) if len(usd) == 1 else None)

    @classmethod
    def flat(cls, usd_per_hour: float) -> Prices:
        """One price for all time, in USD per hour."""
        return cls(np.zeros(1), np.array([usd_per_hour], dtype=np.float64))

    def window(self, offset_seconds: float) -> Prices:
        """The prices from `offset_seconds` on, with that moment as 0. Raises `PricesError` before 0."""
        if not 0 <= offset_seconds < np.inf:
            raise PricesError(f"offset_seconds: {offset_seconds:g} must be finite and at least 0")
        first = bisect_right(self.starts_seconds, offset_seconds) - 1
        starts = np.maximum(self.starts_seconds[first:] - offset_seconds, 0.0)
        return Prices(starts, self.usd_per_hour[first:])

    def over(self, usd_per_hour: float) -> Prices:
        """These prices in units of another one, such as on-demand's. Raises `PricesError` for one not above 0."""
        if not 0 < usd_per_hour < np.inf:
            raise PricesError(f"usd_per_hour: {usd_per_hour:g} must be finite and greater than 0")
        return Prices(self.starts_seconds, self.usd_per_hour / usd_per_hour)

    def mean_usd_per_hour(self, start_seconds: float, end_seconds: float) -> float:
        """The price per hour of a machine held from start to end, weighted by time, in O(log n).

        Raises `PricesError` unless 0 ≤ start < end < inf.
        """
        if not 0 <= start_seconds < end_seconds < inf:
            raise PricesError(
                f"start_seconds, end_seconds: {start_seconds:g} and {end_seconds:g}; must be 0 ≤ start < end"
            )
        if self._flat_usd_per_hour is not None:
            return self._flat_usd_per_hour
        paid = self._paid_until(end_seconds) - self._paid_until(start_seconds)
        return paid / (end_seconds - start_seconds)

    def lowest_usd_per_hour(self, start_seconds: npt.ArrayLike, end_seconds: npt.ArrayLike) -> FloatArray:
        """The lowest price in each half-open stretch [start, end), of the arrays' common shape.

        Raises `PricesError` unless 0 ≤ start < end throughout.
        """
        begins, ends = np.broadcast_arrays(np.asarray(start_seconds), np.asarray(end_seconds))
        if not ((begins >= 0) & (begins < ends)).all():
            raise PricesError("start_seconds, end_seconds: must be 0 ≤ start < end throughout")
        firsts = np.searchsorted(self.starts_seconds, begins, side="right") - 1
        stops = np.searchsorted(self.starts_seconds, ends, side="left")
        # reduceat reads pairs (first, stop) from a flat list, and wants every stop inside the array.
        pairs = np.stack([firsts, stops], axis=-1).ravel()
        lowest = np.minimum.reduceat(np.append(self.usd_per_hour, np.inf), pairs)[::2]
        return np.asarray(lowest, dtype=np.float64).reshape(begins.shape)

    @cached_property
    def _paid_at_changes(self) -> FloatArray:
        stretches = np.diff(self.starts_seconds) * self.usd_per_hour[:-1]
        return np.concatenate([[0.0], np.cumsum(stretches)])

    def _paid_until(self, seconds: float) -> float:
        """USD seconds per hour from 0 to `seconds`."""
        index = bisect_right(self.starts_seconds, seconds) - 1
        since_change = (seconds - self.starts_seconds[index]) * self.usd_per_hour[index]
        return float(self._paid_at_changes[index] + since_change)
