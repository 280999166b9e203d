"""What every command shares: its common options, how it prints JSON, and with which exit status it ends."""

from __future__ import annotations

import inspect
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import IntEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_type_hints

import typer

from nightspot.failures.codes import FailureClass
from nightspot.formats.figures import DurationError, parse_duration, visible
from nightspot.job.errors import InvalidJobError
from nightspot.local.stage import night_files, records
from nightspot.record.model import Ending, RunRecord


class ExitStatus(IntEnum):
    """What a command's exit status says. 1 to 7 are other people's to fix, each somebody else's."""

    IN_TIME = 0
    USER = 1
    USAGE = 2
    MARKET = 3
    LATE = 4
    STOPPED = 5
    SERVICE = 6
    REMARKS = 7
    STILL_RUNNING = 124  # as timeout(1) has it
    INTERRUPTED = 130  # as shells count it: 128 + SIGINT


MEANINGS: Mapping[ExitStatus, str] = {
    ExitStatus.IN_TIME: "the model is there in time, or the command did what was asked",
    ExitStatus.USER: "yours to fix: the job, its code, its input, a permission or quota, a run that is not there, "
    "another run of the job that is still running (`concurrency: forbid`)",
    ExitStatus.USAGE: "the options make no sense",
    ExitStatus.MARKET: "the market: no capacity in time, the budget is spent, or Spot alone was allowed",
    ExitStatus.LATE: "the model is there, after the deadline",
    ExitStatus.STOPPED: "a person stopped the run, or a newer run took its place",
    ExitStatus.SERVICE: "AWS: a service fault, an unknown failure, a run that crashed or cannot be followed",
    ExitStatus.REMARKS: "with `--fail-on-remarks`: the model is there, and the evidence says something against it; "
    "of `drill`: it resumes, not to the bit",
    ExitStatus.STILL_RUNNING: "`--timeout` of `run` or `retry` has passed; the run goes on",
    ExitStatus.INTERRUPTED: "Ctrl-C; a deployed run goes on, a local one is stopped",
}

# A run that failed is told by its last attempt's failure, one that still runs by nothing yet.
OF_ENDING: Mapping[Ending, ExitStatus | None] = {
    Ending.IN_TIME: ExitStatus.IN_TIME,
    Ending.LATE: ExitStatus.LATE,
    Ending.FAILED: None,
    Ending.SKIPPED: ExitStatus.MARKET,
    Ending.STOPPED: ExitStatus.STOPPED,
    Ending.REFUSED: ExitStatus.USER,
    Ending.RUNNING: ExitStatus.STILL_RUNNING,
}

OF_FAILURE: Mapping[FailureClass, ExitStatus] = {
    FailureClass.NO_CAPACITY: ExitStatus.MARKET,
    FailureClass.INTERRUPTED: ExitStatus.MARKET,
    FailureClass.WAIT_LIMIT: ExitStatus.MARKET,
    FailureClass.QUOTA_TEMPORARY: ExitStatus.MARKET,
    # Nothing that Nightspot could still buy was in time.
    FailureClass.STOPPED_BY_NIGHTSPOT: ExitStatus.MARKET,
    FailureClass.QUOTA_PERMANENT: ExitStatus.USER,
    FailureClass.RUNTIME_LIMIT: ExitStatus.USER,
    FailureClass.USER_CODE: ExitStatus.USER,
    FailureClass.OUT_OF_MEMORY: ExitStatus.USER,
    FailureClass.CONFIGURATION: ExitStatus.USER,
    FailureClass.PERMISSION: ExitStatus.USER,
    FailureClass.STOPPED_BY_PERSON: ExitStatus.STOPPED,
    FailureClass.THROTTLED: ExitStatus.SERVICE,
    FailureClass.SERVICE_FAULT: ExitStatus.SERVICE,
    FailureClass.UNKNOWN: ExitStatus.SERVICE,
}

# DescribeExecution's status of an execution that is over and recorded no outcome.
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html
OF_EXECUTION: Mapping[str, ExitStatus] = {
    "ABORTED": ExitStatus.STOPPED,
    "FAILED": ExitStatus.SERVICE,
    "TIMED_OUT": ExitStatus.SERVICE,
    "PENDING_REDRIVE": ExitStatus.SERVICE,
    "SUCCEEDED": ExitStatus.SERVICE,
}
# The state `The input was refused` of the workflow ends an execution with it.
REFUSED_INPUT = "Nightspot.InvalidInput"


def of_record(record: RunRecord, *, fail_on_remarks: bool = False) -> ExitStatus:
    """The status of a run, by its record."""
    if record.has_model and fail_on_remarks and record.remarks:
        return ExitStatus.REMARKS  # late or not: nobody should use it unseen
    status = OF_ENDING[record.ending]
    return _of_failed(record) if status is None else status


def of_execution(status: str, error: str | None) -> ExitStatus:
    """The status of an execution that ended without recording an outcome."""
    if error == REFUSED_INPUT:
        return ExitStatus.USER
    return OF_EXECUTION.get(status, ExitStatus.SERVICE)


def _of_failed(record: RunRecord) -> ExitStatus:
    if record.crashed:
        return ExitStatus.SERVICE
    if not record.attempts:
        # Nothing could be bought: quotas leave no rung of the ladder, or else the budget does not.
        is_without_quota = bool(record.left_out) and record.rungs_left == 0
        return ExitStatus.USER if is_without_quota else ExitStatus.MARKET
    failure = record.attempts[-1].failure_class
    # A run that is over has no attempt without an end, unless nobody was left to see it.
    return ExitStatus.SERVICE if failure is None else OF_FAILURE[failure]


# Of the job that tries a fresh deployment: also written into new projects.
SMOKE_JOB_FILE = Path(__file__).parents[1] / "demo" / "jobs" / "smoke.yaml"

PICTURES = (".png", ".svg", ".pdf")

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def grouped(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command as typer sees it: a parameter that is a dataclass of options stands there as these options.

    `Annotated[Group, ("one", "other")]` takes only those of the group.
    """
    seen = inspect.signature(command, eval_str=True)
    parts: list[inspect.Parameter] = []
    groups: dict[str, tuple[type, list[str]]] = {}
    for parameter in seen.parameters.values():
        kind = getattr(parameter.annotation, "__origin__", parameter.annotation)
        if not is_dataclass(kind) or not isinstance(kind, type):
            parts.append(parameter)
            continue
        only = getattr(parameter.annotation, "__metadata__", [[each.name for each in fields(kind)]])[0]
        hints = get_type_hints(kind, include_extras=True)
        options = [each for each in fields(kind) if each.name in only]
        groups[parameter.name] = (kind, [each.name for each in options])
        parts += [
            inspect.Parameter(
                each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[each.name]
            )
            for each in options
        ]

    @wraps(command)
    def called(*arguments: Any, **given: Any) -> Any:
        for name, (kind, options) in groups.items():
            given[name] = kind(**{each: given.pop(each) for each in options if each in given})
        return command(*arguments, **given)

    called.__signature__ = seen.replace(parameters=parts)  # type: ignore[attr-defined]
    return called


@contextmanager
def mistakes(status: ExitStatus = ExitStatus.USER, source: str = "file") -> Iterator[None]:
    """Inside: what the user can fix ends the command with its words and this status, not with a traceback.

    `source`: what a fault without a file's name is about.
    """
    try:
        yield
    except InvalidJobError as error:
        fail(*(f"{error.source}: {problem}" for problem in error.problems), status=status)
    except (night_files.NightError, records.RecordError) as error:
        fail(*str(error).splitlines(), status=status)
    except BrokenPipeError:
        raise  # `| head` has seen enough; click ends quietly
    except OSError as error:
        fail(f"{error.filename or source}: {error.strerror or error}", status=status)


def fail(*lines: str, status: ExitStatus = ExitStatus.USER) -> NoReturn:
    """End the command with these lines on standard error, and this status."""
    for line in lines:
        say(f"error: {line}", err=True, fg="red")
    raise typer.Exit(status)


def agree_to_start(*, yes: bool) -> None:
    """Ask whether to start what has just been priced; end the command where nobody says so."""
    if yes:
        return
    try:
        agreed = typer.confirm("Start it?", err=True)
    except typer.Abort:
        fail("nothing was started: where nobody can answer, say --yes")
    if not agreed:
        fail("nothing was started")


def seconds_of(option: str, text: str) -> int:
    """The seconds of a duration. Raises typer.BadParameter, which names the option, for any other text."""
    try:
        return parse_duration(text)
    except DurationError as error:
        raise typer.BadParameter(f"{option}: {text!r}: {error}") from error


def named(option: str, given: Iterable[str], *, name: str = "NAME") -> dict[str, str]:
    """The values of an option that is given as NAME=VALUE, each name once. Raises typer.BadParameter."""
    values: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{option}: {text!r}: must be {name}=VALUE")
        if key in values:
            raise typer.BadParameter(f"{option}: {key!r}: must be given only once")
        values[key] = value
    return values


def check_file(option: str, path: Path, endings: tuple[str, ...], *, in_folder: bool = False) -> None:
    """Raises typer.BadParameter where no file can be written that ends so; `in_folder`: into a folder that is."""
    if path.suffix.lower() not in endings:
        raise typer.BadParameter(f"{option}: {str(path)!r}: must end in {', '.join(endings)}")
    if path.is_dir():
        raise typer.BadParameter(f"{option}: {str(path)!r}: must be a file, and is a folder")
    if in_folder and not path.absolute().parent.is_dir():
        raise typer.BadParameter(f"{option}: {str(path)!r}: must be in a folder that exists")


def note(text: str) -> None:
    """Say on standard error what does not end the command."""
    say(f"note: {text}", err=True, fg="yellow")


def say(text: str, *, err: bool = False, fg: str | None = None) -> None:
    """Print a line that may hold words of a training script, of AWS or of another person: it steers no terminal."""
    typer.secho(visible(text), err=err, fg=fg)


def utc_now() -> datetime:
    """The real clock."""
    return datetime.now(UTC)


def print_json(value: Any) -> None:
    """Print `value` as JSON and nothing else."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


@contextmanager
def until_told_to_end() -> Iterator[Callable[[], None]]:
    """Inside: SIGINT and SIGTERM end nothing but the wait that this gives; a second one ends it all at once."""
    ended = threading.Event()
    before: dict[signal.Signals, Any] = {}

    def end(_number: int, _frame: object) -> None:
        ended.set()
        for each, handler in before.items():
            signal.signal(each, handler)

    def wait() -> None:
        # Not without a limit: that would keep the signal's handler from running on some platforms.
        while not ended.wait(0.5):
            pass

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, end)
    try:
        yield wait
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
