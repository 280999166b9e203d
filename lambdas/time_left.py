"""A function ends inside its own time: once a call had no answer, none is begun that there is no time to wait for.

Lambda kills a function at its time-out, and with it what it had found out. A call that is not begun fails as one
without an answer does, which every handler knows what to do about.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore import exceptions

from nightspot.aws.faults import NO_ANSWER

SPARE_SECONDS = 3.0  # for the function's answer, its log and its metrics


class NotAskedError(exceptions.ConnectionError):  # type: ignore[misc]  # botocore has no types
    """A call that was not begun, because there is no time to wait for its answer."""

    fmt = "{operation} was not asked: a call before had no answer, and the function has {seconds:.0f} s left"


@dataclass
class _Invocation:
    ends_at: float | None = None  # of time.monotonic(); None: nobody says
    has_waited: bool = False  # for an answer that did not come


_invocation = _Invocation()  # Lambda has one at a time in a process


def begins(context: Any) -> None:
    """An invocation begins; `context` is Lambda's, or one that says nothing of time."""
    left = getattr(context, "get_remaining_time_in_millis", None)
    _invocation.ends_at = None if left is None else time.monotonic() + left() / 1000
    _invocation.has_waited = False


def longest_seconds(config: Mapping[str, Any]) -> float:
    """How long a call without an answer takes with this Config of botocore, its retries in mode "standard".

    Between two tries it pauses for up to 1 s, 2 s, 4 s …
    https://docs.aws.amazon.com/boto3/latest/guide/retries.html
    """
    tries = config["retries"]["total_max_attempts"]
    pauses = sum(2**number for number in range(tries - 1))
    return float(tries * (config["connect_timeout"] + config["read_timeout"]) + pauses)


def watched(client: Any, longest_seconds: float) -> Any:
    """boto3's `client`, whose calls take no longer than that and raise NotAskedError where there is no time."""

    def note(exception: Exception, **_given: Any) -> None:
        if isinstance(exception, NO_ANSWER):
            _invocation.has_waited = True

    def check(model: Any, **_given: Any) -> None:
        if _invocation.ends_at is None or not _invocation.has_waited:
            return
        left = _invocation.ends_at - time.monotonic()
        if left < longest_seconds + SPARE_SECONDS:
            raise NotAskedError(operation=model.name, seconds=left)

    client.meta.events.register("before-call", check)
    client.meta.events.register("after-call-error", note)
    return client
