"""Decides what the progress file says of this process beside the step: who trains, since when, from where on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from . import files
from .pace import Pace
from .progress import Progress, ResumedFrom
from .ranks import Seat
from .settings import Origin


@dataclass(frozen=True)
class Teller:
    """What stays the same through a process's life; times are aware UTC datetimes."""

    origin: Origin
    seat: Seat
    total_steps: int | None
    started_at: datetime

    def progress(
        self,
        step: int,
        metrics: dict[str, float | None],
        pace: Pace,
        saved_at: datetime,
        resumed_from: ResumedFrom | None,
    ) -> Progress:
        """How far training is once the checkpoint of `step` is durable."""
        return Progress(
            run_id=self.origin.run_id,
            attempt=self.origin.attempt,
            training_job_name=self.origin.training_job_name,
            step=step,
            total_steps=self.total_steps,
            seconds_per_step=pace.seconds_per_step(step, saved_at),
            saved_at=saved_at,
            checkpoint=files.checkpoint_name(step, self.seat.rank),
            metrics=metrics,
            resumed_from=resumed_from,
            started_at=self.started_at,
            world_size=self.seat.world_size,
            files=self.seat.files_per_step,
        )
