"""How a save is measured: what the loop loses at once and in all, and how fast the state comes back."""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from checkpoint_parts.ways import Way, bytes_of

Step = Callable[[], object]
Clock = Callable[[], float]

# The steps beside which a save is written take longer than the slowest save alone, so that it ends within them.
ROOM = 1.25
LEAST_LOOP_SECONDS = 0.2
MOST_LOOP_SECONDS = 2.5
MOST_RESTORES = 3


@dataclass(frozen=True)
class Measured:
    """Medians over the saves of one way; `overhead_seconds` and those of restore None where there is no such thing.

    first_stall_seconds: of the very first save, which finds no memory to use again.
    stall_seconds: how long save() held up the loop.
    overhead_seconds: how much longer a fixed number of steps took with one save among them, its end awaited.
    """

    name: str
    first_stall_seconds: float
    stall_seconds: float
    overhead_seconds: float
    stored_bytes: int
    restore_seconds: float | None


def measure(
    ways: Sequence[Way], step: Step, saves: int, clock: Clock = time.perf_counter
) -> tuple[list[Measured], int, float]:
    """Every way in turn, `saves` times round, so that what else the machine does meets all alike.

    Returns the figures, and of the loop that stood beside the saves the number of steps and its seconds alone.
    """
    numbers = itertools.count(1)
    firsts, slowest = {}, 0.0
    for way in ways:
        firsts[way.name], whole = _warm_up(way, numbers, clock)
        slowest = max(slowest, whole)
    steps = _steps_for(step, min(MOST_LOOP_SECONDS, max(LEAST_LOOP_SECONDS, ROOM * slowest)), clock)
    stalls: dict[str, list[float]] = {way.name: [] for way in ways}
    overheads: dict[str, list[float]] = {way.name: [] for way in ways}
    alone: list[float] = []
    for _ in range(saves):
        for way in ways:
            # Beside each save, and not once for all: other work on the machine comes and goes.
            alone.append(_loop(step, steps, clock))
            stall, total = _save_among_steps(way, next(numbers), step, steps, clock)
            stalls[way.name].append(stall)
            overheads[way.name].append(total - alone[-1])
    figures = [
        Measured(
            way.name,
            firsts[way.name],
            statistics.median(stalls[way.name]),
            statistics.median(overheads[way.name]),
            bytes_of(way.stored()),
            _restore_seconds(way, saves, clock),
        )
        for way in ways
    ]
    return figures, steps, statistics.median(alone)


def rows(figures: Sequence[Measured], copy: str, plain: str) -> Iterator[str]:
    """A table; each way's stall over that of the two baselines of the same run."""
    by_name = {each.name: each for each in figures}
    yield (
        f"{'':28}{'first':>9}{'stall':>9}{'x copy':>8}{'x save':>8}{'overhead':>10}{'written':>11}"
        f"{'x save':>8}{'restore':>9}"
    )
    for each in figures:
        restore = "" if each.restore_seconds is None else f"{1000 * each.restore_seconds:,.0f}"
        written = f"{each.stored_bytes / 1e6:,.2f}" if each.stored_bytes else ""
        larger = f"{each.stored_bytes / by_name[plain].stored_bytes:.4f}" if each.stored_bytes else ""
        yield (
            f"{each.name:28}{1000 * each.first_stall_seconds:9,.0f}{1000 * each.stall_seconds:9,.1f}"
            f"{each.stall_seconds / by_name[copy].stall_seconds:8.2f}"
            f"{each.stall_seconds / by_name[plain].stall_seconds:8.2f}{1000 * each.overhead_seconds:10,.0f}"
            f"{written:>11}{larger:>8}{restore:>9}"
        )


def _warm_up(way: Way, numbers: Iterator[int], clock: Clock) -> tuple[float, float]:
    """Two saves: the stall of the first, and how long the second takes from its call to its end."""
    first, _ = _save_among_steps(way, next(numbers), lambda: None, 0, clock)
    _, whole = _save_among_steps(way, next(numbers), lambda: None, 0, clock)
    return first, whole


def _save_among_steps(way: Way, number: int, step: Step, steps: int, clock: Clock) -> tuple[float, float]:
    """The stall, and the time from the call until the steps are done and the save is."""
    os.sync()  # what the way before left to be written is not this one's to wait for
    begun = clock()
    way.save(number)
    stalled = clock()
    for _ in range(steps):
        step()
    way.finish()
    return stalled - begun, clock() - begun


def _loop(step: Step, steps: int, clock: Clock) -> float:
    begun = clock()
    for _ in range(steps):
        step()
    return clock() - begun


def _steps_for(step: Step, seconds: float, clock: Clock) -> int:
    each = statistics.median(_loop(step, 1, clock) for _ in range(15))
    return max(1, round(seconds / each))


def _restore_seconds(way: Way, times: int, clock: Clock) -> float | None:
    if way.restore is None:
        return None
    taken = []
    for _ in range(min(times, MOST_RESTORES)):
        begun = clock()
        way.restore()
        taken.append(clock() - begun)
    return statistics.median(taken)
