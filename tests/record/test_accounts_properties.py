"""Accounts hold for any runs, however they are grouped."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.costs.lost_work import Evidence
from nightspot.record import statement as accounts
from nightspot.record.model import Ending, read_record
from nightspot.record.statement import FIGURES
from nightspot.run.model import Outcome
from nightspot.run.reasons import Reason

SAVINGS = ("saved_usd", "saved_at_most_usd")  # below 0 too
figure = st.none() | st.floats(0, 1e5).map(lambda value: round(value, 4))  # as summaries store them


@st.composite
def runs(draw):
    """The account of a run whose summary may lack any figure."""
    started = datetime(2026, 10, 1, tzinfo=UTC) + timedelta(hours=draw(st.integers(0, 24 * 92)))
    summary = {
        "job": draw(st.sampled_from(["recommender", "adverts"])),
        "run_id": "20261121-abc123",
        "outcome": draw(st.sampled_from([*(outcome.value for outcome in Outcome), "running"])),
        "started_at": started.isoformat(),
        "deadline_met": draw(st.booleans()),
        "interruptions": draw(st.integers(0, 5)),
        "fell_back": draw(st.booleans()),
        "fell_back_reason": draw(st.none() | st.sampled_from([reason.value for reason in Reason])),
        "repeated_evidence": draw(st.none() | st.sampled_from([each.value for each in Evidence])),
        **{name: draw(figure) for name in FIGURES},
    }
    cost = summary["cost_usd"]
    summary["cost_at_least_usd"] = draw(st.floats(0, 100)) if cost is None else cost
    return read_record(summary)


many = st.lists(runs(), max_size=12)


def alike(one, other):
    """The same statement, but for how its sums were rounded."""
    ours, theirs = accounts.to_json(one), accounts.to_json(other)
    for name in FIGURES:
        assert ours["totals"][name] == pytest.approx(theirs["totals"][name], abs=1e-6)
    for name in ("compared_usd", "open_cost_at_least_usd"):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-6)
    for name in ("saved_percent", "known_saved_percent"):  # made of the two sums above
        assert (ours[name] is None) == (theirs[name] is None)
    for both in (ours, theirs):
        for name in (
            "totals",
            "compared_usd",
            "open_cost_at_least_usd",
            "saved_percent",
            "known_saved_percent",
        ):
            del both[name]
    assert ours == theirs


@given(many, st.randoms(use_true_random=False))
def test_the_whole_is_the_sum_of_its_parts_however_runs_are_grouped(several, random):
    whole = accounts.statement(several)
    for parts in (accounts.by_month(several).values(), accounts.by_job(several).values()):
        for ending in Ending:
            assert sum(part.endings[ending] for part in parts) == whole.endings[ending]
        for name in FIGURES:
            known, covers, of = (
                sum(getattr(part.totals[name], field) for part in parts)
                for field in ("known", "covers", "of")
            )
            assert (covers, of) == (whole.totals[name].covers, whole.totals[name].of)
            assert known == pytest.approx(whole.totals[name].known, abs=1e-6)
        assert sum(part.compared_usd for part in parts) == pytest.approx(whole.compared_usd, abs=1e-6)
    shuffled = list(several)
    random.shuffle(shuffled)
    alike(accounts.statement(shuffled), whole)


@given(many)
def test_a_month_is_the_sum_of_its_nights(several):
    for month, statement in accounts.by_month(several).items():
        nights = [
            run
            for run in several
            if run.month == month and run.ending not in (Ending.RUNNING, Ending.REFUSED)
        ]
        for name in FIGURES:
            figures = [getattr(run, name) for run in nights]
            total = statement.totals[name]
            assert (total.covers, total.of) == (len(figures) - figures.count(None), len(nights))
            if None in figures:
                assert total.value is None
            else:
                assert total.value == pytest.approx(sum(figures), abs=1e-6)


@given(runs())
def test_a_run_saved_something_known_only_where_all_it_needs_is_known(run):
    over = run.ending is not Ending.RUNNING
    needed = over and None not in (run.cost_usd, run.on_demand_cost_usd)
    assert (run.saved_usd is not None) == needed
    assert (run.missing == ()) == needed
    assert (run.saved_at_most_usd is not None) == needed
    assert not needed or run.saved_usd <= run.saved_at_most_usd


@given(many)
def test_the_months_percent_and_its_saving_are_there_together(several):
    whole = accounts.statement(several)
    saved = whole.totals["saved_usd"]
    if saved.covers < saved.of:
        assert (saved.value, whole.saved_percent) == (None, None)
    if whole.known_saved_percent is not None:
        assert whole.known_saved_percent <= 100 + 1e-9
        assert saved.known == pytest.approx(whole.compared_usd * whole.known_saved_percent / 100, abs=1e-6)


@given(many, runs())
def test_another_night_never_lowers_what_is_known_to_be_spent(several, more):
    before, after = accounts.statement(several), accounts.statement([*several, more])
    for name in FIGURES:
        if name not in SAVINGS:
            assert after.totals[name].known >= before.totals[name].known - 1e-9


@given(many)
def test_nothing_is_negative_but_savings(several):
    whole = accounts.statement(several)
    assert all(total.known >= 0 for name, total in whole.totals.items() if name not in SAVINGS)
    assert whole.compared_usd >= 0
    assert all(share is None or 0 <= share <= 1 for share in whole.shares.values())


@given(many)
def test_json_is_read_back_as_it_was_written(several):
    written = accounts.to_json(accounts.statement(several))
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    for run in several:
        assert read_record(json.loads(json.dumps(run.to_json(), allow_nan=False))) == run
