"""What a cassette's JSON must have, and what its reader says of what it has not."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from nightspot.cassettes.model import CassetteError, Form, load_cassette, moment, read_cassette, rendered

ANSWER = {
    "TrainingJobStatus": "InProgress",
    "SecondaryStatus": "Starting",
    "SecondaryStatusTransitions": [{"Status": "Starting", "StartTime": moment(0)}],
}


def document(**changes):
    whole = {
        "schema_version": 1,
        "what": "A job that starts.",
        "origin": "by_hand",
        "evidence": "nowhere",
        "entries": [{"t": 0, "source": "describe", "payload": ANSWER}],
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not None}


def entry(**changes):
    return [{"t": 0, "source": "describe", "payload": ANSWER, **changes}]


def test_a_cassette_that_was_written_is_read_again():
    cassette = read_cassette(json.dumps(document()))
    assert read_cassette(cassette.dump()) == cassette
    assert cassette.description["SecondaryStatus"] == "Starting"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"schema_version": 2}, "schema_version: 2: this version reads up to 1", id="newer schema"
        ),
        pytest.param({"origin": "heaven"}, "origin: Input should be 'aws'", id="unknown origin"),
        pytest.param({"what": ""}, "what: String should have at least 1 character", id="says nothing"),
        pytest.param({"colour": "red"}, "colour: Extra inputs are not permitted", id="unknown field"),
        pytest.param({"entries": []}, "entries: a cassette must have at least one", id="no entries"),
        pytest.param({"entries": None}, "entries: Field required", id="entries missing"),
        pytest.param(
            {"entries": entry(t="noon")}, "entries[0].t: Input should be a valid number", id="no number"
        ),
        pytest.param(
            {"entries": entry(payload={"SecondaryStatus": "Starting"})},
            "entries[0]: payload.TrainingJobStatus: is missing; a describe entry must have it",
            id="half a description",
        ),
        pytest.param(
            {"entries": entry(source="s3", payload={"kind": "copy", "key": "a"})},
            "payload.kind: 'copy' must be put or delete",
            id="unknown S3 entry",
        ),
        pytest.param(
            {"entries": [*entry(t=5), *entry(t=3)]},
            "entries[1].t: 3 comes after 5; must be in order",
            id="out of order",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_field_value_and_rule(changes, words):
    with pytest.raises(CassetteError) as caught:
        read_cassette(json.dumps(document(**changes)), "c1.json")
    assert str(caught.value).startswith("c1.json: ")
    assert words in str(caught.value)


def test_a_file_that_is_no_cassette_is_refused_by_its_name(tmp_path):
    broken = tmp_path / "c2.json"
    with pytest.raises(CassetteError, match=r"c2.json: cannot be read: No such file"):
        load_cassette(broken)
    broken.write_text("{")
    with pytest.raises(CassetteError, match=r"c2.json: is not JSON"):
        load_cassette(broken)
    broken.write_text("[]")
    with pytest.raises(CassetteError, match=r"c2.json: list: must be an object"):
        load_cassette(broken)


@pytest.mark.parametrize(
    ("form", "written"),
    [
        (None, datetime(2026, 12, 5, 0, 1, tzinfo=UTC)),
        (Form.MS, 1796428860000),
        (Form.MS_TEXT, "1796428860000"),
        (Form.MS_FRACTION, 1796428860000.5),
        (Form.SECONDS, 1796428860.0),
        (Form.ISO, "2026-12-05T00:01:00+00:00"),
    ],
    ids=lambda value: str(value) if isinstance(value, Form) else "",
)
def test_a_moment_is_played_in_the_form_in_which_it_was_seen(form, written):
    start = datetime(2026, 12, 5, tzinfo=UTC)
    assert rendered({"at": [moment(60, form)]}, start) == {"at": [written]}
