"""`nightspot new`: what is in a new project, and where none is written. What becomes of it is in tests/wheel."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nightspot import __version__
from nightspot.cli.smoke import JOB
from nightspot.job.cautions import warnings_for
from nightspot.job.reading import load_job

FILES = {
    ".github/workflows/nightspot.yml",
    ".gitignore",
    "README.md",
    "cdk.json",
    "jobs/{name}.yaml",
    "jobs/smoke.yaml",
    "requirements.txt",
    "training/Dockerfile",
    "training/train.py",
}


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def project(nightspot, tmp_path):
    answer = nightspot("new", "My_Recommender")
    assert answer.status == 0, answer.err
    assert {Path(line).relative_to("My_Recommender").as_posix() for line in answer.out.splitlines()[:-1]} == {
        name.format(name="my-recommender") for name in FILES
    }
    return tmp_path / "My_Recommender"


def test_a_project_has_a_job_a_script_a_pipeline_and_the_version(project):
    assert files(project) == {name.format(name="my-recommender") for name in FILES}
    assert not [path for path in project.rglob("*") if path.is_file() and "@NAME@" in path.read_text()]
    assert f"nightspot[cdk,local]=={__version__}\n" in (project / "requirements.txt").read_text()
    assert f"nightspot=={__version__}" in (project / "training" / "Dockerfile").read_text()
    job = load_job(project / "jobs" / "my-recommender.yaml")
    assert job.name == "my-recommender"
    # Until there is an image, the schedule starts nothing.
    assert [warning.field for warning in warnings_for(job)] == ["schedule.paused"]


def test_it_has_the_job_of_the_smoke_run_which_nothing_starts_by_itself(project, root):
    written = project / "jobs" / "smoke.yaml"
    assert written.read_text() == (root / "jobs" / "smoke.yaml").read_text()
    job = load_job(written)
    assert (job.name, job.schedule, job.instance_types) == (JOB, None, ("ml.m5.large",))
    assert not warnings_for(job)
    assert "nightspot smoke --stack Nightspot-my-recommender" in (project / "README.md").read_text()


def test_it_has_a_stack_of_its_own(project):
    document = json.loads((project / "cdk.json").read_text())
    assert document["app"] == "python -m nightspot.cdk"
    assert document["context"] == {"nightspot:stack_name": "Nightspot-my-recommender"}


def test_its_pipeline_is_one_and_names_the_job(project):
    pipeline = yaml.safe_load((project / ".github/workflows/nightspot.yml").read_text())
    assert pipeline["jobs"]["deploy"]["needs"] == "check"
    steps = [step.get("run", "") for job in pipeline["jobs"].values() for step in job["steps"]]
    assert any("drill jobs/my-recommender.yaml --local" in step for step in steps)


def test_its_script_goes_on_from_its_checkpoint_to_the_same_model(project, tmp_path):
    def trained(name, epochs):
        folder = tmp_path / name
        (folder / "config").mkdir(parents=True, exist_ok=True)
        for file, content in {
            "hyperparameters.json": {"epochs": str(epochs)},
            "checkpointconfig.json": {"LocalPath": str(folder / "checkpoints")},
        }.items():
            (folder / "config" / file).write_text(json.dumps(content))
        done = subprocess.run(
            [sys.executable, project / "training" / "train.py"],
            env={
                "PYTHONPATH": str(Path(load_job.__code__.co_filename).parents[2]),
                "SM_MODEL_DIR": str(folder / "model"),
                "SM_INPUT_CONFIG_DIR": str(folder / "config"),
            },
            check=True,
            capture_output=True,
            text=True,
        )
        return (folder / "model" / "model.json").read_text(), done.stdout

    shorter, _ = trained("twice", epochs=10)
    model, said = trained("twice", epochs=24)
    assert "resumed after epoch 10\n" in said
    assert model == trained("once", epochs=24)[0] != shorter


def test_an_empty_repository_is_empty_enough(nightspot, tmp_path):
    (tmp_path / "team" / ".git").mkdir(parents=True)
    assert nightspot("new", "team", "--name", "ranking").status == 0
    assert (tmp_path / "team" / "jobs" / "ranking.yaml").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("full",), "DIR: 'full': must be a new or an empty folder"),
        (("file",), "DIR: 'file': must be a new or an empty folder"),
        (("x", "--name", "Not_A_Name"), "--name: 'Not_A_Name': must be letters of a to z"),
        (("___",), "DIR: '___': must be letters of a to z"),
        (("x", "--name", "smoke"), "--name: 'smoke': is the name of the job that tries a fresh deployment"),
        (("Smoke",), "DIR: 'Smoke': is the name of the job that tries a fresh deployment"),
    ],
)
def test_nothing_is_written_where_it_would_not_belong(nightspot, tmp_path, arguments, words):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    answer = nightspot("new", *arguments)
    assert (answer.status, words in answer.err) == (2, True), answer.err
    assert files(tmp_path) == {"full/mine", "file"}


def test_the_next_command_can_be_pasted_whatever_the_folder_is_called(nightspot):
    answer = nightspot("new", "my project", "--name", "ranking")
    assert answer.status == 0
    assert "cd 'my project' && nightspot run jobs/ranking.yaml --local" in answer.out
