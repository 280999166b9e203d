"""What runs in the local container: the job file's command with its hyperparameters, or the request's own code."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from nightspot.job.model import Local
from nightspot.job.reading import parse_job
from nightspot.local import drill as drills
from nightspot.local.drill import DrillOptions
from nightspot.local.sagemaker import container as containers
from nightspot.local.sagemaker import opt_ml, training_job
from nightspot.local.sagemaker.launch import TrainingCommand, launch_of
from nightspot.local.sagemaker.process import CommandError

ARCHIVE = runpy.run_path(str(Path(__file__).parent / "toolkit" / "ask.py"))["archive"]
PROGRAM = {
    "sagemaker_program": '"train.py"',
    "sagemaker_submit_directory": '"s3://bucket/job/source/sourcedir.tar.gz"',
}
ARGPARSE = """
import argparse, json, os, sys
p = argparse.ArgumentParser()
p.add_argument("--epochs", type=int, default=10)
p.add_argument("-n", type=int, default=1)
args = p.parse_args()
print("epochs", args.epochs, args.n, flush=True)
"""
needs_namespace = pytest.mark.skipif(
    not opt_ml.can_be_private(), reason="this machine gives processes no mount namespace of their own"
)


@pytest.fixture
def launched(tmp_path):
    """What would be started for a request, with an empty container."""

    def of(command, *, pass_hyperparameters=True, objects=None, private=False, environment=None, **request):
        whole = {
            "TrainingJobName": "job",
            "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1},
            **request,
        }
        container = containers.prepare(tmp_path / "machine", whole, is_private=private)
        how = TrainingCommand(command, environment or {}, tmp_path, pass_hyperparameters)
        return launch_of(container, whole, how, (objects or {}).__getitem__)

    return of


def script(tmp_path, text=ARGPARSE):
    (tmp_path / "train.py").write_text(text)
    return ["python", str(tmp_path / "train.py")]


def said(tonight):
    tonight.until_ended()
    return tonight.said()


def test_a_script_with_argparse_trains_with_the_jobs_hyperparameters(night, tmp_path):
    tonight = night(command=script(tmp_path))
    tonight.ask(parameters={"epochs": 3, "n": 5})
    assert said(tonight) == ["epochs 3 5"]


def test_the_drills_script_with_argparse_does_too(tmp_path):
    document = {
        "name": "small",
        "deadline": {"within": "1h"},
        "work": "10m",
        "capacity": {"spot": ["ml.m5.large"]},
        "fallback": "never",
        "training_job": {
            "RoleArn": "arn:aws:iam::123456789012:role/training",
            "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
            "HyperParameters": {"epochs": "3"},
            "OutputDataConfig": {"S3OutputPath": "s3://models/small/"},
            "CheckpointConfig": {"S3Uri": "s3://checkpoints/small/"},
            "ResourceConfig": {"InstanceCount": 1, "VolumeSizeInGB": 30},
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        },
        "local": {"command": script(tmp_path)},
    }
    scratch = tmp_path / "scratch"
    evidence = drills.drill(
        parse_job(json.dumps(document)), DrillOptions(kills=1), scratch=scratch, directory=tmp_path
    )
    assert evidence.undisturbed.lives[0].last_words == "epochs 3 1"


def test_the_job_file_can_switch_the_arguments_off(night, tmp_path):
    local = Local(command=script(tmp_path), pass_hyperparameters=False)
    how = TrainingCommand.of(local, tmp_path)
    tonight = night(how=how)
    tonight.ask(parameters={"epochs": 3})
    assert said(tonight) == ["epochs 10 1"]


def test_a_script_that_does_not_take_the_arguments_is_told_of_the_switch(night, tmp_path):
    tonight = night(command=script(tmp_path))
    tonight.ask(parameters={"batch-size": 3})
    reason = tonight.until_ended()["FailureReason"]
    assert reason.startswith("AlgorithmError: train.py: error: unrecognized arguments: --batch-size 3\n")
    assert reason.endswith("set local.pass_hyperparameters: false.")


@pytest.mark.parametrize(
    ("command", "appended"),
    [
        (["python", "train.py"], ["--epochs", "3"]),
        (["python", "-m", "team.train"], ["--epochs", "3"]),
        (["torchrun", "--nproc_per_node", "2", "train.py"], ["--epochs", "3"]),
        (["bash", "train.sh"], ["--epochs", "3"]),
        (["bash", "-c", 'python train.py "$@"'], ["bash", "--epochs", "3"]),
        (["/bin/sh", "-ec", "exec python train.py $*"], ["sh", "--epochs", "3"]),
        (["bash", "-c", "python train.py"], []),
    ],
    ids=lambda value: " ".join(value) or "nothing",
)
def test_hyperparameters_stand_behind_the_command(command, appended, launched):
    launch = launched(command, HyperParameters={"epochs": "3", **PROGRAM})
    assert launch.command == [*command, *appended]
    assert bool(launch.notes) == (not appended)
    assert all("the hyperparameters are not passed to it" in note for note in launch.notes)


def test_a_variable_of_the_job_file_wins_over_the_request_in_the_arguments_too(night, tmp_path):
    how = TrainingCommand(script(tmp_path), {"SM_HP_EPOCHS": "4"}, tmp_path)
    tonight = night(how=how)
    tonight.ask(parameters={"epochs": 24})
    assert said(tonight) == ["epochs 4 1"]


def test_a_variable_wins_in_the_arguments_of_the_requests_own_code(launched):
    objects = {"s3://bucket/job/source/sourcedir.tar.gz": ARCHIVE([["train.py", ARGPARSE]])}
    launch = launched(
        None, objects=objects, environment={"SM_HP_EPOCHS": "4"}, HyperParameters={"epochs": "24", **PROGRAM}
    )
    assert list(launch.command)[-2:] == ["--epochs", "4"]


def test_a_container_entrypoint_replaces_the_toolkit_and_its_arguments(launched):
    algorithm = {"ContainerEntrypoint": ["python", "/app/train.py"]}
    launch = launched(
        ["python", "train.py"], HyperParameters={"epochs": "3"}, AlgorithmSpecification=algorithm
    )
    assert launch.command == ["python", "train.py"]


def test_model_trainers_drivers_pass_them_in_their_own_form(launched):
    algorithm = {"ContainerEntrypoint": ["/bin/bash", "/opt/ml/input/data/sm_drivers/sm_train.sh"]}
    given = {"resume": "true", "epochs": "3"}
    launch = launched(["python", "train.py"], HyperParameters=given, AlgorithmSpecification=algorithm)
    assert launch.command == ["python", "train.py", "--resume", "true", "--epochs", "3"]


SOURCE = """
import json, os, sys
import helper
seen = {"argv": sys.argv, "cwd": os.getcwd(), "entry": os.environ["SM_USER_ENTRY_POINT"],
        "module": os.environ["SM_MODULE_DIR"], "args": json.loads(os.environ["SM_USER_ARGS"]),
        "helper": helper.NAME}
print(json.dumps(seen), flush=True)
"""


def without_command(night, **settings):
    how = TrainingCommand(None, {}, Path.cwd())
    return night(how=how, **settings)


def test_script_mode_runs_the_source_archive(night, s3):
    body = ARCHIVE([["src/train.py", SOURCE], ["helper.py", "NAME = 'beside'"]])
    s3.put_object(Bucket="bucket", Key="job/source/sourcedir.tar.gz", Body=body)
    tonight = without_command(night)
    given = {
        **PROGRAM,
        "sagemaker_program": '"src/train.py"',
        "epochs": "3",
        "sagemaker_region": '"eu-west-1"',
    }
    tonight.ask(HyperParameters=given)
    ended = tonight.until_ended()
    assert ended["TrainingJobStatus"] == "Completed", tonight.said()
    seen = json.loads(tonight.said()[0])
    assert seen["argv"] == ["src/train.py", "--epochs", "3"]
    assert (seen["entry"], seen["args"], seen["helper"]) == ("src/train.py", ["--epochs", "3"], "beside")
    assert seen["module"] == "s3://bucket/job/source/sourcedir.tar.gz"
    assert seen["cwd"].endswith("/opt/ml/code")


def test_a_shell_script_of_the_archive_is_run_by_sh(night, s3):
    body = ARCHIVE([["train.sh", 'echo "$@"; which python; exit 5']])
    s3.put_object(Bucket="bucket", Key="job/source/sourcedir.tar.gz", Body=body)
    tonight = without_command(night)
    tonight.ask(HyperParameters={**PROGRAM, "sagemaker_program": '"train.sh"', "name": "it's"})
    ended = tonight.until_ended()
    assert tonight.said()[0] == "--name it's"
    assert Path(tonight.said()[1]).parent == Path(sys.executable).parent
    assert ended["FailureReason"].endswith("ExitCode 5")


def test_requirements_are_not_installed_and_an_import_that_fails_says_so(night, s3):
    body = ARCHIVE([["train.py", "import no_such_package"], ["requirements.txt", "no-such-package"]])
    s3.put_object(Bucket="bucket", Key="job/source/sourcedir.tar.gz", Body=body)
    tonight = without_command(night)
    tonight.ask(HyperParameters=PROGRAM)
    ended = tonight.until_ended()
    assert tonight.said()[0].startswith("nightspot: requirements.txt would be installed on SageMaker")
    assert ended["FailureReason"] == (
        "AlgorithmError: ModuleNotFoundError: No module named 'no_such_package'\n"
        "Of the archive's requirements nothing is installed here: install them beside Nightspot."
    )


@pytest.mark.parametrize(
    ("request_", "said_"),
    [
        ({}, r"names no code \(hyperparameter sagemaker_program\).*local\.command"),
        (
            {"HyperParameters": PROGRAM},
            r"'s3://bucket/job/source/sourcedir.tar.gz': is not in the S3 .*local\.command",
        ),
        (
            {"HyperParameters": {**PROGRAM, "sagemaker_submit_directory": '"/opt/ml/code"'}},
            "'/opt/ml/code': must be the s3:// address",
        ),
        (
            {"HyperParameters": {"sagemaker_program": '"train.py"'}},
            "sagemaker_submit_directory: None: must be",
        ),
        (
            {"AlgorithmSpecification": {"ContainerEntrypoint": ["python", "/app/train.py"]}},
            r"ContainerEntrypoint: \[\"python\", \"/app/train.py\"\]: runs what is in the image",
        ),
        (
            {
                "AlgorithmSpecification": {"TrainingInputMode": "Pipe"},
                "InputDataConfig": [{"ChannelName": "train"}, {"ChannelName": "test", "InputMode": "File"}],
            },
            "InputDataConfig: train: input mode Pipe is not played here",
        ),
    ],
    ids=["no-code", "archive-elsewhere", "code-in-the-image", "no-archive", "image-entrypoint", "pipe"],
)
def test_code_that_is_not_here_is_refused_by_name(request_, said_, launched):
    with pytest.raises(CommandError, match=said_):
        launched(None, **request_)


def test_a_refusal_ends_the_job_as_the_users_own(night):
    tonight = without_command(night)
    tonight.ask(HyperParameters=PROGRAM)
    assert tonight.until_ended()["FailureReason"].startswith(
        "AlgorithmError: The training command cannot start: sagemaker_submit_directory: "
    )


# The form of SDK 3's ModelTrainer (sagemaker-train 1.27, templates.py), cut to what it does in every job.
TRAIN_SH = """#!/bin/bash
set -e
python3 /opt/ml/input/data/sm_drivers/scripts/environment.py
source /opt/ml/input/sm_training.env
cd /opt/ml/input/data/code
python3 train.py
"""
ENVIRONMENT_PY = """
import json
given = json.load(open("/opt/ml/input/config/hyperparameters.json"))
open("/opt/ml/input/sm_training.env", "w").write("export SM_HPS='%s'\\n" % json.dumps(given))
"""


@needs_namespace
def test_model_trainers_own_entrypoint_runs_from_its_channels(night, s3):
    objects = {
        "sm_drivers/sm_train.sh": TRAIN_SH,
        "sm_drivers/scripts/environment.py": ENVIRONMENT_PY,
        "code/train.py": "import os; print(os.getcwd(), os.environ['SM_HPS'])",
    }
    for key, body in objects.items():
        s3.put_object(Bucket="bucket", Key=key, Body=body.encode())
    entrypoint = ["/bin/bash", "/opt/ml/input/data/sm_drivers/sm_train.sh"]
    channels = [
        {
            "ChannelName": name,
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://bucket/{name}"}},
        }
        for name in ("code", "sm_drivers")
    ]
    tonight = without_command(night)
    tonight.ask(
        AlgorithmSpecification={
            "TrainingImage": "image",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": entrypoint,
        },
        InputDataConfig=channels,
        parameters={"epochs": 3},
    )
    ended = tonight.until_ended()
    assert ended["TrainingJobStatus"] == "Completed", tonight.said()
    assert tonight.said()[-1] == '/opt/ml/input/data/code {"epochs": "3"}'


def test_an_entrypoint_below_opt_ml_needs_one_of_its_own(night, monkeypatch):
    monkeypatch.setattr(training_job, "is_private", lambda *_places: False)
    tonight = without_command(night)
    algorithm = {
        "TrainingImage": "image",
        "ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/train.py"],
    }
    tonight.ask(AlgorithmSpecification={**algorithm, "TrainingInputMode": "File"})
    reason = tonight.until_ended()["FailureReason"]
    assert "needs /opt/ml, of which this machine cannot give a job its own. Say with local.command" in reason


def test_what_one_machine_cannot_do_is_said_before_the_first_line(night, tmp_path):
    tonight = night(command=script(tmp_path))
    tonight.ask(
        HyperParameters={"epochs": "3", "sagemaker_mpi_enabled": "true"},
        ResourceConfig={"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        CheckpointConfig={"S3Uri": "s3://bucket/checkpoints/run", "LocalPath": "/tmp/checkpoints"},
        InputDataConfig=[{"ChannelName": "train", "InputMode": "Pipe"}],
    )
    lines = said(tonight)
    assert lines[-1] == "epochs 3 1"
    assert [line.partition(":")[2].split()[0] for line in lines[:-1]] == [
        "sagemaker_mpi_enabled:",
        "CheckpointConfig.LocalPath:",
        "channel",
    ]


def test_several_hosts_are_one_here(launched):
    launch = launched(
        ["python", "train.py"], ResourceConfig={"InstanceType": "ml.g5.xlarge", "InstanceCount": 2}
    )
    assert launch.notes == ["InstanceCount: 2: one host is played here, with one process"]


def test_a_manifest_brings_the_objects_that_it_names(night, s3, tmp_path):
    for key in ("data/a.csv", "data/deep/b.csv", "data/not-named.csv"):
        s3.put_object(Bucket="bucket", Key=key, Body=key.encode())
    manifest = [{"prefix": "s3://bucket/data/"}, "a.csv", "deep/b.csv"]
    s3.put_object(Bucket="bucket", Key="manifest.json", Body=json.dumps(manifest).encode())
    source = {"S3DataType": "ManifestFile", "S3Uri": "s3://bucket/manifest.json"}
    channel = {
        "ChannelName": "train",
        "InputMode": "FastFile",
        "ContentType": "text/csv",
        "DataSource": {"S3DataSource": {**source, "S3DataDistributionType": "ShardedByS3Key"}},
    }
    tonight = night("contract.py")
    tonight.ask(InputDataConfig=[channel])
    tonight.until_ended()
    seen = json.loads(tonight.archive("models/job/output/model.tar.gz")["seen.json"])
    files = {name: text for name, text in seen["files"].items() if name.startswith("data/")}
    assert files == {"data/train/a.csv": "data/a.csv", "data/train/deep/b.csv": "data/deep/b.csv"}
    assert json.loads(seen["files"]["config/inputdataconfig.json"])["train"] == {
        "ContentType": "text/csv",
        "TrainingInputMode": "FastFile",
        "S3DistributionType": "ShardedByS3Key",
        "RecordWrapperType": "None",
    }


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("no json", "must be a JSON list"),
        ('[{"prefix": "s3://bucket/"}, "gone"]', "names 's3://bucket/gone'"),
    ],
    ids=["no-json", "object-gone"],
)
def test_a_manifest_that_cannot_be_used_fails_the_job(body, words, night, s3):
    s3.put_object(Bucket="bucket", Key="manifest.json", Body=body.encode())
    source = {"S3DataType": "ManifestFile", "S3Uri": "s3://bucket/manifest.json"}
    tonight = night("contract.py")
    tonight.ask(InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}])
    reason = tonight.until_ended()["FailureReason"]
    assert reason.startswith("ClientError: ")
    assert words in reason


def test_the_container_says_where_checkpoints_are_and_what_runs(night, tmp_path):
    tonight = night("contract.py")
    tonight.ask(CheckpointConfig={"S3Uri": "s3://bucket/checkpoints/run", "LocalPath": "/opt/ml/code/ckpt"})
    tonight.until_ended()
    seen = json.loads(tonight.archive("models/job/output/model.tar.gz")["seen.json"])
    variables = seen["variables"]
    config = json.loads(seen["files"]["config/checkpointconfig.json"])
    assert config["LocalPath"].endswith("/opt/ml/code/ckpt")
    assert variables["NIGHTSPOT_CHECKPOINT_DIR"] == config["LocalPath"]
    assert (variables["SM_USER_ENTRY_POINT"], variables["SM_MODULE_NAME"]) == ("contract.py", "contract")
    assert (variables["AWS_REGION"], variables["SAGEMAKER_REGION"]) == ("eu-west-1", "eu-west-1")
    assert json.loads(variables["SM_TRAINING_ENV"])["job_name"] == "job"
