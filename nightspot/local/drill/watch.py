"""Decides what is going on in a training that is running: its last step, and whether it saves or restores now.

From the journal where the script uses the library, else from its lines and its checkpoint directory.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from nightspot.checkpoint.core.journal import Event
from nightspot.drill.reading import Definition, read_log
from nightspot.local.drill.disk import stamps

# A directory that has not changed for so long is not being written; one save may change it several times.
SETTLED_SECONDS = 0.05


class Watch:
    """Looks at one life; every attribute is as of the last `look()`. Times are `clock`'s, in seconds."""

    def __init__(
        self, journal: Path, folder: Path, definitions: Sequence[Definition], clock: Callable[[], float]
    ) -> None:
        self._journal = journal
        self._folder = folder
        self._definitions = definitions
        self._clock = clock
        self._position = 0
        self._torn = b""
        self._stamps = stamps(folder)
        self._changed_at = self._change_began = 0.0
        self._step_at_change: int | None = None
        self._write_seconds: list[float] = []
        self._lines: deque[str] = deque()
        self.began = clock()
        self.first_sign: float | None = None
        self.found = len(self._stamps)
        self.library = False
        self.step: int | None = None
        self.steps = 0
        self.restoring = False
        self.restored = False
        self.saving = False
        self.writing_at_the_end = False
        self.journal_saves = 0
        self.saved_at: list[int | None] = []

    @property
    def saves(self) -> int:
        """How many saves are done."""
        return self.journal_saves if self.library else len(self.saved_at)

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is something to resume from."""
        return self.saves > 0 or self.found > 0

    @property
    def write_seconds(self) -> float:
        """How long the directory changed for at a save, as a rule."""
        return median(self._write_seconds) if self._write_seconds else 0.0

    @property
    def start_up_seconds(self) -> float:
        """How long it took to the first step or save; so far, where there was none."""
        return (self._clock() if self.first_sign is None else self.first_sign) - self.began

    def hear(self, line: str) -> None:
        """A line that the script printed; from any thread."""
        self._lines.append(line)

    def look(self) -> None:
        """Take in what is new."""
        self._read_journal()
        while self._lines:
            self._read_line(self._lines.popleft())
        if not self.library:
            self._look_at_folder()
        if self.first_sign is None and (self.steps or self.saves or self.saving):
            self.first_sign = self._clock()

    def close(self) -> None:
        """The process has ended: a directory that was still changing has come to rest."""
        self.look()
        self.writing_at_the_end = self.saving
        if self.saving and not self.library:
            self._come_to_rest()

    def _read_journal(self) -> None:
        try:
            with self._journal.open("rb") as stream:
                stream.seek(self._position)
                new = stream.read()
        except FileNotFoundError:
            return
        self._position += len(new)
        *lines, self._torn = (self._torn + new).split(b"\n")
        for line in lines:
            event = json.loads(line)
            if event["rank"] == 0:
                self._take(Event(event["event"]), event.get("step"))

    def _take(self, event: Event, step: int | None) -> None:
        self.library = True
        if event is Event.STEP and step != self.step:
            self.step = step
            self.steps += 1
        elif event is Event.RESTORING:
            self.restoring = True
        elif event is Event.RESTORED:
            self.restoring, self.restored = False, True
        elif event is Event.SAVING:
            self.saving = True
        elif event is Event.SAVED:
            self.saving = False
            self.journal_saves += 1

    def _read_line(self, line: str) -> None:
        steps = () if self.library else read_log(self._definitions, [line]).steps
        if steps and steps[-1].step != self.step:
            self.step = steps[-1].step
            self.steps += 1

    def _look_at_folder(self) -> None:
        now, found = self._clock(), stamps(self._folder)
        if found != self._stamps:
            if not self.saving:
                self._change_began = now
            self.saving, self._stamps = True, found
            self._changed_at, self._step_at_change = now, self.step
        elif self.saving and now - self._changed_at >= SETTLED_SECONDS:
            self._come_to_rest()

    def _come_to_rest(self) -> None:
        self.saving = False
        self.saved_at.append(self._step_at_change)
        self._write_seconds.append(self._changed_at - self._change_began)
