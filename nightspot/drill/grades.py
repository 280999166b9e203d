"""How well a training resumes: to the bit, not to the bit, or not at all; what was not restored, and how much that
changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nightspot.drill.closeness import (
    Closeness,
    Shown,
    at_the_end,
    at_the_resume,
    noise_of,
    quality_metrics,
)
from nightspot.drill.lives import Life, Training
from nightspot.drill.resumes import (
    STATE_OF,
    Cause,
    DrillReason,
    LifeResume,
    Role,
    Yardstick,
    differing_parts,
    distance,
    number,
    role_of,
    root_of,
)


class Grade(StrEnum):
    """How well a training resumes; the value is what `--json` calls its outcome.

    A tolerance lets a training that resumes within it pass as EXACT: the report's claim says so.
    """

    EXACT = "PASS"
    INEXACT = "INEXACT"
    NOT = "FAIL"


GRADE_WORDS = {
    Grade.EXACT: "resumes to the bit",
    Grade.INEXACT: "resumes, not to the bit",
    Grade.NOT: "does not resume",
}


@dataclass(frozen=True)
class Difference:
    """How much a metric differs from the undisturbed training.

    `largest` is the largest share of the larger value (0 to 1) at any step done after a kill, at step `at_step`,
    where it was `value` instead of `undisturbed` (None: not finite). `at_the_end` is the share at the end, None
    where the end has no such metric.
    """

    metric: str
    largest: float
    at_step: int
    value: float | None
    undisturbed: float | None
    at_the_end: float | None

    @property
    def in_words(self) -> str:
        """ "loss differs by up to 2.1 % (0.31 instead of 0.3035 at step 7) and by 0.3 % at the end"."""
        if not self.largest and not self.at_the_end:
            return f"{self.metric} is the same at every step"
        end = "" if self.at_the_end is None else f" and by {percent(self.at_the_end)} at the end"
        instead = f"{number(self.value)} instead of {number(self.undisturbed)} at step {self.at_step:,}"
        return f"{self.metric} differs by up to {percent(self.largest)} ({instead}){end}"


def percent(share: float) -> str:
    """Two digits: "2.1 %"."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def difference(undisturbed: Training, disturbed: Sequence[Training]) -> Difference | None:
    """By how much the first of the metrics that show what was learnt differs; None where no step has any."""
    expected = undisturbed.steps
    for metric in quality_metrics(undisturbed):
        found = [
            (distance(seen.metrics[metric], expected[seen.step].metrics[metric]), -seen.step, seen)
            for training in disturbed
            for life in training.lives[1:]
            for seen in life.seen.steps
            if metric in seen.metrics and seen.step in expected and metric in expected[seen.step].metrics
        ]
        ends = [
            distance(training.final_metrics[metric], undisturbed.final_metrics[metric])
            for training in disturbed
            if training.completed and metric in training.final_metrics and metric in undisturbed.final_metrics
        ]
        if found:
            largest, _, seen = max(found, key=lambda each: each[:2])
            was = expected[seen.step].metrics[metric]
            return Difference(metric, largest, seen.step, seen.metrics[metric], was, max(ends, default=None))
    return None


def on_resuming(
    undisturbed: Training, disturbed: Sequence[Training], again: Training | None
) -> tuple[DrillReason, ...]:
    """Why trainings that are not the undisturbed one, although each life began where it should, do not resume;
    () where they do.

    The yardstick is a fresh start: the undisturbed training's own first steps. A life whose metric is nearer to
    them than to the undisturbed training at its step has not restored what was learnt. One that is not, in a
    metric by which the two can be told apart, has.
    """
    shown = list(_shown(undisturbed, disturbed, again))
    fresh = [reason for state, reason in shown if state is Shown.FRESH and reason is not None]
    if fresh:
        return tuple(fresh)
    if any(state in (Shown.CONTINUED, Shown.EXPLAINED) for state, _ in shown):
        return ()
    return (DrillReason(Cause.NOT_SHOWN, _not_shown(undisturbed)),)


def _shown(
    undisturbed: Training, disturbed: Sequence[Training], again: Training | None
) -> Iterator[tuple[Shown, DrillReason | None]]:
    metrics = {name: noise_of(name, undisturbed, again) for name in quality_metrics(undisturbed)}
    for number_, training in enumerate(disturbed):
        for n, life in enumerate(training.lives[1:], 1):
            by_journal = _by_its_parts(LifeResume(training.lives[:n], life), undisturbed)
            if by_journal is not None:
                state, text = by_journal
                yield state, DrillReason(Cause.NOT_RESUMED, text, number_, n)
                if state is Shown.EXPLAINED:
                    continue
            for name, noise in metrics.items():
                close = at_the_resume(life, name, undisturbed, noise)
                if close is not None:
                    yield close.shown, DrillReason(Cause.NOT_RESUMED, _as_fresh(close), number_, n)
        for name, noise in metrics.items():
            close = at_the_end(training, name, undisturbed, noise) if training.completed else None
            if close is not None and close.shown is Shown.FRESH:
                yield close.shown, DrillReason(Cause.NOT_RESUMED, _lost_at_the_end(close), number_)


def _by_its_parts(resume: LifeResume, undisturbed: Training) -> tuple[Shown, str] | None:
    """What the parts of the state show, where the library's journal has them; None where it does not."""
    expected = undisturbed.steps
    seen = next((each for each in resume.life.seen.steps if each.parts and each.step in expected), None)
    if seen is None or resume.restored is None:
        return None
    differing = differing_parts(seen, expected[seen.step], None)
    roots, because = root_of(seen, differing, resume, undisturbed) if differing else ((), "")
    unread_all = bool(seen.unread) and all(
        any(name == each or name.startswith(f"{each}.") for each in seen.unread) for name in seen.parts
    )
    if because and (unread_all or any(role_of(name) is Role.MODEL for name in roots)):
        names = ", ".join(f"`{name}`" for name in roots[:3])
        return Shown.FRESH, f"what was learnt was not restored: {names} at step {seen.step:,}{because}"
    if because:
        return Shown.EXPLAINED, ""
    compared = [name for name in seen.parts if name not in differing and seen.parts[name] is not None]
    if any(role_of(name) is Role.MODEL for name in compared):
        return Shown.CONTINUED, ""
    return (Shown.UNCLEAR if seen.unread else Shown.CONTINUED), ""


def _as_fresh(close: Closeness) -> str:
    over = "" if close.over == 1 else f" on average over {close.over} steps"
    where = f"after a resume at step {close.step:,}, {close.metric} is {number(close.value)}{over}"
    return (
        f"{where}, nearer to a training from the beginning ({number(close.fresh)}) than to the undisturbed one "
        f"({number(close.undisturbed)}), as if the model had not been restored"
    )


def _lost_at_the_end(close: Closeness) -> str:
    return (
        f"at the end {close.metric} is {number(close.value)} instead of {number(close.undisturbed)}, nearer to the "
        f"first step's {number(close.fresh)}: more than half of what was learnt is lost"
    )


def _not_shown(undisturbed: Training) -> str:
    so = "the result differs, and whether training continued or began with a fresh model cannot be seen"
    if not undisturbed.steps:
        return f"{so}: no step of it is known (MetricDefinitions that find the step and a loss in the log show it)"
    metrics = quality_metrics(undisturbed)
    if not metrics:
        return f"{so}: no step has a loss or another metric (MetricDefinitions can find one in the log)"
    named = " and ".join(metrics[:2])
    return f"{so}: {named} hardly changes while it trains, beside how it varies; let the drill learn more"


def not_restored(
    undisturbed: Training, disturbed: Sequence[Training], again: Training | None
) -> tuple[str, ...]:
    """What was not saved or not restored, as far as that can be known; what is only likely says so."""
    roles = _roles_by_journal(undisturbed, disturbed, again)
    if roles:
        return tuple(f"{STATE_OF[role]} not restored" for role in roles)
    names = _names(undisturbed)
    if not names:
        return (_by_elimination(undisturbed, disturbed),)
    saved = {role_of(name) for name in names}
    missing = [role for role in (Role.GENERATOR, Role.OPTIMISER) if role not in saved]
    if Role.GENERATOR in missing and not _are_of_a_network(names):
        # What learns by its own rule has no optimiser to save.
        missing = [Role.GENERATOR]
    if missing:
        return tuple(f"{STATE_OF[role]} not saved" for role in missing)
    return ("probably random state, the optimiser's state or the place in the data, saved and not restored",)


def _roles_by_journal(
    undisturbed: Training, disturbed: Sequence[Training], again: Training | None
) -> list[Role]:
    """The roles of the parts that were not restored, in the first life whose parts differ for a known reason."""
    expected = undisturbed.steps
    for training in disturbed:
        for n, life in enumerate(training.lives[1:], 1):
            seen = next((each for each in life.seen.steps if each.parts and each.step in expected), None)
            if seen is None:
                continue
            other = again.steps.get(seen.step) if again else None
            differing = differing_parts(seen, expected[seen.step], other)
            if not differing:
                continue
            roots, because = root_of(seen, differing, LifeResume(training.lives[:n], life), undisturbed)
            roles = {role_of(name) for name in roots}
            if because or Role.GENERATOR in roles:
                return [role for role in Role if role in roles]
            return []
    return []


def _names(undisturbed: Training) -> tuple[str, ...]:
    life = undisturbed.lives[0]
    parts = dict.fromkeys(name for seen in life.seen.steps for name in seen.parts)
    return tuple(parts) or life.names


def _are_of_a_network(names: Sequence[str]) -> bool:
    """Whether they are those of a PyTorch module's weights."""
    return sum(name.endswith((".weight", ".bias")) for name in names) > 1


def _by_elimination(undisturbed: Training, disturbed: Sequence[Training]) -> str:
    if any(_begins_right(life, undisturbed) for each in disturbed for life in each.lives[1:]):
        return "the model restored, the optimiser's or random state probably not"
    return "probably random state (order of the data, dropout) or the optimiser's state not restored"


def _begins_right(life: Life, undisturbed: Training) -> bool:
    expected, exact = undisturbed.steps, Yardstick()
    metrics = quality_metrics(undisturbed)
    first = next((each for each in life.seen.steps if each.step in expected), None)
    common = [name for name in metrics if first and name in first.metrics]
    return (
        first is not None
        and bool(common)
        and all(
            name in expected[first.step].metrics
            and exact.same(name, first.metrics[name], expected[first.step].metrics[name])
            for name in common
        )
    )
