"""Which script draws the charts of a page: Vega, Vega-Lite and vega-embed in one, made without a network.

The deployment's bundle holds it as a file, because what makes it is too large for a function.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from pathlib import Path

# Where a function finds it; in a checkout there is none.
FILE = Path(__file__).parent / "charts.js"
SNIPPET = "window.vegaEmbed = vegaEmbed;"


class ChartsScriptError(ValueError):
    """The charts' script holds text that would end its element, so that a page cannot carry it."""


def read(path: Path = FILE) -> str | None:
    """The script that was put there; None where none was: pages are then tables alone."""
    return path.read_text(encoding="utf-8") if path.is_file() else None


def made_by() -> str:
    """What makes the script, and its version: with another one the script is another.

    Raises importlib.metadata.PackageNotFoundError where it is not installed.
    """
    return f"vl-convert-python {version('vl-convert-python')}"


@cache
def make() -> str:
    """The script, made in some seconds. Raises ModuleNotFoundError without vl-convert-python."""
    import vl_convert  # noqa: PLC0415 - a hundred megabytes, which no function has

    script: str = vl_convert.javascript_bundle(SNIPPET)
    return checked(script)


def checked(script: str) -> str:
    """`script`, if it can stand in a page. Raises ChartsScriptError."""
    if "</script" in script.lower() or "<!--" in script:
        raise ChartsScriptError("charts.js: must hold neither </script nor <!--")
    return script
