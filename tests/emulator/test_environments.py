"""Two environments of the stack in one account and region: each has its own runs, and nothing of the other's."""

import json

import pytest

pytestmark = [pytest.mark.emulator, pytest.mark.long, pytest.mark.xdist_group("emulator")]

# What a run of the whole workflow may pass through when nothing goes wrong.
STATES = [
    "Begin",
    "Plan the run",
    "Decide the next step",
    "Which step?",
    "Start the training job",
    "Was it started?",
    "Wait for news",
    "Decide the next step",
    "Which step?",
    "Record the outcome",
    "Did it succeed?",
    "Model is ready",
]


@pytest.fixture(scope="module")
def runs(account):
    """By stack: the execution of a run, both at once, over."""
    for stack in account.stacks.values():
        stack.dead_letters()  # of other stories
    started = {name: stack.start({"job": "quick"}) for name, stack in account.stacks.items()}
    return {name: account.stacks[name].end_of(arn) for name, arn in started.items()}


@pytest.mark.parametrize("name", ["Production", "Staging"])
def test_a_run_trains_a_model_with_the_permissions_of_every_role_enforced(name, runs, account):
    stack = account.stacks[name]
    execution = runs[name]

    assert execution["status"] == "SUCCEEDED", (execution.get("cause"), stack.failures())
    output = json.loads(execution["output"])
    assert output["outcome"] == "succeeded"
    assert output["steps_done"] == 4
    bucket, _, key = output["model_artifact"].removeprefix("s3://").partition("/")
    assert bucket == stack.outputs["ModelBucket"]
    assert stack.client("s3").head_object(Bucket=bucket, Key=key)["ContentLength"] > 0


def test_a_run_is_woken_by_events_and_takes_no_needless_steps(runs, production):
    states = production.states_of(runs["Production"]["executionArn"])
    # An event between two decisions wakes a run once more.
    extra = ["Wait for news", "Decide the next step", "Which step?"]
    while len(states) > len(STATES):
        at = states.index("Wait for news")
        assert states[at : at + 3] == extra
        del states[at : at + 3]
    assert states == STATES


@pytest.mark.parametrize(("name", "other"), [("Production", "Staging"), ("Staging", "Production")])
def test_an_environment_hears_nothing_of_the_others_runs(name, other, runs, account):
    own, foreign = (json.loads(runs[each]["output"])["run_id"] for each in (name, other))
    stack = account.stacks[name]

    assert own in stack.message(own)
    assert not [text for text in stack.messages() if foreign in text]
    # What a rule of this stack would call a function for, which then knows no such run, would end here. (A wake-up
    # of its own that came before its run waited, three times, on a busy machine, ends here as well.)
    assert not [letter for letter in stack.dead_letters() if foreign in letter]


@pytest.mark.parametrize(("name", "other"), [("Production", "Staging"), ("Staging", "Production")])
def test_no_role_may_touch_what_is_the_others(name, other, runs, account):
    stack, foreign = account.stacks[name], account.stacks[other]
    job = json.loads(runs[other]["output"])["attempts"][0]["training_job_name"]
    arn = f"arn:aws:sagemaker:eu-west-1:123456789012:training-job/{job}"
    outputs = foreign.outputs
    table = f"arn:aws:dynamodb:eu-west-1:123456789012:table/{outputs['TableName']}"
    machine = outputs["StateMachineArn"]
    touched = {
        "sagemaker:StopTrainingJob": arn,
        "sagemaker:DescribeTrainingJob": arn,
        "sagemaker:CreateTrainingJob": arn,
        "dynamodb:UpdateItem": table,
        "dynamodb:Query": table,
        "s3:GetObject": f"arn:aws:s3:::{outputs['CheckpointBucket']}/quick/x",
        "s3:PutObject": f"arn:aws:s3:::{outputs['ReportBucket']}/reports/x",
        "states:StartExecution": machine,
        "sns:Publish": outputs["NoticeTopicArn"],
    }
    iam = stack.client("iam")
    roles = [
        each["PhysicalResourceId"] for each in stack.resources if each["ResourceType"] == "AWS::IAM::Role"
    ]
    assert len(roles) >= 10
    allowed = []
    for role in roles:
        role_arn = f"arn:aws:iam::123456789012:role/{role}"
        for action, resource in touched.items():
            (found,) = iam.simulate_principal_policy(
                PolicySourceArn=role_arn, ActionNames=[action], ResourceArns=[resource]
            )["EvaluationResults"]
            if found["EvalDecision"] == "allowed":
                allowed.append((role, action))
    assert allowed == []
