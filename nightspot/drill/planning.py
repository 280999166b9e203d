"""Which kills a drill tries and when: as many of each kind, spread over the training, every one after the
first checkpoint, so that each leads to a resume worth a look."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from nightspot.drill.lives import NEEDS_ANOTHER_BEFORE, NEEDS_ANOTHER_SAVE, KillKind, Life, Training

Draw = Callable[[], float]
"""A random number from 0 to just below 1."""

# Beyond it a kill that is meant to hit a save or a restore may come when that is over.
_LATEST_SHARE = 0.8


@dataclass(frozen=True)
class PlannedKill:
    """A kill to come.

    It is armed when the step `target` is done; None: at the restore, or, where steps are not known, after the
    life's first save. `share` says how far into the step, the save or the restore it strikes, 0 to 1.
    """

    number: int
    kind: KillKind
    target: int | None
    share: float


@dataclass(frozen=True)
class KillPace:
    """How long things took undisturbed, in seconds: what a share of them is a share of."""

    step_seconds: float
    save_seconds: float
    restore_seconds: float
    start_up_seconds: float


def plan(undisturbed: Training, kills: int, draw: Draw) -> tuple[tuple[PlannedKill, ...], ...]:
    """The kills of each training to come, in order; () where no checkpoint is there before the last step."""
    targets = targets_of(undisturbed)
    if not targets:
        return ()
    kinds = kinds_of(kills, draw)
    moving = [kind for kind in kinds if kind not in NEEDS_ANOTHER_BEFORE]
    # A life between two kills should get as far as a new checkpoint.
    room = max(1, undisturbed.lives[0].save_count - 1)
    count = math.ceil(len(moving) / room)
    groups = [moving[n::count] for n in range(count)]
    restores = len(kinds) - len(moving)
    for n in range(restores):
        group = groups[n % count]
        group.insert(1 + int(draw() * len(group)), KillKind.DURING_RESTORE)
    numbers = iter(range(1, kills + 1))
    return tuple(_timed(group, targets, undisturbed, numbers.__next__, draw) for group in groups)


def kinds_of(kills: int, draw: Draw) -> list[KillKind]:
    """As many of each kind as possible, shuffled; the first of all is one that needs no other before it."""
    rounds = math.ceil(kills / len(KillKind))
    kinds = [kind for _ in range(rounds) for kind in sorted(KillKind, key=lambda _: draw())][:kills]
    if kills == 1 and kinds[0] in NEEDS_ANOTHER_BEFORE:
        return [KillKind.KILL]
    return kinds


def targets_of(undisturbed: Training) -> tuple[int | None, ...]:
    """The steps after which a kill finds a checkpoint and something left to train; None for each save where steps
    are not known."""
    life = undisturbed.lives[0]
    steps = sorted({each.step for each in life.seen.steps})
    saved = min(life.saved_steps, default=None)
    found = tuple(step for step in steps if saved is not None and saved <= step < steps[-1])
    if steps and (life.saved_steps or life.seen.library):
        return found
    # Also where the lines about its steps came too late to say when it saved.
    return (None,) * (life.save_count - 1)


def pace_of(undisturbed: Training) -> KillPace:
    """What the undisturbed training took for one of each; where it did not show, a share of its whole time."""
    life = undisturbed.lives[0]
    step_seconds = step_seconds_of(life)
    parts = max(len(life.seen.steps), life.save_count, 1)
    restore = life.seen.restore
    return KillPace(
        step_seconds=life.seconds / parts if step_seconds is None else step_seconds,
        save_seconds=median(save.seconds for save in life.seen.saves)
        if life.seen.saves
        else life.write_seconds,
        restore_seconds=restore.seconds if restore else 0.0,
        start_up_seconds=life.start_up_seconds,
    )


def step_seconds_of(life: Life) -> float | None:
    """How long a step took as a rule; None where that is not known."""
    times = [each.at for each in life.seen.steps if each.at is not None]
    return median(b - a for a, b in pairwise(times)) if len(times) > 1 else None


def _timed(
    group: Sequence[KillKind],
    targets: Sequence[int | None],
    undisturbed: Training,
    number: Callable[[], int],
    draw: Draw,
) -> tuple[PlannedKill, ...]:
    """One target for each kill that has one, each from a stretch of its own, so that they are spread and ascend."""
    moving = [kind for kind in group if kind not in NEEDS_ANOTHER_BEFORE]
    width = len(targets) / len(moving)
    chosen = iter([targets[min(len(targets) - 1, int((n + draw()) * width))] for n in range(len(moving))])
    kills = []
    for kind in group:
        share = draw()
        if kind in NEEDS_ANOTHER_BEFORE:
            kills.append(PlannedKill(number(), kind, None, share * _LATEST_SHARE))
            continue
        kill = PlannedKill(number(), kind, next(chosen), share)
        kills.append(_before_the_last_save(kill, undisturbed.lives[0]))
    return tuple(kills)


def _before_the_last_save(kill: PlannedKill, life: Life) -> PlannedKill:
    if kill.kind not in NEEDS_ANOTHER_SAVE:
        return kill
    kill = replace(kill, share=kill.share * _LATEST_SHARE)
    if kill.target is None or len(life.saved_steps) < 2:
        return kill
    # Armed no later than one step after the last save but one, so that there is a save to come.
    return replace(kill, target=min(kill.target, life.saved_steps[-2]))
