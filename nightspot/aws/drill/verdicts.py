"""Decides in which words a drill on AWS says what it has found: one sentence, with the steps in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from nightspot.run.model import Progress, Run


class DrillOutcome(StrEnum):
    """What a drill says of the training script."""

    PASSED = "pass"
    FAILED = "fail"
    NOT_VISIBLE = "not_visible"  # it writes no progress file, so nobody can see where it began


@dataclass(frozen=True)
class Verdict:
    """The outcome, and one sentence of why, with the steps in it."""

    outcome: DrillOutcome
    because: str


@dataclass(frozen=True)
class DrillResult:
    """A drill that is over: its verdict, the ledger of its two jobs, and what it left in S3."""

    verdict: Verdict
    run: Run
    kept: tuple[str, ...]  # S3 URIs below which its files still lie
    notes: tuple[str, ...] = ()


def went_on(saved: int, resumed: int, whither: str) -> Verdict:
    """Job 2 took up the training at step `resumed`, step `saved` being the last that was safe."""
    again = f" (step {saved} was safe; what lies between was trained again)" if resumed < saved else ""
    because = f"job 2 resumed from step {resumed}, saved by job 1{again}, and {whither}"
    return Verdict(DrillOutcome.PASSED, because)


def broken(saved: int, progress: Progress) -> Verdict:
    """Job 2 wrote `progress`, in which nothing follows from step `saved`."""
    began = (
        "started again from zero"
        if progress.resumed_from_step is None
        else f"went back to step {progress.resumed_from_step}"
    )
    because = f"job 2 {began}, although step {saved} was safe in S3: it has now saved step {progress.step}"
    return Verdict(DrillOutcome.FAILED, because)


def no_progress_file(how_long: str) -> Verdict:
    """Job 1 kept files, but not through the library, nor a progress file of its own."""
    because = (
        f"the script writes no nightspot.json: there were files in its checkpoint prefix {how_long}, and nothing "
        "that says which step they hold; save through nightspot.checkpoint, and the drill can see it"
    )
    return Verdict(DrillOutcome.NOT_VISIBLE, because)


def no_word(how_long: str) -> Verdict:
    """The progress file is still the one that job 1 has written."""
    because = f"job 2 wrote nothing into nightspot.json {how_long}, so nobody can see where it began"
    return Verdict(DrillOutcome.NOT_VISIBLE, because)
