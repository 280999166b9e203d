"""A run of a job with code on this machine: all attempts name one archive, which is in the simulated S3 by then."""

import io
import json
import tarfile

import boto3
import pytest

from nightspot.job.model import Code
from nightspot.local.sagemaker.markets import SimulationOptions
from nightspot.local.stage.emulated_aws import REGION
from nightspot.local.stage.night_files import Night
from tests.workflow.conftest import SCRIPTS


@pytest.fixture
def code(tmp_path):
    folder = tmp_path / "project" / "training"
    folder.mkdir(parents=True)
    (folder / "train.py").write_text("print('training')\n")
    return Code(source_dir="training", entry_point="train.py").beside(folder.parent)


def test_all_attempts_of_a_local_run_name_the_archive_that_is_in_s3(play, code):
    fetched = {}

    def look(name, handler):
        def called(event):
            if name == "RecordOutcome":
                uri = json.loads(fetched["uri"])
                bucket, _, key = uri.removeprefix("s3://").partition("/")
                body = (
                    boto3.client("s3", region_name=REGION).get_object(Bucket=bucket, Key=key)["Body"].read()
                )
                with tarfile.open(fileobj=io.BytesIO(body)) as archive:
                    fetched["script"] = archive.extractfile("train.py").read()
            answer = handler(event)
            if name == "PlanRun":
                fetched["uri"] = answer["request"]["HyperParameters"]["sagemaker_submit_directory"]
            return answer

        return called

    night = Night("a fault", "", options=SimulationOptions(internal_errors_at_seconds=(700.0,)))
    left = play(night, code=code, work="20m", hyperparameters={"steps": "4", "every": "1"}, wrap=look)
    assert left.execution_status == "SUCCEEDED", left.cause
    assert fetched["script"] == b"print('training')\n"
    given = [job["HyperParameters"] for job in left.training_jobs]
    assert len(given) == 2
    assert {each["sagemaker_program"] for each in given} == {'"train.py"'}
    assert {each["sagemaker_submit_directory"] for each in given} == {fetched["uri"]}
    assert fetched["uri"].endswith(f'/code/counter/{left.run.code.digest}/sourcedir.tar.gz"')
    assert left.record.code.entry_point == "train.py"


def test_without_a_local_command_the_archive_is_what_runs(play, code):
    script = (SCRIPTS / "trainer.py").read_text(encoding="utf-8")
    (code.job_folder / "training" / "train.py").write_text(script, encoding="utf-8")
    left = play(code=code, local={}, work="20m", hyperparameters={"steps": "4", "every": "1"})
    assert left.execution_status == "SUCCEEDED", left.cause
    assert left.run.progress.step == 4
