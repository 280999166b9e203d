"""`nightspot explain`: what a document or a text says of a training job, and what is said about it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console

from nightspot.cli._shared import ExitStatus, Json, mistakes, print_json
from nightspot.documents.errors import PLAIN
from nightspot.documents.model import Document, End, Found
from nightspot.documents.opening import open_document
from nightspot.failures.classify import Fault
from nightspot.failures.explanations import explain as explained
from nightspot.failures.redaction import redact
from nightspot.formats.statuses import Secondary, Status
from nightspot.job.errors import InvalidJobError, Problem
from nightspot.terminal.lines import console_for, paragraph

STATUSES = tuple(Status)
SECONDARY_STATUSES = tuple(Secondary)


def explain(
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="[TEXT]",
            help="FailureReason, error, traceback, log, or a document of AWS's as JSON or YAML; - reads "
            "standard input.",
        ),
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
    """Say what a failure or a state is, what a run does about it, and what to do."""
    given: str | bytes = text or ""
    if text == "-":
        given = sys.stdin.buffer.read()
    if not given.strip() and status is None and not error:
        raise typer.BadParameter("nothing to explain: give TEXT, --status or --error")
    if status is not None and error is not None:
        raise typer.BadParameter(
            "--status is how a training job ended, --error why a call was refused: give one of the two"
        )
    with mistakes(ExitStatus.USAGE, "standard input" if text == "-" else "TEXT"):
        document = _document(given, status, error)
        first, *others = [_as_json(found, document.kind) for found in _ends(document)]
    if as_json:
        print_json({**first, "others": others})
        return
    console = console_for()
    if document.kind != PLAIN:
        paragraph(console, "document", document.kind)
    _show(console, first)
    for other in others[:_MOST_SHOWN]:
        paragraph(console, "also", _in_a_line(other))
    if len(others) > _MOST_SHOWN:
        paragraph(console, "also", f"{len(others) - _MOST_SHOWN} more; --json has them all")


_MOST_SHOWN = 20
# The class of what is no failure, beside the classes of failures.
NOT_A_FAILURE = "not_a_failure"


def _document(given: str | bytes, status: str | None, error: str | None) -> Document:
    if status is None and error is None:
        return open_document(given, lenient=True, source="nightspot explain")
    words = given if isinstance(given, str) else given.decode(errors="replace")
    if error is not None:
        return Document(PLAIN, (Found(end=End(fault=Fault(error, words))),))
    first, second = _statuses(status)
    return Document(PLAIN, (Found(end=End(first, second, words)),))


def _ends(document: Document) -> tuple[Found, ...]:
    """What there is to explain, failures before all else. Raises InvalidJobError where there is nothing."""
    if document.ends:
        # The order of a history is its own: it says what counts.
        failed = [found for found in document.ends if found.end is not None and found.end.state is None]
        return tuple(failed) or document.ends if _is_list(document) else document.ends
    what = document.missing or "it says nothing of a training job"
    if document.requests:
        what = (
            "it says what is asked for, not what became of it; give the FailureReason, or what "
            "aws sagemaker describe-training-job answers"
        )
    raise InvalidJobError(
        [Problem("(document)", document.kind, f"nothing to explain: {what}")], "nightspot explain"
    )


def _is_list(document: Document) -> bool:
    return len({found.name for found in document.ends}) > 1


def _as_json(found: Found, kind: str) -> dict[str, Any]:
    end = found.end or End()
    about = {"document": kind, "job": redact(found.name) or None, "where": redact(found.where) or None}
    state = end.state
    if state is not None:
        said = state.explanation
        return {
            "class": NOT_A_FAILURE,
            "meaning": said.meaning,
            "answer": said.answer,
            "advice": said.advice,
            "quota_market": None,
            "text": redact(state.name),
            **about,
        }
    failure = end.failure
    explained_here = explained(failure)
    market = failure.quota_market
    return {
        "class": failure.failure.value,
        "meaning": explained_here.meaning,
        "answer": explained_here.answer,
        "advice": explained_here.advice,
        "quota_market": None if market is None else market.value,
        "text": failure.reason,
        **about,
    }


def _show(console: Console, said: Mapping[str, Any]) -> None:
    if said["job"] or said["where"]:
        paragraph(console, "job", " in ".join(filter(None, (said["job"], said["where"]))))
    paragraph(console, "class", said["class"], "bold")
    paragraph(console, "meaning", said["meaning"])
    paragraph(console, "a run", said["answer"])
    paragraph(console, "you", said["advice"])
    if said["text"]:
        paragraph(console, "text", said["text"])


def _in_a_line(said: Mapping[str, Any]) -> str:
    name = said["job"] or said["where"] or ""
    text = said["text"] if len(said["text"]) <= 120 else said["text"][:119] + "…"
    return ": ".join(filter(None, (name, said["class"], text)))


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
