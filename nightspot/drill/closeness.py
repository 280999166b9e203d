"""Whether a resumed life continued the training or began with a fresh model: its metrics beside those of the
undisturbed training at the same step, and beside the undisturbed training's own first steps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import pairwise
from statistics import mean, median_low

from nightspot.drill.lives import Life, StepSeen, Training

# A fresh start must be told from the undisturbed training by so many times what the metric varies anyway. At ten
# times, a difference of half of it is more than four standard deviations.
_TIMES_NOISE = 10.0
# Over so many steps the metric is averaged: where one alone varies too much, and to be sure.
_STRETCHES = (1, 3, 10)
# Of the way from a fresh start to the undisturbed training: below it, a resumed life is nearer to a fresh start.
_LEAST_KEPT = 0.5
# Equal numbers of so many digits are no accident.
_DIGITS = 5

# What follows from the step or the machine alone, and so says nothing of what was learnt.
_NOT_LEARNT = re.compile(
    r"(?:^|[^a-z])(?:lr|learning.?rate|wd|weight.?decay|momentum|beta\d?|epochs?|steps?|rounds?|iterations?"
    r"|progress|percent|time|seconds?|secs?|ms|minutes?|eta|speed|throughput|fps|samples?|images?|tokens?"
    r"|examples?|mem|memory|gb|mb|gpu|cpu|util\w*|temperature|scale|grad.?norm)(?:$|[^a-z])",
    re.IGNORECASE,
)


class Shown(Enum):
    """What is seen of a resume. EXPLAINED: the model was taken from the checkpoint and another part was not, so a
    worse metric is no sign of a fresh model; UNCLEAR: a fresh start would look the same."""

    CONTINUED = auto()
    EXPLAINED = auto()
    FRESH = auto()
    UNCLEAR = auto()


@dataclass(frozen=True)
class Closeness:
    """How one metric of a resumed life compares at `step`, or on average over the `over` steps from it.

    `value` is the life's, `undisturbed` the undisturbed training's at the same steps, `fresh` the undisturbed
    training's at its own first steps; a `value` of None is not finite.
    """

    shown: Shown
    metric: str
    step: int
    over: int
    value: float | None
    undisturbed: float
    fresh: float


def quality_metrics(undisturbed: Training) -> tuple[str, ...]:
    """The metrics that show what was learnt: the losses where there are any, else all that can."""
    names = {name for seen in undisturbed.steps.values() for name in seen.metrics}
    learnt = sorted(name for name in names if not _NOT_LEARNT.search(name))
    losses = [name for name in learnt if "loss" in name.lower()]
    return tuple(losses or learnt)


def noise_of(metric: str, undisturbed: Training, again: Training | None = None) -> float:
    """By how much the metric varies from one step to the next beside its trend, and between two undisturbed
    trainings; 0 where neither shows anything."""
    curve = _curve(undisturbed.lives[0].seen.steps, metric)
    values = [value for _, value in curve]
    moves = [abs(b - a) for a, b in pairwise(values)]
    bends = [abs(a - 2 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    # Of independent values, medians of 0.95 and 1.65 standard deviations; a trend moves and hardly bends, and a
    # fall at the beginning bends once.
    own = min(median_low(moves), median_low(bends) / 2) if bends else 0.0
    theirs = dict(_curve(again.lives[-1].seen.steps, metric)) if again else {}
    spread = [abs(value - theirs[step]) for step, value in curve if step in theirs]
    return max(own, median_low(spread) if spread else 0.0)


def at_the_resume(life: Life, metric: str, undisturbed: Training, noise: float) -> Closeness | None:
    """What the metric shows of the life's first steps; None where the two have no step in common, or the life
    begins where the undisturbed training began."""
    curve = _curve(undisturbed.lives[0].seen.steps, metric)
    places = {step: n for n, (step, _) in enumerate(curve)}
    own = [(each.step, each.metrics[metric]) for each in life.seen.steps if metric in each.metrics]
    own = [(step, value) for step, value in own if step in places]
    if not own or places[own[0][0]] == 0:
        return None
    trained = places[own[0][0]]
    # A fresh start that has trained as long as the life had before shows no difference.
    seen = [
        _compared(metric, own[:over], curve, places, noise / over**0.5)
        for over in _STRETCHES
        if over == 1 or over <= min(len(own), trained)
    ]
    if seen[0].value == seen[0].undisturbed and seen[0].shown is Shown.CONTINUED:
        return seen[0]
    # One step can be near either by chance; it is not by chance where more of them say the same.
    clear = [each for each in seen if each.shown is not Shown.UNCLEAR]
    if clear and all(each.shown is clear[0].shown for each in clear):
        return clear[0]
    return replace(seen[0], shown=Shown.UNCLEAR)


def _compared(
    metric: str,
    own: Sequence[tuple[int, float | None]],
    curve: Sequence[tuple[int, float]],
    places: dict[int, int],
    noise: float,
) -> Closeness:
    values = [value for _, value in own if value is not None]
    undisturbed = mean(curve[places[step]][1] for step, _ in own)
    fresh = mean(value for _, value in curve[: len(own)])
    value = mean(values) if len(values) == len(own) else None
    shown = _shown(value, undisturbed, fresh, noise)
    # By the end, the metric has gone in one direction from the first step: what leads in the other is no progress.
    gone = curve[-1][1] - curve[0][1]
    if value is not None and value != undisturbed and (undisturbed - fresh) * gone <= 0:
        shown = Shown.UNCLEAR
    return Closeness(shown, metric, own[0][0], len(own), value, undisturbed, fresh)


def _shown(value: float | None, undisturbed: float, fresh: float, noise: float) -> Shown:
    if value is None:
        return Shown.FRESH
    way = abs(fresh - undisturbed)
    if value == undisturbed != fresh and _is_fine(value):
        return Shown.CONTINUED
    if way == 0 or way < _TIMES_NOISE * noise:
        return Shown.UNCLEAR
    return Shown.CONTINUED if abs(value - undisturbed) <= (1 - _LEAST_KEPT) * way else Shown.FRESH


def at_the_end(training: Training, metric: str, undisturbed: Training, noise: float) -> Closeness | None:
    """What the metric shows of the last step, beside the undisturbed training's last and first; None where one of
    them has none."""
    curve = _curve(undisturbed.lives[0].seen.steps, metric)
    final = training.final_metrics
    if not curve or metric not in final or metric not in undisturbed.final_metrics:
        return None
    expected, value = undisturbed.final_metrics[metric], final[metric]
    if expected is None:
        return None
    fresh = curve[0][1]
    shown = _shown(value, expected, fresh, noise)
    return Closeness(shown, metric, max(undisturbed.steps), 1, value, expected, fresh)


def _curve(steps: Sequence[StepSeen], metric: str) -> list[tuple[int, float]]:
    points = {each.step: each.metrics.get(metric) for each in steps}
    return [(step, value) for step, value in points.items() if value is not None]


def _is_fine(value: float) -> bool:
    return len(f"{value:.12g}".partition("e")[0].replace(".", "").strip("-0")) >= _DIGITS
