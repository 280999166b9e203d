"""Plays simulated nights with the rule that is deployed: `rule.decide`, on situations made of the night itself.

Event-driven: time jumps to the next news of the training job or to the moment at which the rule wants to look
again. What the rule is told at a look is what it would be told of a ledger that had seen the same night: a test
plays thousands of nights both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from types import MappingProxyType
from typing import NamedTuple

from nightspot.decide.ladder import (
    MOST_ATTEMPTS,
    MOST_FRUITLESS_INTERRUPTIONS,
    SPREAD_FROM,
    Ladder,
    give_up_seconds,
)
from nightspot.decide.rule import STOPPING_LOOK_SECONDS, Decision, Situation, Terms, decide
from nightspot.job.markets import Fallback, Market
from nightspot.market.engine import SimulatedMachine
from nightspot.market.model import Doing, MarketAvailability, NightResult, Truth
from nightspot.run import estimates
from nightspot.run.model import Action, AttemptState, Run, Rung, evolve
from nightspot.run.reasons import Reason

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)  # when a plan that is played begins
MOST_DECISIONS = 5_000
NEVER = -inf
TRAINING, STOPPING = Doing.TRAINING, Doing.STOPPING
START, WATCH, STOP, FINISH = Action.START, Action.WATCH, Action.STOP, Action.FINISH
COMPLETED = Decision(FINISH, Reason.COMPLETED, 0)
STATES = {
    Doing.WAITING: AttemptState.WAITING,
    Doing.STARTING: AttemptState.STARTING,
    Doing.TRAINING: AttemptState.TRAINING,
}


class SimulationError(RuntimeError):
    """The night does not come to an end, or its plan is none that can be played."""


class SimulatedNight(NamedTuple):
    """A night, and what beside the truth the simulation needs to know.

    `markets`: Spot's availability by instance type, where it is not `truth.market`. `shows_pace`: the training
    script reports its steps and their length, so that the rule learns tonight's true work from the first checkpoint
    on; else it reports the fraction that is done. `on_decision` is told each decision, and its second.
    """

    truth: Truth
    markets: Mapping[str, MarketAvailability] = MappingProxyType({})
    shows_pace: bool = False
    with_spans: bool = False
    on_decision: Callable[[float, Decision], None] | None = None


class Planned:
    """Plays nights with one plan: `run`, the ledger before anything was asked for.

    Raises NightError for a plan with a budget, or one that begins with what another run has left.
    """

    def __init__(self, run: Run) -> None:
        if run.budget_usd is not None or run.left_out or run.attempts or run.progress:
            raise SimulationError(
                "a plan that is played has no budget, leaves no rung out, and begins with nothing"
            )
        # What a training does beside its steps, and that it stops early, is not played.
        self.run = evolve(run, overhead_seconds=0.0, steps_share=1.0)
        self.window_seconds = (run.deadline - run.started_at).total_seconds()
        self.give_up_seconds = give_up_seconds(run.work_upper_seconds)
        self.usd_per_hour = next((r.usd_per_hour for r in run.rungs if r.market is Market.ON_DEMAND), None)
        self.has_checkpoints = run.checkpoint_s3_uri is not None
        self.interval_seconds = estimates.interval_seconds(run)
        speeds = [rung.speed for rung in run.rungs if rung.market is Market.ON_DEMAND]
        self.fastest = (
            speeds[0] if len(speeds) == 1 else inf
        )  # of several, one may have to stand in for another
        self._terms: dict[tuple[object, ...], Terms] = {}  # by what was tried, while nothing wears out
        ladder = self.ladder((), run.work_upper_seconds)
        self.others = {rung.key: ladder.others(rung) for rung in run.rungs}
        self.first_terms = self.terms((), run.work_upper_seconds)

    def play(self, night: SimulatedNight) -> NightResult:
        """What becomes of the night. Raises NightError where it has no end, or ends without a model."""
        return _Played(self, night).to_the_end(night.on_decision)

    def ladder(self, tried: Sequence[_Job], work_seconds: float) -> Ladder:
        """The ladder after these jobs, with so much work left at speed 1."""
        run = self.run
        may_fall_back = run.fallback is not Fallback.NEVER
        return Ladder(
            run.rungs,
            run.rungs,
            tried,
            work_seconds,
            run.policy,
            may_fall_back,
            give_up_seconds=self.give_up_seconds,
        )

    def terms(
        self, jobs: Sequence[_Job], work_seconds: float, *, was_too_slow: bool = False, is_worn: bool = False
    ) -> Terms:
        """What the rule is told after these jobs. `is_worn`: one of them may have worn out."""
        tried = tuple((job.rung.key, job.ended_waiting, job.trained_seconds == 0) for job in jobs)
        terms = self._terms.get((was_too_slow, tried))
        if is_worn or terms is None:
            terms = self.ladder(jobs, work_seconds).terms(
                stop_seconds=self.run.stop_seconds,
                interval_seconds=self.interval_seconds,
                was_too_slow=was_too_slow,
            )
        if not is_worn:
            self._terms[was_too_slow, tried] = terms
        return terms


@dataclass(slots=True, eq=False)
class _Job:
    """A training job as its ledger would know it: see `Attempt`."""

    rung: Rung
    others: tuple[Rung, ...]  # to be asked for instead, while none has worn out
    asked_at: float
    safe_point: float
    trained_seconds: float = 0.0
    worked_seconds: float = 0.0
    interruptions: int = 0
    fruitless_interruptions: int = 0
    safe_seconds: float = 0.0
    ended_waiting: bool = False
    shows_pace: bool = False  # it has told how long a step takes


class _Played:
    """A night under way: the machine, the jobs, and what a ledger would know of both."""

    def __init__(self, planned: Planned, night: SimulatedNight) -> None:
        self._planned, self._truth, self._shows_pace = planned, night.truth, night.shows_pace
        self._has_checkpoints, self._true_seconds = planned.has_checkpoints, night.truth.work_seconds
        self.machine = SimulatedMachine(
            night.truth,
            markets=night.markets,
            usd_per_hour=planned.usd_per_hour,
            with_spans=night.with_spans,
        )
        self._window_seconds = planned.window_seconds
        self._jobs: list[_Job] = []
        self._terms = planned.first_terms
        self._stop_reason: Reason | None = None
        # Of a look: the work that survives whatever happens, when it was saved, and both as estimates have them.
        self._done, self._saved_at = 0.0, NEVER
        self._safe_point = 0.0
        self._looked_since = NEVER
        self._may_be_worn_out = False
        self._work_seconds = self._total_seconds = planned.run.work_upper_seconds
        self._expected_seconds = planned.run.work_seconds

    def to_the_end(self, on_decision: Callable[[float, Decision], None] | None) -> NightResult:
        """The accounts, once the model is there. See `Planned.play`."""
        machine, now, slow_news = self.machine, 0.0, self._truth.detection_seconds
        for _ in range(MOST_DECISIONS):
            while machine.until <= now:
                machine.move_on()
            decision = self._decided(now)
            if on_decision is not None:
                on_decision(now, decision)
            action = decision.action
            if action is FINISH:
                if decision is not COMPLETED:
                    raise SimulationError(f"no model: {decision.reason.value}")
                return machine.result()
            if action is not WATCH:
                self._act(decision, now)
            now = min(now + decision.wait_seconds, machine.news_at + slow_news)
        raise SimulationError(f"no end after {MOST_DECISIONS} decisions")

    def _decided(self, now: float) -> Decision:
        machine, left = self.machine, self._window_seconds - now
        if machine.finished_at is not None:
            return COMPLETED
        if not self._jobs:
            return decide(self._without_job(left))
        job = self._jobs[-1]
        self._look(job, now)
        if machine.rung is None:
            return self._started_again(left)
        if machine.doing is STOPPING:
            return self._while_stopping(left)
        return decide(self._situation(job, left, now))

    def _act(self, decision: Decision, now: float) -> None:
        machine = self.machine
        if decision.action is START and decision.rung is not None:
            job = _Job(
                rung=decision.rung,
                others=self._planned.others[decision.rung.key],
                asked_at=now,
                safe_point=self._safe_point,
            )
            self._jobs.append(job)
            machine.ask(decision.rung, now)
        elif decision.action is STOP:
            self._jobs[-1].ended_waiting = not machine.has_machine
            self._stop_reason = decision.reason
            machine.stop(now)

    def _look(self, job: _Job, now: float) -> None:
        """Know what DescribeTrainingJob and the progress file say at `now`."""
        machine = self.machine
        if not machine.has_machine and machine.since == self._looked_since:
            return  # nothing has happened since the last look
        self._looked_since = machine.since
        in_phase = now - machine.since if machine.has_machine else 0.0
        job.trained_seconds = machine.held_seconds + in_phase
        more, job.interruptions = machine.interruptions - job.interruptions, machine.interruptions
        done, saved_at = self._done, self._saved_at = machine.saved(now)
        # As `estimates.durable_fraction` and `durable.safe_point`.
        if saved_at == NEVER:
            job.worked_seconds = machine.worked_seconds + (in_phase if machine.doing is TRAINING else 0.0)
            fraction = estimates.trained_fraction(self._planned.run, self._jobs)
            point = fraction = fraction if self._has_checkpoints else 0.0
        else:
            point, fraction = int(done), done / self._true_seconds if self._has_checkpoints else 0.0
            if self._shows_pace and saved_at > job.asked_at:
                job.shows_pace = True
                self._see_pace(point)
        self._work_seconds = self._total_seconds * (1.0 - fraction)
        self._expected_seconds = self._planned.run.work_seconds * (1.0 - fraction)
        # As `durable.kept_work`.
        self._safe_point = point
        if point > job.safe_point:
            job.safe_point, job.safe_seconds, job.fruitless_interruptions = point, job.trained_seconds, 0
        elif more:
            job.fruitless_interruptions += more
            self._may_be_worn_out |= job.fruitless_interruptions >= MOST_FRUITLESS_INTERRUPTIONS

    def _see_pace(self, point: int) -> None:
        """As `estimates.total_work_seconds`: so many steps are safe, of which each takes a second at speed 1."""
        total = int(self._true_seconds)
        paced = estimates.paced_work_seconds(total)
        if not estimates.is_share(point, total, estimates.SETTLED_SHARE):
            paced = max(paced, self._planned.run.work_upper_seconds)
        self._total_seconds = paced

    def _while_stopping(self, left_seconds: float) -> Decision:
        """As `policy.next_step`: the stop may cost the deadline."""
        terms = self._planned.terms(self._jobs, self._work_seconds, is_worn=self._may_be_worn_out)
        situation = Situation(left_seconds, self._work_seconds, terms)
        repair = situation.repair()
        is_late = repair is not None and not situation.is_in_time(repair)
        return Decision(WATCH, Reason.STOPPING, STOPPING_LOOK_SECONDS, None, is_late)

    def _started_again(self, left_seconds: float) -> Decision:
        """What follows a job that was stopped."""
        planned = self._planned
        if len(self._jobs) >= MOST_ATTEMPTS:
            return Decision(FINISH, Reason.TOO_MANY_ATTEMPTS, 0)
        if left_seconds <= -planned.give_up_seconds:
            return Decision(FINISH, Reason.GAVE_UP, 0)
        self._terms = planned.terms(
            self._jobs,
            self._work_seconds,
            was_too_slow=self._stop_reason is Reason.TOO_SLOW,
            is_worn=self._may_be_worn_out,
        )
        return decide(self._without_job(left_seconds))

    def _without_job(self, left_seconds: float) -> Situation:
        expected = self._expected_seconds
        return Situation(left_seconds, self._work_seconds, self._terms, expected_work_seconds=expected)

    def _situation(self, job: _Job, left_seconds: float, now: float) -> Situation:
        planned, rung, doing, since = self._planned, job.rung, self.machine.doing, self.machine.since
        # As `estimates.running_left_seconds`.
        if job.shows_pace:
            running_left = max(0, int(self._true_seconds) - int(self._done)) / rung.speed
        else:
            running_left = self._work_seconds / rung.speed
        machine_seconds, checkpoint_in = running_left, 0.0
        if doing is TRAINING:
            saved_at, trained = self._saved_at, now - since
            if saved_at > job.asked_at:
                if saved_at > since:
                    trained = now - saved_at
                running_left -= trained
            elif saved_at != NEVER or not self._has_checkpoints:
                running_left -= trained
            if running_left < 0:
                running_left = 0.0
            if machine_seconds > self._work_seconds / planned.fastest:  # nothing else asks for it
                # As `estimates.checkpoint_in_seconds`.
                checkpoint_in = min(running_left, max(0.0, planned.interval_seconds - trained))
        others, is_worn_out, is_in_vain = job.others, False, False
        if self._may_be_worn_out or len(self._jobs) >= SPREAD_FROM:
            ladder = planned.ladder(self._jobs, self._work_seconds)
            others = ladder.others(rung)
            is_worn_out, is_in_vain = job in ladder.worn_out, ladder.is_in_vain(job)
        return Situation(
            left_seconds,
            self._work_seconds,
            self._terms,
            rung,
            STATES[doing],
            now - since,
            running_left,
            machine_seconds,
            checkpoint_in,
            others,
            is_worn_out,
            is_in_vain,
            self._expected_seconds,
        )
