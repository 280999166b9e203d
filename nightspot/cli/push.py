"""`nightspot push`: the code of a job as it is here, for its next runs, without a deployment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from nightspot.aws.runs import job_code
from nightspot.aws.runs.job_code import CodeArchives, JobCode, PushedCodes
from nightspot.aws.runs.operating import DeployedJobs, DeploymentError
from nightspot.cli import completion
from nightspot.cli import jobs as job_commands
from nightspot.cli._shared import Json, fail, grouped, mistakes, note, print_json
from nightspot.cli.account import Aws
from nightspot.cli.runs.place import Place, Where, operating_mistakes, output
from nightspot.formats.figures import visible
from nightspot.job.code_version import CarriedCode, CodeVersion
from nightspot.job.errors import nearest
from nightspot.job.model import Job
from nightspot.job.reading import load_job, load_jobs
from nightspot.job.source_archive import pack
from nightspot.plan.planning import with_code


@grouped
def push(
    job: Annotated[
        str,
        typer.Argument(
            metavar="JOB", help="A job file, or the name of a job in jobs/.", autocompletion=completion.jobs
        ),
    ],
    *,
    where: Annotated[Where, ("stack", "region", "profile")],
    as_json: Json = False,
) -> None:
    """Upload a job's code: the next run of the deployed job trains with it.

    A run that has begun keeps the code that it began with, in all its attempts. A deployment that brings other
    code ends the push. Without --stack the stack is Nightspot.
    """
    with mistakes(), operating_mistakes():
        here = _job_here(job)
        if here.code is None:
            fail(f"code: {here.name}: its job file must have code, which says what is to be pushed")
        archive = pack(here)
        place = where.deployed()
        aws, stack = place.aws, place.stack
        if aws is None or stack is None:
            raise typer.BadParameter("--stack: must name the stack")
        deployed = _deployed_code(here, aws, stack)
        version = _by(aws, archive.version)
        to = _code_of(place, aws, stack)
        stored = job_code.push(here.name, version, archive.body, deployed, to=to, now=datetime.now(UTC))
    uri = to.archives.uri(here.name, version)
    if as_json:
        print_json({"job": here.name, **asdict(version), "s3_uri": uri, "stored": stored})
        return
    typer.echo(visible(f"The next run of {here.name} trains with {version.words}."))
    typer.echo(visible(f"Archive: {uri}{'' if stored else ' (was there already)'}"))


def _job_here(given: str) -> Job:
    """The job of a file, or of this name in jobs/. Raises InvalidJobError."""
    if given.endswith((".yaml", ".yml")) or "/" in given:
        return load_job(Path(given))
    jobs = load_jobs(job_commands.DEFAULT_FOLDER)
    if given not in jobs:
        known = ", ".join(sorted(jobs)) or "none"
        where = job_commands.DEFAULT_FOLDER
        fail(f"JOB: {given!r}: must be a job file, or a job in {where}: {known}{nearest(given, jobs)}")
    return jobs[given]


def _deployed_code(here: Job, aws: Aws, stack: str) -> CodeVersion:
    """What the push takes the place of; a job that is not deployed with code ends the command."""
    try:
        there = job_commands.deployed(aws, stack)
    except DeploymentError as error:
        fail(f"--stack: {error}")
    if here.name not in there.jobs:
        known = ", ".join(sorted(there.jobs)) or "none"
        fail(f"JOB: {here.name!r}: is not deployed in {stack}, which has {known}: nightspot deploy first")
    if here.name not in there.code:
        fail(f"JOB: {here.name!r}: is deployed in {stack} without code: nightspot deploy first")
    _say_what_is_not_pushed(here, there)
    return there.code[here.name]


def _say_what_is_not_pushed(here: Job, there: DeployedJobs) -> None:
    mine, its = (_described(each) for each in (here, there.jobs[here.name]))
    differing = sorted(name for name in mine if mine[name] != its[name])
    if differing:
        note(f"only code is pushed; deploy to change what the file says of {', '.join(differing)}")


def _described(job: Job) -> dict[str, Any]:
    return job.model_dump(mode="json", by_alias=True, exclude={"code", "local"})


def _by(aws: Aws, version: CodeVersion) -> CodeVersion:
    """The version with who pushes it, such as "user/jo" or "assumed-role/Science/jo"."""
    arn = str(aws.client("sts").get_caller_identity()["Arn"])
    return CodeVersion(**{**asdict(version), "pushed_by": visible(arn.rpartition(":")[2])})


def with_stored_code(job: Job, aws: Aws, stack: str) -> tuple[Job, Callable[[], object]]:
    """A job for one training job of its own: its code in the request, and what puts the archive where it says.

    For a job whose request is filled in. The next run of the deployed job is not touched. Raises InvalidJobError.
    """
    if job.code is None:
        return job, lambda: None
    archive = pack(job)
    archives = CodeArchives(aws.client("s3"), output(aws, stack, "ReportBucket"))
    request = with_code(job.training_job, archive.version, archives.uri(job.name, archive.version))
    with_it = job.model_copy(update={"training_job": request})
    return with_it, lambda: archives.store(job.name, archive.version, archive.body)


def _code_of(place: Place, aws: Aws, stack: str) -> JobCode:
    return JobCode(
        CarriedCode(),
        PushedCodes(aws.client("dynamodb"), str(place.table_name)),
        CodeArchives(aws.client("s3"), output(aws, stack, "ReportBucket")),
    )
