"""What the API's document says of overrides: the JSON Schema of all their forms, the short ones included.

pydantic's own schema knows only what the short forms become. The rules between fields are `nightspot.job`'s.
"""

from __future__ import annotations

from typing import Any

from nightspot.job.markets import Fallback, MarketChoice
from nightspot.job.request_shape import LARGEST_COUNT, LONGEST_NAME, LONGEST_VALUE

Schema = dict[str, Any]

_DURATION: Schema = {
    "anyOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 1}],
    "description": 'A duration such as "6h" or "1h30m", or whole seconds.',
    "examples": ["6h"],
}
_TYPE_NAME: Schema = {
    "type": "string",
    "pattern": r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$",
    "examples": ["ml.g5.xlarge"],
}
_USD: Schema = {"type": "number", "exclusiveMinimum": 0}


def _mapping(properties: Schema, **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


def _or_null(*schemas: Schema, description: str) -> Schema:
    return {"anyOf": [*schemas, {"type": "null"}], "description": description}


_RUNG: Schema = {
    "anyOf": [
        _TYPE_NAME,
        _mapping(
            {
                "instance_type": _TYPE_NAME,
                "speed": {"type": "number", "exclusiveMinimum": 0, "maximum": 100},
                "patience": {"anyOf": [_DURATION, {"type": "null"}]},
            },
            required=["instance_type"],
        ),
    ]
}
_RUNGS: Schema = {"type": "array", "items": _RUNG, "minItems": 1}

OVERRIDES: Schema = {
    **_mapping(
        {
            "market": _or_null(
                {"enum": [choice.value for choice in MarketChoice]},
                description="spot buys Spot or nothing, on_demand buys no Spot, auto is the job's own ladder.",
            ),
            "instance_types": _or_null(
                _RUNGS,
                _mapping(
                    {name: {"anyOf": [_RUNGS, {"type": "null"}]} for name in ("spot", "on_demand")},
                    minProperties=1,
                ),
                description="Instance types, best first: for every market in use, or for each by itself.",
            ),
            "deadline": _or_null(
                _DURATION,
                {"type": "string", "pattern": "^[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?$", "examples": ["07:00"]},
                _mapping(
                    {
                        "at": {"anyOf": [{"type": "string", "examples": ["07:00"]}, {"type": "null"}]},
                        "timezone": {"type": "string", "examples": ["Europe/Dublin"]},
                        "within": {"anyOf": [_DURATION, {"type": "null"}]},
                    }
                ),
                description="When the model must be ready: a time of day, or a duration from the start.",
            ),
            "hyperparameters": _or_null(
                {
                    "type": "object",
                    "maxProperties": LARGEST_COUNT,
                    "propertyNames": {"minLength": 1, "maxLength": LONGEST_NAME},
                    "additionalProperties": {
                        "anyOf": [
                            {"type": "string", "maxLength": LONGEST_VALUE},
                            {"type": "number"},
                            {"type": "boolean"},
                        ]
                    },
                },
                description="Merged over the job's. They are stored and shown: no place for secrets.",
            ),
            "budget": _or_null(
                _USD,
                _mapping({"per_run_usd": _USD}, required=["per_run_usd"]),
                description="The most that this run may cost, in US dollars.",
            ),
            "fallback": _or_null(
                {"enum": [fallback.value for fallback in Fallback]},
                description="What follows when Spot cannot make the deadline.",
            ),
        }
    ),
    "title": "RunOverrides",
    "description": "What one run does otherwise than its job file says.",
}
