"""C13 to C15: a deployed Nightspot by its job `smoke` (jobs/smoke.yaml): a run, a schedule, an aborted run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from nightspot.formats.statuses import ENDED
from nightspot.selftest.model import Check, Machine, NotTriedError, Seen
from nightspot.selftest.roles import stack_outputs
from nightspot.selftest.workspace import Workspace

JOB = "smoke"
LONGEST_RUN_SECONDS = 3600
LONGEST_ABORT_SECONDS = 900
# CloudWatch shows a metric some minutes late.
METRICS_SECONDS = 300
METRICS = ("RunStarted", "DeadlineMarginSeconds")
_NO_JOB = f"the stack has no job {JOB!r}: deploy with the repository's jobs/smoke.yaml"


def a_run(workspace: Workspace, seen: Seen) -> None:
    """C13: the whole path, from start to model."""
    outputs = stack_outputs(workspace)
    began, letters = workspace.now(), _letters(workspace)
    execution = _started(workspace, outputs, "c13")
    ended = _until_over(workspace, execution, LONGEST_RUN_SECONDS)
    if "InvalidInput" in str(ended.get("error", "")):
        raise NotTriedError(_NO_JOB)
    status = str(ended["status"])
    words = f"{ended.get('error', '')} {ended.get('cause', '')}".strip()
    seen.saw("deployment.run", "succeeded" if status == "SUCCEEDED" else status.lower(), words[:300])
    for seconds in _wakes(workspace, execution, outputs, began):
        seen.saw("deployment.wake.seconds", seconds)
    seen.saw("deployment.letters", max(0, _letters(workspace) - letters))
    missing = _metrics_missing(workspace, outputs, began)
    seen.saw("deployment.metrics.missing", len(missing), ", ".join(missing))


def a_schedule(workspace: Workspace, seen: Seen) -> None:
    """C14: the same scheduled moment twice starts one run."""
    outputs, scheduler = stack_outputs(workspace), workspace.client("scheduler")
    things = _things(workspace)
    target = things["AWS::Lambda::Function", "StartRun"]
    role = things["AWS::IAM::Role", "SchedulesRole"]
    if target is None or role is None:
        raise NotTriedError("the stack has no job with a schedule, so no role for one")
    moment = (workspace.now() + timedelta(minutes=2)).replace(second=0, microsecond=0)
    for part in ("c14-one", "c14-two"):
        name = workspace.name(part)
        workspace.made("schedule", name)
        scheduler.create_schedule(
            Name=name,
            ScheduleExpression=f"at({moment:%Y-%m-%dT%H:%M:%S})",
            ScheduleExpressionTimezone="UTC",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={
                "Arn": f"arn:{workspace.partition}:lambda:{workspace.region}"
                f":{workspace.account_id}:function:{target}",
                "RoleArn": f"arn:{workspace.partition}:iam::{workspace.account_id}:role/{role}",
                "Input": json.dumps({"job": JOB, "scheduled_at": "<aws.scheduler.scheduled-time>"}),
            },
        )
    workspace.sleep((moment - workspace.now()).total_seconds() + 90)
    states = workspace.client("stepfunctions")
    found = [
        each
        for each in states.list_executions(stateMachineArn=outputs["StateMachineArn"], maxResults=50)[
            "executions"
        ]
        if each["startDate"] >= moment - timedelta(seconds=30) and JOB in each["name"]
    ]
    for each in found:
        workspace.made("execution", each["executionArn"])
    seen.saw("scheduler.start", "one run" if len(found) == 1 else f"{len(found)} runs")
    for each in found[:1]:
        given = json.loads(states.describe_execution(executionArn=each["executionArn"])["input"])
        seen.saw("scheduler.time.form", _form(given.get("scheduled_at")), str(given.get("scheduled_at")))
        states.stop_execution(executionArn=each["executionArn"])


def _form(text: object) -> str:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return "unreadable"
    return "readable" if moment.tzinfo is not None else "without a zone"


def an_abort(workspace: Workspace, seen: Seen) -> None:
    """C15: an execution that is stopped by hand leaves no training job."""
    outputs, states = stack_outputs(workspace), workspace.client("stepfunctions")
    began = workspace.now()
    execution = _started(workspace, outputs, "c15")
    job = _first_job(workspace, execution, outputs, began)
    workspace.made("training job", job)
    states.stop_execution(executionArn=execution, error="selftest", cause="A test of what is left.")
    seen.saw("stepfunctions.execution.event", states.describe_execution(executionArn=execution)["status"])
    sagemaker = workspace.client("sagemaker")
    for _ in range(0, LONGEST_ABORT_SECONDS, 10):
        status = sagemaker.describe_training_job(TrainingJobName=job)["TrainingJobStatus"]
        if status in {*ENDED, "Stopping"}:
            seen.saw("deployment.aborted", "stopped")
            return
        workspace.sleep(10)
    seen.saw("deployment.aborted", "trains on", f"for {LONGEST_ABORT_SECONDS} s")


def _started(workspace: Workspace, outputs: Mapping[str, str], part: str) -> str:
    arn = outputs["StateMachineArn"].replace(":stateMachine:", ":execution:")
    workspace.made("execution", f"{arn}:{workspace.name(part)}")
    answer = workspace.client("stepfunctions").start_execution(
        stateMachineArn=outputs["StateMachineArn"], name=workspace.name(part), input=json.dumps({"job": JOB})
    )
    return str(answer["executionArn"])


def _until_over(workspace: Workspace, execution: str, longest: float) -> Mapping[str, Any]:
    states, until = workspace.client("stepfunctions"), workspace.now() + timedelta(seconds=longest)
    while workspace.now() < until:
        answer: Mapping[str, Any] = states.describe_execution(executionArn=execution)
        if answer["status"] != "RUNNING":
            return answer
        workspace.sleep(10)
    raise TimeoutError(f"the run has not ended after {longest:g} s")


def _jobs(workspace: Workspace, outputs: Mapping[str, str], began: datetime) -> list[str]:
    """The training jobs of the job that were made since, oldest first."""
    found = workspace.client("sagemaker").list_training_jobs(
        NameContains=f"nightspot-{outputs['Environment']}-{JOB}-",
        CreationTimeAfter=began - timedelta(seconds=60),
        SortBy="CreationTime",
        SortOrder="Ascending",
    )["TrainingJobSummaries"]
    return [str(each["TrainingJobName"]) for each in found]


def _first_job(workspace: Workspace, execution: str, outputs: Mapping[str, str], began: datetime) -> str:
    for _ in range(60):
        if jobs := _jobs(workspace, outputs, began):
            return jobs[-1]
        ended = workspace.client("stepfunctions").describe_execution(executionArn=execution)
        if ended["status"] != "RUNNING":
            raise NotTriedError(
                _NO_JOB if "InvalidInput" in str(ended.get("error")) else "the run ended at once"
            )
        workspace.sleep(5)
    raise NotTriedError("no training job was made in five minutes")


def _wakes(
    workspace: Workspace, execution: str, outputs: Mapping[str, str], began: datetime
) -> Iterator[float]:
    """From each start of training and each end, by SageMaker's clock, to the next wait that ended by a token."""
    history = workspace.client("stepfunctions").get_paginator("get_execution_history")
    woken = [
        event["timestamp"]
        for page in history.paginate(executionArn=execution)
        for event in page["events"]
        if event["type"] == "TaskSucceeded"
        and "waitForTaskToken" in event.get("taskSucceededEventDetails", {}).get("resource", "")
    ]
    for job in _jobs(workspace, outputs, began):
        answer = workspace.client("sagemaker").describe_training_job(TrainingJobName=job)
        for each in answer["SecondaryStatusTransitions"]:
            if each["Status"] in {"Training", *ENDED}:
                after = [(at - each["StartTime"]).total_seconds() for at in woken if at >= each["StartTime"]]
                if after:
                    yield round(min(after), 1)


def _things(workspace: Workspace) -> _Things:
    pages = (
        workspace.client("cloudformation")
        .get_paginator("list_stack_resources")
        .paginate(StackName=workspace.stack)
    )
    return _Things([each for page in pages for each in page["StackResourceSummaries"]])


class _Things:
    """The physical ids of a stack's resources, by type and a part of the logical id."""

    def __init__(self, summaries: list[dict[str, Any]]) -> None:
        self._summaries = summaries

    def __getitem__(self, key: tuple[str, str]) -> str | None:
        kind, part = key
        found = (
            each["PhysicalResourceId"]
            for each in self._summaries
            if each["ResourceType"] == kind and part in each["LogicalResourceId"]
        )
        return next(found, None)


def _letters(workspace: Workspace) -> int:
    url = _things(workspace)["AWS::SQS::Queue", "DeadLetters"]
    if url is None:
        raise NotTriedError("the stack has no dead-letter queue")
    counted = workspace.client("sqs").get_queue_attributes(
        QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(counted["Attributes"]["ApproximateNumberOfMessages"])


def _metrics_missing(workspace: Workspace, outputs: Mapping[str, str], began: datetime) -> list[str]:
    workspace.sleep(METRICS_SECONDS)
    dimensions = [
        {"Name": "environment", "Value": outputs["Environment"]},
        {"Name": "service", "Value": "nightspot"},
    ]
    answer = workspace.client("cloudwatch").get_metric_data(
        MetricDataQueries=[
            {
                "Id": f"m{number}",
                "MetricStat": {
                    "Metric": {"Namespace": "Nightspot", "MetricName": name, "Dimensions": dimensions},
                    "Period": 300,
                    "Stat": "Sum",
                },
            }
            for number, name in enumerate(METRICS)
        ],
        StartTime=began - timedelta(minutes=5),
        EndTime=workspace.now() + timedelta(minutes=5),
    )
    seen = {each["Id"] for each in answer["MetricDataResults"] if each["Values"]}
    return [name for number, name in enumerate(METRICS) if f"m{number}" not in seen]


_START = (
    *(
        "cloudformation:DescribeStacks",
        "states:StartExecution",
        "states:DescribeExecution",
        "states:StopExecution",
    ),
    *("sagemaker:ListTrainingJobs", "sagemaker:DescribeTrainingJob", "sagemaker:StopTrainingJob"),
)

CHECKS = (
    Check(
        "C13",
        f"Does a run of the deployed job {JOB} come to its model, woken by events, without dead letters?",
        (
            *_START,
            *("states:GetExecutionHistory", "cloudformation:ListStackResources", "sqs:GetQueueAttributes"),
            "cloudwatch:GetMetricData",
        ),
        ("deployment.run", "deployment.wake.seconds", "deployment.letters", "deployment.metrics.missing"),
        a_run,
        minutes=15,
        jobs=(Machine(1800),),
        needs_stack=True,
    ),
    Check(
        "C14",
        "Does one scheduled moment, twice, start one run?",
        (
            *_START,
            *("states:ListExecutions", "cloudformation:ListStackResources", "scheduler:CreateSchedule"),
            *("scheduler:DeleteSchedule", "iam:PassRole"),
        ),
        ("scheduler.start", "scheduler.time.form"),
        a_schedule,
        minutes=5,
        jobs=(Machine(300),),
        needs_stack=True,
    ),
    Check(
        "C15",
        "Is the training job stopped whose execution was aborted?",
        _START,
        ("stepfunctions.execution.event", "deployment.aborted"),
        an_abort,
        minutes=6,
        jobs=(Machine(600),),
        needs_stack=True,
    ),
)
