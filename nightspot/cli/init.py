"""`nightspot init`: what a new job file is drafted from or what is asked for it, and where it is written."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from nightspot.cli._shared import ExitStatus, Json, mistakes, print_json
from nightspot.cli.new import checked_as_json, show_checked
from nightspot.documents.asking import Asked, left_out, request_in, told_by_blanks
from nightspot.documents.opening import open_document
from nightspot.formats.figures import parse_duration
from nightspot.job.cautions import enough_runtime_seconds, warnings_for
from nightspot.job.errors import InvalidJobError, Problem, found_by_pydantic
from nightspot.job.from_request import (
    LIMIT_OVER_WORK,
    DraftedJob,
    Wishes,
    deadline_of,
    draft_job,
    job_file_text,
    name_of,
    schedule_of,
    with_code,
)
from nightspot.job.model import Job, default_checkpoint_seconds
from nightspot.job.places import broken_place
from nightspot.job.reading import CheckedFile, check_files, parse_job
from nightspot.job.request_shape import (
    SAMPLES,
    fill,
    request_problems,
    training_instance_types,
    unknown_placeholders,
)
from nightspot.job.times import LONGEST_SECONDS, Deadline, Schedule
from nightspot.terminal.lines import console_for

STANDARD = "-"  # standard input or output


def init(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]",
            help="A CreateTrainingJob request, what describe-training-job printed, or a document that has one "
            "in it, "
            "as JSON or YAML; - reads standard input. Without it, questions are asked.",
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
    code: Annotated[
        Path | None,
        typer.Option(
            metavar="SCRIPT",
            help="The training script: its folder travels with the deployment, in place of the code that the "
            "request names.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Where the job file goes; - prints it. By default jobs/NAME.yaml."),
    ] = None,
    pick: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which training job, state or step of a file that has several."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write a job file: from a request, a past job, or your answers.

    A CreateTrainingJob request, what describe-training-job printed of a training job that has run, or a document
    with one of them in it: a state machine, a pipeline, a record of CloudTrail, a resource of Kubernetes.
    """
    if as_json and out == STANDARD:
        raise typer.BadParameter("--json and --out - both want standard output: give one of the two")
    wishes = Wishes(name, schedule, deadline, timezone, work, command=_words(command))
    source = "the answers" if file is None else "standard input" if file == STANDARD else file
    with mistakes(ExitStatus.USAGE, source):
        if out not in (None, STANDARD) and not force:
            _refuse_to_overwrite(_target(out, ""))
        if file is None:
            request, wishes = _asked(wishes, out, force=force)
            asked = Asked("", request, (), ())
        else:
            document = open_document(_read(file), source=source)
            asked = request_in(document, pick, source=source)
        named_after = name_of(asked.name) if out in (None, STANDARD) else name_of(Path(out or "").stem)
        draft, text, job = _drafted(asked, wishes, source, named_after, code=code, out=out)
        target = _target(out, job.name)
        if out == STANDARD:
            sys.stdout.write(text)
        else:
            _write(target, text, job.name, force=force)
    warnings = warnings_for(job, datetime.now(UTC))
    _tell(CheckedFile(target, job, warnings), draft, as_json=as_json, aside=out == STANDARD)


def _drafted(
    asked: Asked, wishes: Wishes, source: str, named_after: str, *, code: Path | None, out: str | None
) -> tuple[DraftedJob, str, Job]:
    """The draft, its text and its job. Raises InvalidJobError, which says where a missing value would come from."""
    try:
        draft = draft_job(asked.request, wishes, source=source, named_after=named_after)
        draft = replace(draft, notes=(*asked.notes, *left_out(asked), *draft.notes))
        folder = Path() if out == STANDARD else _target(out, str(draft.document["name"])).parent
        if code is not None:
            source_dir = Path(os.path.relpath(code.parent.absolute(), folder.absolute())).as_posix()
            draft = with_code(draft, {"source_dir": source_dir, "entry_point": code.name})
        text = job_file_text(draft)
        return draft, text, parse_job(text, source=source, folder=folder.absolute())
    except InvalidJobError as error:
        if not asked.blanks:
            raise
        raise InvalidJobError(told_by_blanks(error.problems, asked), source) from error


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

    return ask(_prompt, wishes, taken)


def on_terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _prompt(question: InitQuestion) -> str:
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
    rule = broken_command(command)
    if rule is not None:
        raise typer.BadParameter(f"--command: a text of {len(command)} characters: {rule}")
    return tuple(shlex.split(command))


def _read(file: str) -> bytes:
    return sys.stdin.buffer.read() if file == STANDARD else Path(file).read_bytes()


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


def _tell(written: CheckedFile, draft: DraftedJob, *, as_json: bool, aside: bool) -> None:
    """What was written and what `nightspot validate` says about it, then what the draft changed; `aside` on
    standard error, where the file itself goes to standard output."""
    if as_json:
        notes = [{"field": note.field, "value": note.value, "rule": note.rule} for note in draft.notes]
        print_json({**checked_as_json(written), "job": draft.document["name"], "notes": notes})
        return
    console = console_for(sys.stderr if aside else None)
    show_checked(console, written._replace(path=Path("standard output")) if aside else written)
    for note in draft.notes:
        console.print(f"  note: {note}", soft_wrap=True)


Rule = Callable[[str], str | None]


@dataclass(frozen=True)
class InitQuestion:
    """One question; `broken_rule` gives the rule that an answer breaks, None for one that is taken."""

    text: str
    default: str
    broken_rule: Rule


Prompt = Callable[[InitQuestion], str]


def ask(prompt: Prompt, wishes: Wishes, taken: Rule) -> tuple[dict[str, Any], Wishes]:
    """The request and the wishes that the answers make; what `wishes` says already is not asked.

    `taken` says why a name cannot be used, None where it can.
    """
    name = wishes.name or prompt(
        InitQuestion("Name of the job", "", lambda text: _job("name", text) or taken(text))
    )
    image = prompt(InitQuestion("Training image", "", _of_request("AlgorithmSpecification", "TrainingImage")))
    types = prompt(InitQuestion("Instance types, the best first", "ml.g5.xlarge", broken_types))
    work = wishes.work or prompt(
        InitQuestion("Training time on the first of them", "4h", lambda text: _job("work", text))
    )
    role = prompt(InitQuestion("Role of the training job", "${TrainingRoleArn}", _of_request("RoleArn")))
    output = prompt(
        InitQuestion(
            "Where models go",
            f"s3://${{ModelBucket}}/{name}/",
            lambda text: _broken_place(text) if text else "is required",
        )
    )
    data = prompt(InitQuestion("Training data in S3, if any", "", broken_data))
    checkpoints = prompt(
        InitQuestion(
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
        InitQuestion("Ready at a time such as 08:00, or after a time such as 8h", "08:00", broken_deadline)
    )
    schedule = wishes.schedule or prompt(
        InitQuestion(
            "Start every day at a time, by a cron or a rate; empty: only by hand", "", broken_schedule
        )
    )
    if wishes.timezone is None and (schedule or ":" in deadline):
        zone = prompt(InitQuestion("Time zone of these times", zone, _broken_zone))
    buys = prompt(InitQuestion("Buy on-demand when Spot comes too late (yes or no)", "yes", _broken_choice))
    command = wishes.command or shlex.split(
        prompt(InitQuestion("Command that trains on this machine, if any", "", broken_command))
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
    return _broken_place(text) if text else None


def broken_checkpoints(text: str) -> str | None:
    """The rule that the prefix of the checkpoints breaks; `none` is no prefix."""
    return None if text == "none" else _broken_place(text, needs_prefix=True)


def _broken_place(text: str, *, needs_prefix: bool = False) -> str | None:
    unknown = next(unknown_placeholders(text), None)
    if unknown is not None:
        return f"{unknown.value}: {unknown.rule}"
    return broken_place(fill(text, SAMPLES), needs_prefix=needs_prefix)


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
