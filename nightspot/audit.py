"""What must be true of runs, training jobs and locks, and what repairs it where it is not. Pure.

The reconciler repairs what is found here, `nightspot audit` prints it, the simulator holds histories against it.
"""

from __future__ import annotations

from nightspot.costs import lacks_bill
from nightspot.run import Attempt, FailureClass, Run

# Refusals after which SageMaker may have made the training job all the same.
_DOUBTFUL = frozenset({FailureClass.SERVICE_FAULT, FailureClass.THROTTLED, FailureClass.UNKNOWN})


def is_doubtful(attempt: Attempt) -> bool:
    """Whether the attempt ended unseen, in a way that leaves open whether there is a training job of it."""
    return not attempt.is_open and not attempt.was_created and attempt.failure in _DOUBTFUL


def is_whole(run: Run) -> bool:
    """Whether the ledger of a run that is over lacks nothing: every attempt ended, every bill known."""
    return run.outcome is not None and not any(
        attempt.is_open or lacks_bill(attempt) or is_doubtful(attempt) for attempt in run.attempts
    )
