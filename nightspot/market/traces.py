"""What a Spot trace file means: when machines could be had, and for how much."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeGuard

import numpy as np

from nightspot.market.model import BoolArray, MarketAvailability, MarketValueError, Prices

LARGEST_NUMBER = 1e300


@dataclass(frozen=True, eq=False)
class Trace:
    """Whether a Spot machine could be had, sampled at `start` + i * `gap_seconds`.

    `available`: (samples,) bool, copied and made read-only; a sample holds until the next one,
    the last one for ever. `spot_price_changes`: (sample index, USD per hour), the first at 0;
    empty where no prices are known. Raises `MarketValueError` naming the field, its value and the rule.
    """

    name: str
    gap_seconds: float
    available: BoolArray
    spot_price_changes: tuple[tuple[int, float], ...] = ()
    on_demand_usd_per_hour: float | None = None
    start: datetime | None = None

    def __post_init__(self) -> None:
        available = np.array(self.available, dtype=np.bool_)
        if available.ndim != 1 or not available.size:
            raise MarketValueError(
                f"data: shape {available.shape}; must be a flat list with at least one sample"
            )
        _check_positive("gap_seconds", self.gap_seconds)
        if self.on_demand_usd_per_hour is not None:
            _check_positive("on_demand_usd_per_hour", self.on_demand_usd_per_hour)
        if self.start is not None and self.start.utcoffset() is None:
            raise MarketValueError(
                f"start: {self.start.isoformat()} must carry a time zone, such as a final Z"
            )
        _check_price_changes(self.spot_price_changes, samples=available.size)
        available.flags.writeable = False
        object.__setattr__(self, "available", available)

    @property
    def length_seconds(self) -> float:
        """Samples times gap: each sample stands for the gap that follows it."""
        return self.gap_seconds * len(self.available)

    @property
    def share_available(self) -> float:
        return float(self.available.mean())

    def changes(self) -> MarketAvailability:
        """The trace as its change points, for event-driven simulation."""
        starts_seconds = np.arange(len(self.available)) * self.gap_seconds
        return MarketAvailability.merged(
            starts_seconds, self.available, length_seconds=self.length_seconds, name=self.name
        )

    def prices(self) -> Prices:
        """The trace's own Spot prices; raises `MarketValueError` where it has none."""
        if not self.spot_price_changes:
            raise MarketValueError(
                f"spot_price_changes: {self.name} has no prices; use Prices.flat for an assumed one"
            )
        indices, usd = zip(*self.spot_price_changes, strict=True)
        return Prices(np.asarray(indices) * self.gap_seconds, np.asarray(usd, dtype=np.float64))


def load_trace(path: Path) -> Trace:
    """The trace of a JSON file, named after the file.

    `metadata.gap_seconds` and `data`, one sample per gap, 1 or true where a machine could be had:
    the shape of skypilot-org/spot-traces, of which some files mean the opposite. Optional in
    `metadata`: `start`, `spot_price_changes`, `on_demand_usd_per_hour`. Raises `MarketValueError`
    naming the file, the field, its value and the rule.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MarketValueError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise MarketValueError(f"{path}: is not JSON: {error}") from error
    try:
        return _read_trace(path.stem, content)
    except MarketValueError as error:
        raise MarketValueError(f"{path}: {error}") from error


def load_traces(directory: Path) -> tuple[Trace, ...]:
    """Every *.json below the directory, in the order of their paths.

    Raises `MarketValueError` where there is none, and for the first file that is not a trace.
    """
    paths = sorted(directory.rglob("*.json"))
    if not paths:
        raise MarketValueError(f"{directory}: holds no *.json; a directory of traces must hold at least one")
    return tuple(load_trace(path) for path in paths)


def pool(traces: Sequence[Trace]) -> Trace:
    """The market of one who takes any of them: up where at least one is, cut to the common length.

    A hand-over from one to another in the same sample is not seen as a loss, so this flatters.
    Spot prices are dropped (which one was paid is not known); the on-demand price stays where
    all agree. Raises `MarketValueError` for no traces, and for different gaps or starts.
    """
    if not traces:
        raise MarketValueError("traces: none given; a pool needs at least one")
    first = traces[0]
    for trace in traces[1:]:
        if trace.gap_seconds != first.gap_seconds:
            raise MarketValueError(
                f"gap_seconds: {first.gap_seconds:g} in {first.name} and {trace.gap_seconds:g} in"
                f" {trace.name}; traces of one pool must share their gap"
            )
        if trace.start != first.start:
            raise MarketValueError(
                f"start: {first.start} in {first.name} and {trace.start} in {trace.name}; traces of one"
                " pool must share their start"
            )
    samples = min(len(trace.available) for trace in traces)
    on_demand_prices = {trace.on_demand_usd_per_hour for trace in traces}
    return Trace(
        name="+".join(trace.name for trace in traces),
        gap_seconds=first.gap_seconds,
        available=np.logical_or.reduce([trace.available[:samples] for trace in traces]),
        on_demand_usd_per_hour=on_demand_prices.pop() if len(on_demand_prices) == 1 else None,
        start=first.start,
    )


def _read_trace(name: str, content: object) -> Trace:
    if not isinstance(content, dict):
        raise MarketValueError(f"{_shown(content)} must be an object with metadata and data")
    metadata = content.get("metadata")
    if not isinstance(metadata, dict):
        raise MarketValueError(f"metadata: {_shown(metadata)} must be an object with gap_seconds")
    _check_positive("metadata.gap_seconds", metadata.get("gap_seconds"))
    on_demand = metadata.get("on_demand_usd_per_hour")
    if on_demand is not None:
        _check_positive("metadata.on_demand_usd_per_hour", on_demand)
    return Trace(
        name=name,
        gap_seconds=float(metadata["gap_seconds"]),
        available=_read_samples(content.get("data")),
        spot_price_changes=_read_price_changes(metadata.get("spot_price_changes")),
        on_demand_usd_per_hour=None if on_demand is None else float(on_demand),
        start=_read_start(metadata.get("start")),
    )


def _read_samples(data: object) -> BoolArray:
    if not isinstance(data, list) or not data:
        raise MarketValueError(f"data: {_shown(data)} must be a list with at least one sample")
    for index, sample in enumerate(data):
        if sample not in (0, 1):  # true and false are 1 and 0, as in the local run's markets
            raise MarketValueError(f"data[{index}]: {_shown(sample)} must be 0, 1, true or false")
    return np.array(data, dtype=np.bool_)


def _read_price_changes(changes: object) -> tuple[tuple[int, float], ...]:
    if changes is None:
        return ()
    if not isinstance(changes, list):
        raise MarketValueError(f"metadata.spot_price_changes: {_shown(changes)} must be a list of pairs")
    for position, change in enumerate(changes):
        if not isinstance(change, list) or len(change) != 2:
            raise MarketValueError(
                f"metadata.spot_price_changes[{position}]: {_shown(change)} must be a pair"
                " [sample index, USD per hour]"
            )
    return tuple((index, usd) for index, usd in changes)


def _read_start(start: object) -> datetime | None:
    if start is None:
        return None
    try:
        moment = datetime.fromisoformat(start) if isinstance(start, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() is None:
        raise MarketValueError(
            f"metadata.start: {_shown(start)} must be a time with its zone, such as 2023-02-15T22:08:16Z"
        )
    return moment.astimezone(UTC)


def _check_positive(field: str, value: object) -> None:
    if not (_is_number(value) and value > 0):
        raise MarketValueError(f"{field}: {_shown(value)} must be a finite number greater than 0")


def _check_price_changes(changes: Sequence[tuple[int, float]], *, samples: int) -> None:
    before = -1
    for position, (index, usd) in enumerate(changes):
        where = f"spot_price_changes[{position}]"
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < samples:
            raise MarketValueError(
                f"{where}: index {_shown(index)} must be a sample's, from 0 to {samples - 1}"
            )
        if position == 0 and index != 0:
            raise MarketValueError(f"{where}: index {index}; the first price must be that of sample 0")
        if index <= before:
            raise MarketValueError(f"{where}: index {index} must come after the one before, {before}")
        _check_positive(f"{where}: price", usd)
        before = index


def _is_number(value: object) -> TypeGuard[float]:
    # JSON has integers beyond every float, which math.isfinite refuses.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER


def _shown(value: object) -> str:
    """The value as it stands in a file, short enough for a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
