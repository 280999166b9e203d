"""Decides what a drafted job file says where its author did not: how long the work is, and by when it is wanted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from nightspot.durations import HOUR_SECONDS, MINUTE_SECONDS, DurationError, format_duration, parse_duration
from nightspot.job.model import ChangeOver, dig
from nightspot.job.times import LONGEST_SECONDS

# A limit is commonly half as much again as the work: what is left of it is the guess.
LIMIT_OVER_WORK = 1.5
# A night on this machine: its work passes in about so long.
LOCAL_WORK_SECONDS = 30

_TIME_OF_DAY = re.compile(r"[0-9]{1,2}:.*", re.DOTALL)
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})")


@dataclass(frozen=True)
class Measured:
    """What a described job came to, in seconds; None where it does not say. A job that did not complete has not
    measured the work."""

    completed: bool = False
    trained_seconds: int | None = None
    billed_seconds: int | None = None


def guessed_work_seconds(request: Mapping[str, Any], measured: Measured) -> int | None:
    """The work in seconds: what a completed job took, rounded up to five minutes and not beyond its own limit;
    else two thirds of MaxRuntimeInSeconds. None where neither is known."""
    limit = dig(dict(request), "StoppingCondition", "MaxRuntimeInSeconds")
    known = limit if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0 else None
    if measured.completed and measured.trained_seconds is not None:
        rounded = _rounded_up(measured.trained_seconds, 5 * MINUTE_SECONDS)
        return rounded if known is None else min(rounded, known)
    return None if known is None else max(1, int(known / LIMIT_OVER_WORK))


def work_comment(measured: Measured, *, said: bool) -> str:
    """Where the work comes from, and what the described job trained and billed."""
    if said:
        first = "Training time on the first rung. A first guess: history takes over."
    elif measured.completed and measured.trained_seconds is not None:
        first = "As long as the described job trained; history takes over."
    else:
        first = "A guess: two thirds of MaxRuntimeInSeconds. Say what training takes; history takes over."
    if measured.trained_seconds is None:
        return first
    ending = "completed" if measured.completed else "did not complete"
    told = f"The described job {ending}: it trained {format_duration(measured.trained_seconds)}"
    if measured.billed_seconds is not None:
        told += f" and was billed {format_duration(measured.billed_seconds)}"
    return f"{first}\n{told}."


def schedule_of(text: str | None, timezone: str | None) -> dict[str, str]:
    """The schedule that `text` means: `02:30` every day, `cron(…)` or six fields, `rate(…)` or `12 hours`.

    Empty for no text. The values are for the rules of job files to judge.
    """
    words = (text or "").strip()
    if not words:
        return {}
    clock = _CLOCK.fullmatch(words)
    zone = {"timezone": timezone or "UTC"}
    if clock:
        return {"cron": f"{int(clock[2])} {int(clock[1])} * * ? *", **zone}
    is_rate = words.startswith("rate(") or len(words.split()) == 2
    return {"rate" if is_rate else "cron": words, **zone}


def deadline_of(text: str | None, timezone: str | None, work: str | int) -> dict[str, str | int]:
    """The deadline that `text` means: `08:00`, or so long after the start.

    Without text there is time to train twice, once in each market, in whole hours: the least that never makes
    a reclaim near the end late.
    """
    if text is not None and _TIME_OF_DAY.fullmatch(text.strip()):
        return {"at": text.strip(), "timezone": timezone or "UTC"}
    if text is not None:
        return {"within": text.strip()}
    change_over = ChangeOver()
    twice = 2 * _seconds(work) + change_over.spot_seconds + change_over.on_demand_seconds
    return {"within": duration_text(min(LONGEST_SECONDS, _rounded_up(twice, HOUR_SECONDS)))}


def time_scale_of(work: str | int) -> int:
    """How fast a night on this machine passes: its work in about half a minute, and never slower than real."""
    return max(1, _seconds(work) // LOCAL_WORK_SECONDS)


def duration_text(seconds: int) -> str | int:
    """`seconds` as a job file says them, "3h12min"; a bare number where two units do not say all."""
    text = format_duration(seconds).replace(" ", "")
    return text if parse_duration(text) == seconds else seconds


def _seconds(work: str | int) -> int:
    try:
        return parse_duration(work)
    except DurationError:
        # A mistake in the work has its own problem: the deadline beside it only has to be readable.
        return HOUR_SECONDS


def _rounded_up(seconds: int, step_seconds: int) -> int:
    return ceil(seconds / step_seconds) * step_seconds
