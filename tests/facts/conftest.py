"""Two facts files of one account, ten days apart."""

from datetime import UTC, datetime, timedelta

import pytest

from nightspot.facts.files import CheckRecord, FactsFile, account_hash, observation
from nightspot.facts.model import Verdict
from nightspot.facts.registry import FACTS

DAY = datetime(2026, 12, 5, 9, tzinfo=UTC)


@pytest.fixture(scope="session")
def facts_file():
    """facts_file(days, **observed): fact ids with "__" for "."."""

    def make(days=0, region="eu-west-1", **observed):
        at = DAY + timedelta(days=days)
        return FactsFile(
            account=account_hash("123456789012"),
            region=region,
            started_at=at,
            ended_at=at + timedelta(minutes=40),
            versions={"botocore": "1.44.5"},
            usd=0.21,
            checks=(CheckRecord(id="C2", verdict=Verdict.AS_DESIGNED, seconds=402.0, usd=0.02),),
            facts=tuple(
                observation(FACTS[name.replace("__", ".")], values, ["as recorded"], at)
                for name, values in observed.items()
            ),
        )

    return make
