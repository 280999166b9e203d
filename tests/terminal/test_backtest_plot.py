"""The pictures of a backtest: what is in them, told apart without colours, and which night is chosen."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from nightspot.market.backtest import LABELS, OMNISCIENT, Score
from nightspot.market.fitting import generate, profile
from nightspot.market.model import Doing, MarketAvailability
from nightspot.market.samples import BacktestSetting, Zone, samples_of
from nightspot.terminal import backtest_plot

HOUR = 3600.0
STARTS_WITH = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.fixture(scope="module")
def zone():
    market = generate(profile("scarce"), seconds=4 * 24 * HOUR, randomness=3, name="scarce")
    return Zone("scarce", market, 60.0)


@pytest.fixture(scope="module")
def setting():
    return BacktestSetting(starts=2)


@pytest.fixture(scope="module")
def curves(setting, zone):
    return backtest_plot.costs_by_looseness(setting, [zone])


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_a_picture_is_written_in_the_kind_that_its_name_says(
    tmp_path, monkeypatch, setting, zone, curves, ending
):
    monkeypatch.setattr(backtest_plot, "costs_by_looseness", lambda *_, **__: curves)
    path = tmp_path / f"policy{ending}"
    backtest_plot.draw(path, setting, [zone])
    content = path.read_bytes()
    assert content.startswith(STARTS_WITH[ending])
    assert len(content) > 10_000


def test_every_policy_is_a_line_that_is_told_apart_without_colours(curves, setting):
    assert set(backtest_plot.LINES) == set(LABELS)
    looks = {(line.dashes, line.mark) for line in backtest_plot.LINES.values()}
    assert len(looks) == len(LABELS)
    axes = Figure().subplots()
    backtest_plot.draw_costs(axes, curves, setting)
    named = " ".join(text.get_text() for text in axes.texts)
    assert all(name in named for name in LABELS)
    assert len(axes.get_lines()) == len(LABELS)
    assert "% of on-demand" in axes.get_ylabel()


def test_the_deadline_is_loosened_as_far_as_the_traces_reach(curves, setting, zone):
    assert list(curves) == [1.25, 1.5, 2.0, 2.5, 3.0]
    assert curves[3.0]["patient"].cost_ratio < curves[1.25]["patient"].cost_ratio
    short = Zone("short", zone.changes.window(0, 9 * HOUR), 60.0)
    assert list(backtest_plot.costs_by_looseness(setting, [short])) == [1.25, 1.5, 2.0]
    slow = BacktestSetting(starts=1, changeover_seconds=2 * HOUR, window_seconds=7 * HOUR)
    assert list(backtest_plot.costs_by_looseness(slow, [zone])) == [1.5, 1.75, 2.0, 2.5, 3.0]


def test_progress_runs_once_over_all_deadlines(setting, zone):
    seen = []
    backtest_plot.costs_by_looseness(
        setting, [zone], on_progress=lambda done, total: seen.append((done, total))
    )
    assert [done for done, _ in seen] == list(range(1, seen[-1][1] + 1))


@given(st.dictionaries(st.text(min_size=1, max_size=4), st.floats(0, 100), min_size=1, max_size=12))
def test_labels_keep_their_order_and_their_distance(wanted):
    places = backtest_plot.spread(wanted, 3.0)
    in_order = sorted(places.values())
    assert list(places) == sorted(wanted, key=wanted.__getitem__)
    assert list(places.values()) == in_order
    assert all(b - a >= 3.0 - 1e-6 for a, b in pairwise(in_order))


def test_labels_with_room_stay_where_they_belong():
    assert backtest_plot.spread({"a": 10.0, "b": 20.0}, 3.0) == {"a": 10.0, "b": 20.0}


def night_of(setting, zone, rival="max_wait_safe"):
    return backtest_plot.telling_night(setting, [zone], rival)


def test_the_chosen_night_uses_both_markets_and_is_in_time(setting, zone):
    night = night_of(setting, zone)
    assert night.ours.on_demand_seconds > 0
    assert night.ours.spot_seconds > 0
    assert night.ours.interruptions > 0
    assert not night.ours.late
    assert night.rivals.cost > night.ours.cost > night.schedule.cost_on_demand_hours


def test_spot_is_given_up_when_on_demand_begins_and_not_before(setting, zone):
    night = night_of(setting, zone)
    last_spot = max(span.end_seconds for span in night.ours.spans if span.market == "spot")
    first_on_demand = min(span.start_seconds for span in night.ours.spans if span.market == "on_demand")
    assert last_spot <= night.last_safe_seconds <= first_on_demand
    quiet = backtest_plot.played_night(
        setting, zone_up(), next(iter(samples_of(setting, zone_up()))), "greedy"
    )
    assert quiet.last_safe_seconds is None


def zone_up():
    return Zone("up", MarketAvailability(np.zeros(1), np.ones(1, dtype=bool), 30 * HOUR), 60.0)


def test_the_timeline_names_rows_deadline_and_last_safe_moment(setting, zone):
    axes = Figure().subplots()
    night = night_of(setting, zone)
    backtest_plot.draw_night(axes, night, setting)
    words = [text.get_text() for text in axes.texts]
    assert "deadline" in words
    assert any(word.startswith("last safe moment") for word in words)
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == ["patient\n(ours)", "max_wait_safe", OMNISCIENT, "Spot is up"]
    assert f"{night.ours.cost:.2f}" in words


def test_every_phase_of_a_machine_has_its_look():
    wanted = {
        (market, doing) for market in ("spot", "on_demand") for doing in Doing if doing is not Doing.WAITING
    }
    assert wanted | {(None, Doing.WAITING), (None, Doing.STOPPING)} == set(backtest_plot.LOOKS)
    patterns = {(look.label, look.hatch, look.colour) for look in backtest_plot.LOOKS.values()}
    assert len({label for label, _, _ in patterns}) == len(patterns)


def test_the_omniscient_s_stretches_follow_each_other_and_cost_its_bound(setting, zone):
    for sample in samples_of(setting, zone):
        night = backtest_plot.played_night(setting, zone, sample, "greedy")
        spans = list(backtest_plot.spans_of(night.schedule))
        assert spans[0].start_seconds == 0
        assert all(a.end_seconds == pytest.approx(b.start_seconds) for a, b in pairwise(spans))
        price = {"spot": 0.30, "on_demand": 1.0, None: 0.0}
        cost = sum(price[s.market] * (s.end_seconds - s.start_seconds) / HOUR for s in spans)
        assert cost == pytest.approx(night.schedule.cost_on_demand_hours)


def test_the_market_s_band_is_cut_at_the_deadline():
    market = MarketAvailability(np.array([0.0, 1.0, 3.0]) * HOUR, np.array([False, True, False]))
    assert list(backtest_plot.ups(market, 2 * HOUR)) == [(HOUR, 2 * HOUR)]
    assert list(backtest_plot.ups(market, 8 * HOUR)) == [(HOUR, 3 * HOUR)]
    assert list(backtest_plot.ups(market, 0.5 * HOUR)) == []


def score(cost_ratio, late_rate=0.0):
    return Score(1, 1.0, cost_ratio, 1.0, late_rate, 0.0, 0.0, 1.0)


def test_the_rival_is_the_cheapest_that_can_be_had_and_is_not_ours_by_another_name():
    scores = {name: score(0.9) for name in LABELS} | {
        "patient": score(0.50),
        "greedy": score(0.5001),
        "max_wait_safe": score(0.60),
        "max_wait_unsafe": score(0.55, late_rate=0.2),
        "uniform_progress": score(0.52),
    }
    assert backtest_plot.rival_of(scores) == "max_wait_safe"
    assert backtest_plot.rival_of({**scores, "greedy": score(0.48)}) == "greedy"
