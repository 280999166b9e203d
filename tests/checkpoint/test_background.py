"""A save beside training holds what was there when it was asked for, and no failure of it is lost."""

import json
import subprocess
import sys
import threading

import pytest

from nightspot.checkpoint import DirectoryError

LEAVING = """
import sys, threading
from nightspot.checkpoint import Checkpointer

leaving = threading.Event()

def slowly(value, stream):
    assert leaving.wait(60)  # until the interpreter is on its way out
    stream.write(b"{\\"value\\": 1}")

checkpointer = Checkpointer(sys.argv[1], environ={}, asynchronous=True, serialise=slowly)
checkpointer.save(1, {"value": 1})
threading._register_atexit(leaving.set)
"""


class Gate:
    """A serialiser that waits until it is opened."""

    def __init__(self):
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, value, stream):
        self.entered.set()
        assert self.open.wait(60)
        stream.write(json.dumps(value).encode())


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture
def slow(process, gate):
    return process(asynchronous=True, serialise=gate, deserialise=json.load)


def test_a_save_returns_before_it_is_durable_and_is_announced_after(slow, gate, tmp_path):
    path = slow.save(1, {"epoch": 1})
    gate.entered.wait(60)

    assert not path.exists()
    assert not (tmp_path / "nightspot.json").exists()
    gate.open.set()
    slow.wait()
    assert path.exists()
    assert json.loads((tmp_path / "nightspot.json").read_text())["step"] == 1


def test_what_training_does_to_the_state_after_the_call_is_not_saved(slow, gate, tmp_path, process):
    buffer, values = bytearray(b"then"), {"losses": [1.0]}
    file = tmp_path / "words.txt"
    file.write_bytes(b"then")
    slow.save(1, {"buffer": buffer, "view": memoryview(buffer), "values": values, "file": file})
    buffer[:] = b"now!"
    values["losses"].append(2.0)
    file.write_bytes(b"now!")
    gate.open.set()
    slow.close()

    state = process(deserialise=json.load).restore().state
    assert (state["buffer"], state["view"], state["values"]) == (b"then", b"then", {"losses": [1.0]})
    assert state["file"].read_bytes() == b"then"


def test_the_snapshot_is_the_hooks_and_only_where_training_goes_on(process):
    taken = []

    def snapshot(values):
        taken.append(values)
        return {"copied": True}

    trainer = process(snapshot=snapshot)
    trainer.save(1, {"epoch": 1})
    assert taken == []
    trainer.save(2, {"copied": False}, wait=False)
    trainer.close()

    assert taken == [{"copied": False}]
    assert process().restore().state == {"copied": True}


def test_bytes_that_nothing_can_change_are_not_copied(slow, gate):
    from nightspot.checkpoint.core.state import describe, hold

    state = b"weights" * 1000
    (part,) = hold(describe(state), lambda value: value).parts
    assert part.content.obj is state


def test_a_second_save_waits_for_the_first(slow, gate, process):
    slow.save(1, {"epoch": 1})
    threading.Timer(0.05, gate.open.set).start()  # the main thread is in save() by then, or soon
    slow.save(2, {"epoch": 2})
    slow.close()

    assert process(deserialise=json.load).restore().state == {"epoch": 2}


def test_a_save_that_need_not_be_is_skipped_while_another_is_written(slow, gate):
    slow.save(1, {"epoch": 1})
    gate.entered.wait(60)

    assert slow.save(2, {"epoch": 2}, skip_if_busy=True) is None
    gate.open.set()
    slow.wait()
    assert slow.save(3, {"epoch": 3}, skip_if_busy=True) is not None
    slow.close()


@pytest.mark.parametrize("later", ["save", "wait", "close", "restore"])
def test_a_failure_is_raised_at_the_next_call_and_once(process, tmp_path, later, caplog):
    trainer = process(asynchronous=True)
    blocker = tmp_path / "checkpoint-000000001-rank00000.nsck"
    blocker.mkdir()
    trainer.save(1, b"s")
    calls = {"save": lambda: trainer.save(2, b"s"), "restore": trainer.restore}
    call = calls.get(later) or getattr(trainer, later)

    with pytest.raises(DirectoryError, match="step=1: cannot save"):
        call()
    assert "the save of step 1 failed" in caplog.text
    trainer.save(2, b"two")
    trainer.close()
    assert process().restore().state == b"two"


def test_leaving_the_with_block_waits_for_the_save(process, gate):
    with process(asynchronous=True) as trainer:
        trainer.save(1, b"s")

    assert process().restore().step == 1


def test_what_ended_the_training_is_not_replaced_by_a_failed_save(process, tmp_path):
    (tmp_path / "checkpoint-000000001-rank00000.nsck").mkdir()

    def train():
        with process(asynchronous=True) as trainer:
            trainer.save(1, b"s")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()


def test_a_failed_save_ends_a_with_block_that_went_well(process, tmp_path):
    (tmp_path / "checkpoint-000000001-rank00000.nsck").mkdir()

    with pytest.raises(DirectoryError), process(asynchronous=True) as trainer:
        trainer.save(1, b"s")


def test_a_script_that_ends_finishes_the_save_in_flight(tmp_path, process):
    subprocess.run([sys.executable, "-c", LEAVING, str(tmp_path)], check=True)

    assert process(deserialise=json.load).restore().state == {"value": 1}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_a_thread_that_it_does_not_have(slow, gate, forked):
    slow.save(1, {"epoch": 1})
    gate.entered.wait(60)

    with forked(lambda report: slow.wait()) as child:
        assert child.status() == 0
    gate.open.set()
    slow.close()
