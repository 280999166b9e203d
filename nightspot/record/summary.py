"""The record of a run that people and programs read: outcome, deadline, costs, attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from nightspot.costs import account as costs
from nightspot.costs.lost_work import delivered_step
from nightspot.decide import ladder, ledger
from nightspot.job.markets import Market
from nightspot.record.model import (
    SCHEMA_VERSION,
    AttemptRecord,
    CodeRecord,
    LeftOutRecord,
    PhaseRecord,
    ProgressRecord,
    RemarkRecord,
    RunRecord,
    StepRecord,
    outcome_of,
)
from nightspot.record.sentences import headline
from nightspot.run.model import Attempt, Outcome, Phase, Progress, Resume, Run, Step


def summarise(run: Run) -> RunRecord:
    """The run's record without its decisions. Seconds and USD; None: SageMaker or the price book does not say.

    Nothing is checked here: no odd value may keep a run off the record.
    """
    account = costs.account(run)
    margin = ledger.margin_seconds(run)
    succeeded = run.outcome is Outcome.SUCCEEDED
    last = run.last_attempt
    ended = ledger.ended_at(run)
    left_out = ladder.left_out(run)
    record = RunRecord.model_construct(
        schema_version=SCHEMA_VERSION,
        job=run.job,
        run_id=run.run_id,
        outcome=outcome_of(run.outcome),
        because=run.outcome_because,
        remarks=tuple(RemarkRecord.model_construct(kind=each.kind, text=each.text) for each in run.remarks),
        crashed=run.crashed,
        forgotten=run.forgotten,
        plan_note=run.plan_note,
        requested_by=run.requested_by,
        resume_from=run.resume_from,
        code=None if run.code is None else CodeRecord.model_construct(**asdict(run.code)),
        scheduled_at=run.scheduled_at,
        started_at=run.started_at,
        ended_at=ended,
        deadline=run.deadline,
        deadline_met=succeeded and margin is not None and margin >= 0,
        margin_seconds=_rounded(margin),
        work_key=run.work_key,
        expected_work_seconds=_rounded(run.work_seconds),
        work_seconds=_rounded(costs.needed_seconds(run)) if succeeded else None,
        steps_done=delivered_step(run) if run.progress and succeeded else None,
        total_steps=run.progress.total_steps if run.progress and succeeded else None,
        overhead_seconds=_rounded(_overhead_seconds(run)) if succeeded else None,
        limited_by_run=run.limited_by.run_id if run.limited_by else None,
        **_figures(account),
        cost_at_least_usd=round(account.cost_at_least_usd, 4),
        saved_percent=_rounded(account.saved_percent, 2),
        saved_at_most_usd=_rounded(account.saved_at_most_usd, 4),
        yardstick=account.yardstick.instance_type if account.yardstick else None,
        yardstick_in_time=account.yardstick_in_time,
        uses_plan_rate=account.uses_plan_rate,
        plan_is_used_up=account.plan_is_used_up,
        price_assumed=account.price_assumed,
        spent_usd=_rounded(costs.spent_usd(run), 4),
        committed_usd=_rounded(ladder.worst_usd(run), 4) if run.outcome is None else None,
        unpriced_attempts=account.unpriced_attempts,
        interruptions=account.interruptions,
        fell_back=fell_back(run),
        fell_back_reason=run.fell_back_reason if fell_back(run) else None,
        model_artifact=last.model_artifact if last and succeeded else None,
        checkpoints=run.checkpoint_s3_uri,
        metrics=dict(run.progress.metrics) if run.progress else {},
        trackers={**(run.progress.trackers if run.progress else {}), **run.trackers},
        execution_arn=run.execution_arn,
        resume=_resume(run),
        progress_unreadable=run.progress_unreadable,
        decisions=run.steps,
        overrides=dict(run.overrides),
        rungs_left=len({rung.key for rung in run.rungs} - {out.rung.key for out in left_out}),
        left_out=tuple(
            LeftOutRecord.model_construct(
                market=out.rung.market, instance_type=out.rung.instance_type, because=out.because
            )
            for out in left_out
        ),
        attempts=tuple(
            AttemptRecord.model_construct(**_attempt(attempt), **_figures(of_attempt))
            for attempt, of_attempt in zip(run.attempts, account.attempts, strict=True)
        ),
    )
    return record.model_copy(update={"headline": headline(record)})


def summarise_attempt(attempt: Attempt) -> AttemptRecord:
    """One attempt as it stands by itself: what only the run can tell of it, such as its saving, is in the run's."""
    return AttemptRecord.model_construct(
        **_attempt(attempt),
        waited_seconds=_rounded(attempt.waited_seconds),
        trained_seconds=_rounded(attempt.trained_seconds),
        billable_seconds=_rounded(attempt.billable_seconds),
        cost_usd=_rounded(costs.attempt_cost_usd(attempt), 4),
    )


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "training_job_name": attempt.training_job_name,
        "market": attempt.rung.market,
        "instance_type": attempt.rung.instance_type,
        "instance_count": attempt.rung.instance_count,
        "asked_at": attempt.asked_at,
        "ended_at": attempt.ended_at,
        "status": attempt.status,
        "secondary_status": attempt.secondary_status,
        "failure_class": attempt.failure,
        "failure_reason": attempt.failure_reason,
        "queued_seconds": _rounded(attempt.queued_seconds),
        "ready_seconds": _rounded(attempt.ready_seconds),
        "seconds_per_step": _rounded(attempt.seconds_per_step, 4),
        "interruptions": attempt.interruptions,
        "resume": attempt.resume,
        "resumed_from_step": attempt.resumed_from_step,
        "step_before": attempt.step_before,
        "step_after": attempt.step_after,
    }


def _overhead_seconds(run: Run) -> float | None:
    """What a training that nothing cut short spent on loading, exporting and all else beside its steps."""
    trained = [attempt for attempt in run.attempts if attempt.trained_seconds > 0]
    steps = delivered_step(run)
    if len(trained) != 1 or run.resume_from is not None or not steps:
        return None
    attempt = trained[0]
    if (
        attempt.interruptions
        or attempt.failure
        or not attempt.seconds_per_step
        or attempt.worked_seconds is None
    ):
        return None
    return max(0.0, attempt.worked_seconds - steps * attempt.seconds_per_step)


def fell_back(run: Run) -> bool:
    """Whether the run asked for on-demand although it has a Spot rung: this time Spot alone would not do."""
    return bool(run.rungs_of(Market.SPOT)) and any(
        attempt.rung.market is Market.ON_DEMAND for attempt in run.attempts
    )


def _figures(account: costs.Account | costs.AttemptAccount) -> dict[str, Any]:
    """What a run and its attempts are accounted for by alike; see docs/costs.md."""
    return {
        "waited_seconds": _rounded(account.waited_seconds),
        "starting_seconds": _rounded(account.starting_seconds),
        "trained_seconds": _rounded(account.trained_seconds),
        "billable_seconds": _rounded(account.billable_seconds),
        "repeated_seconds": _rounded(account.repeated_seconds),
        "repeated_evidence": account.repeated_evidence,
        "lost_seconds": _rounded(account.lost_seconds),
        "cost_usd": _rounded(account.cost_usd, 4),
        "on_demand_cost_usd": _rounded(account.on_demand_cost_usd, 4),
        "saved_usd": _rounded(account.saved_usd, 4),
        "missing": tuple(field.value for field in account.missing),
    }


def _resume(run: Run) -> Resume | None:
    """The worst verdict on the run's attempts; None where none had anything to resume from."""
    verdicts = {attempt.resume for attempt in run.attempts}
    return next(
        (verdict for verdict in (Resume.BROKEN, Resume.NOT_VISIBLE, Resume.PROVEN) if verdict in verdicts),
        None,
    )


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits) + 0.0  # no -0.0


def record_of(run: Run, steps: Iterable[Step], phases: Mapping[int, Sequence[Phase]]) -> RunRecord:
    """The run's record with its decisions, and the phases of each attempt by its number."""
    summary = summarise(run)
    attempts = tuple(
        attempt.model_copy(update={"phases": tuple(map(_phase, phases.get(attempt.number, ())))})
        for attempt in summary.attempts
    )
    return summary.model_copy(update={"attempts": attempts, "steps": tuple(map(step_of, steps))})


def _phase(phase: Phase) -> PhaseRecord:
    return PhaseRecord.model_construct(
        state=phase.state, started_at=phase.started_at, ended_at=phase.ended_at
    )


def step_of(step: Step) -> StepRecord:
    """One decision, with what was durable when it was taken."""
    return StepRecord.model_construct(
        action=step.action,
        at=step.at,
        because=step.because,
        reason=step.reason,
        figures=dict(step.figures),
        attempt=step.attempt,
        late=step.late,
        last_safe_at=step.last_safe_at,
        progress=_progress_of(step.progress) if step.progress else None,
    )


def _progress_of(progress: Progress) -> ProgressRecord:
    return ProgressRecord.model_construct(
        step=progress.step,
        total_steps=progress.total_steps,
        fraction=progress.fraction,
        saved_at=progress.saved_at,
        metrics=dict(progress.metrics),
    )
