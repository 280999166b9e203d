"""Job files read and checked: what in their texts is sound, and everything that is wrong with them at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import TypeAdapter, ValidationError

from nightspot.job.cautions import warnings_for
from nightspot.job.errors import (
    WHOLE_FILE,
    InvalidJobError,
    PathPart,
    Problem,
    describe,
    dotted,
    found_by_pydantic,
    problem,
    unknown_key,
)
from nightspot.job.model import Job
from nightspot.job.request_shape import SAMPLES, fill, unknown_placeholders
from nightspot.job.rules import Draft, broken_file_rules, broken_rules, without_refused

_LARGEST_CHARACTERS = 256 * 1024
_DEEPEST_LEVELS = 100
_TEXT = "tag:yaml.org,2002:str"
_LIST = "tag:yaml.org,2002:seq"
_MAPPING = "tag:yaml.org,2002:map"
_PLAIN_TAGS = frozenset(
    {_TEXT, _LIST, _MAPPING}
    | {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "merge")}
)
_PLAIN_TAG_OF = {yaml.ScalarNode: _TEXT, yaml.SequenceNode: _LIST, yaml.MappingNode: _MAPPING}
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")


class _TooDeepError(Exception):
    """The text is nested deeper than any job; PyYAML would go on to the end of the interpreter's stack."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without dates: a job file has none, and 2026-01-31 is a fine tag value."""

    _level = 0

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute
        first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """PyYAML's, and an error where it is deeper than _DEEPEST_LEVELS."""
        self._level += 1
        if self._level > _DEEPEST_LEVELS:
            raise _TooDeepError
        try:
            return super().compose_node(parent, index)
        finally:
            self._level -= 1


@dataclass
class _Inspection:
    """One pass over the node tree; `seen` keeps shared anchors from being walked again and again."""

    problems: list[Problem] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)


def read_yaml(text: str, most_characters: int = _LARGEST_CHARACTERS) -> tuple[Any, list[Problem]]:
    """Return the document as dicts, lists and scalars, and the problems of its notation.

    Where the notation cannot be read there is no document (None). What can be read in spite of a
    problem is given back as the plain data it looks like, so that the rest can be judged too.
    """
    if len(text) > most_characters:
        size = f"{len(text)} characters"
        return None, [Problem(WHOLE_FILE, size, f"must have at most {most_characters}")]
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None, [Problem(WHOLE_FILE, "nothing", "must hold a job: a mapping of fields")]
            inspection = _Inspection()
            readable = _inspect(node, (), (), inspection)
            document = loader.construct_document(node) if readable else None
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, LookupError, _TooDeepError) as error:
        return None, [_syntax_problem(error)]
    return document, inspection.problems


def _inspect(node: yaml.Node, path: tuple[PathPart, ...], above: tuple[int, ...], found: _Inspection) -> bool:
    """Collect the problems of `node` and below; False where it must not be constructed.

    Takes tags away once they are complained of, so that the safe loader can read the node.
    """
    if id(node) in above:
        found.problems.append(problem(path, None, "an anchor must not contain itself"))
        return False
    if id(node) in found.seen:
        return True
    found.seen.add(id(node))
    above = (*above, id(node))
    if node.tag not in _PLAIN_TAGS:
        rule = "must not have a YAML tag (!…): a job file is plain data"
        found.problems.append(Problem(dotted(path), "a tagged value", rule))
        node.tag = _PLAIN_TAG_OF[type(node)]
    if isinstance(node, yaml.MappingNode):
        return _inspect_mapping(node, path, above, found)
    if isinstance(node, yaml.SequenceNode):
        # First all, then the verdict: every item is looked at, also after a refused one.
        items = [_inspect(item, (*path, n), above, found) for n, item in enumerate(node.value)]
        return all(items)
    if node.tag.endswith((":int", ":float")) and _BASE_60.fullmatch(node.value):
        rule = "must be in quotes if it is a time, or have a unit such as 4h: YAML reads it in base 60"
        found.problems.append(problem(path, node.value, rule))
        node.tag = _TEXT
    return True


def _inspect_mapping(
    node: yaml.MappingNode,
    path: tuple[PathPart, ...],
    above: tuple[int, ...],
    found: _Inspection,
) -> bool:
    lines: dict[str, int] = {}
    readable = True
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            found.problems.append(problem(path, None, "a key must be a plain word"))
            readable = False
            continue
        line = key.start_mark.line + 1
        if key.value in lines:
            rule = f"the key appears twice, on lines {lines[key.value]} and {line}"
            found.problems.append(Problem(dotted((*path, key.value)), describe(key.value), rule))
        lines.setdefault(key.value, line)
        readable &= _inspect(key, (*path, key.value), above, found)
        readable &= _inspect(value, (*path, key.value), above, found)
    return readable


def _syntax_problem(error: Exception) -> Problem:
    if isinstance(error, _TooDeepError):
        return Problem(
            WHOLE_FILE, "a very deep file", f"must not be nested more than {_DEEPEST_LEVELS} levels deep"
        )
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the text"
    # Not str(error): that quotes the line, which may hold a secret. Nor an alias's name: that may
    # be the start of a password without quotes.
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or "a value is unreadable"
    said = re.sub("alias '.*'", "alias", said)
    return Problem(WHOLE_FILE, where, f"is not valid YAML: {said}")


def parse_job(
    text: str, *, source: str = "<string>", check_request: bool = True, folder: Path | None = None
) -> Job:
    """Return the job that `text` (YAML) describes.

    `source` names the text in the error's note; `folder` is where its file is, against which the paths of `code`
    are checked; None: they are not. With `check_request` off, instance types and
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
    if folder is not None:
        problems += _unspoken(_code_problems(draft, folder), problems)
    if problems:
        raise InvalidJobError(problems, source)
    job = Job.model_validate(document, by_alias=True, by_name=False)
    if job.code is None or folder is None:
        return job
    return job.model_copy(update={"code": job.code.beside(folder)})


def _code_problems(draft: Draft, folder: Path) -> Iterable[Problem]:
    if draft.code is None:
        return ()
    from nightspot.job.source_files import source_files  # noqa: PLC0415 - no function has a source to read

    return source_files(draft.code, folder).problems


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
    problems += request_shape.instance_type_problems(draft.capacity, draft.overrides)
    if draft.training_job is not None:
        problems += request_shape.request_problems(without_refused(draft.training_job))
    return problems


class CheckedFile(NamedTuple):
    """What `check_files` found: no job where a problem is an error; warnings leave the job."""

    path: Path
    job: Job | None
    problems: tuple[Problem, ...]


def load_job(path: Path, *, check_request: bool = True) -> Job:
    """Return the job of the file at `path`; see `parse_job`.

    Raises InvalidJobError, also for a file that cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        found = Problem(WHOLE_FILE, repr(path.name), f"cannot be read: {said}")
        raise InvalidJobError([found], str(path)) from error
    return parse_job(text, source=str(path), check_request=check_request, folder=path.parent)


def load_jobs(directory: Path, *, check_request: bool = True) -> dict[str, Job]:
    """Return the jobs of all `*.yaml` and `*.yml` files in `directory`, by name.

    Files need not be called like their jobs. An empty directory holds no jobs. Raises InvalidJobError
    with the problems of all files, each field preceded by its file's name.
    """
    if not directory.is_dir():
        missing = Problem(WHOLE_FILE, repr(directory.name), "must be a directory of job files")
        raise InvalidJobError([missing], str(directory))
    checked = check_files([directory], check_request=check_request)
    errors = [
        replace(found, field=f"{path.name}: {found.field}")
        for path, _, problems in checked
        for found in problems
        if found.severity == "error"
    ]
    if errors:
        raise InvalidJobError(errors, str(directory))
    return {job.name: job for _, job, _ in checked if job is not None}


def check_files(
    paths: Iterable[Path], *, check_request: bool = True, now: datetime | None = None
) -> list[CheckedFile]:
    """Check each file, and each job file of each directory, in order; never raises for what it finds.

    With `now` (aware), schedules that are over are warned of. A name that an earlier file has taken is a problem of
    the later one.
    """
    checked = []
    taken: dict[str, Path] = {}
    for path in _files(paths):
        try:
            job = load_job(path, check_request=check_request)
        except InvalidJobError as error:
            checked.append(CheckedFile(path, None, error.problems))
            continue
        if job.name in taken:
            rule = f"is the name of another job, in {taken[job.name].name}"
            checked.append(CheckedFile(path, None, (problem(("name",), job.name, rule),)))
            continue
        taken[job.name] = path
        checked.append(CheckedFile(path, job, warnings_for(job, now)))
    return checked


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Every file once, also where a directory and one of its files are both named."""
    seen: set[Path] = set()
    for path in paths:
        for file in _job_files(path) if path.is_dir() else [path]:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def _job_files(directory: Path) -> list[Path]:
    # Editors leave hidden copies behind.
    return [
        entry
        for entry in sorted(directory.iterdir())
        if entry.suffix in {".yaml", ".yml"} and not entry.name.startswith(".")
    ]
