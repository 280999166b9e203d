"""What many cassettes tell of how long things take: quantiles, by id.

An id is that of the fact (`nightspot.facts`) where one asks for it; the others are what a simulator draws from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from nightspot.cassettes.life import Life, life_of
from nightspot.cassettes.model import MOMENT, Cassette, CassetteError, Source
from nightspot.formats.statuses import Secondary, Status

STOP_WAITING = "sagemaker.stop.waiting.seconds"
STOP_STARTING = "sagemaker.stop.starting.seconds"
STOP_TRAINING = "sagemaker.stop.training.seconds"
STOPPING_TRAINING = "sagemaker.stop.training.stopping.seconds"  # of that, what is shown as Stopping
STOP_UPLOADING = "sagemaker.stop.uploading.seconds"
STARTING = "sagemaker.starting.seconds"
PENDING = "sagemaker.pending.seconds"
DOWNLOADING = "sagemaker.downloading.seconds"
UPLOADING = "sagemaker.uploading.seconds"
INTERRUPTED = "sagemaker.interrupted.seconds"
EVENT_DELAY = "sagemaker.events.delay.seconds"
SYNC_LAG = "sagemaker.checkpoints.lag.seconds"
# The status before Stopping, and which fact the time from there to the end answers.
_STOPS: Mapping[str, str] = {
    Secondary.PENDING: STOP_WAITING,
    Secondary.INTERRUPTED: STOP_WAITING,
    Secondary.STARTING: STOP_STARTING,
    Secondary.DOWNLOADING: STOP_STARTING,
    Secondary.TRAINING: STOP_TRAINING,
}
_LASTS: Mapping[str, str] = {
    Secondary.STARTING: STARTING,
    Secondary.PENDING: PENDING,
    Secondary.DOWNLOADING: DOWNLOADING,
    Secondary.INTERRUPTED: INTERRUPTED,
}


@dataclass(frozen=True)
class Quantiles:
    """Of `count` observations, in seconds: the least, median, 90th and 95th percentile, the most."""

    count: int
    least: float
    median: float
    p90: float
    p95: float
    most: float

    @property
    def spread(self) -> tuple[float, ...]:
        """Least, median and most, between which a simulator draws."""
        return (self.least, self.median, self.most)


def fold(cassettes: Iterable[Cassette]) -> dict[str, Quantiles]:
    """The quantiles, by id; where no cassette tells of it there are none.

    What is only assumed is no observation: cassettes written by hand and those of a simulator are left out.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for cassette in cassettes:
        if cassette.origin.tells_of_aws:
            for fact, seconds in _observations(cassette):
                found[fact].append(seconds)
    return {fact: _quantiles(sorted(found[fact])) for fact in sorted(found)}


def _observations(cassette: Cassette) -> Iterator[tuple[str, float]]:
    yield from _events(cassette)
    for entry in cassette.of(Source.LOG):
        if entry.payload.get("note") == "sync_lag":
            yield SYNC_LAG, float(entry.payload["seconds"])
    try:
        life = life_of(cassette)
    except CassetteError:  # a refused start has no description
        return
    yield from _statuses(life)


def _statuses(life: Life) -> Iterator[tuple[str, float]]:
    is_stopping = False
    for number, span in enumerate(life.spans):
        before = life.spans[number - 1].secondary if number else None
        if span.secondary == Secondary.STOPPING:
            is_stopping = True
            fact = _STOPS.get(before or "")
            # From the stop to the end of the job, whatever it is shown as meanwhile.
            if fact is not None and life.final == Status.STOPPED:
                yield fact, life.spans[-1].start - span.start
            if fact == STOP_TRAINING and span.seconds is not None:
                yield STOPPING_TRAINING, span.seconds
        elif span.seconds is None:
            continue
        elif span.secondary == Secondary.UPLOADING:
            yield (STOP_UPLOADING if is_stopping else UPLOADING), span.seconds
        elif span.secondary in _LASTS:
            yield _LASTS[span.secondary], span.seconds


def _events(cassette: Cassette) -> Iterator[tuple[str, float]]:
    """How long after the change of which it tells an event came."""
    for entry in cassette.of(Source.EVENT):
        changed = entry.payload["detail"].get("LastModifiedTime")
        if isinstance(changed, dict) and MOMENT in changed:
            yield EVENT_DELAY, max(0.0, entry.t - float(changed[MOMENT]))


def _quantiles(seconds: list[float]) -> Quantiles:
    return Quantiles(
        count=len(seconds),
        least=seconds[0],
        median=_at(seconds, 0.5),
        p90=_at(seconds, 0.9),
        p95=_at(seconds, 0.95),
        most=seconds[-1],
    )


def _at(ordered: list[float], share: float) -> float:
    """The quantile, between the two observations beside it (R's type 7, numpy's default)."""
    where = share * (len(ordered) - 1)
    below = int(where)
    above = min(below + 1, len(ordered) - 1)
    return round(ordered[below] + (where - below) * (ordered[above] - ordered[below]), 3)
