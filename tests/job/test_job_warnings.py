"""What runs, but not as its author may hope."""

import pytest

from nightspot.job import warnings_for


def test_a_sound_job_needs_no_word(job_with):
    assert warnings_for(job_with({})) == ()


def test_a_deadline_that_on_demand_cannot_meet_is_a_warning_with_the_numbers(job_with):
    (warning,) = warnings_for(job_with({"schedule.cron": "0 4 * * ? *"}))
    assert (warning.field, warning.value, warning.severity) == ("deadline", "08:00 UTC", "warning")
    assert "the start leaves 4 h" in warning.rule
    assert "on-demand training needs 4 h 15 min (4 h on ml.p4d.24xlarge and 15 min" in warning.rule


@pytest.mark.parametrize(
    ("changes", "late"),
    [
        ({"deadline": {"within": "4h14m"}}, True),
        ({"deadline": {"within": "4h15m"}}, False),
        ({"deadline": {"within": "4h14m"}, "change_over": {"on_demand": "14m"}}, False),
        # Half the pace is twice the time; on a faster rung it fits again.
        ({"capacity.on_demand.0": {"instance_type": "ml.g5.48xlarge", "speed": 0.5}}, True),
        (
            {
                "deadline": {"within": "3h"},
                "capacity.on_demand.1": {"instance_type": "ml.p5.48xlarge", "speed": 2},
            },
            False,
        ),
        # Spot or nothing: what counts is a Spot run without a reclaim, with Spot's change-over.
        ({"deadline": {"within": "4h9m"}, "capacity.on_demand": [], "fallback": "never"}, True),
        ({"deadline": {"within": "4h10m"}, "capacity.on_demand": [], "fallback": "never"}, False),
        # 03:50 in Dublin leaves 4 h 10 min to 08:00 UTC in winter, and an hour more in summer.
        ({"schedule": {"cron": "45 2 * * ? *", "timezone": "Europe/Dublin"}}, False),
        ({"schedule": {"cron": "50 3 * * ? *", "timezone": "Europe/Dublin"}}, True),
        # A start that the file does not tell.
        (
            {"schedule": None, "work": "20h", "training_job.StoppingCondition.MaxRuntimeInSeconds": 90000},
            False,
        ),
        ({"schedule": {"rate": "1 day"}, "work": "5h"}, False),
        ({"schedule.cron": "0 4,5 * * ? *"}, False),
    ],
)
def test_a_warning_comes_exactly_when_the_work_cannot_fit(job_with, changes, late):
    fields = [warning.field for warning in warnings_for(job_with(changes))]
    assert ("deadline" in fields) is late


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        # Twice four hours, ten minutes of change-over on Spot and fifteen on-demand.
        ({"deadline": {"within": "8h24m"}}, True),
        ({"deadline": {"within": "8h25m"}}, False),
        # Spot twice is five minutes less of change-over.
        ({"deadline": {"within": "8h19m"}, "fallback": "never"}, True),
        ({"deadline": {"within": "8h20m"}, "fallback": "never"}, False),
        # Where not even one training fits, one warning is enough: the deadline's.
        ({"deadline": {"within": "4h"}}, False),
        ({"deadline": {"within": "8h24m"}, "interruptible": "from_checkpoint"}, False),
        ({"deadline": {"within": "8h24m"}, "capacity.spot": []}, False),
        ({"schedule": None}, False),
    ],
)
def test_starting_over_without_the_time_for_it_is_a_warning(job_with, changes, warned):
    found = warnings_for(job_with({"interruptible": "from_start", **changes}))
    assert ("interruptible" in [warning.field for warning in found]) is warned


def test_the_warning_on_starting_over_has_the_numbers(job_with):
    (warning,) = warnings_for(job_with({"interruptible": "from_start"}))
    assert (warning.field, warning.value, warning.severity) == ("interruptible", "'from_start'", "warning")
    assert "training twice needs 8 h 25 min" in warning.rule
    assert "the start leaves 8 h" in warning.rule


def test_a_runtime_limit_that_cuts_a_slow_rung_is_a_warning(job_with):
    (warning,) = warnings_for(job_with({"capacity.spot.1.speed": 0.5}))
    assert warning.field == "capacity.spot[1].instance_type"
    assert "needs 8 h for all of the work, and MaxRuntimeInSeconds ends it after 6 h" in warning.rule
    assert warning.severity == "warning"
