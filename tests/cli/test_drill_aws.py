"""`nightspot drill` on AWS: what is refused before it costs anything, and what its options say."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
import typer
from botocore.exceptions import ClientError, NoCredentialsError
from typer.testing import CliRunner

from nightspot.cli import account
from nightspot.cli import drill as command
from nightspot.cli._shared import Json, grouped
from nightspot.job.model import Job

REGION = "eu-west-1"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DEPLOYED = {"CheckpointBucket": "checkpoints", "ModelBucket": "models"}


def job_of(hyperparameters: dict[str, str] | None = None, **request: Any) -> Job:
    """A counter on ml.g5.xlarge, at $1.57 an hour in eu-west-1."""
    return Job.model_validate(
        {
            "name": "counter",
            "deadline": {"within": "8h"},
            "work": "1h",
            "checkpoint_every": "10m",
            "capacity": {"spot": ["ml.g5.xlarge"], "on_demand": ["ml.g5.xlarge"]},
            "training_job": {
                "RoleArn": "arn:aws:iam::${AWS::AccountId}:role/counter",
                "AlgorithmSpecification": {
                    "TrainingImage": "${AWS::AccountId}.dkr.ecr.${AWS::Region}.amazonaws.com/counter:1",
                    "TrainingInputMode": "File",
                },
                "HyperParameters": {"steps": "400", "every": "2", **(hyperparameters or {})},
                "OutputDataConfig": {"S3OutputPath": "s3://${ModelBucket}/counter/"},
                "CheckpointConfig": {"S3Uri": "s3://${CheckpointBucket}/counter/"},
                "ResourceConfig": {"InstanceCount": 1, "VolumeSizeInGB": 10},
                "StoppingCondition": {"MaxRuntimeInSeconds": 14_400},
                **request,
            },
        }
    )


class Stack:
    """The clients of a deployed stack and of its account; of no other service."""

    def __init__(self, **changes: Any) -> None:
        self.variables = {
            "NIGHTSPOT_CHECKPOINT_BUCKET": "checkpoints",
            "NIGHTSPOT_MODEL_BUCKET": "models",
            **changes,
        }
        self.asked: list[str] = []

    def client(self, service: str) -> Any:
        self.asked.append(service)
        assert service in {"cloudformation", "lambda", "sts"}, f"{service} was asked"
        return self

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": "123456789012"}

    def get_paginator(self, _operation: str) -> Stack:
        return self

    def paginate(self, **request: str) -> list[dict[str, Any]]:
        if request["StackName"] != "Nightspot":
            error = {"Code": "ValidationError", "Message": f"Stack {request['StackName']} does not exist"}
            raise ClientError({"Error": error}, "ListStackResources")
        planner = {
            "LogicalResourceId": "TrainingFunctionsPlanRun2052680D",
            "ResourceType": "AWS::Lambda::Function",
            "PhysicalResourceId": "plan-run",
        }
        return [{"StackResourceSummaries": [planner]}]

    def get_function_configuration(self, **_request: str) -> dict[str, Any]:
        return {"Environment": {"Variables": self.variables}}


class Answer:
    """What the command answered."""

    def __init__(self, result: Any) -> None:
        self.status = result.exit_code
        self.out = result.stdout
        self.err = re.sub(r"\s+", " ", result.stderr)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception


def drill(job: Job, *arguments: str, stdin: str | None = None, **passed: Any) -> Answer:
    """Run the command as a terminal would, its options declared as the real one declares them."""
    app = typer.Typer()

    @app.command()
    @grouped
    def drill_it(*, options: command.OnAws, asked: account.Asked, as_json: Json = False) -> None:
        command.drill_on_aws(job, options, asked, as_json=as_json, **passed)

    return Answer(CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin))


def refused(job: Job, *arguments: str, stack: Stack | None = None, **passed: Any) -> Answer:
    """A drill that must end before it has asked for SageMaker or S3."""
    aws = account.Aws(REGION, (stack or Stack()).client)
    return drill(job, *arguments, **{"aws": aws, "now": lambda: NOON, "token": lambda: "3fa9c0de", **passed})


def test_what_it_costs_at_most_is_said_before_it_is_asked_for():
    answer = refused(job_of(), stdin="n\n")
    # Two jobs of an hour and three minutes, at $1.57.
    assert "at most $3.30: two training jobs on 1 x on-demand ml.g5.xlarge" in answer.err
    assert "2023-12-31" in answer.err
    assert "s3://checkpoints/counter/drill-261121-3fa9c/" in answer.err
    assert answer.err.endswith("error: nothing was started ")
    assert answer.status == 1


def test_where_nobody_can_answer_nothing_is_started():
    answer = refused(job_of())
    assert (answer.status, answer.err.endswith("where nobody can answer, say --yes ")) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--max-usd", "1"], "--max-usd: 1: the drill could cost $3.30; --max-minutes 16 makes it fit"),
        (
            ["--max-usd", "0.05"],
            "--max-usd: 0.05: the drill could cost $3.30; a cheaper --instance-type makes it fit",
        ),
        (
            ["--max-usd", "1", "--instance-type", "ml.c5.xlarge"],
            "--max-usd: 1: cannot be kept: no price of ml.c5.xlarge in eu-west-1 is known",
        ),
    ],
)
def test_a_limit_on_the_money_is_kept_even_with_yes(arguments, said):
    answer = refused(job_of(), *arguments, "--yes")
    assert answer.status == 1
    assert said in answer.err


def test_the_minutes_that_are_proposed_do_fit():
    answer = refused(job_of(), "--max-usd", "1", "--max-minutes", "16", stdin="n\n")
    assert "at most $0.99" in answer.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--market", "both"], "--market: 'both': must be one of spot, on_demand"),
        (["--max-usd", "0"], "--max-usd: 0: must be a number of US dollars above 0"),
        (["--max-usd", "nan"], "--max-usd: nan: must be a number of US dollars above 0"),
        (["--max-minutes", "0"], "Invalid value for '--max-minutes'"),
        (
            ["--instance-type", "ml.g5.xlrge"],
            "--instance-type: 'ml.g5.xlrge': must be an instance type that SageMaker trains on; "
            "did you mean ml.g5.xlarge?",
        ),
        (["--placeholder", "CheckpointBucket"], "--placeholder: 'CheckpointBucket': must be NAME=VALUE"),
        (["--placeholder", "Bucket=x"], "--placeholder: 'Bucket': must be one of CheckpointBucket,"),
        (
            ["--placeholder", "ModelBucket=x", "--placeholder", "ModelBucket=y"],
            "--placeholder: 'ModelBucket': must be given only once",
        ),
    ],
)
def test_a_bad_option_is_named_with_its_value_and_its_rule(arguments, said):
    answer = refused(job_of(), *arguments)
    assert answer.status == 2
    # typer draws a box round it.
    assert said in re.sub(r"[│╭╮╰╯─\s]+", " ", answer.err)


def test_a_job_without_checkpoints_is_refused():
    bare = {k: v for k, v in job_of().training_job.items() if k != "CheckpointConfig"}
    answer = refused(job_of().model_copy(update={"training_job": bare}))
    assert "training_job.CheckpointConfig.S3Uri: nothing: must be given" in answer.err
    assert answer.status == 1


def test_a_placeholder_that_nobody_knows_is_named_with_the_ways_to_say_it():
    answer = refused(job_of(), stack=Stack(NIGHTSPOT_MODEL_BUCKET=""))
    expected = (
        "training_job: ${ModelBucket}: is not known here; give --placeholder ModelBucket=VALUE, or --stack"
    )
    assert expected in answer.err
    assert answer.status == 1


def test_a_stack_that_is_not_there_is_named():
    answer = refused(job_of(), "--stack", "Nightspt")
    assert "--stack: stack 'Nightspt' could not be read" in answer.err
    assert answer.status == 1


def test_with_every_placeholder_given_no_stack_is_asked():
    stack = Stack()
    given = [f"--placeholder={name}={value}" for name, value in DEPLOYED.items()]
    answer = refused(job_of(), *given, "--placeholder=AWS::AccountId=123456789012", stack=stack, stdin="n\n")
    assert "s3://checkpoints/counter/" in answer.err
    assert stack.asked == []


def test_what_is_given_beats_what_the_stack_says():
    aws = account.Aws(REGION, Stack().client)
    request = account.localised(job_of(), aws, {"CheckpointBucket": "mine"}, None).training_job
    assert request["CheckpointConfig"]["S3Uri"] == "s3://mine/counter/"
    assert request["OutputDataConfig"]["S3OutputPath"] == "s3://models/counter/"
    assert request["RoleArn"] == "arn:aws:iam::123456789012:role/counter"


def test_the_role_of_a_team_is_that_of_the_stack_and_no_other():
    role = "arn:aws:iam::123456789012:role/search"
    aws = account.Aws(REGION, Stack(NIGHTSPOT_TRAINING_ROLE_ARNS=json.dumps({"search": role})).client)
    of_search = job_of(RoleArn="${TrainingRoleArn.search}")
    assert account.localised(of_search, aws, {}, None).training_job["RoleArn"] == role
    with pytest.raises(typer.Exit):
        account.localised(job_of(RoleArn="${TrainingRoleArn.ads}"), aws, {}, None)


def test_a_job_trains_in_the_stacks_vpc_unless_it_states_its_own():
    stack = Stack(NIGHTSPOT_SUBNET_IDS="subnet-1", NIGHTSPOT_SECURITY_GROUP_IDS="sg-1")
    aws = account.Aws(REGION, stack.client)
    theirs = {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    own = {"Subnets": ["subnet-9"], "SecurityGroupIds": ["sg-9"]}
    assert account.localised(job_of(), aws, {}, None).training_job["VpcConfig"] == theirs
    assert account.localised(job_of(VpcConfig=own), aws, {}, None).training_job["VpcConfig"] == own


def test_missing_credentials_are_told_in_words():
    class Nobody(Stack):
        def get_caller_identity(self) -> dict[str, str]:
            raise NoCredentialsError

    answer = refused(job_of(), stack=Nobody())
    assert "${AWS::AccountId}: AWS does not say whose account this is" in answer.err
    assert "--profile" in answer.err


def test_an_unknown_profile_and_a_missing_region_are_told(monkeypatch, tmp_path):
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    answer = drill(job_of())
    assert answer.status == 2
    assert "--region: no AWS region is configured" in re.sub(r"[│\s]+", " ", answer.err)
    answer = drill(job_of(), "--profile", "nobody")
    assert answer.status == 2
    assert "--profile: 'nobody'" in re.sub(r"[│\s]+", " ", answer.err)
