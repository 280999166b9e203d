"""The command line: writes and checks job files, plays nights, drills interruptions, shows, stops and reports runs,
explains failures, says what training costs and whether Spot is right, plays policies against each other."""

from __future__ import annotations

import sys

import typer

from nightspot.cli import (
    advise,
    backtest,
    doctor,
    drill,
    explain,
    init,
    nights,
    operate_jobs,
    operate_logs,
    operate_runs,
    operate_stop,
    prices,
    report,
    schema,
    show,
    validate,
)

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
    app()


@app.callback()
def nightspot() -> None:
    """Trains on SageMaker Spot every night and still has the model ready by morning."""


# The order of the help.
for _command in (
    init.init,
    validate.validate,
    doctor.doctor,
    nights.demo,
    nights.run,
    drill.drill,
    operate_jobs.jobs,
    operate_runs.runs,
    show.show,
    operate_logs.logs,
    operate_stop.stop,
    report.report,
    explain.explain,
    advise.advise,
    prices.prices,
    backtest.backtest,
    schema.schema,
):
    app.command()(_command)
