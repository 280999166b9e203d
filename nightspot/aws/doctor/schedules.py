"""Decides whether each job with a schedule is started by one that says what its file says, or rests as it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nightspot.aws.doctor.visit import Check, Finding, State, Visit, job_of
from nightspot.formats.durations import MINUTE_SECONDS
from nightspot.job import Job, Schedule

# CloudFormation would not: its template has not changed.
_ENABLE = (
    "enable it in the console: Amazon EventBridge, Scheduler, Schedules; or say paused: true in the file"
)


def schedules(visit: Visit) -> Iterator[Finding]:
    """Every job with a schedule is started by one that is enabled, or paused where its file says so."""
    deployed = _by_job(visit) if any(job.schedule is not None for job in visit.jobs) else {}
    for job in visit.jobs:
        yield _finding(job, deployed.get(job.name))


def _finding(job: Job, there: Mapping[str, Any] | None) -> Finding:
    def found(state: State, words: str, mend: str = "") -> Finding:
        return Finding(Check.SCHEDULES, state, words, mend, job.name)

    schedule = job.schedule
    if schedule is None:
        return found(State.OK, "started by hand or through the API only")
    if there is None:
        return found(State.PROBLEM, "no schedule of the stack starts it", "make deploy")
    deployed, stated = _deployed_words(there), _stated_words(schedule)
    if deployed != stated:
        return found(State.WARNING, f"deployed as {deployed}, the file says {stated}", "make deploy")
    match schedule.paused, there.get("State") == "ENABLED":
        case True, True:
            return found(
                State.WARNING,
                f"{there['Name']} is enabled, and the file says it is paused",
                "make deploy; or disable it in the console, if it was enabled there",
            )
        case True, False:
            return found(State.OK, f"paused, {stated}: no night starts by itself")
        case False, False:
            return found(State.WARNING, f"{there['Name']} is disabled: no night starts by itself", _ENABLE)
        case _:
            return found(State.OK, f"enabled, {stated}")


def _stated_words(schedule: Schedule) -> str:
    return _words(schedule.expression, schedule.timezone, (schedule.flexible_seconds or 0) // MINUTE_SECONDS)


def _deployed_words(there: Mapping[str, Any]) -> str:
    flexible = there.get("FlexibleTimeWindow", {}).get("MaximumWindowInMinutes", 0)
    return _words(there["ScheduleExpression"], there.get("ScheduleExpressionTimezone", "UTC"), flexible)


def _words(expression: str, timezone: str, flexible_minutes: int) -> str:
    flexible = f", up to {flexible_minutes} min later" if flexible_minutes else ""
    return f"{expression} {timezone}{flexible}"


def _by_job(visit: Visit) -> dict[str, dict[str, Any]]:
    """The stack's schedules, by the job that they start."""
    names = {physical for kind, _, physical in visit.resources if kind == "AWS::Scheduler::Schedule"}
    # A schedule in a group is known to CloudFormation by `group|name`.
    names |= {name.rpartition("|")[2] for name in names}
    scheduler = visit.client("scheduler")
    found = {}
    for page in scheduler.get_paginator("list_schedules").paginate():
        for each in page["Schedules"]:
            if each["Name"] in names:
                schedule = scheduler.get_schedule(Name=each["Name"], GroupName=each["GroupName"])
                if job := job_of(schedule["Target"].get("Input", "")):
                    found[job] = schedule
    return found
