"""`nightspot advise`: for which job advice is asked, and what is known beside its file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from nightspot.cli import account
from nightspot.cli._shared import Json
from nightspot.formats.figures import DurationError, parse_duration

REGION = "eu-west-1"
BANDS = ("<5", "5-10", "10-15", "15-20", ">20")
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,9})?|\.\d{1,9}) ?(%?)")


def advise(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The job file.")],
    *,
    region: Annotated[str, typer.Option(metavar="REGION", help="Whose prices count.")] = REGION,
    nights: Annotated[
        float | None, typer.Option(metavar="N", help="A month, instead of the schedule's.")
    ] = None,
    window: Annotated[
        str | None, typer.Option(metavar="DURATION", help="From start to deadline, where the file is silent.")
    ] = None,
    spot_price: Annotated[
        str | None, typer.Option(metavar="RATIO", help="Spot over on-demand: 0.35 or 35%. [history, or 0.35]")
    ] = None,
    traces: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Your own availability traces (JSON), file or folder.")
    ] = None,
    history: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Summaries of past runs on AWS: a JSON list.")
    ] = None,
    drill: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What `nightspot drill --json` wrote.")
    ] = None,
    placement_score: Annotated[
        int | None, typer.Option(metavar="1-10", help="EC2's Spot placement score of the type: a hint.")
    ] = None,
    interruption_band: Annotated[
        str | None,
        typer.Option(metavar="BAND", help=f"EC2's Spot Instance Advisor: {', '.join(BANDS)} (%): a hint."),
    ] = None,
    zones: Annotated[
        int | None, typer.Option(metavar="N", help="Availability zones that the job may be trained in.")
    ] = None,
    ec2_spot_usd_per_hour: Annotated[
        float | None, typer.Option(metavar="USD", help="EC2's Spot price of one machine.")
    ] = None,
    failed_night_usd: Annotated[
        float | None,
        typer.Option(metavar="USD", help="A night without a model in time. [two engineer's hours]"),
    ] = None,
    engineer_usd_per_hour: Annotated[
        float | None, typer.Option(metavar="USD", help="An hour of an engineer. [100]")
    ] = None,
    setup_hours: Annotated[
        float | None, typer.Option(metavar="H", help="To set up managed Spot with Nightspot. [16]")
    ] = None,
    operate_hours: Annotated[
        float | None, typer.Option(metavar="H", help="To look after it, a month. [1]")
    ] = None,
    save_time: Annotated[
        str | None, typer.Option(metavar="DURATION", help="What writing a checkpoint takes. [30s]")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the nights.")] = 7,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page, too.")] = None,
    as_json: Json = False,
) -> None:
    """Is Spot right for this job? Five filters, the options side by side in USD a month, and a worked month.

    Played on this machine, with shipped prices; every figure says whether it is measured, priced or assumed.
    The exit status is 0 whether the advice is yes or no.
    """
    for option, number, least in (
        ("--nights", nights, 0.1),
        ("--zones", zones, 1),
        ("--placement-score", placement_score, 1),
        ("--ec2-spot-usd-per-hour", ec2_spot_usd_per_hour, 0.0001),
        ("--failed-night-usd", failed_night_usd, 0),
        ("--engineer-usd-per-hour", engineer_usd_per_hour, 0),
        ("--setup-hours", setup_hours, 0),
        ("--operate-hours", operate_hours, 0),
    ):
        _check(option, number, least)
    account.check_region(region)
    if interruption_band is not None and interruption_band not in BANDS:
        rule = f"must be one of {', '.join(BANDS)}"
        raise typer.BadParameter(f"--interruption-band: {interruption_band!r}: {rule}")
    if html is not None:
        _check_page(html)
    given = {
        "failed_night_usd": failed_night_usd,
        "engineer_usd_per_hour": engineer_usd_per_hour,
        "setup_hours": setup_hours,
        "operate_hours": operate_hours,
    }
    window_seconds, save_seconds = _seconds("--window", window), _seconds("--save-time", save_time)
    spot_ratio = _ratio(spot_price)

    from nightspot.cli import advise_run  # noqa: PLC0415 - numpy, which only simulated nights need

    advise_run.answer(
        advise_run.Order(
            file=file,
            region=region,
            nights=nights,
            window_seconds=window_seconds,
            spot_ratio=spot_ratio,
            traces=traces,
            history=history,
            drill=drill,
            placement_score=placement_score,
            band=interruption_band,
            zones=zones,
            ec2_spot_usd_per_hour=ec2_spot_usd_per_hour,
            economics={name: value for name, value in given.items() if value is not None},
            save_seconds=save_seconds,
            seed=seed,
            html=html,
            as_json=as_json,
        )
    )


# The most that means anything: more nights than minutes, a machine for more than any costs, and so on.
_MOST = {"--nights": 45_000, "--zones": 12, "--placement-score": 10}
_MOST_ELSE = 1_000_000


def _check(option: str, number: float | None, least: float) -> None:
    most = _MOST.get(option, _MOST_ELSE)
    if number is not None and not least <= number <= most:
        raise typer.BadParameter(f"{option}: {number:g}: must be a number from {least:g} to {most:,}")


def _check_page(path: Path) -> None:
    if path.suffix.lower() not in (".html", ".htm"):
        raise typer.BadParameter(f"--html: {str(path)!r}: must end in .html")
    if path.is_dir():
        raise typer.BadParameter(f"--html: {str(path)!r}: must be a file, and is a folder")
    if not path.absolute().parent.is_dir():
        raise typer.BadParameter(f"--html: {str(path)!r}: must be in a folder that exists")


def _seconds(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(parse_duration(text))
    except DurationError as error:
        raise typer.BadParameter(f"{option}: {text!r}: {error}") from error


def _ratio(text: str | None) -> float | None:
    """The number of `0.35` or `35%`."""
    if text is None:
        return None
    match = _SHARE.fullmatch(text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0.01 <= value <= 1:
        raise typer.BadParameter(
            f"--spot-price: {text!r}: must be a share from 0.01 to 1, such as 0.35 or 35%"
        )
    return value
