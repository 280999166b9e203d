"""Ids that do not collide, and the names of training jobs, read back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from nightspot.formats.run_ids import (
    JOB_NAME_CHARACTERS,
    RUN_ID_CHARACTERS,
    TRAINING_JOB_NAME_CHARACTERS,
    NamedTrainingJob,
    first_run_id_of,
    is_environment,
    is_run_id,
    read_training_job_name,
    run_id_of,
    training_job_name,
)

DAY = datetime(2026, 11, 21, 23, 59, tzinfo=UTC)
ARN = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:recommender-2026-11-21T0000Z"
OLD, NEW = "20261121-d74a4a", "20261121-25feuomo"


def arns(count: int) -> list[str]:
    return [
        f"arn:aws:states:eu-west-1:123456789012:execution:nightspot:run-{number}" for number in range(count)
    ]


def test_100_000_runs_of_one_day_have_ids_of_their_own():
    # The ids of the first versions had about 300 pairs alike among these.
    assert len({first_run_id_of(arn, DAY) for arn in arns(100_000)}) < 100_000
    assert len({run_id_of(arn, DAY) for arn in arns(100_000)}) == 100_000


def test_every_bit_of_an_id_is_used():
    ids = [run_id_of(arn, DAY).partition("-")[2] for arn in arns(2_000)]
    for place in range(8):
        assert len({text[place] for text in ids}) == 32


def test_an_id_begins_with_its_day_and_has_the_length_that_names_are_counted_with():
    run_id = run_id_of(ARN, DAY)
    assert re.fullmatch(r"20261121-[a-z2-7]{8}", run_id)
    assert len(run_id) == RUN_ID_CHARACTERS
    assert run_id < run_id_of(ARN, DAY + timedelta(days=1))
    assert run_id == run_id_of(ARN, DAY - timedelta(hours=23))


@pytest.mark.parametrize(
    "other",
    [
        ARN.replace("recommender", "ranker"),
        ARN.replace(":nightspot:", ":nightspot-staging:"),
        ARN.replace("eu-west-1", "eu-central-1"),
    ],
    ids=["another job", "another deployment", "another region"],
)
def test_another_jobs_or_deployments_execution_has_another_id(other):
    assert run_id_of(ARN, DAY) != run_id_of(other, DAY)


@pytest.mark.parametrize("run_id", [OLD, NEW, run_id_of(ARN, DAY), first_run_id_of(ARN, DAY)])
def test_ids_of_both_forms_are_ids(run_id):
    assert is_run_id(run_id)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20261121",
        "20261121-",
        "20261121-d74a4",
        "20261121-d74a4ab",
        "20261121-25feuom0",
        "20261121-D74A4A",
        "2026-11-21-d74a4a",
        "20261121-d74a4a\n",
        "٢٠٢٦١١٢١-d74a4a",
        "drill-261121-3fa9c",
        f"{NEW}-1",
    ],
    ids=[
        "nothing",
        "a day",
        "no digest",
        "five characters",
        "seven characters",
        "a digit that base32 lacks",
        "upper case",
        "a day with hyphens",
        "a line end",
        "other digits",
        "a drill",
        "an attempt",
    ],
)
def test_what_is_no_id_is_not_taken_for_one(text):
    assert not is_run_id(text)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        (f"nightspot-recommender-{OLD}-1", NamedTrainingJob("recommender", OLD, 1)),
        (f"nightspot-recommender-{NEW}-90", NamedTrainingJob("recommender", NEW, 90)),
        (f"nightspot-fire-drill-{NEW}-2", NamedTrainingJob("fire-drill", NEW, 2)),
        (f"nightspot-x-{OLD}-{NEW}-3", NamedTrainingJob(f"x-{OLD}", NEW, 3)),
        (
            f"nightspot-{'j' * JOB_NAME_CHARACTERS}-{NEW}-90",
            NamedTrainingJob("j" * JOB_NAME_CHARACTERS, NEW, 90),
        ),
        ("nightspot-x-drill-261121-3fa9c-2", NamedTrainingJob("x", "drill-261121-3fa9c", 2)),
        (f"nightspot-prod-recommender-{NEW}-1", NamedTrainingJob("prod-recommender", NEW, 1)),
    ],
    ids=[
        "an old id",
        "a new id",
        "a job called a drill",
        "a job named like a run",
        "the longest name",
        "a drill",
        "an environment",
    ],
)
def test_a_training_jobs_name_is_read_back(name, named):
    assert read_training_job_name(name) == named
    assert named.is_drill == ("drill-261121" in name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "somebody-elses",
        f"nightspot-{NEW}-1",
        f"nightspot-recommender-{NEW}",
        f"nightspot-recommender-{NEW}-",
        f"nightspot-recommender-{NEW}-1234",
        f"nightspot-recommender-{NEW}-1-algo",
        f"xnightspot-recommender-{NEW}-1",
        "nightspot-x-drill-1",
    ],
)
def test_a_name_that_nightspot_did_not_give_has_no_parts(name):
    assert read_training_job_name(name) is None


@pytest.mark.parametrize(
    ("environment", "job", "name"),
    [
        ("", "recommender", f"nightspot-recommender-{NEW}-90"),
        ("prod", "recommender", f"nightspot-prod-recommender-{NEW}-90"),
        ("staging2", "j" * JOB_NAME_CHARACTERS, f"nightspot-staging2-{'j' * 23}-{NEW}-90"),
        ("staging2", f"{'j' * 22}-{'k' * 9}", f"nightspot-staging2-{'j' * 22}-{NEW}-90"),
    ],
    ids=["no environment", "it fits", "cut to fit", "cut at a hyphen"],
)
def test_a_training_job_s_name_fits_sagemaker_whatever_the_job_is_called(environment, job, name):
    assert training_job_name(environment, job, NEW, 90) == name
    assert len(name) <= TRAINING_JOB_NAME_CHARACTERS


@pytest.mark.parametrize("text", ["", "Prod", "pro-d", "2prod", "production", "prod\n", "pröd", "prod "])
def test_what_no_environment_can_be_called(text):
    assert not is_environment(text)


@pytest.mark.parametrize("text", ["p", "prod", "staging2"])
def test_what_an_environment_can_be_called(text):
    assert is_environment(text)
