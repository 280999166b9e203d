"""What past nights teach: how long the work, a change-over and a wait for a machine take, as upper quantiles.

Before there is enough history the job file's own figures stand in for it, with a margin.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, exp, fsum, log, sqrt

from nightspot.job.markets import Market
from nightspot.record.model import AttemptRecord, RunRecord
from nightspot.run.model import MOST_WORK_SECONDS
from nightspot.run.pricing import ASSUMED_SPOT_DISCOUNT, Basis, SpotDiscount

FEWEST = 5  # before history is believed
# Before there is any. Planning on work + 20 % left no night of 5,100 late on the traces that this project was
# designed on.
UNLEARNT_WORK_MARGIN = 1.2

DEFAULT_PATIENCE_SECONDS = 30 * 60
SHORTEST_PATIENCE_SECONDS = 10 * 60
LONGEST_PATIENCE_SECONDS = 2 * 3600
PATIENCE_QUANTILE = 0.9

UPPER_QUANTILE = 0.9975
_NORMAL_DEVIATE = 2.8070  # of UPPER_QUANTILE


def upper_limit(past: Sequence[float]) -> float:
    """What the next value stays below in all but one case of 400, given at least two like it, all above 0.

    With 399 values or more their own quantile, without any assumption (split conformal prediction: of n + 1
    exchangeable values the last one is below the ceil(0.9975 (n + 1))-th smallest with that probability; Vovk
    et al., "Algorithmic Learning in a Random World"). With fewer the prediction limit of a log-normal, because
    durations are skewed: mean + t sqrt(1 + 1/n) standard deviations of the logarithms (Hahn and Meeker,
    "Statistical Intervals"). Never below what has been seen.
    """
    count = len(past)
    rank = ceil(UPPER_QUANTILE * (count + 1))
    if rank <= count:
        return sorted(past)[rank - 1]
    logs = [log(value) for value in past]
    mean = sum(logs) / count
    deviation = sqrt(sum((value - mean) ** 2 for value in logs) / (count - 1))
    return max(*past, exp(mean + _student_deviate(count - 1) * sqrt(1 + 1 / count) * deviation))


def _student_deviate(freedom: int) -> float:
    """Student's t for UPPER_QUANTILE, by the expansion of Fisher and Cornish; within 1 % from 4 degrees on."""
    z = _NORMAL_DEVIATE
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def work_seconds(history: Iterable[RunRecord], work_key: str, stated_seconds: float) -> tuple[float, float]:
    """The work at speed 1: what to expect, and what to plan with.

    From the runs that succeeded and had the same work to do (`planning.work_key_of`).
    """
    past = [
        run.work_seconds for run in history if run.has_model and run.work_key == work_key and run.work_seconds
    ]
    if len(past) < FEWEST:
        return stated_seconds, stated_seconds * UNLEARNT_WORK_MARGIN
    return sorted(past)[len(past) // 2], min(MOST_WORK_SECONDS, upper_limit(past))


def change_over_seconds(
    history: Iterable[RunRecord], market: Market, instance_type: str, stated_seconds: int
) -> int:
    """From the asking to the first step of training, where there is capacity.

    On-demand: an upper limit, because the deadline hangs on it. Spot: the lower quartile, a start that had its
    machine at once; a Spot start that takes longer is given up in time, so that nothing hangs on it but money.
    """
    past = sorted(
        attempt.ready_seconds
        for attempt in _attempts(history, market, instance_type)
        if attempt.ready_seconds
    )
    if len(past) < FEWEST:
        return stated_seconds
    return ceil(past[len(past) // 4] if market is Market.SPOT else upper_limit(past))


def mean_life_seconds(history: Iterable[RunRecord], instance_type: str) -> float | None:
    """How long a Spot machine of this type lives, on average: what was trained over what was taken back.

    Where it is short, checkpoints pay more often (`nightspot.checkpoint.core.schedule`). None before there is
    enough.
    """
    past = list(_attempts(history, Market.SPOT, instance_type))
    trained = sum(attempt.trained_seconds or 0.0 for attempt in past)
    taken = sum(attempt.interruptions for attempt in past)
    return trained / taken if len(past) >= FEWEST and taken and trained else None


def patience_seconds(history: Iterable[RunRecord], market: Market, instance_type: str) -> int:
    """How long to wait for a machine of this type before the next one gets its turn.

    Of the waits that ended with a machine, nine in ten were over by then; a type that was tried often and never
    came gets the shortest patience. Half an hour before there is enough to learn from.
    """
    tries = [attempt.queued_seconds for attempt in _attempts(history, market, instance_type)]
    if len(tries) < FEWEST:
        return DEFAULT_PATIENCE_SECONDS
    waits = sorted(wait for wait in tries if wait is not None)
    if not waits:
        return SHORTEST_PATIENCE_SECONDS
    wait = waits[min(len(waits), ceil(PATIENCE_QUANTILE * (len(waits) + 1))) - 1]
    return round(min(max(wait, SHORTEST_PATIENCE_SECONDS), LONGEST_PATIENCE_SECONDS))


def _attempts(history: Iterable[RunRecord], market: Market, instance_type: str) -> Iterable[AttemptRecord]:
    """The attempts on a rung; a request that was refused has no status and never queued."""
    return (
        attempt
        for run in history
        for attempt in run.attempts
        if (attempt.market, attempt.instance_type) == (market, instance_type) and attempt.status is not None
    )


def expected_spot_discount(
    history: Iterable[RunRecord], instance_type: str, hint: SpotDiscount | None = None
) -> SpotDiscount:
    """What Spot is expected to save on this type: measured, else `hint` (EC2's Spot prices), else a default."""
    return measured_spot_discount(history, instance_type) or hint or ASSUMED_SPOT_DISCOUNT


def measured_spot_discount(history: Iterable[RunRecord], instance_type: str) -> SpotDiscount | None:
    """What Spot has saved on this type: 1 - billable / trained, over all attempts together.

    None before there are enough. An attempt that is open, had no machine, or of which SageMaker bills nothing (its
    own fault) says nothing of a discount.
    """
    past = [
        (attempt.trained_seconds, attempt.billable_seconds, attempt.ended_at)
        for run in history
        for attempt in run.attempts
        if (attempt.market, attempt.instance_type) == (Market.SPOT, instance_type)
        and attempt.ended_at
        and attempt.trained_seconds
        and attempt.billable_seconds
    ]
    if len(past) < FEWEST:
        return None
    trained, billable, ends = zip(*past, strict=True)
    return SpotDiscount(
        value=min(1.0, max(0.0, 1 - fsum(billable) / fsum(trained))),
        basis=Basis.MEASURED,
        words=f"measured: {len(past)} Spot attempts of this job on {instance_type}",
        date=max(ends).date(),
    )
