"""Decides how values are copied for a save beside training where the user says nothing."""

from __future__ import annotations

import copy
import pickle
from typing import Any

# Up to so much pickle makes itself is names and numbers; beyond it, the data went through it and was copied thrice.
_MOST_IN_BAND_BYTES = 1 << 20


class ReusedCopies:
    """A `snapshot` that copies large buffers into the memory of the copy before.

    Fresh memory is what makes a copy slow: the kernel clears every page of it first. So what is copied lasts
    until the next call, which a Checkpointer makes only when the save in flight is done; a ReusedCopies
    belongs to one Checkpointer. It keeps one copy's memory for as long as it lives.

    Copied so are values that hand their buffers to pickle's protocol 5, as NumPy arrays do
    (https://peps.python.org/pep-0574/). All else is left to copy.deepcopy, whose errors are raised.
    """

    def __init__(self) -> None:
        self._rooms: list[bytearray] = []
        self._deep = False

    def __call__(self, value: Any) -> Any:
        """The same value, out of reach of any change but the next call."""
        return copy.deepcopy(value) if self._deep else self._copy(value)

    def _copy(self, value: Any) -> Any:
        buffers: list[pickle.PickleBuffer] = []
        try:
            in_band = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
            views = [buffer.raw() for buffer in buffers]
        except (pickle.PicklingError, AttributeError, TypeError, BufferError):
            # What cannot be pickled may be serialised in another way, which is none of a copy's business.
            return copy.deepcopy(value)
        # Values that give pickle bytes and no buffers, such as tensors, would go this slow way at each save.
        self._deep = len(in_band) > max(_MOST_IN_BAND_BYTES, sum(view.nbytes for view in views))
        self._rooms = [
            _filled(self._rooms[place] if place < len(self._rooms) else bytearray(), view)
            for place, view in enumerate(views)
        ]
        return pickle.loads(in_band, buffers=self._rooms)  # noqa: S301 - pickled six lines above


def _filled(room: bytearray, view: memoryview) -> bytearray:
    """The room with what is in the view, or a new one where it has another size."""
    if len(room) != view.nbytes:
        return bytearray(view)
    memoryview(room)[:] = view  # a slice of the bytearray itself would make a copy in between
    return room
