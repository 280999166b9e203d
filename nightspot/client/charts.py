"""The script that draws a page's charts, from the user's cache where an earlier call left it there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from tempfile import NamedTemporaryFile

from nightspot.view.html import charts_script


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


def _keep(path: Path, text: str) -> None:
    """Whole or not at all: another process may read it at this moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as part:
        part.write(text)
    Path(part.name).replace(path)
