"""Bytes, files, objects with a state and plain values are saved, and come back as what they were."""

import io
import json
import os
import pickle

import pytest

from nightspot.checkpoint import StateError, UnreadableStateError


class Model:
    """As a module of a framework: its state is a dict, handed out without a copy."""

    def __init__(self, *weights):
        self.weights = list(weights)

    def state_dict(self):
        return {"weights": self.weights}

    def load_state_dict(self, state):
        self.weights = list(state["weights"])


def test_an_object_is_saved_by_its_state_and_loaded_again(process):
    process().save(1, Model(1, 2))
    model = Model()

    restored = process().restore()
    restored.load_into(model)

    assert restored.state == {"weights": [1, 2]}
    assert model.weights == [1, 2]


def test_a_mapping_may_hold_objects_plain_values_bytes_and_files_at_once(process, tmp_path):
    vocabulary = tmp_path / "vocabulary.txt"
    vocabulary.write_bytes(b"words" * 1000)
    state = {"epoch": 3, "raw": b"bytes", "model": Model(1), "vocabulary": vocabulary, "lr": [0.1]}
    process().save(1, state)
    vocabulary.write_bytes(b"later words")
    model = Model()

    restored = process().restore()
    restored.load_into({"model": model})

    assert list(restored.state) == list(state)
    assert (restored.state["epoch"], restored.state["raw"], restored.state["lr"]) == (3, b"bytes", [0.1])
    assert model.weights == [1]
    assert restored.state["vocabulary"].read_bytes() == b"words" * 1000
    copied = restored.state["vocabulary"].copy_to(tmp_path / "copied.txt")
    assert copied.read_bytes() == b"words" * 1000


def test_what_values_share_is_stored_once_and_still_shared_after_a_restore(process):
    tied = [0.5] * 10
    process().save(1, {"encoder": Model(tied), "decoder": Model(tied)})

    state = process().restore().state

    assert state["encoder"]["weights"][0] is state["decoder"]["weights"][0]


def test_a_file_that_is_not_there_is_named(process, tmp_path):
    with pytest.raises(StateError, match=r"state\['words'\]='.*/none': must be a file that is there"):
        process().save(1, {"words": tmp_path / "none"})

    assert list(tmp_path.iterdir()) == []


def test_a_value_that_cannot_be_serialised_is_named_and_leaves_no_file(process, tmp_path):
    process().save(1, b"good")

    with pytest.raises(StateError, match=r"state \['f'\]: cannot be serialised \(.*lambda"):
        process().save(2, {"f": lambda: 0})

    assert process().restore().state == b"good"
    assert not list(tmp_path.glob("*.tmp"))


def test_other_serialisers_can_be_plugged_in(process):
    def write(value, stream):
        stream.write(json.dumps(value).encode())

    def read(stream):
        assert stream.seek(0, io.SEEK_END) == len('{"epoch": 3}')
        stream.seek(0)
        return json.load(stream)

    process(serialise=write).save(1, {"epoch": 3})

    assert process(deserialise=read).restore().state == {"epoch": 3}


def test_a_large_value_comes_back_through_the_window_on_the_file(process):
    value = {"blocks": [os.urandom(100_000) for _ in range(20)], "text": "x" * 3_000_000}
    process().save(1, {"raw": b"before", "value": value})

    assert process().restore().state == {"raw": b"before", "value": value}


def test_nothing_is_deserialised_from_a_file_with_a_wrong_byte(process, tmp_path):
    process().save(1, {"epoch": 1})
    path = process().save(2, {"epoch": 2, "raw": b"behind" * 10})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"behind", b"BEHIND", 1))
    calls = []

    def watching(stream):
        calls.append(1)
        return pickle.load(stream)  # noqa: S301 - written two lines above

    assert process(deserialise=watching).restore().step == 1
    assert len(calls) == 1


def test_a_state_that_cannot_be_read_gives_way_to_an_older_one(process):
    process(keep_last=3).save(1, {"epoch": 1})
    process(keep_last=3, serialise=lambda value, stream: stream.write(b"?")).save(2, {"epoch": 2})

    restored = process().restore()

    assert restored.state == {"epoch": 1}
    assert "the file is whole, and its state cannot be read" in restored.skipped[0].reason


def test_a_deserialiser_that_gives_something_else_has_not_read_the_state(process):
    process().save(1, {"epoch": 1})

    with pytest.raises(UnreadableStateError, match=r"deserialise gave no mapping with \['epoch'\]"):
        process(deserialise=lambda stream: b"?").restore()


def test_where_no_state_can_be_read_training_does_not_start_over_the_top_of_it(process, tmp_path):
    path = process(serialise=lambda value, stream: stream.write(b"?")).save(2, {"epoch": 2})

    with pytest.raises(UnreadableStateError, match="no checkpoint can be read with this deserialise"):
        process().restore()

    assert path.exists()
    assert (tmp_path / "nightspot.json").exists()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"model": Model(), "other": Model()}, r"target has the names \['other'\]: checkpoint-.* must have"),
        ({"epoch": 3}, "nothing in it has load_state_dict"),
        (3, "target is int: nothing in it"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_loaded(process, target, message):
    process().save(1, {"model": Model(1), "epoch": 1})

    with pytest.raises(StateError, match=message):
        process().restore().load_into(target)

    assert not isinstance(target, dict) or not any(
        each.weights for each in target.values() if isinstance(each, Model)
    )


def test_a_checkpoint_is_hardly_larger_than_its_state(process):
    state = {f"layer {number}": bytes(100_000) for number in range(20)}

    path = process().save(1, state)

    assert path.stat().st_size <= 2_000_000 * 1.01
