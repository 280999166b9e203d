"""Which Weibull lives and gaps stand for real traces, and the made-up markets that are drawn from them."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from nightspot.market.model import BoolArray, FloatArray, MarketAvailability, MarketValueError
from nightspot.market.traces import Trace, load_traces

PROFILES_FILE = Path(__file__).with_name("spot_lives.json")
SPARE_CYCLES = 16
# Real markets lie around 0.3 to 0.7; beyond these the moments leave what a float can hold or tell apart.
SMALLEST_SHAPE = 0.05
LARGEST_SHAPE = 50.0


@dataclass(frozen=True)
class Weibull:
    """Durations with P(longer than x) = exp(-(x / scale) ** shape).

    Raises `MarketValueError` unless the shape lies within [0.05, 50] and the scale is finite and
    greater than 0.
    """

    shape: float
    scale_seconds: float

    def __post_init__(self) -> None:
        if not SMALLEST_SHAPE <= self.shape <= LARGEST_SHAPE:
            raise MarketValueError(
                f"shape: {self.shape:g} must lie between {SMALLEST_SHAPE:g} and {LARGEST_SHAPE:g}"
            )
        if not 0 < self.scale_seconds < math.inf:
            raise MarketValueError(f"scale_seconds: {self.scale_seconds:g} must be finite and greater than 0")

    @property
    def mean_seconds(self) -> float:
        return self.scale_seconds * math.gamma(1 + 1 / self.shape)

    @property
    def median_seconds(self) -> float:
        """The duration that half of all stretches outlast."""
        return float(self.scale_seconds * math.log(2) ** (1 / self.shape))

    def draw(self, randomness: np.random.Generator, count: int) -> FloatArray:
        return self.scale_seconds * randomness.weibull(self.shape, count)

    def draw_rest(self, randomness: np.random.Generator, count: int) -> FloatArray:
        """`count` times that are left of the stretch found at a moment picked at random, in seconds.

        Long stretches are found in proportion to their length, and the moment is uniform within
        the one found. Length-biased, (x / scale) ** shape is Gamma(1 + 1 / shape): its density
        x f(x) / mean, written in that variable, is Gamma's.
        """
        found = randomness.gamma(1 + 1 / self.shape, size=count) ** (1 / self.shape)
        return self.scale_seconds * found * randomness.random(count)


@dataclass(frozen=True)
class SpotLives:
    """A market as an alternating renewal process: how long machines live, how long none can be had."""

    lives: Weibull
    gaps: Weibull

    @property
    def share_up(self) -> float:
        """The share of time with a machine, in the long run: mean life over mean life and gap."""
        return self.lives.mean_seconds / (self.lives.mean_seconds + self.gaps.mean_seconds)


@cache
def profiles() -> dict[str, SpotLives]:
    """The fitted profiles that ship with the project, by name, most available first."""
    table = json.loads(PROFILES_FILE.read_text(encoding="utf-8"))["profiles"]
    return {
        name: SpotLives(*(Weibull(f[kind]["shape"], f[kind]["scale_seconds"]) for kind in ("lives", "gaps")))
        for name, f in table.items()
    }


def profile(name: str) -> SpotLives:
    """The fitted profile of this name; raises `MarketValueError` naming the known ones."""
    known = profiles()
    if name not in known:
        raise MarketValueError(f"profile: {name!r} must be one of {', '.join(known)}")
    return known[name]


def generate(
    parameters: SpotLives, *, seconds: float, randomness: np.random.Generator | int, name: str = ""
) -> MarketAvailability:
    """A market of so many seconds; a seed instead of a generator gives the same market every time.

    It starts inside a stretch, as a night does: up with the long-run share, and with what is left
    of a stretch found by chance, so every moment of it is alike. Raises `MarketValueError` unless
    seconds are finite and greater than 0.
    """
    if not 0 < seconds < math.inf:
        raise MarketValueError(f"seconds: {seconds:g} must be finite and greater than 0")
    random = np.random.default_rng(randomness)
    starts_up = bool(random.random() < parameters.share_up)
    now, other = (parameters.lives, parameters.gaps) if starts_up else (parameters.gaps, parameters.lives)

    ends = now.draw_rest(random, 1)
    while ends[-1] < seconds:
        cycle_seconds = now.mean_seconds + other.mean_seconds
        cycles = SPARE_CYCLES + math.ceil((seconds - ends[-1]) / cycle_seconds)
        stretches = np.column_stack([other.draw(random, cycles), now.draw(random, cycles)]).ravel()
        ends = np.concatenate([ends, ends[-1] + np.cumsum(stretches)])

    starts = np.concatenate([[0.0], ends[:-1]])
    up = (np.arange(len(starts)) % 2 == 0) == starts_up
    # A heavy tail's short end draws stretches too short for a float at this hour: merged drops them.
    return MarketAvailability.merged(starts, up, length_seconds=seconds, name=name)


# The least share of samples with a machine that a zone of each profile has; most available first.
LEAST_SHARE = {"calm": 0.8, "usual": 0.5, "scarce": 0.0}
SOURCE = (
    "Fitted to the availability traces of \"Can't Be Late\" (NSDI'24) as released again in the artifact of"
    ' "SkyNomad" (NSDI\'27), repository andylizf/skynomad-artifact, Apache License 2.0, whose NOTICE reads:'
    ' "SkyNomad. Copyright 2026 The SkyNomad Authors. This product includes software developed at the Sky'
    ' Computing Lab, University of California, Berkeley." p3.2xlarge in nine zones, 31 days from 2023-02-15,'
    " one sample every 195 s. No trace is part of this project."
)
COMMAND = "python -m nightspot.market.fitting DIR --write nightspot/market/spot_lives.json"
HALVINGS = 60


@dataclass(frozen=True)
class Fit:
    """What traces of one kind say: the fitted market, and the counts and share behind it.

    `lives` and `gaps` count the complete stretches; `share_available` is of the samples, and may
    differ from the share that the fitted means imply.
    """

    traces: tuple[str, ...]
    market: SpotLives
    lives: int
    gaps: int
    share_available: float


def fit_weibull(stretch_seconds: FloatArray, complete: BoolArray) -> Weibull:
    """The maximum-likelihood Weibull of stretches, (n,), some of which are cut off (not complete).

    A cut-off stretch is right-censored: all it says is that it lasted at least so long. The shape
    k solves sum(x^k ln x) / sum(x^k) - 1 / k = mean of ln x over the complete ones, with both sums
    over all; its left side rises with k, so halving an interval finds it. Then
    scale^k = sum(x^k) / number complete (Lawless, Statistical Models and Methods for Lifetime
    Data, chapter on Weibull). Raises `MarketValueError` where a stretch has no length, none is
    complete, or they are too alike for any shape within the limits of `Weibull`.
    """
    seconds = np.asarray(stretch_seconds, dtype=np.float64)
    if not np.isfinite(seconds).all() or (seconds <= 0).any():
        raise MarketValueError("stretch_seconds: every stretch must be finite and longer than 0 s")
    if not complete.any():
        raise MarketValueError(f"complete: none of {len(seconds)} stretches; a fit needs at least one")
    longest = seconds.max()
    relative = seconds / longest  # at most 1, so that no power overflows
    logs = np.log(relative)
    mean_log = logs[complete].mean()

    def excess(shape: float) -> float:
        powers = relative**shape
        return float((powers * logs).sum() / powers.sum() - 1 / shape - mean_log)

    low, high = SMALLEST_SHAPE, LARGEST_SHAPE
    if excess(low) > 0 or excess(high) < 0:
        raise MarketValueError(
            f"stretch_seconds: {len(seconds)} stretches of at most {longest:g} s fit no shape between"
            f" {low:g} and {high:g}; they must differ, and not by hundreds of orders of magnitude"
        )
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if excess(middle) > 0 else (middle, high)
    scale = longest * ((relative**low).sum() / complete.sum()) ** (1 / low)
    return Weibull(shape=low, scale_seconds=float(scale))


def fit(traces: Sequence[Trace]) -> Fit:
    """The market whose lives and gaps are most likely to have given these traces, taken together.

    The first and the last stretch of a trace are right-censored. (The first is what was left of a
    stretch found by chance, so on average a little long; with tens of stretches per trace that is
    not seen.) A stretch counts as samples times gap. Sampling cannot see stretches below one gap
    and joins their neighbours, so it raises the shape a little and keeps the means: lives of shape
    0.60 and median 1.8 h, sampled every 195 s, are fitted as 0.65. Raises `MarketValueError`.
    """
    if not traces:
        raise MarketValueError("traces: none given; a fit needs at least one")
    changes = [trace.changes() for trace in traces]
    stretches = np.concatenate([change.stretch_seconds for change in changes])
    up = np.concatenate([change.up for change in changes])
    complete = np.concatenate([_complete(change) for change in changes])
    samples = np.concatenate([trace.available for trace in traces])
    names = tuple(trace.name for trace in traces)
    try:
        market = SpotLives(
            lives=fit_weibull(stretches[up], complete[up]),
            gaps=fit_weibull(stretches[~up], complete[~up]),
        )
    except MarketValueError as error:
        raise MarketValueError(f"{', '.join(names)}: {error}") from error
    return Fit(
        traces=names,
        market=market,
        lives=int((complete & up).sum()),
        gaps=int((complete & ~up).sum()),
        share_available=float(samples.mean()),
    )


def fit_profiles(traces: Sequence[Trace]) -> dict[str, Fit]:
    """A fit per profile that has traces: each trace belongs to the first whose least share it has."""
    members: dict[str, list[Trace]] = {name: [] for name in LEAST_SHARE}
    for trace in traces:
        name = next(name for name, least in LEAST_SHARE.items() if trace.share_available >= least)
        members[name].append(trace)
    return {name: fit(group) for name, group in members.items() if group}


def table(fits: Mapping[str, Fit]) -> str:
    """The fits as lines of text, one each, durations in hours."""
    head = f"{'':<12} {'share':>6} {'fitted':>6}"
    for stretch in ("lives", "gaps"):
        head += f" {stretch:>6} {'shape':>6} {'mean h':>7} {'median h':>9}"
    lines = [head]
    for name, found in fits.items():
        line = f"{name:<12} {found.share_available:>6.3f} {found.market.share_up:>6.3f}"
        for count, weibull in ((found.lives, found.market.lives), (found.gaps, found.market.gaps)):
            line += f" {count:>6} {weibull.shape:>6.3f} {weibull.mean_seconds / 3600:>7.2f}"
            line += f" {weibull.median_seconds / 3600:>9.2f}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def document(fits: Mapping[str, Fit]) -> str:
    """The fits as `spot_lives.json` holds them."""
    rows = {
        name: {
            "traces": list(found.traces),
            "share_available": round(found.share_available, 4),
            "lives": _row(found.lives, found.market.lives),
            "gaps": _row(found.gaps, found.market.gaps),
        }
        for name, found in fits.items()
    }
    return json.dumps({"source": SOURCE, "command": COMMAND, "profiles": rows}, indent=2) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the fits of a directory of traces, and write the profiles where asked; 2 for bad traces."""
    parser = argparse.ArgumentParser(prog="python -m nightspot.market.fitting", description=__doc__)
    parser.add_argument("directory", type=Path, help="where the traces are, at any depth")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the profiles to this JSON file")
    options = parser.parse_args(arguments)
    try:
        traces = load_traces(options.directory)
        fits = fit_profiles(traces)
        rows = {trace.name: fit([trace]) for trace in traces} | fits | {"all": fit(traces)}
    except MarketValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(table(rows))
    if options.write is not None:
        options.write.write_text(document(fits), encoding="utf-8")
    return 0


def _complete(changes: MarketAvailability) -> BoolArray:
    complete = np.ones(len(changes.up), dtype=np.bool_)
    complete[[0, -1]] = False
    return complete


def _row(count: int, weibull: Weibull) -> dict[str, float]:
    return {
        "complete": count,
        "shape": round(weibull.shape, 4),
        "scale_seconds": round(weibull.scale_seconds, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
