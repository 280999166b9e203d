"""Nights that are played without a ledger end as they do through one: the same decisions for the same reasons."""

import random
from dataclasses import astuple, replace

import numpy as np
import pytest

from nightspot.job.markets import Fallback, Market, Policy
from nightspot.market.backtest import plan
from nightspot.market.fitting import generate, profiles
from nightspot.market.model import Belief, MarketAvailability, Prices, Truth
from nightspot.market.night import Planned, SimulatedNight, SimulationError
from nightspot.market.samples import BacktestSetting
from nightspot.run.model import Rung
from tests.market.ledger_night import play_through_ledger

NIGHTS = 2_000
HOUR = 3600.0


def market_of(draw: random.Random, window: float) -> MarketAvailability:
    """Of the shipped profiles, or one that flickers so often that types wear out."""
    kind = draw.choice([*profiles(), "flickers", "flickers", "empty"])
    if kind in profiles():
        return generate(profiles()[kind], seconds=3 * window, randomness=draw.randrange(2**32), name=kind)
    if kind == "empty":
        return MarketAvailability(np.array([0.0]), np.array([False]))
    starts = np.cumsum(
        [0.0, *(draw.choice([120.0, 500.0, 1200.0, 3000.0]) * draw.uniform(0.5, 1.5) for _ in range(80))]
    )
    return MarketAvailability(starts, np.arange(81) % 2 == draw.randrange(2))


def ladder_of(draw: random.Random) -> tuple[Rung, ...]:
    """One to three types in each market, of different speeds, prices and patience."""
    rungs = []
    for market in Market:
        for number in range(draw.choice([1, 1, 2, 3])):
            rungs.append(
                Rung(
                    market,
                    f"type-{number}",
                    "simulated",
                    speed=draw.choice([1.0, 1.0, 0.45, 2.0, 0.7]),
                    usd_per_hour=draw.choice([1.0, 2.5]),
                    patience_seconds=draw.choice([600, 1800, 7200]),
                )
            )
    return tuple(rungs)


def night_of(seed: int):
    """(plan, night): every seed another job, market, ladder and policy."""
    draw = random.Random(seed)
    work = draw.choice([1.0, 4.0, 4.0, 11.3]) * HOUR
    window = work * draw.choice([1.05, 1.25, 2.0, 3.0]) + HOUR / 2
    is_exact = draw.random() < 0.5
    checkpoint = draw.choice([0.0, 0.0, 300.0, 1800.0, 5400.0])
    stop = draw.choice([0.0, 120.0, 180.0, 900.0])

    def changeovers() -> tuple[float, ...]:
        return (360.0,) if is_exact else tuple(360 * draw.lognormvariate(0, 0.6) for _ in range(8))

    true_work = work if is_exact else work * draw.gauss(1, 0.08)
    truth = Truth(
        market=market_of(draw, window),
        prices=Prices.flat(0.3)
        if draw.random() < 0.7
        else Prices(np.array([0.0, 7000.0]), np.array([0.2, 0.5])),
        work_seconds=true_work,
        window_seconds=window,
        spot_changeover_seconds=changeovers(),
        on_demand_changeover_seconds=changeovers(),
        on_demand_queue_seconds=draw.choice([(0.0,), (0.0,), (600.0,), (9000.0, 10.0)]),
        checkpoint_seconds=checkpoint,
        stop_seconds=stop,
        detection_seconds=draw.choice([0.0, 0.0, 45.0]),
    )
    belief = Belief(
        work * draw.choice([1.0, 1.0, 1.2]), draw.choice([360.0, 200.0]), draw.choice([360.0, 900.0]), stop
    )
    setting = BacktestSetting(
        work_seconds=work, window_seconds=window, checkpoint_seconds=checkpoint, stop_seconds=stop
    )
    policy = draw.choice([*[Policy.PATIENT] * 3, Policy.EAGER, Policy.ON_DEMAND])
    planned = plan(setting, belief, policy)
    changes = {"checkpoint_s3_uri": None} if draw.random() < 0.1 else {}
    fallback = Fallback.NEVER if draw.random() < 0.05 else Fallback.ON_DEMAND
    if draw.random() < 0.6:
        changes["rungs"] = tuple(
            replace(rung, change_over_seconds=planned.rungs_of(rung.market)[0].change_over_seconds)
            for rung in ladder_of(draw)
        )
    markets = {"type-1": market_of(draw, window)} if draw.random() < 0.5 else {}
    return replace(planned, fallback=fallback, **changes), SimulatedNight(
        truth, markets=markets, shows_pace=draw.random() < 0.4, with_spans=True
    )


def played(play):
    """(result, what was decided): the result is None where the night has no model."""
    decided = []
    try:
        return play(decided.append), decided
    except SimulationError as error:
        return str(error).partition(":")[0], decided


def without_ledger(run, night):
    def play(note):
        def on_decision(now, decision):
            note((now, decision.action, decision.reason, decision.wait_seconds, decision.is_late))

        return Planned(run).play(night._replace(on_decision=on_decision))

    return played(play)


def through_ledger(run, night):
    def play(note):
        def on_step(step):
            now = (step.at - run.started_at).total_seconds()
            note((now, step.action, step.reason, step.wait_seconds or 0, step.late))

        return play_through_ledger(run, night, on_step)

    return played(play)


@pytest.mark.parametrize("first", range(0, NIGHTS, 500))
def test_nights_are_the_same_with_and_without_a_ledger(first):
    for seed in range(first, first + 500):
        run, night = night_of(seed)
        fast, decided = without_ledger(run, night)
        slow, steps = through_ledger(run, night)
        assert [what for _, *what in decided] == [what for _, *what in steps], seed
        # A ledger's times are whole microseconds.
        assert [now for now, *_ in decided] == pytest.approx([now for now, *_ in steps], abs=1e-5), seed
        if isinstance(slow, str):
            assert fast == slow, seed
            continue
        assert [each[2:] for each in map(astuple, fast.spans)] == [
            each[2:] for each in map(astuple, slow.spans)
        ]
        for name in ("cost", "finished_seconds", "spot_seconds", "on_demand_seconds", "waited_seconds"):
            assert getattr(fast, name) == pytest.approx(getattr(slow, name), rel=1e-9), (seed, name)
        for name in ("late", "interruptions", "launches"):
            assert getattr(fast, name) == getattr(slow, name), (seed, name)
