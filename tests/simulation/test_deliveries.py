"""An outage when a schedule fires, or when a run ends: the run starts, and people hear of it."""

from __future__ import annotations

import pytest

from tests.simulation.clock import MINUTE
from tests.simulation.families import away
from tests.simulation.playing import played
from tests.simulation.scenarios import quiet, scenario_of


def _violations(scenario):
    world, verdict = played(scenario)
    assert world.bus.dead_letters == []
    return world, [f"{each.invariant.value}: {each.text}" for each in verdict.violations]


def test_seed_91_step_functions_is_away_when_the_schedule_fires():
    world, violations = _violations(scenario_of(91))
    assert (len(world.states.executions), violations) == (1, [])


@pytest.mark.parametrize("minutes", [10, 30])
def test_a_run_starts_when_step_functions_is_back(minutes):
    world, violations = _violations(away(quiet(1)[0], "states", 0.0, minutes))
    assert (len(world.states.executions), violations) == (1, [])
    assert world.table.pending.all() == []


@pytest.mark.parametrize("minutes", [10, 30])
def test_people_hear_of_an_end_when_sns_is_back(minutes):
    scenario = quiet(1)[0]
    end = next(iter(played(scenario)[0].closed_at.values()))
    world, violations = _violations(away(scenario, "sns", end - MINUTE, minutes))
    assert violations == []
    (message,) = world.sns.messages
    assert message.at >= end + (minutes - 1) * MINUTE
    assert world.table.pending.all() == []
