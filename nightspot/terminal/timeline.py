"""What a person sees of a night while it is played: decisions, changes of state, training in brief."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from nightspot.formats.run_ids import read_training_job_name
from nightspot.formats.statuses import Secondary
from nightspot.job.markets import Market
from nightspot.run.model import Action, Rung, Step
from nightspot.terminal import tables
from nightspot.terminal.lines import NIGHTSPOT, tell

# About so many lines of progress for a whole training, however many epochs it has.
PROGRESS_LINES = 8
OTHER_LINES = 12  # of a training job, beside progress: a traceback fits
_PROGRESS = re.compile(r"\b(?:epoch|step|iteration)s?\b\D{0,3}(\d+)\s*(?:/|of)\s*(\d+)", re.IGNORECASE)


class Seen(Protocol):
    """One thing to see at a moment of the story: `nightspot.local.stage.session.Sighting`."""

    @property
    def at(self) -> datetime: ...
    @property
    def kind(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def training_job_name(self) -> str | None: ...
    @property
    def status(self) -> str | None: ...
    @property
    def step(self) -> Step | None: ...


@dataclass
class _JobSeen:
    """What was shown of one training job so far."""

    on_spot: bool
    instance_type: str
    number: str
    has_machine: bool = False
    other_lines: int = 0
    in_queue: bool = False


class Timeline:
    """Prints each sighting as a line or drops it. Thread safe.

    On a terminal, inside its `with` block, decisions to go on watching share one line below the others, which is
    written again by each of them; elsewhere every decision is a line of its own. `spot_first`: the job's ladder
    has Spot, so that a start on-demand is a fallback. A console that can no longer be written to (a full disk)
    silences the timeline: the run goes on.
    """

    def __init__(self, console: Console, *, spot_first: bool) -> None:
        self._console = console
        self._spot_first = spot_first
        self._rungs: dict[str, Rung] = {}  # by the attempt's number
        self._jobs: dict[str, _JobSeen] = {}
        self._shown: set[tuple[str, str, datetime]] = set()
        self._day: str | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._watching = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Timeline:
        if self._console.is_terminal:
            self._watching.start()
        return self

    def __exit__(self, *_error: object) -> None:
        with suppress(OSError):
            self._watching.stop()

    def __call__(self, seen: Seen) -> None:
        """Show `seen`."""
        with self._lock:
            if self._closed:
                return
            try:
                self._show(seen)
            except OSError:
                self._closed = True

    def _show(self, seen: Seen) -> None:
        if seen.step is not None:
            self._decision(seen, seen.step)
        elif seen.training_job_name is None:
            return
        elif seen.kind == "status":
            self._status(seen, self._job(seen.training_job_name))
        else:
            self._training(seen, self._job(seen.training_job_name))

    def _say(self, seen: Seen, speaker: str, text: str, style: str = "") -> None:
        day = f"{seen.at:%Y-%m-%d}"
        if self._day not in {None, day}:
            self._console.print(day, style="dim")
        self._day = day
        tell(self._console, seen.at, speaker, text, style)

    def _decision(self, seen: Seen, step: Step) -> None:
        if step.action is Action.START and step.rung is not None:
            self._rungs[str(step.attempt)] = step.rung
        fallback = (
            self._spot_first
            and step.action is Action.START
            and step.rung is not None
            and step.rung.market is Market.ON_DEMAND
        )
        text = tables.in_words(step.action, step.because, what=_what(step), fallback=fallback)
        if step.action is Action.WATCH and self._watching.is_started:
            line = Text(
                f"{seen.at:%H:%M}  {text}", tables.style_of(step.action), no_wrap=True, overflow="ellipsis"
            )
            self._watching.update(line, refresh=True)
            return
        self._say(seen, NIGHTSPOT, text, tables.style_of(step.action, fallback=fallback))

    def _job(self, name: str) -> _JobSeen:
        if name not in self._jobs:
            named = read_training_job_name(name)
            number = name if named is None else str(named.attempt)
            rung = self._rungs.get(number)
            self._jobs[name] = _JobSeen(
                on_spot=rung is not None and rung.market is Market.SPOT,
                instance_type=rung.instance_type if rung else "machine",
                number=number,
            )
        return self._jobs[name]

    def _status(self, seen: Seen, job: _JobSeen) -> None:
        # SageMaker may send an event twice.
        key = (job.number, seen.status or "", seen.at)
        words = None if key in self._shown else _in_words(seen.status or "", seen.text, job)
        self._shown.add(key)
        if words is not None:
            self._say(seen, f"job {job.number}", words, _status_style(seen.status or ""))

    def _training(self, seen: Seen, job: _JobSeen) -> None:
        text = seen.text.rstrip()
        progress = _PROGRESS.search(text)
        if progress is not None:
            if _is_milestone(int(progress[1]), int(progress[2])):
                self._say(seen, "  train", text, "dim")
            return
        resumed = text.lower().startswith("resumed ")
        if not text or (job.other_lines >= OTHER_LINES and not resumed):
            return
        job.other_lines += 1
        if job.other_lines == OTHER_LINES:
            text += "   (further lines are in the job's log)"
        self._say(seen, "  train", text, "green" if resumed else "dim")


def _what(step: Step) -> str:
    if step.action is Action.START and step.rung is not None:
        return f"{step.rung.label} as job {step.attempt}"
    return step.outcome.value if step.outcome is not None else ""


def _in_words(status: str, message: str, job: _JobSeen) -> str | None:
    """The secondary status for somebody who watches; None where it adds nothing to what was said."""
    market = "Spot" if job.on_spot else "on-demand"
    if status in {Secondary.INTERRUPTED, Secondary.RESTARTING}:
        job.has_machine = False
        if status == Secondary.RESTARTING:
            return "restarting after an error inside SageMaker"
        return f"INTERRUPTED: Spot took the {job.instance_type} away"
    if status == Secondary.PENDING:
        job.has_machine = False
        job.in_queue = True
        return f"waiting for {market} capacity"
    if status in {Secondary.STARTING, Secondary.DOWNLOADING}:
        # Starting without a wait before it is only the order, not yet the machine.
        given = job.in_queue or status == Secondary.DOWNLOADING
        if job.has_machine or not given:
            return None
        job.has_machine, job.in_queue = True, False
        return f"machine given: {market} {job.instance_type}"
    return _WORDS.get(status, message or status)


_WORDS: Mapping[str, str | None] = {
    Secondary.TRAINING: "training",
    Secondary.UPLOADING: None,
    Secondary.STOPPING: "stopping",
    Secondary.STOPPED: "stopped",
    Secondary.COMPLETED: "completed",
    Secondary.MAX_WAIT_TIME_EXCEEDED: "stopped by SageMaker: the time to wait for Spot is used up",
    Secondary.MAX_RUNTIME_EXCEEDED: "stopped by SageMaker: MaxRuntimeInSeconds is used up",
    Secondary.FAILED: "FAILED",
}


def _status_style(status: str) -> str:
    if status in {
        Secondary.INTERRUPTED,
        Secondary.FAILED,
        Secondary.MAX_RUNTIME_EXCEEDED,
        Secondary.MAX_WAIT_TIME_EXCEEDED,
    }:
        return "bold red"
    return "green" if status == Secondary.COMPLETED else ""


def _is_milestone(done: int, total: int) -> bool:
    return done == total or done % max(1, math.ceil(total / PROGRESS_LINES)) == 0
