"""What C13's run has left: metrics, rows for the saved queries, a trace, what the API tells of it.

Model, record, page, notice and alarms are looked at as `nightspot smoke` does.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.aws.doctor_visit import CheckState, Visit
from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.api_client import ApiError
from nightspot.aws.smoke import SmokeCheck, aftermath, alarms_of
from nightspot.failures.redaction import redact
from nightspot.record.model import RunRecord
from nightspot.selftest.model import NotTriedError, Seen
from nightspot.selftest.workspace import Workspace, code_and_words

# CloudWatch shows a metric some minutes late.
METRICS_SECONDS = 300
QUERY_SECONDS = 60
_EARLIER = timedelta(minutes=5)  # a metric stands at the beginning of its period


class Comes(StrEnum):
    """When a metric has a value."""

    ALWAYS = "after every good run"
    PRICED = "after every good run whose prices are known"
    OTHERWISE = "after what a good run has not: it is asked for, and may be empty"


# Every metric of the stack's alarms and dashboard; a test holds them against the template. What is asked for is
# read from the deployed stack: one of another version that does not stand here may be empty.
METRICS: Mapping[str, Comes] = {
    **dict.fromkeys(
        (
            *("RunStarted", "RunSucceeded", "DeadlineMarginSeconds", "WaitedSeconds", "TrainedSeconds"),
            "ExecutionsStarted",
        ),
        Comes.ALWAYS,
    ),
    **dict.fromkeys(("CostUsd", "OnDemandCostUsd", "SavedPercent"), Comes.PRICED),
    **dict.fromkeys(
        (
            *("RunFailed", "RunSkipped", "RunStopped", "Interrupted", "FellBack", "AtRiskOfBeingLate"),
            *("UnknownFailure", "ResumeBroken", "WakeRefused", "NoticeLost", "Reconciled", "ReportLost"),
            *("PriceMissing", "MatchedEvents", "ExecutionsFailed", "ExecutionsTimedOut"),
            # A queue that nothing was sent to for hours has no metrics.
            *("NumberOfMessagesSent", "ApproximateNumberOfMessagesVisible"),
        ),
        Comes.OTHERWISE,
    ),
}
# Which saved queries may find nothing of a good run, and what one of them has in the place of a run's id.
QUERIES_OF_FAILURES = frozenset({"Failures by class"})
RUN_IN_QUERY = "put the run id here"
# By SmokeCheck: what is looked at, and told as a fact of that name.
_SMOKE = (SmokeCheck.MODEL, SmokeCheck.RECORD, SmokeCheck.PAGE, SmokeCheck.NOTICE, SmokeCheck.ALARMS)
_WORKFLOW, _FUNCTION = "AWS::StepFunctions::StateMachine", "AWS::Lambda"


@dataclass(frozen=True)
class GoodRun:
    """A run that has succeeded. `began`: when it was asked for; `trace_id`: what it was started with."""

    record: RunRecord
    began: datetime
    trace_id: str


@dataclass(frozen=True)
class StackMetric:
    """A metric of CloudWatch's. `dimensions`: (name, value), sorted."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...] = ()

    def query(self, number: int) -> dict[str, Any]:
        """One of GetMetricData's queries: its sum by five minutes."""
        metric = {
            "Namespace": self.namespace,
            "MetricName": self.name,
            "Dimensions": [{"Name": name, "Value": value} for name, value in self.dimensions],
        }
        return {"Id": f"m{number}", "MetricStat": {"Metric": metric, "Period": 300, "Stat": "Sum"}}


def new_trace_id(now: datetime) -> str:
    """An id for X-Ray: https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html#xray-api-traceids"""
    return f"1-{int(now.timestamp()):08x}-{secrets.token_hex(12)}"


def look(workspace: Workspace, visit: Visit, run: GoodRun, seen: Seen) -> Iterator[str]:
    """Look at each thing; yields why one could not be looked at. None keeps another from being looked at."""
    looks: Mapping[str, Callable[[], None]] = {
        "metrics": lambda: _metrics(workspace, visit, run, seen),
        "saved queries": lambda: _queries(workspace, visit, run, seen),
        "trace": lambda: _trace(workspace, run, seen),
        "API": lambda: _api(workspace, visit, run, seen),
    }
    for name, each in looks.items():
        try:
            each()
        except NotTriedError as error:
            yield f"{name}: {error}"
        except ClientError as error:
            yield f"{name}: {error.operation_name}: {': '.join(code_and_words(error))}"
        except (BotoCoreError, TransientAwsError) as error:
            yield f"{name}: {redact(str(error))}"
    for finding in aftermath(visit, run.record, None):
        if finding.check not in _SMOKE:
            continue
        if finding.state is CheckState.NOT_CHECKED:
            yield f"{finding.check}: {finding.found}"
        else:
            seen.saw(f"deployment.{finding.check}", finding.state.value, redact(finding.found))


def _metrics(workspace: Workspace, visit: Visit, run: GoodRun, seen: Seen) -> None:
    if workspace.emulator:
        raise workspace.not_here("keeps no metrics of functions and workflows")
    wanted = list(dict.fromkeys(_of_the_stack(workspace, visit)))
    workspace.sleep(METRICS_SECONDS)
    answer = workspace.client("cloudwatch").get_metric_data(
        MetricDataQueries=[metric.query(number) for number, metric in enumerate(wanted)],
        StartTime=run.began - _EARLIER,
        EndTime=workspace.now() + _EARLIER,
    )
    by_id = {each["Id"]: each for each in answer["MetricDataResults"]}
    expected = expected_of(run.record)
    wrong = []
    for number, metric in enumerate(wanted):
        found = by_id.get(f"m{number}", {})
        status = found.get("StatusCode", "no answer")
        if status != "Complete":
            wrong.append(f"{metric.name}: {status}")
        elif metric.name in expected and not found["Values"]:
            wrong.append(metric.name)
    wrong += [f"{name}: in no alarm or graph" for name in sorted(expected - {each.name for each in wanted})]
    seen.saw("deployment.metrics.missing", len(wrong), f"{len(wanted)} asked for; {', '.join(wrong)}")


def expected_of(record: RunRecord) -> set[str]:
    """The metrics that must have a value after this good run."""
    figures = {
        "CostUsd": record.cost_usd,
        "OnDemandCostUsd": record.on_demand_cost_usd,
        "SavedPercent": record.saved_percent,
    }
    always = {name for name, comes in METRICS.items() if comes is Comes.ALWAYS}
    return always | {name for name, value in figures.items() if value is not None}


def _of_the_stack(workspace: Workspace, visit: Visit) -> Iterator[StackMetric]:
    cloudwatch = workspace.client("cloudwatch")
    for alarm in alarms_of(visit):
        yield from metrics_of_alarm(alarm)
    for kind, _, name in visit.resources:
        if kind == "AWS::CloudWatch::Dashboard":
            body = cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"]
            yield from metrics_of_dashboard(body)


def metrics_of_alarm(alarm: Mapping[str, Any]) -> Iterator[StackMetric]:
    """Of an alarm as DescribeAlarms, or a template, has it."""
    stats = [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", ()) if "MetricStat" in each]
    for metric in (*stats, *([alarm] if "MetricName" in alarm else ())):
        dimensions = [(each["Name"], each["Value"]) for each in metric.get("Dimensions", ())]
        yield StackMetric(metric["Namespace"], metric["MetricName"], tuple(sorted(dimensions)))


def metrics_of_dashboard(body: str) -> Iterator[StackMetric]:
    """Of a dashboard's body, as CDK writes it: [namespace, name, dimension, value, …, {how it is shown}].

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
    """
    for widget in json.loads(body)["widgets"]:
        for row in widget["properties"].get("metrics", ()):
            words = [each for each in row if isinstance(each, str)]
            if words:  # an expression has none
                namespace, name, *rest = words
                yield StackMetric(namespace, name, tuple(sorted(zip(rest[::2], rest[1::2], strict=False))))


def _queries(workspace: Workspace, visit: Visit, run: GoodRun, seen: Seen) -> None:
    logs = workspace.client("logs")
    prefix = f"Nightspot/{visit.output('Environment')}/"
    saved = logs.describe_query_definitions(queryDefinitionNamePrefix=prefix)["queryDefinitions"]
    if not saved:
        raise NotTriedError(f"there is none whose name begins with {prefix}")
    asked = {
        each["name"].removeprefix(prefix): logs.start_query(
            logGroupNames=each["logGroupNames"],
            queryString=each["queryString"].replace(RUN_IN_QUERY, run.record.run_id),
            startTime=int((run.began - _EARLIER).timestamp()),
            endTime=int((workspace.now() + _EARLIER).timestamp()),
        )["queryId"]
        for each in saved
    }
    wrong = [
        f"{name}: {words}"
        for name, query_id in asked.items()
        if (words := _wrong_with(workspace, query_id, may_be_empty=name in QUERIES_OF_FAILURES))
    ]
    seen.saw("deployment.queries.empty", len(wrong), f"{len(asked)} asked; {', '.join(wrong)}")


def _wrong_with(workspace: Workspace, query_id: str, *, may_be_empty: bool) -> str:
    """What is wrong with a query's answer; "" for none."""
    for _ in range(0, QUERY_SECONDS, 2):
        answer = workspace.client("logs").get_query_results(queryId=query_id)
        if answer["status"] not in {"Scheduled", "Running"}:
            break
        workspace.sleep(2)
    if answer["status"] != "Complete":
        return str(answer["status"])
    return "" if answer["results"] or may_be_empty else "no row"


def _trace(workspace: Workspace, run: GoodRun, seen: Seen) -> None:
    if workspace.emulator:
        raise workspace.not_here("keeps no traces")
    traces = workspace.client("xray").batch_get_traces(TraceIds=[run.trace_id])["Traces"]
    segments = [json.loads(each["Document"]) for trace in traces for each in trace["Segments"]]
    origins = [str(each.get("origin", "")) for each in segments]
    there = [
        word
        for word, origin in (("workflow", _WORKFLOW), ("functions", _FUNCTION))
        if any(each.startswith(origin) for each in origins)
    ]
    names = ", ".join(sorted({str(each.get("name")) for each in segments}))
    seen.saw("deployment.trace", " and ".join(there) or "nothing", redact(names))


def _api(workspace: Workspace, visit: Visit, run: GoodRun, seen: Seen) -> None:
    url = visit.output("ApiUrl")
    if url is None:
        return  # it is an option
    if workspace.emulator:
        raise workspace.not_here("has it at another address")
    if workspace.api is None:
        raise NotTriedError("there are no credentials to sign with")
    try:
        told = workspace.api(url).get(f"/runs/{run.record.run_id}")
    except ApiError as error:
        seen.saw("deployment.api", f"HTTP {error.status}", redact(str(error)))
        return
    is_it = isinstance(told, dict) and told.get("run_id") == run.record.run_id
    seen.saw("deployment.api", "the run" if is_it else "something else")
