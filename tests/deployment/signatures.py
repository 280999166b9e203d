"""Whether a request carries a valid AWS Signature Version 4, by signing it again with the same secret.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from nightspot.local.serving import NO_TOKEN, Refusal, Request, RequestSender

LARGEST_SKEW_SECONDS = 300.0
ALGORITHM = "AWS4-HMAC-SHA256"
_MUST_BE_SIGNED = ("host", "x-amz-date")
_FIELD = re.compile(r"\s*(Credential|SignedHeaders|Signature)=([^,\s]+)\s*")


class Secret(NamedTuple):
    """What belongs to an access key; `session_token` is None for a user's long-lived key."""

    secret_key: str
    user_arn: str
    session_token: str | None = None


@dataclass(frozen=True)
class _Claim:
    """What an Authorization header says."""

    access_key: str
    date: str  # "20261121"
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str


class Signatures:
    """Lets through whoever signed with a known key; give it to `Gateway` as `authorise`.

    `secret_of(access key)` is None for a key that nobody has; a plain pair (secret, user ARN) will do. `now` is
    the real time, aware: signatures are valid for five minutes, both ways. Signatures in the query string
    (presigned addresses) count as none.
    """

    def __init__(
        self,
        secret_of: Callable[[str], tuple[str, str] | Secret | None],
        region: str,
        service: str = "execute-api",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._secret_of = secret_of
        self._region = region
        self._service = service
        self._now = now

    def __call__(self, request: Request) -> RequestSender | Refusal:
        """Whose signature the request carries, or how AWS refuses it."""
        given = request.header("Authorization")
        if given is None:
            return NO_TOKEN
        claim = _claim_of(given)
        if isinstance(claim, Refusal):
            return claim
        found = self._secret_of(claim.access_key)
        if found is None:
            return _INVALID_TOKEN
        secret = Secret(*found)
        refusal = (
            self._scope_refused(claim) or self._date_refused(claim, request) or _parts_refused(claim, request)
        )
        if refusal is not None:
            return refusal
        if request.header("X-Amz-Security-Token") != secret.session_token:
            return _INVALID_TOKEN
        if not hmac.compare_digest(self._signed_again(claim, secret, request), claim.signature):
            return _invalid(
                "The request signature we calculated does not match the signature you provided. Check your AWS"
                " Secret Access Key and signing method."
            )
        return RequestSender(secret.user_arn, claim.access_key)

    def _scope_refused(self, claim: _Claim) -> Refusal | None:
        for name, said, right in (
            ("region", claim.region, self._region),
            ("service", claim.service, self._service),
        ):
            if said != right:
                return _invalid(f"Credential should be scoped to a valid {name}: {right!r}, not {said!r}.")
        return None

    def _date_refused(self, claim: _Claim, request: Request) -> Refusal | None:
        given = request.header("X-Amz-Date")
        try:
            signed_at = datetime.strptime(given or "", SIGV4_TIMESTAMP).replace(tzinfo=UTC)
        except ValueError:
            return _incomplete(f"X-Amz-Date must be a moment such as 20261121T000000Z, not {given!r}.")
        if f"{signed_at:%Y%m%d}" != claim.date:
            return _invalid(
                f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date: {claim.date!r}"
                f" != {signed_at:%Y%m%d}."
            )
        late_seconds = (self._now() - signed_at).total_seconds()
        if late_seconds > LARGEST_SKEW_SECONDS:
            return _invalid(f"Signature expired: {given} is more than 5 minutes ago.")
        if late_seconds < -LARGEST_SKEW_SECONDS:
            return _invalid(f"Signature not yet current: {given} is more than 5 minutes ahead.")
        return None

    def _signed_again(self, claim: _Claim, secret: Secret, request: Request) -> str:
        signer = _SignerOf(claim.signed_headers, self._service, self._region, claim.access_key, secret)
        # AWS reads the query and writes it anew, so a client must have signed its encoded form.
        query = "&".join(f"{_encoded(key)}={_encoded(value)}" for key, value in request.query)
        copy = AWSRequest(
            method=request.method,
            url=f"http://localhost{request.path}{'?' if query else ''}{query}",
            headers={name: request.header(name) or "" for name in claim.signed_headers},
            data=request.body,
        )
        copy.context["timestamp"] = request.header("X-Amz-Date")
        return str(signer.signature(signer.string_to_sign(copy, signer.canonical_request(copy)), copy))


class _SignerOf(SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """botocore's own signer, over the headers that the client chose."""

    def __init__(
        self, signed: tuple[str, ...], service: str, region: str, access_key: str, secret: Secret
    ) -> None:
        super().__init__(Credentials(access_key, secret.secret_key), service, region)
        self._signed = signed

    def headers_to_sign(self, request: Any) -> Any:
        headers = HTTPHeaders()
        for name in self._signed:
            headers[name] = request.headers[name]
        return headers


def _claim_of(given: str) -> _Claim | Refusal:
    algorithm, _, rest = given.partition(" ")
    if algorithm != ALGORITHM:
        return _incomplete(f"Authorization must begin with {ALGORITHM}, not {algorithm!r}.")
    fields = {match[1]: match[2] for match in map(_FIELD.fullmatch, rest.split(",")) if match}
    missing = [name for name in ("Credential", "SignedHeaders", "Signature") if name not in fields]
    if missing:
        words = " ".join(f"Authorization header requires {name!r} parameter." for name in missing)
        return _incomplete(words)
    scope = fields["Credential"].split("/")
    if len(scope) != 5 or scope[4] != "aws4_request":
        return _incomplete(
            f"Credential must be ACCESS_KEY/DATE/REGION/SERVICE/aws4_request, not {fields['Credential']!r}."
        )
    names = tuple(fields["SignedHeaders"].lower().split(";"))
    access_key, date, region, service, _ = scope
    return _Claim(access_key, date, region, service, names, fields["Signature"])


def _parts_refused(claim: _Claim, request: Request) -> Refusal | None:
    """What must be signed, and is not; or is signed, and does not fit."""
    token = ("x-amz-security-token",) if request.header("X-Amz-Security-Token") is not None else ()
    for name in (*_MUST_BE_SIGNED, *token):
        if name not in claim.signed_headers:
            return _invalid(f"{name!r} must be a 'SignedHeader' in the AWS Authorization.")
    absent = [name for name in claim.signed_headers if request.header(name) is None]
    if absent:
        return _invalid(f"SignedHeaders names {absent[0]!r}, which the request does not have.")
    # A signer takes this header's word for the body, so the body must be held against it.
    said = request.header("X-Amz-Content-SHA256")
    if said is not None and said != hashlib.sha256(request.body).hexdigest():
        return _invalid("X-Amz-Content-SHA256 is not the SHA-256 of the request's body.")
    return None


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")


def _invalid(message: str) -> Refusal:
    return Refusal(403, message, "InvalidSignatureException")


def _incomplete(message: str) -> Refusal:
    return Refusal(403, message, "IncompleteSignatureException")


_INVALID_TOKEN = Refusal(
    403, "The security token included in the request is invalid.", "UnrecognizedClientException"
)
