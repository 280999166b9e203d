"""The last and the best checkpoints stay, the newest whole one always."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.checkpoint import KeepBest, SettingError
from nightspot.checkpoint.core.files import Kept, expendable


def steps(directory):
    return sorted(int(path.name[11:20]) for path in directory.glob("*.nsck"))


def train(trainer, losses):
    for step, loss in enumerate(losses, 1):
        trainer.save(step, b"s", metrics={} if loss is None else {"loss": loss})


@pytest.mark.parametrize(
    ("keep_best", "left"),
    [
        (None, [6]),
        (("loss", "min"), [2, 6]),
        (("loss", "min", 2), [2, 4, 6]),
        (("loss", "max", 2), [1, 3, 6]),
        (KeepBest("loss", "max"), [1, 6]),
        (("accuracy", "max", 3), [6]),
    ],
)
def test_the_best_are_kept_beside_the_last(process, tmp_path, keep_best, left):
    train(process(keep_last=1, keep_best=keep_best), [0.9, 0.1, 0.8, 0.2, float("nan"), 0.5])

    assert steps(tmp_path) == left


def test_what_an_earlier_process_found_best_is_kept_too(process, tmp_path):
    train(process(keep_last=1, keep_best=("loss", "min")), [0.1, 0.2])
    later = process(keep_last=1, keep_best=("loss", "min"))
    later.restore()
    later.save(3, b"s", metrics={"loss": 0.3})
    later.save(4, b"s", metrics={"loss": 0.4})

    assert steps(tmp_path) == [1, 4]


def test_of_equally_good_ones_the_newer_is_kept(process, tmp_path):
    train(process(keep_last=1, keep_best=("loss", "min")), [0.1, 0.1, 0.1, 0.7])

    assert steps(tmp_path) == [3, 4]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (("loss", "lowest"), "keep_best.order='lowest': must be 'min' or 'max'"),
        (("", "min"), "keep_best.metric='': must be the name"),
        (("loss", "min", 0), "keep_best.count=0: must be a whole number from 1"),
        ("loss", "keep_best='loss': must be \\(metric"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(process, value, message):
    with pytest.raises(SettingError, match=message):
        process(keep_best=value)


FILES = st.lists(st.tuples(st.booleans(), st.one_of(st.none(), st.floats(allow_nan=False))), max_size=12).map(
    lambda each: [Kept(step, *rest) for step, rest in reversed(list(enumerate(each)))]
)


@given(FILES, st.integers(1, 4), st.sampled_from([None, KeepBest("m", "min", 2), KeepBest("m", "max", 1)]))
def test_the_newest_whole_ones_are_never_among_those_that_may_go(files, keep_last, keep_best):
    gone = expendable(files, keep_last, keep_best)

    whole = [each.step for each in files if each.whole]
    assert not set(whole[:keep_last]) & set(gone)
    assert len(whole) - len(set(whole) & set(gone)) >= min(len(whole), keep_last)
    if keep_best is None and len(whole) >= keep_last:
        assert [step for step in whole if step not in gone] == whole[:keep_last]
