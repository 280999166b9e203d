"""The job files of SageMaker's own algorithms are accepted; what they play saves and resumes as the images do."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from nightspot.job.cautions import warnings_for
from nightspot.job.reading import load_job

BUILTIN = Path(__file__).parents[2] / "examples" / "builtin"


@pytest.mark.parametrize("name", ["xgboost", "linear_learner"])
def test_the_job_file_is_accepted_without_a_warning(name):
    job = load_job(BUILTIN / f"{name}.yaml")

    assert job.name == f"builtin-{name.replace('_', '-')}"
    assert warnings_for(job) == ()


def test_an_algorithm_without_checkpoints_asks_for_no_more_than_the_hour_that_aws_allows():
    document = yaml.safe_load((BUILTIN / "linear_learner.yaml").read_text())

    assert "CheckpointConfig" not in document["training_job"]
    assert document["training_job"]["StoppingCondition"]["MaxWaitTimeInSeconds"] == 3600


def test_the_played_xgboost_goes_on_from_its_newest_checkpoint_and_keeps_five(tmp_path):
    command = yaml.safe_load((BUILTIN / "xgboost.yaml").read_text())["local"]["command"]
    for folder in ("checkpoints", "model"):
        (tmp_path / folder).mkdir()
    for number in (9, 55, 54):
        (tmp_path / "checkpoints" / f"xgboost-checkpoint.{number}").write_text("")

    played = subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], "SM_MODEL_DIR": str(tmp_path / "model")},
        capture_output=True,
        text=True,
        check=True,
    )

    assert played.stdout == "Resuming from iteration 56\n"
    assert (tmp_path / "model" / "xgboost-model").read_text() == "59\n"
    assert sorted(each.suffix for each in (tmp_path / "checkpoints").iterdir()) == [
        ".55",
        ".56",
        ".57",
        ".58",
        ".59",
        ".9",
    ]
