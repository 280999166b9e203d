"""Statistics of few durations: an upper limit that one odd value cannot blow up, and waits that were cut short."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, exp, fsum, inf, log, sqrt
from statistics import median, median_high
from typing import NamedTuple

FEWEST = 5  # values before they are believed
ENOUGH = 20  # values before they are believed whatever the job file says
UPPER_QUANTILE = 0.9975
_NORMAL_DEVIATE = 2.8070  # of UPPER_QUANTILE
# Values further than so many robust deviations above the middle are odd, as long as they are at most so many.
_ODD_DEVIATIONS, MOST_ODD_SHARE = 5.0, 0.1
_FEW_MARGIN = 1.2  # above the middle of few values, as above a length that was only stated
_LEAST_DEVIATION = 0.02  # of a logarithm: what differs by less than 2 % does not differ
_MOST_LOG = 700.0  # of a number that a float still holds
_MAD_OF_NORMAL = 1.4826  # a normal distribution's standard deviation over its median absolute deviation


class Limit(NamedTuple):
    """What the next value is planned to stay below, in the values' unit."""

    value: float
    # The places of the values that have no say in it, because they are far from the rest.
    odd: tuple[int, ...] = ()


def upper_limit(past: Sequence[float], cap: float = inf) -> Limit:
    """A limit above the next value, given at least two like it, all above 0.

    The prediction limit of a log-normal, because durations are skewed: the next value exceeds it in one case of 400
    (Hahn and Meeker, "Statistical Intervals"). From 399 values on their own quantile, without any assumption (split
    conformal prediction; Vovk et al., "Algorithmic Learning in a Random World").

    Below `ENOUGH` values the deviation of a log-normal is hardly known: one value of five that is eight times the
    others would plan with days. So it is no more than `cap`, or than a fifth above the middle one. From `ENOUGH`
    on, values far above the rest have no say, while they are at most one in ten.
    """
    if len(past) < ENOUGH:
        limit = _prediction_limit(past)
        if limit <= cap:
            return Limit(limit)
        limit = min(limit, max(cap, _FEW_MARGIN * median_high(past)))
        return Limit(limit, _above(past, limit))
    odd = _above(past, _far(past))
    if len(odd) > MOST_ODD_SHARE * len(past):
        odd = ()
    return Limit(_prediction_limit([value for n, value in enumerate(past) if n not in odd]), odd)


def _prediction_limit(past: Sequence[float]) -> float:
    """Never below what has been seen."""
    count = len(past)
    rank = ceil(UPPER_QUANTILE * (count + 1))
    if rank <= count:
        return sorted(past)[rank - 1]
    logs = [log(value) for value in past]
    mean = sum(logs) / count
    deviation = sqrt(sum((value - mean) ** 2 for value in logs) / (count - 1))
    wide = mean + student_deviate(count - 1) * sqrt(1 + 1 / count) * deviation
    return max(*past, exp(min(wide, _MOST_LOG)))


def student_deviate(freedom: int) -> float:
    """Student's t for UPPER_QUANTILE, by the expansion of Fisher and Cornish; within 0.5 % from 4 degrees on."""
    z = _NORMAL_DEVIATE
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + fsum(term / freedom**power for power, term in enumerate(terms, 1))


def _far(past: Sequence[float]) -> float:
    """From where on a value is far above the others, by their median absolute deviation."""
    middle = log(median(past))
    spread = _MAD_OF_NORMAL * median(abs(log(value) - middle) for value in past)
    return exp(min(middle + _ODD_DEVIATIONS * max(spread, _LEAST_DEVIATION), _MOST_LOG))


def _above(past: Sequence[float], most: float) -> tuple[int, ...]:
    return tuple(n for n, value in enumerate(past) if value > most)


def common_limit(past: Sequence[float], share: float = 0.9) -> float:
    """What the next value stays below with this probability, without any assumption; the largest of few."""
    return sorted(past)[min(len(past), ceil(share * (len(past) + 1))) - 1]


class Wait(NamedTuple):
    """How long something was waited for, in seconds."""

    seconds: float
    came: bool  # else the wait was ended before it had


def wait_limit(waits: Sequence[Wait], share: float) -> float | None:
    """The wait by which this share of all has come, those that were cut short counted in; None: nothing ever came.

    Kaplan and Meier, "Nonparametric Estimation from Incomplete Observations" (1958). Where the waits were ended
    before so many had come, the rest is taken to come at the mean rate of all: an exponential tail.
    """
    came = sum(wait.came for wait in waits)
    if not came:
        return None
    missing, at_risk = 1.0, len(waits)
    # Of two at the same second, what came was still waited for when the other was given up.
    for seconds, has_come in sorted(waits, key=lambda wait: (wait.seconds, not wait.came)):
        if has_come:
            missing *= 1 - 1 / at_risk
            if missing <= 1 - share + 1e-12:
                return seconds
        at_risk -= 1
    mean = sum(wait.seconds for wait in waits) / came
    # From the longest that was waited for: beyond it nothing was seen.
    longest = max(wait.seconds for wait in waits)
    return longest + mean * log(missing / (1 - share))
