"""`nightspot facts` shows what is assumed and what was measured, and `diff` what has changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from nightspot.cli import app
from nightspot.facts.files import FactsFile, observation, write_facts_file
from nightspot.facts.registry import FACTS

AT = datetime(2026, 12, 5, 9, tzinfo=UTC)


def written(folder, **observed):
    facts = [observation(FACTS[name.replace("__", ".")], values, [], AT) for name, values in observed.items()]
    file = FactsFile(account="abc123", region="eu-west-1", started_at=AT, ended_at=AT, facts=tuple(facts))
    return str(write_facts_file(file, folder))


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        done = CliRunner().invoke(app, ["facts", *arguments])
        return done.exit_code, done.output

    return run


def test_without_a_file_every_fact_is_listed_and_none_is_measured(call):
    status, said = call()

    assert status == 0
    assert "none of this was measured" in said
    assert "measured on" not in said
    assert [name for name in FACTS if name not in said] == []


def test_a_measured_fact_shows_its_answer_date_and_verdict(call, tmp_path):
    path = written(tmp_path, sagemaker__refusal__role=["unknown"])

    status, said = call("--file", path, "--json")

    (fact,) = (each for each in json.loads(said)["facts"] if each["id"] == "sagemaker.refusal.role")
    assert status == 0
    assert (fact["answer"], fact["known_how"]) == ("unknown", "measured on 2026-12-05 in eu-west-1")
    assert fact["verdict"] == "BREAKS"
    assert fact["used_by"] == ["nightspot/failures/classify.py:RESPONSES"]


def test_the_newest_file_of_the_folder_is_taken(call, tmp_path):
    written(tmp_path / "facts", sagemaker__stop__lastfile=["no"])

    assert "measured on 2026-12-05" in " ".join(call()[1].split())


def test_diff_fails_where_what_changed_breaks_something(call, tmp_path):
    old = written(tmp_path / "a", sagemaker__refusal__role=["permission"], sagemaker__stop__lastfile=["yes"])
    new = written(tmp_path / "b", sagemaker__refusal__role=["unknown"], sagemaker__stop__lastfile=["no"])

    status, said = call("diff", old, new)

    assert status == 1
    assert "2 differences" in said
    assert "BREAKS" in said
    assert call("diff", old, old) == (0, "eu-west-1 2026-12-05 and eu-west-1 2026-12-05: no differences.\n")


def test_what_is_no_facts_file_is_said_with_its_name(call, tmp_path):
    broken = tmp_path / "broken.json"
    broken.write_text("{}")

    assert call("--file", str(broken)) == (1, f"error: {broken}: account: Field required\n")
    assert call("--file", str(tmp_path / "none.json"))[0] == 1
