"""What is seen and decided goes into the ledger; only the newest truth counts."""

import json
from dataclasses import replace
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.decide import ledger, steps
from nightspot.decide.ledger import Observation, Transition, book, fold
from nightspot.failures.classify import Fault
from nightspot.failures.codes import START_UNANSWERED, FailureClass
from nightspot.job.markets import Market
from nightspot.run.model import Action, AttemptState, Doubt, Outcome, Step, StopCall
from nightspot.run.reasons import Reason

WHY = (Reason.REFUSED, {"text": "because."})
WAITED = ("Starting", "00:00", "00:20")
LOADED = ("Downloading", "00:20", "00:25")


@pytest.fixture
def seen(story):
    """The first attempt after one look at `clock`."""

    def look(view, clock, before=None, **observed):
        before = before or story.attempt(state=AttemptState.ASKED, status=None, state_since=None)
        run = before if hasattr(before, "attempts") else story.run(attempts=[before])
        return fold(run, story.look(view, **observed), story.at(clock)).attempts[0]

    return look


@pytest.mark.parametrize(
    ("secondary", "state"),
    [
        *((name, AttemptState.WAITING) for name in ("Starting", "Pending", "Interrupted", "Restarting")),
        *((name, AttemptState.WAITING) for name in ("LaunchingMLInstances", "PreparingTrainingStack")),
        *((name, AttemptState.STARTING) for name in ("Downloading", "DownloadingTrainingImage")),
        *((name, AttemptState.TRAINING) for name in ("Training", "Updating", "Uploading")),
        ("Stopping", AttemptState.STOPPING),
    ],
)
def test_every_secondary_status_says_where_a_job_stands(story, seen, secondary, state):
    attempt = seen(story.view((secondary, "00:00", None)), "00:05")
    assert attempt.state is state
    assert attempt.secondary_status == secondary


def test_an_unknown_secondary_status_changes_nothing(story, seen):
    view = story.view(WAITED, ("Pondering", "00:20", None))
    assert seen(view, "00:30").state is AttemptState.WAITING
    training = story.training(since="00:25")
    view = story.view(WAITED, LOADED, ("Training", "00:25", "00:40"), ("Pondering", "00:40", None))
    after = seen(view, "00:45", training)
    assert after.state is AttemptState.TRAINING
    assert after.state_since == training.state_since


@pytest.mark.parametrize("secondary", ["", "Pondering"])
def test_a_job_that_trains_by_its_transitions_does_not_wait_whatever_its_secondary_status(
    story, seen, secondary
):
    """Taken for one that waits, it was stopped when its patience was over, and bought again (seed 590)."""
    view = story.view(WAITED, LOADED, ("Training", "00:25", None))
    first = seen(replace(view, secondary_status=secondary), "01:30")
    assert first.state is AttemptState.TRAINING
    assert first.state_since == story.at("00:25")


def test_a_stopping_job_is_stopping_whatever_else_it_says(story, seen):
    assert seen(story.view(WAITED, status="Stopping"), "00:30").state is AttemptState.STOPPING


def test_a_state_counts_since_its_newest_unbroken_row(story, seen):
    view = story.view(WAITED, LOADED, ("Training", "00:25", "01:00"), ("Interrupted", "01:00", "01:01"))
    view = replace(view, transitions=(*view.transitions, Transition("Starting", story.at("01:01"))))
    assert seen(view, "01:30").state_since == story.at("01:00")


def test_a_wait_that_began_anew_between_two_looks_counts_from_its_beginning(story, seen):
    view = story.view(WAITED, LOADED, ("Training", "00:25", "01:00"), ("Interrupted", "01:00", None))
    assert seen(view, "01:10", story.attempt()).state_since == story.at("01:00")


def test_training_that_began_anew_between_two_looks_counts_from_its_beginning(story, seen):
    view = story.view(
        ("Training", "00:25", "01:00"),
        ("Interrupted", "01:00", "01:10"),
        ("Downloading", "01:10", "01:15"),
        ("Training", "01:15", None),
    )
    assert seen(view, "01:20", story.training(since="00:25")).state_since == story.at("01:15")


def test_without_transitions_a_state_counts_from_the_look_that_saw_it_first(story, seen):
    view = story.view(secondary_status="Training")
    first = seen(view, "00:30")
    assert first.state_since == story.at("00:30")
    assert seen(view, "00:50", first).state_since == story.at("00:30")


def test_waiting_and_training_are_summed_over_all_stretches(story, seen):
    view = story.view(
        WAITED,
        LOADED,
        ("Training", "00:25", "01:00"),
        ("Interrupted", "01:00", "01:10"),
        ("Restarting", "01:10", "01:15"),
        ("Downloading", "01:15", "01:20"),
        ("Training", "01:20", None),
    )
    attempt = seen(view, "01:30")
    assert attempt.waited_seconds == 35 * 60
    assert attempt.trained_seconds == 55 * 60
    assert attempt.interruptions == 1


@pytest.mark.parametrize(
    ("status", "trained", "billed"),
    [("InProgress", 40 * 60, None), ("Stopping", 40 * 60, None), ("Stopped", 77, 30), ("Failed", 77, 30)],
)
def test_sagemakers_own_times_count_once_the_job_is_over(story, seen, status, trained, billed):
    """AWS does not say when it fills them in: what an open job shows may be of an earlier machine."""
    history = (WAITED, LOADED, ("Training", "00:25", None))
    view = story.view(*history, status=status, training_seconds=77, billable_seconds=30)
    attempt = seen(view, "01:00")
    assert (attempt.trained_seconds, attempt.billable_seconds) == (trained, billed)


def test_without_transitions_the_training_time_of_an_open_job_is_better_than_none(story, seen):
    assert seen(story.view(training_seconds=77), "01:00").trained_seconds == 77


def test_without_transitions_all_that_was_not_training_was_waiting(story, seen):
    view = story.view(status="Failed", training_seconds=600, ended_at=story.at("00:30"))
    assert seen(view, "02:00").waited_seconds == 1200


def test_interruptions_are_counted_from_transitions_and_not_from_looks(story, seen):
    rows = []
    for minute in (10, 20, 30):
        rows += [("Training", f"00:{minute}", f"00:{minute + 5}")]
        rows += [("Interrupted", f"00:{minute + 5}", f"00:{minute + 9}")]
    view = story.view(*rows, ("Training", "00:40", None))
    assert seen(view, "00:50").interruptions == 3
    assert seen(view, "00:50", seen(view, "00:45")).interruptions == 3


def test_completed_is_the_only_success(story, seen):
    view = story.view(
        WAITED,
        status="Completed",
        secondary_status="Completed",
        ended_at=story.at("04:30"),
        billable_seconds=4000,
        model_artifact="s3://models/x.tar.gz",
    )
    attempt = seen(view, "05:00")
    assert attempt.failure is None
    assert attempt.ended_at == story.at("04:30")
    assert attempt.billable_seconds == 4000
    assert attempt.model_artifact == "s3://models/x.tar.gz"


@pytest.mark.parametrize("status", ["Failed", "Stopped", "Deleting"])
@pytest.mark.parametrize("secondary", ["Completed", "Stopped", "Failed", "Training"])
def test_no_other_end_is_ever_a_success(story, seen, status, secondary):
    attempt = seen(story.view(WAITED, status=status, secondary_status=secondary), "05:00")
    assert not attempt.is_open
    assert attempt.failure is not None


def test_a_stop_of_nightspots_own_is_known_from_a_persons(story, seen):
    stopped = story.view(WAITED, status="Stopped", secondary_status="Stopped")
    mine = story.attempt(stop_requested_at=story.at("02:14"))
    assert seen(stopped, "02:20", mine).failure is FailureClass.STOPPED_BY_NIGHTSPOT
    assert seen(stopped, "02:20").failure is FailureClass.STOPPED_BY_PERSON


@pytest.mark.parametrize(
    ("limit", "history", "failure"),
    [
        (1800, [("Starting", "00:00", "00:01"), ("Pending", "00:01", "00:30")], FailureClass.NO_CAPACITY),
        # Sooner than SageMaker would have stopped it: a person did.
        (
            1800,
            [("Starting", "00:00", "00:01"), ("Pending", "00:01", "00:29")],
            FailureClass.STOPPED_BY_PERSON,
        ),
        (
            None,
            [("Starting", "00:00", "00:01"), ("Pending", "00:01", "00:30")],
            FailureClass.STOPPED_BY_PERSON,
        ),
        (
            1800,
            [("Pending", "00:00", "00:40"), ("Training", "00:40", "00:50")],
            FailureClass.STOPPED_BY_PERSON,
        ),
    ],
)
def test_a_job_that_queued_for_all_of_its_pending_time_found_no_capacity(
    story, seen, limit, history, failure
):
    view = story.view(*history, status="Stopped", secondary_status="Stopped", max_pending_seconds=limit)
    assert seen(view, "01:00", story.attempt(story.on_demand)).failure is failure


def test_the_end_is_when_the_last_transition_ended_if_nothing_else_is_said(story, seen):
    failed = {"status": "Failed", "secondary_status": "Failed"}
    assert seen(story.view(WAITED, **failed), "02:00").ended_at == story.at("00:20")
    assert seen(story.view(**failed), "02:00").ended_at == story.at("02:00")


def test_a_failure_is_kept_with_its_phase_and_clean_words(story, seen):
    view = story.view(
        WAITED,
        LOADED,
        ("Training", "00:25", "01:00"),
        ("Stopping", "01:00", "01:02"),
        ("Failed", "01:02", "01:02"),
        status="Failed",
        failure_reason="AlgorithmError: jo@example.com",
    )
    attempt = seen(view, "02:00")
    assert attempt.failure is FailureClass.USER_CODE
    assert attempt.failure_reason == "AlgorithmError: <e-mail>"
    assert attempt.failed_in == "Training"


def test_an_attempt_that_is_over_is_never_looked_at_again(story):
    over = story.ended(FailureClass.NO_CAPACITY)
    run = story.run(attempts=[over])
    assert fold(run, story.look(story.view(WAITED)), story.at("01:00")) == run


@pytest.mark.parametrize(
    ("error", "cause", "failure"),
    [
        ("SageMaker.SageMakerException", "Invalid x (Status Code: 400)", FailureClass.CONFIGURATION),
        ("SageMaker.AccessDeniedException", "no", FailureClass.PERMISSION),
        ("SageMaker.SomethingNewException", "what? (Status Code: 418)", FailureClass.UNKNOWN),
    ],
)
def test_a_start_that_was_refused_ends_its_attempt(seen, error, cause, failure):
    attempt = seen(None, "00:01", fault=Fault(error, cause))
    assert attempt.state is AttemptState.ENDED
    assert attempt.failure is failure
    assert attempt.ended_at is not None
    assert not attempt.was_created


IN_DOUBT = [
    ("SageMaker.ThrottlingException", "Rate exceeded", FailureClass.THROTTLED),
    (
        "SageMaker.SageMakerException",
        "Internal failure (Service: SageMaker, Status Code: 500, Request ID: 1)",
        FailureClass.SERVICE_FAULT,
    ),
    ("SageMaker.SdkClientException", "Unable to execute HTTP request", FailureClass.SERVICE_FAULT),
    ("States.Timeout", "", FailureClass.SERVICE_FAULT),
    ("SageMaker.SomethingNewException", "what?", FailureClass.UNKNOWN),
    ("SageMaker.InvalidState", "x (Service: SageMaker, Status Code: 500)", FailureClass.SERVICE_FAULT),
    # The function that starts training jobs ended without an answer; by its own names it would be other classes.
    (START_UNANSWERED, "ReadTimeoutError: Read timeout on endpoint URL", FailureClass.SERVICE_FAULT),
    *(
        (START_UNANSWERED, json.dumps({"Error": error, "Cause": "x"}), FailureClass.SERVICE_FAULT)
        for error in (
            "AccessDeniedException",
            "KeyError",
            "Lambda.ResourceNotFoundException",
            "Lambda.TooManyRequestsException",
            "Lambda.Unknown",
            "Runtime.ExitError",
            "Sandbox.Timedout",
            "States.Timeout",
            "ValidationException",
        )
    ),
]


@pytest.mark.parametrize(("error", "cause", "failure"), IN_DOUBT)
def test_a_start_without_an_answer_stays_in_doubt_for_a_quarter_of_an_hour(seen, error, cause, failure):
    attempt = seen(None, "00:01", fault=Fault(error, cause))
    assert (attempt.state, attempt.failure) == (AttemptState.ASKED, None)
    assert (attempt.doubt.failure, attempt.doubt.calls) == (failure, 1)
    closed = seen(None, "00:15", attempt)
    assert (closed.state, closed.failure) == (AttemptState.ENDED, failure)


def test_why_a_start_has_no_answer_is_kept_and_read_by_people(seen):
    """Step Functions' JSON around Lambda's."""
    inside = json.dumps({"errorType": "KeyError", "errorMessage": "'x' of 123456789012", "stackTrace": []})
    fault = Fault(START_UNANSWERED, json.dumps({"Error": "KeyError", "Cause": inside}))
    attempt = seen(None, "00:01", fault=fault)
    assert attempt.doubt.reason == f"{START_UNANSWERED}: KeyError: 'x' of <account>"


def test_a_start_that_is_asked_for_again_is_in_doubt_from_then_on(story, seen):
    again = story.attempt(state=AttemptState.ASKED, status=None, asked_last_at=story.at("00:10"))
    assert seen(None, "00:24", again).is_open
    assert not seen(None, "00:25", again).is_open


def test_the_own_name_that_is_in_use_is_the_training_job_that_exists(story, seen):
    doubt = story.attempt(
        state=AttemptState.ASKED, status=None, doubt=Doubt(FailureClass.SERVICE_FAULT, "no answer")
    )
    cause = "Training job names must be unique within an AWS account and region (Status Code: 400)"
    attempt = seen(None, "00:01", doubt, fault=Fault("SageMaker.ResourceInUseException", cause))
    assert (attempt.state, attempt.doubt) == (AttemptState.ASKED, None)


def test_a_job_that_was_in_doubt_is_on_the_rung_that_sagemaker_shows(story, seen):
    """It was asked for as Spot, without an answer, and then as on-demand under the same name."""
    doubt = story.attempt(story.on_demand, state=AttemptState.ASKED, status=None)
    shown = story.view(
        ("Starting", "00:00", None), market=Market.SPOT, instance_type=story.spot.instance_type
    )
    assert seen(shown, "00:01", doubt).rung == story.spot


def test_a_start_that_is_asked_for_again_is_booked_on_its_own_attempt(story):
    doubt = story.attempt(
        state=AttemptState.ASKED, status=None, doubt=Doubt(FailureClass.THROTTLED, "no answer")
    )
    again = Step(2, story.at("00:02"), Action.START, "again", attempt=1, rung=story.on_demand)
    booked = book(story.run(attempts=[doubt]), again, doubt.training_job_name)
    (attempt,) = booked.attempts
    assert (attempt.rung, attempt.asked_at) == (story.on_demand, doubt.asked_at)
    assert attempt.last_asked_at == story.at("00:02")


@pytest.mark.parametrize(
    "error", ["SageMaker.ResourceInUseException", "States.Timeout", "SageMaker.InternalFailure"]
)
def test_a_fault_of_the_start_means_nothing_where_the_job_is_there(story, seen, error):
    attempt = seen(story.view(("Starting", "00:00", None)), "00:01", fault=Fault(error, "x"))
    assert attempt.is_open
    assert attempt.failure is None
    assert attempt.stop_faults == 0


def test_a_job_that_is_not_there_yet_is_waited_for_a_quarter_of_an_hour(seen):
    assert seen(None, "00:14:59").state is AttemptState.ASKED
    never_seen = seen(None, "00:15")
    assert never_seen.failure is FailureClass.UNKNOWN
    assert "does not know" in never_seen.failure_reason


def test_a_refused_stop_is_counted(story, seen):
    asked = story.attempt(stop_requested_at=story.at("02:14"), stop_call=StopCall.ASKED)
    waiting = story.view(("Starting", "00:00", None))
    fault = Fault("SageMaker.ThrottlingException", "Rate exceeded")
    refused = seen(waiting, "02:15", asked, fault=fault)
    assert (refused.stop_call, refused.stop_faults) == (StopCall.REFUSED, 1)
    # A later look, with no call before it, tells nothing new of the call.
    assert seen(waiting, "02:16", refused) == replace(refused, waited_seconds=ANY)
    assert seen(waiting, "02:15", asked).stop_call is StopCall.ACCEPTED


def test_a_stop_that_was_refused_but_took_effect_is_no_fault(story, seen):
    asked = story.attempt(stop_requested_at=story.at("02:14"))
    stopping = story.view(WAITED, ("Stopping", "02:14", None), status="Stopping")
    assert seen(stopping, "02:15", asked, fault=Fault("States.Timeout")).stop_faults == 0


def blind(story, attempt, clock, **changes):
    """The attempt after a look that SageMaker did not answer."""
    run = story.run(attempts=[attempt], **changes)
    return fold(run, Observation(jobs={}), story.at(clock)).attempts[0]


def test_what_sagemaker_does_not_answer_stays_as_it_was_last_seen(story):
    attempt = story.training(since="00:30")
    unseen = blind(story, attempt, "01:00")
    assert unseen == replace(attempt, unseen_since=story.at("01:00"))
    assert blind(story, unseen, "01:10") == unseen


def test_an_answer_ends_the_time_without_one(story, seen):
    unseen = story.attempt(unseen_since=story.at("00:30"))
    assert seen(story.view(("Starting", "00:00", None)), "01:00", unseen).unseen_since is None


def test_a_job_that_cannot_be_looked_at_is_never_taken_for_one_that_was_never_there(story):
    assert blind(story, story.attempt(state=AttemptState.ASKED, status=None), "03:00").is_open


STOPPED_UNSEEN = [
    # stop asked at 02:50, on-demand must start by 02:57
    ("02:54", StopCall.ACCEPTED, True, "five minutes are not over"),
    ("02:57", StopCall.ACCEPTED, False, "accepted, and on-demand cannot wait"),
    ("04:00", StopCall.REFUSED, True, "it may still be training"),
]


@pytest.mark.parametrize(("clock", "call", "is_open"), [row[:3] for row in STOPPED_UNSEEN])
def test_a_stop_that_was_accepted_is_believed_when_on_demand_cannot_wait(story, clock, call, is_open):
    asked = story.attempt(stop_requested_at=story.at("02:50"), stop_call=call)
    attempt = blind(story, asked, clock)
    assert (attempt.is_open, attempt.unsettled) == (is_open, not is_open)


def test_a_stop_that_was_accepted_is_waited_for_while_there_is_time(story):
    asked = story.attempt(stop_requested_at=story.at("01:00"), stop_call=StopCall.ACCEPTED)
    assert blind(story, asked, "02:00").is_open


def test_the_bill_of_an_attempt_that_was_closed_unseen_is_read_later(story, seen):
    closed = story.ended(FailureClass.STOPPED_BY_NIGHTSPOT, unsettled=True)
    going = story.view(("Stopping", "03:00", None), status="Stopping")
    assert seen(going, "03:10", closed) == closed
    over = story.view(("Training", "00:10", "03:00"), ("Stopped", "03:00", None), status="Stopped")
    settled = seen(replace(over, billable_seconds=3000.0), "03:20", closed)
    assert (settled.unsettled, settled.billable_seconds) == (False, 3000.0)


statuses = st.sampled_from(
    ["Starting", "Pending", "Downloading", "Training", "Interrupted", "Uploading", "Stopping", "Pondering"]
)


@given(
    rows=st.lists(st.tuples(statuses, st.integers(0, 59)), max_size=6),
    status=st.sampled_from(["InProgress", "Stopping", "Completed", "Failed", "Stopped", "Musing"]),
    missing=st.booleans(),
    step=st.none() | st.integers(0, 24),
    refused=st.booleans(),
)
def test_folding_the_same_look_twice_changes_nothing_more(story, rows, status, missing, step, refused):
    minutes = sorted(minute for _, minute in rows)
    ends = [*(f"00:{minute}" for minute in minutes[1:]), None]
    history = [
        (name, f"00:{minute}", end) for (name, _), minute, end in zip(rows, minutes, ends, strict=bool(rows))
    ]
    progress = None if step is None else story.progress(step, "00:30", attempt=1, seconds_per_step=600.0)
    view = None if missing else story.view(*history, status=status)
    look = story.look(view, progress=progress, fault=Fault("X", "y") if refused else None)
    run = story.run(attempts=[story.attempt()])

    once = fold(run, look, story.at("01:00"))

    assert fold(once, look, story.at("01:00")) == once


def test_a_lost_progress_file_does_not_take_back_what_was_seen(story):
    run = story.run(attempts=[story.attempt()], progress=story.progress(6, "01:10"))
    look = story.look(story.view(("Training", "00:10", None)))
    assert fold(run, look, story.at("01:20")).progress == run.progress


def test_progress_belongs_to_the_attempt_that_made_it(story, seen):
    progress = story.progress(9, "01:10", attempt=1, seconds_per_step=600.0, resumed_from_step=6)
    attempt = seen(story.view(("Training", "00:10", None)), "01:20", progress=progress)
    assert (attempt.step_after, attempt.resumed_from_step, attempt.seconds_per_step) == (9, 6, 600.0)


def test_another_attempts_pace_and_resume_prove_nothing(story, seen):
    progress = story.progress(9, "01:10", attempt=7, seconds_per_step=600.0, resumed_from_step=6)
    attempt = seen(story.view(("Training", "00:10", None)), "01:20", progress=progress)
    assert (attempt.step_after, attempt.resumed_from_step, attempt.seconds_per_step) == (9, None, None)


def test_a_pace_carried_over_from_before_the_resume_is_not_this_machines(story, seen):
    progress = story.progress(6, "01:10", attempt=1, seconds_per_step=600.0, resumed_from_step=6)
    attempt = seen(story.view(("Training", "00:10", None)), "01:20", progress=progress)
    assert attempt.seconds_per_step is None
    assert attempt.resumed_from_step == 6


def test_progress_says_nothing_of_an_attempt_that_was_never_created(story):
    refused = story.ended(FailureClass.THROTTLED, status=None)
    run = story.run(attempts=[refused])
    look = Observation(jobs={}, progress=story.progress(6, "01:10", attempt=1))
    assert fold(run, look, story.at("01:20")).attempts == (refused,)


def test_a_start_opens_an_attempt(story):
    run = story.run(progress=story.progress(6, "01:10"))
    step = steps.start(run, story.at("02:00"), story.spot, *WHY, 60)
    booked = book(run, step, "the-name")
    (attempt,) = booked.attempts
    assert booked.steps == 1
    assert (attempt.number, attempt.rung, attempt.training_job_name) == (1, story.spot, "the-name")
    assert (attempt.asked_at, attempt.state, attempt.step_before) == (
        story.at("02:00"),
        AttemptState.ASKED,
        6,
    )


def test_a_start_without_a_name_cannot_be_booked(story):
    run = story.run()
    with pytest.raises(ValueError, match="names its rung"):
        book(run, steps.start(run, story.midnight, story.spot, *WHY, 60))


def test_a_stop_is_remembered_as_nightspots_own(story):
    run = story.run(attempts=[story.attempt()])
    step = steps.stop(run, run.open_attempt, story.at("02:14"), *WHY)
    assert book(run, step).open_attempt.stop_requested_at == story.at("02:14")


def test_a_stop_that_is_asked_for_again_keeps_its_reason_until_the_next_start(story):
    run = story.run(attempts=[story.attempt()])
    once = book(run, steps.stop(run, run.open_attempt, story.at("02:14"), *WHY))
    overdue = {"asked_at": story.at("02:14").isoformat(), "waited_seconds": 300.0}
    again = steps.stop(once, once.open_attempt, story.at("02:19"), Reason.STOP_OVERDUE, overdue)
    twice = book(once, again)
    assert (once.stop_reason, twice.stop_reason) == (Reason.REFUSED, Reason.REFUSED)
    over = replace(twice, attempts=(story.ended(FailureClass.STOPPED_BY_NIGHTSPOT),))
    started = book(over, steps.start(over, story.at("02:20"), story.spot, *WHY, 60), "2")
    assert started.stop_reason is None


def test_the_first_start_of_on_demand_says_why_the_run_fell_back(story):
    run = story.run(attempts=[story.ended(FailureClass.NO_CAPACITY)])
    waits = book(run, steps.start(run, story.midnight, story.spot, *WHY, 60), "2")
    assert waits.fell_back_reason is None
    fell = book(run, steps.start(run, story.midnight, story.on_demand, *WHY, 60), "2")
    assert fell.fell_back_reason is Reason.REFUSED
    over = replace(fell, attempts=(story.ended(FailureClass.NO_CAPACITY, story.on_demand),))
    late = {
        "on_demand_type": "ml.p4d.24xlarge",
        "is_late": True,
        "left_seconds": 0.0,
        "work_left_seconds": 60.0,
    }
    again = steps.start(over, story.midnight, story.on_demand, Reason.LAST_SAFE_MOMENT, late, 60)
    assert book(over, again, "3").fell_back_reason is Reason.REFUSED


def test_a_finish_closes_the_run(story):
    run = story.run()
    step = steps.finish(run, story.midnight, Outcome.SKIPPED, *WHY)
    booked = book(run, step)
    assert (booked.outcome, booked.outcome_because) == (Outcome.SKIPPED, "because.")


def test_once_late_was_said_it_stays_said(story):
    run = story.run(attempts=[story.attempt()])
    late = steps.watch(run, run.open_attempt, story.midnight, 60, *WHY, late=True)
    calm = steps.watch(run, run.open_attempt, story.midnight, 60, *WHY)
    assert not book(run, calm).said_late
    assert book(book(run, late), calm).said_late


def test_the_margin_is_from_the_models_end_to_the_deadline(story):
    def margin(*attempts):
        return ledger.margin_seconds(story.run(attempts=attempts))

    assert margin(story.ended(None, ended_at=story.at("07:00"))) == 3600
    assert margin(story.ended(None, ended_at=story.at("08:01"))) == -60
    assert margin() is None
    assert margin(story.attempt()) is None
    assert margin(story.ended(FailureClass.USER_CODE)) is None


def test_a_run_has_ended_when_its_last_attempt_has(story):
    assert ledger.ended_at(story.run()) is None
    assert ledger.ended_at(story.run(attempts=[story.attempt()])) is None
    assert ledger.ended_at(story.run(attempts=[story.ended(None)])) == story.midnight
