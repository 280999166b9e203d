"""What a backtest's table says of its policies, and its sentences of bounds and pooling."""

import math

import pytest

from nightspot.market.backtest import LABELS, OMNISCIENT, Score
from nightspot.market.samples import BacktestSetting
from nightspot.terminal import backtest_table
from nightspot.terminal.backtest_table import PlayedBacktest

COSTS = dict.fromkeys(LABELS, 0.6) | {"patient": 0.52, "greedy_then_uniform": 0.50, OMNISCIENT: 0.48}


def score(cost_ratio, **changes):
    fields = {
        "nights": 100,
        "cost": 4.1 * cost_ratio,
        "cost_ratio": cost_ratio,
        "vs_omniscient": cost_ratio / 0.48,
        "late_rate": 0.0,
        "interruptions": 1.25,
        "on_demand_hours": 0.75,
        "nights_per_second": 2500.0,
    }
    return Score(**{**fields, **changes})


def scores(**costs):
    return {name: score(cost) for name, cost in {**COSTS, **costs}.items()}


def shown(screen, played):
    backtest_table.show_header(screen, played)
    backtest_table.show_scores(screen, played)
    return " ".join(screen.text.split())


def played(**changes):
    return PlayedBacktest(
        **{"setting": BacktestSetting(), "markets": "somewhere.", "scores": scores(), **changes}
    )


def test_every_policy_is_a_row_with_its_numbers(screen):
    shown(screen, played())
    (ours,) = (line for line in screen.lines if line.startswith("patient (default)"))
    assert ours.split()[-5:] == ["0.520", "1.083", "0", "1.25", "0.75"]
    firsts = [line.split()[0] for line in screen.lines if line.split()]
    assert all(firsts.count(name) == 1 for name in LABELS)


def test_no_row_is_cut_off(screen):
    late = scores() | {"max_wait_unsafe": score(0.6, late_rate=0.1481)}
    shown(screen, played(scores=late))
    assert "…" not in screen.text
    assert "14.81 %" in screen.text


def test_what_has_no_number_is_a_dash(screen):
    unknown = scores() | {OMNISCIENT: score(0.48, interruptions=math.nan, on_demand_hours=math.nan)}
    shown(screen, played(scores=unknown))
    (line,) = (line for line in screen.lines if line.startswith(OMNISCIENT))
    assert line.split()[-2:] == ["-", "-"]


def test_the_distance_to_the_best_bound_is_what_a_way_back_to_spot_is_worth():
    said = backtest_table.distance_to_bounds(scores())
    assert "would be worth 2.0 % of on-demand's cost (greedy_then_uniform)" in said
    assert said.endswith("knowing the whole market beforehand would be worth 4.0 % of on-demand's cost.")


def test_a_way_back_that_saves_nothing_is_worth_nothing():
    said = backtest_table.distance_to_bounds(scores(greedy_then_uniform=0.55))
    assert "worth nothing here (best of them: greedy_then_uniform)" in said


def test_a_bound_that_is_late_is_no_bound():
    late = scores() | {"greedy_then_uniform": score(0.50, late_rate=0.01)}
    assert "(best of them: spot_whenever)" in backtest_table.distance_to_bounds(late)


def test_without_any_bound_only_the_omniscient_is_told():
    known = {name: score(COSTS[name]) for name in ("patient", OMNISCIENT)}
    assert backtest_table.distance_to_bounds(known).startswith("Knowing the whole market")


def test_pooling_is_told_with_what_it_leaves_out(screen):
    text = shown(screen, played(zone_by_zone=score(0.65)))
    assert "costs 0.520 of on-demand, in each alone 0.650: 20 % less. That flatters" in text


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (BacktestSetting(), "4 h of work, due in 8 h"),
        (BacktestSetting(), "change-over 6 min"),
        (BacktestSetting(), "an interruption loses no work"),
        (
            BacktestSetting(on_demand_changeover_seconds=900),
            "change-over 6 min on Spot and 15 min on on-demand",
        ),
        (BacktestSetting(random_changeover=True), "change-over random, median 6 min (log-normal, sigma 0.6)"),
        (BacktestSetting(work_error=0.1), "the true work off by 10 % (standard deviation)"),
        (BacktestSetting(checkpoint_seconds=1800), "a checkpoint every 30 min"),
        (BacktestSetting(checkpoint_seconds=1e9), "no checkpoints"),
        (BacktestSetting(stop_seconds=180), "3 min to stop"),
        (BacktestSetting(spot_ratio=None), "the traces' own prices"),
    ],
)
def test_the_setting_is_told_in_words(setting, words):
    assert words in backtest_table.setting_in_words(setting)


@pytest.mark.parametrize(("share", "text"), [(0, "0"), (0.0002, "0.02 %"), (0.1, "10 %"), (0.125, "12.5 %")])
def test_a_share_is_written_without_needless_digits(share, text):
    assert backtest_table.percent(share) == text
