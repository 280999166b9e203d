"""Plays the same months of nights under a plan, a deadline and a checkpoint interval: the decisions are the
deployed ones (`rule.decide`), the markets and machines are made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

from nightspot.advise.pool import MonthMarkets
from nightspot.advise.question import Figure, assumed, priced
from nightspot.formats.figures import DAY_SECONDS
from nightspot.job.markets import Market, Policy
from nightspot.job.times import Schedule, values_of
from nightspot.market.backtest import plan
from nightspot.market.engine import RivalDecision, SimulatedState, View, play_rule
from nightspot.market.model import Belief, MarketAvailability, NightResult, Prices, Truth
from nightspot.market.night import Planned, SimulatedNight
from nightspot.market.samples import HOUR, BacktestSetting
from nightspot.run.model import Run

MONTHS = 10
MOST_NIGHTS = 60  # of a month are played; more are counted up


@dataclass(frozen=True)
class PlayedMonth:
    """What became of every night, month by month. `nights` is how many a real month has."""

    months: tuple[tuple[NightResult, ...], ...]
    nights: float
    cost_hours: Callable[[NightResult], float] = lambda night: night.cost  # in hours of on-demand

    @cached_property
    def month_hours(self) -> tuple[float, ...]:
        """The cost of each month, in hours of on-demand."""
        return tuple(
            self.nights / len(month) * sum(self.cost_hours(night) for night in month) for month in self.months
        )

    @property
    def mean_hours(self) -> float:
        return fmean(self.month_hours)

    def share(self, holds: Callable[[NightResult], bool]) -> float:
        """The share of all nights of which that holds, 0..1."""
        return fmean(holds(night) for month in self.months for night in month)

    @property
    def fallen_back(self) -> float:
        return self.share(lambda night: night.on_demand_seconds > 0)

    @property
    def late(self) -> float:
        return self.share(lambda night: night.late)

    @property
    def interruptions(self) -> float:
        return fmean(night.interruptions for month in self.months for night in month)


@dataclass(frozen=True)
class NightsPlan:
    """The nights to play: their markets, what is planned (`run`), and what they are like (`setting`)."""

    setting: BacktestSetting
    run: Run
    policy: Policy
    markets: tuple[tuple[MarketAvailability, ...], ...]  # by month
    nights: float

    def with_window(self, seconds: float) -> NightsPlan:
        return replace(self, setting=replace(self.setting, window_seconds=seconds))

    def with_checkpoints(self, every_seconds: float, work_seconds: float) -> NightsPlan:
        """The same nights with a checkpoint so often, and the work that is left of it then."""
        share = work_seconds / self.setting.work_seconds
        setting = replace(self.setting, checkpoint_seconds=every_seconds, work_seconds=work_seconds)
        run = replace(
            self.run,
            checkpoint_s3_uri=self.run.checkpoint_s3_uri or "s3://simulated/checkpoints",
            work_upper_seconds=self.run.work_upper_seconds * share,
        )
        return replace(self, setting=setting, run=run)


def stage_of(
    setting: BacktestSetting, run: Run, policy: Policy, markets: MonthMarkets, nights: float
) -> NightsPlan:
    return NightsPlan(setting, run, policy, tuple(markets(month) for month in range(MONTHS)), nights)


def nights_played(nights: float) -> int:
    return max(1, min(MOST_NIGHTS, round(nights)))


def with_nightspot(stage: NightsPlan) -> PlayedMonth:
    """Each night by the deployed rule, start-ups on Spot paid in full. Raises NightError for one without end."""
    planned = Planned(plan(stage.setting, _belief(stage), stage.policy, stage.run))
    start_hours = stage.setting.changeover_of(Market.ON_DEMAND) / HOUR

    def cost_hours(night: NightResult) -> float:
        # On-demand alone is assumedout its start-up (see `costs`), so that of the fallback does not count
        # either: else on-demand would cost more as a fallback than as itself.
        return night.cost - (start_hours if night.on_demand_seconds > 0 else 0.0)

    return PlayedMonth(
        tuple(tuple(planned.play(SimulatedNight(truth)) for truth in month) for month in _truths(stage)),
        stage.nights,
        cost_hours,
    )


def with_spot_alone(stage: NightsPlan) -> PlayedMonth:
    """Each night as one managed Spot job that SageMaker ends at the deadline: late nights have no model at all."""
    return PlayedMonth(
        tuple(
            tuple(play_rule(_spot_to_the_deadline, truth, _belief(stage)) for truth in month)
            for month in _truths(stage)
        ),
        stage.nights,
        _spot_cost,
    )


def _spot_to_the_deadline(view: View) -> RivalDecision:
    over = view.left_seconds <= 0 or view.wanted is SimulatedState.ON_DEMAND
    return (
        RivalDecision(SimulatedState.ON_DEMAND)
        if over
        else RivalDecision(SimulatedState.SPOT, view.left_seconds)
    )


def _spot_cost(night: NightResult) -> float:
    """What follows the deadline only brings the simulated night to its end; nobody pays for it."""
    return night.cost - night.on_demand_seconds / HOUR


def _belief(stage: NightsPlan) -> Belief:
    spot, on_demand = (stage.run.rungs_of(market)[0] for market in Market)
    return Belief(
        work_seconds=stage.run.work_upper_seconds,
        spot_changeover_seconds=spot.change_over_seconds,
        on_demand_changeover_seconds=on_demand.change_over_seconds,
        stop_seconds=stage.setting.stop_seconds,
    )


def _truths(stage: NightsPlan) -> Sequence[Sequence[Truth]]:
    return [[_truth(stage.setting, market) for market in month] for month in stage.markets]


def _truth(setting: BacktestSetting, market: MarketAvailability) -> Truth:
    ratio = setting.spot_ratio
    return Truth(
        market=market,
        prices=Prices.flat(1.0 if ratio is None else ratio),
        work_seconds=setting.work_seconds,
        window_seconds=setting.window_seconds,
        spot_changeover_seconds=(setting.changeover_of(Market.SPOT),),
        on_demand_changeover_seconds=(setting.changeover_of(Market.ON_DEMAND),),
        checkpoint_seconds=setting.checkpoint_seconds,
        stop_seconds=setting.stop_seconds,
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
