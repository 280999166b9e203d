"""The handlers' world: the simulator's table, a bucket in moto, and fakes that a test tells what to answer."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from nightspot.aws.notices import Notices
from nightspot.aws.prices import KnownPrices
from nightspot.aws.runs.checkpoints import Checkpoints, Models
from nightspot.aws.runs.executions import Executions, Starter, restart_arn
from nightspot.aws.runs.job_code import JobCode
from nightspot.aws.runs.training_jobs import Stopper, TrainingJobs
from nightspot.aws.table.job_lock import JobLock
from nightspot.aws.table.run_table import RunTable
from nightspot.decide.audit import MOST_RESTARTS
from nightspot.job.model import Job
from nightspot.lambdas import api as http_api
from nightspot.lambdas import close_run, decide_next_step, plan_run, reconcile, record_outcome, wake_run
from nightspot.lambdas.api_reads import ApiDependencies
from nightspot.lambdas.dependencies import Dependencies
from nightspot.lambdas.observability import wake_refused
from nightspot.local.serving import answer_of, event_of
from nightspot.local.stage.emulated_aws import REGION, TABLE, WORKFLOW, LocalContext, create_resources
from nightspot.run.model import Outcome, Run, run_from_json, to_json
from tests.simulation.dynamodb import without_faults

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:nightspot"
EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:one"
# The end of the name of an execution that goes on with a run, and of a scheduled one: there once they are started.
STARTED_BY_US = re.compile(r"-(r\d|\d{4}-\d\d-\d\dT\d{4}Z)$")
RECOMMENDER = Job.model_validate(
    {
        "name": "recommender",
        "deadline": {"within": "8h"},
        "work": "4h",
        "capacity": {"spot": ["ml.g5.xlarge"], "on_demand": ["ml.g5.xlarge"]},
        "training_job": {
            "RoleArn": "arn:aws:iam::123456789012:role/training",
            "AlgorithmSpecification": {"TrainingImage": "training:latest", "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": "s3://models/"},
            "CheckpointConfig": {"S3Uri": "s3://checkpoints/nightly/"},
            "ResourceConfig": {"InstanceCount": 1, "VolumeSizeInGB": 50},
            "StoppingCondition": {"MaxRuntimeInSeconds": 21600},
        },
    }
)


def fault(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "AnyOperation")


@dataclass
class SageMaker:
    """The training jobs that a test has put there; one that is stopped shows it at once."""

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    refusal: Exception | None = None  # of every call but StopTrainingJob
    stops: list[str] = field(default_factory=list)
    stop_refusal: Exception | None = None

    def describe_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:  # noqa: N803
        if self.refusal is not None:
            raise self.refusal
        if TrainingJobName not in self.jobs:
            raise fault("ValidationException", "Requested resource not found.")
        return {"TrainingJobName": TrainingJobName, **self.jobs[TrainingJobName]}

    def stop_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:  # noqa: N803
        if self.stop_refusal is not None:
            raise self.stop_refusal
        self.stops.append(TrainingJobName)
        self.jobs[TrainingJobName]["TrainingJobStatus"] = "Stopping"
        return {}

    def list_training_jobs(self, **wanted: Any) -> dict[str, Any]:
        if self.refusal is not None:
            raise self.refusal
        found = [
            {"TrainingJobName": name, "TrainingJobStatus": job["TrainingJobStatus"]}
            for name, job in self.jobs.items()
            if wanted["NameContains"] in name and job["TrainingJobStatus"] == wanted["StatusEquals"]
        ]
        return {"TrainingJobSummaries": found}

    def shows(self, name: str, status: str, *secondary: tuple[str, datetime], **more: Any) -> None:
        """The training job `name`, gone through the secondary statuses at their times."""
        ends = [start for _, start in secondary[1:]]
        transitions = [
            {"Status": status, "StartTime": start, **({"EndTime": ends[i]} if i < len(ends) else {})}
            for i, (status, start) in enumerate(secondary)
        ]
        self.jobs[name] = {
            "TrainingJobStatus": status,
            "SecondaryStatus": secondary[-1][0],
            "SecondaryStatusTransitions": transitions,
            **more,
        }


@dataclass
class Bus:
    """EventBridge: keeps what it is given, or refuses it."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    refusal: Exception | None = None

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        if self.refusal is not None:
            raise self.refusal
        self.entries.extend(Entries)
        return {"FailedEntryCount": 0, "Entries": []}

    @property
    def told(self) -> list[str]:
        """The detail types, in order."""
        return [entry["DetailType"] for entry in self.entries]

    def details(self) -> list[dict[str, Any]]:
        return [json.loads(entry["Detail"]) for entry in self.entries]


@dataclass
class StepFunctions:
    """Executions, which run unless a test says otherwise; those that were started; the tokens returned."""

    returned: list[str] = field(default_factory=list)
    refusal: Exception | None = None
    over: set[str] = field(default_factory=set)  # execution ARNs that were aborted
    ends: dict[str, dict[str, Any]] = field(default_factory=dict)  # by ARN, what else is said of the others
    started: dict[str, dict[str, Any]] = field(default_factory=dict)  # the inputs, by ARN
    start_refusal: Exception | None = None

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803
        if STARTED_BY_US.search(executionArn) and executionArn not in {*self.started, *self.ends}:
            raise fault("ExecutionDoesNotExist")
        status = "ABORTED" if executionArn in self.over else "RUNNING"
        shown = {"executionArn": executionArn, "status": status, **self.ends.get(executionArn, {})}
        if executionArn in self.started:
            shown |= {"startDate": MIDNIGHT, "input": json.dumps(self.started[executionArn])}
        return shown

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:  # noqa: N803, A002
        if self.start_refusal is not None:
            raise self.start_refusal
        arn = f"{stateMachineArn.replace(':stateMachine:', ':execution:')}:{name}"
        if arn in {*self.started, *self.ends}:
            raise fault("ExecutionAlreadyExists")
        self.started[arn] = json.loads(input)
        return {"executionArn": arn, "startDate": MIDNIGHT}

    def send_task_success(self, *, taskToken: str, output: str) -> dict[str, Any]:  # noqa: N803
        json.loads(output)
        if self.refusal is not None:
            raise self.refusal
        self.returned.append(taskToken)
        return {}


class World:
    """Everything around the handlers, and the handlers as the workflow calls them."""

    def __init__(self, environment: str = "", dynamodb: Any = None, table_name: str = TABLE) -> None:
        self.now = MIDNIGHT
        self.environment, self.table_name = environment, table_name
        self.jobs = {
            "recommender": RECOMMENDER,
            "another": RECOMMENDER.model_copy(update={"name": "another"}),
        }
        self.dynamodb = dynamodb or without_faults()
        self.s3 = boto3.client("s3", region_name=REGION)
        self.sagemaker, self.bus, self.step_functions = SageMaker(), Bus(), StepFunctions()
        self.table = RunTable(self.dynamodb, table_name)
        self.lock = JobLock(self.dynamodb, table_name)
        self.quotas: Callable[[Iterable[str]], Mapping[str, float]] | None = None
        self.live_prices: Callable[[Iterable[str]], KnownPrices] | None = None
        self.models: Models | None = None
        self.code: Callable[[], JobCode] | None = None
        self._wait = json.loads(WORKFLOW.read_text())["States"]["Wait for news"]["Arguments"]

    @property
    def use(self) -> Dependencies:
        return Dependencies(
            region=REGION,
            now=lambda: self.now,
            jobs=lambda: self.jobs,
            localise=lambda job, _execution_arn: job,
            price=lambda _instance_type, _region: 2.0,
            table=self.table,
            lock=self.lock,
            executions=Executions(self.step_functions, wake_refused),
            quotas=self.quotas,
            training_jobs=TrainingJobs(self.sagemaker),
            checkpoints=Checkpoints(self.s3),
            notices=Notices(self.bus, "nights"),
            step_functions=self.step_functions,
            starter=Starter(self.step_functions, MACHINE),
            live_prices=self.live_prices,
            models=self.models,
            environment=self.environment,
            code=self.code,
        )

    def plan(
        self, run_input: Any = None, started_at: datetime = MIDNIGHT, execution: str = EXECUTION
    ) -> dict[str, Any]:
        given = {"job": "recommender"} if run_input is None else run_input
        context = {"id": execution, "started_at": started_at.isoformat()}
        event = {"input": given, "execution": context, "merges_request": True}
        return plan_run.handler(_as_json(event), LocalContext("PlanRun"), use=self.use)

    def decide(self, run: dict[str, Any], fault: dict[str, str] | None = None) -> dict[str, Any]:
        context = LocalContext("DecideNextStep")
        return decide_next_step.handler(_as_json({"run": run, "fault": fault}), context, use=self.use)

    def record(self, run: dict[str, Any]) -> dict[str, Any]:
        return record_outcome.handler(_as_json({"run": run}), LocalContext("RecordOutcome"), use=self.use)

    def wake(self, *, time: datetime | None = None, **detail: Any) -> bool:
        context = LocalContext("WakeRun")
        event = {"source": "aws.sagemaker", "detail": detail}
        if time is not None:
            event["time"] = time.isoformat()
        return wake_run.handler(_as_json(event), context, use=self.use)["woke"]

    def reconcile(self) -> dict[str, Any]:
        return reconcile.handler({}, LocalContext("Reconcile"), use=self.use)

    def begin_to_wait(self, training_job_name: str, token: str) -> None:
        """What "Wait for news" does, in the workflow's own words."""
        self.dynamodb.update_item(
            TableName=self.table_name,
            Key={"pk": {"S": f"TRAINING_JOB#{training_job_name}"}, "sk": self._wait["Key"]["sk"]},
            UpdateExpression=self._wait["UpdateExpression"],
            ExpressionAttributeNames=self._wait["ExpressionAttributeNames"],
            ExpressionAttributeValues={":token": {"S": token}, ":run": {"S": "r"}, ":expires": {"N": "1"}},
        )

    def pass_time(self, **duration: float) -> datetime:
        self.now += timedelta(**duration)
        return self.now


class Night:
    """A run of `recommender` that trains, and what EventBridge then tells of it."""

    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def stops(self) -> list[str]:
        return self.world.sagemaker.stops

    def begins(self, execution: str = EXECUTION) -> Run:
        """Midnight: a training job is asked for; the run holds the job's lock. The ledger."""
        run = run_from_json(self.world.decide(self.world.plan(execution=execution)["run"])["run"])
        self.world.bus.entries.clear()
        return run

    def trains(self) -> Run:
        """At three o'clock it has trained for two hours and fifty minutes, as the last decision saw."""
        run = self.begins()
        name = run.attempts[0].training_job_name
        self.world.begin_to_wait(name, "token")
        self.shows(name, "InProgress")
        self.world.pass_time(hours=2)
        run = run_from_json(self.world.decide(to_json(run))["run"])
        self.world.pass_time(hours=1)
        self.world.bus.entries.clear()
        return run

    def shows(self, name: str, status: str, **more: Any) -> None:
        ends = [] if status == "InProgress" else [(status, MIDNIGHT + timedelta(hours=3, minutes=4))]
        history = [
            ("Starting", MIDNIGHT),
            ("Downloading", MIDNIGHT + timedelta(minutes=5)),
            ("Training", MIDNIGHT + timedelta(minutes=10)),
            *ends,
        ]
        self.world.sagemaker.shows(name, status, *history, **more)

    def execution_ends(self, status: str = "ABORTED", **changes: Any) -> bool:
        """Step Functions' event, at 03:12 UTC.

        https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
        """
        start, stop = (int(m.timestamp() * 1000) for m in (MIDNIGHT, MIDNIGHT + timedelta(hours=3.2)))
        detail = {
            "executionArn": EXECUTION,
            "stateMachineArn": "arn:aws:states:eu-west-1:123456789012:stateMachine:nightspot",
            "name": "one",
            "status": status,
            "startDate": start,
            "stopDate": stop,
            "input": '{"job": "recommender"}',
            "output": None,
            **changes,
        }
        return self.deliver("Step Functions Execution Status Change", detail)

    def crashes(self) -> bool:
        """The execution's own failure, and its event; whether that has closed the run."""
        error, cause = "Nightspot.DecisionCrashed", f"KeyError: ann@example.com {'x' * 500}"
        self.ends(EXECUTION, error=error, cause=cause)
        return self.execution_ends("FAILED", error=error, cause=cause)

    def ends(self, arn: str, status: str = "FAILED", **more: Any) -> None:
        """Step Functions says from now on that the execution ended at 03:12 UTC."""
        at = MIDNIGHT + timedelta(hours=3.2)
        self.world.step_functions.ends[arn] = {"status": status, "stopDate": at, **more}

    def restarts_are_used_up(self, run: Run) -> None:
        """All that may be restarted of the run has been, and has crashed at 03:12 UTC."""
        for number in range(1, MOST_RESTARTS + 1):
            self.ends(restart_arn(run, number, like=run.execution_arn), error="Nightspot.DecisionCrashed")

    def training_job_ends(self, name: str, status: str = "Stopped") -> bool:
        detail = {"TrainingJobName": name, "TrainingJobStatus": status, "SecondaryStatus": status}
        return self.deliver("SageMaker Training Job State Change", detail)

    def deliver(self, detail_type: str, detail: dict[str, Any]) -> bool:
        """Whether the event, which is told just now, has closed the run."""
        event = {"detail-type": detail_type, "detail": detail, "time": self.world.now.isoformat()}
        answer = close_run.handler(_as_json(event), LocalContext("CloseRun"), use=self.world.use)
        return bool(answer["closed"])

    def recorded(self, run: Run) -> Run:
        found = self.world.table.run(run.run_id)
        assert found is not None
        return found


@dataclass
class Machine:
    """The state machine: keeps the executions that are started. Those that it was not told of are running."""

    started: dict[str, dict[str, Any]] = field(default_factory=dict)  # by ARN
    over: set[str] = field(default_factory=set)  # ARNs
    refusal: Exception | None = None

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:  # noqa: N803, A002
        if self.refusal is not None:
            raise self.refusal
        arn = f"{stateMachineArn.replace(':stateMachine:', ':execution:')}:{name}"
        self.started[arn] = {"executionArn": arn, "startDate": MIDNIGHT, "input": input}
        return self.started[arn]

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803
        if executionArn not in self.started and executionArn != EXECUTION:
            raise fault("ExecutionDoesNotExist")
        status = "SUCCEEDED" if executionArn in self.over else "RUNNING"
        return {**self.started.get(executionArn, {}), "executionArn": executionArn, "status": status}

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """What the executions were started with, in order."""
        return [json.loads(execution["input"]) for execution in self.started.values()]


@dataclass
class Stops:
    """StopTrainingJob: keeps the names, or refuses."""

    names: list[str] = field(default_factory=list)
    refusal: Exception | None = None

    def stop_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:  # noqa: N803
        if self.refusal is not None:
            raise self.refusal
        self.names.append(TrainingJobName)
        return {}

    def describe_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:  # noqa: N803
        return {
            "TrainingJobName": TrainingJobName,
            "TrainingJobStatus": "InProgress",
            "SecondaryStatus": "Training",
        }


@dataclass(frozen=True)
class Answer:
    """An HTTP answer. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Api:
    """The API's handler as API Gateway calls it, for a caller whom IAM lets through."""

    CALLER = "arn:aws:sts::123456789012:assumed-role/pipeline/ci"

    def __init__(self, world: World) -> None:
        self.world = world
        self.machine, self.stops = Machine(), Stops()
        self.table = world.table
        self._tokens = (f"{n:06x}" for n in itertools.count())

    @property
    def use(self) -> ApiDependencies:
        executions = Executions(self.machine)
        machine_arn = "arn:aws:states:eu-west-1:123456789012:stateMachine:nightspot"
        return ApiDependencies(
            now=lambda: self.world.now,
            jobs=lambda: self.world.jobs,
            table=self.table,
            starter=Starter(self.machine, machine_arn),
            stopper=Stopper(self.world.table, self.stops, executions),
            executions=executions,
            token_hex6=lambda: next(self._tokens),
        )

    def ask(
        self,
        method: str,
        path: str,
        body: Any = b"",
        *,
        query: Iterable[tuple[str, str]] = (),
        **headers: str,
    ) -> Answer:
        """ask("POST", "/jobs/recommender/runs", {"market": "spot"}, idempotency_key="abc")"""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = [(name.replace("_", "-").title(), value) for name, value in headers.items()]
        return self.answer(event_of(method, path, list(query), named, sent, identity_arn=self.CALLER))

    def answer(self, event: dict[str, Any]) -> Answer:
        context = LocalContext("Api")
        status, pairs, body = answer_of(http_api.handler(_as_json(event), context, use=self.use))
        return Answer(status, {name.lower(): value for name, value in pairs}, body.decode())


def _as_json(event: dict[str, Any]) -> dict[str, Any]:
    """As it travels: what is no JSON never reaches a Lambda function."""
    travelled: dict[str, Any] = json.loads(json.dumps(event))
    return travelled


@pytest.fixture
def world(emulated_aws: None) -> World:
    create_resources([RECOMMENDER])
    return World()


@pytest.fixture
def night(world: World) -> Night:
    return Night(world)


@pytest.fixture
def api(world: World) -> Api:
    return Api(world)


@pytest.fixture
def failed(world: World) -> Run:
    """A run of the recommender that failed; it was started with overrides."""
    given = {"job": "recommender", "market": "spot", "budget": 20, "hyperparameters": {"epochs": 3}}
    run = run_from_json(world.plan(given)["run"])
    over = dataclasses.replace(run, steps=1, outcome=Outcome.FAILED, outcome_because="Out of memory.")
    world.table.record_outcome(over)
    return over


@pytest.fixture
def aws_fault() -> Callable[..., ClientError]:
    """aws_fault(code, message) -> what boto3 raises."""
    return fault


@pytest.fixture
def midnight() -> datetime:
    """When the night begins; the deadline is eight hours later."""
    return MIDNIGHT


@pytest.fixture
def metrics(capsys: pytest.CaptureFixture[str]) -> Callable[[], dict[str, list[float]]]:
    """metrics() -> the values by name that were emitted since the last call, as CloudWatch reads them."""

    def emitted() -> dict[str, list[float]]:
        values: dict[str, list[float]] = {}
        for line in capsys.readouterr().out.splitlines():
            document = json.loads(line) if line.startswith("{") else {}
            for group in document.get("_aws", {}).get("CloudWatchMetrics", ()):
                assert group["Namespace"] == "Nightspot"
                assert all(dimension in document for names in group["Dimensions"] for dimension in names)
                for metric in group["Metrics"]:
                    found = document[metric["Name"]]
                    values.setdefault(metric["Name"], []).extend(
                        found if isinstance(found, list) else [found]
                    )
        return values

    return emitted
