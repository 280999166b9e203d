"""Which API requests are read at all, what the API answers them with, and what it tells of jobs and runs."""

from __future__ import annotations

import base64
import binascii
import heapq
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any

from nightspot.api.models import JobsList, RunLinks, RunResource, RunsPage, line_as_json, lines_of
from nightspot.api.queries import (
    EARLIEST,
    Position,
    QueryError,
    StartWindow,
    Wanted,
    cursor_of,
    endings_of,
    is_for,
    place_of,
    window_of,
)
from nightspot.api.routes import ProblemError, ProblemKind, Route, invalid, route_of
from nightspot.aws.runs.executions import Executions, Starter
from nightspot.aws.runs.training_jobs import Stopper
from nightspot.aws.table.run_table import RunTable
from nightspot.formats.run_ids import is_run_id
from nightspot.formats.strict_json import RepeatedKeyError, read_json
from nightspot.job.errors import Problem, describe, nearest
from nightspot.lambdas.dependencies import dependencies, late_client, read_environment
from nightspot.record.model import RunRecord, RunState
from nightspot.record.statement import bounds_of
from nightspot.record.summary import record_of
from nightspot.run.model import Run
from nightspot.run.reasons import Reason
from nightspot.view.messages.plain import Console

if TYPE_CHECKING:
    from nightspot.job.model import Job


LARGEST_BODY_BYTES = 64 * 1024
JSON = "application/json"
_MEDIA_TYPE = "content-type"


def check(event: Mapping[str, Any]) -> None:
    """Raises ProblemError where the request must not get to its route. An unknown address is for the resolver."""
    route = route_of(event["httpMethod"], event["path"])
    if route is None:
        return
    _check_query(route, event.get("multiValueQueryStringParameters") or {})
    if route.method == "POST":
        _check_body(event, takes_overrides=route.has_body)


def as_json(event: Mapping[str, Any]) -> dict[str, Any]:
    """A checked event, which says of its body what the check has found: that it is JSON, or none.

    The resolver compares a media type letter by letter, and looks at that of no body as well.
    """
    changed = dict(event)
    for name, value in (("headers", JSON), ("multiValueHeaders", [JSON])):
        others = {key: given for key, given in (event.get(name) or {}).items() if key.lower() != _MEDIA_TYPE}
        changed[name] = {**others, _MEDIA_TYPE: value}
    return changed


def _check_query(route: Route, given: Mapping[str, list[str]]) -> None:
    problems = []
    for name, values in given.items():
        if name not in route.query:
            known = f"the parameters are {', '.join(route.query)}" if route.query else "there are none here"
            rule = f"is not a known parameter ({known}){nearest(name, route.query)}"
            problems.append(Problem(name[:80], describe(name), rule))
        elif len(values) > 1 and name not in route.repeated:
            problems.append(Problem(name, f"{len(values)} values", "must be given once"))
    if problems:
        raise invalid(problems)


def _check_body(event: Mapping[str, Any], *, takes_overrides: bool) -> None:
    body = _bytes_of(event)
    if len(body) > LARGEST_BODY_BYTES:
        raise ProblemError(
            ProblemKind.BODY_TOO_LARGE,
            f"The body has {len(body):,} bytes; it may have {LARGEST_BODY_BYTES:,}.",
        )
    if not body:
        return
    media_type = _header(event, _MEDIA_TYPE) or JSON
    if media_type.partition(";")[0].strip().lower() != JSON:
        raise wrong_media_type(media_type)
    try:
        given = read_json(body.decode())
    except RepeatedKeyError as error:
        twice = Problem(error.key[:80] or "body", describe(error.key), "the key appears twice")
        raise invalid([twice]) from error
    except (ValueError, RecursionError) as error:
        # A number of too many digits is a ValueError of its own.
        raise _malformed("is not JSON") from error
    if given is not None and not isinstance(given, dict):
        raise _malformed(f"is {describe(given)}")
    if given and not takes_overrides:
        raise invalid([Problem("body", describe(given), "must be empty: a stop has nothing to choose")])


def wrong_media_type(given: str) -> ProblemError:
    """The refusal of a body of another media type."""
    return ProblemError(ProblemKind.WRONG_MEDIA_TYPE, f"The body is {describe(given)}, and must be {JSON}.")


def _malformed(what: str) -> ProblemError:
    return ProblemError(ProblemKind.MALFORMED_BODY, f"The body {what}; it must be a JSON object, or absent.")


def _bytes_of(event: Mapping[str, Any]) -> bytes:
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        # A lone surrogate is no text that could be sent; the reading of it says so.
        return str(body).encode(errors="surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise _malformed("is not readable") from error


def _header(event: Mapping[str, Any], name: str) -> str | None:
    headers = event.get("headers") or {}
    return next((value for key, value in headers.items() if key.lower() == name), None)


_TOKEN_BYTES = 3


@dataclass(frozen=True)
class ApiDependencies:
    """The API's collaborators. A test or `nightspot local serve` passes its own."""

    now: Callable[[], datetime]
    jobs: Callable[[], Mapping[str, Job]]
    table: RunTable
    starter: Starter
    stopper: Stopper
    executions: Executions
    token_hex6: Callable[[], str] = lambda: secrets.token_hex(_TOKEN_BYTES)  # tells runs of one second apart


@cache
def api_dependencies() -> ApiDependencies:
    """The deployed function's."""
    use = dependencies()
    machine_arn = read_environment().state_machine_arn
    return ApiDependencies(
        now=use.now,
        jobs=use.jobs,
        table=use.table,
        starter=Starter(use.step_functions, machine_arn),
        stopper=Stopper(use.table, late_client("sagemaker"), use.executions),
        executions=use.executions,
    )


DEFAULT_LIMIT = 20
MOST_RUNS = 100  # of a page
MOST_READ = 500  # summaries that one request looks at: a rare outcome must not read years
# Lambda answers with 6 MB at the most: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
# fact: lambda.response.bytes
MOST_BYTES = 4_000_000
MOST_STEPS = 4000  # about 500 bytes each
_MOST_NAMED = 5  # ids in a refusal


def jobs_list(use: ApiDependencies) -> JobsList:
    """Every deployed job with its newest run and what this month (UTC) has cost."""
    now = use.now()
    month = f"{now:%Y-%m}"
    first, end = bounds_of(month)
    runs = []
    for job in use.jobs():
        entries = use.table.history_entries(job, first=first, end=end, page=100)
        runs += [entry.run for entry in entries] or use.table.history(job, limit=1)
    lines = lines_of(use.jobs(), runs, month)
    return JobsList.model_validate({"month": month, "jobs": [line_as_json(line) for line in lines]})


def runs_page(
    use: ApiDependencies,
    *,
    job: str | None,
    outcome: Sequence[Wanted],
    reason: Sequence[Reason],
    since: str | None,
    month: str | None,
    limit: int,
    cursor: str | None,
) -> RunsPage:
    """A page of the runs that are wanted. Raises ProblemError for a parameter or a job that makes no sense."""
    question = {
        "job": job,
        "outcome": sorted(outcome),
        "reason": sorted(reason),
        "since": since,
        "month": month,
    }
    try:
        after = None if cursor is None else place_of(cursor, question)
        window = window_of(since, month, use.now())
    except QueryError as error:
        raise invalid([error.problem]) from error
    if job is not None:
        _check_known(job, use)
    jobs = sorted(use.jobs()) if job is None else [job]
    endings = endings_of(outcome)
    shown: list[RunResource] = []
    read, size, last = 0, 0, after
    for place, run in _newest_first(jobs, window, after, limit, use):
        if len(shown) == limit or read == MOST_READ or size > MOST_BYTES:
            return RunsPage(runs=shown, next=cursor_of(last, question) if last else None)
        read, last = read + 1, place
        if run.ending in endings and is_for(run, reason):
            shown.append(_with_links(run))
            size += len(shown[-1].model_dump_json())
    return RunsPage(runs=shown, next=None)


def run_record(use: ApiDependencies, run_id: str) -> RunResource:
    """All that is on record of a run; of very many decisions the first and the last. Raises ProblemError."""
    run = known_run(run_id, use)
    steps = use.table.steps(run_id)
    if len(steps) > MOST_STEPS:
        steps = [*steps[: MOST_STEPS // 2], *steps[-MOST_STEPS // 2 :]]
    return _with_links(record_of(run, steps, use.table.phases(run_id)))


def known_run(run_id: str, use: ApiDependencies) -> Run:
    """The ledger of a run. Raises ProblemError, naming the runs of the same day that are near."""
    run = use.table.run(run_id) if is_run_id(run_id) else None
    if run is not None:
        return run
    raise _unknown_run(run_id, near=_near(run_id, use))


def link_of(run_id: str) -> str:
    """The address of a run, below the API's own."""
    return f"/runs/{run_id}"


def links_of(run_id: str, outcome: RunState, execution_arn: str | None) -> RunLinks:
    """Where else a client can go from a run."""
    here = link_of(run_id)
    console = Console.of_arn(execution_arn) if execution_arn else None
    return RunLinks(
        self=here,
        stop=f"{here}/stop" if outcome is RunState.RUNNING else None,
        retry=None if outcome in {RunState.RUNNING, RunState.SUCCEEDED} else f"{here}/retry",
        console=console.execution(execution_arn) if console and execution_arn else None,
    )


def _with_links(run: RunRecord) -> RunResource:
    return RunResource.model_construct(
        **dict(run), links=links_of(run.run_id, run.outcome, run.execution_arn)
    )


def _check_known(job: str, use: ApiDependencies) -> None:
    """A job that is no longer deployed is known by its runs."""
    if job not in use.jobs() and not use.table.history(job, limit=1):
        raise unknown_job(job, use)


def unknown_job(job: str, use: ApiDependencies) -> ProblemError:
    """The refusal of a job that there is not."""
    known = sorted(use.jobs())
    names = f"the jobs are {', '.join(known)}" if known else "there are none"
    detail = f"job: {describe(job)}: is not a job ({names}){nearest(job, known)}"
    return ProblemError(ProblemKind.UNKNOWN_JOB, detail)


def unknown_address(method: str, path: str, use: ApiDependencies) -> ProblemError:
    """The refusal of an address that the resolver does not know.

    It takes fewer characters for a name than an address may have; no job and no run has one of the others.
    """
    route = route_of(method, path)
    if route is None or "{" not in route.path:
        return ProblemError(ProblemKind.UNKNOWN_ADDRESS, "The addresses are in /openapi.json.")
    name = path.split("/")[2]
    return _unknown_run(name) if "{id}" in route.path else unknown_job(name, use)


def _newest_first(
    jobs: Sequence[str], window: StartWindow, after: Position | None, limit: int, use: ApiDependencies
) -> Iterator[tuple[Position, RunRecord]]:
    """The runs of all `jobs` behind `after`, read no further than they are asked for."""
    if window.is_empty:
        return
    histories = [_history(job, window, after, limit, use) for job in jobs]
    for place, run in heapq.merge(*histories, key=lambda pair: pair[0], reverse=True):
        if after is None or place < after:
            yield place, run


def _history(
    job: str, window: StartWindow, after: Position | None, limit: int, use: ApiDependencies
) -> Iterator[tuple[Position, RunRecord]]:
    up_to = after.key if after else None
    # One more than a page: whether there is another one.
    entries = use.table.history_entries(job, first=window.first, end=window.end, up_to=up_to, page=limit + 2)
    for entry in entries:
        yield Position(entry.key, job), entry.run


def _unknown_run(run_id: str, near: Sequence[str] = ()) -> ProblemError:
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return ProblemError(ProblemKind.UNKNOWN_RUN, f"run: {describe(run_id)}: is not on record{hint}")


def _near(run_id: str, use: ApiDependencies) -> list[str]:
    """Ids like this one among the runs of its day: those of other days are not looked at."""
    try:
        day = datetime.strptime(f"{run_id[:8]}+0000", "%Y%m%d%z")
    except ValueError:
        return []
    if not EARLIEST <= day <= use.now():
        return []
    known = [
        entry.run.run_id
        for job in use.jobs()
        for entry in use.table.history_entries(job, first=day, end=day + timedelta(days=1), page=100)
    ]
    return get_close_matches(run_id, known, n=_MOST_NAMED, cutoff=0.6)
