"""A moto server on loopback, and the real CDK CLI's bootstrap and deploy against it."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.core.config import default_user_config
from moto.server import ThreadedMotoServer
from moto.stepfunctions.models import StateMachine
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

ROOT = Path(__file__).parents[2]
REGION = "eu-west-1"
NODE = ROOT / ".venv" / "node"
CDK = ROOT / "node_modules" / ".bin" / "cdk"


@dataclass(frozen=True)
class Deployment:
    """What was deployed. moto fills in no outputs, so its resources are looked up."""

    def client(self, service: str) -> Any:
        return boto3.client(service, region_name=REGION)

    @property
    def state_machine_arn(self) -> str:
        (machine,) = self.client("stepfunctions").list_state_machines()["stateMachines"]
        return machine["stateMachineArn"]

    @property
    def table_name(self) -> str:
        (table,) = self.client("dynamodb").list_tables()["TableNames"]
        return table

    @property
    def functions(self) -> list[dict[str, Any]]:
        return self.client("lambda").list_functions()["Functions"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _cdk(arguments: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        [str(CDK), *arguments],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _create_executable_state_machine(
    resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
) -> Any:
    """CloudFormation's way into moto's interpreter, with DefinitionSubstitutions, which moto leaves out."""
    properties = cloudformation_json["Properties"]
    names = properties.get("DefinitionSubstitutions", {})
    definition = re.sub(r"\$\{(\w+)\}", lambda match: names[match[1]], properties["DefinitionString"])
    backend = stepfunctions_parser_backends[account_id][region_name]
    return backend.create_state_machine(resource_name, definition, properties["RoleArn"])


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, socket_enabled: None) -> Iterator[Deployment]:
    """Bootstrapped, deployed, and this process pointed at it."""
    port = _free_port()
    environment = {
        # The name, not 127.0.0.1: the CDK CLI would misread the template's URL.
        "AWS_ENDPOINT_URL": f"http://localhost:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "MOTO_PORT": str(port),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(
        StateMachine, "create_from_cloudformation_json", staticmethod(_create_executable_state_machine)
    )
    monkeypatch.setitem(default_user_config["stepfunctions"], "execute_state_machine", True)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    try:
        whole = {**os.environ, **environment, "PATH": f"{NODE}{os.pathsep}{os.environ['PATH']}"}
        app = ["--app", f"{sys.executable} app.py", "--output", str(tmp_path / "cdk.out")]
        _cdk(["bootstrap", f"aws://123456789012/{REGION}", *app], whole)
        _cdk(["deploy", "--require-approval", "never", *app], whole)
        yield Deployment()
    finally:
        server.stop()
