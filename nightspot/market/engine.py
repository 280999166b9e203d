"""Decides what becomes of a night under a simple rule, from one change to the next and never tick by tick.

One job, with one machine at a time. It has the same luck, pays the same and loses the same as the policy that is
deployed does in `nightspot.market.night`: so the two can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from heapq import heappop, heappush

from nightspot.market.model import Belief, Doing, NightResult, Span, Truth, changeover, durable
from nightspot.market.rule import Decision, Rule, State, View

# By a rule's own wish. One that looks every second of a night makes tens of thousands.
MOST_LOOKS = 100_000


class RuleError(RuntimeError):
    """A rule asks for what cannot be, or does not bring the night to its end."""


class TruthError(ValueError):
    """This truth or belief is no night."""


def play_rule(rule: Rule, truth: Truth, belief: Belief, *, with_spans: bool = False) -> NightResult:
    """What `rule` makes of the night, to the end of the work, past the deadline if need be.

    It is woken `truth.detection_seconds` after every change, at the window's end, and when it wanted to look
    again, and sees the truth of that moment. What it wants holds in between: who waits for Spot gets it before
    the rule knows. To leave a machine, or a wait, takes `truth.stop_seconds`; the machine is paid until then,
    and what was trained since the last checkpoint is lost, as in an interruption. A market that ends stays as it
    is.

    Raises `TruthError` for a duration that means nothing, and `RuleError` where the rule looks again without end,
    or waits for what never comes.
    """
    _check(truth, belief)
    night = _Night(truth, belief, with_spans)
    news = [0.0, truth.window_seconds]
    market_at = truth.market.next_change_after(0.0)
    look_at, looks = math.inf, 0
    while not night.is_over:
        at = min(night.until, market_at, news[0] if news else math.inf, look_at)
        if at == math.inf:
            raise RuleError(f"want: {night.wanted.value}, and no change is to come: the work is never done")
        if at in (night.until, market_at):
            # All that happens at one moment has happened before the rule looks.
            if at == night.until:
                night.move_on()
            else:
                market_at = truth.market.next_change_after(at)
            heappush(news, at + truth.detection_seconds)
            continue
        looks += at == look_at
        if looks > MOST_LOOKS:
            raise RuleError(f"look_again_seconds: more than {MOST_LOOKS} looks, the last one at {at:g} s")
        while news and news[0] <= at:
            heappop(news)
        decision = rule(night.view(at))
        look_at = at + _look_again_seconds(decision)
        night.follow(decision, at)
    return night.result()


class _Night:
    """The job in its present phase, and the accounts of the night."""

    def __init__(self, truth: Truth, belief: Belief, with_spans: bool) -> None:
        self._truth, self._belief, self._with_spans = truth, belief, with_spans
        self.wanted = State.IDLE
        self.until = math.inf  # when the phase ends by itself
        self.is_over = False
        self._asked = State.IDLE  # the market that the phase belongs to
        self._doing = Doing.WAITING
        self._has_machine = False
        self._since = 0.0  # when the phase began
        self._lost_at = math.inf  # when the machine will be taken back
        self._completes = False  # the phase ends as it should, not by a reclaim
        self._done = 0.0  # durable work before this phase, in seconds
        self._launches = {State.SPOT: 0, State.ON_DEMAND: 0}
        self._paid = {State.SPOT: 0.0, State.ON_DEMAND: 0.0}
        self._cost = 0.0
        self._waited = 0.0
        self._interruptions = 0
        self._spans: list[Span] = []

    def view(self, now: float) -> View:
        """What the rule sees at `now`."""
        is_held = self._doing in (Doing.STARTING, Doing.TRAINING)
        return View(
            now_seconds=now,
            left_seconds=self._truth.window_seconds - now,
            fraction_done=min(1.0, self._durable(now) / self._truth.work_seconds),
            state=self._asked if is_held else State.IDLE,
            doing=self._doing,
            wanted=self.wanted,
            spot_up=self._truth.market.is_up_at(now),
            interruptions=self._interruptions,
            belief=self._belief,
        )

    def follow(self, decision: Decision, now: float) -> None:
        """Do what was decided at `now`."""
        if decision.want is not self.wanted:
            self.wanted = decision.want
            # Who is stopping asks for what is wanted when the stop is over.
            if self._doing is not Doing.STOPPING:
                self._leave(now)
        if decision.restart:
            if self._doing is Doing.TRAINING:
                self._end_phase(now)
                self._done = 0.0
                self._train(now)
            self._done = 0.0

    def move_on(self) -> None:
        """End the phase where it ends by itself, and begin the next."""
        at, doing = self.until, self._doing
        self._end_phase(at)
        if doing is Doing.STOPPING:
            self._has_machine = False
            self._ask(at)
        elif doing is Doing.WAITING:
            self._start_up(at)
        elif not self._completes:
            self._interruptions += 1
            self._has_machine = False
            self._ask(at)
        elif doing is Doing.STARTING:
            self._train(at)
        else:
            self.is_over = True

    def result(self) -> NightResult:
        """The accounts, once the work is done."""
        finished = self.until
        return NightResult(
            cost=self._cost,
            finished_seconds=finished,
            late=self._truth.is_late(finished),
            interruptions=self._interruptions,
            launches=sum(self._launches.values()),
            on_demand_seconds=self._paid[State.ON_DEMAND],
            spot_seconds=self._paid[State.SPOT],
            waited_seconds=self._waited,
            spans=tuple(self._spans),
        )

    def _leave(self, at: float) -> None:
        """Give up the machine or the wait that there is, if there is one, to ask for what is wanted."""
        self._end_phase(at)
        if self._asked is State.IDLE:
            self._ask(at)
        else:
            self._begin(Doing.STOPPING, at, at + self._truth.stop_seconds)

    def _ask(self, at: float) -> None:
        """Ask for what is wanted, with no machine and no wait left over."""
        self._asked = self.wanted
        if self.wanted is State.SPOT:
            until = self._truth.market.next_up_from(at)
        elif self.wanted is State.ON_DEMAND:
            queues = self._truth.on_demand_queue_seconds
            until = at + changeover(queues, self._launches[State.ON_DEMAND])
        else:
            until = math.inf
        self._begin(Doing.WAITING, at, until)

    def _start_up(self, at: float) -> None:
        is_spot = self._asked is State.SPOT
        truth = self._truth
        change_overs = truth.spot_changeover_seconds if is_spot else truth.on_demand_changeover_seconds
        ready_at = at + changeover(change_overs, self._launches[self._asked])
        self._launches[self._asked] += 1
        self._has_machine = True
        self._lost_at = truth.market.next_change_after(at) if is_spot else math.inf
        self._completes = ready_at < self._lost_at
        self._begin(Doing.STARTING, at, min(ready_at, self._lost_at))

    def _train(self, at: float) -> None:
        done_at = at + self._truth.work_seconds - self._done
        self._completes = done_at <= self._lost_at
        self._begin(Doing.TRAINING, at, min(done_at, self._lost_at))

    def _begin(self, doing: Doing, at: float, until: float) -> None:
        self._doing, self._since, self.until = doing, at, until

    def _durable(self, now: float) -> float:
        """The work that would survive if the phase ended at `now`."""
        if self._doing is not Doing.TRAINING:
            return self._done
        kept = durable(now - self._since, self._truth.checkpoint_seconds)
        return min(self._truth.work_seconds, self._done + kept)

    def _end_phase(self, at: float) -> None:
        """Book the phase until `at`."""
        seconds = at - self._since
        self._done = self._durable(at)
        if seconds <= 0:
            return
        market = None
        if self._has_machine:
            market = self._asked.value
            self._paid[self._asked] += seconds
            self._cost += seconds / 3600 * self._price(at)
        else:
            self._waited += seconds
        if self._with_spans:
            self._spans.append(Span(self._since, at, market, self._doing))

    def _price(self, end: float) -> float:
        """What an hour of the phase's machine cost, in hours of on-demand."""
        is_spot = self._asked is State.SPOT
        return self._truth.prices.mean_usd_per_hour(self._since, end) if is_spot else 1.0


def _look_again_seconds(decision: Decision) -> float:
    seconds = decision.look_again_seconds
    if seconds is None:
        return math.inf
    if not seconds >= 0:
        raise RuleError(f"look_again_seconds: {seconds:g} must be at least 0")
    return seconds


def _check(truth: Truth, belief: Belief) -> None:
    for field, seconds in _durations(truth, belief):
        if not 0 <= seconds < math.inf:
            raise TruthError(f"{field}: {seconds:g} must be finite and at least 0")
    for field, seconds in (
        ("work_seconds", truth.work_seconds),
        ("window_seconds", truth.window_seconds),
        ("belief.work_seconds", belief.work_seconds),
    ):
        if seconds == 0:
            raise TruthError(f"{field}: 0 must be greater than 0")


def _durations(truth: Truth, belief: Belief) -> Iterator[tuple[str, float]]:
    for name in ("spot_changeover_seconds", "on_demand_changeover_seconds", "on_demand_queue_seconds"):
        series: tuple[float, ...] = getattr(truth, name)
        if not series:
            raise TruthError(f"{name}: () must hold at least one duration")
        yield from ((f"{name}[{launch}]", seconds) for launch, seconds in enumerate(series))
    for name in ("work_seconds", "window_seconds", "checkpoint_seconds", "stop_seconds", "detection_seconds"):
        yield name, getattr(truth, name)
    for name in ("work_seconds", "spot_changeover_seconds", "on_demand_changeover_seconds", "stop_seconds"):
        yield f"belief.{name}", getattr(belief, name)
