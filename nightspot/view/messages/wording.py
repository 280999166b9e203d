"""In which words each happening is told, and what a person is advised to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nightspot.failures.codes import FailureClass
from nightspot.failures.explanations import EXPLANATIONS
from nightspot.record.events import OF_OUTCOME, Happening
from nightspot.record.model import RecordNotReadableError, RunRecord, read_record
from nightspot.run.model import Action


class Mood(StrEnum):
    """How a message looks at first sight, before it is read."""

    GOOD = "good"
    CAUTION = "caution"
    BAD = "bad"


@dataclass(frozen=True)
class Wording:
    """`subject` follows the job's name in a subject; `headline` is a sentence with `{job}` in it."""

    mood: Mood
    subject: str
    headline: str
    advice: str = ""


_LATE_ADVICE = (
    "So that it does not come again: start the job earlier, let its deadline be later, or name another instance "
    "type under capacity.on_demand."
)

# `RUN_SUCCEEDED`'s is that of a model in time; `LATE` that of one that was not.
WORDINGS: Mapping[Happening, Wording] = {
    Happening.AT_RISK: Wording(
        Mood.CAUTION,
        "the model may be late",
        "The model of {job} is expected after its deadline.",
        "Tell those who wait for the model. Nightspot goes on with what is fastest. " + _LATE_ADVICE,
    ),
    Happening.UNKNOWN_FAILURE: Wording(
        Mood.BAD,
        "a failure that nobody has seen before",
        "SageMaker gave a reason for the end of a training job of {job} that Nightspot does not understand.",
        EXPLANATIONS[FailureClass.UNKNOWN].advice,
    ),
    Happening.RESUME_BROKEN: Wording(
        Mood.CAUTION,
        "training did not resume from its checkpoint",
        "A training job of {job} was given a checkpoint and began again from nothing, or far behind it.",
        "Fix how the training script loads its checkpoint; docs/checkpoints.md says how. Tonight nothing is "
        "interrupted any more to save money.",
    ),
    Happening.RUN_SUCCEEDED: Wording(Mood.GOOD, "model ready", "The model of {job} is ready."),
    Happening.RUN_FAILED: Wording(
        Mood.BAD, "NO MODEL, the run failed", "There is no new model of {job}: its run failed."
    ),
    Happening.RUN_SKIPPED: Wording(
        Mood.CAUTION,
        "no new model, the night was skipped",
        "There is no new model of {job}: the market had nothing in time, and the one before stays.",
        "The job forbids on-demand. `fallback: on_demand` in its file buys a model on such nights.",
    ),
    Happening.RUN_STOPPED: Wording(
        Mood.CAUTION,
        "no new model, the run was stopped",
        "There is no new model of {job}: its run was stopped.",
    ),
    Happening.RUN_REFUSED: Wording(
        Mood.CAUTION,
        "run refused, nothing was started",
        "A run of {job} was refused: another one of the same job is still going on.",
        "`concurrency: replace` in the job file lets the newer run take the older one's place, `allow` lets both "
        "train.",
    ),
    Happening.STOP_REFUSED: Wording(
        Mood.CAUTION,
        "AWS does not stop a training job",
        "AWS keeps refusing to stop a training job of {job}.",
        "Nightspot asks again every five minutes at least, and starts nothing else until it has stopped. Stop it "
        "in the console if you can; where AWS names a missing permission, docs/operate.md says which.",
    ),
    Happening.DECISION_FAILING: Wording(
        Mood.CAUTION,
        "Nightspot cannot decide just now",
        "A function that decides for a run of {job} keeps failing. A training job that is running goes on.",
        "Nightspot tries again by itself, every minute at first. Look at AWS's health dashboard and at the "
        "function's log; a mistake in the code can be deployed over, and the run goes on with it.",
    ),
    Happening.DECISION_CRASHED: Wording(
        Mood.BAD,
        "THE RUN CRASHED, machines may still be running",
        "The execution of a run of {job} crashed. While there is time for a model, another one goes on with it.",
        "It is tried three times at most, then the run is closed when its training job ends; another message says "
        "how it ended. `nightspot audit` shows where it stands, `nightspot stop RUN` ends it. The execution has "
        "the cause.",
    ),
}

LATE = Wording(Mood.CAUTION, "model ready", "The model of {job} is ready, after its deadline.", _LATE_ADVICE)

# SageMaker says Completed, and the evidence says less: which, stands in the subject.
REMARKED = Wording(
    Mood.CAUTION,
    "model ready",
    "The model of {job} is ready, but check it before you use it.",
    "Read the training log. A script that ends early on purpose is fine; one that saves its last step as well "
    "(`save_if_due` does) shows that it did not.",
)

# What a closing message says had happened before the end. How often the machine was taken back is counted.
HAD_HAPPENED: Mapping[Happening, str] = {
    Happening.INTERRUPTED: "Spot interrupted the training {interruptions} times.",
    Happening.FELL_BACK: "It fell back to on-demand.",
    Happening.AT_RISK: "It was expected to be late.",
    Happening.UNKNOWN_FAILURE: "A training job ended for a reason that nobody has seen before.",
    Happening.RESUME_BROKEN: "Training did not go on from its checkpoint.",
    Happening.STOP_REFUSED: "AWS refused for a while to stop a training job.",
    Happening.DECISION_FAILING: "Nightspot could not decide for some minutes.",
    Happening.DECISION_CRASHED: "Nightspot had lost hold of the run.",
}


class Heard(StrEnum):
    """When a person hears of a happening."""

    AT_ONCE = "at once"  # and the closing message follows, whatever the end
    AT_THE_END = "in the closing message"
    UNLESS_QUIET = "in the closing message, unless the night was quiet"
    NEVER = "never"


HEARD: Mapping[Happening, Heard] = {
    Happening.RUN_STARTED: Heard.NEVER,
    Happening.ATTEMPT_STARTED: Heard.NEVER,
    # The daily bread of Spot: no reason for a message, though every message counts them.
    Happening.INTERRUPTED: Heard.NEVER,
    Happening.FELL_BACK: Heard.AT_THE_END,
    Happening.AT_RISK: Heard.AT_ONCE,
    Happening.UNKNOWN_FAILURE: Heard.AT_ONCE,
    Happening.RESUME_BROKEN: Heard.AT_ONCE,
    Happening.RUN_SUCCEEDED: Heard.UNLESS_QUIET,
    Happening.RUN_FAILED: Heard.AT_THE_END,
    Happening.RUN_SKIPPED: Heard.AT_THE_END,
    Happening.RUN_STOPPED: Heard.AT_THE_END,
    Happening.RUN_REFUSED: Heard.AT_THE_END,
    Happening.STOP_REFUSED: Heard.AT_ONCE,
    Happening.DECISION_FAILING: Heard.AT_ONCE,
    # The run is closed when its training job has ended, and that is told then.
    Happening.DECISION_CRASHED: Heard.AT_ONCE,
}

CLOSING = frozenset(OF_OUTCOME.values())
_LOUD = {Heard.AT_ONCE, Heard.AT_THE_END}


def happening_of(detail_type: str) -> Happening | None:
    """The happening behind an EventBridge detail type; None for one that is not Nightspot's."""
    return next((happening for happening in Happening if happening.detail_type == detail_type), None)


def may_be_told(happening: Happening) -> bool:
    """Whether its notices can become messages: the end of a run, and what is told at once."""
    return happening in CLOSING or HEARD[happening] is Heard.AT_ONCE


def is_told(happening: Happening, detail: Mapping[str, Any], *, tell_success: bool = False) -> bool:
    """Whether the notice of `happening` with this detail becomes a message.

    What the last decision of a run brings to light is left to the closing message, which comes seconds later.
    `tell_success`: quiet successes are told as well.
    """
    if happening not in CLOSING:
        return HEARD[happening] is Heard.AT_ONCE and detail.get("action") != Action.FINISH.value
    if HEARD[happening] is not Heard.UNLESS_QUIET:
        return True
    return tell_success or not is_quiet(detail)


def is_quiet(detail: Mapping[str, Any]) -> bool:
    """Whether a success is one that nobody needs to hear of: in time, without a remark, and nothing loud before."""
    run = run_of(detail)
    in_time = run is not None and run.deadline_met and not run.remarks
    return in_time and not any(HEARD[happening] in _LOUD for happening in happened(detail))


def happened(detail: Mapping[str, Any]) -> tuple[Happening, ...]:
    """What `record_outcome` says had happened in the run, by the names that this version knows."""
    known = {happening.value for happening in Happening}
    return tuple(Happening(name) for name in detail.get("happened", ()) if name in known)


def run_of(detail: Mapping[str, Any]) -> RunRecord | None:
    """The run in the detail of a closing notice; None where it has none, or none that can be read."""
    summary = detail.get("summary")
    if not isinstance(summary, Mapping):
        return None
    try:
        return read_record(summary)
    except RecordNotReadableError:
        return None
