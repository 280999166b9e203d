"""The names that a job file may use for what only the deployment knows, such as `s3://${CheckpointBucket}/x`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from nightspot.job.errors import PathPart, Problem, nearest, problem

# What stands in for each name where a request is checked before it is deployed.
SAMPLES: dict[str, str] = {
    "CheckpointBucket": "nightspot-checkpoints",
    "ModelBucket": "nightspot-models",
    "TrainingRoleArn": "arn:aws:iam::123456789012:role/nightspot-training",
    "AWS::AccountId": "123456789012",
    "AWS::Region": "eu-west-1",
    # The account of AWS's own images, its Deep Learning Containers, which differs by region.
    "DlcAccountId": "123456789012",
}

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")


class PlaceholderError(ValueError):
    """A request names something that its deployment does not know."""


def fill(value: Any, names: Mapping[str, str]) -> Any:
    """`value`, a part of a request, with every `${Name}` in its texts replaced.

    Raises PlaceholderError for a name that is not among `names`.
    """
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda match: _known(match[1], names), value)
    if isinstance(value, Mapping):
        return {key: fill(inner, names) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [fill(inner, names) for inner in value]
    return value


def _known(name: str, names: Mapping[str, str]) -> str:
    if name not in names:
        raise PlaceholderError(f"${{{name}}}: is not known here; known are {', '.join(sorted(names))}")
    return names[name]


def unknown_placeholders(value: Any, path: tuple[PathPart, ...] = ("training_job",)) -> Iterator[Problem]:
    """A problem for every name in a request that no deployment knows."""
    if isinstance(value, str):
        for name in _PLACEHOLDER.findall(value):
            if name not in SAMPLES:
                known = ", ".join(f"${{{known}}}" for known in SAMPLES)
                yield problem(path, f"${{{name}}}", f"must be one of {known}{nearest(name, SAMPLES)}")
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from unknown_placeholders(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from unknown_placeholders(inner, (*path, number))
