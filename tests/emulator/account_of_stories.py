"""The emulated account that the stories share: what it is made of, and what they ask it."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from nightspot.local.emulator.account import EmulatedAccount, make_certificate
from nightspot.local.emulator.training import account_that_trains
from nightspot.local.sagemaker.launch import TrainingCommand
from nightspot.local.sagemaker.markets import SimulationOptions
from nightspot.local.sagemaker.sagemaker import SimulatedSageMaker

ROOT = Path(__file__).parents[2]
EMULATORS = ROOT / ".venv-emulators" / "bin" / "python"
NODE = ROOT / ".venv" / "node"
CDK = ROOT / "node_modules" / ".bin" / "cdk"
REGION = "eu-west-1"
# Two environments of one account and region.
STACKS = ("Production", "Staging")
# Nothing may hang: whatever is waited for is given up after this, on a busy machine too.
PATIENCE_SECONDS = 120.0
COMMAND_SECONDS = 240.0
RECONCILE_SECONDS = 3.0  # five minutes on AWS
# Waits and pauses of workflows, in seconds of AWS's. Clocks go as they go: no story has a wait to sit out.
WAIT_SCALE = "0.001"
# A run that no event wakes looks by itself, after an hour at the most: here, after little more than half a minute.
TIMEOUT_SCALE = "0.01"

# "held" trains until the story lets it go.
TRAINER = """
import os, time
from pathlib import Path
from nightspot.checkpoint import Checkpointer
release = os.environ.get("RELEASE_FILE")
checkpoints = Checkpointer(total_steps=4)
restored = checkpoints.restore()
for step in range(restored.step + 1 if restored else 1, 5):
    time.sleep(0.05)
    checkpoints.save(step, b"state")
while release and not Path(release).exists():
    time.sleep(0.05)
Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text("4")
"""
APP = """
from pathlib import Path
import aws_cdk as cdk
from nightspot.cdk import NightspotStack, Settings, build_bundle, placement
from nightspot.cdk.bundle import target_named
from nightspot.job.reading import load_jobs

# As with more than 250 jobs that have a schedule: the others' stand in nested stacks.
placement.MOST_IN_MAIN = 1
app = cdk.App()
jobs = load_jobs(Path("jobs"))
python_version, platform = target_named("this-machine")
bundle = build_bundle(jobs, Path({build!r}), python_version=python_version, platform=platform)
for name in {stacks!r}:
    NightspotStack(app, name, jobs=jobs, bundle=bundle, settings=Settings(tell_success=True))
app.synth()
"""
JOB = """
name: {name}
{schedule}
deadline: {{within: 1h}}
work: 1m
checkpoint_every: 30s
change_over: {{spot: 10s, on_demand: 10s}}
capacity:
  spot: [ml.m5.large, ml.m5.xlarge]
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
  StoppingCondition: {{MaxRuntimeInSeconds: 1800}}
  Environment: {environment}
"""
# A job has one run at a time, so that stories with runs of their own have jobs of their own.
BURST = ("burst-1", "burst-2", "burst-3")
JOBS = ("quick", "smoke", "crashed", "refused-wake", *BURST)
# Once in four years: schedules are deployed, and no story waits for one.
SCHEDULE = 'schedule: {cron: "0 3 29 2 ? *", timezone: UTC}'
SCHEDULED = BURST
SIMULATION = SimulationOptions(
    spot_provisioning_seconds=0.1,
    on_demand_provisioning_seconds=0.1,
    download_seconds=0.1,
    upload_seconds=0.1,
    sync_interval_seconds=0.2,
    stop_grace_seconds=5.0,
)


def until(found: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """What `found` gives, once it is something; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.1)
    pytest.fail(f"not within {seconds:g} s: {what}")


@dataclass
class Wire:
    """microburst, between the functions and the account: what it does to their calls."""

    url: str

    def inject(self, *rules: dict[str, Any]) -> None:
        """These faults from now on, and no others; the record of fired ones starts anew."""
        self._ask("POST", "rules", list(rules))
        self._ask("DELETE", "fired")

    def fired(self) -> list[dict[str, Any]]:
        """Every fault since they were injected."""
        return self._ask("GET", "fired?limit=10000")

    def _ask(self, method: str, what: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=10)
        try:
            connection.request(method, f"/_microburst/{what}", data)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 200, text
        finally:
            connection.close()
        return json.loads(text) if text else None


@dataclass
class Account:
    """The account, its simulated SageMaker, the wire before it, and the CDK CLI pointed at it."""

    emulated: EmulatedAccount
    simulator: SimulatedSageMaker
    wire: Wire
    folder: Path
    stacks: dict[str, "Stack"] = field(default_factory=dict)
    clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self.clients:
            self.clients[service] = self.emulated.client(service)
        return self.clients[service]

    def close(self) -> None:
        for client in self.clients.values():
            client.close()

    @property
    def release_file(self) -> Path:
        """While it is there, jobs named "held" end."""
        return self.folder / "release"

    def cdk(self, *arguments: str, assembly: str = "cdk.out") -> str:
        """Run the CDK CLI on a synthesised assembly of the project; its output."""
        return self.command(str(CDK), *arguments, "--app", assembly)

    def command(self, *command: str, **variables: str) -> str:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **self.emulated.environment(),
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

    account: Account
    name: str
    outputs: dict[str, str]

    def client(self, service: str) -> Any:
        return self.account.client(service)

    @cached_property
    def resources(self) -> list[dict[str, Any]]:
        """As CloudFormation lists them."""
        pages = (
            self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.name)
        )
        return [each for page in pages for each in page["StackResourceSummaries"]]

    def physical(self, kind: str, logical: str) -> str:
        """The name of the one resource of a type whose logical id begins so."""
        (found,) = (
            each["PhysicalResourceId"]
            for each in self.resources
            if each["ResourceType"] == kind and each["LogicalResourceId"].startswith(logical)
        )
        return found

    def function(self, name: str) -> str:
        return self.physical("AWS::Lambda::Function", f"TrainingFunctions{name}")

    def role(self, name: str) -> str:
        return self.physical("AWS::IAM::Role", f"TrainingFunctions{name}Role")

    def logs(self, name: str) -> list[str]:
        """What a function has logged, line by line."""
        logs, group = (
            self.client("logs"),
            self.physical("AWS::Logs::LogGroup", f"TrainingFunctions{name}Logs"),
        )
        pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=group)
        streams = [each["logStreamName"] for page in pages for each in page["logStreams"]]
        return [
            event["message"]
            for stream in streams
            for event in logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]
        ]

    def start(self, run_input: Any) -> str:
        """Start an execution; its ARN."""
        return self.client("stepfunctions").start_execution(
            stateMachineArn=self.outputs["StateMachineArn"],
            name=uuid.uuid4().hex,
            input=json.dumps(run_input),
        )["executionArn"]

    def end_of(self, execution_arn: str, *, reconciled: bool = False) -> dict[str, Any]:
        """DescribeExecution of an execution that is over. `reconciled`: the reconciler comes every few seconds."""
        workflows, next_at = self.client("stepfunctions"), time.monotonic() + RECONCILE_SECONDS

        def ended() -> Any:
            nonlocal next_at
            if reconciled and time.monotonic() > next_at:
                self.client("lambda").invoke(FunctionName=self.function("Reconcile"), Payload=b"{}")
                next_at = time.monotonic() + RECONCILE_SECONDS
            found = workflows.describe_execution(executionArn=execution_arn)
            return found if found["status"] != "RUNNING" else None

        with suppress(pytest.fail.Exception):
            return until(ended, "the end of an execution")
        pytest.fail(f"still in {self.states_of(execution_arn)[-1]}; {self.failures()}")

    def failures(self) -> list[str]:
        """What functions have logged as errors: the first thing to read when a story fails."""
        names = ("PlanRun", "DecideNextStep", "RecordOutcome", "WakeRun", "CloseRun", "Notify", "Api")
        return [line[:300] for name in names for line in self.logs(name) if "ERROR" in line]

    def states_of(self, execution_arn: str) -> list[str]:
        """The names of the states that an execution entered."""
        pages = self.client("stepfunctions").get_paginator("get_execution_history")
        return [
            event["stateEnteredEventDetails"]["name"]
            for page in pages.paginate(executionArn=execution_arn)
            for event in page["events"]
            if event["type"].endswith("StateEntered")
        ]

    def training_job_of(self, execution_arn: str, number: int = 1) -> str:
        """The name of a run's training job, once it trains."""

        def training() -> str | None:
            names = [
                state.name
                for state in self.account.simulator.states()
                if state.name.endswith(f"-{number}") and state.secondary == "Training"
            ]
            return names[-1] if names else None

        return until(training, f"training of {execution_arn}")

    @cached_property
    def inbox(self) -> str:
        """A queue that is subscribed to the stack's notices: its URL."""
        sqs, sns = self.client("sqs"), self.client("sns")
        url = sqs.create_queue(QueueName=f"inbox-{self.name}")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        allowed = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "sns.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": arn,
                }
            ],
        }
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(allowed)})
        sns.subscribe(TopicArn=self.outputs["NoticeTopicArn"], Protocol="sqs", Endpoint=arn)
        return url

    def message(self, says: str) -> str:
        """The next message of this stack that says so: its text."""
        return until(
            lambda: next((each for each in self.messages() if says in each), None), f"a message: {says}"
        )

    def messages(self) -> list[str]:
        """All messages that people got from this stack, as subject and text."""
        taken = received(self.client("sqs"), self.inbox)
        _kept.setdefault(self.inbox, []).extend(
            f"{document['Subject']}\n{document['Message']}" for document in map(json.loads, taken)
        )
        return _kept[self.inbox]

    def dead_letters(self) -> list[str]:
        """What lies in the stack's dead-letter queue, taken out of it."""
        return received(self.client("sqs"), self.physical("AWS::SQS::Queue", "TrainingRecordsDeadLetters"))


_kept: dict[str, list[str]] = {}


def received(sqs: Any, url: str) -> list[str]:
    """Every message of a queue, taken out of it."""
    bodies = []
    while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for each in found:
            bodies.append(each["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
    return bodies


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def _wire(port: int, upstream: str, certificate: Path, log: Path) -> Iterator[Wire]:
    command = [str(EMULATORS), str(Path(__file__).with_name("in_microburst.py"))]
    options = ["--upstream", upstream, "--port", str(port), "--no-resign"]
    environment = {"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(certificate)}
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *options], env=environment, stdout=output, stderr=output)
    wire = Wire(f"http://127.0.0.1:{port}")

    def answers() -> bool:
        with suppress(OSError):
            wire.fired()
            return True
        assert process.poll() is None, log.read_text()
        return False

    try:
        until(answers, "microburst's start")
        yield wire
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def account_with_both_stacks(folder: Path) -> Iterator[Account]:
    """Inside: an emulated account into which both stacks were deployed by the real CDK CLI."""
    (folder / "trainer.py").write_text(TRAINER)
    _write_project(folder)
    ports = (_free_port(), _free_port())
    certificate = make_certificate(folder)
    with ExitStack() as stack:
        wire = stack.enter_context(
            _wire(ports[1], f"https://127.0.0.1:{ports[0]}", certificate, folder / "microburst.log")
        )
        training = TrainingCommand(["python", str(folder / "trainer.py")], {"PYTHONPATH": str(ROOT)}, folder)
        emulated, simulator = stack.enter_context(
            account_that_trains(
                EMULATORS,
                folder / "account",
                lambda _request: training,
                port=ports[0],
                region=REGION,
                options=SIMULATION,
                functions_url=wire.url,
                certificate=certificate,
                settings={
                    "SFN_WAIT_SCALE": WAIT_SCALE,
                    "NIGHTSPOT_TIMEOUT_SCALE": TIMEOUT_SCALE,
                    "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "2",
                },
            )
        )
        made = Account(emulated, simulator, wire, folder)
        stack.callback(made.close)
        with ThreadPoolExecutor(1) as beside:
            # It is told its account, and needs no app.
            prepared = beside.submit(made.command, str(CDK), "bootstrap", f"aws://123456789012/{REGION}")
            made.command(sys.executable, "app.py", CDK_OUTDIR=str(folder / "cdk.out"))
            prepared.result()
        made.cdk("deploy", "--all", "--concurrency", "2", "--require-approval", "never")
        for name in STACKS:
            _ = made.read_stack(name).inbox
        yield made


def _write_project(folder: Path) -> None:
    (folder / "jobs").mkdir()
    jobs = {**dict.fromkeys(JOBS, "{}"), "held": f"{{RELEASE_FILE: {folder / 'release'}}}"}
    for name, environment in jobs.items():
        schedule = SCHEDULE if name in SCHEDULED else ""
        text = JOB.format(name=name, environment=environment, schedule=schedule)
        (folder / "jobs" / f"{name}.yaml").write_text(text)
    (folder / "app.py").write_text(APP.format(build=str(ROOT / "build"), stacks=STACKS))
