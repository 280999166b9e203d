"""How advice is tested: the repository's job files with a line changed, at prices that are said here."""

from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

import pytest

from nightspot.advise.advice import advise
from nightspot.advise.case import case_of
from nightspot.advise.nights import PlayedMonth
from nightspot.advise.question import Economics, Hints, Question
from nightspot.job.reading import parse_job
from nightspot.market.model import NightResult
from nightspot.run.pricing import Price

ROOT = Path(__file__).parents[2]
TODAY = date(2026, 11, 21)
RECOMMENDER = "jobs/recommender.yaml"


def at_33_dollars(instance_type, region):
    """Everything costs $33 an hour, and a price list says so."""
    return Price(33.0, "a list", TODAY, assumed=False)


def unpriced(instance_type, region):
    """Nobody knows."""


@cache
def text_of(path):
    return (ROOT / path).read_text(encoding="utf-8")


def question_of(path=RECOMMENDER, *changes, price=at_33_dollars, hints=(), economics=(), **fields):
    """The question about a job file in which each (old, new) of `changes` was replaced."""
    text = text_of(path)
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return Question(
        job=parse_job(text),
        price=price,
        region="eu-west-1",
        today=TODAY,
        hints=Hints(**dict(hints)),
        economics=Economics(**dict(economics), are_given=frozenset(dict(economics))),
        **fields,
    )


NIGHT = NightResult(
    cost=1.4,
    finished_seconds=18_000.0,
    late=False,
    interruptions=1,
    launches=2,
    on_demand_seconds=0.0,
    spot_seconds=15_000.0,
    waited_seconds=3000.0,
)


@dataclass(frozen=True)
class Tools:
    """What the tests of advice build with."""

    question = staticmethod(question_of)
    unpriced = staticmethod(unpriced)
    today = TODAY

    @staticmethod
    def case(*arguments, **fields):
        return case_of(question_of(*arguments, **fields))

    @staticmethod
    def advice(*arguments, **fields):
        return advise(question_of(*arguments, **fields))

    @staticmethod
    def played(*, nights=30, fallen_back=0, late=0, interruptions=1):
        """One month of a hundred nights, so many of them with on-demand and so many late."""
        month = tuple(
            NIGHT._replace(
                on_demand_seconds=7200.0 if n < fallen_back else 0.0,
                late=n < late,
                interruptions=interruptions,
            )
            for n in range(100)
        )
        return PlayedMonth((month,), nights)

    @staticmethod
    def attempts(count, *, market="spot", **fields):
        """Summaries of attempts on the recommender's Spot type."""
        shape = {
            "market": market,
            "instance_type": "ml.p4d.24xlarge",
            "status": "Completed",
            "ended_at": "2026-11-20T05:00:00+00:00",
            "trained_seconds": 14_400.0,
            "billable_seconds": 5760.0,
            "queued_seconds": 60.0,
            "interruptions": 0,
        }
        return [{**shape, **fields} for _ in range(count)]


@pytest.fixture
def advising():
    return Tools()


@pytest.fixture(scope="session")
def recommender_advice():
    """The answer about the recommender: many tests look at it."""
    return advise(question_of())
