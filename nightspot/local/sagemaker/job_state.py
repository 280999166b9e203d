"""Decides what a training job's record says: its states in order, and the times counted from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """TrainingJobStatus."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPING = "Stopping"
    STOPPED = "Stopped"


class Secondary(StrEnum):
    """SecondaryStatus, as far as the simulation enters it."""

    STARTING = "Starting"
    PENDING = "Pending"
    DOWNLOADING = "Downloading"
    TRAINING = "Training"
    INTERRUPTED = "Interrupted"
    RESTARTING = "Restarting"
    STOPPING = "Stopping"
    UPLOADING = "Uploading"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPED = "Stopped"
    MAX_RUNTIME_EXCEEDED = "MaxRuntimeExceeded"
    MAX_WAIT_TIME_EXCEEDED = "MaxWaitTimeExceeded"


# AWS's words, from job logs in public repositories; Interrupted, Restarting and MaxRuntimeExceeded
# are worded after botocore's documentation of SecondaryStatus. They must not drive code.
MESSAGES: Mapping[Secondary, str] = {
    Secondary.STARTING: "Preparing the instances for training",
    Secondary.PENDING: "Training job waiting for capacity",
    Secondary.DOWNLOADING: "Downloading input data",
    Secondary.TRAINING: "Training image download completed. Training in progress.",
    Secondary.INTERRUPTED: "The managed spot training instances were interrupted",
    Secondary.RESTARTING: "The training job is restarting after an internal error",
    Secondary.STOPPING: "Stopping the training job",
    Secondary.UPLOADING: "Uploading generated training model",
    Secondary.COMPLETED: "Training job completed",
    Secondary.FAILED: "Training job failed",
    Secondary.STOPPED: "Training job stopped",
    Secondary.MAX_RUNTIME_EXCEEDED: "Training job runtime exceeded MaxRuntimeInSeconds provided",
    Secondary.MAX_WAIT_TIME_EXCEEDED: ("Training job wait time exceeded MaxWaitTimeInSeconds provided"),
}
LAST = frozenset(
    {
        Secondary.COMPLETED,
        Secondary.FAILED,
        Secondary.STOPPED,
        Secondary.MAX_RUNTIME_EXCEEDED,
        Secondary.MAX_WAIT_TIME_EXCEEDED,
    }
)
OVER = frozenset({Status.COMPLETED, Status.FAILED, Status.STOPPED})
MACHINE_GONE = LAST | {Secondary.INTERRUPTED, Secondary.RESTARTING}


@dataclass(frozen=True)
class Transition:
    """One secondary status; `end` is None while it lasts."""

    status: Secondary
    start: datetime
    end: datetime | None
    message: str


@dataclass(frozen=True)
class MachineLife:
    """When a machine worked for the job; `end` is None while it does."""

    start: datetime
    end: datetime | None


@dataclass(frozen=True)
class JobState:
    """All that is known of a training job at one moment. Times are the story's.

    `spot_discount` is 0 for on-demand; `model_uri` is set once the model was uploaded.
    """

    request: Mapping[str, Any]
    arn: str
    spot_discount: float
    created_at: datetime
    status: Status
    transitions: tuple[Transition, ...]
    failure_reason: str | None = None
    model_uri: str | None = None

    @property
    def name(self) -> str:
        return str(self.request["TrainingJobName"])

    @property
    def secondary(self) -> Secondary:
        return self.transitions[-1].status

    @property
    def ended(self) -> bool:
        # By the status: "Interrupted" may be where a job stands, and where it ended.
        return self.status in OVER

    @property
    def modified_at(self) -> datetime:
        return self.transitions[-1].start

    def with_model(self, uri: str) -> JobState:
        """The same record, with the model at `uri`."""
        return replace(self, model_uri=uri)


def asked(request: Mapping[str, Any], arn: str, *, spot_discount: float, at: datetime) -> JobState:
    """The record of a job that was just created."""
    first = Transition(Secondary.STARTING, at, None, "Starting the training job")
    return JobState(request, arn, spot_discount, at, Status.IN_PROGRESS, (first,))


def entered(
    state: JobState,
    secondary: Secondary,
    at: datetime,
    *,
    status: Status | None = None,
    failure_reason: str | None = None,
) -> JobState:
    """The record after the job entered a secondary status; the one before it ends there.

    Never earlier than the status before it, whatever `at` says: a phase that ran late in real
    time must not end before it began. A final status ends where it starts.
    """
    last = state.transitions[-1]
    start = max(at, last.start)
    is_over = (status or state.status) in OVER
    following = Transition(secondary, start, start if is_over else None, MESSAGES[secondary])
    return replace(
        state,
        status=status or state.status,
        transitions=(*state.transitions[:-1], replace(last, end=start), following),
        failure_reason=failure_reason or state.failure_reason,
    )


def machine_lives(state: JobState) -> tuple[MachineLife, ...]:
    """When machines worked for the job: from a Downloading's start until the machine was gone."""
    lives: list[MachineLife] = []
    for transition in state.transitions:
        working = bool(lives) and lives[-1].end is None
        if transition.status is Secondary.DOWNLOADING and not working:
            lives.append(MachineLife(transition.start, None))
        elif transition.status in MACHINE_GONE and working:
            lives[-1] = replace(lives[-1], end=transition.start)
    return tuple(lives)


def training_seconds(state: JobState, until: datetime) -> float:
    """TrainingTimeInSeconds, unrounded: the sum over the machine lives, waiting left out."""
    return sum(((life.end or until) - life.start).total_seconds() for life in machine_lives(state))


def billable_seconds(state: JobState, until: datetime) -> float:
    """BillableTimeInSeconds, unrounded: already discounted, as AWS reports it."""
    return training_seconds(state, until) * (1 - state.spot_discount)


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
