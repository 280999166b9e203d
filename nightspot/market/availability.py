"""Decides when a Spot machine can be had, as the few moments at which the answer changes."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]


class AvailabilityError(ValueError):
    """These change points, or this window of them, mean no market."""


@dataclass(frozen=True, eq=False)
class Availability:
    """A market's change points: from `starts_seconds[i]` to the next start it is `up[i]`.

    `starts_seconds`: (n,) float64, strictly rising from 0; `up`: (n,) bool, each entry different
    from the one before, so every start is a change. `length_seconds` is how much is known; after
    it the last state holds, as in the local run. A Spot machine is lost at every change from up
    to down. Both arrays are copied and made read-only. Raises `AvailabilityError`.
    """

    starts_seconds: FloatArray
    up: BoolArray
    length_seconds: float = math.inf
    name: str = ""
    # A simulated night asks for single moments, which a list answers ten times faster than an array.
    _changes: list[float] = field(init=False, repr=False)  # `starts_seconds`, and what follows: nothing
    _begins_up: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        starts = np.array(self.starts_seconds, dtype=np.float64)
        up = np.array(self.up, dtype=np.bool_)
        if starts.ndim != 1 or starts.shape != up.shape or not starts.size:
            raise AvailabilityError(
                f"starts_seconds, up: shapes {starts.shape} and {up.shape}; both must be flat, equally"
                " long and not empty"
            )
        if starts[0] != 0 or not np.isfinite(starts).all() or (np.diff(starts) <= 0).any():
            raise AvailabilityError("starts_seconds: must be finite and rise strictly, the first one 0")
        if (up[1:] == up[:-1]).any():
            raise AvailabilityError("up: neighbours must differ; Availability.merged joins equal ones")
        if not self.length_seconds > starts[-1]:
            raise AvailabilityError(
                f"length_seconds: {self.length_seconds:g} must lie after the last start, {starts[-1]:g}"
            )
        starts.flags.writeable = False
        up.flags.writeable = False
        object.__setattr__(self, "starts_seconds", starts)
        object.__setattr__(self, "up", up)
        object.__setattr__(self, "_changes", [*starts.tolist(), math.inf, math.inf])
        object.__setattr__(self, "_begins_up", bool(up[0]))

    @classmethod
    def merged(
        cls,
        starts_seconds: npt.ArrayLike,
        up: npt.ArrayLike,
        *,
        length_seconds: float = math.inf,
        name: str = "",
    ) -> Availability:
        """Change points from stretches in order, which may have no length or repeat the state before.

        Stretches that start at or after `length_seconds` are dropped. Raises `AvailabilityError`
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
            raise AvailabilityError("length_seconds: inf; a share of all time is not defined")
        return float(self.stretch_seconds[self.up].sum() / self.length_seconds)

    def index_at(self, seconds: float) -> int:
        """Which stretch holds `seconds`, in O(log n); a change belongs to the stretch it starts.

        An event-driven caller may walk on from here: index + 1 is the next change. Raises
        `AvailabilityError` before 0.
        """
        if not seconds >= 0:
            raise AvailabilityError(f"seconds: {seconds:g} must be at least 0")
        return bisect_right(self._changes, seconds) - 1

    def is_up_at(self, seconds: float) -> bool:
        """Whether a machine can be had at `seconds`."""
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

    def window(self, offset_seconds: float, length_seconds: float) -> Availability:
        """The part from `offset_seconds` on, with its own start as 0.

        Raises `AvailabilityError` unless the part has a length and lies in what is known.
        """
        check_window(offset_seconds, length_seconds, self.length_seconds)
        first = self.index_at(offset_seconds)
        starts = np.maximum(self.starts_seconds[first:] - offset_seconds, 0.0)
        return Availability.merged(starts, self.up[first:], length_seconds=length_seconds, name=self.name)


def check_window(offset_seconds: float, length_seconds: float, known_seconds: float) -> None:
    """Raise `AvailabilityError` unless the window has a length and lies within the known seconds."""
    if not (length_seconds > 0 and math.isfinite(length_seconds)):
        raise AvailabilityError(f"length_seconds: {length_seconds:g} must be finite and greater than 0")
    # A window up to the very end may miss it by a rounding error.
    if not (offset_seconds >= 0 and offset_seconds + length_seconds <= known_seconds * (1 + 1e-12)):
        raise AvailabilityError(
            f"offset_seconds: {offset_seconds:g}; a window of {length_seconds:g} s must lie within the"
            f" market's {known_seconds:g} s"
        )
