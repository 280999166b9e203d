"""Trainers of the SageMaker Python SDK as job files, as JSON: for an environment that has one major version.

`python trainers_of_sdk.py FOLDER 2` (or 3): FOLDER has train.py and requirements.txt. No connection is let through.
"""

import json
import logging
import os
import socket
import sys
import warnings

os.environ.update(
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",
    AWS_DEFAULT_REGION="eu-west-1",
    AWS_EC2_METADATA_DISABLED="true",
    SAGEMAKER_SUPPRESS_V2_WARNING="1",
    SAGEMAKER_VALIDATE_ROLE="false",  # version 3 would ask IAM about the role when a trainer is made
)
warnings.simplefilter("ignore")
logging.disable()
attempts = []


def refuse(_socket, address):
    attempts.append(str(address))
    raise OSError("no network in this test")


ROLE = "arn:aws:iam::123456789012:role/training"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/training:1"
SUBNET, GROUP = "subnet-0123456789abcdef0", "sg-0123456789abcdef0"
METRIC = "loss=([0-9.]+)"


def of_version_2(folder):
    from sagemaker.estimator import Estimator
    from sagemaker.huggingface import HuggingFace
    from sagemaker.inputs import TrainingInput
    from sagemaker.pytorch import PyTorch
    from sagemaker.xgboost import XGBoost

    pytorch = PyTorch(
        entry_point="train.py",
        source_dir=folder,
        role=ROLE,
        framework_version="2.3.0",
        py_version="py311",
        instance_count=2,
        instance_type="ml.p4d.24xlarge",
        use_spot_instances=True,
        max_run=14400,
        max_wait=20000,
        output_path="s3://models/recommender/",
        checkpoint_s3_uri="s3://checkpoints/recommender/",
        hyperparameters={"epochs": 3, "lr": 0.1, "name": "a"},
        tags=[{"Key": "team", "Value": "search"}],
        metric_definitions=[{"Name": "loss", "Regex": METRIC}],
        environment={"MODE": "night"},
        subnets=[SUBNET],
        security_group_ids=[GROUP],
        output_kms_key="alias/output",
        volume_kms_key="alias/volume",
        encrypt_inter_container_traffic=True,
        distribution={"torch_distributed": {"enabled": True}},
        base_job_name="recommender",
    )
    plain = Estimator(
        image_uri=IMAGE, role=ROLE, instance_count=1, instance_type="ml.m5.xlarge", max_run=3600
    )
    by_name = Estimator(image_uri=IMAGE, role="training", instance_count=1, instance_type="ml.m5.xlarge")
    script = HuggingFace(
        entry_point=f"{folder}/train.py",
        role=ROLE,
        transformers_version="4.36",
        pytorch_version="2.1",
        py_version="py310",
        instance_count=1,
        instance_type="ml.g5.xlarge",
    )
    archive = XGBoost(
        entry_point="train.py",
        source_dir="s3://code/sourcedir.tar.gz",
        framework_version="1.7-1",
        role=ROLE,
        instance_count=1,
        instance_type="ml.m5.xlarge",
    )
    isolated = PyTorch(
        entry_point="train.py",
        source_dir=folder,
        role=ROLE,
        framework_version="2.3.0",
        py_version="py311",
        instance_count=1,
        instance_type="ml.g5.xlarge",
        enable_network_isolation=True,
    )
    channels = {"train": TrainingInput("s3://data/train/"), "test": "s3://data/test/"}
    before = dict(vars(pytorch))
    yield "everything", pytorch, channels
    assert vars(pytorch) == before, "the estimator was changed"
    yield "plain", plain, "s3://data/train/"
    yield "script", script, None
    yield "archive", archive, None
    yield "role by name", by_name, None
    yield "isolated", isolated, None


def of_version_3(folder):
    import boto3
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.train import ModelTrainer
    from sagemaker.train.configs import (
        CheckpointConfig,
        Compute,
        InputData,
        MetricDefinition,
        Networking,
        OutputDataConfig,
        SourceCode,
        StoppingCondition,
        Tag,
    )
    from sagemaker.train.distributed import Torchrun

    output = OutputDataConfig(s3_output_path="s3://models/recommender/", kms_key_id="alias/output")
    shared = {
        "sagemaker_session": Session(boto_session=boto3.Session()),
        "role": ROLE,
        "training_image": IMAGE,
        "output_data_config": output,
    }
    everything = ModelTrainer(
        **shared,
        source_code=SourceCode(source_dir=folder, entry_script="train.py", requirements="requirements.txt"),
        distributed=Torchrun(),
        compute=Compute(
            instance_type="ml.p4d.24xlarge",
            instance_count=2,
            volume_size_in_gb=30,
            volume_kms_key_id="alias/volume",
            enable_managed_spot_training=True,
        ),
        stopping_condition=StoppingCondition(max_runtime_in_seconds=14400, max_wait_time_in_seconds=20000),
        checkpoint_config=CheckpointConfig(s3_uri="s3://checkpoints/recommender/"),
        networking=Networking(
            subnets=[SUBNET], security_group_ids=[GROUP], enable_inter_container_traffic_encryption=True
        ),
        environment={"MODE": "night"},
        hyperparameters={"epochs": 3, "lr": 0.1, "name": "a"},
        tags=[Tag(key="team", value="search")],
        base_job_name="recommender",
    ).with_metric_definitions([MetricDefinition(name="loss", regex=METRIC)])
    default_place = ModelTrainer(**shared, checkpoint_config=CheckpointConfig())
    command = ModelTrainer(**shared, source_code=SourceCode(source_dir=folder, command="python train.py"))
    channels = [InputData(channel_name=name, data_source=f"s3://data/{name}/") for name in ("train", "test")]
    before = everything.model_dump()
    yield "everything", everything, channels
    assert everything.model_dump() == before, "the trainer was changed"
    yield "plain", default_place, channels[:1]
    yield "data here", default_place, [InputData(channel_name="train", data_source=folder)]
    yield "command", command, None


def main(folder):
    from importlib.metadata import version

    import yaml

    from nightspot import InvalidJobError, Job
    from nightspot.client.trainers import request_of_trainer

    is_2 = sys.argv[2] == "2"
    socket.socket.connect = refuse
    made = {}
    for name, trainer, inputs in (of_version_2 if is_2 else of_version_3)(folder):
        attempts.clear()
        try:
            source = request_of_trainer(trainer, inputs).source
            job = Job.from_trainer(trainer, deadline="08:00", schedule="02:30", inputs=inputs)
            found = [str(problem) for problem in job.validate() if problem.severity == "error"]
            document, notes = yaml.safe_load(job.text), [str(note) for note in job.notes]
            made[name] = {"document": document, "errors": found, "notes": notes}
            made[name]["source"] = None if source is None else vars(source)
        except InvalidJobError as error:
            made[name] = {"refused": [str(problem) for problem in error.problems]}
        made[name]["asked"] = list(attempts)
    print(json.dumps({"version": version("sagemaker" if is_2 else "sagemaker-train"), "made": made}))


if __name__ == "__main__":
    main(sys.argv[1])
