"""`nightspot selftest`: the plan asks nobody, the price is held against the limit before anything is started."""

from __future__ import annotations

import json
from contextlib import ExitStack

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from nightspot.cli import app
from nightspot.cli.selftest import price_in
from nightspot.facts.files import newest_facts_file
from nightspot.selftest.checks import CHECKS
from nightspot.selftest.running import worst_usd


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "testing")

    def run(*arguments, **more):
        done = CliRunner().invoke(app, ["selftest", *arguments], **more)
        return done.exit_code, done.output

    return run


def test_the_plan_lists_every_check_with_calls_truths_minutes_and_price(call):
    status, said = call("--plan")
    text = " ".join(said.split())

    assert status == 0
    for check in CHECKS:
        assert f" {check.id} {check.question} {check.minutes:g} min, at most $" in text
        assert all(fact in text for fact in check.facts)
        assert all(call in text for call in check.calls)
    assert "safe: any" in text
    assert "nightspot/run/model.py:STOP_SECONDS" in text or "nightspot/failures/classify.py:RESPONSES" in text


def test_the_plan_as_json_has_the_same_figures(call):
    status, said = call("--plan", "--part", "A", "--json")
    plan = json.loads(said)

    assert status == 0
    assert [each["id"] for each in plan] == [check.id for check in CHECKS if check.id.startswith("A")]
    assert all(each["most_usd"] == 0 for each in plan)
    assert all(fact["safe"] for each in plan for fact in each["facts"])


def test_what_may_cost_more_than_allowed_is_refused_before_anything_is_asked(call):
    status, said = call("--part", "B", "--max-usd", "0.01")

    assert status == 1
    assert "error: --max-usd: 0.01: the checks may cost up to $" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "Z9"), "--only: Z9: must be one of A1"),
        (("--part", "D"), "'D'"),
        (("--region", "EU"), "--region: 'EU': must be the name of a region"),
        (("--max-usd", "-1"), "--max-usd"),
        (("--json",), "--json needs --yes"),
    ],
    ids=["check", "part", "region", "price", "json"],
)
def test_a_mistake_in_the_call_is_named(call, arguments, words):
    status, said = call(*arguments)

    assert status == 2
    assert words in " ".join(said.replace("│", " ").split())


@pytest.fixture
def account(monkeypatch):
    with ExitStack() as stack:
        stack.enter_context(mock_aws())
        yield


def test_nothing_is_asked_where_nobody_says_yes(call, account):
    status, said = call("--only", "B18", input="n\n")
    nobody, words = call("--only", "B18", input="")

    assert status == nobody == 1
    assert "nothing was started" in said
    assert "where nobody can answer, say --yes" in words
    assert "1 checks in eu-west-1, at most $0.00" in said
    assert boto3.client("s3", region_name="eu-west-1").list_buckets()["Buckets"] == []


def test_the_facts_file_and_the_verdicts_are_written(call, account, tmp_path):
    status, said = call("--only", "B18", "--only", "A5", "--yes")

    file = newest_facts_file(tmp_path / "facts")
    assert status == 0
    assert file.observation("sagemaker.describe.unknown").observed == ("ValidationException",)
    assert {each.id: each.verdict.value for each in file.checks}["A5"] == "not tried"
    assert f"The facts file: facts/{file.name}" in " ".join(said.split())


def test_a_break_is_exit_status_1_with_aws_s_words(call, account, tmp_path, monkeypatch):
    from nightspot.selftest import refusals

    monkeypatch.setattr(refusals, "code_and_words", lambda _error: ("SomethingNewException", "never heard"))

    status, said = call("--only", "B18", "--yes")

    assert status == 1
    assert "B18 BREAKS" in said
    assert "never heard" in said


def test_json_is_the_facts_file_and_nothing_else(call, account):
    status, said = call("--only", "B18", "--yes", "--json")

    assert status == 0
    assert json.loads(said)["checks"][0]["id"] == "B18"


def test_clean_removes_what_is_left_once_somebody_says_yes(call, account):
    s3 = boto3.client("s3", region_name="eu-west-1")
    for name in ("nightspot-selftest-abcdef-eu-west-1", "payroll"):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    refused = call("--clean", input="n\n")
    done = call("--clean", "--yes")
    again = call("--clean", "--yes")

    assert refused[0] == 1
    assert "bucket nightspot-selftest-abcdef-eu-west-1" in refused[1]
    assert done[0] == 0
    assert "All of it is removed." in done[1]
    assert again == (0, "Nothing of a self-test is left in eu-west-1.\n")
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["payroll"]


@pytest.mark.parametrize("region", ["eu-west-1", "us-east-1", "ap-southeast-2"])
def test_all_checks_together_cost_less_than_a_dollar_in_every_region(region):
    assert 0 < worst_usd(CHECKS, price_in(region)) < 1
