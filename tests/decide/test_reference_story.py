"""The story of the README in money: one ml.p4d.24xlarge at $33 an hour, 4 h a night, 30 nights.

Each night is played by the simulator with the deployed policy; what it did is folded into a ledger as SageMaker
would tell it, and the month is added up from the summaries. What the story leaves open is assumed here: Spot at $10
an hour, a checkpoint every 30 minutes, and a new machine that needs 5 minutes until it trains again.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from nightspot.decide import ledger
from nightspot.decide.ledger import JobView, Observation, Transition
from nightspot.job.markets import Market
from nightspot.market.model import Doing, MarketAvailability, Prices, Truth
from nightspot.market.night import MIDNIGHT, SimulatedNight
from nightspot.record import statement as accounts
from nightspot.record.summary import summarise
from nightspot.run.model import Action, Progress
from tests.market.ledger_night import play_through_ledger

HOUR = 3600.0
SPOT_USD, ON_DEMAND_USD = 10.0, 33.0
STEPS = 48  # of five minutes; six to a checkpoint
FIRST_NIGHT = datetime(2026, 11, 1, tzinfo=UTC)


def market(*changes, up=True):
    """Up (or not) from midnight on, and then the other way round at each of `changes`, in hours."""
    starts = [0.0, *(hours * HOUR for hours in changes)]
    return MarketAvailability(
        np.array(starts), np.array([(index % 2 == 0) == up for index in range(len(starts))])
    )


QUIET = market()
# Taken away a quarter of an hour after the checkpoint of 2 h, and to be had again 20 minutes later.
INTERRUPTED = market(2.25, 2.25 + 1 / 3)
EMPTY = market(up=False)


def truth_of(spot):
    return Truth(
        market=spot,
        prices=Prices.flat(SPOT_USD / ON_DEMAND_USD),
        work_seconds=4 * HOUR,
        window_seconds=8 * HOUR,
        # The story's 4 h are all that a quiet night is billed for: the first start-up is in them.
        spot_changeover_seconds=(0.0, 300.0),
        on_demand_changeover_seconds=(0.0,),
        checkpoint_seconds=1800.0,
    )


@pytest.fixture
def night_of(story):
    """The summary of a night on such a market; `day` from 0."""

    def summary(spot, day=0):
        begins = FIRST_NIGHT + timedelta(days=day)
        steps = []
        plan = story.run(started_at=MIDNIGHT, deadline=MIDNIGHT + timedelta(hours=8))
        result = play_through_ledger(plan, SimulatedNight(truth_of(spot)), steps.append)
        run = story.run(
            run_id=f"night-{day:02d}", started_at=begins, deadline=begins + timedelta(hours=8), attempts=()
        )
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            name = f"job-{step.attempt}" if step.action is Action.START else None
            run = ledger.book(run, replace(step, at=begins + (step.at - MIDNIGHT)), name)
            if following is not None and following.action in (Action.START, Action.FINISH):
                spans = _spans(result.spans, steps, run.open_attempt.number)
                run = ledger.fold(run, _seen(spans, run, begins), begins + (following.at - MIDNIGHT))
        return summarise(run)

    return summary


def _spans(spans, steps, attempt):
    """Those of one attempt: from its start to the next one's."""
    starts = [(step.at - MIDNIGHT).total_seconds() for step in steps if step.action is Action.START]
    first, end = [*starts, float("inf")][attempt - 1 : attempt + 1]
    return [span for span in spans if first <= span.start_seconds < end]


def _seen(spans, run, begins):
    """The attempt's training job and the progress file at its end, as AWS would tell them."""
    attempt = run.open_attempt
    completed = spans[-1].doing is Doing.TRAINING
    on_spot = attempt.rung.market is Market.SPOT
    held = sum(s.end_seconds - s.start_seconds for s in spans if s.doing in (Doing.STARTING, Doing.TRAINING))
    view = JobView(
        training_job_name=attempt.training_job_name,
        status="Completed" if completed else "Stopped",
        secondary_status="Completed" if completed else "Stopped",
        transitions=tuple(_transitions(spans, begins)),
        training_seconds=held or None,  # as SageMaker leaves it out where nothing trained
        billable_seconds=(held * SPOT_USD / ON_DEMAND_USD if on_spot else held) or None,
        ended_at=begins + timedelta(seconds=spans[-1].end_seconds),
    )
    progress = None
    if completed:
        progress = Progress(
            step=STEPS,
            saved_at=view.ended_at,
            total_steps=STEPS,
            seconds_per_step=4 * HOUR / STEPS,
            attempt=attempt.number,
        )
    return Observation(jobs={attempt.training_job_name: view}, progress=progress)


def _transitions(spans, begins):
    words = {Doing.STARTING: "Downloading", Doing.TRAINING: "Training", Doing.STOPPING: "Stopping"}
    had_machine = False
    for span in spans:
        waiting = "Interrupted" if had_machine else "Starting"
        had_machine = had_machine or span.doing is not Doing.WAITING
        yield Transition(
            words.get(span.doing, waiting),
            begins + timedelta(seconds=span.start_seconds),
            begins + timedelta(seconds=span.end_seconds),
        )


@pytest.fixture
def month_of(night_of):
    """The statement of 30 nights, of which the first ones are as given and the others quiet."""

    def statement(*nights):
        markets = [*nights, *[QUIET] * (30 - len(nights))]
        summaries = [night_of(spot, day) for day, spot in enumerate(markets)]
        months = accounts.by_month(summaries)
        assert list(months) == ["2026-11"]
        return months["2026-11"]

    return statement


def usd(statement, name):
    return statement.totals[name].value


def test_thirty_nights_on_demand_alone_are_3960_dollars(month_of):
    assert usd(month_of(), "on_demand_cost_usd") == pytest.approx(30 * 4 * 33)
    assert 30 * 4 * 33 == 3960


def test_thirty_quiet_nights_on_spot_are_1200_dollars(month_of):
    month = month_of()
    assert usd(month, "cost_usd") == pytest.approx(1200, abs=0.01)
    assert month.saved_percent == pytest.approx(69.7, abs=0.01)
    assert (month.nights, month.interrupted, month.fell_back) == (30, 0, 0)


def test_three_interrupted_nights_make_it_1210_dollars(month_of):
    # Each repeats 15 minutes and starts once more for 5: a third of an hour at $10.
    month = month_of(*[INTERRUPTED] * 3)
    assert usd(month, "cost_usd") == pytest.approx(1210, abs=0.01)
    assert usd(month, "on_demand_cost_usd") == pytest.approx(3960, abs=0.01)
    assert usd(month, "saved_usd") == pytest.approx(2750, abs=0.01)
    assert month.saved_percent == pytest.approx(69.44, abs=0.01)
    assert (month.shares["interrupted"], month.interruptions, month.fell_back) == (0.1, 3, 0)
    assert month.shares["in_time"] == 1
    assert usd(month, "repeated_seconds") == pytest.approx(3 * 900)
    assert usd(month, "lost_seconds") == pytest.approx(3 * 1200)
    assert month.repeated_estimated == 0


def test_two_nights_on_demand_make_it_1384_dollars(month_of):
    # 28 nights at $40 and two at $132; the wait for Spot that never came costs nothing.
    month = month_of(EMPTY, EMPTY)
    assert usd(month, "cost_usd") == pytest.approx(1384, abs=0.01)
    assert usd(month, "saved_usd") == pytest.approx(2576, abs=0.01)
    assert month.saved_percent == pytest.approx(65.05, abs=0.01)
    assert (month.fell_back, month.interrupted, month.endings["late"]) == (2, 0, 0)
    assert usd(month, "waited_seconds") > 2 * 2 * HOUR


def test_the_figures_imply_a_spot_discount_of_about_70_percent(night_of):
    spot = night_of(QUIET).attempts[0]
    assert 1 - spot.billable_seconds / spot.trained_seconds == pytest.approx(0.697, abs=0.0005)


def test_an_interruption_takes_20_minutes_on_average_wherever_it_falls(night_of):
    # Half a checkpoint interval is repeated, and one start-up comes on top: what 1,210 dollars rest on.
    moments = [2 + (minute + 0.5) / 60 for minute in range(30)]
    nights = [night_of(market(moment, moment + 1 / 3)) for moment in moments]
    assert sum(night.lost_seconds for night in nights) / 30 == pytest.approx(1200, abs=1)
    assert sum(night.cost_usd for night in nights) / 30 == pytest.approx(40 + 10 / 3, abs=0.01)
    assert all(night.saved_usd == pytest.approx(132 - night.cost_usd, abs=1e-3) for night in nights)
