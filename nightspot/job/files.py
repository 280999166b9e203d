"""Finds job files, reads them, and keeps two of them from describing the same job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from nightspot.job.cautions import warnings_for
from nightspot.job.errors import WHOLE_FILE, InvalidJobError, Problem, problem
from nightspot.job.model import Job
from nightspot.job.reading import parse_job


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
    return parse_job(text, source=str(path), check_request=check_request)


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


def check_files(paths: Iterable[Path], *, check_request: bool = True) -> list[CheckedFile]:
    """Check each file, and each job file of each directory, in order; never raises for what it finds.

    A name that an earlier file has taken is a problem of the later one.
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
        checked.append(CheckedFile(path, job, warnings_for(job)))
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
