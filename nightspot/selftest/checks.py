"""Every check, in the order in which they are made."""

from __future__ import annotations

from nightspot.selftest import free, jobs, refusals
from nightspot.selftest.model import Check

CHECKS: tuple[Check, ...] = (*free.CHECKS, *refusals.CHECKS, *jobs.CHECKS)
