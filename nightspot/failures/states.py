"""Where a training job stands that has not failed: what each state means, what a run does, what a person can do."""

from __future__ import annotations

from dataclasses import dataclass

from nightspot.failures.explanations import Explanation
from nightspot.formats.statuses import Secondary, Status


@dataclass(frozen=True)
class State:
    """A state by SageMaker's names, `InProgress/Pending`, and what it means."""

    name: str
    explanation: Explanation


_NOTHING = "Nothing has to be done."
_WATCHES = (
    "Waits for it, and looks again at each of SageMaker's events and at the last moment at which another machine "
    "would still make the deadline."
)
_WAITING = Explanation(
    meaning="SageMaker looks for machines and has none yet. Nothing is billed while it waits.",
    answer="Waits as long as the deadline allows. At the last safe moment it stops a Spot job and buys "
    "on-demand, "
    "where the job file lets it.",
    advice="Nothing has to be done before the deadline comes near. If it waits often, name a second instance "
    "type under "
    "capacity.spot, or start earlier.",
)
_PREPARING = Explanation(
    meaning="The machines are there, and SageMaker prepares them: it starts them and fetches the training image.",
    answer=_WATCHES,
    advice=_NOTHING + " A big image takes minutes.",
)

OF_SECONDARY: dict[Secondary, Explanation] = {
    Secondary.STARTING: Explanation(
        meaning="SageMaker takes the job up: it looks for machines, or starts them. After an interruption of "
        "Spot it is "
        "here again.",
        answer=_WAITING.answer,
        advice=_WAITING.advice,
    ),
    Secondary.PENDING: _WAITING,
    Secondary.LAUNCHING_ML_INSTANCES: _WAITING,
    Secondary.PREPARING_TRAINING_STACK: _PREPARING,
    Secondary.DOWNLOADING_TRAINING_IMAGE: _PREPARING,
    Secondary.DOWNLOADING: Explanation(
        meaning="The machines are there and fetch the training data, and the checkpoints of CheckpointConfig.",
        answer=_WATCHES,
        advice=_NOTHING + " If it takes long every night, use FastFile or Pipe for InputMode, or keep fewer "
        "checkpoints.",
    ),
    Secondary.TRAINING: Explanation(
        meaning="The training script runs.",
        answer="Compares the progress that the script reports with the deadline, and moves the job to another "
        "machine "
        "where it would be late.",
        advice="Nothing has to be done; its log is in CloudWatch (/aws/sagemaker/TrainingJobs).",
    ),
    Secondary.UPLOADING: Explanation(
        meaning="The training has ended, and the model is uploaded to S3OutputPath.",
        answer=_WATCHES,
        advice=_NOTHING,
    ),
    Secondary.RESTARTING: Explanation(
        meaning="SageMaker starts the job again by itself, after a fault of its own (RetryStrategy).",
        answer=_WATCHES,
        advice=_NOTHING,
    ),
    Secondary.UPDATING: Explanation(
        meaning="SageMaker changes the running job, such as its profiler.",
        answer=_WATCHES,
        advice=_NOTHING,
    ),
    Secondary.COMPLETED: Explanation(
        meaning="The training has completed, and its model is in S3.",
        answer="Ends the run with the model.",
        advice=_NOTHING,
    ),
}
OF_STATUS: dict[Status, Explanation] = {
    Status.IN_PROGRESS: Explanation(
        meaning="The training job has not ended; its SecondaryStatus says where it stands.",
        answer=_WATCHES,
        advice=_NOTHING,
    ),
    Status.COMPLETED: OF_SECONDARY[Secondary.COMPLETED],
    Status.DELETING: Explanation(
        meaning="The training job has ended, and is being deleted.",
        answer="Counts it as ended, as it was before.",
        advice=_NOTHING,
    ),
}

_OF_NAME: dict[str, Explanation] = {status.value: about for status, about in OF_SECONDARY.items()}
# A job in one of these is on its way to an end that has a class of its own.
_OTHERWISE = frozenset(set(Secondary) - OF_SECONDARY.keys())


def state_of(status: str | None, secondary_status: str | None) -> State | None:
    """The state of a job without a FailureReason; None where it failed, was interrupted or stopped."""
    name = "/".join(filter(None, (status, secondary_status)))
    found: Explanation | None = None
    if status is None:
        found = _OF_NAME.get(secondary_status or "")
    elif status == Status.IN_PROGRESS and secondary_status not in _OTHERWISE:
        # AWS may add a state: it goes on all the same.
        found = _OF_NAME.get(secondary_status or "", OF_STATUS[Status.IN_PROGRESS])
    elif status in {Status.COMPLETED, Status.DELETING}:
        found = OF_STATUS[Status(status)]
    return None if found is None else State(name, found)
