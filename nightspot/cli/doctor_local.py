"""Decides whether this machine can play a night by itself: Python, packages, disk, and the jobs' own commands."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from nightspot.aws.doctor_job_checks import jobs as job_files
from nightspot.aws.doctor_visit import Check, Finding, State, Visit
from nightspot.job import Job
from nightspot.local.process import PYTHON_NAMES

GIB = 2**30
# Nightspot's own: a night of the example leaves some hundred MiB, and a disk that fills up stops it half-way.
LEAST_BYTES = 1 * GIB
EASY_BYTES = 5 * GIB
NEEDED_PYTHON = (3, 11)
# What the local run imports: its package, by the name of the module. They come with nightspot[local].
MODULES: Mapping[str, str] = {
    "boto3": "boto3",
    "jsonata": "jsonata-python",
    "moto": "moto",
    "pydantic": "pydantic",
    "rich": "rich",
    "typer": "typer",
    "yaml": "pyyaml",
}


@dataclass(frozen=True)
class Machine:
    """This machine, as far as a night needs it. `directory`: where commands start; `program`: a path of a name."""

    directory: Path
    python: tuple[int, ...] = field(default_factory=lambda: tuple(sys.version_info[:3]))
    has_module: Callable[[str], bool] = lambda name: find_spec(name) is not None
    free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
    program: Callable[[str], str | None] = shutil.which


def examine_machine(machine: Machine, visit: Visit) -> Iterator[Finding]:
    """What each check of this machine finds. Of `visit`, the job files count; nobody on the network is asked."""
    yield _python(machine)
    yield _packages(machine)
    yield _disk(machine)
    yield from job_files(visit)
    for job in visit.jobs:
        yield _command(machine, job)


def _python(machine: Machine) -> Finding:
    version = ".".join(str(part) for part in machine.python)
    if machine.python[:2] < NEEDED_PYTHON:
        mend = "python3.11 -m venv .venv, and install Nightspot there"
        return Finding(Check.PYTHON, State.PROBLEM, f"{version}; 3.11 or newer is needed", mend)
    return Finding(Check.PYTHON, State.OK, f"{version}; Node.js and Docker are not needed")


def _packages(machine: Machine) -> Finding:
    missing = [package for module, package in MODULES.items() if not machine.has_module(module)]
    if missing:
        found = f"missing: {', '.join(missing)}"
        return Finding(
            Check.PACKAGES, State.PROBLEM, found, 'pip install "nightspot[local]", or make install'
        )
    return Finding(Check.PACKAGES, State.OK, "what the local run needs is installed")


def _disk(machine: Machine) -> Finding:
    free = machine.free_bytes(machine.directory)
    found = f"{free / GIB:.1f} GiB free"
    if free >= EASY_BYTES:
        return Finding(Check.DISK, State.OK, found)
    state = State.PROBLEM if free < LEAST_BYTES else State.WARNING
    rule = f"{EASY_BYTES // GIB} GiB are enough for most jobs' checkpoints"
    return Finding(Check.DISK, state, f"{found}; {rule}", f"make room on the disk of {machine.directory}")


def _command(machine: Machine, job: Job) -> Finding:
    if job.local is None:
        mend = "add local.command to the job file (docs/job-file.md)"
        return Finding(Check.COMMAND, State.WARNING, "the file has no local.command", mend, job.name)
    program, *arguments = job.local.command
    is_python = program in PYTHON_NAMES
    if not is_python and machine.program(program) is None and not (machine.directory / program).is_file():
        found = f"{program!r} is no program here"
        return Finding(Check.COMMAND, State.PROBLEM, found, "install it, or mend local.command", job.name)
    script = _script_of(arguments) if is_python else None
    if script is not None and not (machine.directory / script).is_file():
        found = f"there is no {script} below {machine.directory}"
        mend = "run Nightspot where the script is, or mend local.command"
        return Finding(Check.COMMAND, State.PROBLEM, found, mend, job.name)
    return Finding(Check.COMMAND, State.OK, f"{script or program} is there", subject=job.name)


def _script_of(arguments: list[str]) -> str | None:
    """The file that Python is to run; None where it is a module (-m) or a text (-c), which only Python finds."""
    for argument in arguments:
        if argument in {"-m", "-c", "-"}:
            return None
        if not argument.startswith("-"):
            return argument
    return None
