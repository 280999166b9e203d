"""How a night is told as one row of stretches, without gap or overlap: what was going on when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from nightspot.job.markets import Market
from nightspot.record.model import AttemptRecord, RunRecord
from nightspot.run.model import AttemptState


class Kind(StrEnum):
    """What was going on."""

    NOTHING = "nothing"  # no training job was open
    ASKED = "asked"  # asked for, and not yet seen
    WAITING = "waiting"
    STARTING = "starting"
    TRAINING_ON_SPOT = "training_on_spot"
    TRAINING_ON_DEMAND = "training_on_demand"
    INTERRUPTED = "interrupted"  # taken back, and waiting for the next machine
    STOPPING = "stopping"
    NOT_TOLD = "not_told"  # a record without phases: all that is known is that the job was open


WORDS: Mapping[Kind, str] = {
    Kind.NOTHING: "no training job",
    Kind.ASKED: "asked for",
    Kind.WAITING: "waiting for a machine",
    Kind.STARTING: "starting",
    Kind.TRAINING_ON_SPOT: "training on Spot",
    Kind.TRAINING_ON_DEMAND: "training on-demand",
    Kind.INTERRUPTED: "interrupted, waiting again",
    Kind.STOPPING: "stopping",
    Kind.NOT_TOLD: "open (no details on record)",
}
# An attempt's state, as long as it has not had a machine, on Spot.
_KINDS: Mapping[AttemptState, Kind] = {
    AttemptState.ASKED: Kind.ASKED,
    AttemptState.WAITING: Kind.WAITING,
    AttemptState.STARTING: Kind.STARTING,
    AttemptState.TRAINING: Kind.TRAINING_ON_SPOT,
    AttemptState.STOPPING: Kind.STOPPING,
    AttemptState.ENDED: Kind.STOPPING,
}


@dataclass(frozen=True)
class Stretch:
    """A piece of the night. `attempt` is None where no training job was open."""

    kind: Kind
    started_at: datetime
    ended_at: datetime
    attempt: AttemptRecord | None = None

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return (self.ended_at - self.started_at).total_seconds()


def stretches_of(run: RunRecord) -> tuple[Stretch, ...]:
    """The night from `started_at` to `over_at`; the seconds of all stretches add up to it exactly."""
    end = run.over_at
    told: list[Stretch] = []
    cursor = run.started_at
    for attempt in sorted(run.attempts, key=lambda each: each.number):
        cursor = _add(told, Kind.NOTHING, cursor, attempt.asked_at, None)
        for kind, until in _within(attempt, end):
            cursor = _add(told, kind, cursor, until, attempt)
    _add(told, Kind.NOTHING, cursor, end, None)
    return tuple(told)


def kind_of(state: AttemptState, market: Market, *, had_a_machine: bool) -> Kind:
    """What an attempt's state is called on a page."""
    kind = _KINDS[state]
    if kind is Kind.TRAINING_ON_SPOT and market is Market.ON_DEMAND:
        return Kind.TRAINING_ON_DEMAND
    return Kind.INTERRUPTED if kind is Kind.WAITING and had_a_machine else kind


def _within(attempt: AttemptRecord, end: datetime) -> Iterator[tuple[Kind, datetime]]:
    """What followed upon what while the attempt was open, each with its end."""
    over = attempt.ended_at or end
    if not attempt.phases:
        yield Kind.NOT_TOLD, over
        return
    yield Kind.ASKED, min(attempt.phases[0].started_at, over)
    had_a_machine = False
    for number, phase in enumerate(attempt.phases):
        last = number + 1 == len(attempt.phases)
        # Between two looks SageMaker may have been silent: what was known goes on until the next is.
        until = over if last else attempt.phases[number + 1].started_at
        yield kind_of(phase.state, attempt.market, had_a_machine=had_a_machine), min(until, over)
        had_a_machine = had_a_machine or phase.state in {AttemptState.STARTING, AttemptState.TRAINING}


def _add(
    told: list[Stretch], kind: Kind, cursor: datetime, until: datetime, attempt: AttemptRecord | None
) -> datetime:
    if until <= cursor:
        return cursor
    told.append(Stretch(kind, cursor, until, attempt))
    return until
