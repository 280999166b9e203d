"""What a filter between a job and Spot can say, and how its sentences write money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Numbers = Mapping[str, float | int | str | bool | None]
SMALL_USD = 100  # below it cents matter


class Filter(StrEnum):
    """The questions between a job and Spot, in the order in which they are asked."""

    RESUME = "resume"
    DEADLINE = "deadline"
    POOL = "pool"
    FAILED_NIGHT = "failed_night"
    WORTH = "worth"


class Verdict(StrEnum):
    """What a filter says to Spot."""

    YES = "yes"
    WITH_CARE = "with care"
    NO = "no"
    UNKNOWN = "unknown"


QUESTIONS: Mapping[Filter, str] = {
    Filter.RESUME: "Can it be interrupted and resumed?",
    Filter.DEADLINE: "Does the deadline leave slack?",
    Filter.POOL: "Is the Spot pool deep enough?",
    Filter.FAILED_NIGHT: "Can a failed night be borne?",
    Filter.WORTH: "Does the saving pay for the work?",
}


@dataclass(frozen=True)
class Finding:
    """One filter's answer."""

    filter: Filter
    verdict: Verdict
    reason: str
    numbers: Numbers = field(default_factory=dict)


@dataclass(frozen=True)
class Money:
    """A month in USD, None where no price is known. `saving` is before, `work` what it takes to have it."""

    saving_usd: float | None
    work_usd: float
    missed_nights: float | None
    night_usd: float


def usd(value: float) -> str:
    """ "$1,240", "$41.30": cents only where they matter."""
    # Not "-$0".
    rounded = round(value, 2) if abs(value) < SMALL_USD else round(value)
    digits = 0 if float(rounded).is_integer() else 2
    return f"{'-' if rounded < 0 else ''}${abs(rounded):,.{digits}f}"


def count(number: float) -> str:
    """ "2", "0.3", "30"."""
    return f"{number:.1f}".removesuffix(".0")


def capital(text: str) -> str:
    """The sentence with its first letter large."""
    return text[:1].upper() + text[1:]
