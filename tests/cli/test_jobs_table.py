"""How a list of jobs reads, whichever way its lines came."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from nightspot.api.models import JobDescription, JobsList, LastRun, MonthCosts, line_as_json, lines_of
from nightspot.cli.jobs import jobs_table, last_run_words, month_words
from nightspot.job.reading import load_job
from nightspot.record.model import read_record
from nightspot.terminal.lines import console_for


@pytest.fixture
def job(pytestconfig):
    return load_job(pytestconfig.rootpath / "jobs" / "recommender.yaml")


@pytest.fixture
def account(pytestconfig):
    """`account(**changes)` of a bad night of the recommender that cost $84.05."""
    record = json.loads(
        (pytestconfig.rootpath / "tests/view/html/bad_night.json").read_text(encoding="utf-8")
    )
    return lambda **changes: read_record({**record, "job": "recommender", **changes})


def changed(job, **sections: Any):
    """The job with these sections of its file instead."""
    return type(job).model_validate({**job.model_dump(by_alias=True), **sections})


def line_of(*runs, **jobs) -> dict[str, Any]:
    (line,) = lines_of(jobs, runs, "2026-11")
    return line_as_json(line)


def shown(*lines: dict[str, Any]) -> list[str]:
    """The rows of the table, their columns parted by bars, as both ways show them."""
    answer = JobsList.model_validate({"month": "2026-11", "jobs": lines}).model_dump(mode="json")
    table = jobs_table(answer["jobs"])
    cells = [[str(cell) for cell in column.cells] for column in table.columns]
    printed = io.StringIO()
    console_for(printed).print(table)
    assert len(printed.getvalue().splitlines()) >= 2 + len(lines)
    return [" | ".join(row) for row in zip(*cells, strict=True)]


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ({"cron": "0 0 * * ? *", "timezone": "Europe/Dublin"}, "cron(0 0 * * ? *) Europe/Dublin"),
        ({"rate": "1 day", "paused": True}, "paused (rate(1 day) UTC)"),
        ({"cron": "0 0 * * ? *", "flexible": "90m"}, "cron(0 0 * * ? *) UTC, up to 1 h 30 min later"),
        (
            {"cron": "0 0 * * ? *", "flexible": "15m", "paused": True},
            "paused (cron(0 0 * * ? *) UTC, up to 15 min later)",
        ),
        (None, "by hand"),
    ],
)
def test_a_schedule_says_when_it_starts_and_whether_it_rests(job, schedule, words):
    (row,) = shown(line_of(recommender=changed(job, schedule=schedule)))
    assert row.split(" | ")[1] == words


@pytest.mark.parametrize(
    ("deadline", "words"),
    [
        ({"at": "08:00", "timezone": "Europe/Dublin"}, "08:00 Europe/Dublin"),
        ({"within": "8h"}, "8 h after the start"),
    ],
)
def test_a_deadline_is_a_time_or_so_long_after_the_start(job, deadline, words):
    (row,) = shown(line_of(recommender=changed(job, deadline=deadline)))
    assert row.split(" | ")[2] == words


@pytest.mark.parametrize(
    ("capacity", "words"),
    [
        (
            {"spot": ["ml.p4d.24xlarge", {"instance_type": "ml.g5.xlarge", "speed": 0.4}]},
            "Spot ml.p4d.24xlarge, ml.g5.xlarge",
        ),
        (
            {"spot": ["ml.g5.xlarge"], "on_demand": ["ml.g4dn.xlarge"]},
            "Spot ml.g5.xlarge; on-demand ml.g4dn.xlarge",
        ),
        ({"on_demand": ["ml.g4dn.xlarge"]}, "on-demand ml.g4dn.xlarge"),
    ],
)
def test_a_ladder_names_the_types_of_each_market_best_first(job, capacity, words):
    fallback = "on_demand" if "on_demand" in capacity else "never"
    (row,) = shown(line_of(recommender=changed(job, capacity=capacity, fallback=fallback)))
    assert row.split(" | ")[3] == words


def test_jobs_stand_by_name_with_their_last_run_and_month(job, account):
    newest = account(run_id="b", started_at="2026-11-21T01:00:11+01:00")
    older = account(run_id="a", started_at="2026-11-20T00:00:11+00:00", outcome="failed", cost_usd=1.0)
    lines = [
        line_as_json(line)
        for line in lines_of({"recommender": job, "b": job}, [newest, older, account(job="gone")], "2026-11")
    ]
    b, gone, recommender = shown(*lines)
    assert b.startswith("b | paused (cron(")
    assert b.endswith(" | none yet | $0.00")
    assert gone.startswith("gone | no job file | - | - | ")
    assert recommender.endswith(" | in time, 2026-11-21 00:00 | $85.05")


def test_a_last_run_is_told_in_utc_and_in_words():
    last = {"ending": "in_time", "started_at": "2026-11-21T01:00:11+01:00"}
    assert last_run_words(last) == "in time, 2026-11-21 00:00"


def test_a_run_that_goes_on_is_the_last_one(account):
    assert last_run_words(line_of(account(outcome="running"))["last_run"]).startswith("running, ")


def test_this_month_s_cost_is_at_least_what_is_known(account):
    whole = account()
    other_month = account(started_at="2026-10-31T00:00:00+00:00")
    free = account(outcome="running", cost_usd=None, cost_at_least_usd=0.0)
    going_on = account(outcome="running", cost_usd=None, cost_at_least_usd=10.0)
    unpriced = account(cost_usd=None, cost_at_least_usd=2.5)
    for runs, words in (
        ([whole, other_month], "$84.05"),
        ([whole, going_on], "at least $94.05"),
        ([whole, free], "at least $84.05"),
        ([whole, unpriced], "at least $86.55"),
    ):
        assert month_words(line_of(*runs)["month"]) == words


def test_a_sum_that_floats_cannot_hold_is_known_all_the_same(account):
    runs = [account(run_id=str(n), cost_usd=0.1, cost_at_least_usd=0.1) for n in range(3)]
    month = line_of(*runs)["month"]
    assert (month["cost_usd"], month["cost_at_least_usd"]) == (0.3, 0.3)


def test_an_api_of_an_older_version_tells_no_limits(job):
    line = line_of(recommender=job)
    assert line.pop("overrides")["allow"]
    (told,) = JobsList.model_validate({"month": "2026-11", "jobs": [line]}).jobs
    assert told.overrides is None


def test_a_line_has_the_fields_that_the_api_declares(job, account):
    line = line_of(account(), recommender=job)
    assert line.keys() == JobDescription.model_fields.keys()
    assert line["last_run"].keys() == LastRun.model_fields.keys()
    assert line["month"].keys() == MonthCosts.model_fields.keys()
