"""What a drill gets to know of a training, and that nobody else notices."""

import array
import copy
import json
import random
import subprocess
import sys
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import pytest

from nightspot.checkpoint import Checkpointer, SettingError, StepError, TrainingState
from nightspot.checkpoint.core.journal import JOURNAL_VARIABLE, Event, digest, part_digests


@pytest.fixture
def written(tmp_path):
    """The journal's path as a variable, and what is in it."""
    path = tmp_path / "journal.jsonl"

    class Written:
        environ = {JOURNAL_VARIABLE: str(path)}  # noqa: RUF012

        @property
        def lines(self):
            return [json.loads(line) for line in path.read_text().splitlines()]

        @property
        def events(self):
            return [line["event"] for line in self.lines]

        def last(self, event):
            return [line for line in self.lines if line["event"] == event][-1]

    return Written()


@pytest.fixture
def watched(tmp_path, written):
    """Each call is a process of a drill that starts on the same directory."""

    def start(**options):
        return Checkpointer(tmp_path / "checkpoints", environ=written.environ, **options)

    return start


def test_every_event_is_one_line_with_its_time_and_rank(watched, written):
    checkpointer = watched(total_steps=2, every_steps=2)
    checkpointer.restore()
    checkpointer.save_if_due(1, b"one")
    checkpointer.save_if_due(2, b"two", metrics={"loss": 0.5})
    assert written.events == ["started", "restoring", "restored", "step", "step", "saving", "saved"]
    assert {event.value for event in Event} == set(written.events)
    assert all(line["rank"] == 0 and line["at"] > 1e9 for line in written.lines)
    assert written.lines[0]["total_steps"] == 2
    assert (written.last("restored")["step"], written.last("step")["metrics"]) == (None, {"loss": 0.5})
    assert (written.last("saving")["step"], written.last("saved")["step"]) == (2, 2)


def test_without_the_variable_a_state_is_only_built_where_it_is_due(tmp_path):
    checkpointer = Checkpointer(tmp_path, environ={}, every_steps=2)
    built = []
    checkpointer.save_if_due(1, lambda: built.append(1) or b"state")
    assert built == []
    checkpointer.save_if_due(2, lambda: built.append(2) or b"state")
    assert built == [2]


def test_in_a_drill_the_state_of_every_step_is_built_once_and_digested(watched, written):
    checkpointer, built = watched(every_steps=2), []
    for step in (1, 2):
        checkpointer.save_if_due(step, lambda step=step: built.append(step) or {"weights": [step]})
    assert built == [1, 2]
    parts = [line["parts"] for line in written.lines if line["event"] == "step"]
    assert parts == [{"weights": digest([1])}, {"weights": digest([2])}]


def test_due_and_the_save_that_follows_tell_of_one_step_each_with_what_it_knows(watched, written):
    checkpointer = watched(every_steps=1)
    assert checkpointer.due(1)
    checkpointer.save(1, b"one")
    steps = [line for line in written.lines if line["event"] == "step"]
    assert [(line["step"], "parts" in line) for line in steps] == [(1, False), (1, True)]


def test_a_step_that_is_refused_is_told_all_the_same(watched, written):
    watched(every_steps=1).save(3, b"three")
    resumed = watched(every_steps=1)
    resumed.restore()
    with pytest.raises(StepError):
        resumed.due(1)
    assert (written.last("restored")["step"], written.last("step")["step"]) == (3, 1)


def test_what_was_left_out_of_a_restore_is_named(watched, written, tmp_path):
    watched(every_steps=1).save(3, b"three")
    (newest,) = (tmp_path / "checkpoints").glob("*.nsck")
    newest.write_bytes(newest.read_bytes()[:-3])
    assert watched().restore() is None
    assert written.last("restored")["skipped"][0].startswith(f"{newest.name}: ")


STATE = {"weights": [1.0], "optimiser": {"velocity": [2.0]}, "generator": 7}


@pytest.mark.parametrize(
    ("read", "unread"),
    [
        (lambda state: None, ["weights", "optimiser", "generator"]),
        (lambda state: state["weights"], ["optimiser", "generator"]),
        (lambda state: (state.get("weights"), state.pop("optimiser")), ["generator"]),
        (dict, []),
        (lambda state: {**state}, []),
        (lambda state: list(state.items()), []),
        (lambda state: list(state.values()), []),
        (lambda state: state.copy(), []),
        (copy.deepcopy, []),
        (lambda state: state | {}, []),
        (list, ["weights", "optimiser", "generator"]),
    ],
)
def test_the_first_step_after_a_restore_tells_which_parts_the_script_never_took(
    watched, written, read, unread
):
    watched(every_steps=1).save(1, STATE)
    resumed = watched(every_steps=1)
    restored = resumed.restore()
    read(restored.state)
    resumed.save(2, STATE)
    assert written.last("step")["unread"] == unread
    resumed.save(3, STATE)
    assert "unread" not in written.last("step")


def test_load_into_takes_what_it_loads(watched, written):
    training, other = TrainingState(), TrainingState()
    watched(every_steps=1).save(1, {"training": training, "other": other})
    resumed = watched(every_steps=1)
    resumed.restore().load_into({"training": training})
    resumed.save(2, {"training": training})
    assert written.last("step")["unread"] == ["other"]


def test_a_watched_state_is_the_dict_that_it_would_be(watched):
    watched(every_steps=1).save(1, STATE)
    state = watched().restore().state
    assert state == STATE
    assert isinstance(state, dict)
    assert json.loads(json.dumps(state)) == STATE
    assert type(copy.deepcopy(state)) is dict


def test_metrics_that_are_no_numbers_leave_the_journal_readable(watched, written):
    checkpointer = watched(every_steps=1)
    checkpointer.save(1, b"", metrics={"loss": float("nan"), "steps": 3})
    assert written.last("step")["metrics"] == {"loss": None, "steps": 3}


def test_a_journal_that_cannot_be_written_is_an_error_that_names_the_variable(tmp_path):
    environ = {JOURNAL_VARIABLE: str(tmp_path / "nowhere" / "journal")}
    with pytest.raises(SettingError, match=f"{JOURNAL_VARIABLE}=.*must be a file to write"):
        Checkpointer(tmp_path, environ=environ)


@dataclass
class Point:
    x: float
    y: list


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x


class Loop:
    def __init__(self):
        self.me = self


class Silent:
    def __reduce_ex__(self, protocol):
        raise TypeError("no")


SHARED = [1, 2]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, 2), [1, 2]),
        (1, 1.0),
        (True, 1),
        (b"abc", bytearray(b"abc")),
        (b"abc", memoryview(b"abc")),
        ({"a": 1, "b": 2}, OrderedDict(b=2, a=1)),
        ({"a", "b", "c"}, {"c", "b", "a"}),
        ([SHARED, SHARED], [[1, 2], [1, 2]]),
        (Point(1, [SHARED, SHARED]), Point(1.0, [[1, 2], [1, 2]])),
        (Slotted(1), Slotted(1)),
        (Loop(), Loop()),
        (random.Random(7), random.Random(7)),
        (array.array("d", [1, 2]), array.array("d", [1, 2])),
        (float("nan"), float("nan")),
    ],
)
def test_the_same_state_has_the_same_digest_however_it_is_held(one, other):
    assert digest(one) == digest(other) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, "1"),
        ("", None),
        (b"", ""),
        ([1, [2]], [[1], 2]),
        (["ab", "c"], ["a", "bc"]),
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
        ({1: None}, {None: 1}),
        (Point(1, []), Point(2, [])),
        (Slotted(1), Slotted(2)),
        (Slotted(1), Point(1, [])),
        (random.Random(7), random.Random(8)),
        (array.array("d", [1]), array.array("f", [1])),
        (2**53 + 1, 2**53),
        (len, print),
    ],
)
def test_another_state_has_another_digest(one, other):
    assert digest(one) != digest(other)


def test_what_gives_nothing_away_has_no_digest():
    assert digest(Silent()) is None
    assert digest([Silent()]) is None


def test_digests_are_the_same_in_every_process():
    imported = "from nightspot.checkpoint.core.journal import digest"
    program = f"{imported}; print(digest({{'a': {{'x', 'y'}}, 'b': (1, None)}}))"
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in "123"
    }
    assert said == {digest({"a": {"x", "y"}, "b": (1, None)})}


def test_a_state_is_digested_by_part_and_small_mappings_by_their_parts(tmp_path):
    class Model:
        def state_dict(self):
            return {f"layer{n}": n for n in range(100)}

    file = tmp_path / "vocabulary"
    file.write_bytes(b"words")
    parts = part_digests(
        {"model": Model(), "training": {"epoch": 1, "random": 2}, "words": file, "empty": {}}
    )
    assert parts == {
        "model": digest(Model().state_dict()),
        "training.epoch": digest(1),
        "training.random": digest(2),
        "words": parts["words"],
        "empty": digest({}),
    }
    file.write_bytes(b"other")
    assert part_digests({"words": file})["words"] != parts["words"]
    assert part_digests({"words": tmp_path / "missing"}) == {"words": None}
    assert part_digests(b"bytes") == {"state": digest(b"bytes")}
    assert set(part_digests(TrainingState())) >= {"epoch", "random.random"}


def test_numpy_arrays_and_scalars_are_digested_by_type_shape_and_bytes():
    np = pytest.importorskip("numpy", reason="NumPy is not installed: make frameworks")
    one = np.arange(6, dtype=np.float32)
    assert digest(one) == digest(one.copy()) == digest(np.arange(12, dtype=np.float32)[:6])
    assert digest(np.asfortranarray(one.reshape(2, 3))) == digest(one.reshape(2, 3))
    assert digest(one) != digest(one.reshape(2, 3))
    assert digest(one) != digest(one.astype(np.float64))
    assert digest(np.float64(0.5)) == digest(0.5)
    assert digest(np.array([1, "a"], dtype=object)) == digest([1, "a"])
    same = [np.random.default_rng(7) for _ in range(2)]
    assert digest(same[0]) == digest(same[1])
    same[0].random()
    assert digest(same[0]) != digest(same[1])


@pytest.mark.xdist_group("torch")
def test_tensors_are_digested_without_torch_being_imported_for_it():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: make frameworks")
    one = torch.arange(6, dtype=torch.float32, requires_grad=True)
    assert digest(one) == digest(one.detach().clone())
    assert digest(one) != digest(one.reshape(2, 3))
    assert digest(one) == digest(torch.nn.Parameter(one.detach().clone()))
    half = torch.ones(3, dtype=torch.bfloat16)
    assert digest(half) == digest(half.clone()) is not None
    assert digest(half) != digest(2 * half)
    optimiser = torch.optim.SGD([one], lr=0.1, momentum=0.9)
    parts = part_digests({"optimiser": optimiser})
    assert None not in parts.values()
    assert (
        Path(sys.modules["nightspot.checkpoint.core.journal"].__file__).read_text().count("import torch") == 0
    )
