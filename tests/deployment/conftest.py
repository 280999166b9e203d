"""A moto server on loopback, the real CDK CLI's bootstrap and deploy against it, and the deployed stack come alive.

One deployment serves all tests of this folder.
"""

import importlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
import pytest_socket
from moto.cloudformation.parsing import ResourceMap
from moto.core.config import default_user_config
from moto.server import ThreadedMotoServer
from moto.stepfunctions.models import StateMachine
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from nightspot.aws.runs.executions import Starter
from nightspot.aws.runs.training_jobs import Stopper
from nightspot.job.model import dump_jobs
from nightspot.job.reading import load_jobs
from nightspot.lambdas.api_reads import ApiDependencies, api_dependencies
from nightspot.lambdas.dependencies import dependencies
from nightspot.lambdas.start_training_job import training_jobs
from nightspot.local.clock import StoryClock
from nightspot.local.sagemaker import sagemaker
from nightspot.local.sagemaker.markets import Markets, SimulationOptions
from nightspot.local.sagemaker.sagemaker import SimulatedSageMaker
from nightspot.local.serving import NO_TOKEN, Gateway, Refusal, Request, RequestSender
from nightspot.local.stage.emulated_aws import AsyncInvoker, DeadLetters, bound
from nightspot.local.stage.engine import Handler, interpreter
from tests.deployment.signatures import Signatures

ROOT = Path(__file__).parents[2]
REGION = "eu-west-1"
NODE = ROOT / ".venv" / "node"
CDK = ROOT / "node_modules" / ".bin" / "cdk"
API_MODULE = "nightspot.lambdas.api.handler"
START_MODULE = "nightspot.lambdas.start_training_job.handler"
SCALE = 1800.0
TRAINER = """
import os, time
from pathlib import Path
from nightspot.checkpoint import Checkpointer
checkpoints = Checkpointer(total_steps=24)
restored = checkpoints.restore()
for step in range(restored.step + 1 if restored else 1, 25):
    time.sleep(0.1)
    checkpoints.save(step, b"state")
Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text("24")
"""


@dataclass(frozen=True)
class Deployment:
    """What was deployed. moto fills in no outputs, so its resources are looked up."""

    template: dict[str, Any]  # as it was synthesised, for what moto leaves out

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


def _cdk(arguments: list[str], environment: dict[str, str], folder: Path = ROOT) -> None:
    done = subprocess.run(
        [str(CDK), *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
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


_diff = ResourceMap.build_resource_diff


def _with_deployments_last(
    self: ResourceMap, other_template: dict[str, Any], parameters: dict[str, Any] | None = None
) -> dict[str, Any]:
    """moto executes a change set in the template's order, whatever a resource depends on; and an API's deployment
    comes before its methods there.
    """
    actions = _diff(self, other_template, parameters)
    late = ("AWS::ApiGateway::Deployment", "AWS::ApiGateway::Stage")
    actions["Add"].sort(key=lambda name: other_template["Resources"][name]["Type"] in late)
    return actions


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
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
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(
            StateMachine, "create_from_cloudformation_json", staticmethod(_create_executable_state_machine)
        )
        monkeypatch.setattr(ResourceMap, "build_resource_diff", _with_deployments_last)
        monkeypatch.setitem(default_user_config["stepfunctions"], "execute_state_machine", True)
        # A fixture of a module is set up before the one that lets a test use sockets.
        pytest_socket.enable_socket()
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        server.start()
        try:
            whole = {**os.environ, **environment, "PATH": f"{NODE}{os.pathsep}{os.environ['PATH']}"}
            folder = tmp_path_factory.mktemp("deployment")
            out = folder / "cdk.out"
            app = ["--app", f"{sys.executable} app.py", "--output", str(out)]
            # In a folder without a cdk.json, so that no app is synthesised for it.
            _cdk(["bootstrap", f"aws://123456789012/{REGION}"], whole, folder)
            _cdk(["deploy", "--require-approval", "never", *app], whole)
            yield Deployment(json.loads((out / "Nightspot.template.json").read_text()))
        finally:
            server.stop()


@dataclass(frozen=True)
class Alive:
    """The deployed stack with its functions running in this process, in story time, and a market for training."""

    deployment: Deployment
    functions: dict[str, dict[str, Any]]  # as Lambda lists them, by their handler
    handlers: dict[str, Handler]  # by the function's name
    simulator: SimulatedSageMaker
    clock: StoryClock

    def environment_of(self, function: str) -> dict[str, str]:
        """The variables that the stack gives to a function, by its module's name."""
        return self.functions[f"nightspot.lambdas.{function}.handler"]["Environment"]["Variables"]


@pytest.fixture
def alive(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, socket_enabled: None
) -> Iterator[Alive]:
    """What AWS would do with the stack, done here."""
    functions = {each["Handler"]: each for each in deployment.functions}
    for each in functions.values():
        for name, value in each.get("Environment", {}).get("Variables", {}).items():
            monkeypatch.setenv(name, value)
    plan = functions["nightspot.lambdas.plan_run.handler"]
    _put_the_bundles_jobs_where_the_function_looks(plan, tmp_path, monkeypatch)
    clock = StoryClock(datetime(2026, 11, 21, tzinfo=UTC), SCALE)
    dependencies.cache_clear()
    api_dependencies.cache_clear()
    training_jobs.cache_clear()
    handlers = _in_story_time(functions, deployment.state_machine_arn, clock)
    wake = AsyncInvoker(
        handlers[functions["nightspot.lambdas.wake_run.handler"]["FunctionName"]], clock, DeadLetters()
    )
    trainer = tmp_path / "trainer.py"
    trainer.write_text(TRAINER)
    simulator = SimulatedSageMaker(
        clock,
        Markets(),
        scratch=tmp_path / "scratch",
        command=["python", str(trainer)],
        on_event=wake,
        options=SimulationOptions(),
    )
    with simulator, sagemaker.installed(simulator), interpreter(clock, handlers):
        yield Alive(deployment, functions, handlers, simulator, clock)
    wake.close()
    dependencies.cache_clear()
    api_dependencies.cache_clear()
    training_jobs.cache_clear()


def _in_story_time(
    functions: dict[str, dict[str, Any]], machine_arn: str, clock: StoryClock
) -> dict[str, Handler]:
    """The functions' own handlers by their names, with the collaborators that they make of their environment."""
    use = replace(dependencies(), now=clock.now)
    starter = Starter(use.step_functions, machine_arn, now=clock.now)
    stopper = Stopper(use.table, boto3.client("sagemaker", region_name=REGION), use.executions)
    of_api: ApiDependencies = replace(api_dependencies(), now=clock.now, starter=starter, stopper=stopper)
    named = {each["FunctionName"]: _handler(each) for each in functions.values()}
    api = functions[API_MODULE]["FunctionName"]
    start = functions[START_MODULE]["FunctionName"]
    of_loop = {name: handler for name, handler in named.items() if name not in {api, start}}
    # Each of AWS's environments serves one event at a time; all of them are this process.
    lock = threading.Lock()
    return {
        **bound(of_loop, use, lock),
        **bound({api: named[api]}, of_api, lock),
        **bound({start: named[start]}, training_jobs(), lock),
    }


def _handler(function: dict[str, Any]) -> Callable[..., Any]:
    module, _, name = function["Handler"].rpartition(".")
    return getattr(importlib.import_module(module), name)


def _put_the_bundles_jobs_where_the_function_looks(
    plan: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightspot.cdk.bundle import JOBS_FILE

    assert plan["Environment"]["Variables"]["NIGHTSPOT_JOBS_FILE"] == JOBS_FILE
    task_root = tmp_path / "var-task"
    task_root.mkdir()
    (task_root / JOBS_FILE).write_text(dump_jobs(load_jobs(ROOT / "jobs")))
    monkeypatch.chdir(task_root)


@dataclass(frozen=True)
class DeployedMethod:
    """One method of a resource, as API Gateway has it."""

    http_method: str
    path: str  # "/runs/{id}"
    authorization: str
    function_name: str

    def takes(self, method: str, path: str) -> bool:
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(self.path))
        return self.http_method in {method, "ANY"} and re.fullmatch(pattern, path) is not None


@dataclass(frozen=True)
class DeployedApi:
    """The REST API, read back from API Gateway."""

    url: str  # with the stage
    stage: str
    methods: tuple[DeployedMethod, ...]

    def method_of(self, method: str, path: str) -> DeployedMethod | None:
        return next((each for each in self.methods if each.takes(method, path)), None)

    def gateway(self, handlers: dict[str, Handler], signatures: Signatures) -> Gateway:
        """Plays it: route, authorisation, and the function that the method's integration names."""

        def authorise(request: Request) -> RequestSender | Refusal:
            path = request.path.removeprefix(f"/{self.stage}")
            found = self.method_of(request.method, path)
            if found is None:
                return NO_TOKEN
            return {"AWS_IAM": signatures, "NONE": lambda _request: RequestSender(None)}[found.authorization](
                request
            )

        def invoke(event: dict[str, Any]) -> Any:
            found = self.method_of(event["httpMethod"], event["path"])
            return handlers[found.function_name](event)

        return Gateway(invoke, authorise=authorise, stage=self.stage, stage_in_path=True)


@pytest.fixture
def deployed_api(deployment: Deployment, socket_enabled: None) -> DeployedApi:
    """Its resources, methods and integrations are moto's; its stage is the template's, since moto makes none."""
    gateway = deployment.client("apigateway")
    (api,) = gateway.get_rest_apis()["items"]
    (name,) = (
        resource["Properties"]["StageName"]
        for resource in deployment.template["Resources"].values()
        if resource["Type"] == "AWS::ApiGateway::Stage"
    )
    methods = [
        DeployedMethod(
            http_method,
            resource["path"],
            described["authorizationType"],
            _function_name(described["methodIntegration"]["uri"]),
        )
        for resource in gateway.get_resources(restApiId=api["id"], limit=500)["items"]
        for http_method in resource.get("resourceMethods", {})
        for described in [
            gateway.get_method(restApiId=api["id"], resourceId=resource["id"], httpMethod=http_method)
        ]
    ]
    url = f"https://{api['id']}.execute-api.{REGION}.amazonaws.com/{name}"
    return DeployedApi(url, name, tuple(methods))


def _function_name(uri: str) -> str:
    return re.search(r":function:([^/:]+)", uri)[1]
