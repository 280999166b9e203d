"""What cannot work is refused before anything is written, with field, value and rule."""

import pytest

from nightspot.checkpoint import (
    Checkpointer,
    CheckpointError,
    DirectoryError,
    MetricsError,
    SettingError,
    StateError,
    StepError,
)


class Index:
    """As NumPy's integers: no int, and yet a whole number."""

    def __index__(self):
        return 4


@pytest.mark.parametrize("step", [-1, 1.0, "3", None, True])
def test_a_step_is_a_whole_number_from_0_on(process, step, tmp_path):
    with pytest.raises(StepError, match=r"step=.*: must be a whole number"):
        process().save(step, b"s")

    assert list(tmp_path.iterdir()) == []


def test_step_0_and_integers_of_other_libraries_are_steps(process):
    trainer = process()
    trainer.save(0, b"s")
    trainer.save(Index(), b"s")

    assert process().restore().step == 4


def test_a_step_is_not_beyond_the_total(process):
    trainer = process(total_steps=24)
    trainer.save(24, b"s")

    with pytest.raises(StepError, match="step=25: must not be beyond total_steps=24"):
        trainer.save(25, b"s")


def test_a_step_does_not_go_behind_the_last_save(process):
    trainer = process()
    trainer.save(6, b"s")

    with pytest.raises(StepError, match="step=5: must not go backwards, step 6"):
        trainer.save(5, b"s")


def test_a_step_does_not_go_behind_the_restored_one(process):
    process().save(6, b"s")
    trainer = process()
    trainer.restore()

    with pytest.raises(StepError, match="step=5: must not go backwards, step 6"):
        trainer.save(5, b"s")


@pytest.mark.parametrize(
    ("state", "field"),
    [
        ("text", "state is str"),
        (None, "state is NoneType"),
        ([b"a"], "state is list"),
        ({1: b"a"}, r"state has the name 1 \(int\)"),
    ],
)
def test_the_state_is_bytes_or_an_object_or_a_mapping(process, tmp_path, state, field):
    with pytest.raises(StateError, match=f"{field}.*must be bytes, an object with state_dict"):
        process().save(1, state)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("metrics", "field"),
    [([0.1], "metrics is list"), ({"a": "b"}, r"metrics\['a'\] is str"), ({1: 2}, "the name 1")],
)
def test_metrics_are_names_with_numbers(process, tmp_path, metrics, field):
    with pytest.raises(MetricsError, match=field):
        process().save(1, b"s", metrics=metrics)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("field", ["total_steps", "keep_last"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True])
def test_counts_are_whole_numbers_from_1_on(process, field, value):
    with pytest.raises(SettingError, match=f"{field}={value!r}: must be a whole number from 1"):
        process(**{field: value})


@pytest.mark.parametrize("value", ["first", "0", "-1", "1.5"])
def test_an_attempt_is_a_whole_number_from_1_on(process, value):
    with pytest.raises(SettingError, match=f"NIGHTSPOT_ATTEMPT='{value}': must be"):
        process(environ={"NIGHTSPOT_ATTEMPT": value})


@pytest.mark.parametrize("content", ["{", '{"LocalPath": 3}'])
def test_a_checkpointconfig_that_makes_no_sense_is_named(tmp_path, content):
    (tmp_path / "checkpointconfig.json").write_text(content)

    with pytest.raises(SettingError, match=r"checkpointconfig\.json: "):
        Checkpointer(environ={"SM_INPUT_CONFIG_DIR": str(tmp_path)})


def test_a_directory_that_cannot_be_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(DirectoryError, match=r"directory=.*file/checkpoints: cannot be created"):
        Checkpointer(tmp_path / "file" / "checkpoints", environ={})


def test_a_directory_that_went_away_is_named_when_it_is_used(process, tmp_path):
    trainer = process()
    tmp_path.rmdir()

    with pytest.raises(DirectoryError, match=r"step=1: cannot save in"):
        trainer.save(1, b"s")
    with pytest.raises(DirectoryError, match=r"directory=.*: cannot be used"):
        trainer.restore()


def test_one_class_catches_everything_this_library_raises():
    refusals = (StepError, StateError, MetricsError, SettingError, DirectoryError)
    assert all(issubclass(each, CheckpointError) for each in refusals)
