"""Decides how a backtest that was asked for is played, watched, shown and, where it cannot be, refused."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from nightspot.aws.prices.prices import load_price_book
from nightspot.cli._shared import fail, mistakes, print_json
from nightspot.job.markets import Policy
from nightspot.job.model import Job
from nightspot.job.reading import load_job
from nightspot.market import zones
from nightspot.market.availability import AvailabilityError
from nightspot.market.backtest import DEFAULT, LABELS, Score, backtest, needs_to_see_spot
from nightspot.market.night import NightError
from nightspot.market.samples import BacktestError, Zone, check
from nightspot.market.traces import TraceError
from nightspot.run.model import Run
from nightspot.terminal import backtest_table
from nightspot.terminal.backtest_table import Played
from nightspot.terminal.lines import console_for

# The option that a field of the setting stands for.
OPTION_OF = {
    "work_seconds": "--work",
    "window_seconds": "--window",
    "changeover_seconds": "--changeover",
    "on_demand_changeover_seconds": "--changeover",
    "checkpoint_seconds": "--checkpoint-every",
    "spot_ratio": "--spot-price",
    "starts": "--starts",
    "work_error": "--work-error",
}

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Order:
    """What was asked for. `given`: fields of the setting, None where the job or a default decides."""

    traces: Path | None  # None: made-up markets
    seed: int
    given: Mapping[str, float | None]
    spot_ratio: float | None
    pool: bool
    job: Path | None
    as_json: bool
    plot: Path | None


def play(order: Order) -> None:
    """Play the backtest and print it; ends the command where it cannot be played."""
    console = console_for()
    with mistakes(), _mistakes_of_the_setting(order):
        job = None if order.job is None else load_job(order.job)
        run = None if job is None else zones.plan_of(job, price=_price)
        setting = zones.setting_of(job, spot_ratio=order.spot_ratio, seed=order.seed, **order.given)
        single = zones.from_traces(order.traces) if order.traces else zones.generated(order.seed)
        markets = _pooled(order) if order.pool else single
        check(setting, (*single, *markets))
        played = Played(setting, _markets_in_words(order, single), {}, _job_in_words(job, run))
        if not order.as_json:
            backtest_table.show_header(console, played)
        with _progress(quiet=order.as_json) as watched:
            scores = backtest(setting, markets, run=run, on_progress=watched("nights"))
            played = replace(played, scores=scores)
            if order.pool:
                alone = backtest(
                    setting, single, run=run, policies=[DEFAULT], on_progress=watched("zone by zone")
                )
                played = replace(played, zone_by_zone=alone[DEFAULT])
            if order.plot is not None:
                from nightspot.terminal import backtest_plot  # noqa: PLC0415 - matplotlib takes a second

                backtest_plot.draw(order.plot, setting, markets, run=run, on_progress=watched("picture"))
    if order.as_json:
        print_json(as_json(played))
        return
    backtest_table.show_scores(console, played)
    if order.plot is not None:
        backtest_table.show_picture(console, str(order.plot))


def as_json(played: Played) -> dict[str, Any]:
    """The backtest as JSON: no number that JSON does not know, None instead."""
    default, alone = played.scores[DEFAULT], played.zone_by_zone
    return {
        "simulated": True,
        "default": DEFAULT,
        "policies": {name: _policy_as_json(name, score) for name, score in played.scores.items()},
        "nights": default.nights,
        "nights_per_second": _finite(default.nights_per_second),
        "pooling": (
            {"cost_ratio": default.cost_ratio, "zone_by_zone_cost_ratio": alone.cost_ratio} if alone else None
        ),
        "markets": played.markets,
        "setting": asdict(played.setting),
    }


def _policy_as_json(name: str, score: Score) -> dict[str, Any]:
    numbers = ("cost_ratio", "vs_omniscient", "late_rate", "interruptions", "on_demand_hours")
    return {
        **{number: _finite(getattr(score, number)) for number in numbers},
        "needs_to_see_spot": needs_to_see_spot(name),
        "label": LABELS[name],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _pooled(order: Order) -> tuple[Zone, ...]:
    if order.traces is not None:
        return zones.from_traces(order.traces, pooled=True)
    return zones.generated(order.seed, pooled=True)


def _price(instance_type: str, region: str) -> float | None:
    known = load_price_book().usd_per_hour(instance_type, region)
    return known.usd_per_hour if known else None


@contextmanager
def _mistakes_of_the_setting(order: Order) -> Iterator[None]:
    """Inside: what cannot be played ends the command with the option, its value and the rule."""
    try:
        yield
    except BacktestError as error:
        field, _, rule = str(error).partition(": ")
        fail(f"{OPTION_OF.get(field, f'{order.job}: {field}')}: {rule}")
    except (TraceError, AvailabilityError) as error:
        fail(f"--traces: {error}")
    except NightError as error:
        fail(f"a night of this setting does not come to its end: {error}")


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str], OnProgress]]:
    """`watched(what)` is a bar on standard error for one part of it; none where nobody watches."""
    if quiet or not sys.stderr.isatty():
        yield lambda _what: lambda _done, _total: None
        return
    columns = (TextColumn("playing {task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:

        def watched(what: str) -> OnProgress:
            task = bar.add_task(what)
            return lambda done, total: bar.update(task, completed=done, total=total)

        yield watched


def _markets_in_words(order: Order, single: Sequence[Zone]) -> str:
    up = sum(zone.changes.share_up for zone in single) / len(single)
    count = f"{len(single)} zone{'s' if len(single) > 1 else ''}"
    kind = f"real availability, {count} of {order.traces}"
    if order.traces is None:
        kind = (
            f"made up, {count} of {zones.GENERATED_DAYS} days with Weibull lives and gaps fitted to real ones"
        )
    pooled = ", all of them as one market" if order.pool else ""
    return f"{kind}{pooled}; a zone is up {100 * up:.0f} % of the time."


def _job_in_words(job: Job | None, run: Run | None) -> str | None:
    if job is None or run is None:
        return None
    ladder = ", ".join(rung.label for rung in run.rungs)
    words = f"{job.name}: {ladder}; the rivals have its first Spot and its first on-demand rung, at speed 1."
    return words if job.policy is Policy.PATIENT else f"{words} Its own policy is {job.policy.value}."
