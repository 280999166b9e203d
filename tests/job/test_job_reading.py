"""What is said of a file that breaks rules, and what is kept back."""

import pytest

REQUEST = "training_job"


def test_the_value_that_was_given_is_shown(problems_with):
    (problem,) = problems_with({"capacity.spot.1": "ml.g5.48xlarg"})
    assert str(problem).startswith("capacity.spot[1].instance_type: 'ml.g5.48xlarg': must be an instance")


def test_all_problems_are_reported_at_once(problems_with, drop):
    problems = problems_with(
        {
            "name": "R",
            "wrok": 1,
            "deadline": drop,
            "work": "soon",
            "capacity.spot.1": "ml.g5.48xlarg",
            "capacity.on_demand": [],
            f"{REQUEST}.RoleArn": "nobody",
            f"{REQUEST}.TrainingJobName": "tonight",
            f"{REQUEST}.Environment": {"NIGHTSPOT_RUN": "1"},
        }
    )
    assert {problem.field for problem in problems} == {
        "name",
        "wrok",
        "deadline",
        "work",
        "capacity.spot[1].instance_type",
        "fallback",
        f"{REQUEST}.RoleArn",
        f"{REQUEST}.TrainingJobName",
        f"{REQUEST}.Environment.NIGHTSPOT_RUN",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"local.environment": ["TOKEN=hunter2"]},
        {"local.environment": "TOKEN=hunter2"},
        {"local.command": "train --token hunter2"},
        {"environmnt": {"TOKEN": "hunter2"}},
        {f"{REQUEST}.Enviroment": {"TOKEN": "hunter2"}},
        {f"{REQUEST}.Environment": {"TOKEN": "hunter2" * 100}},
        {f"{REQUEST}.Environment": {"NIGHTSPOT_TOKEN": "hunter2"}},
        {f"{REQUEST}.HyperParameters": "hunter2"},
        {f"{REQUEST}.HyperParameters": {"token": "hunter2\n"}},
    ],
)
def test_no_problem_shows_what_may_be_a_secret(problems_with, changes):
    assert not any("hunter2" in str(problem) for problem in problems_with(changes))


def test_a_long_value_is_cut(problems_with):
    (problem,) = problems_with({"fallback": "x" * 1000})
    assert len(problem.value) == 80


def test_without_the_request_check_the_model_of_botocore_is_not_asked(job_with, problems_with):
    newer = {"capacity.spot.1": "ml.p9.48xlarge", f"{REQUEST}.NewField": 1}
    assert job_with(newer, check_request=False).capacity.spot[1].instance_type == "ml.p9.48xlarge"
    # The rules of Nightspot's own hold all the same.
    (problem,) = problems_with({f"{REQUEST}.TrainingJobName": "x"}, check_request=False)
    assert problem.field == f"{REQUEST}.TrainingJobName"
