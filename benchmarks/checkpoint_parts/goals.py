"""What was to be reached, and says whether it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from checkpoint_parts.intervals import Shares
from checkpoint_parts.speed import Measured
from checkpoint_parts.ways import COPY_REUSED, OURS, OURS_BESIDE

MOST_COPIES = 1.3
MOST_OF_PLAIN_STALL = 0.25
LEAST_MEGABYTES = 200  # for the goals of the stall: below, all stalls are a few milliseconds
MOST_BYTES = 1.01
MOST_POINTS = 1.0


@dataclass(frozen=True)
class Goal:
    """What was to be reached at most, and what was."""

    what: str
    limit: float
    reached: float

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        return self.reached <= self.limit

    def __str__(self) -> str:
        return f"{'MET   ' if self.met else 'MISSED'}  {self.what}: {self.reached:,.4g}, goal {self.limit:,g}"


def speed_goals(megabytes: float, figures: Sequence[Measured], plain: str) -> Iterator[Goal]:
    """Those of one size of state."""
    by_name: Mapping[str, Measured] = {each.name: each for each in figures}
    beside, copy, save = by_name[OURS_BESIDE], by_name[COPY_REUSED], by_name[plain]
    where = f"{megabytes:g} MB"
    if megabytes >= LEAST_MEGABYTES:
        yield Goal(
            f"{where}: stall beside training over a copy into reused memory",
            MOST_COPIES,
            beside.stall_seconds / copy.stall_seconds,
        )
        yield Goal(
            f"{where}: stall beside training over {plain}'s",
            MOST_OF_PLAIN_STALL,
            beside.stall_seconds / save.stall_seconds,
        )
    most = max(by_name[name].stored_bytes for name in (OURS, OURS_BESIDE))
    yield Goal(f"{where}: bytes written over {plain}'s", MOST_BYTES, most / save.stored_bytes)


def interval_goal(where: str, shares: Shares) -> Goal:
    """That of one set of traces and one cost."""
    return Goal(f"{where}: auto below the best fixed interval, points", MOST_POINTS, shares.gap_points)
