"""Decides when work is done beside training: one piece at a time, and its failure is never lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait


class Background:
    """One thread that does one piece of work at a time.

    An interpreter that exits finishes the piece in flight: the executor joins its thread at exit.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._flight: Future[None] | None = None
        self._process = os.getpid()

    @property
    def busy(self) -> bool:
        """Whether a piece of work is not done yet."""
        return self._flight is not None and not self._flight.done()

    def start(self, work: Callable[[], None]) -> None:
        """Do the work beside the caller, after `settle`."""
        self.settle()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="nightspot-checkpoint")
        try:
            self._flight = self._pool.submit(work)
        except RuntimeError:
            # The interpreter is going down and starts no threads; there is no loop left to hold up.
            work()

    def settle(self) -> None:
        """Wait for the work in flight, and raise what it raised, once."""
        if self._process != os.getpid():
            # The thread did not come along into a forked child, and neither did the work.
            self._pool, self._flight, self._process = None, None, os.getpid()
        if self._flight is None:
            return
        # An interrupted wait leaves the flight where it is: the next call waits for it again.
        wait([self._flight])
        done, self._flight = self._flight, None
        done.result()
