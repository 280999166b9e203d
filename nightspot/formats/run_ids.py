"""The ids of runs and drills, and the names of training jobs, which carry them.

A training job is called `nightspot-<environment>-<job>-<id>-<attempt>`. By the environment, deployments in one
account and region tell their training jobs apart. Runs of versions that knew no environments, runs on one machine
and drills have names without it.

A run's id is its day (UTC) and 40 bits of a digest of its execution's ARN: "20261121-25feuomo". It sorts by day.
The ARN names one execution of one job in one deployment: two runs, of one job or of two, never have digests of the
same text, and whoever knows the execution finds its run's id.

How often two runs of one day get the same id, over all jobs of a deployment: 100 runs a day are 4,950 pairs a day,
1.8 million a year. With 40 bits (1.1e12 ids) that is one collision in 600,000 years; at 1,000 runs a day, one in
6,000 years. With the 24 bits of the first versions ("20261121-d74a4a"), 100 runs a day gave one in 9 years.

Ids of the first versions stay valid wherever an id is read.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

# SageMaker's TrainingJobName: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
# fact: sagemaker.name.characters
TRAINING_JOB_NAME_CHARACTERS = 63
RUN_ID_CHARACTERS = 17
ATTEMPT_DIGITS = 2  # a run has at most `ladder.MOST_ATTEMPTS`
NAME_PREFIX = "nightspot-"
ENVIRONMENT_CHARACTERS = 8
# Without a hyphen: else what the jobs of "prod" begin with, those of "prod-eu" would begin with too.
_ENVIRONMENT = re.compile(rf"[a-z][a-z0-9]{{0,{ENVIRONMENT_CHARACTERS - 1}}}")
# What the other parts of a training job's name leave, without an environment. Beside one, a longer name is cut.
JOB_NAME_CHARACTERS = (
    TRAINING_JOB_NAME_CHARACTERS - len(NAME_PREFIX) - len("-") - RUN_ID_CHARACTERS - len("-") - ATTEMPT_DIGITS
)

_DIGEST_BYTES = 5  # 40 bits, eight characters of base32
_RUN_ID = r"[0-9]{8}-(?:[a-z2-7]{8}|[0-9a-f]{6})"
_DRILL_ID = r"drill-[0-9]{6}-[0-9a-f]{5}"  # see `aws.drill_plan`
_NAME = re.compile(
    rf"nightspot-(?P<job>[a-z0-9](?:-*[a-z0-9])*)-(?P<run_id>{_RUN_ID}|{_DRILL_ID})-(?P<attempt>[0-9]{{1,3}})"
)


@dataclass(frozen=True)
class NamedTrainingJob:
    """What the name of a training job says of it. `run_id` is a drill's where `is_drill`.

    `job` has the environment before it, where the name has one, and may be cut: the run's record has the whole.
    """

    job: str
    run_id: str
    attempt: int

    @property
    def is_drill(self) -> bool:
        """Whether `nightspot drill` asked for it, so that no run waits for it."""
        return not is_run_id(self.run_id)


def run_id_of(execution_arn: str, started_at: datetime) -> str:
    """The id of the run that is this execution, always the same one; `started_at` is aware UTC."""
    digest = base64.b32encode(_digest(execution_arn)[:_DIGEST_BYTES])
    return f"{started_at:%Y%m%d}-{digest.decode().lower()}"


def first_run_id_of(execution_arn: str, started_at: datetime) -> str:
    """The id that the first versions gave to this execution: of a run that began before an update of the code."""
    return f"{started_at:%Y%m%d}-{_digest(execution_arn).hex()[:6]}"


def is_run_id(text: str) -> bool:
    """Whether a run of any version may have this id."""
    return re.fullmatch(_RUN_ID, text) is not None


def is_environment(text: str) -> bool:
    """Whether a deployment may be called so."""
    return _ENVIRONMENT.fullmatch(text) is not None


def names_of(environment: str) -> str:
    """What the names of an environment's training jobs begin with, and no other environment's."""
    return f"{NAME_PREFIX}{environment}-" if environment else NAME_PREFIX


def training_job_name(environment: str, job: str, run_id: str, attempt: int) -> str:
    """The name of an attempt's training job: the same for the same attempt.

    Where SageMaker's limit leaves less than the job's name, its end is cut off: the run's id alone tells runs
    apart. `environment` is "" for a run without one.
    """
    begin = names_of(environment)
    end = f"-{run_id}-{attempt}"
    room = TRAINING_JOB_NAME_CHARACTERS - len(begin) - len(end)
    return f"{begin}{job[:room].rstrip('-')}{end}"


def read_training_job_name(name: str) -> NamedTrainingJob | None:
    """The parts of a training job's name; None of one that Nightspot did not give."""
    match = _NAME.fullmatch(name)
    return match and NamedTrainingJob(match["job"], match["run_id"], int(match["attempt"]))


def _digest(execution_arn: str) -> bytes:
    return hashlib.sha256(execution_arn.encode()).digest()
