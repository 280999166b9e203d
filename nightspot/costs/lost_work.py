"""What came of an attempt's training: how much of it the run has kept, and how much was in vain.

From the durable steps and their pace where progress is visible; else estimated from the checkpoint interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import floor

from nightspot.run.model import Attempt, Resume, Run

# A machine is taken at any moment between two checkpoints alike, so half an interval is lost on average.
LOST_SHARE_OF_INTERVAL = 0.5


class Evidence(StrEnum):
    """How a figure about lost work is known."""

    MEASURED = "measured"  # from durable steps and their pace, or nothing was cut short
    ESTIMATED = "estimated"  # from the checkpoint interval, or from the work that the plan expected


@dataclass(frozen=True)
class KeptWork:
    """What came of one attempt's training. Seconds on its own rung; None: SageMaker does not say.

    `repeated_seconds`: what was trained before and had to be trained again, or was lost with the attempt's end.
    """

    kept_seconds: float | None
    repeated_seconds: float | None
    evidence: Evidence | None


def training_seconds(attempt: Attempt) -> float | None:
    """Seconds in which the attempt trained, without its start-ups where they can be told apart."""
    if attempt.worked_seconds is not None:
        return attempt.worked_seconds
    return None if lacks_training_time(attempt) else attempt.trained_seconds


def lacks_training_time(attempt: Attempt) -> bool:
    """True where SageMaker gave neither TrainingTimeInSeconds nor the transitions to count it from."""
    return (
        not attempt.is_open
        and attempt.was_created
        and attempt.trained_seconds == 0
        and attempt.worked_seconds is None
    )


def kept_work_of(run: Run) -> dict[int, KeptWork]:
    """By attempt number. The kept seconds of all attempts times their speeds are the work that the run holds."""
    steps = _kept_steps(run)
    pace = _mean_pace(run, steps)
    return {a.number: _kept_work(run, a, _kept_by_steps(a, steps, pace)) for a in run.attempts}


def delivered_step(run: Run) -> int:
    """The last step that the run holds: the durable one, and of a model also what was trained after its save.

    A script may stop long before `total_steps` and exit with 0. So a model has them all only where they lay within
    one checkpoint interval of the last save and within the time that its attempt trained; else what is known to
    have been trained after the save is added, one interval at most.
    """
    step = run.progress.step if run.progress is not None else _first_step(run)
    last, pace = run.last_attempt, _newest_pace(run)
    if last is None or last.is_open or last.failure is not None or run.progress is None or pace is None:
        return step
    most_seconds = min(run.checkpoint_every_seconds, training_seconds(last) or 0.0)
    total = run.progress.total_steps
    if total is not None and total - step <= most_seconds / pace:
        return max(step, total)
    # Of an older ledger, or where nothing was seen to become durable, nobody knows the time.
    known_seconds = last.trained_seconds - last.safe_seconds if last.safe_point == step > 0 else 0.0
    return step + floor(max(0.0, min(known_seconds, most_seconds)) / pace)


def _newest_pace(run: Run) -> float | None:
    """Seconds a step on the newest attempt's rung; None: no attempt has shown one."""
    return next(
        (
            attempt.seconds_per_step * attempt.rung.speed / run.attempts[-1].rung.speed
            for attempt in reversed(run.attempts)
            if attempt.seconds_per_step
        ),
        None,
    )


def _kept_work(run: Run, attempt: Attempt, kept: float | None) -> KeptWork:
    trained = training_seconds(attempt)
    # A script that begins again from nothing repeats, though nothing cut this attempt short.
    broken = attempt.resume is Resume.BROKEN
    cuts = _cuts(attempt, trained)
    if trained is None:
        return KeptWork(kept, None, None)
    if kept is not None:
        kept = min(kept, trained)
        if not (cuts or broken):
            return KeptWork(kept, 0.0, Evidence.MEASURED)
        # Steps of the model that no checkpoint shows are an estimate, and what is left of the time with them.
        unsaved = attempt is run.last_attempt and run.progress and delivered_step(run) > run.progress.step
        return KeptWork(kept, trained - kept, Evidence.ESTIMATED if unsaved else Evidence.MEASURED)
    if cuts:
        return _estimate(run, attempt, trained, cuts)
    # A resume that nobody can see may have been none.
    unseen = attempt.resume is not None
    return KeptWork(trained, 0.0, Evidence.ESTIMATED if unseen else Evidence.MEASURED)


def _estimate(run: Run, attempt: Attempt, trained: float, cuts: int) -> KeptWork:
    if run.checkpoint_s3_uri is not None:
        lost = min(trained, cuts * run.checkpoint_every_seconds * LOST_SHARE_OF_INTERVAL)
        return KeptWork(trained - lost, lost, Evidence.ESTIMATED)
    if attempt.failure is not None:
        return KeptWork(0.0, trained, Evidence.MEASURED)  # without checkpoints nothing outlives its machine
    kept = min(trained, run.work_seconds / attempt.rung.speed)
    return KeptWork(kept, trained - kept, Evidence.ESTIMATED)


def _cuts(attempt: Attempt, trained: float | None) -> int:
    """How often its training was cut short, its own end without a model included."""
    if not trained:
        return 0
    ended_cut = attempt.failure is not None and not attempt.ended_waiting
    return attempt.interruptions + ended_cut


def _kept_by_steps(attempt: Attempt, steps: Mapping[int, int], mean_pace: float | None) -> float | None:
    kept = steps.get(attempt.number)
    if not kept:
        return None if kept is None else 0.0
    if attempt.seconds_per_step:
        return kept * attempt.seconds_per_step
    return None if mean_pace is None else kept * mean_pace / attempt.rung.speed


def _mean_pace(run: Run, steps: Mapping[int, int]) -> float | None:
    """Seconds a step at speed 1, by the steps that were kept: what was in vain has no say in it."""
    known = [
        (steps.get(a.number, 0), a.seconds_per_step * a.rung.speed)
        for a in run.attempts
        if a.seconds_per_step
    ]
    kept = sum(count for count, _ in known)
    return sum(count * pace for count, pace in known) / kept if kept else None


def _kept_steps(run: Run) -> dict[int, int]:
    """By attempt number, the steps that it added and no later attempt threw away; empty where none are visible.

    Told from the end: an attempt that began again from nothing and ended at a lower step takes from those before.
    """
    afters = list(_steps_after(run))
    if run.progress is None and not any(a.step_after is not None for a in run.attempts):
        return {}
    kept: dict[int, int] = {}
    ceiling = afters[-1] if afters else 0
    befores = [_first_step(run), *afters]
    for attempt, before, after in reversed(list(zip(run.attempts, befores, afters, strict=False))):
        kept[attempt.number] = max(0, min(after, ceiling) - before)
        ceiling = min(ceiling, before)
    return kept


def _steps_after(run: Run) -> Iterator[int]:
    """The durable step that each attempt left behind."""
    step = _first_step(run)
    for attempt in run.attempts:
        if attempt.step_after is not None:
            step = attempt.step_after
        if attempt is run.last_attempt and run.progress is not None:
            step = delivered_step(run)
        yield step


def _first_step(run: Run) -> int:
    """What was durable before the first attempt: the work of the run that this one resumes."""
    return run.inherited.step if run.inherited is not None else 0
