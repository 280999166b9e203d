"""Whatever a killed save or a bad disk left behind, the newest whole checkpoint is restored."""

import logging
from pathlib import Path

import pytest


def path_of(directory, step):
    return directory / f"checkpoint-{step:09d}-rank00000.nsck"


@pytest.fixture
def newest(process, tmp_path):
    """The newest of two checkpoints, to be damaged; step 3 stays whole."""
    writer = process()
    writer.save(3, b"whole")
    return writer.save(6, {"model": b"weights" * 100, "generator": b"state" * 10})


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


def test_a_file_cut_off_anywhere_is_skipped_and_named(process, newest):
    content = newest.read_bytes()
    for length in [*range(0, len(content), 7), len(content) - 1]:
        newest.write_bytes(content[:length])

        restored = process().restore()

        assert (restored.step, restored.state) == (3, b"whole"), length
        assert [skipped.path for skipped in restored.skipped] == [newest]


def test_a_single_flipped_bit_anywhere_is_noticed(process, newest):
    content = newest.read_bytes()
    for position in range(0, len(content), 5):
        flip(newest, position)

        assert process().restore().step == 3, position
        newest.write_bytes(content)

    assert process().restore().step == 6


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(b"PK\x03\x04 something else"), "does not start as"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "does not end as a whole one does"),
        (lambda path: path.write_bytes(path.read_bytes()[:30]), "does not end as a whole one does"),
        (lambda path: path.write_bytes(path.read_bytes()[:10]), "ends inside its first line"),
        (lambda path: flip(path, 40), "checksum of part 'model'"),
        (lambda path: flip(path, -100), "footer's checksum"),
        (lambda path: flip(path, -25), "length of the footer is damaged"),
        (lambda path: flip(path, -1), "does not end as a whole one does"),
        (lambda path: flip(path, 21), "a format that this version"),
        (lambda path: (path.unlink(), path.mkdir()), "directory"),
    ],
    ids=[
        "empty",
        "foreign",
        "longer",
        "cut",
        "cut-early",
        "payload",
        "footer",
        "length",
        "end",
        "format",
        "folder",
    ],
)
def test_the_reason_for_skipping_says_what_is_wrong(process, newest, caplog, damage, reason):
    damage(newest)

    restored = process().restore()

    assert reason in restored.skipped[0].reason
    assert newest.name in caplog.text
    assert newest.exists()


def test_a_file_under_another_checkpoints_name_is_not_taken_for_it(process, newest, tmp_path):
    later = path_of(tmp_path, 9)
    later.write_bytes(path_of(tmp_path, 3).read_bytes())

    restored = process().restore()

    assert restored.step == 6
    assert [skipped.path for skipped in restored.skipped] == [later]


def test_skipped_files_are_listed_newest_first(process, newest, tmp_path):
    for step in (9, 12):
        path_of(tmp_path, step).write_bytes(b"half")

    restored = process().restore()

    assert [skipped.path.name for skipped in restored.skipped] == [
        path_of(tmp_path, 12).name,
        path_of(tmp_path, 9).name,
    ]


def test_where_everything_is_broken_nothing_is_restored_deleted_or_kept_quiet(
    process, newest, tmp_path, caplog
):
    for step in (3, 6):
        path_of(tmp_path, step).write_bytes(b"half")

    assert process().restore() is None

    (lost,) = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert all(path_of(tmp_path, step).name in lost for step in (3, 6))
    assert all(path_of(tmp_path, step).exists() for step in (3, 6))


def test_a_broken_file_is_replaced_when_its_step_is_saved_again(process, newest):
    newest.write_bytes(b"half")
    starting = process()
    starting.restore()

    starting.save(6, b"again")

    assert process().restore().state == b"again"


def test_a_save_killed_before_its_rename_is_ignored_and_cleaned_up_by_the_next(process, newest, tmp_path):
    # The bytes are those of a whole checkpoint: only the missing rename tells.
    leftover = tmp_path / (path_of(tmp_path, 9).name + ".0a1b2c3d.tmp")
    leftover.write_bytes(newest.read_bytes())
    progress = tmp_path / "nightspot.json.0a1b2c3d.tmp"
    progress.write_text("{")
    starting = process()

    restored = starting.restore()
    assert (restored.step, restored.skipped) == (6, ())

    starting.save(12, b"s")
    assert not leftover.exists()
    assert not progress.exists()


def test_a_checkpoint_that_another_process_replaces_while_it_is_looked_for_is_no_loss(
    process, tmp_path, monkeypatch
):
    other = process(keep_last=1)
    other.save(1, b"one")
    starting, opened = process(), Path.open

    def late(path, *arguments, **options):
        monkeypatch.setattr(Path, "open", opened)
        other.save(2, b"two")
        return path.open(*arguments, **options)

    monkeypatch.setattr(Path, "open", late)

    assert starting.restore().state == b"two"
