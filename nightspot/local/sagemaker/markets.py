"""When a machine can be had in the simulated markets, when it is taken away, and what else AWS does not publish."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

from nightspot.cassettes.model import Form
from nightspot.local.sagemaker.behaviour import Behaviour, EventsOf
from nightspot.local.sagemaker.job_state import JobEnding

REST = "rest"
DURATION = re.compile(r"(?=.)(?:(?P<d>[\d.]+)d)?(?:(?P<h>[\d.]+)h)?(?:(?P<m>[\d.]+)m)?(?:(?P<s>[\d.]+)s)?")
SECONDS_PER = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


class MarketError(ValueError):
    """A market cannot be built from this script or trace."""


class Supply(StrEnum):
    """What a market does during a span."""

    AVAILABLE = "available"
    MISSING = "missing"  # no new machine; running ones stay
    RECLAIM = "reclaim"  # running ones are taken at the span's start; no new machine during it


@dataclass(frozen=True)
class SupplySpan:
    """From `start_seconds` after the run's start until the next span, the market is so.

    `warning` belongs to RECLAIM: SIGTERM and a grace before the machine goes.
    """

    start_seconds: float
    availability: Supply
    warning: bool = False


@dataclass(frozen=True)
class SimulatedMarket:
    """Spans in order, the first at 0; the last one lasts for ever.

    Only a RECLAIM may have no length: the machines are taken and new ones can be had at once.
    Raises `MarketError` for spans out of order.
    """

    spans: tuple[SupplySpan, ...]

    def __post_init__(self) -> None:
        if not self.spans or self.spans[0].start_seconds != 0:
            raise MarketError("spans: the first span must start at 0 seconds")
        for index, (span, following) in enumerate(pairwise(self.spans)):
            length_seconds = following.start_seconds - span.start_seconds
            shortest_seconds = 0 if span.availability is Supply.RECLAIM else 1e-9
            if length_seconds < shortest_seconds:
                raise MarketError(
                    f"spans[{index}]: {span.availability} lasts {length_seconds:g} s; spans must be"
                    " in order, and only a reclaim may have no length"
                )

    @classmethod
    def always(cls) -> SimulatedMarket:
        """A machine can be had at any time and is never taken."""
        return cls((SupplySpan(0, Supply.AVAILABLE),))

    @classmethod
    def never(cls) -> SimulatedMarket:
        """No machine can be had, ever."""
        return cls((SupplySpan(0, Supply.MISSING),))

    @classmethod
    def scripted(cls, script: Sequence[Mapping[str, Any]]) -> SimulatedMarket:
        """The market of a script, as it stands in YAML.

        `[{missing: 40m}, {available: 1h40m}, {reclaim: 20m, warning: true}, {available: rest}]`:
        each entry has one of `available`, `missing`, `reclaim` with a duration (seconds, or
        d/h/m/s parts) and the last one the word `rest`. Raises `MarketError` naming the entry,
        its value and the rule.
        """
        if not script:
            raise MarketError("script: [] is empty; write at least {available: rest}")
        spans: list[SupplySpan] = []
        start_seconds = 0.0
        for index, entry in enumerate(script):
            availability, length, warning = _read_entry(index, entry)
            last = index == len(script) - 1
            if (length == REST) != last:
                raise MarketError(
                    f"script[{index}].{availability}: {length!r};"
                    f" {'the last entry must' if last else 'only the last entry may'} say 'rest'"
                )
            spans.append(SupplySpan(start_seconds, availability, warning))
            if not last:
                start_seconds += _read_duration(f"script[{index}].{availability}", length)
        return cls(tuple(spans))

    @classmethod
    def from_trace(cls, path: Path, *, offset_seconds: float = 0, warning: bool = False) -> SimulatedMarket:
        """The market of a public availability trace, from `offset_seconds` into it.

        The file is JSON with `metadata.gap_seconds` and `data`, one sample per gap, 1 where a
        machine could be had (the shape of skypilot-org/spot-traces; there some files mean the
        opposite). A change from 1 to 0 takes the running machines, with a warning if asked for.
        After the trace's end its last value holds. Raises `MarketError` for any other file.
        """
        gap_seconds, data = _read_trace(path)
        length_seconds = gap_seconds * len(data)
        if not 0 <= offset_seconds < length_seconds:
            raise MarketError(
                f"offset_seconds: {offset_seconds:g} must lie within the trace's"
                f" {length_seconds:g} s ({path})"
            )
        first = int(offset_seconds // gap_seconds)
        spans = [SupplySpan(0, Supply.AVAILABLE if data[first] else Supply.MISSING)]
        for index in range(first + 1, len(data)):
            if data[index] == data[index - 1]:
                continue
            start_seconds = index * gap_seconds - offset_seconds
            if data[index]:
                spans.append(SupplySpan(start_seconds, Supply.AVAILABLE))
            else:
                spans.append(SupplySpan(start_seconds, Supply.RECLAIM, warning))
        return cls(tuple(spans))

    def state_at(self, seconds: float) -> Supply:
        """What the market does so many story seconds after the run's start."""
        return self.spans[self._index_at(seconds)].availability

    def next_available(self, seconds: float) -> float | None:
        """The first moment from `seconds` on when a machine can be had; None: never again."""
        if self.state_at(seconds) is Supply.AVAILABLE:
            return seconds
        for span in self.spans[self._index_at(seconds) + 1 :]:
            if span.availability is Supply.AVAILABLE:
                return span.start_seconds
        return None

    def next_reclaim(self, seconds: float) -> tuple[float, bool] | None:
        """When a machine given at `seconds` is taken, and whether with a warning; None: never.

        Strictly later than `seconds`: a machine given at the end of a reclaim of no length is
        not taken by that same reclaim.
        """
        for span in self.spans:
            if span.availability is Supply.RECLAIM and span.start_seconds > seconds:
                return span.start_seconds, span.warning
        return None

    def _index_at(self, seconds: float) -> int:
        starts = [span.start_seconds for span in self.spans]
        return max(0, bisect_right(starts, seconds) - 1)


@dataclass(frozen=True)
class Markets:
    """The market of every instance type, for Spot and for on-demand.

    On-demand machines are never taken: a RECLAIM there only gives no new ones.
    """

    spot: Mapping[str, SimulatedMarket] = field(default_factory=dict)
    on_demand: Mapping[str, SimulatedMarket] = field(default_factory=dict)
    default_spot: SimulatedMarket = field(default_factory=SimulatedMarket.always)
    default_on_demand: SimulatedMarket = field(default_factory=SimulatedMarket.always)

    def market_for(self, instance_type: str, *, spot: bool) -> SimulatedMarket:
        """The market that a job on this instance type draws from."""
        if spot:
            return self.spot.get(instance_type, self.default_spot)
        return self.on_demand.get(instance_type, self.default_on_demand)


def _read_entry(index: int, entry: object) -> tuple[Supply, object, bool]:
    where = f"script[{index}]"
    if not isinstance(entry, Mapping):
        raise MarketError(f"{where}: {entry!r} must be a mapping such as {{missing: 40m}}")
    kinds = [kind for kind in Supply if kind in entry]
    unknown = sorted(str(key) for key in entry if key not in {*Supply, "warning"})
    if unknown or len(kinds) != 1:
        raise MarketError(
            f"{where}: {dict(entry)!r} must have exactly one of available, missing, reclaim"
            " (and, with reclaim, warning)"
        )
    warning = entry.get("warning", False)
    if not isinstance(warning, bool):
        raise MarketError(f"{where}.warning: {warning!r} must be true or false")
    if "warning" in entry and kinds[0] is not Supply.RECLAIM:
        raise MarketError(f"{where}.warning: only a reclaim can come with a warning")
    return kinds[0], entry[kinds[0]], warning


def _read_duration(where: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise MarketError(f"{where}: {value!r} must be seconds, a duration such as 1h40m, or rest")
    try:
        parts = {unit: float(amount) for unit, amount in match.groupdict("0").items()}
    except ValueError as error:
        raise MarketError(f"{where}: {value!r} has a number that cannot be read") from error
    return sum(amount * SECONDS_PER[unit] for unit, amount in parts.items())


def _read_trace(path: Path) -> tuple[float, list[int]]:
    try:
        trace = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MarketError(f"trace: {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise MarketError(f"trace: {path} is not JSON: {error}") from error
    metadata = trace.get("metadata") if isinstance(trace, dict) else None
    gap_seconds = metadata.get("gap_seconds") if isinstance(metadata, dict) else None
    if not isinstance(gap_seconds, int | float) or not gap_seconds > 0:
        raise MarketError(f"trace: {path}: metadata.gap_seconds is {gap_seconds!r}; must be greater than 0")
    data = trace.get("data")
    if not isinstance(data, list) or not data or any(sample not in (0, 1) for sample in data):
        raise MarketError(f"trace: {path}: data must be a list of 0 and 1 with at least one entry")
    return float(gap_seconds), data


@dataclass(frozen=True)
class EventOptions:
    """What befalls the state-change events; shares are between 0 and 1, drawn with `seed`.

    A delayed event is delivered `delay_seconds` (story time) later, so behind its successors. `form`: how an event
    writes moments; `of`: which events there are.
    """

    lost_share: float = 0.0
    doubled_share: float = 0.0
    delayed_share: float = 0.0
    delay_seconds: float = 600.0
    seed: int = 0
    form: Form = Form.MS
    of: EventsOf = EventsOf.TRANSITIONS

    def __post_init__(self) -> None:
        for name in ("lost_share", "doubled_share", "delayed_share"):
            _require_between(name, getattr(self, name), 0, 1)
        _require_between("delay_seconds", self.delay_seconds, 0, float("inf"))


# fact: sagemaker.stop.signal.seconds, sagemaker.checkpoints.lag.seconds
@dataclass(frozen=True)
class SimulationOptions:
    """Durations in story seconds; `spot_discount` is what Spot saves of the on-demand price.

    * `on_demand_fails_after_seconds`: an on-demand job without a machine fails with CapacityError
      after this wait; None: it stays Pending.
    * `internal_errors_at_seconds`: moments, counted from the run's start, at which every job that
      has a machine fails with InternalServerError.
    * `endings_at_seconds`: moments at which SageMaker ends every job that has a machine, and how: for the ways of
      failing that no market and no script can bring about.
    * `quotas`: instances allowed at once, by AWS's own name of the quota, such as
      "ml.p4d.24xlarge for spot training job usage"; absent: no limit.
    * `speeds`: how fast an instance type trains, 1.0 where it is absent. This machine cannot be made slower, so a
      script is told, by NIGHTSPOT_SIMULATED_SPEED; the example pads its epochs by it.
    * `behaviour`: what AWS does not publish.

    Raises `ValueError` for negative durations and shares outside 0 to 1.
    """

    spot_provisioning_seconds: float = 150.0
    on_demand_provisioning_seconds: float = 120.0
    download_seconds: float = 45.0
    upload_seconds: float = 30.0
    sync_interval_seconds: float = 60.0
    stop_grace_seconds: float = 120.0
    spot_discount: float = 0.70
    on_demand_fails_after_seconds: float | None = None
    internal_errors_at_seconds: tuple[float, ...] = ()
    endings_at_seconds: tuple[tuple[float, JobEnding], ...] = ()
    quotas: Mapping[str, int] = field(default_factory=dict)
    speeds: Mapping[str, float] = field(default_factory=dict)
    events: EventOptions = field(default_factory=EventOptions)
    behaviour: Behaviour = field(default_factory=Behaviour)

    def __post_init__(self) -> None:
        _require_between("spot_discount", self.spot_discount, 0, 1)
        for name in (
            "spot_provisioning_seconds",
            "on_demand_provisioning_seconds",
            "download_seconds",
            "upload_seconds",
            "sync_interval_seconds",
            "stop_grace_seconds",
        ):
            _require_between(name, getattr(self, name), 0, float("inf"))
        for instance_type, speed in self.speeds.items():
            _require_between(f"speeds[{instance_type}]", speed, 0.01, 100)

    def provisioning_seconds(self, *, spot: bool) -> float:
        """From the machine being given to the download's start."""
        return self.spot_provisioning_seconds if spot else self.on_demand_provisioning_seconds


def _require_between(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise ValueError(f"{name}: {value} must be between {lowest:g} and {highest:g}")
