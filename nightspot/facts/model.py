"""A fact about AWS, the answers under which the product is safe, and what an observation of it is worth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

Value = str | int | float | bool
"""An observed answer: a number in the fact's unit, or one of its words."""


class Grade(StrEnum):
    """How well a fact is known."""

    DOCUMENTED = "documented"  # AWS's documentation or service model
    SEEN = "seen by others"  # a public report of somebody who ran it
    INFERRED = "inferred"  # follows from documentation, and nobody is known to have looked
    UNKNOWN = "unknown"
    MEASURED = "measured"  # by `nightspot selftest`, on a date in a region; stands in facts files alone


class Verdict(StrEnum):
    """What an observation means for the product, the worst last."""

    NOT_TRIED = "not tried"
    AS_DESIGNED = "as designed"
    SAFE = "other, and safe"
    BREAKS = "BREAKS"


@dataclass(frozen=True)
class Accepted:
    """Which answers are accepted: numbers from `least` to `most`, or one of `words`; any where all are None."""

    least: float | None = None
    most: float | None = None
    words: tuple[Value, ...] | None = None

    def holds(self, value: Value) -> bool:
        """Whether `value` is one of them. A word is no number, so a range refuses it."""
        if self.words is not None:
            return any(
                value == word and isinstance(value, bool) == isinstance(word, bool) for word in self.words
            )
        if self.least is None and self.most is None:
            return True
        if isinstance(value, bool | str):
            return False
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        if self.words is not None:
            return " or ".join(str(word) for word in self.words)
        if self.least is None and self.most is None:
            return "any"
        if self.least == self.most:
            return f"{self.most:,g}"
        parts = [
            f"{sign} {value:,g}" for sign, value in (("≥", self.least), ("≤", self.most)) if value is not None
        ]
        return ", ".join(parts)


ANY = Accepted()


def at_most(most: float) -> Accepted:
    """Numbers up to `most`."""
    return Accepted(most=most)


def at_least(least: float) -> Accepted:
    """Numbers from `least` on."""
    return Accepted(least=least)


def exactly(value: float) -> Accepted:
    """This number alone."""
    return Accepted(value, value)


def one_of(*words: Value) -> Accepted:
    """These words alone."""
    return Accepted(words=words)


@dataclass(frozen=True)
class Fact:
    """One thing that AWS does and the product rests on.

    `designed` are the answers that the product was built for, `safe` all those under which no run is lost, spoiled
    or paid for in vain; every designed answer is safe. `used_by`: "path:name" of each constant, class or function
    that rests on it, or of a state of the workflow file. `limit`: what docs/limits.md calls it, "" where it has no
    row among the limits; `meaning`: what it means for a user.
    """

    id: str
    question: str
    assumed: str
    grade: Grade
    source: str = ""  # a link; "" where none is known
    designed: Accepted = ANY
    safe: Accepted = ANY
    used_by: tuple[str, ...] = ()
    limit: str = ""
    meaning: str = ""

    def verdict(self, observed: Iterable[Value]) -> Verdict:
        """What these answers together mean. NOT_TRIED without any."""
        values = list(observed)
        if not values:
            return Verdict.NOT_TRIED
        if all(self.designed.holds(value) for value in values):
            return Verdict.AS_DESIGNED
        return Verdict.SAFE if all(self.safe.holds(value) for value in values) else Verdict.BREAKS

    @property
    def is_safe_both_ways(self) -> bool:
        """Whether the product is safe whatever the answer is."""
        return self.safe == ANY


_WORST_FIRST = (Verdict.BREAKS, Verdict.SAFE, Verdict.AS_DESIGNED)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of them; NOT_TRIED where nothing was tried."""
    found = set(verdicts)
    return next((verdict for verdict in _WORST_FIRST if verdict in found), Verdict.NOT_TRIED)
