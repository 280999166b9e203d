"""Random nights on ladders whose types differ in speed, planned with the truth: none of them may be late."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from datetime import timedelta

import numpy as np

from nightspot.job.markets import Market, Policy
from nightspot.market.backtest import plan
from nightspot.market.fitting import generate, profiles
from nightspot.market.model import Belief, MarketAvailability, NightResult, Prices, Truth
from nightspot.market.night import MIDNIGHT, Planned, SimulatedNight
from nightspot.market.samples import BacktestSetting
from nightspot.run.model import Run, Rung

HOUR = 3600.0
NIGHTS = 20_000
SPEEDS = (0.3, 0.5, 0.8, 1.0, 1.0, 1.25, 1.5, 2.0)


def night_of(seed: int) -> tuple[Run, SimulatedNight]:
    """(plan, night) of a seed. On-demand would be in time from the start, and takes as long as planned."""
    draw = random.Random(seed)
    rungs = tuple(
        _rung(draw, market, number) for market in Market for number in range(draw.choice([1, 1, 2, 3]))
    )
    work = draw.choice([1.0, 2.5, 4.0, 8.0]) * HOUR
    stop = draw.choice([0.0, 120.0, 180.0, 600.0])
    spot, on_demand = draw.choice([0, 120, 600, 1500]), draw.choice([120, 600, 1500])
    rungs = tuple(
        replace(rung, change_over_seconds=spot if rung.market is Market.SPOT else on_demand) for rung in rungs
    )
    soonest = min(on_demand + work / rung.speed for rung in rungs if rung.market is Market.ON_DEMAND)
    window = math.ceil(soonest * draw.choice([1.0, 1.1, 1.3, 1.6, 2.0, 3.0]) + draw.choice([0, 300, 3600]))
    checkpoint = draw.choice([0.0, 300.0, 900.0, 1800.0, 3600.0, 5400.0])
    truth = Truth(
        market=_market(draw, window),
        prices=Prices.flat(0.35),
        work_seconds=work,
        window_seconds=window,
        spot_changeover_seconds=(float(spot),),
        on_demand_changeover_seconds=(float(on_demand),),
        checkpoint_seconds=checkpoint,
        stop_seconds=stop,
    )
    setting = BacktestSetting(
        work_seconds=work, window_seconds=100 * work, checkpoint_seconds=checkpoint, stop_seconds=stop
    )
    run = plan(setting, Belief(work, spot, on_demand, stop), Policy.PATIENT)
    markets = {rung.instance_type: _market(draw, window) for rung in rungs if draw.random() < 0.5}
    run = replace(run, rungs=rungs, deadline=MIDNIGHT + timedelta(seconds=window))
    return run, SimulatedNight(truth, markets=markets)


def play(seed: int) -> NightResult:
    """What the deployed rule makes of it."""
    run, night = night_of(seed)
    return Planned(run).play(night)


def _rung(draw: random.Random, market: Market, number: int) -> Rung:
    speed = draw.choice(SPEEDS)
    return Rung(
        market,
        f"type-{number}",
        "simulated",
        speed=speed,
        usd_per_hour=round(speed * draw.uniform(0.8, 1.6), 2),
        patience_seconds=draw.choice([600, 1800, 3600]),
    )


def _market(draw: random.Random, window: float) -> MarketAvailability:
    """Of a shipped profile, or one with so many short lives that most checkpoints are missed."""
    kind = draw.choice([*profiles(), "flickers", "flickers"])
    if kind in profiles():
        return generate(profiles()[kind], seconds=3 * window, randomness=draw.randrange(2**32), name=kind)
    mean = draw.choice([300.0, 1500.0, 5000.0])
    starts = np.cumsum([0.0, *(mean * draw.uniform(0.3, 2.0) for _ in range(80))])
    return MarketAvailability(starts, np.arange(81) % 2 == draw.randrange(2))
