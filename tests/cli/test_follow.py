"""How a run is followed: what is told, what a wait outlives, and with which status it ends."""

import json
from datetime import UTC, datetime

import pytest

from nightspot.aws.waiting import CannotLookError, ExecutionEnd
from nightspot.cli import follow
from nightspot.cli.exit_status import ExitStatus
from nightspot.cli.follow import Look
from nightspot.report import news
from nightspot.report.news import NewsKind

NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)


@pytest.fixture
def record(root):
    return json.loads((root / "tests" / "pages" / "bad_night.json").read_text(encoding="utf-8"))


@pytest.fixture
def going(record):
    """The same night after its first two decisions."""
    [first, *_] = record["attempts"]
    attempt = {
        **first,
        "ended_at": None,
        "failure_class": None,
        "secondary_status": "Pending",
        "interruptions": 0,
    }
    unknown = {"ended_at": None, "margin_seconds": None, "deadline_met": False, "because": None}
    return {**record, "outcome": "running", "steps": record["steps"][:2], "attempts": [attempt], **unknown}


class Wait:
    """Follows what the looks show one after the other, the last one for ever; time passes by sleeping."""

    def __init__(self, *looks, longest_seconds=None, seconds=60.0):
        self.looks = list(looks)
        self.slept = 0.0
        self.lines = []
        self.quiet = [0.0]
        self.followed = follow.follow(
            self._look,
            sleep=self._sleep,
            pace=lambda _look: seconds,
            now=lambda _record: NOW,
            on_news=self._news,
            longest_seconds=longest_seconds,
        )

    def _look(self):
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, Exception):
            raise look
        return look

    def _sleep(self, seconds):
        self.slept += seconds
        self.quiet.append(self.quiet.pop() + seconds)

    def _news(self, line):
        self.lines.append(line)
        self.quiet.append(0.0)

    def texts(self, kind):
        return [line.text for line in self.lines if line.kind is kind]


def test_every_decision_is_told_once_and_the_end_with_cost_and_saving(going, record):
    wait = Wait(Look(None), Look(going), Look(going), Look(record))
    decisions = wait.texts(NewsKind.DECISION)
    assert [text.partition(": ")[2] for text in decisions] == [step["because"] for step in record["steps"]]
    assert wait.lines[-1].text == (
        "The model is ready, 47 min before the deadline. It cost $84.05, 36.9\u00a0% less than on-demand alone."
    )
    assert wait.followed.status is ExitStatus.IN_TIME
    assert wait.followed.record == record


def test_a_training_job_is_told_when_its_state_changes(going, record):
    attempt = going["attempts"][0]
    training = {**going, "attempts": [{**attempt, "secondary_status": "Training"}]}
    taken = {**going, "attempts": [{**attempt, "secondary_status": "Interrupted", "interruptions": 1}]}
    strange = {**going, "attempts": [{**attempt, "secondary_status": "Dreaming"}]}
    wait = Wait(Look(going), Look(training), Look(taken), Look(strange), Look(record))
    name = "job 1 (Spot ml.p4d.24xlarge) "
    assert wait.texts(NewsKind.ATTEMPT)[:4] == [
        f"{name}waits for a machine",
        f"{name}trains",
        f"{name}INTERRUPTED: the machine was taken away (interrupted 1 x)",
        f"{name}is Dreaming",
    ]
    assert f"{name}ended as stopped by nightspot (interrupted 2 x)" in wait.texts(NewsKind.ATTEMPT)


def test_a_silent_run_is_told_at_least_every_ten_minutes_until_the_time_is_up(going):
    wait = Wait(Look(going), longest_seconds=7200)
    assert wait.followed.status is ExitStatus.STILL_RUNNING
    assert wait.slept == 7200
    assert max(wait.quiet) <= 600
    assert wait.texts(NewsKind.STILL)[0].endswith("waits for a machine; 5 h to the deadline (08:00 UTC).")


def test_the_wait_does_not_sleep_beyond_its_time(going):
    assert Wait(Look(going), longest_seconds=90).slept == 90


def test_a_fault_is_told_once_and_outlived(going, record):
    fault = CannotLookError("throttled")
    wait = Wait(Look(going), fault, fault, fault, Look(going), Look(record))
    assert wait.texts(NewsKind.FAULT) == [
        "the run cannot be looked at just now; it is tried again: throttled",
        "the run can be looked at again",
    ]
    assert wait.followed.status is ExitStatus.IN_TIME


def test_a_run_that_nobody_can_look_at_any_more_is_given_up(going):
    wait = Wait(Look(going), CannotLookError("expired", is_expired=True))
    assert wait.followed.status is ExitStatus.SERVICE
    assert "could not be followed any longer, it may go on: expired" in wait.followed.why
    assert follow.MOST_TROUBLE_SECONDS <= wait.slept <= follow.MOST_TROUBLE_SECONDS + 120


def test_an_input_that_the_plan_refuses_is_the_user_s(going):
    end = ExecutionEnd("FAILED", "Nightspot.InvalidInput", "deadline: 'x': must be a time")
    wait = Wait(Look(None), Look(None, end))
    assert wait.followed.status is ExitStatus.USER
    assert "deadline: 'x': must be a time" in wait.followed.why


def test_an_execution_that_is_gone_without_an_outcome_is_not_waited_for(going):
    assert Wait(Look(going, ExecutionEnd("FAILED", "States.Runtime"))).followed.status is ExitStatus.SERVICE
    assert Wait(Look(going, ExecutionEnd("ABORTED"))).followed.status is ExitStatus.STOPPED


def test_a_run_that_never_comes_on_record_is_given_up():
    wait = Wait(Look(None))
    assert wait.followed.status is ExitStatus.SERVICE
    assert wait.slept == follow.MOST_UNRECORDED_SECONDS


def test_a_late_model_and_none_at_all_are_worded(record):
    late = {**record, "deadline_met": False, "margin_seconds": -600.0}
    assert news.end_of(late).text.startswith("The model is ready, 10 min AFTER the deadline.")
    failed = {**record, "outcome": "failed", "because": "No rung is left.", "deadline_met": False}
    assert news.end_of(failed).text == "There is no model: failed. No rung is left. It cost $84.05."
    crashed = {**record, "outcome": None, "because": None, "cause": "boom"}
    assert news.end_of(crashed).text == "There is no model: the workflow crashed. boom"


def test_time_that_is_past_the_deadline_is_said(going):
    text = news.time_left(going, datetime(2026, 11, 21, 9, 30, tzinfo=UTC))
    assert text == "1 h 30 min past the deadline (08:00 UTC)"
