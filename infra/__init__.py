"""What gets deployed: one construct per capability, and `TrainingRuns`, which holds them all."""

from infra.bundle import Bundle, BundleError, build_bundle
from infra.settings import Settings, SettingsError, read_settings
from infra.stack import NightspotStack
from infra.training_runs import TrainingRuns

__all__ = [
    "Bundle",
    "BundleError",
    "NightspotStack",
    "Settings",
    "SettingsError",
    "TrainingRuns",
    "build_bundle",
    "read_settings",
]
