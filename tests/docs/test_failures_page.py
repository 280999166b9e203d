"""What people are told about each class of failure, on the command line and in docs/failures.md."""

import os
import re
from dataclasses import astuple

import pytest

from nightspot.failures.classify import RESPONSES, Fault, Response, classify
from nightspot.failures.codes import FailureClass
from nightspot.failures.explanations import EXPLANATIONS, explain

RENEW = "NIGHTSPOT_RENEW_SNAPSHOT"

# What AWS says: FailureReason, API fault, or TrainingJobStatus/SecondaryStatus. A test reads each of them.
EXAMPLES: dict[FailureClass, tuple[str, ...]] = {
    FailureClass.NO_CAPACITY: (
        "CapacityError: Unable to provision requested ML compute capacity. …",
        "Insufficient capacity error from EC2 while launching instances, retrying!",
    ),
    FailureClass.INTERRUPTED: (
        "InProgress/Interrupted",
        "Interrupted - The job stopped because the managed spot …",
    ),
    FailureClass.WAIT_LIMIT: ("Stopped/MaxWaitTimeExceeded",),
    FailureClass.RUNTIME_LIMIT: ("Stopped/MaxRuntimeExceeded", "States.Timeout"),
    FailureClass.QUOTA_TEMPORARY: (
        "ResourceLimitExceeded: The account-level service limit 'ml.g5.xlarge for spot training job usage' is 1 "
        "Instances, with current utilization of 1 Instances and a request delta of 1 Instances. …",
    ),
    FailureClass.QUOTA_PERMANENT: (
        "ResourceLimitExceeded: The account-level service limit 'ml.g5.xlarge for training job usage' is 0 "
        "Instances …",
        "ResourceLimitExceeded: The requested resource training-job/ml.p4d.24xlarge is not available in this "
        "region",
    ),
    FailureClass.THROTTLED: (
        "An error occurred (ThrottlingException) when calling the CreateTrainingJob operation: Rate exceeded",
        "SageMaker.SageMakerException: Rate exceeded (Service: SageMaker, Status Code: 400, …)",
    ),
    FailureClass.SERVICE_FAULT: (
        "InternalServerError: We encountered an internal error. Please try again.",
        "Lambda.ServiceException",
    ),
    FailureClass.USER_CODE: (
        "AlgorithmError: ExecuteUserScriptError: ExitCode 1 …",
        "AlgorithmError: Exit Code: 137",
    ),
    FailureClass.OUT_OF_MEMORY: (
        "ClientError: Please use an instance type with more memory, or reduce the size of job data processed on an "
        "instance.",
    ),
    FailureClass.CONFIGURATION: (
        "ClientError: Data download failed: …",
        "SageMaker.ResourceInUseException",
        "An error occurred (ValidationException) when calling the CreateTrainingJob operation: …",
    ),
    FailureClass.PERMISSION: (
        "ClientError: Artifact upload failed:Error 7: AccessDenied (403): Access Denied",
        "AccessDeniedException: User: … is not authorized to perform: sagemaker:CreateTrainingJob …",
    ),
    FailureClass.STOPPED_BY_PERSON: ("Stopped/Stopped",),
    FailureClass.STOPPED_BY_NIGHTSPOT: ("Stopped/Stopped",),
    FailureClass.UNKNOWN: ("Something that nobody has seen before",),
}


def row(failure):
    """The class's line in the table of docs/failures.md."""
    about = EXPLANATIONS[failure]
    examples = "<br>".join(f"`{example}`" for example in EXAMPLES[failure])
    return f"| `{failure.value}`<br>{about.meaning} | {examples} | {about.answer} | {about.advice} |\n"


# How the sentence about an answer must start, so that nobody is told something else than what is done.
SENTENCES = {
    Response.MARKET: "Tries again",
    Response.WITHOUT_RUNG: "Leaves the rung out",
    Response.BACK_OFF: "Asks again, later and later",
    Response.RETRY: "Tries the same again, at most twice",
    Response.IF_PROGRESS: "Continues from the newest checkpoint",
    Response.FINISH: "Ends the run",
}


@pytest.mark.parametrize("failure", FailureClass)
def test_every_class_is_explained_in_whole_sentences(failure):
    for sentence in astuple(EXPLANATIONS[failure]):
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert "  " not in sentence


@pytest.mark.parametrize("failure", FailureClass)
def test_what_people_read_is_what_a_run_does(failure):
    assert EXPLANATIONS[failure].answer.startswith(SENTENCES[RESPONSES[failure]])
    buys_no_more = "No retry, no on-demand" in EXPLANATIONS[failure].answer
    assert buys_no_more == (RESPONSES[failure] is Response.FINISH and failure is not FailureClass.UNKNOWN)


@pytest.mark.parametrize(
    ("failure", "example"), [(failure, text) for failure, texts in EXAMPLES.items() for text in texts]
)
def test_every_example_of_the_page_is_of_its_class(failure, example):
    ours = failure is FailureClass.STOPPED_BY_NIGHTSPOT
    status, slash, secondary = example.partition("/")
    if slash and " " not in example:
        found = classify(status=status, secondary_status=secondary, stop_requested=ours)
    else:
        found = classify(failure_reason=example, stop_requested=ours)
    assert found.failure is failure


def test_the_table_of_the_page_is_the_one_that_is_made(pytestconfig):
    path = pytestconfig.rootpath / "docs" / "failures.md"
    page = path.read_text(encoding="utf-8")
    made = "".join(map(row, FailureClass))
    if os.environ.get(RENEW):
        page = re.sub(r"(?<=\n)(\| `.*\n)+", lambda _: made, page, count=1)
        path.write_text(page, encoding="utf-8")
    assert "".join(line for line in page.splitlines(keepends=True) if line.startswith("| `")) == made, (
        "docs/failures.md is not what the tables say any more; renew it with "
        f"{RENEW}=1 .venv/bin/python -m pytest tests/docs/test_failures_page.py"
    )


@pytest.mark.parametrize("failure", FailureClass)
def test_every_class_has_examples_in_a_row_of_four_cells(failure):
    assert EXAMPLES[failure]
    assert row(failure).count(" | ") == 3


def test_the_advice_about_a_quota_names_it():
    sentence = "The account-level service limit 'ml.g5.xlarge for spot training job usage' is 0 Instances"
    failure = classify(fault=Fault("SageMaker.ResourceLimitExceededException", sentence))
    advice = explain(failure).advice
    assert advice.startswith("The quota is 'ml.g5.xlarge for spot training job usage'.")
    assert "Service Quotas" in advice


def test_a_quota_whose_name_is_not_quoted_is_named_all_the_same():
    sentence = "The account-level service limit for training-job/ml.p2.xlarge is 0 Instances, with a request"
    failure = classify(fault=Fault("ResourceLimitExceeded", sentence))
    assert explain(failure).advice.startswith("The quota is 'training-job/ml.p2.xlarge'.")


def test_the_advice_about_a_quota_without_a_name_says_the_market_where_it_is_known():
    failure = classify(fault=Fault("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded"))
    assert explain(failure).advice.startswith("It is a Spot quota. ")
    unnamed = classify(fault=Fault("SageMaker.ResourceLimitExceededException"))
    assert explain(unnamed) == EXPLANATIONS[unnamed.failure]


def test_the_advice_about_a_permission_names_the_one_that_is_missing():
    sentence = (
        "User: arn:aws:sts::123456789012:assumed-role/x is not authorized to perform: iam:PassRole on it"
    )
    failure = classify(fault=Fault("AccessDeniedException", sentence))
    assert explain(failure).advice.startswith("The permission that is missing is iam:PassRole.")
    bare = classify(fault=Fault("AccessDeniedException"))
    assert explain(bare) == EXPLANATIONS[FailureClass.PERMISSION]
