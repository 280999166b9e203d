"""What gets deployed: one construct per capability, and `TrainingRuns`, which holds them all."""

from nightspot.cdk.bundle import Bundle, build_bundle
from nightspot.cdk.settings import Settings, SettingsError, read_settings
from nightspot.cdk.stack import NightspotStack, TrainingRuns
from nightspot.cdk.wheels import BundleError

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
