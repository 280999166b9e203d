"""The record of a run that people and programs read."""

import json
from dataclasses import replace

import pytest

from nightspot.failures.codes import FailureClass
from nightspot.record.model import read_record
from nightspot.record.summary import summarise
from nightspot.run.model import LeftOut, Outcome
from nightspot.run.reasons import Reason


@pytest.fixture
def night(story):
    """Spot was reclaimed for good after two hours, on-demand finished at 07:00 from step 12."""
    spot = story.ended(
        FailureClass.STOPPED_BY_NIGHTSPOT,
        ended_at=story.at("03:00"),
        trained_seconds=8100.0,
        worked_seconds=7500.0,
        waited_seconds=1800.0,
        queued_seconds=300.0,
        ready_seconds=500.0,
        billable_seconds=2160.0,
        seconds_per_step=600.0,
        interruptions=2,
        step_after=12,
    )
    on_demand = story.ended(
        None,
        story.on_demand,
        number=2,
        status="Completed",
        ended_at=story.at("07:00"),
        trained_seconds=7200.0,
        billable_seconds=7200.0,
        seconds_per_step=600.0,
        step_before=12,
        step_after=24,
        resumed_from_step=12,
        model_artifact="s3://models/model.tar.gz",
    )

    def run(**changes):
        fields = {
            "attempts": [spot, on_demand],
            "progress": story.progress(24, "06:59", metrics={"loss": 0.25}),
            "steps": 9,
            "outcome": Outcome.SUCCEEDED,
            "outcome_because": "It has completed.",
        }
        return story.run(**{**fields, **changes})

    return run


def test_a_good_night_is_told_with_its_margin_cost_and_savings(night):
    summary = summarise(night()).to_json()
    told = {
        key: summary[key] for key in ("outcome", "deadline_met", "margin_seconds", "ended_at", "decisions")
    }
    assert told == {
        "outcome": "succeeded",
        "deadline_met": True,
        "margin_seconds": 3600.0,
        "ended_at": "2026-11-21T07:00:00+00:00",
        "decisions": 9,
    }
    # 0.6 h and 2 h at $33, against 24 steps of 600 s.
    assert (summary["cost_usd"], summary["on_demand_cost_usd"]) == (85.8, 132.0)
    assert (summary["saved_percent"], summary["saved_at_most_usd"]) == (35.0, 46.2)
    assert (summary["yardstick"], summary["yardstick_in_time"]) == ("ml.p4d.24xlarge", True)
    assert summary["model_artifact"] == "s3://models/model.tar.gz"
    assert summary["metrics"] == {"loss": 0.25}


def test_a_night_says_where_its_machine_time_went(night):
    summary = summarise(night()).to_json()
    figures = (
        "waited_seconds",
        "starting_seconds",
        "trained_seconds",
        "billable_seconds",
        "repeated_seconds",
    )
    assert [summary[name] for name in figures] == [1800, None, 15_300, 9360, 300]
    assert (summary["repeated_evidence"], summary["interruptions"]) == ("measured", 2)
    spot, on_demand = summary["attempts"]
    assert [spot[name] for name in figures] == [1800, 600, 8100, 2160, 300]
    # The first start-up took 200 s, and any night needs one.
    assert (spot["lost_seconds"], on_demand["lost_seconds"]) == (700, None)


def test_each_attempt_says_what_it_saved(night):
    summary = summarise(night()).to_json()
    assert (summary["saved_usd"], summary["missing"]) == (46.2, [])
    assert [attempt["saved_usd"] for attempt in summary["attempts"]] == [46.2, 0]


def test_a_run_fell_back_where_it_asked_for_on_demand_although_it_wants_spot(story, night):
    spot, on_demand = night().attempts
    assert summarise(night()).fell_back is True
    assert summarise(night(attempts=[spot])).fell_back is False
    alone = night(rungs=(story.on_demand,), attempts=[on_demand])
    assert summarise(alone).fell_back is False


def test_a_run_that_fell_back_says_why_if_its_version_knew(story, night):
    late = Reason.LAST_SAFE_MOMENT
    assert summarise(night()).fell_back_reason is None
    assert summarise(night(fell_back_reason=late)).fell_back_reason == "last_safe_moment"
    # One that was in doubt turned out to be on Spot.
    spot, _ = night().attempts
    assert summarise(night(attempts=[spot], fell_back_reason=late)).fell_back_reason is None


def test_each_attempt_proves_where_it_went_on(night):
    spot, on_demand = summarise(night()).to_json()["attempts"]
    assert (spot["failure_class"], spot["interruptions"], spot["step_after"]) == (
        "stopped_by_nightspot",
        2,
        12,
    )
    assert (on_demand["failure_class"], on_demand["resumed_from_step"]) == (None, 12)
    assert (spot["market"], on_demand["market"]) == ("spot", "on_demand")
    assert (spot["cost_usd"], on_demand["cost_usd"]) == (19.8, 66.0)


def test_a_model_after_the_deadline_is_a_model_but_late(story, night):
    summary = summarise(night(deadline=story.at("06:30"))).to_json()
    assert summary["outcome"] == "succeeded"
    assert summary["deadline_met"] is False
    assert summary["margin_seconds"] == -1800.0


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.SKIPPED, Outcome.STOPPED])
def test_without_a_model_nothing_was_met_or_saved(night, outcome):
    summary = summarise(night(attempts=night().attempts[:1], outcome=outcome)).to_json()
    assert summary["outcome"] == outcome.value
    assert summary["deadline_met"] is False
    assert (summary["saved_percent"], summary["model_artifact"], summary["margin_seconds"]) == (
        None,
        None,
        None,
    )
    assert (summary["cost_usd"], summary["on_demand_cost_usd"], summary["saved_usd"]) == (19.8, 0, -19.8)


def test_a_missing_bill_is_named_and_never_counted_as_saved(story, night):
    _, on_demand = night().attempts
    unbilled = story.ended(FailureClass.USER_CODE, trained_seconds=60.0)
    summary = summarise(night(attempts=[unbilled, on_demand])).to_json()
    assert (summary["cost_usd"], summary["saved_percent"]) == (None, None)
    assert (summary["unpriced_attempts"], summary["missing"]) == ([1], ["billable_seconds"])
    assert (summary["saved_usd"], summary["cost_at_least_usd"]) == (None, 66)
    assert summary["attempts"][0]["cost_usd"] is None


def test_a_run_that_bought_nothing_has_a_summary_too(story):
    summary = summarise(story.run(outcome=Outcome.FAILED, outcome_because="No budget.")).to_json()
    assert summary["because"] == "No budget."
    assert (summary["attempts"], summary["ended_at"], summary["cost_usd"]) == ([], None, 0)
    assert summary["metrics"] == {}


def test_a_summary_says_how_much_of_the_ladder_is_left(story):
    run = story.run(outcome=Outcome.FAILED)
    assert summarise(run).rungs_left == len(run.rungs)
    gone = tuple(LeftOut(rung, "its quota is 0, and 1 are needed") for rung in run.rungs)
    assert summarise(replace(run, left_out=gone[:1])).rungs_left == len(run.rungs) - 1
    assert summarise(replace(run, left_out=gone)).rungs_left == 0


def test_a_summary_says_that_the_run_crashed(story):
    assert summarise(story.run(outcome=Outcome.FAILED)).crashed is False
    assert summarise(replace(story.run(outcome=Outcome.FAILED), crashed=True)).crashed is True


def test_a_run_under_way_says_so(story):
    summary = summarise(story.run(attempts=[story.attempt()])).to_json()
    assert (summary["outcome"], summary["ended_at"]) == ("running", None)
    assert (summary["saved_usd"], summary["missing"]) == (None, ["outcome", "billable_seconds"])


def test_a_summary_is_json_as_it_stands(night, story):
    for run in (night(), story.run(), story.run(attempts=[story.attempt()])):
        written = json.dumps(summarise(run).to_json(), allow_nan=False)
        assert read_record(json.loads(written)).headline == summarise(run).headline
