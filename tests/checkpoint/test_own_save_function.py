"""A framework that writes its own files is saved and restored by its own functions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nightspot.checkpoint import DirectoryError, StateError, TrainingState
from nightspot.checkpoint.attached import save_with, save_with_if_due, unpack


class Model:
    """A framework's model that writes a folder: what it is, and its weights."""

    def __init__(self, weights=b""):
        self.weights = weights

    def save(self, folder: Path) -> None:
        (folder / "parts").mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"length": len(self.weights)}))
        (folder / "parts" / "weights.bin").write_bytes(self.weights)

    @classmethod
    def load(cls, folder: Path) -> Model:
        length = json.loads((folder / "config.json").read_text())["length"]
        weights = (folder / "parts" / "weights.bin").read_bytes()
        assert len(weights) == length
        return cls(weights)


class CrampedModel(Model):
    """Its disk is full half-way."""

    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / "parts" / "weights.bin").write_bytes(self.weights[:3])
        raise OSError(28, "No space left on device")


@pytest.fixture
def checkpoints(tmp_path):
    return tmp_path / "ml" / "checkpoints"


@pytest.fixture
def start(process, checkpoints, clock):
    """Each call is a process that starts on the same directory, which has a place beside it."""
    from nightspot.checkpoint import Checkpointer

    def begin(**options):
        return Checkpointer(checkpoints, environ={}, now=clock, **options)

    return begin


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_it_wrote_is_there_again_for_its_own_loader(start, tmp_path, asynchronous):
    with start(asynchronous=asynchronous) as checkpointer:
        path = save_with(checkpointer, 4, Model(b"weights of step 4").save, metrics={"loss": 0.5})
    assert path.exists()

    restored = start().restore()
    model = Model.load(unpack(restored, tmp_path / "restored"))

    assert model.weights == b"weights of step 4"
    assert (restored.step, restored.metrics) == (4, {"loss": 0.5})


def test_a_single_file_is_as_good_as_a_folder(start, tmp_path):
    save_with(start(), 1, lambda folder: (folder / "model.bin").write_bytes(b"weights"))

    assert (unpack(start().restore(), tmp_path / "restored") / "model.bin").read_bytes() == b"weights"


def test_it_writes_beside_the_checkpoints_and_leaves_nothing_there(start, checkpoints):
    seen = []

    def write(folder):
        seen.append(folder)
        assert list(folder.iterdir()) == []
        Model(b"w").save(folder)

    save_with(start(), 1, write)

    assert seen[0].parent == checkpoints.parent
    assert [path.name for path in checkpoints.parent.iterdir()] == ["checkpoints"]


def test_it_writes_where_it_is_told_to(start, tmp_path):
    seen = []

    def write(folder):
        seen.append(folder.parent)
        Model(b"w").save(folder)

    save_with(start(), 1, write, scratch=tmp_path)
    assert seen == [tmp_path]

    with pytest.raises(DirectoryError, match=r"scratch=.*nowhere: must be a folder that can be written"):
        save_with(start(), 2, write, scratch=tmp_path / "nowhere")


def test_where_nothing_can_be_written_beside_the_checkpoints_the_systems_place_does(
    start, checkpoints, tmp_path, monkeypatch
):
    checkpointer = start()
    seen = []

    def write(folder):
        seen.append(folder.parent)
        Model(b"w").save(folder)

    monkeypatch.setattr("os.access", lambda path, mode: path != checkpoints.parent)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    save_with(checkpointer, 1, write)

    assert seen == [tmp_path]


def test_a_writer_that_dies_half_way_costs_that_save_only(start, checkpoints, tmp_path):
    checkpointer = start()
    save_with(checkpointer, 1, Model(b"whole").save)

    with pytest.raises(OSError, match="No space left"):
        save_with(checkpointer, 2, CrampedModel(b"broken").save)

    assert [path.name for path in checkpoints.parent.iterdir()] == ["checkpoints"]
    restored = start().restore()
    assert restored.step == 1
    assert Model.load(unpack(restored, tmp_path / "restored")).weights == b"whole"


def test_it_is_called_only_when_a_checkpoint_is_due(start):
    checkpointer = start(every_steps=3)
    written = []

    def write(folder):
        written.append(step)
        Model(b"w").save(folder)

    for step in range(1, 8):
        save_with_if_due(checkpointer, step, write, metrics={"loss": 1 / step})

    assert written == [3, 6]
    assert start().restore().metrics == {"loss": 1 / 6}


def test_more_can_be_saved_along(start, tmp_path):
    training = TrainingState()
    training.epoch = 3
    save_with(start(), 1, Model(b"w").save, also={"training": training, "vocabulary": b"words"})

    training = TrainingState()
    restored = start().restore()
    restored.load_into({"training": training})
    assert (training.epoch, restored.state["vocabulary"]) == (3, b"words")
    assert Model.load(unpack(restored, tmp_path / "restored")).weights == b"w"


def test_unpacking_twice_gives_the_same_files(start, tmp_path):
    save_with(start(), 1, Model(b"w").save)
    restored = start().restore()

    first, second = (unpack(restored, tmp_path / "restored") for _ in range(2))
    assert first == second
    assert Model.load(second).weights == b"w"


class TestRefused:
    """What cannot be saved or unpacked, with the reason."""

    def test_a_writer_that_writes_nothing(self, start):
        with pytest.raises(StateError, match="write has left no file: must put what is to be saved"):
            save_with(start(), 1, lambda folder: (folder / "empty").mkdir())

    def test_a_name_that_is_there_twice(self, start):
        with pytest.raises(StateError, match=r"also has the names \['config.json'\]: must be others"):
            save_with(start(), 1, Model(b"w").save, also={"config.json": b""})

    def test_a_checkpoint_without_files(self, start, tmp_path):
        start().save(1, {"weights": b"w"})

        with pytest.raises(StateError, match=r"must have files in it, it has \['weights'\]"):
            unpack(start().restore(), tmp_path / "restored")

    @pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside", "."])
    def test_a_name_that_leads_out_of_the_folder(self, start, tmp_path, name):
        (tmp_path / "file").write_bytes(b"w")
        start().save(1, {name: tmp_path / "file"})

        with pytest.raises(StateError, match="must be a path inside of the folder"):
            unpack(start().restore(), tmp_path / "restored")
        assert not (tmp_path / "outside").exists()
