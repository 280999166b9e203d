"""The job file as others see it: the example that ships, and the names they build on."""

import pickle
import subprocess
import sys
from datetime import time
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from nightspot.job.cautions import warnings_for
from nightspot.job.errors import InvalidJobError, Problem
from nightspot.job.markets import Fallback, Market
from nightspot.job.model import Budget, Capacity, ChangeOver, InstanceType, Job, Local, OverrideLimits
from nightspot.job.reading import load_job, parse_job
from nightspot.job.times import Deadline, Schedule


@pytest.fixture
def recommender(request) -> Job:
    return load_job(Path(request.config.rootpath) / "jobs" / "recommender.yaml")


def test_the_example_tells_the_reference_story(recommender):
    p4d = InstanceType(instance_type="ml.p4d.24xlarge")
    request = recommender.training_job
    assert recommender == Job(
        name="recommender",
        schedule=Schedule(cron="0 0 * * ? *", paused=True),
        deadline=Deadline(at=time(8)),
        work_seconds=4 * 3600,
        checkpoint_every_seconds=1800,
        capacity=Capacity(spot=(p4d,), on_demand=(p4d,)),
        change_over=ChangeOver(spot_seconds=600, on_demand_seconds=900),
        fallback=Fallback.ON_DEMAND,
        budget=Budget(per_run_usd=200),
        overrides=OverrideLimits(
            instance_types=(InstanceType(instance_type="ml.g5.48xlarge"),), per_run_usd=300
        ),
        training_job=request,
        local=Local(
            command=("python", "examples/recommender/train.py"),
            time_scale=480,
            environment={"RECOMMENDER_SECONDS_PER_EPOCH": "1.25"},
        ),
    )
    assert request["HyperParameters"] == {"epochs": "24", "seed": "7", "checkpoint-every": "3"}
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 6 * 3600}
    assert [warning.field for warning in warnings_for(recommender)] == ["schedule.paused"]


def test_a_job_written_out_reads_back_the_same(recommender):
    text = yaml.safe_dump(recommender.model_dump(mode="json", by_alias=True))
    assert parse_job(text) == recommender


def test_a_file_needs_only_what_cannot_be_guessed(recommender):
    job = Job(
        name="a",
        deadline=Deadline(within_seconds=3600),
        work_seconds=1200,
        capacity=Capacity(on_demand=(InstanceType(instance_type="ml.m5.large"),)),
        training_job={},
    )
    assert (job.schedule, job.budget, job.local) == (None, None, None)
    assert job.fallback is Fallback.ON_DEMAND
    assert job.change_over == ChangeOver(spot_seconds=600, on_demand_seconds=900)
    assert job.checkpoint_every_seconds == 1200  # 30 minutes, but never longer than the work
    assert job.instance_count == 1
    assert job.capacity.first_market is Market.ON_DEMAND


def test_the_instance_count_is_the_requests(recommender):
    request = {"ResourceConfig": {"InstanceCount": 4}}
    assert recommender.model_copy(update={"training_job": request}).instance_count == 4


def test_a_job_is_frozen(recommender):
    with pytest.raises(ValidationError, match="frozen"):
        recommender.work_seconds = 1


def test_the_error_lists_its_problems_one_per_line_and_notes_the_source():
    problems = (Problem("work", "'soon'", "must be a duration"), Problem("name", "nothing", "is required"))
    error = InvalidJobError(problems, "jobs/a.yaml")
    assert str(error) == "work: 'soon': must be a duration\nname: nothing: is required"
    assert error.__notes__ == ["in jobs/a.yaml"]
    assert pickle.loads(pickle.dumps(error)).problems == problems  # noqa: S301


def test_the_source_reaches_the_error():
    with pytest.raises(InvalidJobError) as caught:
        parse_job("name: [", source="jobs/a.yaml")
    assert caught.value.source == "jobs/a.yaml"


def test_importing_the_job_loads_neither_boto3_nor_botocore():
    code = "import sys, nightspot.job; sys.exit(any(m.startswith('boto') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
