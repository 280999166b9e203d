"""The HTTP API: which function answers which address, and how every refusal is written.

API Gateway has checked by IAM who calls.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.api_gateway import ResponseBuilder
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.exceptions import (
    RequestUnsupportedContentType,
    RequestValidationError,
)
from aws_lambda_powertools.event_handler.openapi.params import Body, Header, Path, Query
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from nightspot import __version__
from nightspot.api.models import (
    JobsList,
    RunOverrides,
    RunResource,
    RunsPage,
    RunStarted,
    RunStopping,
    findings_of,
)
from nightspot.api.queries import Wanted
from nightspot.api.routes import (
    MEDIA_TYPE,
    ROUTES,
    Operation,
    ProblemError,
    ProblemKind,
    busy,
    finished,
    invalid,
    methods_of,
    route_of,
)
from nightspot.aws.faults import NO_ANSWER, TransientAwsError, raise_if_transient
from nightspot.aws.runs.executions import StartRefusedError
from nightspot.failures.redaction import redact
from nightspot.lambdas import api_reads, api_writes
from nightspot.lambdas.api_reads import ApiDependencies, api_dependencies
from nightspot.lambdas.observability import count, entry, logger
from nightspot.record.model import RunState
from nightspot.run.reasons import Reason

LOOK_SECONDS = 30  # after which a run that goes on is worth another look
# Nothing of it is for a cache or for a browser's guess; and no CORS header at all, so no page of others reads it.
SECURITY_HEADERS: Mapping[str, str] = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Function = TypeVar("Function", bound=Callable[..., Any])

app = APIGatewayRestResolver(enable_validation=True, response_validation_error_http_code=500)

JobName = Annotated[str, Path(description="The job's name, as its file says.")]
RunId = Annotated[str, Path(description="The run's id, such as 20261121-25feuomo.")]
Overrides = Annotated[RunOverrides | None, Body(description="What this run does otherwise; none is fine.")]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=128,
        pattern="^[ -~]+$",
        description="Any text of yours, printable ASCII: the same key and request start one run, however often "
        "they come; the same key with another request is refused.",
    ),
]


def _route(operation: Operation) -> Callable[[Function], Function]:
    route = ROUTES[operation]
    register: Callable[[Function], Function] = app.route(
        route.path.replace("{", "<").replace("}", ">"),
        route.method,
        summary=route.summary,
        description=route.description,
        operation_id=operation.value,
        status_code=route.success,
        response_description=HTTPStatus(route.success).phrase,
    )
    return register


def _on(*errors: type[Exception]) -> Callable[[Function], Function]:
    """Answer `errors` with what the function says, wherever in a route they are raised."""
    register: Callable[[Function], Function] = app.exception_handler(list(errors))
    return register


@_route(Operation.LIST_JOBS)
def list_jobs() -> JobsList:
    """Every deployed job."""
    return api_reads.jobs_list(_use())


@_route(Operation.START_RUN)
def start_run(job: JobName, overrides: Overrides = None, key: Key = None) -> Response[RunStarted]:
    """A run of the job, now."""
    return _started(api_writes.start_run(_use(), job, overrides, key=key, caller=_caller()))


@_route(Operation.LIST_RUNS)
def list_runs(
    job: Annotated[
        str | None, Query(description="Only this job's; also one that is no longer deployed.")
    ] = None,
    outcome: Annotated[
        list[Wanted] | None, Query(description="Only these; may be repeated. succeeded: in_time or late.")
    ] = None,
    reason: Annotated[
        list[Reason] | None, Query(description="Only what fell back to on-demand for this; may be repeated.")
    ] = None,
    since: Annotated[
        str | None, Query(description="Started at or after: a duration ago (7d, 36h) or an ISO 8601 time.")
    ] = None,
    month: Annotated[str | None, Query(description="Started in this month (UTC), such as 2026-11.")] = None,
    limit: Annotated[
        int, Query(ge=1, le=api_reads.MOST_RUNS, description="At most so many.")
    ] = api_reads.DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> RunsPage:
    """A page of runs, the newest first."""
    return api_reads.runs_page(
        _use(),
        job=job,
        outcome=outcome or (),
        reason=reason or (),
        since=since,
        month=month,
        limit=limit,
        cursor=cursor,
    )


@_route(Operation.GET_RUN)
def get_run(id: RunId) -> Response[RunResource]:  # noqa: A002 - the address's own word
    """The record of a run."""
    record = api_reads.run_record(_use(), id)
    headers = {"Retry-After": str(LOOK_SECONDS)} if record.outcome is RunState.RUNNING else {}
    return Response(200, "application/json", record, headers=headers)


@_route(Operation.STOP_RUN)
def stop_run(id: RunId) -> RunStopping:  # noqa: A002
    """The end of a run, for good."""
    return api_writes.stop_run(_use(), id, caller=_caller())


@_route(Operation.RETRY_RUN)
def retry_run(id: RunId, overrides: Overrides = None, key: Key = None) -> Response[RunStarted]:  # noqa: A002
    """A run from the last checkpoint of another one."""
    return _started(api_writes.retry_run(_use(), id, overrides, key=key, caller=_caller()))


@_route(Operation.GET_DOCUMENT)
def get_document() -> dict[str, Any]:
    """The OpenAPI document, with the address at which it was asked for."""
    asked = app.current_event.request_context.path or ""
    return document(asked.removesuffix(ROUTES[Operation.GET_DOCUMENT].path) or "/")


@cache
def _written() -> str:
    """What the resolver writes of its routes, as JSON."""
    written = app.get_openapi_schema(
        title="Nightspot",
        version=__version__,
        description="Starts, watches, stops and retries runs of training jobs. Every request is signed (SigV4).",
    )
    return str(written.model_dump_json(by_alias=True, exclude_none=True))


def document(server: str) -> dict[str, Any]:
    """The OpenAPI document of the API at `server`."""
    return finished(json.loads(_written()), server)


@entry("ApiRequest")
def handler(
    event: dict[str, Any], context: LambdaContext, *, use: ApiDependencies | None = None
) -> dict[str, Any]:
    """The answer to an event of API Gateway's Lambda proxy integration; whatever goes wrong is a problem.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    try:
        api_reads.check(event)
    except ProblemError as error:
        builder: ResponseBuilder[APIGatewayProxyEvent] = ResponseBuilder(_answer(error, event["path"]))
        answer = builder.build(APIGatewayProxyEvent(event))
    else:
        app.context["use"] = use or api_dependencies()
        answer = app.resolve(api_reads.as_json(event), context)
    for name, value in SECURITY_HEADERS.items():
        answer["multiValueHeaders"][name] = [value]
    _log(event, answer)
    return answer


def _log(event: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    route = route_of(event["httpMethod"], event["path"])
    status = int(answer["statusCode"])
    if status >= 500:
        count("ApiFault")
    caller = ((event.get("requestContext") or {}).get("identity") or {}).get("userArn")
    logger.info(
        "request answered",
        extra={
            "method": event["httpMethod"],
            "route": route.path if route else None,
            "status": status,
            "caller": caller,
        },
    )


@_on(ProblemError)
def _refused(error: ProblemError) -> Response[Any]:
    return _answer(error, app.current_event.path)


@_on(NotFoundError)
def _not_found(_error: NotFoundError) -> Response[Any]:
    path, method = app.current_event.path, app.current_event.http_method
    methods = methods_of(path)
    if not methods or method in methods:
        return _refused(api_reads.unknown_address(method, path, _use()))
    allowed = ", ".join(methods)
    return _refused(
        ProblemError(
            ProblemKind.WRONG_METHOD,
            f"{method}: this address takes {allowed}.",
            headers={"Allow": allowed},
        )
    )


@_on(RequestValidationError)
def _invalid(error: RequestValidationError) -> Response[Any]:
    return _refused(invalid(findings_of(error.errors())))


@_on(RequestUnsupportedContentType)
def _wrong_media_type(_error: RequestUnsupportedContentType) -> Response[Any]:
    return _refused(api_reads.wrong_media_type(app.current_event.headers["content-type"]))


@_on(TransientAwsError, *NO_ANSWER)
def _busy(error: Exception) -> Response[Any]:
    logger.warning("AWS could not answer", extra={"error": str(error)})
    return _refused(busy())


@_on(StartRefusedError, ClientError, BotoCoreError)
def _refused_by_aws(error: Exception) -> Response[Any]:
    if isinstance(error, ClientError):
        try:
            raise_if_transient(error)
        except TransientAwsError as passing:
            return _busy(passing)
    logger.error("AWS refused", extra={"error": str(error)})
    return _refused(ProblemError(ProblemKind.REFUSED_BY_AWS, redact(str(error))))


@_on(Exception)
def _unexpected(error: Exception) -> Response[Any]:
    logger.error("a request could not be answered", exc_info=error)
    return _refused(ProblemError(ProblemKind.INTERNAL, "The reason is in the log of the function Api."))


def _answer(error: ProblemError, path: str) -> Response[Any]:
    problem = error.problem.model_copy(update={"instance": path})
    return Response(
        int(problem.status or 500),
        MEDIA_TYPE,
        problem.model_dump_json(exclude_none=True),
        headers=dict(error.headers),
    )


def _started(started: RunStarted) -> Response[RunStarted]:
    return Response(202, "application/json", started, headers={"Location": started.links.self})


def _use() -> ApiDependencies:
    use: ApiDependencies = app.context["use"]
    return use


def _caller() -> str | None:
    """The ARN of who signed the request; None on a machine of one's own, where nobody has to."""
    return app.current_event.request_context.identity.user_arn
