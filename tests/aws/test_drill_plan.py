"""What a drill on AWS asks of SageMaker, and what it costs at most."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nightspot.aws.drill_plan import MOST_WAIT_SECONDS, create_request, drill_id
from nightspot.formats.run_ids import (
    JOB_NAME_CHARACTERS,
    TRAINING_JOB_NAME_CHARACTERS,
    NamedTrainingJob,
    read_training_job_name,
)
from nightspot.job.errors import InvalidJobError
from nightspot.job.markets import Market

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def request_of(plan, number=1):
    return create_request(plan, plan.run, number, NOON)


def test_both_jobs_share_a_prefix_of_the_drills_own(plan):
    tonight = plan()
    first, second = request_of(tonight, 1), request_of(tonight, 2)
    assert first["TrainingJobName"] == "nightspot-recommender-drill-261121-3fa9c-1"
    assert second["TrainingJobName"] == "nightspot-recommender-drill-261121-3fa9c-2"
    assert first["CheckpointConfig"]["S3Uri"] == "s3://checkpoints/nightly/drill-261121-3fa9c"
    assert first["CheckpointConfig"] == second["CheckpointConfig"]
    assert first["AlgorithmSpecification"] == second["AlgorithmSpecification"]
    assert (first["Environment"]["NIGHTSPOT_ATTEMPT"], second["Environment"]["NIGHTSPOT_ATTEMPT"]) == (
        "1",
        "2",
    )
    assert {"Key": "team", "Value": "recommendations"} in first["Tags"]
    assert {"Key": "nightspot:run", "Value": "drill-261121-3fa9c"} in first["Tags"]


def test_the_longest_job_name_still_fits_into_a_training_jobs_name(plan, drill_job):
    name = "j" * JOB_NAME_CHARACTERS
    tonight = plan(job=drill_job(name=name))
    given = request_of(tonight)["TrainingJobName"]
    assert len(given) <= TRAINING_JOB_NAME_CHARACTERS
    named = read_training_job_name(given)
    assert named == NamedTrainingJob(name, tonight.run.run_id, 1)
    assert named.is_drill


def test_two_drills_of_one_day_have_names_of_their_own():
    assert drill_id(NOON, "3fa9c0de") == "261121-3fa9c"
    assert drill_id(NOON, "00000000") == "261121-00000"


def test_half_a_model_does_not_lie_where_models_are_looked_for_nor_where_it_would_be_restored(plan):
    request = request_of(plan())
    output, checkpoints = request["OutputDataConfig"]["S3OutputPath"], request["CheckpointConfig"]["S3Uri"]
    assert output == "s3://checkpoints/nightly/drill-output-261121-3fa9c"
    assert not output.startswith(checkpoints)


def test_an_on_demand_drill_takes_the_first_on_demand_type_and_no_spot_fields(plan):
    request = request_of(plan())
    assert request["ResourceConfig"]["InstanceType"] == "ml.g5.2xlarge"
    assert "EnableManagedSpotTraining" not in request
    assert "MaxWaitTimeInSeconds" not in request["StoppingCondition"]


def test_a_spot_drill_takes_the_first_spot_type_and_waits_no_longer_than_the_drill(plan):
    request = request_of(plan(market=Market.SPOT))
    assert request["ResourceConfig"]["InstanceType"] == "ml.g5.xlarge"
    assert request["EnableManagedSpotTraining"] is True
    assert request["StoppingCondition"]["MaxWaitTimeInSeconds"] == MOST_WAIT_SECONDS + 3600


def test_a_market_that_the_job_does_not_name_is_tried_on_its_first_type(plan, drill_job):
    only_spot = drill_job(capacity={"spot": ["ml.g5.xlarge"]}, fallback="never")
    assert request_of(plan(job=only_spot))["ResourceConfig"]["InstanceType"] == "ml.g5.xlarge"


def test_another_type_can_be_drilled_on(plan):
    request = request_of(plan(instance_type="ml.g4dn.xlarge"))
    assert request["ResourceConfig"]["InstanceType"] == "ml.g4dn.xlarge"


@pytest.mark.parametrize("market", Market)
@pytest.mark.parametrize(("asked", "held"), [(3600, 3600), (90_000, 21_600)])
def test_the_tighter_of_the_drills_limit_and_the_jobs_own_holds(plan, market, asked, held):
    # Of both jobs: it is no run's paid time, of which the first would take from the second.
    tonight = plan(max_runtime_seconds=asked, market=market)
    assert request_of(tonight)["StoppingCondition"]["MaxRuntimeInSeconds"] == held
    assert request_of(tonight, 2)["StoppingCondition"]["MaxRuntimeInSeconds"] == held
    assert tonight.max_runtime_seconds == held


def test_no_warm_pool_goes_on_costing_after_the_drill(plan, drill_job):
    warm = {"ResourceConfig": {"InstanceCount": 1, "VolumeSizeInGB": 50, "KeepAlivePeriodInSeconds": 600}}
    assert "KeepAlivePeriodInSeconds" not in request_of(plan(job=drill_job(warm)))["ResourceConfig"]


def test_the_worst_price_counts_both_jobs_all_instances_and_the_stops(plan):
    # Two jobs of an hour and three minutes on two machines at $2.
    assert plan().most_usd == pytest.approx(2 * 2 * 2 * 63 / 60)
    assert plan().price_in_words.startswith(
        "at most $8.40: two training jobs on 2 x on-demand ml.g5.2xlarge, of at most 1 h and a stop each"
    )


def test_without_a_price_nothing_is_promised(plan):
    tonight = plan(price=lambda _kind, _region: None)
    assert tonight.most_usd is None
    assert tonight.price_in_words.endswith("no price is known for ml.g5.2xlarge in eu-west-1")


def test_a_job_without_checkpoints_has_nothing_to_drill(plan, drill_job):
    bare = drill_job(capacity={"on_demand": ["ml.g5.2xlarge"]})
    request = {key: value for key, value in bare.training_job.items() if key != "CheckpointConfig"}
    with pytest.raises(InvalidJobError, match=r"training_job.CheckpointConfig.S3Uri: nothing: must be given"):
        plan(job=bare.model_copy(update={"training_job": request}))


def test_the_jobs_own_request_is_left_as_it_is(plan, drill_job):
    job = drill_job()
    before = drill_job()
    plan(job=job)
    assert job == before
