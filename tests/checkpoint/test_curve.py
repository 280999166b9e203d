"""The curve that a tracker shows of a training of several processes: each step once, and none of a lost branch."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from nightspot.checkpoint import Checkpointer, MetricsError, SettingError, StepError
from nightspot.checkpoint.core import curve

STARTED_AT = datetime(2026, 11, 21, tzinfo=UTC)
UPLOAD = timedelta(minutes=10)


class Clock:
    def __init__(self):
        self.at = STARTED_AT

    def __call__(self):
        return self.at


class Shown:
    """A tracker in memory, which outlives the processes as a server does."""

    name = "mlflow"

    def __init__(self):
        self.rows = []
        self.known = None
        self.is_down = False
        self.is_finished = False

    def open(self):
        if self.is_down:
            raise ConnectionError("https://user:secret@tracker.example.com")
        self.known = max((step for step, _, _ in self.rows), default=-1)

    def send(self, points):
        if self.is_down:
            raise ConnectionError("gone")
        self.rows += [
            (point.step, name, value)
            for point in points
            for name, value in point.values.items()
            if point.step > self.known
        ]

    def url(self):
        return "https://tracker.example.com/runs/1"

    def finish(self):
        self.is_finished = True

    @property
    def loss(self):
        return [(step, value) for step, name, value in self.rows if name == "loss"]


def settle():
    for thread in threading.enumerate():
        if thread.name == "nightspot-mlflow":
            thread.join(10)


@pytest.fixture
def shown():
    return Shown()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def process(tmp_path, shown, clock):
    """A process of the training job, which SageMaker's folder outlives."""

    def begin(**settings):
        environ = {"TRAINING_JOB_NAME": "job-1", "SM_INPUT_CONFIG_DIR": str(tmp_path / "config")}
        given = {"total_steps": 24, "every_steps": 3, "keep_last": 9, "environ": environ, **settings}
        return Checkpointer(tmp_path / "checkpoints", now=clock, trackers=[shown], **given)

    return begin


def train(checkpointer, clock, first, last, branch=0.0):
    for step in range(first, last + 1):
        clock.at += timedelta(minutes=1)
        checkpointer.log(step, {"loss": step + branch})
        checkpointer.save_if_due(step, b"state")
        settle()


def test_a_point_is_shown_once_a_checkpoint_of_its_step_should_be_in_s3(process, shown, clock):
    checkpointer = process()
    checkpointer.restore()

    train(checkpointer, clock, 1, 12)
    before = shown.loss
    train(checkpointer, clock, 13, 13)

    assert before == []  # step 3 was saved nine minutes ago
    assert [step for step, _ in shown.loss] == [1, 2, 3]


def test_killed_twice_and_each_branch_with_other_numbers_the_curve_is_that_of_what_was_kept(
    process, shown, clock, tmp_path
):
    first = process()
    first.restore()
    train(first, clock, 1, 17)
    lose_after(tmp_path, 9)
    second = process()
    assert second.restore().step == 9
    train(second, clock, 10, 20, branch=100.0)
    lose_after(tmp_path, 12)
    third = process()
    assert third.restore().step == 12
    train(third, clock, 13, 24, branch=200.0)
    third.close()

    kept = [(step, float(step)) for step in range(1, 10)]
    kept += [(step, step + 100.0) for step in range(10, 13)]
    kept += [(step, step + 200.0) for step in range(13, 25)]
    assert shown.loss == kept
    assert shown.is_finished


def lose_after(tmp_path, step):
    """What had not reached S3 goes with the machine."""
    for path in (tmp_path / "checkpoints").iterdir():
        if path.name.startswith("checkpoint-") and int(path.name.split("-")[1]) > step:
            path.unlink()


def test_where_the_upload_took_longer_than_assumed_no_step_is_shown_twice(process, shown, clock, tmp_path):
    first = process()
    first.restore()
    train(first, clock, 1, 24)
    shown_before = len(shown.loss)
    lose_after(tmp_path, 6)
    second = process()
    assert second.restore().step == 6
    train(second, clock, 7, 24)
    second.close()

    assert shown_before > 6
    assert [step for step, _ in shown.loss] == list(range(1, 25))


def test_a_tracker_that_is_away_for_a_while_gets_every_point_later(
    process, shown, clock, caplog, monkeypatch
):
    monkeypatch.setattr(curve, "RETRY_SECONDS", 0.0)
    shown.is_down = True
    checkpointer = process()
    checkpointer.restore()
    train(checkpointer, clock, 1, 20)
    assert shown.rows == []
    shown.is_down = False
    train(checkpointer, clock, 21, 24)
    checkpointer.close()

    assert [step for step, _ in shown.loss] == list(range(1, 25))
    assert caplog.text.count("training goes on") == 1
    assert "secret" not in caplog.text


def test_a_tracker_that_stays_away_costs_the_training_nothing_but_a_warning(process, shown, clock, caplog):
    shown.is_down = True
    with process() as checkpointer:
        checkpointer.restore()
        train(checkpointer, clock, 1, 24)

    assert "24 point(s) of the curve were not sent" in caplog.text


def test_a_tracker_that_does_not_answer_holds_the_end_up_no_longer_than_allowed(
    process, shown, clock, caplog, monkeypatch
):
    monkeypatch.setattr(curve, "CLOSE_SECONDS", 0.05)
    answer = threading.Event()
    monkeypatch.setattr(shown, "send", lambda points: answer.wait(30))
    with process() as checkpointer:
        checkpointer.restore()
        settle()
        checkpointer.log(1, {"loss": 1.0})
        checkpointer.save(1, b"state")

    assert "1 point(s) of the curve were not sent" in caplog.text
    answer.set()
    settle()


@pytest.mark.parametrize("how", ["asked to stop", "raised"])
def test_what_was_not_safe_at_the_end_of_a_process_is_shown_by_the_next_one(
    process, shown, clock, tmp_path, how
):
    notice = tmp_path / "notice"
    environ = {"TRAINING_JOB_NAME": "job-1", "NIGHTSPOT_RECLAIM_NOTICE_FILE": str(notice)}

    class StepFailedError(Exception):
        pass

    def begin_and_end():
        with process(environ={**environ, "SM_INPUT_CONFIG_DIR": str(tmp_path)}) as checkpointer:
            checkpointer.restore()
            train(checkpointer, clock, 1, 6)
            if how == "raised":
                raise StepFailedError
            notice.touch()
            train(checkpointer, clock, 7, 7)
            checkpointer.exit_if_asked()

    with pytest.raises((SystemExit, StepFailedError)):
        begin_and_end()
    assert shown.rows == []
    assert not shown.is_finished
    last = 7 if how == "asked to stop" else 6
    with process() as checkpointer:
        assert checkpointer.restore().step == last
        train(checkpointer, clock, last + 1, 9)

    assert [step for step, _ in shown.loss] == list(range(1, 10))


def test_outside_of_a_training_job_a_checkpoint_on_the_disk_is_enough(process, shown, clock):
    checkpointer = process(environ={})
    train(checkpointer, clock, 1, 4)

    assert [step for step, _ in shown.loss] == [1, 2, 3]


def test_several_numbers_of_a_step_are_shown_each_once_and_what_is_not_finite_is_not(
    process, shown, clock, caplog
):
    with process() as checkpointer:
        checkpointer.log(1, {"loss": 1.0, "grad": float("nan")})
        checkpointer.log(1, {"accuracy": 0.5})
        checkpointer.log(1, {"loss": 2.0})
        checkpointer.log(2, {"loss": float("inf")})

    assert shown.rows == [(1, "loss", 1.0), (1, "accuracy", 0.5)]
    assert "the first number counts" in caplog.text


def test_steps_that_go_back_and_values_that_are_no_numbers_are_refused(process):
    checkpointer = process()
    checkpointer.log(5, {"loss": 1.0})

    with pytest.raises(StepError, match="step=4: must not go backwards, step 5 was logged"):
        checkpointer.log(4, {"loss": 1.0})
    with pytest.raises(MetricsError, match="loss"):
        checkpointer.log(6, {"loss": "low"})


def test_a_step_up_to_the_restored_one_is_not_shown_again(process, shown, clock):
    first = process()
    train(first, clock, 1, 3)
    with process() as second:
        assert second.restore().step == 3
        second.log(3, {"loss": 0.0})
        train(second, clock, 4, 6)

    assert shown.loss == [(step, float(step)) for step in range(1, 7)]


def test_the_progress_file_names_the_page_of_the_run(process, clock, tmp_path):
    checkpointer = process()
    checkpointer.restore()
    settle()
    train(checkpointer, clock, 1, 3)

    document = json.loads((tmp_path / "checkpoints" / "nightspot.json").read_text())
    assert document["trackers"] == {"mlflow": "https://tracker.example.com/runs/1"}


def test_other_ranks_and_drills_show_nothing(process, shown, clock, tmp_path):
    with process(rank=1, world_size=2, replicated=True) as checkpointer:
        train(checkpointer, clock, 1, 6)
    environ = {"NIGHTSPOT_DRILL_JOURNAL": str(tmp_path / "journal.jsonl")}
    with process(environ=environ) as checkpointer:
        train(checkpointer, clock, 1, 6)

    assert shown.rows == []


def test_of_more_points_than_can_be_held_the_oldest_are_dropped_with_a_warning(
    process, shown, clock, caplog, monkeypatch
):
    monkeypatch.setattr(curve, "MOST_HELD", 4)
    with process(every_steps=100) as checkpointer:
        train(checkpointer, clock, 1, 6)

    assert [step for step, _ in shown.loss] == [3, 4, 5, 6]
    assert "the oldest are dropped" in caplog.text


def test_a_tracker_without_its_methods_is_refused(tmp_path):
    with pytest.raises(SettingError, match="must have the methods open, send, url, finish"):
        Checkpointer(tmp_path, trackers=[object()])
