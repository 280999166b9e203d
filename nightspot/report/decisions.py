"""Decides how a decision reads: what Nightspot does, loud where it acts, and the `because` that it goes by."""

from __future__ import annotations

from collections.abc import Mapping

from nightspot.run import Action

_STYLES: Mapping[Action, str] = {
    Action.START: "bold cyan",
    Action.WATCH: "cyan",
    Action.STOP: "bold yellow",
    Action.PAUSE: "cyan",
    Action.FINISH: "bold cyan",
}
_FALLBACK_STYLE = "bold magenta"


def in_words(action: Action, because: str, *, what: str = "", fallback: bool = False) -> str:
    """`START Spot ml.p4d.24xlarge as job 1: <because>`; `what` is the part after the action.

    What acts is in capitals, what only looks on is not. A fallback is a start that buys on-demand for a job
    that would rather have Spot.
    """
    name = action.value if action in {Action.WATCH, Action.PAUSE} else action.value.upper()
    doing = " ".join(part for part in ("FALLBACK:" if fallback else "", name, what) if part)
    return f"{doing}: {because}"


def style_of(action: Action, *, fallback: bool = False) -> str:
    """rich's style for the line."""
    return _FALLBACK_STYLE if fallback else _STYLES[action]
