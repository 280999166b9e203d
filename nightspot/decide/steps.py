"""How the steps of a run are put together, and the figures that several reasons share."""

from __future__ import annotations

from datetime import datetime

from nightspot.costs.account import spent_usd
from nightspot.decide import ladder, limits
from nightspot.failures.redaction import redact
from nightspot.job.markets import Market
from nightspot.run import estimates
from nightspot.run.model import Action, Attempt, Outcome, Run, Rung, Step, evolve
from nightspot.run.reasons import Figure, Figures, Reason, sentence

STOPPING_LOOK_SECONDS = 5 * 60  # StopTrainingJob takes two minutes and the upload
LEAST_SECONDS = 1  # Step Functions waits for whole seconds; what is nearer than one has come


def start(
    run: Run,
    now: datetime,
    rung: Rung,
    reason: Reason,
    figures: Figures,
    look_seconds: float,
    *,
    late: bool = False,
) -> Step:
    """Ask for `rung`; look again after `look_seconds` at the latest.

    The number is the same for an attempt that is in doubt and asked for again as if it were not there.
    """
    return Step(
        number=run.steps + 1,
        at=now,
        action=Action.START,
        because=sentence(reason, figures),
        reason=reason,
        figures=figures,
        attempt=len(run.attempts) + 1,
        rung=rung,
        wait_seconds=_whole(look_seconds),
        late=late,
    )


def watch(
    run: Run,
    attempt: Attempt,
    now: datetime,
    seconds: float,
    reason: Reason,
    figures: Figures,
    *,
    late: bool = False,
) -> Step:
    """Leave `attempt` alone for at most `seconds`."""
    return Step(
        number=run.steps + 1,
        at=now,
        action=Action.WATCH,
        because=sentence(reason, figures),
        reason=reason,
        figures=figures,
        attempt=attempt.number,
        training_job_name=attempt.training_job_name,
        wait_seconds=_whole(seconds),
        late=late,
    )


def stop(
    run: Run, attempt: Attempt, now: datetime, reason: Reason, figures: Figures, *, late: bool = False
) -> Step:
    """Stop the training job of `attempt`."""
    return Step(
        number=run.steps + 1,
        at=now,
        action=Action.STOP,
        because=sentence(reason, figures),
        reason=reason,
        figures=figures,
        attempt=attempt.number,
        training_job_name=attempt.training_job_name,
        wait_seconds=STOPPING_LOOK_SECONDS,
        late=late,
    )


def pause(run: Run, now: datetime, seconds: float, reason: Reason, figures: Figures) -> Step:
    """Do nothing for `seconds`; nothing is open."""
    return Step(
        number=run.steps + 1,
        at=now,
        action=Action.PAUSE,
        because=sentence(reason, figures),
        reason=reason,
        figures=figures,
        wait_seconds=_whole(seconds),
    )


def finish(run: Run, now: datetime, outcome: Outcome, reason: Reason, figures: Figures) -> Step:
    """End the run."""
    return Step(
        number=run.steps + 1,
        at=now,
        action=Action.FINISH,
        because=sentence(reason, figures),
        reason=reason,
        figures=figures,
        outcome=outcome,
    )


def unseen(step: Step, since: datetime) -> Step:
    """`step`, decided on what was last seen: SageMaker has not answered `since` then."""
    if step.reason is None:
        return step
    figures = {**step.figures, "unseen_since_at": since.isoformat()}
    return evolve(step, figures=figures, because=sentence(step.reason, figures))


def _whole(seconds: float) -> int:
    # Down, so that a wait for a last safe moment ends before it and not behind.
    return max(LEAST_SECONDS, int(seconds + 1e-6))


def ended(attempt: Attempt, failure: Figure, *, with_text: bool = False) -> dict[str, Figure]:
    """The failure that the decision follows, with what was said of it where that is told."""
    figures: dict[str, Figure] = {"after_rung": attempt.rung.label, "after_failure": failure}
    return (
        {**figures, "after_text": attempt.failure_reason} if with_text and attempt.failure_reason else figures
    )


def in_doubt(attempt: Attempt) -> dict[str, Figure]:
    """A training job that SageMaker does not show, or did not take."""
    name: dict[str, Figure] = {"training_job_name": attempt.training_job_name}
    return name if attempt.doubt is None else {**name, "doubt": attempt.doubt.failure.value}


def progress(run: Run) -> dict[str, Figure]:
    """The durable step, where it is visible."""
    if run.progress is None:
        return {}
    return {"step": run.progress.step, "total_steps": run.progress.total_steps or None}


def work_left(run: Run, now: datetime, rung: Rung) -> dict[str, Figure]:
    """The time to the deadline, and the work that is left, as on `rung`."""
    left = (run.deadline - now).total_seconds()
    return {"left_seconds": left, "work_left_seconds": estimates.work_left_seconds(run, rung)}


def budget(run: Run) -> dict[str, Figure]:
    """The budget, whose money it is, and what is spent."""
    return {"budget_usd": run.budget_usd or 0.0, "budget_of": run.budget_of, "spent_usd": spent_usd(run)}


def over_budget(run: Run, market: Market) -> dict[str, Figure]:
    """The types of `market` whose worst case does not fit into the budget, where there are any."""
    types = ", ".join(rung.instance_type for rung in ladder.too_dear(run, market))
    return {"types_over_budget": types, **budget(run)} if types else {}


def paid_time_short(run: Run, rung: Rung) -> dict[str, Figure]:
    """What MaxRuntimeInSeconds leaves of paid time, where `rung` may need more."""
    left = limits.paid_left_seconds(run)
    return {} if left is None or left >= ladder.seconds_needed(run, rung) else {"paid_left_seconds": left}


def left_out(run: Run) -> dict[str, Figure]:
    """The rungs that the run does without, where there are any."""
    out = [f"{left.rung.label} ({left.because.rstrip('.')})" for left in ladder.left_out(run)]
    return {"rungs_left_out": "; ".join(out)} if out else {}


def deadline(run: Run) -> dict[str, Figure]:
    """The deadline."""
    return {"deadline_at": run.deadline.isoformat()}


def asked_to_stop(run: Run) -> dict[str, Figure]:
    """Who wants the run's end. The API knows who asks by an ARN, with an account in it."""
    return {"by": redact(run.stop_asked_by or "")}
