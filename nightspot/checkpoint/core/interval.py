"""Decides how long to train between two checkpoints: often enough to lose little, rarely enough to pay little."""

from __future__ import annotations

import math

from .errors import SettingError

LEAST_COSTS = 5  # a save takes at most a sixth of the time
LEAST_WRITES = 2  # beside training, the disk and the upload to S3 rest as long as they work
MOST_SECONDS = 3600.0  # and nobody loses more than an hour

# What a loop loses while its state is written beside it, as a share of the writing, until it is measured: next
# to nothing where a GPU does the work, most of it where all cores train.
SLOWED_SHARE = 0.1

# A Weibull distribution's, as fitted to real Spot machines in nightspot/market/spot_lives.json (0.54 to 0.74,
# by zones): below 1 the young die first, and one that has lived for hours will live for hours.
LIFE_SHAPE = 0.65
# Machine, container and restored prefix are there before the process that counts its age.
_BEFORE_THE_PROCESS_SECONDS = 360.0

# Below it Young's approximation is within 4 % of Daly's, and the share of useful time of both the
# same to 0.01 points.
_SMALL_SHARE = 1 / 200
_LEAST_COST_SECONDS = 0.001  # what a clock shows as nothing was not free


def interval_seconds(
    cost_seconds: float,
    mean_life_seconds: float,
    *,
    beside_seconds: float = 0.0,
    slowed_share: float = SLOWED_SHARE,
    age_seconds: float | None = None,
) -> float:
    """The best interval, in seconds of training between two saves, within bounds.

    cost_seconds: how long a save holds up the loop.
    beside_seconds: how long it is then written beside the loop. That alone delays when work is safe, by the
        same time at any interval, and so does not count as a cost; what it slows the loop by does.
    slowed_share: how much of that time the loop loses by going slower, from 0 to 1.
    age_seconds: how long this process has been training, where machines die as Spot machines do
        (`life_at_age`); None where age does not matter.

    Never shorter than 5 times what a save costs, nor than twice the writing; never longer than an hour;
    where these contradict each other, an hour. On real Spot traces these figures keep within a point of the
    useful share of the best fixed interval: docs/checkpoint_speed.md. Raises SettingError unless costs are
    numbers from 0 on, the share one from 0 to 1 and the life one greater than 0.
    """
    _check_cost("beside_seconds", beside_seconds)
    _check_cost("cost_seconds", cost_seconds)
    if not 0 <= slowed_share <= 1:
        raise SettingError(f"slowed_share={slowed_share!r}: must be a number from 0 to 1")
    cost = cost_seconds + slowed_share * beside_seconds
    life = mean_life_seconds if age_seconds is None else life_at_age(age_seconds, mean_life_seconds)
    least = max(LEAST_COSTS * cost, LEAST_WRITES * beside_seconds)
    return min(MOST_SECONDS, max(least, best_interval_seconds(cost, life)))


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
    _check_cost("cost_seconds", cost_seconds)
    _check_life(mean_life_seconds)
    cost = max(cost_seconds, _LEAST_COST_SECONDS)
    young = math.sqrt(2 * cost * mean_life_seconds)
    if cost <= mean_life_seconds * _SMALL_SHARE:
        return young
    if cost >= 2 * mean_life_seconds:
        return mean_life_seconds
    x = math.sqrt(cost / (2 * mean_life_seconds))
    return young * (1 + x / 3 + x * x / 9) - cost


def life_at_age(age_seconds: float, mean_life_seconds: float) -> float:
    """The mean life, in seconds, that goes with the risk of a Spot machine whose process has this age.

    The reciprocal of the hazard of Weibull lives with `LIFE_SHAPE`: a fraction of the mean at the start, more
    than it after hours. Young's and Daly's formulas take it for M, so that intervals grow with age ("Lazy
    Checkpointing", Tiwari, Gupta and Vazhkudai, DSN 2014). An age below 0, of a clock set back, is 0.
    Raises SettingError unless the life is a number greater than 0.
    """
    _check_life(mean_life_seconds)
    scale = mean_life_seconds / math.gamma(1 + 1 / LIFE_SHAPE)
    age = max(age_seconds, 0.0) + _BEFORE_THE_PROCESS_SECONDS
    return float(scale / LIFE_SHAPE * (age / scale) ** (1 - LIFE_SHAPE))


def _check_cost(field: str, seconds: float) -> None:
    if not 0 <= seconds < math.inf:
        raise SettingError(f"{field}={seconds!r}: must be a number of seconds, 0 or more")


def _check_life(mean_life_seconds: float) -> None:
    if not 0 < mean_life_seconds < math.inf:
        raise SettingError(
            f"mean_life_seconds={mean_life_seconds!r}: must be a number of seconds greater than 0"
        )
