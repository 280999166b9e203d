"""A facts file survives being written and read, says what was seen, and two of them show what has changed."""

from __future__ import annotations

import json
from datetime import date

import pytest

from nightspot.facts.files import (
    FactsFileError,
    account_hash,
    drift,
    newest_facts_file,
    read_facts_file,
    write_facts_file,
)
from nightspot.facts.model import Verdict
from nightspot.facts.table import evidence, limits_table, open_table, rows

STOP = "sagemaker__stop__starting__seconds"
TODAY = date(2026, 12, 20)


def test_a_file_is_read_as_it_was_written(tmp_path, facts_file):
    written = facts_file(**{STOP: [47, 133]}, sagemaker__stop__lastfile=["yes"])

    path = write_facts_file(written, tmp_path / "facts")

    assert path.name == "aws-2026-12-05-eu-west-1.json"
    assert read_facts_file(path) == written


def test_a_file_names_no_account(tmp_path, facts_file):
    path = write_facts_file(facts_file(**{STOP: [47]}), tmp_path)

    assert "123456789012" not in path.read_text(encoding="utf-8")
    assert account_hash("123456789012") != account_hash("123456789013")
    assert len(account_hash("123456789012")) == 6


def test_an_observation_carries_question_answers_verdict_and_who_rests_on_it(facts_file):
    seen = facts_file(**{STOP: [47, 400]}).observation("sagemaker.stop.starting.seconds")

    assert seen.words == "47 to 400"
    assert seen.verdict is Verdict.SAFE
    assert seen.accepted == "≤ 180 as designed; any is safe"
    assert seen.used_by == ("nightspot/run/model.py:STOP_SECONDS",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("[1", "must be JSON"),
        ('{"schema_version": 9}', "schema_version: 9: this version reads up to 1"),
        ('{"account": "abc"}', "region: Field required"),
        ("[]", "(file): "),
    ],
    ids=["cut off", "from a newer version", "without a region", "a list"],
)
def test_what_is_no_facts_file_is_refused_with_its_name_and_the_field(tmp_path, change, words):
    path = tmp_path / "aws-broken.json"
    path.write_text(change, encoding="utf-8")

    with pytest.raises(FactsFileError) as refused:
        read_facts_file(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert words in str(refused.value)


def test_a_file_of_an_older_registry_or_with_fewer_fields_is_read(tmp_path, facts_file):
    given = json.loads(facts_file(**{STOP: [47]}).model_dump_json())
    given["facts"][0]["id"] = "a.fact.that.is.gone"
    del given["facts"][0]["used_by"], given["left_behind"], given["usd"]
    path = tmp_path / "aws-old.json"
    path.write_text(json.dumps(given), encoding="utf-8")

    read = read_facts_file(path)

    assert read.observation("a.fact.that.is.gone").observed == (47,)
    assert all(row.age_days is None for row in rows(read, TODAY))


def test_the_newest_file_counts_and_none_is_none(tmp_path, facts_file):
    assert newest_facts_file(tmp_path) is None
    for days in (0, 10, 4):
        write_facts_file(facts_file(days, **{STOP: [days + 1]}), tmp_path)

    assert newest_facts_file(tmp_path).observation("sagemaker.stop.starting.seconds").observed == (11,)


def test_a_measured_fact_has_date_region_and_age(facts_file):
    file = facts_file(**{STOP: [47, 133]})

    row = next(each for each in rows(file, TODAY) if each.fact.id == "sagemaker.stop.starting.seconds")

    assert (row.answer, row.grade, row.age_days) == ("47 to 133", "measured on 2026-12-05 in eu-west-1", 15)
    assert row.verdict is Verdict.AS_DESIGNED


def test_today_s_registry_judges_what_was_seen(facts_file):
    given = facts_file(**{STOP: [47]})
    seen = given.facts[0].model_copy(update={"verdict": Verdict.BREAKS})
    file = given.model_copy(update={"facts": (seen,)})

    assert [row.verdict for row in rows(file, TODAY) if row.age_days is not None] == [Verdict.AS_DESIGNED]


def test_the_page_turns_from_assumed_to_measured(facts_file):
    file = facts_file(**{STOP: [47, 133]}, sagemaker__events__time=["readable"])

    assert "No account was used" in evidence(None)
    assert "2 facts were measured in eu-west-1 on 2026-12-05" in evidence(file)
    assert "measured on" not in limits_table(None, TODAY) + open_table(None, TODAY)
    assert "| readable |" in limits_table(file, TODAY)
    assert "| 47 to 133 |" in open_table(file, TODAY)


@pytest.mark.parametrize(
    ("before", "after", "differs"),
    [
        ([47, 133], [60], False),
        ([47, 133], [140], True),
        ([47], [400], True),
        ([100], [100], False),
    ],
    ids=["within the range", "beyond it", "another verdict", "the same"],
)
def test_numbers_drift_where_their_ranges_do_not_meet(facts_file, before, after, differs):
    assert bool(drift(facts_file(**{STOP: before}), facts_file(10, **{STOP: after}))) is differs


def test_words_drift_where_they_differ_and_what_one_has_not_tried_is_shown(facts_file):
    one = facts_file(sagemaker__stop__lastfile=["yes"], sagemaker__stop__artifact=["yes"])
    other = facts_file(10, sagemaker__stop__lastfile=["no"], **{STOP: [5]})

    found = {(old or new).id: (old and old.words, new and new.words) for old, new in drift(one, other)}

    assert found == {
        "sagemaker.stop.lastfile": ("yes", "no"),
        "sagemaker.stop.artifact": ("yes", None),
        "sagemaker.stop.starting.seconds": (None, "5"),
    }
