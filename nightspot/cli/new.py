"""`nightspot new`, `validate` and `schema`: the files of a project of its own, and whether job files are right."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

import nightspot
from nightspot.cli._shared import SMOKE_JOB_FILE, Json, mistakes, print_json
from nightspot.formats.figures import visible
from nightspot.job.errors import Problem
from nightspot.job.from_request import name_of
from nightspot.job.reading import CheckedFile, check_files, load_jobs
from nightspot.job.schema import job_file_schema_text
from nightspot.terminal.lines import console_for

_TEMPLATES = Path(__file__).with_name("project")
# Where each template goes; none has a name that means something where it lies.
_PLACES = {
    "job.yaml": "jobs/@NAME@.yaml",
    "train.py": "training/train.py",
    "Dockerfile": "training/Dockerfile",
    "cdk.json": "cdk.json",
    "requirements.txt": "requirements.txt",
    "gitignore": ".gitignore",
    "pipeline.yml": ".github/workflows/nightspot.yml",
    "README.md": "README.md",
    str(SMOKE_JOB_FILE): "jobs/smoke.yaml",  # the repository's own, which lies elsewhere
}


def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or an empty folder.")],
    *,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The job's name; the folder's by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a project into an empty folder: a job and its training.

    Also the job that `nightspot smoke` runs, and what checks and deploys both; the version of Nightspot is pinned.
    """
    job = name_of(folder.resolve().name) if name is None else name
    if not job or job != name_of(job):
        rule = "must be letters of a to z, digits and -, as the job is called by it"
        raise typer.BadParameter(f"{'DIR' if name is None else '--name'}: {name or folder.name!r}: {rule}")
    if job == SMOKE_JOB_FILE.stem:
        rule = "is the name of the job that tries a fresh deployment: take another"
        raise typer.BadParameter(f"{'DIR' if name is None else '--name'}: {name or folder.name!r}: {rule}")
    if folder.exists() and (not folder.is_dir() or any(each.name != ".git" for each in folder.iterdir())):
        raise typer.BadParameter(f"DIR: {str(folder)!r}: must be a new or an empty folder")
    words = {"@NAME@": job, "@STACK@": f"Nightspot-{job}", "@VERSION@": nightspot.__version__}
    written = []
    with mistakes():
        for template, place in _PLACES.items():
            target = folder / _filled(place, words)
            target.parent.mkdir(parents=True, exist_ok=True)
            text = (_TEMPLATES / template).read_text(encoding="utf-8")
            target.write_text(_filled(text, words), encoding="utf-8")
            written.append(str(target))
        load_jobs(folder / "jobs")
    if as_json:
        print_json({"job": job, "files": written})
        return
    for path in written:
        typer.echo(visible(path))
    typer.echo(visible(f"Next: cd {shlex.quote(str(folder))} && nightspot run jobs/{job}.yaml --local"))


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Job files, or folders of them.")],
    as_json: Json = False,
) -> None:
    """Check job files: every mistake with its field and the rule.

    Warnings do not fail.
    """
    with mistakes():
        # A file that is named twice is not two jobs of one name.
        checked = check_files(dict.fromkeys(files), now=datetime.now(UTC))
        checked += [_no_jobs(path) for path in files if path.is_dir() and not _any_below(path, checked)]
    if as_json:
        print_json([checked_as_json(found) for found in checked])
    else:
        console = console_for()
        for found in checked:
            show_checked(console, found)
    raise typer.Exit(1 if any(has_errors(found) for found in checked) else 0)


def _no_jobs(directory: Path) -> CheckedFile:
    problem = Problem("(file)", repr(directory.name), "holds no job files (*.yaml, *.yml)")
    return CheckedFile(directory, None, (problem,))


def _any_below(directory: Path, checked: list[CheckedFile]) -> bool:
    return any(found.path.parent == directory for found in checked)


def schema() -> None:
    """Print the JSON Schema of job files, for editors."""
    sys.stdout.write(job_file_schema_text())


_STYLES = {"error": "red", "warning": "yellow"}


def has_errors(found: CheckedFile) -> bool:
    """Whether the file is refused."""
    return any(problem.severity == "error" for problem in found.problems)


def show_checked(console: Console, found: CheckedFile) -> None:
    """The file with `ok`, or with its problems below it. Lines are not wrapped, so that they can be searched."""
    line = Text(f"{found.path}: ")
    line.append(*(("errors", "bold red") if has_errors(found) else ("ok", "green")))
    console.print(line, soft_wrap=True)
    for problem in found.problems:
        console.print(Text(f"  {problem.severity}: {problem}", _STYLES[problem.severity]), soft_wrap=True)


def checked_as_json(found: CheckedFile) -> dict[str, Any]:
    """`{file, ok, problems: [{field, value, rule, severity}]}`."""
    return {
        "file": str(found.path),
        "ok": not has_errors(found),
        "problems": [
            {"field": p.field, "value": p.value, "rule": p.rule, "severity": p.severity}
            for p in found.problems
        ],
    }
