"""The points of a training's curve, held back until no interruption can make the training repeat them.

A tracker (MLflow, Weights & Biases) cannot take back a point. So a point is sent once a checkpoint of its step, or
of a later one, should be in S3. Until it was sent it is in every checkpoint: the process that resumes from there
sends what the one before it had no time to.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from .errors import SettingError, StepError

_LOG = logging.getLogger("nightspot.checkpoint")

MOST_HELD = 100_000  # points that wait for a tracker; each is in the next checkpoint's footer
# A tracker's package may store what it was given only later, wandb after 15 s: so long it stays in checkpoints.
SETTLE_SECONDS = 60.0
RETRY_SECONDS = 30.0  # after a tracker failed; it has waited for its own time-outs before
CLOSE_SECONDS = 60.0  # how long the end of a training waits for all trackers together
STOP_SECONDS = 10.0  # and one that was asked to stop, which has two minutes for all that it still does


@dataclass(frozen=True)
class Point:
    """What was logged at a step: numbers by name, at a time in seconds since 1970."""

    step: int
    at: float
    values: Mapping[str, float]


class Tracker(Protocol):
    """Where a curve is shown. It is called in a thread beside training, one call at a time.

    Every method may take long and may raise anything: what could not be sent is sent later.
    """

    name: str

    def open(self) -> None:
        """Find the run, and which points it has: before the first `send`, and again after a failure."""

    def send(self, points: Sequence[Point]) -> None:
        """Store the points, their steps rising, but for those that the run had when it was opened."""

    def url(self) -> str | None:
        """The page of the run; None where there is none, or none yet."""

    def finish(self) -> None:
        """The training is complete."""


class Curve:
    """The points of one process, on their way to every tracker. `log` and `saved` may be called by two threads."""

    def __init__(self, trackers: Iterable[Tracker], now: Callable[[], datetime]) -> None:
        self._outboxes = [_Outbox(each) for each in trackers]
        self._now = now
        self._lock = threading.Lock()
        self._safe: list[tuple[int, datetime]] = []  # checkpoints by step, and when each should be in S3
        self._safe_step = -1
        self._begun_after = -1
        self._last: Point | None = None
        self._said_twice = False
        self._is_closed = False

    @property
    def on(self) -> bool:
        """Whether there is anybody to send points to."""
        return bool(self._outboxes)

    def begin(self, step: int | None, held: object) -> None:
        """Go on after this step with what its checkpoint says was not sent; None: from the start."""
        self._begun_after = -1 if step is None else step
        for point in _read(held):
            for outbox in self._outboxes:
                outbox.add(point)
        for outbox in self._outboxes:
            outbox.start([])  # so that the run's page is known early

    def log(self, step: int, values: Mapping[str, float | None]) -> None:
        """Take a point; numbers that are not finite are left out. StepError where steps go back.

        Ignored are a step up to the one that training resumed from, and a name that this step has already.
        """
        known = {name: float(value) for name, value in values.items() if value is not None}
        if not self.on or step <= self._begun_after:
            return
        if self._last is not None and step < self._last.step:
            raise StepError(f"step={step}: must not go backwards, step {self._last.step} was logged")
        if self._last is not None and step == self._last.step:
            before = self._last.values
            if not self._said_twice and any(name in before for name in known):
                self._said_twice = True
                _LOG.warning("step %d: was logged before, and the first number counts", step)
            known = {name: value for name, value in known.items() if name not in before}
        else:
            before = {}
        if known:
            point = Point(step, self._now().timestamp(), known)
            self._last = Point(step, point.at, {**before, **known})
            for outbox in self._outboxes:
                outbox.add(point)
        self._release()

    def held(self, step: int) -> list[list[object]]:
        """What the checkpoint of this step must carry: the points that may not have arrived, JSON-ready."""
        found = {id(point): point for outbox in self._outboxes for point in outbox.held()}
        points = sorted((each for each in found.values() if each.step <= step), key=lambda each: each.step)
        return [[each.step, each.at, dict(each.values)] for each in points]

    def saved(self, step: int, in_s3_at: datetime) -> None:
        """A checkpoint of this step is durable here, and should be in S3 at that time."""
        if not self.on:
            return
        with self._lock:
            self._safe.append((step, in_s3_at))
        self._release()

    def links(self) -> dict[str, str]:
        """The pages of the runs, by the trackers' names, as far as they are known."""
        return {each.name: each.url for each in self._outboxes if each.url}

    def close(self, *, complete: bool) -> None:
        """Send what may be sent, and wait for it a while; once.

        complete: nothing will be repeated any more, so all points go, and the runs are finished.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._release()
        until = time.monotonic() + (CLOSE_SECONDS if complete else STOP_SECONDS)
        for outbox in self._outboxes:
            outbox.close(complete, until)

    def _release(self) -> None:
        with self._lock:
            now = self._now()
            self._safe_step = max([self._safe_step, *(step for step, at in self._safe if at <= now)])
            self._safe = [(step, at) for step, at in self._safe if at > now]
            for outbox in self._outboxes:
                outbox.send_up_to(self._safe_step)


class _Outbox:
    """The points that wait for one tracker."""

    def __init__(self, tracker: Tracker) -> None:
        self.name = tracker.name
        self.url: str | None = None
        self._tracker = tracker
        self._lock = threading.Lock()
        self._waiting: list[Point] = []
        self._sending: list[Point] = []
        self._sent: list[tuple[float, list[Point]]] = []  # when, and what
        self._thread: threading.Thread | None = None
        self._is_open = False
        self._retry_at = 0.0
        self._said_failed = self._said_full = False

    def add(self, point: Point) -> None:
        with self._lock:
            self._waiting.append(point)
            beyond = len(self._waiting) - MOST_HELD
            if beyond > 0:
                del self._waiting[:beyond]
                if not self._said_full:
                    self._said_full = True
                    said = (
                        "%s cannot be reached: of more than %d points that wait for it the oldest are dropped"
                    )
                    _LOG.warning(said, self.name, MOST_HELD)

    def held(self) -> list[Point]:
        with self._lock:
            oldest = time.monotonic() - SETTLE_SECONDS
            self._sent = [each for each in self._sent if each[0] > oldest]
            return [*(point for _, points in self._sent for point in points), *self._sending, *self._waiting]

    def send_up_to(self, step: int) -> None:
        """Begin to send the points up to this step, unless a thread is at it or the tracker failed just now."""
        if self._is_busy or time.monotonic() < self._retry_at:
            return
        with self._lock:
            count = next((n for n, each in enumerate(self._waiting) if each.step > step), len(self._waiting))
            if count == 0:
                return  # at most calls: nothing is copied
            points, self._waiting = self._waiting[:count], self._waiting[count:]
            self._sending = points
        self.start(points)

    def start(self, points: list[Point], *, finish: bool = False) -> None:
        # A daemon: a tracker that does not answer must not keep a paid machine from ending.
        self._thread = threading.Thread(
            target=self._deliver, args=(points, finish), daemon=True, name=f"nightspot-{self.name}"
        )
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is going down and starts no threads
            self._thread = None
            self._take_back(points)

    def close(self, complete: bool, until: float) -> None:
        self._join(until)
        if complete and not self._is_busy:
            with self._lock:
                points, self._waiting, self._sending = self._waiting, [], self._waiting
            self.start(points, finish=True)
            self._join(until)
        with self._lock:
            left = len(self._sending) + (len(self._waiting) if complete else 0)
        if left:
            _LOG.warning("%s: %d point(s) of the curve were not sent", self.name, left)

    @property
    def _is_busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _join(self, until: float) -> None:
        if self._thread is not None:
            self._thread.join(max(0.0, until - time.monotonic()))

    def _deliver(self, points: list[Point], finish: bool) -> None:
        try:
            if not self._is_open:
                self._tracker.open()
                self._is_open = True
            self.url = self._tracker.url()
            if points:
                self._tracker.send(points)
            if finish:
                self._tracker.finish()
        # Whatever a tracker's package raises, it is no reason to end a training.
        except Exception as error:
            self._is_open = False
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._take_back(points)
            if not self._said_failed:
                # Not the error's text: that may have an address with a password in it.
                said = "%s failed (%s): training goes on, and its points are kept and sent later"
                _LOG.warning(said, self.name, type(error).__name__)
            self._said_failed = True
            return
        self._said_failed = False
        if points:
            with self._lock:
                self._sent.append((time.monotonic(), points))
                self._sending = []

    def _take_back(self, points: list[Point]) -> None:
        with self._lock:
            self._waiting, self._sending = [*points, *self._waiting], []


def _read(held: object) -> list[Point]:
    """The points that a checkpoint's footer has; none of what another version may write there."""
    points = []
    for entry in held if isinstance(held, list) else []:
        try:
            step, at, values = entry
            points.append(
                Point(int(step), float(at), {str(name): float(each) for name, each in values.items()})
            )
        except (AttributeError, TypeError, ValueError):
            continue
    return points


def check_trackers(trackers: Sequence[Any]) -> tuple[Tracker, ...]:
    """The trackers, if each has the methods of one; SettingError otherwise."""
    for each in trackers:
        missing = [
            name for name in ("open", "send", "url", "finish") if not callable(getattr(each, name, None))
        ]
        if missing:
            raise SettingError(f"trackers has {each!r}: must have the methods {', '.join(missing)}")
    return tuple(trackers)
