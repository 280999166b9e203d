"""A clock that the test moves, and a checkpointer that reads nothing of this machine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nightspot.checkpoint import Checkpointer

START = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)


class Clock:
    """Stands still until it is told to move on."""

    def __init__(self) -> None:
        self.moment = START

    def __call__(self) -> datetime:
        return self.moment

    def move(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def process(tmp_path: Path, clock: Clock) -> Callable[..., Checkpointer]:
    """Each call is a process that starts on the same directory."""

    def start(**options: Any) -> Checkpointer:
        return Checkpointer(tmp_path, **{"environ": {}, "now": clock, **options})

    return start
