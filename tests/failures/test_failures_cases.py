"""One table of what AWS says in how many ways, and the class of each; then what holds for any text at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.failures.classify import RESPONSES, Fault, Response, classify
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Market

BOTO = "An error occurred ({}) when calling the CreateTrainingJob operation: {}"
SDK_V2 = "UnexpectedStatusException: Error for Training job nightly-7: Failed. Reason: {}"
SDK_V3 = (
    "Encountered unexpected failed state while waiting for TrainingJob. Final Resource State: Failed. "
    "Failure Reason: {}"
)
JAVA = "{} (Service: AmazonSageMaker; Status Code: {}; Error Code: {}; Request ID: 1a-2b; Proxy: null)"
JAVA_2 = "{} (Service: SageMaker, Status Code: {}, Request ID: 1a-2b) (SDK Attempt Count: 1)"
ANY = "SageMaker.SageMakerException"

# What stands in FailureReason, in StatusMessage, in an exception's text, in a log line.
TEXTS = {
    "no_capacity": (
        "CapacityError",
        "  capacityerror :\tUnable to provision  requested\nML compute capacity",
        "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error.",
        "ClientError: Unable to provision requested ML compute capacity due to a lack of instances",
        "Insufficient capacity.",
        "Insufficient capacity error from EC2 while launching instances, retrying!",
        "Insufficient instance capacity in the requested Availability Zone.",
        "There is not enough capacity for instance type ml.p5.48xlarge.",
        "There is no Spot capacity available that matches your request.",
        "We currently do not have sufficient p4d.24xlarge capacity in the Availability Zone you requested",
        SDK_V2.format("CapacityError: Unable to provision"),
        "sagemaker.exceptions.CapacityError: Error for Training job a: Failed. Reason: CapacityError: x",
        "Error training a-2018: Failed Reason: CapacityError: x",
        SDK_V3.format("CapacityError: x"),
        "SageMaker job failed because CapacityError: x",
        "Training job 'a-1' failed for reason: 'CapacityError: x'",
        "FAILURE REASON:   capacityerror: x",
        BOTO.format("InsufficientInstanceCapacity", "We have none"),
        "Server.InsufficientInstanceCapacity",
        "SageMaker.CAPACITY_ERROR",
    ),
    "interrupted": (
        "Interrupted",
        "Interrupted.",
        "Interrupted - The job stopped because the managed spot training instances were interrupted.",
        "Received status from SageMaker:Host EC2 (instance i-0a1b) terminated.",
    ),
    "wait_limit": (
        "MaxWaitTimeExceeded",
        "MaxWaitTimeExceeded - Training job runtime exceeded MaxWaitTimeInSeconds provided",
        "Stopped - The job stopped because it exceeded the maximum allowed wait time.",
        "Stopped/MaxWaitTimeExceeded",
    ),
    "runtime_limit": (
        "MaxRuntimeExceeded",
        "MaxRuntimeExceeded - Training job runtime exceeded MaxRuntimeInSeconds provided",
        "The job stopped because it exceeded the maximum allowed runtime.",
        "2026-01-02 03:04:05 MaxRuntimeExceeded - too long",
        "States.Timeout",
        "States.HeartbeatTimeout: no heartbeat",
    ),
    "quota_temporary": (
        "SageMaker.ResourceLimitExceededException",
        BOTO.format("ResourceLimitExceeded", "The limit 'x' was reached"),
        "botocore.errorfactory.ResourceLimitExceeded: "
        + BOTO.format("ResourceLimitExceeded", "The account-level service limit 'x' is 3 Instances"),
        "account-level service limit 'Instances' is 1,000 Instances, with a request delta of 20 Instances",
    ),
    "quota_permanent": (
        "ResourceLimitExceeded: account-level service limit 'x for training job usage' is 0 Instances",
        "The account-level service limit for training-job/ml.p2.xlarge is 0 Instances, with current use",
        "ResourceLimitExceeded: The account-level service limit 'x' is 4 Instances, with current utilization "
        "of 0 Instances and a request delta of 11 Instances.",
        "VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit of 0 allows",
        "ResourceLimitExceeded: The requested resource training-job/ml.p5.48xlarge is not available in this region",
    ),
    "throttled": (
        "Rate exceeded",
        "ThrottlingException",
        "Throttling: Rate exceeded",
        "TooManyRequestsException: slow down",
        "Lambda.TooManyRequestsException",
        "RequestLimitExceeded: Request limit exceeded.",
        BOTO.format("Throttling", "whatever"),
        "botocore.exceptions.ClientError: " + BOTO.format("ThrottlingException", "Rate exceeded"),
        JAVA.format("Rate exceeded", 400, "ThrottlingException"),
        "SageMaker.SageMakerException: " + JAVA_2.format("Rate exceeded", 400),
        "SageMaker.AmazonSageMakerException",
        "SageMaker.SageMakerException",
        "Step.THROTTLING",
    ),
    "service_fault": (
        "InternalServerError",
        "Internalservererror:  We encountered an internal error.  Please try again",
        "Failure reason\nInternalServerError: We encountered an internal error.",
        "We encountered an internal error. Please try again.",
        "Launched instance was unhealthy, replacing it!",
        "503 Service Unavailable",
        BOTO.format("InternalFailure", ""),
        BOTO.format("503", "Service Unavailable"),
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "SageMaker.SdkClientException: Unable to execute HTTP request",
        'botocore.exceptions.ReadTimeoutError: Read timeout on endpoint URL: "https://x"',
        'Could not connect to the endpoint URL: "https://api.sagemaker.eu-west-1.amazonaws.com/"',
        "SageMaker.JOB_INTERNAL_ERROR",
    ),
    "user_code": (
        "AlgorithmError",
        "algorithmerror : CapacityError: not AWS's",
        "Algorithm Error: exit code 137",
        "Framework Error:\nTraceback (most recent call last):",
        "ExecuteUserScriptError: " + BOTO.format("ThrottlingException", "the script's own call"),
        "Exit code: 137",
        SDK_V2.format("AlgorithmError: " + SDK_V2.format("CapacityError: x")),
        SDK_V3.format("AlgorithmError: InternalServerError: x"),
        "Failed Reason: AlgorithmError: CUDA out of memory",
        "ClientError: Please see job logs for more information",
        "States.TaskFailed",
    ),
    "out_of_memory": (
        "Please use an instance type with more memory, or reduce the size of the data",
        "ClientError:  please use an instance type with more memory",
        "ClientError: Artifact upload failed:ClientError: Out of Memory. Use something larger",
    ),
    "configuration": (
        "ClientError: anything",
        "ClientError: ClientError: Data download failed:Failed to download data.",
        "ClientError: Artifact upload failed:Please ensure that the subnet's route table has a route to S3",
        "ClientError: Insufficient disk space to download the data",
        "Cannot pull algorithm container.",
        BOTO.format("ValidationException", "1 validation error detected: Value 'x' at 'y'"),
        "botocore.exceptions.ParamValidationError: Parameter validation failed: Unknown parameter",
        "ResourceInUse: " + BOTO.format("ResourceInUse", "Training job names must be unique"),
        "SageMaker.ResourceNotFoundException",
        "SageMaker.ConflictException",
        "States.Runtime",
        "States.DataLimitExceeded",
        "States.QueryEvaluationError: no such variable",
        "KMS.DisabledException: the key is disabled",
        JAVA.format("Something about the request", 400, "ValidationException"),
    ),
    "permission": (
        "ClientError: SageMaker was unable to assume the role 'arn:aws:iam::123456789012:role/x'",
        "ClientError: Data download failed:failed to download data. 403 Forbidden (403): Forbidden",
        BOTO.format("ValidationException", "Could not assume role x."),
        BOTO.format("ValidationException", "Access denied for repository: x"),
        BOTO.format("AccessDeniedException", "User: x is not authorized to perform: y with an explicit deny"),
        BOTO.format("ExpiredTokenException", "The security token included in the request is expired"),
        BOTO.format("OptInRequired", "The AWS Access Key Id needs a subscription for the service"),
        BOTO.format("UnrecognizedClientException", "x"),
        "ClientError: the role is not authorized to perform: kms:Decrypt",
        "States.Permissions",
        "Unable to locate credentials",
    ),
    "stopped_by_person": (
        "Stopped",
        "Stopped - The training job has stopped.",
        "2026-01-02 03:04:05 Stopped - Training job stopped",
        BOTO.format(
            "ValidationException", "The request was rejected because the training job is in status Stopped."
        ),
    ),
    "unknown": (
        "",
        " \n\t",
        "CapacityErrors abound",
        "My CapacityError: x",
        "No CapacityError",
        "Insufficient capacity of the hash table",
        "Interrupted by the user",
        "Rate exceeded the expected rate of learning",
        "Service Unavailable in my own proxy",
        "InternalServerErrors happen",
        # Names that a Python program prints of itself.
        "ConnectionError: the parameter server is gone",
        "ReadTimeout: x",
        "Unavailable: x",
        "Service: x",
        "SageMaker: x",
        "SageMaker",
        # Nobody vouches for the text before the parenthesis.
        JAVA.format("Anything", 503, "ServiceUnavailable"),
        JAVA.format("Anything", 400, "ThrottlingException"),
        "Lambda.Unknown",
        "States.ALL",
        BOTO.format("SomethingNew", "x"),
        "{",
        '{"a": ',
        "[]",
    ),
}
CASES = [(failure, text) for failure, texts in TEXTS.items() for text in texts]


@pytest.mark.parametrize(("failure", "text"), CASES)
def test_a_text_has_its_class(failure, text):
    assert classify(failure_reason=text).failure == failure


@pytest.mark.parametrize(("failure", "text"), CASES)
def test_a_text_that_step_functions_or_a_failed_job_brings_has_the_same_class(failure, text):
    if (
        text.strip() and failure != "unknown"
    ):  # an error's name vouches for a text that says nothing by itself
        assert classify(fault=Fault(text)).failure == failure
        assert classify(status="Failed", secondary_status="Failed", failure_reason=text).failure == failure
        assert classify(fault=Fault("States.TaskFailed", text)).failure == failure


def test_the_table_has_a_row_for_every_class_that_a_text_can_tell():
    assert set(TEXTS) == set(FailureClass) - {FailureClass.STOPPED_BY_NIGHTSPOT}


@pytest.mark.parametrize(
    ("error", "cause", "failure"),
    [
        (ANY, JAVA_2.format("null", 500), "service_fault"),
        (ANY, JAVA_2.format("x", 429), "throttled"),
        (ANY, JAVA_2.format("x", 401), "permission"),
        (ANY, JAVA_2.format("x", 418), "unknown"),
        (ANY, JAVA.format("x", 400, "ThrottlingException"), "throttled"),
        (ANY, JAVA.format("Could not assume role x.", 400, "ValidationException"), "permission"),
        (
            ANY,
            "The request was rejected because the training job is in status Completed.",
            "stopped_by_person",
        ),
        (ANY, "a sentence that nobody has seen", "unknown"),
        ("States.TaskFailed", "a sentence that nobody has seen", "unknown"),
        ("States.TaskFailed", "AlgorithmError: exit code 1", "user_code"),
        ("ThrottlingException", "AlgorithmError: the user's own", "user_code"),
        ("SomethingNewException", JAVA_2.format("x", 503), "service_fault"),
        ("SomeInvalidThingException", "x", "configuration"),
        ("403", "Forbidden", "permission"),
        ("404", "Not Found", "configuration"),
        ("500", "", "service_fault"),
        ("botocore.exceptions.EndpointConnectionError", "", "service_fault"),
        ("ReadTimeout", "", "service_fault"),
        ("InvalidSubnetID.NotFound", "The subnet ID 'subnet-1' does not exist", "configuration"),
        ("ClientError", "Data download failed", "unknown"),
        ("ClientError", "", "configuration"),
        (" SageMaker.ThrottlingException ", "", "throttled"),
    ],
)
def test_a_name_and_a_cause_are_read_together(error, cause, failure):
    assert classify(fault=Fault(error, cause)).failure == failure


@pytest.mark.parametrize(
    ("text", "market"),
    [
        ("ResourceLimitExceeded: service limit 'ml.g5.xlarge for spot training job usage' is 0", Market.SPOT),
        ("ResourceLimitExceeded: service limit 'ml.g5.xlarge for training job usage' is 0", Market.ON_DEMAND),
        ("ResourceLimitExceeded: service limit for training-job/ml.p2.xlarge is 0", Market.ON_DEMAND),
        ("ResourceLimitExceeded: service limit 'Number of instances across all processing jobs' is 4", None),
        ("ResourceLimitExceeded: training-job/ml.g5.xlarge is not available in this region", None),
        ("MaxSpotInstanceCountExceeded: Max spot instance count exceeded", Market.SPOT),
        ("AlgorithmError: 'x for spot training job usage' is 0", None),
    ],
)
def test_a_quota_says_whose_it_is_where_the_text_does(text, market):
    assert classify(failure_reason=text).quota_market is market


GLUE = [
    "AlgorithmError:{}",
    "AlgorithmError: {}",
    "algorithmerror :\n{}",
    "Failed. Reason: AlgorithmError: {}",
]
AWS_WORDS = st.sampled_from([text for _, text in CASES])


@given(st.sampled_from(GLUE), st.one_of(st.text(max_size=300), AWS_WORDS), AWS_WORDS)
def test_whatever_stands_behind_an_algorithm_error_is_the_users(glue, text, more):
    behind = glue.format(f"{text} {more}")
    assert classify(failure_reason=behind).failure is FailureClass.USER_CODE
    assert (
        classify(status="Failed", failure_reason=behind, transitions=["Interrupted"]).failure == "user_code"
    )
    assert classify(fault=Fault("ThrottlingException", behind)).failure is FailureClass.USER_CODE


@given(st.text(alphabet="abcdefghijklmnop \n", min_size=1, max_size=60), AWS_WORDS)
def test_no_word_of_awss_behind_unknown_ones_buys_anything(unknown, words):
    # "x" and "_" begin no prefix, whatever follows.
    failure = classify(failure_reason=f"x_{unknown}{words}").failure
    assert RESPONSES[failure] is Response.FINISH


@given(st.text(max_size=200))
def test_no_text_at_all_buys_anything_by_accident(text):
    failure = classify(failure_reason=f"q{text}", transitions=["Interrupted"], status="Failed").failure
    assert RESPONSES[failure] is Response.FINISH


NAMES = st.sampled_from(
    [None, "", "Failed", "Stopped", "InProgress", "Interrupted", "MaxWaitTimeExceeded", "New"]
)


@given(NAMES, NAMES, st.text(max_size=100), st.lists(st.text(max_size=20)), st.booleans())
def test_nothing_that_is_seen_makes_it_raise(status, secondary, text, transitions, ours):
    for reason in (text, "{" + text, '{"FailureReason": ' + text, f"States.TaskFailed: {{{text}"):
        seen = classify(
            status=status,
            secondary_status=secondary,
            failure_reason=reason,
            transitions=transitions,
            stop_requested=ours,
        )
        assert seen.failure in RESPONSES
        assert classify(fault=Fault(text, reason)).failure in RESPONSES
