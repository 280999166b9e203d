"""What seeds have found, each as one small story: faults under which runs once lost their model or their record."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from tests.simulation import odd, poison
from tests.simulation.calls import STEP_FUNCTIONS, Call
from tests.simulation.clock import HOUR, MINUTE
from tests.simulation.events import DeadLetter
from tests.simulation.families import scenario_of
from tests.simulation.faults import SERVICES, Burst, Outage, Plan
from tests.simulation.functions import DEATHS, Answer, Doom
from tests.simulation.market import Market
from tests.simulation.playing import played
from tests.simulation.scenarios import Scenario, reference
from tests.simulation.world import World

P4D = "ml.p4d.24xlarge"
LAST_SAFE_MOMENT = reference().last_safe_moment


def rules_broken(scenario: Scenario) -> list[str]:
    return [f"{each.invariant.value}: {each.text}" for each in played(scenario)[1].violations]


def model_at(scenario: Scenario) -> float:
    """Hours from the run's start to its model."""
    world, _ = played(scenario)
    return min(job.ended_at for job in world.sagemaker.jobs.values() if job.status == "Completed") / HOUR


def without_spot(**changes: Any) -> Scenario:
    """Spot never comes, so on-demand must take over at the last safe moment."""
    return reference(market=Market({P4D: []}, {P4D: 0.0}, {}, {}), **changes)


def test_the_reference_story_holds_all_rules() -> None:
    assert rules_broken(reference()) == []
    assert rules_broken(without_spot()) == []
    assert model_at(reference()) < 8


def test_a_run_that_goes_on_over_an_update_starts_training_jobs_as_the_workflow_that_it_began_with() -> None:
    """Step Functions goes on with the definition that an execution began with."""
    scenario = without_spot(old_code_until=HOUR)
    world, starts = World(scenario), []
    ask = world.calls.verdict

    def noted(call: Call) -> Any:
        if call.operation == "create_training_job":
            starts.append(call)
        return ask(call)

    world.calls.verdict = noted
    assert played(scenario, world)[1].violations == []
    assert {call.caller for call in starts} == {STEP_FUNCTIONS}
    assert starts[0].at < HOUR < starts[-1].at


@pytest.mark.parametrize("refusals", [1, 3, 4, 8])
def test_stops_that_are_refused_do_not_make_the_run_late(refusals: int) -> None:
    burst = Burst("sagemaker", "stop_training_job", 0.0, 10**9, refusals)
    scenario = without_spot(plan=Plan(bursts=(burst,)), late_allowed=0.0)
    assert rules_broken(scenario) == []


def test_stops_that_are_refused_for_ten_minutes_cost_as_much_and_no_more() -> None:
    begin = LAST_SAFE_MOMENT - 5 * MINUTE
    burst = Burst("sagemaker", "stop_training_job", begin, begin + 15 * MINUTE, 10**9)
    assert rules_broken(without_spot(plan=Plan(bursts=(burst,)), late_allowed=0.0)) == []


@pytest.mark.parametrize("seconds", [0.0, 1.0, 10.0, 60.0])
def test_a_start_without_an_answer_is_one_job(seconds: float) -> None:
    habits = replace(reference().habits, visible_after=lambda: seconds)
    scenario = reference(plan=Plan(doubt_share=1.0), habits=habits)
    world, verdict = played(scenario)
    assert verdict.violations == []
    assert len(world.sagemaker.jobs) == 2  # one on Spot, one on-demand


def test_decisions_may_die_with_any_error() -> None:
    # The first try of each decision, of each with another error.
    world = World(without_spot(late_allowed=0.0))
    errors = [error for name in DEATHS for error in (name, None)]

    def doom(function: str) -> Doom | None:
        if function != "DecideNextStep" or not errors:
            return None
        error = errors.pop(0)
        return None if error is None else Doom(len(errors) % 9, after=len(errors) % 4 < 2, error=error)

    world.functions.doom = doom
    _, verdict = played(world.scenario, world)
    assert verdict.violations == []
    assert len(errors) < len(DEATHS)


@pytest.mark.long
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", [1, 2, 4, 99])
@pytest.mark.parametrize(
    "function", ["PlanRun", "DecideNextStep", "StartTrainingJob", "RecordOutcome", "CloseRun", "Notify"]
)
def test_an_invocation_may_die_at_any_call(function: str, call: int, after: bool) -> None:
    dooms = [Doom(call, after, "Lambda.Unknown")]
    world = World(reference(late_allowed=0.0))
    world.functions.doom = lambda name: dooms.pop() if dooms and name == function else None
    _, verdict = played(world.scenario, world)
    assert (verdict.violations, dooms) == ([], [])


@pytest.mark.parametrize("minutes", [10, 30])
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_may_be_away_at_the_last_safe_moment(service: str, minutes: int) -> None:
    begin = LAST_SAFE_MOMENT - minutes * MINUTE / 2
    plan = Plan(outages=(Outage(service, begin, begin + minutes * MINUTE),))
    assert rules_broken(without_spot(plan=plan, late_allowed=0.0)) == []


@pytest.mark.parametrize("service", ["sagemaker", "dynamodb", "s3", "events", "states"])
def test_a_service_may_refuse_for_any_reason(service: str) -> None:
    bursts = tuple(
        Burst(service, "", number * HOUR / 2, number * HOUR / 2 + 10 * MINUTE, 10**9, odd=name)
        for number, name in enumerate(sorted(odd.REFUSALS), 1)
    )
    assert rules_broken(reference(plan=Plan(bursts=bursts), late_allowed=0.0)) == []


def _spoiled(names: list[str]) -> list[str]:
    """A save for each of the poisons, in turn, and none of them twice in a row."""
    known = poison.named()
    steps = 3 * len(names)
    workload = replace(
        reference().workload,
        total_steps=steps,
        seconds_per_step=4 * HOUR / steps,
        spoil=lambda body, number: known[names[(number - 1) % len(names)]](body, number),
    )
    # What a file lies about may cost the work between two saves.
    return rules_broken(reference(workload=workload, late_allowed=HOUR))


@pytest.mark.parametrize("first", range(8))
def test_any_progress_file_may_come_out_of_a_container(first: int) -> None:
    assert _spoiled(sorted(poison.named())[first::8]) == []


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(poison.named()))
def test_a_container_may_write_nothing_else(name: str) -> None:
    assert _spoiled([name] * 8) == []


@pytest.mark.parametrize("name", sorted(odd.descriptions()))
def test_a_training_job_may_be_described_otherwise(name: str) -> None:
    change, own = odd.descriptions()[name], Random(1)
    habits = replace(reference().habits, describes=lambda answer: change(answer, own))
    assert rules_broken(reference(habits=habits, late_allowed=HOUR)) == []


@pytest.mark.parametrize("at", [0.0, 0.1, 0.3, 2.0, 300.0, 2 * HOUR], ids=lambda at: f"{at:g} s")
@pytest.mark.parametrize("lost", [False, True], ids=["told", "its event lost"])
def test_an_abort_closes_the_run(at: float, lost: bool) -> None:
    scenario = reference(abort_at=at + 0.05, plan=Plan(lost_ends=lost), model_expected=False)
    assert rules_broken(scenario) == []


@pytest.mark.parametrize(
    "at",
    [
        0.1,
        0.3,  # between the decision and CreateTrainingJob
        2.0,
        300.0,
        2 * HOUR,
        5 * HOUR,
    ],
    ids=lambda at: f"{at:g} s",
)
@pytest.mark.parametrize("lost", [False, True], ids=["told", "its event lost"])
def test_a_crash_is_gone_on_with(at: float, lost: bool) -> None:
    scenario = reference(crash_at=at + 0.05, plan=Plan(lost_ends=lost), late_allowed=0.0)
    assert rules_broken(scenario) == []


@pytest.mark.parametrize("minutes", [1, 6, 45])
def test_the_next_run_does_not_train_beside_what_a_crash_has_left(minutes: int) -> None:
    scenario = reference(
        crash_at=HOUR,
        starts_at=(0.0, HOUR + minutes * MINUTE),
        plan=Plan(lost_ends=True),
        model_expected=False,
    )
    assert rules_broken(scenario) == []


def test_steps_that_the_table_does_not_take_are_written_in_the_end() -> None:
    """Of many writes one is always lost: what is written once must not be written again (seed 1158)."""
    world, verdict = played(reference(plan=Plan(lost_share=0.3)))
    assert [each.text for each in verdict.violations] == []
    assert max(execution.transitions for execution in world.states.executions.values()) < 300


def test_a_start_that_is_refused_for_an_odd_reason_is_made_later() -> None:
    """Three refusals within five minutes were a dead letter, and no run (seed 1146)."""
    assert (
        rules_broken(reference(plan=Plan(bursts=(Burst("states", "", 0.0, 300.0, 10**9, "Signature"),))))
        == []
    )


def test_a_start_in_doubt_for_hours_is_asked_for_seldom() -> None:
    """Every four minutes for eleven hours is a bill of its own (seed 951)."""
    scenario = reference(plan=Plan(outages=(Outage("sagemaker", 0.0, 6 * HOUR),)), late_allowed=6 * HOUR)
    world, verdict = played(scenario)
    assert [each.text for each in verdict.violations] == []
    # Pauses are half to whole by the training job's name: seven names gave 252 to 348 transitions.
    assert next(iter(world.states.executions.values())).transitions < 400


@pytest.mark.parametrize("seed", [3023, 6764, 8327, 9110])
def test_a_training_job_that_is_on_no_record_comes_on_it_with_its_bill(seed: int) -> None:
    """The execution was aborted before the table had taken the start."""
    assert rules_broken(scenario_of(seed)) == []


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(8248, id="a start on no record, and a second run takes the place"),
        pytest.param(5807, id="a lock of a plan that was aborted"),
        pytest.param(1108, id="a wake event that was not yet, then met two faults"),
        pytest.param(5509, id="a stop that hangs for nine hours, after two outages"),
    ],
)
def test_ten_thousand_seeds_found_no_others(seed: int) -> None:
    assert rules_broken(scenario_of(seed)) == []


def test_a_dead_letter_whose_tries_met_no_fault_at_the_last_is_none_of_the_faults() -> None:
    not_yet, killed = Answer(error="NotYetError"), Answer(error="Lambda.Unknown", injected=True)

    def is_excused(*errors: Answer) -> bool:
        return DeadLetter("WakeRun", {}, list(errors), 0.0).is_excused

    assert is_excused(not_yet, killed, killed)
    assert is_excused(not_yet, not_yet, killed)
    assert not is_excused(not_yet, not_yet, not_yet)
    assert not is_excused(killed, killed, not_yet)
    assert not is_excused(Answer(error="KeyError"), killed, killed)


def test_events_that_are_nobodys_are_no_dead_letters() -> None:
    foreign = tuple((600.0 * number, detail) for number, detail in enumerate(odd.foreign_events(), 1))
    assert rules_broken(reference(foreign_events=foreign)) == []


def test_all_events_may_be_lost() -> None:
    assert rules_broken(reference(plan=Plan(lost_events=1.0, lost_ends=True), late_allowed=0.0)) == []


@pytest.mark.parametrize("minutes", [20, 50, 80])
def test_the_second_type_gets_its_turn_where_the_first_one_queues(minutes: int) -> None:
    first, second = P4D, "ml.g5.12xlarge"
    job = reference().job
    types = [{"instance_type": first}, {"instance_type": second, "speed": 0.7}]
    capacity = type(job.capacity).model_validate({"spot": [first], "on_demand": types})
    scenario = reference(
        job=job.model_copy(update={"capacity": capacity}),
        market=Market({first: []}, {first: minutes * MINUTE, second: 60.0}, {}, {}),
        late_allowed=(minutes + 60) * MINUTE,
    )
    world, verdict = played(scenario)
    assert verdict.violations == []
    assert len(world.sagemaker.jobs) <= 4
