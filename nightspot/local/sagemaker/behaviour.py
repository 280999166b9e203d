"""What SageMaker does and AWS does not publish: both truths of every open question can be played.

Each default is what AWS documents, or else what somebody has seen, as `docs/simulation.md` says of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from nightspot.formats.statuses import Secondary

TEMPORARY = re.compile(r"\.tmp\b|^\.|/\.")


@dataclass(frozen=True)
class Duration:
    """How long something lasts, in seconds.

    `seconds` are quantiles at equal distances, the shortest first, between which it is drawn; or, `in_turn`, the
    first, second, … time that it happens to a job, and the last one from then on. Raises ValueError for none, for
    negative ones, and for quantiles that are not in order.
    """

    seconds: tuple[float, ...] = (0.0,)
    in_turn: bool = False

    def __post_init__(self) -> None:
        if not self.seconds or any(not second >= 0 for second in self.seconds):
            raise ValueError(f"seconds: {self.seconds} must be at least one number of 0 or more")
        if not self.in_turn and list(self.seconds) != sorted(self.seconds):
            raise ValueError(f"seconds: {self.seconds} must be in order, the shortest first")

    def draw(self, random: Random, number: int = 1) -> float:
        """Seconds; `number`: how often it happens to this job, this time included."""
        if self.in_turn:
            return self.seconds[min(number, len(self.seconds)) - 1]
        if len(self.seconds) == 1:
            return self.seconds[0]
        where = random.random() * (len(self.seconds) - 1)
        below = int(where)
        above = min(below + 1, len(self.seconds) - 1)
        return self.seconds[below] + (where - below) * (self.seconds[above] - self.seconds[below])


AT_ONCE = Duration()


class Waits(StrEnum):
    """What a job without a machine is shown as."""

    PENDING = "pending"  # seen for on-demand; documented as "waiting for capacity"
    STARTING = "starting"  # AWS's page of the lifecycle of managed Spot training knows no Pending


class RuntimeLimit(StrEnum):
    """What MaxRuntimeInSeconds counts."""

    TOTAL = "total"  # all machines of a job together
    PER_LIFE = "per_life"  # each machine anew


class EventsOf(StrEnum):
    """When SageMaker sends an event."""

    TRANSITIONS = "transitions"  # with each secondary status
    STATUSES = "statuses"  # when TrainingJobStatus changes alone


@dataclass(frozen=True)
class Hang:
    """A stopped job stays so much longer in a status. `job`: its number in order of creation; None: each one.

    Seen on AWS: 3 minutes in Stopping, then more than a day in Uploading (aws/sagemaker-python-sdk issue 3062).
    """

    secondary: Secondary
    seconds: float
    job: int | None = None

    def __post_init__(self) -> None:
        if self.secondary not in {Secondary.STOPPING, Secondary.UPLOADING}:
            raise ValueError(f"secondary: {self.secondary} must be Stopping or Uploading")
        if not self.seconds >= 0:
            raise ValueError(f"seconds: {self.seconds} must be 0 or more")


class UploadOrder(StrEnum):
    """Which of the changed files the upload agent takes first."""

    NAME = "name"
    RANDOM = "random"
    NEWEST = "newest"


@dataclass(frozen=True)
class UploadAgent:
    """How SageMaker's agent carries changed files of the checkpoint folder to S3, one after the other.

    * `bytes_per_second`, `seconds_per_file`: how long a file takes; it is read when its upload begins.
    * `deletes_first`: what was deleted locally is deleted in S3 before anything is uploaded, else after it.
    * `skips_temporary`: `*.tmp` and hidden files stay behind, else they are uploaded as they are.
    * `dies_after_seconds` of training: from then on nothing is carried any more, not even at the end.
    * `stale_hosts`: the other hosts of a job with several upload at its end all that they restored when it began,
      old files over newer ones; else each host uploads what changed on it.
    """

    bytes_per_second: float = float("inf")
    seconds_per_file: Duration = AT_ONCE
    order: UploadOrder = UploadOrder.NAME
    deletes_first: bool = False
    skips_temporary: bool = False
    dies_after_seconds: float | None = None
    stale_hosts: bool = False

    def __post_init__(self) -> None:
        if not self.bytes_per_second > 0:
            raise ValueError(f"bytes_per_second: {self.bytes_per_second} must be greater than 0")

    def carries(self, name: str) -> bool:
        """Whether a file of this name is uploaded at all."""
        return not (self.skips_temporary and TEMPORARY.search(name))

    def transfers(self, changed: Mapping[str, int], deleted: Iterable[str], random: Random) -> list[Transfer]:
        """What is carried, in order: `changed` files with their bytes, the oldest change first, and deletions."""
        names = [name for name in changed if self.carries(name)]
        if self.order is UploadOrder.RANDOM:
            random.shuffle(names)
        elif self.order is UploadOrder.NEWEST:
            names.reverse()
        else:
            names.sort()
        puts = [
            Transfer(name, self.seconds_per_file.draw(random) + changed[name] / self.bytes_per_second)
            for name in names
        ]
        deletions = [
            Transfer(name, self.seconds_per_file.draw(random), is_deletion=True) for name in sorted(deleted)
        ]
        return [*deletions, *puts] if self.deletes_first else [*puts, *deletions]


@dataclass(frozen=True)
class Transfer:
    """One file carried to S3, or deleted there, which takes so many seconds."""

    name: str
    seconds: float
    is_deletion: bool = False


@dataclass(frozen=True)
class Behaviour:
    """How jobs live, beyond what is published.

    * `provisioning` (from a machine being given to its download), `downloading`, `uploading` (of the model): in
      place of `SimulationOptions`' fixed numbers.
    * `waits`, `seconds_to_pending`: see `Waits`; a wait is Starting for so long before it is Pending.
    * `interrupted`: how long Interrupted lasts before the job asks for a machine again.
    * `starts_again`: after the first, second, … interruption (the last one from then on) comes Starting, else
      Downloading at once. AWS documents both, of one job.
    * `stop_waiting`, `stop_starting`, `stop_training`: from a stop to the end of Stopping, for a job that waits for
      a machine, one whose machine starts or downloads, and one that trains; there the container's own time for
      SIGTERM comes on top. After it comes Uploading, where a container has run. Unknown: minutes are plausible.
    * `stop_shows_uploading`: a stopped job whose container ran is Uploading before it ends (seen), else it uploads
      while it is Stopping (AWS's page of the lifecycle shows no Uploading after a stop).
    * `stopped_has_model`: what a stopped job has left in its model's folder is stored, as of one that completes.
    * `hangs`: see `Hang`.
    * `figures_while_running`: DescribeTrainingJob has TrainingTimeInSeconds, and BillableTimeInSeconds, of a job
      that is not over.
    * `cannot_checkpoint`: names and images of algorithms for which MaxWaitTimeInSeconds is at most 3,600, even with
      a CheckpointConfig. Names of algorithms without one are refused in any case.
    """

    provisioning: Duration | None = None
    downloading: Duration | None = None
    uploading: Duration | None = None
    waits: Waits = Waits.PENDING
    seconds_to_pending: float = 0.0
    interrupted: Duration = AT_ONCE
    starts_again: tuple[bool, ...] = (True,)
    stop_waiting: Duration = Duration((1.0, 20.0))
    stop_starting: Duration = Duration((1.0, 20.0))
    stop_training: Duration = AT_ONCE
    stop_shows_uploading: bool = True
    stopped_has_model: bool = True
    hangs: tuple[Hang, ...] = ()
    runtime_limit: RuntimeLimit = RuntimeLimit.TOTAL
    figures_while_running: frozenset[str] = frozenset()
    cannot_checkpoint: frozenset[str] = frozenset()
    uploads: UploadAgent = UploadAgent()

    def __post_init__(self) -> None:
        unknown = sorted(self.figures_while_running - FIGURES)
        if unknown:
            raise ValueError(f"figures_while_running: {unknown[0]!r} must be one of {sorted(FIGURES)}")
        if not self.starts_again:
            raise ValueError("starts_again: () must have at least one entry")
        if not self.seconds_to_pending >= 0:
            raise ValueError(f"seconds_to_pending: {self.seconds_to_pending} must be 0 or more")

    def shows_starting(self, interruption: int) -> bool:
        """Whether Starting comes after this interruption of a job, counted from 1."""
        return self.starts_again[min(interruption, len(self.starts_again)) - 1]

    def hang_seconds(self, secondary: Secondary, job: int) -> float:
        """How much longer the stopped job of this number stays in a status."""
        return sum(
            hang.seconds for hang in self.hangs if hang.secondary is secondary and hang.job in {None, job}
        )


FIGURES = frozenset({"TrainingTimeInSeconds", "BillableTimeInSeconds"})
