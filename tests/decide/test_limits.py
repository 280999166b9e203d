"""How long an attempt may run and what a run pays for, with the sums worked by hand: see conftest.py.

W = 4 h 48 min, a checkpoint interval of 30 min, change-overs of 10 min (Spot) and 15 min (on-demand). A Spot
machine of which nothing is learnt lives 3 h.
"""

from dataclasses import replace

import pytest

from nightspot.checkpoint.core import settings
from nightspot.decide import limits
from nightspot.decide.ledger import fold
from nightspot.failures.classify import Fault, Response
from nightspot.failures.codes import FailureClass
from nightspot.job import cautions
from nightspot.job.markets import Market
from nightspot.learn import work
from nightspot.plan import planning

MINUTE, HOUR = 60, 3600
DAY = 24 * HOUR
W = 4 * HOUR + 48 * MINUTE
AGAIN = 40 * MINUTE  # a checkpoint interval and a start-up on Spot
RUNTIME, WAIT = FailureClass.RUNTIME_LIMIT, FailureClass.WAIT_LIMIT


def limited(story, **stopping):
    """The user's request with this StoppingCondition."""
    return {**story.run().training_job, "StoppingCondition": stopping}


@pytest.fixture
def stopping(story):
    """The StoppingCondition of the next attempt at midnight."""

    def asked(rung=None, *, limits=None, **changes):
        user = limited(story, **(limits or {}))
        run = story.run(**{"training_job": user, **changes})
        request = planning.create_training_job(run, rung or story.spot, len(run.attempts) + 1, story.midnight)
        return request["StoppingCondition"]

    return asked


@pytest.mark.parametrize(
    ("changes", "rung", "seconds"),
    [
        # Two interruptions in 4 h 48 min, and one more of what they repeat for the attempt's own start.
        ({}, {}, W + 3 * AGAIN),
        ({"progress": 12}, {}, W // 2 + 2 * AGAIN),
        # An interruption every hour is five of them; one every quarter takes less than a checkpoint interval.
        ({}, {"mean_life_seconds": 3600.0}, W + 6 * AGAIN),
        ({}, {"mean_life_seconds": 900.0}, W + 21 * (900 + 600)),
        ({}, {"speed": 0.5}, 2 * W + 5 * AGAIN),
        # What is lost without checkpoints is a machine's whole life.
        ({"checkpoint_s3_uri": None}, {}, W + 3 * (3 * HOUR + 10 * MINUTE)),
        ({}, {"market": Market.ON_DEMAND, "change_over_seconds": 900}, W + 45 * MINUTE),
    ],
)
def test_the_time_that_an_attempt_needs_is_the_work_and_what_is_repeated(story, changes, rung, seconds):
    changes = dict(changes)
    if step := changes.pop("progress", None):
        changes["progress"] = story.progress(step, "03:00")
    run = story.run(**changes)
    assert limits.runtime_needed_seconds(run, replace(story.spot, **rung)) == seconds


@pytest.mark.parametrize(
    ("given", "spot", "on_demand"),
    [
        # The limit of many walk-throughs is the work itself: Spot gets what it needs, on-demand what may be paid.
        (4 * HOUR, W + 3 * AGAIN, 4 * HOUR),
        (9 * HOUR, 9 * HOUR, 9 * HOUR),
        # Without a word of the user's, SageMaker's own.
        (None, DAY, DAY),
        (28 * DAY, 28 * DAY, 28 * DAY),
    ],
)
def test_an_attempts_limit_is_never_under_what_spot_needs(story, stopping, given, spot, on_demand):
    stated = {} if given is None else {"MaxRuntimeInSeconds": given}
    assert stopping(limits=stated)["MaxRuntimeInSeconds"] == spot
    assert stopping(story.on_demand, limits=stated) == {"MaxRuntimeInSeconds": on_demand}


def test_without_a_stated_limit_a_long_work_gets_more_than_a_day(story, stopping):
    changes = {"work_upper_seconds": 2.0 * DAY}
    assert stopping(story.on_demand, **changes)["MaxRuntimeInSeconds"] == 2 * DAY + 45 * MINUTE
    # Sixteen interruptions in two days.
    assert stopping(**changes)["MaxRuntimeInSeconds"] == 2 * DAY + 17 * AGAIN
    assert stopping(work_upper_seconds=40.0 * DAY)["MaxRuntimeInSeconds"] == 28 * DAY


@pytest.mark.parametrize(
    ("billed", "left"),
    [
        # Three hours on Spot were billed as one.
        (3600.0, 3 * HOUR),
        (0.0, 4 * HOUR),
        # Where SageMaker does not say, all that was trained was paid.
        (None, 1 * HOUR),
        (5.0 * HOUR, 1),
    ],
)
def test_on_demand_may_run_for_what_is_left_of_the_paid_time(story, stopping, billed, left):
    ended = story.ended(FailureClass.NO_CAPACITY, trained_seconds=3.0 * HOUR, billable_seconds=billed)
    stated = {"MaxRuntimeInSeconds": 4 * HOUR}
    nothing_safe = {"attempts": [ended], "progress": story.progress(0, "00:00")}
    assert stopping(story.on_demand, limits=stated, **nothing_safe)["MaxRuntimeInSeconds"] == left
    # Spot is billed less than it runs.
    assert stopping(limits=stated, **nothing_safe)["MaxRuntimeInSeconds"] == W + 3 * AGAIN


def test_the_budget_still_lowers_the_limit(story, stopping):
    # $66 pay for two hours of the machine, the stop included.
    assert (
        stopping(limits={"MaxRuntimeInSeconds": 4 * HOUR}, budget_usd=66.0)["MaxRuntimeInSeconds"] == 2 * HOUR
    )


@pytest.mark.parametrize(
    ("stated", "runtime", "wait"),
    [
        # Until 08:00, and then all that the attempt may run.
        ({"MaxRuntimeInSeconds": 4 * HOUR}, W + 3 * AGAIN, 8 * HOUR + W + 3 * AGAIN),
        # The wait counts the running, so the user's own bounds both.
        ({"MaxRuntimeInSeconds": 4 * HOUR, "MaxWaitTimeInSeconds": 4 * HOUR}, 4 * HOUR, 4 * HOUR),
        ({"MaxRuntimeInSeconds": 4 * HOUR, "MaxWaitTimeInSeconds": 12 * HOUR}, W + 3 * AGAIN, 12 * HOUR),
        ({"MaxWaitTimeInSeconds": 12 * HOUR}, 12 * HOUR, 12 * HOUR),
    ],
)
def test_the_wait_limit_is_never_under_the_runtime(stopping, stated, runtime, wait):
    assert stopping(limits=stated) == {"MaxRuntimeInSeconds": runtime, "MaxWaitTimeInSeconds": wait}


def test_an_algorithm_without_checkpoints_waits_no_longer_than_aws_lets_it(story, stopping):
    user = {"AlgorithmSpecification": {"AlgorithmName": "forest"}}
    changes = {"training_job": user, "checkpoint_s3_uri": None}
    assert stopping(**changes) == {"MaxRuntimeInSeconds": HOUR, "MaxWaitTimeInSeconds": HOUR}
    assert stopping(story.on_demand, **changes) == {"MaxRuntimeInSeconds": DAY}


@pytest.mark.parametrize(
    ("limit", "billed", "used_up"),
    [
        (14_400, 14_341.0, True),
        (14_400, 14_340.0, False),
        (14_400, 15_000.0, True),
        (30, 0.0, False),
        (30, 1.0, True),
    ],
)
def test_paid_time_is_used_up_when_no_machine_would_come_to_train(story, limit, billed, used_up):
    ended = story.ended(FailureClass.INTERRUPTED, trained_seconds=1.0, billable_seconds=billed)
    run = story.run(training_job=limited(story, MaxRuntimeInSeconds=limit), attempts=[ended])
    assert limits.is_paid_time_used_up(run) is used_up


def test_without_a_stated_limit_no_time_is_used_up(story):
    ended = story.ended(FailureClass.INTERRUPTED, trained_seconds=100.0 * DAY)
    run = story.run(training_job=limited(story), attempts=[ended])
    assert not limits.is_paid_time_used_up(run)
    assert limits.paid_left_seconds(run) is None


@pytest.fixture
def response(story):
    """What is done about an attempt that ended so."""

    def of(failure, rung=None, *, changes=(), **attempt):
        ended = story.ended(failure, rung, **attempt)
        return limits.response_to(ended, story.run(attempts=[ended], **dict(changes)))

    return of


@pytest.mark.parametrize("rung", ["spot", "on_demand"])
@pytest.mark.parametrize(
    ("attempt", "goes_on"),
    [
        ({"step_before": None, "step_after": 3}, True),
        ({"step_before": 3, "step_after": 6}, True),
        ({"step_before": 3, "step_after": 3}, False),
        # It began again from nothing: what it saved is older than what there was.
        ({"step_before": 18, "step_after": 12}, False),
        ({"step_before": None, "step_after": None}, False),
        # Steps that are seen count, and no estimate.
        ({"step_before": 3, "step_after": 3, "safe_seconds": 3600.0}, False),
    ],
)
def test_a_runtime_limit_goes_on_after_a_newer_checkpoint_alone(story, response, rung, attempt, goes_on):
    found = response(RUNTIME, getattr(story, rung), **attempt)
    assert found is (Response.MARKET if goes_on else Response.FINISH)


@pytest.mark.parametrize(
    ("hours", "answer"),
    [
        # 3 h trained, less the interval that the end has cut: 2 h 30 min of 4 h 48 min are done.
        (3.0, Response.MARKET),
        # All the work and an interval, and still no model: it hangs.
        (5.3, Response.FINISH),
    ],
)
def test_where_no_steps_are_visible_the_training_time_decides(response, hours, answer):
    trained = {"trained_seconds": hours * HOUR, "safe_seconds": hours * HOUR, "safe_point": 0.5}
    assert response(RUNTIME, **trained) is answer


@pytest.mark.parametrize(
    ("attempt", "answer"),
    [
        # It trained for most of its time and saved nothing: the same again, on this rung, would end alike.
        ({"trained_seconds": 3000.0, "waited_seconds": 600.0}, Response.WITHOUT_RUNG),
        ({"trained_seconds": 600.0, "waited_seconds": 3000.0}, Response.MARKET),
        ({"trained_seconds": 3000.0, "waited_seconds": 600.0, "step_after": 3}, Response.MARKET),
        ({"trained_seconds": 3000.0, "waited_seconds": 600.0, "ended_waiting": True}, Response.MARKET),
    ],
)
def test_a_wait_that_was_mostly_training_without_a_checkpoint_takes_its_rung_out(response, attempt, answer):
    assert response(WAIT, **attempt) is answer


REFUSED = "ValidationException: MaxWaitTimeInSeconds above 3600 is not supported for the given algorithm."


@pytest.mark.parametrize(
    ("attempt", "answer"),
    [
        ({}, Response.WITHOUT_RUNG),
        # Nobody publishes what AWS says of a type that Spot does not have.
        ({"failure_reason": "ValidationException: words that nobody has seen"}, Response.WITHOUT_RUNG),
        ({"failure_reason": None}, Response.WITHOUT_RUNG),
        # A training job that ran, and on-demand: no matter what is quoted.
        ({"status": "Failed"}, Response.FINISH),
        ({"rung": "on_demand"}, Response.FINISH),
        ({"failure": FailureClass.UNKNOWN}, Response.FINISH),
        ({"failure": FailureClass.PERMISSION}, Response.FINISH),
        ({"failure": FailureClass.USER_CODE}, Response.FINISH),
    ],
)
def test_a_refusal_of_the_request_for_spot_takes_out_the_rung_and_not_the_run(
    story, response, attempt, answer
):
    fields = {"failure": FailureClass.CONFIGURATION, "status": None, "failure_reason": REFUSED, **attempt}
    rung = getattr(story, fields.pop("rung", "spot"))
    assert response(fields.pop("failure"), rung, **fields) is answer


@pytest.mark.parametrize("cause", [REFUSED, "Words that nobody has seen."], ids=["known", "unknown"])
@pytest.mark.parametrize("error", ["SageMaker.SageMakerException", "SageMaker.ValidationException"])
def test_the_refusal_is_read_from_awss_answer(story, error, cause):
    run = story.run(attempts=[story.attempt(status=None)])
    fault = Fault(error, f"{cause} (Service: SageMaker, Status Code: 400)")
    folded = fold(run, story.look(None, fault=fault), story.midnight)
    assert limits.response_to(folded.last_attempt, folded) is Response.WITHOUT_RUNG


def test_what_is_said_in_several_rooms_is_the_same():
    assert limits.DEFAULT_MEAN_LIFE_SECONDS == settings.DEFAULT_MEAN_LIFE_SECONDS
    assert cautions.WORK_MARGIN == work.UNLEARNT_WORK_MARGIN
