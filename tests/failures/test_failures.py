"""What a failure was, from AWS's own words and never from the user's."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.failures.classify import RESPONSES, Fault, Response, classify, redact
from nightspot.failures.codes import FailureClass

CAPACITY = "CapacityError: Unable to provision requested ML compute capacity."
AWS_WORDS = (
    CAPACITY,
    "InternalServerError: We encountered an internal error.  Please try again.",
    "ClientError: Please use an instance type with more memory",
    "An error occurred (ThrottlingException) when calling the CreateTrainingJob operation: Rate exceeded",
    "ResourceLimitExceeded: The account-level service limit 'x' is 0 Instances",
    "not authorized to perform: sagemaker:CreateTrainingJob",
    "Interrupted",
    "MaxWaitTimeExceeded",
    "Failed. Reason: CapacityError: Insufficient capacity",
)


def class_of(text):
    return classify(status="Failed", secondary_status="Failed", failure_reason=text).failure


def class_of_fault(error, cause=""):
    return classify(fault=Fault(error, cause)).failure


@pytest.mark.parametrize("failure", FailureClass)
def test_every_class_of_failure_has_an_answer(failure):
    assert isinstance(RESPONSES[failure], Response)


def test_only_the_market_and_faults_that_pass_are_answered_with_another_attempt():
    answered = {failure for failure, answer in RESPONSES.items() if answer is not Response.FINISH}
    assert answered == {
        FailureClass.NO_CAPACITY,
        FailureClass.INTERRUPTED,
        FailureClass.WAIT_LIMIT,
        FailureClass.STOPPED_BY_NIGHTSPOT,
        FailureClass.QUOTA_TEMPORARY,
        FailureClass.QUOTA_PERMANENT,
        FailureClass.THROTTLED,
        FailureClass.SERVICE_FAULT,
        FailureClass.RUNTIME_LIMIT,  # after a newer checkpoint alone: test_limits.py
    }


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("CapacityError: Insufficient capacity", "no_capacity"),
        (CAPACITY, "no_capacity"),
        ("CapacityError:  Unable to provision  requested ML compute capacity", "no_capacity"),
        ("Insufficient instance capacity in the requested Availability Zone.", "no_capacity"),
        ("There is not enough capacity for instance type ml.g6.2xlarge.", "no_capacity"),
        (f"Error for Training job nightly-1: Failed Reason: {CAPACITY}", "no_capacity"),
        (
            "Received status from SageMaker:InternalServerError: We encountered an internal error.",
            "service_fault",
        ),
        ("InternalServerError: We encountered an internal error. Please try again.", "service_fault"),
        ("AlgorithmError: , exit code: 1", "user_code"),
        ("AlgorithmError: ExecuteUserScriptError: ExitCode 137", "user_code"),
        (
            "UnexpectedStatusException: Error for Training job x-1: Failed. Reason: AlgorithmError: Exit Code: 1",
            "user_code",
        ),
        ("ENTRYPOINT FAILURE: ", "user_code"),
        ("ClientError: See job logs for more information", "user_code"),
        ("ClientError: Please use an instance type with more memory", "out_of_memory"),
        ("ClientError: Data download failed:Failed to download data.", "configuration"),
        ("Cannot pull algorithm container. Either the image does not exist.", "configuration"),
        ("Failure reason\nClientError: Cannot pull algorithm container.", "configuration"),
        (
            "ClientError: Failed to invoke sagemaker:CreateTrainingJob. Error Details: The requested resource "
            "training-job/ml.t3.medium is not available in this region",
            "configuration",
        ),
        (
            "ClientError: Data download failed for channel 'train'. Please ensure that the role has "
            "s3:GetObject permission for the following resources: s3://data/train/",
            "permission",
        ),
        ("ClientError: Artifact upload failed:Error 7: AccessDenied (403): Access Denied", "permission"),
        ("MaxRuntime exceeded", "runtime_limit"),
        ("", "unknown"),
        (None, "unknown"),
        ("Something nobody has seen before", "unknown"),
    ],
)
def test_a_training_jobs_reason_is_read_from_its_start(text, failure):
    assert class_of(text) == failure


@pytest.mark.parametrize(
    ("error", "cause", "failure"),
    [
        ("SageMaker.ResourceInUseException", "Training job names must be unique", "configuration"),
        (
            "SageMaker.ResourceLimitExceededException",
            "The account-level service limit 'ml.p4d.24xlarge for spot training job usage' is 0 Instances, with "
            "current utilization of 0 Instances and a request delta of 1 Instances.",
            "quota_permanent",
        ),
        (
            "SageMaker.ResourceLimitExceededException",
            "The account-level service limit 'ml.p4d.24xlarge for spot training job usage' is 1 Instances, with "
            "current utilization of 1 Instances and a request delta of 1 Instances.",
            "quota_temporary",
        ),
        (
            "SageMaker.ResourceLimitExceededException",
            "The account-level service limit 'ml.p4d.24xlarge for training job usage' is 10 Instances, with "
            "current utilization of 10 Instances.",
            "quota_temporary",
        ),
        (
            "SageMaker.ResourceLimitExceededException",
            "The requested resource training-job/ml.p4d.24xlarge is not available in this region",
            "quota_permanent",
        ),
        ("SageMaker.ThrottlingException", "Rate exceeded", "throttled"),
        (
            "SageMaker.SageMakerException",
            "Rate exceeded (Service: SageMaker, Status Code: 400, Request ID: 1)",
            "throttled",
        ),
        (
            "SageMaker.SageMakerException",
            "(Service: SageMaker, Status Code: 429, Request ID: 1)",
            "throttled",
        ),
        ("SageMaker.SageMakerException", "x (Service: SageMaker, Status Code: 503)", "service_fault"),
        ("SageMaker.SageMakerException", "x (Service: SageMaker, Status Code: 403)", "permission"),
        (
            "SageMaker.SageMakerException",
            "User: arn:aws:sts::123456789012:assumed-role/x is not authorized to perform: "
            "sagemaker:CreateTrainingJob (Service: SageMaker, Status Code: 400, Request ID: 1)",
            "permission",
        ),
        (
            "SageMaker.SageMakerException",
            "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true "
            "(Service: SageMaker, Status Code: 400, Request ID: 1)",
            "configuration",
        ),
        ("ValidationException", "Unsupported instance type ml.p3dn.24xlarge", "configuration"),
        ("AccessDeniedException", "no identity-based policy allows the action", "permission"),
        ("InternalFailure", "", "service_fault"),
        ("ServiceUnavailable", "", "service_fault"),
        ("SageMaker.SdkClientException", "Unable to execute HTTP request", "service_fault"),
        ("States.TaskFailed", "", "user_code"),
        ("States.Timeout", "", "runtime_limit"),
        ("", "", "unknown"),
    ],
)
def test_a_refused_call_is_known_by_its_name_and_else_by_its_words(error, cause, failure):
    assert class_of_fault(error, cause) == failure


def test_a_code_in_boto3s_sentence_counts_as_the_apis():
    sentence = (
        "An error occurred ({}) when calling the CreateTrainingJob operation (reached max retries: 4): {}"
    )
    assert class_of(sentence.format("ThrottlingException", "Rate exceeded")) is FailureClass.THROTTLED
    assert class_of(sentence.format("ValidationException", "Nothing known")) is FailureClass.CONFIGURATION


@pytest.mark.parametrize("words", AWS_WORDS)
@pytest.mark.parametrize(
    "glue", ["AlgorithmError: {}", "AlgorithmError:{}", "AlgorithmError:\n{}, exit code: 1"]
)
def test_the_users_own_words_behind_an_algorithm_error_never_fool_it(words, glue):
    assert class_of(glue.format(words)) is FailureClass.USER_CODE


@given(st.text(max_size=300))
def test_whatever_a_user_writes_behind_an_algorithm_error_is_the_users_fault(text):
    assert class_of(f"AlgorithmError: {text}") is FailureClass.USER_CODE


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_text_crashes_the_classification(error, cause):
    assert class_of_fault(error, cause) in RESPONSES
    assert class_of(cause) in RESPONSES


@pytest.mark.parametrize(
    ("secondary", "asked", "failure"),
    [
        ("MaxWaitTimeExceeded", False, "wait_limit"),
        ("MaxWaitTimeExceeded", True, "wait_limit"),
        ("MaxRuntimeExceeded", False, "runtime_limit"),
        ("Interrupted", False, "interrupted"),
        ("Stopped", True, "stopped_by_nightspot"),
        ("Stopped", False, "stopped_by_person"),
        ("SomethingNew", False, "stopped_by_person"),
        (None, False, "stopped_by_person"),
    ],
)
def test_stopped_is_a_failure_whatever_stopped_it(secondary, asked, failure):
    assert classify(status="Stopped", secondary_status=secondary, stop_requested=asked).failure == failure


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        (
            "User: arn:aws:iam::123456789012:role/x",
            "User: arn:aws:iam::<account>:role/x",
        ),
        ("bucket_123456789012_x", "bucket_<account>_x"),
        ("ask jo.doe+ml@example.co.uk", "ask <e-mail>"),
        ("at s3://data-lake/people/jo/x.csv not found", "at s3://data-lake/<key> not found"),
        ("url 's3://data/a/b', again", "url 's3://data/<key>', again"),
        ("key AKIAABCDEFGHIJKLMNOP", "key <access key>"),
        ("login hf_abcdefghijklmnop1234 failed", "login hf_<token> failed"),
        ("token=abc.def next", "token=<secret> next"),
        ("API_KEY: 12345", "API_KEY: <secret>"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUt/nFEMI", "AWS_SECRET_ACCESS_KEY=<secret>"),
        ("aws_session_token=IQoJb3Jp", "aws_session_token=<secret>"),
        ('{"password": "hunter2", "x": 1}', '{"password": <secret>, "x": 1}'),
        ("Authorization: Bearer eyJhbGciOi.J9", "Authorization: Bearer <token>"),
        ("  spaces around  ", "spaces around"),
    ],
)
def test_what_must_not_be_stored_is_taken_out(text, stored):
    assert redact(text) == stored


@pytest.mark.parametrize(
    "text",
    ["Exit Code: 1", "step 1763683200 at 20261121-abc123", "s3://data-lake/", "--tokenizer_name distilbert"],
)
def test_what_is_harmless_stays(text):
    assert redact(text) == text


def test_a_reason_is_as_long_as_sagemaker_allows_at_most():
    assert len(redact("x" * 5000)) == 1024


def test_a_cause_of_step_functions_greatest_length_is_read_at_once():
    started = time.process_time()
    redact("a" * 32_768)
    assert time.process_time() - started < 1


def test_a_failures_reason_is_redacted_wherever_it_comes_from():
    dirty = "ask jo@example.com about 123456789012"
    clean = "ask <e-mail> about <account>"
    assert (
        classify(status="Failed", failure_reason=f"AlgorithmError: {dirty}").reason
        == f"AlgorithmError: {clean}"
    )
    assert classify(status="Stopped", failure_reason=dirty).reason == clean
    assert classify(fault=Fault("X", dirty)).reason == f"X: {clean}"
