"""Every class of failure once through the real workflow, and the jobs that were created after it."""

import pytest

from nightspot.failures.classify import RESPONSES, Response
from nightspot.failures.codes import FailureClass
from nightspot.formats.statuses import Secondary, Status
from nightspot.local.sagemaker.job_state import JobEnding
from nightspot.local.sagemaker.markets import Markets, SimulatedMarket, SimulationOptions
from nightspot.local.sagemaker.request_rules import ServiceFault
from nightspot.local.stage.night_files import Night

MINUTE = 60.0
BUSY = ServiceFault(
    "ResourceLimitExceeded",
    "The account-level service limit 'ml.g5.xlarge for spot training job usage' is 1 Instances, with current "
    "utilization of 1 Instances and a request delta of 1 Instances.",
)
DENIED = ServiceFault(
    "AccessDeniedException",
    "User: arn:aws:sts::123456789012:assumed-role/x is not authorized to perform: sagemaker:CreateTrainingJob",
)


# Twenty minutes of work, so that a whole night takes seconds.
SHORT = {"work": "20m", "hyperparameters": {"steps": "4", "every": "2"}}


def refused(*faults):
    return {"night": Night("refused", "", create_faults=faults), **SHORT}


def ended(status, secondary, reason=None):
    ending = JobEnding(status, secondary, reason)
    options = SimulationOptions(endings_at_seconds=((10 * MINUTE, ending),))
    return {"night": Night("ended", "", options=options), **SHORT}


def failed(reason):
    return ended(Status.FAILED, Secondary.FAILED, reason)


# An hour of steps is stated as 20 minutes: the first attempt gets 36, and the second knows the pace.
UNDERSTATED = {
    "stopping": {"MaxRuntimeInSeconds": 1500},
    "work": "20m",
    "checkpoint_every": "5m",
    "change_over": {"spot": "1m", "on_demand": "1m"},
    "hyperparameters": {"every": "1"},
}
NO_QUOTA = SimulationOptions(quotas={"ml.g5.xlarge for spot training job usage": 0})
# The first attempt's class -> the night that brings it about (a name: one that other tests look at too), and the
# markets of the jobs created, in order.
NIGHTS = {
    FailureClass.NO_CAPACITY: (
        failed("CapacityError: Unable to provision requested ML compute capacity."),
        ["spot", "spot"],
    ),
    FailureClass.INTERRUPTED: (ended(Status.STOPPED, Secondary.INTERRUPTED), ["spot", "spot"]),
    FailureClass.WAIT_LIMIT: (
        {
            "night": Night("never", "", Markets(default_spot=SimulatedMarket.never())),
            "stopping": {"MaxRuntimeInSeconds": 1500, "MaxWaitTimeInSeconds": 1500},
            "work": "15m",
            "hyperparameters": {"steps": "3", "every": "1"},
            "deadline": {"within": "1h32m"},
        },
        # The user's own limit ends the first wait before the last safe moment, which ends the second.
        ["spot", "spot", "on_demand"],
    ),
    FailureClass.STOPPED_BY_NIGHTSPOT: ("Spot never comes", ["spot", "on_demand"]),
    FailureClass.QUOTA_TEMPORARY: (refused(BUSY), ["spot"]),
    FailureClass.QUOTA_PERMANENT: ({"night": Night("none", "", options=NO_QUOTA), **SHORT}, ["on_demand"]),
    # A start that is refused so is in doubt, and the same attempt: test_failures_in_the_workflow.py.
    FailureClass.THROTTLED: (failed("ThrottlingException: Rate exceeded"), ["spot", "spot"]),
    FailureClass.SERVICE_FAULT: (
        failed("InternalServerError: We encountered an internal error. Please try again."),
        ["spot", "spot"],
    ),
    FailureClass.RUNTIME_LIMIT: (UNDERSTATED, ["spot", "spot"]),
    FailureClass.USER_CODE: ("a bug in the script", ["spot"]),
    FailureClass.OUT_OF_MEMORY: (
        failed("ClientError: Please use an instance type with more memory, or reduce the size of the data."),
        ["spot"],
    ),
    # A request for Spot that is refused has another rung asked once: test_limits_in_the_workflow.py.
    FailureClass.CONFIGURATION: (failed("ClientError: Data download failed: no such key."), ["spot"]),
    FailureClass.PERMISSION: (refused(DENIED), []),
    FailureClass.STOPPED_BY_PERSON: ("a person", ["spot"]),
    FailureClass.UNKNOWN: (failed("SomethingNew: that nobody has seen, CapacityError"), ["spot"]),
}


def created(played):
    """The market of every training job that SageMaker accepted, in order."""
    return ["spot" if job.get("EnableManagedSpotTraining") else "on_demand" for job in played.training_jobs]


def test_there_is_a_night_for_every_class():
    assert set(NIGHTS) == set(FailureClass)


@pytest.mark.parametrize("failure", [each for each in FailureClass if not isinstance(NIGHTS[each][0], str)])
def test_what_a_run_does_after_it(play_virtually, failure):
    given, markets = NIGHTS[failure]
    holds_after(failure, play_virtually(**given), markets)


@pytest.mark.parametrize("failure", [each for each in FailureClass if isinstance(NIGHTS[each][0], str)])
def test_what_a_run_does_after_it_with_a_real_process(look_at, failure):
    name, markets = NIGHTS[failure]
    holds_after(failure, look_at(name)[0], markets)


def holds_after(failure, played, markets):
    assert played.record.attempts[0].failure_class == failure.value
    assert created(played) == markets
    if RESPONSES[failure] is Response.FINISH:
        assert len(played.record.attempts) == 1
        assert played.error == (
            "Nightspot.stopped" if failure is FailureClass.STOPPED_BY_PERSON else "Nightspot.failed"
        )
        assert "on_demand" not in created(played)
        assert played.execution_status == "FAILED"
    else:
        assert played.record.outcome == "succeeded"
