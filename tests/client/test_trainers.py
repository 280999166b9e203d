"""Which trainers are taken, by classes that are called as the SDK's; what the real ones give is in frameworks/."""

from types import SimpleNamespace

import pytest

from nightspot import InvalidJobError, Job
from nightspot.client.trainers import request_of_trainer

REQUEST = {
    "TrainingJobName": "pytorch-training-2026-11-20-03-12-45-123",
    "RoleArn": "arn:aws:iam::123456789012:role/training",
    "AlgorithmSpecification": {"TrainingImage": "training:latest", "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://models/"},
    "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
    "StoppingCondition": {"MaxRuntimeInSeconds": 14_400, "MaxWaitTimeInSeconds": 20_000},
    "EnableManagedSpotTraining": True,
}


class Session:
    """As far as the SDK's is used."""

    local_mode = False

    def train(self, **arguments):
        self._intercept_create_request({**REQUEST, **arguments}, None, "train")


class _TrainingJob:
    """As sagemaker.estimator has it."""

    @classmethod
    def start_new(cls, estimator, inputs, _experiment):
        estimator.sagemaker_session.train(HyperParameters=estimator._hyperparameters, InputDataConfig=inputs)


class EstimatorBase:
    """As sagemaker.estimator has it: fit() would stage the code, then start a training job."""

    def __init__(self, **attributes):
        self.sagemaker_session = Session()
        self.entry_point = self.source_dir = self.git_config = self.debugger_hook_config = None
        self.dependencies = []
        self.profiler_config = None
        self._hyperparameters = {"epochs": "3"}
        vars(self).update(attributes)

    def enable_network_isolation(self):
        return False

    def _prepare_for_training(self):
        if self.entry_point:
            code = self._stage_user_code_in_s3()
            self._hyperparameters["sagemaker_program"] = f'"{code.script_name}"'
            self._hyperparameters["sagemaker_submit_directory"] = f'"{code.s3_prefix}"'


EstimatorBase.__module__ = "sagemaker.estimator"


class AmazonAlgorithmEstimatorBase(EstimatorBase):
    """As sagemaker.amazon has it."""


@pytest.fixture
def source(tmp_path):
    (tmp_path / "train.py").write_text("")
    return tmp_path


def test_an_estimator_becomes_a_job_file_and_stays_as_it_is():
    estimator = EstimatorBase()
    before = dict(estimator._hyperparameters)
    job = Job.from_trainer(
        estimator, deadline="8h", instance_types=["ml.g5.xlarge", "ml.g5.2xlarge"], work="2h"
    )
    assert job.validate() == ()
    assert job.name == "pytorch-training"
    assert job.model.deadline.within_seconds == 8 * 3600
    assert [rung.instance_type for rung in job.model.capacity.spot] == ["ml.g5.xlarge", "ml.g5.2xlarge"]
    assert job.model.work_seconds == 2 * 3600
    assert job.model.training_job["HyperParameters"] == {"epochs": "3"}
    assert any(note.field.endswith("MaxWaitTimeInSeconds") for note in job.notes)
    assert estimator._hyperparameters == before


def test_code_of_this_machine_is_known_apart_from_the_request(source):
    asked = request_of_trainer(EstimatorBase(entry_point="train.py", source_dir=str(source)))
    assert asked.request["HyperParameters"] == {"epochs": "3"}
    assert (asked.source.source_dir, asked.source.entry_point) == (str(source), "train.py")
    assert asked.source.requirements is None


def test_code_of_this_machine_is_the_job_s_code_wherever_the_file_is_saved(source, monkeypatch):
    monkeypatch.chdir(source)
    (source / "src").mkdir()
    (source / "src" / "train.py").write_text("")
    job = Job.from_trainer(EstimatorBase(entry_point="train.py", source_dir="src"), name="nightly")
    assert [problem for problem in job.validate() if problem.severity == "error"] == []
    assert (job.model.code.source_dir, job.model.code.entry_point) == ("src", "train.py")
    # It is played as fast as a drafted file's command would be.
    assert (job.model.local.command, job.model.local.time_scale) == (None, job.model.work_seconds // 30)
    saved = Job.from_file(job.save())
    assert saved.model.code.source_dir == "../src"
    assert saved.save("nightly.yaml").read_text() == job.text.replace("source_dir: src", 'source_dir: "src"')


def test_a_script_that_is_not_there_is_told_by_its_field(source, monkeypatch):
    monkeypatch.chdir(source)
    job = Job.from_trainer(EstimatorBase(entry_point="other.py", source_dir="."), name="nightly")
    (problem,) = (problem for problem in job.validate() if problem.severity == "error")
    assert problem.field == "code.entry_point"


@pytest.mark.parametrize(
    ("trainer", "words"),
    [
        (object(), "must be an estimator of the SageMaker Python SDK 2, or a ModelTrainer of version 3"),
        (EstimatorBase(git_config={"repo": "r"}), "git_config: a mapping of 1: is fetched by the SDK"),
        (EstimatorBase(dependencies=["lib"]), "dependencies: a list of 1: are not supported"),
        (EstimatorBase(sagemaker_session=SimpleNamespace(local_mode=True)), "name an ml.… instance type"),
        (AmazonAlgorithmEstimatorBase(), "is trained on a RecordSet"),
    ],
    ids=["another object", "git", "dependencies", "local mode", "first-party algorithm"],
)
def test_what_is_not_taken_is_told_with_the_reason(trainer, words):
    with pytest.raises(InvalidJobError) as raised:
        Job.from_trainer(trainer)
    (problem,) = raised.value.problems
    assert words in str(problem)


def test_a_mistake_that_the_sdk_finds_is_told_in_its_words(monkeypatch):
    def refuse(*_arguments):
        raise ValueError("No such source_dir")

    monkeypatch.setattr(_TrainingJob, "start_new", refuse)
    with pytest.raises(InvalidJobError, match="the SageMaker SDK refuses it: No such source_dir"):
        Job.from_trainer(EstimatorBase())
