"""How a run ended, when, what it cost, and what is odd about a success: in words, from its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

from nightspot.costs.lost_work import Evidence
from nightspot.failures.codes import FailureClass
from nightspot.formats.figures import NOT_KNOWN, clock, duration, percent, usd
from nightspot.formats.links import web_link
from nightspot.job.markets import Market
from nightspot.record.model import AttemptRecord, Ending, RunRecord
from nightspot.record.statement import Statement
from nightspot.run.model import Outcome, Remark, Resume, Run, RunRemark


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


def remarks_in_words(run: RunRecord) -> str:
    """ "finished at step 3 of 24, and the model artefact is empty"; "" without remarks."""
    return ", and ".join(remark.text for remark in run.remarks)


_TRACKERS = {"mlflow": "MLflow", "wandb": "Weights & Biases"}


def tracker_pages(run: RunRecord) -> Iterator[tuple[str, str]]:
    """The trackers by their names, and the run's page in each; only what a page may link to."""
    for tracker, name in _TRACKERS.items():
        if link := web_link(run.trackers.get(tracker)):
            yield name, link


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

LABELS: Mapping[Ending, str] = {ending: ending.value.replace("_", " ") for ending in Ending}


def headline(run: RunRecord) -> str:
    """ "The model was ready at 05:12 UTC, 2 h 48 min before the deadline; $12.40, 70 % less than on-demand."."""
    ended, cost = how_it_ended(run), _cost(run)
    return f"{ended.rstrip('.')}; {cost}." if cost else ended


def how_it_ended(run: RunRecord) -> str:
    """ "The model was ready at 05:12 UTC, 2 h 48 min before the deadline."."""
    if not run.has_model:
        return HEADLINES[run.ending]
    but = f", but {remarks_in_words(run)}" if run.remarks else ""
    if run.ended_at is None or run.margin_seconds is None:
        return f"{HEADLINES[run.ending].rstrip('.')}{but}."
    return f"The model was ready at {clock(run.ended_at, run.started_at)}, {margin(run.margin_seconds)}{but}."


def margin(seconds: float) -> str:
    return f"{duration(abs(seconds))} {'before' if seconds >= 0 else 'after'} the deadline"


def how_an_attempt_ended(attempt: AttemptRecord) -> str:
    """ "completed", "stopped by Nightspot", "no capacity", or "still open"."""
    if attempt.failure_class is not None:
        return failure_in_words(attempt.failure_class)
    return (attempt.status or "not created").lower() if attempt.ended_at else "still open"


def failure_in_words(failure: FailureClass) -> str:
    return failure.value.replace("_", " ").replace("nightspot", "Nightspot")


def money(run: RunRecord) -> str:
    if run.cost_usd is None:
        said = f"The cost is {NOT_KNOWN}: at least {usd(run.cost_at_least_usd)}"
        return f"{said}{unpriced(run)}."
    cost = f"All attempts together cost {usd(run.cost_usd)}"
    if not run.is_over:
        return f"{cost} so far."
    if not run.has_model:
        return f"{cost}, without a model." if run.cost_usd else "It cost nothing."
    if run.saved_usd is None:
        return f"{cost}; what on-demand alone would have cost is {NOT_KNOWN}."
    share = f" ({percent(abs(run.saved_percent))})" if run.saved_percent is not None else ""
    return f"{cost}; {on_demand_alone(run)}: {_saved(run.saved_usd, share)}.{at_best(run)}"


def on_demand_alone(run: RunRecord) -> str:
    """ "on-demand alone (ml.p4d.24xlarge) would have cost $132.15"; an older record does not know the type."""
    of = f" ({run.yardstick})" if run.yardstick else ""
    return f"on-demand alone{of} would have cost {usd(run.on_demand_cost_usd)}"


def at_best(run: RunRecord) -> str:
    """ " It depends on the room in the Savings Plan: at best $44.84 saved."; "" where it does not."""
    if not _has_range(run) or run.saved_at_most_usd is None:
        return ""
    return f" It depends on the room in the Savings Plan: at best {_saved(run.saved_at_most_usd)}."


def _saved(saved_usd: float, share: str = "") -> str:
    return f"{usd(abs(saved_usd))}{share} {'more than that' if saved_usd < 0 else 'saved'}"


def _has_range(run: RunRecord) -> bool:
    return None not in (run.saved_usd, run.saved_at_most_usd) and run.saved_usd != run.saved_at_most_usd


def how_too_high(run: RunRecord) -> str:
    """One sentence on how the saving could be too high, from what applies to the run; "" where none is claimed."""
    if not run.has_model or run.saved_usd is None:
        return ""
    said = []
    if run.repeated_evidence is Evidence.ESTIMATED:
        said.append("its repeated work is an estimate")
    if any(remark.kind is Remark.UNFINISHED_STEPS for remark in run.remarks):
        said.append("steps after its last checkpoint may be counted")
    if run.price_assumed:
        said.append("a price is assumed")
    if _has_range(run):
        said.append(_higher(run.saved_at_most_usd))
    if run.plan_is_used_up:
        said.append("a Savings Plan counts as used up, as it was on the days before")
    said.append(_compared_with(run))
    return _could_be_too_high("The saving", said)


def _compared_with(run: RunRecord) -> str:
    if run.yardstick is None:
        return (
            "an older version compared it with the job's first on-demand type, which need not be the cheapest"
        )
    if run.yardstick_in_time is False:
        return (
            f"it is compared with {run.yardstick}, the fastest type, though none was expected to be in time"
        )
    return f"a cheaper type than {run.yardstick} that the job file does not name would make it smaller"


def how_too_high_together(sums: Statement) -> str:
    """The same of many runs."""
    saved, most = sums.totals["saved_usd"], sums.totals["saved_at_most_usd"]
    if not saved.covers:
        return ""
    unknown = saved.of - saved.covers
    said = []
    if unknown:
        said.append(f"the saving of {_nights(unknown)} is {NOT_KNOWN} and may be a loss")
    if sums.repeated_estimated:
        said.append(f"the repeated work of {_nights(sums.repeated_estimated)} is an estimate")
    if sums.price_assumed:
        said.append(f"{_nights(sums.price_assumed)} had an assumed price")
    if most.known > saved.known:
        said.append(_higher(most.known))
    if sums.plan_is_used_up:
        used_up = _nights(sums.plan_is_used_up)
        said.append(f"a Savings Plan counts as used up for {used_up}, as it was on the days before")
    if sums.yardstick_late:
        said.append(
            f"no type was expected to be in time on {_nights(sums.yardstick_late)}, the fastest counts"
        )
    if sums.yardstick_unknown:
        said.append(
            f"an older version compared {_nights(sums.yardstick_unknown)} with the job's first on-demand type"
        )
    said.append("types that the job files do not name may be cheaper than those compared with")
    return _could_be_too_high("The savings", said)


def _could_be_too_high(what: str, said: list[str]) -> str:
    return f"{what} could be too high: {'; '.join(said)}."


def _higher(most_usd: float | None) -> str:
    return f"the higher figure, {usd(most_usd)}, depends on the room in the Savings Plan"


def _nights(count: int) -> str:
    return f"{count} {'night' if count == 1 else 'nights'}"


def unpriced(run: RunRecord) -> str:
    """ ", because attempt 2 has no price or no billable time"; "" where every attempt has both."""
    numbers = ", ".join(str(number) for number in run.unpriced_attempts)
    return f", because attempt {numbers} has no price or no billable time" if numbers else ""


def _cost(run: RunRecord) -> str:
    """ "$12.40, 70 % less than on-demand", or nothing where nothing was bought."""
    if not run.attempts:
        return ""
    if run.cost_usd is None:
        return f"its cost is {NOT_KNOWN}, at least {usd(run.cost_at_least_usd)}"
    cost = usd(run.cost_usd)
    if not run.is_over:
        return f"{cost} so far"
    saved = run.saved_percent
    if saved is None:
        if run.has_model and run.saved_usd:
            # Under an idle Savings Plan on-demand would have added nothing, of which there is no percent.
            return f"{cost}, {usd(-run.saved_usd)} more than on-demand"
        return cost if run.cost_usd else "it cost nothing"
    if round(saved) == 0:
        return f"{cost}, as much as on-demand"
    return f"{cost}, {abs(saved):.0f} % {'less' if saved > 0 else 'more'} than on-demand"


RESUMES: Mapping[Resume, str] = {
    Resume.PROVEN: "proven",
    Resume.BROKEN: "broken",
    Resume.NOT_VISIBLE: "not visible",
}


def how_it_went(run: RunRecord) -> str:
    """What the market did, in a few sentences; "" where nothing was asked of it."""
    if not run.attempts:
        return ""
    said = []
    first = next((a for a in run.attempts if a.market is Market.ON_DEMAND), None)
    if run.interruptions:
        said.append(f"Spot took the machine away {_times(run.interruptions)}.")
    if first is not None and run.fell_back:
        when = clock(first.asked_at, run.started_at)
        said.append(f"At {when} the work went on to {first.market.of(first.instance_type)}.")
    elif not run.interruptions and run.has_model:
        only = run.attempts[-1].market.of(run.attempts[-1].instance_type)
        said.append(f"{only[:1].upper()}{only[1:]} did the whole work without a break.")
    if run.resume is Resume.PROVEN:
        said.append("Training went on from its checkpoint, as its progress file proves.")
    elif run.resume is Resume.BROKEN:
        said.append("Training did not continue from its checkpoint: fix its script.")
    if run.progress_unreadable:
        said.append(f"Its progress files could not be read: {run.progress_unreadable.rstrip('.')}.")
    return " ".join(said)


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
