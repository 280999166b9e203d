"""Lives that others have documented or seen, written down as cassettes: `python -m tests.cassettes.by_hand`.

None of them was recorded. Each names its source, and what is only assumed so that it can be played.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nightspot.cassettes.model import ARN, JOB, Cassette, Entry, Origin, Source, moment

FOLDER = Path(__file__).parent / "lives"
LIFECYCLE = "https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training-status.html"
NO_TIMES = "how long each status lasts: the page has no times"
HOUR, DAY = 3600.0, 86_400.0
IN_PROGRESS, STOPPING, STOPPED = "InProgress", "Stopping", "Stopped"
QUIET = (("Starting", 150), ("Downloading", 45), ("Training", 3600))


@dataclass(frozen=True)
class Written:
    """A life: its statuses, each with the seconds that it lasts; the last one is where it ends."""

    what: str
    evidence: str
    states: tuple[tuple[str, str, float], ...]  # TrainingJobStatus, SecondaryStatus, seconds
    assumed: tuple[str, ...] = (NO_TIMES,)
    is_spot: bool = True
    limits: Mapping[str, int] = field(default_factory=dict)
    failure_reason: str | None = None
    stop_at: float | None = None  # StopTrainingJob
    knows: tuple[str, ...] = ()  # fields of the last description of which the source tells
    figures: Mapping[str, int] = field(default_factory=dict)

    def cassette(self) -> Cassette:
        """With an answer of DescribeTrainingJob at the beginning of each status."""
        entries = [Entry(t=0, source=Source.CALL, payload={"operation": "CreateTrainingJob", "request": {}})]
        if self.stop_at is not None:
            said = {"operation": "StopTrainingJob", "answer": {}}
            entries.append(Entry(t=self.stop_at, source=Source.CALL, payload=said))
        at, transitions = 0.0, list[dict[str, Any]]()
        for number, (status, secondary, seconds) in enumerate(self.states):
            if transitions:
                transitions[-1]["EndTime"] = moment(at)
            transitions.append({"Status": secondary, "StartTime": moment(at)})
            is_last = number == len(self.states) - 1
            if is_last:
                transitions[-1]["EndTime"] = moment(at)
            answer: dict[str, Any] = {
                "TrainingJobName": JOB,
                "TrainingJobArn": ARN,
                "TrainingJobStatus": status,
                "SecondaryStatus": secondary,
                "CreationTime": moment(0),
                "LastModifiedTime": moment(at),
                "SecondaryStatusTransitions": [dict(each) for each in transitions],
                "EnableManagedSpotTraining": self.is_spot,
                "StoppingCondition": dict(self.limits),
            }
            if is_last:
                answer |= self.figures
                if self.failure_reason is not None:
                    answer["FailureReason"] = self.failure_reason
            entries.append(Entry(t=at, source=Source.DESCRIBE, payload=answer))
            at += seconds
        return Cassette(
            what=self.what,
            origin=Origin.BY_HAND,
            evidence=self.evidence,
            assumed=self.assumed,
            knows_fields=self.knows,
            entries=tuple(sorted(entries, key=lambda entry: entry.t)),
        )


def _running(*states: tuple[str, float]) -> tuple[tuple[str, str, float], ...]:
    return tuple((IN_PROGRESS, secondary, seconds) for secondary, seconds in states)


def _ended(status: str, secondary: str) -> tuple[str, str, float]:
    return (status, secondary, 0)


LIVES: Mapping[str, Written] = {
    "spot-quiet": Written(
        "Spot has a machine at once and leaves it alone.",
        LIFECYCLE,
        (*_running(*QUIET, ("Uploading", 30)), _ended("Completed", "Completed")),
    ),
    "spot-interrupted-once": Written(
        "Spot takes the machine once and has another one soon; Starting comes again.",
        LIFECYCLE,
        (
            *_running(*QUIET, ("Interrupted", 20), *QUIET, ("Uploading", 30)),
            _ended("Completed", "Completed"),
        ),
    ),
    "spot-interrupted-twice-wait-exceeded": Written(
        "Spot takes the machine twice, the second time Downloading follows without Starting; MaxWaitTimeInSeconds"
        " ends the job, and no Uploading is shown after the stop.",
        LIFECYCLE,
        (
            *_running(*QUIET, ("Interrupted", 20), *QUIET, ("Interrupted", 400), *QUIET[1:]),
            (STOPPING, "Stopping", 120),
            _ended(STOPPED, "MaxWaitTimeExceeded"),
        ),
        knows=("FailureReason",),
    ),
    "spot-never-launched": Written(
        "Spot never has a machine: Starting all along, no Pending, and no FailureReason at the end.",
        LIFECYCLE,
        (
            *_running(("Starting", 2 * HOUR)),
            (STOPPING, "Stopping", 60),
            _ended(STOPPED, "MaxWaitTimeExceeded"),
        ),
        limits={"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
        knows=("FailureReason",),
    ),
    "stop-uploads-for-a-day": Written(
        "A stopped job is Stopping for three minutes, then Uploading for more than a day.",
        "https://github.com/aws/sagemaker-python-sdk/issues/3062 (comment of 2022-04-12: Stopping 08:51 to 08:54"
        " UTC, Uploading from 08:54 on, 'it took more than one day to stop')",
        (
            *_running(("Starting", 150), ("Downloading", 45), ("Training", 6 * HOUR)),
            (STOPPING, "Stopping", 180),
            (STOPPING, "Uploading", 26 * HOUR),
            _ended(STOPPED, "Stopped"),
        ),
        assumed=(
            "all before the stop",
            "TrainingJobStatus, which the comment does not show",
            "that Uploading ended after 26 hours, and how",
        ),
        stop_at=150 + 45 + 6 * HOUR,
    ),
    "started-in-two-minutes": Written(
        "A job whose machine starts for 144 s, then downloads.",
        "https://github.com/aws/sagemaker-python-sdk/pull/427 (log of 2018-10-11: Starting 22:39:29, Downloading"
        " 22:41:53)",
        (
            *_running(("Starting", 144), ("Downloading", 60), ("Training", 600), ("Uploading", 20)),
            _ended("Completed", "Completed"),
        ),
        assumed=("all after the beginning of Downloading", "that it is no Spot job"),
        is_spot=False,
    ),
    "runtime-limit-overrun": Written(
        "A job with a limit of 603 s has 841 s of training time when it is over.",
        "https://github.com/aws/sagemaker-python-sdk/issues/4451 (max_run 603, training time 841 s)",
        (
            *_running(("Starting", 120), ("Downloading", 60), ("Training", 543)),
            (STOPPING, "Stopping", 120),
            (STOPPING, "Uploading", 118),
            _ended(STOPPED, "MaxRuntimeExceeded"),
        ),
        assumed=("how the 841 s are made up", "the statuses", "that it is no Spot job"),
        is_spot=False,
        limits={"MaxRuntimeInSeconds": 603},
        knows=("TrainingTimeInSeconds",),
        figures={"TrainingTimeInSeconds": 841},
    ),
    "on-demand-waits-for-capacity": Written(
        "An on-demand job waits for a machine for half an hour, as Pending.",
        "botocore's documentation of SecondaryStatus and of StoppingCondition.MaxPendingTimeInSeconds",
        (
            *_running(
                ("Starting", 90),
                ("Pending", 1800),
                ("Starting", 120),
                ("Downloading", 60),
                ("Training", 3600),
                ("Uploading", 40),
            ),
            _ended("Completed", "Completed"),
        ),
        assumed=("the order of Starting and Pending", NO_TIMES),
        is_spot=False,
    ),
    "script-fails": Written(
        "A script exits with 1; the reason is AlgorithmError with its own words.",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-output.html (what a script"
        " leaves in output/failure becomes FailureReason)",
        (
            *_running(("Starting", 120), ("Downloading", 60), ("Training", 90), ("Uploading", 10)),
            _ended("Failed", "Failed"),
        ),
        assumed=("the statuses", NO_TIMES),
        is_spot=False,
        failure_reason="AlgorithmError: loss is nan",
        knows=("FailureReason",),
    ),
}


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(exist_ok=True)
    for name, life in LIVES.items():
        (FOLDER / f"{name}.json").write_text(life.cassette().dump(), encoding="utf-8")


if __name__ == "__main__":
    main()
