"""Decides what is said of a run while it is followed, and once nobody follows it any longer."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC

from nightspot.cli import follow
from nightspot.cli._shared import note, say
from nightspot.cli.exit_status import ExitStatus
from nightspot.cli.follow import Followed
from nightspot.cli.operate_sources import Place
from nightspot.messages.links import Console
from nightspot.plain_text import one_line
from nightspot.report.news import News, NewsKind

# Why nobody follows a run that is as it should be.
_LEFT_ALONE: Mapping[ExitStatus, str] = {
    ExitStatus.STILL_RUNNING: "--timeout has passed",
    ExitStatus.INTERRUPTED: "interrupted",
}


def tell_end(place: Place, run_id: str, followed: Followed, execution_arn: str | None = None) -> None:
    """Say on standard error what the news did not: that the run goes on, or could not be followed.

    `execution_arn`: where to look for a run that never came on record.
    """
    if followed.why is not None:
        say(f"error: run {run_id}: {followed.why}", err=True, fg="red")
    if followed.may_go_on:
        why = _LEFT_ALONE.get(followed.status, "it is not followed any longer")
        note(f"{why}; run {run_id} goes on. To follow it: {command('watch', run_id, place)}")
        note(f"to stop it: {command('stop', run_id, place)}")
    elif followed.record is None and execution_arn is not None:
        note(f"the execution of run {run_id} is {execution_arn}")
        if link := console_of(place, execution_arn):
            note(f"in the console: {link}")


def print_line(line: News, *, err: bool = False) -> None:
    """One piece of news as a plain line with its time (UTC); no control codes, for a file or a pipeline's log."""
    at = (line.at or follow.utc_now()).astimezone(UTC)
    lead = "!" if line.kind is NewsKind.FAULT else " "
    stream = sys.stderr if err else sys.stdout
    stream.write(f"{at:%Y-%m-%d %H:%M:%S}{lead} {one_line(line.text)}\n")
    # Or a pipeline would see the lines of an hour at once.
    stream.flush()


def console_of(place: Place, execution_arn: str) -> str | None:
    """The execution's page in the AWS console; None for an emulated one, which has none."""
    console = None if follow.is_emulated(place) else Console.of_arn(execution_arn)
    return console.execution(execution_arn) if console else None


def command(name: str, run_id: str, place: Place) -> str:
    """ "nightspot watch 20261121-25feuomo --stack Nightspot": what a person types next."""
    return " ".join(("nightspot", name, run_id, *place.options))
