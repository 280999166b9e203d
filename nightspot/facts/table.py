"""The facts as rows: for a terminal and for docs/limits.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date

from nightspot.facts.files import FactsFile, age_days
from nightspot.facts.model import Fact, Grade, Verdict
from nightspot.facts.registry import FACTS


@dataclass(frozen=True)
class Row:
    """What is known of one fact today. `age_days` is None where nobody has measured it."""

    fact: Fact
    answer: str
    grade: str
    age_days: int | None
    verdict: Verdict


def rows(file: FactsFile | None, today: date, facts: Iterable[Fact] = FACTS.values()) -> Iterator[Row]:
    """A row for each fact: as measured where the file has seen it, else as assumed."""
    for fact in facts:
        seen = file.observation(fact.id) if file else None
        if file is None or seen is None:
            yield Row(fact, fact.assumed, fact.grade, None, Verdict.NOT_TRIED)
            continue
        moment = seen.seen_at or file.ended_at
        grade = f"{Grade.MEASURED} on {moment.astimezone(UTC):%Y-%m-%d} in {file.region}"
        # Today's registry judges what was seen, not the one that the file was written with.
        yield Row(fact, seen.words, grade, age_days(moment, today), fact.verdict(seen.observed))


def _linked(fact: Fact, grade: str) -> str:
    return f"[{grade}]({fact.source})" if fact.source else grade


def limits_table(file: FactsFile | None, today: date) -> str:
    """The limits that a user meets, as Markdown."""
    lines = ["| limit | value | what it means here | known how |", "|---|---|---|---|"]
    lines += [
        f"| {row.fact.limit} | {row.answer} | {row.fact.meaning} | {_linked(row.fact, row.grade)} |"
        for row in rows(file, today)
        if row.fact.limit
    ]
    return "\n".join(lines)


def open_table(file: FactsFile | None, today: date) -> str:
    """What AWS's documentation leaves open, as Markdown."""
    lines = ["| question | assumed | what it means here | known how | safe |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.fact.question} | {row.answer} | {row.fact.meaning} | {_linked(row.fact, row.grade)} |"
        f" {'whatever it is' if row.fact.is_safe_both_ways else row.fact.safe} |"
        for row in rows(file, today)
        if row.fact.grade is not Grade.DOCUMENTED and not row.fact.limit and row.fact.meaning
    ]
    return "\n".join(lines)


def evidence(file: FactsFile | None) -> str:
    """One paragraph: on what the page rests."""
    others = (
        "claim about AWS rests on documentation, on botocore's models, or on public reports; where AWS documents "
        "nothing, the worse is assumed."
    )
    if file is None:
        return (
            "No account was used to build it, and nobody has run `nightspot selftest` ([what it asks](selftest.md))"
            f" yet. Every {others}"
        )
    seen = sum(bool(each.observed) for each in file.facts)
    where = f"in {file.region} on {file.ended_at.astimezone(UTC):%Y-%m-%d}"
    return f"{seen} facts were measured {where}; the tables below mark them. Every other {others}"
