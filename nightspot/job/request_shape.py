"""Whether a CreateTrainingJob request has the shape that SageMaker accepts, by botocore's own model of it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from nightspot.job.errors import PathPart, Problem, nearest, problem
from nightspot.job.markets import Market
from nightspot.job.model import Capacity, MarketTypes, OverrideLimits, types_of
from nightspot.job.times import broken_rule

# How a team is named in ${TrainingRoleArn.TEAM}, the role of its jobs.
TEAM = re.compile(r"[a-z](?:-?[a-z0-9]){0,19}")
TEAM_CHARACTERS = "1 to 20 lower-case letters and digits, a letter first, with hyphens between"
_TEAM_ROLE = re.compile(rf"TrainingRoleArn\.({TEAM.pattern})")


class _Samples(dict[str, str]):
    """The names that every deployment knows, and without being counted those of teams' roles."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or team_of(f"${{{name}}}") is not None

    def __missing__(self, name: str) -> str:
        team = team_of(f"${{{name}}}")
        if team is None:
            raise KeyError(name)
        return f"{self['TrainingRoleArn']}-{team}"


def team_of(role: str) -> str | None:
    """ "search" of "${TrainingRoleArn.search}", None of any other text."""
    found = re.fullmatch(rf"\$\{{{_TEAM_ROLE.pattern}\}}", role)
    return found[1] if found else None


# What stands in for each name where a request is checked before it is deployed.
SAMPLES: dict[str, str] = _Samples(
    {
        "CheckpointBucket": "nightspot-checkpoints",
        "ModelBucket": "nightspot-models",
        "TrainingRoleArn": "arn:aws:iam::123456789012:role/nightspot-training",
        "AWS::AccountId": "123456789012",
        "AWS::Region": "eu-west-1",
        # The account of AWS's own images, its Deep Learning Containers, which differs by region.
        "DlcAccountId": "123456789012",
    }
)

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


def placeholders(text: str) -> list[str]:
    """The names in a text, each once: "ModelBucket" of "s3://${ModelBucket}/nightly"."""
    return list(dict.fromkeys(_PLACEHOLDER.findall(text)))


def _known(name: str, names: Mapping[str, str]) -> str:
    if name not in names:
        raise PlaceholderError(f"${{{name}}}: is not known here; known are {', '.join(sorted(names))}")
    return names[name]


def unknown_placeholders(value: Any, path: tuple[PathPart, ...] = ("training_job",)) -> Iterator[Problem]:
    """A problem for every name in a request that no deployment knows."""
    if isinstance(value, str):
        for name in _PLACEHOLDER.findall(value):
            if name.startswith("TrainingRoleArn."):
                if team_of(f"${{{name}}}") is None:
                    yield problem(path, f"${{{name}}}", f"must name its team by {TEAM_CHARACTERS}")
                elif path[-1] != "RoleArn" or team_of(value) is None:
                    # The stack makes a role for who trains as it, and knows no other.
                    yield problem(
                        path, f"${{{name}}}", "must be the whole of training_job.RoleArn, and nowhere else"
                    )
            elif name not in SAMPLES:
                known = ", ".join(f"${{{known}}}" for known in SAMPLES)
                yield problem(path, f"${{{name}}}", f"must be one of {known}{nearest(name, SAMPLES)}")
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from unknown_placeholders(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from unknown_placeholders(inner, (*path, number))


_ROOT = "training_job"
# Set by Nightspot for each attempt: a file that gives them is refused by a rule of its own.
_FILLED_IN = {"TrainingJobName": "nightspot-job"}
_ENOUGH_SUGGESTIONS = 8
_PYTHON_TYPES: dict[str, tuple[Any, str]] = {
    "structure": ((dict,), "must be a mapping"),
    "map": ((dict,), "must be a mapping"),
    "list": ((list, tuple), "must be a list"),
    "string": ((str,), "must be text: put it in quotes"),
    "integer": ((int,), "must be a whole number"),
    "long": ((int,), "must be a whole number"),
    "float": ((int, float), "must be a number"),
    "double": ((int, float), "must be a number"),
    "boolean": ((bool,), "must be true or false"),
}
_Path = tuple[PathPart, ...]


def request_problems(request: Mapping[str, Any], data: Path | None = None) -> list[Problem]:
    """Everything in `request` (without what Nightspot sets) that SageMaker's model refuses.

    `data`: the data folder of a botocore other than the installed one.
    """
    return shape_problems({**request, **_FILLED_IN}, input_shape(data), (_ROOT,))


def instance_type_problems(capacity: Capacity | None, limits: OverrideLimits | None) -> list[Problem]:
    """The types of the ladder, and of those that a start may add, that SageMaker does not train on."""
    known = training_instance_types()
    ladder = [] if capacity is None else [(("capacity", m.value), capacity.rungs_of(m)) for m in Market]
    more = limits.instance_types if limits else None
    by_market = [(("overrides", "instance_types", m.value), types_of(more, m) or ()) for m in Market]
    added = by_market if isinstance(more, MarketTypes) else [(("overrides", "instance_types"), more or ())]
    return [
        problem(
            (*path, n, "instance_type"),
            rung.instance_type,
            "must be an instance type that SageMaker trains on" + nearest(rung.instance_type, known),
        )
        for path, rungs in (*ladder, *added)
        for n, rung in enumerate(rungs)
        if rung.instance_type not in known
    ]


def training_instance_types() -> frozenset[str]:
    """Every instance type in botocore's TrainingInstanceType."""
    resources = input_shape().members["ResourceConfig"]
    return frozenset(resources.members["InstanceType"].enum)


def shape_problems(value: Any, shape: Any, path: _Path) -> list[Problem]:
    """Every way in which `value` is not of `shape` (a botocore Shape)."""
    found = list(_walk(value, shape, path))
    # The walk does not know unions, documents and dates; where it is content, botocore has the last word.
    return found or _last_word(value, shape, path)


@cache
def input_shape(data: Path | None = None) -> Any:
    """CreateTrainingJob's, of botocore's model: of the installed one, or of that in the folder `data`."""
    # The model is a megabyte of JSON: only those who check a request pay for it.
    from botocore.loaders import Loader  # noqa: PLC0415
    from botocore.model import ServiceModel  # noqa: PLC0415

    loader = Loader() if data is None else Loader([str(data)], include_default_search_paths=False)
    service = ServiceModel(loader.load_service_model("sagemaker", "service-2"), "sagemaker")
    return service.operation_model("CreateTrainingJob").input_shape


def _last_word(value: Any, shape: Any, path: _Path) -> list[Problem]:
    from botocore.validate import ParamValidator  # noqa: PLC0415

    report = ParamValidator().validate(value, shape)
    return [problem(path, value, report.generate_report())] if report.has_errors() else []


def _walk(value: Any, shape: Any, path: _Path) -> Iterator[Problem]:
    if shape.type_name not in _PYTHON_TYPES:
        return
    types, rule = _PYTHON_TYPES[shape.type_name]
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        yield problem(path, value, rule)
        return
    yield from _outside_bounds(value, shape, path)
    if shape.type_name == "structure":
        yield from _walk_structure(value, shape, path)
    elif shape.type_name == "map":
        for key, item in value.items():
            inner = (*path, str(key))
            yield from _walk(key, shape.key, inner)
            yield from _walk(item, shape.value, inner)
    elif shape.type_name == "list":
        for n, item in enumerate(value):
            yield from _walk(item, shape.member, (*path, n))
    elif shape.type_name == "string":
        yield from _wrong_text(value, shape, path)


def _walk_structure(value: dict[Any, Any], shape: Any, path: _Path) -> Iterator[Problem]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield problem((*path, name), None, "is required by SageMaker")
    for key, item in value.items():
        if key in shape.members:
            if item is not None or key not in shape.required_members:
                yield from _walk(item, shape.members[key], (*path, key))
            continue
        where = "CreateTrainingJob" if path == (_ROOT,) else str(path[-1])
        rule = f"is not a field of {where}{nearest(str(key), shape.members)}"
        yield problem((*path, str(key)), str(key), rule)


def _outside_bounds(value: Any, shape: Any, path: _Path) -> Iterator[Problem]:
    sized = isinstance(value, str | list | tuple | dict)
    size, unit = (len(value), "long") if sized else (value, "")
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if isinstance(value, bool) or not isinstance(size, int | float):
        return
    if least is not None and size < least:
        yield problem(path, value, f"must be at least {least} {unit}".rstrip())
    if most is not None and size > most:
        yield problem(path, value, f"must be at most {most} {unit}".rstrip())


def _wrong_text(value: str, shape: Any, path: _Path) -> Iterator[Problem]:
    if shape.enum and value not in shape.enum:
        few = len(shape.enum) <= _ENOUGH_SUGGESTIONS
        choice = f"one of {', '.join(shape.enum)}" if few else f"a known {shape.name}"
        yield problem(path, value, f"must be {choice}{nearest(value, shape.enum)}")
    pattern = shape.metadata.get("pattern")
    if pattern and not _matches(pattern, value):
        yield problem(path, value, f"must match {pattern}")


def _matches(pattern: str, value: str) -> bool:
    """Whether all of `value` matches; True for a pattern of Java's that Python cannot compile."""
    try:
        # ASCII, because Java's \d and \w are.
        return re.fullmatch(pattern, value, re.ASCII) is not None
    except re.error:
        return True


# fact: sagemaker.hyperparameters.count
LARGEST_COUNT = 100
# fact: sagemaker.hyperparameters.count
LONGEST_NAME = 256
# fact: sagemaker.hyperparameters.count
LONGEST_VALUE = 2500


def hyperparameter_text(value: object) -> object:
    """Numbers and booleans as JSON writes them: 12, 0.001, 1e-05, true, false. Text stays as it is.

    JSON, because that is what training scripts get from SageMaker's own toolkits. Raises the error of a
    broken rule for a number that JSON does not know, and for what is neither text, number nor boolean.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, bool | int | float):
        raise broken_rule("must be text, a number, true or false")
    if isinstance(value, float) and not math.isfinite(value):
        raise broken_rule("must be a finite number")
    return json.dumps(value)


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise broken_rule("must be one line of text")
    return text


def _known_placeholders(text: str) -> str:
    for unknown in unknown_placeholders(text):
        raise broken_rule(f"{unknown.value} {unknown.rule}")
    return text


_Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_one_line)]
_Value = Annotated[
    str,
    Field(max_length=LONGEST_VALUE),
    BeforeValidator(hyperparameter_text),
    AfterValidator(_one_line),
    AfterValidator(_known_placeholders),
]
HyperParameters = Annotated[dict[_Name, _Value], Field(max_length=LARGEST_COUNT)]
