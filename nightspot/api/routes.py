"""The addresses of the API in one table, its refusals as RFC 9457 writes problems, and the OpenAPI document.

https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from nightspot.job.errors import Problem as Finding

MEDIA_TYPE = "application/problem+json"
BUSY_SECONDS = 5  # after which a call that AWS could not answer is worth repeating


class ProblemKind(StrEnum):
    """Why a request is not answered as it wished; the value stands at the end of a problem's `type`."""

    MALFORMED_BODY = "malformed-body"  # the body is no JSON object
    UNKNOWN_ADDRESS = "unknown-address"
    UNKNOWN_JOB = "unknown-job"
    UNKNOWN_RUN = "unknown-run"
    WRONG_METHOD = "wrong-method"
    RUN_IS_OPEN = "run-is-open"  # another one, and the job or its checkpoints let only one run at a time
    RUN_IS_NOT_OVER = "run-is-not-over"  # so it cannot be retried
    RUN_HAS_SUCCEEDED = "run-has-succeeded"  # likewise; or a retry of it has
    KEY_IS_TAKEN = "key-is-taken"  # an Idempotency-Key came again with another request
    BODY_TOO_LARGE = "body-too-large"
    WRONG_MEDIA_TYPE = "wrong-media-type"
    INVALID_INPUT = "invalid-input"
    INTERNAL = "internal"
    REFUSED_BY_AWS = "refused-by-aws"
    AWS_IS_BUSY = "aws-is-busy"


@dataclass(frozen=True)
class Shape:
    """What all problems of a kind have in common."""

    status: int
    title: str


SHAPES: Mapping[ProblemKind, Shape] = {
    ProblemKind.MALFORMED_BODY: Shape(400, "The body is not a JSON object"),
    ProblemKind.UNKNOWN_ADDRESS: Shape(404, "There is nothing at this address"),
    ProblemKind.UNKNOWN_JOB: Shape(404, "There is no such job"),
    ProblemKind.UNKNOWN_RUN: Shape(404, "There is no such run"),
    ProblemKind.WRONG_METHOD: Shape(405, "This address does not take this method"),
    ProblemKind.RUN_IS_OPEN: Shape(409, "Another run of the job is going on"),
    ProblemKind.RUN_IS_NOT_OVER: Shape(409, "The run is not over"),
    ProblemKind.RUN_HAS_SUCCEEDED: Shape(409, "The run has succeeded"),
    ProblemKind.KEY_IS_TAKEN: Shape(409, "The Idempotency-Key belongs to another request"),
    ProblemKind.BODY_TOO_LARGE: Shape(413, "The body is too large"),
    ProblemKind.WRONG_MEDIA_TYPE: Shape(415, "The body must be application/json"),
    ProblemKind.INVALID_INPUT: Shape(422, "The request breaks a rule"),
    ProblemKind.INTERNAL: Shape(500, "The request could not be answered"),
    ProblemKind.REFUSED_BY_AWS: Shape(502, "AWS refused"),
    ProblemKind.AWS_IS_BUSY: Shape(503, "AWS could not answer just now"),
}


class FieldError(BaseModel):
    """A field that breaks a rule. What may be a secret is described in `value`, never shown."""

    field: str = Field(description="Where it stands: `capacity.spot[0]`, or the name of a parameter.")
    value: str = Field(description="What stands there, in short.")
    rule: str = Field(description="The rule, as a sentence.")


class ApiProblem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    model_config = ConfigDict(frozen=True, title="Problem")

    type: str = Field(default="about:blank", description="The kind of problem: urn:nightspot:problem:…")
    title: str = Field(description="The kind in words; the same for all problems of a type.")
    status: int | None = Field(default=None, description="The HTTP status again.", ge=400, le=599)
    detail: str | None = Field(default=None, description="What is the matter with this request.")
    instance: str | None = Field(default=None, description="The address that was asked.")
    errors: list[FieldError] | None = Field(default=None, description="Every field that breaks a rule.")
    run: str | None = Field(default=None, description="The address of the run that is in the way.")


class ProblemError(Exception):
    """A request is refused; `problem` is the answer's body and `headers` go with it."""

    def __init__(
        self,
        kind: ProblemKind,
        detail: str,
        *,
        errors: Iterable[Finding] = (),
        headers: Mapping[str, str] | None = None,
        run: str | None = None,
    ) -> None:
        super().__init__(detail)
        shape = SHAPES[kind]
        fields = [FieldError(field=one.field, value=one.value, rule=one.rule) for one in errors]
        self.kind = kind
        self.headers = dict(headers or {})
        self.problem = ApiProblem(
            type=f"urn:nightspot:problem:{kind.value}",
            title=shape.title,
            status=shape.status,
            detail=detail,
            errors=fields or None,
            run=run,
        )


def invalid(findings: Iterable[Finding]) -> ProblemError:
    """The refusal of what breaks rules, every one of them in `errors`."""
    found = tuple(findings)
    return ProblemError(ProblemKind.INVALID_INPUT, "; ".join(str(one) for one in found), errors=found)


def busy() -> ProblemError:
    """The refusal where AWS throttles or has a fault that may pass."""
    return ProblemError(
        ProblemKind.AWS_IS_BUSY,
        "AWS could not answer just now; the same request may go through later.",
        headers={"Retry-After": str(BUSY_SECONDS)},
    )


_STARTING = (
    ProblemKind.MALFORMED_BODY,
    ProblemKind.RUN_IS_OPEN,
    ProblemKind.KEY_IS_TAKEN,
    ProblemKind.BODY_TOO_LARGE,
    ProblemKind.WRONG_MEDIA_TYPE,
    ProblemKind.INVALID_INPUT,
)
ANY = (ProblemKind.INTERNAL, ProblemKind.REFUSED_BY_AWS, ProblemKind.AWS_IS_BUSY)
# What API Gateway itself answers in front of every route: who may not, who asks too often, whom it cannot serve.
GATEWAY_STATUSES = (403, 429, 504)


class Operation(StrEnum):
    """What a client can ask for."""

    LIST_JOBS = "listJobs"
    START_RUN = "startRun"
    LIST_RUNS = "listRuns"
    GET_RUN = "getRun"
    STOP_RUN = "stopRun"
    RETRY_RUN = "retryRun"
    GET_DOCUMENT = "getDocument"


@dataclass(frozen=True)
class Route:
    """One method of one address. `path` is as OpenAPI writes it."""

    method: str
    path: str
    summary: str
    description: str
    success: int = 200
    kinds: tuple[ProblemKind, ...] = ()  # how it refuses, beside what any route may say
    query: tuple[str, ...] = ()  # the parameters it knows
    repeated: tuple[str, ...] = ()  # those of them that may come several times
    headers: tuple[str, ...] = ()  # of a successful answer, beside those that every answer has
    has_body: bool = False

    @property
    def statuses(self) -> tuple[int, ...]:
        """Every status of a refusal, in order."""
        kinds = {SHAPES[kind].status for kind in (*self.kinds, *ANY)}
        return tuple(sorted(kinds | set(GATEWAY_STATUSES)))

    def matches(self, path: str) -> bool:
        """Whether `path`, below the stage, is this address; a slash at the end does not count."""
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(self.path))
        return re.fullmatch(pattern, path.rstrip("/")) is not None


ROUTES: Mapping[Operation, Route] = {
    Operation.LIST_JOBS: Route(
        "GET",
        "/jobs",
        "List the jobs",
        "Every deployed job: schedule, deadline, ladder, how its last run ended and what the month has cost.",
        kinds=(ProblemKind.INVALID_INPUT,),
    ),
    Operation.START_RUN: Route(
        "POST",
        "/jobs/{job}/runs",
        "Start a run",
        "Starts a run of the job. The body is what this run does otherwise than the job file says; none is fine. "
        "202 says that its execution has begun: what its plan finds is in the run's record. An input that the plan "
        "refuses leaves no record; then the execution says why.",
        success=202,
        kinds=(*_STARTING, ProblemKind.UNKNOWN_JOB),
        headers=("Location",),
        has_body=True,
    ),
    Operation.LIST_RUNS: Route(
        "GET",
        "/runs",
        "List runs",
        "Runs, the newest first. A page may hold fewer than `limit`, or none: ask on until `next` is null.",
        kinds=(ProblemKind.UNKNOWN_JOB, ProblemKind.INVALID_INPUT),
        query=("job", "outcome", "reason", "since", "month", "limit", "cursor"),
        repeated=("outcome", "reason"),
    ),
    Operation.GET_RUN: Route(
        "GET",
        "/runs/{id}",
        "Get a run",
        "The run's record with its attempts, their phases and every decision. While it is going on, the header "
        "Retry-After says when to ask again. In its first seconds a run may not be on record yet: 404.",
        kinds=(ProblemKind.UNKNOWN_RUN, ProblemKind.INVALID_INPUT),
        headers=("Retry-After",),
    ),
    Operation.STOP_RUN: Route(
        "POST",
        "/runs/{id}/stop",
        "Stop a run",
        "Stops the run's training job and ends the run, for good: nothing more is bought. May be repeated.",
        success=202,
        kinds=(
            ProblemKind.MALFORMED_BODY,
            ProblemKind.UNKNOWN_RUN,
            ProblemKind.BODY_TOO_LARGE,
            ProblemKind.WRONG_MEDIA_TYPE,
            ProblemKind.INVALID_INPUT,
        ),
    ),
    Operation.RETRY_RUN: Route(
        "POST",
        "/runs/{id}/retry",
        "Retry a run",
        "Starts a run that continues from the last checkpoint of this one. The body is merged over this run's "
        "overrides, key by key; null takes one back. 202 says what it says of a start.",
        success=202,
        kinds=(
            *_STARTING,
            ProblemKind.UNKNOWN_JOB,
            ProblemKind.UNKNOWN_RUN,
            ProblemKind.RUN_IS_NOT_OVER,
            ProblemKind.RUN_HAS_SUCCEEDED,
        ),
        headers=("Location",),
        has_body=True,
    ),
    Operation.GET_DOCUMENT: Route(
        "GET",
        "/openapi.json",
        "Get this document",
        "The API's OpenAPI document.",
        kinds=(ProblemKind.INVALID_INPUT,),
    ),
}


def route_of(method: str, path: str) -> Route | None:
    """The route of a request; None where there is none."""
    return next((route for route in ROUTES.values() if route.method == method and route.matches(path)), None)


def methods_of(path: str) -> tuple[str, ...]:
    """The methods that an address takes; none where there is no such address."""
    return tuple(sorted({route.method for route in ROUTES.values() if route.matches(path)}))


_GATEWAY_TITLES = {
    403: "The request is not signed, or its signer may not do this",
    429: "Too many requests",
    504: "The API did not answer in time",
}
_HEADERS: Mapping[str, dict[str, Any]] = {
    "Location": {"description": "The address of the run.", "schema": {"type": "string"}},
    "Retry-After": {
        "description": "Seconds after which to ask again.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
}
_SCHEMAS = "#/components/schemas/"
_REFERENCE = {"$ref": f"{_SCHEMAS}Problem"}
# How API Gateway marks a method of IAM in its own exports.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions-authtype.html
SIGNED: dict[str, Any] = {
    "type": "apiKey",
    "in": "header",
    "name": "Authorization",
    "description": "AWS Signature Version 4, for the service execute-api.",
    "x-amazon-apigateway-authtype": "awsSigv4",
}


def finished(written: Mapping[str, Any], server: str) -> dict[str, Any]:
    """The document as the API gives it out: the same for the same version and `server`, the API's own address."""
    schemas = {
        **written["components"]["schemas"],
        "Problem": _problem_schema(),
        "FieldError": ApiProblem.model_json_schema()["$defs"]["FieldError"],
    }
    paths = {route.path: _path(written["paths"][route.path]) for route in ROUTES.values()}
    used = _used(paths, schemas, set())
    return {
        **written,
        "servers": [{"url": server}],
        "security": [{"sigv4": []}],
        "paths": paths,
        "components": {
            "schemas": {name: schemas[name] for name in sorted(used)},
            "securitySchemes": {"sigv4": SIGNED},
        },
    }


def _path(written: Mapping[str, Any]) -> dict[str, Any]:
    return {method: _operation(operation) for method, operation in written.items()}


def _operation(written: Mapping[str, Any]) -> dict[str, Any]:
    operation = Operation(written["operationId"])
    route = ROUTES[operation]
    success = dict(written["responses"][str(route.success)])
    if route.headers:
        success["headers"] = {name: _HEADERS[name] for name in route.headers}
    responses = {str(route.success): success}
    for status in route.statuses:
        responses[str(status)] = _refusal(route, status)
    parameters = {"parameters": [_parameter(one) for one in written.get("parameters", ())]}
    return {**written, **(parameters if parameters["parameters"] else {}), "responses": responses}


def _parameter(written: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter without null, which no address can say, and with its header's name as people write it."""
    schema = {key: value for key, value in written["schema"].items() if key not in {"title", "description"}}
    choices = [one for one in schema.pop("anyOf", ()) if one != {"type": "null"}]
    name = written["name"].title() if written["in"] == "header" else written["name"]
    return {**written, "name": name, "schema": {**schema, **(choices[0] if choices else {})}}


def _refusal(route: Route, status: int) -> dict[str, Any]:
    titles = [SHAPES[kind].title for kind in (*route.kinds, *ANY) if SHAPES[kind].status == status]
    described = "; or: ".join(titles) or _GATEWAY_TITLES[status]
    with_retry = {"headers": {"Retry-After": _HEADERS["Retry-After"]}} if status in {429, 503} else {}
    return {"description": f"{described}.", "content": {MEDIA_TYPE: {"schema": _REFERENCE}}, **with_retry}


def _used(part: Any, schemas: Mapping[str, Any], seen: set[str]) -> set[str]:
    """The names of the schemas that `part` leads to, added to `seen`."""
    if isinstance(part, dict):
        name = str(part.get("$ref", "")).removeprefix(_SCHEMAS)
        if name and name not in seen:
            seen.add(name)
            _used(schemas[name], schemas, seen)
        part = list(part.values())
    for inner in part if isinstance(part, list) else ():
        _used(inner, schemas, seen)
    return seen


def _problem_schema() -> dict[str, Any]:
    schema = ApiProblem.model_json_schema(ref_template=_SCHEMAS + "{model}")
    return {name: value for name, value in schema.items() if name != "$defs"}
