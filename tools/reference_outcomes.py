"""Decides what the page of outcomes says: every word in which a run, an attempt or a decision ends, in one place.

Each table's texts stand here, by the members of the enum that it tells of; a test walks them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from nightspot.advice import EXPLANATIONS
from nightspot.failures import ANSWERS
from nightspot.happenings import Happening
from nightspot.run import Action, AttemptState, FailureClass, Outcome, Resume
from nightspot.run_account import Ending
from tools.reference_text import code, page, plain, table

_Word = TypeVar("_Word", bound=StrEnum)

OUTCOMES: Mapping[Outcome, str] = {
    Outcome.SUCCEEDED: "A training job has completed and its model is stored; it may still be late.",
    Outcome.FAILED: "There is no model. The failure class of the last attempt says why.",
    Outcome.SKIPPED: "The market had no machine, and the job forbids on-demand: yesterday's model stays.",
    Outcome.STOPPED: "A person stopped the training job, or a newer run took this one's place.",
    Outcome.REFUSED: "Another run holds the job, and `concurrency` is `forbid`: nothing was started.",
}
ENDINGS: Mapping[Ending, str] = {
    Ending.RUNNING: "The run is not over.",
    Ending.IN_TIME: "Succeeded, before the deadline.",
    Ending.LATE: "Succeeded, after the deadline.",
    Ending.FAILED: "As the outcome.",
    Ending.SKIPPED: "As the outcome.",
    Ending.STOPPED: "As the outcome.",
    Ending.REFUSED: "As the outcome; it is no night of its own.",
}
ACTIONS: Mapping[Action, str] = {
    Action.START: "Ask for a training job, on the rung that the decision names.",
    Action.WATCH: "Leave things as they are, and look again at an event, or at the moment that is named.",
    Action.STOP: "Stop the training job, to go on from its checkpoint elsewhere, or to end the run.",
    Action.PAUSE: "Ask for nothing for a while.",
    Action.FINISH: "The run is over.",
}
ATTEMPT_STATES: Mapping[AttemptState, str] = {
    AttemptState.ASKED: "CreateTrainingJob was handed over; SageMaker has not shown the job yet.",
    AttemptState.WAITING: "No machine: it queues, or was interrupted and queues again. Not billed.",
    AttemptState.STARTING: "It has a machine: image, data and checkpoint are on their way.",
    AttemptState.TRAINING: "The container runs.",
    AttemptState.STOPPING: "A stop was asked for, and SageMaker is at it.",
    AttemptState.ENDED: "It is over; a failure class stands beside it, unless it brought the model.",
}
RESUMES: Mapping[Resume, str] = {
    Resume.PROVEN: "The progress file says that training went on from a checkpoint.",
    Resume.BROKEN: "Training began again from nothing, or much further back than the newest checkpoint.",
    Resume.NOT_VISIBLE: "The script writes no progress file, so nobody can tell.",
}
HAPPENINGS: Mapping[Happening, str] = {
    Happening.RUN_STARTED: "A run was planned.",
    Happening.ATTEMPT_STARTED: "A training job was asked for.",
    Happening.INTERRUPTED: "Spot took a machine back.",
    Happening.FELL_BACK: "On-demand was bought for the first time in a run that wants Spot.",
    Happening.AT_RISK: "The model is expected after the deadline.",
    Happening.UNKNOWN_FAILURE: "SageMaker said something that Nightspot does not understand.",
    Happening.RESUME_BROKEN: "A training job was given a checkpoint and did not go on from it.",
    Happening.RUN_SUCCEEDED: "The run ended with a model.",
    Happening.RUN_FAILED: "The run ended without one.",
    Happening.RUN_SKIPPED: "The night was left out, because the job forbids on-demand.",
    Happening.RUN_STOPPED: "A person, or a newer run, ended it.",
    Happening.RUN_REFUSED: "It was not begun, because another run holds the job.",
    Happening.STOP_REFUSED: "AWS refused three times in a row to stop a training job; Nightspot goes on asking.",
    Happening.DECISION_FAILING: "A function of the run failed with all its retries. It is called again by the run.",
    Happening.DECISION_CRASHED: "Functions failed until the workflow gave up. The run is closed or restarted.",
}


def outcomes_page() -> str:
    """docs/reference/outcomes.md."""
    return page(
        "Outcomes and other words",
        "Each list is closed: there are no other values, in the record, in the API, in `--json` and in metrics.",
        "## How a run ended: outcome",
        _words(OUTCOMES),
        "## How a night ended: ending",
        "Accounts and `nightspot runs` tell a model in time from a late one.",
        _words(ENDINGS),
        "## What a decision does next: action",
        _words(ACTIONS),
        "## Where a training job stands: attempt state",
        _words(ATTEMPT_STATES),
        "## Whether it went on from its checkpoint: resume",
        _words(RESUMES),
        "## Why an attempt ended: failure class",
        "What AWS says for each, and what you can do: [failures](../failures.md).",
        table(
            ("value", "meaning", "what the run does", "answer"),
            [
                (
                    code(failure.value),
                    plain(EXPLANATIONS[failure].meaning),
                    plain(EXPLANATIONS[failure].answer),
                    code(ANSWERS[failure].value),
                )
                for failure in FailureClass
            ],
        ),
        "## Business events: metrics and notices",
        "Each is a metric in the namespace `Nightspot`, and an event with `source: nightspot`. Which of them "
        "become messages: [notices](../notices.md).",
        table(
            ("metric", "event's `detail-type`", "meaning"),
            [(code(one.value), code(one.detail_type), text) for one, text in HAPPENINGS.items()],
        ),
    )


def _words(texts: Mapping[_Word, str]) -> str:
    return table(("value", "meaning"), [(code(word.value), text) for word, text in texts.items()])
