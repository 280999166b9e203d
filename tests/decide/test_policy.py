"""What a run does next, with the numbers worked by hand: see the builders' own sum in conftest.py."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from nightspot.decide.policy import MOST_ATTEMPTS, next_step
from nightspot.failures.classify import MAX_REASON_CHARACTERS, RESPONSES, Response
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Fallback, Market, Policy
from nightspot.run.model import Action, AttemptState, Doubt, Outcome, to_json
from nightspot.run.reasons import Reason

FINAL = [failure for failure, answer in RESPONSES.items() if answer is Response.FINISH]


@pytest.fixture
def after(story):
    """The step after one attempt that ended so at `clock`."""

    def step(failure, clock="00:00", rung=None, *, changes=(), **attempt):
        ended = story.ended(failure, rung, ended_at=story.at(clock), **attempt)
        return next_step(story.run(attempts=[ended], **dict(changes)), story.at(clock))

    return step


def market_of(step):
    return step.rung and step.rung.market


def test_a_run_begins_with_spot_and_says_for_how_long(story):
    step = next_step(story.run(), story.midnight)
    assert (step.action, step.rung, step.attempt, step.number) == (Action.START, story.spot, 1, 1)
    assert step.wait_seconds == 3600
    assert not step.late
    assert step.because == (
        "8 h to the deadline, 4 h 48 min of work left at most: wait for Spot ml.p4d.24xlarge until 02:14 UTC."
    )


def test_the_first_look_is_no_later_than_the_last_safe_moment(story):
    assert next_step(story.run(), story.at("02:00")).wait_seconds == 14 * 60
    assert next_step(story.run(), story.at("02:13:59")).wait_seconds == 1


@pytest.mark.parametrize(
    ("seconds", "market", "late"),
    [
        # 5 h 46 min let Spot try; 5 h 03 min are what on-demand needs.
        (20_761, Market.SPOT, False),
        # A wait of less than a second is none.
        (20_760, Market.ON_DEMAND, False),
        (18_180, Market.ON_DEMAND, False),
        (18_179, Market.ON_DEMAND, True),
        (60, Market.ON_DEMAND, True),
        (-60, Market.ON_DEMAND, True),
    ],
)
def test_the_deadline_decides_the_first_market_and_an_impossible_one_is_said(story, seconds, market, late):
    run = story.run(deadline=story.midnight + timedelta(seconds=seconds))
    step = next_step(run, story.midnight)
    assert (step.action, market_of(step), step.late) == (Action.START, market, late)
    if late:
        assert "late, but nothing is faster" in step.because


def test_on_demand_takes_over_from_the_checkpoint_in_time(after, story):
    # Step 6 of 24 is safe: 3 h 36 min of the 4 h 48 min are left.
    changes = {"progress": story.progress(6, "03:40")}
    step = after(FailureClass.STOPPED_BY_NIGHTSPOT, "03:50", changes=changes, trained_seconds=4000.0)
    assert (step.action, step.rung, step.attempt, step.late) == (Action.START, story.on_demand, 2, False)
    for words in ("4 h 10 min to the deadline", "3 h 36 min of work left", "in time for 08:00 UTC"):
        assert words in step.because


def test_a_checkpoint_gives_spot_another_chance(after, story):
    # Step 6 moves the last safe moment from 02:14 to 03:26.
    changes = {"progress": story.progress(6, "03:10")}
    assert market_of(after(FailureClass.INTERRUPTED, "03:25:59", changes=changes)) is Market.SPOT
    assert market_of(after(FailureClass.INTERRUPTED, "03:26", changes=changes)) is Market.ON_DEMAND


def test_without_checkpoints_the_whole_work_must_fit_twice(story):
    # 4 h 48 min twice, 10 min Spot, 3 min to stop, 15 min on-demand: 10 h 04 min.
    bare = story.run(checkpoint_s3_uri=None, deadline=story.at("10:04:01"))
    assert market_of(next_step(bare, story.midnight)) is Market.SPOT
    assert market_of(next_step(bare, story.at("00:00:01"))) is Market.ON_DEMAND


def test_a_completed_job_is_a_success(after):
    step = after(None)
    assert (step.action, step.outcome) == (Action.FINISH, Outcome.SUCCEEDED)


@pytest.mark.parametrize("failure", FINAL)
def test_what_is_not_the_markets_fault_buys_nothing_more(after, failure):
    step = after(failure)
    expected = Outcome.STOPPED if failure is FailureClass.STOPPED_BY_PERSON else Outcome.FAILED
    assert (step.action, step.outcome) == (Action.FINISH, expected)
    assert step.rung is None
    assert f"ended as {failure.value.replace('_', ' ')}" in step.because
    assert "not a capacity problem" in step.because


@pytest.mark.parametrize("failure", [f for f in FailureClass if f not in FINAL])
def test_every_other_failure_leads_to_another_attempt_in_time(after, story, failure):
    # After a runtime limit alone the checkpoint counts, which is newer than the one it began with.
    first = after(failure, step_after=3)
    assert first.action in {Action.START, Action.PAUSE}
    ended = story.ended(failure, ended_at=story.midnight, step_after=3)
    later = next_step(story.run(attempts=[ended]), story.at("00:30"))
    assert later.action is Action.START


LIMIT = FailureClass.RUNTIME_LIMIT


def capped(story, hours):
    return {**story.run().training_job, "StoppingCondition": {"MaxRuntimeInSeconds": hours * 3600}}


def test_a_runtime_limit_that_repeated_work_has_used_up_goes_on_from_the_checkpoint(after, story):
    # Four hours of machine time, billed as 1 h 12 min; step 18 of 24 is safe at 04:48.
    changes = {"training_job": capped(story, 4), "progress": story.progress(18, "04:40")}
    spent = {
        "trained_seconds": 4 * 3600.0,
        "billable_seconds": 72 * 60.0,
        "step_after": 18,
        "interruptions": 2,
    }
    step = after(LIMIT, "04:48", changes=changes, **spent)
    assert (step.action, step.rung, step.attempt, step.late) == (Action.START, story.spot, 2, False)
    assert step.because == (
        "Spot ml.p4d.24xlarge ended as runtime limit; 3 h 12 min to the deadline, 1 h 12 min of work left at most: "
        "wait for Spot ml.p4d.24xlarge until 05:50 UTC."
    )
    later = after(LIMIT, "05:50", changes=changes, **spent)
    assert (later.action, later.rung) == (Action.START, story.on_demand)


def test_a_runtime_limit_without_a_new_checkpoint_ends_the_run_and_says_what_to_change(after, story):
    changes = {"progress": story.progress(3, "01:00")}
    spent = {"trained_seconds": 24_480.0, "billable_seconds": 7_344.0, "max_runtime_seconds": 24_480}
    step = after(LIMIT, "07:00", changes=changes, step_before=3, step_after=3, **spent)
    assert (step.action, step.outcome) == (Action.FINISH, Outcome.FAILED)
    assert step.because == (
        "Spot ml.p4d.24xlarge ended as runtime limit; its MaxRuntimeInSeconds of 6 h 48 min passed without a new "
        "checkpoint (step 3 of 24 is safe), and the same again would end alike. Save checkpoints more often, or "
        "raise work and MaxRuntimeInSeconds in the job file."
    )


@pytest.mark.parametrize("failure", [LIMIT, FailureClass.INTERRUPTED, FailureClass.NO_CAPACITY])
@pytest.mark.parametrize("step_after", [None, 18])
def test_once_the_paid_time_is_used_up_nothing_more_is_started(after, story, failure, step_after):
    changes = {"training_job": capped(story, 4), "progress": story.progress(18, "04:40")}
    spent = {"trained_seconds": 4 * 3600.0, "billable_seconds": 4 * 3600.0, "step_after": step_after}
    step = after(failure, "04:48", story.on_demand, changes=changes, **spent)
    assert (step.action, step.outcome) == (Action.FINISH, Outcome.FAILED)
    assert step.because == (
        f"on-demand ml.p4d.24xlarge ended as {failure.value.replace('_', ' ')}; the run's limit of paid time "
        "(MaxRuntimeInSeconds 4 h) is used up (step 18 of 24 is safe). Raise MaxRuntimeInSeconds in the job file."
    )


@pytest.mark.parametrize(
    ("billed", "ends"),
    [
        (3600.0, "in time for 08:00 UTC. MaxRuntimeInSeconds leaves 3 h of paid time for it."),
        (0.0, "in time for 08:00 UTC."),
    ],
)
def test_on_demand_says_where_the_paid_time_may_be_too_short(after, story, billed, ends):
    # Step 6 of 24 is safe: 3 h 36 min and a change-over of 15 min may be needed.
    changes = {"training_job": capped(story, 4), "progress": story.progress(6, "02:50")}
    step = after(FailureClass.INTERRUPTED, "04:08", changes=changes, billable_seconds=billed)
    assert (step.action, step.rung) == (Action.START, story.on_demand)
    assert step.because.endswith(f"on-demand ml.p4d.24xlarge, {ends}")


def test_the_reason_is_told_in_the_sentence(after):
    step = after(FailureClass.USER_CODE, failure_reason="AlgorithmError: exit code 1")
    assert "user code: AlgorithmError: exit code 1; not a capacity problem" in step.because


def test_a_dry_market_is_paused_for_and_then_asked_again(after, story):
    step = after(FailureClass.NO_CAPACITY)
    assert (step.action, step.wait_seconds) == (Action.PAUSE, 300)
    assert step.because == "Spot ml.p4d.24xlarge ended as no capacity; asking again in 5 min."
    ended = story.ended(FailureClass.NO_CAPACITY)
    again = next_step(story.run(attempts=[ended]), story.at("00:05"))
    assert (again.action, again.rung) == (Action.START, story.spot)


def test_a_pause_ends_at_the_last_safe_moment_and_on_demand_follows(after, story):
    step = after(FailureClass.NO_CAPACITY, "02:13")
    assert (step.action, step.wait_seconds) == (Action.PAUSE, 60)
    ended = story.ended(FailureClass.NO_CAPACITY, ended_at=story.at("02:13"))
    then = next_step(story.run(attempts=[ended]), story.at("02:14"))
    assert (then.action, then.rung, then.late) == (Action.START, story.on_demand, False)


@pytest.fixture
def doubtful(story):
    """A first attempt whose CreateTrainingJob failed `faults` times, the last time at `clock`."""

    def attempt(clock="00:00", faults=1, failure=FailureClass.SERVICE_FAULT, rung=None):
        return story.attempt(
            rung,
            state=AttemptState.ASKED,
            status=None,
            asked_last_at=story.at(clock),
            doubt=Doubt(failure, "no answer", faults),
        )

    return attempt


@pytest.mark.parametrize("failure", [FailureClass.SERVICE_FAULT, FailureClass.THROTTLED])
def test_a_start_in_doubt_is_asked_for_again_under_the_same_name(story, doubtful, failure):
    run = story.run(attempts=[doubtful(failure=failure)])
    wait = next_step(run, story.midnight)
    assert (wait.action, wait.attempt) == (Action.WATCH, 1)
    assert 7 <= wait.wait_seconds < 15
    again = next_step(run, story.at("00:00:15"))
    assert (again.action, again.rung, again.attempt) == (Action.START, story.spot, 1)


@pytest.mark.parametrize(
    ("faults", "longest"),
    [(1, 15), (2, 30), (3, 60), (4, 120), (5, 240), (6, 300), (10, 300), (11, 900), (99, 900)],
)
def test_it_is_asked_for_later_and_later_and_never_given_up(story, doubtful, faults, longest):
    run = story.run(attempts=[doubtful(faults=faults)])
    wait = next_step(run, story.midnight)
    assert longest // 2 <= wait.wait_seconds < longest
    assert next_step(run, story.midnight + timedelta(seconds=longest)).action is Action.START


def test_a_training_job_that_does_not_show_itself_is_asked_for_again_under_the_same_name(story):
    """Whatever became of the call: its answer may have been lost with the execution that made it."""
    silent = story.attempt(state=AttemptState.ASKED, status=None)
    run = story.run(attempts=[silent])
    assert next_step(run, story.at("00:04:59")).action is Action.WATCH
    again = next_step(run, story.at("00:05"))
    assert (again.action, again.attempt, again.rung) == (Action.START, 1, story.spot)
    # SageMaker's answer that the name is in use changes nothing; half an hour later it is left to the ledger.
    for_long = replace(silent, asked_last_at=story.at("00:30"))
    assert next_step(story.run(attempts=[for_long]), story.at("00:40")).action is Action.WATCH


def test_past_the_last_safe_moment_the_same_attempt_asks_for_on_demand(story, doubtful):
    # 02:14 is the last safe moment for Spot: the pause ends there, and names being unique, one job at most is made.
    run = story.run(attempts=[doubtful("02:13", faults=9)])
    assert next_step(run, story.at("02:13")).wait_seconds <= 60
    step = next_step(run, story.at("02:14"))
    assert (step.action, step.rung, step.attempt) == (Action.START, story.on_demand, 1)


def test_a_run_does_not_end_beside_a_start_in_doubt(story, doubtful):
    run = story.run(attempts=[doubtful("07:00")], fallback=Fallback.NEVER, rungs=(story.spot,))
    step = next_step(run, story.at("07:10"))
    assert (step.action, step.wait_seconds) == (Action.WATCH, 60)


@pytest.mark.parametrize("wish", [{"stop_asked_by": "nightspot stop"}, {"replaced_by": "20261121-ffffff"}])
def test_nothing_is_asked_for_again_where_somebody_wants_the_end(story, doubtful, wish):
    step = next_step(story.run(attempts=[doubtful()], **wish), story.at("00:10"))
    assert step.action is Action.WATCH


def test_what_nobody_understands_is_not_asked_for_again(story, doubtful):
    step = next_step(story.run(attempts=[doubtful(failure=FailureClass.UNKNOWN)]), story.at("00:10"))
    assert (step.action, step.wait_seconds) == (Action.WATCH, 60)


def test_the_third_service_fault_is_final(story):
    faults = [
        story.ended(FailureClass.SERVICE_FAULT, number=n, failed_in=phase)
        for n, phase in enumerate(("Downloading", "Training", "Uploading"), 1)
    ]
    for count, action in ((1, Action.START), (2, Action.START), (3, Action.FINISH)):
        assert next_step(story.run(attempts=faults[:count]), story.at("00:01")).action is action


def test_no_spot_quota_goes_to_on_demand_at_once(after, story):
    assert after(FailureClass.QUOTA_PERMANENT).rung == story.on_demand


NO_SPOT_OF_IT = {"status": None, "failure_reason": "ValidationException: words that nobody has seen"}


def test_a_refused_request_for_spot_goes_to_the_next_spot_type_and_then_to_on_demand_once(story):
    """Spot does not have every type that there is, and which words AWS refuses it with is not published."""
    other = replace(story.spot, instance_type="ml.p5.48xlarge")
    refused = [
        story.ended(FailureClass.CONFIGURATION, rung, number=number, **NO_SPOT_OF_IT)
        for number, rung in enumerate((other, story.spot, story.on_demand), 1)
    ]
    rungs = (other, story.spot, story.on_demand)
    steps = [
        next_step(story.run(rungs=rungs, attempts=refused[:count]), story.midnight) for count in (1, 2, 3)
    ]
    assert [step.rung for step in steps] == [story.spot, story.on_demand, None]
    assert (steps[2].action, steps[2].outcome) == (Action.FINISH, Outcome.FAILED)
    assert steps[2].reason is Reason.USER_FAULT
    assert "words that nobody has seen" in steps[2].because


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(lambda _: {"fallback": Fallback.NEVER}, id="on-demand is forbidden"),
        pytest.param(lambda story: {"rungs": (story.spot,)}, id="the job has Spot alone"),
        pytest.param(lambda _: {"budget_usd": 20.0}, id="no budget for on-demand"),
    ],
)
def test_where_nothing_else_may_be_asked_a_refused_request_ends_the_run_with_awss_words(
    after, story, changes
):
    changes = changes(story)
    step = after(FailureClass.CONFIGURATION, changes=changes, **NO_SPOT_OF_IT)
    assert (step.action, step.outcome, step.reason) == (Action.FINISH, Outcome.FAILED, Reason.USER_FAULT)
    assert "words that nobody has seen" in step.because


def test_without_any_quota_no_rung_is_left(story):
    gone = [
        story.ended(FailureClass.QUOTA_PERMANENT),
        story.ended(FailureClass.QUOTA_PERMANENT, story.on_demand, number=2),
    ]
    step = next_step(story.run(attempts=gone), story.midnight)
    assert (step.action, step.outcome) == (Action.FINISH, Outcome.FAILED)
    assert "no rung of the ladder is left" in step.because


def test_spot_types_take_turns_and_a_pause_follows_each_round(story):
    p5 = replace(story.spot, instance_type="ml.p5.48xlarge")
    rungs = (story.spot, p5, story.on_demand)
    dry = [
        story.ended(FailureClass.NO_CAPACITY, rung, number=n)
        for n, rung in enumerate((story.spot, p5, story.spot), 1)
    ]

    def step(count, clock):
        return next_step(story.run(rungs=rungs, attempts=dry[:count]), story.at(clock))

    assert step(0, "00:00").rung == story.spot
    assert step(0, "00:00").wait_seconds == 1800
    assert step(1, "00:00").rung == p5
    assert step(2, "00:00").action is Action.PAUSE
    assert step(2, "00:05").rung == story.spot
    assert step(3, "00:05").rung == p5


def test_a_job_that_forbids_on_demand_is_skipped_when_spot_can_no_longer_make_it(after):
    # Not the 4 h 48 min that may be needed at most, but the 4 h that are expected, and 10 min to start.
    never = {"fallback": Fallback.NEVER}
    assert after(FailureClass.STOPPED_BY_NIGHTSPOT, "03:49:59", changes=never).action is Action.START
    step = after(FailureClass.STOPPED_BY_NIGHTSPOT, "03:50", changes=never)
    assert (step.action, step.outcome) == (Action.FINISH, Outcome.SKIPPED)
    assert "the job forbids on-demand" in step.because


def test_a_budget_that_keeps_on_demand_out_of_reach_is_named_as_the_reason(story):
    run = story.run(budget_usd=167.0)
    step = next_step(run, run.deadline)
    assert step.outcome is Outcome.FAILED
    assert "the run's $167.00 leaves no rung" in step.because


def test_a_budget_that_no_worst_case_fits_ends_the_run(story):
    # 5 h 01 min at $33 are $165.55.
    step = next_step(story.run(budget_usd=150.0), story.midnight)
    assert (step.action, step.outcome) == (Action.FINISH, Outcome.FAILED)
    assert (
        step.because == "$0.00 of the run's $150.00 are spent and no attempt's worst case fits into the rest."
    )


def test_what_was_spent_counts_in_the_sentence(after, story):
    step = after(FailureClass.INTERRUPTED, "01:00", changes={"budget_usd": 170.0}, billable_seconds=3600.0)
    assert (step.action, step.outcome) == (Action.FINISH, Outcome.FAILED)
    assert "$33.00 of the run's $170.00 are spent" in step.because


def test_an_unaffordable_on_demand_leaves_spot_its_own_last_moment(story):
    # $167 pay for 5 h 01 min on Spot and its stop, not for 5 h 06 min on demand.
    step = next_step(story.run(budget_usd=167.0), story.midnight)
    assert market_of(step) is Market.SPOT
    assert "until 03:50 UTC" in step.because


def test_a_ladder_without_spot_starts_on_demand(story):
    step = next_step(story.run(rungs=(story.on_demand,)), story.midnight)
    assert (step.action, step.rung) == (Action.START, story.on_demand)


def test_a_ladder_without_on_demand_waits_for_spot_as_long_as_it_can_make_it(story):
    run = story.run(rungs=(story.spot,))
    assert next_step(run, story.at("03:49:59")).rung == story.spot
    step = next_step(run, story.at("03:50"))
    assert (step.action, step.outcome) == (Action.FINISH, Outcome.FAILED)


@pytest.mark.parametrize("state", [AttemptState.WAITING, AttemptState.STARTING])
def test_what_a_reclaimed_job_has_saved_is_not_thrown_away_while_the_expected_work_still_fits(story, state):
    # 12 of 24 steps are safe: two hours are expected, 2 h 24 min needed at most.
    job = story.attempt(state=state, interruptions=1, state_since=story.at("05:45"), trained_seconds=9000.0)
    run = story.run(attempts=[job], fallback=Fallback.NEVER, progress=story.progress(12, "05:00"))
    assert next_step(run, story.at("05:49:59")).action is Action.WATCH
    # A machine that is there already has no start to wait for.
    leaves = {AttemptState.WAITING: "05:50", AttemptState.STARTING: "06:00"}[state]
    assert next_step(run, story.at(leaves) - timedelta(seconds=1)).action is Action.WATCH
    assert next_step(run, story.at(leaves)).action is Action.STOP


def test_a_failed_on_demand_start_is_asked_again_and_late_is_said(after, story):
    step = after(FailureClass.NO_CAPACITY, "06:00", story.on_demand)
    assert (step.action, step.rung, step.wait_seconds, step.late) == (Action.START, story.spot, 300, True)
    assert step.because == (
        "on-demand ml.p4d.24xlarge ended as no capacity; no on-demand capacity, so Spot ml.p4d.24xlarge is asked "
        "as well, until 06:05 UTC."
    )
    bought = {"policy": Policy.ON_DEMAND}
    step = after(FailureClass.NO_CAPACITY, "06:00", story.on_demand, changes=bought)
    assert (step.action, step.wait_seconds) == (Action.PAUSE, 300)
    ended = story.ended(FailureClass.NO_CAPACITY, story.on_demand, ended_at=story.at("06:00"))
    then = next_step(story.run(attempts=[ended], **bought), story.at("06:05"))
    assert (then.rung, then.late) == (story.on_demand, True)


def test_a_run_has_a_most_of_attempts(story):
    attempts = [story.ended(FailureClass.NO_CAPACITY, number=n) for n in range(1, MOST_ATTEMPTS + 1)]
    step = next_step(story.run(attempts=attempts), story.at("01:00"))
    assert (step.action, step.outcome) == (Action.FINISH, Outcome.FAILED)
    assert f"{MOST_ATTEMPTS} attempts are the most" in step.because
    assert next_step(story.run(attempts=attempts[1:]), story.at("01:00")).action is Action.START


def test_a_ledger_of_the_most_attempts_fits_into_step_functions_variables(story):
    attempts = [
        story.ended(FailureClass.NO_CAPACITY, number=n, failure_reason="x" * MAX_REASON_CHARACTERS)
        for n in range(1, MOST_ATTEMPTS + 1)
    ]
    assert len(json.dumps(to_json(story.run(attempts=attempts)))) < 208 * 1024  # of 256 KiB


def test_the_last_of_the_most_attempts_may_succeed(story):
    attempts = [story.ended(FailureClass.NO_CAPACITY, number=n) for n in range(1, MOST_ATTEMPTS)]
    done = story.ended(None, number=MOST_ATTEMPTS)
    step = next_step(story.run(attempts=[*attempts, done]), story.at("01:00"))
    assert step.outcome is Outcome.SUCCEEDED


def test_a_person_who_stops_a_job_stops_the_run(after):
    step = after(FailureClass.STOPPED_BY_PERSON)
    assert (step.action, step.outcome) == (Action.FINISH, Outcome.STOPPED)


def test_decisions_are_numbered_on(story):
    assert next_step(story.run(steps=41), story.midnight).number == 42
