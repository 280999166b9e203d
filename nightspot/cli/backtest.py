"""`nightspot backtest`: how a backtest is asked for on the command line, and what may be asked for."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from nightspot.aws.prices import load_price_book
from nightspot.cli._shared import PICTURES, Json, check_file, fail, mistakes, print_json
from nightspot.job.markets import Policy
from nightspot.job.model import Job
from nightspot.job.reading import load_job
from nightspot.market import samples
from nightspot.market.backtest import DEFAULT, LABELS, Score, needs_to_see_spot
from nightspot.market.backtest import backtest as backtested
from nightspot.market.model import MarketValueError
from nightspot.market.night import SimulationError
from nightspot.market.samples import BacktestError, Zone, check
from nightspot.run.model import Run
from nightspot.terminal import backtest_table
from nightspot.terminal.backtest_table import PlayedBacktest
from nightspot.terminal.lines import console_for, paragraph

OWN_PRICES = "traces"
HOURS = "A bare number is hours."
_UNIT_SECONDS = {"d": 86_400.0, "h": 3600.0, "min": 60.0, "m": 60.0, "s": 1.0}
_NUMBER = r"\d{1,6}(?:\.\d{1,9})?|\.\d{1,9}"
_PART = re.compile(rf"({_NUMBER}) ?(d|h|min|m|s) ?")


def backtest(
    *,
    traces: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Public availability traces (JSON), each file a zone.")
    ] = None,
    generated: Annotated[
        bool, typer.Option("--generated", help="Made-up markets, fitted to real ones; so without --traces.")
    ] = False,
    work: Annotated[
        str | None, typer.Option(metavar="DURATION", help=f"Such as 4h, 90m or 0.5h. {HOURS} [4h]")
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help=f"From a run's start to its deadline. {HOURS} [8h]"),
    ] = None,
    changeover: Annotated[
        str | None, typer.Option(metavar="DURATION", help=f"From a machine to its first step. {HOURS} [6m]")
    ] = None,
    spot_price: Annotated[
        str, typer.Option(metavar="RATIO", help=f"Over on-demand's; {OWN_PRICES}: the traces' own prices.")
    ] = "0.30",
    starts: Annotated[int, typer.Option(min=1, help="Runs from each zone.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Draws the runs and their luck.")] = 7,
    pool: Annotated[
        bool, typer.Option("--pool", help="All zones as one market: any of them will do.")
    ] = False,
    random_changeover: Annotated[
        bool,
        typer.Option("--random-changeover", help="Log-normal, sigma 0.6, --changeover being the median."),
    ] = False,
    work_error: Annotated[
        str, typer.Option(metavar="SHARE", help="Standard deviation of the true work: 0.1 or 10%.")
    ] = "0",
    checkpoint_every: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help=f"What an interruption can cost; 0: no work is ever lost. {HOURS} [0]"
        ),
    ] = None,
    job: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A job file: its work, window, change-overs, checkpoints and ladder."
        ),
    ] = None,
    as_json: Json = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw costs and a sample run (.png, .svg or .pdf).")
    ] = None,
) -> None:
    """Play many runs with every policy on the same Spot markets.

    Cost, lateness, and the bound nobody beats.

    Simulated: markets, machines, clocks. Real: the decisions, made by the code that is deployed.
    """
    if traces is not None and generated:
        raise typer.BadParameter("only one of --traces and --generated can say where the markets come from")
    if plot is not None:
        check_file("--plot", plot, PICTURES, in_folder=True)
    given: dict[str, float | None] = {
        "work_seconds": _seconds("--work", work),
        "window_seconds": _seconds("--window", window),
        "changeover_seconds": _seconds("--changeover", changeover),
        "checkpoint_seconds": _seconds("--checkpoint-every", checkpoint_every),
        "work_error": _share("--work-error", work_error),
        "starts": starts,
        "random_changeover": random_changeover,
    }
    ratio = None if spot_price == OWN_PRICES else _share("--spot-price", spot_price)
    console = console_for()
    with mistakes(), _mistakes_of_the_setting(job):
        loaded = None if job is None else load_job(job)
        run = None if loaded is None else samples.plan_of(loaded, price=_price)
        setting = samples.setting_of(loaded, spot_ratio=ratio, seed=seed, **given)
        made = partial(samples.generated, seed) if traces is None else partial(samples.from_traces, traces)
        single = made()
        markets = made(pooled=True) if pool else single
        check(setting, (*single, *markets))
        played = PlayedBacktest(
            setting, _markets_in_words(traces, single, pool=pool), {}, _job_in_words(loaded, run)
        )
        if not as_json:
            backtest_table.show_header(console, played)
        with _progress(quiet=as_json) as watched:
            scores = backtested(setting, markets, run=run, on_progress=watched("nights"))
            played = replace(played, scores=scores)
            if pool:
                alone = backtested(
                    setting, single, run=run, policies=[DEFAULT], on_progress=watched("zone by zone")
                )
                played = replace(played, zone_by_zone=alone[DEFAULT])
            if plot is not None:
                from nightspot.terminal import backtest_plot  # noqa: PLC0415 - matplotlib takes a second

                backtest_plot.draw(plot, setting, markets, run=run, on_progress=watched("picture"))
    if as_json:
        print_json(document(played))
        return
    backtest_table.show_scores(console, played)
    if plot is not None:
        paragraph(console, "Picture", str(plot))


def _seconds(option: str, text: str | None) -> float | None:
    """The seconds of `4h`, `1h30m`, `0.1h` or, in hours, `4`."""
    if text is None:
        return None
    plain = text.strip().lower()
    if re.fullmatch(_NUMBER, plain):
        return float(plain) * 3600
    if not re.fullmatch(rf"(?:{_PART.pattern})+", plain):
        rule = "must be a duration such as 4h, 1h30m, 6m, 90s or 0.1h; a bare number is hours"
        raise typer.BadParameter(f"{option}: {text!r}: {rule}")
    return sum(float(count) * _UNIT_SECONDS[unit] for count, unit in _PART.findall(plain))


def _share(option: str, text: str) -> float:
    """The number of `0.1` or `10%`."""
    match = re.fullmatch(rf"({_NUMBER}) ?(%?)", text.strip())
    if not match:
        own = f", or the word {OWN_PRICES}" if option == "--spot-price" else ""
        raise typer.BadParameter(f"{option}: {text!r}: must be a share such as 0.1 or 10%{own}")
    return float(match[1]) / (100 if match[2] else 1)


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


def document(played: PlayedBacktest) -> dict[str, Any]:
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


def _price(instance_type: str, region: str) -> float | None:
    known = load_price_book().usd_per_hour(instance_type, region)
    return known.usd_per_hour if known else None


@contextmanager
def _mistakes_of_the_setting(job: Path | None) -> Iterator[None]:
    """Inside: what cannot be played ends the command with the option, its value and the rule."""
    try:
        yield
    except BacktestError as error:
        field, _, rule = str(error).partition(": ")
        fail(f"{OPTION_OF.get(field, f'{job}: {field}')}: {rule}")
    except MarketValueError as error:
        fail(f"--traces: {error}")
    except SimulationError as error:
        fail(f"a run with this setting does not end: {error}")


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


def _markets_in_words(traces: Path | None, single: Sequence[Zone], *, pool: bool) -> str:
    up = sum(zone.changes.share_up for zone in single) / len(single)
    count = f"{len(single)} zone{'s' if len(single) > 1 else ''}"
    kind = f"real availability, {count} of {traces}"
    if traces is None:
        kind = f"made up, {count} of {samples.GENERATED_DAYS} days with Weibull lives and gaps fitted to real ones"
    pooled = ", all of them as one market" if pool else ""
    return f"{kind}{pooled}; a zone is up {100 * up:.0f} % of the time."


def _job_in_words(job: Job | None, run: Run | None) -> str | None:
    if job is None or run is None:
        return None
    ladder = ", ".join(rung.label for rung in run.rungs)
    words = f"{job.name}: {ladder}; the rivals have its first Spot and its first on-demand rung, at speed 1."
    return words if job.policy is Policy.PATIENT else f"{words} Its own policy is {job.policy.value}."
