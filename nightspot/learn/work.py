"""How long the work takes, learnt from past runs: on which machine, and whether anything disturbed it.

A figure is never believed of another machine than the one that it was measured on: what is observed is seconds
on a type, and the paces of two types make a speed. Interruptions are no work: runs that nothing cut short come
first, and what had to be done again is left out. Below `FEWEST` such runs the job file's figures stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import fsum
from statistics import median
from typing import TYPE_CHECKING

from nightspot.costs.lost_work import Evidence
from nightspot.job.markets import Market
from nightspot.learn.estimators import FEWEST, MOST_ODD_SHARE, common_limit, upper_limit
from nightspot.record.model import AttemptRecord, RunRecord
from nightspot.run.model import MOST_WORK_SECONDS

if TYPE_CHECKING:
    from nightspot.job.model import Job

# Before there is any history, and above what few runs say. Planning on work + 20 % left no night of 5,100 late on
# the traces that this project was designed on.
UNLEARNT_WORK_MARGIN = 1.2
_MOST_OVERHEAD = 3.0  # times the middle one
_SHARE_MARGIN = 1.1  # above the share of all steps that nine in ten runs came to
_SLOWEST, _FASTEST = 0.01, 100.0  # as a job file may state a speed


@dataclass(frozen=True)
class WorkSeen:
    """What one run that has a model says of the work, in seconds on a machine type."""

    run: RunRecord
    instance_type: str
    seconds: float  # the most that it was: where it is only estimated how much was done again, all that was trained
    least_seconds: float
    is_disturbed: bool  # reclaimed or stopped on its way

    @property
    def is_exact(self) -> bool:
        return self.seconds == self.least_seconds


@dataclass(frozen=True)
class LearntSpeed:
    """How fast a type trains, over the type that `work` is stated for."""

    speed: float
    stated: float  # in the job file
    paces: int = 0  # of how many attempts or runs it is measured; 0: the stated one stands


@dataclass(frozen=True)
class LearntWork:
    """The work at speed 1 in seconds, and what else past runs teach of it.

    `seen` is what the figures rest on, newest first; with none, the job file's stand.
    """

    expected_seconds: float
    upper_seconds: float
    spare_seconds: float = 0.0  # what the job file would plan with, less what is planned with
    seen: tuple[WorkSeen, ...] = ()
    longest: WorkSeen | None = None  # the one of `seen` that sets the limit
    odd: tuple[WorkSeen, ...] = ()  # those of `seen` that have no say in it: they are far above the rest
    overhead_seconds: float = 0.0  # of the work, before the first step and after the last
    steps_share: float = 1.0  # of all steps, where the training stops early
    speeds: Mapping[str, LearntSpeed] = field(default_factory=dict)  # by instance type of the job's ladder


def learnt_work(job: Job, work_key: str, history: Iterable[RunRecord]) -> LearntWork:
    """What to plan a run of `job` with, from its past runs (newest first) with the same work to do.

    Pure, and nothing in a record raises. `work_key`: see `identity.work_key_of`.
    """
    runs = [run for run in history if run.work_key == work_key and run.has_model and not run.forgotten]
    speeds = _speeds(job, runs)
    seen = [each for run in runs for each in _seen(run, job.instance_count, speeds)]
    learnt = LearntWork(
        float(job.work_seconds),
        job.work_seconds * UNLEARNT_WORK_MARGIN,
        overhead_seconds=_overhead_seconds(job, runs, speeds),
        steps_share=_steps_share(runs),
        speeds=speeds,
    )
    chosen = _chosen(seen, job)
    if chosen:
        learnt = _with_limit(learnt, chosen)
    learnt = _not_below_what_was_seen(
        learnt, [each for each in seen if not each.is_exact or each not in chosen]
    )
    return replace(learnt, spare_seconds=job.work_seconds * UNLEARNT_WORK_MARGIN - learnt.upper_seconds)


def what_it_says(run: RunRecord, job: Job, learnt: LearntWork) -> WorkSeen | None:
    """What one run of the same work says of it; None: nothing."""
    return next(_seen(run, job.instance_count, learnt.speeds), None) if run.has_model else None


def _seen(run: RunRecord, instance_count: int, speeds: Mapping[str, LearntSpeed]) -> Iterator[WorkSeen]:
    """What a run says of the work; nothing where machines took part that the job does not have."""
    trained = [attempt for attempt in run.attempts if attempt.trained_seconds]
    if not trained or run.resume_from is not None:
        return  # another run has done a part of it
    if any(a.instance_count != instance_count or a.instance_type not in speeds for a in trained):
        return
    last, kept = trained[-1], [_kept_seconds(attempt) for attempt in trained]
    if any(each is None for each in kept):
        return
    # As the last machine would have done it alone.
    own = speeds[last.instance_type].speed
    most, least = (
        fsum(
            each[bound] * speeds[attempt.instance_type].speed / own
            for each, attempt in zip(kept, trained, strict=True)
            if each is not None
        )
        for bound in (0, 1)
    )
    if least > 0:
        yield WorkSeen(run, last.instance_type, most, least, is_disturbed=_alone(run) is None)


def _kept_seconds(attempt: AttemptRecord) -> tuple[float, float] | None:
    """The most and the least of its training time that came to something; None: not known."""
    trained, starting, repeated = attempt.trained_seconds, attempt.starting_seconds, attempt.repeated_seconds
    if trained is None or starting is None or repeated is None:
        return None
    worked = max(0.0, trained - starting)
    if attempt.repeated_evidence is Evidence.MEASURED:
        return (max(0.0, worked - repeated),) * 2
    # Half an interval is what an interruption is taken to cost, and a whole one what it may.
    return worked, max(0.0, worked - 2 * repeated)


def _chosen(seen: Sequence[WorkSeen], job: Job) -> list[WorkSeen]:
    """The best of which there is enough: undisturbed on the type that `work` is stated for, first.

    Where little is exact, the half that is known best.
    """
    exact = [each for each in seen if each.is_exact]
    own = [each for each in exact if each.instance_type == job.capacity.first.instance_type]
    best = sorted(seen, key=lambda each: (each.seconds - each.least_seconds) / each.seconds)
    choices = (
        [each for each in own if not each.is_disturbed],
        [each for each in exact if not each.is_disturbed],
        own,
        exact,
        best[: max(FEWEST, len(best) // 2)],
    )
    return next((choice for choice in choices if len(choice) >= FEWEST), [])


def _with_limit(learnt: LearntWork, seen: Sequence[WorkSeen]) -> LearntWork:
    values = [_at_speed_1(each, each.seconds, learnt) for each in seen]
    limit = upper_limit(values, cap=learnt.upper_seconds)
    # The most that it may have been is no proof that the job file says too little.
    most = MOST_WORK_SECONDS if all(each.is_exact for each in seen) else learnt.upper_seconds
    longest = max((n for n in range(len(seen)) if n not in limit.odd), key=lambda n: values[n])
    return replace(
        learnt,
        expected_seconds=median(
            _at_speed_1(each, (each.seconds + each.least_seconds) / 2, learnt) for each in seen
        ),
        upper_seconds=min(most, limit.value),
        seen=tuple(seen),
        longest=seen[longest],
        odd=tuple(seen[n] for n in limit.odd),
    )


def _at_speed_1(seen: WorkSeen, seconds: float, learnt: LearntWork) -> float:
    return seconds * learnt.speeds[seen.instance_type].speed


def _not_below_what_was_seen(learnt: LearntWork, others: Sequence[WorkSeen]) -> LearntWork:
    """`learnt`, or more, where more runs than exceptions can be have shown to take longer than it says.

    The runs that nothing disturbs are rather the short ones.
    """
    least = {each.run.run_id: _at_speed_1(each, each.least_seconds, learnt) for each in others}
    above = sorted(
        (each for each in others if least[each.run.run_id] > learnt.upper_seconds),
        key=lambda each: least[each.run.run_id],
    )
    known = {each.run.run_id for each in (*learnt.seen, *others)}
    if len(above) < FEWEST or len(above) <= MOST_ODD_SHARE * len(known):
        return learnt
    middle = above[len(above) // 2]
    return replace(
        learnt,
        upper_seconds=min(MOST_WORK_SECONDS, least[middle.run.run_id]),
        seen=(*learnt.seen, *(each for each in above if each not in learnt.seen)),
        longest=middle,
    )


def _speeds(job: Job, runs: Sequence[RunRecord]) -> dict[str, LearntSpeed]:
    """By type of the ladder: its pace over that of the type that `work` is stated for; else as stated."""
    first, speeds = job.capacity.first, dict[str, LearntSpeed]()
    by_steps, by_runs = _step_paces(job, runs), _run_paces(job, runs)
    for spec in (spec for market in Market for spec in job.capacity.rungs_of(market)):
        learnt = LearntSpeed(spec.speed, spec.speed)
        for paces in (by_runs, by_steps):  # the latter, where there are enough
            own, its = paces.get(first.instance_type, []), paces.get(spec.instance_type, [])
            if spec.instance_type != first.instance_type and min(len(own), len(its)) >= FEWEST:
                speed = min(_FASTEST, max(_SLOWEST, first.speed * median(own) / median(its)))
                learnt = LearntSpeed(speed, spec.speed, len(its))
        speeds.setdefault(spec.instance_type, learnt)
    return speeds


def _step_paces(job: Job, runs: Iterable[RunRecord]) -> dict[str, list[float]]:
    """Seconds for a step, by type."""
    paces: dict[str, list[float]] = {}
    for attempt in (attempt for run in runs for attempt in run.attempts):
        if attempt.instance_count == job.instance_count and attempt.seconds_per_step:
            paces.setdefault(attempt.instance_type, []).append(attempt.seconds_per_step)
    return paces


def _run_paces(job: Job, runs: Iterable[RunRecord]) -> dict[str, list[float]]:
    """Seconds for the whole work, by type, of the runs that nothing disturbed."""
    paces: dict[str, list[float]] = {}
    for run in runs:
        attempt = _alone(run)
        kept = _kept_seconds(attempt) if attempt is not None else None
        if attempt is not None and kept and kept[1] and attempt.instance_count == job.instance_count:
            paces.setdefault(attempt.instance_type, []).append(kept[1])
    return paces


def _alone(run: RunRecord) -> AttemptRecord | None:
    """The only attempt of a run that trained, where nothing cut it short and nobody had begun before it."""
    trained = [attempt for attempt in run.attempts if attempt.trained_seconds]
    is_alone = len(trained) == 1 and not trained[0].interruptions and run.resume_from is None
    return trained[0] if is_alone else None


def _overhead_seconds(job: Job, runs: Iterable[RunRecord], speeds: Mapping[str, LearntSpeed]) -> float:
    """An upper figure of what training takes beside its steps, at speed 1; 0 before there is enough to go by."""
    past = [
        run.overhead_seconds * speeds[attempt.instance_type].speed
        for run in runs
        if run.overhead_seconds is not None
        and (attempt := _alone(run)) is not None
        and attempt.instance_type in speeds
        and attempt.instance_count == job.instance_count
    ]
    return min(common_limit(past), _MOST_OVERHEAD * median(past)) if len(past) >= FEWEST else 0.0


def _steps_share(runs: Iterable[RunRecord]) -> float:
    """The share of all steps that a training of this kind comes to; 1 before there is enough to learn from."""
    past = [run.steps_done / run.total_steps for run in runs if run.steps_done and run.total_steps]
    return min(1.0, _SHARE_MARGIN * common_limit(past)) if len(past) >= FEWEST else 1.0
