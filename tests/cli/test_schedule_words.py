"""How `nightspot jobs` words a schedule."""

from __future__ import annotations

import pytest

from nightspot.cli.operate_jobs import schedule_words
from nightspot.job import load_job


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
def test_a_schedule_says_when_it_starts_and_whether_it_rests(pytestconfig, schedule, words):
    job = load_job(pytestconfig.rootpath / "jobs" / "recommender.yaml")
    changed = type(job).model_validate({**job.model_dump(by_alias=True), "schedule": schedule})
    assert schedule_words(changed) == words
