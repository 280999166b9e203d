"""How long a run pauses before it asks again, and which faults are final."""

from __future__ import annotations

import zlib
from datetime import datetime, timedelta

from nightspot.decide import ladder
from nightspot.failures.classes import FailureClass
from nightspot.failures.classify import Answer
from nightspot.job import Market
from nightspot.run.model import Attempt, Run

CAPACITY_PAUSE_SECONDS = (5 * 60, 10 * 60, 20 * 60)
REFUSED_CALL_PAUSE_SECONDS = (15, 30, 60, 120, 240, 300)  # after CreateTrainingJob and StopTrainingJob
# A start that has been in doubt for half an hour is no longer in a hurry, and every call costs four transitions.
LONG_DOUBT_CALLS, LONG_DOUBT_PAUSE_SECONDS = 10, 900
SERVICE_FAULT_PAUSE_SECONDS = 60
MOST_SERVICE_FAULTS = 2
NO_MACHINE = frozenset({FailureClass.NO_CAPACITY, FailureClass.QUOTA_TEMPORARY, FailureClass.WAIT_LIMIT})


def is_final_fault(run: Run, last: Attempt) -> bool:
    """True where a service fault must not be answered again: the third, or the same one in the same phase."""
    faults = [a for a in run.attempts if a.failure is FailureClass.SERVICE_FAULT]
    same = [
        a
        for a in faults
        if a.failed_in == last.failed_in and a.failure_reason == last.failure_reason and a.failed_in
    ]
    return len(faults) > MOST_SERVICE_FAULTS or len(same) > 1


def pause_left(run: Run, last: Attempt, answer: Answer, now: datetime) -> float:
    """Seconds until the next start may come; a pause never outlasts the last safe moment for Spot."""
    # A wait that ran out was a pause itself.
    since = last.asked_at if last.failure is FailureClass.WAIT_LIMIT else last.ended_at or now
    until = since + timedelta(seconds=_pause_seconds(run, last, answer))
    if last.rung.market is Market.SPOT:
        until = min(until, ladder.spot_leave_at(run, last.rung, ladder.repair_rung(run, now)))
    return (until - now).total_seconds()


def stop_pause_seconds(attempt: Attempt) -> float:
    """How long after a StopTrainingJob that AWS refused it is called again."""
    return _growing(attempt.stop_faults)


def ask_pause_left(run: Run, attempt: Attempt, now: datetime) -> float:
    """Seconds until CreateTrainingJob is called again for an attempt that is in doubt.

    The pause never outlasts the last safe moment for Spot: then the same attempt asks for on-demand.
    """
    calls = attempt.doubt.calls if attempt.doubt else 0
    pause = LONG_DOUBT_PAUSE_SECONDS if calls > LONG_DOUBT_CALLS else _growing(calls)
    until = attempt.last_asked_at + timedelta(seconds=_jittered(pause, attempt))
    if attempt.rung.market is Market.SPOT:
        until = min(until, ladder.spot_leave_at(run, attempt.rung, ladder.repair_rung(run, now)))
    return (until - now).total_seconds()


def _growing(faults: int) -> float:
    return float(REFUSED_CALL_PAUSE_SECONDS[min(max(faults, 1), len(REFUSED_CALL_PAUSE_SECONDS)) - 1])


def _jittered(longest: float, attempt: Attempt) -> float:
    # Jitter without randomness, so that the decision stays pure: half to whole, by the training job's name.
    return longest * (0.5 + zlib.crc32(attempt.training_job_name.encode()) % 1000 / 2000)


def _pause_seconds(run: Run, last: Attempt, answer: Answer) -> float:
    """How long after the failure the next start may come."""
    if answer is Answer.BACK_OFF:
        return _jittered(_growing(_trailing(run, frozenset({FailureClass.THROTTLED}))), last)
    if answer is Answer.RETRY:
        return SERVICE_FAULT_PAUSE_SECONDS
    if last.failure in NO_MACHINE and (last.failure is not FailureClass.WAIT_LIMIT or last.ended_waiting):
        row = _trailing(run, NO_MACHINE)
        rungs = len(ladder.ladder_of(run).eligible(last.rung.market)) or 1
        rounds, rest = divmod(row, rungs)
        if rest == 0:
            return CAPACITY_PAUSE_SECONDS[min(rounds, len(CAPACITY_PAUSE_SECONDS)) - 1]
    return 0


def _trailing(run: Run, failures: frozenset[FailureClass]) -> int:
    """How many of the newest attempts on end failed so, back to one that trained; the newest is the first."""
    row = 1
    for attempt, newer in zip(run.attempts[-2::-1], run.attempts[::-1], strict=False):
        if attempt.failure not in failures or newer.trained_seconds > 0:
            break
        row += 1
    return row
