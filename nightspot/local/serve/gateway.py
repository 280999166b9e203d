"""What an API Gateway REST API makes of an HTTP request: the event for a Lambda function, and the answer.

A request that the gateway refuses itself gets problem+json (RFC 9457), with AWS's own word in `message`.
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

ACCOUNT = "123456789012"
PROBLEM = "application/problem+json"
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
    remote_address: str = "127.0.0.1"

    def header(self, name: str) -> str | None:
        """A header's value, whatever the case of its name; of several, all with commas; None: not there."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ",".join(values) if values else None


@dataclass(frozen=True)
class Identity:
    """Who sent a request; `user_arn` is None where nobody had to say so."""

    user_arn: str | None
    access_key: str | None = None


@dataclass(frozen=True)
class Refusal:
    """Why the gateway does not let a request through: a status, AWS's message, and AWS's name of the error."""

    status: int
    message: str
    error_type: str | None = None


Authorise = Callable[[Request], Identity | Refusal]


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
    source_ip: str = "127.0.0.1",
    now: datetime | None = None,
) -> dict[str, Any]:
    """The event of a Lambda proxy integration, format 1.0, as a `{proxy+}` resource sends it.

    `path` is below the stage and percent-encoded, as REST APIs pass it on; `query` is decoded. A body that is no
    UTF-8 text comes as base64. Where a key repeats, the plain mapping has its last value and the multi-value one
    all. `stage_in_path`: whether the address that was asked for has the stage, as AWS's own do and those below a
    domain name of one's own do not.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    text, is_base64 = _body_text(body)
    at = now or datetime.now(UTC)
    agent = next((value for key, value in headers if key.lower() == "user-agent"), None)
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
            "identity": _identity(identity_arn, access_key, source_ip, agent),
            "path": f"/{stage}{path}" if stage_in_path else path,
            "protocol": "HTTP/1.1",
            "requestId": str(uuid.uuid4()),
            "requestTime": at.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "requestTimeEpoch": int(at.timestamp() * 1000),
            "resourceId": "proxy",
            "resourcePath": "/{proxy+}",
            "stage": stage,
        },
        "body": text,
        "isBase64Encoded": is_base64,
    }


def answer_of(response: Mapping[str, Any]) -> Answer:
    """Status, headers and body of what a function returned.

    A key in `multiValueHeaders` replaces the same one in `headers`, whatever their case. Raises ValueError, with
    what is wrong, where API Gateway would call it malformed and answer 502.
    """
    try:
        status = int(response["statusCode"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError("the function's answer has no statusCode that is a number") from error
    if not 100 <= status <= 599:
        raise ValueError(f"the function's statusCode {status} is no HTTP status")
    many = response.get("multiValueHeaders") or {}
    replaced = {key.lower() for key in many}
    single = (response.get("headers") or {}).items()
    headers = [(key, str(value)) for key, value in single if key.lower() not in replaced]
    headers += [(key, str(value)) for key, values in many.items() for value in values]
    body = response.get("body") or ""
    if not isinstance(body, str):
        raise ValueError("the function's body is no text")
    if not response.get("isBase64Encoded"):
        return status, headers, body.encode()
    try:
        return status, headers, base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise ValueError("the function's body is not the base64 that it says it is") from error


def problem(refusal: Refusal) -> Answer:
    """The answer of a gateway that refuses."""
    body = {
        "type": "about:blank",
        "title": _phrase(refusal.status),
        "status": refusal.status,
        "detail": refusal.message,
        "message": refusal.message,
    }
    headers = [("Content-Type", PROBLEM)]
    if refusal.error_type is not None:
        headers.append(("x-amzn-ErrorType", refusal.error_type))
    return refusal.status, headers, json.dumps(body).encode()


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
        request = request_of(environ)
        status, headers, body = self.answer(request) if isinstance(request, Request) else problem(request)
        kept = [(key, value) for key, value in headers if key.lower() != "content-length"]
        start_response(f"{status} {_phrase(status)}", [*kept, ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def answer(self, request: Request) -> Answer:
        """Status, headers and body of the answer to `request`."""
        identity = self._authorise(request)
        if isinstance(identity, Refusal):
            return problem(identity)
        path = request.path.removeprefix(self._prefix)
        if not request.path.startswith(f"{self._prefix}/"):
            return problem(NO_TOKEN)
        event = event_of(
            request.method,
            path,
            list(request.query),
            list(request.headers),
            request.body,
            identity_arn=identity.user_arn,
            stage=self._stage,
            stage_in_path=bool(self._prefix),
            access_key=identity.access_key,
            source_ip=request.remote_address,
        )
        return self._invoked(event)

    def _invoked(self, event: dict[str, Any]) -> Answer:
        try:
            status, headers, body = answer_of(self._handler(event))
        except Exception as error:  # whatever a function raises or returns, API Gateway answers
            self._on_fault(error)
            return problem(Refusal(502, "Internal server error", "InternalServerErrorException"))
        return status, [*headers, ("x-amzn-RequestId", event["requestContext"]["requestId"])], body


# API Gateway's answer to who does not sign, and to who asks for an address that it does not have.
NO_TOKEN = Refusal(403, "Missing Authentication Token", "MissingAuthenticationTokenException")


def request_of(environ: WSGIEnvironment) -> Request | Refusal:
    """The request in a WSGI environment, or why it cannot be read; no more of its body than may be sent is read."""
    body = _read_body(environ)
    if isinstance(body, Refusal):
        return body
    return Request(
        method=environ["REQUEST_METHOD"],
        path=_raw_path(environ) or "/",
        query=tuple(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)),
        headers=tuple(_headers(environ)),
        body=body,
        remote_address=environ.get("REMOTE_ADDR", "127.0.0.1"),
    )


def _raw_path(environ: WSGIEnvironment) -> str:
    """The path as it was sent, where the server tells it: in PATH_INFO, %2F and / look the same."""
    raw = str(environ.get("REQUEST_URI") or environ.get("RAW_URI") or "")
    if raw.startswith("/"):
        return raw.partition("?")[0].partition("#")[0]
    return quote(environ.get("PATH_INFO", "").encode("latin-1"), safe="/:@!$&'()*+,;=-._~")


def _read_body(environ: WSGIEnvironment) -> bytes | Refusal:
    given = environ.get("CONTENT_LENGTH") or "0"
    if not (given.isascii() and given.isdigit()) or environ.get("HTTP_TRANSFER_ENCODING"):
        return Refusal(411, f"Content-Length: {given!r:.40}: must be the number of bytes of the body")
    if len(given) > len(str(LARGEST_BODY_BYTES)) or int(given) > LARGEST_BODY_BYTES:
        return Refusal(413, f"Request Too Long: a body may have {LARGEST_BODY_BYTES} bytes")
    try:
        return bytes(environ["wsgi.input"].read(int(given)))
    except TimeoutError:
        return Refusal(408, "The body did not come in time")


def _headers(environ: WSGIEnvironment) -> Iterator[tuple[str, str]]:
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            yield key.removeprefix("HTTP_").replace("_", "-").title(), value
        elif key in {"CONTENT_TYPE", "CONTENT_LENGTH"} and value:
            yield key.replace("_", "-").title(), value


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _body_text(body: bytes) -> tuple[str | None, bool]:
    try:
        return body.decode() or None, False
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), True


def _multi(pairs: Pairs) -> dict[str, list[str]] | None:
    values: dict[str, list[str]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    return values or None


def _identity(arn: str | None, access_key: str | None, source_ip: str, agent: str | None) -> dict[str, Any]:
    caller = access_key and f"{access_key}:caller"
    return {
        "accessKey": access_key,
        "accountId": ACCOUNT if arn else None,
        "caller": caller,
        "sourceIp": source_ip,
        "user": caller,
        "userAgent": agent,
        "userArn": arn,
    }
