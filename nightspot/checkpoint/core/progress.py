"""What is said about a checkpoint: in its own footer, and in a progress file beside it.

Progress files are how the scheduler, which sees only S3, knows the progress and proves a resume.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from numbers import Integral, Real
from typing import Any, SupportsIndex

from . import files
from .errors import BrokenCheckpointError, MetricsError, StepError
from .ranks import Rank
from .settings import Origin, as_text, from_text

# A constant of its own: the package metadata is missing where only this folder was copied into an
# image, and nightspot/__init__.py is not this package's to import. A test keeps the two equal.
LIBRARY_VERSION = "0.1.0"


SCHEMA = 1


@dataclass(frozen=True)
class ResumedFrom:
    """The checkpoint a process started from: its step, and the attempt that saved it."""

    step: int
    attempt: int | None


@dataclass(frozen=True)
class Progress:
    """How far training is, as of one checkpoint that is whole and durable.

    `saved_at` is when its state was taken and `started_at` when the process that says so began;
    `resumed_from` is null in a process that started from nothing; `seconds_per_step` is null until
    it has been measured; `world_size` is how many ranks train together, and `files` how many files,
    one of each rank that writes, make the checkpoint complete.
    """

    run_id: str | None
    attempt: int | None
    training_job_name: str | None
    step: int
    total_steps: int | None
    seconds_per_step: float | None
    saved_at: datetime
    checkpoint: str
    metrics: dict[str, float | None]
    resumed_from: ResumedFrom | None
    started_at: datetime
    world_size: int = 1
    files: int = 1

    @property
    def fraction(self) -> float | None:
        """The part of the work that is done, 0 to 1; None where the total is not known."""
        if self.total_steps is None:
            return None
        return min(1.0, self.step / self.total_steps)

    def document(self) -> dict[str, object]:
        """The JSON form, schema 1."""
        resumed = self.resumed_from
        return {
            "schema": SCHEMA,
            "run_id": self.run_id,
            "attempt": self.attempt,
            "training_job_name": self.training_job_name,
            "step": self.step,
            "total_steps": self.total_steps,
            "fraction": self.fraction,
            "seconds_per_step": self.seconds_per_step,
            "saved_at": as_text(self.saved_at),
            "checkpoint": self.checkpoint,
            "metrics": self.metrics,
            "resumed_from": resumed and {"step": resumed.step, "attempt": resumed.attempt},
            "started_at": as_text(self.started_at),
            "world_size": self.world_size,
            "files": self.files,
            "library_version": LIBRARY_VERSION,
        }


def from_document(document: Mapping[str, Any]) -> Progress:
    """The progress that `document` described; BrokenCheckpointError if it describes none."""
    try:
        resumed = document["resumed_from"]
        known = {each.name: document[each.name] for each in fields(Progress) if each.name != "files"}
        known["saved_at"], known["started_at"] = from_text(known["saved_at"]), from_text(known["started_at"])
        known["resumed_from"] = resumed and ResumedFrom(resumed["step"], resumed["attempt"])
        return Progress(**known, files=document.get("files", 1))
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenCheckpointError(f"the footer is not this library's ({error!r})") from error


def check_metrics(metrics: Mapping[str, float] | None) -> dict[str, float | None]:
    """The metrics as JSON can hold them; MetricsError unless they are names with numbers.

    NaN, the infinities and what is beyond the floats become null: a loss that has blown up is no
    reason to lose the checkpoint. What of them a progress file says is for `fitted`.
    """
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        raise MetricsError(f"metrics is {type(metrics).__name__}: must be a mapping of names")
    return {_name(name): _number(name, value) for name, value in metrics.items()}


def check_step(step: SupportsIndex, total_steps: int | None, last_step: int | None) -> int:
    """The step as an int; StepError unless it is a count of steps done, within bounds, not going back."""
    try:
        done = operator.index(step)
    except TypeError:
        done = -1
    if isinstance(step, bool) or done < 0:
        raise StepError(f"step={step!r}: must be a whole number of steps done, from 0 on")
    if total_steps is not None and done > total_steps:
        raise StepError(f"step={done}: must not be beyond total_steps={total_steps}")
    if last_step is not None and done < last_step:
        raise StepError(f"step={done}: must not go backwards, step {last_step} was saved or restored")
    return done


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise MetricsError(f"metrics has the name {name!r}: names must be str")
    return name


def _number(name: str, value: object) -> float | None:
    # NumPy's scalars are registered with these classes; a tensor needs .item() first.
    if isinstance(value, (Integral, Real)):
        try:
            finite = math.isfinite(value)
        except OverflowError:  # a whole number or a fraction beyond the floats
            finite = False
        if not finite:
            return None
        return int(value) if isinstance(value, Integral) else float(value)
    raise MetricsError(
        f"metrics[{name!r}] is {type(value).__name__}: must be a number (for a tensor, .item())"
    )


@dataclass(frozen=True)
class Pace:
    """Steps are timed from `since`, when `step` of them were done.

    `known_seconds` is the last figure measured, if need be by the process that saved the
    checkpoint this one was restored from; None before the first.
    """

    since: datetime
    step: int
    known_seconds: float | None = None

    def seconds_per_step(self, step: int, now: datetime) -> float | None:
        """Mean time per step up to now; the last known figure while nothing can be measured."""
        elapsed_seconds = (now - self.since).total_seconds()
        # A clock that was set back says nothing about the pace.
        if step <= self.step or elapsed_seconds <= 0:
            return self.known_seconds
        return elapsed_seconds / (step - self.step)


@dataclass(frozen=True)
class ProgressWriter:
    """What stays the same through a process's life; times are aware UTC datetimes."""

    origin: Origin
    process: Rank
    total_steps: int | None
    started_at: datetime

    def progress(
        self,
        step: int,
        metrics: dict[str, float | None],
        pace: Pace,
        saved_at: datetime,
        resumed_from: ResumedFrom | None,
    ) -> Progress:
        """How far training is once the checkpoint of `step` is durable."""
        return Progress(
            run_id=self.origin.run_id,
            attempt=self.origin.attempt,
            training_job_name=self.origin.training_job_name,
            step=step,
            total_steps=self.total_steps,
            seconds_per_step=pace.seconds_per_step(step, saved_at),
            saved_at=saved_at,
            checkpoint=files.checkpoint_name(step, self.process.rank),
            metrics=metrics,
            resumed_from=resumed_from,
            started_at=self.started_at,
            world_size=self.process.world_size,
            files=self.process.files_per_step,
        )


MOST_METRICS = 50
MOST_NAME_CHARACTERS = 128
MOST_STEPS = 10**15
# Of the numbers that the scheduler's table holds: what is nearer to zero is zero.
LARGEST_METRIC = 9.9e125
SMALLEST_METRIC = 1e-130

_NAME_RULE = f"names must be 1 to {MOST_NAME_CHARACTERS} printable characters"
_NUMBER_RULE = f"numbers must be from -{LARGEST_METRIC:g} to {LARGEST_METRIC:g}"
_COUNT_RULE = f"must be at most {MOST_METRICS}"
_STEPS_RULE = f"must be at most {MOST_STEPS:,}"


def fitted(document: Mapping[str, object]) -> tuple[dict[str, object], dict[str, list[str]]]:
    """The progress document within the bounds, and by the rule that it broke what was left out."""
    left_out: dict[str, list[str]] = {}
    fits = dict(document)
    total_steps = document["total_steps"]
    if isinstance(total_steps, int) and total_steps > MOST_STEPS:
        left_out[_STEPS_RULE] = [f"total_steps={total_steps}"]
        fits["total_steps"] = fits["fraction"] = None
    metrics = document["metrics"]
    fits["metrics"] = _fitted_metrics(metrics if isinstance(metrics, Mapping) else {}, left_out)
    return fits, left_out


def _fitted_metrics(metrics: Mapping[str, object], left_out: dict[str, list[str]]) -> dict[str, object]:
    kept: dict[str, object] = {}
    for name, value in metrics.items():
        label = f"metrics[{name[:MOST_NAME_CHARACTERS]!r}]"
        if not 0 < len(name) <= MOST_NAME_CHARACTERS or not name.isprintable():
            left_out.setdefault(_NAME_RULE, []).append(label)
        # NaN is in no range.
        elif value is not None and not (
            isinstance(value, (int, float)) and -LARGEST_METRIC <= value <= LARGEST_METRIC
        ):
            left_out.setdefault(_NUMBER_RULE, []).append(label)
        elif len(kept) == MOST_METRICS:
            left_out.setdefault(_COUNT_RULE, []).append(label)
        else:
            kept[name] = 0.0 if isinstance(value, float) and abs(value) < SMALLEST_METRIC else value
    return kept
