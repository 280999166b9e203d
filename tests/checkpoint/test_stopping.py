"""A process that is asked to stop saves once more, and leaves."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from nightspot.checkpoint import SettingError

SCRIPT = """
import sys, time
from nightspot.checkpoint import Checkpointer

checkpointer = Checkpointer(sys.argv[1], environ={}, every_steps=1000, handle_sigterm=True, asynchronous=True)
print("training", flush=True)
for step in range(1, 1000):
    time.sleep(0.01)
    checkpointer.save_if_due(step, {"step": step})
    checkpointer.exit_if_asked()
"""


@pytest.fixture
def asked(process):
    """A trainer that listens, with the handlers of this process put back at the end."""
    before = signal.getsignal(signal.SIGTERM)
    trainer = process(every_steps=100, handle_sigterm=True)
    yield trainer
    trainer.close()
    assert signal.getsignal(signal.SIGTERM) == before


def terminate():
    signal.raise_signal(signal.SIGTERM)


def test_a_signal_makes_a_save_due_at_once_and_then_it_is_time_to_leave(asked, process):
    assert not asked.due(1)
    terminate()

    assert (asked.stop_requested, asked.should_stop, asked.due(2)) == (True, False, True)
    asked.exit_if_asked()
    asked.save(2, b"last words")
    assert (asked.should_stop, asked.due(3)) == (True, False)
    with pytest.raises(SystemExit) as leaving:
        asked.exit_if_asked()
    assert leaving.value.code == 143
    assert process().restore().state == b"last words"


def test_the_last_save_is_durable_before_it_counts(process, tmp_path):
    trainer = process(asynchronous=True, every_steps=100, handle_sigterm=True)
    terminate()

    assert trainer.save(2, b"s").exists()
    trainer.close()


def test_a_last_save_that_fails_does_not_let_the_script_leave_as_if_it_had_not(asked, tmp_path):
    terminate()
    (tmp_path / "checkpoint-000000002-rank00000.nsck").mkdir()

    with pytest.raises(Exception, match="cannot save"):
        asked.save(2, b"s")
    assert not asked.should_stop


def test_further_signals_change_nothing(asked):
    for _ in range(3):
        terminate()
    asked.save(2, b"s")
    terminate()

    assert asked.should_stop
    assert not asked.due(3)


def test_the_handler_that_was_there_before_is_called_too_and_is_put_back(process):
    calls = []

    def theirs(signum, frame):
        calls.append(signum)

    before = signal.signal(signal.SIGTERM, theirs)
    try:
        trainer = process(handle_sigterm=True)
        terminate()
        assert calls == [signal.SIGTERM]
        assert trainer.stop_requested
        trainer.close()
        assert signal.getsignal(signal.SIGTERM) is theirs
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_handler_that_was_installed_later_is_left_alone(process):
    before = signal.getsignal(signal.SIGTERM)
    trainer = process(handle_sigterm=True)
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        trainer.close()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_signals_can_be_taken_as_requests(process):
    trainer = process()
    trainer.on_signal(signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR1)

    assert trainer.stop_requested
    trainer.close()


def test_handlers_are_installed_in_the_main_thread_only(process):
    errors = []

    def install():
        try:
            process(handle_sigterm=True)
        except SettingError as error:
            errors.append(str(error))

    thread = threading.Thread(target=install)
    thread.start()
    thread.join()

    assert errors == [f"signal {int(signal.SIGTERM)}: must be installed from the main thread"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_data_loader_can_still_be_terminated(asked, forked):
    def load_for_ever(report):
        os.write(report, b"r")
        while True:
            signal.pause()

    with forked(load_for_ever) as loader:
        os.read(loader.reading, 1)
        os.kill(loader.pid, signal.SIGTERM)
        assert loader.status() == -signal.SIGTERM
    assert not asked.stop_requested


def test_the_notice_of_a_reclaim_is_a_request_to_stop(process, tmp_path):
    notice = tmp_path / "notice"
    trainer = process(every_steps=100, environ={"NIGHTSPOT_RECLAIM_NOTICE_FILE": str(notice)})
    assert not trainer.due(1)
    notice.write_text("")

    assert trainer.due(2)
    notice.unlink()
    trainer.save(2, b"s")
    assert trainer.should_stop


def test_a_whole_script_leaves_with_its_last_step_saved(tmp_path, process):
    with subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], stdout=subprocess.PIPE) as script:
        script.stdout.readline()
        script.terminate()
        assert script.wait(120) == 143

    restored = process().restore()
    assert restored.state == {"step": restored.step}
    assert restored.step >= 1
