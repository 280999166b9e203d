"""Decides which kinds of kill a drill tries, and what each is called."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Kind(StrEnum):
    """How and when a life of the training is ended."""

    KILL = "kill"
    TERM = "term"
    DURING_SAVE = "during_save"
    DURING_RESTORE = "during_restore"
    UNSYNCED = "unsynced"


WORDS: Mapping[Kind, str] = {
    Kind.KILL: "SIGKILL",
    Kind.TERM: "SIGTERM",
    Kind.DURING_SAVE: "SIGKILL in a save",
    Kind.DURING_RESTORE: "SIGKILL in the restore",
    # SageMaker uploads beside training, so what was written last may not have reached S3.
    Kind.UNSYNCED: "SIGKILL, save not uploaded",
}

# A restore needs a checkpoint, and so a kill before it.
NEEDS_ANOTHER_BEFORE = frozenset({Kind.DURING_RESTORE})
# These happen at a save that comes after the moment at which they are armed.
NEEDS_ANOTHER_SAVE = frozenset({Kind.DURING_SAVE, Kind.UNSYNCED})
