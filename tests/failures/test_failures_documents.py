"""What a text that is JSON says, and what a training job's status and history say where its reason does not."""

import json

import pytest

from nightspot.failures.classify import Fault, classify
from nightspot.failures.codes import FailureClass

BOTO = "An error occurred ({}) when calling the CreateTrainingJob operation: {}"
JAVA_2 = "{} (Service: SageMaker, Status Code: {}, Request ID: 1a-2b) (SDK Attempt Count: 1)"
ANY = "SageMaker.SageMakerException"

JOB = {
    "TrainingJobName": "nightly-1",
    "TrainingJobStatus": "Failed",
    "SecondaryStatus": "Failed",
    "FailureReason": "CapacityError: none",
    "HyperParameters": {"FailureReason": "AlgorithmError: the user's"},
}


def json_of(*without, **fields):
    return json.dumps({key: value for key, value in {**JOB, **fields}.items() if key not in without})


DOCUMENTS = [
    (json_of(), "no_capacity"),
    ("\n" + json.dumps(JOB, indent=2) + "\n", "no_capacity"),
    (json_of(FailureReason="AlgorithmError: CapacityError: x"), "user_code"),
    (
        json_of("FailureReason", TrainingJobStatus="Stopped", SecondaryStatus="MaxWaitTimeExceeded"),
        "wait_limit",
    ),
    (json_of("FailureReason", TrainingJobStatus="Stopped", SecondaryStatus="Stopped"), "stopped_by_person"),
    ('{"TrainingJobStatus": "InProgress", "SecondaryStatus": "Interrupted"}', "interrupted"),
    (json_of("FailureReason"), "unknown"),
    (json_of("FailureReason", SecondaryStatusTransitions=[{"Status": "Interrupted"}, 7, {}]), "interrupted"),
    (json_of(FailureReason=7, SecondaryStatus=None), "unknown"),
    (json.dumps({"Error": "States.TaskFailed", "Cause": json_of()}), "no_capacity"),
    (json.dumps({"error": ANY, "cause": JAVA_2.format("Rate exceeded", 400)}), "throttled"),
    (json.dumps({"Error": {"Code": "AccessDeniedException", "Message": "no"}}), "permission"),
    (json.dumps({"errorType": "ClientError", "errorMessage": BOTO.format("Throttling", "x")}), "throttled"),
    (json.dumps({"__type": "com.amazonaws.sagemaker#ResourceInUse", "message": "x"}), "configuration"),
    (json.dumps({"detail-type": "SageMaker Training Job State Change", "detail": JOB}), "no_capacity"),
    # Only the fields at the top are AWS's.
    (json.dumps({"HyperParameters": JOB, "Tags": [JOB], "note": "CapacityError: x"}), "unknown"),
    (json.dumps([JOB]), "unknown"),
]


@pytest.mark.parametrize(("document", "failure"), DOCUMENTS)
def test_json_is_opened_wherever_it_stands(document, failure):
    assert classify(failure_reason=document).failure == failure
    assert classify(fault=Fault(document)).failure == failure
    assert classify(fault=Fault("", document)).failure == failure
    assert classify(failure_reason=f"States.TaskFailed: {document}").failure == failure or document[0] != "{"


def test_json_that_was_cut_off_is_read_as_far_as_it_goes():
    document = json_of(Tags=["x" * 100])
    for end in range(document.index('"HyperParameters"'), len(document)):
        assert classify(fault=Fault("States.TaskFailed", document[:end])).failure == "no_capacity"
    for end in range(len(document)):
        cut = classify(failure_reason=document[:end])
        assert cut.failure in {FailureClass.UNKNOWN, FailureClass.NO_CAPACITY}


def test_of_a_described_job_the_reason_is_kept_and_nothing_else():
    described = classify(
        fault=Fault("States.TaskFailed", json_of(FailureReason="AlgorithmError: ask jo@a.io"))
    )
    assert described.reason == "States.TaskFailed: AlgorithmError: ask <e-mail>"
    assert classify(fault=Fault("arn:aws:states::123456789012:x", json_of())).reason == (
        "arn:aws:states::<account>:x: CapacityError: none"
    )
    stopped = json_of("FailureReason", TrainingJobStatus="Stopped", SecondaryStatus="MaxWaitTimeExceeded")
    assert classify(fault=Fault("States.TaskFailed", stopped)).reason == (
        "States.TaskFailed: Stopped/MaxWaitTimeExceeded"
    )


@pytest.mark.parametrize(
    ("seen", "failure"),
    [
        ({"transitions": ["Starting", "Training", "Interrupted", "Failed"]}, "interrupted"),
        ({"transitions": ["Training", "Interrupted", "Starting", "Failed"]}, "interrupted"),
        ({"transitions": ["Interrupted", "Starting", "Training", "Failed"]}, "unknown"),
        ({"transitions": ["Interrupted"], "failure_reason": "seen by nobody"}, "unknown"),
        ({"transitions": ["Interrupted"], "failure_reason": "AlgorithmError: x"}, "user_code"),
        ({"transitions": ["Interrupted"], "failure_reason": "  "}, "interrupted"),
        ({"transitions": ["Starting", "Failed"]}, "unknown"),
        ({"transitions": []}, "unknown"),
    ],
)
def test_a_jobs_history_settles_a_failure_without_a_reason(seen, failure):
    assert classify(status="Failed", secondary_status="Failed", **seen).failure == failure


@pytest.mark.parametrize(
    ("transitions", "ours", "failure"),
    [
        (["Starting", "MaxWaitTimeExceeded", "Stopped"], False, "wait_limit"),
        (["Training", "MaxRuntimeExceeded", "Stopped"], False, "runtime_limit"),
        (["Training", "Interrupted", "Stopped"], False, "interrupted"),
        (["Training", "Interrupted", "Stopping", "Stopped"], False, "stopped_by_person"),
        (["Training", "Stopping", "Stopped"], False, "stopped_by_person"),
        (["Training", "Interrupted", "Stopped"], True, "stopped_by_nightspot"),
        (["Training", "Stopping", "Stopped"], True, "stopped_by_nightspot"),
    ],
)
def test_a_jobs_history_tells_sagemakers_own_stop_from_a_persons(transitions, ours, failure):
    seen = classify(
        status="Stopped", secondary_status="Stopped", transitions=transitions, stop_requested=ours
    )
    assert seen.failure == failure


@pytest.mark.parametrize(
    ("seen", "failure"),
    [
        ({"status": "InProgress", "secondary_status": "Interrupted"}, "interrupted"),
        ({"status": "InProgress", "secondary_status": "Training"}, "unknown"),
        ({"secondary_status": "MaxWaitTimeExceeded"}, "wait_limit"),
        ({"secondary_status": "Stopped"}, "stopped_by_person"),
        ({"secondary_status": "Stopped", "stop_requested": True}, "stopped_by_nightspot"),
        ({"status": "Stopping", "secondary_status": "Stopping"}, "stopped_by_person"),
        ({"status": "Stopped", "failure_reason": "MaxRuntime exceeded"}, "runtime_limit"),
        ({"status": "Stopped", "failure_reason": "AlgorithmError: x"}, "stopped_by_person"),
        ({"status": "Completed", "secondary_status": "Completed"}, "unknown"),
        ({"status": "Deleting"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_a_status_speaks_where_no_reason_does(seen, failure):
    assert classify(**seen).failure == failure
