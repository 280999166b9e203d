"""Pending deliveries: kept once with their first age, found by one query, forgotten when they are done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.table.run_table import RunTable
from nightspot.decide.audit import Delivery, Pending
from nightspot.local.stage.emulated_aws import REGION, TABLE, create_resources

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LONG_AGO = datetime.min.replace(tzinfo=UTC)


@pytest.fixture
def dynamodb():
    with mock_aws():
        create_resources([])
        yield boto3.client("dynamodb", region_name=REGION)


@pytest.fixture
def pending(dynamodb):
    return RunTable(dynamodb, TABLE).pending


def put(dynamodb, sk, **more):
    item = {"pk": "PENDING", "sk": sk, **more}
    dynamodb.put_item(TableName=TABLE, Item={name: {"S": value} for name, value in item.items()})


def test_what_is_kept_is_found_until_it_is_forgotten(pending):
    assert pending.all() == []
    assert pending.keep(Delivery.START, "recommender-2026", '{"job": "recommender"}', NOW)
    assert pending.keep(Delivery.NOTICE, "20261121-abc/end", "{}", NOW)
    notice = Pending(Delivery.NOTICE, "20261121-abc/end", NOW, "{}")
    start = Pending(Delivery.START, "recommender-2026", NOW, '{"job": "recommender"}')
    assert pending.all() == [notice, start]
    for _ in range(2):
        assert pending.forget(Delivery.START, "recommender-2026")
    assert pending.all() == [notice]


def test_kept_again_it_is_as_old_as_before(pending):
    pending.keep(Delivery.START, "one", "first", NOW)
    pending.keep(Delivery.START, "one", "second", NOW + timedelta(hours=1))
    assert pending.all() == [Pending(Delivery.START, "one", NOW, "second")]


@pytest.mark.parametrize("since", ["", "yesterday", "0"])
def test_an_item_that_does_not_tell_its_age_is_old(dynamodb, pending, since):
    put(dynamodb, "START#one", since=since, event="{}")
    assert pending.all() == [Pending(Delivery.START, "one", LONG_AGO, "{}")]


def test_an_item_without_anything_and_one_of_another_version_stop_nothing(dynamodb, pending):
    put(dynamodb, "NOTICE#one")
    put(dynamodb, "LETTER#two", since=NOW.isoformat(), event="{}")
    assert pending.all() == [Pending(Delivery.NOTICE, "one", LONG_AGO, "None")]


def test_a_large_event_outside_ascii_comes_back_whole(pending):
    event = "過" * (256 * 1024 // 3)
    assert pending.keep(Delivery.NOTICE, "large", event, NOW)
    assert pending.all()[0].event == event


def test_more_than_a_page_holds_are_all_found(pending, monkeypatch):
    for number in range(5):
        pending.keep(Delivery.START, str(number), "{}", NOW)
    real = pending._call
    monkeypatch.setattr(pending, "_call", lambda op, **given: real(op, **given, Limit=2))
    assert len(pending.all()) == 5


@pytest.mark.parametrize(
    "error",
    [
        TransientAwsError("ThrottlingException"),
        ClientError({"Error": {"Code": "ValidationException", "Message": "too long"}}, "UpdateItem"),
    ],
    ids=["transient", "refused"],
)
def test_a_table_that_takes_nothing_says_so(pending, monkeypatch, error):
    def refuse(*_args, **_given):
        raise error

    monkeypatch.setattr(pending, "_call", refuse)
    assert not pending.keep(Delivery.START, "one", "{}", NOW)
    assert not pending.forget(Delivery.START, "one")
