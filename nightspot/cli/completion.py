"""`nightspot completion`: which shells complete the command line, and what is offered for a job and a run."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

PROGRAM = "nightspot"
VARIABLE = "_NIGHTSPOT_COMPLETE"  # the shell's script asks for what can follow by setting it
JOB_FILES = Path("jobs")
RECORDS = Path("build/runs")
_NAME = re.compile(r"^name:\s*[\"']?(?P<name>[\w-]+)", re.MULTILINE)


class Shell(StrEnum):
    """Shells for which there is a script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[
        Shell | None, typer.Argument(metavar="[bash|zsh|fish]", help="By default the one of $SHELL.")
    ] = None,
) -> None:
    """Print the script that completes commands, options, jobs, runs.

    source <(nightspot completion bash)
    """
    # Of this command alone. typer.completion imports both, and exports them to no type checker.
    from typer._completion_shared import get_completion_script  # noqa: PLC0415

    chosen = shell or shell_of(os.environ.get("SHELL"))
    typer.echo(get_completion_script(prog_name=PROGRAM, complete_var=VARIABLE, shell=chosen.value))


def shell_of(path: str | None) -> Shell:
    """The shell at this path. Raises typer.BadParameter where there is no script for it."""
    name = Path(path or "").name
    if name not in set(Shell):
        raise typer.BadParameter(f"SHELL: {path!r}: must be given as one of {', '.join(Shell)}")
    return Shell(name)


def prepare() -> None:
    """Where a shell is asking, make the answers ready; else nothing, so that a command starts as fast as before."""
    if VARIABLE in os.environ:
        from typer._completion_classes import completion_init  # noqa: PLC0415

        completion_init()


def jobs(incomplete: str) -> list[str]:
    """The names in the job files here that begin so. Reads no more of a file than its name; raises nothing."""
    found = set()
    for path in (*JOB_FILES.glob("*.yaml"), *JOB_FILES.glob("*.yml")):
        try:
            name = _NAME.search(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            continue  # a shell that completes has no place for an error
        if name:
            found.add(name["name"])
    return sorted(name for name in found if name.startswith(incomplete))


def runs(incomplete: str) -> list[str]:
    """The ids of the local records that begin so, newest first."""
    from nightspot.local.stage import records  # noqa: PLC0415

    return [name for name in records.names(RECORDS) if name.startswith(incomplete)]
