"""One training job, told in the words of everybody who tells of it."""

import json

import pytest

REQUEST = {
    "TrainingJobName": "recommender-7",
    "RoleArn": "arn:aws:iam::123456789012:role/training",
    "AlgorithmSpecification": {"TrainingImage": "training:latest", "TrainingInputMode": "File"},
    "HyperParameters": {"epochs": "3", "learning_rate": "0.1"},
    "OutputDataConfig": {"S3OutputPath": "s3://models/nightly/"},
    "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
    "StoppingCondition": {"MaxRuntimeInSeconds": 21600},
    "CheckpointConfig": {"S3Uri": "s3://checkpoints/nightly/"},
}
QUOTA = (
    "The account-level service limit 'ml.g5.xlarge for spot training job usage' is 0 Instances, with current "
    "utilization of 0 Instances and a request delta of 1 Instances."
)
CAPACITY = "CapacityError: Unable to provision requested ML compute capacity. Please retry."
CREATES = "arn:aws:states:::sagemaker:createTrainingJob.sync"


def lower(value):
    """The request with lower camel case, as CloudTrail and Kubernetes write it; the keys of maps as they are."""
    if isinstance(value, dict):
        return {
            key[0].lower() + key[1:]: inner if key in {"HyperParameters", "Environment"} else lower(inner)
            for key, inner in value.items()
        }
    return [lower(one) for one in value] if isinstance(value, list) else value


def without(mapping, *keys):
    return {key: value for key, value in mapping.items() if key not in keys}


@pytest.fixture
def described():
    return {**REQUEST, "TrainingJobStatus": "Failed", "SecondaryStatus": "Failed", "FailureReason": CAPACITY}


def text(value):
    return json.dumps(value, indent=2)
