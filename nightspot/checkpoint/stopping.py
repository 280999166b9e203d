"""Decides whether somebody wants this process to end: a signal, or the notice that the machine goes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from .errors import SettingError

NOTICE_VARIABLE = "NIGHTSPOT_RECLAIM_NOTICE_FILE"

# 128 + SIGTERM: what a script that knows nothing of signals ends with. To end with 0 would tell
# SageMaker that training is complete, and it would store half a model as the result.
ASKED_TO_STOP_STATUS = 143


class StopRequests:
    """Listens for signals and looks for the notice; a request that was seen once stays."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        notice = environ.get(NOTICE_VARIABLE)
        self._notice = Path(notice) if notice else None
        self._asked = False
        self._previous: dict[int, Any] = {}
        self._process = os.getpid()

    @property
    def requested(self) -> bool:
        """Whether this process has been asked to end."""
        if not self._asked and self._notice is not None and self._notice.exists():
            self._asked = True
        return self._asked

    def listen(self, signum: int) -> None:
        """Take the signal as a request from now on; the handler that was there is still called.

        Raises SettingError outside of the main thread, where Python cannot install handlers.
        """
        if threading.current_thread() is not threading.main_thread():
            raise SettingError(f"signal {signum}: must be installed from the main thread")
        if signum not in self._previous:
            self._previous[signum] = signal.signal(signum, self._on_signal)

    def forget(self) -> None:
        """Put the handlers back that were there before, where nobody else has replaced ours."""
        for signum, previous in list(self._previous.items()):
            if threading.current_thread() is not threading.main_thread():
                return
            if signal.getsignal(signum) == self._on_signal:
                signal.signal(signum, signal.SIG_DFL if previous is None else previous)
            del self._previous[signum]

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        previous = self._previous.get(signum)
        if os.getpid() != self._process and previous == signal.SIG_DFL:
            # A forked data loader has inherited the handler, and its parent means to end it.
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            return
        # Nothing is logged here: the signal may have come in the middle of writing a log line.
        self._asked = True
        if callable(previous):
            previous(signum, frame)
