"""What can go wrong here; every message names the field, its value and the rule."""

from __future__ import annotations


class CheckpointError(Exception):
    """Anything this library refuses or cannot do."""


class SettingError(CheckpointError, ValueError):
    """An argument or environment variable of the Checkpointer has a value it cannot have."""


class ClockSettingError(SettingError):
    """NIGHTSPOT_CLOCK does not describe a clock."""


class StepError(CheckpointError, ValueError):
    """The step is not a count of steps done, or goes backwards."""


class StateError(CheckpointError, TypeError):
    """The state is of a kind that cannot be saved, or does not fit what it is loaded into."""


class MetricsError(CheckpointError, TypeError):
    """The metrics are not a mapping of names to numbers."""


class DirectoryError(CheckpointError):
    """The checkpoint directory cannot be created, written or listed."""


class WorldSizeError(CheckpointError):
    """The newest complete checkpoint was saved by another number of ranks."""


class UnreadableStateError(CheckpointError):
    """Checkpoints are whole, and `deserialise` can read the state of none of them."""


class BrokenCheckpointError(CheckpointError):
    """The file is not a whole checkpoint."""
