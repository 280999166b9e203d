"""Decides which checkpoints may go: the last and the best stay, and never is the newest whole one deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .errors import SettingError

_ORDERS = ("min", "max")


@dataclass(frozen=True)
class KeepBest:
    """Keep the `count` checkpoints whose `metric` is the lowest ("min") or the highest ("max")."""

    metric: str
    order: str
    count: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.metric, str) or not self.metric:
            raise SettingError(f"keep_best.metric={self.metric!r}: must be the name of a metric")
        if self.order not in _ORDERS:
            raise SettingError(f"keep_best.order={self.order!r}: must be 'min' or 'max'")
        if not isinstance(self.count, int) or isinstance(self.count, bool) or self.count < 1:
            raise SettingError(f"keep_best.count={self.count!r}: must be a whole number from 1 on")


@dataclass(frozen=True)
class Kept:
    """A checkpoint file as this decision sees it; `value` is its metric, None where it has none."""

    step: int
    whole: bool
    value: float | None = None


def keep_best_from(value: object) -> KeepBest | None:
    """The setting as given: None, a KeepBest, or its fields as a tuple; SettingError otherwise."""
    if value is None or isinstance(value, KeepBest):
        return value
    if isinstance(value, tuple) and len(value) in (2, 3):
        return KeepBest(*value)
    raise SettingError(f"keep_best={value!r}: must be (metric, 'min' or 'max', count)")


def expendable(files: Sequence[Kept], keep_last: int, keep_best: KeepBest | None) -> list[int]:
    """The steps of the files that may be deleted; `files` are the newest first.

    The newest `keep_last` whole files stay, and so do the `keep_best`; of equally good ones the
    newer. A file that is not whole counts as nothing, and goes once enough newer ones are whole.
    """
    whole = [each for each in files if each.whole]
    if len(whole) < keep_last:
        return []
    last = {each.step for each in whole[:keep_last]}
    oldest = min(last)
    best = _best(whole, keep_best)
    return [each.step for each in files if each.step < oldest and each.step not in best]


def _best(whole: Sequence[Kept], keep_best: KeepBest | None) -> set[int]:
    if keep_best is None:
        return set()
    sign = 1 if keep_best.order == "min" else -1
    measured = [(sign * each.value, -each.step) for each in whole if each.value is not None]
    return {-step for _, step in sorted(measured)[: keep_best.count]}
