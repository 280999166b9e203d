"""The request of an attempt: the user's own, but for the documented fields."""

import copy
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.decide.policy import MOST_ATTEMPTS
from nightspot.formats.run_ids import (
    JOB_NAME_CHARACTERS,
    TRAINING_JOB_NAME_CHARACTERS,
    NamedTrainingJob,
    read_training_job_name,
    run_id_of,
)
from nightspot.job.markets import Market
from nightspot.plan import planning

NAME_PATTERN = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"  # CreateTrainingJob, TrainingJobName
SET_BY_NIGHTSPOT = {"TrainingJobName", "EnableManagedSpotTraining", "Environment", "Tags"}
TAGS = ["nightspot:job", "nightspot:run", "nightspot:attempt", "nightspot:market"]

text = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
values = st.recursive(
    st.integers(0, 10**6) | st.booleans() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
user_requests = st.fixed_dictionaries(
    {},
    optional={
        "RoleArn": text,
        "HyperParameters": st.dictionaries(text, text, max_size=3),
        "InputDataConfig": st.lists(st.dictionaries(text, values, max_size=2), max_size=2),
        "OutputDataConfig": st.dictionaries(text, text, max_size=2),
        "RetryStrategy": st.just({"MaximumRetryAttempts": 3}),
        "EnableManagedSpotTraining": st.booleans(),
        "CheckpointConfig": st.fixed_dictionaries({"S3Uri": text}, optional={"LocalPath": text}),
        "ResourceConfig": st.fixed_dictionaries(
            {},
            optional={"InstanceCount": st.integers(1, 4), "VolumeSizeInGB": st.integers(1, 99), "X": values},
        ),
        "StoppingCondition": st.fixed_dictionaries(
            {},
            optional={
                "MaxRuntimeInSeconds": st.integers(1, 10**6),
                "MaxWaitTimeInSeconds": st.integers(10**6, 2 * 10**6),
                "MaxPendingTimeInSeconds": st.integers(1800, 10**6),
            },
        ),
        "Environment": st.dictionaries(text, text, max_size=3),
        "Tags": st.lists(st.fixed_dictionaries({"Key": text, "Value": text}), max_size=2),
    },
)


def without(mapping, *keys):
    return {key: value for key, value in mapping.items() if key not in keys}


@pytest.fixture(scope="session")
def asked(story):
    def ask(rung=None, *, attempt=1, now="00:00", **changes):
        run = story.run(**changes)
        return planning.create_training_job(run, rung or story.spot, attempt, story.at(now))

    return ask


@given(user=user_requests, market=st.sampled_from(Market), attempt=st.integers(1, MOST_ATTEMPTS))
def test_nothing_of_the_users_request_changes_but_the_documented_fields(story, asked, user, market, attempt):
    before = copy.deepcopy(user)
    rung = replace(story.spot, market=market, instance_type="ml.x.large")
    uri = planning.checkpoint_prefix(user, "20261121-abc123")

    request = asked(rung, attempt=attempt, training_job=user, checkpoint_s3_uri=uri)

    assert user == before
    nested = {"ResourceConfig", "StoppingCondition", "CheckpointConfig"}
    assert without(request, *nested, *SET_BY_NIGHTSPOT) == without(user, *nested, *SET_BY_NIGHTSPOT)
    assert without(request["ResourceConfig"], "InstanceType") == user.get("ResourceConfig", {})
    assert request["ResourceConfig"]["InstanceType"] == "ml.x.large"
    assert without(request.get("CheckpointConfig", {}), "S3Uri", "LocalPath") == {}
    assert ("CheckpointConfig" in request) == ("CheckpointConfig" in user)
    if "LocalPath" in user.get("CheckpointConfig", {}):
        assert request["CheckpointConfig"]["LocalPath"] == user["CheckpointConfig"]["LocalPath"]
    limits = user.get("StoppingCondition", {})
    wait_limits = ("MaxWaitTimeInSeconds", "MaxPendingTimeInSeconds")
    assert without(request["StoppingCondition"], *wait_limits).keys() == {"MaxRuntimeInSeconds"}
    if market is Market.ON_DEMAND:
        assert request["StoppingCondition"]["MaxRuntimeInSeconds"] == limits.get(
            "MaxRuntimeInSeconds", 86_400
        )
    assert request["Environment"].items() >= user.get("Environment", {}).items()
    assert request["Environment"].keys() - user.get("Environment", {}).keys() == {
        "NIGHTSPOT_RUN_ID",
        "NIGHTSPOT_ATTEMPT",
    }
    own = len(user.get("Tags", []))
    assert request["Tags"][:own] == user.get("Tags", [])
    assert [tag["Key"] for tag in request["Tags"][own:]] == TAGS


@given(user=user_requests)
def test_on_demand_drops_the_spot_only_fields_and_keeps_the_limit_on_pending(story, asked, user):
    request = asked(story.on_demand, training_job=user)
    limits = user.get("StoppingCondition", {})
    assert "EnableManagedSpotTraining" not in request
    assert "MaxWaitTimeInSeconds" not in request["StoppingCondition"]
    assert request["StoppingCondition"].get("MaxPendingTimeInSeconds") == limits.get(
        "MaxPendingTimeInSeconds"
    )


@given(user=user_requests)
def test_spot_always_says_so_and_has_a_wait_limit_that_covers_the_runtime(asked, user):
    request = asked(training_job=user)
    stopping = request["StoppingCondition"]
    assert request["EnableManagedSpotTraining"] is True
    assert "MaxPendingTimeInSeconds" not in stopping
    assert stopping["MaxRuntimeInSeconds"] <= stopping["MaxWaitTimeInSeconds"] <= 28 * 24 * 3600
    if "MaxWaitTimeInSeconds" in user.get("StoppingCondition", {}):
        assert stopping["MaxWaitTimeInSeconds"] == user["StoppingCondition"]["MaxWaitTimeInSeconds"]


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        # Until 08:00 and then all of the 6 h 48 min that the attempt may run: test_limits.py.
        ("00:00", 8 * 3600 + 24_480),
        ("02:00", 6 * 3600 + 24_480),
        ("09:00", 24_480),
    ],
)
def test_the_wait_limit_is_a_net_that_never_kills_a_job_in_its_runtime(asked, now, seconds):
    assert asked(now=now)["StoppingCondition"]["MaxWaitTimeInSeconds"] == seconds


def test_the_wait_limit_stays_below_sagemakers_own(asked):
    longest = {"StoppingCondition": {"MaxRuntimeInSeconds": 28 * 24 * 3600}}
    assert asked(training_job=longest)["StoppingCondition"]["MaxWaitTimeInSeconds"] == 28 * 24 * 3600


def test_all_attempts_of_a_run_share_one_checkpoint_prefix(story, asked):
    uris = {
        asked(rung, attempt=n)["CheckpointConfig"]["S3Uri"]
        for n, rung in enumerate((story.spot, story.spot, story.on_demand), 1)
    }
    assert uris == {"s3://checkpoints/nightly/20261121-abc123"}


@pytest.mark.parametrize("uri", ["s3://checkpoints/nightly", "s3://checkpoints/nightly/"])
def test_each_run_has_a_prefix_of_its_own_below_the_users(uri):
    prefix = planning.checkpoint_prefix({"CheckpointConfig": {"S3Uri": uri}}, "20261121-abc123")
    assert prefix == "s3://checkpoints/nightly/20261121-abc123"


def test_without_a_checkpoint_prefix_there_is_none(asked):
    assert planning.checkpoint_prefix({}, "20261121-abc123") is None
    assert "CheckpointConfig" not in asked(training_job={}, checkpoint_s3_uri=None)


def test_checkpoints_go_where_sagemaker_looks_unless_the_user_says_otherwise(asked):
    assert asked()["CheckpointConfig"]["LocalPath"] == "/opt/ml/checkpoints"


def test_the_training_script_is_told_its_run_and_attempt(asked):
    user = {"Environment": {"NIGHTSPOT_ATTEMPT": "9", "MINE": "1"}}
    assert asked(attempt=3, training_job=user)["Environment"] == {
        "MINE": "1",
        "NIGHTSPOT_RUN_ID": "20261121-abc123",
        "NIGHTSPOT_ATTEMPT": "3",
    }


def test_a_job_can_be_found_by_its_tags(story, asked):
    assert asked(story.on_demand, attempt=2)["Tags"] == [
        {"Key": "nightspot:job", "Value": "recommender"},
        {"Key": "nightspot:run", "Value": "20261121-abc123"},
        {"Key": "nightspot:attempt", "Value": "2"},
        {"Key": "nightspot:market", "Value": "on_demand"},
    ]


@given(
    job=st.from_regex(r"[a-z0-9](-*[a-z0-9])*", fullmatch=True).filter(
        lambda n: len(n) <= JOB_NAME_CHARACTERS
    ),
    execution=st.text(max_size=40),
    attempt=st.integers(1, MOST_ATTEMPTS),
)
def test_every_training_job_name_is_one_for_sagemaker(story, job, execution, attempt):
    run = story.run(job=job, run_id=run_id_of(execution, story.midnight))
    name = planning.training_job_name(run, attempt)
    assert re.fullmatch(NAME_PATTERN, name)
    assert len(name) <= TRAINING_JOB_NAME_CHARACTERS
    assert read_training_job_name(name) == NamedTrainingJob(job, run.run_id, attempt)


def test_the_longest_name_fits(story):
    run = story.run(job="x" * JOB_NAME_CHARACTERS, run_id=run_id_of("x", story.midnight))
    assert len(planning.training_job_name(run, MOST_ATTEMPTS)) <= TRAINING_JOB_NAME_CHARACTERS


def test_asking_twice_for_an_attempt_asks_for_the_same_job(story):
    run = story.run()
    assert planning.training_job_name(run, 2) == planning.training_job_name(run, 2)
    assert planning.training_job_name(run, 2) != planning.training_job_name(run, 3)


def test_the_script_is_told_how_long_machines_of_its_type_live(story):
    learnt = replace(story.spot, mean_life_seconds=11_520.4)
    environment = planning.create_training_job(story.run(), learnt, 1, story.midnight)["Environment"]
    assert environment["NIGHTSPOT_MEAN_LIFE_SECONDS"] == "11520"
    bare = planning.create_training_job(story.run(), story.spot, 1, story.midnight)["Environment"]
    assert "NIGHTSPOT_MEAN_LIFE_SECONDS" not in bare


def test_what_no_attempt_changes_stays_out_of_the_ledger():
    own = {"AlgorithmSpecification": {"TrainingImage": "x"}, "HyperParameters": {"epochs": "3"}}
    mine = {"ResourceConfig": {"InstanceCount": 1}, "CheckpointConfig": {"S3Uri": "s3://c/"}}
    assert planning.split({**own, **mine, "Tags": []}) == (mine, {**own, "Tags": []})


def test_how_long_an_algorithm_may_wait_is_kept_in_the_ledger():
    changed, _ = planning.split({"AlgorithmSpecification": {"AlgorithmName": "scikit-decision-trees"}})
    assert changed == {"StoppingCondition": {"MaxWaitTimeInSeconds": 3600}}


def test_a_run_of_an_environment_is_named_and_tagged_with_it(story):
    run = story.run(environment="prod")
    request = planning.create_training_job(run, story.spot, 1, story.at("00:00"))
    assert request["TrainingJobName"] == f"nightspot-prod-{run.job}-{run.run_id}-1"
    assert request["Tags"][-1] == {"Key": "nightspot:environment", "Value": "prod"}
