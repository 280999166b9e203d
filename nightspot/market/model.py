"""What a simulated night is, and what became of it: when Spot can be had, what it costs, and the accounts."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from math import inf
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MarketAvailability:
    """A market's change points: from `starts_seconds[i]` to the next start it is `up[i]`.

    `starts_seconds`: (n,) float64, strictly rising from 0; `up`: (n,) bool, each entry different
    from the one before, so every start is a change. `length_seconds` is how much is known; after
    it the last state holds, as in the local run. A Spot machine is lost at every change from up
    to down. Both arrays are copied and made read-only. Raises `MarketValueError`.
    """

    starts_seconds: FloatArray
    up: BoolArray
    length_seconds: float = inf
    name: str = ""
    # A simulated night asks for single moments, which a list answers ten times faster than an array.
    _changes: list[float] = field(init=False, repr=False)  # `starts_seconds`, and what follows: nothing
    _begins_up: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        starts, up = np.array(self.starts_seconds, np.float64), np.array(self.up, np.bool_)
        _check_starts(starts, up, "up")
        if (up[1:] == up[:-1]).any():
            raise MarketValueError("up: neighbours must differ; Availability.merged joins equal ones")
        if not self.length_seconds > starts[-1]:
            raise MarketValueError(
                f"length_seconds: {self.length_seconds:g} must lie after the last start, {starts[-1]:g}"
            )
        starts.flags.writeable = False
        up.flags.writeable = False
        object.__setattr__(self, "starts_seconds", starts)
        object.__setattr__(self, "up", up)
        object.__setattr__(self, "_changes", [*starts.tolist(), inf, inf])
        object.__setattr__(self, "_begins_up", bool(up[0]))

    @classmethod
    def merged(
        cls,
        starts_seconds: npt.ArrayLike,
        up: npt.ArrayLike,
        *,
        length_seconds: float = inf,
        name: str = "",
    ) -> MarketAvailability:
        """Change points from stretches in order, which may have no length or repeat the state before.

        Stretches that start at or after `length_seconds` are dropped. Raises `MarketValueError`
        for the rest of the class's rules.
        """
        starts = np.asarray(starts_seconds, dtype=np.float64)
        states = np.asarray(up, dtype=np.bool_)
        if starts.ndim == 1 and starts.shape == states.shape and starts.size:
            lasting = np.append(starts[1:] != starts[:-1], True) & (starts < length_seconds)
            starts, states = starts[lasting], states[lasting]
            changing = np.append(True, states[1:] != states[:-1])[: len(starts)]
            starts, states = starts[changing], states[changing]
        return cls(starts, states, length_seconds, name)

    @property
    def stretch_seconds(self) -> FloatArray:
        """How long each state lasted, (n,); the last one until `length_seconds`."""
        return np.diff(self.starts_seconds, append=self.length_seconds)

    @property
    def share_up(self) -> float:
        """The share of the known time in which a machine could be had; needs a finite length."""
        if math.isinf(self.length_seconds):
            raise MarketValueError("length_seconds: inf; a share of all time is not defined")
        return float(self.stretch_seconds[self.up].sum() / self.length_seconds)

    def index_at(self, seconds: float) -> int:
        """Which stretch holds `seconds`, in O(log n); a change belongs to the stretch it starts.

        An event-driven caller may walk on from here: index + 1 is the next change. Raises
        `MarketValueError` before 0.
        """
        if not seconds >= 0:
            raise MarketValueError(f"seconds: {seconds:g} must be at least 0")
        return bisect_right(self._changes, seconds) - 1

    def is_up_at(self, seconds: float) -> bool:
        return self._begins_up == (self.index_at(seconds) % 2 == 0)

    def next_change_after(self, seconds: float) -> float:
        """The first change strictly after `seconds`, when a running machine is lost; inf: none known."""
        return self._changes[self.index_at(seconds) + 1]

    def next_up_from(self, seconds: float) -> float:
        """The first moment from `seconds` on when a machine can be had; inf: none known."""
        return self.next_machine(seconds)[0]

    def next_machine(self, seconds: float) -> tuple[float, float]:
        """That moment, and when a machine that is given then is lost; inf: none known."""
        index, changes = self.index_at(seconds), self._changes
        is_up = self._begins_up == (index % 2 == 0)
        return (seconds, changes[index + 1]) if is_up else (changes[index + 1], changes[index + 2])

    def window(self, offset_seconds: float, length_seconds: float) -> MarketAvailability:
        """The part from `offset_seconds` on, with its own start as 0.

        Raises `MarketValueError` unless the part has a length and lies in what is known.
        """
        check_window(offset_seconds, length_seconds, self.length_seconds)
        first = self.index_at(offset_seconds)
        starts = np.maximum(self.starts_seconds[first:] - offset_seconds, 0.0)
        return MarketAvailability.merged(
            starts, self.up[first:], length_seconds=length_seconds, name=self.name
        )


def _check_starts(starts: FloatArray, values: npt.NDArray[Any], name: str) -> None:
    if starts.ndim != 1 or starts.shape != values.shape or not starts.size:
        raise MarketValueError(
            f"starts_seconds, {name}: shapes {starts.shape} and {values.shape}; both must be flat, equally long"
            " and not empty"
        )
    if starts[0] != 0 or not np.isfinite(starts).all() or (np.diff(starts) <= 0).any():
        raise MarketValueError("starts_seconds: must be finite and rise strictly, the first one 0")


def check_window(offset_seconds: float, length_seconds: float, known_seconds: float) -> None:
    """Raise `MarketValueError` unless the window has a length and lies within the known seconds."""
    if not (length_seconds > 0 and math.isfinite(length_seconds)):
        raise MarketValueError(f"length_seconds: {length_seconds:g} must be finite and greater than 0")
    # A window up to the very end may miss it by a rounding error.
    if not (offset_seconds >= 0 and offset_seconds + length_seconds <= known_seconds * (1 + 1e-12)):
        raise MarketValueError(
            f"offset_seconds: {offset_seconds:g}; a window of {length_seconds:g} s must lie within the"
            f" market's {known_seconds:g} s"
        )


@dataclass(frozen=True, eq=False)
class Prices:
    """Spot prices over time: from `starts_seconds[i]` on, an hour costs `usd_per_hour[i]`.

    Both (n,) float64, the starts strictly rising from 0; the last price holds for ever. The
    arrays are copied and made read-only. Raises `MarketValueError`.
    """

    starts_seconds: FloatArray
    usd_per_hour: FloatArray
    _flat_usd_per_hour: float | None = field(init=False, repr=False)  # where it never changes

    def __post_init__(self) -> None:
        starts, usd = np.array(self.starts_seconds, np.float64), np.array(self.usd_per_hour, np.float64)
        _check_starts(starts, usd, "usd_per_hour")
        if not np.isfinite(usd).all() or (usd <= 0).any():
            raise MarketValueError(f"usd_per_hour: {usd.tolist()} must be finite and greater than 0")
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
        """The prices from `offset_seconds` on, with that moment as 0. Raises `MarketValueError` before 0."""
        if not 0 <= offset_seconds < np.inf:
            raise MarketValueError(f"offset_seconds: {offset_seconds:g} must be finite and at least 0")
        first = bisect_right(self.starts_seconds, offset_seconds) - 1
        starts = np.maximum(self.starts_seconds[first:] - offset_seconds, 0.0)
        return Prices(starts, self.usd_per_hour[first:])

    def over(self, usd_per_hour: float) -> Prices:
        """These prices in units of another one, such as on-demand's, which must be above 0."""
        if not 0 < usd_per_hour < np.inf:
            raise MarketValueError(f"usd_per_hour: {usd_per_hour:g} must be finite and greater than 0")
        return Prices(self.starts_seconds, self.usd_per_hour / usd_per_hour)

    def mean_usd_per_hour(self, start_seconds: float, end_seconds: float) -> float:
        """The price per hour of a machine held from start to end, weighted by time, in O(log n).

        Raises `MarketValueError` unless 0 ≤ start < end < inf.
        """
        if not 0 <= start_seconds < end_seconds < inf:
            raise MarketValueError(
                f"start_seconds, end_seconds: {start_seconds:g} and {end_seconds:g}; must be 0 ≤ start < end"
            )
        if self._flat_usd_per_hour is not None:
            return self._flat_usd_per_hour
        paid = self._paid_until(end_seconds) - self._paid_until(start_seconds)
        return paid / (end_seconds - start_seconds)

    def lowest_usd_per_hour(self, start_seconds: npt.ArrayLike, end_seconds: npt.ArrayLike) -> FloatArray:
        """The lowest price in each half-open stretch [start, end), of the arrays' common shape.

        Raises `MarketValueError` unless 0 ≤ start < end throughout.
        """
        begins, ends = np.broadcast_arrays(np.asarray(start_seconds), np.asarray(end_seconds))
        if not ((begins >= 0) & (begins < ends)).all():
            raise MarketValueError("start_seconds, end_seconds: must be 0 ≤ start < end throughout")
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


LATE_SECONDS = 1e-6  # what sums of floats may be off by


class MarketValueError(ValueError):
    """These figures mean no market, no price or no night."""


class Doing(StrEnum):
    """What a span of a simulated night is spent on."""

    WAITING = "waiting"  # no machine, nothing is paid
    STARTING = "starting"  # a machine is paid and does no work yet
    TRAINING = "training"
    STOPPING = "stopping"  # the old machine is given back; the next one may not start yet


@dataclass(frozen=True)
class Truth:
    """What the night is really like; no policy sees it beforehand.

    The k-th launch of a market takes the k-th of its change-overs (the last one again and again), whichever policy
    plays: so all of them have the same luck.
    """

    market: MarketAvailability  # when Spot can be had, from the night's start for the whole window at least
    prices: Prices  # of Spot, over on-demand's
    work_seconds: float
    window_seconds: float
    spot_changeover_seconds: tuple[float, ...]  # from the machine to its first step
    on_demand_changeover_seconds: tuple[float, ...]
    on_demand_queue_seconds: tuple[float, ...] = (0.0,)  # until a machine is given; nothing is paid
    checkpoint_seconds: float = 0.0  # training time from one checkpoint to the next; 0: nothing is ever lost
    stop_seconds: float = 0.0  # from asking a machine to stop to the moment at which another may start
    detection_seconds: float = 0.0  # until a change is known to whoever decides

    def is_late(self, finished_seconds: float) -> bool:
        """Whether a model that is ready then comes after the deadline."""
        return finished_seconds > self.window_seconds + LATE_SECONDS


@dataclass(frozen=True)
class Belief:
    """What a policy plans with."""

    work_seconds: float
    spot_changeover_seconds: float
    on_demand_changeover_seconds: float
    stop_seconds: float = 0.0


@dataclass(frozen=True)
class UpSpan:
    """A stretch of the night: on which market (None: on none), doing what."""

    start_seconds: float
    end_seconds: float
    market: str | None  # "spot" or "on_demand"
    doing: Doing


class NightResult(NamedTuple):
    """What a policy made of a night. `cost` is in hours of on-demand."""

    cost: float
    finished_seconds: float
    late: bool
    interruptions: int
    launches: int  # machines that were paid for
    on_demand_seconds: float  # paid
    spot_seconds: float  # paid
    waited_seconds: float
    spans: tuple[UpSpan, ...] = ()  # only where they were asked for


def changeover(seconds: tuple[float, ...], launch: int) -> float:
    """The change-over of the `launch`-th launch (from 0)."""
    return seconds[min(launch, len(seconds) - 1)]
