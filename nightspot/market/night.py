"""Plays one simulated night with the policy that is deployed: `policy.next_step` on the ledger's own types.

Event-driven: time jumps to the next news of the training job or to the moment at which the policy wants to look
again. What the ledger says at a look is what a fold of DescribeTrainingJob and of the progress file would have said
then; a test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import inf

from nightspot.decide import ledger
from nightspot.decide.policy import next_step
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Market
from nightspot.market.availability import Availability
from nightspot.market.model import Doing, NightResult, Span, Truth, changeover, durable
from nightspot.run.model import Action, Attempt, AttemptState, Outcome, Progress, Run, Rung, Step, evolve

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
MOST_DECISIONS = 5_000

_OF_DOING = {
    Doing.WAITING: AttemptState.WAITING,
    Doing.STARTING: AttemptState.STARTING,
    Doing.TRAINING: AttemptState.TRAINING,
    Doing.STOPPING: AttemptState.STOPPING,
}


class NightError(RuntimeError):
    """The night does not come to an end."""


@dataclass(frozen=True)
class Night:
    """A night, and what beside the truth the simulation needs to know.

    `markets`: Spot's availability by instance type, where it is not `truth.market`. `shows_pace`: the training
    script reports its steps and their length, so that the policy learns tonight's true work from the first
    checkpoint on; else it reports the fraction that is done. `on_step` is told each decision.
    """

    truth: Truth
    markets: Mapping[str, Availability] = field(default_factory=dict)
    shows_pace: bool = False
    with_spans: bool = False
    on_step: Callable[[Step], None] = lambda _step: None


def moment(seconds: float) -> datetime:
    """The time so long after the night's start."""
    return MIDNIGHT + timedelta(seconds=seconds)


def play_night(run: Run, night: Night) -> NightResult:
    """What the policy of `run` (as planned; it starts at `MIDNIGHT`) makes of the night.

    Raises NightError where the run decides without end, or ends without a model.
    """
    world = _World(run, night)
    now = 0.0
    for _ in range(MOST_DECISIONS):
        run = world.look(run, now)
        step = next_step(run, moment(now))
        night.on_step(step)
        name = None
        if step.action is Action.START:
            name = f"job-{step.attempt}"
        run = ledger.book(run, step, name)
        if step.action is Action.FINISH:
            if step.outcome is not Outcome.SUCCEEDED:
                raise NightError(f"no model: {step.because}")
            return world.result()
        world.act(step, now)
        now = min(now + (step.wait_seconds or 0), max(now, world.next_news_seconds()))
    raise NightError(f"no end after {MOST_DECISIONS} decisions")


@dataclass
class _Job:
    """The training job that there is, in its present phase."""

    number: int
    rung: Rung
    asked_at: float
    doing: Doing = Doing.WAITING
    since: float = 0.0  # when the phase began
    until: float = inf  # when it ends by itself
    lost_at: float = inf  # when the machine will be taken back
    completes: bool = False  # the phase ends as it should, not by a reclaim
    interruptions: int = 0
    held_seconds: float = 0.0  # with a machine, in phases that are over
    worked_seconds: float = 0.0  # of them in training
    machine_at: float | None = None  # the first one
    ready_at: float | None = None  # the first training
    stopped_with_machine: bool = False
    is_finished: bool = False  # with the model
    ended_at: float | None = None

    @property
    def has_machine(self) -> bool:
        return self.doing in (Doing.STARTING, Doing.TRAINING) or self.stopped_with_machine


class _World:
    """SageMaker with at most one training job at a time, and the accounts of the night."""

    def __init__(self, run: Run, night: Night) -> None:
        self._night = night
        self._truth = night.truth
        self._price = next((r.usd_per_hour for r in run.rungs if r.market is Market.ON_DEMAND), None)
        self._job: _Job | None = None
        self._launches = {Market.SPOT: 0, Market.ON_DEMAND: 0}
        self._done = 0.0  # durable work, in seconds at speed 1
        self._saved_at = 0.0
        self._saved_by: int | None = None
        self._cost = 0.0
        self._paid = {Market.SPOT: 0.0, Market.ON_DEMAND: 0.0}
        self._waited = 0.0
        self._interruptions = 0
        self._spans: list[Span] = []

    def act(self, step: Step, now: float) -> None:
        """Do what was decided at `now`."""
        job = self._job
        if step.action is Action.START and step.rung is not None and step.attempt is not None:
            self._job = _Job(step.attempt, step.rung, asked_at=now)
            self._queue(self._job, now)
        elif step.action is Action.STOP and job is not None and job.doing is not Doing.STOPPING:
            self._end_phase(job, now)
            job.stopped_with_machine = job.has_machine
            job.doing, job.since, job.until = Doing.STOPPING, now, now + self._truth.stop_seconds

    def next_news_seconds(self) -> float:
        """When somebody is woken next: a while after training begins or ends, or the job."""
        job = self._job
        if job is None or job.ended_at is not None or job.until == inf:
            return inf
        at = job.until
        if job.doing is Doing.WAITING:
            # A machine alone wakes nobody.
            at = min(at + self._changeover(job.rung), self._lost_at(job.rung, at))
        return at + self._truth.detection_seconds

    def look(self, run: Run, now: float) -> Run:
        """The ledger at `now`, after everything that has happened until then."""
        job = self._job
        if job is None or not run.attempts[-1].is_open:
            return run
        while job.ended_at is None and job.until <= now:
            self._move_on(job)
        progress = self._progress(job, now)
        known = run.attempts[-1]
        run = evolve(
            run, attempts=(*run.attempts[:-1], self._attempt(known, job, progress, now)), progress=progress
        )
        counted = ledger.fruits(run.attempts[-1], known.interruptions, ledger.safe_point(run))
        return run if counted is run.attempts[-1] else run.with_attempt(counted)

    def result(self) -> NightResult:
        """The accounts, once the model is there."""
        finished = (self._job.ended_at if self._job else None) or 0.0
        return NightResult(
            cost=self._cost,
            finished_seconds=finished,
            late=self._truth.is_late(finished),
            interruptions=self._interruptions,
            launches=sum(self._launches.values()),
            on_demand_seconds=self._paid[Market.ON_DEMAND],
            spot_seconds=self._paid[Market.SPOT],
            waited_seconds=self._waited,
            spans=tuple(self._spans),
        )

    def _move_on(self, job: _Job) -> None:
        """End the phase of `job` where it ends by itself, and begin the next."""
        at, doing, completes = job.until, job.doing, job.completes
        self._end_phase(job, at)
        if doing is Doing.STOPPING:
            job.ended_at = at
        elif doing is Doing.WAITING:
            self._start_up(job, at)
        elif doing is Doing.STARTING and completes:
            self._train(job, at)
        elif doing is Doing.TRAINING and completes:
            self._done, job.is_finished, job.ended_at = self._truth.work_seconds, True, at
        else:
            job.interruptions += 1
            self._interruptions += 1
            self._queue(job, at)

    def _queue(self, job: _Job, at: float) -> None:
        job.doing, job.since = Doing.WAITING, at
        if job.rung.market is Market.SPOT:
            job.until = self._market(job.rung).next_up_from(at)
        else:
            queue = self._truth.on_demand_queue_seconds
            job.until = at + changeover(queue, self._launches[Market.ON_DEMAND])

    def _start_up(self, job: _Job, at: float) -> None:
        ready_at = at + self._changeover(job.rung)
        self._launches[job.rung.market] += 1
        job.doing, job.since, job.lost_at = Doing.STARTING, at, self._lost_at(job.rung, at)
        job.until, job.completes = min(ready_at, job.lost_at), ready_at < job.lost_at
        if job.machine_at is None:
            job.machine_at = at

    def _train(self, job: _Job, at: float) -> None:
        done_at = at + (self._truth.work_seconds - self._done) / job.rung.speed
        job.doing, job.since = Doing.TRAINING, at
        job.until, job.completes = min(done_at, job.lost_at), done_at <= job.lost_at
        if job.ready_at is None:
            job.ready_at = at

    def _end_phase(self, job: _Job, at: float) -> None:
        """Book what `job` has done since its phase began; what was not saved by `at` is lost."""
        seconds = at - job.since
        if job.doing is Doing.TRAINING:
            self._done, self._saved_at, self._saved_by = self._saved(job, at)
        if not job.has_machine:
            self._waited += seconds
        elif seconds > 0:
            job.held_seconds += seconds
            job.worked_seconds += seconds if job.doing is Doing.TRAINING else 0.0
            self._paid[job.rung.market] += seconds
            self._cost += seconds / 3600 * self._usd_per_hour(job, at)
        if self._night.with_spans and seconds > 0:
            market = job.rung.market.value if job.has_machine else None
            self._spans.append(Span(job.since, at, market, job.doing))

    def _saved(self, job: _Job, at: float) -> tuple[float, float, int | None]:
        """The durable work at `at`, when it was saved, and by which attempt."""
        if job.doing is Doing.TRAINING:
            kept = durable(at - job.since, self._truth.checkpoint_seconds)
            if kept > 0:
                done = min(self._truth.work_seconds, self._done + kept * job.rung.speed)
                return done, job.since + kept, job.number
        return self._done, self._saved_at, self._saved_by

    def _usd_per_hour(self, job: _Job, end: float) -> float:
        """What the machine costs over the first on-demand rung."""
        dearer = job.rung.usd_per_hour / self._price if job.rung.usd_per_hour and self._price else 1.0
        if job.rung.market is Market.ON_DEMAND:
            return dearer
        return dearer * self._truth.prices.mean_usd_per_hour(job.since, end)

    def _changeover(self, rung: Rung) -> float:
        truth, launch = self._truth, self._launches[rung.market]
        if rung.market is Market.SPOT:
            return changeover(truth.spot_changeover_seconds, launch)
        return changeover(truth.on_demand_changeover_seconds, launch)

    def _lost_at(self, rung: Rung, at: float) -> float:
        return inf if rung.market is Market.ON_DEMAND else self._market(rung).next_change_after(at)

    def _market(self, rung: Rung) -> Availability:
        return self._night.markets.get(rung.instance_type, self._truth.market)

    def _progress(self, job: _Job, now: float) -> Progress | None:
        """The progress file at `now`; None before the first checkpoint."""
        done, saved_at, saved_by = self._saved(job, now)
        if saved_by is None:
            return None
        shows = self._night.shows_pace
        return Progress(
            step=int(done),
            saved_at=moment(saved_at),
            total_steps=int(self._truth.work_seconds) if shows else None,
            fraction=done / self._truth.work_seconds,
            seconds_per_step=1 / job.rung.speed if shows and saved_by == job.number else None,
            attempt=saved_by,
        )

    def _attempt(self, attempt: Attempt, job: _Job, progress: Progress | None, now: float) -> Attempt:
        """What DescribeTrainingJob and the progress file would have the ledger say."""
        pace = progress.seconds_per_step if progress is not None else None
        pace = attempt.seconds_per_step if pace is None else pace
        ended = job.ended_at
        holding = now - job.since if ended is None and job.has_machine else 0.0
        return evolve(
            attempt,
            state=AttemptState.ENDED if ended is not None else _OF_DOING[job.doing],
            state_since=moment(job.since),
            status="InProgress" if ended is None else "Completed" if job.is_finished else "Stopped",
            ended_at=None if ended is None else moment(ended),
            failure=None if ended is None or job.is_finished else FailureClass.STOPPED_BY_NIGHTSPOT,
            ended_waiting=ended is not None and not job.has_machine and not job.is_finished,
            trained_seconds=job.held_seconds + holding,
            worked_seconds=job.worked_seconds + (holding if job.doing is Doing.TRAINING else 0.0),
            interruptions=job.interruptions,
            queued_seconds=None if job.machine_at is None else job.machine_at - job.asked_at,
            ready_seconds=None if job.ready_at is None else job.ready_at - job.asked_at,
            seconds_per_step=pace,
            best_seconds_per_step=pace,
        )
