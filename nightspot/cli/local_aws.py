"""`nightspot local aws`: an emulated AWS account on this machine, for a first `cdk deploy` of one's own project."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from nightspot.cli._shared import fail, mistakes, until_told_to_end
from nightspot.cli.deploy import stack_name
from nightspot.job.model import Job
from nightspot.job.reading import load_jobs
from nightspot.local.emulator.account import ACCOUNT_ID, EmulatedAccount, EmulatorError, exports
from nightspot.local.emulator.environment import emulator_python
from nightspot.local.emulator.training import account_that_trains, command_of_jobs
from nightspot.local.serving import PortError, listening

DEPLOY = "nightspot deploy --bootstrap --require-approval never -c nightspot:bundle_for=this-machine"


def aws(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The job files; `jobs` by default.", show_default=False)
    ] = Path("jobs"),
    *,
    port: Annotated[int, typer.Option(metavar="PORT", min=0, help="0 takes any that is free.")] = 4566,
    region: Annotated[str, typer.Option(metavar="REGION", help="Where the account is used.")] = "eu-west-1",
    emulator: Annotated[
        Path | None,
        typer.Option(metavar="PYTHON", help="Of an environment with the emulator; without it, one is made."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON when ready, and nothing else.")
    ] = False,
) -> None:
    """Emulate an AWS account on this machine, to deploy to before the first real one.

    Your own `cdk deploy` brings the whole stack there, and IAM is enforced. SageMaker is simulated: a training job
    runs the job's `local.command` in the current directory, in real time. Ctrl-C ends it and leaves nothing.
    """
    with mistakes():
        jobs = load_jobs(folder)
    with ExitStack() as stack:
        wait = stack.enter_context(until_told_to_end())
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="nightspot-aws-")))
        try:
            python = emulator or emulator_python(lambda line: typer.echo(line, err=True))
            running = account_that_trains(
                python, scratch, command_of_jobs(jobs, Path.cwd()), port=_free(port), region=region
            )
            account, _ = stack.enter_context(running)
        except (EmulatorError, PortError) as error:
            fail(str(error))
        _tell(account, jobs, as_json=as_json)
        wait()


def _free(port: int) -> int:
    """The port, or any that is free for 0. Raises PortError."""
    with listening(port) as listener:
        return int(listener.getsockname()[1])


def _tell(account: EmulatedAccount, jobs: Mapping[str, Job], *, as_json: bool) -> None:
    here = sorted(name for name, job in jobs.items() if job.local is not None)
    run = f"nightspot run {here[0] if here else 'JOB'} --stack {stack_name()} --wait"
    api = f"{account.address}/_aws/execute-api/ID/v1"
    if as_json:
        document = {
            "url": account.url,
            "account": ACCOUNT_ID,
            "region": account.region,
            "environment": account.environment(),
            "deploy": DEPLOY,
            "run": run,
            "api": api,
            "jobs": here,
            "log": str(account.log),
        }
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()
        return
    for name in sorted(set(jobs) - set(here)):
        typer.echo(f"note: {name} has no local.command: its training jobs fail here", err=True)
    typer.echo(
        f"The emulated account {ACCOUNT_ID} is there, in {account.region}. In another terminal, here:\n"
    )
    typer.echo(f"unset AWS_PROFILE AWS_SESSION_TOKEN\n{exports(account.environment())}")
    typer.echo(f"{DEPLOY}\n{run}\n")
    typer.echo("`nightspot runs`, `show`, `watch` and `stop` work there as well, with the same --stack.")
    typer.echo(f"API: {api}, with the ID that the output ApiUrl begins with; requests are signed with SigV4.")
    typer.echo(f"Log: {account.log}. Ctrl-C ends the account, and everything in it.")
