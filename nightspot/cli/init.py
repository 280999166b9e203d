"""`nightspot init`: what a new job file is drafted from, where it is written, and what is said about it."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from nightspot.cli import init_questions
from nightspot.cli._shared import Json, print_json
from nightspot.job.cautions import warnings_for
from nightspot.job.errors import InvalidJobError, Problem
from nightspot.job.file_text import job_file_text
from nightspot.job.from_request import DraftedJob, Wishes, draft_job, name_of
from nightspot.job.reading import CheckedFile, check_files, parse_job, read_yaml
from nightspot.terminal import doctor_text
from nightspot.terminal.lines import console_for

STANDARD = "-"  # standard input or output


def init(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]",
            help="A CreateTrainingJob request, or what describe-training-job printed, as JSON or YAML; "
            "- reads standard input. Without it, questions are asked.",
        ),
    ] = None,
    *,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The job's name.")] = None,
    schedule: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="02:30 every day, a cron, or a rate such as '12 hours'."),
    ] = None,
    deadline: Annotated[str | None, typer.Option(metavar="WHEN", help="08:00, or 8h from the start.")] = None,
    timezone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Of the schedule and of a deadline at a time of day.")
    ] = None,
    work: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Training time on the first instance type.")
    ] = None,
    command: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="How to train on this machine, as one text.")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Where the job file goes; - prints it. By default jobs/NAME.yaml."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write a job file: by asking, from a CreateTrainingJob request, or from a training job that has run."""
    if as_json and out == STANDARD:
        raise typer.BadParameter("--json and --out - both want standard output: give one of the two")
    wishes = Wishes(name, schedule, deadline, timezone, work, command=_words(command))
    source = "the answers" if file is None else "standard input" if file == STANDARD else file
    try:
        if out not in (None, STANDARD) and not force:
            _refuse_to_overwrite(_target(out, ""))
        given: object
        if file is None:
            given, wishes = _asked(wishes, out, force=force)
        else:
            given = _read(file, source)
        named_after = "" if out in (None, STANDARD) else name_of(Path(out or "").stem)
        draft = draft_job(given, wishes, source=source, named_after=named_after)
        text = job_file_text(draft)
        job = parse_job(text, source=source)
        target = _target(out, job.name)
        if out == STANDARD:
            sys.stdout.write(text)
        else:
            _write(target, text, job.name, force=force)
    except InvalidJobError as error:
        _refuse(*(f"{error.source}: {found}" for found in error.problems))
    except OSError as error:
        _refuse(f"{error.filename or source}: {error.strerror or error}")
    _tell(CheckedFile(target, job, warnings_for(job)), draft, as_json=as_json, aside=out == STANDARD)


def _asked(wishes: Wishes, out: str | None, *, force: bool) -> tuple[dict[str, Any], Wishes]:
    if not on_terminal():
        rule = (
            "nothing to write from: name a FILE (or -) with a CreateTrainingJob request or the output of "
            "describe-training-job; questions are asked only on a terminal"
        )
        raise typer.BadParameter(rule)

    def taken(name: str) -> str | None:
        target = _target(out, name)
        return f"{target} exists already" if out is None and target.exists() and not force else None

    return init_questions.ask(_prompt, wishes, taken)


def on_terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _prompt(question: init_questions.Question) -> str:
    """Asks on standard error, again and again until the answer is one that a job file can hold."""

    def checked(answer: str) -> str:
        rule = question.broken_rule(answer.strip())
        if rule is not None:
            raise typer.BadParameter(rule)
        return answer.strip()

    default = question.default
    answer: str = typer.prompt(
        question.text, default=default, show_default=bool(default), value_proc=checked, err=True
    )
    return answer


def _words(command: str | None) -> tuple[str, ...]:
    if command is None:
        return ()
    rule = init_questions.broken_command(command)
    if rule is not None:
        raise typer.BadParameter(f"--command: a text of {len(command)} characters: {rule}")
    return tuple(shlex.split(command))


def _read(file: str, source: str) -> object:
    """The plain data of a file or of standard input: JSON, else YAML. Raises InvalidJobError and OSError."""
    raw = sys.stdin.buffer.read() if file == STANDARD else Path(file).read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = Problem("(file)", f"{len(raw)} bytes", "must be UTF-8 text")
        raise InvalidJobError([found], source) from error
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        # The AWS command line writes YAML too; YAML's own complaint says line and column of both.
        document, problems = read_yaml(text)
        if problems:
            raise InvalidJobError(problems, source) from None
        return document


def _target(out: str | None, name: str) -> Path:
    return Path(out or f"jobs/{name}.yaml")


def _write(target: Path, text: str, name: str, *, force: bool) -> None:
    if not force:
        _refuse_to_overwrite(target)
    for found in check_files([target.parent]) if target.parent.is_dir() else ():
        if found.job is not None and found.job.name == name and found.path.resolve() != target.resolve():
            rule = f"is the name of another job, in {found.path}; say another with --name"
            raise InvalidJobError([Problem("name", repr(name), rule)], str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def _refuse_to_overwrite(target: Path) -> None:
    if target.exists():
        rule = "exists already: say --force to overwrite it, or another --out"
        raise InvalidJobError([Problem("--out", repr(str(target)), rule)], "nightspot init")


def _refuse(*lines: str) -> NoReturn:
    for line in lines:
        typer.secho(f"error: {line}", err=True, fg="red")
    raise typer.Exit(2)


def _tell(written: CheckedFile, draft: DraftedJob, *, as_json: bool, aside: bool) -> None:
    """What was written and what `nightspot validate` says about it, then what the draft changed; `aside` on
    standard error, where the file itself goes to standard output."""
    if as_json:
        notes = [{"field": note.field, "value": note.value, "rule": note.rule} for note in draft.notes]
        print_json({**doctor_text.as_json(written), "job": draft.document["name"], "notes": notes})
        return
    console = console_for(sys.stderr if aside else None)
    doctor_text.show_checked(console, written._replace(path=Path("standard output")) if aside else written)
    for note in draft.notes:
        console.print(f"  note: {note}", soft_wrap=True)
