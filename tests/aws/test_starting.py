"""Starting a run: the same name and input is the same run, whatever AWS says and whoever asks again."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.executions import (
    InvalidStartError,
    NameTakenError,
    Starter,
    StartRefusedError,
    fresh_name,
    keyed_name,
    scheduled_name,
)
from nightspot.formats.run_ids import run_id_of

REGION = "eu-west-1"
MACHINE = f"arn:aws:states:{REGION}:123456789012:stateMachine:nightspot"
ARN = f"arn:aws:states:{REGION}:123456789012:execution:nightspot:one"
DEFINITION = '{"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 60, "End": true}}}'
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
NAIVE = MIDNIGHT.replace(tzinfo=None)


@pytest.fixture
def step_functions(emulated_aws):
    client = boto3.client("stepfunctions", region_name=REGION)
    role = "arn:aws:iam::123456789012:role/nightspot"
    client.create_state_machine(name="nightspot", definition=DEFINITION, roleArn=role)
    return client


def refusal(code: str, status: int = 400, message: str = "no") -> ClientError:
    error = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(error, "StartExecution")


class Scripted:
    """Step Functions whose two calls answer or fail as told, and remember what was asked."""

    def __init__(self, start, describe=None) -> None:
        self._start = start
        self._describe = describe or [refusal("ExecutionDoesNotExist")]
        self.calls: list[str] = []

    def start_execution(self, **_arguments):
        self.calls.append("start")
        return self._answer(self._start)

    def describe_execution(self, **_arguments):
        self.calls.append("describe")
        return self._answer(self._describe.pop(0))

    def _answer(self, answer):
        if isinstance(answer, Exception):
            raise answer
        return answer


def execution(**given) -> dict:
    return {"executionArn": ARN, "startDate": MIDNIGHT, "input": json.dumps({"job": "recommender", **given})}


def test_a_run_is_started_with_its_whole_input(step_functions):
    started = Starter(step_functions, MACHINE).start(
        "recommender",
        {"market": "spot", "deadline": "6h"},
        name="one",
        scheduled_at=datetime(2026, 11, 21, 1, tzinfo=timezone(timedelta(hours=1))),
        resume_from="20261120-abcdef",
        requested_by="schedule",
    )
    there = step_functions.describe_execution(executionArn=ARN)
    assert json.loads(there["input"]) == {
        "job": "recommender",
        "scheduled_at": "2026-11-21T00:00:00Z",
        "resume_from": "20261120-abcdef",
        "requested_by": "schedule",
        "deadline": "6h",
        "market": "spot",
    }
    assert started.is_new
    assert started.execution_arn == ARN
    assert started.started_at == there["startDate"]
    assert started.started_at.tzinfo is UTC
    assert started.run_id == run_id_of(ARN, started.started_at)


def test_only_what_is_given_is_in_the_input(step_functions):
    Starter(step_functions, MACHINE).start("recommender", {}, name="one")
    assert step_functions.describe_execution(executionArn=ARN)["input"] == '{"job": "recommender"}'


def test_the_same_again_is_the_same_run(step_functions):
    starter = Starter(step_functions, MACHINE)
    first = starter.start("recommender", {"market": "spot"}, name="one")
    again = starter.start("recommender", {"market": "spot"}, name="one")
    assert first.is_new
    assert not again.is_new
    assert (again.run_id, again.started_at) == (first.run_id, first.started_at)


def test_the_same_again_after_the_end_of_the_run_is_still_the_same_run(step_functions):
    starter = Starter(step_functions, MACHINE)
    first = starter.start("recommender", {}, name="one")
    step_functions.stop_execution(executionArn=ARN)
    again = starter.start("recommender", {}, name="one")
    assert (again.run_id, again.is_new) == (first.run_id, False)


def test_who_asks_makes_no_other_run(step_functions):
    starter = Starter(step_functions, MACHINE)
    starter.start("recommender", {}, name="one", requested_by="api: session 1")
    assert not starter.start("recommender", {}, name="one", requested_by="api: session 2").is_new


@pytest.mark.parametrize("ended", [False, True])
def test_a_name_with_another_input_is_taken(step_functions, ended):
    starter = Starter(step_functions, MACHINE)
    starter.start("recommender", {"market": "spot"}, name="one")
    if ended:
        step_functions.stop_execution(executionArn=ARN)
    with pytest.raises(NameTakenError, match=r"name: 'one' is taken by an execution with another input"):
        starter.start("recommender", {"market": "on_demand"}, name="one")


def test_of_two_that_start_at_once_the_second_gets_the_run_of_the_first():
    scripted = Scripted(
        refusal("ExecutionAlreadyExists"), [refusal("ExecutionDoesNotExist"), execution(market="spot")]
    )
    started = Starter(scripted, MACHINE).start("recommender", {"market": "spot"}, name="one")
    assert (started.run_id, started.is_new) == (run_id_of(ARN, MIDNIGHT), False)
    assert scripted.calls == ["describe", "start", "describe"]


def test_a_name_that_was_taken_in_between_for_something_else_is_taken():
    scripted = Scripted(refusal("ExecutionAlreadyExists"), [refusal("ExecutionDoesNotExist"), execution()])
    with pytest.raises(NameTakenError):
        Starter(scripted, MACHINE).start("recommender", {"market": "spot"}, name="one")


def test_a_name_that_is_taken_by_what_aws_does_not_show_yet_is_worth_asking_for_again():
    unknown = refusal("ExecutionDoesNotExist")
    scripted = Scripted(refusal("ExecutionAlreadyExists"), [unknown, unknown])
    with pytest.raises(TransientAwsError, match="name: 'one' is taken"):
        Starter(scripted, MACHINE).start("recommender", {}, name="one")


def test_a_run_that_is_there_can_be_found_without_starting_one(step_functions):
    starter = Starter(step_functions, MACHINE)
    asked = {"scheduled_at": MIDNIGHT, "resume_from": "20261120-abcdef"}
    assert starter.known("recommender", {"market": "spot"}, name="one", **asked) is None
    with pytest.raises(ClientError, match="ExecutionDoesNotExist"):
        step_functions.describe_execution(executionArn=ARN)
    first = starter.start("recommender", {"market": "spot"}, name="one", requested_by="api", **asked)
    known = starter.known("recommender", {"market": "spot"}, name="one", **asked)
    assert known == replace(first, is_new=False)
    for other in ({"scheduled_at": None}, {"resume_from": None}):
        with pytest.raises(NameTakenError):
            starter.known("recommender", {"market": "spot"}, name="one", **{**asked, **other})
    with pytest.raises(NameTakenError):
        starter.known("recommender", {}, name="one", **asked)


def test_a_name_that_cannot_be_is_not_looked_for():
    scripted = Scripted(execution())
    with pytest.raises(InvalidStartError, match="name: '' must have"):
        Starter(scripted, MACHINE).known("recommender", {}, name="")
    assert scripted.calls == []


@pytest.mark.parametrize("text", [None, "", "not JSON", "[]"])
def test_an_input_that_nobody_can_compare_is_another_one(text):
    scripted = Scripted(execution(), [{**execution(), "input": text}])
    with pytest.raises(NameTakenError):
        Starter(scripted, MACHINE).start("recommender", {}, name="one")


@pytest.mark.parametrize(
    "error",
    [
        refusal("ThrottlingException"),
        refusal("InternalFailure", 500),
        EndpointConnectionError(endpoint_url="https://states.example.org"),
        ReadTimeoutError(endpoint_url="https://states.example.org"),
    ],
    ids=["throttled", "fault of AWS", "no connection", "no answer"],
)
@pytest.mark.parametrize("call", ["describe", "start"])
def test_what_may_pass_is_worth_repeating(error, call):
    scripted = Scripted(error, [error] if call == "describe" else None)
    with pytest.raises(TransientAwsError):
        Starter(scripted, MACHINE).start("recommender", {}, name="one")


@pytest.mark.parametrize(
    "error",
    [
        refusal("AccessDeniedException", message="no, ada@example.org may not states:StartExecution"),
        refusal("InvalidArn"),
        NoCredentialsError(),
    ],
    ids=["no permission", "no such ARN", "no credentials"],
)
def test_what_will_not_pass_is_refused_without_private_words(error):
    with pytest.raises(StartRefusedError) as refused:
        Starter(Scripted(error), MACHINE).start("recommender", {}, name="one")
    assert "ada@example.org" not in str(refused.value)


def test_a_state_machine_that_does_not_exist_is_refused(step_functions):
    machine = MACHINE.replace("nightspot", "elsewhere")
    with pytest.raises(StartRefusedError, match="StateMachineDoesNotExist"):
        Starter(step_functions, machine).start("recommender", {}, name="one")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"name": "re:sult"}, r"name: 're:sult' must have 1 to 80 characters, of letters, digits, - and _"),
        ({"name": ""}, "name: '' must have"),
        ({"name": "n" * 81}, "must have 1 to 80"),
        ({"scheduled_at": NAIVE}, "scheduled_at: 2026-11-21T00:00:00 must have a time zone"),
        ({"overrides": {"job": "other"}}, "job: 'other' must not be among the overrides"),
        ({"overrides": {"budget": float("nan")}}, "overrides: .* must be values of JSON"),
        ({"overrides": {"budget": {1, 2}}}, "overrides: .* must be values of JSON"),
        ({"overrides": {"hyperparameters": {"text": "é" * 50_000}}}, r"at most 262,144 bytes"),
    ],
)
def test_what_cannot_be_a_run_is_refused_before_aws_is_asked(wrong, told):
    scripted = Scripted(execution())
    arguments = {"name": "one", "overrides": {}, **wrong}
    with pytest.raises(InvalidStartError, match=told):
        Starter(scripted, MACHINE).start("recommender", **arguments)
    assert scripted.calls == []


def test_the_story_of_a_local_emulation_has_its_own_date(step_functions):
    story = iter([MIDNIGHT, MIDNIGHT + timedelta(days=3)])
    starter = Starter(step_functions, MACHINE, now=lambda: next(story))
    first = starter.start("recommender", {}, name="one")
    assert (first.started_at, first.run_id) == (MIDNIGHT, run_id_of(ARN, MIDNIGHT))
    again = starter.start("recommender", {}, name="one")
    assert (again.started_at, again.run_id, again.is_new) == (first.started_at, first.run_id, False)


def test_the_names_say_what_makes_a_run_the_same():
    in_dublin = datetime(2026, 6, 21, 1, tzinfo=timezone(timedelta(hours=1)))
    assert scheduled_name("recommender", in_dublin) == "recommender-2026-06-21T0000Z"
    assert fresh_name("recommender", MIDNIGHT, "ab12cd") == "recommender-20261121T000000-ab12cd"
    keyed = keyed_name("recommender", "any: text\nat all")
    assert keyed == keyed_name("recommender", "any: text\nat all") != keyed_name("recommender", "other")
    assert keyed.startswith("recommender-key-")
    assert len(keyed) == len("recommender-key-") + 16
    for naive in (
        lambda at: scheduled_name("recommender", at),
        lambda at: fresh_name("recommender", at, "a"),
    ):
        with pytest.raises(InvalidStartError, match="must have a time zone"):
            naive(NAIVE)


def test_the_names_of_every_possible_job_are_allowed(step_functions):
    starter = Starter(step_functions, MACHINE)
    longest = "j" * 35
    for name in (
        scheduled_name(longest, MIDNIGHT),
        keyed_name(longest, "key"),
        fresh_name(longest, MIDNIGHT, "ab12cd"),
    ):
        assert starter.start("recommender", {}, name=name).is_new
