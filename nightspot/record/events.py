"""What in a decision is worth a word outside: the business events of a run, each one metric and one notice."""

from __future__ import annotations

from enum import StrEnum

from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Market
from nightspot.run.model import Action, Outcome, Run, Step


class RunEvent(StrEnum):
    """A business event. The value is the metric's name; the notice's detail type is made from it."""

    RUN_STARTED = "RunStarted"
    NO_SPOT_PLANNED = "NoSpotPlanned"  # because of what past runs teach
    ATTEMPT_STARTED = "AttemptStarted"
    INTERRUPTED = "Interrupted"
    FELL_BACK = "FellBack"
    AT_RISK = "AtRiskOfBeingLate"
    UNKNOWN_FAILURE = "UnknownFailure"
    RESUME_BROKEN = "ResumeBroken"
    PROGRESS_UNREADABLE = "ProgressUnreadable"  # AWS refuses to show it
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
    Outcome.SUCCEEDED: RunEvent.RUN_SUCCEEDED,
    Outcome.FAILED: RunEvent.RUN_FAILED,
    Outcome.SKIPPED: RunEvent.RUN_SKIPPED,
    Outcome.STOPPED: RunEvent.RUN_STOPPED,
    Outcome.REFUSED: RunEvent.RUN_REFUSED,
}


# StopTrainingJob calls in a row that AWS refused before a person hears of it: a throttle is soon over.
REFUSED_STOPS = 3


def between(before: Run, after: Run, step: Step) -> tuple[RunEvent, ...]:
    """What came to light between two ledgers, and what the step makes happen.

    How a run ends is told with its outcome, see `OF_OUTCOME`.
    """
    happened: list[RunEvent] = []
    if _interruptions(after) > _interruptions(before):
        happened.append(RunEvent.INTERRUPTED)
    if _unknown(after) > _unknown(before):
        happened.append(RunEvent.UNKNOWN_FAILURE)
    if after.resume_is_broken and not before.resume_is_broken:
        happened.append(RunEvent.RESUME_BROKEN)
    if after.progress_unreadable and not before.progress_unreadable:
        happened.append(RunEvent.PROGRESS_UNREADABLE)
    if _refused_stops(before) < REFUSED_STOPS <= _refused_stops(after):
        happened.append(RunEvent.STOP_REFUSED)
    if step.action is Action.START and step.rung is not None:
        # One that is in doubt and asked for again is no new attempt.
        is_new = all(attempt.number != step.attempt for attempt in before.attempts)
        happened.extend([RunEvent.ATTEMPT_STARTED] if is_new else [])
        if step.rung.market is Market.ON_DEMAND and before.rungs_of(Market.SPOT):
            told = any(a.rung.market is Market.ON_DEMAND for a in before.attempts)
            happened.extend([] if told else [RunEvent.FELL_BACK])
    if step.late and not before.said_late:
        happened.append(RunEvent.AT_RISK)
    return tuple(happened)


def of_run(run: Run) -> tuple[RunEvent, ...]:
    """What has come to light in the whole of a run, each once; how it ended is told with its outcome."""
    on_demand = any(attempt.rung.market is Market.ON_DEMAND for attempt in run.attempts)
    seen = {
        RunEvent.INTERRUPTED: _interruptions(run) > 0,
        RunEvent.FELL_BACK: on_demand and bool(run.rungs_of(Market.SPOT)),
        RunEvent.NO_SPOT_PLANNED: run.limited_by is not None and run.limited_by.is_new,
        RunEvent.AT_RISK: run.said_late,
        RunEvent.UNKNOWN_FAILURE: _unknown(run) > 0,
        RunEvent.RESUME_BROKEN: run.resume_is_broken,
        RunEvent.PROGRESS_UNREADABLE: run.progress_unreadable is not None,
        RunEvent.STOP_REFUSED: _refused_stops(run) >= REFUSED_STOPS,
    }
    return tuple(run_event for run_event, has_happened in seen.items() if has_happened)


def _interruptions(run: Run) -> int:
    return sum(attempt.interruptions for attempt in run.attempts)


def _refused_stops(run: Run) -> int:
    return max((attempt.stop_faults for attempt in run.attempts), default=0)


def _unknown(run: Run) -> int:
    return sum(attempt.failure is FailureClass.UNKNOWN for attempt in run.attempts)
