"""`nightspot explain`: one text, status or error in, one class and what to do about it out."""

import json

import pytest
from botocore.loaders import Loader

from nightspot.cli.explain import SECONDARY_STATUSES, STATUSES

KEYS = {"class", "meaning", "answer", "advice", "quota_market", "text", "document", "job", "where", "others"}
SPOT_QUOTA = (
    "ResourceLimitExceeded: The account-level service limit 'ml.g5.xlarge for spot training job usage' "
    "is 0 Instances"
)


def test_a_text_is_explained_for_people(nightspot):
    answer = nightspot("explain", "CapacityError: Unable to provision requested ML compute capacity.")
    assert answer.status == 0
    said = " ".join(answer.out.split())
    assert "class no_capacity" in said
    assert "AWS had no machine" in said
    assert "Tries again" in said
    assert "capacity.spot" in said
    assert "text CapacityError: Unable to provision" in said


@pytest.mark.parametrize(
    ("arguments", "failure"),
    [
        (("AlgorithmError: CapacityError: x",), "user_code"),
        (("--status", "Stopped/MaxWaitTimeExceeded"), "wait_limit"),
        (("--status", "Stopped"), "stopped_by_person"),
        (("--status", "Interrupted"), "interrupted"),
        (("--status", " Stopped / MaxRuntimeExceeded "), "runtime_limit"),
        (
            ("--status", "Failed/Failed", "InternalServerError: We encountered an internal error."),
            "service_fault",
        ),
        (("--status", "Failed", "AlgorithmError: exit code 1"), "user_code"),
        (("--error", "SageMaker.SageMakerException", "Rate exceeded (Service: SageMaker)"), "throttled"),
        (("--error", "AccessDeniedException"), "permission"),
        (("Nobody has seen this",), "unknown"),
        (("--status", "Failed"), "unknown"),
        (("--status", "Completed/Completed"), "not_a_failure"),
        (("--status", "InProgress/Pending"), "not_a_failure"),
        (('{"TrainingJobStatus":"InProgress","SecondaryStatus":"Pending"}',), "not_a_failure"),
        (("--status", "Training"), "not_a_failure"),
        (("EC2InsufficientCapacityError: none",), "no_capacity"),
    ],
)
def test_each_way_of_asking_has_a_class_and_status_0(nightspot, arguments, failure):
    answer = nightspot("explain", "--json", *arguments)
    assert answer.status == 0
    found = json.loads(answer.out)
    assert set(found) == KEYS
    assert found["class"] == failure
    assert all(found[key] for key in ("meaning", "answer", "advice"))


def test_a_quota_says_whose_it_is_and_which_to_raise(nightspot):
    found = json.loads(nightspot("explain", "--json", SPOT_QUOTA).out)
    assert (found["class"], found["quota_market"]) == ("quota_permanent", "spot")
    assert "'ml.g5.xlarge for spot training job usage'" in found["advice"]
    assert json.loads(nightspot("explain", "--json", "Nobody").out)["quota_market"] is None


def test_the_text_is_redacted(nightspot):
    text = "AlgorithmError: jo@example.com and 123456789012"
    assert "AlgorithmError: <e-mail> and <account>" in nightspot("explain", text).out
    assert (
        json.loads(nightspot("explain", "--json", text).out)["text"]
        == "AlgorithmError: <e-mail> and <account>"
    )


def test_a_dash_reads_standard_input(nightspot):
    described = {
        "TrainingJobName": "nightly-1",
        "TrainingJobStatus": "Stopped",
        "SecondaryStatus": "MaxWaitTimeExceeded",
        "HyperParameters": {"FailureReason": "AlgorithmError: not mine"},
    }
    # What `aws sagemaker describe-training-job` prints.
    answer = nightspot("explain", "--json", "-", stdin=json.dumps(described, indent=4))
    assert json.loads(answer.out)["class"] == "wait_limit"


def test_standard_input_that_is_no_text_is_read_as_far_as_it_goes(nightspot):
    answer = nightspot("explain", "--json", "-", stdin=b"CapacityError: \xff\xfe")
    assert json.loads(answer.out)["class"] == "no_capacity"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to explain: give TEXT, --status or --error"),
        (("  ",), "nothing to explain"),
        (("-",), "nothing to explain"),
        (("--error", ""), "nothing to explain"),
        (
            ("--status", "Dead"),
            "--status: 'Dead': 'Dead' must be one of InProgress, Completed,",
        ),
        (("--status", "Stopped/Ended"), "'Ended' must be one of Starting, Pending,"),
        (("--status", "MaxWaitTimeExceeded/Stopped"), "'MaxWaitTimeExceeded' must be one of InProgress"),
        (("--status", "Stopped/"), "'' must be one of Starting"),
        (("--status", "/Stopped"), "'' must be one of InProgress"),
        (("--status", ""), "--status: '': '' must be one of InProgress"),
        (("--status", "Failed", "--error", "X"), "give one of the two"),
    ],
)
def test_a_wrong_call_is_a_usage_error_with_the_rule(nightspot, arguments, said):
    answer = nightspot("explain", *arguments)
    assert answer.status == 2
    assert said in unboxed(answer.err)


def test_a_refused_status_is_answered_with_all_that_there_are(nightspot):
    said = unboxed(nightspot("explain", "--status", "Dead").err)
    assert all(name in said for name in STATUSES + SECONDARY_STATUSES)


def test_the_statuses_are_those_of_awss_own_model():
    shapes = Loader().load_service_model("sagemaker", "service-2")["shapes"]
    assert set(STATUSES) == set(shapes["TrainingJobStatus"]["enum"])
    assert set(shapes["SecondaryStatus"]["enum"]) <= set(SECONDARY_STATUSES)


def unboxed(text):
    return " ".join(text.replace("│", " ").split())


DESCRIBED = {
    "TrainingJobName": "nightly-1",
    "TrainingJobStatus": "Failed",
    "FailureReason": "CapacityError: none",
}


def test_a_document_is_called_by_its_name_and_place(nightspot):
    event = {
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Training Job State Change",
        "detail": DESCRIBED,
    }
    said = " ".join(nightspot("explain", json.dumps(event)).out.split())
    assert "document an event of EventBridge" in said
    assert "job nightly-1 in detail" in said
    assert "class no_capacity" in said


def test_of_a_list_the_failures_are_explained_and_none_is_left_out(nightspot):
    jobs = [
        {"TrainingJobName": "a", "TrainingJobStatus": "Completed"},
        {"TrainingJobName": "b", "TrainingJobStatus": "Failed", "FailureReason": "CapacityError: none"},
        {"TrainingJobName": "c", "TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxWaitTimeExceeded"},
    ]
    answer = nightspot("explain", "--json", "-", stdin=json.dumps({"TrainingJobSummaries": jobs}))
    found = json.loads(answer.out)
    assert (found["job"], found["class"]) == ("b", "no_capacity")
    assert [(other["job"], other["class"]) for other in found["others"]] == [("c", "wait_limit")]
    assert "also c: wait_limit" in " ".join(
        nightspot("explain", json.dumps({"TrainingJobSummaries": jobs})).out.split()
    )


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            {"RoleArn": "x", "AlgorithmSpecification": {}},
            "a CreateTrainingJob request: nothing to explain: it says what",
        ),
        (
            {"StartAt": "A", "States": {"A": {"Type": "Pass"}}},
            "a state machine of Step Functions: nothing to explain",
        ),
        ({"TrainingJobSummaries": []}, "a list of training jobs (ListTrainingJobs): nothing to explain"),
    ],
    ids=["request", "state machine", "empty list"],
)
def test_a_document_that_says_nothing_of_an_end_is_refused_by_its_name(nightspot, document, said):
    answer = nightspot("explain", json.dumps(document))
    assert answer.status == 2
    assert said in unboxed(answer.err)


def test_the_words_of_a_document_are_redacted_and_its_names_are_one_line(nightspot):
    job = {
        "TrainingJobName": "a\n\x1b[31m",
        "TrainingJobStatus": "Failed",
        "FailureReason": "ClientError: 123456789012",
    }
    answer = nightspot("explain", json.dumps(job))
    assert "123456789012" not in answer.out
    assert "\x1b[31m" not in answer.out
