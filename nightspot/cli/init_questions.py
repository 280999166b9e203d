"""What `nightspot init` asks where nothing is given to write a job file from, and which answers it takes."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nightspot.formats.figures import parse_duration
from nightspot.job.cautions import enough_runtime_seconds
from nightspot.job.errors import Problem, found_by_pydantic
from nightspot.job.from_request import LIMIT_OVER_WORK, Wishes, deadline_of, schedule_of
from nightspot.job.model import Job, default_checkpoint_seconds
from nightspot.job.request_shape import (
    SAMPLES,
    fill,
    request_problems,
    training_instance_types,
    unknown_placeholders,
)
from nightspot.job.rules import Draft, broken_rules
from nightspot.job.times import LONGEST_SECONDS, Deadline, Schedule

Rule = Callable[[str], str | None]


@dataclass(frozen=True)
class Question:
    """One question; `broken_rule` gives the rule that an answer breaks, None for one that is taken."""

    text: str
    default: str
    broken_rule: Rule


Prompt = Callable[[Question], str]


def ask(prompt: Prompt, wishes: Wishes, taken: Rule) -> tuple[dict[str, Any], Wishes]:
    """The request and the wishes that the answers make; what `wishes` says already is not asked.

    `taken` says why a name cannot be used, None where it can.
    """
    name = wishes.name or prompt(
        Question("Name of the job", "", lambda text: _job("name", text) or taken(text))
    )
    image = prompt(Question("Training image", "", _of_request("AlgorithmSpecification", "TrainingImage")))
    types = prompt(Question("Instance types, the best first", "ml.g5.xlarge", broken_types))
    work = wishes.work or prompt(
        Question("Training time on the first of them", "4h", lambda text: _job("work", text))
    )
    role = prompt(Question("Role of the training job", "${TrainingRoleArn}", _of_request("RoleArn")))
    output = prompt(
        Question(
            "Where models go",
            f"s3://${{ModelBucket}}/{name}/",
            _of_request("OutputDataConfig", "S3OutputPath"),
        )
    )
    data = prompt(Question("Training data in S3, if any", "", broken_data))
    checkpoints = prompt(
        Question(
            "Where checkpoints go; 'none' if the script saves none",
            f"s3://${{CheckpointBucket}}/{name}/",
            broken_checkpoints,
        )
    )
    request = {
        "TrainingJobName": name,
        "RoleArn": role,
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "InputDataConfig": [_channel(data)] if data else [],
        "OutputDataConfig": {"S3OutputPath": output},
        "CheckpointConfig": {} if checkpoints == "none" else {"S3Uri": checkpoints},
        "ResourceConfig": {"InstanceCount": 1, "VolumeSizeInGB": 50},
        "StoppingCondition": {"MaxRuntimeInSeconds": _limit_seconds(work)},
    }
    wishes = replace(wishes, name=name, work=work, instance_types=_listed(types))
    return request, _timed(prompt, wishes)


def _timed(prompt: Prompt, wishes: Wishes) -> Wishes:
    """When it starts, when it must be ready, what happens otherwise, and how it trains here."""
    zone = wishes.timezone or "UTC"
    deadline = wishes.deadline or prompt(
        Question("Ready at a time such as 08:00, or after a time such as 8h", "08:00", broken_deadline)
    )
    schedule = wishes.schedule or prompt(
        Question("Start every day at a time, by a cron or a rate; empty: only by hand", "", broken_schedule)
    )
    if wishes.timezone is None and (schedule or ":" in deadline):
        zone = prompt(Question("Time zone of these times", zone, _broken_zone))
    buys = prompt(Question("Buy on-demand when Spot comes too late (yes or no)", "yes", _broken_choice))
    command = wishes.command or shlex.split(
        prompt(Question("Command that trains on this machine, if any", "", broken_command))
    )
    has_time = bool(schedule) or ":" in deadline
    return replace(
        wishes,
        deadline=deadline,
        schedule=schedule or None,
        timezone=zone if has_time or wishes.timezone else None,
        on_demand=buys == "yes",
        command=tuple(command),
    )


def broken_types(text: str) -> str | None:
    """The rule that a list of instance types breaks: at least one, each once, each known to SageMaker."""
    names = _listed(text)
    unknown = [name for name in names if name not in training_instance_types()]
    if not names:
        return "must name at least one instance type, several with commas between them"
    if unknown:
        return f"{unknown[0]!r}: must be an instance type that SageMaker trains on"
    return "must name each instance type only once" if len(set(names)) < len(names) else None


def broken_data(text: str) -> str | None:
    """The rule that the place of the training data breaks; none is needed."""
    # SageMaker's own pattern takes https:// too, and says no at night.
    if text and not text.startswith("s3://"):
        return "must be s3://bucket/prefix"
    return (
        _first(request_problems({"InputDataConfig": [_channel(text)]}), "InputDataConfig") if text else None
    )


def broken_checkpoints(text: str) -> str | None:
    """The rule that the prefix of the checkpoints breaks; `none` is no prefix."""
    if text == "none":
        return None
    request = {"CheckpointConfig": {"S3Uri": text}}
    unknown = next(unknown_placeholders(request), None)
    if unknown is not None:
        return f"{unknown.value}: {unknown.rule}"
    return _first(broken_rules(Draft(training_job=fill(request, SAMPLES))), "CheckpointConfig.S3Uri")


def broken_deadline(text: str) -> str | None:
    """The rule that a deadline breaks."""
    return _broken(Deadline, deadline_of(text, None, "1h"))


def broken_schedule(text: str) -> str | None:
    """The rule that a schedule breaks; none is needed."""
    return _broken(Schedule, schedule_of(text, None)) if text else None


def broken_command(text: str) -> str | None:
    """The rule that a command breaks. Its words are not repeated: a token may be among them."""
    try:
        words = shlex.split(text)
    except ValueError:
        return "must close the quotes that it opens"
    return None if words or not text else "must hold a word"


def _broken_zone(text: str) -> str | None:
    return _broken(Schedule, {"rate": "1 day", "timezone": text})


def _broken_choice(text: str) -> str | None:
    return None if text in {"yes", "no"} else "must be yes or no"


def _job(key: str, text: str) -> str | None:
    """The rule that a top field of the job file breaks with this value."""
    field = next(field for name, field in Job.model_fields.items() if (field.alias or name) == key)
    try:
        TypeAdapter(field.rebuild_annotation()).validate_python(text)
    except ValidationError as error:
        return found_by_pydantic(error.errors()[0], Job, key).rule
    return None


def _broken(model: type[Deadline] | type[Schedule], value: dict[str, Any]) -> str | None:
    try:
        model.model_validate(value)
    except ValidationError as error:
        return found_by_pydantic(error.errors()[0], model).rule
    return None


def _of_request(*path: str) -> Rule:
    def broken(text: str) -> str | None:
        if not text:
            return "is required"
        request: Any = text
        for key in reversed(path):
            request = {key: request}
        found: list[Problem] = list(unknown_placeholders(request))
        return _first(found or request_problems(fill(request, SAMPLES)), ".".join(path))

    return broken


def _first(problems: list[Problem] | Iterator[Problem], field: str) -> str | None:
    """The rule of the first problem at `field` of the request or below it."""
    return next((found.rule for found in problems if found.field.startswith(f"training_job.{field}")), None)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _limit_seconds(work: str) -> int:
    seconds = parse_duration(work)
    enough = enough_runtime_seconds(seconds, default_checkpoint_seconds(seconds))
    return min(LONGEST_SECONDS, max(enough, int(seconds * LIMIT_OVER_WORK)))


def _channel(uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": "train", "DataSource": {"S3DataSource": source}}
