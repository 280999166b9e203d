"""What is copied for a save beside training is out of its reach, and the next copy uses its memory again."""

import threading

import numpy as np
import pytest

from nightspot.checkpoint.core.state import ReusedCopies


def address(array):
    return array.__array_interface__["data"][0]


def state(value, size=1000):
    return {"model": {"weights": np.full((size, 2), value)}, "step": value, "losses": [value]}


def test_a_copy_is_equal_and_no_later_change_reaches_it():
    original = state(1.0)
    copied = ReusedCopies()(original)
    original["model"]["weights"][:] = 9.0
    original["losses"].append(9.0)

    assert (copied["model"]["weights"] == 1.0).all()
    assert (copied["step"], copied["losses"]) == (1.0, [1.0])


def test_the_next_copy_takes_the_memory_of_the_one_before():
    copies = ReusedCopies()
    first = address(copies(state(1.0))["model"]["weights"])
    second = copies(state(2.0))["model"]["weights"]

    assert address(second) == first
    assert (second == 2.0).all()


def test_an_array_of_another_size_gets_memory_of_its_own():
    copies = ReusedCopies()
    copies(state(1.0))
    larger = copies({**state(2.0, size=5000), "more": np.arange(7.0)})

    assert (larger["model"]["weights"] == np.full((5000, 2), 2.0)).all()
    assert (larger["more"] == np.arange(7.0)).all()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 3)),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(100)[::3],
        np.array(["a", None], dtype=object),
        np.float32(1.5),
    ],
    ids=["empty", "columns first", "with gaps", "objects", "scalar"],
)
def test_arrays_of_every_layout_are_copied(array):
    copied = ReusedCopies()({"array": array})["array"]

    assert np.array_equal(copied, array)
    assert copied.dtype == array.dtype


def test_what_values_share_is_still_shared():
    tied = np.ones(10)
    copied = ReusedCopies()({"encoder": tied, "decoder": tied})

    assert copied["encoder"] is copied["decoder"]


class Opaque:
    """Cannot be pickled, and can be copied."""

    def __init__(self, value):
        self.value, self.lock = value, threading.Lock()

    def __deepcopy__(self, memo):
        return Opaque(list(self.value))


def test_what_cannot_be_pickled_is_copied_deeply():
    original = Opaque([1])
    copied = ReusedCopies()({"opaque": original})["opaque"]
    original.value.append(2)

    assert copied.value == [1]


class InBand:
    """Data that pickle would carry itself, as tensors do."""

    def __init__(self, data):
        self.data, self.deep = bytearray(data), 0

    def __deepcopy__(self, memo):
        copied = InBand(self.data)
        copied.deep = self.deep + 1
        return copied

    def __reduce__(self):
        return InBand, (bytes(self.data),)


def test_data_that_gives_pickle_no_buffers_is_copied_deeply_from_the_second_save_on():
    copies, original = ReusedCopies(), {"tensor": InBand(b"x" * 2_000_000)}

    assert [copies(original)["tensor"].deep for _ in range(3)] == [0, 1, 1]


def test_saves_beside_training_through_reused_memory_hold_what_each_was_asked_to(process):
    weights = np.zeros(50_000)
    trainer = process(asynchronous=True, snapshot=ReusedCopies(), keep_last=5)
    for step in range(1, 6):
        weights[:] = step
        trainer.save(step, {"weights": weights, "step": step})
        weights[:] = -1
    trainer.close()

    for step in range(5, 0, -1):
        restored = process().restore()
        assert restored.step == step
        assert (restored.state["weights"] == step).all()
        restored.path.unlink()
