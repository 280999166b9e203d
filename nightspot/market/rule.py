"""Decides what a simple rule may see of a simulated night, and what it can ask for.

Seconds count from the night's start.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from nightspot.market.model import Belief, Doing


class State(StrEnum):
    """Where a job can be, or be wanted."""

    IDLE = "idle"  # nowhere, and nothing is asked for
    SPOT = "spot"
    ON_DEMAND = "on_demand"


@dataclass(frozen=True, slots=True)
class View:
    """All that a rule sees when it looks: the present, what it planned with, and nothing of what is to come."""

    now_seconds: float
    left_seconds: float  # to the deadline, below 0 past it
    fraction_done: float  # of the true work, as far as it would survive an interruption now
    state: State  # of the machine that there is; IDLE while there is none, or the old one is given back
    doing: Doing
    wanted: State  # what the rule asked for when it last looked; IDLE at first
    spot_up: bool  # whether a Spot machine can be had now
    interruptions: int
    belief: Belief

    @property
    def work_left_seconds(self) -> float:
        """The work left as believed: the believed whole, less the fraction that is done."""
        return self.belief.work_seconds * (1 - self.fraction_done)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rule wants from now on, until it decides again.

    SPOT while Spot is down means to wait for it, and to go back to it by itself after an interruption, as a managed
    Spot job does. `look_again_seconds`: from now, at least 0; None: at the next change (the market goes up or down,
    a machine is given, lost or ready, the window ends). `restart`: forget all progress first.
    """

    want: State
    look_again_seconds: float | None = None
    restart: bool = False


class Rule(Protocol):
    """A rule for one night; one that remembers something is made anew for each."""

    def __call__(self, view: View, /) -> Decision: ...
