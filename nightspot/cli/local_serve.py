"""`nightspot local serve`: which jobs, night and port the API on this machine has, and how it ends."""

from __future__ import annotations

import getpass
import json
import socket
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Annotated, TextIO

import typer

from nightspot.aws.prices import load_price_book
from nightspot.cli import local_aws
from nightspot.cli import night as nights
from nightspot.cli._shared import fail, mistakes, until_told_to_end
from nightspot.job.reading import load_jobs
from nightspot.local import serving
from nightspot.local.served_runs import KeptRun, ServedRuns
from nightspot.local.serving import Playable, api_of, as_user
from nightspot.local.stage import staging
from nightspot.local.stage.night_files import Night
from nightspot.local.stage.session import LocalAws, Sighting

USER_ARN = "arn:aws:iam::123456789012:user/local"
LAST_PORT = 65_535
ACCESS_KEY = "AKIANIGHTSPOTLOCAL00"

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)


@app.callback()
def local() -> None:
    """What runs on this machine alone; AWS is not asked."""


app.command("aws")(local_aws.aws)


@app.command()
def serve(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The job files; `jobs` by default.", show_default=False)
    ] = Path("jobs"),
    *,
    port: Annotated[int, typer.Option(metavar="PORT", help="0 takes any that is free.")] = 8787,
    night: nights.NightName = None,
    time_scale: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Seconds of the story in a real one, from 1 on; without it, the slowest of the jobs' own.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="For the mishaps, and the jobs' hyperparameter `seed`.")
    ] = None,
    build: nights.Build = Path("build"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON when ready, and nothing else.")
    ] = False,
) -> None:
    """Serve the API on this machine: a run that is started here trains here, in an emulated AWS.

    Training commands run in the current directory. Ctrl-C ends the server and every run that is going on.
    """
    nights.check_scale(time_scale)
    if not 0 <= port <= LAST_PORT:
        raise typer.BadParameter(f"--port: {port}: must be a number from 0 to {LAST_PORT}")
    if seed is not None and seed < 0:
        raise typer.BadParameter(f"--seed: {seed}: must be a number from 0 on")
    chosen = nights.night_named(night or "quiet")
    with mistakes():
        try:
            ready = serving.playable(load_jobs(folder), time_scale, seed)
            listener = serving.listening(port)
        except (serving.NothingToServeError, serving.PortError) as error:
            fail(f"{folder}: {error}" if isinstance(error, serving.NothingToServeError) else str(error))
        with listener:
            played = serving.every_day(chosen if seed is None else staging.night_with_seed(chosen, seed))
            scratch = staging.new_folder(build / "runs", f"local-serve-{datetime.now(UTC):%Y%m%dT%H%M%S}")
            told = ServeOutput(sys.stdout, as_json=as_json)
            _serve(ServeSetting(folder, ready, played, scratch, build / "runs", listener), told)


@dataclass(frozen=True)
class ServeSetting:
    """All that a server is made of."""

    folder: Path
    ready: Playable
    night: Night
    scratch: Path
    records: Path
    listener: socket.socket


@dataclass(frozen=True)
class ServeOutput:
    """What the terminal gets. `out` is the real standard output: inside a stage, `print` is the functions'."""

    out: TextIO
    as_json: bool

    def ready(self, url: str, setting: ServeSetting) -> None:
        """The server takes requests now."""
        ready = setting.ready
        if self.as_json:
            document = {
                "url": url,
                "jobs": sorted(setting.ready.jobs),
                "left_out": list(setting.ready.left_out),
                "night": setting.night.name,
                "time_scale": setting.ready.time_scale,
                "records": str(setting.records),
                "scratch": str(setting.scratch),
            }
            self._write(json.dumps(document))
            return
        hour = format(ready.time_scale / 3600, ".3g")
        self._write(
            f"{url} serves {', '.join(sorted(ready.jobs))}; {hour} hours of the story pass in a second."
        )
        self._write(f"Night: {setting.night.name}. Records: {setting.records}. Logs: {setting.scratch}.")
        self._write("Ctrl-C ends it, and every run that is going on.")

    def seen(self, sighting: Sighting) -> None:
        """A decision of a run, as it is taken."""
        if sighting.kind == "decision" and not self.as_json:
            name = f" {sighting.training_job_name}" if sighting.training_job_name else ""
            self._write(f"{sighting.at:%H:%M}{name}: {sighting.text}")

    def kept(self, kept: KeptRun) -> None:
        """A run is over."""
        if kept.interrupted:
            said = f"interrupted: run {kept.run_id} of {kept.job}; what it had done is in {kept.path}"
            typer.echo(said, err=True)
        elif not self.as_json:
            self._write(f"{kept.job} {kept.run_id or 'was'} {kept.outcome}: {kept.path}")

    def fault(self, error: OSError) -> None:
        """A record could not be written."""
        reason = error.strerror or error
        typer.secho(f"error: {error.filename or 'record'}: {reason}", err=True, fg="red")

    def _write(self, line: str) -> None:
        self.out.write(f"{line}\n")
        self.out.flush()


def _serve(setting: ServeSetting, told: ServeOutput) -> None:
    for name in setting.ready.left_out:
        typer.echo(f"note: {name} is left out: it has no local.command to train it on this machine", err=True)
    aws = LocalAws(
        jobs=setting.ready.jobs,
        night=setting.night,
        scratch=setting.scratch,
        started_at=datetime.combine(datetime.now(UTC).date(), time(), tzinfo=UTC),
        price=load_price_book().usd_per_hour,
        time_scale=setting.ready.time_scale,
        directory=Path.cwd(),
        on_sighting=told.seen,
    )
    facts = {"job_file": str(setting.folder), "scratch": str(setting.scratch)}
    with until_told_to_end() as wait, ExitStack() as stack:
        stack.enter_context(staging.python_logs_in(setting.scratch / "python.log"))
        stage = stack.enter_context(aws.open())
        stack.enter_context(
            ServedRuns(stage, setting.night, setting.records, facts, on_kept=told.kept, on_fault=told.fault)
        )
        url = stack.enter_context(
            serving.serving(api_of(stage), setting.listener, as_user(getpass.getuser()))
        )
        told.ready(url, setting)
        wait()
