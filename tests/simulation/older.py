"""What a version of November 2026 left, ledgers and workflow: a deployment may come while a run goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tests.simulation import asl

OLDER_FIELDS = Path(__file__).parent / "fields_of_2026_11.json"


# What has become other states since. The workflow itself asked SageMaker.
_STATES: Mapping[str, Any] = {
    "Start the training job": {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:sagemaker:createTrainingJob",
        "TimeoutSeconds": 60,
        "Arguments": "{% $merge([$request, $step.request, {'Environment': $merge([$request.Environment, "
        "$step.request.Environment]), 'Tags': $append($request.Tags, $step.request.Tags)}]) %}",
        "Catch": [
            {
                "ErrorEquals": ["States.ALL"],
                "Assign": {"fault": "{% $states.errorOutput %}"},
                "Next": "Decide the next step",
            }
        ],
        "Next": "Wait for news",
    },
}


def older_workflow() -> dict[str, Any]:
    """The definition before training jobs were started by a function."""
    definition: dict[str, Any] = json.loads(asl.WORKFLOW.read_text(encoding="utf-8"))
    states = {**definition["States"], **_STATES}
    del states["Was it started?"]
    return {**definition, "States": states}


def read_workflow(substitutions: Mapping[str, str]) -> asl.Machine:
    """The same, compiled with the names of a deployment filled in."""
    return asl.compile_text(json.dumps(older_workflow()), substitutions)


@cache
def older_fields(record: str) -> frozenset[str]:
    """The names of a record's fields when the list was made."""
    return frozenset(json.loads(OLDER_FIELDS.read_text(encoding="utf-8"))[record])


_NESTED = {
    "run": (
        "Run",
        {
            "rungs": "Rung",
            "attempts": "Attempt",
            "left_out": "LeftOut",
            "progress": "Progress",
            "inherited": "Progress",
        },
    ),
    "step": ("Step", {"rung": "Rung"}),
}


def as_older_code_knows(key: str, value: Any) -> Any:
    """`value`, the "run" or "step" of a function's answer, without the fields that came later."""
    if key not in _NESTED or not isinstance(value, dict):
        return value
    record, nested = _NESTED[key]
    kept = _only(value, record)
    for name, kind in nested.items():
        inner = kept.get(name)
        if isinstance(inner, list):
            kept[name] = [_only(each, kind) for each in inner]
        elif isinstance(inner, dict):
            kept[name] = _only(inner, kind)
    return kept


def _only(value: Mapping[str, Any], record: str) -> dict[str, Any]:
    return {name: inner for name, inner in value.items() if name in older_fields(record)}
