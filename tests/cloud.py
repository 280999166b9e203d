"""A deployment as commands and programs meet it: in moto, and as an API on loopback."""

import io
import json
import zipfile
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import boto3
from botocore.exceptions import ClientError

from nightspot.aws.table.run_table import RunTable
from nightspot.failures.codes import FailureClass
from nightspot.formats.run_ids import run_id_of
from nightspot.local.stage.emulated_aws import REGION, TABLE
from nightspot.run.model import Action, Outcome, Progress, Step

MACHINE = f"arn:aws:states:{REGION}:123456789012:stateMachine:nightspot"


def bundle_of(**files):
    """The functions' code as Lambda gives it out: jobs="..." is jobs.json."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as bundle:
        for name, text in files.items():
            bundle.writestr(f"{name}.json", text)
    return content.getvalue()


class Stack:
    """What CloudFormation and Lambda say of a deployment: its `outputs`, and where its functions' code is."""

    outputs = (("TableName", TABLE), ("StateMachineArn", MACHINE))

    def describe_stacks(self, **_request):
        return {"Stacks": [{"Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in self.outputs]}]}

    def get_paginator(self, _operation):
        return self

    def paginate(self, **_request):
        planner = {
            "LogicalResourceId": "TrainingFunctionsPlanRun2052680D",
            "ResourceType": "AWS::Lambda::Function",
            "PhysicalResourceId": "plan-run",
        }
        return [{"StackResourceSummaries": [planner]}]

    def get_function(self, **_request):
        return {"Code": {"Location": "https://code.example/plan-run"}}


class Cloud(Stack):
    """A deployment in moto; the run that is started ends as `ending` says, once somebody has slept."""

    def __init__(self, story):
        self.story = story
        self.table = RunTable(boto3.client("dynamodb", region_name=REGION), TABLE)
        self.executions = {}
        self.id_of = run_id_of
        self.code = b""
        self.slept = 0
        self.ending = {"outcome": Outcome.SUCCEEDED, "outcome_because": "It has completed."}
        self.attempts = (story.ended(None, status="Completed", model_artifact="s3://models/a"),)
        self.interrupt = False
        self.fault = None  # what DynamoDB answers once somebody has slept
        self.refused = None
        progress = Progress(step=12, saved_at=story.at("02:00"), total_steps=24, fraction=0.5)
        self.old = story.run(
            run_id="20261120-abc999",
            execution_arn=f"arn:aws:states:{REGION}:123456789012:execution:nightspot:old",
            attempts=(story.ended(FailureClass.USER_CODE, failure_reason="ExitCode 1"),),
            steps=2,
            overrides={"market": "spot", "hyperparameters": {"epochs": "3"}},
            outcome=Outcome.FAILED,
            outcome_because="Spot ended as user code.",
        )
        self.table.record_plan(self.old)
        step = Step(1, story.at("00:00"), Action.WATCH, "It trains.", attempt=1, progress=progress)
        self.table.record_step(self.old, self.old, step)

    def client(self, service):
        if service == "dynamodb":
            return Refusing(self, boto3.client(service, region_name=REGION))
        assert service in {"sagemaker", "stepfunctions", "cloudformation", "lambda"}, service
        return self

    def start_execution(self, *, stateMachineArn, name, input):  # noqa: A002, N803
        assert stateMachineArn == MACHINE
        arn = f"arn:aws:states:{REGION}:123456789012:execution:nightspot:{name}"
        self.executions[arn] = {
            "executionArn": arn,
            "startDate": self.story.midnight,
            "status": "RUNNING",
            "input": input,
        }
        if self.refused is None:
            run_id = self.id_of(arn, self.story.midnight)
            waiting = self.story.training(since="01:00")
            self.run = self.story.run(run_id=run_id, execution_arn=arn, attempts=(waiting,), steps=1)
            self.table.record_plan(self.run)
        return self.executions[arn]

    def describe_execution(self, *, executionArn):  # noqa: N803
        if executionArn not in self.executions:
            raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")
        found = self.executions[executionArn]
        return found if self.refused is None else {**found, **self.refused}

    def sleep(self, seconds):
        if self.interrupt:
            raise KeyboardInterrupt
        self.slept += seconds
        if self.ending:
            self.table.record_outcome(replace(self.run, steps=9, attempts=self.attempts, **self.ending))

    @property
    def inputs(self):
        return [json.loads(execution["input"]) for execution in self.executions.values()]


class Refusing:
    """DynamoDB, until it refuses every read."""

    def __init__(self, cloud, client):
        self._cloud, self._client = cloud, client

    def __getattr__(self, name):
        if self._cloud.slept and self._cloud.fault is not None:
            raise ClientError({"Error": {"Code": self._cloud.fault, "Message": "no"}}, name)
        return getattr(self._client, name)


class Api:
    """An API on loopback, as far as the commands ask: answers by method and path, the last one for ever."""

    def __init__(self, record):
        summary = {**record, "links": {}}
        self.answers = {
            "GET /runs": [(200, {"runs": [summary], "next": None})],
            f"GET /runs/{record['run_id']}": [(200, summary)],
        }
        self.asked = []

    def __call__(self, request):
        parts = urlsplit(request.url)
        self.asked.append((request.method, parts.path, parse_qs(parts.query), request.body, request.headers))
        answers = self.answers.get(f"{request.method} {parts.path}", [(404, {"detail": "is not on record"})])
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]

        return SimpleNamespace(status_code=status, headers={}, content=json.dumps(body).encode())
