"""Decides how long to train between two checkpoints: often enough to lose little, rarely enough to pay little."""

from __future__ import annotations

import math

from .errors import SettingError

LEAST_COSTS = 20  # a save takes at most a twentieth of the time
MOST_SECONDS = 3600.0  # and nobody loses more than an hour

# Below it Young's approximation is within 4 % of Daly's, and the share of useful time of both the
# same to 0.01 points.
_SMALL_SHARE = 1 / 200
_LEAST_COST_SECONDS = 0.001  # what a clock shows as nothing was not free


def interval_seconds(cost_seconds: float, mean_life_seconds: float) -> float:
    """The best interval, in seconds of training between two saves, within bounds.

    Never shorter than 20 times what a save costs, never longer than an hour; where the two
    contradict each other, an hour. Raises SettingError as `best_interval_seconds` does.
    """
    best = best_interval_seconds(cost_seconds, mean_life_seconds)
    return min(MOST_SECONDS, max(LEAST_COSTS * cost_seconds, best))


def best_interval_seconds(cost_seconds: float, mean_life_seconds: float) -> float:
    """The interval that loses the least time, where machines live for M seconds and a save costs d.

    Young: sqrt(2 d M). "A first order approximation to the optimum checkpoint interval",
    Communications of the ACM 17(9), 1974, https://doi.org/10.1145/361147.361115.
    Where d is more than M / 200, Daly's higher order: with x = sqrt(d / 2M), sqrt(2 d M) times
    (1 + x / 3 + x² / 9), less d; and M itself from d = 2M on. "A higher order estimate of the
    optimum checkpoint interval for restart dumps", Future Generation Computer Systems 22(3), 2006,
    equation 37, https://doi.org/10.1016/j.future.2004.11.016.

    Raises SettingError unless the cost is a number from 0 on and the life one greater than 0.
    """
    if not 0 <= cost_seconds < math.inf:
        raise SettingError(f"cost_seconds={cost_seconds!r}: must be a number of seconds, 0 or more")
    if not 0 < mean_life_seconds < math.inf:
        raise SettingError(
            f"mean_life_seconds={mean_life_seconds!r}: must be a number of seconds greater than 0"
        )
    cost = max(cost_seconds, _LEAST_COST_SECONDS)
    young = math.sqrt(2 * cost * mean_life_seconds)
    if cost <= mean_life_seconds * _SMALL_SHARE:
        return young
    if cost >= 2 * mean_life_seconds:
        return mean_life_seconds
    x = math.sqrt(cost / (2 * mean_life_seconds))
    return young * (1 + x / 3 + x * x / 9) - cost
