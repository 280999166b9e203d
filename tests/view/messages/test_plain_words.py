"""How texts, moments and amounts are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.job.model import Job
from nightspot.view.messages.plain import clean, in_ascii, moment, shortened, span, usd, zone_of

TIME = "2026-11-21T23:30:00+00:00"


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0.0, "$0.00"),
        (1234.5, "$1,234.50"),
        (0.0042, "$0.0042"),
        (-12.0, "-$12.00"),
        (None, "unknown"),
    ],
)
def test_an_amount_is_in_dollars_and_what_is_missing_is_unknown(amount, text):
    assert usd(amount) == text


def test_a_moment_in_another_zone_names_both_and_the_other_day_where_it_is_another():
    assert moment(TIME, "Europe/Paris") == "Sun 22 Nov 2026, 00:30 Europe/Paris (Sat 21 Nov, 23:30 UTC)"
    assert moment("2026-07-01T06:00:00+00:00", "Europe/Dublin") == (
        "Wed 01 Jul 2026, 07:00 Europe/Dublin (06:00 UTC)"
    )


def test_a_moment_in_utc_is_said_once():
    assert moment(TIME, "UTC") == "Sat 21 Nov 2026, 23:30 UTC"
    assert moment("2026-11-22T00:30:00+01:00", "UTC") == "Sat 21 Nov 2026, 23:30 UTC"


def test_what_is_not_known_is_unknown():
    assert (moment(None, "UTC"), span(None)) == ("unknown", "unknown")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("one\ntwo\r\n\tthree", "one two three"),
        ("a\u202egnp.exe", "agnp.exe"),
        ("bell\a and \x1b[31mred", "bell and red"),
        ("half \ud83d", "half"),
        ("zero\u200bwidth", "zerowidth"),
    ],
)
def test_a_text_is_one_line_without_what_confuses_a_program(text, cleaned):
    assert clean(text) == cleaned


def test_accents_are_dropped_and_the_rest_is_a_question_mark():
    assert in_ascii("Zürich 東京") == "Zurich ??"


@given(st.text(), st.integers(min_value=4, max_value=50))
def test_a_shortened_text_is_never_longer_than_asked_for(text, most):
    assert len(shortened(text, most)) <= most


def job(**changes):
    fields = {
        "name": "j",
        "deadline": {"within": "8h"},
        "work": "4h",
        "capacity": {"spot": ["ml.g5.xlarge"]},
        "training_job": {
            "RoleArn": "arn:aws:iam::123456789012:role/training",
            "AlgorithmSpecification": {"TrainingImage": "training:latest", "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": "s3://models/"},
            "ResourceConfig": {"InstanceCount": 1, "VolumeSizeInGB": 50},
            "StoppingCondition": {"MaxRuntimeInSeconds": 21600},
        },
    }
    return Job.model_validate({**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "zone"),
    [
        ({}, "UTC"),
        ({"deadline": {"at": "08:00", "timezone": "Europe/Dublin"}}, "Europe/Dublin"),
        ({"schedule": {"rate": "1 day", "timezone": "Asia/Tokyo"}}, "Asia/Tokyo"),
        (
            {
                "deadline": {"at": "08:00", "timezone": "Europe/Dublin"},
                "schedule": {"rate": "1 day", "timezone": "Asia/Tokyo"},
            },
            "Europe/Dublin",
        ),
    ],
)
def test_people_think_in_the_zone_of_their_deadline_or_else_of_their_schedule(changes, zone):
    assert zone_of(job(**changes)) == zone


def test_a_job_that_is_gone_is_told_of_in_utc():
    assert zone_of(None) == "UTC"
