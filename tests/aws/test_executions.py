"""Whether another run's execution is still alive: yes, no, or AWS does not say."""

from datetime import UTC, datetime, timedelta, timezone

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from botocore.stub import Stubber
from moto import mock_aws

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.executions import Executions, restart_arn
from nightspot.decide.audit import Execution, ExecutionState

REGION = "eu-west-1"
ARN = f"arn:aws:states:{REGION}:123456789012:execution:nightspot:one"
DEFINITION = '{"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 60, "End": true}}}'


@pytest.fixture
def step_functions():
    with mock_aws():
        yield boto3.client("stepfunctions", region_name=REGION)


@pytest.fixture
def unmocked():
    return boto3.client("stepfunctions", region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x")


@pytest.fixture
def execution(step_functions) -> str:
    machine = step_functions.create_state_machine(
        name="nightspot", definition=DEFINITION, roleArn="arn:aws:iam::123456789012:role/nightspot"
    )
    return step_functions.start_execution(stateMachineArn=machine["stateMachineArn"], name="one")[
        "executionArn"
    ]


class Answering:
    """Step Functions with one answer for everything."""

    def __init__(self, answer) -> None:
        self._answer = answer

    def describe_execution(self, *, executionArn):  # noqa: N803
        if isinstance(self._answer, Exception):
            raise self._answer
        answer = self._answer if isinstance(self._answer, dict) else {"status": self._answer}
        return {"executionArn": executionArn, **answer}

    def start_execution(self, **_given):
        raise self._answer

    def send_task_success(self, **_given):
        raise self._answer


def refusal(code: str, status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Any"
    )


def test_an_execution_is_running_until_it_is_aborted(step_functions, execution):
    executions = Executions(step_functions)
    assert executions.is_running(execution) is True
    step_functions.stop_execution(executionArn=execution)
    assert executions.is_running(execution) is False


def test_an_execution_that_step_functions_does_not_know_is_over(step_functions):
    assert Executions(step_functions).is_running(ARN) is False


def test_of_all_that_aws_may_say_only_one_word_means_running(unmocked):
    known = unmocked.meta.service_model.shape_for("ExecutionStatus").enum
    assert {"RUNNING", "PENDING_REDRIVE", "ABORTED"} < set(known)
    assert [word for word in known if Executions(Answering(word)).is_running(ARN)] == ["RUNNING"]
    assert {Executions(Answering(word)).is_running(ARN) for word in known} == {True, False}


@pytest.mark.parametrize(
    "error",
    [
        refusal("AccessDeniedException"),
        refusal("InvalidArn"),
        refusal("ThrottlingException"),
        refusal("InternalServerError", 500),
        EndpointConnectionError(endpoint_url="https://example.org"),
        NoCredentialsError(),
    ],
    ids=lambda error: error.response["Error"]["Code"] if hasattr(error, "response") else type(error).__name__,
)
def test_where_aws_does_not_say_nobody_is_taken_for_dead(error, caplog):
    assert Executions(Answering(error)).is_running(ARN) is None
    assert ARN in caplog.text


def test_it_asks_for_the_execution_that_it_was_asked_about(unmocked):
    with Stubber(unmocked) as stubber:
        answer = {
            "executionArn": ARN,
            "stateMachineArn": ARN,
            "status": "PENDING_REDRIVE",
            "startDate": "2026-11-21",
        }
        stubber.add_response("describe_execution", answer, {"executionArn": ARN})
        assert Executions(unmocked).is_running(ARN) is False
        stubber.assert_no_pending_responses()


def test_an_end_is_told_with_its_moment_and_its_words_without_secrets():
    at = datetime(2026, 11, 21, 4, 12, tzinfo=timezone(timedelta(hours=1)))
    answer = {"status": "FAILED", "stopDate": at, "error": "Broken", "cause": f"ann@example.com {'x' * 900}"}
    seen = Executions(Answering(answer)).describe(ARN)
    assert (seen.state, seen.ended_at) == (
        ExecutionState.FAILED,
        datetime(2026, 11, 21, 3, 12, tzinfo=UTC),
    )
    assert seen.said.startswith("Broken: ")
    assert "ann@" not in seen.said
    assert len(seen.said) == 300


def test_every_status_of_aws_is_a_state(unmocked):
    known = unmocked.meta.service_model.shape_for("ExecutionStatus").enum
    states = {word: Executions(Answering(word)).describe(ARN).state for word in known}
    assert states.pop("PENDING_REDRIVE") is ExecutionState.FAILED
    assert all(state.value == word for word, state in states.items())
    assert Executions(Answering(refusal("ExecutionDoesNotExist"))).describe(ARN) == Execution(
        ARN, ExecutionState.FORGOTTEN
    )
    assert (
        Executions(Answering(refusal("ThrottlingException"))).describe(ARN).state is ExecutionState.NOT_SAID
    )


def test_a_restart_is_an_execution_of_the_same_state_machine_and_starts_once(
    step_functions, execution, story
):
    run, executions = story.run(), Executions(step_functions)
    arn = executions.restart(run, 1, like=execution)
    assert arn == restart_arn(run, 1, like=execution)
    assert arn.endswith(":execution:nightspot:recommender-20261121-abc123-r1")
    described = step_functions.describe_execution(executionArn=arn)
    assert described["input"] == '{"continue_run": "20261121-abc123"}'
    step_functions.stop_execution(executionArn=arn)
    assert executions.restart(run, 1, like=execution) == arn
    assert executions.describe(arn).state is ExecutionState.ABORTED
    assert executions.restart(run, 2, like=arn) != arn


def test_a_restart_s_name_fits_however_long_the_job_s_is(story):
    name = restart_arn(story.run(job="j" * 90), 3, like=ARN).rpartition(":")[2]
    assert len(name) == 80
    assert name.endswith("-20261121-abc123-r3")


@pytest.mark.parametrize(
    ("fault", "is_refused"),
    [
        (refusal("AccessDeniedException"), True),
        (refusal("TaskTimedOut"), False),
        (refusal("TaskDoesNotExist"), False),
        (refusal("InvalidToken"), False),
        (refusal("ThrottlingException"), False),
        (EndpointConnectionError(endpoint_url="https://example.org"), False),
        (NoCredentialsError(), False),
    ],
    ids=["forbidden", "too late", "unknown", "invalid", "throttled", "no answer", "no credentials"],
)
def test_a_wake_up_that_does_not_go_through_raises_nothing_and_tells_only_of_a_refusal(fault, is_refused):
    told = []
    executions = Executions(Answering(fault), wake_refused=lambda: told.append("refused"))
    assert executions.wake("token") is False
    assert told == (["refused"] if is_refused else [])


@pytest.mark.parametrize(
    ("refused", "error"),
    [
        (refusal("ThrottlingException"), TransientAwsError),
        (EndpointConnectionError(endpoint_url="https://example.org"), TransientAwsError),
        (refusal("AccessDeniedException"), ClientError),
    ],
    ids=["throttled", "no answer", "forbidden"],
)
def test_a_restart_that_aws_refuses_is_a_fault_or_an_error(story, refused, error):
    with pytest.raises(error):
        Executions(Answering(refused)).restart(story.run(), 1, like=ARN)
