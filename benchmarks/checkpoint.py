"""What saving costs a training loop, beside torch.save and others, and what auto's interval is worth on Spot.

States of 10 MB, 200 MB and 1 GB (--sizes, in MB) are saved in each way in turn, --saves times round, below
--directory.
With PyTorch the states are tensors on --device, without it NumPy arrays. Intervals are tried on real availability
traces (--traces DIR, or NIGHTSPOT_TRACES, or ../shared/traces beside the repository), else on made-up markets.
`--quick` leaves out 1 GB and some costs and saves thrice. Goals stand below the tables.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from checkpoint_parts.goals import Goal, interval_goal, speed_goals
from checkpoint_parts.intervals import Setting, Shares, shares_of, together
from checkpoint_parts.speed import Measured, measure, rows
from checkpoint_parts.states import Make, numpy_maker, state_of
from checkpoint_parts.ways import COPY_REUSED, Kit, Way, numpy_kit, ways_of

from nightspot.checkpoint.core.schedule import Cost
from nightspot.market import samples
from nightspot.market.samples import Zone

ROOT = Path(__file__).parents[1]
SIZES = (10.0, 200.0, 1000.0)
QUICK_SIZES = (10.0, 200.0)
SAVES = ((100.0, 15), (500.0, 9), (float("inf"), 4))  # below so many MB, so many saves
QUICK_SAVES = 3
COST_SECONDS = (1.0, 10.0, 60.0, 300.0)
QUICK_COST_SECONDS = (10.0, 60.0)
SLOWED = (0.0, 0.5)  # shares of the writing that a loop loses beside it
More = Callable[[Any, Path], list[Way]]  # further ways, of a state and a folder

STALL_OF_WRITING = 0.05  # how much of the writing a copy in memory takes


def main() -> None:
    """Print the tables and the goals."""
    options = parse()
    with_torch = options.arrays == "torch"
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}", end="")
    print(f", NumPy {np.__version__}; states on {options.device}, files below {options.directory}")
    goals: list[Goal] = []
    if not options.only_intervals:
        goals += saving(options, with_torch)
    if not options.only_saves:
        goals += choosing(options.traces, options.costs)
    print("\nGoals")
    for goal in goals:
        print(goal)


def parse() -> argparse.Namespace:
    """The options, with their defaults filled in."""
    parser = argparse.ArgumentParser(description=__doc__)
    traces = os.environ.get("NIGHTSPOT_TRACES") or str(ROOT.parent / "shared" / "traces")
    parser.add_argument("--sizes", type=sizes, help="MB of each state, such as 10,200,1000")
    parser.add_argument("--saves", type=count, help="how often each way saves; fewer for large states")
    parser.add_argument(
        "--directory", type=Path, default=Path(tempfile.gettempdir()), help="the disk to write to"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where the tensors are")
    found = "torch" if importlib.util.find_spec("torch") else "numpy"
    parser.add_argument(
        "--arrays", choices=("torch", "numpy"), default=found, help="what the states are made of"
    )
    parser.add_argument(
        "--threads",
        type=count,
        default=max(1, (os.cpu_count() or 1) - 1),
        help="of PyTorch's computing; all cores but one, which loads data and saves",
    )
    parser.add_argument("--traces", type=Path, default=Path(traces), help="a folder of availability traces")
    parser.add_argument("--quick", action="store_true", help="no 1 GB, three saves each, two costs")
    parser.add_argument("--only-saves", action="store_true", help="leave out the intervals")
    parser.add_argument("--only-intervals", action="store_true", help="leave out the saves")
    options = parser.parse_args()
    if options.device == "cuda" and options.arrays != "torch":
        parser.error("--device cuda: needs --arrays torch, and PyTorch installed")
    options.sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
    options.saves = options.saves or (QUICK_SAVES if options.quick else None)
    options.costs = QUICK_COST_SECONDS if options.quick else COST_SECONDS
    return options


def sizes(text: str) -> tuple[float, ...]:
    """Megabytes, separated by commas."""
    found = tuple(float(each) for each in text.split(","))
    if not all(0.1 <= each <= 1e6 for each in found):
        raise argparse.ArgumentTypeError(f"{text}: each must be from 0.1 to 1,000,000 MB")
    return found


def count(text: str) -> int:
    """A whole number from 1 on."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 1")
    return number


def saving(options: argparse.Namespace, with_torch: bool) -> Iterator[Goal]:
    """The table of each size of state."""
    kit, make, step, more = torch_parts(options.device, options.threads) if with_torch else numpy_parts()
    if not with_torch:
        print("Left out, because they need PyTorch: torch.save, with fsync and rename, DCP async_save.")
    for megabytes in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.directory, prefix="nightspot-") as folder:
            state = state_of(megabytes, make)
            ways = [*ways_of(state, Path(folder), kit), *more(state, Path(folder))]
            saves = options.saves or next(often for below, often in SAVES if megabytes < below)
            figures = save_all(megabytes, ways, step, saves, kit.name)
            yield from speed_goals(megabytes, figures, kit.name)


def save_all(
    megabytes: float, ways: Sequence[Way], step: Callable[[], object], saves: int, plain: str
) -> list[Measured]:
    """Measure, print and close."""
    try:
        figures, steps, seconds = measure(ways, step, saves)
    finally:
        for way in ways:
            way.close()
    print(
        f"\n{megabytes:g} MB, medians of {saves} saves, ms and MB; overhead: of {steps} steps that take"
        f" {seconds:.2f} s alone"
    )
    for row in rows(figures, COPY_REUSED, plain):
        print(row)
    return figures


def numpy_parts() -> tuple[Kit, Make, Callable[[], object], More]:
    """Kit, maker of arrays, a step of training, and no further ways."""
    weights = numpy_maker()((384, 384))
    return numpy_kit(), numpy_maker(), lambda: [weights @ weights for _ in range(20)], lambda *_: []


def torch_parts(device: str, threads: int) -> tuple[Kit, Make, Callable[[], object], More]:
    """The same with tensors; imported here because PyTorch may not be installed."""
    import torch  # noqa: PLC0415
    from checkpoint_parts import torch_ways  # noqa: PLC0415

    torch.set_num_threads(threads)
    print(f"PyTorch {torch.__version__}, {threads} thread(s) of compute")
    make, kit = torch_ways.torch_maker(device), torch_ways.torch_kit(device)
    weights = make((384, 384) if device == "cpu" else (4096, 4096))

    def step() -> None:
        for _ in range(20):
            torch.matmul(weights, weights)
        kit.synchronise()

    return kit, make, step, lambda state, directory: torch_ways.dcp_ways(state, directory, device)


def choosing(traces: Path, costs: Sequence[float]) -> Iterator[Goal]:
    """The table of intervals, on all zones as one, at each cost of a save."""
    zones = zones_of(traces)
    print(
        f"Useful share of the time up, change-over {Setting(Cost(1.0)).change_over_seconds:.0f} s; best: the best"
        f" fixed interval of each zone, in hindsight; beside: {STALL_OF_WRITING:.0%} of the writing holds up the"
        " loop"
    )
    print(
        f"{'a save':>24}{'30 min':>8}{'5 min':>8}{'auto':>8}{'auto 3 h':>10}{'best':>8}{'at':>8}{'gap':>7}"
        f"{'worst zone':>20}"
    )
    for cost_seconds in costs:
        for name, setting in settings_of(cost_seconds):
            shares = [shares_of(zone, setting) for zone in zones]
            whole = together(shares, name)
            print(interval_row(whole, max(shares, key=lambda each: each.gap_points)))
            yield interval_goal(name, whole)


def settings_of(cost_seconds: float) -> Iterator[tuple[str, Setting]]:
    """A save that the loop waits for, and the same written beside it, free or slowing the loop."""
    yield f"{cost_seconds:g} s, waiting", Setting(Cost(cost_seconds))
    beside = Cost(STALL_OF_WRITING * cost_seconds, cost_seconds)
    for slowed in SLOWED:
        yield f"{cost_seconds:g} s, beside, -{slowed:.0%}", Setting(beside, slowed)


def interval_row(whole: Shares, worst: Shares) -> str:
    """A line of the table: shares, and how many points auto is below the best fixed interval."""
    shown = (whole.half_hour, whole.five_minutes, whole.auto)
    return (
        f"{whole.zone:>24}"
        + "".join(f"{share:8.1%}" for share in shown)
        + f"{whole.auto_default:10.1%}{whole.best:8.1%}{whole.best_seconds:6.0f} s{whole.gap_points:+7.2f}"
        + f"{worst.zone:>13}{worst.gap_points:+7.2f}"
    )


def zones_of(traces: Path) -> tuple[Zone, ...]:
    """The zones to play on, and a word on where they come from."""
    if traces.is_dir():
        zones = samples.from_traces(traces)
        print(f"\nReal availability, {len(zones)} zones.", end=" ")
        return zones
    zones = samples.generated(seed=7)
    print(f"\nNo traces in {traces}: made-up markets instead, {len(zones)} zones.", end=" ")
    return zones


if __name__ == "__main__":
    main()
