"""A document with a CreateTrainingJob request in it gives that request, or says what it is and what is missing."""

import datetime
import json
import pprint

import pytest
import yaml

from nightspot.documents.asking import left_out, request_in
from nightspot.documents.opening import open_document
from nightspot.job.errors import InvalidJobError
from nightspot.job.from_request import draft_job, job_file_text
from nightspot.job.reading import parse_job
from tests.documents.conftest import CREATES, REQUEST, lower, without

STATE = {"Type": "Task", "Resource": CREATES, "Parameters": REQUEST, "End": True}
MACHINE = {"StartAt": "Train", "States": {"Train": STATE, "Done": {"Type": "Succeed"}}}
DESCRIBED = {
    **REQUEST,
    "TrainingJobArn": "arn:aws:sagemaker:eu-west-1:123456789012:training-job/recommender-7",
    "TrainingJobStatus": "Completed",
    "SecondaryStatus": "Completed",
    "CreationTime": "2026-11-20T03:12:45+00:00",
    "TrainingTimeInSeconds": 11520,
}
RECORD = {
    "eventVersion": "1.09",
    "eventSource": "sagemaker.amazonaws.com",
    "eventName": "CreateTrainingJob",
    "requestParameters": lower(REQUEST),
    "responseElements": None,
}
DEFINITION = {
    **without(REQUEST, "TrainingJobName", "HyperParameters"),
    "StaticHyperParameters": {"epochs": "3", "learning_rate": "0.1", "_tuning_objective_metric": "auc"},
}
TUNING = {
    "HyperParameterTuningJobName": "recommender-7",
    "HyperParameterTuningJobConfig": {"Strategy": "Bayesian"},
    "TrainingJobDefinition": DEFINITION,
}
PIPELINE = {
    "Version": "2020-12-01",
    "Parameters": [{"Name": "Type", "Type": "String", "DefaultValue": "ml.g5.xlarge"}],
    "Steps": [
        {"Name": "Prepare", "Type": "Processing", "Arguments": {}},
        {
            "Name": "recommender-7",
            "Type": "Training",
            "Arguments": {
                **without(REQUEST, "TrainingJobName"),
                "ResourceConfig": {**REQUEST["ResourceConfig"], "InstanceType": {"Get": "Parameters.Type"}},
            },
        },
    ],
}
ACK = {
    "apiVersion": "sagemaker.services.k8s.aws/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "recommender-7"},
    "spec": lower(REQUEST),
}
OPERATOR = {
    "apiVersion": "sagemaker.aws.amazon.com/v1",
    "kind": "TrainingJob",
    "metadata": {"name": "recommender-7"},
    "spec": {
        **lower(REQUEST),
        "region": "eu-west-1",
        "hyperParameters": [
            {"name": key, "value": value} for key, value in REQUEST["HyperParameters"].items()
        ],
    },
}
BATCH = {
    "jobName": "recommender-7",
    "jobQueue": "queue",
    "serviceJobType": "SAGEMAKER_TRAINING",
    "serviceRequestPayload": json.dumps(REQUEST),
}
HISTORY = {
    "events": [
        {
            "id": 1,
            "previousEventId": 0,
            "type": "ExecutionStarted",
            "executionStartedEventDetails": {"input": "{}"},
        },
        {
            "id": 3,
            "previousEventId": 2,
            "type": "TaskScheduled",
            "taskScheduledEventDetails": {
                "resourceType": "sagemaker",
                "resource": "createTrainingJob.sync",
                "region": "eu-west-1",
                "parameters": json.dumps(REQUEST),
            },
        },
        {
            "id": 6,
            "previousEventId": 5,
            "type": "TaskSucceeded",
            "taskSucceededEventDetails": {
                "resourceType": "sagemaker",
                "resource": "createTrainingJob.sync",
                "output": json.dumps(DESCRIBED),
            },
        },
        {"id": 8, "previousEventId": 7, "type": "ExecutionSucceeded", "executionSucceededEventDetails": {}},
    ]
}
TRAINER = {
    "training_mode": "SAGEMAKER_TRAINING_JOB",
    "role": REQUEST["RoleArn"],
    "base_job_name": "recommender-7",
    "training_image": "training:latest",
    "training_input_mode": "File",
    "source_code": {"source_dir": "src", "entry_script": "train.py"},
    "compute": {"instance_type": "ml.g5.xlarge", "instance_count": 1, "volume_size_in_gb": 50},
    "stopping_condition": {"max_runtime_in_seconds": 21600},
    "output_data_config": {"s3_output_path": "s3://models/nightly/"},
    "checkpoint_config": {"s3_uri": "s3://checkpoints/nightly/"},
    "hyperparameters": {"epochs": "3", "learning_rate": "0.1"},
}
TRAIN_ARGS = {
    "input_mode": "File",
    "input_config": [],
    "role": REQUEST["RoleArn"],
    "job_name": "recommender-7",
    "output_config": {"S3OutputPath": "s3://models/nightly/"},
    "resource_config": REQUEST["ResourceConfig"],
    "hyperparameters": {"epochs": "3", "learning_rate": "0.1"},
    "stop_condition": {"MaxRuntimeInSeconds": 21600},
    "checkpoint_s3_uri": "s3://checkpoints/nightly/",
    "image_uri": "training:latest",
    "use_spot_instances": True,
}
ESTIMATOR = {
    "image_uri": "training:latest",
    "instance_type": "ml.g5.xlarge",
    "instance_count": 1,
    "volume_size": 50,
    "role": REQUEST["RoleArn"],
    "base_job_name": "recommender-7",
    "max_run": 21600,
    "max_wait": None,
    "output_path": "s3://models/nightly/",
    "input_mode": "File",
    "checkpoint_s3_uri": "s3://checkpoints/nightly/",
    "_hyperparameters": {"epochs": "3", "learning_rate": "0.1"},
    "tags": None,
}


def printed(value):
    """What `print(training_job.describe())` writes: no JSON, and YAML that would read it otherwise."""
    moment = datetime.datetime(2026, 11, 20, 3, 12, 45, 123000, tzinfo=datetime.UTC)
    return str({**value, "CreationTime": moment, "Tags": None, "EnableManagedSpotTraining": True}).replace(
        "datetime.timezone.utc", "tzlocal()"
    )


DOCUMENTS = {
    "request": REQUEST,
    "description": DESCRIBED,
    "description as YAML": yaml.safe_dump(DESCRIBED),
    "description in UTF-16, as PowerShell redirects it": json.dumps(DESCRIBED).encode("utf-16"),
    "description printed by Python": printed(DESCRIBED),
    "description pretty-printed by Python": pprint.pformat({**DESCRIBED, "Tags": None, "Long": "x y " * 60}),
    "description in a list": [DESCRIBED],
    "description beside nothing": {"Results": [{"TrainingJob": DESCRIBED}]},
    "parameters cut out of a state": {"Parameters": REQUEST},
    "Airflow's answer": {"Training": DESCRIBED},
    "state with JSONPath": STATE,
    "state with JSONata": {**without(STATE, "Parameters"), "Arguments": REQUEST},
    "state with its name": {"Train": STATE},
    "state machine": MACHINE,
    "state machine with branches": {
        "StartAt": "All",
        "States": {"All": {"Type": "Parallel", "Branches": [MACHINE], "End": True}},
    },
    "state machine with a map": {
        "StartAt": "Each",
        "States": {"Each": {"Type": "Map", "ItemProcessor": MACHINE, "End": True}},
    },
    "DescribeStateMachine": {
        "stateMachineArn": "arn:aws:states:eu-west-1:123456789012:stateMachine:x",
        "definition": json.dumps(MACHINE),
        "roleArn": "arn:aws:iam::123456789012:role/states",
    },
    "CloudFormation template": {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Resources": {
            "Machine": {
                "Type": "AWS::StepFunctions::StateMachine",
                "Properties": {"DefinitionString": json.dumps(MACHINE)},
            }
        },
    },
    "execution history": HISTORY,
    "execution with its output": {
        "executionArn": "arn:aws:states:eu-west-1:123456789012:execution:x:1",
        "stateMachineArn": "arn:aws:states:eu-west-1:123456789012:stateMachine:x",
        "name": "1",
        "status": "SUCCEEDED",
        "input": "{}",
        "output": json.dumps(DESCRIBED),
    },
    "EventBridge's event": {
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Training Job State Change",
        "detail": DESCRIBED,
    },
    "CloudTrail's record": RECORD,
    "CloudTrail's records": {"Records": [RECORD]},
    "CloudTrail's record by EventBridge": {"detail-type": "AWS API Call via CloudTrail", "detail": RECORD},
    "CloudTrail's lookup-events": {
        "Events": [{"EventName": "CreateTrainingJob", "CloudTrailEvent": json.dumps(RECORD)}]
    },
    "SNS": {
        "Type": "Notification",
        "TopicArn": "arn:aws:sns:x",
        "Message": json.dumps({"detail-type": "x", "detail": DESCRIBED}),
    },
    "SQS": {"Messages": [{"MessageId": "1", "Body": json.dumps({"detail-type": "x", "detail": DESCRIBED})}]},
    "SubmitServiceJob": BATCH,
    "DescribeServiceJob": {
        **BATCH,
        "jobArn": "arn:aws:batch:x",
        "jobId": "1",
        "status": "RUNNING",
        "attempts": [],
    },
    "state that submits to Batch": {
        "Type": "Task",
        "Resource": "arn:aws:states:::batch:submitServiceJob.sync",
        "Arguments": without(BATCH, "jobName") | {"JobName": "recommender-7"},
    },
    "pipeline": PIPELINE,
    "DescribePipeline": {
        "PipelineArn": "arn:aws:x",
        "PipelineName": "p",
        "PipelineDefinition": json.dumps(PIPELINE),
    },
    "pipeline's step below a condition": {
        "Version": "2020-12-01",
        "Steps": [{"Name": "If", "Type": "Condition", "Arguments": {"IfSteps": PIPELINE["Steps"][1:]}}],
        "Parameters": PIPELINE["Parameters"],
    },
    "tuning job": TUNING,
    "described tuning job": {**TUNING, "HyperParameterTuningJobStatus": "Completed"},
    "tuning job with several definitions": {
        **without(TUNING, "TrainingJobDefinition"),
        "TrainingJobDefinitions": [{**DEFINITION, "DefinitionName": "recommender-7"}],
    },
    "ACK's resource": ACK,
    "ACK's resource as YAML": yaml.safe_dump(ACK),
    "ACK's resource in a list": {"apiVersion": "v1", "kind": "List", "items": [ACK]},
    "ACK's resource after another": "apiVersion: v1\nkind: Namespace\n---\n" + yaml.safe_dump(ACK),
    "the older operator's resource": OPERATOR,
    "ModelTrainer": TRAINER,
    "ModelTrainer as it is printed": "ModelTrainer(training_mode='x', sagemaker_session=<sagemaker.Session "
    "object at "
    "0x7f3a>, role='arn:aws:iam::123456789012:role/training', base_job_name='recommender-7', "
    "training_image='training:latest', compute=Compute(instance_type='ml.g5.xlarge', instance_count=1, "
    "volume_size_in_gb=50, keep_alive_period_in_seconds=Unassigned()), stopping_condition="
    "StoppingCondition(max_runtime_in_seconds=21600), output_data_config=OutputDataConfig(s3_output_path="
    "'s3://models/nightly/'), checkpoint_config=CheckpointConfig(s3_uri='s3://checkpoints/nightly/'), "
    "training_input_mode='File', hyperparameters={'epochs': '3', 'learning_rate': '0.1'})",
    "TrainingJob of the SDK 3 as it is printed": "TrainingJob(training_job_name='recommender-7', "
    "training_job_arn='x', "
    "role_arn='arn:aws:iam::123456789012:role/training', algorithm_specification=AlgorithmSpecification("
    "training_image='training:latest', training_input_mode='File', algorithm_name=Unassigned()), "
    "hyper_parameters={'epochs': '3', 'learning_rate': '0.1'}, resource_config=ResourceConfig("
    "instance_type='ml.g5.xlarge', instance_count=1, volume_size_in_gb=50), stopping_condition="
    "StoppingCondition(max_runtime_in_seconds=21600), output_data_config=OutputDataConfig("
    "s3_output_path='s3://models/nightly/'), "
    "checkpoint_config=CheckpointConfig(s3_uri='s3://checkpoints/nightly/'), "
    "creation_time=datetime.datetime(2026, 11, 20, 3, 12, tzinfo=tzlocal()))",
    "train_args": TRAIN_ARGS,
    "train_args as Python prints it": str(TRAIN_ARGS),
    "estimator's fields": ESTIMATOR,
    "estimator's fields as Python prints them": str(ESTIMATOR)[:-1]
    + ", 'sagemaker_session': <sagemaker.session.Session object at 0x7f0d9c>, 'py_version': None}",
    "JSON that is text once more": json.dumps(json.dumps(REQUEST)),
}


def opened(document):
    return open_document(document if isinstance(document, str | bytes) else json.dumps(document))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_request_is_found_wherever_it_stands(name):
    asked = request_in(opened(DOCUMENTS[name]))
    request = asked.request
    assert request.get("TrainingJobName", asked.name) == "recommender-7"
    for section in ("AlgorithmSpecification", "ResourceConfig", "OutputDataConfig", "CheckpointConfig"):
        said = {key: value for key, value in request[section].items() if value is not None}
        assert said == REQUEST[section], section
    assert request["RoleArn"] == REQUEST["RoleArn"]
    assert request["HyperParameters"] == REQUEST["HyperParameters"]
    assert request["StoppingCondition"]["MaxRuntimeInSeconds"] == 21600
    assert not asked.blanks


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_job_file_comes_of_it(name):
    asked = request_in(opened(DOCUMENTS[name]))
    job = parse_job(job_file_text(draft_job(asked.request, named_after=asked.name)))
    assert job.name in {"recommender-7", "recommender"}
    assert job.training_job["AlgorithmSpecification"]["TrainingImage"] == "training:latest"


def test_a_history_measures_the_work():
    asked = request_in(opened(HISTORY))
    assert asked.request["TrainingTimeInSeconds"] == 11520


def state_with(**changes):
    return {"StartAt": "Train", "States": {"Train": {**STATE, "Parameters": {**REQUEST, **changes}}}}


def test_what_comes_from_the_input_is_left_out_and_said():
    parameters = {"epochs.$": "$.epochs", "learning_rate": "0.1"}
    asked = request_in(opened(state_with(HyperParameters=parameters)))
    assert asked.request["HyperParameters"] == {"learning_rate": "0.1"}
    (note,) = left_out(asked)
    assert note.field == "training_job.HyperParameters.epochs"
    assert "comes from the execution's input ($.epochs): fill it in" in note.rule


def test_what_a_run_sets_and_what_a_deployment_has_needs_no_filling_in():
    document = {
        **without(REQUEST, "TrainingJobName", "RoleArn", "OutputDataConfig"),
        "TrainingJobName.$": "$$.Execution.Name",
        "EnableManagedSpotTraining": "{% $states.input.spot %}",
        "RoleArn.$": "$.role",
        "OutputDataConfig": {"S3OutputPath.$": "States.Format('s3://{}/', $.bucket)"},
    }
    asked = request_in(opened({"Type": "Task", "Resource": CREATES, "Parameters": document}))
    assert asked.blanks == ()
    assert asked.request["RoleArn"] == "${TrainingRoleArn}"
    assert asked.request["OutputDataConfig"] == {"S3OutputPath": "s3://${ModelBucket}/models/"}
    assert [note.field for note in asked.notes] == [
        "training_job.RoleArn",
        "training_job.OutputDataConfig.S3OutputPath",
    ]


def test_a_value_that_cloudtrail_hides_is_asked_for():
    hidden = {
        **RECORD,
        "requestParameters": {**lower(REQUEST), "environment": "HIDDEN_DUE_TO_SECURITY_REASONS"},
    }
    (note,) = left_out(request_in(opened(hidden)))
    assert note.field == "training_job.Environment"
    assert "CloudTrail hides it" in note.rule


def test_a_parameter_of_a_pipeline_without_a_default_is_asked_for():
    asked = request_in(opened({**PIPELINE, "Parameters": [{"Name": "Type", "Type": "String"}]}))
    assert [blank.field for blank in asked.blanks] == ["ResourceConfig.InstanceType"]
    assert "the pipeline's parameters" in asked.blanks[0].rule


def test_a_searched_hyperparameter_is_said():
    ranges = {"ContinuousParameterRanges": [{"Name": "dropout", "MinValue": "0", "MaxValue": "1"}]}
    document = {**TUNING, "TrainingJobDefinition": {**DEFINITION, "HyperParameterRanges": ranges}}
    (note,) = request_in(opened(document)).notes
    assert "HyperParameters.dropout is chosen by the tuning job" in note.rule


TWO = {
    "StartAt": "A",
    "States": {name: {**STATE, "Parameters": {**REQUEST, "TrainingJobName": name}} for name in "AB"},
}


def test_of_several_jobs_one_is_picked():
    assert request_in(opened(TWO), "B").request["TrainingJobName"] == "B"
    with pytest.raises(InvalidJobError, match="has 2 training jobs: name one with --pick, of A, B"):
        request_in(opened(TWO))
    with pytest.raises(InvalidJobError, match="--pick: 'C': must be one of the training jobs in it: A, B"):
        request_in(opened(TWO), "C")


REFUSED = {
    "list of training jobs": (
        {
            "TrainingJobSummaries": [{"TrainingJobName": "a", "TrainingJobStatus": "Completed"}],
            "NextToken": "x",
        },
        "a list of training jobs (ListTrainingJobs): has no request",
    ),
    "pipeline without training": (
        {"Version": "2020-12-01", "Steps": [{"Name": "a", "Type": "Processing", "Arguments": {}}]},
        "a pipeline without a step of type Training",
    ),
    "state machine without training": (
        {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}},
        "no state of it starts a training job",
    ),
    "state that starts none": (
        {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {}},
        "it starts no training job",
    ),
    "processing job": ({"ProcessingJobName": "a", "RoleArn": "x"}, "a processing job of SageMaker"),
    "endpoint": ({"EndpointName": "a", "EndpointStatus": "Failed"}, "a model or endpoint of SageMaker"),
    "container job of Batch": (
        {"jobName": "a", "jobQueue": "q", "jobDefinition": "d"},
        "a container job of AWS Batch",
    ),
    "another resource of Kubernetes": (
        {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob"},
        "it is no TrainingJob of SageMaker",
    ),
    "template without a state machine": (
        {"AWSTemplateFormatVersion": "2010-09-09", "Resources": {}},
        "a CloudFormation template",
    ),
    "error": (
        "An error occurred (ValidationException) when calling the CreateTrainingJob operation: x",
        "it says how something ended",
    ),
    "log": ({"events": [{"timestamp": 1, "message": "epoch 1"}]}, "events of a log (CloudWatch)"),
    "nothing": ("  ", "must hold a document of AWS's"),
    "another mapping": ({"a": 1}, "must be a CreateTrainingJob request"),
    "list of nothing": ([], "(file): a list of 0: must be a CreateTrainingJob request"),
    "number": ("7", "it says how something ended"),
    "table output": (
        "-----------------------\n|  DescribeTrainingJob  |\n+----------+----------+\n|  a  |  b |\n",
        "is the table output of the AWS CLI, which leaves values out: ask for JSON: --output json",
    ),
    "text output": (
        "3720\t2026-11-20T03:12:45+00:00\tTrue\nALGORITHMSPECIFICATION\tFalse\ttraining:latest\n",
        "is the text output of the AWS CLI, which has no names of fields",
    ),
    "Terraform": ('# x\nresource "aws_sagemaker_model" "m" {\n}\n', "is a Terraform file"),
    "Python program": (
        "from sagemaker.pytorch import PyTorch\ne = PyTorch(role='x')\n",
        "is a Python program",
    ),
    "HTML": ("<!DOCTYPE html><html></html>", "is HTML or XML"),
    "gzip": (b"\x1f\x8b\x08\x00", "is compressed (gzip)"),
    "zip": (b"PK\x03\x04", "is a zip archive"),
    "no text": (b"\xc3\x28", "must be UTF-8 text"),
    "key twice": ('{"RoleArn": "a", "RoleArn": "b"}', "RoleArn: 'RoleArn': the key appears twice"),
    "key twice below": (
        '{"RoleArn": "a", "HyperParameters": {"epochs": "1", "epochs": "2"}}',
        "epochs: 'epochs': the key appears twice",
    ),
    "printed and cut off": (
        "{'TrainingJobName': 'a', 'Tags': None, 'CreationTime': datetime.datetime(20",
        "is a printed Python object",
    ),
    "printed with an unknown call": (
        "{'TrainingJobName': 'a', 'Tags': None, 'x': open('y', 'z')}",
        "is a printed Python object",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_request_is_refused_by_its_name(name):
    document, said = REFUSED[name]
    with pytest.raises(InvalidJobError) as refused:
        request_in(opened(document))
    assert said in str(refused.value)


def test_a_printed_object_is_never_read_as_yaml():
    # As YAML, None would be the text "None", and the time two keys.
    printed_object = (
        "{'TrainingJobName': 'a', 'RoleArn': None, 'StoppingCondition': {'MaxRuntimeInSeconds': 60}}"
    )
    request = request_in(opened(printed_object)).request
    assert request["RoleArn"] is None
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 60}
