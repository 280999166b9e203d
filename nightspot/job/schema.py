"""Decides what editors know of a job file: its JSON Schema (draft 2020-12), made from the models of the job file
and from botocore's model of CreateTrainingJob.

A schema says what each value can be. It never refuses what `nightspot validate` takes; the rules between fields,
the patterns of AWS's texts (in which a `${Name}` may stand) and the time zones are left to that.
https://json-schema.org/draft/2020-12
"""

from __future__ import annotations

import json
from typing import Any

from nightspot.durations import format_duration
from nightspot.job.model import Job
from nightspot.job.request_shape import training_instance_types
from nightspot.job.rules import without_refused
from nightspot.job.schema_texts import DESCRIPTIONS, DURATION, MODELS, ONE_OF, RULES

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
    shape = _input_shape()
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


def _input_shape() -> Any:
    from botocore.loaders import Loader  # noqa: PLC0415 - a megabyte of JSON, only for who makes a schema
    from botocore.model import ServiceModel  # noqa: PLC0415

    service = ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")
    return service.operation_model(_REQUEST).input_shape
