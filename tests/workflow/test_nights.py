"""What the market does, and what the run makes of it."""

import pytest

from nightspot.local.sagemaker.markets import EventOptions, Markets, SimulatedMarket, SimulationOptions
from nightspot.local.stage.night_files import Night
from nightspot.run.model import Action


def night(*spot, **options):
    """A night from a Spot script."""
    markets = Markets(default_spot=SimulatedMarket.scripted(list(spot)))
    return Night("test", "", markets, SimulationOptions(**options))


def markets_of(played):
    return [attempt.market for attempt in played.record.attempts]


def actions(played):
    return [step.action for step in played.steps]


def run_events(played):
    return [entry["DetailType"] for entry in played.notices]


def test_a_quiet_night_is_one_spot_job_and_few_transitions(look_at):
    played, _ = look_at("quiet")

    assert played.execution_status == "SUCCEEDED"
    assert played.output["outcome"] == "succeeded"
    assert markets_of(played) == ["spot"]
    assert played.record.deadline_met
    assert played.record.attempts[0].failure_class is None
    assert played.record.cost_usd < played.record.on_demand_cost_usd
    assert played.state_transitions <= 40
    assert run_events(played) == [
        "Nightspot Run Started",
        "Nightspot Attempt Started",
        "Nightspot Run Succeeded",
    ]
    assert played.states_entered[-1] == "Model is ready"
    assert played.dead_letters == 0


def test_an_interrupted_job_resumes_from_its_checkpoint_on_spot(play):
    played = play(
        night(
            {"available": "25m"},
            {"reclaim": "5m"},
            {"available": "25m"},
            {"reclaim": "5m"},
            {"available": "rest"},
        )
    )

    (attempt,) = played.record.attempts
    assert played.output["outcome"] == "succeeded"
    assert attempt.market == "spot"
    assert attempt.interruptions == 2
    assert attempt.resumed_from_step >= 2
    assert run_events(played).count("Nightspot Interrupted") == 2


def test_spot_that_never_comes_gives_way_at_the_last_safe_moment_and_the_model_is_in_time(look_at):
    played, _ = look_at("Spot never comes")

    stop = next(step for step in played.steps if step.action is Action.STOP)
    # 180 min, less 72 of work (an hour and a fifth), 10 for Spot, 10 of lost work, 3 to stop, 15 for on-demand.
    waited_minutes = (stop.at - played.run.started_at).total_seconds() / 60
    assert waited_minutes == pytest.approx(70, abs=6)
    assert "on-demand must start by 01:33 UTC to finish by 03:00 UTC" in stop.because
    assert markets_of(played) == ["spot", "on_demand"]
    assert played.record.deadline_met
    assert played.record.attempts[0].failure_class == "stopped_by_nightspot"
    assert played.record.attempts[0].cost_usd == 0
    assert "Nightspot Fell Back" in run_events(played)


def test_an_interruption_too_late_for_another_try_goes_on_demand_at_once_from_the_checkpoint(play):
    played = play(night({"missing": "65m"}, {"available": "30m"}, {"reclaim": "rest"}))

    spot, on_demand = played.record.attempts
    assert spot.interruptions == 1
    interrupted = next(step for step in played.steps if step.action is Action.STOP)
    assert interrupted.because.startswith("Spot was interrupted")
    assert on_demand.market == "on_demand"
    assert on_demand.resumed_from_step == on_demand.step_before > 0
    assert played.record.deadline_met


def test_on_demand_that_queues_is_waited_for_and_the_run_says_that_it_will_be_late(look_at):
    played, _ = look_at("on-demand queues")

    assert markets_of(played) == ["spot", "on_demand"]
    assert played.output["outcome"] == "succeeded"
    assert not played.record.deadline_met
    assert played.record.margin_seconds < 0
    assert run_events(played).count("Nightspot At Risk Of Being Late") == 1


def test_lost_events_cost_time_and_nothing_else(play):
    played = play(
        night(
            {"available": "25m"},
            {"reclaim": "5m"},
            {"available": "rest"},
            events=EventOptions(lost_share=1.0),
        )
    )

    assert played.output["outcome"] == "succeeded"
    assert played.record.deadline_met
    assert markets_of(played) == ["spot"]
    assert played.record.attempts[0].interruptions == 1


@pytest.mark.long
def test_doubled_and_disordered_events_change_nothing(play):
    events = EventOptions(doubled_share=1.0, delayed_share=0.5, delay_seconds=300, seed=3)
    played = play(night({"available": "25m"}, {"reclaim": "5m"}, {"available": "rest"}, events=events))

    assert played.output["outcome"] == "succeeded"
    assert markets_of(played) == ["spot"]
    assert played.record.attempts[0].interruptions == 1
    assert played.states_entered.count("Start the training job") == 1


def test_a_script_without_the_library_still_falls_back_in_time(play_virtually):
    played = play_virtually(night({"available": "35m"}, {"reclaim": "rest"}), hyperparameters={"silent": "1"})

    assert played.run.progress is None
    assert markets_of(played) == ["spot", "on_demand"]
    assert played.output["outcome"] == "succeeded"
    assert played.record.deadline_met
    assert played.record.attempts[1].resumed_from_step is None


def test_a_script_that_starts_over_is_found_out_and_not_interrupted_for_savings_again(play):
    # Six steps are safe when the machine goes; the next one begins at zero, and saves step 2.
    market = night({"available": "38m"}, {"reclaim": "5m"}, {"available": "rest"})
    played = play(market, hyperparameters={"forgetful": "1"})

    assert [attempt.resume for attempt in played.record.attempts] == ["broken", "broken"]
    assert played.record.resume == "broken"
    assert markets_of(played) == ["spot", "on_demand"]
    assert any("did not continue from its checkpoint" in step.because for step in played.steps)
    assert [entry["DetailType"] for entry in played.notices].count("Nightspot Resume Broken") == 1
    assert played.output["outcome"] == "succeeded"


def test_a_job_that_forbids_on_demand_is_skipped_when_spot_is_too_late(play_virtually):
    played = play_virtually(
        Night("test", "", Markets(default_spot=SimulatedMarket.never())),
        fallback="never",
        capacity={"spot": ["ml.g5.xlarge"]},
        deadline={"within": "2h"},
    )

    assert played.execution_status == "FAILED"
    assert played.error == "Nightspot.skipped"
    assert markets_of(played) == ["spot"]
    assert played.record.cost_usd == 0


def test_a_second_spot_type_is_tried_when_the_first_has_no_capacity(play_virtually):
    markets = Markets(spot={"ml.g5.xlarge": SimulatedMarket.never()})
    played = play_virtually(
        Night("test", "", markets),
        capacity={"spot": ["ml.g5.xlarge", "ml.g5.2xlarge"], "on_demand": ["ml.g5.xlarge"]},
    )

    assert [a.instance_type for a in played.record.attempts] == ["ml.g5.xlarge", "ml.g5.2xlarge"]
    assert markets_of(played) == ["spot", "spot"]
    assert played.record.deadline_met
