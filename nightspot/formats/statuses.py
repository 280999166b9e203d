"""SageMaker's names for where a training job stands.

They are those of botocore's model, and the older ones that its documentation keeps; a test compares them.
AWS may add others, so what a job says stays a `str`: compare it with these, and never refuse one that is not here.
"""

from __future__ import annotations

from enum import StrEnum


# fact: sagemaker.status.names
class Status(StrEnum):
    """TrainingJobStatus of DescribeTrainingJob and of SageMaker's events."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    DELETING = "Deleting"


# fact: sagemaker.status.names
class Secondary(StrEnum):
    """SecondaryStatus of DescribeTrainingJob, of its transitions, and of SageMaker's events."""

    STARTING = "Starting"
    PENDING = "Pending"
    LAUNCHING_ML_INSTANCES = "LaunchingMLInstances"
    PREPARING_TRAINING_STACK = "PreparingTrainingStack"
    DOWNLOADING = "Downloading"
    DOWNLOADING_TRAINING_IMAGE = "DownloadingTrainingImage"
    TRAINING = "Training"
    UPLOADING = "Uploading"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    MAX_RUNTIME_EXCEEDED = "MaxRuntimeExceeded"
    COMPLETED = "Completed"
    FAILED = "Failed"
    INTERRUPTED = "Interrupted"
    MAX_WAIT_TIME_EXCEEDED = "MaxWaitTimeExceeded"
    UPDATING = "Updating"
    RESTARTING = "Restarting"


# No training job leaves these: what it has cost is final.
ENDED = frozenset({Status.COMPLETED, Status.FAILED, Status.STOPPED})
# It may still cost something, and a decision may still stop it.
GOES_ON = frozenset({Status.IN_PROGRESS, Status.STOPPING})
