"""What the handlers read from their environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from nightspot.lambdas.dependencies import read_environment

GOOD = {
    "NIGHTSPOT_TABLE_NAME": "runs",
    "NIGHTSPOT_BUS_NAME": "nights",
    "NIGHTSPOT_ENVIRONMENT": "staging",
    "NIGHTSPOT_JOBS_FILE": "/var/task/jobs.json",
    "AWS_REGION": "eu-west-1",
    "PATH": "/bin",
}


def test_every_variable_is_read():
    environment = read_environment(GOOD)
    assert environment.table_name == "runs"
    assert environment.bus_name == "nights"
    assert environment.environment == "staging"
    assert environment.jobs_file == Path("/var/task/jobs.json")
    assert environment.region == "eu-west-1"


def test_the_jobs_lie_beside_the_handlers_unless_told_otherwise():
    given = {name: value for name, value in GOOD.items() if name != "NIGHTSPOT_JOBS_FILE"}
    assert read_environment(given).jobs_file == Path("jobs.json")


@pytest.mark.parametrize("name", ["NIGHTSPOT_TABLE_NAME", "NIGHTSPOT_BUS_NAME", "AWS_REGION"])
@pytest.mark.parametrize("value", [None, ""], ids=["missing", "empty"])
def test_a_missing_variable_is_named(name, value):
    given = {key: each for key, each in GOOD.items() if key != name}
    if value is not None:
        given[name] = value
    with pytest.raises(ValidationError) as caught:
        read_environment(given)
    assert [error["loc"] for error in caught.value.errors()] == [(name,)]


def test_all_missing_variables_are_named_at_once():
    with pytest.raises(ValidationError) as caught:
        read_environment({})
    assert {error["loc"][0] for error in caught.value.errors()} == {
        "NIGHTSPOT_TABLE_NAME",
        "NIGHTSPOT_BUS_NAME",
        "AWS_REGION",
    }


COUNTS = """
from nightspot.lambdas.observability import count, emit, metrics
for _ in range(2):
    metrics.add_dimensions(job="recommender")
    count("RunStarted")
    emit()
"""


@pytest.mark.parametrize(
    ("variables", "dimensions"),
    [
        ({}, [{"service"}, {"job"}]),
        ({"NIGHTSPOT_ENVIRONMENT": "prod"}, [{"environment", "service"}, {"environment", "job"}]),
    ],
    ids=["without a name", "prod"],
)
def test_what_is_counted_stands_beside_the_environment(variables, dimensions):
    """At each call of one process, and not at the first alone."""
    command = [sys.executable, "-c", COUNTS]
    answer = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    emitted = [json.loads(line) for line in answer.stdout.splitlines()]
    assert len(emitted) == 2
    for document in emitted:
        (group,) = document["_aws"]["CloudWatchMetrics"]
        assert [set(names) for names in group["Dimensions"]] == dimensions
        assert document.get("environment") == variables.get("NIGHTSPOT_ENVIRONMENT")
