"""What must hold of every run, whatever went wrong: judged by what the fakes know to be true, and by the table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from nightspot.aws.table.dynamodb import from_dynamodb
from nightspot.job.markets import Concurrency
from nightspot.record.events import OF_OUTCOME
from nightspot.record.model import RunRecord
from nightspot.run.model import Outcome, Run
from tests.simulation.clock import HOUR, MINUTE
from tests.simulation.execution import Execution
from tests.simulation.sagemaker import Job
from tests.simulation.world import RECONCILE_SECONDS, World

CLOSING = frozenset(run_event.value for run_event in OF_OUTCOME.values())
# How long a job may run on after its run was closed.
MOST_RUNNING_ON = RECONCILE_SECONDS + 10 * MINUTE
MOST_TRANSITIONS = 600
# A run that has nothing so long after its deadline may give up; see `nightspot.decide.ladder.give_up_at`.
GIVES_UP_AFTER = 24 * HOUR
STOP_TAKES = 5 * MINUTE
# What a budget may be passed by: the rounding of seconds, on the dearest machine.
BUDGET_TOLERANCE = 0.02


class Invariant(StrEnum):
    """The rules, each by the name that the runner prints."""

    ONE_MACHINE = "two machines"
    IN_TIME = "late"
    A_MODEL = "no model"
    NOTHING_BOUGHT = "bought after a failure"
    HONEST = "false success"
    ON_RECORD = "not on record"
    CLOSED = "open record"
    FREED = "lock held"
    NOT_ALONE = "job without a run"
    NOTIFIED = "not notified"
    NOTIFIED_ONCE = "notified twice"
    LOOP_KEPT = "loop crashed"
    WITHIN_BUDGET = "budget passed"
    BOUNDED = "too long"
    NO_DEAD_LETTER = "dead letter"
    NO_ERROR = "error"


@dataclass(frozen=True)
class Violation:
    """A rule that did not hold."""

    invariant: Invariant
    text: str


@dataclass
class Verdict:
    """What is to be said of a played world."""

    seed: int
    kind: str
    in_time: int = 0
    late: int = 0
    no_model: int = 0  # where one was to be expected
    excused: int = 0  # runs without a model that are not to blame
    transitions: int = 0
    seconds: float = 0.0  # of CPU
    violations: list[Violation] = field(default_factory=list)

    def count(self, *invariants: Invariant) -> int:
        return sum(violation.invariant in invariants for violation in self.violations)


def judge(world: World) -> Verdict:
    """All rules on a world that was played."""
    world.calls.verdict = lambda _call: None
    verdict = Verdict(world.scenario.seed, world.scenario.kind)
    runs = _runs(world)
    verdict.transitions = max((each.transitions for each in world.states.executions.values()), default=0)
    for found in (
        _two_machines(world),
        _models(world, runs, verdict),
        _purchases(world, runs),
        _records(world, runs),
        _locks(world),
        _jobs_alone(world, runs),
        _messages(world, runs),
        _loops(world),
        _budget(world, runs),
        _rest(world),
    ):
        verdict.violations += found
    return verdict


def _runs(world: World) -> dict[str, Run]:
    """All runs on record, the oldest first."""
    ids = [
        item["pk"]["S"].removeprefix("RUN#") for item in world.dynamodb.items() if item["sk"]["S"] == "RUN"
    ]
    runs = [run for run_id in ids if (run := world.table.run(run_id)) is not None]
    return {run.run_id: run for run in sorted(runs, key=lambda run: run.started_at)}


def _jobs_of(world: World, run_id: str) -> list[Job]:
    return [job for job in world.sagemaker.jobs.values() if job.tag("nightspot:run") == run_id]


def _at(world: World, seconds: float) -> str:
    return f"{world.clock.moment(seconds):%d %H:%M:%S}"


# --- machines -------------------------------------------------------------------------------------------------


def _two_machines(world: World) -> Iterator[Violation]:
    lives: list[tuple[float, float, Job]] = []
    for job in world.sagemaker.jobs.values():
        for machine in job.machines:
            lives.append((machine.begin, machine.end if machine.end is not None else world.clock.now, job))
    lives.sort(key=lambda life: life[0])
    side_by_side = world.scenario.job.concurrency is Concurrency.ALLOW
    for number, (begin, end, job) in enumerate(lives):
        for other_begin, other_end, other in lives[number + 1 :]:
            both = min(end, other_end) - max(begin, other_begin)
            same_prefix = job.prefix is not None and job.prefix == other.prefix
            same_run = job.tag("nightspot:run") == other.tag("nightspot:run")
            if other is job or both <= 1 or (side_by_side and not same_prefix and not same_run):
                continue
            what = (
                "for one run" if same_run else f"the prefix {job.prefix}" if same_prefix else "for two runs"
            )
            since = _at(world, other_begin)
            text = f"{job.name} and {other.name} train {what} at once for {both / 60:.0f} min from {since}"
            yield Violation(Invariant.ONE_MACHINE, text)
            return


# --- time and success -----------------------------------------------------------------------------------------


def _models(world: World, runs: dict[str, Run], verdict: Verdict) -> Iterator[Violation]:
    scenario = world.scenario
    for number, begin in enumerate(world.started_at):
        execution = next(
            (e for e in _executions(world) if e.input.get("scheduled_at") == _iso(world, begin)), None
        )
        run_id = world.run_id(execution) if execution is not None else None
        jobs = _jobs_of(world, run_id) if run_id is not None else []
        done = [job.ended_at for job in jobs if job.status == "Completed" and job.ended_at is not None]
        deadline = begin + scenario.window
        # A second run under `forbid` finds the job taken.
        expected = scenario.model_expected and scenario.had_slack and number == 0
        if not done:
            verdict.no_model += expected
            verdict.excused += not expected
            if expected:
                run = runs.get(run_id or "")
                said = f": {run.outcome_because}" if run is not None and run.outcome_because else ""
                yield Violation(Invariant.A_MODEL, f"run {run_id} has no model{said}")
            continue
        late = min(done) - deadline
        verdict.in_time += late <= 0
        verdict.late += late > 0
        if expected and late > scenario.late_allowed:
            text = (
                f"run {run_id} is late by {late / 60:.1f} min, and may be by {scenario.late_allowed / 60:.0f}"
            )
            yield Violation(Invariant.IN_TIME, text)


def _executions(world: World) -> list[Execution]:
    return sorted(world.states.executions.values(), key=lambda each: each.started_at)


def _iso(world: World, seconds: float) -> str:
    return world.clock.moment(seconds).isoformat().replace("+00:00", "Z")


def _purchases(world: World, runs: dict[str, Run]) -> Iterator[Violation]:
    for run_id in {job.tag("nightspot:run") for job in world.sagemaker.jobs.values()}:
        jobs = sorted(_jobs_of(world, str(run_id)), key=lambda job: job.created_at)
        failed = [
            job for job in jobs if job.status == "Failed" and job.reason == world.scenario.workload.failure
        ]
        if world.scenario.workload.fails_at_step is not None and failed:
            first = min(job.ended_at or 0.0 for job in failed)
            for job in jobs:
                if job.created_at > first:
                    text = f"{job.name} was bought after the failure {world.scenario.workload.failure!r}"
                    yield Violation(Invariant.NOTHING_BOUGHT, text)
        asked = world.stop_asked_at.get(str(run_id))
        if asked is not None:
            for job in jobs:
                if job.created_at > asked + STOP_TAKES:
                    text = (
                        f"{job.name} was bought {(job.created_at - asked) / 60:.0f} min after a person's stop"
                    )
                    yield Violation(Invariant.NOTHING_BOUGHT, text)
    for run in runs.values():
        completed = any(job.status == "Completed" for job in _jobs_of(world, run.run_id))
        if run.outcome is Outcome.SUCCEEDED and not completed:
            yield Violation(Invariant.HONEST, f"run {run.run_id} has succeeded, and no job of it has")
        if completed and run.outcome in {Outcome.FAILED, Outcome.SKIPPED}:
            yield Violation(Invariant.HONEST, f"run {run.run_id} has a model, and is {run.outcome}")


# --- records --------------------------------------------------------------------------------------------------


def _records(world: World, runs: dict[str, Run]) -> Iterator[Violation]:
    for execution in world.states.executions.values():
        refused = execution.error == "Nightspot.InvalidInput"
        is_start = execution.input.get("scheduled_at") is not None
        # One that the story itself has ended before its plan leaves nothing to know it by.
        is_ended = execution.arn in world.aborted or execution.was_crashed_by_hand
        if world.run_id(execution) not in runs and is_start and not refused and not is_ended:
            yield Violation(Invariant.CLOSED, f"{execution.name} ({execution.status}) has no record at all")
    histories: dict[str, RunRecord] = {}
    for run in runs.values():
        for summary in world.table.history(run.job, limit=60):
            histories[summary.run_id] = summary
    for run in runs.values():
        if run.outcome is None:
            yield Violation(
                Invariant.CLOSED, f"run {run.run_id} is still open at {_at(world, world.clock.now)}"
            )
            continue
        summary = histories.get(run.run_id)
        if summary is None or summary.outcome != run.outcome.value:
            said = None if summary is None else summary.outcome
            yield Violation(
                Invariant.CLOSED, f"run {run.run_id} is {run.outcome}, and its history says {said}"
            )
            continue
        yield from _bills(world, run, summary)


def _bills(world: World, run: Run, summary: RunRecord) -> Iterator[Violation]:
    attempts = {attempt.training_job_name: attempt for attempt in summary.attempts}
    for job in _jobs_of(world, run.run_id):
        attempt = attempts.get(job.name)
        if attempt is None:
            yield Violation(
                Invariant.ON_RECORD, f"{job.name} ({job.status}) is no attempt of run {run.run_id}"
            )
        elif job.machines and job.is_over:
            billed = max(1, round(job.billable_seconds(world.clock.now)))
            known = attempt.billable_seconds
            if known is None or abs(known - billed) > 1:
                text = f"{job.name} was billed {billed} s, and the record says {known}"
                yield Violation(Invariant.ON_RECORD, text)


def _locks(world: World) -> Iterator[Violation]:
    for item in world.dynamodb.items():
        if item["sk"]["S"] == "LOCK":
            lock = from_dynamodb(item)
            if lock.get("expires", 0) > world.clock.moment().timestamp():
                yield Violation(Invariant.FREED, f"{lock['pk']} is still held by run {lock['owner']}")


def _jobs_alone(world: World, runs: dict[str, Run]) -> Iterator[Violation]:
    """No job runs on after its run was closed, or without a run that ever watches it again."""
    most = _most_running_on(world)
    for job in world.sagemaker.jobs.values():
        if not job.machines:
            continue
        run_id = str(job.tag("nightspot:run"))
        end = job.machines[-1].end if job.machines[-1].end is not None else world.clock.now
        closed = world.closed_at.get(run_id)
        if closed is not None and end - closed > most:
            text = f"{job.name} trains for {(end - closed) / 60:.0f} min after run {run_id} was closed"
            yield Violation(Invariant.NOT_ALONE, text)
            continue
        over = [
            each.ended_at
            for each in _executions(world)
            if world.run_id(each) == run_id and not each.is_running
        ]
        watched = any(
            each.is_running or each.ended_at >= end for each in _executions(world) if _watches(each, run_id)
        )
        last = max((e.ended_at for e in _executions(world) if _watches(e, run_id)), default=None)
        last = max(filter(None, (last, *over)), default=None)
        if not watched and last is not None and end - last > most:
            text = f"{job.name} trains for {(end - last) / 60:.0f} min after the loop of run {run_id} ended"
            yield Violation(Invariant.NOT_ALONE, text)


def _most_running_on(world: World) -> float:
    """Each stop that is refused costs the reconciler a turn, and none has an effect while a service is away."""
    refused = sum(what.startswith("sagemaker.stop_training_job") for _, what in world.faults.injected)
    away = sum(outage.end - outage.begin for outage in world.scenario.plan.outages)
    return MOST_RUNNING_ON + refused * RECONCILE_SECONDS + away


def _watches(execution: Execution, run_id: str) -> bool:
    """Whether an execution is a loop of the run, its first or one that took it up again."""
    run = execution.variables.get("run")
    return isinstance(run, dict) and run.get("run_id") == run_id


# --- messages -------------------------------------------------------------------------------------------------


def _messages(world: World, runs: dict[str, Run]) -> Iterator[Violation]:
    told: dict[str, list[bool]] = defaultdict(list)
    for message in world.sns.messages:
        if message.run_event in CLOSING and message.run_id is not None:
            told[message.run_id].append(message.is_in_doubt)
    for run in runs.values():
        certain = sum(not doubt for doubt in told[run.run_id])
        if not told[run.run_id]:
            yield Violation(Invariant.NOTIFIED, f"nobody was told how run {run.run_id} ended")
        elif certain > 1:
            yield Violation(Invariant.NOTIFIED_ONCE, f"{certain} closing messages of run {run.run_id}")


# --- the workflow ---------------------------------------------------------------------------------------------

_ENDS = frozenset({"Nightspot.InvalidInput", *(f"Nightspot.{outcome.value}" for outcome in Outcome)})


def _loops(world: World) -> Iterator[Violation]:
    for execution in world.states.executions.values():
        if execution.status not in {"FAILED", "TIMED_OUT"} or execution.was_crashed_by_hand:
            continue
        has_given_up = execution.ended_at > world.scenario.deadline + GIVES_UP_AFTER
        if execution.error not in _ENDS and not has_given_up:
            text = f"{execution.name} {execution.status}: {execution.error}: {(execution.cause or '')[:200]}"
            yield Violation(Invariant.LOOP_KEPT, text)


def _budget(world: World, runs: dict[str, Run]) -> Iterator[Violation]:
    for run in runs.values():
        if run.budget_usd is None:
            continue
        spent = sum(
            _decided_seconds(world, job) / 3600 * world.scenario.prices[job.instance_type]
            for job in _jobs_of(world, run.run_id)
        )
        if spent > run.budget_usd * (1 + BUDGET_TOLERANCE):
            yield Violation(
                Invariant.WITHIN_BUDGET, f"run {run.run_id} cost ${spent:.2f} of ${run.budget_usd:.2f}"
            )


def _decided_seconds(world: World, job: Job) -> float:
    """Its bill, without what a stop that hangs adds to it: whether AWS bills that nobody knows."""
    billed = job.billable_seconds(world.clock.now)
    seconds = job.training_seconds(world.clock.now)
    return billed * max(0.0, 1 - job.hung_seconds / seconds) if seconds else billed


def _rest(world: World) -> Iterator[Violation]:
    for execution in world.states.executions.values():
        if execution.transitions > MOST_TRANSITIONS:
            text = f"{execution.name} took {execution.transitions} transitions"
            yield Violation(Invariant.BOUNDED, text)
        if execution.is_running:
            yield Violation(Invariant.BOUNDED, f"{execution.name} goes on at {_at(world, world.clock.now)}")
    for letter in world.bus.dead_letters:
        if not letter.is_excused:
            last = letter.errors[-1]
            what = letter.event.get("detail-type", letter.function)
            yield Violation(
                Invariant.NO_DEAD_LETTER, f"{letter.function} could not take {what}: {last.error}"
            )
    for at, name, error in world.errors:
        text = f"{name} raised {type(error).__name__} at {_at(world, at)}: {str(error)[:200]}"
        yield Violation(Invariant.NO_ERROR, text)
