"""The ledger survives its way through the state machine, whatever JSONata makes of its numbers."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Fallback, Market
from nightspot.run.model import (
    Action,
    Attempt,
    AttemptState,
    Outcome,
    Progress,
    Run,
    Rung,
    Step,
    run_from_json,
    step_from_json,
    to_json,
)
from nightspot.run.reasons import Reason

moments = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
counts = st.integers(0, 10**9)
amounts = st.floats(0, 1e9, allow_nan=False)
words = st.text(max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | amounts | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
requests = st.dictionaries(words, json_values, max_size=4)
rungs = st.builds(Rung, st.sampled_from(Market), words, words, counts, amounts, st.none() | amounts, counts)


def maybe(values):
    return st.none() | values


progresses = st.builds(
    Progress,
    counts,
    moments,
    total_steps=maybe(counts),
    fraction=maybe(st.floats(0, 1)),
    seconds_per_step=maybe(amounts),
    attempt=maybe(counts),
    resumed_from_step=maybe(counts),
    metrics=st.dictionaries(words, amounts, max_size=3),
)
attempts = st.builds(
    Attempt,
    counts,
    rungs,
    words,
    moments,
    state=st.sampled_from(AttemptState),
    status=maybe(words),
    secondary_status=maybe(words),
    state_since=maybe(moments),
    ended_at=maybe(moments),
    stop_requested_at=maybe(moments),
    stop_faults=counts,
    failure=maybe(st.sampled_from(FailureClass)),
    failure_reason=maybe(words),
    failed_in=maybe(words),
    waited_seconds=amounts,
    trained_seconds=amounts,
    billable_seconds=maybe(amounts),
    interruptions=counts,
    step_before=maybe(counts),
    step_after=maybe(counts),
    resumed_from_step=maybe(counts),
    model_artifact=maybe(words),
    seconds_per_step=maybe(amounts),
)
runs = st.builds(
    Run,
    words,
    words,
    words,
    moments,
    moments,
    st.lists(rungs, max_size=3).map(tuple),
    amounts,
    amounts,
    counts,
    maybe(words),
    requests,
    fallback=st.sampled_from(Fallback),
    budget_usd=maybe(amounts),
    attempts=st.lists(attempts, max_size=3).map(tuple),
    progress=maybe(progresses),
    steps=counts,
    said_late=st.booleans(),
    outcome=maybe(st.sampled_from(Outcome)),
    outcome_because=maybe(words),
)
steps = st.builds(
    Step,
    counts,
    moments,
    st.sampled_from(Action),
    words.filter(bool),
    reason=maybe(st.sampled_from(Reason)),
    figures=st.dictionaries(words, maybe(st.booleans() | counts | amounts | words), max_size=4),
    attempt=maybe(counts),
    training_job_name=maybe(words),
    rung=maybe(rungs),
    wait_seconds=maybe(counts),
    outcome=maybe(st.sampled_from(Outcome)),
    late=st.booleans(),
    request=maybe(requests),
)


def with_floats(value):
    """Every integer as JSONata may hand it on: 3.0 for 3."""
    if isinstance(value, dict):
        return {key: with_floats(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_floats(inner) for inner in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@given(runs)
def test_a_run_comes_back_from_json_as_it_was(run):
    assert run_from_json(json.loads(json.dumps(to_json(run)))) == run


@given(runs)
def test_a_run_comes_back_though_its_integers_became_floats(run):
    back = run_from_json(with_floats(json.loads(json.dumps(to_json(run)))))
    assert back == run
    assert isinstance(back.steps, int)
    assert all(isinstance(attempt.number, int) for attempt in back.attempts)


@given(steps)
def test_a_step_comes_back_from_json_as_it_was(step):
    written = json.loads(json.dumps(to_json(step)))
    assert step_from_json(written) == step
    assert step_from_json(with_floats(written)) == step


def test_a_step_from_before_decisions_had_reasons_is_readable(story):
    written = to_json(Step(1, story.midnight, Action.FINISH, "so."))
    step = step_from_json(
        {name: value for name, value in written.items() if name not in {"reason", "figures"}}
    )
    assert (step.because, step.reason, step.figures) == ("so.", None, {})


def test_times_stay_aware_and_in_utc(story):
    back = run_from_json(json.loads(json.dumps(to_json(story.run()))))
    assert back.deadline.utcoffset() == timedelta(0)


def test_what_is_no_run_is_refused_with_the_fields_name(story):
    written = to_json(story.run())
    with pytest.raises(ValidationError, match="deadline"):
        run_from_json({**written, "deadline": "tomorrow"})


def test_what_only_another_version_knows_is_ignored(story):
    written = to_json(story.run(attempts=[story.attempt()]))
    written["attempts"][0]["colour"] = written["colour"] = "red"
    assert run_from_json(written) == story.run(attempts=[story.attempt()])


def test_an_open_attempt_is_the_one_that_is_not_over(story):
    over, open_one = story.ended(FailureClass.NO_CAPACITY), story.attempt(number=2)
    assert story.run().open_attempt is None
    assert story.run(attempts=[over]).open_attempt is None
    assert story.run(attempts=[over, open_one]).open_attempt == open_one


def test_an_attempt_takes_the_place_of_the_one_of_its_number(story):
    first, second = story.attempt(), story.attempt(number=2)
    run = story.run(attempts=[first, second])
    newer = replace(first, interruptions=3)
    assert run.with_attempt(newer).attempts == (newer, second)
    assert story.run(attempts=[second]).with_attempt(first).attempts == (first, second)


@pytest.mark.parametrize(("market", "label"), [(Market.SPOT, "Spot x"), (Market.ON_DEMAND, "on-demand x")])
def test_a_rung_is_named_as_people_do(market, label):
    assert Rung(market, "x", "eu-west-1").label == label


def test_an_older_ledger_with_a_savings_plan_s_rate_is_read(story):
    """It does not say what the plan covers, so its figures are at list price."""
    older = to_json(story.run())
    for rung in older["rungs"]:
        del rung["least_usd_per_hour"]
        rung["plan_usd_per_hour"] = 20.0
    assert run_from_json(older) == story.run()
