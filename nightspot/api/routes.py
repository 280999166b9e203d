"""Decides which addresses the API has: one table, of which the resolver, API Gateway and the document are made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from nightspot.api.problems import SHAPES, ProblemKind

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
        "Starts a run that goes on from the last checkpoint of this one. The body is merged over this run's "
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
