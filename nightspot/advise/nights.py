"""Plays the same months of nights under a plan, a deadline and a checkpoint interval: the decisions are the
deployed ones (`rule.decide`), the markets and machines are made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf, sqrt
from statistics import fmean

import numpy as np

from nightspot.advise.markets import MonthMarkets
from nightspot.advise.question import Figure, assumed, priced
from nightspot.decide.rule import Decision
from nightspot.formats.figures import DAY_SECONDS
from nightspot.job.markets import Market, Policy
from nightspot.job.times import Schedule, values_of
from nightspot.market.backtest import plan
from nightspot.market.engine import RivalDecision, SimulatedMachine, SimulatedState, View, play_rule
from nightspot.market.model import Belief, NightResult, Prices, Truth
from nightspot.market.night import Planned, SimulatedNight, SimulationError
from nightspot.market.samples import HOUR, BacktestSetting, truth_of
from nightspot.run.model import Action, Run

MONTHS = 10
MOST_NIGHTS = 60  # of a month are played; more are counted up


@dataclass(frozen=True)
class PlayedMonth:
    """What became of every night, month by month. `nights` is how many a real month has.

    A night's `cost` and `on_demand_seconds` are without on-demand's start-up, as `costs` counts on-demand alone;
    one without any model is late, and finished at infinity. `distinct`: how many of the nights tell something of
    their own, where the markets do not hold as many as were played.
    """

    months: tuple[tuple[NightResult, ...], ...]
    nights: float
    distinct: int | None = None

    @cached_property
    def month_hours(self) -> tuple[float, ...]:
        """The cost of each month, in hours of on-demand."""
        return tuple(self.nights / len(month) * sum(night.cost for night in month) for month in self.months)

    @property
    def mean_hours(self) -> float:
        return fmean(self.month_hours)

    @property
    def on_demand_hours(self) -> float:
        """Training on on-demand in a month, on average."""
        return self.nights * fmean(night.on_demand_seconds for month in self.months for night in month) / HOUR

    def share(self, holds: Callable[[NightResult], bool]) -> float:
        """The share of all nights of which that holds, 0..1."""
        return fmean(holds(night) for month in self.months for night in month)

    @cached_property
    def fallen_back(self) -> float:
        """The share of nights in which Spot alone did not make the model."""
        return self.share(lambda night: night.on_demand_seconds > 0 or night.finished_seconds == inf)

    @property
    def without_model(self) -> float:
        return self.share(lambda night: night.finished_seconds == inf)

    @cached_property
    def late(self) -> float:
        """The share of nights without a model in time."""
        return self.share(lambda night: night.late)

    @property
    def late_at_most(self) -> float:
        """Below which that share lies with 95 % confidence, as far as the played nights are like real ones.

        Of none in n nights: 3 in n (the rule of three).
        """
        count = sum(len(month) for month in self.months)
        told = count if self.distinct is None else min(count, self.distinct)
        return min(1.0, most_seen(self.late * told) / told)

    @property
    def interruptions(self) -> float:
        return fmean(night.interruptions for month in self.months for night in month)


def most_seen(seen: float) -> float:
    """The largest mean of a Poisson count of which at most `seen` are seen in one case of twenty.

    Wilson and Hilferty's approximation of half the chi-squared quantile of 2 (seen + 1) degrees, within 1 %.
    """
    if seen <= 0:
        return RULE_OF_THREE
    degrees = seen + 1
    return float(degrees * (1 - 1 / (9 * degrees) + _DEVIATE_95 / (3 * sqrt(degrees))) ** 3)


RULE_OF_THREE = 3.0
_DEVIATE_95 = 1.6449


@dataclass(frozen=True)
class NightsPlan:
    """The nights to play: what each is like (`truths`, by month; `setting` drew them), and what is planned (`run`).

    `distinct`: see `PlayedMonth`.
    """

    setting: BacktestSetting
    run: Run
    policy: Policy
    truths: tuple[tuple[Truth, ...], ...]
    nights: float
    distinct: int | None = None

    def with_window(self, seconds: float) -> NightsPlan:
        """The same nights with another deadline."""
        truths = self._changed(lambda truth: replace(truth, window_seconds=seconds))
        return replace(self, setting=replace(self.setting, window_seconds=seconds), truths=truths)

    def with_checkpoints(self, every_seconds: float, work_seconds: float) -> NightsPlan:
        """The same nights with a checkpoint so often, and the work that is left of it then."""
        share = work_seconds / self.setting.work_seconds
        setting = replace(self.setting, checkpoint_seconds=every_seconds, work_seconds=work_seconds)
        run = replace(
            self.run,
            checkpoint_s3_uri=self.run.checkpoint_s3_uri or "s3://simulated/checkpoints",
            work_upper_seconds=self.run.work_upper_seconds * share,
        )
        truths = self._changed(
            lambda truth: replace(
                truth, checkpoint_seconds=every_seconds, work_seconds=truth.work_seconds * share
            )
        )
        return replace(self, setting=setting, run=run, truths=truths)

    def _changed(self, change: Callable[[Truth], Truth]) -> tuple[tuple[Truth, ...], ...]:
        return tuple(tuple(change(truth) for truth in month) for month in self.truths)

    @property
    def late_on_demand(self) -> float:
        """The share of these nights in which on-demand from the start is late, on its fastest rung."""
        return fmean(
            truth.is_late(
                truth.on_demand_queue_seconds[0]
                + truth.on_demand_changeover_seconds[0]
                + truth.work_seconds / self.setting.on_demand_speed
            )
            for month in self.truths
            for truth in month
        )


def stage_of(
    setting: BacktestSetting, run: Run, policy: Policy, markets: MonthMarkets, nights: float
) -> NightsPlan:
    """Ten months on these markets, with the luck that the setting's seed draws for each night."""
    prices = Prices.flat(1.0 if setting.spot_ratio is None else setting.spot_ratio)
    truths = []
    for number in range(MONTHS):
        luck = np.random.default_rng([setting.seed, number, _LUCK])
        truths.append(tuple(truth_of(setting, market, prices, luck) for market in markets.month(number)))
    return NightsPlan(setting, run, policy, tuple(truths), nights, markets.distinct)


_LUCK = 1  # beside the markets' own randomness, which has the same seed and month


def nights_played(nights: float) -> int:
    return max(1, min(MOST_NIGHTS, round(nights)))


def with_nightspot(stage: NightsPlan) -> PlayedMonth:
    """Each night by the deployed rule, start-ups on Spot paid in full.

    Raises SimulationError for one without end.
    """
    planned = Planned(plan(stage.setting, _belief(stage), stage.policy, stage.run))

    def played(truth: Truth) -> NightResult:
        night = _played(planned, truth)
        # On-demand alone is counted without its start-up (see `costs`), so that of the fallback does not count
        # either: else on-demand would cost more as a fallback than as itself.
        start = min(night.on_demand_seconds, truth.on_demand_changeover_seconds[0])
        return night._replace(
            cost=night.cost - start / HOUR, on_demand_seconds=night.on_demand_seconds - start
        )

    return PlayedMonth(
        tuple(tuple(played(truth) for truth in month) for month in stage.truths), stage.nights, stage.distinct
    )


def _played(planned: Planned, truth: Truth) -> NightResult:
    try:
        return planned.play(SimulatedNight(truth))
    except SimulationError:
        decisions: list[tuple[float, Decision]] = []
        with suppress(SimulationError):
            planned.play(
                SimulatedNight(truth, on_decision=lambda at, decision: decisions.append((at, decision)))
            )
        if not decisions or decisions[-1][1].action is not Action.FINISH:
            raise
        return _without_model(planned, truth, decisions)


def _without_model(
    planned: Planned, truth: Truth, decisions: Sequence[tuple[float, Decision]]
) -> NightResult:
    """What a night has cost that the rule has given up: skipped, or far past its deadline."""
    machine = SimulatedMachine(truth, usd_per_hour=planned.usd_per_hour)
    for at, decision in decisions:
        while machine.until <= at:
            machine.move_on()
        if decision.action is Action.START:
            machine.ask(decision.rung, at)
        elif decision.action is Action.STOP:
            machine.stop(at)
    return machine.result()._replace(late=True, finished_seconds=inf)


def with_spot_alone(stage: NightsPlan) -> PlayedMonth:
    """Each night as one managed Spot job that SageMaker ends at the deadline: late nights have no model at all."""
    belief = _belief(stage)

    def played(truth: Truth) -> NightResult:
        night = play_rule(_spot_to_the_deadline, truth, belief)
        # What follows the deadline only brings the simulated night to its end; nobody pays for it.
        return night._replace(cost=night.cost - night.on_demand_seconds / HOUR, on_demand_seconds=0.0)

    return PlayedMonth(
        tuple(tuple(played(truth) for truth in month) for month in stage.truths), stage.nights, stage.distinct
    )


def _spot_to_the_deadline(view: View) -> RivalDecision:
    over = view.left_seconds <= 0 or view.wanted is SimulatedState.ON_DEMAND
    return (
        RivalDecision(SimulatedState.ON_DEMAND)
        if over
        else RivalDecision(SimulatedState.SPOT, view.left_seconds)
    )


def _belief(stage: NightsPlan) -> Belief:
    spot, on_demand = (stage.run.rungs_of(market)[0] for market in Market)
    return Belief(
        work_seconds=stage.run.work_upper_seconds,
        spot_changeover_seconds=spot.change_over_seconds,
        on_demand_changeover_seconds=on_demand.change_over_seconds,
        stop_seconds=stage.setting.stop_seconds,
    )


MONTH_DAYS = 30.0
_YEAR_DAYS = 365.25
_LONGEST_MONTH_DAYS = 31


def nights_a_month(schedule: Schedule | None) -> Figure:
    """How often the schedule starts the job in a month of thirty days, more than 0; one a night without any.

    The year field is not looked at.
    """
    if schedule is None:
        return assumed(MONTH_DAYS, "no schedule in the job file: one run a night")
    if schedule.rate_seconds is not None:
        starts = MONTH_DAYS * DAY_SECONDS / schedule.rate_seconds
    else:
        starts = _of_cron(schedule.cron or "")
    return priced(starts, f"the job's schedule, {schedule.expression}")


def _of_cron(cron: str) -> float:
    minutes, hours, days, months, weekdays, _ = values_of(cron)
    if weekdays.numbers or weekdays.special:
        a_month = MONTH_DAYS / 7 * len(weekdays.numbers) + len(weekdays.special)
    elif len(days.numbers) == _LONGEST_MONTH_DAYS:
        a_month = MONTH_DAYS
    else:
        # The last day, the weekday nearest to the 15th: once a month each.
        a_month = (len(days.numbers) + len(days.special)) * MONTH_DAYS / (_YEAR_DAYS / 12)
    return len(minutes.numbers) * len(hours.numbers) * a_month * len(months.numbers) / 12
