"""A check of the self-test: what it asks, which calls it makes, which facts it settles, and what it may cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock
from typing import TYPE_CHECKING

from nightspot.facts.files import Observation, accepted_words, observation
from nightspot.facts.model import Fact, Value, Verdict, worst
from nightspot.facts.registry import FACTS

if TYPE_CHECKING:
    from datetime import datetime

    from nightspot.selftest.workspace import Workspace

MACHINE = "ml.m5.large"
# What a job is billed beyond its limit at most: its stop, as reported.
STOP_SECONDS = 180


class Part(StrEnum):
    """What is asked, from free to live jobs."""

    A = "A"
    B = "B"
    C = "C"


WHAT: dict[Part, str] = {
    Part.A: "nothing is started",
    Part.B: "requests that AWS must refuse",
    Part.C: "live training jobs on one small machine",
}


class NotTriedError(Exception):
    """The check cannot be made here; the text says why."""


@dataclass(frozen=True)
class Machine:
    """A training job that a check may start: its MaxRuntimeInSeconds, and how many instances of which type."""

    limit_seconds: int
    count: int = 1
    instance_type: str = MACHINE

    def worst_usd(self, usd_per_hour: float) -> float:
        """What it costs if it runs into its limit and its stop takes as long as it may."""
        return (self.limit_seconds + STOP_SECONDS) * self.count * usd_per_hour / 3600


class Seen:
    """What one check has seen so far. Thread safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._values: dict[str, list[Value]] = {}
        self._evidence: dict[str, list[str]] = {}
        self._cassettes: dict[str, str] = {}

    def saw(self, fact_id: str, value: Value, evidence: str = "", cassette: str | None = None) -> None:
        """One answer of AWS's. `evidence`: its words, redacted by the caller. KeyError for an unknown fact."""
        fact = FACTS[fact_id]
        with self._lock:
            self._values.setdefault(fact.id, []).append(value)
            if evidence:
                self._evidence.setdefault(fact.id, []).append(evidence)
            if cassette is not None:
                self._cassettes[fact.id] = cassette

    def observations(self, at: datetime) -> list[Observation]:
        """What was seen, by fact, with verdicts."""
        with self._lock:
            return [
                observation(FACTS[name], values, self._evidence.get(name, ()), at, self._cassettes.get(name))
                for name, values in self._values.items()
            ]


@dataclass(frozen=True)
class Check:
    """One check. `calls` are IAM actions ("sagemaker:CreateTrainingJob"), `facts` what it settles.

    `run(workspace, seen)` makes it. `needs`: the checks that must come before it in the same run. `opt_in`: it is
    made only where --only names it, or where the option of that name is given. `last`: after all others, because
    it looks at what they leave.
    """

    id: str
    question: str
    calls: tuple[str, ...]
    facts: tuple[str, ...]
    run: Callable[[Workspace, Seen], None]
    minutes: float = 0.1
    jobs: tuple[Machine, ...] = ()
    needs: tuple[str, ...] = ()
    opt_in: str = ""
    needs_stack: bool = False
    last: bool = False

    @property
    def part(self) -> Part:
        """A, B or C."""
        return Part(self.id[0])

    def worst_usd(self, price: Callable[[str], float]) -> float:
        """The most that its jobs can cost. `price`: USD per hour of an instance type."""
        return sum(job.worst_usd(price(job.instance_type)) for job in self.jobs)

    @property
    def known_facts(self) -> list[Fact]:
        """The facts that it settles."""
        return [FACTS[name] for name in self.facts]

    @property
    def truths(self) -> list[str]:
        """The answers under which the product is safe, one line for each fact."""
        return [f"{fact.question}: {accepted_words(fact.designed, fact.safe)}" for fact in self.known_facts]


@dataclass(frozen=True)
class Result:
    """How a check came out."""

    check: Check
    observations: Sequence[Observation] = ()
    because: str = ""  # why it was not tried, or not to its end
    seconds: float = 0.0
    usd: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """The worst of its facts."""
        return worst(each.verdict for each in self.observations)


@dataclass(frozen=True)
class Choice:
    """Which checks are made."""

    parts: frozenset[Part] = frozenset(Part)
    only: frozenset[str] = frozenset()
    options: frozenset[str] = field(default_factory=frozenset)
    has_stack: bool = False

    def of(self, checks: Iterable[Check]) -> list[Check]:
        """The chosen checks in their order, with what they need; those that look at the others last.

        Raises ValueError for an id in `only` that is none.
        """
        known = {check.id: check for check in checks}
        if unknown := sorted(self.only - known.keys()):
            raise ValueError(f"{', '.join(unknown)}: must be one of {', '.join(known)}")
        wanted = {check.id for check in known.values() if self._takes(check)}
        for name in sorted(wanted):
            wanted.update(known[name].needs)
        return sorted((known[name] for name in known if name in wanted), key=lambda check: check.last)

    def _takes(self, check: Check) -> bool:
        if self.only:
            return check.id in self.only
        if check.needs_stack and not self.has_stack:
            return False
        return check.part in self.parts and (not check.opt_in or check.opt_in in self.options)
