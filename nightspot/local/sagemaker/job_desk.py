"""Decides who may change a training job's record, and makes a job's thread wait in story time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event, Lock
from typing import Any

from nightspot.local.clock import StoryClock
from nightspot.local.sagemaker.faults import invalid
from nightspot.local.sagemaker.job_state import STOPPED, Cut, Ending, JobState, Secondary, Status, entered

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
LONGEST_WAIT_REAL_SECONDS = 60.0

Cuts = Mapping[Cut, float]


class JobDesk:
    """One job's record, shared by the API's threads and the job's own.

    `on_change` gets every new state, in order, under the desk's lock: it must return at once.
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
            self._state = self._state.with_model(uri)

    def finish(self, ending: Ending, at_seconds: float) -> None:
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

    def wait(self, until: float | None, cuts: Cuts) -> Cut | None:
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
            self._poke.wait(min(self._clock.real_seconds(remaining), LONGEST_WAIT_REAL_SECONDS))

    def _next_order(self) -> Cut | None:
        with self._lock:
            if self._closed:
                return Cut.CLOSED
            if self._stop_requested and not self._stop_obeyed:
                self._stop_obeyed = True
                return Cut.STOP_REQUESTED
        return None

    def _change(self, secondary: Secondary, at_seconds: float, **more: Any) -> None:
        self._state = entered(self._state, secondary, self._clock.at(at_seconds), **more)
        self._on_change(self._state)
