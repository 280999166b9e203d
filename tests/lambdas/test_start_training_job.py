"""The function that calls CreateTrainingJob: AWS's answers by their exact code, and what is no answer."""

from __future__ import annotations

import json
from types import SimpleNamespace

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import (
    ConnectTimeoutError,
    IncompleteReadError,
    NoCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from nightspot.aws.runs.training_jobs import TrainingJobs
from nightspot.failures.classify import Fault, classify, of_start, says_it_exists
from nightspot.failures.codes import START_UNANSWERED, FailureClass
from nightspot.job.markets import Market
from nightspot.lambdas import start_training_job
from nightspot.local.stage.emulated_aws import LocalContext

REQUEST = {
    "TrainingJobName": "nightspot-recommender-20261121-abc123-1",
    "RoleArn": "arn:aws:iam::123456789012:role/training",
    "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://models/"},
    "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    "Environment": {"WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567"},
}
ARN = f"arn:aws:sagemaker:eu-west-1:123456789012:training-job/{REQUEST['TrainingJobName']}"


class Wire:
    """SageMaker's answers below a real client of boto3's, one for each call of the network; keeps the requests."""

    def __init__(self, *answers):
        self._answers = list(answers)
        self.bodies = []
        self.client = boto3.client(
            "sagemaker",
            region_name="eu-west-1",
            aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
            aws_secret_access_key="secret",
            config=Config(**start_training_job.ASKED_ONCE),
        )
        self.client.meta.events.register("before-send.sagemaker.CreateTrainingJob", self._answer)

    def _answer(self, request, **_):
        self.bodies.append(json.loads(request.body))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, body = answer
        raw = SimpleNamespace(stream=lambda **_: iter([body.encode()]))
        return AWSResponse(request.url, status, {"x-amzn-RequestId": "0000-0000"}, raw)


def refused(code, message="", status=400):
    return status, json.dumps({"__type": code, "message": message})


def start(wire, request=None):
    event = {"request": REQUEST if request is None else request}
    context = LocalContext("StartTrainingJob")
    return start_training_job.handler(event, context, use=TrainingJobs(wire.client))


def fault_after(*answers):
    wire = Wire(*answers)
    answer = start(wire)
    assert answer["training_job_arn"] is None
    assert len(wire.bodies) == 1
    return Fault(answer["fault"]["Error"], answer["fault"]["Cause"])


def test_what_sagemaker_takes_is_answered_by_the_arn_alone(metrics):
    wire = Wire((200, json.dumps({"TrainingJobArn": ARN})))
    assert start(wire) == {"training_job_arn": ARN, "fault": None}
    assert wire.bodies == [REQUEST]
    assert set(metrics()) == {"StartAsked"}


QUOTA = (
    "The account-level service limit 'ml.g5.xlarge for spot training job usage' is {} Instances, with current "
    "utilization of 1 Instances and a request delta of 1 Instances."
)
DENIED = "User: arn:aws:sts::123456789012:assumed-role/x/y is not authorized to perform: {}"
# (code, message, HTTP status) -> (class, whether the training job may exist)
REFUSALS = {
    "throttled": (("ThrottlingException", "Rate exceeded", 400), FailureClass.THROTTLED, True),
    "throttled by status": (("Strange", "slower", 429), FailureClass.THROTTLED, True),
    "a bad field": (
        ("ValidationException", "1 validation error detected: x", 400),
        FailureClass.CONFIGURATION,
        False,
    ),
    "a role that cannot be assumed": (
        ("ValidationException", "Could not assume role arn:aws:iam::123456789012:role/x.", 400),
        FailureClass.PERMISSION,
        False,
    ),
    "no permission": (
        ("AccessDeniedException", DENIED.format("sagemaker:CreateTrainingJob"), 400),
        FailureClass.PERMISSION,
        False,
    ),
    "a role that may not be passed": (
        ("AccessDeniedException", DENIED.format("iam:PassRole on resource: x"), 403),
        FailureClass.PERMISSION,
        False,
    ),
    "expired credentials": (("ExpiredTokenException", "expired", 400), FailureClass.PERMISSION, False),
    "a quota of none": (("ResourceLimitExceeded", QUOTA.format(0), 400), FailureClass.QUOTA_PERMANENT, False),
    "a quota in use": (("ResourceLimitExceeded", QUOTA.format(1), 400), FailureClass.QUOTA_TEMPORARY, False),
    "a fault of SageMaker's": (("InternalFailure", "", 500), FailureClass.SERVICE_FAULT, True),
    "SageMaker away": (("ServiceUnavailable", "", 503), FailureClass.SERVICE_FAULT, True),
    # Names of no known fault: the status tells whether it was refused.
    "an unknown refusal": (("NobodyKnows", "what?", 418), FailureClass.UNKNOWN, False),
    "an unknown fault of the service": (("NobodyKnows", "what?", 599), FailureClass.SERVICE_FAULT, True),
    "a name that sounds like a refusal": (("InvalidState", "inside", 500), FailureClass.SERVICE_FAULT, True),
    "a permission that the service lacks": (
        ("AccessDenied", "inside", 502),
        FailureClass.SERVICE_FAULT,
        True,
    ),
    "words that look like another status": (
        ("InternalFailure", "x (Service: S3, Status Code: 403, Error Code: AccessDenied)", 500),
        FailureClass.SERVICE_FAULT,
        True,
    ),
}


@pytest.mark.parametrize(("refusal", "failure", "may_exist"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_read_by_its_code_and_status(refusal, failure, may_exist):
    fault = fault_after(refused(*refusal))
    assert fault.error == f"SageMaker.{refusal[0]}"
    assert f"Status Code: {refusal[2]}, Error Code: {refusal[0]}" in fault.cause
    found, in_doubt = of_start(fault)
    assert (found.failure, in_doubt) == (failure, may_exist)


def test_whose_quota_it_was_is_read_as_well():
    fault = fault_after(refused("ResourceLimitExceeded", QUOTA.format(0)))
    assert classify(fault=fault).quota_market is Market.SPOT


def test_the_same_event_again_is_told_that_the_training_job_is_there():
    wire = Wire((200, json.dumps({"TrainingJobArn": ARN})), refused("ResourceInUse", "names must be unique"))
    assert start(wire)["training_job_arn"] == ARN
    fault = start(wire)["fault"]
    assert says_it_exists(Fault(fault["Error"], fault["Cause"]))
    assert [body["TrainingJobName"] for body in wire.bodies] == [REQUEST["TrainingJobName"]] * 2


NO_ANSWERS = {
    "no answer in time": ReadTimeoutError(endpoint_url="https://x"),
    "no connection": ConnectTimeoutError(endpoint_url="https://x"),
    "a connection that broke": IncompleteReadError(actual_bytes=1, expected_bytes=2),
    "a body that broke": ResponseStreamingError(error=OSError("reset")),
    "no credentials": NoCredentialsError(),
}


@pytest.mark.parametrize("error", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_without_an_answer_the_training_job_may_exist(error, metrics):
    fault = fault_after(error)
    assert fault.error == START_UNANSWERED
    assert fault.cause.startswith(type(error).__name__)
    found, in_doubt = of_start(fault)
    assert (found.failure, in_doubt) == (FailureClass.SERVICE_FAULT, True)
    assert set(metrics()) == {"StartAsked", "StartUnanswered"}


@pytest.mark.parametrize("answer", [refused("InternalFailure", status=500), refused("ThrottlingException")])
def test_sagemaker_is_asked_once(answer):
    """The second of two calls could be refused by the quota that the training job of the first takes up."""
    quota = refused("ResourceLimitExceeded", QUOTA.format(1))
    _, in_doubt = of_start(fault_after(answer, quota))
    assert in_doubt


WRONG = {
    "a field that the model does not know": ({"NewField": 1}, 'Unknown parameter in input: "NewField"'),
    "a type": (
        {"ResourceConfig": {**REQUEST["ResourceConfig"], "InstanceCount": "one"}},
        "Invalid type for parameter ResourceConfig.InstanceCount, value: one",
    ),
    "a missing field": (
        {"OutputDataConfig": {}},
        'Missing required parameter in OutputDataConfig: "S3OutputPath"',
    ),
    "a number out of range": (
        {"StoppingCondition": {"MaxRuntimeInSeconds": 0}},
        "Invalid value for parameter StoppingCondition.MaxRuntimeInSeconds, value: 0, valid min value: 1",
    ),
}


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
def test_a_request_that_is_wrong_names_the_field_and_calls_nobody(change, said):
    wire = Wire()
    fault = start(wire, {**REQUEST, **change})["fault"]
    assert fault["Error"] == "SageMaker.ParamValidationError"
    assert said in fault["Cause"]
    assert wire.bodies == []
    found, in_doubt = of_start(Fault(fault["Error"], fault["Cause"]))
    assert (found.failure, in_doubt) == (FailureClass.CONFIGURATION, False)


def test_nothing_that_must_not_be_stored_is_logged(caplog):
    fault_after(refused("ValidationException", "bad: token=hunter2 of 123456789012 and s3://bucket/key"))
    start(Wire((200, json.dumps({"TrainingJobArn": ARN}))))
    text = json.dumps([vars(record) for record in caplog.records], default=str)
    assert text.count(REQUEST["TrainingJobName"]) == 2
    assert "token=<secret>" in text
    for secret in ("hunter2", "123456789012", "bucket/key", REQUEST["Environment"]["WANDB_API_KEY"]):
        assert secret not in text


def test_a_long_text_leaves_room_for_the_status():
    fault = fault_after(refused("ValidationException", "x" * 300_000))
    assert len(fault.cause) < 3_000
    assert "Status Code: 400" in fault.cause


def test_an_answer_that_cannot_be_read_ends_the_function_which_is_no_answer():
    with pytest.raises(KeyError):
        start(Wire((200, "<html>AccessDenied</html>")))


@pytest.mark.parametrize("event", [{}, {"request": None}, {"request": {}}, {"request": "x"}], ids=str)
def test_an_event_without_a_request_ends_the_function_which_is_no_answer(event):
    with pytest.raises(ValueError, match="request"):
        start_training_job.handler(event, LocalContext("StartTrainingJob"), use=TrainingJobs(Wire().client))


def test_the_deployed_function_asks_so(monkeypatch):
    made = {}

    def client(service, **options):
        made[service] = options["config"]
        events = SimpleNamespace(register=lambda *_: None)
        return SimpleNamespace(
            create_training_job=lambda **_: {"TrainingJobArn": ARN}, meta=SimpleNamespace(events=events)
        )

    monkeypatch.setattr(boto3, "client", client)
    monkeypatch.delenv("LAMBDA_TASK_ROOT", raising=False)
    start_training_job.training_jobs.cache_clear()
    answer = start_training_job.handler({"request": REQUEST}, LocalContext("StartTrainingJob"))
    start_training_job.training_jobs.cache_clear()
    assert answer["training_job_arn"] == ARN
    assert made["sagemaker"].retries == start_training_job.ASKED_ONCE["retries"]
    assert made["sagemaker"].read_timeout == start_training_job.ASKED_ONCE["read_timeout"]
