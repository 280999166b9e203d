"""What one killed machine leaves to the next, and what is seen of a life while it lasts."""

import json
import random

import pytest

from nightspot.drill.lives import KillKind, definitions_of
from nightspot.drill.planning import KillPace, PlannedKill
from nightspot.local.drilled_life import SETTLED_SECONDS, DrillDisk, LifeSetting, Striker, Watch, digests

REQUEST = {
    "TrainingJobName": "small",
    "ResourceConfig": {"InstanceType": "ml.m5.large"},
    "CheckpointConfig": {"S3Uri": "s3://checkpoints/small"},
}


@pytest.fixture
def disk(tmp_path):
    return DrillDisk(tmp_path, REQUEST)


def begin(disk, seed=7):
    return disk.begin(random.Random(seed).random)


def test_only_checkpoints_go_from_one_machine_to_the_next_at_the_same_path(disk):
    first = begin(disk)
    (first.checkpoints / "parts").mkdir()
    (first.checkpoints / "parts" / "a").write_text("kept")
    (first.model / "half").write_text("lost")
    (first.output / "failure").write_text("lost")
    disk.end(first)
    second = begin(disk)
    assert second == first
    assert (second.checkpoints / "parts" / "a").read_text() == "kept"
    assert list(second.model.iterdir()) == []
    assert second.failure_text() is None


def test_a_training_begins_with_no_checkpoint_of_the_one_before(disk, tmp_path):
    container = begin(disk)
    (container.checkpoints / "old").write_text("old")
    disk.end(container)
    assert list(begin(DrillDisk(tmp_path, REQUEST)).checkpoints.iterdir()) == []


def test_the_times_of_restored_files_do_not_tell_which_is_newer(disk):
    container = begin(disk)
    for n in range(10):
        (container.checkpoints / f"step-{n}").write_text(str(n))
    disk.end(container)
    after = begin(disk).checkpoints
    by_time = sorted(after.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert [path.name for path in by_time] != [f"step-{n}" for n in range(10)]


def test_after_an_upload_the_next_machine_finds_what_was_there_then_and_nothing_newer(disk):
    container = begin(disk)
    (container.checkpoints / "a").write_text("old")
    (container.checkpoints / "gone").write_text("pruned later")
    assert disk.upload(container)
    (container.checkpoints / "a").write_text("new")
    (container.checkpoints / "b").write_text("new")
    (container.checkpoints / "gone").unlink()
    disk.end(container)
    after = begin(disk).checkpoints
    assert {path.name: path.read_text() for path in after.iterdir()} == {"a": "old", "gone": "pruned later"}


def test_a_job_without_checkpoints_leaves_nothing(tmp_path):
    disk = DrillDisk(tmp_path, {name: REQUEST[name] for name in REQUEST if name != "CheckpointConfig"})
    container = begin(disk)
    assert not container.checkpoints.exists()
    disk.end(container)
    assert not begin(disk).checkpoints.exists()


def test_a_model_is_known_by_the_contents_of_all_its_files(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b").write_text("1")
    (tmp_path / "a").write_text("1")
    found = digests(tmp_path)
    assert list(found) == ["a", "deep/b"]
    assert found["a"] == found["deep/b"]
    (tmp_path / "a").write_text("2")
    assert digests(tmp_path)["a"] != found["a"]


class Life:
    """A life that a test plays: its journal, its directory, its lines, and a clock that stands still."""

    def __init__(self, folder):
        self.now = 0.0
        self._journal = folder / "journal"
        self.checkpoints = folder / "checkpoints"
        self.checkpoints.mkdir()
        named = [{"Name": "step", "Regex": "step ([0-9]+)"}]
        definitions = definitions_of({"AlgorithmSpecification": {"MetricDefinitions": named}})
        self.watch = Watch(self._journal, self.checkpoints, definitions, lambda: self.now)

    def tell(self, event, step=None, rank=0):
        with self._journal.open("a") as stream:
            stream.write(json.dumps({"event": event, "at": 0.0, "rank": rank, "step": step}) + "\n")
        self.watch.look()

    def look_after(self, seconds):
        self.now += seconds
        self.watch.look()


@pytest.fixture
def life(tmp_path):
    return Life(tmp_path)


def test_with_a_journal_saves_and_restores_are_seen_as_they_begin_and_end(life):
    seen = []
    for event, step in (
        *(("started", None), ("restoring", None), ("restored", None)),
        *(("step", 1), ("step", 1), ("saving", 1), ("saved", 1)),
    ):
        life.tell(event, step)
        life.tell("step", 99, rank=1)
        seen.append((life.watch.restoring, life.watch.saving, life.watch.steps, life.watch.saves))
    assert seen == [
        *((False, False, 0, 0), (True, False, 0, 0), (False, False, 0, 0)),
        *((False, False, 1, 0), (False, False, 1, 0), (False, True, 1, 0), (False, False, 1, 1)),
    ]
    assert life.watch.step == 1


def test_half_a_line_of_a_journal_is_read_when_it_is_whole(life, tmp_path):
    line = json.dumps({"event": "step", "at": 0.0, "rank": 0, "step": 4})
    (tmp_path / "journal").write_text(line[:20])
    life.watch.look()
    assert life.watch.step is None
    (tmp_path / "journal").write_text(line + "\n")
    life.watch.look()
    assert life.watch.step == 4


def test_without_a_journal_a_save_lasts_until_the_directory_has_come_to_rest(life):
    life.watch.hear("step 3")
    (life.checkpoints / "a").write_text("half")
    life.look_after(1.0)
    assert (life.watch.saving, life.watch.saves, life.watch.step) == (True, 0, 3)
    life.watch.hear("step 4")
    (life.checkpoints / "a").write_text("half and half")
    life.look_after(0.2)
    life.watch.hear("step 5")
    life.look_after(SETTLED_SECONDS / 2)
    assert life.watch.saving
    life.look_after(SETTLED_SECONDS)
    assert (life.watch.saving, life.watch.saved_at) == (False, [4])
    assert life.watch.write_seconds == pytest.approx(0.2)
    assert life.watch.start_up_seconds == 1.0


def numbered(folder, n):
    (folder / f"ckpt-{n:04d}.pt").write_text("state")


def renamed(folder, n):
    (folder / "newest.tmp").write_text("state" * n)
    (folder / "newest.tmp").replace(folder / "newest.pickle")


def two_files(folder, n):
    (folder / f"model-{n}.bin").write_text("model")
    (folder / f"optimiser-{n}.bin").write_text("optimiser")


def a_folder(folder, n):
    (folder / f"checkpoint-{n}").mkdir()
    for shard in range(1, 4):
        (folder / f"checkpoint-{n}" / f"model-{shard}-of-3").write_text("shard")


def in_place(folder, n):
    (folder / "checkpoint").write_text(f"state {n:03d}")


@pytest.mark.parametrize("save", [numbered, renamed, two_files, a_folder, in_place])
def test_saves_that_leave_the_directory_no_rest_are_told_apart_by_their_files(life, save):
    for n in range(1, 13):
        life.watch.hear(f"step {n}")
        life.look_after(0.001)
        save(life.checkpoints, n)
        life.look_after(0.001)
    life.watch.close()
    assert life.watch.saved_at == list(range(1, 13))
    assert life.watch.write_seconds < SETTLED_SECONDS


def test_saves_between_two_looks_are_counted_by_their_files(life):
    life.watch.hear("step 12")
    for n in range(1, 13):
        numbered(life.checkpoints, n)
    life.watch.close()
    assert len(life.watch.saved_at) == 12


def test_a_directory_that_changes_at_the_very_end_was_a_save(life):
    (life.checkpoints / "a").write_text("whole")
    life.watch.close()
    assert life.watch.saved_at == [None]
    assert life.watch.writing_at_the_end


PACE = KillPace(step_seconds=10.0, save_seconds=4.0, restore_seconds=2.0, start_up_seconds=6.0)


def striker(kind, target=None, *, share=0.5, uses_library=True, upload=lambda: True):
    setting = LifeSetting((), None, 1.0, 1.0, uses_library=uses_library, pace=PACE)
    return Striker(PlannedKill(1, kind, target, share), setting, upload)


def test_a_kill_strikes_its_share_of_a_step_after_its_target(life):
    one = striker(KillKind.KILL, 2)
    for event, step in (("step", 1), ("saving", 1), ("saved", 1)):
        life.tell(event, step)
        assert not one.strikes(life.watch, 0.0)
    life.tell("step", 2)
    assert not one.strikes(life.watch, 100.0)
    assert not one.strikes(life.watch, 104.9)
    assert one.strikes(life.watch, 105.0)


def test_no_kill_strikes_before_there_is_a_checkpoint(life):
    one = striker(KillKind.KILL, 2, share=0.0)
    life.tell("step", 5)
    assert not one.strikes(life.watch, 0.0)


def test_a_kill_in_a_save_waits_for_a_save_that_has_begun(life):
    one = striker(KillKind.DURING_SAVE, 2)
    for event, step in (("step", 1), ("saving", 1), ("saved", 1), ("step", 2)):
        life.tell(event, step)
        assert not one.strikes(life.watch, 0.0)
    life.tell("saving", 2)
    assert not one.strikes(life.watch, 1.0)
    assert one.strikes(life.watch, 3.0)


def test_a_kill_in_a_restore_needs_something_to_restore(life, tmp_path):
    one = striker(KillKind.DURING_RESTORE, share=0.0)
    life.tell("restoring")
    assert not one.strikes(life.watch, 0.0)
    (tmp_path / "other").mkdir()
    again = Life(tmp_path / "other")
    (again.checkpoints / "a").write_text("1")
    found = Watch(tmp_path / "none", again.checkpoints, (), lambda: 0.0)
    assert not one.strikes(found, 0.0)
    found.restoring = True
    assert one.strikes(found, 0.0)
    without = striker(KillKind.DURING_RESTORE, uses_library=False)
    found.restoring = False
    assert not without.strikes(found, 0.0)
    assert without.strikes(found, 3.0)


def test_an_upload_is_made_between_two_saves_and_the_kill_follows_the_second(life):
    uploads = []
    one = striker(KillKind.UNSYNCED, 2, share=0.0, upload=lambda: uploads.append(1) or True)
    for event, step in (("step", 1), ("saving", 1), ("saved", 1), ("step", 2), ("saving", 2)):
        life.tell(event, step)
        assert not one.strikes(life.watch, 0.0)
        assert not one.strikes(life.watch, 0.0)
        assert uploads == [1] * (event == "step" and step == 2) or event == "saving"
    life.tell("saved", 2)
    assert one.strikes(life.watch, 0.0)
    assert (one.kept, uploads) == (1, [1])


def test_an_upload_that_a_save_slipped_into_is_made_again(life):
    uploads = []

    def upload():
        uploads.append(1)
        if len(uploads) == 1:
            life.tell("saving", 2)
            life.tell("saved", 2)
        return True

    one = striker(KillKind.UNSYNCED, 1, share=0.0, upload=upload)
    for event, step in (("step", 1), ("saving", 1), ("saved", 1)):
        life.tell(event, step)
    assert not one.strikes(life.watch, 0.0)
    assert one.kept is None
    assert not one.strikes(life.watch, 0.0)
    assert (one.kept, len(uploads)) == (2, 2)
