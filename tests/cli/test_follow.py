"""How a run is followed: what is told, what a wait outlives, and with which status it ends."""

import json
from datetime import UTC, datetime

import pytest

from nightspot.aws.runs.api_client import CannotLookError, ExecutionEnd
from nightspot.cli._shared import ExitStatus
from nightspot.cli.runs import follow
from nightspot.cli.runs.follow import Look, LookRefusedError
from nightspot.record.model import read_record
from nightspot.terminal import deployed_run
from nightspot.terminal.deployed_run import NewsKind

NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)


@pytest.fixture
def record(root):
    return json.loads((root / "tests" / "view" / "html" / "bad_night.json").read_text(encoding="utf-8"))


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


def look(record, end=None):
    return Look(read_record(record), end)


def end_of(record):
    return deployed_run.end_of(read_record(record))


class Wait:
    """Follows what the looks show one after the other, the last one for ever; time passes by sleeping.

    `look_seconds`: and by looking, as with an API that answers slowly.
    """

    def __init__(self, *looks, longest_seconds=None, seconds=60.0, look_seconds=0.0):
        self.looks = list(looks)
        self.slept = self.passed = 0.0
        self.look_seconds = look_seconds
        self.lines = []
        self.quiet = [0.0]
        self.followed = follow.follow(
            self._look,
            sleep=self._sleep,
            monotonic=lambda: 1e6 + self.passed,
            pace=lambda _look: seconds,
            now=lambda _record: NOW,
            on_news=self._news,
            longest_seconds=longest_seconds,
        )

    def _look(self):
        self.passed += self.look_seconds
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, BaseException):
            raise look
        return look

    def _sleep(self, seconds):
        self.slept += seconds
        self.passed += seconds
        self.quiet.append(self.quiet.pop() + seconds)

    def _news(self, line):
        self.lines.append(line)
        self.quiet.append(0.0)

    def texts(self, kind):
        return [line.text for line in self.lines if line.kind is kind]


def test_every_decision_is_told_once_and_the_end_with_cost_and_saving(going, record):
    wait = Wait(Look(None), look(going), look(going), look(record))
    decisions = wait.texts(NewsKind.DECISION)
    assert [text.partition(": ")[2] for text in decisions] == [step["because"] for step in record["steps"]]
    assert wait.lines[-1].text == (
        "The model is ready, 47 min before the deadline. It cost $84.05, 36.9\u00a0% less than on-demand alone."
    )
    assert wait.followed.status is ExitStatus.IN_TIME
    assert wait.followed.record == read_record(record)


def test_a_training_job_is_told_when_its_state_changes(going, record):
    attempt = going["attempts"][0]
    training = {**going, "attempts": [{**attempt, "secondary_status": "Training"}]}
    taken = {**going, "attempts": [{**attempt, "secondary_status": "Interrupted", "interruptions": 1}]}
    strange = {**going, "attempts": [{**attempt, "secondary_status": "Dreaming"}]}
    wait = Wait(
        look(going),
        look(training),
        look(taken),
        look(strange),
        look(record),
    )
    name = "job 1 (Spot ml.p4d.24xlarge) "
    assert wait.texts(NewsKind.ATTEMPT)[:4] == [
        f"{name}waits for a machine",
        f"{name}trains",
        f"{name}INTERRUPTED: the machine was taken away (interrupted 1 x)",
        f"{name}is Dreaming",
    ]
    assert f"{name}ended as stopped by Nightspot (interrupted 2 x)" in wait.texts(NewsKind.ATTEMPT)


def test_a_silent_run_is_told_at_least_every_ten_minutes_until_the_time_is_up(going):
    wait = Wait(look(going), longest_seconds=7200)
    assert wait.followed.status is ExitStatus.STILL_RUNNING
    assert wait.slept == 7200
    assert max(wait.quiet) <= 600
    assert wait.texts(NewsKind.STILL)[0].endswith("waits for a machine; 5 h to the deadline (08:00 UTC).")


def test_the_wait_does_not_sleep_beyond_its_time(going):
    assert Wait(look(going), longest_seconds=90).slept == 90


def test_a_fault_is_told_once_and_outlived(going, record):
    fault = CannotLookError("throttled")
    wait = Wait(look(going), fault, fault, fault, look(going), look(record))
    assert wait.texts(NewsKind.FAULT) == [
        "the run cannot be looked at just now; it is tried again: throttled",
        "the run can be looked at again",
    ]
    assert wait.followed.status is ExitStatus.IN_TIME


def test_a_run_that_nobody_can_look_at_any_more_is_given_up(going):
    wait = Wait(look(going), CannotLookError("expired", is_expired=True))
    assert wait.followed.status is ExitStatus.SERVICE
    assert wait.followed.why == "it could not be looked at for 4 h: expired"
    assert wait.followed.may_go_on
    assert follow.MOST_TROUBLE_SECONDS <= wait.slept <= follow.MOST_TROUBLE_SECONDS + 120


def test_an_input_that_the_plan_refuses_is_the_user_s(going):
    end = ExecutionEnd("FAILED", "Nightspot.InvalidInput", "deadline: 'x': must be a time")
    wait = Wait(Look(None), Look(None, end))
    assert wait.followed.status is ExitStatus.USER
    assert wait.followed.why == "its input was refused: deadline: 'x': must be a time"
    assert not wait.followed.may_go_on


def test_an_execution_that_is_gone_without_an_outcome_is_not_waited_for(going):
    assert Wait(look(going, ExecutionEnd("FAILED", "States.Runtime"))).followed.status is ExitStatus.SERVICE
    assert Wait(look(going, ExecutionEnd("ABORTED"))).followed.status is ExitStatus.STOPPED


def test_a_run_that_never_comes_on_record_is_given_up():
    wait = Wait(Look(None))
    assert wait.followed.status is ExitStatus.SERVICE
    assert wait.slept == follow.MOST_UNRECORDED_SECONDS
    assert wait.followed.why.startswith("it is still not on record")


def test_a_run_that_is_not_found_once_is_looked_for_on(going, record):
    wait = Wait(*[look(going)] * 20, Look(None), look(record))
    assert wait.followed.status is ExitStatus.IN_TIME
    gone = Wait(look(going), Look(None)).followed
    assert (gone.status, gone.record) == (ExitStatus.SERVICE, read_record(going))
    assert gone.why.startswith("it is no longer on record")


def test_what_is_refused_for_good_ends_the_wait_and_leaves_what_was_seen(going):
    followed = Wait(look(going), LookRefusedError("AWS: no permission")).followed
    assert (followed.status, followed.record) == (ExitStatus.SERVICE, read_record(going))
    assert (followed.why, followed.may_go_on) == ("it cannot be looked at: AWS: no permission", True)


def test_ctrl_c_ends_the_wait_and_leaves_what_was_seen(going):
    followed = Wait(look(going), KeyboardInterrupt()).followed
    assert (followed.status, followed.record) == (ExitStatus.INTERRUPTED, read_record(going))


def test_looks_that_take_long_count_into_the_time(going):
    wait = Wait(look(going), longest_seconds=3600, look_seconds=240.0)
    assert wait.followed.status is ExitStatus.STILL_RUNNING
    assert 3600 <= wait.passed <= 3600 + 240
    trouble = Wait(CannotLookError("no answer"), look_seconds=240.0)
    assert trouble.passed <= follow.MOST_TROUBLE_SECONDS + 2 * 300


def test_a_run_that_cannot_be_looked_at_is_not_told_to_stand_as_it_did(going):
    wait = Wait(look(going), CannotLookError("expired"), longest_seconds=2000)
    assert wait.texts(NewsKind.STILL) == []
    assert wait.texts(NewsKind.FAULT)[1] == "the run could not be looked at for 9 min; it is tried again"
    assert max(wait.quiet) <= 600


def test_the_end_is_the_last_of_the_story_by_its_time_too(going, record):
    lines = Wait(look(going), look(record)).lines
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    assert lines[-1].facts["ended_at"] == record["ended_at"]
    refused = {**record, "attempts": [], "ended_at": None, "outcome": "failed"}
    assert end_of(refused).at.isoformat() == record["steps"][-1]["at"].replace("Z", "+00:00")


def test_a_late_model_and_none_at_all_are_worded(record):
    late = {**record, "deadline_met": False, "margin_seconds": -600.0}
    assert end_of(late).text.startswith("The model is ready, 10 min AFTER the deadline.")
    plan = {"cost_usd": 47.16, "on_demand_cost_usd": 0.0, "saved_usd": -47.16, "saved_at_most_usd": 44.84}
    assert end_of({**record, **plan}).text.endswith(
        "It cost $47.16, $47.16 more than on-demand alone. It depends on the room in the Savings Plan: at best"
        " $44.84 saved."
    )
    failed = {**record, "outcome": "failed", "because": "No rung is left.", "deadline_met": False}
    assert end_of(failed).text == "There is no model: failed. No rung is left. It cost $84.05."


def test_time_that_is_past_the_deadline_is_said(going):
    text = deployed_run.time_left(read_record(going), datetime(2026, 11, 21, 9, 30, tzinfo=UTC))
    assert text == "1 h 30 min past the deadline (08:00 UTC)"


CRASH = ExecutionEnd("FAILED", "Nightspot.DecisionCrashed", "KeyError: boom")


def test_a_run_that_another_execution_goes_on_with_is_followed_to_its_end(going, record):
    """The new execution is in the record, and has not ended."""
    waited = Wait(
        look(going),
        look(going, CRASH),
        look(going, CRASH),
        look(going),
        look(record),
    )
    assert waited.followed.status is ExitStatus.IN_TIME
    (told,) = waited.texts(NewsKind.FAULT)
    assert told == (
        "its execution crashed (FAILED: Nightspot.DecisionCrashed: KeyError: boom); "
        "the reconciler restarts the run or closes it"
    )


def test_a_crashed_run_that_nobody_restarts_or_closes_is_given_up_after_an_hour(going):
    waited = Wait(look(going, CRASH))
    assert waited.followed.status is ExitStatus.SERVICE
    assert "ended without recording an outcome" in waited.followed.why
    assert waited.slept == 3600
