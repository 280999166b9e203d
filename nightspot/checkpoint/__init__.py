"""Checkpoints that survive a Spot interruption, for use inside the training container.

    from nightspot.checkpoint import Checkpointer

    checkpointer = Checkpointer(total_steps=24)
    restored = checkpointer.restore()
    first = restored.step + 1 if restored else 1
    for step in range(first, 25):
        ...
        checkpointer.save(step, {"model": model_bytes}, metrics={"loss": loss})

A step is whatever the script counts (an epoch, a batch); `step` is how many are done.

This package goes into other people's images: standard library only, Python 3.9 or newer, and
relative imports only, so that the folder also works when it is copied next to a script.
"""

from .checkpointer import Checkpointer
from .core.errors import (
    BrokenCheckpointError,
    CheckpointError,
    ClockSettingError,
    DirectoryError,
    MetricsError,
    SettingError,
    StateError,
    StepError,
    UnreadableStateError,
    WorldSizeError,
)
from .core.files import KeepBest
from .core.progress import LIBRARY_VERSION
from .core.random_state import TrainingState, capture_random_state, restore_random_state
from .core.restoring import Restored, SavedFile, Skipped
from .core.schedule import best_interval_seconds, interval_seconds

__all__ = [
    "LIBRARY_VERSION",
    "BrokenCheckpointError",
    "CheckpointError",
    "Checkpointer",
    "ClockSettingError",
    "DirectoryError",
    "KeepBest",
    "MetricsError",
    "Restored",
    "SavedFile",
    "SettingError",
    "Skipped",
    "StateError",
    "StepError",
    "TrainingState",
    "UnreadableStateError",
    "WorldSizeError",
    "best_interval_seconds",
    "capture_random_state",
    "interval_seconds",
    "restore_random_state",
]
