"""Decides how the simulated SageMaker behaves where AWS publishes no numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nightspot.local.sagemaker.job_state import Ending


class OptionError(ValueError):
    """An option of the simulation is out of range."""


@dataclass(frozen=True)
class EventOptions:
    """What befalls the state-change events; shares are between 0 and 1, drawn with `seed`.

    A delayed event is delivered `delay_seconds` (story time) later, so behind its successors.
    """

    lost_share: float = 0.0
    doubled_share: float = 0.0
    delayed_share: float = 0.0
    delay_seconds: float = 600.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("lost_share", "doubled_share", "delayed_share"):
            _require_between(name, getattr(self, name), 0, 1)
        _require_between("delay_seconds", self.delay_seconds, 0, float("inf"))


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

    Raises `OptionError` for negative durations and shares outside 0 to 1.
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
    endings_at_seconds: tuple[tuple[float, Ending], ...] = ()
    quotas: Mapping[str, int] = field(default_factory=dict)
    speeds: Mapping[str, float] = field(default_factory=dict)
    events: EventOptions = field(default_factory=EventOptions)

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
        raise OptionError(f"{name}: {value} must be between {lowest:g} and {highest:g}")
