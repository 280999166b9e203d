"""What is being written lies where SageMaker does not upload it, if a file can be renamed from there."""

import errno
import fcntl
import json
import os
from pathlib import Path

import pytest

from nightspot.checkpoint import Checkpointer


@pytest.fixture
def job(tmp_path):
    """A training job's folders: opt-ml/checkpoints is mirrored."""
    config, local_path = tmp_path / "config", tmp_path / "opt-ml" / "checkpoints"
    config.mkdir()
    (config / "checkpointconfig.json").write_text(json.dumps({"LocalPath": str(local_path)}))
    local_path.mkdir(parents=True)
    return {"SM_INPUT_CONFIG_DIR": str(config), "TRAINING_JOB_NAME": "job-1"}


@pytest.fixture
def mirrored(job, tmp_path):
    return tmp_path / "opt-ml" / "checkpoints"


@pytest.fixture
def written_in(monkeypatch):
    """The folders in which files were opened for writing, by the end of their names."""
    opened, real = [], Path.open

    def recording(path, mode="r", *arguments, **options):
        if "x" in mode:
            opened.append(path)
        return real(path, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", recording)
    return opened


def test_in_a_training_job_nothing_half_written_is_ever_in_the_mirrored_folder(job, mirrored, written_in):
    Checkpointer(environ=job).save(3, b"s")

    assert {path.parent for path in written_in} == {mirrored.parent}
    assert all(path.name.startswith(".checkpoints.") and path.suffix == ".tmp" for path in written_in)
    assert sorted(path.suffix for path in mirrored.iterdir()) == [".json", ".json", ".nsck"]
    assert [path.name for path in mirrored.parent.iterdir()] == ["checkpoints"]


def test_a_directory_inside_the_mirrored_folder_is_written_from_beside_that_folder(job, mirrored, written_in):
    trainer = Checkpointer(mirrored / "deep" / "model", environ=job)
    trainer.save(3, b"s")

    assert {path.parent for path in written_in} == {mirrored.parent}
    assert trainer.restore().step == 3


def test_a_directory_that_is_not_mirrored_is_written_in_as_ever(job, tmp_path, written_in):
    Checkpointer(tmp_path / "elsewhere", environ=job).save(3, b"s")

    assert {path.parent for path in written_in} == {tmp_path / "elsewhere"}


def test_without_the_configuration_a_training_job_takes_its_directory_for_mirrored(tmp_path, written_in):
    environ = {"TRAINING_JOB_NAME": "job-1", "SM_INPUT_CONFIG_DIR": str(tmp_path / "none")}
    Checkpointer(tmp_path / "checkpoints", environ=environ).save(3, b"s")

    assert {path.parent for path in written_in} == {tmp_path}


def test_where_a_rename_does_not_lead_into_the_folder_files_are_written_in_it(
    job, mirrored, monkeypatch, written_in
):
    """A mount of its own, which may be of the same file system."""
    real = Path.replace

    def replace(path, target):
        if path.parent != Path(target).parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    trainer = Checkpointer(environ=job)
    trainer.save(3, b"s")

    assert [path.parent for path in written_in] == [mirrored.parent, *[mirrored] * 3]
    assert [path.name for path in mirrored.parent.iterdir()] == ["checkpoints"]
    assert trainer.restore().step == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_where_the_parent_cannot_be_written_files_are_written_in_the_folder(job, mirrored, written_in):
    mirrored.parent.chmod(0o555)
    try:
        Checkpointer(environ=job).save(3, b"s")
    finally:
        mirrored.parent.chmod(0o755)

    assert {path.parent for path in written_in[1:]} == {mirrored}


def leftovers(mirrored):
    inside = [path for path in mirrored.iterdir() if path.suffix == ".tmp"]
    return inside + [path for path in mirrored.parent.iterdir() if path.suffix == ".tmp"]


NAMES = (
    "checkpoint-000000009-rank00000.nsck.0a1b2c3d.tmp",
    "nightspot-000001-000000009-000002.json.0a1b2c3d.tmp",
    "nightspot.json.0a1b2c3d.tmp",
)


def test_what_a_killed_process_left_is_removed_in_both_places(job, mirrored):
    for name in NAMES:
        (mirrored / name).write_bytes(b"half")
        (mirrored.parent / f".checkpoints.{name}").write_bytes(b"half")

    Checkpointer(environ=job).save(3, b"s")

    assert leftovers(mirrored) == []


def test_what_belongs_to_others_stays(job, mirrored):
    mine = mirrored.parent / f".checkpoints.{NAMES[0]}"
    others = [
        mirrored.parent / name
        for name in (
            f".other.{NAMES[0]}",
            f".checkpoints.{NAMES[0].replace('rank00000', 'rank00001')}",
            ".checkpoints.notes.tmp",
            NAMES[0],
        )
    ]
    for path in (mine, *others):
        path.write_bytes(b"half")

    Checkpointer(environ=job).save(3, b"s")

    assert not mine.exists()
    assert all(path.exists() for path in others)


def test_what_a_living_process_is_writing_stays(job, mirrored):
    living = mirrored.parent / f".checkpoints.{NAMES[0]}"
    with living.open("xb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        Checkpointer(environ=job).save(3, b"s")

        assert living.exists()
    Checkpointer(environ=job).save(4, b"s")
    assert not living.exists()
