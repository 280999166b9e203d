"""`nightspot doctor`: which account and job files are looked at, or this machine, and what the status says."""

from __future__ import annotations

import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from rich.console import Console
from rich.text import Text

from nightspot import __version__
from nightspot.aws.doctor import Visit, examine
from nightspot.aws.doctor_jobs import jobs as job_files
from nightspot.aws.doctor_visit import Check, CheckFinding, CheckState
from nightspot.cli import account
from nightspot.cli._shared import Json, grouped, print_json, utc_now
from nightspot.client.access import STACK, session_of
from nightspot.job.model import Job
from nightspot.job.reading import CheckedFile, check_files
from nightspot.local.sagemaker.process import PYTHON_NAMES
from nightspot.terminal.lines import console_for

JOBS = Path("jobs")
_STACK = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")  # CloudFormation's own rule


@grouped
def doctor(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help=f"A job file, or a folder of them. [{JOBS}/]")
    ] = None,
    *,
    local: Annotated[
        bool, typer.Option("--local", help="Check this machine instead of AWS: can it play a run?")
    ] = False,
    asked: account.Asked,
    as_json: Json = False,
) -> None:
    """Check everything a run needs, and say how to fix what is wrong.

    Changes nothing.

    Ends with 0 where there is no problem, 1 where there is one, 2 for a mistake in the call.
    """
    given = asked.placeholders
    for option, value in vars(asked).items():
        if local and value:
            raise typer.BadParameter(f"--{option}: {value!r}: means nothing with --local, which asks no AWS")
    account.check_region(asked.region)
    if asked.stack is not None and not _STACK.fullmatch(asked.stack):
        rule = "must be a letter, then letters, digits and hyphens, at most 128"
        raise typer.BadParameter(f"--stack: {asked.stack!r}: {rule}")
    files = _files(file)
    if local:
        found = examine_machine(ThisMachine(Path.cwd()), Visit(None, _no_client, utc_now, files))
    else:
        region, client = _session(asked.profile, asked.region)
        about = (("--region", region), ("--profile", asked.profile))
        found = examine(
            Visit(
                region,
                client,
                utc_now,
                files,
                stack=asked.stack or STACK,
                version=__version__,
                given=given,
                options="".join(f" {option} {value}" for option, value in about if value),
            )
        )
    seen = []
    console = console_for()
    for finding in found:
        seen.append(finding)
        if not as_json:
            show_finding(console, finding)  # at once: the next one may have to wait for AWS
    if as_json:
        print_json(findings_as_json(seen))
    else:
        show_sum(console, seen)
    raise typer.Exit(1 if has_problems(seen) else 0)


def _files(given: Path | None) -> tuple[CheckedFile, ...]:
    """The job files. A default folder that is not there holds none: the rest can still be looked at."""
    path = given or JOBS
    if given is not None and not given.exists():
        raise typer.BadParameter(
            f"FILE: {str(given)!r}: must be a job file or a folder of them: it is not there"
        )
    if not path.exists():
        return ()
    try:
        found = tuple(check_files([path]))
    except OSError as error:
        raise typer.BadParameter(f"FILE: {str(path)!r}: cannot be read: {error.strerror or error}") from error
    if given is not None and not found:
        raise typer.BadParameter(f"FILE: {str(given)!r}: holds no job files (*.yaml, *.yml)")
    return found


def _session(profile: str | None, region: str | None) -> tuple[str | None, Callable[[str], Any]]:
    """The region, None where none is configured, and what gives clients. Raises typer.BadParameter."""
    try:
        session = session_of(profile, region)
    except BotoCoreError as error:
        option = "--profile" if profile else "AWS_PROFILE"
        raise typer.BadParameter(f"{option}: {error}") from error
    # A person waits: without a network, boto3 would try for minutes.
    hasty = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 2})
    return session.region_name, partial(session.client, config=hasty)


def _no_client(service: str) -> Any:
    raise AssertionError(f"nobody asks {service} about this machine")


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
class ThisMachine:
    """This machine, as far as a night needs it. `directory`: where commands start; `program`: a path of a name."""

    directory: Path
    python: tuple[int, ...] = field(default_factory=lambda: tuple(sys.version_info[:3]))
    has_module: Callable[[str], bool] = lambda name: find_spec(name) is not None
    free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
    program: Callable[[str], str | None] = shutil.which


def examine_machine(machine: ThisMachine, visit: Visit) -> Iterator[CheckFinding]:
    """What each check of this machine finds. Of `visit`, the job files count; nobody on the network is asked."""
    yield _python(machine)
    yield _packages(machine)
    yield _disk(machine)
    yield from job_files(visit)
    for job in visit.jobs:
        yield _command(machine, job)


def _python(machine: ThisMachine) -> CheckFinding:
    version = ".".join(str(part) for part in machine.python)
    if machine.python[:2] < NEEDED_PYTHON:
        fix = "python3.11 -m venv .venv, and install Nightspot there"
        return CheckFinding(Check.PYTHON, CheckState.PROBLEM, f"{version}; 3.11 or newer is needed", fix)
    return CheckFinding(Check.PYTHON, CheckState.OK, f"{version}; Node.js and Docker are not needed")


def _packages(machine: ThisMachine) -> CheckFinding:
    missing = [package for module, package in MODULES.items() if not machine.has_module(module)]
    if missing:
        found = f"missing: {', '.join(missing)}"
        return CheckFinding(
            Check.PACKAGES, CheckState.PROBLEM, found, 'pip install "nightspot[local]", or make install'
        )
    return CheckFinding(Check.PACKAGES, CheckState.OK, "what the local run needs is installed")


def _disk(machine: ThisMachine) -> CheckFinding:
    free = machine.free_bytes(machine.directory)
    found = f"{free / GIB:.1f} GiB free"
    if free >= EASY_BYTES:
        return CheckFinding(Check.DISK, CheckState.OK, found)
    state = CheckState.PROBLEM if free < LEAST_BYTES else CheckState.WARNING
    rule = f"{EASY_BYTES // GIB} GiB are enough for most jobs' checkpoints"
    return CheckFinding(
        Check.DISK, state, f"{found}; {rule}", f"make room on the disk of {machine.directory}"
    )


def _command(machine: ThisMachine, job: Job) -> CheckFinding:
    if job.local is not None and job.local.command is None and job.code is not None:
        found = f"{job.code.entry_point} in {job.code.source_dir} is there"
        return CheckFinding(Check.COMMAND, CheckState.OK, found, subject=job.name)
    if job.local is None or job.local.command is None:
        fix = "add local.command to the job file (docs/job-file.md)"
        return CheckFinding(Check.COMMAND, CheckState.WARNING, "the file has no local.command", fix, job.name)
    program, *arguments = job.local.command
    is_python = program in PYTHON_NAMES
    if not is_python and machine.program(program) is None and not (machine.directory / program).is_file():
        found = f"{program!r} is no program here"
        return CheckFinding(
            Check.COMMAND, CheckState.PROBLEM, found, "install it, or fix local.command", job.name
        )
    script = _script_of(arguments) if is_python else None
    if script is not None and not (machine.directory / script).is_file():
        found = f"there is no {script} below {machine.directory}"
        fix = "run Nightspot where the script is, or fix local.command"
        return CheckFinding(Check.COMMAND, CheckState.PROBLEM, found, fix, job.name)
    return CheckFinding(Check.COMMAND, CheckState.OK, f"{script or program} is there", subject=job.name)


def _script_of(arguments: list[str]) -> str | None:
    """The file that Python is to run; None where it is a module (-m) or a text (-c), which only Python finds."""
    for argument in arguments:
        if argument in {"-m", "-c", "-"}:
            return None
        if not argument.startswith("-"):
            return argument
    return None


STYLES: Mapping[CheckState, str] = {
    CheckState.OK: "green",
    CheckState.WARNING: "yellow",
    CheckState.PROBLEM: "bold red",
    CheckState.NOT_CHECKED: "dim",
}
# (one, several), as the sum counts them.
COUNTED: Mapping[CheckState, tuple[str, str]] = {
    CheckState.PROBLEM: ("problem", "problems"),
    CheckState.WARNING: ("warning", "warnings"),
    CheckState.NOT_CHECKED: ("not checked", "not checked"),
    CheckState.OK: ("ok", "ok"),
}
_STATE_CHARACTERS = max(len(state) for state in CheckState)
_CHECK_CHARACTERS = max(len(check) for check in Check)
_INDENT = " " * (_STATE_CHARACTERS + 2 + _CHECK_CHARACTERS + 2)


def show_finding(console: Console, finding: CheckFinding) -> None:
    """One finding. Lines are not wrapped, so that a command can be copied whole."""
    line = Text()
    line.append(f"{finding.state:<{_STATE_CHARACTERS}}  ", STYLES[finding.state])
    line.append(f"{finding.check:<{_CHECK_CHARACTERS}}  ")
    line.append(f"{finding.subject}: {finding.found}" if finding.subject else finding.found)
    console.print(line, soft_wrap=True)
    if finding.fix:
        console.print(Text(f"{_INDENT}fix: {finding.fix}"), soft_wrap=True)


def show_sum(console: Console, findings: Iterable[CheckFinding]) -> None:
    """How many findings came out how, the worst first."""
    counts = Counter(finding.state for finding in findings)
    parts = [
        f"{counts[state]} {names[counts[state] != 1]}" for state, names in COUNTED.items() if counts[state]
    ]
    console.print(
        Text(", ".join(parts), STYLES[CheckState.PROBLEM] if counts[CheckState.PROBLEM] else ""),
        soft_wrap=True,
    )


def findings_as_json(findings: Iterable[CheckFinding]) -> dict[str, Any]:
    """`{ok, checks: [{check, subject, state, found, fix}]}`; `ok`: there is no problem."""
    shown = list(findings)
    return {
        "ok": not has_problems(shown),
        "checks": [
            {
                "check": str(each.check),
                "subject": each.subject or None,
                "state": str(each.state),
                "found": each.found,
                "fix": each.fix or None,
            }
            for each in shown
        ],
    }


def has_problems(findings: Iterable[CheckFinding]) -> bool:
    """Whether the command is to fail."""
    return any(each.state is CheckState.PROBLEM for each in findings)
