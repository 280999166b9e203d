"""A facts file: what `nightspot selftest` has seen of one account in one region on one day."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nightspot.facts.model import Accepted, Fact, Verdict

SCHEMA = 1
# A hash of twelve digits is found out by trying all of them. Six hexadecimal digits tell one's own accounts apart,
# and some 60,000 accounts share them.
_ACCOUNT_DIGITS = 6

Observed = Annotated[str | int | float | bool, Field(union_mode="smart")]


class FactsFileError(ValueError):
    """A facts file cannot be read; the text names the file, the field and the rule."""


class Observation(BaseModel):
    """What was seen of one fact. `evidence`: AWS's words, redacted; `cassette`: "file#sha256" of a recording."""

    model_config = ConfigDict(frozen=True)

    id: str
    question: str = ""
    observed: tuple[Observed, ...] = ()
    accepted: str = ""
    verdict: Verdict = Verdict.NOT_TRIED
    used_by: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    cassette: str | None = None
    seen_at: datetime | None = None

    @property
    def words(self) -> str:
        """The answers in a few words: "47 to 133", "yes"."""
        numbers = [value for value in self.observed if not isinstance(value, bool | str)]
        if numbers and len(numbers) == len(self.observed):
            least, most = min(numbers), max(numbers)
            return f"{least:,g}" if least == most else f"{least:,g} to {most:,g}"
        return " or ".join(dict.fromkeys(str(value) for value in self.observed)) or "nothing"


class CheckRecord(BaseModel):
    """How one check came out, and why where it was not tried. `usd`: what its jobs have cost."""

    model_config = ConfigDict(frozen=True)

    id: str
    verdict: Verdict
    because: str = ""
    seconds: float = 0.0
    usd: float = 0.0


class FactsFile(BaseModel):
    """One selftest. `account` is a short hash, `versions` what was used: nightspot, botocore, python, image."""

    model_config = ConfigDict(frozen=True)

    schema_version: int = SCHEMA
    account: str
    region: str
    started_at: datetime
    ended_at: datetime
    versions: Mapping[str, str] = Field(default_factory=dict)
    usd: float = 0.0
    checks: tuple[CheckRecord, ...] = ()
    facts: tuple[Observation, ...] = ()
    left_behind: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the file is called: "aws-2026-12-05-eu-west-1.json"."""
        return f"aws-{self.ended_at.astimezone(UTC):%Y-%m-%d}-{self.region}.json"

    def observation(self, fact_id: str) -> Observation | None:
        """What was seen of a fact; None where it was not tried."""
        return next((each for each in self.facts if each.id == fact_id and each.observed), None)


def account_hash(account_id: str) -> str:
    """Six hexadecimal digits that stand for an account in a facts file."""
    return hashlib.sha256(account_id.encode()).hexdigest()[:_ACCOUNT_DIGITS]


def observation(
    fact: Fact,
    observed: Iterable[Any],
    evidence: Iterable[str],
    seen_at: datetime | None,
    cassette: str | None = None,
) -> Observation:
    """An observation of `fact` with its verdict."""
    values = tuple(observed)
    return Observation(
        id=fact.id,
        question=fact.question,
        observed=values,
        accepted=accepted_words(fact.designed, fact.safe),
        verdict=fact.verdict(values),
        used_by=fact.used_by,
        evidence=tuple(evidence),
        cassette=cassette,
        seen_at=seen_at,
    )


def accepted_words(designed: Accepted, safe: Accepted) -> str:
    """ "≤ 180 as designed; any is safe"."""
    return f"{designed} as designed" if designed == safe else f"{designed} as designed; {safe} is safe"


def write_facts_file(facts: FactsFile, folder: Path) -> Path:
    """Write it below `folder`, which is made where it is not there; the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / facts.name
    path.write_text(facts.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return path


def read_facts_file(path: Path) -> FactsFile:
    """The file at `path`. Raises FactsFileError for what is none, and OSError where it cannot be opened."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FactsFileError(f"{path}: must be JSON: {error}") from error
    version = given.get("schema_version") if isinstance(given, dict) else None
    if isinstance(version, int) and version > SCHEMA:
        raise FactsFileError(f"{path}: schema_version: {version}: this version reads up to {SCHEMA}")
    try:
        return FactsFile.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "(file)"
        raise FactsFileError(f"{path}: {field}: {first['msg']}") from error


def newest_facts_file(folder: Path) -> FactsFile | None:
    """The newest of the facts files in `folder`; None where there is none. Raises FactsFileError."""
    files = [read_facts_file(path) for path in sorted(folder.glob("aws-*.json"))]
    return max(files, key=lambda each: each.ended_at, default=None)


def age_days(moment: datetime | None, today: date) -> int | None:
    """How many days ago something was seen."""
    return None if moment is None else max(0, (today - moment.astimezone(UTC).date()).days)


def drift(old: FactsFile, new: FactsFile) -> list[tuple[Observation | None, Observation | None]]:
    """What both files tell differently, by fact: numbers whose ranges do not meet, other words, another verdict.

    A fact that one of them has not tried stands there with None.
    """
    ids = dict.fromkeys(each.id for file in (old, new) for each in file.facts)
    pairs = [(old.observation(each), new.observation(each)) for each in ids]
    return [(before, after) for before, after in pairs if not _agree(before, after)]


def _agree(before: Observation | None, after: Observation | None) -> bool:
    if before is None or after is None:
        return before is after
    if before.verdict != after.verdict:
        return False
    one, other = before.observed, after.observed
    if any(isinstance(value, bool | str) for value in (*one, *other)):
        return set(map(str, one)) == set(map(str, other))
    numbers = [[float(value) for value in side] for side in (one, other)]
    return max(map(min, numbers)) <= min(map(max, numbers))
