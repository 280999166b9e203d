"""`nightspot stop` and `retry`: which run a person ends or takes up again, and whether they are sure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import sleep
from typing import Annotated, Any

import typer

from nightspot.aws.runs.api_client import ApiClient
from nightspot.aws.runs.executions import Executions, state_machine_of
from nightspot.aws.runs.job_code import PushedCodes, current_of
from nightspot.aws.runs.operating import DeployedJobs
from nightspot.aws.runs.training_jobs import (
    Stopper,
    Stopping,
    StopRefusedError,
    StopState,
    UnknownRunError,
    sentence_of,
)
from nightspot.cli._shared import Json, fail, grouped, mistakes, note, print_json, say, seconds_of
from nightspot.cli.runs import start
from nightspot.cli.runs.place import DEPLOYED, OfDeployment, Place, Where, operating_mistakes, record_of
from nightspot.client.starting import (
    NotRetryableError,
    StartedRun,
    check_checkpoints,
    check_retryable,
    retry_path,
)
from nightspot.client.stopping import stop_by_api
from nightspot.formats.figures import format_duration
from nightspot.job.overrides import merge_overrides, read_overrides
from nightspot.plan.planning import code_differs
from nightspot.record.model import RunRecord, outcome_of
from nightspot.terminal.tables import overrides_in_words

# SIGTERM, 120 s and the upload; then the event, or at the worst the loop's own look after five minutes.
DEFAULT_TIMEOUT = "15m"
ASKED_BY = "nightspot stop"
# What is told of a look, wherever it was taken.
_SHOWN = ("run_id", "job", "state", "training_job_name", "outcome", "because")


@grouped
def stop(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its id, as `nightspot runs` shows it.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Annotated[
        bool,
        typer.Option("--wait/--no-wait", help="Until the end of the run is on record, or only ask for it."),
    ] = True,
    timeout: Annotated[
        str, typer.Option(metavar="DURATION", help="How long to wait at the most.")
    ] = DEFAULT_TIMEOUT,
    where: OfDeployment,
    as_json: Json = False,
) -> None:
    """Stop a deployed run and its training job, for good.

    Nothing more is bought, and the record says so.
    """
    longest_seconds = seconds_of("--timeout", timeout)
    if as_json and not yes:
        raise typer.BadParameter("--json needs --yes, because nobody is asked")
    with mistakes(), operating_mistakes():
        # A local run ends with the command that plays it, so there is a deployment to be stopped or nothing.
        place = where.deployed()
        record = record_of(place, run)
        if not yes and not record.is_over:
            typer.confirm(_question(record, place), abort=True, err=True)
        if place.api is not None:
            look = _by_api(place.api, run, wait=wait, longest_seconds=longest_seconds, as_json=as_json)
        else:
            look = _by_aws(place, run, wait=wait, longest_seconds=longest_seconds, as_json=as_json)
        if as_json:
            print_json(look)
        if wait and look["state"] != StopState.OVER:
            longest = format_duration(longest_seconds)
            fail(f"run: {look['run_id']!r}: its end is not on record after {longest}; ask again later")


def _question(record: RunRecord, place: Place) -> str:
    open_names = [each.training_job_name for each in record.attempts if each.ended_at is None]
    what = f" and its training job {open_names[-1]}" if open_names else ""
    return f"Stop run {record.run_id} of {record.job} in {place.words}{what}?"


def _by_aws(
    place: Place, run_id: str, *, wait: bool, longest_seconds: float, as_json: bool
) -> dict[str, Any]:
    """The last look at the run, as --json prints it."""
    if place.aws is None:
        raise ValueError("only a deployment's runs can be stopped")
    client = place.aws.client
    stopper = Stopper(place.table(), client("sagemaker"), Executions(client("stepfunctions")))

    def show(look: Stopping) -> None:
        if not as_json:
            say(sentence_of(look))

    try:
        if wait:
            look = stopper.until_recorded(
                run_id, by=ASKED_BY, longest_seconds=longest_seconds, sleep=sleep, on_news=show
            )
        else:
            look = stopper.ask(run_id, by=ASKED_BY)
            show(look)
    except UnknownRunError:
        fail(f"run: {run_id!r}: is no longer on record")
    except StopRefusedError as error:
        fail(f"run: {run_id!r}: cannot be stopped: {error}")
    return {
        "run_id": look.run.run_id,
        "job": look.run.job,
        "state": look.state.value,
        "training_job_name": look.training_job_name,
        "outcome": outcome_of(look.run.outcome),
        "because": look.run.outcome_because,
    }


def _by_api(
    api: ApiClient, run_id: str, *, wait: bool, longest_seconds: float, as_json: bool
) -> dict[str, Any]:
    """The same through the API, which is asked again while the run changes over. Raises ApiError."""
    look = stop_by_api(
        api,
        run_id,
        longest_seconds=longest_seconds if wait else None,
        sleep=sleep,
        on_news=(lambda _sentence: None) if as_json else say,
    )
    return {name: look[name] for name in _SHOWN}


RETRY_COMMAND = "nightspot retry"  # as a run that it starts says who asked for it


@dataclass(frozen=True)
class WhereToRetry(Where):
    """--local is refused."""

    local: Annotated[
        bool, typer.Option("--local", help="Refused: what a local run has saved is gone with it.")
    ] = False


@dataclass(frozen=True)
class WaitForNew(start.WaitOrder):
    """The run that is waited for is not the one that is named."""

    wait: Annotated[
        bool, typer.Option("--wait", help="Until the new run is over, with a line for all that happens.")
    ] = False


@grouped
def retry(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its id, as `nightspot runs` shows it.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    where: Annotated[WhereToRetry, ("local", *DEPLOYED)] = WhereToRetry(),
    wait: WaitForNew = WaitForNew(),
    overrides: start.StartOverrides,
    as_json: Json = False,
) -> None:
    """Start a run that continues from the checkpoint of one that failed.

    Also of one that was stopped or skipped.

    What that run did otherwise than its job file says is taken along, unless it is said again here. Without
    --table, --stack or --api the stack is Nightspot.
    """
    if where.local:
        fail(
            "--local: a local run cannot be retried: the S3 that held its checkpoints ended with it; "
            "play another one with `nightspot run FILE --local`"
        )
    if as_json and not yes:
        raise typer.BadParameter("--json needs --yes, because nobody is asked")
    if start.market_and_file(overrides.market, None)[1] is not None:
        raise typer.BadParameter(f"--market: must be one of {', '.join(start.CHOICES)}")
    wait.check()
    own = overrides.given()
    with mistakes(), operating_mistakes():
        read_overrides(own, check_instance_types=True)
        place = where.deployed()
        record = record_of(place, run)
        _check(lambda: check_retryable(record))
        if place.api is None and wait.idempotency_key is None:
            # The API looks itself; a key may have started the very run that would be in the way.
            _check(lambda: check_checkpoints(place.source, record))
        merged = merge_overrides(record.overrides, own)
        there = None if place.aws is None else start.check_with_deployed(place, record.job, merged)
        differs = None if there is None else _code_differs(place, record, there)
        if not as_json:
            _tell(record, own)
        if differs is not None:
            note(f"{differs}; its checkpoints must still fit")
        if not yes:
            typer.confirm(f"Start a new run of {record.job} in {place.words}?", abort=True, err=True)
        begun = _start(place, record, own, merged, wait.idempotency_key)
        raise typer.Exit(start.tell_and_wait(place, begun, wait, as_json=as_json))


def saved_words(record: RunRecord) -> str:
    """What the run's checkpoint holds, as far as its record says: "step 12 of 24 (50 %)"."""
    progress = next((step.progress for step in reversed(record.steps or ()) if step.progress), None)
    if record.checkpoints is None:
        return "nothing, for its job writes no checkpoints: the new run begins at the start"
    if progress is None:
        return "not in its record; what is in its checkpoint prefix is used"
    of = f" of {progress.total_steps}" if progress.total_steps else ""
    share = "" if progress.fraction is None else f" ({progress.fraction:.0%})".replace("%", " %")
    return f"step {progress.step}{of}{share}"


def _check(check: Callable[[], None]) -> None:
    try:
        check()
    except NotRetryableError as error:
        fail(str(error))


def _tell(record: RunRecord, own: Mapping[str, Any]) -> None:
    ended = f"Run {record.run_id} of {record.job} ended as {record.outcome.value}."
    say(f"{ended} {record.because or ''}".rstrip())
    say(f"Saved:   {saved_words(record)}.")
    kept = {name: value for name, value in record.overrides.items() if name not in own}
    for title, given in (("Kept:", kept), ("New:", own)):
        if given:
            say(f"{title:<9}{overrides_in_words(given)}.")


def _code_differs(place: Place, record: RunRecord, there: DeployedJobs) -> str | None:
    """How the code that the new run will have differs from the old run's; None: it does not, or nobody can tell."""
    deployed = there.code.get(record.job)
    if deployed is None and record.code is None:
        return None
    pushed = None
    if place.aws is not None and place.table_name is not None:
        pushed = PushedCodes(place.aws.client("dynamodb"), place.table_name).get(record.job)
    return code_differs(current_of(deployed, pushed), record.code.version if record.code else None)


def _start(
    place: Place,
    record: RunRecord,
    own: Mapping[str, Any],
    merged: Mapping[str, Any],
    key: str | None,
) -> StartedRun:
    run_id, job = record.run_id, record.job
    if place.api is not None:
        # It merges the same way.
        return start.post_start(place, job, retry_path(run_id), own, key=key, resume_from=run_id)
    try:
        machine_arn = state_machine_of(str(record.execution_arn))
    except ValueError as error:
        fail(f"run: {run_id!r}: {error}")
    return start.start_execution(
        place, machine_arn, job, merged, key=key, resume_from=run_id, requested_by=RETRY_COMMAND
    )
