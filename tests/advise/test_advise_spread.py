"""How nights differ: what five past runs teach, and what is assumed before there are so many."""

import pytest

from nightspot.advise.nights import with_nightspot
from nightspot.advise.spread import ASSUMED_QUEUE_SECONDS, ASSUMED_WORK_ERROR
from nightspot.run.pricing import Basis
from tests.records import past_run


@pytest.fixture
def spread(advising):
    """The spread of the recommender with these past runs and hints."""

    def of(history=(), **hints):
        return advising.case(history=history, hints=hints).spread

    return of


@pytest.fixture
def runs_of(advising):
    """Successes of the recommender's own work, each with one attempt of these fields."""
    key = advising.case().run.work_key

    def of(works=(14_400.0,) * 5, market="spot", **fields):
        runs = []
        for work in works:
            trained = {"trained_seconds": work, "starting_seconds": 0.0, "repeated_seconds": 0.0}
            known = {"instance_count": 1, "repeated_evidence": "measured", **trained, **fields}
            runs.append(
                past_run(advising.attempts(1, market=market, **known), work_key=key, deadline_met=True)
            )
        return runs

    return of


def test_before_there_is_history_everything_is_assumed_or_from_the_job_file(spread):
    found = spread()
    assert (found.work_error.value, found.work_error.basis) == (ASSUMED_WORK_ERROR, Basis.ASSUMED)
    assert (found.spot_start_seconds, found.on_demand_start_seconds) == (600.0, 900.0)
    assert found.waits_basis is Basis.ASSUMED
    # One start in four waits, evenly up to the longest.
    assert sorted(found.waits_seconds)[12:] == [450.0, 1350.0, 2250.0, 3150.0]
    assert sum(wait > 0 for wait in found.waits_seconds) / len(found.waits_seconds) == 0.25
    assert max(found.waits_seconds) < ASSUMED_QUEUE_SECONDS


def test_work_varies_as_five_runs_of_the_same_work_did(spread, runs_of):
    works = (10_000.0, 11_000.0, 12_000.0, 13_000.0, 14_000.0)
    found = spread(runs_of(works)).work_error
    assert found.value == pytest.approx(1581.1 / 12_000, rel=1e-3)
    assert found.basis is Basis.MEASURED
    assert spread(runs_of(works[:4])).work_error.basis is Basis.ASSUMED
    other = [run.model_copy(update={"work_key": "another"}) for run in runs_of(works)]
    assert spread([*runs_of(works[:4]), *other]).work_error.basis is Basis.ASSUMED


def test_a_start_is_the_median_of_those_seen_without_their_wait(spread, runs_of):
    history = runs_of(market="on_demand", queued_seconds=1000.0, ready_seconds=1420.0)
    assert spread(history).on_demand_start_seconds == 420.0
    assert spread(history).spot_start_seconds == 600.0


def test_a_machine_that_never_came_was_waited_for_at_least_so_long(spread, runs_of):
    came = runs_of((14_400.0,) * 4, market="on_demand", queued_seconds=60.0, ready_seconds=360.0)
    never = runs_of((14_400.0,), market="on_demand", queued_seconds=None, waited_seconds=5400.0)
    found = spread([*came, *never])
    assert found.waits_seconds == (60.0, 60.0, 60.0, 60.0, 5400.0)
    assert found.waits_basis is Basis.MEASURED


def test_what_is_given_beats_what_was_measured(spread, runs_of):
    history = runs_of(market="on_demand", queued_seconds=60.0, ready_seconds=360.0)
    assert max(spread(history, on_demand_queue_seconds=800.0).waits_seconds) == 700.0
    assert spread(history, on_demand_queue_seconds=0.0).waits_seconds == ()


def test_nights_are_played_with_it(advising):
    stage = advising.case().stage
    truths = [truth for month in stage.truths for truth in month]
    works = [truth.work_seconds for truth in truths]
    assert len(set(works)) == len(works) == 300
    assert sum(works) / 300 == pytest.approx(4 * 3600, rel=0.01)
    waited = sum(truth.on_demand_queue_seconds[0] > 0 for truth in truths) / 300
    assert waited == pytest.approx(0.25, abs=0.06)
    assert len({truth.spot_changeover_seconds[0] for truth in truths}) == 300
    assert with_nightspot(stage).late < 0.05
