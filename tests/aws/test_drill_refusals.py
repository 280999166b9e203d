"""A drill on AWS that is refused, cut off or interrupted: what is told, and that nothing goes on costing money."""

from __future__ import annotations

import pytest
from botocore.exceptions import EndpointConnectionError, IncompleteReadError, NoCredentialsError

from nightspot.aws.drill_plan import HINTS, RETRY_SECONDS, DrillError, DrillOutcome
from nightspot.failures.codes import FailureClass

FIRST, SECOND = (f"nightspot-recommender-drill-261121-3fa9c-{number}" for number in (1, 2))


def error_of(drill):
    with pytest.raises(DrillError) as raised:
        drill.play()
    return raised.value


@pytest.mark.parametrize("call", ["list", "get"])
def test_a_bucket_that_may_not_be_read_is_found_out_before_anything_is_started(drill, refusal, call):
    tonight = drill()
    tonight.cloud.refusals[call] = [refusal("AccessDenied", "Access Denied", 403)]
    error = error_of(tonight)
    assert error.failure is FailureClass.PERMISSION
    assert HINTS[FailureClass.PERMISSION] in str(error)
    assert tonight.cloud.machines == {}


QUOTA = (
    "The account-level service limit 'ml.g5.2xlarge for training job usage' is 0 Instances, with current "
    "utilization of 0 Instances and a request delta of 2 Instances."
)


@pytest.mark.parametrize(
    ("code", "message", "failure"),
    [
        ("ResourceLimitExceeded", QUOTA, FailureClass.QUOTA_PERMANENT),
        ("AccessDeniedException", "not authorized to perform: iam:PassRole", FailureClass.PERMISSION),
        ("ValidationException", "Invalid MaxRuntimeInSeconds", FailureClass.CONFIGURATION),
    ],
)
def test_a_start_that_is_refused_is_told_in_words_and_not_repeated(drill, refusal, code, message, failure):
    tonight = drill()
    tonight.cloud.refusals["create"] = [refusal(code, message)]
    error = error_of(tonight)
    assert error.failure is failure
    assert str(error).startswith(f"cannot start {FIRST}: {code}")
    assert str(error).endswith(f"({HINTS[failure]})")
    assert tonight.cloud.calls.count("create") == 1
    assert "stop 1" not in tonight.cloud.calls


def test_a_throttle_is_waited_out(drill, refusal):
    tonight = drill()
    slow = refusal("ThrottlingException", "Rate exceeded")
    tonight.cloud.refusals |= {"create": [slow, slow], "describe": [slow], "stop 1": [slow], "list": [slow]}
    assert tonight.play().verdict.outcome is DrillOutcome.PASSED


def test_a_throttle_that_does_not_end_ends_the_drill_and_stops_its_job(drill, refusal):
    tonight = drill()
    tonight.cloud.refusals["describe"] = [refusal("ThrottlingException", "Rate exceeded")] * (
        len(RETRY_SECONDS) + 1
    )
    assert error_of(tonight).failure is FailureClass.THROTTLED
    assert tonight.cloud.running() == []
    assert tonight.left == []


def test_a_start_whose_answer_is_lost_starts_one_job(drill):
    tonight = drill()
    lost = EndpointConnectionError(endpoint_url="https://sagemaker")
    tonight.cloud.refusals["answer"] = [lost]
    assert tonight.play().verdict.outcome is DrillOutcome.PASSED
    assert list(tonight.cloud.machines) == [FIRST, SECOND]


def test_a_connection_that_stays_away_ends_the_drill_and_what_may_have_started_is_stopped(drill):
    tonight = drill()
    lost = EndpointConnectionError(endpoint_url="https://sagemaker")
    tonight.cloud.refusals["create"] = [lost] * (1 + len(RETRY_SECONDS))
    assert error_of(tonight).failure is FailureClass.SERVICE_FAULT
    assert "stop 1" in tonight.cloud.calls
    assert tonight.left == []


def test_a_broken_connection_and_a_fault_that_nobody_has_named_are_waited_out(drill, refusal):
    tonight = drill()
    tonight.cloud.refusals |= {
        "get": [None, IncompleteReadError(actual_bytes=1, expected_bytes=2), refusal("Odd", "said S3", 503)],
        "describe": [IncompleteReadError(actual_bytes=1, expected_bytes=2)],
    }
    assert tonight.play().verdict.outcome is DrillOutcome.PASSED


def test_missing_credentials_are_told_in_words(drill):
    tonight = drill()
    tonight.cloud.refusals["list"] = [NoCredentialsError()]
    assert error_of(tonight).failure is FailureClass.PERMISSION


@pytest.mark.parametrize("call", ["create", "answer", "describe", "get", "list", "sleep", "stop 1", "delete"])
def test_ctrl_c_at_any_call_leaves_nothing_running(drill, call):
    tonight = drill()
    tonight.cloud.refusals[call] = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        tonight.play()
    assert tonight.cloud.running() == []
    assert tonight.left == []


def test_ctrl_c_at_any_sleep_leaves_nothing_running(drill):
    whole = drill()
    whole.play()
    for number in range(whole.cloud.calls.count("sleep")):
        tonight = drill()
        tonight.cloud.refusals["sleep"] = [None] * number + [KeyboardInterrupt()]
        with pytest.raises(KeyboardInterrupt):
            tonight.play()
        assert tonight.cloud.running() == [], number


def test_a_job_whose_creation_was_cut_short_is_stopped_as_soon_as_it_is_seen(drill):
    tonight = drill()
    tonight.cloud.refusals["answer"] = [KeyboardInterrupt()]
    tonight.cloud.late_seconds = 6
    with pytest.raises(KeyboardInterrupt):
        tonight.play()
    assert tonight.cloud.running() == []
    assert tonight.cloud.slept == [2, 5]


def test_a_job_that_cannot_be_stopped_is_named_with_the_reason(drill, refusal):
    tonight = drill()
    tonight.cloud.refusals |= {
        "sleep": [KeyboardInterrupt()],
        "stop 1": [refusal("ExpiredTokenException", "The security token included in the request is expired")],
    }
    with pytest.raises(KeyboardInterrupt):
        tonight.play()
    ((name, why),) = tonight.left
    assert name == FIRST
    assert "expired" in why


def test_a_second_ctrl_c_during_the_stop_still_names_the_job(drill):
    tonight = drill()
    tonight.cloud.refusals |= {"sleep": [KeyboardInterrupt()], "stop 1": [KeyboardInterrupt()]}
    with pytest.raises(KeyboardInterrupt):
        tonight.play()
    assert tonight.left == [(FIRST, "the stop was cut short")]


def test_every_class_of_failure_has_a_hint():
    assert set(HINTS) == set(FailureClass)
    assert all(HINTS.values())
