"""Decides what the reference of the job file says: every field with type, default and rule, from the JSON Schema.

The schema is the one that editors get. Examples, and rules between fields, stand here; a test reads the examples
with the reader of job files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nightspot.formats.figures import format_duration
from nightspot.job.schema import DESCRIPTIONS, DURATION, MODELS, RULES, TIME_ZONE, job_file_schema
from nightspot.job.times import LONGEST_SECONDS
from tools.reference_text import block, code, page, plain, table

# Every section below the file itself: where it stands in a file. In the order of the page.
SECTIONS = {
    "Schedule": "schedule",
    "Deadline": "deadline",
    "Capacity": "capacity",
    "InstanceType": "an entry of capacity.spot and capacity.on_demand",
    "ChangeOver": "change_over",
    "Budget": "budget",
    "Local": "local",
}
CHOICES = ("Fallback", "Policy", "Interruptible", "Concurrency")

EXAMPLES: dict[str, str] = {
    "name": "name: recommender",
    "schedule": 'schedule: {cron: "0 0 * * ? *", timezone: Europe/Dublin}',
    "deadline": 'deadline: {at: "08:00", timezone: Europe/Dublin}',
    "work": "work: 4h",
    "checkpoint_every": "checkpoint_every: 30m",
    "capacity": (
        "capacity:\n"
        "  spot: [ml.p4d.24xlarge, {instance_type: ml.g5.48xlarge, speed: 0.45, patience: 20m}]\n"
        "  on_demand: [ml.p4d.24xlarge]"
    ),
    "change_over": "change_over: {spot: 10m, on_demand: 15m}",
    "fallback": "fallback: on_demand",
    "interruptible": "interruptible: from_checkpoint",
    "concurrency": "concurrency: forbid",
    "policy": "policy: patient",
    "budget": "budget: {per_run_usd: 200, per_month_usd: 3000}",
    "training_job": (
        "training_job:\n"
        "  RoleArn: ${TrainingRoleArn}\n"
        "  AlgorithmSpecification:\n"
        "    TrainingImage: ${AWS::AccountId}.dkr.ecr.${AWS::Region}.amazonaws.com/recommender-training:latest\n"
        "    TrainingInputMode: File\n"
        '  OutputDataConfig: {S3OutputPath: "s3://${ModelBucket}/recommender/"}\n'
        '  CheckpointConfig: {S3Uri: "s3://${CheckpointBucket}/recommender/"}\n'
        "  ResourceConfig: {InstanceCount: 1, VolumeSizeInGB: 200}\n"
        "  StoppingCondition: {MaxRuntimeInSeconds: 50400}"
    ),
    "local": (
        "local:\n"
        "  command: [python, examples/recommender/train.py]\n"
        "  time_scale: 480\n"
        '  environment: {RECOMMENDER_SECONDS_PER_EPOCH: "1.25"}'
    ),
}
# Defaults that no schema can hold, because they come from other fields or from past runs.
_DEFAULTS = {
    "Job.checkpoint_every": "`30m`, or `work` where that is shorter",
    "InstanceType.patience": "learnt from past runs, or `30m`",
    "Schedule.cron": "one of the two",
    "Schedule.rate": "one of the two",
    "Deadline.at": "one of the two",
    "Deadline.within": "one of the two",
    "Capacity.spot": "none, where the other is given",
    "Capacity.on_demand": "none, where the other is given",
    "Budget.per_run_usd": "no limit; one of the two is given",
    "Budget.per_month_usd": "no limit; one of the two is given",
    "Job.change_over": "as its fields",
}
_RULES_OF_TEXTS = {
    "Job.name": "lower-case letters, digits and hyphens, a letter or digit at both ends",
    "Schedule.cron": "six fields, bare or as `cron(…)`",
    "Schedule.rate": "a number and `minutes`, `hours` or `days`, bare or as `rate(…)`",
    "Deadline.at": "`HH:MM` or `HH:MM:SS`, quoted",
}
BETWEEN = (
    "`checkpoint_every` is at most `work`.",
    "No instance type stands twice in a market; the first rung has `speed` 1.0; `patience` is at least `5m`.",
    "`policy: eager` and `policy: on_demand` need `fallback: on_demand` and an on-demand rung.",
    "Spot rungs need `training_job.CheckpointConfig.S3Uri`, unless `interruptible: from_start`.",
    "`budget.per_month_usd` is at least `per_run_usd`; with `concurrency: allow` it needs `per_run_usd` beside it.",
    "`StoppingCondition.MaxRuntimeInSeconds` is the most that a run pays for: at least `work`, at most 28 days. "
    "Each attempt gets a limit of its own ([how](../job-file.md#runtime-and-paid-time)).",
)

Schema = dict[str, Any]


def job_file_page() -> str:
    """docs/reference/job-file.md."""
    schema = job_file_schema()
    definitions = schema["$defs"]
    return page(
        "Job file: every field",
        "What the fields are for, and why: [the job file](../job-file.md). For editors: "
        "[the JSON Schema](../job-file.schema.json) of the same, as `nightspot schema` prints it "
        "([how](../init.md#in-the-editor)). Keys that are not named here are refused.",
        f"A *duration* is `4h`, `1h30m`, `45s` or `2d`, or a number of seconds; at most "
        f"{format_duration(LONGEST_SECONDS)}.",
        "## The file",
        _fields("Job", schema),
        *_sections(definitions),
        "## Choices",
        *[f"**{code(name.lower())}**: {MODELS[name]} {_values(definitions[name])}." for name in CHOICES],
        "## Rules between fields",
        "\n".join(f"* {rule}" for rule in BETWEEN),
        "## training_job",
        "The fields of CreateTrainingJob that a job file can have. Each is as AWS writes it, down to the last "
        "field, and held against botocore's model; what is left out here is set by Nightspot, or refused "
        "([the request](../job-file.md#the-request)).",
        _request(definitions),
        "## Overrides",
        "What one run changes, beside `job` in the execution's input or in the body of `POST /jobs/{job}/runs` "
        "([per-run overrides](../job-file.md#per-run-overrides)).",
        _overrides(),
        "## A file with every section",
        block("yaml", example_file()),
    )


def example_file() -> str:
    """The examples of all fields, as one job file."""
    return "\n".join(EXAMPLES.values())


def _sections(definitions: Schema) -> Iterator[str]:
    for name, place in SECTIONS.items():
        yield f"## {place if ' ' not in place else 'Instance types'}"
        yield MODELS[name] + (f" It is {place}." if " " in place else "")
        schema = definitions[name]
        if name == "InstanceType":
            schema = schema["anyOf"][1]
        yield _fields(name, schema)


def _fields(model: str, schema: Schema) -> str:
    required = schema.get("required", ())
    return table(
        ("key", "type", "default", "rule", "meaning", "example"),
        [
            (
                code(key),
                _kind(f"{model}.{key}", field),
                "**required**" if key in required else _default(f"{model}.{key}", field),
                _rule(f"{model}.{key}", field),
                plain(DESCRIPTIONS[f"{model}.{key}"]),
                _example(f"{model}.{key}"),
            )
            for key, field in schema["properties"].items()
        ],
    )


def _kind(path: str, field: Schema) -> str:
    rule = RULES.get(path)
    if rule is DURATION:
        return "duration"
    if rule is TIME_ZONE:
        return "time zone"
    field = _not_null(field)
    reference = field.get("$ref", "").removeprefix("#/$defs/")
    if reference == "InstanceTypeName":
        return "instance type"
    if reference in CHOICES:
        return "choice"
    if reference == "CreateTrainingJob":
        return "[request](#training_job)"
    if reference:
        return f"[section](#{SECTIONS[reference]})"
    if field.get("type") == "array":
        items = field["items"].get("$ref", "")
        return "list of [instance types](#instance-types)" if items else "list of texts"
    if field.get("type") == "object":
        return "mapping of texts"
    return _KINDS[field["type"]]


_KINDS = {
    "string": "text",
    "number": "number",
    "integer": "whole number",
    "boolean": "`true` or `false`",
}


def _not_null(field: Schema) -> Schema:
    """The field's own schema, where it may also be null."""
    kept = [one for one in field.get("anyOf", ()) if one != {"type": "null"}]
    return kept[0] if len(kept) == 1 else field


def _default(path: str, field: Schema) -> str:
    if path in _DEFAULTS:
        return _DEFAULTS[path]
    value = field.get("default")
    if value is None:
        return "none"
    if isinstance(value, bool):
        return code(str(value).lower())
    return code(f"{value:g}" if isinstance(value, float) else value)


def _rule(path: str, field: Schema) -> str:
    field = _not_null(field)
    limits = [
        (field.get("exclusiveMinimum"), "above {}"),
        (field.get("minimum"), "at least {}"),
        (field.get("maximum"), "at most {}"),
        (field.get("maxLength"), "at most {} characters"),
        (field.get("minItems"), "at least {} of them"),
    ]
    words = [_RULES_OF_TEXTS[path]] if path in _RULES_OF_TEXTS else []
    words += [text.format(limit) for limit, text in limits if limit is not None]
    return "; ".join(words)


def _example(path: str) -> str:
    model, _, key = path.partition(".")
    if model == "Job" and "\n" not in EXAMPLES[key]:
        return code(EXAMPLES[key])
    examples = _EXAMPLES_OF_SECTIONS.get(path) or RULES.get(path, {}).get("examples", ())
    return code(examples[0]) if examples else ""


_EXAMPLES_OF_SECTIONS: dict[str, tuple[object, ...]] = {
    "Capacity.spot": ("[ml.p4d.24xlarge]",),
    "Capacity.on_demand": ("[ml.p4d.24xlarge]",),
    "InstanceType.instance_type": ("ml.g5.48xlarge",),
    "InstanceType.speed": (0.45,),
    "Schedule.flexible": ("15m",),
    "Schedule.paused": ("true",),
    "InstanceType.patience": ("20m",),
    "Deadline.within": ("8h",),
    "ChangeOver.spot": ("10m",),
    "ChangeOver.on_demand": ("15m",),
    "Budget.per_run_usd": (200,),
    "Budget.per_month_usd": (3000,),
    "Local.command": ("[python, train.py]",),
    "Local.time_scale": (480,),
    "Local.environment": ('{EPOCHS: "3"}',),
}


def _values(schema: Schema) -> str:
    return ", ".join(code(value) for value in schema["enum"])


def _request(definitions: Schema) -> str:
    request = definitions["CreateTrainingJob"]
    required = request.get("required", ())
    return table(
        ("field", "type", ""),
        [
            (code(name), _shape(field), "required" if name in required else "")
            for name, field in request["properties"].items()
        ],
    )


def _shape(field: Schema) -> str:
    if "$ref" in field:
        return "mapping: " + code(field["$ref"].removeprefix("#/$defs/"))
    if field.get("type") == "array":
        return "list of " + _shape(field["items"]).removeprefix("mapping: ")
    return {"object": "mapping of texts", "string": "text", "integer": "whole number"}.get(
        field.get("type", ""), str(field.get("type", "any"))
    )


# By the fields of `nightspot.job.overrides.Overrides`; a test walks them, and reads each example.
OVERRIDES: dict[str, tuple[str, str, str]] = {
    "market": ("`spot`, `on_demand`, `auto`", "which market this run buys in", '{"market": "spot"}'),
    "instance_types": (
        "list of instance types, or a mapping of two such lists",
        "the ladder of this run",
        '{"instance_types": ["ml.g5.48xlarge"]}',
    ),
    "deadline": (
        "time of day, duration, or a mapping as in the file",
        "when this run's model is due",
        '{"deadline": "6h"}',
    ),
    "hyperparameters": (
        "mapping of texts, numbers, booleans",
        "merged over the job's own",
        '{"hyperparameters": {"epochs": 12}}',
    ),
    "budget": (
        "number, or a mapping with `per_run_usd`",
        "the most that this run may cost",
        '{"budget": 100}',
    ),
    "fallback": ("`on_demand`, `never`", "what follows Spot", '{"fallback": "never"}'),
}


def _overrides() -> str:
    return table(
        ("key", "type", "meaning", "example"),
        [(code(key), kind, meaning, code(example)) for key, (kind, meaning, example) in OVERRIDES.items()],
    )
