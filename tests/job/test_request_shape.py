"""What SageMaker's own model refuses in a request."""

import pytest
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from nightspot.job.request_shape import (
    SAMPLES,
    fill,
    input_shape,
    placeholders,
    request_problems,
    shape_problems,
    training_instance_types,
    unknown_placeholders,
)

GOOD = {
    "RoleArn": "arn:aws:iam::123456789012:role/training",
    "OutputDataConfig": {"S3OutputPath": "s3://models/nightly/"},
    "HyperParameters": {"epochs": "24"},
    "Tags": [{"Key": "équipe", "Value": "recommandations"}],  # a pattern that only Java compiles
}


def test_a_good_request_has_no_problems():
    assert request_problems(GOOD) == []


@pytest.mark.parametrize(
    ("changes", "field", "rule"),
    [
        ({"RoleArn": None}, "RoleArn", "is required"),
        ({"RoleARN": "x"}, "RoleARN", "did you mean RoleArn?"),
        ({"RoleArn": "arn:aws:iam::1234:role/training"}, "RoleArn", "must match arn:aws"),
        ({"RoleArn": GOOD["RoleArn"] + "\n"}, "RoleArn", "must match"),
        (
            {"RoleArn": GOOD["RoleArn"].replace("123456789012", "\uff11\uff12\uff13456789012")},
            "RoleArn",
            "must match",
        ),
        ({"OutputDataConfig": {}}, "OutputDataConfig.S3OutputPath", "is required"),
        ({"OutputDataConfig": []}, "OutputDataConfig", "must be a mapping"),
        ({"HyperParameters": {"epochs": 24}}, "HyperParameters.epochs", "put it in quotes"),
        ({"HyperParameters": {"augment": True}}, "HyperParameters.augment", "put it in quotes"),
        ({"HyperParameters": {"a.b": "x" * 2501}}, "HyperParameters['a.b']", "at most 2500 long"),
        ({"HyperParameters": {f"k{n}": "" for n in range(101)}}, "HyperParameters", "at most 100 long"),
        ({"Environment": {"7UP": "x"}}, "Environment.7UP", "must match [a-zA-Z_]"),
        ({"InputDataConfig": []}, "InputDataConfig", "at least 1 long"),
        ({"InputDataConfig": {}}, "InputDataConfig", "must be a list"),
        ({"InputDataConfig": [{"ChannelName": "a"}]}, "InputDataConfig[0].DataSource", "is required"),
        ({"EnableNetworkIsolation": "yes"}, "EnableNetworkIsolation", "true or false"),
        ({"EnableNetworkIsolation": 1}, "EnableNetworkIsolation", "true or false"),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 0}},
            "StoppingCondition.MaxRuntimeInSeconds",
            "at least 1",
        ),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": "6h"}},
            "StoppingCondition.MaxRuntimeInSeconds",
            "whole number",
        ),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": True}},
            "StoppingCondition.MaxRuntimeInSeconds",
            "whole number",
        ),
        (
            {"StoppingCondition": {"MaxPendingTimeInSeconds": 2419201}},
            "StoppingCondition.MaxPendingTimeInSeconds",
            "at most 2419200",
        ),
        (
            {"RetryStrategy": {"MaximumRetryAttempts": 31}},
            "RetryStrategy.MaximumRetryAttempts",
            "at most 30",
        ),
        (
            {"ResourceConfig": {"InstanceTyp": "ml.m5.large"}},
            "ResourceConfig.InstanceTyp",
            "not a field of ResourceConfig; did you mean InstanceType?",
        ),
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.larg"}},
            "ResourceConfig.InstanceType",
            "a known TrainingInstanceType; did you mean ml.m5.large?",
        ),
        (
            {"OutputDataConfig": {"S3OutputPath": "s3://m/", "CompressionType": "gzip"}},
            "OutputDataConfig.CompressionType",
            "one of GZIP, NONE; did you mean GZIP?",
        ),
        (
            {"OutputDataConfig": {"S3OutputPath": "models/nightly"}},
            "OutputDataConfig.S3OutputPath",
            "must match",
        ),
    ],
)
def test_what_the_model_refuses_is_named_where_it_stands(changes, field, rule):
    problems = request_problems({**GOOD, **changes})
    assert [problem.field for problem in problems] == [f"training_job.{field}"]
    assert rule in problems[0].rule


@pytest.mark.parametrize(
    "value",
    [{}, {"RoleArn": 1}, {"Tags": "x"}, {"VpcConfig": {"Subnets": []}}, {"MetricDefinitions": []}, {1: 2}],
)
def test_nothing_that_botocore_refuses_gets_past_the_walk(value):
    shape = input_shape()
    report = ParamValidator().validate({**value, "TrainingJobName": "x"}, shape)
    assert report.has_errors()
    assert request_problems(value)


def _shape(**shapes):
    return ServiceModel({"metadata": {}, "shapes": shapes}).shape_for("Root")


def test_botocore_has_the_last_word_on_what_the_walk_does_not_know():
    shape = _shape(
        Root={"type": "structure", "members": {"Since": {"shape": "When"}}},
        When={"type": "timestamp"},
    )
    assert shape_problems({"Since": "2026-01-31T00:00:00Z"}, shape, ("training_job",)) == []
    (problem,) = shape_problems({"Since": "soon"}, shape, ("training_job",))
    assert "Since" in problem.rule


def test_numbers_have_a_range_too():
    shape = _shape(
        Root={"type": "structure", "members": {"Rate": {"shape": "Rate"}}},
        Rate={"type": "double", "min": 0, "max": 1},
    )
    assert shape_problems({"Rate": 0.5}, shape, ("x",)) == []
    (problem,) = shape_problems({"Rate": 1.5}, shape, ("x",))
    assert (problem.field, problem.rule) == ("x.Rate", "must be at most 1")


def test_the_instance_types_are_sagemakers():
    assert "ml.p4d.24xlarge" in training_instance_types()
    assert "p4d.24xlarge" not in training_instance_types()


@pytest.mark.parametrize("team", ["search", "ads-ranking", "a", "t1", "a" * 20])
def test_the_role_of_a_team_is_a_role_wherever_requests_are_checked(team):
    request = {**GOOD, "RoleArn": f"${{TrainingRoleArn.{team}}}"}
    assert list(unknown_placeholders(request)) == []
    filled = fill(request, SAMPLES)
    assert filled["RoleArn"] == f"arn:aws:iam::123456789012:role/nightspot-training-{team}"
    assert request_problems(filled) == []


@pytest.mark.parametrize(
    ("request_part", "field", "rule"),
    [
        (
            {"RoleArn": "${TrainingRoleArn.Search}"},
            "RoleArn",
            "must name its team by 1 to 20 lower-case letters",
        ),
        ({"RoleArn": "${TrainingRoleArn.}"}, "RoleArn", "must name its team by"),
        ({"RoleArn": f"${{TrainingRoleArn.{'a' * 21}}}"}, "RoleArn", "must name its team by"),
        ({"RoleArn": "${TrainingRoleArn.search}-x"}, "RoleArn", "must be the whole of training_job.RoleArn"),
        (
            {"Environment": {"ROLE": "${TrainingRoleArn.search}"}},
            "Environment.ROLE",
            "must be the whole of training_job.RoleArn, and nowhere else",
        ),
        ({"RoleArn": "${TrainingRole.search}"}, "RoleArn", "must be one of ${CheckpointBucket}"),
    ],
    ids=["capitals", "no team", "too long", "a part of a name", "another field", "another word"],
)
def test_the_role_of_a_team_stands_in_one_place_and_is_named_in_one_way(request_part, field, rule):
    (found,) = unknown_placeholders(request_part)
    assert found.field == f"training_job.{field}"
    assert rule in found.rule


def test_the_names_in_a_text_are_found_each_once():
    text = (
        '{"a": "s3://${ModelBucket}/${AWS::Region}", "b": "${ModelBucket}", "c": "${TrainingRoleArn.search}"}'
    )
    assert placeholders(text) == ["ModelBucket", "AWS::Region", "TrainingRoleArn.search"]
