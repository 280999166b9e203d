"""The usual PyTorch example, unchanged, is interrupted and goes on here as on SageMaker."""

import sys
from pathlib import Path

import pytest

from nightspot.drill.grades import Grade
from nightspot.drill.report import report_of
from nightspot.local import drill as drills
from nightspot.local.drill import DrillOptions
from nightspot.local.sagemaker import opt_ml
from nightspot.local.sagemaker.opt_ml import OPT_ML
from tests.local.example_job import example_job

pytest.importorskip("torch", reason="PyTorch is not installed: make frameworks")

pytestmark = [
    pytest.mark.xdist_group("torch"),
    pytest.mark.skipif(not opt_ml.can_be_private(), reason="no mount namespace of a process's own here"),
]
EXAMPLE = Path(__file__).parents[3] / "examples/pytorch/src/train.py"


def job_of(script):
    return example_job([sys.executable, script], epochs="8", lr="0.05")


def host_files():
    return {path: path.stat().st_mtime_ns for path in OPT_ML.rglob("*")}


def test_it_trains_with_its_own_hyperparameters_resumes_and_leaves_nothing(tmp_path):
    before = host_files()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    evidence = drills.drill(job_of(EXAMPLE), DrillOptions(kills=2), scratch=scratch, directory=tmp_path)
    assert host_files() == before
    assert evidence.undisturbed.completed
    assert evidence.undisturbed.lives[0].seen.steps[-1].step == 8
    resumed = [life for training in evidence.disturbed for life in training.lives if life.found]
    assert resumed
    assert all(life.seen.steps[0].step > 1 for life in resumed if life.seen.steps)
    assert all("model.pt" in training.model for training in evidence.disturbed)
    report = report_of("example", evidence)
    assert report.outcome is Grade.INEXACT, report.claim
    assert report.not_restored == ("random state not saved",)
    assert report.claim.startswith("resumes, not to the bit: random state not saved; loss differs by up to")


FRESH = {
    'model.load_state_dict(checkpoint["model"])': "pass",
    'optimizer.load_state_dict(checkpoint["optimizer"])': "pass",
}


def test_one_that_restores_its_epoch_alone_does_not_resume(tmp_path):
    text = EXAMPLE.read_text()
    for line, instead in FRESH.items():
        assert line in text
        text = text.replace(line, instead)
    (tmp_path / "fresh.py").write_text(text)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    job = job_of(tmp_path / "fresh.py")
    evidence = drills.drill(job, DrillOptions(kills=1), scratch=scratch, directory=tmp_path)
    report = report_of("example", evidence)
    assert (report.outcome, report.claim) == (Grade.NOT, "does not resume")
    assert "as if the model had not been restored" in report.reasons[0]
