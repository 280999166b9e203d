"""Why decisions are taken: each reason is reached by a decision, and has a sentence made of its figures alone."""

import json
from dataclasses import replace

import pytest

from nightspot.decide.policy import MOST_ATTEMPTS, next_step
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Fallback, Policy
from nightspot.run.model import (
    Action,
    AttemptState,
    Doubt,
    LeftOut,
    Outcome,
    Resume,
    StopCall,
    step_from_json,
    to_json,
)
from nightspot.run.reasons import SENTENCES, Reason, sentence

ON_DEMAND = "on_demand_type"


def decided(story, clock, *attempts, **changes):
    return next_step(story.run(attempts=attempts, **changes), story.at(clock))


def after(story, failure, clock="00:00", *, changes=None, rung=None, **attempt):
    ended = story.ended(failure, rung, ended_at=story.at(clock), **attempt)
    return decided(story, clock, ended, **(changes or {}))


def slow(story, clock):
    """At 0.45 of the pace, three steps of 24 were safe at 01:46:40: on-demand is in time until 03:51."""
    rung = replace(story.spot, speed=0.45)
    attempt = story.training(rung, since="00:40", seconds_per_step=600 / 0.45)
    progress = story.progress(3, "01:46:40", attempt=1)
    changes = {"rungs": (rung, story.on_demand), "progress": progress, "work_upper_seconds": 15_840.0}
    return decided(story, clock, attempt, **changes)


def p5(story):
    return replace(story.spot, instance_type="ml.p5.48xlarge")


def two_types(story):
    return {"rungs": (story.spot, p5(story), story.on_demand)}


def capped(story, **changes):
    limit = {"StoppingCondition": {"MaxRuntimeInSeconds": 4 * 3600}}
    return {"training_job": {**story.run().training_job, **limit}, **changes}


def stopping(story, **changes):
    return story.attempt(stop_requested_at=story.at("01:00"), **changes)


LIMIT = FailureClass.RUNTIME_LIMIT
CASES = {
    Reason.WAIT_FOR_SPOT: lambda s: decided(s, "00:00"),
    Reason.ON_DEMAND_ONLY: lambda s: decided(s, "00:00", rungs=(s.on_demand,)),
    Reason.NO_SPOT_LEFT: lambda s: decided(s, "00:00", left_out=(LeftOut(s.spot, "its quota is 0."),)),
    Reason.NO_ON_DEMAND: lambda s: after(s, FailureClass.NO_CAPACITY, "04:00", rung=s.on_demand),
    Reason.LAST_SAFE_MOMENT: lambda s: decided(s, "02:14", s.attempt()),
    Reason.PATIENCE_OVER: lambda s: decided(s, "00:30", s.attempt(), **two_types(s)),
    Reason.THRASHING: lambda s: decided(
        s,
        "01:00",
        s.attempt(interruptions=3, fruitless_interruptions=3, state_since=s.at("00:59")),
        **two_types(s),
    ),
    Reason.TOO_SLOW: lambda s: slow(s, "03:50:30"),
    Reason.RESUME_BROKEN: lambda s: decided(s, "00:30", s.attempt(resume=Resume.BROKEN)),
    Reason.NOT_SHOWN_YET: lambda s: decided(s, "00:01", s.attempt(state=AttemptState.ASKED)),
    Reason.ASK_AGAIN: lambda s: decided(
        s, "00:00", s.attempt(state=AttemptState.ASKED, doubt=Doubt(FailureClass.THROTTLED, "Slow down."))
    ),
    Reason.IN_DOUBT: lambda s: decided(
        s,
        "12:00",
        s.attempt(state=AttemptState.ASKED, doubt=Doubt(FailureClass.THROTTLED, "Slow down.")),
        fallback=Fallback.NEVER,
    ),
    Reason.WAITING: lambda s: decided(s, "01:00", s.attempt()),
    Reason.STARTING: lambda s: decided(s, "01:00", s.attempt(state=AttemptState.STARTING)),
    Reason.ON_TRACK: lambda s: decided(s, "01:00", s.training(since="00:10", trained_seconds=3000.0)),
    Reason.FALLING_BEHIND: lambda s: slow(s, "03:00"),
    Reason.LATE: lambda s: decided(s, "07:00", s.training(s.on_demand, since="06:50")),
    Reason.UPLOADING: lambda s: decided(s, "05:00", s.training(since="00:10", secondary_status="Uploading")),
    Reason.BUDGET_USED_UP: lambda s: decided(
        s, "01:00", s.training(since="00:10", trained_seconds=3000.0), budget_usd=20.0
    ),
    Reason.GAVE_UP_WAITING: lambda s: decided(s, "33:00", s.attempt(s.on_demand)),
    Reason.STOPPING: lambda s: decided(s, "01:00", s.attempt(state=AttemptState.STOPPING)),
    Reason.STOP_REFUSED: lambda s: decided(
        s, "01:00:05", stopping(s, stop_call=StopCall.REFUSED, stop_faults=2)
    ),
    Reason.STOP_OVERDUE: lambda s: decided(s, "01:06", stopping(s, stop_call=StopCall.ACCEPTED)),
    Reason.WAITING_FOR_TURN: lambda s: decided(s, "00:00", waits_for_run="20261120-older"),
    Reason.BACK_OFF: lambda s: after(s, FailureClass.THROTTLED),
    Reason.COMPLETED: lambda s: after(s, None),
    Reason.REFUSED: lambda s: decided(s, "00:00", refused_because="Another run {holds} the job."),
    Reason.REPLACED: lambda s: decided(s, "00:00", replaced_by="20261122-newer"),
    Reason.STOP_REQUESTED: lambda s: decided(s, "00:00", stop_asked_by="nightspot stop"),
    Reason.STOPPED_BY_PERSON: lambda s: after(s, FailureClass.STOPPED_BY_PERSON),
    Reason.USER_FAULT: lambda s: after(s, FailureClass.USER_CODE, failure_reason="KeyError: '{step}' {0}"),
    Reason.NOT_CAPACITY: lambda s: after(s, FailureClass.UNKNOWN),
    Reason.NO_PROGRESS: lambda s: after(s, LIMIT, step_after=0, max_runtime_seconds=7200.0),
    Reason.PAID_TIME_USED_UP: lambda s: after(
        s, LIMIT, changes=capped(s), step_after=9, billable_seconds=4 * 3600.0
    ),
    Reason.REPEATED_FAULT: lambda s: decided(
        s,
        "01:00",
        *(s.ended(FailureClass.SERVICE_FAULT, number=n, failed_in="Starting") for n in (1, 2)),
    ),
    Reason.TOO_MANY_ATTEMPTS: lambda s: decided(
        s, "01:00", *(s.ended(FailureClass.INTERRUPTED, number=n + 1) for n in range(MOST_ATTEMPTS))
    ),
    Reason.GAVE_UP: lambda s: after(s, FailureClass.NO_CAPACITY, "33:00", rung=s.on_demand),
    Reason.NO_RUNG_LEFT: lambda s: decided(
        s, "00:00", left_out=(LeftOut(s.spot, "no quota."), LeftOut(s.on_demand, "no quota."))
    ),
    Reason.BUDGET_TOO_SMALL: lambda s: decided(s, "00:00", budget_usd=20.0),
    Reason.NO_AFFORDABLE_RUNG: lambda s: decided(
        s,
        "04:00",
        rungs=(s.spot, replace(s.on_demand, usd_per_hour=100.0)),
        budget_usd=200.0,
    ),
    Reason.FALLBACK_FORBIDDEN: lambda s: decided(s, "03:50", fallback=Fallback.NEVER),
}
# Made where an execution's end is told, and not by the policy.
ELSEWHERE = {Reason.EXECUTION_ENDED}


def test_every_reason_has_its_sentence_and_a_decision_that_reaches_it():
    assert set(SENTENCES) == set(Reason) == set(CASES) | ELSEWHERE


@pytest.mark.parametrize("reason", CASES)
def test_a_decision_says_its_reason(story, reason):
    step = CASES[reason](story)
    assert step.reason is reason
    assert step.because.endswith(".")


@pytest.mark.parametrize("reason", CASES)
def test_the_sentence_is_made_of_the_stored_figures_alone(story, reason):
    step = CASES[reason](story)
    figures = json.loads(json.dumps(to_json(step)))["figures"]
    # JSONata makes floats of whole numbers.
    floats = {name: float(value) if type(value) is int else value for name, value in figures.items()}
    assert sentence(reason, figures, step.at) == sentence(reason, floats, step.at) == step.because
    assert step_from_json(to_json(step)) == step


def test_a_decision_is_worded_when_it_is_read_or_stored(story, monkeypatch):
    worded = []
    monkeypatch.setattr(
        "nightspot.run.model.sentence", lambda reason, _figures, _at: worded.append(reason) or "so."
    )
    step = CASES[Reason.WAITING](story)
    assert not worded
    assert (step.because, to_json(step)["because"]) == ("so.", "so.")
    assert set(worded) == {Reason.WAITING}


def test_a_text_of_other_peoples_is_said_as_it_is(story):
    said = CASES[Reason.USER_FAULT](story).because
    assert "ended as user code: KeyError: '{step}' {0}; not a capacity problem" in said


def test_a_time_on_another_day_carries_it_and_one_far_ahead_as_well(story):
    days = decided(story, "00:00", deadline=story.at("150:00"))
    assert "wait for Spot ml.p4d.24xlarge until 27 November 2026, 00:14 UTC." in days.because
    training = story.training(since="00:10", trained_seconds=3000.0)
    said = decided(story, "01:00", training, deadline=story.at("20:00")).because
    assert "expected 05:28 UTC, due 21 November 2026, 20:00 UTC" in said
    # Nor is a day named that is today's, and near.
    assert "due 13:00 UTC" in decided(story, "01:00", training, deadline=story.at("13:00")).because
    late = decided(story, "23:30", story.training(since="22:10"), deadline=story.at("30:00")).because
    assert "due 22 November 2026, 06:00 UTC" in late


def test_a_figure_that_is_missing_is_named():
    with pytest.raises(KeyError, match="training_job_name"):
        sentence(Reason.COMPLETED, {})


def test_the_figures_are_those_that_decided(story):
    figures = CASES[Reason.LAST_SAFE_MOMENT](story).figures
    assert figures["waited_seconds"] == 2 * 3600 + 14 * 60
    assert figures["must_start_at"] == story.at("02:57").isoformat()
    figures = CASES[Reason.WAIT_FOR_SPOT](story).figures
    assert (figures["left_seconds"], figures["work_left_seconds"]) == (8 * 3600, 17_280)


@pytest.mark.parametrize(
    ("reason", "clock", "attempt", "changes"),
    [
        (Reason.LAST_SAFE_MOMENT, "02:14", {}, {}),
        (Reason.LAST_SAFE_MOMENT, "02:20", {}, {"stop_reason": Reason.LAST_SAFE_MOMENT}),
        (Reason.TOO_SLOW, "03:55", {}, {"stop_reason": Reason.TOO_SLOW}),
        (Reason.RESUME_BROKEN, "00:30", {"resume": Resume.BROKEN}, {"stop_reason": Reason.RESUME_BROKEN}),
        (Reason.PATIENCE_OVER, "00:30", {"ended_waiting": True}, {"policy": Policy.EAGER}),
        (Reason.ON_DEMAND_ONLY, "00:30", {}, {"policy": Policy.ON_DEMAND}),
        (
            Reason.THRASHING,
            "00:30",
            {"fruitless_interruptions": 3, "interruptions": 3, "trained_seconds": 9000.0},
            {},
        ),
    ],
)
def test_a_start_of_on_demand_says_why_it_is_not_spot(story, reason, clock, attempt, changes):
    step = after(story, FailureClass.STOPPED_BY_NIGHTSPOT, clock, changes=changes, **attempt)
    assert (step.action, step.reason) == (Action.START, reason)
    assert step.rung == story.on_demand
    assert step.figures[ON_DEMAND] == story.on_demand.instance_type


def test_a_blind_decision_keeps_its_reason_and_says_since_when_it_is_blind(story):
    step = decided(story, "01:00", story.attempt(unseen_since=story.at("00:50")))
    assert step.reason is Reason.WAITING
    assert step.because.startswith("SageMaker has not answered since 00:50 UTC. No Spot capacity for 1 h")
    assert step.figures["unseen_since_at"] == story.at("00:50").isoformat()


def test_what_ends_a_run_is_skipped_or_failed_by_its_reason(story):
    outcomes = {reason: CASES[reason](story).outcome for reason in CASES}
    skipped = {reason for reason, outcome in outcomes.items() if outcome is Outcome.SKIPPED}
    assert skipped == {Reason.FALLBACK_FORBIDDEN}
