"""How the API is served on this machine: to whom, by which server, and with what behind it.

An API Gateway REST API stands in between: what it makes of an HTTP request, an event for a Lambda function, and of
the function's answer. A request that it refuses itself gets problem+json (RFC 9457), with AWS's own word in
`message`.
"""

from __future__ import annotations

import base64
import json
import logging
import socket
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from werkzeug.exceptions import HTTPException
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request as Received

from nightspot.aws.runs.executions import Starter
from nightspot.aws.runs.training_jobs import Stopper
from nightspot.job.model import Job
from nightspot.lambdas import api
from nightspot.lambdas.api_reads import ApiDependencies
from nightspot.local.sagemaker.markets import Markets, SimulatedMarket
from nightspot.local.stage import staging
from nightspot.local.stage.emulated_aws import bound
from nightspot.local.stage.engine import Handler
from nightspot.local.stage.night_files import Night
from nightspot.local.stage.session import Stage

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

HOST = "127.0.0.1"  # never anybody else's network
DAY_SECONDS = 86_400.0
# So long a script repeats itself; at 480 seconds of the story in one, half a year is nine hours.
DAYS = 180
_BACKLOG = 128  # connections that wait for the server to take them
IDLE_SECONDS = 10.0  # without a byte, and a connection is closed
# Not below "nightspot", whose logger writes what the functions log.
_log = logging.getLogger("local-api")

ACCOUNT = "123456789012"
# "Payload size": https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
LARGEST_BODY_BYTES = 10 * 1024 * 1024

Pairs = list[tuple[str, str]]
Answer = tuple[int, Pairs, bytes]


@dataclass(frozen=True)
class Request:
    """An HTTP request as it came in: `path` still percent-encoded, query and headers in their order."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]  # decoded
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """A header's value, whatever the case of its name; of several, all with commas; None: not there."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ",".join(values) if values else None


@dataclass(frozen=True)
class RequestSender:
    """Who sent a request; `user_arn` is None where nobody had to say so."""

    user_arn: str | None
    access_key: str | None = None


@dataclass(frozen=True)
class Refusal:
    """Why the gateway does not let a request through: a status, AWS's message, and AWS's name of the error."""

    status: int
    message: str
    error_type: str | None = None


Authorise = Callable[[Request], RequestSender | Refusal]

# API Gateway's answer to who does not sign, and to who asks for an address that it does not have.
NO_TOKEN = Refusal(403, "Missing Authentication Token", "MissingAuthenticationTokenException")


def event_of(
    method: str,
    path: str,
    query: Pairs,
    headers: Pairs,
    body: bytes,
    *,
    identity_arn: str | None,
    stage: str = "v1",
    stage_in_path: bool = True,
    access_key: str | None = None,
) -> dict[str, Any]:
    """The event of a Lambda proxy integration, format 1.0, as a `{proxy+}` resource sends it.

    `path` is below the stage and percent-encoded, as REST APIs pass it on; `query` is decoded. A body that is no
    UTF-8 text comes as base64. Where a key repeats, the plain mapping has its last value and the multi-value one
    all. `stage_in_path`: whether the address that was asked for has the stage, as AWS's own do and those below a
    domain name of one's own do not.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    try:
        text, is_base64 = body.decode() or None, False
    except UnicodeDecodeError:
        text, is_base64 = base64.b64encode(body).decode(), True
    now = datetime.now(UTC)
    caller = access_key and f"{access_key}:caller"
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": dict(headers) or None,
        "multiValueHeaders": _multi(headers),
        "queryStringParameters": dict(query) or None,
        "multiValueQueryStringParameters": _multi(query),
        "pathParameters": {"proxy": path.lstrip("/")},
        "stageVariables": None,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "local",
            "domainName": "localhost",
            "extendedRequestId": uuid.uuid4().hex,
            "httpMethod": method,
            "identity": {
                "accessKey": access_key,
                "accountId": ACCOUNT if identity_arn else None,
                "caller": caller,
                "sourceIp": HOST,
                "user": caller,
                "userAgent": next((value for key, value in headers if key.lower() == "user-agent"), None),
                "userArn": identity_arn,
            },
            "path": f"/{stage}{path}" if stage_in_path else path,
            "protocol": "HTTP/1.1",
            "requestId": str(uuid.uuid4()),
            "requestTime": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "requestTimeEpoch": int(now.timestamp() * 1000),
            "resourceId": "proxy",
            "resourcePath": "/{proxy+}",
            "stage": stage,
        },
        "body": text,
        "isBase64Encoded": is_base64,
    }


def _multi(pairs: Pairs) -> dict[str, list[str]] | None:
    values: dict[str, list[str]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    return values or None


def answer_of(response: Mapping[str, Any]) -> Answer:
    """Status, headers and body of what a function returned.

    A key in `multiValueHeaders` replaces the same one in `headers`, whatever their case. Raises where API Gateway
    would call it malformed and answer 502.
    """
    status = int(response["statusCode"])
    if not 100 <= status <= 599:
        raise ValueError(f"the function's statusCode {status} is no HTTP status")
    many = response.get("multiValueHeaders") or {}
    replaced = {key.lower() for key in many}
    single = (response.get("headers") or {}).items()
    headers = [(key, str(value)) for key, value in single if key.lower() not in replaced]
    headers += [(key, str(value)) for key, values in many.items() for value in values]
    body = (response.get("body") or "").encode()
    return status, headers, base64.b64decode(body, validate=True) if response.get("isBase64Encoded") else body


def problem(refusal: Refusal) -> Answer:
    """The answer of a gateway that refuses."""
    body = {
        "type": "about:blank",
        "title": _phrase(refusal.status),
        "status": refusal.status,
        "detail": refusal.message,
        "message": refusal.message,
    }
    headers = [("Content-Type", "application/problem+json")]
    if refusal.error_type is not None:
        headers.append(("x-amzn-ErrorType", refusal.error_type))
    return refusal.status, headers, json.dumps(body).encode()


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"


class Gateway:
    """A WSGI application that invokes `handler` with API Gateway's event for every request it lets through.

    `authorise` decides who may, before anything is invoked. `stage` is the stage's name, in the event; with
    `stage_in_path`, addresses begin with it, as AWS's own do. What the handler raises is given to `on_fault`
    and answered with 502, as API Gateway does; it says nothing of the reason.
    """

    def __init__(
        self,
        handler: Callable[[dict[str, Any]], Mapping[str, Any]],
        *,
        authorise: Authorise,
        stage: str = "v1",
        stage_in_path: bool = False,
        on_fault: Callable[[Exception], None] = lambda _error: None,
    ) -> None:
        self._handler = handler
        self._authorise = authorise
        self._stage = stage
        self._prefix = f"/{stage}" if stage_in_path else ""
        self._on_fault = on_fault

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        try:
            status, headers, body = self.answer(request_of(environ))
        except HTTPException as error:  # a body that is too long, or shorter than it says
            status, headers, body = problem(Refusal(error.code or 400, str(error.description)))
        kept = [(key, value) for key, value in headers if key.lower() != "content-length"]
        start_response(f"{status} {_phrase(status)}", [*kept, ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def answer(self, request: Request) -> Answer:
        """Status, headers and body of the answer to `request`."""
        identity = self._authorise(request)
        if isinstance(identity, Refusal):
            return problem(identity)
        if not request.path.startswith(f"{self._prefix}/"):
            return problem(NO_TOKEN)
        event = event_of(
            request.method,
            request.path.removeprefix(self._prefix),
            list(request.query),
            list(request.headers),
            request.body,
            identity_arn=identity.user_arn,
            stage=self._stage,
            stage_in_path=bool(self._prefix),
            access_key=identity.access_key,
        )
        try:
            status, headers, body = answer_of(self._handler(event))
        except Exception as error:  # whatever a function raises or returns, API Gateway answers
            self._on_fault(error)
            return problem(Refusal(502, "Internal server error", "InternalServerErrorException"))
        return status, [*headers, ("x-amzn-RequestId", event["requestContext"]["requestId"])], body


def request_of(environ: WSGIEnvironment) -> Request:
    """The request in a WSGI environment. Raises HTTPException where the body is too long, before it is read."""
    received = Received(environ)
    received.max_content_length = LARGEST_BODY_BYTES
    return Request(
        method=received.method,
        path=environ["REQUEST_URI"].partition("?")[0],  # in PATH_INFO, %2F and / look the same
        query=tuple(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)),
        headers=tuple(received.headers),
        body=received.get_data(),
    )


class PortError(Exception):
    """The port cannot be listened on."""


class NothingToServeError(ValueError):
    """None of the jobs can be trained on this machine."""


@dataclass(frozen=True)
class Playable:
    """The jobs that this machine can train, at the pace they all share, and those that it cannot."""

    jobs: Mapping[str, Job]
    left_out: tuple[str, ...]
    time_scale: float  # story seconds per real second


def playable(jobs: Mapping[str, Job], time_scale: float | None, seed: int | None = None) -> Playable:
    """The jobs with a local command, all at `time_scale`, or at the slowest of their own.

    `seed` goes into the hyperparameter `seed` of the jobs that have one. Raises NothingToServeError.
    """
    local = {name: job for name, job in jobs.items() if job.local is not None}
    if not local:
        named = ", ".join(sorted(jobs)) or "there is no job file"
        raise NothingToServeError(
            f"local: {named}: at least one job must say with local.command how to train it on this machine"
        )
    scale = time_scale or min(job.local.time_scale for job in local.values() if job.local is not None)
    ready = {name: staging.at_scale(job, scale) for name, job in local.items()}
    if seed is not None:
        ready = {
            name: staging.with_seed(job, seed)
            if "seed" in job.training_job.get("HyperParameters", {})
            else job
            for name, job in ready.items()
        }
    return Playable(ready, tuple(sorted(set(jobs) - set(local))), scale)


def every_day(night: Night) -> Night:
    """The night with its markets repeated every day of the story; a market that is longer than a day stays."""
    markets = night.markets
    return replace(
        night,
        markets=Markets(
            {name: _repeated(market) for name, market in markets.spot.items()},
            {name: _repeated(market) for name, market in markets.on_demand.items()},
            _repeated(markets.default_spot),
            _repeated(markets.default_on_demand),
        ),
    )


def loopback_only(port: int, then: Authorise) -> Authorise:
    """Refuses what a web page of somebody else's could send through this machine's browser, then asks `then`.

    A page can point a name of its own at 127.0.0.1 (DNS rebinding), which shows in Host; and it can send simple
    requests across origins without asking, which shows in Origin.
    """
    own = {f"localhost:{port}", f"{HOST}:{port}"}
    origins = {f"http://{address}" for address in own}

    def authorise(request: Request) -> RequestSender | Refusal:
        host = (request.header("Host") or "").lower()
        if host not in own:
            return Refusal(421, f"Host: {host!r}: must be {' or '.join(sorted(own))}")
        origin = request.header("Origin")
        if origin is not None and origin.lower() not in origins:
            return Refusal(403, f"Origin: {origin!r}: other sites' pages may not use this API")
        return then(request)

    return authorise


def as_user(user: str) -> Authorise:
    """Lets everybody through, as "local: USER": whoever can reach the loopback address is this machine's user."""
    return lambda _request: RequestSender(f"local: {user}")


def listening(port: int) -> socket.socket:
    """A socket that listens on the loopback address; port 0 takes any that is free. Raises PortError."""
    wanted = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        wanted.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wanted.bind((HOST, port))
        wanted.listen(_BACKLOG)
    except OSError as error:
        wanted.close()
        rule = "choose another one, or 0 for any that is free"
        raise PortError(f"--port: {port}: cannot be listened on ({error.strerror}); {rule}") from error
    return wanted


def api_of(stage: Stage) -> Handler:
    """The deployed API's handler, with collaborators that speak to the emulated AWS in the story's time."""
    table, executions = stage.dependencies.table, stage.dependencies.executions
    use = ApiDependencies(
        now=stage.clock.now,
        jobs=lambda: stage.jobs,
        table=table,
        starter=Starter(stage.workflows, stage.machine_arn, now=stage.clock.now),
        stopper=Stopper(table, stage.clients["sagemaker"], executions),
        executions=executions,
    )
    return bound({"Api": api.handler}, use, stage.one_at_a_time)["Api"]


@contextmanager
def serving(
    handler: Callable[[dict[str, Any]], Mapping[str, Any]],
    listener: socket.socket,
    authorise: Authorise,
    *,
    on_fault: Callable[[Exception], None] = lambda error: _log.error("the API failed", exc_info=error),
) -> Iterator[str]:
    """Inside: `handler` is served on `listener`, a thread for each request; gives the address.

    Afterwards no new request is taken, and the listener is closed.
    """
    port = int(listener.getsockname()[1])
    gateway = Gateway(handler, authorise=loopback_only(port, authorise), on_fault=on_fault)
    server = ThreadedWSGIServer(HOST, port, gateway, _QuietHandler, fd=listener.fileno())
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="local-api", daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{port}"
    finally:
        server.shutdown()
        thread.join(timeout=10)
        server.server_close()
        listener.close()


class _QuietHandler(WSGIRequestHandler):
    """Werkzeug's, without a line on the terminal for each request, and without its version in the answers."""

    timeout = IDLE_SECONDS

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        if type != "info":
            _log.warning(message, *args)

    def version_string(self) -> str:
        return "nightspot"


def _repeated(market: SimulatedMarket) -> SimulatedMarket:
    if len(market.spans) == 1 or market.spans[-1].start_seconds >= DAY_SECONDS:
        return market
    return SimulatedMarket(
        tuple(
            replace(span, start_seconds=span.start_seconds + day * DAY_SECONDS)
            for day in range(DAYS)
            for span in market.spans
        )
    )
