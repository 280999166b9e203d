"""What runs cost and saved, added up by month and job."""

import json
from datetime import UTC, datetime

import pytest

from nightspot.costs.lost_work import Evidence
from nightspot.record import statement as accounts
from nightspot.record.model import Ending, RecordNotReadableError, read_record
from nightspot.record.statement import Total
from nightspot.run.model import Outcome
from nightspot.run.reasons import Reason
from tests.records import past_run

NIGHT = {
    "job": "recommender",
    "run_id": "20261121-abc123",
    "outcome": "succeeded",
    "started_at": "2026-11-21T00:00:00+00:00",
    "ended_at": "2026-11-21T06:00:00+00:00",
    "deadline_met": True,
    "margin_seconds": 7200.0,
    "waited_seconds": 600.0,
    "starting_seconds": 300.0,
    "trained_seconds": 15_000.0,
    "billable_seconds": 4500.0,
    "repeated_seconds": 300.0,
    "repeated_evidence": "measured",
    "lost_seconds": 300.0,
    "interruptions": 0,
    "fell_back": False,
    "cost_usd": 40.0,
    "cost_at_least_usd": 40.0,
    "on_demand_cost_usd": 132.0,
    "saved_usd": 92.0,
    "missing": [],
    "attempts": [],
}
UNPRICED = {"cost_usd": None, "cost_at_least_usd": 12.0, "saved_usd": None, "missing": ["billable_seconds"]}
OPEN = {"outcome": "running", "ended_at": None, "cost_at_least_usd": 5.0, "missing": ["outcome"]}


def night(**changes):
    return read_record({**NIGHT, **changes})


def without_model(outcome):
    return night(outcome=outcome, deadline_met=False, margin_seconds=None)


# How each outcome ends a night; a model that is there is in time or late.
ENDINGS = [
    ({"outcome": "succeeded", "deadline_met": True}, Ending.IN_TIME),
    ({"outcome": "succeeded", "deadline_met": False}, Ending.LATE),
    ({"outcome": "failed"}, Ending.FAILED),
    ({"outcome": "skipped"}, Ending.SKIPPED),
    ({"outcome": "stopped"}, Ending.STOPPED),
    ({"outcome": "refused"}, Ending.REFUSED),
    ({"outcome": "running"}, Ending.RUNNING),
]


@pytest.mark.parametrize(("changes", "ending"), ENDINGS, ids=[ending.value for _, ending in ENDINGS])
def test_every_outcome_is_one_way_for_a_night_to_end(changes, ending):
    assert night(**changes).ending is ending


def test_no_outcome_and_no_ending_is_left_out():
    assert {changes["outcome"] for changes, _ in ENDINGS} == {*Outcome, "running"}
    assert [ending for _, ending in ENDINGS if ending not in Ending] == []
    assert {ending for _, ending in ENDINGS} == set(Ending)


def test_a_run_saved_what_on_demand_would_have_cost_less_its_own_cost():
    account = night()
    assert (account.saved_usd, account.saved_percent) == (92, pytest.approx(69.697, abs=0.001))


@pytest.mark.parametrize("outcome", ["failed", "skipped", "stopped"])
def test_what_a_run_without_a_model_cost_is_a_loss(outcome):
    account = without_model(outcome)
    assert (account.on_demand_cost_usd, account.saved_usd, account.saved_percent) == (0, -40, None)


@pytest.mark.parametrize("field", ["cost_usd", "on_demand_cost_usd"])
def test_a_stored_saving_does_not_outlive_the_figures_it_was_made_of(field):
    account = night(**{field: None})
    assert (account.saved_usd, account.saved_percent) == (None, None)
    assert account.missing


def test_what_is_said_to_be_missing_takes_the_saving_with_it():
    assert night(missing=["billable_seconds"]).saved_usd is None


def test_a_summary_from_before_figures_were_recorded_is_told_from_its_attempts():
    spot = {"market": "spot", "waited_seconds": 600.0, "trained_seconds": 9000.0, "billable_seconds": 2700.0}
    on_demand = {"market": "on_demand", "waited_seconds": 60.0, "trained_seconds": 7200.0}
    old = {
        name: NIGHT[name]
        for name in ("job", "run_id", "outcome", "started_at", "ended_at", "deadline_met", "margin_seconds")
    }
    old |= {
        "cost_usd": None,
        "on_demand_cost_usd": 132.0,
        "attempts": [
            {**spot, "interruptions": 2, "cost_usd": 24.75},
            {**on_demand, "interruptions": 0, "billable_seconds": None, "cost_usd": None},
        ],
    }
    account = past_run(**old)
    assert (len(account.attempts), account.fell_back, account.interruptions) == (2, True, 2)
    assert (account.waited_seconds, account.trained_seconds) == (660, 16_200)
    assert (account.billable_seconds, account.starting_seconds, account.repeated_seconds) == (
        None,
        None,
        None,
    )
    assert (account.cost_usd, account.cost_at_least_usd, account.saved_usd) == (None, 24.75, None)
    assert account.missing == ("billable_seconds",)


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("job", None, "input should be a valid string"),
        ("job", "", "string should have at least 1 character"),
        ("run_id", 7, "input should be a valid string"),
        (
            "outcome",
            "fine",
            "input should be 'running', 'succeeded', 'failed', 'skipped', 'stopped' or 'refused'",
        ),
        (
            "outcome",
            None,
            "input should be 'running', 'succeeded', 'failed', 'skipped', 'stopped' or 'refused'",
        ),
        ("started_at", "last night", "must be an ISO 8601 time with its zone"),
        ("started_at", "2026-11-21T00:00:00", "must be an ISO 8601 time with its zone"),
        ("cost_usd", -1, "input should be greater than or equal to 0"),
        ("waited_seconds", True, "input should be a valid number"),
        ("waited_seconds", 1e16, "input should be less than or equal to 1000000000000000"),
        ("margin_seconds", float("nan"), "input should be less than or equal to 1000000000000000"),
        ("repeated_evidence", "guessed", "input should be 'measured' or 'estimated'"),
    ],
)
def test_what_is_no_summary_is_refused_by_field_value_and_rule(field, value, rule):
    with pytest.raises(RecordNotReadableError) as error:
        night(**{field: value})
    given = "nothing" if value is None else repr(value)
    assert str(error.value) == f"{field}: {given}: {rule}"


def test_a_record_as_json_is_read_back_as_it_was():
    for run in (
        night(),
        night(**UNPRICED),
        night(**OPEN),
        without_model("failed"),
        night(deadline_met=False),
    ):
        assert read_record(json.loads(json.dumps(run.to_json(), allow_nan=False))) == run


def test_a_run_belongs_to_the_month_in_utc_in_which_it_started():
    assert night(started_at="2026-12-01T00:30:00+01:00").month == "2026-11"
    assert night(started_at="2026-11-30T23:30:00-01:00").month == "2026-12"


def test_a_month_counts_its_nights_and_how_they_ended():
    month = accounts.statement(
        [
            *[night(fell_back=True, interruptions=2)] * 2,
            night(deadline_met=False, interruptions=1),
            *[without_model("skipped")] * 4,
            without_model("failed"),
            night(outcome="refused", cost_usd=0.0),
            night(**OPEN),
        ]
    )
    assert (month.runs, month.nights) == (10, 8)
    assert (month.fell_back, month.interrupted, month.interruptions) == (2, 3, 5)
    assert month.shares == {
        "in_time": 0.25,
        "late": 0.125,
        "failed": 0.125,
        "skipped": 0.5,
        "stopped": 0,
        "fell_back": 0.25,
        "interrupted": 0.375,
    }


def test_a_month_counts_why_its_nights_fell_back_the_most_frequent_first():
    late = night(fell_back=True, fell_back_reason="last_safe_moment")
    slow = night(fell_back=True, fell_back_reason="too_slow")
    older = night(fell_back=True)
    newer = night(fell_back=True, fell_back_reason="a_reason_of_a_newer_version")
    month = accounts.statement([slow, late, late, older, newer, night()])
    expected = [(Reason.LAST_SAFE_MOMENT, 2), (Reason.TOO_SLOW, 1)]
    assert month.fell_back == 5
    assert list(month.fell_back_reasons.items()) == expected
    written = accounts.to_json(month)
    assert written["fell_back_reasons"] == {"last_safe_moment": 2, "too_slow": 1}


def test_a_month_without_nights_has_no_shares():
    month = accounts.statement([night(**OPEN)])
    assert (month.nights, set(month.shares.values())) == (0, {None})
    assert month.saved_percent is None


def test_a_month_adds_up_its_nights_losses_included():
    month = accounts.statement([night(), night(cost_usd=150.0), without_model("failed")])
    assert month.totals["cost_usd"] == Total(230, 3, 3)
    assert month.totals["on_demand_cost_usd"] == Total(264, 3, 3)
    assert month.totals["saved_usd"] == Total(34, 3, 3)
    assert month.saved_percent == pytest.approx(34 / 264 * 100)
    assert month.totals["waited_seconds"].value == 1800


def test_a_sum_that_does_not_cover_every_night_is_a_lower_bound_and_no_total():
    month = accounts.statement([*[night()] * 27, *[night(**UNPRICED)] * 3])
    cost, saved = month.totals["cost_usd"], month.totals["saved_usd"]
    assert (cost.value, cost.known, cost.words) == (None, 27 * 40 + 3 * 12, "27 of 30 nights")
    assert (saved.value, saved.known, saved.words) == (None, 27 * 92, "27 of 30 nights")
    assert month.totals["on_demand_cost_usd"].value == 30 * 132
    # Percent of the nights that both figures are known of, and of the month's only where it is all nights.
    assert month.saved_percent is None
    assert month.known_saved_percent == pytest.approx(92 / 132 * 100)


def test_a_run_under_way_is_in_no_total_but_in_what_it_has_cost_so_far():
    month = accounts.statement([night(), night(**OPEN, cost_usd=None)])
    assert month.totals["cost_usd"] == Total(40, 1, 1)
    assert month.open_cost_at_least_usd == 5
    assert month.totals["cost_usd"].words == "1 of 1 night"


def test_figures_that_are_estimated_or_at_a_plans_rate_are_counted():
    month = accounts.statement([night(repeated_evidence="estimated"), night(uses_plan_rate=True), night()])
    assert (month.repeated_estimated, month.uses_plan_rate) == (1, 1)


def test_a_month_under_a_savings_plan_has_both_bounds():
    under_plan = night(on_demand_cost_usd=0.0, saved_usd=-40.0, saved_at_most_usd=92.0, uses_plan_rate=True)
    month = accounts.statement([under_plan, night()])
    assert month.totals["saved_usd"] == Total(52, 2, 2)
    assert month.totals["saved_at_most_usd"] == Total(184, 2, 2)


def test_an_older_record_has_one_bound_and_a_stored_range_moves_with_its_parts():
    assert night().saved_at_most_usd == 92
    assert night(saved_at_most_usd=112.0).saved_at_most_usd == 112
    assert night(cost_usd=50.0, saved_at_most_usd=112.0).saved_at_most_usd == 102
    assert night(repeated_evidence="estimated").repeated_evidence is Evidence.ESTIMATED


def test_runs_are_grouped_by_month_and_job_in_order():
    december = night(started_at="2026-12-01T00:00:00+00:00")
    other = night(job="adverts")
    runs = [december, night(), other, night()]
    assert {key: part.runs for key, part in accounts.by_month(runs).items()} == {"2026-11": 3, "2026-12": 1}
    assert list(accounts.by_month(runs)) == ["2026-11", "2026-12"]
    assert {key: part.runs for key, part in accounts.by_job(runs).items()} == {"adverts": 1, "recommender": 3}


def test_a_month_has_its_first_moment_and_the_next_ones():
    assert accounts.bounds_of("2026-11") == (
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2026, 12, 1, tzinfo=UTC),
    )
    assert accounts.bounds_of("2026-12")[1] == datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "11-2026", "2026-11-21", "0000-01", "9999-12", ""])
def test_what_is_no_month_is_refused(month):
    with pytest.raises(accounts.MonthError, match=f"month: '{month}': must be a year and a month"):
        accounts.bounds_of(month)
