"""An unknown failure never buys, and neither does what stands in the user's own text, whatever has gone before."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nightspot.decide.ledger import fold
from nightspot.decide.policy import next_step
from nightspot.failures.classify import RESPONSES, Fault, Response
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Fallback
from nightspot.run.model import Action, AttemptState, Outcome

# What AWS says of everything that a run answers with another attempt, and a little of the rest.
AWS_WORDS = (
    "CapacityError: Unable to provision requested ML compute capacity.",
    "CapacityError",
    "Insufficient capacity error from EC2 while launching instances, retrying!",
    "InternalServerError: We encountered an internal error. Please try again.",
    "The job stopped because the managed spot training instances were interrupted",
    "InProgress/Interrupted",
    "Stopped/MaxWaitTimeExceeded",
    "MaxWaitTimeExceeded",
    "ThrottlingException: Rate exceeded",
    "An error occurred (ThrottlingException) when calling the CreateTrainingJob operation: Rate exceeded",
    "ResourceLimitExceeded: The account-level service limit 'x' is 1 Instances, with current utilization of 1",
    "Lambda.ServiceException",
    "(Service: SageMaker, Status Code: 503, Error Code: ServiceUnavailable)",
    '{"Error": "SageMaker.ThrottlingException", "Cause": "Rate exceeded"}',
    '{"TrainingJobStatus": "Failed", "FailureReason": "CapacityError: none"}',
    "ClientError: Please use an instance type with more memory",
)
# How a text starts that is none of AWS's. The last one only looks like a wrapper of its texts.
LEADS = (
    "loss is NaN after ",
    "SomethingNew: that nobody has seen, ",
    "the server said ",
    "Fehler: ",
    "42: ",
    "Failing reasons: ",
)
# Names of faults that say nothing by themselves.
STRANGE_NAMES = ("SageMaker.NobodyKnowsException", "SomethingNewException", "NewFault", "")
CODES = (*STRANGE_NAMES, "SageMaker.SageMakerException", "States.TaskFailed", "ThrottlingException")
BUYS = tuple(failure for failure in FailureClass if RESPONSES[failure] is not Response.FINISH)
SECONDARY = ("Failed", "Starting", "Downloading", "Training", "Uploading", "Interrupted", "Restarting", "New")

mixtures = st.builds(
    "".join, st.lists(st.one_of(st.sampled_from(AWS_WORDS), st.text(max_size=20)), max_size=5)
)
texts = st.one_of(st.text(max_size=200), mixtures)
in_the_middle = st.builds(
    "{}{}{}".format, st.sampled_from(LEADS), st.sampled_from(AWS_WORDS), st.text(max_size=40)
)


@st.composite
def ledgers(draw, story):
    """(a run with an open attempt, when it is looked at): any ladder, past, budget and hour."""
    rungs = [story.spot, replace(story.spot, instance_type="ml.g5.48xlarge", speed=0.5), story.on_demand]
    ladder = draw(st.lists(st.sampled_from(rungs), min_size=1, unique=True))
    past = [
        story.ended(
            draw(st.sampled_from(BUYS)),
            draw(st.sampled_from(ladder)),
            number=number,
            trained_seconds=draw(st.sampled_from([0.0, 600.0])),
            fruitless_interruptions=draw(st.integers(0, 3)),
        )
        for number in range(2, 2 + draw(st.integers(0, 3)))
    ]
    now = story.midnight + timedelta(minutes=draw(st.integers(0, 40 * 60)))
    attempt = story.attempt(
        draw(st.sampled_from(ladder)),
        number=9,
        state=draw(st.sampled_from([state for state in AttemptState if state is not AttemptState.ENDED])),
        interruptions=draw(st.integers(0, 4)),
        stop_requested_at=draw(st.sampled_from([None, story.midnight])),
        training_job_name=story.attempt().training_job_name,  # the one that `story.look` looks at
    )
    run = story.run(
        rungs=tuple(ladder),
        attempts=[*past, attempt],
        fallback=draw(st.sampled_from(Fallback)),
        budget_usd=draw(st.sampled_from([None, 10.0, 900.0])),
        progress=draw(st.sampled_from([None, story.progress(12, "00:30")])),
    )
    return run, now


@pytest.fixture(scope="module")
def any_ledger(story):
    return ledgers(story)


def histories(story):
    """A job's statuses, oldest first, some minutes each."""
    return st.lists(st.sampled_from(SECONDARY), max_size=6).map(
        lambda names: [
            (name, f"00:{5 * n:02}", f"00:{5 * n + 5:02}" if n + 1 < len(names) else None)
            for n, name in enumerate(names)
        ]
    )


def end(run, now, seen):
    """The ledger after what was seen, which must be the end of the newest attempt."""
    folded = fold(run, seen, now)
    assert folded.open_attempt is None
    return folded, folded.last_attempt.failure


def refused(story, run, now, fault):
    """The ledger after CreateTrainingJob failed so, once its job is no longer in doubt, and the failure's class."""
    asked = replace(
        run.last_attempt, state=AttemptState.ASKED, status=None, asked_at=now, stop_requested_at=None
    )
    folded = fold(run.with_attempt(asked), story.look(None, fault=fault), now)
    attempt = folded.last_attempt
    if attempt.doubt is None or attempt.doubt.failure is not FailureClass.UNKNOWN:
        return folded, attempt.failure or attempt.doubt.failure
    for minutes in (0, 5, 14):
        assert next_step(folded, now + timedelta(minutes=minutes)).action in {Action.WATCH, Action.STOP}
    return end(folded, now + timedelta(minutes=15), story.look(None))


def assert_nothing_more_is_bought(run, now):
    for later in (timedelta(0), timedelta(minutes=5), timedelta(hours=3), timedelta(days=3)):
        step = next_step(run, now + later)
        assert (step.action, step.outcome) == (Action.FINISH, Outcome.FAILED)
        assert (step.rung, step.request) == (None, None)


@given(
    data=st.data(), status=st.sampled_from(["Failed", "Deleting"]), secondary=st.text(max_size=20), text=texts
)
def test_a_job_that_ended_for_unknown_reasons_is_the_last_of_its_run(
    story, any_ledger, data, status, secondary, text
):
    run, now = data.draw(any_ledger)
    history = data.draw(histories(story))
    view = story.view(*history, status=status, secondary_status=secondary, failure_reason=text)
    folded, failure = end(run, now, story.look(view))
    assume(failure is FailureClass.UNKNOWN)
    assert_nothing_more_is_bought(folded, now)


@given(data=st.data(), error=st.sampled_from(STRANGE_NAMES), cause=texts)
def test_a_refusal_for_unknown_reasons_is_the_last_of_its_run(story, any_ledger, data, error, cause):
    run, now = data.draw(any_ledger)
    folded, failure = refused(story, run, now, Fault(error, cause))
    assume(failure is FailureClass.UNKNOWN)
    assert_nothing_more_is_bought(folded, now)


@given(data=st.data(), reason=in_the_middle)
def test_awss_words_in_the_middle_of_a_reason_buy_nothing(story, any_ledger, data, reason):
    run, now = data.draw(any_ledger)
    view = story.view(
        *data.draw(histories(story)), status="Failed", secondary_status="Failed", failure_reason=reason
    )
    folded, failure = end(run, now, story.look(view))
    assert RESPONSES[failure] is Response.FINISH
    assert_nothing_more_is_bought(folded, now)


@given(data=st.data(), error=st.sampled_from(STRANGE_NAMES), cause=in_the_middle)
def test_awss_words_in_the_middle_of_a_strange_refusal_buy_nothing(story, any_ledger, data, error, cause):
    run, now = data.draw(any_ledger)
    # A refused call's text is AWS's own, and the HTTP status at its end is vouched for by the name before it.
    assume(not (error and "Status Code: 5" in cause))
    folded, failure = refused(story, run, now, Fault(error, cause))
    assert RESPONSES[failure] is Response.FINISH
    assert_nothing_more_is_bought(folded, now)


@given(
    data=st.data(),
    text=texts,
    lead=st.sampled_from(["AlgorithmError: ", " algorithmerror :", "AlgorithmError:\n"]),
)
def test_nothing_that_a_training_script_says_buys_anything(story, any_ledger, data, lead, text):
    run, now = data.draw(any_ledger)
    view = story.view(
        *data.draw(histories(story)), status="Failed", secondary_status="Failed", failure_reason=lead + text
    )
    folded, failure = end(run, now, story.look(view))
    assert failure is FailureClass.USER_CODE
    assert_nothing_more_is_bought(folded, now)


@given(data=st.data(), error=st.sampled_from(CODES), text=texts)
def test_nothing_that_a_refusal_quotes_of_a_training_script_buys_anything(
    story, any_ledger, data, error, text
):
    run, now = data.draw(any_ledger)
    folded, failure = refused(story, run, now, Fault(error, f"AlgorithmError: {text}"))
    assert failure is FailureClass.USER_CODE
    assert_nothing_more_is_bought(folded, now)
