"""What a drill comes to: whether the killed trainings are, step by step and at the end, the one that nobody
disturbed, another one that continued all the same, or none that continued."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from nightspot.drill.grades import Grade, on_resuming
from nightspot.drill.lives import KillKind, Life, Training
from nightspot.drill.planning import targets_of
from nightspot.drill.resumes import (
    ALSO_CHANCE,
    Cause,
    DrillReason,
    LifeResume,
    Yardstick,
    apart,
    findings,
    first_other_number,
    number,
    of_two,
    quoted,
    told,
)

_LONG_WORDS = 400


@dataclass(frozen=True)
class DrillEvidence:
    """All that a drill has seen.

    `again` is a second undisturbed training, None where there was none; `tolerance` the relative one asked for,
    None: to the bit; `planned` how many kills were meant to land.
    """

    undisturbed: Training
    disturbed: tuple[Training, ...] = ()
    again: Training | None = None
    tolerance: float | None = None
    planned: int = 0

    @property
    def varies(self) -> bool:
        """Whether the job was seen to give other results undisturbed."""
        return self.again is not None and (
            self.again.model != self.undisturbed.model or any(apart(self.undisturbed, self.again).values())
        )

    @property
    def yardstick(self) -> Yardstick:
        """How like the undisturbed training the others must be."""
        if self.tolerance is not None:
            return Yardstick(self.tolerance)
        return of_two(self.undisturbed, self.again) if self.again and self.varies else Yardstick()


def judge(evidence: DrillEvidence) -> tuple[DrillReason, ...]:
    """Why the killed trainings are not the undisturbed one, each cause once and the first one first; () where they
    are, or are within the tolerance."""
    return told(reasons_of(evidence))


def grade_of(reasons: Sequence[DrillReason]) -> Grade:
    """The grade of a drill with these reasons."""
    if not reasons:
        return Grade.EXACT
    return Grade.INEXACT if all(reason.cause in ALSO_CHANCE for reason in reasons) else Grade.NOT


def reasons_of(evidence: DrillEvidence) -> tuple[DrillReason, ...]:
    """Everything that is wrong, training by training."""
    reasons = _differences(evidence)
    if not evidence.undisturbed.completed or any(each.cause not in ALSO_CHANCE for each in reasons):
        return reasons
    trainings = (evidence.undisturbed, evidence.disturbed, evidence.again)
    # Within a tolerance, also one that the job's own variation sets, a fresh model may hide.
    if reasons or not evidence.yardstick.exact:
        found = on_resuming(*trainings)
        return tuple(each for each in found if reasons or each.cause is Cause.NOT_RESUMED) + reasons
    return reasons


def is_to_the_bit(evidence: DrillEvidence) -> bool:
    """Whether nothing at all differs, whatever was allowed to."""
    return not _differences(replace(evidence, tolerance=None, again=None))


def _differences(evidence: DrillEvidence) -> tuple[DrillReason, ...]:
    if not evidence.undisturbed.completed:
        text = f"undisturbed, the training {_how_it_ended(evidence.undisturbed.lives[-1])}"
        return (DrillReason(Cause.UNDISTURBED_FAILED, text),)
    if not targets_of(evidence.undisturbed):
        return (_nothing_to_resume_from(evidence.undisturbed.lives[0]),)
    reasons = [
        reason
        for number_, training in enumerate(evidence.disturbed)
        for reason in _of_training(number_, training, evidence)
    ]
    if not any(training.kills for training in evidence.disturbed):
        text = "no kill landed: the training ended before the first, so nothing was tried"
        reasons.append(DrillReason(Cause.NO_KILL_LANDED, text))
    return tuple(reasons)


def needs_second_run(evidence: DrillEvidence) -> bool:
    """Whether all that is wrong could also be chance, and nobody has looked yet what chance does."""
    reasons = _differences(evidence)
    unknown = evidence.again is None and evidence.tolerance is None
    return unknown and bool(reasons) and all(reason.cause in ALSO_CHANCE for reason in reasons)


def _nothing_to_resume_from(life: Life) -> DrillReason:
    if not life.save_count:
        return DrillReason(
            Cause.NEVER_SAVED, "no checkpoint was ever written; a kill at any moment loses everything"
        )
    return DrillReason(
        Cause.SAVED_TOO_LATE,
        "the only checkpoint was written at the end; a kill at any moment before loses everything (a schedule by "
        "the clock, such as interval='auto', may be too long for this short training: save by steps in the drill)",
    )


def _of_training(number_: int, training: Training, evidence: DrillEvidence) -> Iterator[DrillReason]:
    astray = False
    for n, life in enumerate(training.lives):
        found = [] if astray else list(_of_life(training, n, evidence))
        # What comes after a resume that went wrong is wrong for that reason.
        astray = astray or bool(found)
        yield from (DrillReason(cause, text, number_, n) for cause, text in found)
        if life.kill is None and not life.completed:
            yield DrillReason(*_ended_badly(life, _killed_before(training.lives[:n])), number_, n)
    if training.completed:
        yield from (DrillReason(cause, text, number_) for cause, text in _at_the_end(training, evidence))


def _of_life(training: Training, n: int, evidence: DrillEvidence) -> Iterator[tuple[Cause, str]]:
    life = training.lives[n]
    if n:
        resume = LifeResume(training.lives[:n], life)
        yield from findings(resume, evidence.undisturbed, evidence.again, evidence.yardstick)
        return
    wrong = first_other_number(life, evidence.undisturbed, evidence.yardstick)
    if wrong is not None:
        step, name = wrong
        yield Cause.METRICS_DIFFER, f"before any kill, {name} at step {step:,} is another than undisturbed"


def _killed_before(lives: Sequence[Life]) -> Life | None:
    """The last life that can have left something behind: one that was killed as it started up cannot."""
    active = [life for life in lives if life.seen.steps or life.was_saving]
    return next(reversed(active or lives), None)


def _ended_badly(life: Life, before: Life | None) -> tuple[Cause, str]:
    kind = before.kill.kind if before and before.kill else None
    if life.too_long:
        return Cause.TOO_LONG, f"after {_after(kind)}, the training {_how_it_ended(life)}"
    if before is not None and (before.was_saving or kind is KillKind.DURING_SAVE):
        text = "the checkpoint was not whole after a kill during a save: the next life"
        return Cause.NOT_WHOLE, f"{text} {_how_it_ended(life)}"
    return Cause.FAILED, f"after {_after(kind)}, the next life {_how_it_ended(life)}"


def _after(kind: KillKind | None) -> str:
    return {
        None: "nothing at all",
        KillKind.KILL: "a kill while training",
        KillKind.TERM: "SIGTERM",
        KillKind.DURING_SAVE: "a kill during a save",
        KillKind.DURING_RESTORE: "a kill during the restore",
        KillKind.UNSYNCED: "a kill before the newest save was uploaded",
    }[kind]


def _how_it_ended(life: Life) -> str:
    words = life.last_words.strip()[:_LONG_WORDS]
    if life.too_long:
        return f"was still running after {life.seconds:.0f} s{f', its last words: {words}' if words else ''}"
    return f"ended with exit code {life.exit_code}{f': {words}' if words else ' and no word why'}"


def _at_the_end(training: Training, evidence: DrillEvidence) -> Iterator[tuple[Cause, str]]:
    expected, got, yardstick = evidence.undisturbed.final_metrics, training.final_metrics, evidence.yardstick
    other = [
        name for name in expected if name not in got or not yardstick.same(name, got[name], expected[name])
    ]
    if other:
        name = other[0]
        value = number(got[name]) if name in got else "not there"
        yield Cause.METRICS_DIFFER, f"at the end {name} is {value} instead of {number(expected[name])}"
    lacking = sorted(set(evidence.undisturbed.model) ^ set(training.model))
    if lacking:
        yield Cause.MODEL_DIFFERS, f"the model has other files than undisturbed: {quoted(lacking, 'file')}"
    files = _other_files(training.model, evidence.undisturbed.model, evidence)
    if files:
        differ = "differs" if len(files) == 1 else "differ"
        yield Cause.MODEL_DIFFERS, f"the model is another than undisturbed: {quoted(files, 'file')} {differ}"


def _other_files(
    model: Mapping[str, str], expected: Mapping[str, str], evidence: DrillEvidence
) -> Sequence[str]:
    """The files that differ, where that says something: a job that may vary is judged by its numbers."""
    differing = [name for name in expected if name in model and model[name] != expected[name]]
    if evidence.varies and evidence.again is not None:
        theirs = evidence.again.model
        return [name for name in differing if theirs.get(name) == expected[name]]
    has_numbers = bool(evidence.undisturbed.final_metrics)
    return [] if evidence.tolerance is not None and has_numbers else differing
