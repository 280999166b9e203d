"""Every check, by its number in each part."""

from __future__ import annotations

from nightspot.selftest import deployed, free, jobs, refusals, waits
from nightspot.selftest.model import Check

_LIVE = sorted((*jobs.CHECKS, *deployed.CHECKS, *waits.CHECKS), key=lambda check: int(check.id[1:]))
CHECKS: tuple[Check, ...] = (*free.CHECKS, *refusals.CHECKS, *_LIVE)
