"""A job file from Python: judged, saved, drilled and run on this machine."""

import pytest

from nightspot import Client, InvalidJobError, Job
from nightspot.record.model import Ending

LOCAL = """
local: {command: [python, train.py], time_scale: 1800}
"""
TRAINER = """
import os
from pathlib import Path
from nightspot.checkpoint import Checkpointer
with Checkpointer(total_steps=4) as checkpointer:
    restored = checkpointer.restore()
    for step in range(restored.step + 1 if restored else 1, 5):
        print(f"step {step}", flush=True)
        checkpointer.save(step, {"step": step}, metrics={"loss": 1.0 / step})
Path(os.environ["SM_MODEL_DIR"], "model").write_text("4")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAINER)
    return tmp_path


def test_a_sound_job_has_no_problem(text):
    job = Job(text)
    assert (job.validate(), job.name, repr(job)) == ((), "nightly", "Job('nightly')")


def test_every_problem_has_field_value_and_rule(text):
    job = Job(text.replace("3h", "soon").replace("work:", "wrok:"))
    found = {problem.field: problem for problem in job.validate()}
    assert found["deadline.within"].value == "'soon'"
    assert "did you mean work?" in found["wrok"].rule
    assert {problem.severity for problem in found.values()} == {"error"}
    assert "see validate()" in repr(job)
    with pytest.raises(InvalidJobError, match=r"deadline\.within"):
        _ = job.name


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidJobError, match=r"'none\.yaml': cannot be read: No such file"):
        Job.from_file(tmp_path / "none.yaml")


def test_it_is_saved_under_its_name_and_not_twice(text, folder):
    path = Job(text).save()
    assert str(path) == "jobs/nightly.yaml"
    assert Job.from_file(path).model == Job(text).model
    with pytest.raises(FileExistsError):
        Job(text).save()
    Job(text.replace("1h", "2h")).save(overwrite=True)
    assert Job.from_file(path).model.work_seconds == 7200


def test_a_job_that_breaks_a_rule_is_not_saved(text, folder):
    with pytest.raises(InvalidJobError):
        Job(text.replace("work: 1h", "work: never")).save("job.yaml")
    assert not (folder / "job.yaml").exists()


@pytest.mark.parametrize("call", [Job.drill, Job.run_local], ids=["drill", "run_local"])
def test_what_trains_here_must_say_how(text, folder, call):
    with pytest.raises(InvalidJobError, match=r"local: nothing: must say with local\.command"):
        call(Job(text))


def test_what_cannot_be_resumed_is_not_drilled(text, folder):
    lines = [line for line in (text + LOCAL).splitlines() if "CheckpointConfig" not in line]
    job = Job("\n".join([*lines, "interruptible: from_start"]))
    with pytest.raises(InvalidJobError, match="CheckpointConfig: nothing: must name where checkpoints go"):
        job.drill()


@pytest.mark.long
def test_the_drill_says_whether_the_training_survives(text, folder):
    report = Job(text + LOCAL).drill(kills=2, keep="kept")
    assert (report.passed, report.reasons, report.where) == (True, (), "local")
    assert [kill.number for kill in report.kills] == [1, 2]
    assert list((folder / "kept" / "logs").iterdir())


@pytest.mark.long
def test_a_run_on_this_machine_is_read_again_by_a_client(text, folder):
    run = Job(text + LOCAL).run_local(deadline="2h")
    assert run.outcome is Ending.IN_TIME
    assert run.record.overrides == {"deadline": {"within": 7200}}
    assert run.logs() == ["step 1", "step 2", "step 3", "step 4"]
    (again,) = Client(folder="build/runs").runs()
    assert (again.id, again.cost) == (run.id, run.cost)
