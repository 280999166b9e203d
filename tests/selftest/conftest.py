"""An account in moto with the simulated SageMaker in it; what neither can do is answered by recorded answers."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from types import SimpleNamespace

import boto3
import pytest
from moto import mock_aws

from nightspot.local.clock import StoryClock
from nightspot.local.sagemaker.markets import Markets, SimulatedMarket, SimulationOptions
from nightspot.local.sagemaker.sagemaker import SimulatedSageMaker, installed
from nightspot.selftest.workspace import Workspace

REGION, ACCOUNT = "eu-west-1", "123456789012"
MIDNIGHT = datetime(2026, 12, 5, tzinfo=UTC)

# The service of an IAM action by boto3's name of the service, where they differ.
_PREFIXES = {"stepfunctions": "states", "service-quotas": "servicequotas", "cloudwatch": "cloudwatch"}
# IAM's action by API call, where they differ.
_ACTIONS = {
    "s3:ListObjectVersions": ("s3:ListBucketVersions",),
    "s3:ListBuckets": ("s3:ListAllMyBuckets",),
    "s3:ListObjectsV2": ("s3:ListBucket",),
    "s3:DeleteObjects": ("s3:DeleteObject", "s3:DeleteObjectVersion"),
    "s3:HeadObject": ("s3:GetObject",),
    "lambda:Invoke": ("lambda:InvokeFunction",),
    "lambda:GetFunctionConfiguration": ("lambda:GetFunctionConfiguration",),
    "logs:FilterLogEvents": ("logs:FilterLogEvents",),
}


def in_story_time(clock, seen):
    """moto's S3 has this machine's time, in whole seconds: a version counts from when it was first seen."""

    def told(parsed, **_rest):
        for each in (*parsed.get("Versions", ()), *parsed.get("DeleteMarkers", ())):
            key = (each["Key"], each["VersionId"])
            each["LastModified"] = seen.setdefault(key, clock.now())

    return told


@pytest.fixture
def account(tmp_path, monkeypatch):
    """account(scale=…, market=…, command=…, **options): a workspace in an empty account, and the calls."""
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "testing")
    with ExitStack() as stack:
        # Without it moto looks for Docker where a function is invoked.
        stack.enter_context(mock_aws(config={"lambda": {"use_docker": False}}))

        def open_account(*, scale=3600, market=None, command=("true",), **options):
            clock, calls = StoryClock(MIDNIGHT, scale), []
            made = {}

            def client(service):
                if service not in made:
                    name, _, region = service.partition("@")
                    made[service] = boto3.client(name, region_name=region or REGION)
                    events = made[service].meta.events
                    events.register("after-call.s3.ListObjectVersions", in_story_time(clock, {}))
                    events.register(
                        "before-call", lambda model, n=name, **_rest: calls.append((n, model.name))
                    )
                return made[service]

            markets = Markets(
                default_spot=market or SimulatedMarket.never(),
                default_on_demand=market or SimulatedMarket.never(),
            )
            lines, events = [], []
            simulator = SimulatedSageMaker(
                clock,
                markets,
                scratch=tmp_path / "machines",
                command=list(command),
                on_event=events.append,
                on_log=lambda name, line: lines.append((name, line)),
                options=SimulationOptions(**options),
            )
            stack.callback(simulator.close)
            stack.enter_context(installed(simulator))
            workspace = Workspace(
                client,
                REGION,
                ACCOUNT,
                "1a2b3c",
                image="image",
                emulator="the simulated SageMaker",
                now=clock.now,
                pause=clock.sleep,
                logs=lambda name: [line for job, line in list(lines) if job == name],
            )
            return SimpleNamespace(
                workspace=workspace, calls=calls, simulator=simulator, clock=clock, events=events, lines=lines
            )

        yield open_account


@pytest.fixture(scope="session")
def actions():
    """The IAM actions of API calls as `account` has written them down."""

    def named(calls):
        found = set()
        for service, operation in calls:
            action = f"{_PREFIXES.get(service, service)}:{operation}"
            found.update(_ACTIONS.get(action, (action,)))
        return found

    return named
