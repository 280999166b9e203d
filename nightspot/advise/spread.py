"""How nights differ from one another: the work, the start-ups, and what on-demand lets a job wait.

Measured where the job's own history has five values or more, else assumed, and each says which.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from nightspot.advise.question import Figure, Question, assumed
from nightspot.formats.figures import HOUR_SECONDS, format_duration
from nightspot.job.markets import Market
from nightspot.job.model import Job
from nightspot.learn.estimators import FEWEST
from nightspot.learn.history import attempts_on
from nightspot.learn.work import learnt_work
from nightspot.record.model import RunRecord
from nightspot.run.model import Run
from nightspot.run.pricing import Basis

ASSUMED_WORK_ERROR = 0.05
MOST_WORK_ERROR = 0.3  # as `BacktestSetting` has it
# Minutes to hours are told of; 28 to 58 minutes were measured in one place. Nobody publishes how often.
ASSUMED_QUEUE_SECONDS = 1.0 * HOUR_SECONDS
_STEPS = 4  # one start in so many waits, for so many equal shares of the longest wait


@dataclass(frozen=True)
class Spread:
    """What a night is drawn from. `work_error`: standard deviation over the mean. Starts: the median.

    `waits_seconds`: in on-demand's queue, one of which each on-demand start draws; empty: it never waits.
    """

    work_error: Figure
    spot_start_seconds: float
    on_demand_start_seconds: float
    waits_seconds: tuple[float, ...]
    waits_basis: Basis
    waits_words: str

    @property
    def words(self) -> str:
        """How the nights vary, in one sentence without its full stop."""
        return (
            f"work that varies by {100 * (self.work_error.value or 0.0):.0f} % ({self.work_error.source}),"
            f" log-normal start-ups, on-demand's queue {self.waits_words}"
        )


def spread_of(question: Question, run: Run) -> Spread:
    """How the nights of `run` differ."""
    spot, on_demand = (run.rungs_of(market)[0].instance_type for market in Market)
    history, stated = question.history, question.job.change_over
    waits, basis, words = _waits(question, on_demand)
    return Spread(
        work_error=_work_error(question.job, history, run.work_key),
        spot_start_seconds=_start(history, Market.SPOT, spot, stated.spot_seconds),
        on_demand_start_seconds=_start(history, Market.ON_DEMAND, on_demand, stated.on_demand_seconds),
        waits_seconds=waits,
        waits_basis=basis,
        waits_words=words,
    )


def _work_error(job: Job, history: Sequence[RunRecord], work_key: str) -> Figure:
    works = [each.seconds for each in learnt_work(job, work_key, history).seen]
    if len(works) < FEWEST:
        return assumed(ASSUMED_WORK_ERROR, "assumed")
    error = min(MOST_WORK_ERROR, stdev(works) / fmean(works))
    return Figure(error, Basis.MEASURED, f"measured on {len(works)} runs")


def _start(history: Sequence[RunRecord], market: Market, instance_type: str, stated_seconds: float) -> float:
    """From the machine to the first step: the median of what was seen, else as the job file has it."""
    starts = [
        max(1.0, attempt.ready_seconds - attempt.queued_seconds)
        for attempt in attempts_on(history, market, instance_type)
        if attempt.ready_seconds is not None and attempt.queued_seconds is not None
    ]
    return median(starts) if len(starts) >= FEWEST else float(stated_seconds)


def _waits(question: Question, instance_type: str) -> tuple[tuple[float, ...], Basis, str]:
    longest = question.hints.on_demand_queue_seconds
    if longest is None:
        waits = sorted(_waited(question.history, instance_type))
        if len(waits) >= FEWEST:
            words = (
                f"as measured on {len(waits)} starts ({format_duration(median(waits))} in the median,"
                f" {format_duration(waits[-1])} at the longest)"
            )
            return tuple(waits), Basis.MEASURED, words
    word = "assumed" if longest is None else "given by you"
    seconds = ASSUMED_QUEUE_SECONDS if longest is None else longest
    if not seconds:
        return (), Basis.ASSUMED, "never there (given by you)"
    steps = tuple(seconds * (step + 0.5) / _STEPS for step in range(_STEPS))
    words = f"{word} (one start in {_STEPS} waits, up to {format_duration(seconds)})"
    return (0.0,) * (_STEPS * (_STEPS - 1)) + steps, Basis.ASSUMED, words


def _waited(history: Sequence[RunRecord], instance_type: str) -> Iterator[float]:
    """Waits for an on-demand machine. One that never came waited for at least as long as it was waited for."""
    for attempt in attempts_on(history, Market.ON_DEMAND, instance_type):
        wait = attempt.waited_seconds if attempt.queued_seconds is None else attempt.queued_seconds
        if wait is not None:
            yield wait
