"""Decides what an attempt went through, by its training job's own history: what a picture is made of."""

from __future__ import annotations

from dataclasses import replace

from nightspot.ledger import STATES, JobView
from nightspot.run import Phase


def phases_of(view: JobView) -> tuple[Phase, ...]:
    """The job's history in the ledger's states, oldest first; a status that is not known tells nothing."""
    phases: list[Phase] = []
    for transition in view.transitions:
        state = STATES.get(transition.status)
        if state is None:
            continue
        if phases and phases[-1].state is state:
            phases[-1] = replace(phases[-1], ended_at=transition.ended_at)
        else:
            phases.append(Phase(state, transition.started_at, transition.ended_at))
    return tuple(phases)
