"""The JSON Schema of job files: it knows every field, and never refuses what the rules take."""

import json
import os

import jsonschema
import pytest
import yaml

from nightspot.formats.figures import DurationError, parse_duration
from nightspot.job.model import Job
from nightspot.job.reading import parse_job
from nightspot.job.request_shape import training_instance_types
from nightspot.job.schema import (
    DESCRIPTIONS,
    DIALECT,
    DURATION,
    MODELS,
    ONE_OF,
    RULES,
    job_file_schema,
    job_file_schema_text,
)

RENEW = "NIGHTSPOT_RENEW_SNAPSHOT"


@pytest.fixture(scope="module")
def schema():
    return job_file_schema()


@pytest.fixture(scope="module")
def accepts(schema):
    validator = jsonschema.Draft202012Validator(schema)
    return lambda document: not list(validator.iter_errors(document))


@pytest.fixture
def example(request):
    return yaml.safe_load((request.config.rootpath / "jobs" / "recommender.yaml").read_text(encoding="utf-8"))


def test_it_is_a_schema_of_its_dialect(schema):
    assert schema["$schema"] == DIALECT
    jsonschema.Draft202012Validator.check_schema(schema)


def test_the_copy_in_the_repository_is_the_one_that_is_made(pytestconfig):
    path = pytestconfig.rootpath / "docs" / "job-file.schema.json"
    if os.environ.get(RENEW):
        path.write_text(job_file_schema_text(), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == job_file_schema_text(), (
        "docs/job-file.schema.json is not what the models say any more; renew it with "
        f"{RENEW}=1 .venv/bin/python -m pytest tests/job/test_schema.py"
    )


def test_every_field_and_every_section_has_a_word():
    made = Job.model_json_schema(by_alias=True)
    models = {"Job": made, **made["$defs"]}
    fields = {f"{name}.{key}" for name, model in models.items() for key in model.get("properties", ())}
    assert DESCRIPTIONS.keys() == fields
    assert MODELS.keys() == models.keys()
    assert RULES.keys() <= fields
    assert {f"{name}.{key}" for name, keys in ONE_OF.items() for key in keys} <= fields


def test_no_field_is_the_number_that_its_text_becomes():
    # A duration that is still a bare integer has no rule of its own.
    made = Job.model_json_schema(by_alias=True)
    models = {"Job": made, **made["$defs"]}
    bare = {
        f"{name}.{key}"
        for name, model in models.items()
        for key, field in model.get("properties", {}).items()
        if {"type": "integer"} in field.get("anyOf", [field]) or field.get("type") == "integer"
    }
    assert bare == {path for path, rule in RULES.items() if rule is DURATION}


def test_the_example_passes(accepts, example):
    assert accepts(example)


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": {"rate": "12 hours"}},
        {"schedule": {"cron": "cron(0 0 * * ? *)", "timezone": "Europe/Dublin"}},
        {"schedule": {"cron": "0 0 * * ? *", "paused": True, "flexible": "15m"}},
        {"schedule": None, "budget": None, "local": None},
        {"deadline": {"within": "1h30m"}},
        {"deadline": {"at": None, "within": 28800}},
        {"deadline": {"at": "8:00:30"}},
        {"capacity": {"spot": [{"instance_type": "ml.g5.xlarge", "patience": "5m"}]}, "fallback": "never"},
        {"change_over": {"spot": "10 min"}, "work": 7200, "checkpoint_every": "1h"},
        {"interruptible": "from_start", "concurrency": "allow", "policy": "eager"},
    ],
)
def test_what_the_rules_take_passes(accepts, example, changes):
    document = {**example, **changes}
    parse_job(yaml.safe_dump(document))
    assert accepts(document)


@pytest.mark.parametrize(
    "changes",
    [
        {"nmae": "x"},
        {"name": "Recommender"},
        {"name": "x" * 33},
        {"work": "soon"},
        {"work": 0},
        {"work": True},
        {"schedule": {"cron": "0 0 * * *"}},
        {"schedule": {"rate": "12 fortnights"}},
        {"schedule": {"timezone": "UTC"}},
        {"schedule": {"rate": "1 day", "paused": "yes"}},
        {"schedule": {"rate": "1 day", "flexible": "soon"}},
        {"deadline": {"timezone": "UTC"}},
        {"deadline": {"at": "25:00"}},
        {"capacity": {}},
        {"capacity": {"spot": ["ml.nothing"]}},
        {"capacity": {"spot": [{"instance_type": "ml.g5.xlarge", "speed": 0}]}},
        {"fallback": "nowhere"},
        {"budget": {}},
        {"budget": {"per_run_usd": -1}},
        {"local": {"command": []}},
    ],
)
def test_what_breaks_a_rule_of_one_value_does_not_pass(accepts, example, changes):
    assert not accepts({**example, **changes})


@pytest.mark.parametrize("key", ["name", "deadline", "work", "capacity", "training_job"])
def test_what_is_required_is_missed(accepts, example, key):
    del example[key]
    assert not accepts(example)


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        (None, {"RoleARN": "x"}),
        (None, {"TrainingJobName": "x"}),
        (None, {"EnableManagedSpotTraining": True}),
        (None, {"Environment": {"A": 1}}),
        ("ResourceConfig", {"InstancePreferences": []}),
        ("ResourceConfig", {"VolumeSizeInGB": "50"}),
        ("ResourceConfig", {"InstanceType": "ml.nothing"}),
        ("AlgorithmSpecification", {"TrainingInputMode": "Files"}),
    ],
)
def test_the_request_is_checked_by_aws_own_model(accepts, example, section, changes):
    request = example["training_job"]
    (request if section is None else request[section]).update(changes)
    assert not accepts(example)


@pytest.mark.parametrize(
    "text",
    ["4h", "2d 12h", "3 h 12 min", "90m", "1h30m", "45s", " 4h ", "h", "1.5h", "4", "-4h", "4h1d", "4 hours"],
)
def test_durations_are_those_of_the_reader(text):
    try:
        parse_duration(text)
        readable = True
    except DurationError:
        readable = False
    assert jsonschema.Draft202012Validator(DURATION).is_valid(text) == readable


def test_editors_can_complete_every_instance_type(schema):
    assert set(schema["$defs"]["InstanceTypeName"]["enum"]) == training_instance_types()


def test_defaults_are_said_as_people_write_them(schema):
    assert schema["$defs"]["ChangeOver"]["properties"]["spot"]["default"] == "10min"
    assert schema["properties"]["fallback"]["default"] == "on_demand"


def test_every_reference_leads_somewhere_and_nothing_is_left_over(schema):
    text = json.dumps(schema)
    for name in schema["$defs"]:
        assert f'"#/$defs/{name}"' in text
