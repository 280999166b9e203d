"""What a cold start loads before the first event: a handler's import brings what deciding needs and no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

HANDLERS = (
    "close_run",
    "decide_next_step",
    "plan_run",
    "reconcile",
    "record_outcome",
    "start_run",
    "start_training_job",
    "notify",
    "wake_run",
)
# What only other rooms use, and what a call loads when it comes to it.
TOO_HEAVY = {
    "aws_cdk",
    "aws_xray_sdk",
    "boto3",
    "botocore.client",
    "botocore.loaders",
    "botocore.session",
    "jsonata",
    "moto",
    "nightspot.checkpoint",
    "nightspot.job.model",
    "nightspot.job.reading",
    "nightspot.local",
    "nightspot.terminal",
    "numpy",
    "rich",
    "s3transfer",
    "typer",
    "urllib3",
    "yaml",
}


# As in a deployed function; elsewhere nothing is traced. This call's trace is not sampled, so nothing is sent.
FUNCTION = {
    "AWS_REGION": "eu-west-1",
    "LAMBDA_TASK_ROOT": "/var/task",
    "NIGHTSPOT_BUS_NAME": "default",
    "NIGHTSPOT_TABLE_NAME": "nightspot",
    "_X_AMZN_TRACE_ID": "Root=1-6cc2b500-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=0",
}


def loaded_by(program: str) -> set[str]:
    """All modules of a fresh interpreter, in a function's environment, after `program`."""
    report = f"{program}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    environment = {**os.environ, **FUNCTION}
    done = subprocess.run(
        [sys.executable, "-c", report], env=environment, capture_output=True, text=True, check=True
    )
    modules: set[str] = set(json.loads(done.stdout.splitlines()[-1]))
    return modules


@pytest.mark.parametrize("handler", HANDLERS)
def test_importing_a_handler_leaves_the_heavy_modules_alone(handler):
    loaded = loaded_by(f"import nightspot.lambdas.{handler}")
    assert f"nightspot.lambdas.{handler}" in loaded
    assert loaded & TOO_HEAVY == set()


@pytest.mark.parametrize("name", sorted(TOO_HEAVY))
def test_what_is_left_alone_exists(name):
    """A misspelt name would be left alone by everybody."""
    assert find_spec(name) is not None


def test_a_call_is_traced_and_an_event_without_news_loads_no_client():
    detail = {"TrainingJobName": "x", "TrainingJobStatus": "InProgress", "SecondaryStatus": "Starting"}
    call = f"""
from types import SimpleNamespace
from nightspot.lambdas.wake_run import handler
context = SimpleNamespace(
    function_name="WakeRun", memory_limit_in_mb=512, invoked_function_arn="arn", aws_request_id="one"
)
assert handler({{"detail": {detail!r}}}, context) == {{"woke": False}}
"""
    loaded = loaded_by(call)
    assert "aws_xray_sdk.ext.botocore.patch" in loaded
    assert "boto3" not in loaded


def test_collaborators_cost_nothing_before_they_are_used():
    loaded = loaded_by("from nightspot.lambdas.dependencies import dependencies; dependencies()")
    assert "nightspot.aws.table.run_table" in loaded
    assert loaded & TOO_HEAVY == set()


def test_deciding_knows_markets_without_the_model_of_job_files():
    loaded = loaded_by("import nightspot.decide.policy")
    assert "nightspot.job.markets" in loaded
    assert loaded & {"pydantic", "nightspot.job.model", "nightspot.job.times"} == set()
