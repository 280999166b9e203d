"""Decides how charts become pictures, and where the script that draws them in pages is kept on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import ModuleType

from nightspot.view.html import charts_script
from nightspot.view.html.theme import PALETTE, Spec, concrete

PICTURE_PIXELS = 960  # wide
PNG_SCALE = 2.0  # for screens with two pixels in one


class ChartsMissingError(Exception):
    """What draws charts is not installed."""

    def __init__(self) -> None:
        super().__init__("the package vl-convert-python is missing: install nightspot[local]")


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's folder for what can be made again (XDG Base Directory Specification)."""
    named = environ.get("XDG_CACHE_HOME")
    # The specification has relative paths ignored.
    base = Path(named) if named and Path(named).is_absolute() else Path.home() / ".cache"
    return base / "nightspot"


def script(folder: Path) -> str:
    """The charts' script, from `folder` if an earlier call left it there; made in seconds otherwise.

    Raises ChartsMissingError.
    """
    try:
        path = folder / f"{charts_script.made_by().replace(' ', '-')}.js"
        kept = charts_script.read(path)
        if kept is not None:
            return charts_script.checked(kept)
        made = charts_script.make()
    except (PackageNotFoundError, ModuleNotFoundError) as error:
        raise ChartsMissingError from error
    # A cache that cannot be written is only slow.
    with suppress(OSError):
        _keep(path, made)
    return made


def svg(spec: Spec, title: str) -> str:
    """The chart as a picture in light colours, on white. Raises ChartsMissingError."""
    converter = _converter()
    drawn: str = converter.vegalite_to_svg(_as_picture(spec, title))
    return drawn


def png(spec: Spec, title: str) -> bytes:
    """The same as pixels. Raises ChartsMissingError."""
    converter = _converter()
    drawn: bytes = converter.vegalite_to_png(_as_picture(spec, title), scale=PNG_SCALE)
    return drawn


def _as_picture(spec: Spec, title: str) -> Spec:
    padding = {"left": 20, "right": 24, "top": 20, "bottom": 16}
    picture: Spec = concrete(spec)
    return {
        **picture,
        "width": PICTURE_PIXELS,
        "autosize": {"type": "pad"},
        "padding": padding,
        "background": PALETTE["ground"][0],
        "title": {"text": title, "offset": 26},
    }


def _converter() -> ModuleType:
    try:
        import vl_convert  # noqa: PLC0415 - only here, and only in nightspot[local]
    except ModuleNotFoundError as error:
        raise ChartsMissingError from error
    return vl_convert


def _keep(path: Path, text: str) -> None:
    """Whole or not at all: another process may read it at this moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as part:
        part.write(text)
    Path(part.name).replace(path)
