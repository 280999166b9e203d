"""How deep the Spot pool of a job is taken to be, and which fitted market stands for it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nightspot.advise.question import Band, Hints, Question
from nightspot.formats.figures import format_duration
from nightspot.job.markets import Market
from nightspot.job.model import Job, dig
from nightspot.learn.estimators import FEWEST
from nightspot.learn.history import attempts_on, mean_life_seconds
from nightspot.market.fitting import LEAST_SHARE, profiles
from nightspot.record.model import RunRecord
from nightspot.run.pricing import Basis

DEFAULT_ZONES = 3  # SageMaker may place a job without a VPC anywhere in the region
# Placement scores from here on; AWS documents only the direction of the scale.
DEEP_SCORE, USUAL_SCORE = 7, 4
# The share of tries that never got a machine.
USUAL_REFUSALS, SHALLOW_REFUSALS = 0.2, 0.5
# Families on sale for so short a time that no spare capacity is to be expected.
_NEW_FAMILY = re.compile(r"ml\.(p5|p6|trn2|trn3|g7)")


class Depth(StrEnum):
    """How much spare capacity a pool has."""

    DEEP = "deep"
    USUAL = "usual"
    SHALLOW = "shallow"


# The fitted market that stands for a pool of this depth.
PROFILE_OF = {Depth.DEEP: "calm", Depth.USUAL: "usual", Depth.SHALLOW: "scarce"}
DEPTH_OF_BAND = {
    Band.UNDER_5: Depth.DEEP,
    Band.UNDER_10: Depth.USUAL,
    Band.UNDER_15: Depth.USUAL,
    Band.UNDER_20: Depth.SHALLOW,
    Band.OVER_20: Depth.SHALLOW,
}
_DEEPEST_FIRST = tuple(Depth)


@dataclass(frozen=True)
class PoolEvidence:
    """One thing that speaks of a pool's depth."""

    depth: Depth
    basis: Basis
    words: str


@dataclass(frozen=True)
class Pool:
    """A job's Spot pool. `depth` is the worst that the strongest evidence says; USUAL without any."""

    depth: Depth
    evidence: tuple[PoolEvidence, ...]
    zones: int
    zones_words: str
    instance_types: int  # Spot types on the ladder
    instance_count: int  # machines that are needed at once

    @property
    def basis(self) -> Basis:
        """Measured where the account's own runs or traces speak, else assumed."""
        return Basis.MEASURED if any(e.basis is Basis.MEASURED for e in self.evidence) else Basis.ASSUMED


def pool_of(question: Question) -> Pool:
    """The pool that the job's first Spot type draws on. What was measured outranks every hint."""
    job = question.job
    spot = job.capacity.spot or job.capacity.on_demand
    evidence = (*_of_traces(question), *_of_history(question.history, spot[0].instance_type))
    if not evidence:
        evidence = tuple(_of_hints(question.hints, spot[0].instance_type))
    zones, words = _zones(job, question.hints)
    return Pool(
        depth=max((e.depth for e in evidence), key=_DEEPEST_FIRST.index, default=Depth.USUAL),
        evidence=evidence,
        zones=zones,
        zones_words=words,
        instance_types=len(spot),
        instance_count=job.instance_count,
    )


def _zones(job: Job, hints: Hints) -> tuple[int, str]:
    if hints.zones is not None:
        return hints.zones, "given"
    subnets = dig(job.training_job, "VpcConfig", "Subnets")
    if isinstance(subnets, list) and subnets:
        return len(subnets), "subnets in VpcConfig, each taken for a zone of its own"
    return DEFAULT_ZONES, "assumed: without a VpcConfig any zone of the region will do"


def _of_traces(question: Question) -> Iterator[PoolEvidence]:
    if not question.zones:
        return
    share = sum(zone.changes.share_up for zone in question.zones) / len(question.zones)
    cuts = (LEAST_SHARE["calm"], LEAST_SHARE["usual"])
    depth = Depth.DEEP if share >= cuts[0] else Depth.USUAL if share >= cuts[1] else Depth.SHALLOW
    words = f"your {len(question.zones)} trace(s) have a machine {100 * share:.0f} % of the time"
    yield PoolEvidence(depth, Basis.MEASURED, words)


def _of_history(history: Sequence[RunRecord], instance_type: str) -> Iterator[PoolEvidence]:
    tries = list(attempts_on(history, Market.SPOT, instance_type))
    if len(tries) < FEWEST:
        return
    waits = [attempt.queued_seconds for attempt in tries if attempt.queued_seconds is not None]
    refused = (len(tries) - len(waits)) / len(tries)
    depth = (
        Depth.SHALLOW
        if refused >= SHALLOW_REFUSALS
        else Depth.USUAL
        if refused >= USUAL_REFUSALS
        else Depth.DEEP
    )
    wait = f", the others after {format_duration(sum(waits) / len(waits))} on average" if waits else ""
    words = f"{len(tries)} Spot jobs, {100 * refused:.0f} % of them without a machine to the end{wait}"
    yield PoolEvidence(depth, Basis.MEASURED, words)
    life = mean_life_seconds(history, instance_type)
    if life is not None:
        words = f"a machine was kept for {format_duration(life)} on average"
        yield PoolEvidence(depth_of_life(life), Basis.MEASURED, words)


def depth_of_life(mean_seconds: float) -> Depth:
    """The pool whose fitted machines live most nearly so long."""
    known = profiles()
    return min(
        Depth, key=lambda depth: abs(math.log(mean_seconds / known[PROFILE_OF[depth]].lives.mean_seconds))
    )


def _of_hints(hints: Hints, instance_type: str) -> Iterator[PoolEvidence]:
    score = hints.placement_score
    if score is not None:
        depth = Depth.DEEP if score >= DEEP_SCORE else Depth.USUAL if score >= USUAL_SCORE else Depth.SHALLOW
        yield PoolEvidence(depth, Basis.ASSUMED, f"placement score {score} of 10 in EC2's pool, a hint")
    if hints.band is not None:
        words = f"{hints.band.value} % of EC2's machines are interrupted in a month, a hint"
        yield PoolEvidence(DEPTH_OF_BAND[hints.band], Basis.ASSUMED, words)
    family = _NEW_FAMILY.match(instance_type)
    if family:
        words = f"{instance_type} is of a new family: little of it is spare"
        yield PoolEvidence(Depth.SHALLOW, Basis.ASSUMED, words)
