"""The IAM policy of who makes the self-test: the calls of the checks, on its own things where AWS allows it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping

from nightspot.selftest.model import Check
from nightspot.selftest.workspace import PREFIX

# What every self-test calls, beside its checks.
ALWAYS = ("sts:GetCallerIdentity",)
# What --clean lists.
LISTS = (
    *("sagemaker:ListTrainingJobs", "events:ListRules", "sqs:ListQueues", "states:ListStateMachines"),
    *("lambda:ListFunctions", "scheduler:ListSchedules", "dynamodb:ListTables", "s3:ListAllMyBuckets"),
    "iam:ListRoles",
)
_OURS = f"{PREFIX}*"
# The things of each service that are named by the self-test.
_RESOURCES: Mapping[str, tuple[str, ...]] = {
    "dynamodb": (f"arn:aws:dynamodb:*:*:table/{_OURS}",),
    "iam": (f"arn:aws:iam::*:role/{_OURS}",),
    "lambda": (f"arn:aws:lambda:*:*:function:{_OURS}",),
    "s3": (f"arn:aws:s3:::{_OURS}",),
    "scheduler": (f"arn:aws:scheduler:*:*:schedule/default/{_OURS}",),
    "sqs": (f"arn:aws:sqs:*:*:{_OURS}",),
    "sts": (f"arn:aws:iam::*:role/{_OURS}",),
}
_NAMED: Mapping[str, tuple[str, ...]] = {
    **{
        f"events:{action}": (f"arn:aws:events:*:*:rule/{_OURS}",)
        for action in ("PutRule", "PutTargets", "RemoveTargets", "DeleteRule")
    },
    **{
        f"sagemaker:{action}": (f"arn:aws:sagemaker:*:*:training-job/{_OURS}",)
        for action in ("CreateTrainingJob", "AddTags")
    },
    # Also of the runs of --stack.
    **{
        f"sagemaker:{action}": ("arn:aws:sagemaker:*:*:training-job/nightspot-*",)
        for action in ("StopTrainingJob", "DescribeTrainingJob")
    },
    # The role of the stack's schedules is passed to one of ours.
    "iam:PassRole": (f"arn:aws:iam::*:role/{_OURS}", "arn:aws:iam::*:role/*SchedulesRole*"),
    # Also what a run of --stack leaves, by CDK's names of the stack's own things.
    **dict.fromkeys(
        ("s3:GetObject", "s3:ListBucket"), (f"arn:aws:s3:::{_OURS}", "arn:aws:s3:::*trainingdata*")
    ),
    **dict.fromkeys(
        ("dynamodb:GetItem", "dynamodb:Query"),
        (f"arn:aws:dynamodb:*:*:table/{_OURS}", "arn:aws:dynamodb:*:*:table/*TrainingRecords*"),
    ),
    "lambda:GetFunctionConfiguration": (
        f"arn:aws:lambda:*:*:function:{_OURS}",
        "arn:aws:lambda:*:*:function:*FunctionsNotify*",
    ),
    "execute-api:Invoke": ("arn:aws:execute-api:*:*:*/*/GET/runs/*",),
    # Also of the stack's dead letters.
    "sqs:GetQueueAttributes": ("*",),
    **{
        f"states:{action}": (f"arn:aws:states:*:*:stateMachine:{_OURS}",)
        for action in ("CreateStateMachine", "DeleteStateMachine")
    },
}
# Of a deployed stack's own things, or known to IAM without resources.
_ANY = frozenset({"sts:GetCallerIdentity", "iam:SimulatePrincipalPolicy"})


def policy(checks: Iterable[Check]) -> dict[str, object]:
    """The policy document for these checks."""
    actions = sorted({*ALWAYS, *LISTS, *(call for check in checks for call in check.calls)})
    by_resources: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for action in actions:
        by_resources[resources(action)].append(action)
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": names, "Resource": list(where)}
            for where, names in sorted(by_resources.items())
        ],
    }


def resources(action: str) -> tuple[str, ...]:
    """On what an action is needed."""
    if action in _ANY or action in LISTS:
        return ("*",)
    named = _NAMED.get(action) or _RESOURCES.get(action.partition(":")[0], ("*",))
    return (*named, *(f"{each}/*" for each in named)) if action.startswith("s3:") else named


def policy_text(checks: Iterable[Check]) -> str:
    """The policy as JSON."""
    return json.dumps(policy(checks), indent=1)
