"""The job of the first run on AWS: what its container does, by bash itself, and a run of it on this machine."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from nightspot.job.reading import load_job
from nightspot.job.request_shape import SAMPLES, fill


@pytest.fixture(scope="module")
def smoke(pytestconfig):
    return load_job(pytestconfig.rootpath / "jobs" / "smoke.yaml")


@pytest.fixture
def counted(smoke, tmp_path):
    """`counted(step)`: what the container's command prints on a disk with this checkpoint; it does not sleep."""
    for folder in ("checkpoints", "model"):
        (tmp_path / folder).mkdir()
    algorithm = smoke.training_job["AlgorithmSpecification"]
    (script,) = algorithm["ContainerArguments"]

    def run(step=None):
        if step is not None:
            (tmp_path / "checkpoints" / "step").write_text(step)
        here = f"sleep() {{ :; }}; {script.replace('/opt/ml', str(tmp_path))}"
        command = [*algorithm["ContainerEntrypoint"], here]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stderr == ""
        assert (tmp_path / "model" / "steps").read_text() == "20\n"
        return done.stdout.splitlines()

    return run


def test_the_container_counts_to_twenty_and_leaves_a_model(counted):
    assert counted() == [f"step {number} of 20" for number in range(1, 21)]


@pytest.mark.parametrize(("step", "first"), [("12\n", 13), ("19\n", 20), ("", 1)])
def test_it_goes_on_where_its_checkpoint_ends_a_torn_one_from_the_start(counted, step, first):
    assert counted(step)[0] == f"step {first} of 20"


def test_its_argument_is_as_long_as_sagemaker_takes_and_its_image_is_aws_s_own(smoke):
    algorithm = smoke.training_job["AlgorithmSpecification"]
    assert all(len(argument) <= 256 for argument in algorithm["ContainerArguments"])
    assert algorithm["TrainingImage"].startswith("${DlcAccountId}.dkr.ecr.${AWS::Region}.")
    assert "$" not in fill(algorithm["TrainingImage"], SAMPLES)


@pytest.mark.workflow
def test_it_plays_on_this_machine(pytestconfig, tmp_path):
    file = pytestconfig.rootpath / "jobs" / "smoke.yaml"
    command = [sys.executable, "-m", "nightspot", "run", str(file), "--local", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads(done.stdout)
    assert (record["outcome"], record["deadline_met"]) == ("succeeded", True)
    assert record["attempts"][0]["instance_type"] == "ml.m5.large"
