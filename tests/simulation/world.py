"""One run's world: fakes, functions, workflow and faults put together, and played to its end."""

from __future__ import annotations

import dataclasses
import importlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from random import Random
from types import ModuleType
from typing import Any

from nightspot.aws.notices import Notices, NoticeTopics, Reports
from nightspot.aws.runs.checkpoints import Checkpoints
from nightspot.aws.runs.executions import Executions, Starter
from nightspot.aws.runs.training_jobs import Stopper, StopState, TrainingJobs
from nightspot.aws.table.dynamodb import to_dynamodb
from nightspot.aws.table.job_lock import JobLock
from nightspot.aws.table.run_table import RunTable
from nightspot.job.model import Job as NightspotJob
from nightspot.job.request_shape import fill
from nightspot.lambdas import (
    close_run,
    decide_next_step,
    notify,
    plan_run,
    record_outcome,
    start_run,
    start_training_job,
    wake_run,
)
from nightspot.lambdas.dependencies import Dependencies
from nightspot.lambdas.observability import logger as lambda_logger
from nightspot.plan.planning import run_id_of
from nightspot.view.messages.wording import may_be_told, run_event_of
from tests.simulation import asl, older
from tests.simulation.calls import REGION, Calls
from tests.simulation.clock import HOUR, START, Clock
from tests.simulation.dynamodb import Change, DynamoDb
from tests.simulation.events import EventBridge, Rule, Sns
from tests.simulation.execution import Execution
from tests.simulation.faults import Faults
from tests.simulation.functions import Answer, Functions, Invocation, function_arn
from tests.simulation.s3 import S3
from tests.simulation.sagemaker import ENDS, Job, SageMaker
from tests.simulation.scenarios import Scenario
from tests.simulation.stepfunctions import MACHINE_ARN, StepFunctions

TABLE, BUS, MODELS = "nightspot-runs", "default", "nightspot-models"
MAIL = f"arn:aws:sns:{REGION}:123456789012:nightspot-mail"
ENVIRONMENT = "sim"
# Its own names, and those of runs that an older version of the code has planned.
OWN = ("nightspot-sim-", "nightspot-recommender-20")
RECONCILE_SECONDS = 300.0
LONGEST = 8 * 24 * HOUR
QUIET = 0.8 * HOUR  # after the last event, before judgement
PERSON_ASKS_SECONDS = 600.0


@cache
def reconcile() -> ModuleType | None:
    """The reconciler's module, once there is one."""
    try:
        return importlib.import_module("nightspot.lambdas.reconcile")
    except ModuleNotFoundError as error:
        if error.name != "nightspot.lambdas.reconcile":
            raise
        return None


@dataclass
class Happened:
    """One line of the story."""

    at: float
    who: str
    what: str


@dataclass
class World:
    """The world of one scenario. `play` it once; the fakes then hold what really happened."""

    scenario: Scenario
    story: list[Happened] = field(default_factory=list)
    errors: list[tuple[float, str, BaseException]] = field(default_factory=list)  # that no fault explains
    aborted: set[str] = field(default_factory=set)  # executions, by ARN, that a person aborted
    stop_asked_at: dict[str, float] = field(default_factory=dict)  # by run id
    started_at: list[float] = field(default_factory=list)
    closed_at: dict[str, float] = field(
        default_factory=dict
    )  # by run id, when its outcome was first on record

    def __post_init__(self) -> None:
        plan = self.scenario.plan
        self.clock = Clock()
        self.faults = Faults(plan, self.clock, self._random("faults"))
        self.faults.until = self.scenario.deadline + 6 * HOUR
        self.calls = Calls(
            self.clock,
            self._random("calls"),
            self.faults.verdict,
            lambda call, what: self.tell(call.caller or "somebody", f"{call.name} {what}"),
            plan.stretched_share,
        )
        self.dynamodb = DynamoDb(self.clock, self.calls, self._random("dynamodb"), self._item_changed)
        self.s3 = S3(self.clock, self.calls, self.faults.tears_body)
        self.sns = Sns(self.clock, self.calls, self.tell)
        self.functions = Functions(
            self.clock, self.calls, self._random("functions"), self.faults.doom, self.faults.refused
        )
        self.functions.tell = self.tell
        self.functions.answered = self._answered
        self.bus = EventBridge(
            self.clock,
            self.calls,
            self._random("events"),
            self.functions,
            _RULES,
            self.faults.delivery,
            self.faults.away_until,
            self.faults.fails_entry,
            self.tell,
        )
        self.sagemaker = self._sagemaker()
        self.states = StepFunctions(
            self.clock,
            self.calls,
            self.functions,
            self._random("workflow"),
            # Of a version of before, until the code is updated: what has begun with it goes on with it.
            asl.read_workflow(SUBSTITUTIONS)
            if self.scenario.old_code_until is None
            else older.read_workflow(SUBSTITUTIONS),
            {"sagemaker": self.sagemaker, "dynamodb": self.dynamodb, "events": self.bus, "sns": self.sns},
            self._execution_ended,
            lambda: self.faults.away_until("states") if self.scenario.executions_stall else 0.0,
            self.tell,
        )
        self.table = RunTable(self.dynamodb, TABLE)
        self._add_functions()

    def _sagemaker(self) -> SageMaker:
        return SageMaker(
            self.clock,
            self.calls,
            self.s3,
            self._random("training"),
            self.scenario.market,
            lambda _job: self.scenario.workload,
            self.scenario.habits,
            self._training_job_changed,
        )

    def _random(self, of: str) -> Random:
        return Random(f"{self.scenario.seed} {self.scenario.kind} {of}")

    # --- the functions ------------------------------------------------------------------------------------

    def _add_functions(self) -> None:
        known: dict[str, Any] = {
            "region": REGION,
            "jobs": lambda: {self.scenario.job.name: self.scenario.job},
            "localise": _local_job,
            "price": lambda instance_type, _region: self.scenario.prices.get(instance_type),
            "table": self.table,
            "lock": JobLock(self.dynamodb, TABLE),
            "executions": Executions(self.states),
            "quotas": None,
            "training_jobs": TrainingJobs(self.sagemaker),
            "checkpoints": Checkpoints(self.s3),
            "notices": Notices(self.bus, BUS),
            "step_functions": self.states,
            "reports": Reports(self.s3, MODELS) if self.scenario.writes_reports else None,
            "starter": Starter(self.states, MACHINE_ARN),
            "sagemaker": self.sagemaker,
            "environment": ENVIRONMENT,
        }
        fields = {each.name for each in dataclasses.fields(Dependencies)}
        known = {name: value for name, value in known.items() if name in fields}
        use = {name: Dependencies(now=self._now_of(name), **known) for name in FUNCTIONS}
        for name, module in FUNCTIONS.items():
            self.functions.handlers[name] = (module.handler, use.__getitem__)
        starting = start_run.StartDependencies(known["starter"], self.table.pending, self._now_of("StartRun"))
        jobs = TrainingJobs(self.sagemaker)
        self.functions.handlers["StartTrainingJob"] = (start_training_job.handler, lambda _name: jobs)
        self.functions.handlers["StartRun"] = (start_run.handler, lambda _name: starting)
        messenger = notify.Messenger(
            topics=NoticeTopics(self.sns, self.dynamodb, TABLE, mail_arn=MAIL),
            pending=self.table.pending,
            zone=lambda _job: "UTC",
            now=self._now_of("Notify"),
            tell_success=True,
        )
        self.functions.handlers["Notify"] = (notify.handler, lambda _name: messenger)
        module = reconcile()
        if module is not None:
            reconciler = Dependencies(now=self._now_of("Reconcile"), **known)
            self.functions.handlers["Reconcile"] = (module.handler, lambda _name: reconciler)

    def _now_of(self, function: str) -> Callable[[], Any]:
        skew = timedelta(seconds=self.scenario.plan.skew_seconds.get(function, 0.0))
        return lambda: self.clock.moment() + skew

    def _answered(self, invocation: Invocation, answer: Answer) -> None:
        if answer.raised is not None:
            self.tell(invocation.name, f"raises {answer.error}: {str(answer.raised)[:160]}")
            if not answer.injected and answer.error not in TRANSIENT:
                self.errors.append((self.clock.now, invocation.name, answer.raised))
        if answer.error is None and invocation.name == "DecideNextStep":
            step = answer.result["step"]
            self.tell("Nightspot", f"{step['action'].upper()}: {step['because']}")

    def _code_is_updated(self) -> None:
        """What is there was left by a version that knows fewer fields: in the workflow and in the table."""
        self.states.machine = asl.read_workflow(SUBSTITUTIONS)
        for execution in self.states.executions.values():
            if execution.is_running:
                for key in ("run", "step"):
                    execution.variables[key] = older.as_older_code_knows(key, execution.variables.get(key))
        fields = older.older_fields("Run")
        for item in self.dynamodb.items():
            if item["sk"]["S"] == "RUN" and "M" in item.get("ledger", {}):
                ledger = {key: value for key, value in item["ledger"]["M"].items() if key in fields}
                self.dynamodb.put({**item, "ledger": {"M": ledger}})

    def _item_changed(self, change: Change) -> None:
        pk, sk = change.key
        if sk == "RUN" and change.after is not None and pk.removeprefix("RUN#") not in self.closed_at:
            outcome = change.after.get("ledger", {}).get("M", {}).get("outcome", {})
            if "S" in outcome:
                self.closed_at[pk.removeprefix("RUN#")] = change.at

    # --- what happens -------------------------------------------------------------------------------------

    def tell(self, who: str, what: str) -> None:
        """Add a line to the story."""
        self.story.append(Happened(self.clock.now, who, what))

    def _training_job_changed(self, job: Job) -> None:
        self.tell(job.name, f"{job.status}/{job.secondary}" + (f": {job.reason}" if job.reason else ""))
        if self.sagemaker.has_event(job):
            self.bus.emit(
                "aws.sagemaker", "SageMaker Training Job State Change", self.sagemaker.event_detail(job)
            )

    def _execution_ended(self, execution: Execution) -> None:
        self.tell(
            execution.name,
            f"execution {execution.status} {execution.error or ''}: {execution.cause or ''}"[:240],
        )
        detail = {
            "executionArn": execution.arn,
            "stateMachineArn": MACHINE_ARN,
            "name": execution.name,
            "status": execution.status,
            "startDate": round(self.clock.moment(execution.started_at).timestamp() * 1000),
            "stopDate": round(self.clock.moment(execution.ended_at).timestamp() * 1000),
            "error": execution.error,
            "cause": execution.cause,
        }
        self.bus.emit("aws.states", "Step Functions Execution Status Change", detail)

    # --- the course of it ---------------------------------------------------------------------------------

    def play(self) -> World:
        """Let it happen, to its end."""
        scenario = self.scenario
        for at in scenario.starts_at:
            self.clock.at(at, lambda at=at: self._start(at))
        if scenario.stop_at is not None:
            self.clock.at(scenario.stop_at, self._person_stops)
        if scenario.abort_at is not None:
            self.clock.at(scenario.abort_at, self._person_aborts)
        if scenario.crash_at is not None:
            self.clock.at(scenario.crash_at, self._execution_crashes)
        if scenario.old_code_until is not None:
            self.clock.at(scenario.old_code_until, self._code_is_updated)
        for outage in scenario.plan.outages:
            # So that the world does not end in one.
            self.clock.at(outage.end, lambda: None)
        for at, detail in scenario.foreign_events:
            self.clock.at(at, lambda detail=detail: self._foreign_event(detail))
        for summary in scenario.old_summaries:
            self._put_old(summary)
        if scenario.resumes_at is not None:
            self.clock.at(scenario.resumes_at, self._resume)
        if reconcile() is not None:
            self.clock.at(97.0, self._reconcile, background=True)
        with _quiet():
            self.clock.run(LONGEST, quiet_seconds=QUIET)
        return self

    def _start(self, at: float) -> None:
        self.started_at.append(at)
        event = {"job": self.scenario.job.name, "scheduled_at": self.clock.moment(at).isoformat()}
        self.bus.deliver("StartRun", event)

    def _foreign_event(self, detail: dict[str, Any]) -> None:
        self.bus.emit("aws.sagemaker", "SageMaker Training Job State Change", detail)

    def _put_old(self, summary: dict[str, Any]) -> None:
        key = {
            "pk": f"JOB#{self.scenario.job.name}",
            "sk": f"RUN#2026-11-{summary['run_id'][6:8]}T00:00:00Z#",
        }
        item = {**key, "sk": key["sk"] + summary["run_id"], "summary": summary, "steps": 3}
        self.dynamodb.put(to_dynamodb(item))

    def _resume(self) -> None:
        """A person lets another run continue from the checkpoints of the first one."""
        first = next(iter(self.states.executions.values()), None)
        if first is None:
            return
        starter = Starter(self.states, MACHINE_ARN)
        self.calls.caller = "a person"
        try:
            name = f"{self.scenario.job.name}-resumed"
            starter.start(self.scenario.job.name, {}, name=name, resume_from=self.run_id(first))
        except Exception as error:  # the person sees it
            self.tell("a person", f"is told {type(error).__name__}: {str(error)[:100]}")
        finally:
            self.calls.caller = ""

    def _reconcile(self) -> None:
        self.clock.after(RECONCILE_SECONDS, self._reconcile, background=True)
        if self.faults.away_until("lambda") <= self.clock.now:
            self.functions.invoke(
                "Reconcile", {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}
            )

    def _open_execution(self) -> Execution | None:
        return next((each for each in self.states.executions.values() if each.is_running), None)

    def _person_stops(self) -> None:
        execution = self._open_execution()
        if execution is None:
            return
        run_id = self.run_id(execution)
        stopper = Stopper(self.table, self.sagemaker, Executions(self.states))
        self.tell("a person", f"stops run {run_id}")
        self._ask_to_stop(stopper, run_id, self.clock.now + PERSON_ASKS_SECONDS)

    def _ask_to_stop(self, stopper: Stopper, run_id: str, until: float) -> None:
        try:
            self.calls.caller = "a person"
            state = stopper.ask(run_id, by="a person").state
            self.stop_asked_at.setdefault(run_id, self.clock.now)
            if state is StopState.OVER:
                return
        except Exception as error:  # the person sees it, and asks again
            self.tell("a person", f"is told {type(error).__name__}: {str(error)[:100]}")
        finally:
            self.calls.caller = ""
        if self.clock.now < until:
            self.clock.after(10.0, lambda: self._ask_to_stop(stopper, run_id, until))

    def _person_aborts(self) -> None:
        execution = self._open_execution()
        if execution is not None:
            self.aborted.add(execution.arn)
            execution.stop("ABORTED")

    def _execution_crashes(self) -> None:
        execution = self._open_execution()
        if execution is not None and self.dynamodb.item(f"RUN#{self.run_id(execution)}", "RUN") is None:
            # Of a run that has no record yet nobody can know that it is gone (docs/reliability.md).
            self.clock.after(60.0, self._execution_crashes)
        elif execution is not None:
            execution.was_crashed_by_hand = True
            execution.stop("FAILED", "States.Runtime", "An error of the story's own.")

    def run_id(self, execution: Execution) -> str:
        """The id of an execution's run."""
        return run_id_of(execution.arn, self.clock.moment(execution.started_at))


FUNCTIONS: Mapping[str, ModuleType] = {
    "PlanRun": plan_run,
    "DecideNextStep": decide_next_step,
    "RecordOutcome": record_outcome,
    "WakeRun": wake_run,
    "CloseRun": close_run,
}
# What has collaborators of its own.
OTHER_FUNCTIONS = ("Notify", "StartRun", "StartTrainingJob", "Reconcile")
# What a handler may raise of itself: who called it comes back.
TRANSIENT = frozenset(
    {
        "TransientAwsError",
        "NotYetError",
        "InvalidInputError",
    }
)
SUBSTITUTIONS = {
    **{f"{name}FunctionArn": function_arn(name) for name in (*FUNCTIONS, *OTHER_FUNCTIONS)},
    "TableName": TABLE,
    "EventBusName": BUS,
    "Environment": ENVIRONMENT,
}


def _is_own_job(event: Mapping[str, Any]) -> bool:
    return (
        event["source"] == "aws.sagemaker"
        and event["detail-type"] == "SageMaker Training Job State Change"
        and str(event["detail"]["TrainingJobName"]).startswith(OWN)
    )


def _may_be_told(detail_type: str) -> bool:
    run_event = run_event_of(detail_type)
    return run_event is not None and may_be_told(run_event)


# As infra/triggers.py and infra/observability.py have them.
_RULES = [
    Rule("WakeRun", _is_own_job),
    Rule("CloseRun", lambda event: _is_own_job(event) and event["detail"]["TrainingJobStatus"] in ENDS),
    Rule(
        "CloseRun",
        lambda event: (
            event["source"] == "aws.states"
            and event["detail"]["status"] in {"ABORTED", "FAILED", "TIMED_OUT"}
        ),
    ),
    Rule(
        "Notify",
        lambda event: (
            event["source"] == "nightspot"
            and _may_be_told(event["detail-type"])
            # Of a run that an older version planned, no environment is told.
            and event["detail"].get("environment", ENVIRONMENT) == ENVIRONMENT
        ),
    ),
]


def _local_job(job: NightspotJob, _execution_arn: str = "") -> NightspotJob:
    names = {
        "CheckpointBucket": "nightspot-checkpoints",
        "ModelBucket": MODELS,
        "TrainingRoleArn": "arn:aws:iam::123456789012:role/nightspot-training",
        "AWS::AccountId": "123456789012",
        "AWS::Region": REGION,
    }
    return job.model_copy(update={"training_job": fill(job.training_job, names)})


class _Nowhere(io.TextIOBase):
    """Where metrics go."""

    def write(self, text: str) -> int:
        return len(text)


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside: handlers log nothing; their metrics are written to nowhere."""
    level, nightspot = lambda_logger.log_level, logging.getLogger("nightspot")
    before = nightspot.level
    lambda_logger.setLevel(logging.CRITICAL)
    nightspot.setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(_Nowhere()), warnings.catch_warnings():
            yield
    finally:
        lambda_logger.setLevel(level)
        nightspot.setLevel(before)


__all__ = ["START", "Happened", "World"]
