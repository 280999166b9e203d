"""The sentences of a run's summary: how it ended, when, what it cost, and what is odd about a success."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum

from nightspot.costs.account import Account
from nightspot.formats.figures import format_duration
from nightspot.record.run_account import Ending
from nightspot.run.model import Outcome, Remark, Run, RunRemark
from nightspot.run.reasons import clock


class ModelState(StrEnum):
    """What lies where SageMaker says that the model is."""

    STORED = "stored"
    EMPTY = "empty"  # no file with a byte in it
    MISSING = "missing"


# `step` and `total_steps` are the last checkpoint's.
WORDING: Mapping[Remark, str] = {
    Remark.UNFINISHED_STEPS: "finished at step {step} of {total_steps}",
    Remark.MODEL_EMPTY: "the model artefact is empty",
    Remark.MODEL_MISSING: "the model artefact is missing",
}
_OF_MODEL = {ModelState.EMPTY: Remark.MODEL_EMPTY, ModelState.MISSING: Remark.MODEL_MISSING}


def remarks_of(run: Run, model: ModelState | None) -> tuple[RunRemark, ...]:
    """The remarks on a run that is over, in the order of `Remark`. `model`: None where nobody could look."""
    if run.outcome is not Outcome.SUCCEEDED:
        return ()
    known = run.progress
    steps = {"step": known.step, "total_steps": known.total_steps} if known else {}
    found = {_OF_MODEL.get(model) if model else None}
    if known is not None and known.total_steps is not None and known.step < known.total_steps:
        found.add(Remark.UNFINISHED_STEPS)
    return tuple(RunRemark(kind, WORDING[kind].format(**steps)) for kind in Remark if kind in found)


def texts_of(summary: Mapping[str, object]) -> list[str]:
    """The texts of a summary's remarks; of one that an older version wrote, none."""
    remarks = summary.get("remarks")
    given = remarks if isinstance(remarks, (list, tuple)) else ()
    return [str(each["text"]) for each in given if isinstance(each, Mapping) and "text" in each]


def joined(texts: Iterable[str]) -> str:
    """ "finished at step 3 of 24, and the model artefact is empty"."""
    return ", and ".join(texts)


# A run with a model has its times besides.
HEADLINES: Mapping[Ending, str] = {
    Ending.RUNNING: "The run is still going on.",
    Ending.IN_TIME: "The model was ready in time.",
    Ending.LATE: "The model was ready after its deadline.",
    Ending.FAILED: "There is no model: the run failed.",
    Ending.SKIPPED: "There is no new model: Spot had no machine in time, and the job buys nothing else.",
    Ending.STOPPED: "There is no model: the run was stopped.",
    Ending.REFUSED: "Nothing was started.",
}
_WITHOUT_MODEL = {
    Outcome.FAILED: Ending.FAILED,
    Outcome.SKIPPED: Ending.SKIPPED,
    Outcome.STOPPED: Ending.STOPPED,
    Outcome.REFUSED: Ending.REFUSED,
}


def headline(run: Run, account: Account, *, ended_at: datetime | None, margin_seconds: float | None) -> str:
    """ "The model was ready at 05:12 UTC, 2 h 48 min before the deadline; $12.40, 70 % less than on-demand."

    `ended_at` (aware) and `margin_seconds` are `ledger.ended_at` and `ledger.margin_seconds`.
    """
    said = _ending(run, ended_at, margin_seconds)
    money = _money(run, account)
    return f"{said.rstrip('.')}; {money}." if money else said


def _ending(run: Run, ended_at: datetime | None, margin_seconds: float | None) -> str:
    if run.outcome is not Outcome.SUCCEEDED:
        return HEADLINES[Ending.RUNNING if run.outcome is None else _WITHOUT_MODEL[run.outcome]]
    if ended_at is None or margin_seconds is None:
        return f"The model is ready{_but(run)}."
    side = "before" if margin_seconds >= 0 else "after"
    margin = f"{format_duration(abs(margin_seconds))} {side} the deadline"
    return f"The model was ready at {clock(ended_at)}, {margin}{_but(run)}."


def _but(run: Run) -> str:
    return f", but {joined(remark.text for remark in run.remarks)}" if run.remarks else ""


def _money(run: Run, account: Account) -> str:
    """ "$12.40, 70 % less than on-demand", or nothing where nothing was bought."""
    if not run.attempts:
        return ""
    if account.cost_usd is None:
        return f"its cost is not known, at least ${account.cost_at_least_usd:,.2f}"
    cost = f"${account.cost_usd:,.2f}"
    if run.outcome is None:
        return f"{cost} so far"
    percent = account.saved_percent
    if percent is None:
        return cost if account.cost_usd else "it cost nothing"
    if round(percent) == 0:
        return f"{cost}, as much as on-demand"
    return f"{cost}, {abs(percent):.0f} % {'less' if percent > 0 else 'more'} than on-demand"
