"""Folds the progress files into the ledger: what is durable, and whether resumes and interruptions bring more."""

from __future__ import annotations

from datetime import datetime
from math import ceil

from nightspot.formats.statuses import Secondary
from nightspot.run import estimates
from nightspot.run.model import BEFORE_THE_FIRST, Attempt, Progress, Resume, Run, evolve


def fold(before: Run, run: Run) -> Run:
    """`run`, a look after `before`, with what its progress file says of its newest attempt."""
    return with_proof(before, with_fruits(before, with_long_stretch(_with_pace(run))))


def with_progress(run: Run, seen: Progress) -> Run:
    """`run` with what is durable now.

    What is older than what was seen before is not news: the newer file is on its way, or one of several hosts has
    uploaded its old copy.
    """
    if run.progress is not None and seen.is_older_than(run.progress):
        return run
    return evolve(run, progress=own_or_inherited(run, seen))


def with_delay(run: Run, now: datetime) -> Run:
    """`run` with how far what is safe was seen to be behind the training, at its longest.

    What the machine has saved is safe once it is uploaded, and AWS does not say how long that takes: so an
    interruption can take more than one checkpoint interval. How much more is not known before it is seen.
    """
    attempt, progress = run.open_attempt, run.progress
    if attempt is None or attempt.secondary_status != Secondary.TRAINING or attempt.state_since is None:
        return run
    if progress is None or progress.attempt != attempt.number:
        return run  # until its first word nobody knows whether it has one to say
    behind = (now - max(attempt.state_since, progress.saved_at)).total_seconds()
    return evolve(run, behind_seconds=behind) if behind > run.behind_seconds else run


def own_or_inherited(run: Run, progress: Progress) -> Progress:
    """`progress`; where it is still what the run that `run` resumes has left, as the plan took it over."""
    if run.inherited is None or _written_by(progress) != _written_by(run.inherited):
        return progress
    return evolve(run.inherited, attempt=BEFORE_THE_FIRST)  # its attempts are not ours


def _written_by(progress: Progress) -> tuple[object, ...]:
    # Nobody else writes there: the file is another one as soon as a process of this run has begun.
    return (
        progress.step,
        progress.saved_at,
        progress.process_started_at,
        progress.attempt,
        progress.resumed_from_step,
    )


def _with_pace(run: Run) -> Run:
    progress = run.progress
    attempt = run.last_attempt
    if progress is None or attempt is None or not attempt.was_created:
        return run
    attempt = evolve(attempt, step_after=progress.step)
    if progress.attempt == attempt.number:
        resumed = progress.resumed_from_step
        pace = attempt.seconds_per_step if _pace_is_older(progress) else progress.seconds_per_step
        known = [each for each in (pace, attempt.best_seconds_per_step) if each is not None]
        attempt = evolve(
            attempt,
            resumed_from_step=attempt.resumed_from_step if resumed is None else resumed,
            seconds_per_step=pace,
            best_seconds_per_step=min(known, default=None),
        )
    return run.with_attempt(attempt)


def with_long_stretch(run: Run) -> Run:
    """`run` with the pace of the stretch that goes on, if that is long enough.

    The lowest, because a pace that falls is the machine's doing, and another machine will not have it.
    """
    progress, attempt = run.progress, run.last_attempt
    if progress is None or attempt is None or progress.attempt != attempt.number or _pace_is_older(progress):
        return run
    done, pace = progress.step - (progress.resumed_from_step or 0), progress.seconds_per_step
    if pace is None or not estimates.is_share(done, progress.total_steps, estimates.LONG_STRETCH_SHARE):
        return run
    known = [pace * attempt.rung.speed, run.paced_seconds_per_step]
    return evolve(run, paced_seconds_per_step=min(each for each in known if each is not None))


def with_fruits(before: Run, run: Run) -> Run:
    """`run` with the interruptions counted between which nothing new became durable: a market that only takes."""
    attempt = run.last_attempt
    if attempt is None or not attempt.was_created:
        return run
    known = next((a.interruptions for a in before.attempts if a.number == attempt.number), 0)
    counted = kept_work(attempt, known, safe_point(run))
    return run if counted is attempt else run.with_attempt(counted)


def kept_work(attempt: Attempt, known_interruptions: int, point: float) -> Attempt:
    """`attempt` with what has come of its interruptions, `point` being how far the durable checkpoint is now."""
    if point > attempt.safe_point:
        seconds = attempt.trained_seconds
        return evolve(attempt, safe_point=point, safe_seconds=seconds, fruitless_interruptions=0)
    more = attempt.interruptions - known_interruptions
    return (
        evolve(attempt, fruitless_interruptions=attempt.fruitless_interruptions + more) if more else attempt
    )


def safe_point(run: Run) -> float:
    """How far the durable checkpoint is: its step, or a fraction of the work where no steps are visible."""
    return float(run.progress.step) if run.progress else estimates.durable_fraction(run)


def _pace_is_older(progress: Progress) -> bool:
    """True where the pace was carried over from the attempt that was resumed, perhaps on another machine."""
    return progress.seconds_per_step is None or progress.step == progress.resumed_from_step


def with_proof(before: Run, run: Run) -> Run:
    """`run` with its last attempt's resume judged; `before` is the ledger of the look before this one.

    The library writes the progress file as soon as it has restored, and names the step. So a process that takes up
    the training shows as a file whose `resumed_from` is new.
    """
    attempt = run.last_attempt
    if attempt is None or not attempt.was_created or run.checkpoint_s3_uri is None:
        return _with_furthest(run)
    verdict = _judge(before, run, attempt)
    if verdict is not attempt.resume:
        run = run.with_attempt(evolve(attempt, resume=verdict))
    return _with_furthest(run)


def _with_furthest(run: Run) -> Run:
    step = run.progress.step if run.progress else 0
    return evolve(run, furthest_step=step) if step > run.furthest_step else run


def _judge(before: Run, run: Run, attempt: Attempt) -> Resume | None:
    if attempt.resume is Resume.BROKEN:
        return Resume.BROKEN
    progress = run.progress
    if progress is None or progress.attempt is None:
        was_cut = (
            attempt.interruptions > 0
            or run.inherited_fraction > 0
            or any(a.trained_seconds > 0 for a in run.attempts[:-1])
        )
        has_trained = attempt.worked_seconds is None or attempt.worked_seconds > 0
        return Resume.NOT_VISIBLE if was_cut and has_trained and progress is None else attempt.resume
    if before.furthest_step == 0:
        return attempt.resume  # nothing had been saved that could have been resumed from
    if progress.attempt != attempt.number:
        # Its own first word may take as long as its first checkpoint.
        silent = (attempt.worked_seconds or 0.0) > 2 * run.checkpoint_every_seconds
        return Resume.NOT_VISIBLE if silent and attempt.step_before else attempt.resume
    return _of_file(before, run, attempt, progress)


def _of_file(before: Run, run: Run, attempt: Attempt, progress: Progress) -> Resume | None:
    """The verdict on a progress file that the attempt itself has written."""
    slack = _steps_of_an_interval(run, attempt, progress)
    if progress.step + slack < before.furthest_step:
        return Resume.BROKEN
    if not _is_of_a_new_process(before.progress, progress):
        return attempt.resume
    if progress.resumed_from_step is None:
        return Resume.BROKEN
    return Resume.PROVEN if progress.resumed_from_step + slack >= before.furthest_step else Resume.BROKEN


def _is_of_a_new_process(known: Progress | None, progress: Progress) -> bool:
    """Whether another process has written the file than the one that was seen before."""
    if known is None:
        return True
    if progress.process_started_at is not None and known.process_started_at is not None:
        return progress.process_started_at != known.process_started_at
    # An older library does not say; a start from nothing within one job is then seen by its lower steps only.
    resumed = progress.resumed_from_step
    return known.attempt != progress.attempt or resumed not in (None, known.resumed_from_step)


def _steps_of_an_interval(run: Run, attempt: Attempt, progress: Progress) -> int:
    """How far back a restored step may lie: one checkpoint, because SageMaker uploads files in no promised order.

    Where the pace is not known, anything but a start from nothing is believed.
    """
    pace = attempt.best_seconds_per_step or progress.seconds_per_step
    if not pace:
        return max(0, run.furthest_step - 1)
    return ceil(run.checkpoint_every_seconds / pace)
