"""The exit statuses: every ending and every failure has one."""

import pytest

from nightspot.cli import _shared
from nightspot.cli._shared import ExitStatus
from nightspot.failures.codes import FailureClass
from nightspot.record.model import Ending
from nightspot.run.model import Outcome
from tests.records import past_run

LEFT_OUT = {"market": "spot", "instance_type": "ml.p4d.24xlarge", "because": "quota"}


def test_every_ending_and_every_failure_has_a_status():
    assert set(_shared.OF_ENDING) == set(Ending)
    assert set(_shared.OF_FAILURE) == set(FailureClass)
    assert set(_shared.MEANINGS) == set(ExitStatus)
    # Whoever failed has not delivered, so nothing of it may look like success or like a usage error.
    assert not {ExitStatus.IN_TIME, ExitStatus.USAGE, ExitStatus.LATE} & set(_shared.OF_FAILURE.values())


@pytest.mark.parametrize(
    ("record", "status"),
    [
        ({"outcome": "succeeded", "deadline_met": True}, 0),
        ({"outcome": "succeeded", "deadline_met": False}, 4),
        ({"outcome": "skipped"}, 3),
        ({"outcome": "stopped"}, 5),
        ({"outcome": "refused"}, 1),
        ({"outcome": "running"}, 124),
        ({"outcome": "failed", "attempts": []}, 3),
        # Quotas leave no rung: whoever asked for the run can have them raised. The budget is another matter.
        ({"outcome": "failed", "attempts": [], "left_out": [LEFT_OUT], "rungs_left": 0}, 1),
        ({"outcome": "failed", "attempts": [], "left_out": [LEFT_OUT], "rungs_left": 1}, 3),
        ({"outcome": "failed", "attempts": [], "left_out": [], "rungs_left": 2}, 3),
        # The orchestrator's fault, whatever the market had done before.
        ({"outcome": "failed", "attempts": [], "crashed": True}, 6),
        ({"outcome": "failed", "attempts": [{"failure_class": "no_capacity"}], "crashed": True}, 6),
        ({"outcome": "stopped", "attempts": [], "crashed": True}, 5),
        # Nobody saw its last training job end.
        ({"outcome": "failed", "attempts": [{"failure_class": None, "ended_at": None}]}, 6),
        ({"outcome": "failed", "attempts": [{"failure_class": "no_capacity"}]}, 3),
        (
            {
                "outcome": "failed",
                "attempts": [{"failure_class": "no_capacity"}, {"failure_class": "user_code"}],
            },
            1,
        ),
        ({"outcome": "failed", "attempts": [{"failure_class": "service_fault"}]}, 6),
        ({"outcome": "failed", "attempts": [{"failure_class": "unknown"}]}, 6),
    ],
)
def test_a_record_tells_whose_fault_it_was(record, status):
    assert _shared.of_record(past_run(**record)) == status


@pytest.mark.parametrize(
    ("record", "status"),
    [
        ({"outcome": "succeeded", "deadline_met": True}, 0),
        ({"outcome": "succeeded", "deadline_met": True, "remarks": []}, 0),
        ({"outcome": "succeeded", "deadline_met": True, "remarks": [{"kind": "x", "text": "y"}]}, 7),
        ({"outcome": "succeeded", "deadline_met": False, "remarks": [{"kind": "x", "text": "y"}]}, 7),
        ({"outcome": "skipped", "remarks": [{"kind": "x", "text": "y"}]}, 3),
    ],
)
def test_remarks_count_only_where_that_was_asked_for(record, status):
    assert _shared.of_record(past_run(**record), fail_on_remarks=True) == status
    if record["outcome"] == "succeeded":
        assert _shared.of_record(past_run(**record)) == (0 if record["deadline_met"] else 4)


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("failure", [None, *FailureClass])
def test_every_outcome_with_every_failure_has_a_status(outcome, failure):
    record = {"outcome": outcome.value, "attempts": [{"failure_class": failure and failure.value}]}
    assert _shared.of_record(past_run(**record)) in set(ExitStatus)


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        ("FAILED", "Nightspot.InvalidInput", 1),
        ("FAILED", "Nightspot.DecisionCrashed", 6),
        ("TIMED_OUT", None, 6),
        ("ABORTED", None, 5),
        ("NEW_WORD", None, 6),
    ],
)
def test_an_execution_without_a_record_has_a_status(status, error, expected):
    assert _shared.of_execution(status, error) == expected
