"""The real SageMaker Python SDK, both major versions, each in an environment of its own: make sdks."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).parent / "trainers_of_sdk.py"
VERSIONS = ("2", "3")

pytestmark = [pytest.mark.framework, pytest.mark.xdist_group("sdks")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    (folder / "train.py").write_text("print('trains')\n")
    (folder / "requirements.txt").write_text("numpy\n")
    return folder


@pytest.fixture(scope="module")
def made_by(folder):
    """`made_by("2")`: what the trainers of that version became, by name; each version is asked once."""
    known = {}

    def made(version):
        python = ROOT / f".venv-sagemaker-{version}" / "bin" / "python"
        if not python.exists():
            pytest.skip("the SDKs are not installed: make sdks")
        if version not in known:
            done = subprocess.run(
                [python, "-P", SCRIPT, folder, version],
                cwd=folder,
                env={"PYTHONPATH": str(ROOT), "HOME": str(folder), "PATH": "/usr/bin:/bin"},
                check=False,
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, done.stderr
            known[version] = json.loads(done.stdout.splitlines()[-1])
        return known[version]["made"]

    return made


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_is_asked_of_anybody_and_every_file_is_sound(made_by, version):
    made = made_by(version)
    assert {name: each["asked"] for name, each in made.items()} == {name: [] for name in made}
    assert {name: each.get("errors", []) for name, each in made.items()} == {name: [] for name in made}


@pytest.mark.parametrize("version", VERSIONS)
def test_all_that_a_trainer_says_is_in_the_job_file(made_by, folder, version):
    made = made_by(version)["everything"]
    document, request = made["document"], made["document"]["training_job"]
    assert document["name"] == "recommender"
    assert document["capacity"] == {"spot": ["ml.p4d.24xlarge"], "on_demand": ["ml.p4d.24xlarge"]}
    assert document["work"] == "2h40min"  # two thirds of max_run
    assert document["interruptible"] == "from_checkpoint"
    assert document["deadline"] == {"at": "08:00", "timezone": "UTC"}
    assert document["schedule"] == {"cron": "30 2 * * ? *", "timezone": "UTC"}
    assert request["RoleArn"] == "arn:aws:iam::123456789012:role/training"
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 14400}
    assert request["CheckpointConfig"]["S3Uri"] == "s3://checkpoints/recommender/"
    assert request["OutputDataConfig"]["S3OutputPath"] == "s3://models/recommender/"
    assert request["OutputDataConfig"]["KmsKeyId"] == "alias/output"
    resources = {"InstanceCount": 2, "VolumeSizeInGB": 30, "VolumeKmsKeyId": "alias/volume"}
    assert request["ResourceConfig"] == resources
    network = {"Subnets": ["subnet-0123456789abcdef0"], "SecurityGroupIds": ["sg-0123456789abcdef0"]}
    assert request["VpcConfig"] == network
    assert request["EnableInterContainerTrafficEncryption"] is True
    assert request["Environment"] == {"MODE": "night"}
    assert request["Tags"] == [{"Key": "team", "Value": "search"}]
    metrics = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]
    assert request["AlgorithmSpecification"]["MetricDefinitions"] == metrics
    places = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
        for channel in request["InputDataConfig"]
    }
    assert places == {"train": "s3://data/train/", "test": "s3://data/test/"}
    parameters = request["HyperParameters"]
    assert (parameters["epochs"], parameters["lr"]) == ("3", "0.1")
    assert parameters["sagemaker_torch_distributed_enabled"] == "true"
    assert not {"EnableManagedSpotTraining", "TrainingJobName"} & request.keys()
    assert made["source"] == {
        "source_dir": str(folder),
        "entry_point": "train.py",
        "requirements": "requirements.txt",
    }
    code = {"source_dir": ".", "entry_point": "train.py", "requirements": "requirements.txt"}
    assert document["code"] == code
    assert any("MaxWaitTimeInSeconds: 20000: was left out" in note for note in made["notes"])


def test_a_text_is_encoded_as_the_toolkit_of_the_version_reads_it(made_by):
    texts = {
        version: made_by(version)["everything"]["document"]["training_job"]["HyperParameters"]["name"]
        for version in VERSIONS
    }
    assert texts == {"2": '"a"', "3": "a"}


@pytest.mark.parametrize(
    ("version", "path", "place"),
    [
        ("2", ("OutputDataConfig", "S3OutputPath"), "s3://${ModelBucket}/"),
        ("3", ("CheckpointConfig", "S3Uri"), "s3://${CheckpointBucket}/training-job/"),
    ],
    ids=["output of version 2", "checkpoints of version 3"],
)
def test_a_place_that_the_sdk_would_ask_aws_for_is_the_deployment_s(made_by, version, path, place):
    request = made_by(version)["plain"]["document"]["training_job"]
    assert request[path[0]][path[1]] == place


def test_code_that_is_in_s3_stays_where_it_is(made_by):
    made = made_by("2")["archive"]
    parameters = made["document"]["training_job"]["HyperParameters"]
    assert parameters["sagemaker_submit_directory"] == '"s3://code/sourcedir.tar.gz"'
    assert parameters["sagemaker_program"] == '"train.py"'
    assert made["source"] is None


def test_a_script_without_a_source_dir_takes_its_folder_along(made_by, folder):
    made = made_by("2")["script"]
    assert (made["source"]["source_dir"], made["source"]["entry_point"]) == (str(folder), "train.py")
    assert any("the whole folder of the script goes along" in note for note in made["notes"])


@pytest.mark.parametrize(
    ("version", "name", "words"),
    [
        ("2", "role by name", "role: 'training': must be its ARN"),
        ("2", "isolated", "enable_network_isolation: True: keeps the container from fetching its code"),
        ("3", "data here", "must be in S3 (s3://bucket/prefix): upload the data"),
        ("3", "command", "source_code: 'python train.py': must have source_dir and entry_script"),
    ],
    ids=["role by name", "isolated", "data here", "command"],
)
def test_what_would_need_aws_or_an_upload_is_refused(made_by, version, name, words):
    (problem,) = made_by(version)[name]["refused"]
    assert words in problem
