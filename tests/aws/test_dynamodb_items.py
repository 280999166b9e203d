"""What DynamoDB is given: every JSON-ready record is written, whole where it fits and else cleanly reduced."""

from __future__ import annotations

import json
import logging
import math
import sys
from dataclasses import replace
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from nightspot.aws.table import dynamodb
from nightspot.aws.table.dynamodb import MOST_DEPTH, from_dynamodb, to_dynamodb
from nightspot.aws.table.run_table import RunTable
from nightspot.local.stage.emulated_aws import REGION, TABLE, create_resources

KB_400 = 400 * 1024


def check(value: dict[str, Any], depth: int = 0) -> int:
    """The size of a value by AWS's own rules; AssertionError where DynamoDB would refuse it.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
    """
    ((kind, held),) = value.items()
    assert depth <= 32
    if kind == "N":
        digits = held.lower().replace("-", "", 1).partition("e")[0].replace(".", "").strip("0")
        assert len(digits) <= 38
        assert held == "0" or Decimal("1E-130") <= Decimal(held).copy_abs() < Decimal("1E126")
        return len(digits) // 2 + 2
    if kind == "S":
        return len(held.encode())
    if kind == "L":
        return 3 + sum(1 + check(inner, depth + 1) for inner in held)
    if kind == "M":
        assert all(0 < len(name.encode()) <= 65_536 for name in held)
        return 3 + sum(1 + len(name.encode()) + check(inner, depth + 1) for name, inner in held.items())
    assert kind in {"BOOL", "NULL"}
    assert isinstance(held, bool)
    return 1


@pytest.mark.parametrize(
    "value",
    ["", "text", "ä\n", 0, -7, 10**18, 0.1, 1e-130, True, False, None, [], {}, [{"a": [1]}]],
    ids=repr,
)
def test_what_dynamodb_can_hold_comes_back_as_it_was(value):
    assert from_dynamodb(to_dynamodb({"value": value})) == {"value": value}


@pytest.mark.parametrize("value", [1.0, 5e15, -3.0])
def test_a_whole_number_comes_back_as_an_int(value):
    assert from_dynamodb(to_dynamodb({"value": value})) == {"value": int(value)}


def test_boto3_reads_the_items_alike():
    item = {"a": [1, 2.5, None, True, {"b": "text"}]}
    read = boto3.dynamodb.types.TypeDeserializer().deserialize
    assert read(to_dynamodb(item)["a"]) == [1, read({"N": "2.5"}), None, True, {"b": "text"}]


LARGEST = 1e126


BEYOND = {
    "NaN": (math.nan, None),
    "infinite": (math.inf, LARGEST),
    "below everything": (-math.inf, -LARGEST),
    "a budget": (1e308, LARGEST),
    "just too small": (-1e126, -LARGEST),
    "just too large": (10**126, LARGEST),
    "a very long int": (10**5000, LARGEST),
    "nearly zero": (1e-131, 0),
    "denormal": (-5e-324, 0),
    "-0.0": (-0.0, 0),
    "39 digits": (10**38 + 1, 1e38),
    "sys.maxsize": (sys.maxsize, sys.maxsize),
    "half a character": ("\ud800x", "?x"),
    "no name": ({"": 1}, {"-": 1}),
}


@pytest.mark.parametrize(("value", "kept"), BEYOND.values(), ids=BEYOND)
def test_what_it_cannot_hold_becomes_what_is_nearest(value, kept):
    written = to_dynamodb({"value": value})
    check({"M": written})
    assert from_dynamodb(written) == {"value": kept}


def test_what_is_nested_too_deep_is_null():
    deep: Any = "bottom"
    for _ in range(100):
        deep = [deep]
    written = to_dynamodb({"deep": deep, "step": 3})
    check({"M": written})
    assert from_dynamodb(written)["step"] == 3
    assert json.dumps(from_dynamodb(written)["deep"]) == "[" * MOST_DEPTH + "null" + "]" * MOST_DEPTH


def test_a_record_that_is_too_large_keeps_its_key_its_small_fields_and_both_ends_of_a_list(caplog):
    entries = [{"number": n, "because": "x" * 1000} for n in range(1000)]
    item = {
        "pk": "RUN#a",
        "sk": "STEP#0001",
        "at": "2026-11-21",
        "because": "y" * 900_000,
        "entries": entries,
    }
    caplog.set_level(logging.ERROR)
    written = to_dynamodb(item)
    kept = from_dynamodb(written)
    assert 300_000 < check({"M": written}) <= KB_400
    assert (kept["pk"], kept["sk"], kept["at"]) == ("RUN#a", "STEP#0001", "2026-11-21")
    assert kept["because"] == "y" * len(kept["because"])
    assert (kept["entries"][0], kept["entries"][-1]) == (entries[0], entries[-1])
    assert "is cut" in caplog.text
    assert "RUN#a" in caplog.text


def test_where_the_names_alone_do_not_fit_the_smallest_values_stay():
    item = {"pk": "p", "values": {f"{n:0500d}": n for n in range(10_000)}, "step": 3}
    written = to_dynamodb(item)
    assert check({"M": written}) <= KB_400
    assert from_dynamodb(written)["step"] == 3
    assert len(from_dynamodb(written)["values"]) > 500


@pytest.mark.parametrize("depth", [1, 10, 30])
def test_one_large_text_however_deep_is_cut_and_what_is_around_it_stays(depth):
    inner: Any = {"text": "ä" * 500_000, "step": 3}
    for _ in range(depth):
        inner = {"in": inner, "beside": [1, 2]}
    written = to_dynamodb(inner)
    assert check({"M": written}) <= KB_400
    assert from_dynamodb(written)["beside"] == [1, 2]


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.integers(-(10**200), 10**200),
    st.text(max_size=20),
    st.text(alphabet=st.characters(), max_size=5),
)
records = st.dictionaries(
    st.text(max_size=10),
    st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
        max_leaves=20,
    ),
    max_size=6,
)
# How large a drawn record is made: the texts and lists in it so many times as long.
FACTORS = (1, 1, 20_000)


def larger(value: Any, factor: int) -> Any:
    if isinstance(value, str):
        return value * factor
    return value[:1] * min(factor, 2_000) if isinstance(value, list) else value


@given(records, st.sampled_from(FACTORS))
def test_every_record_is_written_or_reduced_to_what_fits(record, factor):
    large = {name: larger(value, factor) for name, value in record.items()}
    record = {"pk": "RUN#a", "sk": "RUN", **large, "in": record}
    written = to_dynamodb(record)
    assert check({"M": written}) <= KB_400
    assert from_dynamodb(written).keys() >= {"pk", "sk"}
    json.dumps(from_dynamodb(written), allow_nan=False)


@given(
    st.recursive(st.text(max_size=8), lambda inner: st.lists(inner, max_size=4), max_leaves=30),
    st.integers(20, 300),
)
def test_a_budget_is_never_passed(value, budget):
    written = to_dynamodb({"value": value, "beside": "x" * 100, "number": 5})
    assert dynamodb.of_map(dynamodb.map_within(written, budget)) <= budget


def test_a_run_with_numbers_and_texts_beyond_all_limits_is_recorded_and_read(story):
    with mock_aws():
        create_resources(())
        table = RunTable(boto3.client("dynamodb", region_name=REGION), TABLE)
        attempt = story.attempt(failure_reason="é" * 1_000_000, seconds_per_step=1e-200)
        run = story.run(attempts=[attempt], budget_usd=1e308, work_upper_seconds=5e-324)
        try:
            table.record_plan(run)
        except ClientError as error:
            pytest.fail(str(error))
        read = table.run(run.run_id)
        assert read.budget_usd == pytest.approx(1e126)
        assert read.attempts[0].training_job_name == attempt.training_job_name
        assert replace(read, attempts=()).checkpoint_s3_uri == run.checkpoint_s3_uri
