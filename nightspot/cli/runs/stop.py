"""`nightspot stop`: which run a person ends, whether they are sure, and how long it is waited for."""

from __future__ import annotations

from time import sleep
from typing import Annotated, Any
from urllib.parse import quote

import typer

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.api_client import ApiClient, ApiError, as_passing
from nightspot.aws.runs.executions import Executions
from nightspot.aws.runs.training_jobs import (
    LOOK_SECONDS,
    Stopper,
    Stopping,
    StopRefusedError,
    StopState,
    UnknownRunError,
    sentence_of,
)
from nightspot.cli import account
from nightspot.cli._shared import Json, fail, mistakes, print_json, say, seconds_of
from nightspot.cli.runs.place import Api, Place, StackName, TableName, operating_mistakes, place_of, record_of
from nightspot.formats.figures import format_duration
from nightspot.record.model import RunRecord, outcome_of

# SIGTERM, 120 s and the upload; then the event, or at the worst the loop's own look after five minutes.
DEFAULT_TIMEOUT = "15m"
ASKED_BY = "nightspot stop"
# What is told of a look, wherever it was taken.
_SHOWN = ("run_id", "job", "state", "training_job_name", "outcome", "because")


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
    table: TableName = None,
    stack: StackName = None,
    api: Api = None,
    region: account.Region = None,
    profile: account.Profile = None,
    as_json: Json = False,
) -> None:
    """Stop a deployed run and its training job, for good.

    Nothing more is bought, and the record says so.
    """
    longest_seconds = seconds_of("--timeout", timeout)
    if as_json and not yes:
        raise typer.BadParameter("--json needs --yes, because nobody is asked")
    # A local run ends with the command that plays it, so there is a deployment to be stopped or nothing.
    chosen = account.STACK if table is None and stack is None and api is None else stack
    with mistakes(), operating_mistakes():
        place = place_of(table=table, stack=chosen, api=api, region=region, profile=profile)
        record = record_of(place, run)
        if not yes and not record.is_over:
            typer.confirm(_question(record, place), abort=True, err=True)
        if place.api is not None:
            look = _by_api(place.api, run, wait=wait, longest_seconds=longest_seconds, as_json=as_json)
        else:
            stopper = _stopper(place)
            look = _by_aws(stopper, run, wait=wait, longest_seconds=longest_seconds, as_json=as_json)
        _conclude(look, wait=wait, longest_seconds=longest_seconds, as_json=as_json)


def _question(record: RunRecord, place: Place) -> str:
    open_names = [each.training_job_name for each in record.attempts if each.ended_at is None]
    what = f" and its training job {open_names[-1]}" if open_names else ""
    return f"Stop run {record.run_id} of {record.job} in {place.words}{what}?"


def _stopper(place: Place) -> Stopper:
    if place.aws is None:
        raise ValueError("only a deployment's runs can be stopped")
    client = place.aws.client
    return Stopper(place.table(), client("sagemaker"), Executions(client("stepfunctions")))


def _by_aws(
    stopper: Stopper, run_id: str, *, wait: bool, longest_seconds: float, as_json: bool
) -> dict[str, Any]:
    """The last look at the run, as --json prints it."""

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
    return _as_json(look)


def _by_api(
    api: ApiClient, run_id: str, *, wait: bool, longest_seconds: float, as_json: bool
) -> dict[str, Any]:
    """The same through the API, which is asked again while the run changes over. Raises ApiError."""
    slept, told = 0.0, ""
    while True:
        is_last = not wait or slept >= longest_seconds
        try:
            look: dict[str, Any] = api.post(f"/runs/{quote(run_id, safe='')}/stop", {}).body
        except (ApiError, TransientAwsError) as error:
            if is_last or as_passing(error) is None:
                raise
        else:
            if look["sentence"] != told and not as_json:
                say(look["sentence"])
            told = look["sentence"]
            if is_last or look["state"] == StopState.OVER:
                return {name: look[name] for name in _SHOWN}
        sleep(LOOK_SECONDS)
        slept += LOOK_SECONDS


def _conclude(look: dict[str, Any], *, wait: bool, longest_seconds: float, as_json: bool) -> None:
    if as_json:
        print_json(look)
    run_id, state = look["run_id"], look["state"]
    if state == StopState.OVER or not wait:
        return
    fail(
        f"run: {run_id!r}: its end is not on record after {format_duration(longest_seconds)}; ask again later"
    )


def _as_json(look: Stopping) -> dict[str, Any]:
    return {
        "run_id": look.run.run_id,
        "job": look.run.job,
        "state": look.state.value,
        "training_job_name": look.training_job_name,
        "outcome": outcome_of(look.run.outcome),
        "because": look.run.outcome_because,
    }
