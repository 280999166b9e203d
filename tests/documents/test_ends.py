"""How something ended, out of every document and in everybody's words; and where a training job stands."""

import json

import pytest

from nightspot.documents.opening import open_document
from nightspot.failures.codes import FailureClass
from nightspot.failures.explanations import explain
from nightspot.failures.states import OF_SECONDARY, state_of
from nightspot.formats.statuses import Secondary, Status
from tests.documents.conftest import CAPACITY, QUOTA, REQUEST

BOTO = "An error occurred ({}) when calling the CreateTrainingJob operation: {}"
GO = (
    "operation error SageMaker: CreateTrainingJob, https response error StatusCode: 400, RequestID: 1a-2b, {}"
)
JAVA = (
    "software.amazon.awssdk.services.sagemaker.model.ResourceLimitExceededException: {} "
    "(Service: SageMaker, Status Code: 400, Request ID: 1a)"
)
FAILED = {**REQUEST, "TrainingJobStatus": "Failed", "SecondaryStatus": "Failed", "FailureReason": CAPACITY}


def event(number, sort, **details):
    key = sort[0].lower() + sort[1:] + "EventDetails"
    return {"id": number, "previousEventId": number - 1, "type": sort, key: details}


FAULT = {"error": "SageMaker.ResourceLimitExceededException", "cause": QUOTA}
HISTORY = [
    event(1, "ExecutionStarted", input="{}"),
    event(2, "TaskScheduled", resource="createTrainingJob.sync", parameters=json.dumps(REQUEST)),
    event(
        3,
        "TaskFailed",
        resource="createTrainingJob.sync",
        error="SageMaker.AmazonSageMakerException",
        cause="Rate exceeded",
    ),
    event(4, "TaskFailed", resource="createTrainingJob.sync", **FAULT),
    event(5, "ExecutionFailed", **FAULT),
]
RECORD = {
    "eventSource": "sagemaker.amazonaws.com",
    "eventName": "CreateTrainingJob",
    "errorCode": "ResourceLimitExceededException",
    "errorMessage": QUOTA,
    "requestParameters": {"trainingJobName": "a"},
}
EXECUTION = {
    "executionArn": "arn:aws:states:eu-west-1:123456789012:execution:x:1",
    "stateMachineArn": "arn:aws:states:eu-west-1:123456789012:stateMachine:x",
    "name": "1",
    "status": "FAILED",
    "error": "States.TaskFailed",
    "cause": json.dumps(FAILED),
}
POD_EVENT = {
    "apiVersion": "v1",
    "kind": "Event",
    "type": "Warning",
    "reason": "FailedScheduling",
    "message": "0/8 nodes are available: 8 Insufficient nvidia.com/gpu.",
    "involvedObject": {"kind": "Pod", "name": "train-0"},
}
ENDS = {
    "description": (FAILED, "no_capacity"),
    "description of a user's fault": (
        {**FAILED, "FailureReason": f"AlgorithmError: {CAPACITY}"},
        "user_code",
    ),
    "stopped for its wait": (
        {"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxWaitTimeExceeded"},
        "wait_limit",
    ),
    "interrupted by its transitions": (
        {"TrainingJobStatus": "Failed", "SecondaryStatusTransitions": [{"Status": "Interrupted"}]},
        "interrupted",
    ),
    "history": ({"events": HISTORY}, "quota_permanent"),
    "history in reverse order": ({"events": HISTORY[::-1]}, "quota_permanent"),
    "history with a Fail state's own words": (
        {"events": [*HISTORY[:4], event(5, "ExecutionFailed", error="NoModel", cause="ask the team")]},
        "quota_permanent",
    ),
    "history of an aborted execution": (
        {"events": [HISTORY[0], event(2, "ExecutionAborted")]},
        "stopped_by_person",
    ),
    "history of a time-out": ({"events": [HISTORY[0], event(2, "ExecutionTimedOut")]}, "runtime_limit"),
    "history of a fault whose cause is a job": (
        {"events": [HISTORY[0], event(2, "TaskFailed", error="States.TaskFailed", cause=json.dumps(FAILED))]},
        "no_capacity",
    ),
    "execution": (EXECUTION, "no_capacity"),
    "execution aborted": ({**EXECUTION, "status": "ABORTED", "error": "", "cause": "x"}, "stopped_by_person"),
    "executions": (
        {"executions": [{**EXECUTION, "status": "TIMED_OUT", "error": "", "cause": ""}]},
        "runtime_limit",
    ),
    "event of SageMaker": (
        {"source": "aws.sagemaker", "detail-type": "SageMaker Training Job State Change", "detail": FAILED},
        "no_capacity",
    ),
    "event of Step Functions": (
        {
            "source": "aws.states",
            "detail-type": "Step Functions Execution Status Change",
            "detail": EXECUTION,
        },
        "no_capacity",
    ),
    "CloudTrail": (RECORD, "quota_permanent"),
    "CloudTrail by EventBridge": (
        {"detail-type": "AWS API Call via CloudTrail", "detail": RECORD},
        "quota_permanent",
    ),
    "CloudTrail's stop": ({**RECORD, "eventName": "StopTrainingJob", "errorCode": None}, "stopped_by_person"),
    "Batch": (
        {
            "jobName": "a",
            "serviceJobType": "SAGEMAKER_TRAINING",
            "status": "FAILED",
            "attempts": [{"statusReason": f"Received status from SageMaker: {CAPACITY}"}],
        },
        "no_capacity",
    ),
    "pipeline's steps": (
        {
            "PipelineExecutionSteps": [
                {"StepName": "Train", "StepStatus": "Failed", "FailureReason": f"ClientError: {QUOTA}"},
                {"StepName": "Prepare", "StepStatus": "Succeeded"},
            ]
        },
        "configuration",
    ),
    "pipeline's step without capacity": (
        {
            "PipelineExecutionSteps": [
                {"StepName": "Train", "StepStatus": "Failed", "FailureReason": CAPACITY}
            ]
        },
        "no_capacity",
    ),
    "tuning job's trials": (
        {
            "TrainingJobSummaries": [
                {"TrainingJobName": "a", "TrainingJobStatus": "Failed", "FailureReason": CAPACITY}
            ]
        },
        "no_capacity",
    ),
    "tuning job": (
        {
            "HyperParameterTuningJobName": "a",
            "HyperParameterTuningJobStatus": "Failed",
            "FailureReason": "ClientError: x",
        },
        "configuration",
    ),
    "ACK's status": (
        {
            "apiVersion": "sagemaker.services.k8s.aws/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": "a"},
            "status": {"trainingJobStatus": "Failed", "failureReason": CAPACITY},
        },
        "no_capacity",
    ),
    "ACK's refusal": (
        {
            "apiVersion": "sagemaker.services.k8s.aws/v1alpha1",
            "kind": "TrainingJob",
            "status": {
                "conditions": [
                    {"type": "ACK.Terminal", "status": "True", "message": f"ResourceLimitExceeded: {QUOTA}"}
                ]
            },
        },
        "quota_permanent",
    ),
    "the older operator's status": (
        {
            "apiVersion": "sagemaker.aws.amazon.com/v1",
            "kind": "TrainingJob",
            "status": {"trainingJobStatus": "Failed", "additional": CAPACITY},
        },
        "no_capacity",
    ),
    "pod without a node": (POD_EVENT, "no_capacity"),
    "pod killed": (
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "status": {"containerStatuses": [{"lastState": {"terminated": {"reason": "OOMKilled"}}}]},
        },
        "out_of_memory",
    ),
    "error of the SDK for JavaScript": (
        {"name": "ResourceLimitExceeded", "$fault": "client", "message": QUOTA},
        "quota_permanent",
    ),
    "error of Lambda": (
        {"errorType": "ClientError", "errorMessage": BOTO.format("ThrottlingException", "Rate exceeded")},
        "throttled",
    ),
    "event of a pipeline's step": (
        {
            "detail-type": "SageMaker Model Building Pipeline Execution Step Status Change",
            "detail": {"currentStepStatus": "Failed", "stepName": "Train", "failureReason": CAPACITY},
        },
        "no_capacity",
    ),
    "processing job": (
        {"ProcessingJobName": "a", "ProcessingJobStatus": "Failed", "FailureReason": CAPACITY},
        "no_capacity",
    ),
    "reason as the AWS CLI's --query prints it": (json.dumps(CAPACITY), "no_capacity"),
    "TrainingJob of the SDK 3 as it is printed": (
        f'TrainingJob(training_job_name="x", training_job_status="Failed", failure_reason="{CAPACITY}")',
        "no_capacity",
    ),
    "log events": (
        {"events": [{"message": "Traceback (most recent call last):"}, {"message": "ValueError: bad"}]},
        "user_code",
    ),
}


def first(document):
    text = document if isinstance(document, str) else json.dumps(document)
    return open_document(text, lenient=True).ends[0].end


@pytest.mark.parametrize("name", ENDS)
def test_the_class_of_an_end_is_found_wherever_it_stands(name):
    document, failure = ENDS[name]
    assert first(document).failure.failure == failure


TERRAFORM = (
    "╷\n│ Error: creating SageMaker AI Model (m): {}\n│ \n│   with aws_sagemaker_model.m,\n"
    '│   on main.tf line 1, in resource "aws_sagemaker_model" "m":\n╵\n'
)
TRACEBACK = 'Traceback (most recent call last):\n  File "/opt/ml/code/train.py", line 3\n    main()\n{}\n'
WORDS = {
    "Go": (GO.format(f"ResourceLimitExceeded: {QUOTA}"), "quota_permanent"),
    "Go, an error that is not modelled": (
        GO.format("api error ThrottlingException: Rate exceeded"),
        "throttled",
    ),
    "Go, after repetitions": (
        "operation error SageMaker: CreateTrainingJob, exceeded maximum number of attempts, 3, https response "
        "error "
        "StatusCode: 400, RequestID: 1a, api error ThrottlingException: Rate exceeded",
        "throttled",
    ),
    "Go, without credentials": (
        "operation error SageMaker: CreateTrainingJob, get identity: get credentials: failed to refresh "
        "cached credentials",
        "permission",
    ),
    "Go, without a connection": (
        "operation error SageMaker: CreateTrainingJob, https response error StatusCode: 0, RequestID: , "
        "request send failed, dial tcp",
        "service_fault",
    ),
    "Terraform": (TERRAFORM.format(GO.format(f"ResourceLimitExceeded: {QUOTA}")), "quota_permanent"),
    "Terraform, a refusal": (
        TERRAFORM.format(GO.format("api error ValidationException: Could not find image")),
        "configuration",
    ),
    "Terraform, with colours": (
        "\x1b[31m" + TERRAFORM.format(GO.format("api error AccessDeniedException: no")) + "\x1b[0m",
        "permission",
    ),
    "Terraform of before": (
        "Error: error creating SageMaker model: ThrottlingException: Rate exceeded\n\tstatus code: 400, "
        "request id: 1a-2b",
        "throttled",
    ),
    "Java": (
        'Exception in thread "main" ' + JAVA.format(QUOTA) + "\n\tat software.amazon.awssdk.core.x(X.java:1)",
        "quota_permanent",
    ),
    "JavaScript": (
        f"/app/start.js:3\n    throw x;\n\nResourceLimitExceeded: {QUOTA}\n    at throwDefaultError "
        f"(/app/x.js:1)\n",
        "quota_permanent",
    ),
    "AWS CLI": ("\n" + BOTO.format("ResourceLimitExceeded", QUOTA) + "\n", "quota_permanent"),
    "AWS CLI, newer": ("\naws: [ERROR]: " + BOTO.format("AccessDeniedException", "x") + "\n", "permission"),
    "AWS CLI, after other lines": (
        "starting\nuploading code\n" + BOTO.format("ThrottlingException", "Rate exceeded"),
        "throttled",
    ),
    "AWS CLI without a region": (
        'You must specify a region. You can also configure your region by running "aws configure".',
        "configuration",
    ),
    "AWS CLI with an old token": (
        "Error when retrieving token from sso: Token has expired and refresh failed",
        "permission",
    ),
    "CloudFormation": (
        f'Resource handler returned message: "{QUOTA} (Service: SageMaker, Status Code: 400, Request ID: 1a)" '
        "(RequestToken: 1a-2b, HandlerErrorCode: ServiceLimitExceeded)",
        "quota_permanent",
    ),
    "boto3's traceback": (
        TRACEBACK.format(
            "botocore.errorfactory.ResourceLimitExceeded: " + BOTO.format("ResourceLimitExceeded", QUOTA)
        ),
        "quota_permanent",
    ),
    "boto3's traceback in a chain": (
        TRACEBACK.format("KeyError: 'x'")
        + "\nDuring handling of the above exception, another exception occurred:\n\n"
        + TRACEBACK.format(
            "botocore.exceptions.ClientError: " + BOTO.format("ThrottlingException", "Rate exceeded")
        ),
        "throttled",
    ),
    "SDK's traceback": (
        TRACEBACK.format(
            "sagemaker.exceptions.CapacityError: Error for Training job a: Failed. Reason: CapacityError: none"
        ),
        "no_capacity",
    ),
    "SDK's traceback of a user's fault": (
        TRACEBACK.format(
            "sagemaker.exceptions.UnexpectedStatusException: Error for Training job a: Failed. Reason: "
            "AlgorithmError: " + BOTO.format("ThrottlingException", "Rate exceeded")
        ),
        "user_code",
    ),
    "script's traceback": (TRACEBACK.format("ValueError: CapacityError: none"), "user_code"),
    "script's traceback, the last exception": (
        TRACEBACK.format("MemoryError") + "\n" + TRACEBACK.format("ValueError: x"),
        "user_code",
    ),
    "script's own call of AWS is throttled": (
        TRACEBACK.format(
            "botocore.exceptions.ClientError: An error occurred (SlowDown) when calling the PutObject "
            "operation: x"
        ),
        "user_code",
    ),
    "script may not write": (
        TRACEBACK.format(
            "botocore.exceptions.ClientError: An error occurred (AccessDenied) when calling the PutObject "
            "operation: Access Denied"
        ),
        "permission",
    ),
    "CUDA": (
        TRACEBACK.format("torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"),
        "out_of_memory",
    ),
    "CUDA, older": (
        TRACEBACK.format("RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB"),
        "out_of_memory",
    ),
    "numpy": (
        TRACEBACK.format("numpy.core._exceptions._ArrayMemoryError: Unable to allocate 3 GiB for an array"),
        "out_of_memory",
    ),
    "TensorFlow": (
        TRACEBACK.format("tensorflow.errors.ResourceExhaustedError: OOM when allocating tensor"),
        "out_of_memory",
    ),
    "log with times": (
        "2026-11-20T03:12:45.123Z epoch 1\n2026-11-20T03:12:46Z Traceback (most recent call last):\n"
        '2026-11-20T03:12:46.123Z   File "t.py", line 1\n2026-11-20T03:12:46Z RuntimeError: CUDA out of memory\n',
        "out_of_memory",
    ),
    "log of several ranks": (
        '[rank1]: Traceback (most recent call last):\n[rank1]:   File "t.py", line 1\n[rank1]: ValueError: x\n',
        "user_code",
    ),
    "torchrun's report of its worker": (
        TRACEBACK.format("RuntimeError: CUDA out of memory.")
        + TRACEBACK.format("torch.distributed.elastic.multiprocessing.errors.ChildFailedError:"),
        "out_of_memory",
    ),
    "a notebook's traceback": (
        "---------------------------------------\nResourceLimitExceeded                     Traceback (most "
        "recent call last)\n"
        "Cell In[3], line 1\n----> 1 estimator.fit()\n\nResourceLimitExceeded: "
        + BOTO.format("ResourceLimitExceeded", QUOTA),
        "quota_permanent",
    ),
    "kubectl get events": (
        "LAST SEEN   TYPE      REASON             OBJECT        MESSAGE\n3m          Warning   "
        "FailedScheduling   pod/train-0   "
        "0/8 nodes are available: 8 Insufficient nvidia.com/gpu.\n",
        "no_capacity",
    ),
    "capacity without SageMaker's prefix": (
        "EC2InsufficientCapacityError: Instance type 'ml.g5.48xlarge' is temporarily unavailable in supported "
        "availability zones [euw1-az1].",
        "no_capacity",
    ),
    "capacity's words alone": (
        "Instance type 'ml.g5.48xlarge' is temporarily unavailable in supported availability zones",
        "no_capacity",
    ),
    "capacity's name alone": ("InsufficientInstanceCapacity", "no_capacity"),
    "capacity's name and an error": ("InsufficientInstanceCapacity error from EC2", "no_capacity"),
    "quota's words alone": (
        "Your quota allows for 0 more running instance(s). You requested at least 1",
        "quota_permanent",
    ),
    "quota of Spot": ("Max spot instance count exceeded", "quota_temporary"),
    "a log that quotes a user's fault": (
        "run 7\nlast words: AlgorithmError: CapacityError: Unable to provision requested ML compute capacity",
        "user_code",
    ),
    "user's text with everything": (
        "AlgorithmError: "
        + TRACEBACK.format("x: " + BOTO.format("ThrottlingException", "Rate exceeded"))
        + GO.format(f"ResourceLimitExceeded: {QUOTA}"),
        "user_code",
    ),
    "SDK's word of a stop": (
        "sagemaker.exceptions.UnexpectedStatusException: Error for Training job a-2026: Stopped. Reason: ",
        "stopped_by_person",
    ),
    "Terraform's last error": (
        f"Error: waiting for SageMaker AI Endpoint (x): unexpected state 'Failed'. last error: {CAPACITY}",
        "no_capacity",
    ),
    "an API's error behind other words": (f"npm ERR! ResourceLimitExceeded: {QUOTA}", "quota_permanent"),
    "a reason behind other words": (f"[alarm] job a: {CAPACITY}", "no_capacity"),
    "a log that ends with a reason": (
        "2026-11-20T03:12:45Z starting\n2026-11-20T03:12:46Z CapacityError: none\n",
        "no_capacity",
    ),
    "an exception alone": ("OSError: [Errno 28] No space left on device", "user_code"),
    "status alone": ("Stopped/MaxWaitTimeExceeded", "wait_limit"),
    "status with its name": ("TrainingJobStatus: Failed", "unknown"),
    "botocore's response as Python prints it": (
        "{'Error': {'Message': \"service limit 'x' is 0\", 'Code': 'ThrottlingException'}, "
        "'ResponseMetadata': {}}",
        "throttled",
    ),
    "something else": ("epoch 1: loss 0.3", "unknown"),
}


@pytest.mark.parametrize("name", WORDS)
def test_words_have_their_class(name):
    said, failure = WORDS[name]
    assert first(said).failure.failure == failure


STATES = (
    "Starting",
    "Pending",
    "Downloading",
    "Training",
    "Uploading",
    "Restarting",
    "Updating",
    "NewAndUnknown",
)


@pytest.mark.parametrize("secondary", STATES)
def test_a_job_that_goes_on_has_a_state_and_no_failure(secondary):
    end = first({"TrainingJobStatus": "InProgress", "SecondaryStatus": secondary})
    assert end.state is not None
    assert end.state.name == f"InProgress/{secondary}"


@pytest.mark.parametrize(
    ("status", "secondary", "said"),
    [
        ("InProgress", "Pending", "waits"),
        ("InProgress", "Starting", "looks for machines"),
        ("InProgress", "Training", "runs"),
        ("Completed", "Completed", "completed"),
        ("Deleting", None, "deleted"),
        (None, "Uploading", "uploaded"),
        ("InProgress", None, "not ended"),
    ],
)
def test_each_state_says_what_it_means(status, secondary, said):
    assert said in state_of(status, secondary).explanation.meaning


@pytest.mark.parametrize(
    ("status", "secondary"),
    [
        ("InProgress", "Interrupted"),
        ("Failed", "Failed"),
        ("Stopped", "Stopped"),
        ("Stopped", "MaxWaitTimeExceeded"),
        ("Stopping", "Stopping"),
        (None, "Interrupted"),
        (None, None),
        ("Nothing", None),
    ],
)
def test_what_went_wrong_is_no_state(status, secondary):
    assert state_of(status, secondary) is None


def test_every_secondary_status_has_a_state_or_a_class():
    ends = {"Stopping", "Stopped", "MaxRuntimeExceeded", "Failed", "Interrupted", "MaxWaitTimeExceeded"}
    assert {one.value for one in Secondary} == {one.value for one in OF_SECONDARY} | ends


def test_an_execution_that_succeeded_after_a_failure_is_told_by_its_end():
    document = {"events": [*HISTORY[:3], event(4, "ExecutionSucceeded")]}
    assert first(document).state.name == Status.COMPLETED


def test_an_execution_that_goes_on_is_told_so():
    assert first({"events": HISTORY[:2]}).state.name == "InProgress"
    assert first({**EXECUTION, "status": "RUNNING", "error": "", "cause": ""}).state.name == "InProgress"


QUOTAS = {
    "Number of instances across all processing jobs": "Debugger and Profiler",
    "ml.m5.xlarge for processing job usage": "Debugger and Profiler",
    "ml.g5.xlarge for training warm pool usage": "KeepAlivePeriodInSeconds",
    "Longest run time for a training job": "MaxRuntimeInSeconds",
    "Size of EBS volume for an instance": "VolumeSizeInGB",
    "Number of instances across all training jobs": "another instance type does not help",
    "Number of instances for a training job": "InstanceCount",
    "ml.g5.xlarge for endpoint usage": "does not count training jobs",
    "ml.g5.xlarge for spot training job usage": "Spot and on-demand have one each",
    "ml.g5.xlarge for training job usage": "Spot and on-demand have one each",
}


@pytest.mark.parametrize("quota", QUOTAS)
def test_the_advice_is_about_the_quota_that_is_named(quota):
    end = first(
        BOTO.format("ResourceLimitExceeded", f"The account-level service limit '{quota}' is 0 Instances")
    )
    advice = explain(end.failure).advice
    assert advice.startswith(f"The quota is '{quota}'. ")
    assert QUOTAS[quota] in advice
    assert ("for this instance type" in advice) == ("Spot and on-demand" in advice)


def test_a_quota_of_ec2_is_not_sagemakers():
    end = first(
        "VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit of 0 allows"
    )
    assert "a quota of Amazon EC2" in explain(end.failure).advice


@pytest.mark.parametrize(
    ("reason", "said", "not_said"),
    [
        ("ClientError: Artifact upload failed: Error 9: failed archive status", "VolumeSizeInGB", "subnets"),
        ("ClientError: Data download failed: No space left on device", "VolumeSizeInGB", "subnets"),
        ("ClientError: Artifact upload failed: no such bucket", "S3OutputPath", "image"),
    ],
)
def test_the_advice_about_a_full_volume_is_not_about_image_and_network(reason, said, not_said):
    failure = first({"TrainingJobStatus": "Failed", "FailureReason": reason}).failure
    assert failure.failure is FailureClass.CONFIGURATION
    assert said in explain(failure).advice
    assert not_said not in explain(failure).advice


def test_a_failure_without_a_reason_says_where_the_reason_is():
    end = first({"TrainingJobSummaries": [{"TrainingJobName": "a", "TrainingJobStatus": "Failed"}]})
    assert "describe-training-job" in explain(end.failure).advice


@pytest.mark.parametrize(
    "said", ["Completed", "InProgress", "InProgress/Pending", "Training", "Status: InProgress"]
)
def test_a_bare_status_is_a_state(said):
    assert first(said).state is not None
