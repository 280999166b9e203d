"""How a made-up Spot market behaves: lives and gaps in turn, each drawn from its own Weibull.

The table of parameters, `spot_lives.json`, is made by `nightspot.market.fitting`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from nightspot.market.availability import Availability, FloatArray

PROFILES_FILE = Path(__file__).with_name("spot_lives.json")
SPARE_CYCLES = 16
# Real markets lie around 0.3 to 0.7; beyond these the moments leave what a float can hold or tell apart.
SMALLEST_SHAPE = 0.05
LARGEST_SHAPE = 50.0


class GeneratorError(ValueError):
    """A market cannot be generated from these parameters."""


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


@dataclass(frozen=True)
class SpotLives:
    """A market as an alternating renewal process: how long machines live, how long none can be had."""

    lives: Weibull
    gaps: Weibull

    @property
    def share_up(self) -> float:
        """The share of time with a machine, in the long run: mean life over mean life and gap."""
        return self.lives.mean_seconds / (self.lives.mean_seconds + self.gaps.mean_seconds)


@cache
def profiles() -> dict[str, SpotLives]:
    """The fitted profiles that ship with the project, by name, most available first."""
    table = json.loads(PROFILES_FILE.read_text(encoding="utf-8"))["profiles"]
    return {
        name: SpotLives(lives=_weibull(fitted["lives"]), gaps=_weibull(fitted["gaps"]))
        for name, fitted in table.items()
    }


def profile(name: str) -> SpotLives:
    """The fitted profile of this name; raises `GeneratorError` naming the known ones."""
    known = profiles()
    if name not in known:
        raise GeneratorError(f"profile: {name!r} must be one of {', '.join(known)}")
    return known[name]


def generate(
    parameters: SpotLives, *, seconds: float, randomness: np.random.Generator | int, name: str = ""
) -> Availability:
    """A market of so many seconds; a seed instead of a generator gives the same market every time.

    It starts inside a stretch, as a night does: up with the long-run share, and with what is left
    of a stretch found by chance, so every moment of it is alike. Raises `GeneratorError` unless
    seconds are finite and greater than 0.
    """
    if not 0 < seconds < math.inf:
        raise GeneratorError(f"seconds: {seconds:g} must be finite and greater than 0")
    random = np.random.default_rng(randomness)
    starts_up = bool(random.random() < parameters.share_up)
    now, other = (parameters.lives, parameters.gaps) if starts_up else (parameters.gaps, parameters.lives)

    ends = now.draw_rest(random, 1)
    while ends[-1] < seconds:
        cycle_seconds = now.mean_seconds + other.mean_seconds
        cycles = SPARE_CYCLES + math.ceil((seconds - ends[-1]) / cycle_seconds)
        stretches = np.column_stack([other.draw(random, cycles), now.draw(random, cycles)]).ravel()
        ends = np.concatenate([ends, ends[-1] + np.cumsum(stretches)])

    starts = np.concatenate([[0.0], ends[:-1]])
    up = (np.arange(len(starts)) % 2 == 0) == starts_up
    # A heavy tail's short end draws stretches too short for a float at this hour: merged drops them.
    return Availability.merged(starts, up, length_seconds=seconds, name=name)


def _weibull(fitted: dict[str, float]) -> Weibull:
    return Weibull(shape=fitted["shape"], scale_seconds=fitted["scale_seconds"])
