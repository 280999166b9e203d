"""Plays seeds, on all cores."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

from tests.simulation.families import away, scenario_of
from tests.simulation.invariants import Verdict, judge
from tests.simulation.scenarios import Scenario, quiet
from tests.simulation.world import World

OUTAGE_MINUTES = (10, 30)
OUTAGE_RUNS = 40

Task = tuple[int, str | None]


def played(scenario: Scenario, world: World | None = None) -> tuple[World, Verdict]:
    """The world of a scenario (by default a new one) after its end, and the verdict."""
    began = time.process_time()
    world = (world or World(scenario)).play()
    verdict = judge(world)
    verdict.seconds = time.process_time() - began
    return world, verdict


def verdict_of(task: Task) -> Verdict:
    """Play the seed, of its own family or of the one named."""
    seed, kind = task
    if kind is not None and kind.startswith("away: "):
        return played(outage_of(seed, kind))[1]
    return played(scenario_of(seed, kind))[1]


def outage_of(seed: int, kind: str) -> Scenario:
    """`kind`: "away: sagemaker 30"; half of the runs meet it at the worst moment."""
    service, minutes = kind.removeprefix("away: ").split()
    scenario, random = quiet(seed, kind)
    if seed % 2:
        begin = scenario.last_safe_moment - random.uniform(0, 1) * float(minutes) * 60
    else:
        begin = random.uniform(0, scenario.window)
    return replace(away(scenario, service, begin, float(minutes)), kind=kind)


def verdicts_of(tasks: Sequence[Task], processes: int) -> Iterator[Verdict]:
    """In the order of the tasks."""
    if processes == 1:
        yield from map(verdict_of, tasks)
        return
    # Not forked: a worker imports for itself, and no thread of the parent is lost.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(verdict_of, tasks, chunksize=8)
