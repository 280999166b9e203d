"""How much work is left and how long it takes: upper estimates from the plan and from tonight's pace.

What the plan starts from is learnt from past runs, see `nightspot.learn`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from math import inf
from typing import Protocol

from nightspot.run.model import MOST_WORK_SECONDS, Attempt, AttemptState, Run, Rung


class Trained(Protocol):
    """An attempt, as far as its work is estimated by time: a ledger's, or a simulated night's."""

    @property
    def rung(self) -> Rung: ...
    @property
    def trained_seconds(self) -> float: ...
    @property
    def worked_seconds(self) -> float | None: ...
    @property
    def interruptions(self) -> int: ...


# A pace that was measured tonight needs less of a margin than a length that was only guessed.
MEASURED_WORK_MARGIN = 1.1
# The mean of fewer steps may lack what is not done in each of them, such as an evaluation.
LONG_STRETCH_SHARE = 1 / 8
# And until so many are done, the rest may still be slower.
SETTLED_SHARE = 1 / 4


def total_work_seconds(run: Run) -> float:
    """An upper estimate of the whole work at speed 1, from the pace seen tonight if there is one.

    Never less than planned, until a long stretch has shown its mean pace and a quarter of the steps is done.
    """
    total_steps, long_pace = planned_steps(run), run.paced_seconds_per_step
    paces = [
        pace * a.rung.speed for a in run.attempts if (pace := a.best_seconds_per_step or a.seconds_per_step)
    ]
    if run.progress is None or not total_steps or not (long_pace or paces):
        return run.work_upper_seconds
    if not long_pace:
        return max(
            run.work_upper_seconds, paced_work_seconds(min(paces) * total_steps) + run.overhead_seconds
        )
    seconds = paced_work_seconds(long_pace * total_steps) + run.overhead_seconds
    is_settled = is_share(run.progress.step, total_steps, SETTLED_SHARE)
    return seconds if is_settled else max(run.work_upper_seconds, seconds)


def planned_steps(run: Run) -> float | None:
    """The steps that the training is taken to come to: all, or where it stops early, those that it usually does.

    None where no total is known. Once it goes on beyond them, nobody knows, and all count.
    """
    progress = run.progress
    if progress is None or not progress.total_steps:
        return None
    usual = run.steps_share * progress.total_steps
    return usual if progress.step < usual else float(progress.total_steps)


def is_share(steps: int, total_steps: float | None, share: float) -> bool:
    """Whether so many steps are `share` (0..1) of all, where their number is known."""
    return bool(total_steps) and steps >= share * (total_steps or 0)


def paced_work_seconds(seconds: float) -> float:
    """An upper estimate of the whole work at speed 1 that takes so long at tonight's pace."""
    return min(MOST_WORK_SECONDS, seconds * MEASURED_WORK_MARGIN)


def durable_fraction(run: Run) -> float:
    """The part of the work that survives whatever happens now, 0..1.

    From the progress file; where the training script writes none, from the time it has trained, less one
    checkpoint interval for each time it was cut short, and what the run that it resumes had done by then. Nothing,
    once a resume has failed.
    """
    if run.checkpoint_s3_uri is None or run.resume_is_broken:
        return 0.0
    progress = run.progress
    if progress is not None:
        all_steps, planned = progress.total_steps, planned_steps(run)
        usual = all_steps / planned if all_steps and planned else 1.0
        if progress.fraction is not None:
            return min(1.0, max(0.0, progress.fraction) * usual)
        if planned:
            return min(1.0, progress.step / planned)
    return trained_fraction(run, run.attempts)


def trained_fraction(plan: Run, attempts: Iterable[Trained]) -> float:
    """The same from the time that these attempts have trained, 0..1."""
    done = plan.inherited_fraction * plan.work_upper_seconds
    for attempt in attempts:
        cuts = attempt.interruptions + 1  # the stretch that runs now may be cut as well
        # A start-up does no work.
        worked = attempt.trained_seconds if attempt.worked_seconds is None else attempt.worked_seconds
        kept = worked - cuts * plan.checkpoint_every_seconds
        done += max(0.0, kept) * attempt.rung.speed
    return min(1.0, done / plan.work_upper_seconds)


def work_seconds(run: Run) -> float:
    """Upper estimate of the work left at speed 1, taken up from the durable checkpoint."""
    return _left_of(run, total_work_seconds(run))


def expected_work_seconds(run: Run) -> float:
    """The work left at speed 1 as the plan expects it, without a margin."""
    return _left_of(run, run.work_seconds)


def _left_of(run: Run, work: float) -> float:
    """What is left of so much work; what a script does beside its steps, it does again on another machine."""
    overhead = min(work, run.overhead_seconds)
    return (work - overhead) * (1.0 - durable_fraction(run)) + overhead


def at_speed(work: float, speed: float) -> float:
    """The training time that so much work takes, in seconds."""
    return min(MOST_WORK_SECONDS, work / speed)


def work_left_seconds(run: Run, rung: Rung) -> float:
    """Upper estimate of the training time left on `rung`."""
    return at_speed(work_seconds(run), rung.speed)


def machine_seconds(run: Run, attempt: Attempt) -> float:
    """Estimate of the training time from the durable checkpoint to the model on the machine that `attempt` has."""
    progress, planned = run.progress, planned_steps(run)
    if attempt.seconds_per_step and progress is not None and planned:
        steps_left = planned - progress.step
        # What comes before the first step is behind it, and what comes after the last is not known by itself.
        beside = 0.0 if steps_left > 0 else at_speed(run.overhead_seconds, attempt.rung.speed)
        return min(MOST_WORK_SECONDS, max(0.0, steps_left) * attempt.seconds_per_step + beside)
    return work_left_seconds(run, attempt.rung)


def running_left_seconds(run: Run, attempt: Attempt, now: datetime) -> float:
    """Estimate of the training time left on the machine that `attempt` has, if nothing happens to it."""
    left = machine_seconds(run, attempt)
    if attempt.state is not AttemptState.TRAINING or attempt.state_since is None:
        return left
    since = _trains_since(run, attempt, attempt.state_since, now)
    # The estimate by training time already counts this stretch.
    return left if since is None else max(0.0, left - (now - since).total_seconds())


def checkpoint_in_seconds(run: Run, attempt: Attempt, now: datetime) -> float:
    """How soon what `attempt` trains should be safe: at its next checkpoint, or at its end. 0: it is due."""
    left, interval = running_left_seconds(run, attempt, now), interval_seconds(run)
    if attempt.state is not AttemptState.TRAINING or attempt.state_since is None or interval == inf:
        return left
    since = _trains_since(run, attempt, attempt.state_since, now) or attempt.state_since
    return min(left, max(0.0, interval - (now - since).total_seconds()))


def _trains_since(run: Run, attempt: Attempt, state_since: datetime, now: datetime) -> datetime | None:
    """Since when what is trained is not safe; None where that is estimated by training time."""
    progress = run.progress
    if progress is not None and progress.attempt == attempt.number:
        return min(now, max(state_since, progress.saved_at))  # the machine's clock may be wrong
    return None if progress is None and run.checkpoint_s3_uri is not None else state_since


def interval_seconds(run: Run) -> float:
    """The most work that a reclaim can take: what was done since the last checkpoint in S3. inf: all of it.

    No upload takes any time until one was seen to.
    """
    if run.checkpoint_s3_uri is None or run.resume_is_broken:
        return inf
    return max(float(run.checkpoint_every_seconds), run.behind_seconds)


def lost_work_seconds(run: Run, rung: Rung) -> float:
    """The same on `rung`, where no more than the work left can be lost."""
    return min(interval_seconds(run), work_left_seconds(run, rung))
