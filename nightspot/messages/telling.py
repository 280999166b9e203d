"""Decides which happenings of a run a person hears of, and when: at once only what they could still act on.

A run that falls back, is late and fails is one message at its end with its whole story, not three.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from nightspot.happenings import OF_OUTCOME, Happening
from nightspot.remarks import texts_of
from nightspot.run import Action


class Heard(StrEnum):
    """When a person hears of a happening."""

    AT_ONCE = "at once"  # and the closing message follows, whatever the end
    AT_THE_END = "in the closing message"
    UNLESS_QUIET = "in the closing message, unless the night was quiet"
    NEVER = "never"


HEARD: Mapping[Happening, Heard] = {
    Happening.RUN_STARTED: Heard.NEVER,
    Happening.ATTEMPT_STARTED: Heard.NEVER,
    # The daily bread of Spot: no reason for a message, though every message counts them.
    Happening.INTERRUPTED: Heard.NEVER,
    Happening.FELL_BACK: Heard.AT_THE_END,
    Happening.AT_RISK: Heard.AT_ONCE,
    Happening.UNKNOWN_FAILURE: Heard.AT_ONCE,
    Happening.RESUME_BROKEN: Heard.AT_ONCE,
    Happening.RUN_SUCCEEDED: Heard.UNLESS_QUIET,
    Happening.RUN_FAILED: Heard.AT_THE_END,
    Happening.RUN_SKIPPED: Heard.AT_THE_END,
    Happening.RUN_STOPPED: Heard.AT_THE_END,
    Happening.RUN_REFUSED: Heard.AT_THE_END,
    Happening.STOP_REFUSED: Heard.AT_ONCE,
    Happening.DECISION_FAILING: Heard.AT_ONCE,
    # The run is closed when its training job has ended, and that is told then.
    Happening.DECISION_CRASHED: Heard.AT_ONCE,
}

CLOSING = frozenset(OF_OUTCOME.values())
_LOUD = {Heard.AT_ONCE, Heard.AT_THE_END}


def happening_of(detail_type: str) -> Happening | None:
    """The happening behind an EventBridge detail type; None for one that is not Nightspot's."""
    return next((happening for happening in Happening if happening.detail_type == detail_type), None)


def may_be_told(happening: Happening) -> bool:
    """Whether its notices can become messages: the end of a run, and what is told at once."""
    return happening in CLOSING or HEARD[happening] is Heard.AT_ONCE


def is_told(happening: Happening, detail: Mapping[str, Any], *, tell_success: bool = False) -> bool:
    """Whether the notice of `happening` with this detail becomes a message.

    What the last decision of a run brings to light is left to the closing message, which comes seconds later.
    `tell_success`: quiet successes are told as well.
    """
    if happening not in CLOSING:
        return HEARD[happening] is Heard.AT_ONCE and detail.get("action") != Action.FINISH.value
    if HEARD[happening] is not Heard.UNLESS_QUIET:
        return True
    return tell_success or not is_quiet(detail)


def is_quiet(detail: Mapping[str, Any]) -> bool:
    """Whether a success is one that nobody needs to hear of: in time, without a remark, and nothing loud before."""
    summary = detail.get("summary", {})
    in_time = summary.get("deadline_met") is True and not texts_of(summary)
    return in_time and not any(HEARD[happening] in _LOUD for happening in happened(detail))


def happened(detail: Mapping[str, Any]) -> tuple[Happening, ...]:
    """What `record_outcome` says had happened in the run, by the names that this version knows."""
    known = {happening.value for happening in Happening}
    return tuple(Happening(name) for name in detail.get("happened", ()) if name in known)
