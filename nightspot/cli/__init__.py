"""The command line: writes and checks job files, plays nights, drills interruptions, starts, watches, stops,
retries and audits runs, shows and reports them, explains failures, says what training costs, plays policies."""

from __future__ import annotations

import sys

import typer

from nightspot.cli import (
    advise,
    audit,
    backtest,
    completion,
    doctor,
    drill,
    explain,
    init,
    jobs,
    local_serve,
    night,
    prices,
    report,
    validate,
)
from nightspot.cli import validate as schema
from nightspot.cli.runs import list as operate_runs
from nightspot.cli.runs import logs, retry, show, stop, watch

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)


def main() -> None:
    """The installed command `nightspot`."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character shows a question mark instead.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    completion.prepare()
    # By this name a shell's script asks, however the command was called.
    app(prog_name=completion.PROGRAM)


@app.callback()
def nightspot() -> None:
    """Trains on SageMaker Spot every night and still has the model ready by morning."""


# The order of the help.
for _command in (
    init.init,
    validate.validate,
    doctor.doctor,
    night.demo,
    night.run,
    drill.drill,
    jobs.jobs,
    operate_runs.runs,
    show.show,
    watch.watch,
    logs.logs,
    stop.stop,
    retry.retry,
    audit.audit,
    report.report,
    explain.explain,
    advise.advise,
    prices.prices,
    backtest.backtest,
    schema.schema,
    completion.completion,
):
    app.command()(_command)
app.add_typer(local_serve.app, name="local")
