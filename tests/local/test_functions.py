"""Handlers as local functions, and events that come again as Lambda brings them again."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import pytest

from nightspot.lambdas import (
    close_run,
    decide_next_step,
    plan_run,
    reconcile,
    record_outcome,
    start_training_job,
    wake_run,
)
from nightspot.local.clock import StoryClock
from nightspot.local.stage import emulated_aws
from nightspot.local.stage.emulated_aws import (
    AsyncInvoker,
    DeadLetters,
    EmulatedSchedule,
    LocalContext,
    function_arn,
    functions,
)

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
PATIENCE_REAL_SECONDS = 120
EVENT = {"detail": {"TrainingJobName": "job"}}


class Function:
    """Fails so many times, then works; remembers the story's time of each call."""

    def __init__(self, clock: StoryClock, failures: int) -> None:
        self._clock, self._failures = clock, failures
        self.events, self.at_seconds = [], []

    def __call__(self, event):
        self.at_seconds.append(self._clock.elapsed_seconds())
        self.events.append(event)
        if len(self.events) <= self._failures:
            raise RuntimeError(f"failure {len(self.events)}")


class Delivery:
    """One event on its way to a function."""

    def __init__(self, failures: int, scale: float = 36_000) -> None:
        clock = StoryClock(MIDNIGHT, scale)
        self.dead = DeadLetters()
        self.function = Function(clock, failures)
        self.invoker = AsyncInvoker(self.function, clock, self.dead)
        self.invoker(EVENT)

    def until(self, happened) -> None:
        deadline = time.monotonic() + PATIENCE_REAL_SECONDS
        while not happened():
            assert time.monotonic() < deadline, "never happened"
            time.sleep(0.001)


@pytest.fixture
def deliver():
    started = []

    def start(failures, **options):
        started.append(Delivery(failures, **options))
        return started[-1]

    yield start
    for each in started:
        each.invoker.close()


def test_an_event_is_delivered_once_where_the_function_takes_it(deliver):
    delivery = deliver(failures=0)
    delivery.until(lambda: delivery.function.events)
    delivery.invoker.close()
    assert delivery.function.events == [EVENT]
    assert delivery.dead.letters == ()


def test_an_event_that_fails_comes_again_after_one_and_after_two_minutes(deliver):
    delivery = deliver(failures=2)
    delivery.until(lambda: len(delivery.function.events) == 3)
    delivery.invoker.close()
    first, second, third = delivery.function.at_seconds
    assert second - first >= 60
    assert third - second >= 120
    assert delivery.function.events == [EVENT] * 3
    assert delivery.dead.letters == ()


def test_an_event_that_fails_three_times_is_a_dead_letter_with_its_last_error(deliver):
    delivery = deliver(failures=9)
    delivery.until(lambda: delivery.dead.letters)
    ((event, error),) = delivery.dead.letters
    assert event == EVENT
    assert str(error) == "failure 3"
    assert len(delivery.function.events) == 3


def test_closing_gives_up_what_waits_for_its_retry(deliver):
    delivery = deliver(failures=9, scale=1)
    delivery.until(lambda: delivery.function.events)
    delivery.invoker.close()
    assert "async-invoke" not in {thread.name for thread in threading.enumerate()}
    assert len(delivery.function.events) == 1
    assert delivery.dead.letters == ()


def test_delivery_does_not_hold_up_whoever_sends():
    release, entered = threading.Event(), threading.Event()

    def slow(_event):
        entered.set()
        release.wait(PATIENCE_REAL_SECONDS)

    invoker = AsyncInvoker(slow, StoryClock(MIDNIGHT, 36_000), DeadLetters())
    invoker(EVENT)
    assert entered.wait(PATIENCE_REAL_SECONDS)
    assert not release.is_set()
    release.set()
    invoker.close()


def test_whoever_settles_stays_until_everything_has_arrived_or_for_so_long():
    release = threading.Event()
    invoker = AsyncInvoker(
        lambda _event: release.wait(PATIENCE_REAL_SECONDS), StoryClock(MIDNIGHT, 36_000), DeadLetters()
    )
    invoker(EVENT)
    invoker.settle(0.01)
    assert "async-invoke" in {thread.name for thread in threading.enumerate()}
    release.set()
    invoker.settle(PATIENCE_REAL_SECONDS)
    assert "async-invoke" not in {thread.name for thread in threading.enumerate()}
    invoker.settle(PATIENCE_REAL_SECONDS)
    invoker.close()


def test_the_workflow_s_functions_are_the_deployed_handlers(monkeypatch):
    called = {}
    handlers = {
        "PlanRun": plan_run,
        "DecideNextStep": decide_next_step,
        "RecordOutcome": record_outcome,
        "WakeRun": wake_run,
        "CloseRun": close_run,
        "Reconcile": reconcile,
        "StartTrainingJob": start_training_job,
    }
    for name, handler_module in handlers.items():

        def handler(event, context, *, use, name=name):
            called[name] = (event, context.function_name, use)
            return {"from": name}

        monkeypatch.setattr(handler_module, "handler", handler)
    collaborators, jobs = object(), object()
    bound = functions(collaborators, jobs)
    assert bound.keys() == handlers.keys()
    for name, function in bound.items():
        assert function({"to": name}) == {"from": name}
        assert called[name] == ({"to": name}, name, jobs if name == "StartTrainingJob" else collaborators)


def test_one_function_runs_at_a_time(monkeypatch):
    inside, most = [], []

    def handler(_event, _context, *, use):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)  # long enough to be overtaken
        inside.pop()

    for handler_module in (emulated_aws.plan_run, emulated_aws.wake_run):
        monkeypatch.setattr(handler_module, "handler", handler)
    bound = functions(object(), object())
    threads = [threading.Thread(target=bound[name], args=({},)) for name in ("PlanRun", "WakeRun") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 4


def test_a_function_is_named_by_the_end_of_its_arn():
    assert function_arn("PlanRun").rpartition(":")[2] == "PlanRun"
    assert LocalContext("PlanRun").invoked_function_arn == function_arn("PlanRun")


class TestASchedule:
    @pytest.fixture
    def function(self, monkeypatch):
        monkeypatch.setattr(emulated_aws, "LEAST_REAL_SECONDS", 0.01)
        return Function(StoryClock(MIDNIGHT, 36_000), failures=1)

    def test_invokes_every_so_often_and_what_fails_is_a_dead_letter(self, function):
        dead = DeadLetters()
        clock = StoryClock(MIDNIGHT, 36_000)
        schedule = EmulatedSchedule(function, clock, dead, every_seconds=600)
        deadline = time.monotonic() + PATIENCE_REAL_SECONDS
        while len(function.at_seconds) < 3:
            assert time.monotonic() < deadline, "never happened"
            time.sleep(0.001)
        schedule.close()
        first, second, third = function.at_seconds[:3]
        assert second - first >= 600
        assert third - second >= 600
        assert [str(error) for _, error in dead.letters] == ["failure 1"]
        called = len(function.at_seconds)
        time.sleep(0.05)
        assert len(function.at_seconds) == called

    def test_is_no_faster_than_the_machine(self, function, monkeypatch):
        monkeypatch.setattr(emulated_aws, "LEAST_REAL_SECONDS", 60.0)
        schedule = EmulatedSchedule(function, StoryClock(MIDNIGHT, 36_000), DeadLetters(), every_seconds=1)
        time.sleep(0.05)
        schedule.close()
        assert function.at_seconds == []
