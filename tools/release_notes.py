"""The notes of a release: its section of CHANGELOG.md.

    python -m tools.release_notes v1.2.3

Exits with 1 where the tag is not the version of this tree, or the changelog has nothing about it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import nightspot

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"


class ReleaseError(Exception):
    """This tree must not be released under the tag."""


def release_notes(tag: str, version: str, changelog: str) -> str:
    """The text below the heading `## [1.2.3] - 2026-12-24`. Raises ReleaseError."""
    if tag != f"v{version}":
        raise ReleaseError(f"{tag}: must be v{version}, after the version in nightspot/__init__.py")
    heading = rf"^## \[{re.escape(version)}\] - [0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$"
    found = re.search(rf"{heading}\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if found is None or not found[1].strip():
        raise ReleaseError(f"CHANGELOG.md: needs a section [{version}] with a date, and something in it")
    return f"{found[1].strip()}\n"


def main(arguments: Sequence[str]) -> int:
    """Print the notes of the tag; the exit status."""
    (tag,) = arguments
    try:
        print(release_notes(tag, nightspot.__version__, CHANGELOG.read_text(encoding="utf-8")), end="")
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
