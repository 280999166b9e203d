"""Whether one resume was right: where it began, what it repeated or left out, and what state came back; and the
causes by which a drill fails."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise

from nightspot.drill.lives import Life, Metrics, StepSeen, Training


class Cause(StrEnum):
    """Why a training that was killed is not the training that it would have been; the order is that of telling."""

    UNDISTURBED_FAILED = "undisturbed_failed"
    NEVER_SAVED = "never_saved"
    SAVED_TOO_LATE = "saved_too_late"
    BEGAN_AGAIN = "began_again"
    WENT_BACK = "went_back"
    TWICE = "twice"
    SKIPPED = "skipped"
    NOT_WHOLE = "not_whole"
    FAILED = "failed"
    TOO_LONG = "too_long"
    NOT_RESUMED = "not_resumed"
    NOT_SHOWN = "not_shown"
    NOT_RESTORED = "not_restored"
    METRICS_DIFFER = "metrics_differ"
    MODEL_DIFFERS = "model_differs"
    NO_KILL_LANDED = "no_kill_landed"


# What a job that is not deterministic also shows: a second undisturbed training tells.
ALSO_CHANCE = frozenset({Cause.NOT_RESTORED, Cause.METRICS_DIFFER, Cause.MODEL_DIFFERS})

CAUSE_WORDS = {
    Cause.UNDISTURBED_FAILED: "failed undisturbed",
    Cause.NEVER_SAVED: "never saved",
    Cause.SAVED_TOO_LATE: "saved at the end only",
    Cause.BEGAN_AGAIN: "began again",
    Cause.WENT_BACK: "went back",
    Cause.TWICE: "a step twice",
    Cause.SKIPPED: "a step skipped",
    Cause.NOT_WHOLE: "not whole",
    Cause.FAILED: "failed",
    Cause.TOO_LONG: "hangs",
    Cause.NOT_RESUMED: "a fresh model",
    Cause.NOT_SHOWN: "not shown",
    Cause.NOT_RESTORED: "not all restored",
    Cause.METRICS_DIFFER: "other numbers",
    Cause.MODEL_DIFFERS: "another model",
    Cause.NO_KILL_LANDED: "nothing tried",
}


@dataclass(frozen=True)
class DrillReason:
    """One cause in words; `training` and `life` (from 0) say where it was seen, None for the end of it all."""

    cause: Cause
    text: str
    training: int | None = None
    life: int | None = None


def told(reasons: Iterable[DrillReason]) -> tuple[DrillReason, ...]:
    """Each cause once, as it was seen first, and how often; in the order in which they came to be."""
    ordered = sorted(reasons, key=_when)
    first: dict[Cause, DrillReason] = {}
    for reason in ordered:
        first.setdefault(reason.cause, reason)
    more = {cause: sum(each.cause is cause for each in ordered) - 1 for cause in first}
    times = {n: "once more" if n == 1 else f"{n} more times" for n in more.values()}
    return tuple(
        replace(each, text=f"{each.text} (and {times[more[cause]]})") if more[cause] else each
        for cause, each in first.items()
    )


def _when(reason: DrillReason) -> tuple[int, int, int]:
    at_the_end = len(Cause) * 1_000_000
    training = at_the_end if reason.training is None else reason.training
    if reason.cause in {Cause.NOT_RESUMED, Cause.NOT_SHOWN}:
        training = -1  # what it all means comes before what was seen of it
    life = at_the_end if reason.life is None else reason.life
    return training, life, tuple(Cause).index(reason.cause)


# Two trainings show only a part of how far a job that is not deterministic can vary.
_ALLOWANCE = 4.0


@dataclass(frozen=True)
class Yardstick:
    """Numbers are the same within `tolerance`, relative to the larger one; 0 is to the bit. `of_metric` has the
    tolerances of single metrics that are to be judged by another."""

    tolerance: float = 0.0
    of_metric: Mapping[str, float] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether only equal numbers are the same."""
        return self.tolerance == 0 and not any(self.of_metric.values())

    def same(self, name: str, a: float | None, b: float | None) -> bool:
        """Whether two values of one metric are the same; None, a number that is not finite, is only like None."""
        if a is None or b is None:
            return a is b
        return a == b or abs(a - b) <= self.of_metric.get(name, self.tolerance) * max(abs(a), abs(b))


def apart(one: Training, other: Training) -> Mapping[str, float]:
    """The largest relative distance of each metric at any step, or at the end; 0 where all its values are equal."""
    largest: dict[str, float] = {}
    for name, a, b in _pairs(one, other):
        largest[name] = max(largest.get(name, 0.0), distance(a, b))
    return largest


def of_two(one: Training, other: Training) -> Yardstick:
    """What two undisturbed trainings of a job that is not deterministic allow a third: of each metric a multiple
    of its own distance, so that a time that is never the same lets no loss differ."""
    return Yardstick(of_metric={name: _ALLOWANCE * far for name, far in apart(one, other).items()})


def _pairs(one: Training, other: Training) -> Iterator[tuple[str, float | None, float | None]]:
    theirs = other.steps
    for step, seen in one.steps.items():
        if step in theirs:
            yield from _common(seen.metrics, theirs[step].metrics)
    yield from _common(one.final_metrics, other.final_metrics)


def _common(a: Metrics, b: Metrics) -> Iterator[tuple[str, float | None, float | None]]:
    return ((name, a[name], b[name]) for name in a if name in b)


def distance(a: float | None, b: float | None) -> float:
    """By what share of the larger one two numbers differ; 1 where one of them is not finite."""
    if a == b:
        return 0.0
    if a is None or b is None:
        return 1.0
    return abs(a - b) / max(abs(a), abs(b))


class Role(StrEnum):
    """What a part is for."""

    GENERATOR = "generator"
    OPTIMISER = "optimiser"
    SCHEDULER = "scheduler"
    SCALER = "scaler"
    POSITION = "position"
    MODEL = "model"
    OTHER = "other"


WORDS: Mapping[Role, str] = {
    Role.GENERATOR: "the generator was not restored",
    Role.OPTIMISER: "the optimiser's state was not restored",
    Role.SCHEDULER: "the scheduler was not restored",
    Role.SCALER: "the gradient scaler was not restored",
    Role.POSITION: "the position in the data was not restored",
    Role.MODEL: "the model's parameters were not restored",
    Role.OTHER: "a part of the state was not restored",
}

# The first that fits: an optimiser's generator is a generator.
_PATTERNS: Mapping[Role, re.Pattern[str]] = {
    role: re.compile(pattern, re.IGNORECASE)
    for role, pattern in {
        Role.GENERATOR: r"generator|random|\brng|rng\b|_rng|seed|shuffle",
        Role.SCHEDULER: r"sched",
        Role.SCALER: r"scaler",
        Role.OPTIMISER: r"optim|\badam|\bopt\b|squares?\b|moment|velocit|accumulat|exp_avg|\bslots?\b",
        Role.POSITION: r"loader|sampler|position|cursor|step_in_epoch|offset",
        Role.MODEL: r"model|param|weight|bias|factor|embed|layer|\bnet\b|network",
    }.items()
}


# What was not saved or not restored, in a line that says how a training resumes.
STATE_OF: Mapping[Role, str] = {
    Role.GENERATOR: "random state",
    Role.OPTIMISER: "the optimiser's state",
    Role.SCHEDULER: "the scheduler",
    Role.SCALER: "the gradient scaler",
    Role.POSITION: "the position in the data",
    Role.MODEL: "the model's parameters",
    Role.OTHER: "a part of the state",
}


def role_of(part: str) -> Role:
    """What the part is for, as far as its name tells."""
    return next((role for role, pattern in _PATTERNS.items() if pattern.search(part)), Role.OTHER)


def in_words(parts: Iterable[str]) -> str:
    """Which of a training's organs were not restored, such as "the generator was not restored"."""
    found = {role_of(part) for part in parts} - {Role.OTHER}
    known = [role for role in Role if role in found]
    return " and ".join(WORDS[role] for role in known) or WORDS[Role.OTHER]


_MOST_NAMED = 3
# A metric jumps where it moves further in one step than it moved undisturbed, times this.
_A_JUMP = 2.0
# By its log, a save is known to within a step: the line about a step may come before or after it.
_CERTAIN_STEPS = 2

Finding = tuple[Cause, str]


@dataclass(frozen=True)
class LifeResume:
    """A life that began after `before`, all on one checkpoint directory."""

    before: Sequence[Life]
    life: Life

    @property
    def saved(self) -> int | None:
        """The newest step that was certainly saved and uploaded before; None: none, or it is not known."""
        return max((step for life in self.before for step in life.saved_steps), default=None)

    @property
    def reached(self) -> int | None:
        """The furthest step that was done before."""
        return max((seen.step for life in self.before for seen in life.seen.steps), default=None)

    @property
    def has_found_checkpoints(self) -> bool:
        """Whether it began with files that hold a whole checkpoint for certain: two saves were begun before."""
        saves = sum(len(life.saved_at[: life.kept]) for life in self.before)
        return self.life.found > 0 and not self.life.seen.library and saves > 1

    @property
    def restored(self) -> int | None:
        """The step of the checkpoint that the library restored."""
        restore = self.life.seen.restore
        return restore.step if restore else None


def stride_of(undisturbed: Training) -> int | None:
    """By how much the steps grow that the script tells of; None where that is not one number."""
    steps = [each.step for each in undisturbed.lives[0].seen.steps]
    strides = {later - earlier for earlier, later in pairwise(steps)}
    return strides.pop() if len(strides) == 1 else None


def findings(
    resume: LifeResume, undisturbed: Training, again: Training | None, yardstick: Yardstick
) -> Iterator[Finding]:
    """What is wrong with this resume, the cause before what follows from it; nothing where it is right."""
    astray = list(_where_it_began(resume, undisturbed))
    yield from astray
    if not astray:
        # A training that lost its place has another state for that reason alone.
        yield from _what_came_back(resume, undisturbed, again, yardstick)


def _where_it_began(resume: LifeResume, undisturbed: Training) -> Iterator[Finding]:
    first, restored, saved = resume.life.first, resume.restored, resume.saved
    began, stride = undisturbed.lives[0].first, stride_of(undisturbed)
    if first is None:
        return
    done = restored if restored is not None else resume.reached
    # A log tells of a step before or after its save.
    thrown_away = saved is not None and (first <= saved if resume.life.seen.library else first < saved)
    if first == began and saved is not None and thrown_away:
        yield Cause.BEGAN_AGAIN, _began_again(first, saved, resume.life)
    elif first == began and saved is None and resume.has_found_checkpoints:
        text = f"training began again at step {first:,} although there were checkpoints: they were ignored"
        yield Cause.BEGAN_AGAIN, text
    elif restored is not None and saved is not None and restored < saved:
        restore = resume.life.seen.restore
        left_out = f" ({restore.skipped[0]})" if restore and restore.skipped else ""
        yield Cause.WENT_BACK, f"step {restored:,} was restored although step {saved:,} was saved{left_out}"
    elif restored is not None and first <= restored:
        which = f"step {first:,} was" if first == restored else f"steps {first:,} to {restored:,} were"
        how = f"the checkpoint of step {restored:,} was restored and training went on with step {first:,}"
        yield Cause.TWICE, f"{which} trained twice: {how}"
    elif stride is not None and done is not None and first > done + stride:
        yield Cause.SKIPPED, _skipped(done + stride, first - stride, stride, resume)
    elif restored is None and saved is not None and first + _CERTAIN_STEPS * (stride or 1) <= saved:
        yield Cause.WENT_BACK, f"training went on with step {first:,} although step {saved:,} was saved"


def _began_again(first: int, saved: int, life: Life) -> str:
    restore = life.seen.restore
    because = "the checkpoint was ignored"
    if restore is not None and restore.step is None and restore.skipped:
        because = f"no checkpoint counted: {restore.skipped[0]}"
    known = "" if life.seen.library else "about "
    return f"training began again at step {first:,} although {known}step {saved:,} was saved: {because}"


def _skipped(due: int, last: int, stride: int, resume: LifeResume) -> str:
    first = last + stride
    which = f"step {due:,} was" if due == last else f"steps {due:,} to {last:,} were"
    if resume.restored is None:
        return f"{which} skipped: training had got to step {resume.reached:,} and went on with step {first:,}"
    return (
        f"{which} skipped: the checkpoint of step {resume.restored:,} was restored and training went on with step "
        f"{first:,}"
    )


def _what_came_back(
    resume: LifeResume, undisturbed: Training, again: Training | None, yardstick: Yardstick
) -> Iterator[Finding]:
    expected = undisturbed.steps
    seen = next((each for each in resume.life.seen.steps if each.parts and each.step in expected), None)
    if seen is not None:
        differing = differing_parts(seen, expected[seen.step], again.steps.get(seen.step) if again else None)
        # A job that may vary is not blamed for other bits while its numbers are right.
        if differing and (
            yardstick.exact or again or first_other_number(resume.life, undisturbed, yardstick)
        ):
            yield Cause.NOT_RESTORED, _not_restored(seen, differing, resume, undisturbed)
            return
    wrong = first_other_number(resume.life, undisturbed, yardstick)
    if wrong is not None:
        step, name = wrong
        yield Cause.METRICS_DIFFER, f"after a resume {_moved(name, step, resume.life, undisturbed)}"


def differing_parts(seen: StepSeen, expected: StepSeen, again: StepSeen | None) -> list[str]:
    """The parts with another digest; with a second undisturbed training, of those that are the same in both."""

    def known(name: str) -> bool:
        mine, theirs = seen.parts[name], expected.parts.get(name)
        stable = again is None or again.parts.get(name) == theirs
        return stable and mine is not None and theirs is not None and mine != theirs

    return [name for name in seen.parts if known(name)]


def first_other_number(life: Life, undisturbed: Training, yardstick: Yardstick) -> tuple[int, str] | None:
    """The first step of this life, and the metric, that is not as undisturbed."""
    expected = undisturbed.steps
    for seen in life.seen.steps:
        if seen.step in expected:
            for name in sorted(seen.metrics, key=_loss_first):
                theirs = expected[seen.step].metrics
                if name in theirs and not yardstick.same(name, seen.metrics[name], theirs[name]):
                    return seen.step, name
    return None


def _not_restored(seen: StepSeen, differing: Sequence[str], resume: LifeResume, undisturbed: Training) -> str:
    names, because = root_of(seen, differing, resume, undisturbed)
    jump = first_other_number(resume.life, undisturbed, Yardstick())
    text = f"{quoted(names)} {'differs' if len(names) == 1 else 'differ'} at step {seen.step:,}{because}"
    if jump is not None and jump[0] == seen.step:
        text += f", {_moved(jump[1], seen.step, resume.life, undisturbed)}"
    if not because and set(names) != set(_generators(names)):
        return f"something that the next step depends on is not in the checkpoint, or was not loaded: {text}"
    return f"{in_words(names)}: {text}"


def root_of(
    seen: StepSeen, differing: Sequence[str], resume: LifeResume, undisturbed: Training
) -> tuple[Sequence[str], str]:
    """The parts that were not restored, of those that differ because one was not; and how that shows."""
    unread = [
        name for name in differing if any(name == each or name.startswith(f"{each}.") for each in seen.unread)
    ]
    if unread:
        return unread, " (never taken from the checkpoint)"
    place = [each.step for each in resume.life.seen.steps].index(seen.step)
    beginning = undisturbed.lives[0].seen.steps[place]
    fresh = [name for name in differing if seen.parts[name] == beginning.parts.get(name)]
    if fresh:
        return fresh, f" (as at step {beginning.step:,}, from the beginning)"
    # What is drawn does not hang on what has been learnt, so a generator that differs is the first that did.
    return _generators(differing) or differing, ""


def _generators(parts: Sequence[str]) -> list[str]:
    return [name for name in parts if role_of(name) is Role.GENERATOR]


def _moved(name: str, step: int, life: Life, undisturbed: Training) -> str:
    """How a metric went wrong: "loss jumps from 0.31 to 0.58 (undisturbed: 0.3)"."""
    expected = undisturbed.steps
    now = next(seen for seen in life.seen.steps if seen.step == step).metrics[name]
    instead = expected[step].metrics[name]
    before = max((each for each in expected if each < step), default=None)
    was = expected[before].metrics.get(name) if before is not None else None
    known = now is not None and instead is not None and was is not None
    if known and abs(now - instead) > _A_JUMP * abs(instead - was):  # type: ignore[operator]
        return f"{name} jumps from {number(was)} to {number(now)} (undisturbed: {number(instead)})"
    return f"{name} is {number(now)} instead of {number(instead)} at step {step:,}"


def quoted(names: Sequence[str], noun: str = "part") -> str:
    """The first of them by name, and how many more there are: "parts `a`, `b`, `c` and 2 more"."""
    shown = ", ".join(f"`{name}`" for name in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"{noun}{'' if len(names) == 1 else 's'} {shown}{f' and {more} more' if more > 0 else ''}"


def number(value: float | None) -> str:
    """Four significant digits; a number that is not finite by that name."""
    return "not finite" if value is None else f"{value:.4g}"


def _loss_first(name: str) -> tuple[bool, str]:
    return "loss" not in name.lower(), name


def by_loss(metrics: Mapping[str, float | None]) -> str | None:
    """The metric that a curve is drawn of: a loss where there is one."""
    return min(metrics, key=_loss_first, default=None)
