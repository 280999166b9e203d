"""The tables of accounts: stable columns, and cells that say nothing where nothing is known."""

import csv
import io

import pytest

from nightspot.failures.codes import FailureClass
from nightspot.record import statement as accounts
from nightspot.record.statement import ATTEMPT_COLUMNS, RUN_COLUMNS
from nightspot.record.summary import summarise
from nightspot.run.model import Outcome


@pytest.fixture
def summary(story):
    """A night with a failed Spot attempt whose bill is missing."""
    spot = story.ended(FailureClass.INTERRUPTED, trained_seconds=60.0, worked_seconds=60.0)
    on_demand = story.ended(
        None,
        story.on_demand,
        number=2,
        trained_seconds=7200.0,
        worked_seconds=7200.0,
        billable_seconds=7200.0,
    )
    return summarise(story.run(attempts=[spot, on_demand], outcome=Outcome.SUCCEEDED))


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_columns_keep_their_names_and_their_places():
    # Programs read these files: what is new goes to the end.
    assert ",".join(RUN_COLUMNS) == (
        "month,job,run_id,started_at,ended_at,ending,margin_seconds,attempts,fell_back,interruptions,"
        "waited_seconds,starting_seconds,trained_seconds,billable_seconds,repeated_seconds,repeated_evidence,"
        "lost_seconds,cost_usd,cost_at_least_usd,on_demand_cost_usd,saved_usd,saved_percent,uses_plan_rate,missing,"
        "saved_at_most_usd,yardstick"
    )
    assert ",".join(ATTEMPT_COLUMNS) == (
        "job,run_id,number,training_job_name,market,instance_type,asked_at,ended_at,status,failure_class,"
        "interruptions,waited_seconds,starting_seconds,trained_seconds,billable_seconds,repeated_seconds,"
        "repeated_evidence,lost_seconds,cost_usd,on_demand_cost_usd,saved_usd,missing"
    )


def test_a_run_is_a_row_in_which_what_is_not_known_is_empty(summary):
    (row,) = accounts.run_rows([summary])
    assert tuple(row) == RUN_COLUMNS
    (cells,) = read(accounts.to_csv(RUN_COLUMNS, [row]))
    assert (cells["month"], cells["ending"], cells["attempts"]) == ("2026-11", "in_time", "2")
    assert (cells["cost_usd"], cells["saved_usd"], cells["cost_at_least_usd"]) == ("", "", "66.0")
    assert (cells["fell_back"], cells["missing"]) == ("true", "billable_seconds")


def test_each_attempt_is_a_row_with_its_runs_name(summary):
    rows = accounts.attempt_rows([summary])
    assert [tuple(row) for row in rows] == [ATTEMPT_COLUMNS] * 2
    spot, on_demand = read(accounts.to_csv(ATTEMPT_COLUMNS, rows))
    assert {row["run_id"] for row in rows} == {summary.run_id}
    assert (spot["market"], spot["cost_usd"], spot["missing"]) == ("spot", "", "billable_seconds")
    assert (on_demand["market"], on_demand["cost_usd"], on_demand["saved_usd"]) == (
        "on_demand",
        "66.0",
        "0.0",
    )


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_a_text_that_a_spreadsheet_would_run_is_disarmed(text):
    (cells,) = read(accounts.to_csv(["job", "usd"], [{"job": text, "usd": -1.5}]))
    assert cells == {"job": f"'{text}", "usd": "-1.5"}
