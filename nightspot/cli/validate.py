"""`nightspot validate`: which job files are checked, and whether they pass."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from nightspot.cli._shared import Json, mistakes, print_json
from nightspot.job.errors import Problem
from nightspot.job.reading import CheckedFile, check_files
from nightspot.job.schema import job_file_schema_text
from nightspot.terminal import doctor_text
from nightspot.terminal.lines import console_for


def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Job files, or folders of them.")],
    as_json: Json = False,
) -> None:
    """Check job files: every mistake with its field and the rule.

    Warnings do not fail.
    """
    with mistakes():
        # A file that is named twice is not two jobs of one name.
        checked = check_files(dict.fromkeys(files))
        checked += [_no_jobs(path) for path in files if path.is_dir() and not _any_below(path, checked)]
    if as_json:
        print_json([doctor_text.as_json(found) for found in checked])
    else:
        console = console_for()
        for found in checked:
            doctor_text.show_checked(console, found)
    raise typer.Exit(1 if any(doctor_text.has_errors(found) for found in checked) else 0)


def _no_jobs(directory: Path) -> CheckedFile:
    problem = Problem("(file)", repr(directory.name), "holds no job files (*.yaml, *.yml)")
    return CheckedFile(directory, None, (problem,))


def _any_below(directory: Path, checked: list[CheckedFile]) -> bool:
    return any(found.path.parent == directory for found in checked)


def schema() -> None:
    """Print the JSON Schema of job files, for editors."""
    sys.stdout.write(job_file_schema_text())
