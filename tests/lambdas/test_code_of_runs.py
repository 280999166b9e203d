"""Which code a run gets: what was deployed or pushed, where its archive is, and what its record says."""

import dataclasses
import json

import pytest

from nightspot.aws.runs.job_code import CodeArchives, JobCode, PushedCode, PushedCodes, push
from nightspot.job.code_version import CarriedCode, CodeVersion
from nightspot.job.model import Job
from nightspot.lambdas.run_input import InvalidInputError
from nightspot.local.stage.emulated_aws import PAGES, TABLE
from nightspot.plan.planning import code_differs
from nightspot.record.summary import summarise
from nightspot.run.model import Outcome, run_from_json, to_json
from tests.lambdas.conftest import EXECUTION, MIDNIGHT, RECOMMENDER

NEXT = EXECUTION.replace(":one", ":two")
DEPLOYED = CodeVersion("d" * 64, "train.py", revision="1" * 40)
PUSHED = CodeVersion("e" * 64, "train.py", revision="2" * 40, dirty=True, pushed_by="user/jo")
BODIES = {DEPLOYED.digest: b"what was deployed", PUSHED.digest: b"what was pushed"}


class Team:
    """A deployment of `recommender` with code, which somebody deploys anew and pushes to."""

    def __init__(self, world):
        self.world = world
        document = RECOMMENDER.model_dump(mode="json", by_alias=True)
        code = {"source_dir": "../training", "entry_point": "train.py"}
        job = Job.model_validate({**document, "code": code})
        world.jobs = {"recommender": job}
        self.archives = CodeArchives(world.s3, PAGES)
        self.pushed = PushedCodes(world.dynamodb, TABLE)
        self.deploys(DEPLOYED)
        world.code = lambda: self.code

    def deploys(self, version):
        self.deployed = version
        carried = CarriedCode({"recommender": version}, BODIES.__getitem__)
        self.code = JobCode(carried, self.pushed, self.archives)

    def pushes(self, version=PUSHED):
        return push(
            "recommender", version, BODIES[version.digest], self.deployed, to=self.code, now=self.world.now
        )

    def plans(self, execution=EXECUTION, **run_input):
        return self.world.plan({"job": "recommender", **run_input}, execution=execution)

    def archive(self, version):
        return self.world.s3.get_object(Bucket=PAGES, Key=version.key("recommender"))["Body"].read()


@pytest.fixture
def team(world):
    return Team(world)


def hyperparameters(planned):
    return planned["request"]["HyperParameters"]


def code_of(planned):
    return run_from_json(planned["run"]).code


def test_the_request_names_program_and_archive_as_the_sdk_s_estimators_do(team):
    planned = team.plans(hyperparameters={"epochs": 3})
    assert hyperparameters(planned) == {
        "epochs": "3",
        "sagemaker_program": '"train.py"',
        "sagemaker_submit_directory": f'"s3://{PAGES}/code/recommender/{"d" * 64}/sourcedir.tar.gz"',
    }


def test_the_deployed_archive_is_in_s3_before_anything_is_started(team):
    team.plans()
    assert team.archive(DEPLOYED) == b"what was deployed"


def test_a_second_run_stores_nothing_again(team):
    team.plans()
    assert not team.archives.store("recommender", DEPLOYED, b"something else")
    team.plans(NEXT)
    assert team.archive(DEPLOYED) == b"what was deployed"


def test_the_run_and_its_record_say_which_code_it_is(team):
    run = run_from_json(team.plans()["run"])
    assert run.code == DEPLOYED
    assert summarise(run).to_json()["code"] == {
        "digest": "d" * 64,
        "entry_point": "train.py",
        "revision": "1" * 40,
        "dirty": False,
        "pushed_by": None,
    }


def test_what_was_pushed_is_the_next_run_s(team):
    assert team.pushes()
    planned = team.plans()
    assert code_of(planned) == PUSHED
    assert json.loads(hyperparameters(planned)["sagemaker_submit_directory"]).endswith(
        f"/{PUSHED.digest}/sourcedir.tar.gz"
    )
    assert team.archive(PUSHED) == b"what was pushed"


def test_a_run_that_has_begun_keeps_its_code_though_something_is_pushed(team):
    begun = team.plans()
    decided = team.world.decide(begun["run"])
    team.pushes()
    # A crash later another execution goes on with the run, with the request that is on record.
    request = team.world.table.request(run_from_json(decided["run"]).run_id)
    assert DEPLOYED.digest in request["HyperParameters"]["sagemaker_submit_directory"]
    assert run_from_json(decided["run"]).code == DEPLOYED
    assert team.archive(DEPLOYED) == b"what was deployed"


def test_a_deployment_of_other_code_ends_a_push(team):
    team.pushes()
    other = dataclasses.replace(DEPLOYED, digest="f" * 64)
    BODIES[other.digest] = b"deployed since"
    team.deploys(other)
    assert code_of(team.plans()) == other
    # A rollback to what the push was made over does not bring it back.
    team.deploys(DEPLOYED)
    assert code_of(team.plans(NEXT)) == DEPLOYED


def test_a_deployment_that_changes_no_code_leaves_a_push(team):
    team.pushes()
    team.deploys(dataclasses.replace(DEPLOYED, revision="3" * 40))
    assert code_of(team.plans()) == PUSHED


def test_of_two_pushes_the_later_one_counts(team):
    team.pushes()
    team.world.pass_time(minutes=1)
    later = dataclasses.replace(PUSHED, digest=DEPLOYED.digest)
    team.pushes(later)
    assert code_of(team.plans()).digest == DEPLOYED.digest


def test_ending_a_push_leaves_a_newer_one(team):
    old = PushedCode(PUSHED, "older", MIDNIGHT)
    team.world.pass_time(minutes=1)
    team.pushes()
    team.pushed.end("recommender", old)
    assert code_of(team.plans()) == PUSHED


def test_a_pushed_archive_that_is_gone_is_said_before_anything_is_bought(team):
    team.pushes()
    team.world.s3.delete_object(Bucket=PAGES, Key=PUSHED.key("recommender"))
    with pytest.raises(
        InvalidInputError, match=r"user/jo pushed is not at s3://.*: push it again, or deploy"
    ):
        team.plans()


def test_an_item_that_nobody_can_read_stops_no_run(team):
    item = {"pk": {"S": "JOB#recommender"}, "sk": {"S": "CODE"}, "version": {"S": "x"}}
    team.world.dynamodb.put_item(TableName=TABLE, Item=item)
    assert code_of(team.plans()) == DEPLOYED


def test_a_job_without_code_has_none_in_its_request(world):
    planned = world.plan()
    assert "HyperParameters" not in planned["request"]
    assert run_from_json(planned["run"]).code is None


def test_a_start_cannot_choose_another_script(team):
    with pytest.raises(InvalidInputError, match="sagemaker_program"):
        team.plans(hyperparameters={"sagemaker_program": "evil.py"})


def failed(team):
    """A run that is over, without a model; a checkpoint is left."""
    run = run_from_json(team.plans()["run"])
    team.world.record(
        to_json(dataclasses.replace(run, steps=9, outcome=Outcome.FAILED, outcome_because="it was"))
    )
    key = f"{run.checkpoint_s3_uri.removeprefix('s3://checkpoints/')}/step-1"
    team.world.s3.put_object(Bucket="checkpoints", Key=key, Body=b"weights")
    return run


def test_a_resumed_run_says_that_its_code_differs(team):
    before = failed(team)
    team.pushes()
    note = run_from_json(team.plans(NEXT, resume_from=before.run_id)["run"]).plan_note
    assert (
        f"Its code differs: train.py {'e' * 12} (git {'2' * 12}, with uncommitted changes; pushed by user/jo), and "
        f"that of the run before was train.py {'d' * 12} (git {'1' * 12}): its checkpoints must still fit."
    ) in note


def test_a_resumed_run_with_the_same_code_says_nothing_of_it(team):
    before = failed(team)
    team.deploys(dataclasses.replace(DEPLOYED, revision="4" * 40))
    assert "code" not in run_from_json(team.plans(NEXT, resume_from=before.run_id)["run"]).plan_note


def test_a_ledger_from_before_code_was_recorded_can_be_resumed(team):
    before = failed(team)
    older = {name: value for name, value in to_json(before).items() if name != "code"}
    assert run_from_json(older).code is None
    differs = code_differs(DEPLOYED, run_from_json(older).code)
    assert differs.endswith("and that of the run before was not on record")
