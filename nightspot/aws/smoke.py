"""What the first run of a deployment costs, and what it must leave behind, with where to look for what is missing.

The checks before the start are the doctor's; what is found is told as the doctor tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError

from nightspot.aws.doctor import dead_letters
from nightspot.aws.doctor_visit import Check, CheckFinding, CheckState, Visit, guarded
from nightspot.aws.faults import code_of
from nightspot.aws.notices import PREFIX as REPORTS
from nightspot.aws.runs.checkpoints import Models
from nightspot.aws.table.dynamodb import from_dynamodb, key
from nightspot.aws.table.run_table import RunTable
from nightspot.formats import figures
from nightspot.formats.figures import format_duration
from nightspot.job.markets import Market
from nightspot.job.model import Job, dig
from nightspot.record.model import Ending, RunRecord
from nightspot.record.sentences import ModelState
from nightspot.run.pricing import Price

# Paid time is counted between attempts: a Spot attempt that SageMaker bills in full can double it.
# See docs/job-file.md, "Runtime and paid time".
OVERSHOOT = 2
_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})


class SmokeCheck(StrEnum):
    """What is looked at when the run is over, beside the doctor's dead letters."""

    RUN = "run"
    MODEL = "model"
    RECORD = "record"
    PAGE = "page"
    NOTICE = "notice"
    ALARMS = "alarms"


@dataclass(frozen=True)
class SmokePrice:
    """What a run of a job costs at on-demand prices, in USD: if all goes well, and at most; None: not known."""

    expected_usd: float | None
    most_usd: float | None
    words: str


def price_of(job: Job, price: Callable[[str], Price | None], region: str, today: date) -> SmokePrice:
    """`price`: (instance type) -> USD of an hour on-demand. The dearest type of the ladder counts."""
    types = dict.fromkeys(rung.instance_type for market in Market for rung in job.capacity.rungs_of(market))
    known = {each: price(each) for each in types}
    limit = dig(job.training_job, "StoppingCondition", "MaxRuntimeInSeconds")
    budget = job.budget.per_run_usd if job.budget else None
    count = f"{job.instance_count} times " if job.instance_count > 1 else ""
    what = f"about {format_duration(job.work_seconds)} of training on {count}{', '.join(types)}"
    missing = [each for each, found in known.items() if found is None]
    if missing:
        limited = f"; it is billed for {format_duration(OVERSHOOT * limit)} at most" if limit else ""
        return SmokePrice(None, budget, f"{what}; no price of {missing[0]} in {region} is known{limited}")
    dearest = max((found for found in known.values() if found), key=lambda found: found.usd_per_hour)
    hourly = dearest.usd_per_hour * job.instance_count
    by_time = None if limit is None else OVERSHOOT * limit / 3600 * hourly
    bounds = [each for each in (by_time, budget) if each is not None]
    most = min(bounds) if bounds else None
    expected = job.work_seconds / 3600 * hourly
    at_most = f"at most {figures.usd(most)}" if most is not None else "without a limit: the job file has none"
    words = f"{what}: {figures.usd(expected)} on-demand, {at_most}, at {figures.usd(hourly)} an hour"
    return SmokePrice(expected, most, f"{words} ({dearest.words(today)})")


def aftermath(visit: Visit, record: RunRecord, console: str | None) -> Iterator[CheckFinding]:
    """What the ended run has left, thing by thing. `console`: the page of its execution.

    Never raises what AWS answers: what may not be looked at is "not checked".
    """
    looks: Mapping[StrEnum, Callable[[], Iterable[CheckFinding]]] = {
        SmokeCheck.RUN: lambda: [_run(visit, record, console)],
        SmokeCheck.MODEL: lambda: [_model(visit, record)],
        SmokeCheck.RECORD: lambda: [_record(visit, record)],
        SmokeCheck.PAGE: lambda: [_page(visit, record)],
        SmokeCheck.NOTICE: lambda: [_notice(visit, record)],
        SmokeCheck.ALARMS: lambda: _alarms(visit),
        Check.DEAD_LETTERS: lambda: dead_letters(visit),
    }
    for check, look in looks.items():
        yield from guarded(check, look)


def _command(visit: Visit, name: str, record: RunRecord) -> str:
    return f"nightspot {name} {record.run_id} --stack {visit.stack}{visit.options}"


def _run(visit: Visit, record: RunRecord, console: str | None) -> CheckFinding:
    at = f"; its execution: {console}" if console else ""
    look = f"{_command(visit, 'show', record)}; {_command(visit, 'logs', record)}{at}"
    on = ", then ".join(each.market.of(each.instance_type) for each in record.attempts)
    match record.ending:
        case Ending.IN_TIME:
            return CheckFinding(SmokeCheck.RUN, CheckState.OK, f"{record.run_id} succeeded in time, on {on}")
        case Ending.LATE:
            found = f"{record.run_id} succeeded, after its deadline, on {on}"
            return CheckFinding(SmokeCheck.RUN, CheckState.WARNING, found, look)
    because = f": {record.because}" if record.because else ""
    found = f"{record.run_id} ended without a model ({record.ending.value}){because}"
    return CheckFinding(SmokeCheck.RUN, CheckState.PROBLEM, found, look)


def _model(visit: Visit, record: RunRecord) -> CheckFinding:
    state = Models(visit.client("s3")).state(record.model_artifact)
    where = record.model_artifact or "nowhere, for the run has none"
    if state is ModelState.STORED:
        return CheckFinding(SmokeCheck.MODEL, CheckState.OK, f"is at {where}")
    if state is None:
        return CheckFinding(
            SmokeCheck.MODEL,
            CheckState.NOT_CHECKED,
            f"may be at {where}: it could not be read",
            f"aws s3 ls {where}",
        )
    fix = f"{_command(visit, 'logs', record)}: what the script left in /opt/ml/model is the model"
    return CheckFinding(SmokeCheck.MODEL, CheckState.PROBLEM, f"is {state.value} at {where}", fix)


def _record(visit: Visit, record: RunRecord) -> CheckFinding:
    billed = [attempt.billable_seconds for attempt in record.attempts]
    if not record.attempts or any(seconds is None for seconds in billed):
        found = f"has {len(record.attempts)} attempts, and not of each what AWS has billed"
        return CheckFinding(SmokeCheck.RECORD, CheckState.WARNING, found, _command(visit, "show", record))
    seconds = format_duration(round(sum(seconds or 0 for seconds in billed)))
    cost = figures.usd(record.cost_usd) if record.cost_usd is not None else "a cost that is not known"
    found = f"has {record.decisions} decisions and {len(record.attempts)} attempts, {seconds} billed: {cost}"
    return CheckFinding(SmokeCheck.RECORD, CheckState.OK, found)


def _page(visit: Visit, record: RunRecord) -> CheckFinding:
    bucket = visit.output("ReportBucket")
    if bucket is None:
        found = f"stack {visit.stack!r} has no output ReportBucket"
        return CheckFinding(SmokeCheck.PAGE, CheckState.PROBLEM, found, "make deploy")
    page = f"{REPORTS}/{record.run_id}.html"
    try:
        visit.client("s3").head_object(Bucket=bucket, Key=page)
    except ClientError as error:
        if code_of(error) not in _MISSING:
            raise
        log = f"the log of the function {_function(visit, 'RecordOutcome')}"
        fix = f"{log}; nightspot report --run {record.run_id} --stack {visit.stack}{visit.options} makes it again"
        return CheckFinding(SmokeCheck.PAGE, CheckState.PROBLEM, f"is not at s3://{bucket}/{page}", fix)
    return CheckFinding(SmokeCheck.PAGE, CheckState.OK, f"is at s3://{bucket}/{page}")


def _notice(visit: Visit, record: RunRecord) -> CheckFinding:
    """That the run has ended: whether EventBridge has the notice; and SNS, where successes are sent at all."""
    table = RunTable(visit.client("dynamodb"), str(visit.output("TableName")))
    if table.close_turns.untold(record.run_id) is not None:
        fix = f"the log of {_function(visit, 'RecordOutcome')}; the reconciler sends it again within minutes"
        return CheckFinding(
            SmokeCheck.NOTICE, CheckState.PROBLEM, "of the run's end has not reached EventBridge", fix
        )
    name = _function(visit, "Notify")
    settings = visit.client("lambda").get_function_configuration(FunctionName=name)
    is_sent = dig(settings, "Environment", "Variables", "NIGHTSPOT_TELL_SUCCESS") == "true"
    if record.has_model and not is_sent:
        found = "of the run's end has reached EventBridge; successes are not sent on (nightspot:tell_success)"
        return CheckFinding(SmokeCheck.NOTICE, CheckState.OK, found)
    if _was_published(visit, record.run_id):
        return CheckFinding(
            SmokeCheck.NOTICE, CheckState.OK, "of the run's end has been published to the topic"
        )
    fix = f"wait a minute, then read the log of the function {name}"
    return CheckFinding(
        SmokeCheck.NOTICE, CheckState.WARNING, "of the run's end is not published to the topic yet", fix
    )


def _was_published(visit: Visit, run_id: str) -> bool:
    answer = visit.client("dynamodb").get_item(
        TableName=str(visit.output("TableName")), Key=key(f"NOTICE#{run_id}/end", "MAIL"), ConsistentRead=True
    )
    return "sent_at" in from_dynamodb(answer.get("Item") or {})


def alarms_of(visit: Visit) -> list[Mapping[str, Any]]:
    """The stack's alarms, as CloudWatch describes them. Raises ClientError and BotoCoreError."""
    names = [name for kind, _, name in visit.resources if kind == "AWS::CloudWatch::Alarm"]
    found: list[Mapping[str, Any]] = []
    for first in range(0, len(names), 100):
        page = names[first : first + 100]
        answer = visit.client("cloudwatch").describe_alarms(AlarmNames=page, MaxRecords=100)
        found += answer.get("MetricAlarms", ())
    return found


def _alarms(visit: Visit) -> Iterator[CheckFinding]:
    alarms = alarms_of(visit)
    ringing = [each for each in alarms if each.get("StateValue") == "ALARM"]
    for alarm in ringing:
        fix = f"docs/operate.md, Alarms; aws cloudwatch describe-alarm-history --alarm-name {alarm['AlarmName']}"
        found = f"rings: {alarm.get('AlarmDescription') or 'no description'}"
        yield CheckFinding(
            SmokeCheck.ALARMS, CheckState.PROBLEM, found, f"{fix}{visit.options}", alarm["AlarmName"]
        )
    if not ringing:
        yield CheckFinding(SmokeCheck.ALARMS, CheckState.OK, f"none of {len(alarms)} rings")


def _function(visit: Visit, name: str) -> str:
    """Its physical name; its own where the stack has none such."""
    found: Any = (
        physical
        for kind, logical, physical in visit.resources
        if kind == "AWS::Lambda::Function" and f"Functions{name}" in logical
    )
    return str(next(found, name))
