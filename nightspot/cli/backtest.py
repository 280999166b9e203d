"""`nightspot backtest`: how a backtest is asked for on the command line, and what may be asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from nightspot.cli._shared import Json

OWN_PRICES = "traces"
PICTURES = (".png", ".svg", ".pdf")
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
        typer.Option(metavar="DURATION", help=f"From a night's start to its deadline. {HOURS} [8h]"),
    ] = None,
    changeover: Annotated[
        str | None, typer.Option(metavar="DURATION", help=f"From a machine to its first step. {HOURS} [6m]")
    ] = None,
    spot_price: Annotated[
        str, typer.Option(metavar="RATIO", help=f"Over on-demand's; {OWN_PRICES}: the traces' own prices.")
    ] = "0.30",
    starts: Annotated[int, typer.Option(min=1, help="Nights from each zone.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Draws the nights and their luck.")] = 7,
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
            metavar="DURATION", help=f"What a reclaim can cost; 0: no work is ever lost. {HOURS} [0]"
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
        Path | None, typer.Option(metavar="FILE", help="Draw costs and a sample night (.png, .svg or .pdf).")
    ] = None,
) -> None:
    """Play many nights with every policy on the same Spot markets: cost, lateness, and the bound nobody beats.

    Simulated: markets, machines, clocks. Real: the decisions, made by the code that is deployed.
    """
    if traces is not None and generated:
        raise typer.BadParameter("only one of --traces and --generated can say where the markets come from")
    if plot is not None:
        _check_picture(plot)
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
    from nightspot.cli import backtest_run  # noqa: PLC0415 - numpy, which only simulated nights need

    backtest_run.play(
        backtest_run.Order(traces, seed, given, ratio, pool=pool, job=job, as_json=as_json, plot=plot)
    )


def _check_picture(plot: Path) -> None:
    if plot.suffix.lower() not in PICTURES:
        raise typer.BadParameter(f"--plot: {str(plot)!r}: must end in {', '.join(PICTURES)}")
    if plot.is_dir():
        raise typer.BadParameter(f"--plot: {str(plot)!r}: must be a file, and is a folder")
    if not plot.absolute().parent.is_dir():
        raise typer.BadParameter(f"--plot: {str(plot)!r}: must be in a folder that exists")


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
