"""What an execution's input asks for: which job, for when, in continuation of what, on whose behalf."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from nightspot.job.errors import describe, nearest
from nightspot.plan.planning import Origin
from nightspot.run.model import CONSOLE

# Machines' clocks differ by seconds; an older night than this is nobody's any more.
MOST_AHEAD = timedelta(minutes=1)
OLDEST = timedelta(days=7)
MOST_PAST_DEADLINE = timedelta(days=1)  # such as a start that was redriven: its model is nobody's either
MOST_REQUESTED_BY = 200
_ABOUT = ("job", "scheduled_at", "resume_from", "requested_by")


class InvalidInputError(ValueError):
    """The execution's input does not say what to train."""


@dataclass(frozen=True)
class RunInput:
    """`{"job": "recommender"}`, and what this run does otherwise than the job file says."""

    job: str
    origin: Origin
    resume_from: str | None
    overrides: Mapping[str, Any]  # as they were given


def read_input(given: object, jobs: Sequence[str], started_at: datetime) -> RunInput:
    """The input of an execution that began at `started_at` (aware). `jobs`: the names of all jobs.

    Raises InvalidInputError with the field, its value and the rule; where no job is named, with the known jobs.
    """
    mapping, job = _job_of(given, jobs)
    return RunInput(
        job=job,
        origin=Origin(_scheduled_at(mapping.get("scheduled_at"), started_at), _requested_by(mapping)),
        resume_from=_resume_from(mapping.get("resume_from")),
        overrides={name: value for name, value in mapping.items() if name not in _ABOUT},
    )


def check_deadline(scheduled_at: datetime | None, deadline: datetime, started_at: datetime) -> None:
    """Refuse a night that begins when its own deadline, counted from `scheduled_at`, is long past; all aware UTC.

    Raises InvalidInputError with the field, its value and the rule.
    """
    if scheduled_at is None or started_at - deadline <= MOST_PAST_DEADLINE:
        return
    raise InvalidInputError(
        f"scheduled_at: {scheduled_at.isoformat()} gives the run the deadline "
        f"{deadline.isoformat(timespec='seconds')}, which must not be more than a day before {_start(started_at)}"
    )


def _job_of(given: object, jobs: Sequence[str]) -> tuple[Mapping[str, Any], str]:
    example = jobs[0] if jobs else "name"
    rule = f'The input must be like {{"job": "{example}"}}; the jobs are: {", ".join(jobs) or "none"}'
    if not isinstance(given, dict):
        near = nearest(given, jobs) if isinstance(given, str) else ""
        raise InvalidInputError(f"input: {_short(given)} is not a mapping{near}. {rule}")
    if "job" not in given:
        near = next((f"; did you mean job instead of {n}?" for n in given if nearest(n, ["job"])), "")
        raise InvalidInputError(f"job: is missing{near}. {rule}")
    job = given["job"]
    if not isinstance(job, str):
        raise InvalidInputError(f"job: {_short(job)} must be the name of a job, as text. {rule}")
    if job not in jobs:
        raise InvalidInputError(f"job: {_short(job)} is not a job{nearest(job, jobs)}. {rule}")
    return given, job


def _scheduled_at(given: object, started_at: datetime) -> datetime | None:
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given) if isinstance(given, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() is None:
        raise InvalidInputError(
            f"scheduled_at: {_short(given)} must be a time with its zone, such as 2026-11-21T00:00:00Z"
        )
    start = _start(started_at)
    if moment - started_at > MOST_AHEAD:
        raise InvalidInputError(f"scheduled_at: {_short(given)} must not be more than a minute after {start}")
    if started_at - moment > OLDEST:
        raise InvalidInputError(f"scheduled_at: {_short(given)} must not be more than 7 days before {start}")
    return moment.astimezone(UTC)


def _start(started_at: datetime) -> str:
    return f"the start of the execution, {started_at.astimezone(UTC).isoformat(timespec='seconds')}"


def _requested_by(mapping: Mapping[str, Any]) -> str:
    given = mapping.get("requested_by")
    if given is None:
        return CONSOLE
    if (
        not isinstance(given, str)
        or not given.strip()
        or len(given) > MOST_REQUESTED_BY
        or not given.isprintable()
    ):
        rule = f"must be text of 1 to {MOST_REQUESTED_BY} characters, all of them printable"
        raise InvalidInputError(f"requested_by: {_short(given)} {rule}")
    return given


def _resume_from(given: object) -> str | None:
    if given is not None and not (isinstance(given, str) and given):
        raise InvalidInputError(f"resume_from: {_short(given)} must be the id of a run, as text")
    return given


def _short(value: object) -> str:
    return describe(value)
