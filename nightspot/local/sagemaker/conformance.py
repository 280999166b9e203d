"""A recorded life as the simulated SageMaker's options: what a simulator needs to live the same life once more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from nightspot.cassettes import folding
from nightspot.cassettes.folding import Quantiles
from nightspot.cassettes.life import Life, Span, life_of
from nightspot.cassettes.model import LEFT_OUT, Cassette, Source
from nightspot.formats.statuses import Secondary, Status
from nightspot.local.sagemaker.behaviour import (
    AT_ONCE,
    FIGURES,
    Behaviour,
    Duration,
    EventsOf,
    RuntimeLimit,
    Waits,
)
from nightspot.local.sagemaker.job_state import ENDINGS, Interruption, JobEnding
from nightspot.local.sagemaker.markets import (
    EventOptions,
    Markets,
    SimulatedMarket,
    SimulationOptions,
    Supply,
    SupplySpan,
)

_WAITING = frozenset({Secondary.STARTING, Secondary.PENDING, Secondary.INTERRUPTED, Secondary.RESTARTING})
_UNLIMITED = 28 * 86_400


class NotPlayableError(ValueError):
    """A cassette tells of a life for which the simulator has no options; the text says of what."""


@dataclass(frozen=True)
class LocalFile:
    """What the job's script did to a file below its checkpoint folder, at a second of the job's life."""

    at: float
    key: str
    size: int | None  # bytes; None: it was deleted


@dataclass(frozen=True)
class LifeToLive:
    """The same life for a simulator. Seconds are counted from the job's creation.

    `trains`: how long the container of each machine runs until it exits by itself; None: until it is stopped or
    its machine is taken. `failure`: what the last one leaves in output/failure; None: it succeeds. `stop_at`: when
    somebody calls StopTrainingJob.
    """

    request: Mapping[str, Any]
    markets: Markets
    options: SimulationOptions
    trains: tuple[float | None, ...]
    failure: str | None
    stop_at: float | None
    files: tuple[LocalFile, ...]
    lasts: float


@dataclass
class _Machine:
    """What the spans tell of one machine."""

    asked: float
    given: float
    downloading: float  # when it begins
    training: float | None = None
    ended: float | None = None  # when its container did, or it was taken


def life_to_live(cassette: Cassette) -> LifeToLive:
    """The options of the cassette's life. Raises NotPlayableError, and CassetteError for one without a description.

    The market gives and takes machines when the recorded one did; each status lasts as long as it lasted then.
    """
    life = life_of(cassette)
    spans = life.spans
    if life.final is None:
        raise NotPlayableError("the job is not over in it: record it to its end")
    machines = _machines(spans)
    stopping = next((span for span in spans if span.secondary == Secondary.STOPPING), None)
    request = _request(cassette, spans, machines, stopping)
    is_spot = bool(request.get("EnableManagedSpotTraining"))
    market = _market(spans, machines)
    failure, ending = _failure(cassette, life, spans)
    options = SimulationOptions(
        behaviour=_behaviour(life, cassette, machines, stopping, request),
        events=EventOptions(
            of=EventsOf.STATUSES if _tells_statuses_alone(life) else EventsOf.TRANSITIONS,
        ),
    )
    return LifeToLive(
        request=request,
        markets=Markets(default_spot=market, default_on_demand=market),
        options=_with_ending(options, ending, spans, is_spot=is_spot, has_machine=bool(machines)),
        trains=tuple(_trains(machine, spans) for machine in machines),
        failure=failure,
        stop_at=_stop_at(spans, stopping, request),
        files=_local_files(cassette),
        lasts=spans[-1].start,
    )


def behaviour_of(facts: Mapping[str, Quantiles], otherwise: Behaviour | None = None) -> Behaviour:
    """The behaviour that draws between what was measured; where nothing was, that of `otherwise`."""
    behaviour = otherwise or Behaviour()
    known = {
        "downloading": folding.DOWNLOADING,
        "uploading": folding.UPLOADING,
        "provisioning": folding.STARTING,
        "interrupted": folding.INTERRUPTED,
        "stop_waiting": folding.STOP_WAITING,
        "stop_starting": folding.STOP_STARTING,
        "stop_training": folding.STOPPING_TRAINING,
    }
    measured: dict[str, Any] = {
        name: Duration(facts[fact].spread) for name, fact in known.items() if fact in facts
    }
    return replace(behaviour, **measured)


def _machines(spans: tuple[Span, ...]) -> list[_Machine]:
    machines: list[_Machine] = []
    asked = given = 0.0
    for number, span in enumerate(spans):
        before = spans[number - 1].secondary if number else None
        if span.secondary == Secondary.PENDING:
            given = span.end if span.end is not None else span.start
        elif span.secondary in {Secondary.INTERRUPTED, Secondary.RESTARTING}:
            # Without Starting, the whole time until Downloading is Interrupted, and the machine's.
            starts = number + 1 < len(spans) and spans[number + 1].secondary == Secondary.STARTING
            asked = given = span.end if starts and span.end is not None else span.start
            if machines and machines[-1].ended is None:
                machines[-1].ended = span.start
        elif span.secondary == Secondary.DOWNLOADING or (
            span.secondary == Secondary.TRAINING and before != Secondary.DOWNLOADING
        ):
            machines.append(_Machine(asked, given, span.start))
        if span.secondary == Secondary.TRAINING:
            machines[-1].training = span.start
            machines[-1].ended = span.end
    return machines


def _market(spans: tuple[Span, ...], machines: list[_Machine]) -> SimulatedMarket:
    """One that gives each machine when it was given, and takes it when it was taken."""
    taken = [span.start for span in spans if span.secondary == Secondary.INTERRUPTED]
    given = [machine.given for machine in machines]
    supply = [SupplySpan(0.0, Supply.AVAILABLE if given and given[0] <= 0 else Supply.MISSING)]
    changes = [SupplySpan(at, Supply.RECLAIM) for at in taken]
    changes += [SupplySpan(at, Supply.AVAILABLE) for at in given if at > 0]
    # Of one moment, the machine is taken before there is another one.
    supply += sorted(changes, key=lambda each: (each.start_seconds, each.availability == Supply.AVAILABLE))
    return SimulatedMarket(tuple(supply))


def _trains(machine: _Machine, spans: tuple[Span, ...]) -> float | None:
    """Seconds until its container exits by itself; None: something else ended it."""
    following = next(
        (span for span in spans if machine.ended is not None and span.start >= machine.ended), None
    )
    if machine.training is None or machine.ended is None or following is None:
        return None
    exits = {Secondary.UPLOADING, Secondary.COMPLETED}
    return machine.ended - machine.training if following.secondary in exits else None


def _stop_at(spans: tuple[Span, ...], stopping: Span | None, request: Mapping[str, Any]) -> float | None:
    pending = request.get("StoppingCondition", {}).get("MaxPendingTimeInSeconds")
    if stopping is None or spans[-1].secondary != Secondary.STOPPED or pending is not None:
        return None
    return stopping.start


def _behaviour(
    life: Life,
    cassette: Cassette,
    machines: list[_Machine],
    stopping: Span | None,
    request: Mapping[str, Any],
) -> Behaviour:
    spans = life.spans
    pending = [n for n, span in enumerate(spans) if span.secondary == Secondary.PENDING]
    lasts = Duration((stopping.seconds or 0.0,)) if stopping is not None else AT_ONCE
    uploading = [span.seconds or 0.0 for span in spans if span.secondary == Secondary.UPLOADING]
    again = tuple(
        following.secondary == Secondary.STARTING
        for span, following in pairwise(spans)
        if span.secondary in {Secondary.INTERRUPTED, Secondary.RESTARTING}
    )
    interrupted = [
        span.seconds or 0.0 if following.secondary == Secondary.STARTING else 0.0
        for span, following in pairwise(spans)
        if span.secondary == Secondary.INTERRUPTED
    ]
    running = frozenset().union(
        *(names for state, names in life.always.items() if state.startswith(Status.IN_PROGRESS))
    )
    return Behaviour(
        provisioning=_in_turn([machine.downloading - machine.given for machine in machines]),
        downloading=_in_turn(
            [
                (machine.training or machine.ended or machine.downloading) - machine.downloading
                for machine in machines
            ]
        ),
        uploading=Duration((uploading[-1],)) if uploading else AT_ONCE,
        waits=Waits.PENDING if pending else Waits.STARTING,
        seconds_to_pending=spans[pending[0]].start - spans[pending[0] - 1].start if pending else 0.0,
        interrupted=_in_turn(interrupted),
        starts_again=again or (True,),
        stop_waiting=lasts,
        stop_starting=lasts,
        stop_training=lasts,
        stop_shows_uploading=bool(uploading),
        stopped_has_model=_tells(cassette, "ModelArtifacts") is not False,
        runtime_limit=_runtime_limit(machines, stopping, request),
        figures_while_running=FIGURES & running if cassette.knows_fields is None else frozenset(),
    )


def _tells(cassette: Cassette, name: str) -> bool | None:
    """Whether the last description has a field; None where the cassette does not know."""
    known = cassette.knows_fields
    return name in cassette.description if known is None or name in known else None


def _in_turn(seconds: list[float]) -> Duration:
    return Duration(tuple(seconds), in_turn=True) if seconds else AT_ONCE


def _runtime_limit(
    machines: list[_Machine], stopping: Span | None, request: Mapping[str, Any]
) -> RuntimeLimit:
    """What the limit must have counted, so that it stopped the job when it did."""
    limit = request["StoppingCondition"]["MaxRuntimeInSeconds"]
    if stopping is None or len(machines) < 2 or limit == _UNLIMITED:
        return RuntimeLimit.TOTAL
    own = stopping.start - machines[-1].downloading
    total = own + sum((each.ended or each.downloading) - each.downloading for each in machines[:-1])
    return RuntimeLimit.TOTAL if abs(total - limit) <= abs(own - limit) else RuntimeLimit.PER_LIFE


def _tells_statuses_alone(life: Life) -> bool:
    """Whether no TrainingJobStatus was told of twice, with two secondary ones, though the job had several."""
    if not life.events:
        return False
    told = [state.partition("/")[0] for state in life.events]
    return len(told) == len(set(told)) and len(life.word) > len(told)


def _failure(cassette: Cassette, life: Life, spans: tuple[Span, ...]) -> tuple[str | None, JobEnding | None]:
    """What the script leaves, where it failed by itself; else how SageMaker ended the job."""
    if life.final != Status.FAILED:
        return None, None
    reason = str(cassette.description.get("FailureReason", ""))
    if spans[-2].secondary == Secondary.UPLOADING:
        return reason.removeprefix("AlgorithmError: "), None
    return None, JobEnding(Status.FAILED, Secondary.FAILED, reason)


def _with_ending(
    options: SimulationOptions,
    ending: JobEnding | None,
    spans: tuple[Span, ...],
    *,
    is_spot: bool,
    has_machine: bool,
) -> SimulationOptions:
    if ending is None:
        return options
    at = spans[-1].start
    if has_machine or spans[-2].secondary == Secondary.STARTING:
        return replace(options, endings_at_seconds=((at, ending),))
    if is_spot or ending.failure_reason != ENDINGS[Interruption.NO_CAPACITY].failure_reason:
        raise NotPlayableError(f"a job that waits ends as Failed: {ending.failure_reason}")
    return replace(options, on_demand_fails_after_seconds=at)


def _request(
    cassette: Cassette, spans: tuple[Span, ...], machines: list[_Machine], stopping: Span | None
) -> dict[str, Any]:
    """A CreateTrainingJob request with the recorded limits; what the cassette left out is made up."""
    described = cassette.description
    calls = [entry.payload for entry in cassette.of(Source.CALL)]
    created = [
        call["request"] for call in calls if call["operation"] == "CreateTrainingJob" and "request" in call
    ]
    recorded: Mapping[str, Any] = created[0] if created else {}
    is_spot = bool(
        described.get("EnableManagedSpotTraining")
        or recorded.get("EnableManagedSpotTraining")
        or any(span.secondary in {Secondary.INTERRUPTED, Secondary.MAX_WAIT_TIME_EXCEEDED} for span in spans)
    )
    limits = {"MaxRuntimeInSeconds": _UNLIMITED, **described.get("StoppingCondition", {})}
    if stopping is not None and spans[-1].secondary == Secondary.MAX_WAIT_TIME_EXCEEDED:
        limits["MaxWaitTimeInSeconds"] = round(stopping.start)
        limits["MaxRuntimeInSeconds"] = min(limits["MaxRuntimeInSeconds"], round(stopping.start))
    elif is_spot:
        limits.setdefault("MaxWaitTimeInSeconds", _UNLIMITED)
    if (
        stopping is not None
        and spans[-1].secondary == Secondary.MAX_RUNTIME_EXCEEDED
        and not (described.get("StoppingCondition", {}).get("MaxRuntimeInSeconds"))
    ):
        limits["MaxRuntimeInSeconds"] = round(stopping.start - machines[-1].downloading)
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10}
    request = {
        "TrainingJobName": "recorded",
        "RoleArn": "arn:aws:iam::123456789012:role/training",
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models/"},
        "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints/recorded"},
        "ResourceConfig": {**resources, **described.get("ResourceConfig", {})},
        "StoppingCondition": limits,
        "EnableManagedSpotTraining": is_spot,
    }
    made_up = {"HyperParameters": {"parameter": "1"}, "Environment": {"NAME": "value"}}
    for name, value in made_up.items():
        if described.get(name) == LEFT_OUT:
            request[name] = value
    if "RetryStrategy" in described or any(span.secondary == Secondary.RESTARTING for span in spans):
        request["RetryStrategy"] = described.get("RetryStrategy", {"MaximumRetryAttempts": 30})
    return request


def _local_files(cassette: Cassette) -> tuple[LocalFile, ...]:
    """What the recording's notes "wrote" (with `key` and `bytes`) and "removed" (with `key`) tell."""
    found = []
    for entry in cassette.of(Source.LOG):
        note = entry.payload.get("note")
        if note in {"wrote", "removed"}:
            size = int(entry.payload["bytes"]) if note == "wrote" else None
            found.append(LocalFile(entry.t, str(entry.payload["key"]), size))
    return tuple(found)
