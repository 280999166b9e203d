"""What runs, but not as its author may hope."""

import pytest

from nightspot.job.cautions import warnings_for


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


STOPPING = "training_job.StoppingCondition"


def test_paid_time_that_a_slow_on_demand_rung_passes_is_a_warning(job_with):
    rung = {"instance_type": "ml.g5.48xlarge", "speed": 0.5}
    (warning,) = warnings_for(job_with({"capacity.on_demand.1": rung, "deadline": {"within": "20h"}}))
    assert warning.field == "capacity.on_demand[1].instance_type"
    assert "needs 8 h for all of the work, and MaxRuntimeInSeconds lets a run pay for 6 h" in warning.rule
    assert warning.severity == "warning"
    # On Spot an attempt may run for what it needs.
    assert warnings_for(job_with({"capacity.spot.1.speed": 0.5})) == ()
    unstated = {"capacity.on_demand.1": {**rung, "speed": 0.1}, STOPPING: {}, "deadline": {"within": "50h"}}
    assert warnings_for(job_with(unstated)) == ()


@pytest.mark.parametrize(
    ("changes", "enough"),
    [
        # The limit of many walk-throughs: as long as the work.
        ({f"{STOPPING}.MaxRuntimeInSeconds": 14_400}, "20880 (5 h 48 min)"),
        ({f"{STOPPING}.MaxRuntimeInSeconds": 20_879}, "20880 (5 h 48 min)"),
        ({f"{STOPPING}.MaxRuntimeInSeconds": 20_880}, None),
        ({"checkpoint_every": "1h"}, "24480 (6 h 48 min)"),
        ({"checkpoint_every": "36m"}, None),
        ({STOPPING: {}}, None),
        ({STOPPING: {}, "work": "7h", "deadline": {"within": "8h"}}, None),
    ],
)
def test_a_limit_that_repeated_work_could_use_up_is_a_warning_with_what_would_do(job_with, changes, enough):
    found = [warning for warning in warnings_for(job_with(changes)) if warning.field.startswith(STOPPING)]
    if enough is None:
        assert found == []
        return
    (warning,) = found
    assert warning.field == f"{STOPPING}.MaxRuntimeInSeconds"
    assert warning.value == str(changes.get(f"{STOPPING}.MaxRuntimeInSeconds", 21_600))
    assert warning.rule == (
        "is tight: a run pays for no more than that, and interruptions repeat work; "
        f"1.2 x work and 2 x checkpoint_every are {enough}"
    )


IMAGE = {"TrainingImage": "training:latest", "TrainingInputMode": "File"}


@pytest.mark.parametrize(
    ("changes", "out"),
    [
        # AWS lets an algorithm that does not checkpoint have an hour on Spot.
        ({"work": "2h"}, [0, 1]),
        ({"work": "59m"}, [1]),
        ({"work": "59m", "capacity.spot.1.speed": 1}, []),
        # Of an image nobody can tell whether it is such an algorithm's.
        ({"work": "2h", "training_job.AlgorithmSpecification": IMAGE}, []),
    ],
)
def test_spot_without_the_time_for_an_algorithm_without_checkpoints_is_a_warning(
    job_with, drop, changes, out
):
    algorithm = {"AlgorithmName": "forest", "TrainingInputMode": "File"}
    unsaved = {"interruptible": "from_start", "training_job.CheckpointConfig": drop}
    job = job_with({**unsaved, "training_job.AlgorithmSpecification": algorithm, **changes})
    found = [w for w in warnings_for(job) if w.field.startswith("capacity.spot")]
    assert [w.field for w in found] == [f"capacity.spot[{n}].instance_type" for n in out]
    assert all("is left out of every run: MaxWaitTimeInSeconds lets" in w.rule for w in found)


def test_an_algorithm_with_checkpoints_may_wait_on_spot(job_with):
    algorithm = {"AlgorithmName": "forest", "TrainingInputMode": "File"}
    assert warnings_for(job_with({"training_job.AlgorithmSpecification": algorithm})) == ()
