"""Sums over attempts hold for any attempts, and nothing is saved out of figures that are missing."""

from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.costs import account as costs
from nightspot.failures.codes import FailureClass
from nightspot.job.markets import Market
from nightspot.record.summary import summarise
from nightspot.run.model import Outcome, Progress, evolve

seconds = st.floats(0, 1e6)
bills = st.lists(
    st.tuples(st.none() | seconds, seconds, st.none() | st.floats(0.1, 100), st.integers(1, 8)), max_size=6
)
MARGINS = ("saved_usd", "saved_at_most_usd", "margin_seconds")
SUMS = (
    "cost_usd",
    "on_demand_cost_usd",
    "saved_usd",
    "trained_seconds",
    "starting_seconds",
    "repeated_seconds",
    "lost_seconds",
    "billable_seconds",
)


@pytest.fixture(scope="session")
def run_of(story):
    def run(bills):
        attempts = [
            story.ended(
                FailureClass.INTERRUPTED,
                replace(story.spot, usd_per_hour=price, instance_count=count),
                number=number,
                billable_seconds=billed,
                trained_seconds=trained,
                worked_seconds=trained,
            )
            for number, (billed, trained, price, count) in enumerate(bills, 1)
        ]
        return story.run(attempts=attempts)

    return run


@st.composite
def tried(draw):
    """An attempt: what it did, how many steps it added, and what SageMaker and the price book leave out."""
    worked = draw(st.just(0.0) | st.floats(1, 20_000))
    lacks = draw(st.sets(st.sampled_from(["billable", "price", "transitions", "trained"]), max_size=1))
    starting = draw(st.floats(0, 600)) if worked else 0.0
    transitions = lacks.isdisjoint({"transitions", "trained"})
    return {
        "market": draw(st.sampled_from(Market)),
        "usd_per_hour": None if "price" in lacks else draw(st.floats(0.1, 100)),
        "plan_share": draw(st.none() | st.floats(0, 1)),
        "speed": draw(st.sampled_from([0.5, 1.0, 2.0])),
        "instance_count": draw(st.integers(1, 4)),
        "worked_seconds": worked if transitions else None,
        "trained_seconds": 0.0 if "trained" in lacks else worked + starting,
        "billable_seconds": None if "billable" in lacks or not worked else worked * draw(st.floats(0.1, 1)),
        "queued_seconds": 10.0 if worked and transitions else None,
        "ready_seconds": 10.0 + starting if worked and transitions else None,
        "interruptions": draw(st.integers(0, 3)) if worked else 0,
        "ended_waiting": draw(st.booleans()),
        "seconds_per_step": draw(st.none() | st.floats(1, 1000)) if worked else None,
        "added": draw(st.integers(0, 20)) if worked else 0,
    }


@st.composite
def nights(draw):
    """A run's attempts, whether its steps are visible, its outcome (None: open), what a plan leaves of a price."""
    return (
        draw(st.lists(tried(), max_size=5)),
        draw(st.booleans()),
        draw(st.none() | st.sampled_from(Outcome)),
        draw(st.none() | st.floats(0, 1)),
    )


def under_plan(rung, share):
    """The rung where an idle Savings Plan leaves `share` of its price; None: no plan."""
    usd = rung.usd_per_hour
    return replace(rung, least_usd_per_hour=None if None in (share, usd) else usd * share)


@pytest.fixture(scope="session")
def night_of(story):
    def run(attempts, steps_show, outcome, plan_share):
        steps = list(accumulate(each["added"] for each in attempts))
        built = [_attempt(story, each, number) for number, each in enumerate(attempts, 1)]
        if steps_show:
            built = [evolve(a, step_after=step) for a, step in zip(built, steps, strict=True)]
        else:
            built = [evolve(a, seconds_per_step=None) for a in built]
        if built and outcome is Outcome.SUCCEEDED:
            built[-1] = evolve(built[-1], failure=None, status="Completed", ended_waiting=False)
        progress = Progress(step=steps[-1], saved_at=story.at("06:00")) if steps and steps_show else None
        rungs = [under_plan(rung, plan_share) for rung in (story.spot, story.on_demand)]
        return story.run(rungs=rungs, attempts=built, outcome=outcome, progress=progress)

    return run


def _attempt(story, tried, number):
    rung = replace(
        story.spot if tried["market"] is Market.SPOT else story.on_demand,
        **{name: tried[name] for name in ("usd_per_hour", "speed", "instance_count")},
    )
    rung = under_plan(rung, tried["plan_share"])
    fields = {
        name: value
        for name, value in tried.items()
        if name not in ("market", "added", "usd_per_hour", "plan_share", "speed", "instance_count")
    }
    return story.ended(FailureClass.SERVICE_FAULT, rung, number=number, **fields)


@given(bills)
def test_a_run_costs_what_its_attempts_cost_or_it_is_not_known(run_of, bills):
    account = costs.account(run_of(bills))
    known = [
        (not billed and trained == 0) or None not in (billed, price) for billed, trained, price, _ in bills
    ]

    assert account.unpriced_attempts == tuple(n for n, is_known in enumerate(known, 1) if not is_known)
    priced = [
        (billed or 0) / 3600 * (price or 0) * count
        for (billed, _, price, count), is_known in zip(bills, known, strict=True)
        if is_known
    ]
    assert account.cost_at_least_usd == pytest.approx(sum(priced))
    assert account.cost_usd == (pytest.approx(sum(priced)) if all(known) else None)


@given(nights())
def test_every_sum_of_a_run_is_the_sum_of_its_attempts_or_it_is_not_known(night_of, night):
    account = costs.account(night_of(*night))
    for name in SUMS:
        figures = [getattr(attempt, name) for attempt in account.attempts]
        total = getattr(account, name)
        if total is None:
            # What a model took, or what an open run holds, is not known either where nothing trained, or where
            # nothing of that was kept: then there is no baseline to have saved against.
            assert None in figures or not any(figures) or account.on_demand_cost_usd is None
        else:
            assert total == pytest.approx(sum(figures), abs=1e-6)


@given(nights())
def test_savings_are_told_exactly_where_every_figure_is_there(night_of, night):
    run = night_of(*night)
    account = costs.account(run)
    parts = (run.outcome, account.cost_usd, account.on_demand_cost_usd)
    assert (account.saved_usd is None) == (None in parts)
    assert (account.saved_usd is None) == bool(account.missing)
    if account.saved_usd is not None:
        assert account.saved_usd == pytest.approx(account.on_demand_cost_usd - account.cost_usd, abs=1e-6)


@given(nights())
def test_the_headline_is_the_lower_of_two_bounds_and_without_a_plan_there_is_one(night_of, night):
    run = night_of(*night)
    account = costs.account(run)
    assert (account.saved_usd is None) == (account.saved_at_most_usd is None)
    if account.saved_usd is not None:
        assert account.saved_usd <= account.saved_at_most_usd
    if not account.uses_plan_rate:
        assert account.saved_usd == account.saved_at_most_usd
    bare = evolve(
        run,
        rungs=tuple(under_plan(rung, None) for rung in run.rungs),
        attempts=tuple(evolve(a, rung=under_plan(a.rung, None)) for a in run.attempts),
    )
    listed = costs.account(bare)
    if listed.saved_usd is not None:
        assert account.saved_usd <= listed.saved_usd + 1e-9


@given(nights(), st.data())
def test_without_a_bill_or_a_price_nothing_is_saved(night_of, night, data):
    run = night_of(*night)
    trained = [a for a in run.attempts if a.trained_seconds]
    if not trained:
        return
    taken = data.draw(st.sampled_from(trained))
    price = replace(taken.rung, usd_per_hour=None)
    for lacking in (evolve(taken, billable_seconds=None), evolve(taken, rung=price)):
        account = costs.account(run.with_attempt(lacking))
        assert (account.saved_usd, account.saved_percent, account.cost_usd) == (None, None, None)


@given(nights())
def test_nothing_is_negative_but_savings(night_of, night):
    summary = summarise(night_of(*night)).to_json()
    for figures in (summary, *summary["attempts"]):
        for name, value in figures.items():
            if name.endswith(("_usd", "_seconds")) and name not in MARGINS:
                assert value is None or value >= 0, name


@given(nights(), tried(), st.data())
def test_a_useless_attempt_never_raises_what_was_saved(night_of, night, useless, data):
    attempts, *rest = night
    # It adds no step; where none show, it ends before half a checkpoint interval is over.
    worked = min(useless["worked_seconds"] or 0.0, 900.0)
    useless = {**useless, "added": 0, "worked_seconds": worked, "trained_seconds": worked}
    useless |= {"ended_waiting": False, "interruptions": 0}
    place = data.draw(st.integers(0, max(0, len(attempts) - 1)))  # before the one that completes
    more = [*attempts[:place], useless, *attempts[place:]]
    if not attempts:
        return
    without = costs.account(night_of(attempts, *rest))
    with_it = costs.account(night_of(more, *rest))
    if with_it.saved_usd is not None:
        assert without.saved_usd is not None
        assert with_it.saved_usd <= without.saved_usd + 1e-6


@given(bills)
def test_what_is_spent_is_never_less_than_what_is_billed(run_of, bills):
    run = run_of([(billed, trained, price or 1.0, count) for billed, trained, price, count in bills])
    billed = sum(costs.attempt_cost_usd(attempt) or 0 for attempt in run.attempts)
    assert costs.spent_usd(run) >= billed * (1 - 1e-9)


@given(bills, st.integers(1, 4))
def test_another_attempt_never_makes_a_run_cheaper(run_of, bills, dropped):
    assert costs.spent_usd(run_of(bills)) >= costs.spent_usd(run_of(bills[:-dropped])) * (1 - 1e-9)
