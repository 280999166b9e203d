"""C13 to C15: a deployed Nightspot by its job `smoke` (jobs/smoke.yaml): a run, a schedule, an aborted run.

What the run has left is `nightspot.selftest.aftermath`'s.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from nightspot.aws.doctor_visit import Visit
from nightspot.aws.table.run_table import RunTable
from nightspot.formats.event_times import read_event_ms
from nightspot.formats.run_ids import run_id_of
from nightspot.formats.statuses import ENDED
from nightspot.record.model import RecordNotReadableError, RunRecord, read_record
from nightspot.record.summary import record_of
from nightspot.selftest.aftermath import GoodRun, look, new_trace_id
from nightspot.selftest.model import Check, Machine, NotTriedError, Seen
from nightspot.selftest.roles import stack_outputs
from nightspot.selftest.workspace import QUEUE_CALLS, Workspace

JOB = "smoke"
LONGEST_RUN_SECONDS = 3600
LONGEST_ABORT_SECONDS = 900
# An event comes within seconds; a bill is completed by the event of the job's end, or by the reconciler.
EVENT_SECONDS, BILL_SECONDS = 60, 600
# What the event of an execution's end is read for, and its times.
EVENT_FIELDS = ("executionArn", "name", "startDate", "stopDate", "input")
EVENT_TIMES = frozenset({"startDate", "stopDate"})
_ABORT = {"error": "selftest", "cause": "A test of what is left."}
_NO_JOB = f"the stack has no job {JOB!r}: deploy with the repository's jobs/smoke.yaml"


def a_run(workspace: Workspace, seen: Seen) -> None:
    """C13: the whole path, from start to model, and what it leaves."""
    outputs, visit = stack_outputs(workspace), _visit(workspace)
    began, letters = workspace.now(), _letters(visit)
    # With a header of its own the run is traced whatever X-Ray's sampling says, and is found by its id.
    # https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
    trace_id = new_trace_id(began)
    execution = _started(workspace, outputs, "c13", traceHeader=f"Root={trace_id};Sampled=1")
    ended = _until_over(workspace, execution, LONGEST_RUN_SECONDS)
    if "InvalidInput" in str(ended.get("error", "")):
        raise NotTriedError(_NO_JOB)
    status = str(ended["status"])
    words = f"{ended.get('error', '')} {ended.get('cause', '')}".strip()
    seen.saw("deployment.run", "succeeded" if status == "SUCCEEDED" else status.lower(), words[:300])
    for seconds in _wakes(workspace, execution, ended["startDate"]):
        seen.saw("deployment.wake.seconds", seconds)
    seen.saw("deployment.letters", max(0, _letters(visit) - letters))
    if status != "SUCCEEDED":
        raise NotTriedError("what only a good run leaves was not looked for")
    record = _record(workspace, outputs, execution, ended["startDate"])
    if record is None:
        raise NotTriedError("the table has no run of the execution")
    if reasons := [*look(workspace, visit, GoodRun(record, began, trace_id), seen)]:
        raise NotTriedError("; ".join(reasons))


def a_schedule(workspace: Workspace, seen: Seen) -> None:
    """C14: the same scheduled moment twice starts one run."""
    outputs, scheduler = stack_outputs(workspace), workspace.client("scheduler")
    visit = _visit(workspace)
    target = _thing(visit, "AWS::Lambda::Function", "StartRun")
    role = _thing(visit, "AWS::IAM::Role", "SchedulesRole")
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
    """C15: what the event of an execution tells that is stopped by hand, and what becomes of its job and bill."""
    outputs, states = stack_outputs(workspace), workspace.client("stepfunctions")
    workspace.queue()
    execution = _started(workspace, outputs, "c15")
    job = _first_job(workspace, execution)
    workspace.made("training job", job)
    states.stop_execution(executionArn=execution, **_ABORT)
    described = states.describe_execution(executionArn=execution)
    _tell_of_event(seen, _event_of_end(workspace, workspace.name("c15")), str(described["status"]))
    status = _status_after_abort(workspace, job, {*ENDED, "Stopping"})
    if status not in {*ENDED, "Stopping"}:
        seen.saw("deployment.aborted", "trains on", f"for {LONGEST_ABORT_SECONDS} s")
        return
    seen.saw("deployment.aborted", "stopped")
    _status_after_abort(workspace, job, ENDED)
    for _ in range(0, BILL_SECONDS, 10):
        record = _record(workspace, outputs, execution, described["startDate"])
        if record is not None and record.attempts and record.attempts[-1].billable_seconds is not None:
            seen.saw("deployment.aborted.bill", "complete")
            return
        workspace.sleep(10)
    seen.saw("deployment.aborted.bill", "missing", f"{BILL_SECONDS} s after the job's end")


def _event_of_end(workspace: Workspace, name: str) -> Mapping[str, Any]:
    """The detail of the event of an execution's end; empty where none has come."""
    for _ in range(0, EVENT_SECONDS, 3):
        for event, _at in workspace.events_of(name):
            detail: Mapping[str, Any] = event["detail"]
            if detail.get("status") != "RUNNING":
                return detail
        workspace.sleep(3)
    return {}


def _tell_of_event(seen: Seen, detail: Mapping[str, Any], status: str) -> None:
    if not detail:
        words = f"after {EVENT_SECONDS} s; DescribeExecution says {status}"
        seen.saw("stepfunctions.execution.event", "nothing arrived", words)
        return
    seen.saw(
        "stepfunctions.execution.event", str(detail.get("status")), f"fields: {', '.join(sorted(detail))}"
    )
    missing = [field for field in EVENT_FIELDS if detail.get(field) is None]
    missing += [
        f"{field} is unreadable"
        for field in sorted(EVENT_TIMES)
        if field not in missing and read_event_ms(detail[field]) is None
    ]
    seen.saw("stepfunctions.execution.event.missing", ", ".join(missing) or "nothing")
    for field, given in _ABORT.items():
        told = detail.get(field)
        is_text = "as given" if told == given else "another text"
        form = "absent" if told is None else is_text if isinstance(told, str) else type(told).__name__
        seen.saw("stepfunctions.execution.event.cause", form, f"{field}: {json.dumps(told)[:200]}")


def _status_after_abort(workspace: Workspace, job: str, wanted: Collection[str]) -> str:
    """The job's status once it is one of those wanted, or as it is when the wait is over."""
    for _ in range(0, LONGEST_ABORT_SECONDS, 10):
        described = workspace.client("sagemaker").describe_training_job(TrainingJobName=job)
        status = str(described["TrainingJobStatus"])
        if status in wanted:
            break
        workspace.sleep(10)
    return status


def _record(
    workspace: Workspace, outputs: Mapping[str, str], execution: str, started_at: datetime
) -> RunRecord | None:
    """What the table has of the run of an execution; None for no run. Raises NotTriedError."""
    table = RunTable(workspace.client("dynamodb"), outputs["TableName"])
    run = table.run_of_execution(execution, started_at.astimezone(UTC))
    if run is None:
        return None
    record = record_of(run, table.steps(run.run_id), table.phases(run.run_id))
    try:
        return read_record(record.to_json())  # checked: it may hold anything that a script wrote
    except RecordNotReadableError as error:
        raise NotTriedError(f"the run's record is of another version: {error}") from error


def _started(workspace: Workspace, outputs: Mapping[str, str], part: str, **more: str) -> str:
    arn = outputs["StateMachineArn"].replace(":stateMachine:", ":execution:")
    workspace.made("execution", f"{arn}:{workspace.name(part)}")
    answer = workspace.client("stepfunctions").start_execution(
        stateMachineArn=outputs["StateMachineArn"],
        name=workspace.name(part),
        input=json.dumps({"job": JOB}),
        **more,
    )
    return str(answer["executionArn"])


def _until_over(workspace: Workspace, execution: str, longest: float) -> Mapping[str, Any]:
    states, until = workspace.client("stepfunctions"), workspace.now() + timedelta(seconds=longest)
    while workspace.now() < until:
        answer: Mapping[str, Any] = states.describe_execution(executionArn=execution)
        if answer["status"] != "RUNNING":
            return answer
        workspace.sleep(3)
    raise TimeoutError(f"the run has not ended after {longest:g} s")


def _jobs(workspace: Workspace, execution: str, started_at: datetime) -> list[str]:
    """The training jobs of an execution's run, oldest first: its id is in their names."""
    found = workspace.client("sagemaker").list_training_jobs(
        NameContains=f"-{run_id_of(execution, started_at.astimezone(UTC))}-",
        SortBy="CreationTime",
        SortOrder="Ascending",
    )["TrainingJobSummaries"]
    return [str(each["TrainingJobName"]) for each in found]


def _first_job(workspace: Workspace, execution: str) -> str:
    for _ in range(60):
        described = workspace.client("stepfunctions").describe_execution(executionArn=execution)
        if jobs := _jobs(workspace, execution, described["startDate"]):
            return jobs[0]
        if described["status"] != "RUNNING":
            raise NotTriedError(
                _NO_JOB if "InvalidInput" in str(described.get("error")) else "the run ended at once"
            )
        workspace.sleep(5)
    raise NotTriedError("no training job was made in five minutes")


def _wakes(workspace: Workspace, execution: str, started_at: datetime) -> Iterator[float]:
    """From each start of training and each end, by SageMaker's clock, to the next wait that ended by a token."""
    history = workspace.client("stepfunctions").get_paginator("get_execution_history")
    woken = [
        event["timestamp"]
        for page in history.paginate(executionArn=execution)
        for event in page["events"]
        if event["type"] == "TaskSucceeded"
        and "waitForTaskToken" in event.get("taskSucceededEventDetails", {}).get("resource", "")
    ]
    for job in _jobs(workspace, execution, started_at):
        answer = workspace.client("sagemaker").describe_training_job(TrainingJobName=job)
        for each in answer["SecondaryStatusTransitions"]:
            if each["Status"] in {"Training", *ENDED}:
                after = [(at - each["StartTime"]).total_seconds() for at in woken if at >= each["StartTime"]]
                if after:
                    yield round(min(after), 1)


def _visit(workspace: Workspace) -> Visit:
    """The stack, as the doctor and `nightspot smoke` look at it."""
    return Visit(workspace.region, workspace.client, workspace.now, stack=str(workspace.stack))


def _thing(visit: Visit, kind: str, part: str) -> str | None:
    """The physical id of the stack's first resource of a type whose logical id has `part` in it."""
    found = (physical for each, logical, physical in visit.resources if each == kind and part in logical)
    return next(found, None)


def _letters(visit: Visit) -> int:
    url = _thing(visit, "AWS::SQS::Queue", "DeadLetters")
    if url is None:
        raise NotTriedError("the stack has no dead-letter queue")
    counted = visit.client("sqs").get_queue_attributes(
        QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(counted["Attributes"]["ApproximateNumberOfMessages"])


_START = (
    *(
        "cloudformation:DescribeStacks",
        "states:StartExecution",
        "states:DescribeExecution",
        "states:StopExecution",
    ),
    *("sagemaker:ListTrainingJobs", "sagemaker:DescribeTrainingJob", "sagemaker:StopTrainingJob"),
)

# What a run has left: the table's record, and what `aftermath` and `nightspot smoke` look at.
_RECORD = ("dynamodb:GetItem", "dynamodb:Query")
_LEFT = (
    *("cloudwatch:DescribeAlarms", "cloudwatch:GetDashboard", "cloudwatch:GetMetricData"),
    *("logs:DescribeQueryDefinitions", "logs:StartQuery", "logs:GetQueryResults"),
    *("xray:BatchGetTraces", "execute-api:Invoke", "lambda:GetFunctionConfiguration"),
    *("s3:GetObject", "s3:ListBucket"),
)

CHECKS = (
    Check(
        "C13",
        f"Does a run of the deployed job {JOB} come to its model, woken by events, and leave all that it must?",
        (
            *_START,
            *("states:GetExecutionHistory", "cloudformation:ListStackResources", "sqs:GetQueueAttributes"),
            *_RECORD,
            *_LEFT,
        ),
        (
            *("deployment.run", "deployment.wake.seconds", "deployment.letters"),
            *("deployment.metrics.missing", "deployment.queries.empty", "deployment.trace", "deployment.api"),
            *("deployment.model", "deployment.record", "deployment.page", "deployment.notice"),
            "deployment.alarms",
        ),
        a_run,
        minutes=18,
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
        "What does the event of an aborted execution tell, is its training job stopped, its bill complete?",
        (*_START, *_RECORD, *QUEUE_CALLS),
        (
            *("stepfunctions.execution.event", "stepfunctions.execution.event.missing"),
            *("stepfunctions.execution.event.cause", "deployment.aborted", "deployment.aborted.bill"),
        ),
        an_abort,
        minutes=10,
        jobs=(Machine(600),),
        needs_stack=True,
    ),
)
