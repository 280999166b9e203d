"""Decides the sentences at the head of a run's page: how it ended, how the night went, what it came to."""

from __future__ import annotations

from collections.abc import Mapping

from nightspot.formats.figures import NOT_KNOWN, clock, duration, percent, usd
from nightspot.job.markets import Market
from nightspot.record.model import AttemptRecord, RunRecord
from nightspot.record.run_account import Ending
from nightspot.record.sentences import HEADLINES, joined
from nightspot.run.model import Resume

LABELS: Mapping[Ending, str] = {ending: ending.value.replace("_", " ") for ending in Ending}
# What a badge's colour says.
MOODS: Mapping[Ending, str] = {
    Ending.RUNNING: "quiet",
    Ending.IN_TIME: "good",
    Ending.LATE: "warn",
    Ending.FAILED: "bad",
    Ending.SKIPPED: "warn",
    Ending.STOPPED: "quiet",
    Ending.REFUSED: "quiet",
}
RESUMES: Mapping[Resume, str] = {
    Resume.PROVEN: "proven",
    Resume.BROKEN: "broken",
    Resume.NOT_VISIBLE: "not visible",
}


def headline(run: RunRecord) -> str:
    """ "The model was ready at 07:12 UTC, 47 min before its deadline."."""
    account = run.account
    if account.has_model and run.ended_at is not None and account.margin_seconds is not None:
        side = "before" if account.margin_seconds >= 0 else "after"
        ready = clock(run.ended_at, run.started_at)
        margin = f"{duration(abs(account.margin_seconds))} {side} its deadline"
        but = f", but {joined(remark.text for remark in run.remarks)}" if run.remarks else ""
        return f"The model was ready at {ready}, {margin}{but}."
    return HEADLINES[account.ending]


def how_it_went(run: RunRecord) -> str:
    """What the market did, in a few sentences; "" where nothing was asked of it."""
    if not run.attempts:
        return ""
    said = []
    taken = run.account.interruptions
    first = next((a for a in run.attempts if a.market is Market.ON_DEMAND), None)
    if taken:
        said.append(f"Spot took the machine away {_times(taken)}.")
    if first is not None and run.account.fell_back:
        when = clock(first.asked_at, run.started_at)
        said.append(f"At {when} the work went on to {first.market.of(first.instance_type)}.")
    elif not taken and run.succeeded:
        only = run.attempts[-1].market.of(run.attempts[-1].instance_type)
        said.append(f"{only[:1].upper()}{only[1:]} did the whole work without a break.")
    if run.resume is Resume.PROVEN:
        said.append("Training went on from its checkpoint, as its progress file proves.")
    elif run.resume is Resume.BROKEN:
        said.append("Training did not go on from its checkpoint: its script must be mended.")
    return " ".join(said)


def money(run: RunRecord) -> str:
    """What the run cost and saved, in one sentence."""
    account = run.account
    if account.cost_usd is None:
        said = f"The cost is {NOT_KNOWN}: at least {usd(account.cost_at_least_usd)}"
        if run.unpriced_attempts:
            numbers = ", ".join(str(number) for number in run.unpriced_attempts)
            said += f", and attempt {numbers} has no price or no billable time"
        return f"{said}."
    cost = f"All attempts together cost {usd(account.cost_usd)}"
    if account.ending is Ending.RUNNING:
        return f"{cost} so far."
    if not account.has_model:
        return f"{cost}, without a model." if account.cost_usd else "It cost nothing."
    if account.saved_usd is None or account.saved_percent is None:
        return f"{cost}; what on-demand alone would have cost is {NOT_KNOWN}."
    alone = f"on-demand alone would have cost {usd(account.on_demand_cost_usd)}"
    more, share = usd(abs(account.saved_usd)), percent(abs(account.saved_percent))
    return f"{cost}; {alone}: {more} ({share}) {'more than that' if account.saved_usd < 0 else 'saved'}."


def ending(attempt: AttemptRecord) -> str:
    """ "completed", "stopped by Nightspot", "no capacity", or "still open"."""
    if attempt.failure_class is not None:
        return attempt.failure_class.value.replace("_", " ").replace("nightspot", "Nightspot")
    return (attempt.status or "not created").lower() if attempt.ended_at else "still open"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
