"""How a command speaks to a deployed API: signed as AWS signs, over HTTPS alone, some calls repeatedly.

An address of this machine (`nightspot local serve`) may be HTTP as well, and is asked unsigned without credentials.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import sleep as real_sleep
from typing import Any
from urllib.parse import urlencode, urlsplit

from botocore import exceptions
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from nightspot.aws.faults import NO_ANSWER, TransientAwsError, asking_aws, code_of, raise_if_transient
from nightspot.failures.redaction import redact

SERVICE = "execute-api"  # https://docs.aws.amazon.com/apigateway/latest/developerguide/permissions.html
CONNECT_SECONDS = 10.0
# fact: apigateway.seconds
READ_SECONDS = 40.0  # API Gateway itself gives up after 29
PAUSE_SECONDS = (1.0, 2.0, 4.0, 8.0)  # before each repetition
LONGEST_PAUSE_SECONDS = 60.0  # of those that Retry-After asks for
KEY_HEADER = "Idempotency-Key"
_FORBIDDEN, _TOO_MANY = 403, 429
_HOST = re.compile(r"[a-z0-9-]+\.execute-api\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")


class ApiUrlError(ValueError):
    """An address that no API of Nightspot can have; the text tells why."""


class ApiError(Exception):
    """The API refused a call; `status` is HTTP's, `detail` a sentence, `errors` what is wrong with the input."""

    def __init__(self, status: int, detail: str, errors: Sequence[str] = ()) -> None:
        super().__init__(status, detail, tuple(errors))
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)

    def __str__(self) -> str:
        # A problem's detail may be made of its errors.
        return "; ".join((f"{self.status}: {self.detail}", *(e for e in self.errors if e not in self.detail)))


Send = Callable[[AWSPreparedRequest], Any]
"""Sends one prepared request; the answer is botocore's AWSResponse. Raises botocore's HTTP errors."""


@dataclass(frozen=True)
class ApiAnswer:
    """What a call came to: HTTP's status and the body, read as JSON."""

    status: int
    body: Any


class ApiClient:
    """An API by its address, the stage included ("https://ID.execute-api.REGION.amazonaws.com/prod").

    `credentials` is botocore's (`boto3.Session().get_credentials()`), and asked anew for every call, so that
    those which renew themselves are fresh. None: unsigned, for an address of this machine alone. `region` is
    told by the address of API Gateway's own, and must be given for any other. `sleep` takes seconds.

    Raises ApiUrlError.
    """

    def __init__(
        self,
        url: str,
        *,
        credentials: Any | None = None,
        region: str | None = None,
        send: Send | None = None,
        sleep: Callable[[float], None] = real_sleep,
    ) -> None:
        self.url = checked_url(url)
        self._credentials = credentials
        self._region = region_of(self.url) or region
        if credentials is None and not is_loopback(self.url):
            raise ApiUrlError(f"{url!r}: needs credentials; only an address of this machine is asked without")
        if credentials is not None and self._region is None:
            raise ApiUrlError(f"{url!r}: does not say its region, so one must be given")
        self._send = send or transport(self.url)
        self._sleep = sleep

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """The body of GET `path` ("/runs"); what is None in `query` is left out.

        Raises ApiError, and TransientAwsError where nobody answered, after the last repetition.
        """
        given = {name: str(value) for name, value in (query or {}).items() if value is not None}
        # As SigV4 wants it: blanks as %20, in the order of their names.
        text = urlencode(sorted(given.items())).replace("+", "%20")
        return self._call("GET", f"{path}?{text}" if text else path, None, {}, may_repeat=True).body

    def post(self, path: str, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> ApiAnswer:
        """POST `body` as JSON; repeated only with a key, under which the API acts once. Raises like `get`."""
        headers = {"Content-Type": "application/json"}
        if idempotency_key is not None:
            headers[KEY_HEADER] = idempotency_key
        content = json.dumps(dict(body)).encode()
        return self._call("POST", path, content, headers, may_repeat=idempotency_key is not None)

    def _call(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str], *, may_repeat: bool
    ) -> ApiAnswer:
        pauses = PAUSE_SECONDS if may_repeat else ()
        for pause_seconds in (*pauses, None):
            try:
                reply = self._send(self._request(method, path, content, headers))
            except NO_ANSWER as error:
                if pause_seconds is None:
                    raise TransientAwsError(f"{self.url} does not answer: {error}") from error
                self._sleep(pause_seconds)
                continue
            may_pass = reply.status_code == _TOO_MANY or reply.status_code >= 500
            if not may_pass or pause_seconds is None:
                return _answer(reply)
            self._sleep(_pause(reply, pause_seconds))
        raise AssertionError("the last try returns or raises")

    def _request(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> AWSPreparedRequest:
        """A fresh request: a signature is good for five minutes only."""
        asked = {"Accept": "application/json, application/problem+json", **headers}
        request = AWSRequest(method=method, url=f"{self.url}{path}", data=content, headers=asked)
        if self._credentials is not None:
            SigV4Auth(self._credentials.get_frozen_credentials(), SERVICE, self._region).add_auth(request)
        return request.prepare()


def checked_url(url: str) -> str:
    """The address without a slash at its end. Raises ApiUrlError, naming the rule."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        raise ApiUrlError(f"{url!r}: is no address: {error}") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise ApiUrlError(f"{url!r}: must be an address such as the stack's output ApiUrl, https://...")
    if parts.scheme == "http" and not is_loopback(url):
        raise ApiUrlError(f"{url!r}: must be https; only an address of this machine may be http")
    if parts.query or parts.fragment or parts.username is not None or re.search(r"[\s\x00-\x1f]", url):
        raise ApiUrlError("the address must have no user, no blank, and nothing behind ? or #")
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether the address is of this machine: 127.0.0.0/8, ::1, `localhost` and the names below it (RFC 6761)."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def region_of(url: str) -> str | None:
    """The region in an address of API Gateway's own; None for any other."""
    found = _HOST.fullmatch(urlsplit(url).hostname or "")
    return found["region"] if found else None


def transport(url: str, *, ca_bundle: str | None = None) -> Send:
    """What sends: botocore's own HTTP session, with the proxies of the environment. `ca_bundle` is a file."""
    proxies = None if is_loopback(url) else get_environ_proxies(url)
    session = URLLib3Session(
        verify=ca_bundle or True, proxies=proxies, timeout=(CONNECT_SECONDS, READ_SECONDS)
    )
    send: Send = session.send
    return send


def _pause(reply: Any, otherwise: float) -> float:
    """The seconds that Retry-After names, if it names any that anybody would wait."""
    said = reply.headers.get("Retry-After", "")
    return min(float(said), LONGEST_PAUSE_SECONDS) if re.fullmatch(r"[0-9]{1,9}", said) else otherwise


def _answer(reply: Any) -> ApiAnswer:
    try:
        body = json.loads(reply.content) if reply.content else None
    except ValueError:
        body = None
        if reply.status_code < 300:
            raise ApiError(reply.status_code, "the answer is no JSON: is this the API's address?") from None
    if 200 <= reply.status_code < 300:
        return ApiAnswer(reply.status_code, body)
    raise _refusal(reply.status_code, body)


def _refusal(status: int, body: Any) -> ApiError:
    """A problem (RFC 9457) in its own words; API Gateway's refusals have a `message` instead."""
    said = body if isinstance(body, dict) else {}
    words = (said.get(name) for name in ("detail", "title", "message", "Message"))
    detail = next((word for word in words if isinstance(word, str) and word), "the API gives no reason")
    errors = said.get("errors")
    return ApiError(
        status, redact(detail), [_one(each) for each in errors] if isinstance(errors, list) else ()
    )


def _one(error: Any) -> str:
    """ "deadline: 'soon': must be ..." of one entry of a problem's `errors`."""
    if not isinstance(error, dict):
        return redact(str(error))
    parts = (error.get(name) for name in ("field", "value", "rule", "message"))
    return redact(": ".join(str(part) for part in parts if part is not None) or json.dumps(error))


# What AWS answers to credentials that have run out; renewed ones go through.
EXPIRED_CODES = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "UnrecognizedClientException"}
)
_EXPIRED_ERRORS = (
    exceptions.CredentialRetrievalError,
    exceptions.NoCredentialsError,
    exceptions.SSOTokenLoadError,
    exceptions.TokenRetrievalError,
    exceptions.UnauthorizedSSOTokenError,
)
# The signature's own: this machine's clock is behind or ahead of AWS's, until it has been set.
_EXPIRED_WORDS = (
    "security token included in the request is expired",
    "signature expired",
    "signature not yet current",
)
_SIGNATURE_CODES = frozenset({"InvalidSignatureException", "SignatureDoesNotMatch"})


class CannotLookError(Exception):
    """The run could not be looked at just now; a later look may go through."""

    def __init__(self, text: str, *, is_expired: bool = False) -> None:
        super().__init__(text)
        self.is_expired = is_expired  # the credentials have run out: the next look needs new ones


@dataclass(frozen=True)
class ExecutionEnd:
    """An execution that is over. `status` is AWS's; `cause` is redacted."""

    status: str
    error: str | None = None
    cause: str | None = None

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.status, self.error, self.cause)))


def execution_end(step_functions: Any, execution_arn: str) -> ExecutionEnd | None:
    """How the execution ended; None while it runs, and for one that Step Functions does not know (yet).

    `step_functions` is boto3's client. Raises ClientError, BotoCoreError and TransientAwsError.
    """
    try:
        with asking_aws():
            found = step_functions.describe_execution(executionArn=execution_arn)
    except ClientError as error:
        if code_of(error) == "ExecutionDoesNotExist":
            return None
        raise
    if found["status"] == "RUNNING":
        return None
    cause = found.get("cause")
    return ExecutionEnd(str(found["status"]), found.get("error"), redact(cause) if cause else None)


def as_passing(error: Exception) -> CannotLookError | None:
    """`error` as one that a wait outlives: a fault that may pass, or expired credentials; None for any other."""
    if isinstance(error, (TransientAwsError, *NO_ANSWER)):
        return CannotLookError(redact(str(error)))
    if isinstance(error, ApiError):
        return _of_api(error)
    if isinstance(error, ClientError):
        return _of_client(error)
    if isinstance(error, BotoCoreError) and isinstance(error, _EXPIRED_ERRORS):
        return CannotLookError(redact(str(error)), is_expired=True)
    return None


def _of_api(error: ApiError) -> CannotLookError | None:
    if error.status == _FORBIDDEN and _says_expired(error.detail):
        return CannotLookError(str(error), is_expired=True)
    may_pass = error.status == _TOO_MANY or error.status >= 500
    return CannotLookError(str(error)) if may_pass else None


def _of_client(error: ClientError) -> CannotLookError | None:
    code = code_of(error)
    if code in EXPIRED_CODES or (code in _SIGNATURE_CODES and _says_expired(str(error))):
        return CannotLookError(redact(str(error)), is_expired=True)
    try:
        raise_if_transient(error)
    except TransientAwsError as passing:
        return CannotLookError(redact(str(passing)))
    return None


def _says_expired(text: str) -> bool:
    return any(words in text.lower() for words in _EXPIRED_WORDS)
