"""What runs on a machine: steps of one pace, checkpoints, and the progress file as the library writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from nightspot.checkpoint.core.files import checkpoint_name, progress_name
from nightspot.checkpoint.core.progress import Progress, ResumedFrom
from nightspot.local.sagemaker.behaviour import UploadAgent
from nightspot.run.progress_file import order_of
from tests.simulation.clock import Clock
from tests.simulation.s3 import S3

PROGRESS_FILE = "nightspot.json"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)-rank00000\.nsck$")


@dataclass(frozen=True)
class Workload:
    """What a job's script does. Seconds are at speed 1."""

    total_steps: int
    seconds_per_step: float
    steps_per_save: int
    speeds: dict[str, float]  # by instance type, 1.0 where absent
    writes_progress: bool = True
    upload_seconds: tuple[float, float] = (2.0, 20.0)  # from a save to its upload, each file for itself
    fails_at_step: int | None = None
    failure: str = ""  # the FailureReason then
    # (body, number of the save) -> what is uploaded instead; None: nothing is
    spoil: Callable[[bytes, int], bytes | None] | None = None
    keeps: int | None = None  # so many of its checkpoints; None: all
    pace: tuple[float, float] = (0.97, 1.03)  # of one machine, relative to what is stated

    @property
    def work_seconds(self) -> float:
        return self.total_steps * self.seconds_per_step

    def step_seconds(self, instance_type: str) -> float:
        """Of one step on a machine of this type."""
        return self.seconds_per_step / self.speeds.get(instance_type, 1.0)


class Process:
    """A training process on one machine, from the restore to its end. Its files reach S3 some time later."""

    def __init__(
        self,
        clock: Clock,
        s3: S3,
        random: Random,
        workload: Workload,
        *,
        checkpoints: tuple[str, str] | None,
        instance_type: str,
        environment: dict[str, str],
        name: str,
        on_exit: Callable[[str | None], None],
        agent: UploadAgent | None = None,
        hosts: int = 1,
    ) -> None:
        self._clock, self._s3, self._random, self._work = clock, s3, random, workload
        self._checkpoints, self._name, self._on_exit = checkpoints, name, on_exit
        self._pace = workload.step_seconds(instance_type) * random.uniform(*workload.pace)
        self._environment = environment
        self._began_at = clock.now
        self._is_gone = False
        self._agent = agent or UploadAgent()
        # A stream of its own: what one agent does must not change what happens elsewhere.
        self._chance = Random(f"{name} {clock.now}")
        lives = self._agent.dies_after_seconds
        self._agent_dies_at = float("inf") if lives is None else clock.now + lives
        self._has_stale_hosts = self._agent.stale_hosts and hosts > 1
        self._restored = dict(self._below_prefix()) if self._has_stale_hosts else {}
        self._steps_kept: list[int] = []
        # What waits for its upload, each content with the number of its save.
        self._pending: dict[str, tuple[int, bytes]] = {}
        self._uploaded: dict[str, int] = {}
        self.step, self._resumed_by = self._restore()
        self._resumed_from = self.step if self._resumed_by is not None else None
        self._saves = 0
        self._number = self._process_number()
        self._go_on()

    def _below_prefix(self) -> Iterator[tuple[str, bytes]]:
        if self._checkpoints is not None:
            bucket, prefix = self._checkpoints
            for key in self._s3.keys(bucket, prefix):
                yield key, self._s3.objects[bucket, key].body

    def _restore(self) -> tuple[int, int | None]:
        """The step of the newest whole checkpoint, and who saved it."""
        if self._checkpoints is None:
            return 0, None
        bucket, prefix = self._checkpoints
        steps = [int(m[1]) for key in self._s3.keys(bucket, prefix) if (m := _CHECKPOINT.search(key))]
        if not steps:
            return 0, None
        step = max(steps)
        body = self._s3.objects[bucket, prefix + checkpoint_name(step, 0)].body
        return step, int(body or b"1")

    def _process_number(self) -> int:
        """One more than that of any process whose progress files are there."""
        if self._checkpoints is None:
            return 1
        bucket, prefix = self._checkpoints
        names = (key.removeprefix(prefix) for key in self._s3.keys(bucket, prefix))
        return 1 + max((order[0] for name in names if (order := order_of(name))), default=0)

    def _go_on(self) -> None:
        work = self._work
        following = min(work.total_steps, (self.step // work.steps_per_save + 1) * work.steps_per_save)
        if work.fails_at_step is not None and self.step < work.fails_at_step <= following:
            self._clock.after((work.fails_at_step - self.step) * self._pace, self._crash)
            return
        if self.step >= work.total_steps:
            self._clock.after(1.0, self._finish)
            return
        self._clock.after((following - self.step) * self._pace, lambda: self._reach(following))

    def _reach(self, step: int) -> None:
        if self._is_gone:
            return
        self.step = step
        self._save()
        self._go_on()

    def _crash(self) -> None:
        if not self._is_gone:
            self.flush()
            self._is_gone = True
            self._on_exit(self._work.failure)

    def _finish(self) -> None:
        if not self._is_gone:
            self.flush()
            self._is_gone = True
            self._on_exit(None)

    def kill(self) -> None:
        """The machine is gone, and what was not uploaded with it."""
        self._is_gone = True
        self._pending.clear()

    def end(self) -> None:
        """The process has ended in order; its files are uploaded."""
        if not self._is_gone:
            self.flush()
            self._let_stale_hosts_upload()
        self._is_gone = True

    def _let_stale_hosts_upload(self) -> None:
        if self._checkpoints is not None and self._clock.now < self._agent_dies_at:
            for key, body in self._restored.items():
                self._s3.store(self._checkpoints[0], key, body)

    def flush(self) -> None:
        """Upload what waits for it."""
        for name, (number, content) in list(self._pending.items()):
            self._upload(name, number, content)

    def _save(self) -> None:
        if self._checkpoints is None:
            return
        self._saves += 1
        name = checkpoint_name(self.step, 0)
        attempt = self._environment.get("NIGHTSPOT_ATTEMPT", "0")
        files: dict[str, bytes | None] = {name: attempt.encode()}
        if self._work.writes_progress:
            document = self._document(name, attempt)
            body = json.dumps({**document, "process": self._number, "number": self._saves}).encode()
            spoil = self._work.spoil
            files[PROGRESS_FILE] = body if spoil is None else spoil(body, self._saves)
            files[progress_name(self._number, self.step, self._saves)] = files[PROGRESS_FILE]
        delay = 0.0
        for file, content in files.items():
            if content is not None:
                self._pending[file] = (self._saves, content)
                if not order_of(file):  # both progress files arrive together
                    delay = self._random.uniform(*self._work.upload_seconds)
                    delay += self._agent.seconds_per_file.draw(self._chance)
                self._clock.after(delay, partial(self._upload, file, self._saves, content))
        if self._agent.carries(f"{name}.tmp"):
            self._clock.after(self._chance.uniform(0, 1), partial(self._upload_temporary, name, self._saves))
        self._steps_kept.append(self.step)
        if self._work.keeps is not None and self._agent.deletes_first:
            self._delete_old()

    def _upload_temporary(self, name: str, number: int) -> None:
        """Half of a file, under the name that it has while it is being written."""
        if self._carries_now() and self._uploaded.get(name, 0) < number and self._checkpoints is not None:
            bucket, prefix = self._checkpoints
            self._s3.store(bucket, f"{prefix}{name}.tmp", b"half")

    def _carries_now(self) -> bool:
        return not self._is_gone and self._clock.now < self._agent_dies_at

    def _delete_old(self) -> None:
        most = self._work.keeps
        while most is not None and len(self._steps_kept) > most and self._checkpoints is not None:
            bucket, prefix = self._checkpoints
            old = checkpoint_name(self._steps_kept.pop(0), 0)
            self._pending.pop(old, None)
            self._uploaded[old] = self._saves + 1  # what is under way of it does not come any more
            self._s3.forget(bucket, prefix + old)

    def _upload(self, name: str, number: int, content: bytes) -> None:
        """Unless the machine is gone, or a newer content was faster."""
        is_old = self._uploaded.get(name, 0) >= number
        if not self._carries_now() or self._checkpoints is None or is_old:
            return
        bucket, prefix = self._checkpoints
        self._s3.store(bucket, prefix + name, content)
        self._s3.forget(bucket, f"{prefix}{name}.tmp")
        self._uploaded[name] = number
        self._delete_old()
        if self._pending.get(name, (0, b""))[0] == number:
            del self._pending[name]

    def _document(self, checkpoint: str, attempt: str) -> dict[str, Any]:
        resumed = self._resumed_from
        progress = Progress(
            run_id=self._environment.get("NIGHTSPOT_RUN_ID"),
            attempt=int(attempt),
            training_job_name=self._name,
            step=self.step,
            total_steps=self._work.total_steps,
            seconds_per_step=self._pace,
            saved_at=self._clock.moment(),
            checkpoint=checkpoint,
            metrics={"loss": 1.0 / (1 + self.step)},
            resumed_from=None if resumed is None else ResumedFrom(resumed, self._resumed_by),
            started_at=self._clock.moment(self._began_at),
        )
        return progress.document()
