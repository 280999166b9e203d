"""Decides how far a figure can be trusted: as far as the weakest of what it was made from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nightspot.run.pricing import Basis

UNKNOWN = "unknown"
_STRENGTH = (Basis.MEASURED, Basis.PRICED, Basis.ASSUMED)  # the strongest first


@dataclass(frozen=True)
class Figure:
    """A number, or None where nobody honest could give one; where it comes from, and who says so."""

    value: float | None
    basis: Basis | None  # None exactly where the value is
    source: str

    def __post_init__(self) -> None:
        if (self.value is None) != (self.basis is None):
            raise ValueError(f"basis: {self.basis}: must be None exactly where value is, {self.value}")

    @property
    def word(self) -> str:
        """measured, priced, assumed or unknown."""
        return UNKNOWN if self.basis is None else self.basis.value


def measured(value: float, source: str) -> Figure:
    """A figure of this account's own runs."""
    return Figure(value, Basis.MEASURED, source)


def priced(value: float, source: str) -> Figure:
    """A figure that somebody publishes."""
    return Figure(value, Basis.PRICED, source)


def assumed(value: float, source: str) -> Figure:
    """A figure that nobody stands behind."""
    return Figure(value, Basis.ASSUMED, source)


def unknown(source: str) -> Figure:
    """No figure, and why there is none."""
    return Figure(None, None, source)


def derived(value: float, inputs: Iterable[Figure], source: str) -> Figure:
    """A figure that was reckoned from others: as weak as the weakest, unknown where one of them is."""
    inputs = tuple(inputs)
    bases = [figure.basis for figure in inputs if figure.basis is not None]
    if len(bases) < len(inputs):
        missing = next(figure for figure in inputs if figure.basis is None)
        return unknown(missing.source)
    return Figure(value, max(bases, key=_STRENGTH.index, default=Basis.ASSUMED), source)
