"""Decides how a training job ends: which interruption or exit code leads to which status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from nightspot.local.job_state import Secondary, Status

MAX_REASON_CHARACTERS = 1024


class Cut(StrEnum):
    """What can break into a phase of a job's life."""

    CLOSED = "closed"  # the simulation itself ends
    STOP_REQUESTED = "stop_requested"
    RECLAIMED = "reclaimed"
    INTERNAL_ERROR = "internal_error"
    MAX_RUNTIME = "max_runtime"
    MAX_WAIT = "max_wait"
    MAX_PENDING = "max_pending"
    NO_CAPACITY = "no_capacity"
    AS_SCRIPTED = "as_scripted"  # SageMaker ends the job in a way that the night's options say


@dataclass(frozen=True)
class Ending:
    """How a job ends; `failure_reason` only where AWS gives one."""

    status: Status
    secondary: Secondary
    failure_reason: str | None = None


COMPLETED = Ending(Status.COMPLETED, Secondary.COMPLETED)
STOPPED = Ending(Status.STOPPED, Secondary.STOPPED)

ENDINGS: Mapping[Cut, Ending] = {
    Cut.STOP_REQUESTED: STOPPED,
    # Not verified on AWS: the documentation only says that the job is stopped.
    Cut.MAX_PENDING: STOPPED,
    Cut.MAX_RUNTIME: Ending(Status.STOPPED, Secondary.MAX_RUNTIME_EXCEEDED),
    Cut.MAX_WAIT: Ending(Status.STOPPED, Secondary.MAX_WAIT_TIME_EXCEEDED),
    Cut.NO_CAPACITY: Ending(
        Status.FAILED,
        Secondary.FAILED,
        "CapacityError: Unable to provision requested ML compute capacity. Please retry using a"
        " different ML instance type.",
    ),
    Cut.INTERNAL_ERROR: Ending(
        Status.FAILED,
        Secondary.FAILED,
        "InternalServerError: We encountered an internal error. Please try again.",
    ),
}


def of_exit(code: int, failure_text: str | None) -> Ending:
    """The ending of a training command that exited by itself.

    The reason is what the script left in output/failure, as the container contract has it.
    """
    if code == 0:
        return COMPLETED
    return failed("AlgorithmError: " + (failure_text or f"ExecuteUserScriptError:\nExitCode {code}"))


def failed(reason: str) -> Ending:
    """A failure with a reason, cut to SageMaker's length."""
    return Ending(Status.FAILED, Secondary.FAILED, reason[:MAX_REASON_CHARACTERS])
