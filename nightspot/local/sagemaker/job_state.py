"""The record of a training job: its states in order, the times counted from them, and who may change it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from threading import Event, Lock
from typing import Any

from nightspot.formats.statuses import ENDED, Secondary, Status
from nightspot.local.clock import StoryClock
from nightspot.local.sagemaker.request_rules import invalid

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
MACHINE_GONE = LAST | {Secondary.INTERRUPTED, Secondary.RESTARTING}


@dataclass(frozen=True)
class JobTransition:
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
    transitions: tuple[JobTransition, ...]
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
        return self.status in ENDED

    @property
    def modified_at(self) -> datetime:
        return self.transitions[-1].start


def asked(request: Mapping[str, Any], arn: str, *, spot_discount: float, at: datetime) -> JobState:
    """The record of a job that was just created."""
    first = JobTransition(Secondary.STARTING, at, None, "Starting the training job")
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
    is_over = (status or state.status) in ENDED
    following = JobTransition(secondary, start, start if is_over else None, MESSAGES[secondary])
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


class Interruption(StrEnum):
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
class JobEnding:
    """How a job ends; `failure_reason` only where AWS gives one."""

    status: Status
    secondary: Secondary
    failure_reason: str | None = None


COMPLETED = JobEnding(Status.COMPLETED, Secondary.COMPLETED)
STOPPED = JobEnding(Status.STOPPED, Secondary.STOPPED)

ENDINGS: Mapping[Interruption, JobEnding] = {
    Interruption.STOP_REQUESTED: STOPPED,
    # Not verified on AWS: the documentation only says that the job is stopped.
    Interruption.MAX_PENDING: STOPPED,
    Interruption.MAX_RUNTIME: JobEnding(Status.STOPPED, Secondary.MAX_RUNTIME_EXCEEDED),
    Interruption.MAX_WAIT: JobEnding(Status.STOPPED, Secondary.MAX_WAIT_TIME_EXCEEDED),
    Interruption.NO_CAPACITY: JobEnding(
        Status.FAILED,
        Secondary.FAILED,
        "CapacityError: Unable to provision requested ML compute capacity. Please retry using a"
        " different ML instance type.",
    ),
    Interruption.INTERNAL_ERROR: JobEnding(
        Status.FAILED,
        Secondary.FAILED,
        "InternalServerError: We encountered an internal error. Please try again.",
    ),
}


def of_exit(code: int, failure_text: str | None) -> JobEnding:
    """The ending of a training command that exited by itself.

    The reason is what the script left in output/failure, as the container contract has it.
    """
    if code == 0:
        return COMPLETED
    return failed("AlgorithmError: " + (failure_text or f"ExecuteUserScriptError:\nExitCode {code}"))


def failed(reason: str) -> JobEnding:
    """A failure with a reason, cut to SageMaker's length."""
    return JobEnding(Status.FAILED, Secondary.FAILED, reason[:MAX_REASON_CHARACTERS])


# What a job no longer enters once it was told to stop, though its thread may just be about to.
CLOSED_BY_A_STOP = frozenset(
    {
        Secondary.STARTING,
        Secondary.PENDING,
        Secondary.DOWNLOADING,
        Secondary.TRAINING,
        Secondary.INTERRUPTED,
        Secondary.RESTARTING,
    }
)

Cuts = Mapping[Interruption, float]


class SharedJob:
    """One job's record, shared by the API's threads and the job's own.

    `on_change` gets every new state, in order, under this job's lock: it must return at once.
    """

    def __init__(self, state: JobState, clock: StoryClock, on_change: Callable[[JobState], None]) -> None:
        self._state = state
        self._clock = clock
        self._on_change = on_change
        self._lock = Lock()
        self._poke = Event()
        self._stop_requested = False
        self._stop_obeyed = False
        self._closed = False
        on_change(state)

    @property
    def state(self) -> JobState:
        """The record as it is now; it never changes, a later call returns another."""
        with self._lock:
            return self._state

    def enter(self, secondary: Secondary, at_seconds: float, status: Status | None = None) -> None:
        """Enter a secondary status, unless a stop request came before or it is there already."""
        with self._lock:
            if self._stop_requested and secondary in CLOSED_BY_A_STOP:
                return
            if self._state.secondary is secondary:
                return
            self._change(secondary, at_seconds, status=status)

    def model_stored(self, uri: str) -> None:
        """Note where the model is; the next state tells."""
        with self._lock:
            self._state = replace(self._state, model_uri=uri)

    def finish(self, ending: JobEnding, at_seconds: float) -> None:
        """Enter the last status; a job told to stop in its last moment is Stopped."""
        with self._lock:
            if self._stop_requested and ending.status is Status.COMPLETED:
                ending = STOPPED
            self._change(
                ending.secondary,
                at_seconds,
                status=ending.status,
                failure_reason=ending.failure_reason,
            )

    def request_stop(self) -> None:
        """StopTrainingJob: Stopping at once, the rest is up to the job's thread.

        Raises `ServiceFaultError` (ValidationException) unless the job is in progress.
        """
        with self._lock:
            if self._state.status is not Status.IN_PROGRESS:
                raise invalid(
                    f"The request was rejected because the training job is in status {self._state.status}."
                )
            self._stop_requested = True
            self._change(Secondary.STOPPING, self._clock.elapsed_seconds(), status=Status.STOPPING)
        self._poke.set()

    def close(self) -> None:
        """The simulation ends: every wait returns CLOSED from now on."""
        with self._lock:
            self._closed = True
        self._poke.set()

    def wait(self, until: float | None, cuts: Cuts) -> Interruption | None:
        """Wait until a story moment, or until the first cut; return that cut, or None.

        Moments are story seconds since the run's start; `until` None is never. A thread that
        wakes late still sees things in the story's order: a cut that lies behind `until` is not
        returned, however late it is. A stop request is returned once.
        """
        cut = min(cuts, key=lambda each: cuts[each], default=None)
        cut_at = float("inf") if cut is None else cuts[cut]
        end = float("inf") if until is None else until
        while True:
            self._poke.clear()
            if (order := self._next_order()) is not None:
                return order
            remaining = min(end, cut_at) - self._clock.elapsed_seconds()
            if remaining <= 0:
                return cut if cut_at < end else None
            self._clock.wait_for(self._poke, remaining)

    def _next_order(self) -> Interruption | None:
        with self._lock:
            if self._closed:
                return Interruption.CLOSED
            if self._stop_requested and not self._stop_obeyed:
                self._stop_obeyed = True
                return Interruption.STOP_REQUESTED
        return None

    def _change(self, secondary: Secondary, at_seconds: float, **more: Any) -> None:
        self._state = entered(self._state, secondary, self._clock.at(at_seconds), **more)
        self._on_change(self._state)
