"""How the steps of a run are put together, and their figures."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import inf

from nightspot.costs.account import spent_usd
from nightspot.decide import ladder, limits
from nightspot.decide.rule import (
    ROUNDING_SECONDS,
    STOPPING_LOOK_SECONDS,
    Decision,
    Situation,
    whole_seconds,
)
from nightspot.failures.redaction import redact
from nightspot.job.markets import Market
from nightspot.run import estimates
from nightspot.run.model import Action, Attempt, AttemptState, Outcome, Run, Rung, Step, evolve
from nightspot.run.reasons import Figure, Figures, Reason


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
    step = _step(run, now, Action.START, reason, figures, look_seconds, late=late)
    return evolve(step, attempt=len(run.attempts) + 1, rung=rung)


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
    step = _step(run, now, Action.WATCH, reason, figures, seconds, late=late)
    return evolve(step, attempt=attempt.number, training_job_name=attempt.training_job_name)


def stop(
    run: Run, attempt: Attempt, now: datetime, reason: Reason, figures: Figures, *, late: bool = False
) -> Step:
    step = _step(run, now, Action.STOP, reason, figures, STOPPING_LOOK_SECONDS, late=late)
    return evolve(step, attempt=attempt.number, training_job_name=attempt.training_job_name)


def pause(run: Run, now: datetime, seconds: float, reason: Reason, figures: Figures) -> Step:
    """Do nothing for `seconds`; nothing is open."""
    return _step(run, now, Action.PAUSE, reason, figures, seconds)


def finish(run: Run, now: datetime, outcome: Outcome, reason: Reason, figures: Figures) -> Step:
    return evolve(_step(run, now, Action.FINISH, reason, figures), outcome=outcome)


def _step(
    run: Run,
    now: datetime,
    action: Action,
    reason: Reason,
    figures: Figures,
    seconds: float | None = None,
    *,
    late: bool = False,
) -> Step:
    wait = None if seconds is None else whole_seconds(seconds)
    return Step(run.steps + 1, now, action, reason=reason, figures=figures, wait_seconds=wait, late=late)


# --- figures of what the rule decides -----------------------------------------------------------------------


def of_start(run: Run, situation: Situation, rung: Rung, decision: Decision) -> dict[str, Figure]:
    """Those of a start on `rung`."""
    if decision.reason is Reason.NO_ON_DEMAND:
        return {"type": rung.instance_type, **_until(run, situation, 0.0)}
    if rung.market is Market.SPOT:
        repair = situation.repair()
        leave_at = ladder.before_deadline(run, situation.leave_before_seconds(rung, repair))
        return {
            "left_seconds": situation.left_seconds,
            "work_left_seconds": estimates.work_left_seconds(run, repair or rung),
            "type": rung.instance_type,
            "leave_at": leave_at.isoformat(),
            **over_budget(run, Market.SPOT),
        }
    return {
        "left_seconds": max(0.0, situation.left_seconds),
        "work_left_seconds": estimates.work_left_seconds(run, rung),
        "on_demand_type": rung.instance_type,
        "is_late": decision.is_late,
        **deadline(run),
        **over_budget(run, Market.ON_DEMAND),
        **paid_time_short(run, rung),
    }


def of_open_job(
    run: Run, attempt: Attempt, now: datetime, situation: Situation, decision: Decision
) -> dict[str, Figure]:
    """Those of a decision about the training job that is open."""
    rung, reason = attempt.rung, decision.reason
    following: dict[str, Figure] = {} if decision.rung is None else {"next_rung": decision.rung.label}
    waits: dict[str, Figure] = {
        "waited_seconds": situation.age_seconds,
        "interruptions": attempt.interruptions,
    }
    if reason in (Reason.LAST_SAFE_MOMENT, Reason.WAITING, Reason.STARTING):
        trains = progress(run) if attempt.state is AttemptState.TRAINING else {}
        return {**what(attempt), **trains, **waits, **_must_start(run, situation, rung)}
    if reason is Reason.NO_ON_DEMAND:
        repair = situation.repair()
        again = {} if repair is None else {"next_rung": repair.label}
        return {**what(attempt), **waits, **again, **_until(run, situation, situation.age_seconds)}
    if reason is Reason.THRASHING:
        vain = attempt.fruitless_interruptions
        return {**what(attempt), **progress(run), "interruptions": vain, **following}
    if reason is Reason.PATIENCE_OVER and rung.market is Market.SPOT:
        return {**what(attempt), **waits, "patience_seconds": rung.patience_seconds, **following}
    finish = now + timedelta(seconds=situation.finish_seconds(rung))
    if reason is Reason.RESUME_BROKEN and decision.rung is not None:
        in_time = situation.slack_seconds(decision.rung) >= -ROUNDING_SECONDS
        figures = {**what(attempt), **_fell(run), **following, "is_in_time": in_time}
        return figures if decision.action is Action.STOP else {**figures, "finish_at": finish.isoformat()}
    return {
        **what(attempt),
        **progress(run),
        "finish_at": finish.isoformat(),
        "is_late": finish > run.deadline,
        **deadline(run),
        **(_of_spot(situation, decision, now) if rung.market is Market.SPOT else {}),
        **(waits if attempt.state is AttemptState.WAITING else {}),
        **({} if decision.rung is None else {"next_type": decision.rung.instance_type}),
    }


def _fell(run: Run) -> dict[str, Figure]:
    """From which step to which the training came back, where that is seen."""
    if run.progress is None or run.progress.step >= run.furthest_step:
        return {}
    return {"furthest_step": run.furthest_step, "step": run.progress.step}


def _of_spot(situation: Situation, decision: Decision, now: datetime) -> dict[str, Figure]:
    """What stands behind a Spot job that trains, and for how long it could take over where the job is too slow."""
    repair = situation.net() or situation.repair()
    figures: dict[str, Figure] = {"has_fallback": repair is not None}
    if repair is None:
        return figures
    if decision.reason is not Reason.ON_TRACK:
        return {**figures, "slack_seconds": situation.slack_seconds(repair)}
    left = situation.shrinks_until_seconds(repair) if situation.shrinks(repair) else inf
    if left < situation.running_left_seconds:
        figures["leave_at"] = (now + timedelta(seconds=left)).isoformat()
    return figures


def _until(run: Run, situation: Situation, waited_seconds: float) -> dict[str, Figure]:
    """When on-demand is asked again, of which no type had a machine."""
    left = situation.terms.meanwhile_seconds - waited_seconds
    return {
        "until_at": ladder.before_deadline(run, situation.left_seconds - left).isoformat(),
        **deadline(run),
    }


def _must_start(run: Run, situation: Situation, rung: Rung) -> dict[str, Figure]:
    """The last safe moment, and when on-demand must start, which would be bought after it."""
    repair = situation.repair()
    leave_at = ladder.before_deadline(run, situation.job_leaves_before_seconds(rung, repair))
    figures = {"leave_at": leave_at.isoformat(), **deadline(run)}
    if repair is None:
        return figures
    must_start = ladder.before_deadline(run, situation.seconds_needed(repair))
    return {**figures, "must_start_at": must_start.isoformat()}


# --- figures that several reasons share ---------------------------------------------------------------------


def what(attempt: Attempt) -> dict[str, Figure]:
    return {
        "rung": attempt.rung.label,
        "type": attempt.rung.instance_type,
        "market": attempt.rung.market.value,
        "state": attempt.state.value,
    }


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
    if run.progress is None:
        return {}
    return {"step": run.progress.step, "total_steps": run.progress.total_steps or None}


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
    return {"deadline_at": run.deadline.isoformat()}


def asked_to_stop(run: Run) -> dict[str, Figure]:
    """Who wants the run's end. The API knows who asks by an ARN, with an account in it."""
    return {"by": redact(run.stop_asked_by or "")}
