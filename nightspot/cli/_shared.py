"""What every command shares: its common options, how it prints JSON, and how a mistake ends it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from nightspot.cli.exit_status import ExitStatus
from nightspot.formats.figures import DurationError, parse_duration, visible
from nightspot.job.errors import InvalidJobError
from nightspot.local.stage import night_files, records

PICTURES = (".png", ".svg", ".pdf")

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


@contextmanager
def mistakes() -> Iterator[None]:
    """Inside: what the user can fix ends the command with its words and status 1, not with a traceback."""
    try:
        yield
    except InvalidJobError as error:
        fail(*(f"{error.source}: {problem}" for problem in error.problems))
    except (night_files.NightError, records.RecordError) as error:
        fail(*str(error).splitlines())
    except BrokenPipeError:
        raise  # `| head` has seen enough; click ends quietly
    except OSError as error:
        fail(f"{error.filename or 'file'}: {error.strerror or error}")


def fail(*lines: str, status: ExitStatus = ExitStatus.USER) -> NoReturn:
    """End the command with these lines on standard error, and this status."""
    for line in lines:
        say(f"error: {line}", err=True, fg="red")
    raise typer.Exit(status)


def seconds_of(option: str, text: str) -> int:
    """The seconds of a duration. Raises typer.BadParameter, which names the option, for any other text."""
    try:
        return parse_duration(text)
    except DurationError as error:
        raise typer.BadParameter(f"{option}: {text!r}: {error}") from error


def check_file(option: str, path: Path, endings: tuple[str, ...]) -> None:
    """Raises typer.BadParameter where no file that ends so can be written there."""
    if path.suffix.lower() not in endings:
        raise typer.BadParameter(f"{option}: {str(path)!r}: must end in {', '.join(endings)}")
    if path.is_dir():
        raise typer.BadParameter(f"{option}: {str(path)!r}: must be a file, and is a folder")


def check_folder_of(option: str, path: Path) -> None:
    """Raises typer.BadParameter where the folder of a file is not there."""
    if not path.absolute().parent.is_dir():
        raise typer.BadParameter(f"{option}: {str(path)!r}: must be in a folder that exists")


def note(text: str) -> None:
    """Say on standard error what does not end the command."""
    say(f"note: {text}", err=True, fg="yellow")


def say(text: str, *, err: bool = False, fg: str | None = None) -> None:
    """Print a line that may hold words of a training script, of AWS or of another person: it steers no terminal."""
    typer.secho(visible(text), err=err, fg=fg)


def print_json(value: Any) -> None:
    """Print `value` as JSON and nothing else."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
