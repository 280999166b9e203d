"""`nightspot watch`: which run is followed, on what screen, and that the watch ends when the run does."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from nightspot.cli import account, completion
from nightspot.cli import exit_status as statuses
from nightspot.cli._shared import mistakes
from nightspot.cli.exit_status import ExitStatus
from nightspot.cli.runs import follow, show
from nightspot.cli.runs import follow as follow_words
from nightspot.cli.runs.follow import Followed
from nightspot.cli.runs.place import (
    Api,
    FromFolder,
    Local,
    Place,
    StackName,
    TableName,
    operating_mistakes,
    place_of,
    record_of,
)
from nightspot.terminal import deployed_run, news
from nightspot.terminal.lines import console_for
from nightspot.terminal.news import News

TICK_SECONDS = 1.0  # the time left is told anew so often

# By name, for a test to replace.
sleep, monotonic = time.sleep, time.monotonic


def watch(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Its id; the newest by default.", autocompletion=completion.runs),
    ] = None,
    *,
    job: Annotated[
        str | None, typer.Option(metavar="NAME", help="Without RUN: the newest run of this job.")
    ] = None,
    from_folder: FromFolder = None,
    local: Local = False,
    table: TableName = None,
    stack: StackName = None,
    api: Api = None,
    region: account.Region = None,
    profile: account.Profile = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for every change and nothing else.")
    ] = False,
) -> None:
    """Watch a run until it is over.

    A live view on a terminal, else a line for each event.

    Ends with the run's exit status. Ctrl-C ends the watching alone.
    """
    if run is not None and job is not None:
        raise typer.BadParameter(f"--job: {job!r}: means nothing beside RUN, which names the run")
    with mistakes(), operating_mistakes():
        place = place_of(
            folder=from_folder, local=local, table=table, stack=stack, api=api, region=region, profile=profile
        )
        record = record_of(place, run, job)
        run_id = str(record["run_id"])
        if place.is_local:
            raise typer.Exit(_print_local(place, record, as_json=as_json))
        screen = _screen(place, run_id, as_json=as_json)
        execution_arn = record.get("execution_arn")
        followed = screen.run(follow.looker(place, run_id, execution_arn, region=region, profile=profile))
        follow_words.tell_end(place, run_id, followed, execution_arn)
        raise typer.Exit(followed.status)


def _print_local(place: Place, record: dict[str, Any], *, as_json: bool) -> ExitStatus:
    """A local record is there only once its night is over: there is nothing left to wait for."""
    if as_json:
        for line in news.news_between(None, record):
            _print_json_line(line, str(record["run_id"]))
    else:
        show.print_record(place, record, as_json=False)
    return statuses.of_record(record)


class Lines:
    """A line for each piece of news: plain text, or JSON."""

    def __init__(self, place: Place, tell: Callable[[News], None]) -> None:
        self._place = place
        self._tell = tell

    def run(self, look: Callable[[], follow.Look]) -> Followed:
        """Follow the run to its end. Raises what `look` raises."""
        return follow.follow(
            look,
            sleep=sleep,
            monotonic=monotonic,
            pace=follow.pace_of(self._place),
            now=follow.clock_of(self._place, follow.utc_now),
            on_news=self._tell,
        )


class Screen:
    """A view of the run that is drawn again in its place. On a terminal only."""

    def __init__(self, place: Place, run_id: str, console: Console) -> None:
        self._place = place
        self._run_id = run_id
        self._console = console
        self._news: list[News] = []
        self._record: Mapping[str, Any] | None = None
        self._now = follow.clock_of(place, follow.utc_now)

    def run(self, look: Callable[[], follow.Look]) -> Followed:
        """Follow the run to its end. Raises what `look` raises."""
        with Live(console=self._console, auto_refresh=False) as live:

            def draw() -> None:
                view = deployed_run.view(self._record, self._news, self._now(self._record), self._run_id)
                live.update(view, refresh=True)

            def looked(record: Mapping[str, Any]) -> None:
                self._record = record
                draw()

            def told(line: News) -> None:
                self._news.append(line)
                draw()

            def wait(seconds: float) -> None:
                left = seconds
                while left > 0:
                    sleep(min(TICK_SECONDS, left))
                    left -= TICK_SECONDS
                    draw()

            return follow.follow(
                look,
                sleep=wait,
                monotonic=monotonic,
                pace=follow.pace_of(self._place),
                now=self._now,
                on_news=told,
                on_look=looked,
            )


def _screen(place: Place, run_id: str, *, as_json: bool) -> Lines | Screen:
    if as_json:
        return Lines(place, lambda line: _print_json_line(line, run_id))
    console = console_for()
    if not console.is_terminal:
        return Lines(place, follow_words.print_line)
    return Screen(place, run_id, console)


def _print_json_line(line: News, run_id: str) -> None:
    sys.stdout.write(json.dumps(line.to_json(run_id)) + "\n")
    sys.stdout.flush()
