"""What time it is in the story: at which pace its hours pass in real seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Event

LONGEST_WAIT_REAL_SECONDS = 60.0


class StoryClock:
    """Maps real monotonic time to story time, which starts at `start` when the clock is built.

    `scale` is story seconds per real second: 1 is real time, 1800 plays half an hour a second.
    Safe to share between threads: nothing in it changes. Raises `ValueError` for a naive start
    or a scale that is not positive.
    """

    def __init__(
        self,
        start: datetime,
        scale: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        if start.tzinfo is None:
            raise ValueError(f"start: {start.isoformat()} has no time zone; give an aware datetime")
        if not scale > 0:
            raise ValueError(f"scale: {scale} must be greater than 0 story seconds per real second")
        self.start = start.astimezone(UTC)
        self.scale = scale
        self._monotonic = monotonic
        self._wall = wall
        self._pause = pause
        self._origin = monotonic()

    def elapsed_seconds(self) -> float:
        """Story seconds since `start`."""
        return (self._monotonic() - self._origin) * self.scale

    def now(self) -> datetime:
        """The story's time, aware, in UTC."""
        return self.at(self.elapsed_seconds())

    def at(self, elapsed_seconds: float) -> datetime:
        """The story's time so many story seconds after `start`."""
        return self.start + timedelta(seconds=elapsed_seconds)

    def real_seconds(self, story_seconds: float) -> float:
        """How long these story seconds take on this machine."""
        return story_seconds / self.scale

    def story_seconds(self, real_seconds: float) -> float:
        """How many story seconds pass in these real ones."""
        return real_seconds * self.scale

    def sleep(self, story_seconds: float) -> None:
        """Sleep for so many story seconds; returns at once for none or less."""
        if story_seconds > 0:
            self._pause(self.real_seconds(story_seconds))

    def wait_for(self, news: Event, story_seconds: float) -> None:
        """Wait until `news` is set, for so many story seconds, or for a real minute, whichever is first."""
        news.wait(min(self.real_seconds(story_seconds), LONGEST_WAIT_REAL_SECONDS))

    def environment(self) -> dict[str, str]:
        """What tells a training process the story's time.

        `NIGHTSPOT_CLOCK` is "<real epoch seconds>:<story epoch seconds>:<scale>", one moment on
        both clocks and the pace; `nightspot.checkpoint` reads it. The moment is the present one,
        so that a correction of the machine's clock since `start` does no harm.
        """
        real, story = self._wall(), self.now().timestamp()
        return {"NIGHTSPOT_CLOCK": f"{real:.6f}:{story:.6f}:{self.scale:g}"}
