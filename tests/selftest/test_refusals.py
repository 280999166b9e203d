"""The gallery of refusals against the simulated SageMaker: what its rules know is read as what it must be."""

from __future__ import annotations

import json

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from nightspot.facts.model import Verdict
from nightspot.facts.registry import FACTS
from nightspot.failures.codes import FailureClass
from nightspot.selftest import refusals
from nightspot.selftest.model import NotTriedError, Seen
from nightspot.selftest.refusals import ACCEPTED, CHECKS, asked, class_of
from nightspot.selftest.states import WORKFLOW_FILE
from tests.selftest.recorded import with_states

BY_ID = {check.id: check for check in CHECKS}
# What the rules of the simulated SageMaker refuse, and as what that is read.
KNOWN = {
    "B1": "quota_permanent",
    "B2": "quota_permanent",
    "B5": "configuration",
    "B6": "configuration",
    "B7": "configuration",
    "B8": "configuration",
}
# What only AWS's servers know; the simulation takes the request.
NOT_KNOWN = {"B3", "B4", "B9", "B10", "B11", "B12", "B14", "B15", "B16"}


def made(check, workspace):
    seen = Seen()
    try:
        check.run(workspace, seen)
        because = ""
    except NotTriedError as error:
        because = str(error)
    return {each.id: each for each in seen.observations(workspace.now())}, because


@pytest.fixture
def workspace(account):
    scarce = refusals.SCARCE[0]
    quotas = {f"{scarce} for spot training job usage": 0, f"{scarce} for training job usage": 0}
    opened = account(quotas=quotas)
    opened.workspace.shared["quotas"] = quotas
    return opened.workspace


def test_every_row_is_tried_here_or_known_to_be_aws_s_own():
    assert BY_ID.keys() == KNOWN.keys() | NOT_KNOWN | {"B13", "B17", "B18", "B19"}
    assert [check.id for check in CHECKS] == [f"B{number}" for number in range(1, 20)]


@pytest.mark.parametrize("row", KNOWN)
def test_what_the_local_rules_refuse_is_read_as_it_must_be(row, workspace):
    (seen,), because = [
        list(part.values()) if isinstance(part, dict) else part for part in made(BY_ID[row], workspace)
    ]

    assert because == ""
    assert seen.observed == (KNOWN[row],)
    assert seen.verdict is Verdict.AS_DESIGNED
    assert seen.evidence[0]


@pytest.mark.parametrize("row", sorted(NOT_KNOWN))
def test_what_the_simulation_takes_is_said_to_be_not_tried(row, workspace):
    seen, because = made(BY_ID[row], workspace)

    assert "the simulated SageMaker takes it" in because
    assert {each.verdict for each in seen.values()} <= {Verdict.AS_DESIGNED}


def test_a_long_name_is_refused_here_as_well(workspace):
    seen, _ = made(BY_ID["B16"], workspace)

    assert seen["sagemaker.refusal.name"].observed == ("configuration",)


def test_the_name_of_an_ended_job_is_taken(workspace):
    assert made(BY_ID["B13"], workspace) == ({}, "no training job has ended here yet: part C leaves some")
    ended(workspace, "old")

    seen, _ = made(BY_ID["B13"], workspace)

    assert seen["sagemaker.name.reuse"].verdict is Verdict.AS_DESIGNED
    assert workspace.name("old") not in seen["sagemaker.name.reuse"].evidence[0]


def ended(opened_workspace, part):
    """The name of a job that was stopped."""
    sagemaker, name = opened_workspace.client("sagemaker"), opened_workspace.name(part)
    sagemaker.create_training_job(**opened_workspace.request(part))
    sagemaker.stop_training_job(TrainingJobName=name)
    while sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] != "Stopped":
        opened_workspace.sleep(1)
    return name


WORDS = "The request was rejected because the training job is in status Stopped."
ANSWERS = {
    "never": "Requested resource not found.",
    "old": WORDS,
}


def refused_by_step_functions(asked_of_it):
    """As the SDK of Step Functions names what SageMaker has refused with a ValidationException."""
    name = json.loads(asked_of_it["variables"])["step"]["training_job_name"]
    words = ANSWERS[name.rpartition("-")[2]]
    cause = f"{words} (Service: SageMaker, Status Code: 400, Request ID: 0b7a) (SDK Attempt Count: 1)"
    return {"status": "FAILED", "error": "SageMaker.SageMakerException", "cause": cause}


def test_a_stop_in_vain_is_asked_for_by_boto3_and_by_the_workflow_s_own_state(workspace):
    name = ended(workspace, "old")
    recorded = with_states(workspace, refused_by_step_functions)

    seen, because = made(BY_ID["B17"], workspace)

    assert because == ""
    assert {name: each.observed for name, each in seen.items()} == {
        "sagemaker.refusal.stopunknown": ("configuration",),
        "sagemaker.refusal.stopended": ("stopped_by_person",),
        "stepfunctions.stop.error": ("SageMaker.SageMakerException",) * 2,
        "stepfunctions.stop.class": ("configuration", "stopped_by_person"),
    }
    assert {each.verdict for each in seen.values()} == {Verdict.AS_DESIGNED}
    assert WORDS in seen["stepfunctions.stop.error"].evidence[1]
    workflow = json.loads(WORKFLOW_FILE.read_text(encoding="utf-8"))["States"]["Stop the training job"]
    for asked_of_it, job in zip(recorded.asked, (workspace.name("never"), name), strict=True):
        state = json.loads(asked_of_it["definition"])
        assert (state["Resource"], state["Arguments"]) == (workflow["Resource"], workflow["Arguments"])
        # Else the first error would be one that is tried again, and no answer.
        assert not {"Retry", "Catch"} & state.keys()
        assert json.loads(asked_of_it["variables"])["step"] == {"training_job_name": job}


def test_without_a_job_that_has_ended_that_half_is_not_tried(workspace):
    with_states(workspace, refused_by_step_functions)

    seen, because = made(BY_ID["B17"], workspace)

    assert because == "no training job of this self-test has ended: part C leaves some"
    assert "sagemaker.refusal.stopended" not in seen
    assert seen["stepfunctions.stop.class"].observed == ("configuration",)


def test_a_stop_that_step_functions_words_in_a_new_way_is_safe_and_told(workspace):
    new = {"status": "FAILED", "error": "SageMaker.TooNewException", "cause": "We have never said this."}
    with_states(workspace, lambda _asked: new)

    seen, _ = made(BY_ID["B17"], workspace)

    assert seen["stepfunctions.stop.error"].verdict is Verdict.SAFE
    assert seen["stepfunctions.stop.class"].observed == ("unknown",)
    assert seen["stepfunctions.stop.class"].evidence == (
        "stopunknown: SageMaker.TooNewException: We have never said this.",
    )


def test_an_emulator_whose_teststate_never_asked_sagemaker_is_not_believed(workspace):
    """One that knows no variables, say; on AWS the same answer is told."""
    said = {"status": "FAILED", "error": "States.QueryEvaluationError", "cause": "undefined"}
    with_states(workspace, lambda _asked: said)

    seen, because = made(BY_ID["B17"], workspace)

    assert seen.keys() == {"sagemaker.refusal.stopunknown"}
    assert (
        "the simulated SageMaker answers TestState of a real call with States.QueryEvaluationError" in because
    )
    workspace.emulator = ""
    seen, _ = made(BY_ID["B17"], workspace)
    assert seen["stepfunctions.stop.error"].observed == ("States.QueryEvaluationError",)


def test_what_boto3_says_is_kept_where_nothing_has_teststate(workspace):
    """As in moto."""
    seen = Seen()

    with pytest.raises((NotImplementedError, ClientError)):
        BY_ID["B17"].run(workspace, seen)

    (found,) = seen.observations(workspace.now())
    assert (found.id, found.observed) == ("sagemaker.refusal.stopunknown", ("configuration",))


def test_a_job_that_is_not_there_is_described_as_such(workspace):
    seen, _ = made(BY_ID["B18"], workspace)

    assert seen["sagemaker.describe.unknown"].verdict is Verdict.AS_DESIGNED


def test_throttling_is_for_aws_alone(workspace):
    assert made(BY_ID["B19"], workspace) == ({}, "the simulated SageMaker throttles nobody")


def recorded(code, message, status=400):
    """A SageMaker client that refuses CreateTrainingJob so."""
    client = boto3.client("sagemaker", region_name="eu-west-1")
    stubber = Stubber(client)
    stubber.add_client_error("create_training_job", code, message, status)
    stubber.activate()
    return client


@pytest.mark.parametrize(
    ("row", "code", "message", "verdict"),
    [
        (
            "role",
            "ValidationException",
            "Could not assume role arn:aws:iam::123456789012:role/x. Please ensure that the role exists and allows "
            "principal 'sagemaker.amazonaws.com' to assume the role.",
            Verdict.AS_DESIGNED,
        ),
        (
            "passrole",
            "AccessDeniedException",
            "User: arn:aws:sts::123456789012:assumed-role/x is not authorized to perform: iam:PassRole on: z",
            Verdict.AS_DESIGNED,
        ),
        (
            "spottype",
            "ValidationException",
            "The instance type ml.t3.medium is not supported for managed spot training.",
            Verdict.AS_DESIGNED,
        ),
        ("role", "SomethingNewException", "We have never said this before.", Verdict.BREAKS),
        ("waitondemand", "ThrottlingException", "Rate exceeded", Verdict.BREAKS),
    ],
    ids=["role", "pass role", "type without Spot", "an unknown word", "another class"],
)
def test_a_recorded_answer_gets_its_verdict(account, row, code, message, verdict):
    workspace, seen = account().workspace, Seen()

    asked(workspace, seen, row, {**workspace.request("x")}, recorded(code, message))

    (found,) = seen.observations(workspace.now())
    assert found.verdict is verdict
    assert code in found.evidence[0]
    assert "123456789012" not in found.evidence[0]


def test_a_request_that_aws_takes_after_all_is_a_break_and_stopped(account):
    opened = account()
    opened.workspace.emulator = ""
    seen = Seen()

    BY_ID["B5"].run(opened.workspace, seen)
    BY_ID["B3"].run(opened.workspace, seen)
    name = opened.workspace.name("b3")
    left = opened.workspace.clean_up()

    observed = {each.id: each.observed for each in seen.observations(opened.workspace.now())}
    assert observed["sagemaker.refusal.spottype"] == (ACCEPTED,)
    assert FACTS["sagemaker.refusal.spottype"].verdict([ACCEPTED]) is Verdict.BREAKS
    assert opened.simulator.describe_training_job({"TrainingJobName": name})["TrainingJobStatus"] == "Stopped"
    assert left == []


def test_every_safe_class_is_a_class_of_the_classifier():
    known = {each.value for each in FailureClass} | {ACCEPTED}
    rows = [fact for name, fact in FACTS.items() if name.startswith("sagemaker.refusal.")]

    assert rows
    assert {word for fact in rows for word in fact.safe.words} <= known
    assert all("unknown" not in fact.safe.words for fact in rows)


def test_the_class_is_that_of_the_classifier():
    error = ClientError({"Error": {"Code": "ResourceLimitExceeded", "Message": "limit is 0 Instances"}}, "X")

    assert class_of(error).startswith("quota")
