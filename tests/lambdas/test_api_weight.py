"""What the API's function loads before its first request: models and resolver, and no AWS client."""

from __future__ import annotations

import json
import subprocess
import sys

TOO_HEAVY = {
    "aws_cdk",
    "aws_xray_sdk",
    "boto3",
    "botocore.client",
    "botocore.session",
    "jinja2",
    "moto",
    "nightspot.cli",
    "nightspot.local",
    "nightspot.terminal",
    "numpy",
    "rich",
    "typer",
    "yaml",
}


def loaded_by(program):
    report = f"{program}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_api_leaves_the_heavy_modules_alone():
    loaded = loaded_by("import nightspot.lambdas.api")
    assert "nightspot.api.models" in loaded
    assert loaded & TOO_HEAVY == set()


def test_the_other_functions_do_not_load_the_api():
    loaded = loaded_by("from nightspot.lambdas import decide_next_step, plan_run, record_outcome, wake_run")
    assert not [name for name in loaded if name.startswith("nightspot.api") or "event_handler" in name]


def test_infra_knows_the_routes_without_the_adapters_of_aws():
    loaded = loaded_by("import nightspot.api.routes")
    assert not [name for name in loaded if name.startswith(("nightspot.aws", "botocore"))]
