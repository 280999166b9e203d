"""Small state machines through moto's interpreter, in story time and with functions of this process."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import count

import boto3
import pytest
from moto import mock_aws

from nightspot.aws.faults import TransientAwsError
from nightspot.local.clock import StoryClock
from nightspot.local.sagemaker import sagemaker
from nightspot.local.sagemaker.request_rules import ServiceFault
from nightspot.local.stage.emulated_aws import (
    REGION,
    TABLE,
    create_resources,
    function_arn,
    start_execution,
    states_entered,
    wait_for_end,
)
from nightspot.local.stage.engine import interpreter

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
SCALE = 36_000  # ten hours a second
LONGEST_STORY_SECONDS = 120 * SCALE


class Machine:
    """One state machine after the other, in one emulated AWS."""

    def __init__(self) -> None:
        self.client = boto3.client("stepfunctions", region_name=REGION)
        self.dynamodb = boto3.client("dynamodb", region_name=REGION)
        self.clock = StoryClock(MIDNIGHT, SCALE)
        self.ends = []
        self._numbers = count()

    def run(self, states, run_input=None, *, functions=None, meanwhile=None):
        """The execution of `states`, from the first to its end, as DescribeExecution shows it."""
        definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states}
        with interpreter(self.clock, functions or {}, self.ends.append):
            name = f"tiny-{next(self._numbers)}"
            arn = self.client.create_state_machine(
                name=name,
                definition=json.dumps(definition),
                roleArn="arn:aws:iam::123456789012:role/tiny",
            )["stateMachineArn"]
            execution = start_execution(self.client, arn, name, run_input or {})
            if meanwhile is not None:
                meanwhile(execution)
            ended = wait_for_end(self.client, execution, self.clock.real_seconds(LONGEST_STORY_SECONDS))
        return {**ended, "entered": states_entered(self.client, execution)}

    def value(self, states, run_input=None, **options):
        """What an execution that succeeds puts out."""
        ended = self.run(states, run_input, **options)
        assert ended["status"] == "SUCCEEDED", (ended.get("error"), ended.get("cause"))
        return json.loads(ended["output"])


@pytest.fixture
def machine():
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        create_resources(())
        yield Machine()


def invoke(name="Work", **fields):
    """A task that calls a function, as the workflow does; its output is the answer."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": function_arn(name), "Payload": "{% $states.input %}"},
        "Output": "{% $states.result.Payload %}",
        **({} if {"Next", "End"} & fields.keys() else {"End": True}),
        **fields,
    }


def output(value, **fields):
    return {"Type": "Pass", "Output": value, **({} if "Next" in fields else {"End": True}), **fields}


CAUGHT = {"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput %}", "Next": "Caught"}
SAY_WHAT_WAS_CAUGHT = {"Caught": {"Type": "Succeed"}}


def test_variables_and_input_reach_an_expression_with_quotation_marks_and_nulls(machine):
    nasty = {"cause": "say \"hi\" and 'ho' \\n", "fault": None}
    states = {
        "Keep": {
            "Type": "Pass",
            "Assign": {"kept": "{% $states.input %}", "fault": None},
            "Output": {},
            "Next": "Say",
        },
        "Say": output({"kept": "{% $kept %}", "fault": "{% $fault %}", "same": "{% $kept.fault = null %}"}),
    }
    assert machine.value(states, nasty) == {"kept": nasty, "fault": None, "same": True}


@pytest.mark.parametrize("expression", ["$states.input.nothing", "$error('refused')", "1 + 'a'"])
def test_an_expression_without_a_value_is_a_query_evaluation_error(machine, expression):
    ended = machine.run({"Say": output(f"{{% {expression} %}}")})
    assert ended["status"] == "FAILED"
    assert ended["error"] == "States.QueryEvaluationError"


def test_the_context_tells_the_story_s_time_as_text(machine):
    started = machine.value({"Say": output({"at": "{% $states.context.Execution.StartTime %}"})})
    moment = datetime.fromisoformat(started["at"])
    assert MIDNIGHT <= moment <= machine.clock.now()
    assert moment.year == 2026


@pytest.mark.parametrize("seconds", [3600, "{% $states.input.seconds %}"], ids=["literal", "computed"])
def test_a_wait_takes_story_time(machine, seconds):
    before, began = machine.clock.now(), time.monotonic()
    states = {"Wait": {"Type": "Wait", "Seconds": seconds, "Next": "Done"}, "Done": {"Type": "Succeed"}}
    machine.value(states, {"seconds": 3600})
    assert machine.clock.now() - before >= timedelta(hours=1)
    assert time.monotonic() - began < 3600 / 60


def wait_for_token(**fields):
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:dynamodb:updateItem.waitForTaskToken",
        "Arguments": {
            "TableName": TABLE,
            "Key": {"pk": {"S": "TRAINING_JOB#one"}, "sk": {"S": "TOKEN"}},
            "UpdateExpression": "SET #token = :token",
            "ExpressionAttributeNames": {"#token": "token"},
            "ExpressionAttributeValues": {":token": {"S": "{% $states.context.Task.Token %}"}},
        },
        **fields,
    }


def test_a_computed_time_out_is_in_story_time(machine):
    states = {
        "Wait for news": wait_for_token(
            TimeoutSeconds="{% $states.input.seconds %}",
            Catch=[{"ErrorEquals": ["States.Timeout"], "Next": "Nothing came"}],
            Next="News",
        ),
        "News": output({"was": "news"}),
        "Nothing came": output({"was": "nothing"}),
    }
    before, began = machine.clock.now(), time.monotonic()
    assert machine.value(states, {"seconds": 7200}) == {"was": "nothing"}
    assert machine.clock.now() - before >= timedelta(hours=2)
    assert time.monotonic() - began < 7200 / 60


def test_a_token_that_is_returned_ends_the_wait(machine):
    def send_news(_execution):
        item, patience = None, time.monotonic() + 120
        # moto shows an item while it is still being written.
        while item is None or "token" not in item:
            assert time.monotonic() < patience, "the token never came"
            key = {"pk": {"S": "TRAINING_JOB#one"}, "sk": {"S": "TOKEN"}}
            item = machine.dynamodb.get_item(TableName=TABLE, Key=key).get("Item")
        machine.client.send_task_success(taskToken=item["token"]["S"], output="{}")

    states = {
        "Wait for news": wait_for_token(
            TimeoutSeconds="{% $states.input.seconds %}",
            Catch=[{"ErrorEquals": ["States.Timeout"], "Next": "Nothing came"}],
            Next="News",
        ),
        "News": output({"was": "news"}),
        "Nothing came": output({"was": "nothing"}),
    }
    assert machine.value(states, {"seconds": LONGEST_STORY_SECONDS}, meanwhile=send_news) == {"was": "news"}


def test_a_function_gets_the_payload_and_its_answer_is_the_result(machine):
    functions = {"Work": lambda event: {"double": event["n"] * 2}, "Other": lambda _event: "wrong"}
    assert machine.value({"Work": invoke()}, {"n": 21}, functions=functions) == {"double": 42}


def failing(error):
    def fail(_event):
        raise error

    return {"Work": fail}


def test_what_a_function_raises_arrives_by_name_with_its_message(machine):
    class InvalidInputError(ValueError):
        pass

    message = 'job: "x" is not a job'
    states = {"Work": invoke(Catch=[CAUGHT]), **SAY_WHAT_WAS_CAUGHT}
    caught = machine.value(states, functions=failing(InvalidInputError(message)))
    assert caught["Error"] == "InvalidInputError"
    assert json.loads(caught["Cause"])["errorMessage"] == message


def test_an_error_is_caught_by_its_own_name_only(machine):
    def catches(name):
        catchers = [{"ErrorEquals": [name], "Next": "Named"}, CAUGHT]
        states = {"Work": invoke(Catch=catchers), "Named": {"Type": "Succeed"}, **SAY_WHAT_WAS_CAUGHT}
        return machine.run(states, functions=failing(KeyError("x")))["entered"][-1]

    assert catches("KeyError") == "Named"
    assert catches("ValueError") == "Caught"


RETRY = {"ErrorEquals": ["TransientAwsError"], "IntervalSeconds": 600, "BackoffRate": 2, "MaxAttempts": 2}


def test_a_retry_calls_again_after_story_time_until_it_works(machine):
    called = []

    def work(_event):
        called.append(machine.clock.now())
        if len(called) < 3:
            raise TransientAwsError("throttled")
        return {"was": "good"}

    assert machine.value({"Work": invoke(Retry=[RETRY])}, functions={"Work": work}) == {"was": "good"}
    first, second, third = called
    assert second - first >= timedelta(seconds=600)
    assert third - second >= timedelta(seconds=1200)


@pytest.mark.parametrize(("error", "calls"), [(TransientAwsError("throttled"), 3), (KeyError("x"), 1)])
def test_a_retry_ends_with_its_attempts_and_is_for_the_named_error_only(machine, error, calls):
    called = []

    def work(event):
        called.append(event)
        raise error

    ended = machine.run({"Work": invoke(Retry=[RETRY])}, functions={"Work": work})
    assert (ended["status"], ended["error"]) == ("FAILED", type(error).__name__)
    assert len(called) == calls


class RefusingSageMaker:
    """A simulated SageMaker whose calls are all refused."""

    def __init__(self, fault):
        self._fault = fault

    def _refuse(self, _request):
        raise self._fault.error()

    create_training_job = describe_training_job = stop_training_job = list_training_jobs = _refuse


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("ResourceLimitExceeded", "SageMaker.ResourceLimitExceededException"),
        ("ResourceInUse", "SageMaker.ResourceInUseException"),
    ],
)
def test_a_refusal_of_sagemaker_is_named_as_step_functions_names_it(machine, code, error):
    request = {
        "TrainingJobName": "one",
        "RoleArn": "arn:aws:iam::123456789012:role/training",
        "OutputDataConfig": {"S3OutputPath": "s3://models/"},
        "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {},
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
    }
    states = {
        "Ask": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:sagemaker:createTrainingJob",
            "Arguments": "{% $states.input %}",
            "Catch": [CAUGHT],
            "End": True,
        },
        **SAY_WHAT_WAS_CAUGHT,
    }
    with sagemaker.installed(RefusingSageMaker(ServiceFault(code, "The words of AWS."))):
        caught = machine.value(states, request)
    assert caught["Error"] == error
    assert "The words of AWS." in caught["Cause"]


def test_outside_of_the_block_moto_is_as_it_was(machine):
    from moto.awslambda.models import LambdaBackend
    from moto.stepfunctions.parser.asl.component.common.string.string_expression import StringJSONata

    before = (LambdaBackend.invoke, StringJSONata._eval_body)
    with interpreter(machine.clock, {}):
        assert before != (LambdaBackend.invoke, StringJSONata._eval_body)
    assert before == (LambdaBackend.invoke, StringJSONata._eval_body)


WAITS = {"Wait": {"Type": "Wait", "Seconds": 36_000, "End": True}}


def test_an_execution_that_succeeds_is_no_end_to_tell(machine):
    machine.run({"Done": {"Type": "Succeed"}})
    assert machine.ends == []


def test_a_failure_is_told_with_its_error_and_cause_as_eventbridge_does(machine):
    ended = machine.run({"Fail": {"Type": "Fail", "Error": "Nightspot.failed", "Cause": "why"}}, {"job": "a"})
    (event,) = machine.ends
    detail = event["detail"]
    assert (event["source"], event["detail-type"]) == ("aws.states", "Step Functions Execution Status Change")
    assert (detail["executionArn"], detail["status"]) == (ended["executionArn"], "FAILED")
    assert (detail["error"], detail["cause"]) == ("Nightspot.failed", "why")
    assert json.loads(detail["input"]) == {"job": "a"}


def test_an_abort_is_told_in_the_story_s_time(machine):
    def abort(execution):
        machine.clock.sleep(3600)
        machine.client.stop_execution(executionArn=execution)

    assert machine.run(WAITS, meanwhile=abort)["status"] == "ABORTED"
    (event,) = machine.ends
    assert event["detail"]["status"] == "ABORTED"
    times = [datetime.fromtimestamp(event["detail"][name] / 1000, UTC) for name in ("startDate", "stopDate")]
    assert times[0] >= MIDNIGHT
    assert times[1] - times[0] >= timedelta(hours=1)
    assert times[1] <= machine.clock.now()


def test_an_execution_that_is_stopped_within_a_task_that_then_fails_is_aborted(machine):
    working, stopped = threading.Event(), threading.Event()

    def work(_event):
        working.set()
        stopped.wait(30)
        raise KeyError("too late")

    def abort(execution):
        working.wait(30)
        machine.client.stop_execution(executionArn=execution)
        stopped.set()

    ended = machine.run({"Work": invoke()}, functions={"Work": work}, meanwhile=abort)
    assert ended["status"] == "ABORTED"
    (event,) = machine.ends
    assert event["detail"]["status"] == "ABORTED"


def test_the_end_of_an_execution_that_another_stage_has_started_is_not_told_here(machine):
    strangers = []

    def leave_it_to_another(_execution):
        with interpreter(machine.clock, {}, strangers.append):
            machine.clock.sleep(72_000)

    fails = {"Type": "Fail", "Error": "Tiny", "Cause": "why"}
    states = {"Wait": {"Type": "Wait", "Seconds": 36_000, "Next": "Fail"}, "Fail": fails}
    assert machine.run(states, meanwhile=leave_it_to_another)["status"] == "FAILED"
    assert strangers == []
    assert [event["detail"]["status"] for event in machine.ends] == ["FAILED"]
