"""What is reported of a drill: its grade, why, every kill with what it cost, and what else was seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nightspot.drill.grades import GRADE_WORDS, Difference, Grade, difference, not_restored, percent
from nightspot.drill.lives import Kill, KillKind, Life, Training
from nightspot.drill.planning import step_seconds_of
from nightspot.drill.resumes import ALSO_CHANCE, CAUSE_WORDS, Cause, DrillReason, apart, quoted, told
from nightspot.drill.verdict import DrillEvidence, grade_of, is_to_the_bit, reasons_of


@dataclass(frozen=True)
class KillReport:
    """One kill: what was going on, and what the next life made of it.

    `moment` is in words. `resumed_from` is the step that training went on from, 0 from the beginning and None where
    that cannot be seen; `lost_steps` are the steps that were done again, `lost_seconds` what they took undisturbed
    and `restore_seconds` what the restore took, None where that is not known. `verdict` is "ok", "inexact: …",
    "failed: …", or why nothing can be said.
    """

    number: int
    training: int
    kind: KillKind
    moment: str
    at_step: int | None
    resumed_from: int | None
    lost_steps: int | None
    lost_seconds: float | None
    restore_seconds: float | None
    verdict: str


@dataclass(frozen=True)
class DrillReport:
    """A drill that is over.

    `claim` is what it has shown, in a sentence that says no more. `reasons` say why a training is not the
    undisturbed one. `notes` say what is worth to know and changes no grade. `not_restored` is what was not saved
    or not restored, as far as known; `difference` by how much a metric differs, None where there is none.
    """

    job: str
    where: str  # "local" or "aws"
    outcome: Grade
    claim: str
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()
    kills: tuple[KillReport, ...] = ()
    not_restored: tuple[str, ...] = ()
    difference: Difference | None = None
    facts: Mapping[str, Any] | None = None  # more for --json, JSON-ready

    @property
    def passed(self) -> bool:
        """Whether the result is that of an uninterrupted run, to the bit or within what was allowed."""
        return self.outcome is Grade.EXACT

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "job": self.job,
            "where": self.where,
            "outcome": self.outcome.value,
            "claim": self.claim,
            "reasons": list(self.reasons),
            "not_restored": list(self.not_restored),
            "difference": None if self.difference is None else asdict(self.difference),
            "notes": list(self.notes),
            "kills": [{**asdict(kill), "kind": kill.kind.value} for kill in self.kills],
            **(self.facts or {}),
        }


def report_of(job: str, evidence: DrillEvidence, facts: Mapping[str, Any] | None = None) -> DrillReport:
    """The report of a drill on this machine."""
    every = reasons_of(evidence)
    reasons = told(every)
    grade = grade_of(reasons)
    exact = grade is Grade.EXACT and is_to_the_bit(evidence)
    lacking: tuple[str, ...] = ()
    if grade is Grade.INEXACT:
        lacking = not_restored(evidence.undisturbed, evidence.disturbed, evidence.again)
    changed = None if exact else difference(evidence.undisturbed, evidence.disturbed)
    kills = tuple(
        _kill_report(n, training, k, evidence, every)
        for n, training in enumerate(evidence.disturbed)
        for k, life in enumerate(training.lives)
        if life.kill is not None
    )
    return DrillReport(
        job=job,
        where="local",
        outcome=grade,
        claim=_claim(evidence, reasons, lacking, changed, exact=exact),
        reasons=tuple(reason.text for reason in reasons),
        notes=tuple(_notes(evidence)),
        kills=kills,
        not_restored=lacking,
        difference=changed,
        facts={
            "causes": [reason.cause.value for reason in reasons],
            "to_the_bit": exact,
            "tolerance": evidence.tolerance,
            **(facts or {}),
        },
    )


# What is wrong by these is not that the training does not resume.
_OTHER_CLAIMS = {
    Cause.UNDISTURBED_FAILED: "fails without any kill",
    Cause.NO_KILL_LANDED: "was not tried",
    Cause.NOT_SHOWN: "was not seen to resume",
    Cause.TWICE: "resumes at the wrong step",
    Cause.SKIPPED: "resumes at the wrong step",
    Cause.WENT_BACK: "resumes from an older checkpoint than the newest",
}


def _claim(
    evidence: DrillEvidence,
    reasons: Sequence[DrillReason],
    lacking: Sequence[str],
    changed: Difference | None,
    *,
    exact: bool,
) -> str:
    """What the drill has shown, and no more than that."""
    grade = grade_of(reasons)
    if grade is Grade.NOT:
        return _OTHER_CLAIMS.get(reasons[0].cause, GRADE_WORDS[grade])
    count = sum(len(training.kills) for training in evidence.disturbed)
    after = f"after {count} kill{'' if count == 1 else 's'}"
    how_much = changed.in_words if changed else "no step shows a number to compare"
    if grade is Grade.INEXACT:
        beyond = "" if evidence.tolerance is None else f" (allowed: {percent(evidence.tolerance)})"
        return f"{GRADE_WORDS[grade]}: {_joined(lacking)}; {how_much}{beyond}"
    if exact:
        return f"{GRADE_WORDS[grade]}: {after} the result is that of an uninterrupted run"
    if evidence.tolerance is not None:
        allowed = f"the tolerance of {percent(evidence.tolerance)}"
        return f"resumes within {allowed}, not to the bit: {after}, {how_much}"
    return f"resumes as closely as the job repeats itself, which is not to the bit: {after}, {how_much}"


def _joined(lacking: Sequence[str]) -> str:
    """ "random state and the optimiser's state not saved": of what all of them are it is said once."""
    ends = [end for end in (" not saved", " not restored") if all(each.endswith(end) for each in lacking)]
    if not ends:
        return " and ".join(lacking)
    return " and ".join(each.removesuffix(ends[0]) for each in lacking) + ends[0]


def _kill_report(
    n: int, training: Training, k: int, evidence: DrillEvidence, reasons: Sequence[DrillReason]
) -> KillReport:
    life, kill = training.lives[k], training.lives[k].kill
    assert kill is not None  # noqa: S101 - the caller's filter, for the type checker
    following = training.lives[k + 1 :]
    life_after = next((each for each in following if each.seen.restore or each.seen.steps), None)
    resumed = None if life_after is None else _resumed_from(life_after, training.lives[0].first)
    lost = None if resumed is None else _lost(life, resumed, training.lives[0].first)
    seconds = step_seconds_of(evidence.undisturbed.lives[0])
    restore = life_after.seen.restore if life_after else None
    return KillReport(
        number=kill.number,
        training=n + 1,
        kind=kill.kind,
        moment=moment_in_words(life, kill),
        at_step=life.seen.steps[-1].step if life.seen.steps else None,
        resumed_from=resumed,
        lost_steps=lost,
        lost_seconds=None if lost is None or seconds is None else round(lost * seconds, 3),
        restore_seconds=None if restore is None or restore.step is None else round(restore.seconds, 4),
        verdict=_verdict(n, k, following, reasons),
    )


def _resumed_from(life: Life, beginning: int | None) -> int | None:
    """What the life's first step shows, else the step that was restored."""
    restored = life.seen.restore.step if life.seen.restore else None
    if life.first is None:
        return restored
    if life.first == beginning:
        return 0
    return life.first - 1 if restored is None or life.first <= restored else restored


def _lost(life: Life, resumed: int, beginning: int | None) -> int:
    """The steps of this life that were done in vain; none of a life that was killed before its first."""
    done = [seen.step for seen in life.seen.steps]
    return max(0, done[-1] - max(resumed, (beginning or 1) - 1)) if done else 0


def _verdict(n: int, k: int, following: Sequence[Life], reasons: Sequence[DrillReason]) -> str:
    here = [each for each in reasons if each.training == n and each.life is not None]
    own = [each for each in here if each.life == k + 1]
    if own:
        graver = next((each for each in own if each.cause not in ALSO_CHANCE), None)
        cause = (graver or own[0]).cause
        return f"{'failed' if graver else 'inexact'}: {CAUSE_WORDS[cause]}"
    before = [each for each in here if each.life is not None and each.life <= k]
    if before:
        fails = any(each.cause not in ALSO_CHANCE for each in before)
        return f"after the first {'failure' if fails else 'difference'}"
    if not following:
        return "not resumed"
    life = following[0]
    if life.kill is not None and life.kill.kind is KillKind.DURING_RESTORE and not life.seen.steps:
        return "ok, killed again"
    return "ok"


def moment_in_words(life: Life, kill: Kill) -> str:
    """What the life was doing when it was killed."""
    seen = life.seen
    step = f"step {seen.steps[-1].step:,}" if seen.steps else None
    if kill.kind is KillKind.DURING_RESTORE:
        if not seen.library:
            return "while starting up" if step is None else f"after {step}"
        if seen.restore is None:
            return "during the restore"
        return "right after the restore" if step is None else f"after {step}"
    if kill.kind is KillKind.UNSYNCED and life.kept is not None:
        lost = [save.step for save in seen.saves[life.kept :]]
        return f"after the save of step {lost[-1]:,}" if lost else "after a save"
    if seen.saving is not None:
        return f"during the save of step {seen.saving:,}"
    if kill.kind is KillKind.DURING_SAVE and seen.saves:
        return f"right after the save of step {seen.saves[-1].step:,}"
    if kill.kind is KillKind.DURING_SAVE or life.was_saving:
        return f"as checkpoint files changed after {step}" if step else "as checkpoint files changed"
    return f"after {step}" if step else f"{life.seconds:.1f} s after its start"


def _notes(evidence: DrillEvidence) -> Iterator[str]:
    landed = sum(len(training.kills) for training in evidence.disturbed)
    if 0 < landed < evidence.planned:
        yield f"{landed} of {evidence.planned} kills landed: the training ended before the others"
    yield from _on_sigterm(evidence)
    if evidence.varies and evidence.again is not None:
        distance = max(apart(evidence.undisturbed, evidence.again).values(), default=0.0)
        files = [
            name
            for name, each in evidence.undisturbed.model.items()
            if evidence.again.model.get(name) != each
        ]
        model = f" and the model's {quoted(files, 'file')} differ" if files else ""
        numbers = f"their metrics are up to {100 * distance:.3g} % apart{model}"
        yield (
            f"the job is not deterministic: two undisturbed trainings differ, {numbers}; judged by "
            f"{'four times of what each metric differs by' if evidence.tolerance is None else 'the tolerance'}"
        )
    elif evidence.again is not None:
        yield _of_the_same_again(evidence.undisturbed, evidence.again)
    if not evidence.undisturbed.lives[0].seen.library:
        what = "its steps and metrics by its log" if evidence.undisturbed.steps else "no step of it was seen"
        yield (
            f"the script does not use nightspot.checkpoint: {what}, "
            "saves by the checkpoint directory, the end by exit code and model"
        )
    if not evidence.undisturbed.model and evidence.undisturbed.completed:
        yield "the training left no file in the model directory, so there was no model to compare"


def _of_the_same_again(undisturbed: Training, again: Training) -> str:
    """Two undisturbed trainings with the same numbers and model; parts of their states may differ all the same."""
    known = again.steps
    parts = dict.fromkeys(
        name
        for step, seen in undisturbed.steps.items()
        if step in known
        for name, digest in seen.parts.items()
        if name in known[step].parts and known[step].parts[name] != digest
    )
    if parts:
        return (
            f"{quoted(list(parts))} of the state differs between two undisturbed trainings, which have the same "
            "metrics and model, and so was not compared (a generator without a seed that nothing draws from?)"
        )
    return "a second undisturbed training was the same to the bit: the differences come from the kills"


def _on_sigterm(evidence: DrillEvidence) -> Iterator[str]:
    lives = [
        life
        for training in evidence.disturbed
        for life in training.lives
        if life.kill is not None and life.kill.kind is KillKind.TERM
    ]
    if not lives:
        return
    said = dict.fromkeys(_reaction(life) for life in lives)
    yield f"SIGTERM, which SageMaker does not promise to send: {'; '.join(said)}"


def _reaction(life: Life) -> str:
    assert life.kill is not None  # noqa: S101 - the caller's filter, for the type checker
    kill, seen = life.kill, life.seen
    after = [save.step for save in seen.saves if kill.asked_at is not None and save.at > kill.asked_at]
    saved = f"saved step {after[-1]:,} once more" if after else "saved nothing more"
    if not seen.library:
        saved = "what it saved is not known"
    if kill.left_seconds is None:
        return f"the script did not leave in time and was killed ({saved})"
    return f"the script left within {kill.left_seconds:.1f} s with exit code {life.exit_code} ({saved})"
