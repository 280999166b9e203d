"""What goes wrong in each family of seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from tests.simulation import odd, poison, truths
from tests.simulation.clock import HOUR, MINUTE
from tests.simulation.faults import SERVICES, Burst, Outage
from tests.simulation.scenarios import FUNCTION_NAMES, Scenario, quiet

# What faults that last no longer than seconds may cost: a few looks and pauses.
MARGIN = 10 * MINUTE
Family = Callable[[Scenario, Random], Scenario]


def _none(scenario: Scenario, _random: Random) -> Scenario:
    return scenario


def _kill(scenario: Scenario, random: Random) -> Scenario:
    """Lambda invocations die: one of them, some, or all of a function's for some minutes."""
    mode = random.choice(("one", "some", "many", "row"))
    if mode == "row":
        begin = random.choice((0.0, random.uniform(0, scenario.window), scenario.last_safe_moment - MINUTE))
        length = random.choice((2, 5, 15)) * MINUTE
        names = random.choice(
            (
                ("DecideNextStep",),
                ("PlanRun",),
                ("StartTrainingJob",),
                ("RecordOutcome",),
                ("WakeRun", "CloseRun"),
            )
        )
        plan = replace(
            scenario.plan, dying=(max(0.0, begin), max(0.0, begin) + length), dying_functions=names
        )
        return replace(scenario, plan=plan, late_allowed=scenario.late_allowed + length + MARGIN)
    share, most = {"one": (0.2, 1), "some": (0.05, 10), "many": (0.2, 10**9)}[mode]
    plan = replace(scenario.plan, kill_share=share, most_kills=most, stretched_share=0.02)
    return replace(scenario, plan=plan, late_allowed=scenario.late_allowed + MARGIN)


def _lost_answers(scenario: Scenario, random: Random) -> Scenario:
    plan = replace(scenario.plan, lost_share=random.choice((0.02, 0.1)), stretched_share=0.02)
    return replace(scenario, plan=plan, late_allowed=scenario.late_allowed + MARGIN)


def _throttles(scenario: Scenario, random: Random) -> Scenario:
    """Some calls of all services, and rows of one operation."""
    begin = random.choice(
        (0.0, max(0.0, scenario.last_safe_moment - MINUTE), random.uniform(0, scenario.window))
    )
    service, operation = random.choice(
        (
            ("sagemaker", "create_training_job"),
            ("sagemaker", "describe_training_job"),
            ("dynamodb", "put_item"),
            ("dynamodb", "update_item"),
            ("s3", "get_object"),
            ("events", "put_events"),
            ("states", "send_task_success"),
            ("sns", "publish"),
        )
    )
    length = random.choice((1, 5, 15)) * MINUTE
    burst = Burst(service, operation, begin, begin + length, random.choice((1, 4, 8, 30)))
    plan = replace(
        scenario.plan,
        throttled_share=random.choice((0.0, 0.02)),
        bursts=(*scenario.plan.bursts, burst),
        torn_bodies=random.choice((0.0, 0.2)),
        failed_entries=random.choice((0.0, 0.1)),
    )
    return replace(scenario, plan=plan, late_allowed=scenario.late_allowed + length + MARGIN)


def _stops_refused(scenario: Scenario, random: Random) -> Scenario:
    """StopTrainingJob is refused, one to eight times in a row, or for minutes."""
    minutes = random.choice((None, None, 2, 10))
    if minutes is None:
        burst = Burst("sagemaker", "stop_training_job", 0.0, 10**9, random.randint(1, 8))
        allowed = 20 * MINUTE  # eight repetitions, later and later
    else:
        burst = Burst(
            "sagemaker", "stop_training_job", scenario.last_safe_moment - minutes * MINUTE, 10**9, 10**9
        )
        burst = replace(burst, end=burst.begin + 2 * minutes * MINUTE)
        allowed = 2 * minutes * MINUTE
    plan = replace(scenario.plan, bursts=(*scenario.plan.bursts, burst))
    return replace(scenario, plan=plan, late_allowed=scenario.late_allowed + allowed + MARGIN)


def away(scenario: Scenario, service: str, begin: float, minutes: float) -> Scenario:
    """One service answers nothing for so long."""
    outage = Outage(service, max(0.0, begin), max(0.0, begin) + minutes * MINUTE)
    plan = replace(scenario.plan, outages=(*scenario.plan.outages, outage))
    return replace(
        scenario,
        plan=plan,
        late_allowed=scenario.late_allowed + minutes * MINUTE + MARGIN,
        executions_stall=scenario.seed % 2 == 0,
    )


def _away(scenario: Scenario, random: Random) -> Scenario:
    """One service is away for 2 to 60 minutes at any time, now and then two of them, or one twice."""
    for _ in range(random.choice((1, 1, 2))):
        begin = random.uniform(-5 * MINUTE, scenario.window + HOUR)
        scenario = away(scenario, random.choice(SERVICES), begin, random.choice((2, 5, 10, 30, 60)))
    return scenario


def _away_at_the_worst_moment(scenario: Scenario, random: Random) -> Scenario:
    minutes = random.choice((2, 10, 30, 60))
    begin = scenario.last_safe_moment - random.uniform(0, 1) * minutes * MINUTE
    return away(scenario, random.choice(SERVICES), begin, minutes)


def _events(scenario: Scenario, random: Random) -> Scenario:
    """Events are lost, doubled, late, and so in another order."""
    plan = replace(
        scenario.plan,
        lost_events=random.choice((0.0, 0.3, 1.0)),
        doubled_events=random.choice((0.0, 0.5)),
        late_events=random.choice((0.0, 0.3)),
        stretched_share=0.02,
    )
    foreign = tuple((random.uniform(0, scenario.window), detail) for detail in odd.foreign_events())
    return replace(scenario, plan=plan, foreign_events=foreign, late_allowed=scenario.late_allowed + MARGIN)


def _doubt(scenario: Scenario, random: Random) -> Scenario:
    """CreateTrainingJob has its effect and gives no answer, and the job shows itself a little later."""
    delays = random.choice(((0.0, 1.0), (1.0, 10.0), (5.0, 60.0)))
    own = Random(f"{scenario.seed} visible")
    habits = replace(scenario.habits, visible_after=lambda: own.uniform(*delays))
    plan = replace(
        scenario.plan, doubt_share=random.choice((0.3, 0.6, 1.0)), no_doubt_share=random.choice((0.0, 0.3))
    )
    return replace(scenario, plan=plan, habits=habits, late_allowed=scenario.late_allowed + MARGIN)


def _visible_late(scenario: Scenario, random: Random) -> Scenario:
    own = Random(f"{scenario.seed} visible")
    longest = random.choice((5.0, 60.0, 300.0))
    habits = replace(scenario.habits, visible_after=lambda: own.uniform(0, longest))
    return replace(scenario, habits=habits, late_allowed=scenario.late_allowed + longest + MARGIN)


def _stops_hang(scenario: Scenario, random: Random) -> Scenario:
    """Jobs hang in Stopping, or in Uploading, for hours."""
    seconds = random.choice((0.3, 1.0, 4.0)) * HOUR
    own, share = Random(f"{scenario.seed} hangs"), random.choice((0.5, 1.0))
    known: dict[str, float] = {}

    def hangs(name: str) -> float:
        return known.setdefault(name, seconds if own.random() < share else 0.0)

    # Each job may hang once; one is stopped, another one completes.
    allowed = 3 * seconds + MARGIN
    # An upload that hangs is paid for, and may use up all the time that the user pays for.
    cap = scenario.job.training_job.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
    is_capped = cap is not None and cap < 2 * scenario.job.work_seconds + 2 * seconds
    return replace(
        scenario,
        habits=replace(scenario.habits, hangs=hangs),
        model_expected=scenario.model_expected and not is_capped,
        late_allowed=scenario.late_allowed + allowed,
    )


def _progress(scenario: Scenario, random: Random) -> Scenario:
    """The progress file is torn, missing, stale, poisoned, or its upload lags."""
    spoils = poison.named()
    name = random.choice(sorted(spoils))
    upload = random.choice(((2.0, 20.0), (2.0, 20.0), (300.0, 2400.0)))
    workload = replace(scenario.workload, writes_progress=True, spoil=spoils[name], upload_seconds=upload)
    # What lies about the progress may cost the work between two saves more than was planned.
    lost = 2 * scenario.job.checkpoint_every_seconds + upload[1]
    return replace(scenario, workload=workload, late_allowed=scenario.late_allowed + lost + MARGIN)


def _abort(scenario: Scenario, random: Random) -> Scenario:
    """A person aborts the execution in the console; half the time no event tells of it."""
    plan = replace(scenario.plan, lost_ends=random.random() < 0.5)
    at = random.choice((random.uniform(0, 30.0), random.uniform(0, scenario.window)))
    return replace(scenario, plan=plan, abort_at=at, model_expected=False)


def _crash(scenario: Scenario, random: Random) -> Scenario:
    """The execution dies of itself; half the time no event tells of it."""
    plan = replace(scenario.plan, lost_ends=random.random() < 0.5)
    at = random.choice((random.uniform(1.0, 30.0), random.uniform(0, scenario.window)))
    return replace(scenario, plan=plan, crash_at=at, late_allowed=scenario.late_allowed + 2 * MARGIN)


def _second(scenario: Scenario, random: Random, concurrency: str) -> Scenario:
    job = scenario.job.model_copy(update={"concurrency": type(scenario.job.concurrency)(concurrency)})
    # Whole minutes: the names of scheduled runs have no seconds.
    at = round(random.uniform(1, scenario.window / MINUTE)) * MINUTE
    plan = replace(scenario.plan, stretched_share=0.02)
    expected = scenario.model_expected and concurrency == "forbid"
    return replace(
        scenario, job=job, plan=plan, starts_at=(scenario.starts_at[0], at), model_expected=expected
    )


def _second_forbid(scenario: Scenario, random: Random) -> Scenario:
    return _second(scenario, random, "forbid")


def _second_replace(scenario: Scenario, random: Random) -> Scenario:
    return _second(scenario, random, "replace")


def _then_the_next(scenario: Scenario, random: Random, at: float) -> Scenario:
    """A run of the same job begins minutes after something happened to the one before."""
    concurrency = random.choice(("forbid", "forbid", "replace", "allow"))
    job = scenario.job.model_copy(update={"concurrency": type(scenario.job.concurrency)(concurrency)})
    begin = (at // MINUTE + random.choice((1, 1, 2, 5, 15, 60, 150))) * MINUTE
    # Either of the two may be the one that makes the model.
    return replace(scenario, job=job, starts_at=(scenario.starts_at[0], begin), model_expected=False)


def _crash_then_next(scenario: Scenario, random: Random) -> Scenario:
    """The execution dies of itself, and the job's next run begins."""
    scenario = _crash(scenario, random)
    return _then_the_next(scenario, random, scenario.crash_at or 0.0)


def _abort_then_next(scenario: Scenario, random: Random) -> Scenario:
    """A person aborts the execution, and the job's next run begins."""
    scenario = _abort(scenario, random)
    return _then_the_next(scenario, random, scenario.abort_at or 0.0)


def _person_stops(scenario: Scenario, random: Random) -> Scenario:
    at = random.choice((random.uniform(0, 60.0), random.uniform(0, scenario.window)))
    plan = replace(scenario.plan, stretched_share=0.02)
    return replace(scenario, plan=plan, stop_at=at, model_expected=False)


def _skew(scenario: Scenario, random: Random) -> Scenario:
    """The functions' clocks are up to two minutes before or behind the services'."""
    skew = {name: random.uniform(-45, 45) for name in FUNCTION_NAMES}
    plan = replace(scenario.plan, skew_seconds=skew)
    return replace(scenario, plan=plan, late_allowed=scenario.late_allowed + 5 * MINUTE)


def _odd_refusals(scenario: Scenario, random: Random) -> Scenario:
    """A service refuses for minutes what it never refused before: a policy was edited, a key disabled."""
    begin = random.choice((random.uniform(0, scenario.window), max(0.0, scenario.last_safe_moment - MINUTE)))
    length = random.choice((1, 5, 15)) * MINUTE
    service = random.choice(("sagemaker", "dynamodb", "s3", "events", "states", "sns"))
    burst = Burst(service, "", begin, begin + length, 10**9, odd=random.choice(sorted(odd.REFUSALS)))
    plan = replace(scenario.plan, bursts=(*scenario.plan.bursts, burst))
    return replace(scenario, plan=plan, late_allowed=scenario.late_allowed + length + MARGIN)


def _odd_answers(scenario: Scenario, random: Random) -> Scenario:
    """DescribeTrainingJob leaves fields out, has new states, another zone, or odd reasons."""
    known = odd.descriptions()
    name = random.choice(sorted(known))
    own = Random(f"{scenario.seed} odd")
    habits = replace(scenario.habits, describes=lambda answer: known[name](answer, own))
    return replace(scenario, habits=habits, late_allowed=scenario.late_allowed + HOUR)


def _odd_history(scenario: Scenario, random: Random) -> Scenario:
    """Older code, or half of it, has left the records of the job's past runs."""
    capacity = scenario.job.capacity
    types = [spec.instance_type for spec in (*capacity.spot, *capacity.on_demand)]
    past = tuple(odd.old_summaries(random, scenario.job.name, types))
    # What past runs teach may be wrong here.
    return replace(scenario, old_summaries=past, model_expected=False)


def _large_request(scenario: Scenario, random: Random) -> Scenario:
    """The job has as many hyperparameters as `validate` lets pass."""
    request = {**scenario.job.training_job}
    size = random.choice((40, 60, 70))
    request["HyperParameters"] = {f"parameter-{n:03d}": "x" * 2500 for n in range(size)}
    job = scenario.job.model_copy(update={"training_job": request})
    return replace(scenario, job=job)


def _resumed(scenario: Scenario, random: Random) -> Scenario:
    """The first run ends, or goes on, and a person lets another one continue from its checkpoints."""
    how = random.choice((_abort, _person_stops, _crash, _failures))
    scenario = how(scenario, random)
    after = scenario.abort_at or scenario.stop_at or scenario.crash_at or scenario.window / 2
    at = after + random.choice((1.0, 20.0, 90.0, 400.0, 3000.0, 9000.0))
    return replace(scenario, resumes_at=at, model_expected=False)


def _queue(scenario: Scenario, random: Random) -> Scenario:
    """On-demand queues for up to 90 minutes, or a type has none at all, or no quota."""
    names = [spec.instance_type for spec in scenario.job.capacity.on_demand]
    queues = dict(scenario.market.queues)
    queues[names[0]] = random.uniform(20, 90) * MINUTE
    no_capacity: dict[str, float] = {}
    allowed = queues[names[0]] + MARGIN
    if len(names) > 1 and random.random() < 0.5:
        no_capacity[names[0]] = random.uniform(5, 40) * MINUTE
        allowed += HOUR
    quotas = {}
    if random.random() < 0.3:
        quotas[f"{scenario.job.capacity.spot[0].instance_type} for spot training job usage"] = 0
    market = replace(scenario.market, queues=queues, no_capacity=no_capacity, quotas=quotas)
    # A second type may get its turn, and the first one its own again.
    allowed *= 1 if len(names) == 1 else 3
    return replace(scenario, market=market, late_allowed=scenario.late_allowed + allowed)


def _failures(scenario: Scenario, random: Random) -> Scenario:
    """The script fails, or SageMaker says something that nobody has heard yet."""
    reason = random.choice(
        (
            'AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "RuntimeError: loss is nan"',
            "AlgorithmError: the words CapacityError and Throttling are the user's own here",
            "ClientError: Please use an instance type with more memory, or reduce the size of training data",
            "ClientError: Data download failed: S3Uri does not exist",
            "MysteryError: something that nobody has heard of",
            "",
        )
    )
    at = random.randint(1, scenario.workload.total_steps)
    workload = replace(scenario.workload, fails_at_step=at, failure=reason)
    return replace(scenario, workload=workload, model_expected=False)


def _service_faults(scenario: Scenario, random: Random) -> Scenario:
    """SageMaker's own InternalServerError in the first job or two."""
    own, most = Random(f"{scenario.seed} internal"), random.choice((1, 1, 2))
    known: dict[str, float | None] = {}

    def after(name: str) -> float | None:
        if name not in known:
            count = sum(each is not None for each in known.values())
            known[name] = own.uniform(60, scenario.job.work_seconds / 2) if count < most else None
        return known[name]

    habits = replace(scenario.habits, internal_error_after=after)
    # The second of the same in the same phase ends a run, by the rules.
    expected = scenario.model_expected and most == 1
    lost = scenario.job.work_seconds
    return replace(
        scenario, habits=habits, model_expected=expected, late_allowed=scenario.late_allowed + lost + MARGIN
    )


def _old_ledger(scenario: Scenario, random: Random) -> Scenario:
    """An older version of the code wrote the ledger; a deployment comes while the run goes on."""
    return replace(scenario, old_code_until=random.uniform(0, scenario.window))


def _tight_runtime(scenario: Scenario, random: Random) -> Scenario:
    """The request's MaxRuntimeInSeconds is about as long as the work, as in many examples on the web."""
    request = {**scenario.job.training_job}
    seconds = round(scenario.job.work_seconds * random.choice((1.0, 1.1, 1.3)))
    request["StoppingCondition"] = {"MaxRuntimeInSeconds": seconds}
    job = scenario.job.model_copy(update={"training_job": request})
    # It caps what the run pays for: work that is longer has no model.
    return replace(scenario, job=job, model_expected=False)


def _mixed(scenario: Scenario, random: Random) -> Scenario:
    """Two to four kinds of faults at once, and now and then an end that somebody wants, or a crash."""
    for name in random.sample(sorted(_FAULTS), random.choice((2, 3, 3, 4))):
        scenario = _FAULTS[name](scenario, random)
    if random.random() < 0.4:
        name = random.choice(sorted(_ENDS))
        scenario = _ENDS[name](scenario, random)
    return scenario


_FAULTS: dict[str, Family] = {
    "kill": _kill,
    "lost answers": _lost_answers,
    "throttles": _throttles,
    "stops refused": _stops_refused,
    "stops hang": _stops_hang,
    "slow stops": truths.slow_stops,
    "slow uploads": truths.slow_uploads,
    "stale hosts": truths.stale_hosts,
    "away": _away,
    "away at the worst moment": _away_at_the_worst_moment,
    "events": _events,
    "doubt": _doubt,
    "visible late": _visible_late,
    "progress": _progress,
    "skew": _skew,
    "queue": _queue,
    "crash": _crash,
    "old ledger": _old_ledger,
    "odd refusals": _odd_refusals,
    "odd answers": _odd_answers,
    "second run, forbid": _second_forbid,
}
_ENDS: dict[str, Family] = {
    "crash, then the next run": _crash_then_next,
    "abort, then the next run": _abort_then_next,
    "second run, replace": _second_replace,
    "resumed run": _resumed,
    "person stops": _person_stops,
    "abort": _abort,
    "failures": _failures,
}
FAMILIES: dict[str, Family] = {
    "none": _none,
    "kill": _kill,
    "lost answers": _lost_answers,
    "throttles": _throttles,
    "stops refused": _stops_refused,
    "stops hang": _stops_hang,
    "away": _away,
    "away at the worst moment": _away_at_the_worst_moment,
    "events": _events,
    "doubt": _doubt,
    "visible late": _visible_late,
    "progress": _progress,
    "abort": _abort,
    "crash": _crash,
    "crash, then the next run": _crash_then_next,
    "abort, then the next run": _abort_then_next,
    "second run, forbid": _second_forbid,
    "second run, replace": _second_replace,
    "person stops": _person_stops,
    "skew": _skew,
    "queue": _queue,
    "failures": _failures,
    "service faults": _service_faults,
    "old ledger": _old_ledger,
    "odd refusals": _odd_refusals,
    "odd answers": _odd_answers,
    "odd history": _odd_history,
    "large request": _large_request,
    "tight runtime limit": _tight_runtime,
    "resumed run": _resumed,
    "slow stops": truths.slow_stops,
    "slow uploads": truths.slow_uploads,
    "stale hosts": truths.stale_hosts,
    "mixed": _mixed,
}


# Where several faults meet is most to be found.
_TURNS = (*FAMILIES, "mixed", "mixed", "mixed")


def kind_of(seed: int) -> str:
    """The family of a seed: all in turn."""
    return _TURNS[seed % len(_TURNS)]


def scenario_of(seed: int, kind: str | None = None) -> Scenario:
    """The world of a seed."""
    kind = kind or kind_of(seed)
    scenario, random = quiet(seed, kind)
    # A stream of its own: another question changes nothing else of a seed.
    return truths.after_all(FAMILIES[kind](scenario, random), Random(f"{seed} {kind} truths"))
