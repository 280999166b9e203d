"""Decides how long a stretch of a market lasts: Weibull, heavy-tailed where its shape is below 1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nightspot.market.availability import FloatArray

# Real markets lie around 0.3 to 0.7; beyond these the moments leave what a float can hold or tell apart.
SMALLEST_SHAPE = 0.05
LARGEST_SHAPE = 50.0


class WeibullError(ValueError):
    """These parameters are no Weibull distribution of durations."""


@dataclass(frozen=True)
class Weibull:
    """Durations with P(longer than x) = exp(-(x / scale) ** shape).

    Raises `WeibullError` unless the shape lies within [0.05, 50] and the scale is finite and
    greater than 0.
    """

    shape: float
    scale_seconds: float

    def __post_init__(self) -> None:
        if not SMALLEST_SHAPE <= self.shape <= LARGEST_SHAPE:
            raise WeibullError(
                f"shape: {self.shape:g} must lie between {SMALLEST_SHAPE:g} and {LARGEST_SHAPE:g}"
            )
        if not 0 < self.scale_seconds < math.inf:
            raise WeibullError(f"scale_seconds: {self.scale_seconds:g} must be finite and greater than 0")

    @property
    def mean_seconds(self) -> float:
        """The mean duration."""
        return self.scale_seconds * math.gamma(1 + 1 / self.shape)

    @property
    def median_seconds(self) -> float:
        """The duration that half of all stretches outlast."""
        return float(self.scale_seconds * math.log(2) ** (1 / self.shape))

    def draw(self, randomness: np.random.Generator, count: int) -> FloatArray:
        """`count` durations in seconds."""
        return self.scale_seconds * randomness.weibull(self.shape, count)

    def draw_rest(self, randomness: np.random.Generator, count: int) -> FloatArray:
        """`count` times that are left of the stretch found at a moment picked at random, in seconds.

        Long stretches are found in proportion to their length, and the moment is uniform within
        the one found. Length-biased, (x / scale) ** shape is Gamma(1 + 1 / shape): its density
        x f(x) / mean, written in that variable, is Gamma's.
        """
        found = randomness.gamma(1 + 1 / self.shape, size=count) ** (1 / self.shape)
        return self.scale_seconds * found * randomness.random(count)
