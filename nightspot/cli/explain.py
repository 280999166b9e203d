"""`nightspot explain`: how a failure is described on the command line, and what is said about it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from nightspot.cli._shared import Json, print_json
from nightspot.failures.classify import Failure, Fault, classify
from nightspot.failures.explanations import explain as explained
from nightspot.formats.statuses import Secondary, Status
from nightspot.terminal.lines import console_for, paragraph

STATUSES = tuple(Status)
SECONDARY_STATUSES = tuple(Secondary)


def explain(
    text: Annotated[
        str | None,
        typer.Argument(metavar="[TEXT]", help="FailureReason, cause or message; - reads standard input."),
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(metavar="STATUS", help="TrainingJobStatus/SecondaryStatus, or one of the two."),
    ] = None,
    error: Annotated[
        str | None, typer.Option(metavar="NAME", help="Error of Step Functions, or code of a boto3 error.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a failure is, what a run does about it, and what to do."""
    if text == "-":
        # Whatever a log may hold: what is no UTF-8 is no reason to refuse the rest.
        text = sys.stdin.buffer.read().decode(errors="replace")
    if not (text and text.strip()) and status is None and not error:
        raise typer.BadParameter("nothing to explain: give TEXT, --status or --error")
    if status is not None and error is not None:
        raise typer.BadParameter(
            "--status is how a training job ended, --error why a call was refused: give one of the two"
        )
    failure = _failure(text or "", status, error)
    about = explained(failure)
    if as_json:
        market = failure.quota_market
        print_json(
            {
                "class": failure.failure.value,
                "meaning": about.meaning,
                "answer": about.answer,
                "advice": about.advice,
                "quota_market": None if market is None else market.value,
                "text": failure.reason,
            }
        )
        return
    console = console_for()
    paragraph(console, "class", failure.failure.value, "bold")
    paragraph(console, "meaning", about.meaning)
    paragraph(console, "a run", about.answer)
    paragraph(console, "you", about.advice)
    if failure.reason:
        paragraph(console, "text", failure.reason)


def _failure(text: str, status: str | None, error: str | None) -> Failure:
    if error is not None:
        return classify(fault=Fault(error, text))
    first, second = _statuses(status)
    return classify(status=first, secondary_status=second, failure_reason=text)


def _statuses(given: str | None) -> tuple[str | None, str | None]:
    """TrainingJobStatus and SecondaryStatus of `Stopped/MaxWaitTimeExceeded`, `Stopped` or `Interrupted`."""
    if given is None:
        return None, None
    first, slash, second = (part.strip() for part in given.partition("/"))
    if slash:
        _check(given, first, STATUSES)
        _check(given, second, SECONDARY_STATUSES)
        return first, second
    _check(given, first, STATUSES + SECONDARY_STATUSES)
    return (first, None) if first in STATUSES else (None, first)


def _check(given: str, name: str, allowed: tuple[str, ...]) -> None:
    if name not in allowed:
        known = ", ".join(dict.fromkeys(allowed))
        raise typer.BadParameter(f"--status: {given!r}: {name!r} must be one of {known}")
