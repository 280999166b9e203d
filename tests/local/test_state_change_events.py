"""The state-change events: their shape, and what can befall them on the way."""

from __future__ import annotations

import json

import pytest

from nightspot.local.sagemaker.markets import EventOptions, SimulatedMarket

PHASES = ["Starting", "Downloading", "Training", "Uploading", "Completed"]


def told(night):
    return [event["detail"]["SecondaryStatus"] for event in list(night.events)]


def test_every_secondary_status_is_told_once_and_in_order(night):
    tonight = night()
    tonight.ask()
    tonight.until(lambda: "Completed" in told(tonight))
    assert told(tonight) == PHASES
    assert len({event["id"] for event in tonight.events}) == len(PHASES)


def test_an_event_is_shaped_as_eventbridge_delivers_it(night):
    tonight = night()
    tonight.ask(Tags=[{"Key": "run", "Value": "r-1"}])
    tonight.until(lambda: "Completed" in told(tonight))
    event = json.loads(json.dumps(tonight.events[-1]))
    described = tonight.describe()
    detail = event.pop("detail")
    assert event.pop("id")
    assert event.pop("time").endswith("Z")
    assert event == {
        "version": "0",
        "detail-type": "SageMaker Training Job State Change",
        "source": "aws.sagemaker",
        "account": "123456789012",
        "region": "eu-west-1",
        "resources": [described["TrainingJobArn"]],
    }
    assert detail["TrainingJobStatus"] == "Completed"
    assert detail["Tags"] == {"run": "r-1"}
    assert detail["TrainingEndTime"] == pytest.approx(described["TrainingEndTime"] * 1000, abs=1)
    last = detail["SecondaryStatusTransitions"][-1]
    assert last["StartTime"] == pytest.approx(described["TrainingEndTime"] * 1000, abs=1)
    assert not {"BillableTimeInSeconds", "EnableManagedSpotTraining"} & detail.keys()


def test_events_can_all_be_lost(night):
    tonight = night(events=EventOptions(lost_share=1))
    tonight.ask()
    assert tonight.until_ended()["TrainingJobStatus"] == "Completed"
    tonight.simulator.close()
    assert tonight.events == []


def test_some_events_can_be_lost(night):
    tonight = night(events=EventOptions(lost_share=0.5, seed=1), spot_market=SimulatedMarket.never())
    for number in range(40):
        tonight.ask(f"job-{number}")
    tonight.until(lambda: len(tonight.events) >= 20)
    tonight.simulator.close()
    assert len(tonight.events) < 80


def test_events_can_come_twice(night):
    tonight = night(events=EventOptions(doubled_share=1))
    tonight.ask()
    tonight.until(lambda: told(tonight).count("Completed") == 2)
    assert told(tonight) == [phase for phase in PHASES for _ in range(2)]
    assert len({event["id"] for event in tonight.events}) == 2 * len(PHASES)


def test_a_delayed_event_comes_behind_its_successors(night):
    delayed = EventOptions(delayed_share=0.5, delay_seconds=7200, seed=3)
    tonight = night(events=delayed, spot_market=SimulatedMarket.never())
    tonight.ask("one")
    tonight.ask("two")
    tonight.until(lambda: len(tonight.events) == 4)
    times = [event["detail"]["LastModifiedTime"] for event in tonight.events]
    assert times != sorted(times)


@pytest.mark.parametrize("wrong", [{"lost_share": 1.1}, {"doubled_share": -0.1}, {"delay_seconds": -1}])
def test_shares_and_delays_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EventOptions(**wrong)
