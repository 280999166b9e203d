"""Decides what the page of outcomes says: every word in which a run, an attempt or a decision ends, in one place.

Each table's texts stand here, by the members of the enum that it tells of; a test walks them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from nightspot.failures.classify import ANSWERS
from nightspot.failures.codes import FailureClass
from nightspot.failures.explanations import EXPLANATIONS
from nightspot.record.events import Happening
from nightspot.record.model import Ending
from nightspot.run.model import Action, AttemptState, Outcome, Resume
from nightspot.run.reasons import Reason
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
REASONS: Mapping[Reason, str] = {
    Reason.WAIT_FOR_SPOT: "Spot is asked for: if it fails, on-demand would still be in time.",
    Reason.ON_DEMAND_ONLY: "On-demand is started: the job has no Spot rung, or its `policy` is `on_demand`.",
    Reason.NO_SPOT_LEFT: "On-demand is started: every Spot rung is left out, or over the budget.",
    Reason.LAST_SAFE_MOMENT: "Spot has no machine, and on-demand must start now to be in time.",
    Reason.PATIENCE_OVER: "A type has had no capacity for its `patience`; the next one gets its turn.",
    Reason.THRASHING: "Spot was interrupted three times without a new checkpoint; the next rung gets its turn.",
    Reason.TOO_SLOW: "The Spot job trains, would be late, and on-demand is just still in time.",
    Reason.RESUME_BROKEN: "The job did not go on from its checkpoint, so on-demand takes over if it is in time.",
    Reason.NOT_SHOWN_YET: "SageMaker does not show the training job yet.",
    Reason.ASK_AGAIN: "SageMaker did not take the request, or does not show the job: it is asked again soon.",
    Reason.IN_DOUBT: "The same, and it is too late to ask again; the job may still show itself.",
    Reason.WAITING: "Spot has no machine, and may still be waited for.",
    Reason.STARTING: "Spot has a machine, and the job is starting.",
    Reason.ON_TRACK: "The job should finish before the deadline.",
    Reason.FALLING_BEHIND: "The Spot job should finish after the deadline; on-demand can still take over later.",
    Reason.LATE: "The job should finish after the deadline, and nothing is faster.",
    Reason.BUDGET_USED_UP: "The rest of the budget pays for no more than the stop of the open training job.",
    Reason.GAVE_UP_WAITING: "On-demand has had no capacity until long past the deadline.",
    Reason.STOPPING: "The training job is stopping.",
    Reason.STOP_REFUSED: "AWS refused to stop the training job; it is asked again.",
    Reason.STOP_OVERDUE: "A stop has not taken effect after five minutes; it is asked for again.",
    Reason.WAITING_FOR_TURN: "The run that this one replaces is still ending.",
    Reason.BACK_OFF: "After a failure: a pause before the next start.",
    Reason.COMPLETED: "The training job has completed.",
    Reason.REFUSED: "The plan refused the run, for example because another run holds the job.",
    Reason.REPLACED: "A newer run of the same job takes this one's place.",
    Reason.STOP_REQUESTED: "A person asked for the end of the run (`nightspot stop`, or the API).",
    Reason.STOPPED_BY_PERSON: "A person stopped the training job in SageMaker.",
    Reason.USER_FAULT: "The script, its memory, the request or a permission is at fault: no further attempt.",
    Reason.NOT_CAPACITY: "An unknown failure, which never buys anything: no further attempt.",
    Reason.NO_PROGRESS: "MaxRuntimeInSeconds passed without a new checkpoint: the same again would end alike.",
    Reason.PAID_TIME_USED_UP: "The attempts together have used up MaxRuntimeInSeconds of the job file.",
    Reason.REPEATED_FAULT: "A fault of AWS has come back: the same again would fail again.",
    Reason.TOO_MANY_ATTEMPTS: "The run has had 90 attempts.",
    Reason.GAVE_UP: "It is long past the deadline, and the last attempt failed.",
    Reason.NO_RUNG_LEFT: "No rung of the ladder is left.",
    Reason.BUDGET_TOO_SMALL: "No attempt's worst case fits into what is left of the budget.",
    Reason.NO_AFFORDABLE_RUNG: "No rung that fits into the budget is still in time.",
    Reason.FALLBACK_FORBIDDEN: "Spot can no longer be in time, and the job forbids on-demand.",
    Reason.EXECUTION_ENDED: "The run's execution crashed, timed out or was aborted; the run was closed after it.",
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
        "## Why it is taken: reason",
        "Of every decision, beside its figures. A run that fell back to on-demand has that of its first on-demand "
        "start as `fell_back_reason`; `GET /runs?reason=…` and `nightspot runs --reason` filter by it.",
        _words(REASONS),
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
