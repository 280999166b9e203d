"""Plays a simulated night through the ledger: `policy.next_step` on the ledger's own types, as the Lambda does.

What the ledger says at a look is what a fold of DescribeTrainingJob and of the progress file would have said then:
a test holds the two against each other. Slow: `nightspot.market.night` plays the same without a ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from math import inf

from nightspot.decide import durable, ledger
from nightspot.decide.policy import next_step
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Market
from nightspot.market.engine import SimulatedMachine
from nightspot.market.model import Doing, NightResult
from nightspot.market.night import MIDNIGHT, MOST_DECISIONS, SimulatedNight, SimulationError
from nightspot.run.model import Action, Attempt, AttemptState, Outcome, Progress, Run, Step, evolve

_OF_DOING = {
    Doing.WAITING: AttemptState.WAITING,
    Doing.STARTING: AttemptState.STARTING,
    Doing.TRAINING: AttemptState.TRAINING,
    Doing.STOPPING: AttemptState.STOPPING,
}


def moment(seconds: float) -> datetime:
    """The time so long after the night's start."""
    return MIDNIGHT + timedelta(seconds=seconds)


def play_through_ledger(
    run: Run, night: SimulatedNight, on_step: Callable[[Step], None] = lambda _step: None
) -> NightResult:
    """What the policy of `run` (as planned; it starts at `MIDNIGHT`) makes of the night.

    `on_step` is told each decision. Raises NightError where the run decides without end, or ends without a model.
    """
    return ledger_of_night(run, night, on_step)[1]


def ledger_of_night(
    run: Run,
    night: SimulatedNight,
    on_step: Callable[[Step], None] = lambda _step: None,
    fold: Callable[[Run, Run], Run] = lambda _before, run: run,
) -> tuple[Run, NightResult]:
    """The same, with the ledger as it stands at the end. `fold` (ledger before a look, and after it) adds to it."""
    world = _World(run, night)
    now = 0.0
    for _ in range(MOST_DECISIONS):
        run = fold(run, world.look(run, now))
        step = next_step(run, moment(now))
        on_step(step)
        run = ledger.book(run, step, f"job-{step.attempt}" if step.action is Action.START else None)
        if step.action is Action.FINISH:
            if step.outcome is not Outcome.SUCCEEDED:
                raise SimulationError(f"no model: {step.because}")
            return run, world.machine.result()
        world.act(step, now)
        now = min(now + (step.wait_seconds or 0), max(now, world.next_news_seconds()))
    raise SimulationError(f"no end after {MOST_DECISIONS} decisions")


class _World:
    """SageMaker with at most one training job at a time."""

    def __init__(self, run: Run, night: SimulatedNight) -> None:
        prices = [rung.usd_per_hour for rung in run.rungs if rung.market is Market.ON_DEMAND]
        self._night, self._truth = night, night.truth
        self.machine = SimulatedMachine(
            night.truth,
            markets=night.markets,
            usd_per_hour=prices[0] if prices else None,
            with_spans=True,
        )
        self._asked_at = 0.0  # the job that there is
        self._had_machine = False  # when it was stopped

    def act(self, step: Step, now: float) -> None:
        """Do what was decided at `now`."""
        machine = self.machine
        if step.action is Action.START and step.rung is not None:
            self._asked_at = now
            machine.ask(step.rung, now)
        elif step.action is Action.STOP and machine.doing is not Doing.STOPPING:
            self._had_machine = machine.has_machine
            machine.stop(now)

    def next_news_seconds(self) -> float:
        """When somebody is woken next: a while after training begins or ends, or the job."""
        return self.machine.news_at + self._truth.detection_seconds

    def look(self, run: Run, now: float) -> Run:
        """The ledger at `now`, after everything that has happened until then."""
        machine = self.machine
        while machine.until <= now:
            machine.move_on()
        if run.open_attempt is None:
            return run
        known, progress = run.attempts[-1], self._progress(run.attempts[-1], now)
        attempt = self._attempt(known, progress, now)
        run = evolve(run, attempts=(*run.attempts[:-1], attempt), progress=progress)
        run = durable.with_long_stretch(run)
        counted = durable.kept_work(run.attempts[-1], known.interruptions, durable.safe_point(run))
        return run if counted is run.attempts[-1] else run.with_attempt(counted)

    def _progress(self, attempt: Attempt, now: float) -> Progress | None:
        """The progress file at `now`; None before the first checkpoint."""
        done, saved_at = self.machine.saved(now)
        if saved_at == -inf:
            return None
        shows, is_own = self._night.shows_pace, saved_at > self._asked_at
        return Progress(
            step=int(done),
            saved_at=moment(saved_at),
            total_steps=int(self._truth.work_seconds) if shows else None,
            fraction=done / self._truth.work_seconds,
            seconds_per_step=1 / attempt.rung.speed if shows and is_own else None,
            attempt=attempt.number if is_own else attempt.number - 1,
        )

    def _attempt(self, attempt: Attempt, progress: Progress | None, now: float) -> Attempt:
        """What DescribeTrainingJob and the progress file would have the ledger say."""
        machine = self.machine
        pace = progress.seconds_per_step if progress is not None else None
        pace = attempt.seconds_per_step if pace is None else pace
        is_finished = machine.finished_at is not None
        is_over = is_finished or machine.rung is None
        holding = now - machine.since if machine.has_machine and not is_over else 0.0
        return evolve(
            attempt,
            state=AttemptState.ENDED if is_over else _OF_DOING[machine.doing],
            state_since=moment(machine.since),
            status="InProgress" if not is_over else "Completed" if is_finished else "Stopped",
            ended_at=moment(machine.finished_at or machine.since) if is_over else None,
            failure=FailureClass.STOPPED_BY_NIGHTSPOT if is_over and not is_finished else None,
            ended_waiting=is_over and not is_finished and not self._had_machine,
            trained_seconds=machine.held_seconds + holding,
            worked_seconds=machine.worked_seconds + (holding if machine.doing is Doing.TRAINING else 0.0),
            interruptions=machine.interruptions,
            queued_seconds=self._first(Doing.STARTING),
            ready_seconds=self._first(Doing.TRAINING),
            seconds_per_step=pace,
            best_seconds_per_step=pace,
        )

    def _first(self, doing: Doing) -> float | None:
        """How long after the asking the job was first seen to do that; None: it never was."""
        starts = [span.start_seconds for span in self.machine.spans if span.doing is doing]
        if self.machine.doing is doing and self.machine.finished_at is None:
            starts.append(self.machine.since)
        own = (start - self._asked_at for start in starts if start >= self._asked_at)
        return min(own, default=None)
