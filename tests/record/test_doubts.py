"""How a saving could be too high: one sentence, made of what applies to the run or the runs."""

import pytest

from nightspot.record.model import read_record
from nightspot.record.sentences import how_too_high, how_too_high_together, money
from nightspot.record.statement import statement

RUN = {
    "job": "recommender",
    "run_id": "20261121-abc123",
    "outcome": "succeeded",
    "started_at": "2026-11-21T00:00:00+00:00",
    "deadline_met": True,
    "cost_usd": 40.0,
    "on_demand_cost_usd": 132.0,
    "saved_usd": 92.0,
    "saved_at_most_usd": 92.0,
    "repeated_evidence": "measured",
    "yardstick": "ml.p4d.24xlarge",
    "yardstick_in_time": True,
}
CHEAPER = "a cheaper type than ml.p4d.24xlarge that the job file does not name would make it smaller"
UNDER_PLAN = {"cost_usd": 47.16, "on_demand_cost_usd": 0.0, "saved_usd": -47.16, "saved_at_most_usd": 44.84}


def run(**changes):
    return read_record({**RUN, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, CHEAPER),
        ({"repeated_evidence": "estimated"}, f"its repeated work is an estimate; {CHEAPER}"),
        (
            {"remarks": [{"kind": "unfinished_steps", "text": "finished at step 3 of 24"}]},
            f"steps after its last checkpoint may be counted; {CHEAPER}",
        ),
        ({"price_assumed": True}, f"a price is assumed; {CHEAPER}"),
        (UNDER_PLAN, f"the higher figure, $44.84, depends on the room in the Savings Plan; {CHEAPER}"),
        (
            {"plan_is_used_up": True},
            f"a Savings Plan counts as used up, as it was on the days before; {CHEAPER}",
        ),
        (
            {"yardstick_in_time": False},
            "it is compared with ml.p4d.24xlarge, the fastest type, though none was expected to be in time",
        ),
        (
            {"yardstick": None, "yardstick_in_time": None},
            "an older version compared it with the job's first on-demand type, which need not be the cheapest",
        ),
    ],
    ids=[
        "nothing but the yardstick",
        "repeated work is estimated",
        "early stop",
        "assumed price",
        "Savings Plan",
        "used-up Savings Plan",
        "no type was in time",
        "older record",
    ],
)
def test_a_run_says_what_applies_to_it(changes, said):
    assert how_too_high(run(**changes)) == f"The saving could be too high: {said}."


@pytest.mark.parametrize(
    "changes",
    [{"outcome": "failed", "deadline_met": False}, {"cost_usd": None}, {"outcome": "running"}],
    ids=["no model", "no bill", "under way"],
)
def test_a_run_that_claims_no_saving_says_nothing(changes):
    assert how_too_high(run(**changes)) == ""


def test_many_runs_say_how_many_are_concerned():
    runs = [
        run(),
        run(repeated_evidence="estimated", price_assumed=True),
        run(**UNDER_PLAN),
        run(plan_is_used_up=True),
        run(cost_usd=None, missing=["billable_seconds"]),
    ]
    assert how_too_high_together(statement(runs)) == (
        "The savings could be too high: the saving of 1 night is not known and may be a loss; the repeated work of"
        " 1 night is an estimate; 1 night had an assumed price; the higher figure, $320.84, depends on the room in"
        " the Savings Plan; a Savings Plan counts as used up for 1 night, as it was on the days before; types that"
        " the job files do not name may be cheaper than those compared with."
    )


def test_many_runs_say_what_they_were_compared_with():
    late, older = {"yardstick_in_time": False}, {"yardstick": None, "yardstick_in_time": None}
    runs = [run(), run(**late), run(**late), run(**older), run(**older, outcome="failed")]
    assert how_too_high_together(statement(runs)) == (
        "The savings could be too high: no type was expected to be in time on 2 nights, the fastest counts; an"
        " older version compared 1 night with the job's first on-demand type; types that the job files do not name"
        " may be cheaper than those compared with."
    )


def test_where_nothing_is_claimed_many_runs_say_nothing():
    assert how_too_high_together(statement([])) == ""
    assert how_too_high_together(statement([run(cost_usd=None)])) == ""


def test_the_money_names_the_type_that_it_is_compared_with():
    assert money(run()) == (
        "All attempts together cost $40.00; on-demand alone (ml.p4d.24xlarge) would have cost $132.00: $92.00"
        " (69.7\u00a0%) saved."
    )


def test_under_a_savings_plan_the_money_is_the_lower_saving_and_says_what_it_depends_on():
    assert money(run(**UNDER_PLAN)) == (
        "All attempts together cost $47.16; on-demand alone (ml.p4d.24xlarge) would have cost $0.00: $47.16 more"
        " than that. It depends on the room in the Savings Plan: at best $44.84 saved."
    )
