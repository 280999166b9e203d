"""What past runs teach of machines: how long they are waited for, start and live, and what Spot saves.

Before there is enough to learn from, the job file's own figures stand. What they teach of the work is in `work`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, fsum
from typing import TYPE_CHECKING

from nightspot.job.markets import Market
from nightspot.learn.estimators import (
    ENOUGH,
    FEWEST,
    MOST_ODD_SHARE,
    Wait,
    common_limit,
    upper_limit,
    wait_limit,
)
from nightspot.record.model import AttemptRecord, RunRecord
from nightspot.run.pricing import ASSUMED_SPOT_DISCOUNT, Basis, SpotDiscount

if TYPE_CHECKING:
    from nightspot.job.model import InstanceType, Job

LEARNT_FROM = 60  # runs with attempts: two months of nights
DEFAULT_PATIENCE_SECONDS = 30 * 60
SHORTEST_PATIENCE_SECONDS = 10 * 60
LONGEST_PATIENCE_SECONDS = 2 * 3600
PATIENCE_QUANTILE = 0.9


@dataclass(frozen=True)
class LearntStart:
    """A change-over in seconds, and what it rests on; nothing: the job file's figure stands."""

    seconds: int
    starts: int = 0  # that came to training
    cut_short: int = 0  # waits that were ended before a machine came
    longest: RunRecord | None = None  # the run whose start sets the limit
    odd: tuple[RunRecord, ...] = ()  # those whose starts are so far above the rest that they have no say


@dataclass(frozen=True)
class _Start:
    """What one run saw of a rung: from the first asking to training, or to the end of a wait for nothing."""

    run: RunRecord
    wait: Wait  # for a machine
    ready_seconds: float | None  # from the asking to training; None: it never came


def teaches(run: RunRecord) -> bool:
    """Whether plans learn from the run: one that asked for no training job has nothing to tell."""
    return bool(run.attempts) and not run.forgotten


def start_of(
    job: Job, market: Market, spec: InstanceType, history: Iterable[RunRecord], spare_seconds: float
) -> LearntStart:
    """The change-over of a type of the job's ladder; `spare_seconds` at speed 1, see `change_over`."""
    stated = job.change_over.of(market)
    return change_over(history, market, spec.instance_type, stated, spare_seconds / spec.speed)


def change_over(
    history: Iterable[RunRecord],
    market: Market,
    instance_type: str,
    stated_seconds: int,
    spare_seconds: float = 0.0,
) -> LearntStart:
    """From the asking to the first step of training.

    On-demand: an upper limit, because the deadline hangs on it; a wait that was ended without a machine would have
    taken longer still. Spot: the lower quartile, a start that had its machine at once; a Spot start that takes
    longer is given up in time, so that nothing hangs on it but money.

    `spare_seconds`: what the learnt work is shorter than the job file's. A few odd starts take no more than that of
    the time that the job file's figures would leave to Spot.
    """
    starts = list(_starts(history, market, instance_type))
    ready = [start for start in starts if start.ready_seconds]
    past = [start.ready_seconds or 0.0 for start in ready]
    cut_short = [start for start in starts if not start.wait.came]
    if market is Market.SPOT:
        if len(past) < FEWEST:
            return LearntStart(stated_seconds)
        return LearntStart(ceil(sorted(past)[len(past) // 4]), len(past), len(cut_short))
    learnt = LearntStart(stated_seconds)
    cap = stated_seconds + max(0.0, spare_seconds)
    if len(past) >= FEWEST:
        limit = upper_limit(past, cap)
        used = [n for n in range(len(past)) if n not in limit.odd]
        slowest = ready[max(used, key=lambda n: past[n])].run
        odd = tuple(ready[n].run for n in limit.odd)
        learnt = LearntStart(ceil(limit.value), len(past), len(cut_short), slowest, odd)
    longer = [start for start in cut_short if start.wait.seconds > learnt.seconds]
    if len(starts) < FEWEST or len(longer) <= MOST_ODD_SHARE * len(starts):
        return learnt
    # More than exceptions: they are lower bounds of what a start can take.
    bound = common_limit([start.wait.seconds for start in longer])
    longest = next(start.run for start in longer if start.wait.seconds == bound)
    seconds = bound if len(starts) >= ENOUGH else min(bound, max(cap, learnt.seconds))
    return replace(learnt, seconds=ceil(seconds), cut_short=len(cut_short), longest=longest)


def change_over_seconds(
    history: Iterable[RunRecord], market: Market, instance_type: str, stated_seconds: int
) -> int:
    """The seconds of `change_over`."""
    return change_over(history, market, instance_type, stated_seconds).seconds


def _starts(history: Iterable[RunRecord], market: Market, instance_type: str) -> Iterator[_Start]:
    """What each run saw of a rung: attempts on it that follow each other without a machine are one wait."""
    for run in history:
        row: list[AttemptRecord] = []
        for attempt in () if run.forgotten else run.attempts:
            is_on_it = (attempt.market, attempt.instance_type) == (market, instance_type)
            if is_on_it:
                row.append(attempt)
            if row and (not is_on_it or _has_come(attempt) or attempt is run.attempts[-1]):
                # A request that was refused has no status, and never queued.
                if any(each.status is not None for each in row):
                    yield _start_of(run, row)
                row = []


def _has_come(attempt: AttemptRecord) -> bool:
    return attempt.queued_seconds is not None or attempt.ready_seconds is not None


def _start_of(run: RunRecord, row: Sequence[AttemptRecord]) -> _Start:
    last = row[-1]
    before = max(0.0, (last.asked_at - row[0].asked_at).total_seconds())
    if not _has_come(last):
        return _Start(run, Wait(before + (last.waited_seconds or 0.0), came=False), None)
    ready = None if last.ready_seconds is None else before + last.ready_seconds
    return _Start(run, Wait(before + (last.queued_seconds or last.ready_seconds or 0.0), came=True), ready)


def mean_life_seconds(history: Iterable[RunRecord], instance_type: str) -> float | None:
    """How long a Spot machine of this type lives, on average: what was trained over what was taken back.

    Where it is short, checkpoints pay more often (`nightspot.checkpoint.core.schedule`). None before there is
    enough.
    """
    past = list(attempts_on(history, Market.SPOT, instance_type))
    trained = sum(attempt.trained_seconds or 0.0 for attempt in past)
    taken = sum(attempt.interruptions for attempt in past)
    return trained / taken if len(past) >= FEWEST and taken and trained else None


def patience_seconds(history: Iterable[RunRecord], market: Market, instance_type: str) -> int:
    """How long to wait for a machine of this type before the next one gets its turn.

    Nine in ten machines have come by then, the waits that were ended too early to see theirs counted in. A type
    that was tried often and never came gets the shortest patience. Half an hour before there is enough to go by.
    """
    waits = [start.wait for start in _starts(history, market, instance_type)]
    if len(waits) < FEWEST:
        return DEFAULT_PATIENCE_SECONDS
    wait = wait_limit(waits, PATIENCE_QUANTILE)
    if wait is None:
        return SHORTEST_PATIENCE_SECONDS
    return round(min(max(wait, SHORTEST_PATIENCE_SECONDS), LONGEST_PATIENCE_SECONDS))


def attempts_on(history: Iterable[RunRecord], market: Market, instance_type: str) -> Iterator[AttemptRecord]:
    """The attempts on a rung; a request that was refused has no status and never queued."""
    for run in history:
        for attempt in () if run.forgotten else run.attempts:
            if (attempt.market, attempt.instance_type) == (
                market,
                instance_type,
            ) and attempt.status is not None:
                yield attempt


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
        for attempt in (() if run.forgotten else run.attempts)
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
