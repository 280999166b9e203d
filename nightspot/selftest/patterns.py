"""The patterns of the stack's rules, as its template has them, and which events each must match.

A test holds the patterns against the synthesised template.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ENVIRONMENT = "selftest"
STACK_ID = "arn:aws:cloudformation:eu-west-1:123456789012:stack/Nightspot/one"
MACHINE_ARN = "arn:aws:states:eu-west-1:123456789012:stateMachine:nightspot"
_JOB_CHANGED = "SageMaker Training Job State Change"
_STACK_CHANGED = "CloudFormation Stack Status Change"
_ENDS = ["Completed", "Failed", "Stopped"]
_EXECUTIONS = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:"
_TOLD = (
    "No Spot Planned",
    "At Risk Of Being Late",
    "Unknown Failure",
    "Resume Broken",
    "Progress Unreadable",
    "Stop Refused",
    "Run Succeeded",
    "Run Failed",
    "Run Skipped",
    "Run Stopped",
    "Run Refused",
)
_OF_THIS_STACK = {
    "$or": [
        {"environment": [ENVIRONMENT]},
        {"environment": [{"exists": False}], "execution_arn": [{"prefix": _EXECUTIONS}]},
    ]
}

PATTERNS: Mapping[str, dict[str, Any]] = {
    "a training job's news": {
        "source": ["aws.sagemaker"],
        "detail-type": [_JOB_CHANGED],
        "detail": {"TrainingJobName": [{"prefix": f"nightspot-{ENVIRONMENT}-"}]},
    },
    "a training job's end": {
        "source": ["aws.sagemaker"],
        "detail-type": [_JOB_CHANGED],
        "detail": {
            "TrainingJobName": [{"prefix": f"nightspot-{ENVIRONMENT}-"}],
            "TrainingJobStatus": _ENDS,
        },
    },
    "an execution's end": {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {"stateMachineArn": [MACHINE_ARN], "status": ["ABORTED", "FAILED", "TIMED_OUT"]},
    },
    "a deployment": {
        "source": ["aws.cloudformation"],
        "detail-type": [_STACK_CHANGED],
        "detail": {
            "stack-id": [STACK_ID],
            "status-details": {"status": ["CREATE_COMPLETE", "UPDATE_COMPLETE"]},
        },
    },
    "a decision that fails": {
        "source": ["nightspot"],
        "detail-type": ["Nightspot Decision Failing", "Nightspot Decision Crashed"],
        "detail": _OF_THIS_STACK,
    },
    "a notice": {
        "source": ["nightspot"],
        "detail-type": [f"Nightspot {name}" for name in _TOLD],
        "detail": _OF_THIS_STACK,
    },
}


def _event(source: str, kind: str, detail: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "7bf73129-1428-4cd3-a780-95db273d1602",
        "detail-type": kind,
        "source": source,
        "account": "123456789012",
        "time": "2026-12-05T01:30:00Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": detail,
    }


def _job(name: str, status: str, secondary: str, modified: object = 1_785_000_000_000) -> dict[str, Any]:
    detail = {
        "TrainingJobName": name,
        "TrainingJobStatus": status,
        "SecondaryStatus": secondary,
        "LastModifiedTime": modified,
    }
    return _event("aws.sagemaker", _JOB_CHANGED, detail)


_OURS, _OTHERS = f"nightspot-{ENVIRONMENT}-recommender-20261205-abcdefgh-1", "nightspot-prod-recommender-1"
_NEWS, _END, _EXECUTION, _DEPLOYMENT, _CRASH, _NOTICE = PATTERNS

# (event, the patterns that must match it): every other must not.
EVENTS: tuple[tuple[str, dict[str, Any], frozenset[str]], ...] = (
    ("our job trains", _job(_OURS, "InProgress", "Training"), frozenset({_NEWS})),
    (
        "our job, with its time as text",
        _job(_OURS, "InProgress", "Interrupted", "1785000000000"),
        frozenset({_NEWS}),
    ),
    ("our job is stopping", _job(_OURS, "Stopping", "Stopping"), frozenset({_NEWS})),
    ("our job is complete", _job(_OURS, "Completed", "Completed"), frozenset({_NEWS, _END})),
    ("our job has failed", _job(_OURS, "Failed", "Failed"), frozenset({_NEWS, _END})),
    ("our job was stopped", _job(_OURS, "Stopped", "MaxWaitTimeExceeded"), frozenset({_NEWS, _END})),
    ("a job of another environment", _job(_OTHERS, "Completed", "Completed"), frozenset()),
    ("a job of somebody else's", _job("payroll-1", "Completed", "Completed"), frozenset()),
    (
        "our execution was aborted",
        _event(
            "aws.states",
            "Step Functions Execution Status Change",
            {"stateMachineArn": MACHINE_ARN, "status": "ABORTED", "name": "one"},
        ),
        frozenset({_EXECUTION}),
    ),
    (
        "our execution succeeded",
        _event(
            "aws.states",
            "Step Functions Execution Status Change",
            {"stateMachineArn": MACHINE_ARN, "status": "SUCCEEDED", "name": "one"},
        ),
        frozenset(),
    ),
    (
        "our stack was updated",
        _event(
            "aws.cloudformation",
            _STACK_CHANGED,
            {"stack-id": STACK_ID, "status-details": {"status": "UPDATE_COMPLETE"}},
        ),
        frozenset({_DEPLOYMENT}),
    ),
    (
        "our stack is being updated",
        _event(
            "aws.cloudformation",
            _STACK_CHANGED,
            {"stack-id": STACK_ID, "status-details": {"status": "UPDATE_IN_PROGRESS"}},
        ),
        frozenset(),
    ),
    (
        "a decision of ours crashed",
        _event("nightspot", "Nightspot Decision Crashed", {"environment": ENVIRONMENT, "job": "recommender"}),
        frozenset({_CRASH}),
    ),
    (
        "a decision of an older version crashed",
        _event(
            "nightspot",
            "Nightspot Decision Crashed",
            {"job": "recommender", "execution_arn": f"{_EXECUTIONS}x"},
        ),
        frozenset({_CRASH}),
    ),
    (
        "a run of ours succeeded",
        _event("nightspot", "Nightspot Run Succeeded", {"environment": ENVIRONMENT, "job": "recommender"}),
        frozenset({_NOTICE}),
    ),
    (
        "the start of a run is told to nobody",
        _event("nightspot", "Nightspot Run Started", {"environment": ENVIRONMENT, "job": "recommender"}),
        frozenset(),
    ),
    (
        "a decision of another environment crashed",
        _event("nightspot", "Nightspot Decision Crashed", {"environment": "prod", "job": "recommender"}),
        frozenset(),
    ),
)
