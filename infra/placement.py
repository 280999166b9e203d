"""In which stack each job's schedule stands: CloudFormation allows a stack 500 resources, and a template 1 MB.

The first 250 stand in the stack itself, as they always have; the others in nested stacks. Which ones must hardly
change when jobs come and go. So the order is that of a digest of the job's name, and a nested stack is chosen by
the digest: one job more moves one other at the most. A schedule that moves is made in its new place before the one
in the old place is deleted, and for a moment both start the same execution, which is one run. Only a rate would
begin to count anew; those come first, and stay.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-nested-stacks.html
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping

from nightspot.job.model import Job

MOST_IN_MAIN = 250  # the stack has fewer than 200 other resources
NESTED_STACKS = 8
MOST_IN_NESTED = 450  # with some room


class TooManySchedulesError(ValueError):
    """More jobs have a schedule than nested stacks can hold."""


def placed(jobs: Mapping[str, Job]) -> dict[str, int | None]:
    """For each job (all have a schedule) the number of its nested stack, from 1; None: the stack itself.

    Raises TooManySchedulesError.
    """
    order = sorted(jobs, key=lambda name: (not _has_rate(jobs[name]), _digest(name)))
    main = frozenset(order[:MOST_IN_MAIN])
    places = {name: None if name in main else 1 + _digest(name) % NESTED_STACKS for name in sorted(jobs)}
    fullest = max(Counter(place for place in places.values() if place).values(), default=0)
    if fullest > MOST_IN_NESTED:
        raise TooManySchedulesError(
            f"jobs: {len(jobs)} with a schedule are too many for one deployment: {fullest} of them would stand in "
            f"one of {NESTED_STACKS} nested stacks, which hold {MOST_IN_NESTED}; divide them among environments"
        )
    return places


def _has_rate(job: Job) -> bool:
    return job.schedule is not None and job.schedule.rate is not None


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
