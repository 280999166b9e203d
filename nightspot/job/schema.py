"""What editors know of a job file: its JSON Schema (draft 2020-12), made from the models of the job file
and from botocore's model of CreateTrainingJob.

A schema says what each value can be. It never refuses what `nightspot validate` takes; the rules between fields,
the patterns of AWS's texts (in which a `${Name}` may stand) and the time zones are left to that.
https://json-schema.org/draft/2020-12
"""

from __future__ import annotations

import json
from typing import Any

from nightspot.formats.figures import format_duration
from nightspot.formats.run_ids import JOB_NAME_CHARACTERS
from nightspot.job.model import Job
from nightspot.job.request_shape import input_shape, training_instance_types
from nightspot.job.rules import without_refused
from nightspot.job.times import LONGEST_SECONDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REQUEST = "CreateTrainingJob"
_TYPE_NAME = "#/$defs/InstanceTypeName"
_NUMBERS = {"integer": "integer", "long": "integer", "float": "number", "double": "number"}

Schema = dict[str, Any]


def job_file_schema() -> Schema:
    """The schema of a job file as plain data; the same for the same versions of Nightspot and of botocore."""
    root = Job.model_json_schema(by_alias=True)
    models = {"Job": root, **root.pop("$defs")}
    for name, text in MODELS.items():
        models[name]["description"] = text
        models[name].pop("title", None)
    for path, description in DESCRIPTIONS.items():
        model, _, key = path.partition(".")
        fields = models[model]["properties"]
        fields[key] = {**_field(path, fields[key]), "description": description}
    for name, keys in ONE_OF.items():
        models[name]["anyOf"] = [{"required": [key]} for key in keys]
    models["InstanceType"] = _named_or_mapped(models["InstanceType"])
    del models["Job"]
    root["properties"]["training_job"] |= {"$ref": f"#/$defs/{_REQUEST}"}
    return {
        "$schema": DIALECT,
        "title": "Nightspot job file",
        **root,
        "$defs": dict(sorted({**models, **_request_definitions()}.items())),
    }


def job_file_schema_text() -> str:
    """The schema as JSON, as `nightspot schema` prints it and docs/job-file.schema.json holds it."""
    return json.dumps(job_file_schema(), indent=1) + "\n"


def _field(path: str, made: Schema) -> Schema:
    """pydantic's schema of a field, with the rule of its text in place of the type that the text becomes."""
    kept = {key: value for key, value in made.items() if key not in {"title", "default"}}
    rule = RULES.get(path)
    if path == "Job.training_job":
        kept = {}
    elif rule is not None:
        optional = {"type": "null"} in made.get("anyOf", ())
        kept = {"anyOf": [rule, {"type": "null"}]} if optional else dict(rule)
    default = made.get("default")
    if default is not None and not isinstance(default, dict):
        is_duration = rule is DURATION and isinstance(default, int)
        kept["default"] = format_duration(default).replace(" ", "") if is_duration else default
    return kept


def _named_or_mapped(mapping: Schema) -> Schema:
    """An entry of the ladder: a bare name stands for a mapping with only `instance_type`."""
    description = mapping["properties"]["instance_type"]["description"]
    mapping["properties"]["instance_type"] = {"$ref": _TYPE_NAME, "description": description}
    described = {"description": mapping.pop("description")}
    return described | {"anyOf": [{"$ref": _TYPE_NAME}, mapping]}


def _request_definitions() -> dict[str, Schema]:
    """The request and every shape below it, less the fields that Nightspot sets or refuses."""
    definitions: dict[str, Schema] = {"InstanceTypeName": {"enum": sorted(training_instance_types())}}
    definitions[_REQUEST] = {}
    shape = input_shape()
    skeleton = {
        name: dict.fromkeys(getattr(member, "members", {}), 0) or 0 for name, member in shape.members.items()
    }
    kept = without_refused(skeleton)
    made = _structure(shape, definitions)
    definitions[_REQUEST] = _only(made, kept)
    for name, below in kept.items():
        if isinstance(below, dict):
            inner = shape.members[name].name
            definitions[inner] = _only(definitions[inner], below)
    used = _used(definitions[_REQUEST], definitions, {_REQUEST, "InstanceTypeName"})
    return {name: definitions[name] for name in used}


def _only(made: Schema, kept: dict[str, Any]) -> Schema:
    fields = {name: value for name, value in made["properties"].items() if name in kept}
    required = [name for name in made.get("required", ()) if name in kept]
    return {**made, "properties": fields} | ({"required": required} if required else {})


def _used(schema: Any, definitions: dict[str, Schema], seen: set[str]) -> set[str]:
    """The names of the definitions that `schema` leads to, added to `seen`."""
    if isinstance(schema, dict):
        name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
        if name and name not in seen:
            seen.add(name)
            _used(definitions[name], definitions, seen)
        for value in schema.values():
            _used(value, definitions, seen)
    elif isinstance(schema, list):
        for value in schema:
            _used(value, definitions, seen)
    return seen


def _of_shape(shape: Any, definitions: dict[str, Schema]) -> Schema:
    """The schema of one of botocore's shapes; structures go to `definitions`."""
    kind = shape.type_name
    if kind == "structure" and not shape.is_document_type:
        if shape.name not in definitions:
            definitions[shape.name] = {}
            definitions[shape.name] = _structure(shape, definitions)
        return {"$ref": f"#/$defs/{shape.name}"}
    if kind == "list":
        member = _of_shape(shape.member, definitions)
        return {"type": "array", "items": member, **_bounds(shape, "minItems", "maxItems")}
    if kind == "map":
        value = _of_shape(shape.value, definitions)
        return {"type": "object", "additionalProperties": value, **_bounds(shape, "", "maxProperties")}
    if kind in _NUMBERS:
        return {"type": _NUMBERS[kind], **_bounds(shape, "minimum", "maximum")}
    if kind == "string":
        return {"enum": list(shape.enum)} if shape.enum else {"type": "string"}
    return {"type": "boolean"} if kind == "boolean" else {}


def _structure(shape: Any, definitions: dict[str, Schema]) -> Schema:
    fields = {name: _of_shape(member, definitions) for name, member in shape.members.items()}
    required = {"required": list(shape.required_members)} if shape.required_members else {}
    return {"type": "object", "properties": fields, **required, "additionalProperties": False}


def _bounds(shape: Any, least: str, most: str) -> Schema:
    found = {least: shape.metadata.get("min"), most: shape.metadata.get("max")}
    return {key: value for key, value in found.items() if key and value is not None}


DURATION: dict[str, Any] = {
    "anyOf": [
        {
            "type": "string",
            "minLength": 2,
            "pattern": r"^\s*([0-9]{1,9} ?d ?)?([0-9]{1,9} ?h ?)?([0-9]{1,9} ?m(in)? ?)?([0-9]{1,9} ?s)?\s*$",
        },
        {"type": "integer", "minimum": 1, "maximum": LONGEST_SECONDS},
    ],
    "examples": ["4h", "1h30m", "45s", "2d"],
}
TIME_ZONE: dict[str, Any] = {"type": "string", "examples": ["UTC", "Europe/Dublin", "America/New_York"]}

# In place of the plain types that the models end in, once their validators have read the text.
RULES: dict[str, dict[str, Any]] = {
    "Job.name": {
        "type": "string",
        "pattern": "^[a-z0-9](-*[a-z0-9])*$",
        "maxLength": JOB_NAME_CHARACTERS,
    },
    "Job.work": DURATION,
    "Job.checkpoint_every": DURATION,
    "Schedule.cron": {
        "type": "string",
        "pattern": r"^\s*(cron\(\s*\S+(\s+\S+){5}\s*\)|\S+(\s+\S+){5})\s*$",
        "examples": ["0 0 * * ? *", "30 2 ? * MON-FRI *"],
    },
    "Schedule.rate": {
        "type": "string",
        "pattern": r"^\s*(rate\(\s*)?[1-9][0-9]{0,8}\s+(minute|hour|day)s?\s*\)?\s*$",
        "examples": ["1 day", "12 hours"],
    },
    "Schedule.timezone": TIME_ZONE,
    "Schedule.flexible": DURATION,
    "Deadline.at": {
        "type": "string",
        "pattern": "^([01]?[0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$",
        "examples": ["08:00"],
    },
    "Deadline.timezone": TIME_ZONE,
    "Deadline.within": DURATION,
    "InstanceType.patience": DURATION,
    "OverrideLimits.deadline": DURATION,
    "ChangeOver.spot": DURATION,
    "ChangeOver.on_demand": DURATION,
}

# Of these keys a section needs one at least.
ONE_OF: dict[str, tuple[str, ...]] = {
    "Schedule": ("cron", "rate"),
    "Deadline": ("at", "within"),
    "Capacity": ("spot", "on_demand"),
    "Budget": ("per_run_usd", "per_month_usd"),
    "MarketTypes": ("spot", "on_demand"),
    "Tracking": ("mlflow", "wandb"),
}

MODELS: dict[str, str] = {
    "Job": "A training job of Nightspot's.",
    "Schedule": "When runs start by themselves, in EventBridge Scheduler's syntax: a cron or a rate.",
    "Deadline": "When the model must be ready: at a time of day, or so long after the start.",
    "Capacity": "The ladder: instance types per market, best first.",
    "InstanceType": "An instance type by name, or a mapping with its pace and patience.",
    "ChangeOver": "Start-up plus restore in each market, estimated high; used until history takes over.",
    "Budget": "The most that one run, and all runs of a calendar month (UTC), may cost.",
    "OverrideLimits": "What the start of a run may change of the job, and how far.",
    "MarketTypes": "Instance types for each market by itself.",
    "Code": "The training script and the files beside it, which the image fetches from S3 and runs.",
    "Tracking": "The trackers in which all attempts of a run are one run.",
    "Mlflow": "An MLflow tracking server and experiment.",
    "Wandb": "A project of Weights & Biases.",
    "Local": "How to train this job on this machine.",
    "Fallback": "What follows when Spot cannot make the deadline.",
    "Interruptible": "Where training goes on after an interruption.",
    "Concurrency": "What happens to a run that begins while another of the same job is open.",
    "Policy": "How much of the time to the deadline Spot gets.",
}

DESCRIPTIONS: dict[str, str] = {
    "Job.name": "Unique among the job files; it stands in the names of training jobs.",
    "Job.schedule": "When runs start by themselves; without it only by hand, console or API.",
    "Job.deadline": "When the model must be ready: at a time of day, or within a time from the start.",
    "Job.work": "Training time on the first rung, without start-up. A first guess: history takes over.",
    "Job.checkpoint_every": "The most work that an interruption can cost; 30m by default, never longer than work.",
    "Job.capacity": "The ladder, best first: at least one instance type, none twice in a market.",
    "Job.change_over": "Start-up plus restore in each market, estimated high: a run that starts late is late.",
    "Job.fallback": "on_demand: buy on-demand while there is still time for it. never: skip the run.",
    "Job.interruptible": "from_checkpoint: Spot needs CheckpointConfig.S3Uri. from_start: starting over will do.",
    "Job.concurrency": "A run that begins while another is open: forbid refuses it, replace stops the older one, "
    "allow lets both go on.",
    "Job.policy": "patient: Spot as long as on-demand can still be in time. eager: each Spot type gets its "
    "patience once. on_demand: no Spot.",
    "Job.budget": "The most that may be spent; no limit without it.",
    "Job.overrides": "What the start of a run may change of the job, and how far.",
    "Job.tracking": "The trackers in which all attempts of a run are one run.",
    "Job.training_job": "A CreateTrainingJob request as AWS writes it, without what Nightspot sets for each "
    "attempt. https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html",
    "Job.code": "The training script and the files beside it, for an image with SageMaker's training toolkit.",
    "Job.local": "How to train this job on this machine.",
    "Schedule.cron": "Six fields: minutes, hours, day of month, month, day of week, year; "
    "one of the day fields is ?.",
    "Schedule.rate": "A number of minutes, hours or days.",
    "Schedule.timezone": "A zone of the IANA database, for cron.",
    "Schedule.paused": "true: the schedule is deployed disabled, and runs start only by hand or through the API.",
    "Schedule.flexible": "How much later than scheduled a start may come, at Scheduler's choice: whole minutes, "
    "at most 24h. The deadline does not move.",
    "Deadline.at": "The model must be ready when the clocks next show this time. Quoted.",
    "Deadline.timezone": "The zone of `at`, of the IANA database.",
    "Deadline.within": "The model must be ready so long after the start.",
    "Capacity.spot": "Instance types to train on as managed Spot, best first.",
    "Capacity.on_demand": "Instance types to train on on-demand, best first.",
    "InstanceType.instance_type": "An instance type that SageMaker trains on.",
    "InstanceType.speed": "Pace relative to the first rung, which has 1.0.",
    "InstanceType.patience": "How long this type may be waited for before the next one's turn; at least 5m.",
    "ChangeOver.spot": "Start-up plus restore on Spot.",
    "ChangeOver.on_demand": "Start-up plus restore on-demand.",
    "Budget.per_run_usd": "The most that one run may cost over all its attempts, in USD.",
    "Budget.per_month_usd": "The most that all runs of a calendar month (UTC) may cost, in USD; "
    "at least per_run_usd.",
    "OverrideLimits.allow": "The overrides that a start may give; all of them without it.",
    "OverrideLimits.instance_types": "What a start may buy beside the ladder's own: a list for both markets, or a "
    "mapping with lists as spot and on_demand.",
    "OverrideLimits.per_run_usd": "The largest budget of a start, in USD; without it the job's own.",
    "OverrideLimits.deadline": "The longest deadline of a start, counted from it; without it a day, or the job's "
    "own if that is longer.",
    "OverrideLimits.hyperparameters": "The hyperparameters that a start may set; without it all whose names do not "
    "begin with sagemaker_.",
    "MarketTypes.spot": "Instance types to buy as Spot.",
    "MarketTypes.on_demand": "Instance types to buy on-demand.",
    "Code.source_dir": "The folder that travels, from the job file's folder.",
    "Code.entry_point": "The script in source_dir, .py or .sh.",
    "Code.requirements": "A file in source_dir with packages to install, for pip; without it requirements.txt, "
    "if there is one.",
    "Tracking.mlflow": "MLflow: {} where the container's own settings say the rest.",
    "Tracking.wandb": "Weights & Biases: {} where the container's own settings say the rest.",
    "Mlflow.uri": "MLFLOW_TRACKING_URI of the training jobs, without a user or password.",
    "Mlflow.experiment": "MLFLOW_EXPERIMENT_NAME of the training jobs.",
    "Wandb.project": "WANDB_PROJECT of the training jobs.",
    "Wandb.entity": "WANDB_ENTITY of the training jobs: a user or a team.",
    "Wandb.url": "A server of one's own.",
    "Local.command": "How to train, as a list of words; without it the entry point of code is run.",
    "Local.pass_hyperparameters": "false: do not append the hyperparameters to the command, --name value each.",
    "Local.time_scale": "Seconds of the story that pass in one real second.",
    "Local.environment": "Variables for the command; texts, so numbers are quoted.",
}
