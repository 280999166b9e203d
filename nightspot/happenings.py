"""What in a decision is worth a word outside: the business events of a run, each one metric and one notice."""

from __future__ import annotations

from enum import StrEnum

from nightspot.job import Market
from nightspot.run import Action, FailureClass, Outcome, Run, Step


class Happening(StrEnum):
    """A business event. The value is the metric's name; the notice's detail type is made from it."""

    RUN_STARTED = "RunStarted"
    ATTEMPT_STARTED = "AttemptStarted"
    INTERRUPTED = "Interrupted"
    FELL_BACK = "FellBack"
    AT_RISK = "AtRiskOfBeingLate"
    UNKNOWN_FAILURE = "UnknownFailure"
    RESUME_BROKEN = "ResumeBroken"
    RUN_SUCCEEDED = "RunSucceeded"
    RUN_FAILED = "RunFailed"
    RUN_SKIPPED = "RunSkipped"
    RUN_STOPPED = "RunStopped"
    RUN_REFUSED = "RunRefused"
    DECISION_CRASHED = "DecisionCrashed"  # told by the state machine itself: no function was able to

    @property
    def detail_type(self) -> str:
        """ "Nightspot Run Started": EventBridge's detail-type."""
        spaced = "".join(f" {c}" if c.isupper() else c for c in self.value)
        return f"Nightspot{spaced}"


OF_OUTCOME = {
    Outcome.SUCCEEDED: Happening.RUN_SUCCEEDED,
    Outcome.FAILED: Happening.RUN_FAILED,
    Outcome.SKIPPED: Happening.RUN_SKIPPED,
    Outcome.STOPPED: Happening.RUN_STOPPED,
    Outcome.REFUSED: Happening.RUN_REFUSED,
}


def between(before: Run, after: Run, step: Step) -> tuple[Happening, ...]:
    """What came to light between two ledgers, and what the step makes happen.

    How a run ends is told with its outcome, see `OF_OUTCOME`.
    """
    happened: list[Happening] = []
    if _interruptions(after) > _interruptions(before):
        happened.append(Happening.INTERRUPTED)
    if _unknown(after) > _unknown(before):
        happened.append(Happening.UNKNOWN_FAILURE)
    if after.resume_is_broken and not before.resume_is_broken:
        happened.append(Happening.RESUME_BROKEN)
    if step.action is Action.START and step.rung is not None:
        happened.append(Happening.ATTEMPT_STARTED)
        if step.rung.market is Market.ON_DEMAND and before.rungs_of(Market.SPOT):
            told = any(a.rung.market is Market.ON_DEMAND for a in before.attempts)
            happened.extend([] if told else [Happening.FELL_BACK])
    if step.late and not before.said_late:
        happened.append(Happening.AT_RISK)
    return tuple(happened)


def of_run(run: Run) -> tuple[Happening, ...]:
    """What has come to light in the whole of a run, each once; how it ended is told with its outcome."""
    on_demand = any(attempt.rung.market is Market.ON_DEMAND for attempt in run.attempts)
    seen = {
        Happening.INTERRUPTED: _interruptions(run) > 0,
        Happening.FELL_BACK: on_demand and bool(run.rungs_of(Market.SPOT)),
        Happening.AT_RISK: run.said_late,
        Happening.UNKNOWN_FAILURE: _unknown(run) > 0,
        Happening.RESUME_BROKEN: run.resume_is_broken,
    }
    return tuple(happening for happening, has_happened in seen.items() if has_happened)


def _interruptions(run: Run) -> int:
    return sum(attempt.interruptions for attempt in run.attempts)


def _unknown(run: Run) -> int:
    return sum(attempt.failure is FailureClass.UNKNOWN for attempt in run.attempts)
