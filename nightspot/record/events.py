"""What in a decision is worth a word outside: the business events of a run, each one metric and one notice."""

from __future__ import annotations

from enum import StrEnum

from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Market
from nightspot.run.model import Action, Outcome, Run, Step


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
    STOP_REFUSED = "StopRefused"
    # By the state machine itself, because no function was able to: it tries again; it has given up.
    DECISION_FAILING = "DecisionFailing"
    DECISION_CRASHED = "DecisionCrashed"

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


# StopTrainingJob calls in a row that AWS refused before a person hears of it: a throttle is soon over.
REFUSED_STOPS = 3


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
    if _refused_stops(before) < REFUSED_STOPS <= _refused_stops(after):
        happened.append(Happening.STOP_REFUSED)
    if step.action is Action.START and step.rung is not None:
        # One that is in doubt and asked for again is no new attempt.
        is_new = all(attempt.number != step.attempt for attempt in before.attempts)
        happened.extend([Happening.ATTEMPT_STARTED] if is_new else [])
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
        Happening.STOP_REFUSED: _refused_stops(run) >= REFUSED_STOPS,
    }
    return tuple(happening for happening, has_happened in seen.items() if has_happened)


def _interruptions(run: Run) -> int:
    return sum(attempt.interruptions for attempt in run.attempts)


def _refused_stops(run: Run) -> int:
    return max((attempt.stop_faults for attempt in run.attempts), default=0)


def _unknown(run: Run) -> int:
    return sum(attempt.failure is FailureClass.UNKNOWN for attempt in run.attempts)
