"""Two environments of the stack in one emulated account, deployed by the real CDK CLI once for all stories.

The account is ministack's (.venv-emulators, by `make emulators`); its functions reach it through microburst, which
lets everything through until a story asks for faults. Training jobs are real processes.
"""

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_socket

from nightspot.local.clock import StoryClock
from nightspot.local.emulator.account import EmulatedAccount, emulated_account
from nightspot.local.emulator.sagemaker_server import sagemaker_server
from nightspot.local.sagemaker.markets import Markets, SimulationOptions
from nightspot.local.sagemaker.sagemaker import SimulatedSageMaker

ROOT = Path(__file__).parents[2]
EMULATORS = ROOT / ".venv-emulators" / "bin"
NODE = ROOT / ".venv" / "node"
CDK = ROOT / "node_modules" / ".bin" / "cdk"
REGION = "eu-west-1"
STACKS = ("Production", "Staging")
# No story may hang: whatever is waited for is given up after this, on a busy machine too.
PATIENCE_SECONDS = 60.0
COMMAND_SECONDS = 180.0
TRAINER = """
import os, time
from pathlib import Path
from nightspot.checkpoint import Checkpointer
steps = int(os.environ.get("STEPS", "8"))
checkpoints = Checkpointer(total_steps=steps)
restored = checkpoints.restore()
for step in range(restored.step + 1 if restored else 1, steps + 1):
    time.sleep(0.05)
    checkpoints.save(step, b"state")
Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text(str(steps))
"""
APP = """
from pathlib import Path
import aws_cdk as cdk
from nightspot.cdk import NightspotStack, Settings, build_bundle
from nightspot.cdk.bundle import target_named
from nightspot.job.reading import load_jobs

app = cdk.App()
jobs = load_jobs(Path("jobs"))
python_version, platform = target_named("this-machine")
bundle = build_bundle(jobs, Path({build!r}), python_version=python_version, platform=platform)
for name in {stacks!r}:
    NightspotStack(app, name, jobs=jobs, bundle=bundle, settings=Settings(live_prices=False))
app.synth()
"""
# Two rungs of Spot, then on-demand. "long" trains until it is stopped.
JOB = """
name: {name}
deadline: {{within: 2h}}
work: 5m
checkpoint_every: 1m
change_over: {{spot: 10s, on_demand: 10s}}
capacity:
  spot: [ml.m5.large, ml.c5.xlarge]
  on_demand: [ml.m5.large]
fallback: on_demand
training_job:
  RoleArn: ${{TrainingRoleArn}}
  AlgorithmSpecification:
    TrainingImage: ${{AWS::AccountId}}.dkr.ecr.${{AWS::Region}}.amazonaws.com/training:1
    TrainingInputMode: File
  OutputDataConfig: {{S3OutputPath: "s3://${{ModelBucket}}/{name}/"}}
  CheckpointConfig: {{S3Uri: "s3://${{CheckpointBucket}}/{name}/"}}
  ResourceConfig: {{InstanceCount: 1, VolumeSizeInGB: 30}}
  StoppingCondition: {{MaxRuntimeInSeconds: 3600}}
  Environment: {{STEPS: "{steps}"}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(found: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """What `found` gives, once it is something; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.1)
    pytest.fail(f"not within {seconds:g} s: {what}")


@dataclass
class World:
    """The account, its simulated SageMaker, and the CDK CLI pointed at it."""

    account: EmulatedAccount
    simulator: SimulatedSageMaker
    folder: Path
    stacks: dict[str, "Stack"] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        return self.account.client(service)

    def cdk(self, *arguments: str, assembly: str = "cdk.out") -> str:
        """Run the CDK CLI on a synthesised assembly of the project; its output."""
        return self.command(str(CDK), *arguments, "--app", assembly)

    def command(self, *command: str, **variables: str) -> str:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **self.account.environment(),
            "PATH": f"{NODE}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            **variables,
        }
        done = subprocess.run(
            command,
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def read_stack(self, name: str) -> "Stack":
        """The stack as it stands in CloudFormation now."""
        (described,) = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        outputs = {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}
        self.stacks[name] = Stack(self, name, outputs)
        return self.stacks[name]


@dataclass(frozen=True)
class Stack:
    """One deployed environment."""

    world: World
    name: str
    outputs: dict[str, str]

    def start(self, run_input: Any) -> str:
        """Start an execution; its ARN."""
        return self.world.client("stepfunctions").start_execution(
            stateMachineArn=self.outputs["StateMachineArn"],
            name=uuid.uuid4().hex,
            input=json.dumps(run_input),
        )["executionArn"]

    def end_of(self, execution_arn: str) -> dict[str, Any]:
        """DescribeExecution of an execution that is over."""
        workflows = self.world.client("stepfunctions")

        def ended() -> Any:
            found = workflows.describe_execution(executionArn=execution_arn)
            return found if found["status"] != "RUNNING" else None

        return until(ended, f"the end of {execution_arn}")

    def states_of(self, execution_arn: str) -> list[str]:
        """The names of the states that an execution entered."""
        pages = self.world.client("stepfunctions").get_paginator("get_execution_history")
        return [
            event["stateEnteredEventDetails"]["name"]
            for page in pages.paginate(executionArn=execution_arn)
            for event in page["events"]
            if event["type"].endswith("StateEntered")
        ]


def _lets_training_find_the_checkpoint_library() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An account with both stacks in it."""
    pytest_socket.enable_socket()
    folder = tmp_path_factory.mktemp("emulator")
    (folder / "trainer.py").write_text(TRAINER)
    with ExitStack() as stack:
        server = stack.enter_context(sagemaker_server())
        account = stack.enter_context(
            emulated_account(
                EMULATORS / "python",
                folder / "account",
                port=free_port(),
                sagemaker_url=server.url,
                region=REGION,
            )
        )
        simulator = stack.enter_context(
            SimulatedSageMaker(
                StoryClock(datetime.now(UTC), 1.0),
                Markets(),
                scratch=folder / "training",
                command=["python", str(folder / "trainer.py")],
                environment=_lets_training_find_the_checkpoint_library(),
                on_event=server.put_event,
                region=REGION,
                options=SimulationOptions(
                    spot_provisioning_seconds=0.2,
                    on_demand_provisioning_seconds=0.2,
                    download_seconds=0.1,
                    upload_seconds=0.1,
                    sync_interval_seconds=0.2,
                    stop_grace_seconds=5.0,
                ),
                s3=account.client("s3"),
            )
        )
        server.simulator = simulator
        made = World(account, simulator, folder)
        _write_project(folder)
        made.command(sys.executable, "app.py", CDK_OUTDIR=str(folder / "cdk.out"))
        made.cdk("bootstrap", f"aws://123456789012/{REGION}")
        made.cdk("deploy", "--all", "--concurrency", "2", "--require-approval", "never")
        for name in STACKS:
            made.read_stack(name)
        yield made


def _write_project(folder: Path) -> None:
    (folder / "jobs").mkdir()
    for name, steps in (("quick", 8), ("long", 100_000)):
        (folder / "jobs" / f"{name}.yaml").write_text(JOB.format(name=name, steps=steps))
    (folder / "app.py").write_text(APP.format(build=str(ROOT / "build"), stacks=STACKS))


@pytest.fixture
def production(world: World, socket_enabled: None) -> Stack:
    return world.stacks["Production"]
