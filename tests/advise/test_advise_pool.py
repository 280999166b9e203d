"""How deep the pool is taken to be, and which market stands for it."""

import numpy as np
import pytest

from nightspot.advise import pool
from nightspot.advise.pool import (
    DEPTH_OF_BAND,
    MOVE_SECONDS,
    PROFILE_OF,
    Depth,
    depth_of_life,
    made_up,
    of_traces,
    pool_of,
    roaming,
)
from nightspot.advise.question import Band
from nightspot.market.fitting import profiles
from nightspot.market.model import MarketAvailability
from nightspot.market.samples import BacktestError, Zone
from nightspot.run.pricing import Basis
from tests.records import past_run

HOUR = 3600.0


def test_every_depth_has_a_market_and_every_band_a_depth():
    assert set(PROFILE_OF) == set(Depth)
    assert set(PROFILE_OF.values()) == set(profiles())
    assert set(DEPTH_OF_BAND) == set(Band)


@pytest.mark.parametrize(
    ("hints", "depth"),
    [
        ({"placement_score": 7}, Depth.DEEP),
        ({"placement_score": 6}, Depth.USUAL),
        ({"placement_score": 4}, Depth.USUAL),
        ({"placement_score": 3}, Depth.SHALLOW),
        ({"band": Band.UNDER_5}, Depth.DEEP),
        ({"band": Band.OVER_20}, Depth.SHALLOW),
        ({"placement_score": 9, "band": Band.UNDER_20}, Depth.SHALLOW),
        ({}, Depth.USUAL),
    ],
)
def test_the_worst_of_the_hints_counts(advising, hints, depth):
    found = pool_of(advising.question(hints=hints))
    assert found.depth is depth
    assert found.basis is Basis.ASSUMED


def test_a_new_family_is_shallow_until_somebody_knows_better(advising):
    new = [("ml.p4d.24xlarge", "ml.p5.48xlarge")]
    assert pool_of(advising.question("jobs/recommender.yaml", *new)).depth is Depth.SHALLOW


@pytest.mark.parametrize(("refused", "depth"), [(1, Depth.DEEP), (2, Depth.USUAL), (5, Depth.SHALLOW)])
def test_past_waits_outrank_every_hint(advising, refused, depth):
    attempts = advising.attempts(10 - refused) + advising.attempts(refused, queued_seconds=None)
    question = advising.question(hints={"placement_score": 1}, history=[past_run(attempts)])
    found = pool_of(question)
    assert (found.depth, found.basis) == (depth, Basis.MEASURED)
    assert f"{10 * refused} % of them without a machine" in found.evidence[0].words


def test_four_attempts_are_no_history_yet(advising):
    question = advising.question(history=[past_run(advising.attempts(4, queued_seconds=None))])
    assert pool_of(question).evidence == ()


def test_short_lives_make_a_pool_shallow_though_nothing_was_refused(advising):
    history = [past_run(advising.attempts(5, interruptions=4))]
    assert pool_of(advising.question(history=history)).depth is Depth.SHALLOW


@pytest.mark.parametrize("depth", Depth)
def test_a_life_belongs_to_the_profile_that_lives_so_long(depth):
    mean = profiles()[PROFILE_OF[depth]].lives.mean_seconds
    assert depth_of_life(mean) is depth


def test_subnets_are_zones_and_without_a_vpc_the_region_is_taken_for_three(advising):
    vpc = (
        "  ResourceConfig:",
        "  VpcConfig: {SecurityGroupIds: [sg-0a], Subnets: [subnet-0a]}\n  ResourceConfig:",
    )
    assert pool_of(advising.question("jobs/recommender.yaml", vpc)).zones == 1
    assert pool_of(advising.question()).zones == pool.DEFAULT_ZONES
    assert pool_of(advising.question(hints={"zones": 5})).zones == 5


def flat(*stretches):
    """A market of so many hours, up first, then down, and so on."""
    starts = np.concatenate([[0.0], np.cumsum(stretches)[:-1]]) * HOUR
    up = [n % 2 == 0 for n in range(len(stretches))]
    return MarketAvailability(starts, np.array(up), float(np.sum(stretches)) * HOUR)


def test_a_move_to_another_zone_is_an_interruption():
    first, second = flat(2, 8), flat(10)
    seen = set()
    for seed in range(8):
        whole = roaming([first, second], np.random.default_rng(seed))
        seen.add(tuple(whole.starts_seconds))
    # Whoever begins in the first zone loses it after two hours, and has the second one a moment later.
    assert seen == {(0.0,), (0.0, 2 * HOUR, 2 * HOUR + MOVE_SECONDS)}


def test_nobody_has_a_machine_while_no_zone_has():
    whole = roaming([flat(2, 3, 5), flat(1, 5, 4)], np.random.default_rng(0))
    for hours in (2.5, 4.9):
        assert not whole.is_up_at(hours * HOUR)
    assert whole.is_up_at(5.5 * HOUR)


def test_one_zone_roams_as_itself_but_for_the_moment_after_a_loss():
    zone = flat(2, 1, 3, 4)
    whole = roaming([zone], np.random.default_rng(0))
    assert whole.share_up == pytest.approx(zone.share_up)
    assert list(whole.starts_seconds / HOUR) == [0, 2, 3, 6]


def test_the_same_seed_gives_the_same_month_and_another_month_another(advising):
    case = advising.case()
    months = made_up(case.pool, nights=3, night_seconds=8 * HOUR, seed=7)
    again = made_up(case.pool, nights=3, night_seconds=8 * HOUR, seed=7)
    one, same, other = months(0), again(0), months(1)
    assert [list(night.starts_seconds) for night in one] == [list(night.starts_seconds) for night in same]
    assert [list(night.starts_seconds) for night in one] != [list(night.starts_seconds) for night in other]


def test_a_trace_shorter_than_a_night_is_refused():
    with pytest.raises(
        BacktestError, match=r"window_seconds: 43200 s must be shorter than .* zone-a, 36000 s"
    ):
        of_traces([Zone("zone-a", flat(2, 8))], nights=3, night_seconds=12 * HOUR, seed=7)
