"""Decides which checks an account gets, in which order, and which are left out once AWS cannot be asked at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from nightspot.aws.doctor import checks, job_checks, schedules
from nightspot.aws.doctor.visit import Check, Finding, State, Visit, guarded

__all__ = ["CHECKS", "Check", "Finding", "State", "Visit", "examine"]

# In the order in which one needs the other. The checks of this machine are the local run's own.
CHECKS: Mapping[Check, Callable[[Visit], Iterable[Finding]]] = {
    Check.REGION: checks.region,
    Check.CREDENTIALS: checks.credentials,
    Check.CLOCK: checks.clock,
    Check.JOBS: job_checks.jobs,
    Check.STACK: checks.stack,
    Check.STATE_MACHINE: checks.state_machine,
    Check.SCHEDULES: schedules.schedules,
    Check.QUOTAS: job_checks.quotas,
    Check.ROLE: job_checks.role,
    Check.BUCKETS: job_checks.buckets,
    Check.IMAGE: job_checks.image,
    Check.NOTICES: checks.notices,
    Check.DEAD_LETTERS: checks.dead_letters,
}
# What a check needs to be worth asking for.
_ASKS_NOBODY = frozenset({Check.REGION, Check.JOBS})
_OF_THE_STACK = frozenset({Check.STATE_MACHINE, Check.SCHEDULES, Check.NOTICES, Check.DEAD_LETTERS})
_OF_JOBS = frozenset({Check.SCHEDULES, Check.QUOTAS, Check.ROLE, Check.BUCKETS, Check.IMAGE})


def examine(visit: Visit) -> Iterator[Finding]:
    """What each check finds, one after the other, so that the first can be shown while the next is asked for.

    Never raises what AWS answers: a check that may not ask, or gets no answer, is "not checked" and says why.
    """
    came: dict[Check, State] = {}
    for check, look in CHECKS.items():
        why = _left_out(check, visit, came)
        findings = (
            [Finding(check, State.NOT_CHECKED, why)] if why else list(guarded(check, lambda: look(visit)))  # noqa: B023
        )
        came[check] = findings[0].state if findings else State.OK
        yield from findings


def _left_out(check: Check, visit: Visit, came: Mapping[Check, State]) -> str:
    """Why a check is not worth its calls; empty where it is."""
    if check in _ASKS_NOBODY:
        return ""
    if came[Check.REGION] is State.PROBLEM:
        return "needs a region"
    if check in {Check.CREDENTIALS, Check.CLOCK}:
        return ""
    if came[Check.CREDENTIALS] is State.PROBLEM:
        return "needs credentials that AWS takes"
    if came[Check.CREDENTIALS] is State.NOT_CHECKED:
        return "AWS could not be reached"
    if check in _OF_JOBS and not visit.jobs:
        return "needs a valid job file"
    if check in _OF_THE_STACK and came[Check.STACK] is State.PROBLEM:
        return "needs the stack in order"
    return ""
