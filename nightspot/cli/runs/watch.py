"""`nightspot watch` and `nightspot logs`: a run followed to its end, and what its job logged."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from nightspot.aws.runs.operating import training_logs
from nightspot.cli import _shared, completion
from nightspot.cli._shared import ExitStatus, Json, fail, grouped, mistakes, note, print_json
from nightspot.cli.runs import follow, show
from nightspot.cli.runs.follow import Followed
from nightspot.cli.runs.place import Place, Where, check_at_least_one, operating_mistakes, record_of
from nightspot.client.looking import Look
from nightspot.formats.figures import one_line
from nightspot.local.stage.records import LocalRecord
from nightspot.record.model import AttemptRecord, RunRecord
from nightspot.terminal import deployed_run
from nightspot.terminal.deployed_run import News
from nightspot.terminal.lines import console_for

TICK_SECONDS = 1.0  # the time left is told anew so often

# By name, for a test to replace.
sleep, monotonic = time.sleep, time.monotonic


@grouped
def watch(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Its id; the newest by default.", autocompletion=completion.runs),
    ] = None,
    *,
    job: Annotated[
        str | None, typer.Option(metavar="NAME", help="Without RUN: the newest run of this job.")
    ] = None,
    where: Where,
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
        place = where.place()
        record = record_of(place, run, job)
        run_id = record.run_id
        if place.is_local:
            raise typer.Exit(_print_local(place, record, as_json=as_json))
        look = follow.looker(place, run_id, record.execution_arn)
        console = console_for()
        if console.is_terminal and not as_json:
            followed = Screen(place, run_id, console).run(look)
        else:
            followed = follow.follow(
                look,
                sleep=sleep,
                monotonic=monotonic,
                pace=follow.pace_of(place),
                now=follow.clock_of(place),
                on_news=(lambda line: _print_json_line(line, run_id)) if as_json else follow.print_line,
            )
        follow.tell_end(place, run_id, followed, record.execution_arn)
        raise typer.Exit(followed.status)


def _print_local(place: Place, record: RunRecord, *, as_json: bool) -> ExitStatus:
    """A local record is there only once its night is over: there is nothing left to wait for."""
    if as_json:
        for line in deployed_run.news_between(None, record):
            _print_json_line(line, record.run_id)
    else:
        show.print_record(place, record, as_json=False)
    return _shared.of_record(record)


class Screen:
    """A view of the run that is drawn again in its place. On a terminal only."""

    def __init__(self, place: Place, run_id: str, console: Console) -> None:
        self._place = place
        self._run_id = run_id
        self._console = console
        self._news: list[News] = []
        self._record: RunRecord | None = None
        self._now = follow.clock_of(place)

    def run(self, look: Callable[[], Look]) -> Followed:
        """Follow the run to its end. Raises what `look` raises."""
        with Live(console=self._console, auto_refresh=False) as live:

            def draw() -> None:
                view = deployed_run.view(self._record, self._news, self._now(self._record), self._run_id)
                live.update(view, refresh=True)

            def looked(record: RunRecord) -> None:
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


def _print_json_line(line: News, run_id: str) -> None:
    sys.stdout.write(json.dumps(line.to_json(run_id)) + "\n")
    sys.stdout.flush()


LOCAL_SCRATCH = "build/demo"  # of records that do not say where their night was played

Line = dict[str, str | None]
"""`time` (ISO 8601, UTC), `machine`, `message`; local logs know no times."""


@dataclass(frozen=True)
class WhereLogsAre(Where):
    """--api is refused."""

    api: Annotated[str | None, typer.Option(metavar="URL", help="Has no logs: give --stack.")] = None


@grouped
def logs(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="Its id; the newest by default.")] = None,
    *,
    attempt: Annotated[
        int | None, typer.Option(metavar="N", help="Which training job of the run; the newest by default.")
    ] = None,
    tail: Annotated[int | None, typer.Option(metavar="N", help="Only the last N lines.")] = None,
    where: WhereLogsAre = WhereLogsAre(),
    as_json: Json = False,
) -> None:
    """Print what a run's training job has logged.

    The oldest line first. Does not follow.
    """
    if where.api is not None:
        rule = "the API has no logs, CloudWatch Logs has: give --stack NAME or --table NAME instead"
        raise typer.BadParameter(f"--api: {where.api!r}: {rule}")
    check_at_least_one("--tail", tail)
    with mistakes(), operating_mistakes():
        place = where.place()
        record = record_of(place, run)
        chosen = _attempt(record, attempt)
        found = iter(()) if chosen is None else _lines(place, record, chosen.training_job_name)
        lines: Iterable[Line] = found if tail is None else deque(found, maxlen=tail)
        if as_json:
            whole = list(lines)
            print_json(_as_json(record, chosen, whole, None if whole else _why_none(record, chosen)))
            return
        if not _print(lines):
            note(_why_none(record, chosen))


def _attempt(record: RunRecord, number: int | None) -> AttemptRecord | None:
    """The attempt of this number; else the newest that SageMaker has made, or the newest; None without any."""
    attempts = record.attempts
    if number is not None:
        known = [each.number for each in attempts]
        if number not in known:
            has = (
                f"must be one of {', '.join(map(str, known))}" if known else "the run has no training job yet"
            )
            fail(f"--attempt: {number}: {has}")
        return next(each for each in attempts if each.number == number)
    made = [each for each in attempts if each.status is not None]
    return (made or attempts)[-1] if attempts else None


def _lines(place: Place, record: RunRecord, name: str) -> Iterator[Line]:
    if place.aws is None:
        scratch = record.scratch if isinstance(record, LocalRecord) else None
        return _local_lines(Path(scratch or LOCAL_SCRATCH, "logs", f"{name}.log"))
    return (
        {
            "time": event.at.isoformat(timespec="milliseconds"),
            "machine": event.machine,
            "message": event.message,
        }
        for event in training_logs(place.aws.client("logs"), name)
    )


def _local_lines(path: Path) -> Iterator[Line]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            yield {"time": None, "machine": "algo-1", "message": line.rstrip("\r\n")}


def _print(lines: Iterable[Line]) -> int:
    """How many were printed; the machine stands before a line once a second one has spoken."""
    machines: set[str | None] = set()
    count = 0
    for line in lines:
        machines.add(line["machine"])
        try:
            typer.echo(_worded(line, with_machine=len(machines) > 1))
        except BrokenPipeError:
            # `| head` has read enough; what is still in the stream's buffer has to go somewhere when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return count + 1
        count += 1
    return count


def _worded(line: Line, *, with_machine: bool) -> str:
    time = line["time"]
    when = f"{time.replace('T', ' ').replace('+00:00', ' UTC')}  " if time else ""
    who = f"{line['machine']}  " if with_machine else ""
    # What a script writes must not steer the terminal.
    return f"{when}{who}{one_line(line['message'] or '')}".rstrip()


def _why_none(record: RunRecord, attempt: AttemptRecord | None) -> str:
    run_id = record.run_id
    if attempt is None:
        if not record.is_over:
            return f"run {run_id} has no training job yet; ask again when `nightspot runs` shows one"
        return f"run {run_id} ended without a training job: {record.because or 'it says nothing'}"
    name = attempt.training_job_name
    if attempt.status is None:
        why = attempt.failure_reason or "SageMaker has not shown it yet"
        return f"training job {name} was not made, so it has no logs: {why}"
    if attempt.ended_at is None and attempt.queued_seconds is None:
        return (
            f"training job {name} still waits for a machine; its logs begin a minute or two after it has one"
        )
    if attempt.queued_seconds is None:
        return f"training job {name} never had a machine, so it has no logs"
    if attempt.ended_at is None:
        return f"training job {name} has a machine and has logged nothing yet; ask again in a minute or two"
    if isinstance(record, LocalRecord):
        return f"the logs of training job {name} are gone: a later run emptied {record.scratch}"
    why = attempt.failure_reason or "it gives no reason"
    return f"training job {name} ended before its container wrote anything, or its logs have expired: {why}"


def _as_json(
    record: RunRecord, attempt: AttemptRecord | None, lines: list[Line], note: str | None
) -> dict[str, Any]:
    return {
        "run_id": record.run_id,
        "attempt": attempt.number if attempt else None,
        "training_job_name": attempt.training_job_name if attempt else None,
        "lines": lines,
        "note": note,
    }
