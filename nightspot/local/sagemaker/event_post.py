"""Decides when a state-change event is delivered, how often, and whether at all."""

from __future__ import annotations

import heapq
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from threading import Condition, Thread
from typing import Any

from nightspot.local.clock import StoryClock
from nightspot.local.sagemaker.descriptions import state_change_event
from nightspot.local.sagemaker.job_state import JobState
from nightspot.local.sagemaker.options import EventOptions


@dataclass(frozen=True, order=True)
class _Letter:
    due_seconds: float
    number: int
    event: dict[str, Any] = field(compare=False)


class EventPost:
    """Delivers events one after the other from a thread of its own, in order unless delayed.

    `on_event` holds up the events behind it while it runs and must not raise.
    """

    def __init__(
        self,
        clock: StoryClock,
        options: EventOptions,
        on_event: Callable[[dict[str, Any]], None],
        *,
        region: str,
        account: str,
    ) -> None:
        self._clock = clock
        self._options = options
        self._on_event = on_event
        self._region = region
        self._account = account
        self._random = random.Random(options.seed)  # noqa: S311 - a simulation, not a secret
        self._numbers = count()
        self._letters: list[_Letter] = []
        self._changed = Condition()
        self._closed = False
        self._thread = Thread(target=self._deliver, name="state-change-events", daemon=True)
        self._thread.start()

    def send(self, state: JobState) -> None:
        """Put the event of this state in the post; returns at once."""
        options = self._options
        with self._changed:
            if self._random.random() < options.lost_share:
                return
            copies = 2 if self._random.random() < options.doubled_share else 1
            late = self._random.random() < options.delayed_share
            due_seconds = self._clock.elapsed_seconds() + (options.delay_seconds if late else 0)
            for _ in range(copies):
                # SageMaker repeats itself with a new id; EventBridge's own repeats are the same to
                # a consumer that never looks at the id.
                event_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
                event = state_change_event(state, event_id, self._region, self._account)
                heapq.heappush(self._letters, _Letter(due_seconds, next(self._numbers), event))
            self._changed.notify()

    def close(self) -> None:
        """Deliver nothing more and end the thread. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=5)

    def _deliver(self) -> None:
        while (event := self._next_due()) is not None:
            self._on_event(event)

    def _next_due(self) -> dict[str, Any] | None:
        with self._changed:
            while not self._closed:
                wait_seconds = None
                if self._letters:
                    due_in = self._letters[0].due_seconds - self._clock.elapsed_seconds()
                    if due_in <= 0:
                        return heapq.heappop(self._letters).event
                    wait_seconds = self._clock.real_seconds(due_in)
                self._changed.wait(wait_seconds)
            return None
