"""How the steps of a run are put together."""

from __future__ import annotations

from datetime import datetime

from nightspot.run import Action, Attempt, Outcome, Run, Rung, Step

STOPPING_LOOK_SECONDS = 5 * 60  # StopTrainingJob takes two minutes and the upload
LEAST_SECONDS = 1  # Step Functions waits for whole seconds; what is nearer than one has come


def start(
    run: Run, now: datetime, rung: Rung, because: str, look_seconds: float, *, late: bool = False
) -> Step:
    """Ask for `rung`; look again after `look_seconds` at the latest.

    The number is the same for an attempt that is in doubt and asked for again as if it were not there.
    """
    return Step(
        number=run.steps + 1,
        at=now,
        action=Action.START,
        because=because,
        attempt=len(run.attempts) + 1,
        rung=rung,
        wait_seconds=_whole(look_seconds),
        late=late,
    )


def watch(
    run: Run, attempt: Attempt, now: datetime, seconds: float, because: str, *, late: bool = False
) -> Step:
    """Leave `attempt` alone for at most `seconds`."""
    return Step(
        number=run.steps + 1,
        at=now,
        action=Action.WATCH,
        because=because,
        attempt=attempt.number,
        training_job_name=attempt.training_job_name,
        wait_seconds=_whole(seconds),
        late=late,
    )


def stop(run: Run, attempt: Attempt, now: datetime, because: str, *, late: bool = False) -> Step:
    """Stop the training job of `attempt`."""
    return Step(
        number=run.steps + 1,
        at=now,
        action=Action.STOP,
        because=because,
        attempt=attempt.number,
        training_job_name=attempt.training_job_name,
        wait_seconds=STOPPING_LOOK_SECONDS,
        late=late,
    )


def pause(run: Run, now: datetime, seconds: float, because: str) -> Step:
    """Do nothing for `seconds`; nothing is open."""
    return Step(
        number=run.steps + 1,
        at=now,
        action=Action.PAUSE,
        because=because,
        wait_seconds=_whole(seconds),
    )


def finish(run: Run, now: datetime, outcome: Outcome, because: str) -> Step:
    """End the run."""
    return Step(number=run.steps + 1, at=now, action=Action.FINISH, because=because, outcome=outcome)


def _whole(seconds: float) -> int:
    # Down, so that a wait for a last safe moment ends before it and not behind.
    return max(LEAST_SECONDS, int(seconds + 1e-6))
