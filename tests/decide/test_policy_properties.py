"""What no market can make a run do: decisions, ledger and a small invented SageMaker, played event by event."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.costs.account import spent_usd
from nightspot.decide.ledger import JobView, Observation, Transition, book, fold
from nightspot.decide.policy import next_step
from nightspot.failures.classify import Fault
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Fallback, Market
from nightspot.plan.planning import create_training_job, training_job_name
from nightspot.run.model import Action, Outcome, Progress, Run, Rung, Step
from nightspot.run.reasons import Reason

STOP_SECONDS = 180
STEPS = 24
HOUR = 3600
MOST_DECISIONS = 1500
ROUNDING_SECONDS = 5  # waits are whole seconds


REFUSALS = {
    "throttled": Fault("SageMaker.ThrottlingException", "Rate exceeded"),
    "busy": Fault(
        "SageMaker.ResourceLimitExceededException", "The account-level service limit 'x' is 1 Instances"
    ),
    "no quota": Fault(
        "SageMaker.ResourceLimitExceededException", "The account-level service limit 'x' is 0 Instances"
    ),
    "internal": Fault("SageMaker.InternalFailureException", ""),
    "denied": Fault("SageMaker.AccessDeniedException", "not authorized to perform: x"),
    "strange": Fault("SageMaker.NobodyKnowsException", "?"),
}
ENDINGS = {
    "no capacity": ("Failed", "Failed", "CapacityError: Unable to provision requested ML compute capacity."),
    "wait limit": ("Stopped", "MaxWaitTimeExceeded", None),
    "service fault": ("Failed", "Failed", "InternalServerError: We encountered an internal error."),
    "user code": ("Failed", "Failed", "AlgorithmError: CapacityError: ExitCode 1"),
    "strange": ("Failed", "Failed", "Something new"),
    "runtime limit": ("Stopped", "MaxRuntimeExceeded", None),
    "person": ("Stopped", "Stopped", None),
}
ANSWERED = {
    FailureClass.NO_CAPACITY,
    FailureClass.INTERRUPTED,
    FailureClass.WAIT_LIMIT,
    FailureClass.STOPPED_BY_NIGHTSPOT,
    FailureClass.QUOTA_TEMPORARY,
    FailureClass.QUOTA_PERMANENT,
    FailureClass.THROTTLED,
    FailureClass.SERVICE_FAULT,
}
MARKETS_FAULT = ("no capacity", "wait limit")


@dataclass(frozen=True)
class Stretch:
    """So long without a machine, so long starting, and so long training before it is taken away (None: never)."""

    wait_seconds: int
    start_seconds: int
    train_seconds: int | None = None


@dataclass(frozen=True)
class Fate:
    """What becomes of one training job."""

    stretches: tuple[Stretch, ...] = (Stretch(0, 60),)
    ending: str | None = None  # after the last stretch was cut short; None: Spot waits for ever
    refusal: str | None = None
    stop_seconds: int = 120
    billed: float = 1.0  # the part of the training time that is billed


@dataclass
class TrainingJob:
    """What was and, from `now` on, what will be."""

    name: str
    rows: list[Transition]
    saves: list[Progress]
    ending: tuple[str, str, str | None] | None
    ends_at: datetime | None
    fate: Fate

    def stop(self, now: datetime) -> None:
        if self.ends_at is not None and self.ends_at <= now:
            return
        self.rows = [row for row in self.rows if row.started_at <= now]
        self.rows[-1] = replace(self.rows[-1], ended_at=now)
        self.ends_at = now + timedelta(seconds=self.fate.stop_seconds)
        self.rows.append(Transition("Stopping", now, self.ends_at))
        self.saves = [save for save in self.saves if save.saved_at <= now]
        self.ending = ("Stopped", "Stopped", None)

    def view(self, now: datetime) -> JobView:
        rows = [
            replace(row, ended_at=row.ended_at if row.ended_at and row.ended_at <= now else None)
            for row in self.rows
            if row.started_at <= now
        ]
        if self.ending is None or self.ends_at is None or now < self.ends_at:
            status = "Stopping" if rows[-1].status == "Stopping" else "InProgress"
            return JobView(self.name, status, rows[-1].status, tuple(rows))
        status, secondary, reason = self.ending
        trained = sum(
            (row.ended_at - row.started_at).total_seconds()
            for row in rows
            if row.status in {"Downloading", "Training"} and row.ended_at
        )
        return JobView(
            self.name,
            status,
            secondary,
            tuple(rows),
            reason,
            trained,
            trained * self.fate.billed,
            self.ends_at,
        )


@dataclass
class SageMaker:
    """Gives each training job the next fate of its market, then the market's usual one."""

    fates: dict[Market, list[Fate]]
    usual: dict[Market, Fate]
    seconds_per_step: int
    steps_per_checkpoint: int
    writes_progress: bool = True
    jobs: dict[str, TrainingJob] = field(default_factory=dict)

    def create(self, name: str, rung: Rung, attempt: int, now: datetime) -> Fault | None:
        fates = self.fates[rung.market]
        fate = fates.pop(0) if fates else self.usual[rung.market]
        if fate.refusal is not None:
            return REFUSALS[fate.refusal]
        if rung.market is Market.ON_DEMAND and fate.ending is None:
            fate = replace(fate, ending="no capacity")
        self.jobs[name] = self._foresee(name, attempt, fate, now)
        return None

    def durable(self, now: datetime) -> Progress | None:
        saves = [save for job in self.jobs.values() for save in job.saves if save.saved_at <= now]
        return max(saves, key=lambda save: save.saved_at, default=None)

    def look(self, run: Run, now: datetime, fault: Fault | None) -> Observation:
        jobs = {a.training_job_name: self.jobs.get(a.training_job_name) for a in run.attempts if a.is_open}
        return Observation(
            jobs={name: job.view(now) if job else None for name, job in jobs.items()},
            progress=self.durable(now) if self.writes_progress else None,
            fault=fault,
        )

    def next_event(self, now: datetime) -> datetime | None:
        moments = [row.started_at for job in self.jobs.values() for row in job.rows]
        moments += [job.ends_at for job in self.jobs.values() if job.ends_at is not None]
        return min((moment for moment in moments if moment > now), default=None)

    def _foresee(self, name: str, attempt: int, fate: Fate, now: datetime) -> TrainingJob:
        job = TrainingJob(name, [], [], None, None, fate)
        durable = self.durable(now)
        step, at, waiting = durable.step if durable else 0, now, "Starting"

        def row(status: str, seconds: int | None) -> None:
            nonlocal at
            end = None if seconds is None else at + timedelta(seconds=seconds)
            job.rows.append(Transition(status, at, end))
            at = end or at

        for stretch in fate.stretches:
            row(waiting, stretch.wait_seconds)
            row("Downloading", stretch.start_seconds)
            left = (STEPS - step) * self.seconds_per_step
            cut = stretch.train_seconds is not None and stretch.train_seconds < left
            trains = stretch.train_seconds if cut else left
            resumed = step
            done = step + trains // self.seconds_per_step
            for saved in range(step + 1, done + 1):
                if saved % self.steps_per_checkpoint == 0 or saved == STEPS:
                    seconds = (saved - resumed) * self.seconds_per_step
                    moment = at + timedelta(seconds=seconds)
                    job.saves.append(
                        Progress(
                            saved, moment, STEPS, None, float(self.seconds_per_step), attempt, resumed or None
                        )
                    )
                    step = saved
            row("Training", trains)
            if not cut:
                job.ending, job.ends_at = ("Completed", "Completed", None), at
                return job
            waiting = "Interrupted"
        row(waiting, None)
        if fate.ending is not None:
            job.ends_at = at + timedelta(seconds=60)
            job.rows[-1] = replace(job.rows[-1], ended_at=job.ends_at)
            job.ending = ENDINGS[fate.ending]
        return job


def play(
    run: Run, world: SageMaker, *, stop_asked_at: int | None = None
) -> tuple[list[tuple[Run, Step]], Run]:
    """The ledger as it was seen and the step decided on it, each; then the ledger at the end.

    `stop_asked_at`: the number of the decision, from 0, that is the first to see that a person wants the end.
    """
    decisions: list[tuple[Run, Step]] = []
    now, fault = run.started_at, None
    while run.outcome is None:
        assert len(decisions) < MOST_DECISIONS, "the run does not end"
        if stop_asked_at is not None and len(decisions) >= stop_asked_at:
            run = replace(run, stop_asked_by="nightspot stop")
        seen = fold(run, world.look(run, now, fault), now)
        step = next_step(seen, now)
        decisions.append((seen, step))
        name, fault = None, None
        if step.action is Action.START:
            name = training_job_name(seen, step.attempt)
        run = book(seen, step, name)
        if step.action is Action.START:
            fault = world.create(name, step.rung, step.attempt, now)
            if fault is not None:
                continue
        if step.action is Action.STOP:
            world.jobs[step.training_job_name].stop(now)
        if step.action is not Action.FINISH:
            later = now + timedelta(seconds=step.wait_seconds)
            event = None if step.action is Action.PAUSE else world.next_event(now)
            now = min(later, event) if event else later
    return decisions, run


NEVER = Fate(stretches=())
AT_ONCE = Fate(stretches=(Stretch(0, 300),))
SLOWEST_ON_DEMAND = Fate(stretches=(Stretch(450, 450),))


class Chance(Random):
    """Random worlds: a seed each, because corners such as "reclaimed, and back at once" need many draws to meet."""

    def stretch(self, longest_start: int) -> Stretch:
        return Stretch(
            self.choice([0, self.randint(0, 1800), self.randint(0, 9 * HOUR)]),
            # Never 0: a start that nobody can see is a lost event, and costs time.
            self.choice([1, longest_start, self.randint(1, longest_start)]),
            self.choice([None, self.randint(1, HOUR), self.randint(1, 6 * HOUR)]),
        )

    def fate(self, endings, refusals, longest_start=600, longest_stop=STOP_SECONDS) -> Fate:
        return Fate(
            tuple(self.stretch(longest_start) for _ in range(self.randint(0, 5))),
            self.choice([None, *endings]),
            self.choice([*[None] * 6, *refusals]),
            self.choice([longest_stop, self.randint(1, longest_stop)]),
            self.uniform(0.2, 1.0),
        )

    def world(self, spot: list[Fate], on_demand: list[Fate], usual_on_demand: Fate = AT_ONCE) -> SageMaker:
        return SageMaker(
            fates={Market.SPOT: spot, Market.ON_DEMAND: on_demand},
            usual={Market.SPOT: self.choice([NEVER, AT_ONCE]), Market.ON_DEMAND: usual_on_demand},
            # The work is 3 h 12 min to 4 h 48 min: what the plan allows at most.
            seconds_per_step=self.randint(480, 720),
            steps_per_checkpoint=self.randint(1, 4),
            writes_progress=self.random() < 0.7,
        )


def any_world(seed: int) -> SageMaker:
    """Everything may go wrong, on some nights the same thing again and again."""
    chance = Chance(seed)
    endings, refusals = list(ENDINGS), list(REFUSALS)
    if chance.random() < 0.5:
        endings, refusals = [chance.choice(endings)] * 4, [chance.choice(refusals)] * 4

    def fates() -> list[Fate]:
        longest = {"longest_start": 2 * HOUR, "longest_stop": 2 * HOUR}
        return [chance.fate(endings, refusals, **longest) for _ in range(chance.randint(0, 8))]

    return chance.world(fates(), fates())


def bounded_world(seed: int) -> SageMaker:
    """Spot does what it likes within the estimates, and on-demand is always there."""
    chance = Chance(seed)
    spot = [
        chance.fate(MARKETS_FAULT, ["throttled", "busy", "no quota"]) for _ in range(chance.randint(0, 8))
    ]
    return chance.world(spot, [], SLOWEST_ON_DEMAND)


def taking_world(seed: int) -> SageMaker:
    """Spot gives and takes all night, at no discount: most of the work is repeated."""
    chance = Chance(seed)
    world = bounded_world(seed)
    world.fates[Market.SPOT] = [
        Fate(
            tuple(
                Stretch(chance.randint(0, 600), chance.randint(1, 600), chance.randint(300, 2 * HOUR))
                for _ in range(chance.randint(1, 14))
            ),
            chance.choice([None, "no capacity"]),
        )
        for _ in range(chance.randint(1, 5))
    ]
    return world


seeds = st.integers(0, 2**32)
anything = seeds.map(any_world)
bounded_worlds = seeds.map(bounded_world)
spot_types = st.lists(
    st.sampled_from(["ml.p4d.24xlarge", "ml.p5.48xlarge", "ml.g5.48xlarge"]),
    min_size=1,
    max_size=3,
    unique=True,
)


def work_left(seen: Run) -> float:
    """The least that may be planned with: what the progress file or, without one, all training so far leaves."""
    if seen.progress is None:
        done = sum(attempt.trained_seconds for attempt in seen.attempts)
        return max(0.0, seen.work_upper_seconds - done)
    paces = [attempt.seconds_per_step for attempt in seen.attempts if attempt.seconds_per_step]
    total = min(paces) * STEPS * 1.1 if paces else seen.work_upper_seconds
    return total * (1 - seen.progress.step / STEPS)


@pytest.fixture(scope="session")
def planned(story):
    """The reference run, with these Spot types and whatever else changes; it may pay for as long as it likes."""

    def plan(types, *, paid_seconds=None, **changes) -> Run:
        rungs = (*(replace(story.spot, instance_type=name) for name in types), story.on_demand)
        stopping = {} if paid_seconds is None else {"MaxRuntimeInSeconds": paid_seconds}
        request = {**story.run().training_job, "StoppingCondition": stopping}
        return story.run(**{"rungs": rungs, "training_job": request, **changes})

    return plan


@given(world=anything, types=spot_types, fallback=st.sampled_from(Fallback), hours=st.integers(1, 12))
def test_whatever_happens_a_run_ends_and_never_trains_twice_at_once(planned, world, types, fallback, hours):
    run = planned(types, fallback=fallback)
    run = replace(run, deadline=run.started_at + timedelta(hours=hours))

    decisions, over = play(run, world)

    for seen, step in decisions:
        assert sum(attempt.is_open for attempt in seen.attempts) <= 1
        in_doubt = seen.open_attempt is not None and seen.open_attempt.doubt is not None
        assert step.action is not Action.START or seen.open_attempt is None or in_doubt
        assert step.because.endswith(".")
        assert step.action is Action.FINISH or step.wait_seconds >= 1
    assert [step.number for _, step in decisions] == list(range(1, over.steps + 1))
    assert over.open_attempt is None
    assert len({attempt.training_job_name for attempt in over.attempts}) == len(over.attempts)
    assert (over.outcome is Outcome.SUCCEEDED) == (
        bool(over.attempts) and over.last_attempt.status == "Completed"
    )


@given(world=anything, types=spot_types)
def test_a_failure_that_is_not_the_markets_is_the_runs_last_attempt(planned, world, types):
    _, over = play(planned(types), world)

    limited = [a for a in over.attempts[:-1] if a.failure is FailureClass.RUNTIME_LIMIT]
    assert all(a.safe_seconds > 0 for a in limited)  # a newer checkpoint came
    assert all(a.failure in ANSWERED for a in over.attempts[:-1] if a not in limited)
    service_faults = [a for a in over.attempts if a.failure is FailureClass.SERVICE_FAULT]
    assert len(service_faults) <= 3


@given(world=anything, types=spot_types, hours=st.integers(1, 6))
def test_no_attempt_is_started_once_the_paid_time_is_used_up(planned, world, types, hours):
    cap = hours * HOUR
    decisions, _ = play(planned(types, paid_seconds=cap), world)

    for seen, step in decisions:
        if step.action is Action.START:
            left = cap - sum(a.billable_seconds or 0 for a in seen.attempts)
            assert left > 0
            stopping = create_training_job(seen, step.rung, step.attempt, step.at)["StoppingCondition"]
            if step.rung.market is Market.ON_DEMAND:
                assert stopping["MaxRuntimeInSeconds"] <= left
            else:
                assert work_left(seen) < stopping["MaxRuntimeInSeconds"] <= stopping["MaxWaitTimeInSeconds"]


@given(world=anything, types=spot_types)
def test_a_job_that_forbids_on_demand_never_buys_it(planned, world, types):
    _, over = play(planned(types, fallback=Fallback.NEVER), world)

    assert all(attempt.rung.market is Market.SPOT for attempt in over.attempts)


@given(world=anything, types=spot_types)
def test_spot_is_asked_for_only_while_a_failed_start_could_be_repaired_in_time(planned, world, types):
    decisions, _ = play(planned(types), world)

    for seen, step in decisions:
        if step.action is Action.START and step.reason is Reason.NO_ON_DEMAND:
            before = [attempt for attempt in seen.attempts if attempt.number < step.attempt][-1]
            assert (before.rung.market, before.trained_seconds) == (Market.ON_DEMAND, 0)
            continue
        if step.action is Action.START and step.rung.market is Market.SPOT:
            gone = {a.rung.key for a in seen.attempts if a.failure is FailureClass.QUOTA_PERMANENT}
            repair = next((rung for rung in seen.rungs_of(Market.ON_DEMAND) if rung.key not in gone), None)
            needed = work_left(seen) + step.rung.change_over_seconds
            if repair is not None:
                lost = min(seen.checkpoint_every_seconds, work_left(seen))
                needed += lost + STOP_SECONDS + repair.change_over_seconds
            assert (seen.deadline - step.at).total_seconds() >= needed - 1e-3


@given(world=bounded_worlds, types=spot_types)
def test_with_true_bounds_and_on_demand_always_there_no_night_is_late(planned, world, types):
    longest_loss = world.steps_per_checkpoint * world.seconds_per_step
    run = planned(types, checkpoint_every_seconds=longest_loss)

    _, over = play(run, world)

    assert over.outcome is Outcome.SUCCEEDED
    assert over.last_attempt.ended_at <= over.deadline + timedelta(seconds=ROUNDING_SECONDS)


@given(world=anything, types=spot_types, stop_asked_at=st.integers(0, 12))
def test_from_any_state_a_run_that_is_asked_to_stop_buys_nothing_more_and_ends(
    planned, world, types, stop_asked_at
):
    decisions, over = play(planned(types), world, stop_asked_at=stop_asked_at)

    actions = [step.action for _, step in decisions[stop_asked_at:]]
    assert not {Action.START, Action.PAUSE} & set(actions)
    assert actions.count(Action.STOP) <= 1  # the world stops what it is asked to
    last = over.last_attempt
    if actions:
        completed = last is not None and last.status == "Completed"
        assert over.outcome is (Outcome.SUCCEEDED if completed else Outcome.STOPPED)


@given(world=anything, types=spot_types)
def test_looking_twice_at_once_decides_the_same(planned, world, types):
    decisions, _ = play(planned(types), world)

    for (seen, step), (_, following) in pairwise(decisions):
        assert next_step(seen, step.at) == step
        assert following.at >= step.at


@given(world=bounded_worlds, types=spot_types, budget=st.integers(160, 200))
def test_no_attempt_is_started_whose_worst_case_could_pass_the_budget(planned, world, types, budget):
    decisions, _ = play(planned(types, budget_usd=float(budget)), world)

    for seen, step in decisions:
        if step.action is Action.START:
            worst_seconds = work_left(seen) + step.rung.change_over_seconds + STOP_SECONDS
            assert spent_usd(seen) + worst_seconds / HOUR * 33 <= budget + 1e-6


@given(world=seeds.map(taking_world), types=spot_types, budget=st.integers(120, 260))
def test_the_money_spent_never_passes_the_budget_whatever_the_market_does(planned, world, types, budget):
    # Work is repeated after every reclaim, and no discount is promised.
    _, over = play(planned(types, budget_usd=float(budget)), world)

    assert spent_usd(over) <= budget
    if over.outcome is not Outcome.SUCCEEDED:
        assert "worst case" in over.outcome_because or "leaves no rung" in over.outcome_because
