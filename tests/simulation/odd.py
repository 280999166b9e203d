"""Answers, events and records that nobody expects, each by a name: none of them may stop a decision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta, timezone
from random import Random
from typing import Any

from tests.simulation.calls import refusal

Description = dict[str, Any]
_OVER = frozenset({"Completed", "Failed", "Stopped"})

# Refusals that are no outage and no throttle: a policy was edited, a key is disabled, a clock is off.
REFUSALS: Mapping[str, Callable[[], Exception]] = {
    "AccessDenied": refusal("AccessDenied", "Access Denied", 403),
    "AccessDeniedException": refusal(
        "AccessDeniedException", "User is not authorized to perform this action"
    ),
    "ExpiredToken": refusal(
        "ExpiredTokenException", "The security token included in the request is expired", 403
    ),
    "UnrecognizedClient": refusal("UnrecognizedClientException", "The security token included is invalid"),
    "KMS": refusal("KMSInvalidStateException", "The key is pending deletion"),
    "Signature": refusal("InvalidSignatureException", "Signature expired: the clock is off", 403),
    "Validation": refusal("ValidationException", "1 validation error detected"),
    "Unknown": refusal("SomethingNew", "An error that nobody has heard of", 418),
}


def descriptions() -> Mapping[str, Callable[[Description, Random], Description]]:
    """What DescribeTrainingJob may answer otherwise than ours does, true as far as it goes."""
    return {
        "states that are new": _new_states,
        "no transitions": lambda answer, _random: _without(answer, "SecondaryStatusTransitions"),
        "transitions without their ends": _without_ends,
        "no secondary status": lambda answer, _random: _without(answer, "SecondaryStatus"),
        "no times of its training": lambda answer, _random: _without(
            answer, "TrainingStartTime", "TrainingEndTime", "TrainingTimeInSeconds"
        ),
        "bills that come late": _late_bill,
        "the machine's own zone": _other_zone,
        "no model's address": lambda answer, _random: _without(answer, "ModelArtifacts"),
        "a reason full of escapes": _escapes,
        "a reason of 1,024 characters": _long_reason,
        "bills of an open job": _early_bill,
    }


def _without(answer: Description, *names: str) -> Description:
    return {name: value for name, value in answer.items() if name not in names}


def _new_states(answer: Description, random: Random) -> Description:
    if answer["TrainingJobStatus"] in _OVER:
        return answer
    new = random.choice(("Rebooting", "WarmingUp", ""))
    transitions = [*answer["SecondaryStatusTransitions"]]
    transitions.insert(0, {"Status": new, "StartTime": transitions[0]["StartTime"], "StatusMessage": ""})
    if random.random() < 0.3 and answer["SecondaryStatus"] != "Stopping":
        answer = {**answer, "SecondaryStatus": new}
    return {**answer, "SecondaryStatusTransitions": transitions}


def _without_ends(answer: Description, _random: Random) -> Description:
    transitions = [
        _without(each, "EndTime", "StatusMessage") for each in answer["SecondaryStatusTransitions"]
    ]
    # Only the last one may lack it without changing how long the others lasted.
    last = {**transitions[-1]}
    return {**answer, "SecondaryStatusTransitions": [*answer["SecondaryStatusTransitions"][:-1], last]}


def _late_bill(answer: Description, _random: Random) -> Description:
    late = answer["TrainingJobStatus"] in _OVER and answer["ageSeconds"] < 900
    return _without(answer, "BillableTimeInSeconds") if late else answer


def _other_zone(answer: Description, _random: Random) -> Description:
    zone = timezone(timedelta(hours=-7))
    return {name: _in_zone(value, zone) for name, value in answer.items()}


def _in_zone(value: Any, zone: timezone) -> Any:
    if hasattr(value, "astimezone"):
        return value.astimezone(zone)
    if isinstance(value, dict):
        return {name: _in_zone(inner, zone) for name, inner in value.items()}
    return [_in_zone(inner, zone) for inner in value] if isinstance(value, list) else value


def _escapes(answer: Description, _random: Random) -> Description:
    if "FailureReason" not in answer:
        return answer
    return {**answer, "FailureReason": answer["FailureReason"] + "\x1b[31m\x00\u202e\ud7ff\x9b"}


def _long_reason(answer: Description, _random: Random) -> Description:
    if "FailureReason" not in answer:
        return answer
    return {**answer, "FailureReason": (answer["FailureReason"] + " " + "é{'\"}%\\" * 300)[:1024]}


def _early_bill(answer: Description, _random: Random) -> Description:
    """AWS does not say when it fills these in; they may be those of an earlier machine."""
    if answer["TrainingJobStatus"] in _OVER or "TrainingStartTime" not in answer:
        return answer
    return {**answer, "TrainingTimeInSeconds": 1, "BillableTimeInSeconds": 1}


# --- events ---------------------------------------------------------------------------------------------------


def foreign_events() -> list[dict[str, Any]]:
    """Details of state changes that are nobody's, or in another spelling."""
    other = {"TrainingJobName": "nightspot-sim-other-20261121-abcdefgh-1", "TrainingJobStatus": "InProgress"}
    return [
        {**other, "SecondaryStatus": "Training", "LastModifiedTime": 1795219200000},
        {**other, "SecondaryStatus": "Training", "LastModifiedTime": "1795219200000"},
        {**other, "SecondaryStatus": "Training"},
        {**other, "TrainingJobStatus": "Stopped", "SecondaryStatus": "Stopped"},
        {**other, "TrainingJobStatus": "Completed", "SecondaryStatus": "Completed", "LastModifiedTime": 1},
        {
            "TrainingJobName": "nightspot-sim-by-hand",
            "TrainingJobStatus": "Failed",
            "SecondaryStatus": "Failed",
        },
        {
            "TrainingJobName": "nightspot-sim-drill-202611-abcde-1",
            "TrainingJobStatus": "InProgress",
            "SecondaryStatus": "Training",
        },
    ]


# --- records --------------------------------------------------------------------------------------------------


def old_summaries(random: Random, job: str, types: list[str]) -> list[dict[str, Any]]:
    """Summaries of past runs of a job as older code, or half of it, may have left them."""
    return [_old_summary(random, job, types, day) for day in range(1, random.choice((2, 8, 20)))]


def _old_summary(random: Random, job: str, types: list[str], day: int) -> dict[str, Any]:
    market = random.choice(("spot", "on_demand"))
    attempt: dict[str, Any] = {
        "number": 1,
        "training_job_name": f"nightspot-{job}-202611{day:02d}-abc123-1",
        "market": market,
        "instance_type": random.choice(types),
        "asked_at": f"2026-11-{day:02d}T00:00:00+00:00",
        "ended_at": f"2026-11-{day:02d}T04:00:00+00:00",
        "failure_class": None,
        "queued_seconds": 120,
        "ready_seconds": 300,
        "waited_seconds": 60,
        "trained_seconds": 7200,
        "billable_seconds": 2400,
        "interruptions": 0,
    }
    summary: dict[str, Any] = {
        "job": job,
        "run_id": f"202611{day:02d}-abc123",
        "outcome": random.choice(("succeeded", "failed", "running", "skipped")),
        "started_at": f"2026-11-{day:02d}T00:00:00+00:00",
        "work_key": "00000000",
        "work_seconds": 7000,
        "cost_usd": 12.5,
        "attempts": [attempt],
    }
    for record in (attempt, summary):
        for name in [name for name in record if name not in {"run_id", "outcome", "attempts"}]:
            if random.random() < 0.1:
                del record[name]
            elif random.random() < 0.05:
                record[name] = None
    if random.random() < 0.1:
        summary["attempts"] = []
    return summary
