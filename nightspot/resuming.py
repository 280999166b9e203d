"""Decides whether training went on from its checkpoint: what the progress file says is held against the ledger."""

from __future__ import annotations

from math import ceil

from nightspot.run import Attempt, Progress, Resume, Run, evolve


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
