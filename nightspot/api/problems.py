"""How the API refuses: every kind of refusal with its status and title, as RFC 9457 writes problems.

https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

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


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    model_config = ConfigDict(frozen=True)

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
        self.problem = Problem(
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
