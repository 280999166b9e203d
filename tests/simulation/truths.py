"""What nobody knows of SageMaker: each seed plays one truth of every open question (docs/simulation.md)."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from nightspot.formats.statuses import Secondary
from nightspot.local.sagemaker.behaviour import (
    AT_ONCE,
    FIGURES,
    Behaviour,
    Duration,
    EventsOf,
    RuntimeLimit,
    UploadAgent,
    UploadOrder,
    Waits,
)
from tests.simulation.clock import HOUR, MINUTE
from tests.simulation.scenarios import STOP_SECONDS, Scenario

SOON = Duration((1.0, 20.0))
# Between a stop and the end of Stopping.
STOPS = (SOON, SOON, Duration((30.0, 60.0, 180.0)), Duration((60.0, 300.0)))


def with_truths(scenario: Scenario, random: Random) -> Scenario:
    """The world, with one truth drawn of each question that costs a run minutes at the most."""
    stop_waiting, stop_starting = random.choice(STOPS), random.choice(STOPS)
    behaviour = replace(
        scenario.habits.behaviour,
        waits=random.choice(list(Waits)),
        seconds_to_pending=random.choice((0.0, 0.0, 30.0, 300.0)),
        interrupted=random.choice((AT_ONCE, Duration((5.0, 60.0)))),
        starts_again=random.choice(((True,), (False,), (True, False))),
        stop_waiting=stop_waiting,
        stop_starting=stop_starting,
        stop_training=Duration((0.0, random.choice((0.0, 60.0)))),
        stop_shows_uploading=random.random() < 0.7,
        stopped_has_model=random.random() < 0.5,
        runtime_limit=random.choice(list(RuntimeLimit)),
        figures_while_running=frozenset(random.sample(sorted(FIGURES), random.choice((0, 0, 1, 2)))),
        uploads=_agent(scenario.habits.behaviour.uploads, random),
    )
    habits = replace(
        scenario.habits,
        behaviour=behaviour,
        hangs_in=random.choice((Secondary.STOPPING, Secondary.UPLOADING)),
        events_of=random.choice(list(EventsOf)),
    )
    workload = replace(scenario.workload, keeps=random.choice((None, None, 2, 3)))
    # A stop is planned for with three minutes, an event with none.
    longest = max(*stop_waiting.seconds, *stop_starting.seconds, 60.0) - STOP_SECONDS
    allowed = scenario.late_allowed + max(0.0, longest)
    return replace(scenario, habits=habits, workload=workload, late_allowed=allowed)


def _agent(agent: UploadAgent, random: Random) -> UploadAgent:
    return replace(
        agent,
        order=random.choice(list(UploadOrder)),
        deletes_first=random.random() < 0.5,
        skips_temporary=random.random() < 0.5,
    )


def slow_stops(scenario: Scenario, random: Random) -> Scenario:
    """Stops take 5 to 60 minutes, waiting, starting or training."""
    stop = Duration((5 * MINUTE, random.choice((10, 30, 60)) * MINUTE))
    where = random.choice(("stop_waiting", "stop_starting", "stop_training"))
    behaviour = replace(scenario.habits.behaviour, **{where: stop})
    # Two stops, at most, lie between a run and its model: of Spot, and of an on-demand type with a queue.
    allowed = scenario.late_allowed + 2 * stop.seconds[-1]
    return replace(scenario, habits=replace(scenario.habits, behaviour=behaviour), late_allowed=allowed)


def slow_uploads(scenario: Scenario, random: Random) -> Scenario:
    """The upload agent is slow, or dies and says nothing."""
    if random.random() < 0.5:
        agent = UploadAgent(seconds_per_file=Duration((60.0, random.choice((300.0, 1800.0)))))
        lost = 2 * (scenario.job.checkpoint_every_seconds + agent.seconds_per_file.seconds[-1])
    else:
        agent = UploadAgent(dies_after_seconds=random.uniform(0, 2 * HOUR))
        # What a job has done since then is lost with its machine.
        lost = scenario.workload.work_seconds
    behaviour = replace(scenario.habits.behaviour, uploads=agent)
    allowed = scenario.late_allowed + lost
    return replace(scenario, habits=replace(scenario.habits, behaviour=behaviour), late_allowed=allowed)


def stale_hosts(scenario: Scenario, random: Random) -> Scenario:
    """Of two machines that mirror one prefix, the second one uploads its old copies at the end of a job."""
    request = {**scenario.job.training_job}
    request["ResourceConfig"] = {**request.get("ResourceConfig", {}), "InstanceCount": random.choice((2, 4))}
    job = scenario.job.model_copy(update={"training_job": request})
    behaviour = replace(scenario.habits.behaviour, uploads=UploadAgent(stale_hosts=True))
    # What an old file says of the progress may cost the work of one machine once more.
    allowed = scenario.late_allowed + scenario.job.checkpoint_every_seconds
    return replace(
        scenario, job=job, habits=replace(scenario.habits, behaviour=behaviour), late_allowed=allowed
    )


def after_all(scenario: Scenario, random: Random) -> Scenario:
    """What is drawn of the questions on which the family does not depend."""
    kept = scenario.habits.behaviour
    drawn = with_truths(scenario, random)
    own = Behaviour()
    chosen = {
        name: getattr(kept, name)
        for name in ("stop_waiting", "stop_starting", "stop_training")
        if getattr(kept, name) != getattr(own, name)
    }
    behaviour = replace(drawn.habits.behaviour, **chosen)
    return replace(drawn, habits=replace(drawn.habits, behaviour=behaviour))
