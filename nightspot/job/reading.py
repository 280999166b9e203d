"""Decides which parts of a job file's text are sound, and lists everything that is wrong at once.

Every section is validated by itself, so that one bad value does not hide the rules that the other
sections break.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nightspot.job.errors import InvalidJobError, Problem, problem
from nightspot.job.model import Job
from nightspot.job.placeholders import SAMPLES, fill, unknown_placeholders
from nightspot.job.rules import Draft, broken_file_rules, broken_rules, without_refused
from nightspot.job.validation import found_by_pydantic, unknown_key
from nightspot.job.yaml_text import read_yaml


def parse_job(text: str, *, source: str = "<string>", check_request: bool = True) -> Job:
    """Return the job that `text` (YAML) describes.

    `source` names the text in the error's note. With `check_request` off, instance types and
    `training_job` are not held against botocore's model: the Lambda runtime may carry an older one,
    and the file was checked when it was deployed. Raises InvalidJobError with every problem found.
    """
    document, problems = read_yaml(text)
    if document is None and problems:
        raise InvalidJobError(problems, source)
    if not isinstance(document, dict):
        raise InvalidJobError([problem((), document, "must be a mapping of fields")], source)
    sections, shape_problems = _sections(document)
    problems += _unspoken(shape_problems, problems)
    problems += _unspoken(_name_problems(sections), problems)
    draft = Draft(**sections)
    problems += _unspoken(broken_file_rules(draft), problems)
    problems += _unspoken(broken_rules(draft), problems)
    if check_request:
        problems += _unspoken(_request_problems(draft), problems)
    if problems:
        raise InvalidJobError(problems, source)
    return Job.model_validate(document, by_alias=True, by_name=False)


def _name_problems(sections: dict[str, Any]) -> list[Problem]:
    """Unknown `${Names}` in the request; the others are filled with samples, so that it can be checked."""
    request = sections.get("training_job")
    problems = list(unknown_placeholders(request))
    if request is not None:
        sections["training_job"] = None if problems else fill(request, SAMPLES)
    return problems


def _unspoken(found: Iterable[Problem], problems: list[Problem]) -> list[Problem]:
    """Those of `found` on fields that have no problem yet: a second voice on a field adds nothing."""
    spoken = {known.field for known in problems}
    return [new for new in found if new.field not in spoken]


def _sections(document: dict[Any, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The sections of `document` that are sound by themselves, by field name, and all problems."""
    sections: dict[str, Any] = {}
    problems: list[Problem] = []
    readers = _readers()
    for key in document:
        if key not in readers:
            problems.append(unknown_key((str(key),), readers))
    for key, (name, required, adapter) in readers.items():
        if key not in document:
            if required:
                problems.append(Problem(key, "nothing", "is required"))
            continue
        try:
            sections[name] = adapter.validate_python(document[key], by_alias=True, by_name=False)
        except ValidationError as error:
            problems += (found_by_pydantic(details, Job, key) for details in error.errors())
    return sections, problems


@cache
def _readers() -> dict[str, tuple[str, bool, TypeAdapter[Any]]]:
    """For each key of a job file: its field's name, whether it is required, and what validates it."""
    return {
        field.alias or name: (name, field.is_required(), TypeAdapter(field.rebuild_annotation()))
        for name, field in Job.model_fields.items()
    }


def _request_problems(draft: Draft) -> list[Problem]:
    # Here, not above: it reads botocore's model, which the Lambda and plain imports do without.
    from nightspot.job import request_shape  # noqa: PLC0415

    problems: list[Problem] = []
    if draft.capacity is not None:
        problems += request_shape.instance_type_problems(draft.capacity)
    if draft.training_job is not None:
        problems += request_shape.request_problems(without_refused(draft.training_job))
    return problems
