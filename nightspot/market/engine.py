"""The machine of a simulated night, from one change to the next, and what a simple rule makes of it.

Everybody has the same luck on it, pays the same and loses the same: the simple rules here, the deployed one in
`nightspot.market.night`. Seconds count from the night's start.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from heapq import heappop, heappush
from types import MappingProxyType
from typing import Protocol

from nightspot.job.markets import Market
from nightspot.market.model import (
    Belief,
    Doing,
    MarketAvailability,
    MarketValueError,
    NightResult,
    Truth,
    UpSpan,
    changeover,
)
from nightspot.run.model import Rung

# By a rule's own wish. One that looks every second of a night makes tens of thousands.
MOST_LOOKS = 100_000
# Python 3.11 takes as long for one `Enum.MEMBER` as for a dozen sums.
SPOT = Market.SPOT
WAITING, STARTING, TRAINING, STOPPING = Doing.WAITING, Doing.STARTING, Doing.TRAINING, Doing.STOPPING


class RuleError(RuntimeError):
    """A rule asks for what cannot be, or does not bring the night to its end."""


class SimulatedMachine:
    """What the one job of a night runs on, one at a time, and the accounts of the night.

    `markets`: Spot's availability by instance type, where it is not the truth's. `usd_per_hour`: the price that
    costs are counted in, of an hour on-demand; a rung without a price costs as much.
    """

    def __init__(
        self,
        truth: Truth,
        *,
        markets: Mapping[str, MarketAvailability] = MappingProxyType({}),
        usd_per_hour: float | None = None,
        with_spans: bool = False,
    ) -> None:
        self._truth, self._markets = truth, markets
        self._usd_per_hour, self._with_spans = usd_per_hour, with_spans
        # The present phase.
        self.rung: Rung | None = None  # what there is, or is asked for; None: nothing
        self.doing = WAITING
        self.since = 0.0
        self.until = math.inf  # when it ends by itself
        self.has_machine = False
        # When training begins or ends, or the job. A machine alone is no news.
        self.news_at = math.inf
        self._lost_at = math.inf  # when the machine is taken back
        self._completes = False  # what it is to do, start or train, ends before that
        self._availability = truth.market
        self._is_spot, self._speed, self._price = False, 1.0, 1.0
        # What came of those before it.
        self.finished_at: float | None = None  # when the model was there
        self.done = 0.0  # durable work, in seconds at speed 1
        self.saved_at = -math.inf  # when it was saved; -inf: nothing was
        # The same since the last asking.
        self.interruptions = 0
        self.held_seconds = 0.0  # with a machine
        self.worked_seconds = 0.0
        # The night's accounts.
        self.all_interruptions = self._spot_launches = self._on_demand_launches = 0
        self._spot_seconds = self._on_demand_seconds = 0.0  # with a machine
        self._cost = self._waited = 0.0
        self.spans: list[UpSpan] = []

    def ask(self, rung: Rung | None, at: float) -> None:
        """Ask for a machine of `rung` while there is none; None: for nothing."""
        self._end_phase(at)
        self.rung, self.interruptions = rung, 0
        self.held_seconds = self.worked_seconds = 0.0
        if rung is None:
            self.doing, self.since, self.until, self.news_at = WAITING, at, math.inf, math.inf
            return
        self._is_spot, self._speed = rung.market is SPOT, rung.speed
        own = rung.usd_per_hour
        self._price = own / self._usd_per_hour if own and self._usd_per_hour else 1.0
        self._availability = self._markets.get(rung.instance_type, self._truth.market)
        self._queue(at)

    def stop(self, at: float) -> None:
        """Give up the machine, or the wait for one. When that is over, there is nothing."""
        self._end_phase(at)
        self.news_at = at + self._truth.stop_seconds
        self.doing, self.since, self.until = STOPPING, at, self.news_at

    def move_on(self) -> None:
        """End the phase where it ends by itself, and begin the next."""
        at, doing, rung = self.until, self.doing, self.rung
        self._end_phase(at)
        if rung is None or doing is STOPPING:
            self.rung, self.has_machine, self.news_at = None, False, math.inf
            self.doing, self.since, self.until = WAITING, at, math.inf
        elif doing is WAITING:
            self._start_up(at)
        elif not self._completes:
            self.interruptions += 1
            self.all_interruptions += 1
            self.has_machine = False
            self._queue(at)
        elif doing is STARTING:
            self._train(rung, at)
        else:
            self.finished_at, self.until = at, math.inf

    def start_over(self, at: float) -> None:
        if self.doing is TRAINING and self.rung is not None:
            self._end_phase(at)
            self.done = 0.0
            self._train(self.rung, at)
        self.done = 0.0

    def saved(self, now: float) -> tuple[float, float]:
        """The work that would survive if the phase ended at `now`, and when it was saved."""
        if self.doing is not TRAINING:
            return self.done, self.saved_at
        kept, every = now - self.since, self._truth.checkpoint_seconds
        if every > 0:
            kept = kept // every * every
        if kept <= 0:
            return self.done, self.saved_at
        done, most = self.done + kept * self._speed, self._truth.work_seconds
        return min(most, done), self.since + kept

    def result(self) -> NightResult:
        """The accounts, once the model is there."""
        finished = self.finished_at or 0.0
        return NightResult(
            cost=self._cost,
            finished_seconds=finished,
            late=self._truth.is_late(finished),
            interruptions=self.all_interruptions,
            launches=self._spot_launches + self._on_demand_launches,
            on_demand_seconds=self._on_demand_seconds,
            spot_seconds=self._spot_seconds,
            waited_seconds=self._waited,
            spans=tuple(self.spans),
        )

    def _queue(self, at: float) -> None:
        truth, spots, others = self._truth, self._spot_launches, self._on_demand_launches
        if self._is_spot:
            until, self._lost_at = self._availability.next_machine(at)
            ready_at = until + changeover(truth.spot_changeover_seconds, spots)
        else:
            until, self._lost_at = at + changeover(truth.on_demand_queue_seconds, others), math.inf
            ready_at = until + changeover(truth.on_demand_changeover_seconds, others)
        self._completes = ready_at < self._lost_at
        self.news_at = ready_at if self._completes else self._lost_at
        self.doing, self.since, self.until = WAITING, at, until

    def _start_up(self, at: float) -> None:
        self.has_machine = True
        if self._is_spot:
            self._spot_launches += 1
        else:
            self._on_demand_launches += 1
        self.doing, self.since, self.until = STARTING, at, self.news_at

    def _train(self, rung: Rung, at: float) -> None:
        done_at = at + (self._truth.work_seconds - self.done) / rung.speed
        self._completes = done_at <= self._lost_at
        self.news_at = done_at if self._completes else self._lost_at
        self.doing, self.since, self.until = TRAINING, at, self.news_at

    def _end_phase(self, at: float) -> None:
        """Book the phase until `at`; what was not saved by then is lost."""
        seconds = at - self.since
        if self.doing is TRAINING:
            self.done, self.saved_at = self.saved(at)
            self.worked_seconds += seconds
        if seconds <= 0:
            return
        if not self.has_machine:
            self._waited += seconds
        else:
            self.held_seconds += seconds
            usd = seconds / 3600 * self._price
            if self._is_spot:
                self._spot_seconds += seconds
                usd *= self._truth.prices.mean_usd_per_hour(self.since, at)
            else:
                self._on_demand_seconds += seconds
            self._cost += usd
        if self._with_spans:
            market = self.rung.market.value if self.has_machine and self.rung is not None else None
            self.spans.append(UpSpan(self.since, at, market, self.doing))


# --- simple rules -------------------------------------------------------------------------------------------


class SimulatedState(StrEnum):
    """Where a job can be, or be wanted."""

    IDLE = "idle"  # nowhere, and nothing is asked for
    SPOT = "spot"
    ON_DEMAND = "on_demand"


@dataclass(frozen=True, slots=True)
class View:
    """All that a rule sees when it looks: the present, what it planned with, and nothing of what is to come."""

    now_seconds: float
    left_seconds: float  # to the deadline, below 0 past it
    fraction_done: float  # of the true work, as far as it would survive an interruption now
    state: (
        SimulatedState  # of the machine that there is; IDLE while there is none, or the old one is given back
    )
    doing: Doing
    wanted: SimulatedState  # what the rule asked for when it last looked; IDLE at first
    spot_up: bool  # whether a Spot machine can be had now
    interruptions: int
    belief: Belief

    @property
    def work_left_seconds(self) -> float:
        """The work left as believed: the believed whole, less the fraction that is done."""
        return self.belief.work_seconds * (1 - self.fraction_done)


@dataclass(frozen=True, slots=True)
class RivalDecision:
    """What a rule wants from now on, until it decides again.

    SPOT while Spot is down means to wait for it, and to go back to it by itself after an interruption, as a managed
    Spot job does. `look_again_seconds`: from now, at least 0; None: at the next change (the market goes up or down,
    a machine is given, lost or ready, the window ends). `restart`: forget all progress first.
    """

    want: SimulatedState
    look_again_seconds: float | None = None
    restart: bool = False


class Rule(Protocol):
    """A rule for one night; one that remembers something is made anew for each."""

    def __call__(self, view: View, /) -> RivalDecision: ...


# What a simple rule asks for: one type, at the price that costs are counted in.
RUNG_OF: Mapping[SimulatedState, Rung | None] = {
    SimulatedState.IDLE: None,
    SimulatedState.SPOT: Rung(Market.SPOT, "simulated", "simulated"),
    SimulatedState.ON_DEMAND: Rung(Market.ON_DEMAND, "simulated", "simulated"),
}


def play_rule(rule: Rule, truth: Truth, belief: Belief, *, with_spans: bool = False) -> NightResult:
    """What `rule` makes of the night, to the end of the work, past the deadline if need be.

    It is woken `truth.detection_seconds` after every change, at the window's end, and when it wanted to look
    again, and sees the truth of that moment. What it wants holds in between: who waits for Spot gets it before
    the rule knows. To leave a machine, or a wait, takes `truth.stop_seconds`; the machine is paid until then,
    and what was trained since the last checkpoint is lost, as in an interruption. A market that ends stays as it
    is.

    Raises `MarketValueError` for a duration that means nothing, `RuleError` where the rule looks again without end,
    or waits for what never comes.
    """
    _check(truth, belief)
    machine, wanted = SimulatedMachine(truth, with_spans=with_spans), SimulatedState.IDLE
    news = [0.0, truth.window_seconds]
    market_at = truth.market.next_change_after(0.0)
    look_at, looks = math.inf, 0
    while machine.finished_at is None:
        at = min(machine.until, market_at, news[0] if news else math.inf, look_at)
        if at == math.inf:
            raise RuleError(f"want: {wanted.value}, and no change is to come: the work is never done")
        if at in (machine.until, market_at):
            # All that happens at one moment has happened before the rule looks.
            if at == machine.until:
                machine.move_on()
                # Who was stopping asks for what is wanted when the stop is over.
                if machine.rung is not RUNG_OF[wanted]:
                    machine.ask(RUNG_OF[wanted], at)
            else:
                market_at = truth.market.next_change_after(at)
            heappush(news, at + truth.detection_seconds)
            continue
        looks += at == look_at
        if looks > MOST_LOOKS:
            raise RuleError(f"look_again_seconds: more than {MOST_LOOKS} looks, the last one at {at:g} s")
        while news and news[0] <= at:
            heappop(news)
        decision = rule(_view(machine, truth, belief, wanted, at))
        look_at = at + _look_again_seconds(decision)
        if decision.want is not wanted:
            wanted = decision.want
            if machine.rung is None:
                machine.ask(RUNG_OF[wanted], at)
            elif machine.doing is not STOPPING:
                machine.stop(at)
        if decision.restart:
            machine.start_over(at)
    return machine.result()


def _view(
    machine: SimulatedMachine, truth: Truth, belief: Belief, wanted: SimulatedState, now: float
) -> View:
    is_held = machine.doing in (STARTING, TRAINING)
    held = SimulatedState.IDLE if machine.rung is None else SimulatedState(machine.rung.market.value)
    return View(
        now_seconds=now,
        left_seconds=truth.window_seconds - now,
        fraction_done=min(1.0, machine.saved(now)[0] / truth.work_seconds),
        state=held if is_held else SimulatedState.IDLE,
        doing=machine.doing,
        wanted=wanted,
        spot_up=truth.market.is_up_at(now),
        interruptions=machine.all_interruptions,
        belief=belief,
    )


def _look_again_seconds(decision: RivalDecision) -> float:
    seconds = decision.look_again_seconds
    if seconds is None:
        return math.inf
    if not seconds >= 0:
        raise RuleError(f"look_again_seconds: {seconds:g} must be at least 0")
    return seconds


def _check(truth: Truth, belief: Belief) -> None:
    for field, seconds in _durations(truth, belief):
        if not 0 <= seconds < math.inf:
            raise MarketValueError(f"{field}: {seconds:g} must be finite and at least 0")
    for field, seconds in (
        ("work_seconds", truth.work_seconds),
        ("window_seconds", truth.window_seconds),
        ("belief.work_seconds", belief.work_seconds),
    ):
        if seconds == 0:
            raise MarketValueError(f"{field}: 0 must be greater than 0")


def _durations(truth: Truth, belief: Belief) -> Iterator[tuple[str, float]]:
    for name in ("spot_changeover_seconds", "on_demand_changeover_seconds", "on_demand_queue_seconds"):
        series: tuple[float, ...] = getattr(truth, name)
        if not series:
            raise MarketValueError(f"{name}: () must hold at least one duration")
        yield from ((f"{name}[{launch}]", seconds) for launch, seconds in enumerate(series))
    for name in ("work_seconds", "window_seconds", "checkpoint_seconds", "stop_seconds", "detection_seconds"):
        yield name, getattr(truth, name)
    for name in ("work_seconds", "spot_changeover_seconds", "on_demand_changeover_seconds", "stop_seconds"):
        yield f"belief.{name}", getattr(belief, name)
