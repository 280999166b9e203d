"""The course of a drill on this machine: one undisturbed training, the killed ones, and, where chance could
explain what differs, a second undisturbed one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nightspot.checkpoint.core.journal import JOURNAL_VARIABLE
from nightspot.drill.lives import NEEDS_ANOTHER_BEFORE, USUAL_DEFINITIONS, Life, Training, definitions_of
from nightspot.drill.planning import PlannedKill, pace_of, plan, targets_of
from nightspot.drill.verdict import DrillEvidence, needs_second_run
from nightspot.job.model import Job
from nightspot.job.request_shape import SAMPLES, fill
from nightspot.job.source_archive import pack
from nightspot.local.checkpoint_names import names_in
from nightspot.local.drilled_life import DrillDisk, LifePlace, LifeSetting, digests, live
from nightspot.local.sagemaker import container as containers
from nightspot.local.sagemaker.launch import TrainingCommand, launch_of
from nightspot.local.sagemaker.opt_ml import is_private
from nightspot.local.sagemaker.process import Reaper
from nightspot.plan.planning import with_code

PAGES = "nightspot-reports"  # the bucket of code; nothing is really there
# By this variable the example pads its epochs to a story's pace (nightspot.local.stage.staging); a drill plays no
# story.
PADDING = "SECONDS_PER_EPOCH"

# How often a kill that came too late is tried again, in one more training.
_EXTRA_TRAININGS = 2
# A life after a kill has no more to do than the undisturbed one: beyond these it hangs.
_TIMES_UNDISTURBED = 5.0
_LEAST_LIMIT_SECONDS = 30.0


@dataclass(frozen=True)
class DrillOptions:
    """How a drill is to be done.

    `tolerance`: relative, None: to the bit. `environment` outranks the job file's. `limit_seconds` is the longest
    that a life may take, `grace_seconds` the time between SIGTERM and SIGKILL (SageMaker's are 120).
    """

    kills: int = 6
    seed: int = 7
    tolerance: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    limit_seconds: float = 600.0
    grace_seconds: float = 10.0


OnLife = Callable[[str, int, Life, int, int], None]
"""Called after each life with the training's name, the life's number from 1, the life, how many lives are over by
now, and how many there will probably be."""


def drill(
    job: Job,
    options: DrillOptions,
    *,
    scratch: Path,
    directory: Path,
    on_life: OnLife = lambda *_: None,
    archives: Mapping[str, bytes] = MappingProxyType({}),
) -> DrillEvidence:
    """Train undisturbed and with kills, below `scratch`, with `directory` as the command's current one.

    `archives`: the source archives that the request may name, by their S3 URI. Raises ValueError where the job
    has no local command, MetricDefinitionError for a metric definition that cannot be used, and CommandError
    where the command cannot be started. Whatever it started has ended when it returns.
    """
    if job.local is None:
        raise ValueError(f"local: job {job.name!r} has no local.command to train it on this machine")
    how = TrainingCommand.of(job.local, directory, environment_of(job, options.environment))
    request = request_of(job)
    if job.code is not None and job.local.command is None:
        request, archives = _with_code(request, job, archives)
    rng = random.Random(options.seed)  # noqa: S311 - when to kill, not a secret
    with closing(Reaper()) as reaper:
        setting = LifeSetting(
            definitions=definitions_of(request) or USUAL_DEFINITIONS,
            reaper=reaper,
            limit_seconds=options.limit_seconds,
            grace_seconds=options.grace_seconds,
        )
        stage = DrillStage(scratch, request, how, archives, rng.random, on_life)
        # As a rule one training has all the kills.
        stage.expect([(), (None,) * options.kills])
        return _drilled(setting, stage, options, rng.random)


def _drilled(
    setting: LifeSetting, stage: DrillStage, options: DrillOptions, draw: Callable[[], float]
) -> DrillEvidence:
    undisturbed, _ = stage.train("undisturbed", setting, ())
    evidence = DrillEvidence(undisturbed, tolerance=options.tolerance, planned=options.kills)
    if not undisturbed.completed or not targets_of(undisturbed):
        return evidence
    known = _knowing(setting, undisturbed)
    groups = list(plan(undisturbed, options.kills, draw))
    trainings: list[Training] = []
    most = len(groups) + _EXTRA_TRAININGS
    while groups and len(trainings) < most:
        stage.expect(groups)
        training, left = stage.train(f"training-{len(trainings) + 1}", known, groups.pop(0))
        trainings.append(training)
        if left and training.completed:
            groups.append(after_another(left))
        if not training.completed:
            # The same fault would only be shown again.
            break
    evidence = replace(evidence, disturbed=tuple(trainings))
    if needs_second_run(evidence):
        stage.expect([()])
        again, _ = stage.train("undisturbed-again", setting, ())
        return replace(evidence, again=again if again.completed else None)
    return evidence


def after_another(left: Sequence[PlannedKill]) -> tuple[PlannedKill, ...]:
    """The kills that a training ended before, in another order.

    The first of them may never find its moment, such as one between two saves of a directory that is always being
    written; the others need not wait for it.
    """
    first, *others = left
    n = next((n for n, kill in enumerate(others) if kill.kind not in NEEDS_ANOTHER_BEFORE), None)
    return tuple(left) if n is None else (others[n], *others[:n], *others[n + 1 :], first)


def _knowing(setting: LifeSetting, undisturbed: Training) -> LifeSetting:
    life = undisturbed.lives[0]
    likely = max(_LEAST_LIMIT_SECONDS, _TIMES_UNDISTURBED * life.seconds)
    return replace(
        setting,
        limit_seconds=min(setting.limit_seconds, likely),
        uses_library=life.seen.library,
        last_step=max((seen.step for seen in life.seen.steps), default=None),
        pace=pace_of(undisturbed),
    )


@dataclass
class DrillStage:
    """Where trainings are played, one after the other; `done` of probably `total` lives are over."""

    scratch: Path
    request: Mapping[str, Any]
    how: TrainingCommand
    archives: Mapping[str, bytes]
    draw: Callable[[], float]
    on_life: OnLife
    done: int = 0
    total: int = 0

    def expect(self, kills: Iterable[Sequence[object]]) -> None:
        """Trainings with these kills are to come, each of which has a life more than it has kills."""
        self.total = self.done + sum(len(each) + 1 for each in kills)

    def train(
        self, name: str, setting: LifeSetting, kills: Sequence[PlannedKill]
    ) -> tuple[Training, tuple[PlannedKill, ...]]:
        """One training from nothing to its end, and the kills that it ended before."""
        disk = DrillDisk(self.scratch, self.request, is_private=is_private(self.scratch, self.how.directory))
        lives: list[Life] = []
        model: dict[str, str] = {}
        for planned in (*kills, None):
            container = disk.begin(self.draw)
            try:
                place = self._place(disk, container, f"{name}-life-{len(lives) + 1}")
                lives.append(live(setting, place, planned))
                if lives[-1].completed:
                    model = digests(container.model)
                if not kills and not lives[-1].seen.library:
                    lives[-1] = replace(lives[-1], names=names_in(container.checkpoints))
            finally:
                disk.end(container)
            self.done += 1
            self.on_life(name, len(lives), lives[-1], self.done, self.total)
            if lives[-1].kill is None:
                break
        landed = sum(life.kill is not None for life in lives)
        return Training(tuple(lives), model), tuple(kills[landed:])

    def _place(self, disk: DrillDisk, container: containers.Container, name: str) -> LifePlace:
        journal = self.scratch / "journals" / f"{name}.jsonl"
        journal.parent.mkdir(exist_ok=True)
        launch = launch_of(container, self.request, self.how, self.archives.__getitem__)
        extra = {**launch.environment, **self.how.environment, JOURNAL_VARIABLE: str(journal)}
        arn = f"arn:aws:sagemaker:{SAMPLES['AWS::Region']}:{SAMPLES['AWS::AccountId']}:training-job/drill"
        return LifePlace(
            disk=disk,
            container=container,
            launch=launch,
            environment=containers.environment(container, self.request, arn, extra, launch.entry_point),
            journal=journal,
            log=self.scratch / "logs" / f"{name}.log",
        )


def _with_code(
    request: dict[str, Any], job: Job, archives: Mapping[str, bytes]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The request with the job's code, and where its containers find the archive. Raises InvalidJobError."""
    packed = pack(job)
    s3_uri = f"s3://{PAGES}/{packed.version.key(job.name)}"
    return with_code(request, packed.version, s3_uri), {**archives, s3_uri: packed.body}


def request_of(job: Job) -> dict[str, Any]:
    """The request whose container the command finds itself in: the same for each life, as within one job."""
    request: dict[str, Any] = fill(job.training_job, SAMPLES)
    resources = {"InstanceType": job.capacity.first.instance_type, **request.get("ResourceConfig", {})}
    return {**request, "TrainingJobName": f"nightspot-{job.name}-drill-1", "ResourceConfig": resources}


def environment_of(job: Job, given: Mapping[str, str]) -> dict[str, str]:
    """The variables beside SageMaker's: the job file's without its padding, a run's, and those given."""
    own = dict(job.local.environment) if job.local else {}
    own = {name: value for name, value in own.items() if not name.endswith(PADDING)}
    return {**own, "NIGHTSPOT_RUN_ID": "drill", "NIGHTSPOT_ATTEMPT": "1", **given}
