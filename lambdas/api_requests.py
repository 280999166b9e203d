"""What an API request is answered with (`ApiDependencies`), and which requests are read at all: by the size, media
type and shape of the body, and by whether every parameter is known and given once.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from nightspot.api.problems import ProblemError, ProblemKind, invalid
from nightspot.api.routes import Route, route_of
from nightspot.aws.runs.executions import Executions, Starter
from nightspot.aws.runs.stopping import Stopper
from nightspot.aws.table.run_table import RunTable
from nightspot.job.errors import Problem, describe, nearest
from nightspot.lambdas.dependencies import dependencies, late_client, read_environment

if TYPE_CHECKING:
    from datetime import datetime

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
        given = json.loads(body.decode(), parse_constant=_no_number)
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


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


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
