"""How deep the pool is taken to be, and which market stands for it."""

import pytest

from nightspot.advise import pool
from nightspot.advise.pool import DEPTH_OF_BAND, PROFILE_OF, Depth, depth_of_life, pool_of
from nightspot.advise.question import Band
from nightspot.market.fitting import profiles
from nightspot.run.pricing import Basis
from tests.records import past_run


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
