"""Runs that wait for long: what they are asked for, until a market has a machine or the run gives up."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from nightspot.decide import ledger
from nightspot.decide.ladder import MOST_ATTEMPTS, ON_DEMAND_FROM, SPREAD_FROM
from nightspot.decide.policy import next_step
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Fallback, Market
from nightspot.plan import planning
from nightspot.run.model import Action, AttemptState, Outcome, evolve
from nightspot.run.reasons import Reason

HOUR = timedelta(hours=1)
NEVER = timedelta.max


@dataclass
class World:
    """When each market has machines, after the run's start. Without, it refuses a request, or lets it wait."""

    spot_after: timedelta = NEVER
    on_demand_after: timedelta = timedelta(0)
    refuses: frozenset[Market] = frozenset()
    work: timedelta = 4 * HOUR
    steps: list = field(default_factory=list)

    def play(self, run):
        """The run at its end. `steps` keeps what was decided."""
        now = run.started_at
        while run.outcome is None:
            attempt = run.open_attempt
            if attempt is not None:
                run = run.with_attempt(self.look(run, attempt, now))
            step = next_step(run, now)
            self.steps.append(step)
            run = ledger.book(run, step, f"job-{step.attempt}" if step.action is Action.START else None)
            now = min(now + timedelta(seconds=step.wait_seconds or 0), self.news(run, now))
        return run

    def has_machine_at(self, run, attempt):
        """When the attempt has its machine; None: never."""
        on_spot = attempt.rung.market is Market.SPOT
        after = self.spot_after if on_spot else self.on_demand_after
        return None if after is NEVER else max(attempt.asked_at, run.started_at + after)

    def news(self, run, now):
        attempt = run.open_attempt
        if attempt is None:
            return datetime.max.replace(tzinfo=now.tzinfo)
        if attempt.stop_requested_at is not None:
            return attempt.stop_requested_at + timedelta(seconds=180)
        begins = self.has_machine_at(run, attempt)
        moments = [] if begins is None else [begins, begins + self.work]
        if attempt.rung.market in self.refuses:
            moments.append(attempt.asked_at + timedelta(seconds=1))
        return min((at for at in moments if at > now), default=datetime.max.replace(tzinfo=now.tzinfo))

    def look(self, run, attempt, now):
        begins = self.has_machine_at(run, attempt)
        if attempt.stop_requested_at is not None and now >= attempt.stop_requested_at + timedelta(
            seconds=180
        ):
            return self.ended(attempt, now, FailureClass.STOPPED_BY_NIGHTSPOT)
        if begins is None or now < begins:
            if attempt.rung.market in self.refuses and now > attempt.asked_at:
                return self.ended(attempt, now, FailureClass.NO_CAPACITY)
            return evolve(
                attempt, state=AttemptState.WAITING, status="InProgress", state_since=attempt.asked_at
            )
        trained = (now - begins).total_seconds()
        if now >= begins + self.work:
            return replace(self.ended(attempt, now, None), trained_seconds=trained, ended_waiting=False)
        return evolve(
            attempt,
            state=AttemptState.TRAINING,
            status="InProgress",
            state_since=begins,
            trained_seconds=trained,
            worked_seconds=trained,
        )

    @staticmethod
    def ended(attempt, now, failure):
        state = {"state": AttemptState.ENDED, "status": "Stopped", "ended_at": now, "ended_waiting": True}
        return evolve(attempt, failure=failure, **state)

    def markets(self):
        return [step.rung.market for step in self.steps if step.action is Action.START]


@pytest.fixture
def ladder(story):
    """Two Spot types and on-demand; `patience` in minutes."""

    def rungs(patience):
        spot = replace(story.spot, patience_seconds=60 * patience)
        return (spot, replace(spot, instance_type="ml.g5.48xlarge"), story.on_demand)

    return rungs


@pytest.mark.parametrize(("hours", "patience"), [(24, 5), (48, 10), (72, 30), (168, 60)])
def test_however_often_spot_had_none_on_demand_has_its_turn(story, ladder, hours, patience):
    world = World()
    run = world.play(story.run(rungs=ladder(patience), deadline=story.midnight + hours * HOUR))
    assert run.outcome is Outcome.SUCCEEDED
    assert run.last_attempt.ended_at <= run.deadline
    # Not before Spot's last safe moment, 5 h 46 min before the deadline.
    assert run.last_attempt.asked_at >= run.deadline - timedelta(hours=5, minutes=46)
    assert world.markets() == [Market.SPOT] * SPREAD_FROM + [Market.ON_DEMAND]


@pytest.mark.parametrize("hours", [24, 168])
def test_a_spot_market_that_refuses_is_asked_until_its_last_safe_moment_and_on_demand_then(
    story, ladder, hours
):
    world = World(refuses=frozenset({Market.SPOT}))
    run = world.play(story.run(rungs=ladder(30), deadline=story.midnight + hours * HOUR))
    assert run.outcome is Outcome.SUCCEEDED
    assert run.last_attempt.ended_at <= run.deadline
    assert run.last_attempt.asked_at >= run.deadline - timedelta(hours=5, minutes=46)
    assert len(run.attempts) <= ON_DEMAND_FROM + 1


def test_spot_that_comes_late_is_still_taken_by_a_long_run(story, ladder):
    world = World(spot_after=150 * HOUR)
    run = world.play(story.run(rungs=ladder(30), deadline=story.midnight + 168 * HOUR))
    assert run.outcome is Outcome.SUCCEEDED
    assert Market.ON_DEMAND not in world.markets()


@pytest.mark.parametrize("spot_after", [2.5, 5, 12, 20, 28])
@pytest.mark.parametrize(
    "refuses", [{Market.ON_DEMAND}, {Market.ON_DEMAND, Market.SPOT}], ids=["waits", "refuses"]
)
def test_where_on_demand_has_nothing_spot_is_asked_in_its_pauses_late_or_not(story, spot_after, refuses):
    # No Spot until its last safe moment, 02:14, and from then on no on-demand either.
    world = World(spot_after=spot_after * HOUR, on_demand_after=NEVER, refuses=frozenset(refuses))
    run = world.play(story.run())
    assert run.outcome is Outcome.SUCCEEDED
    assert run.last_attempt.rung == story.spot
    waited = run.last_attempt.ended_at - world.work - story.midnight - spot_after * HOUR
    assert waited <= 3 * HOUR if spot_after >= 12 else waited <= timedelta(minutes=25)


def test_the_wait_for_such_a_spot_job_takes_none_of_its_time_to_train(story):
    none = story.ended(FailureClass.NO_CAPACITY, story.on_demand, ended_at=story.at("09:00"))
    run, now = story.run(attempts=[none]), story.at("09:00")
    step = next_step(run, now)
    assert (step.reason, step.rung) == (Reason.NO_ON_DEMAND, story.spot)
    stopping = planning.create_training_job(run, step.rung, 2, now)["StoppingCondition"]
    # To a day after the deadline, and then the whole work.
    assert stopping["MaxWaitTimeInSeconds"] == 23 * 3600 + stopping["MaxRuntimeInSeconds"]


def test_on_demand_that_comes_back_is_taken_as_well(story):
    world = World(on_demand_after=4 * HOUR, refuses=frozenset({Market.ON_DEMAND}))
    run = world.play(story.run())
    assert run.last_attempt.rung == story.on_demand
    assert run.last_attempt.asked_at <= story.at("04:25")


def test_where_nobody_has_anything_the_run_gives_up_for_the_time_and_not_for_its_attempts(story):
    world = World(on_demand_after=NEVER, refuses=frozenset(Market))
    run = world.play(story.run())
    assert (run.outcome, world.steps[-1].reason) == (Outcome.FAILED, Reason.GAVE_UP)
    assert len(run.attempts) <= MOST_ATTEMPTS
    assert world.markets().count(Market.SPOT) > 20


def test_a_job_that_may_not_buy_waits_on_with_all_its_attempts(story, ladder):
    world = World(spot_after=150 * HOUR)
    run = story.run(rungs=ladder(30), deadline=story.midnight + 168 * HOUR, fallback=Fallback.NEVER)
    assert world.play(run).outcome is Outcome.SUCCEEDED


def test_two_on_demand_types_that_queue_do_not_use_up_the_attempts(story):
    first = replace(story.on_demand, patience_seconds=300)
    second = replace(first, instance_type="ml.g5.48xlarge")
    world = World(on_demand_after=20 * HOUR)
    run = world.play(story.run(rungs=(first, second)))
    assert run.outcome is Outcome.SUCCEEDED
