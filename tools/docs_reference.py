"""Writes the generated pages of docs/reference, or says with --check which of them are out of date.

python -m tools.docs_reference            # writes them
python -m tools.docs_reference --check    # exit status 1, and the first lines that differ
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tools.reference_api import api_page
from tools.reference_commands import commands_page
from tools.reference_job_file import job_file_page
from tools.reference_outcomes import outcomes_page
from tools.reference_settings import settings_page

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path("docs/reference")
PAGES: Mapping[str, Callable[[], str]] = {
    "job-file.md": job_file_page,
    "commands.md": lambda: commands_page(ROOT),
    "api.md": api_page,
    "settings.md": lambda: settings_page(ROOT),
    "outcomes.md": outcomes_page,
}
_HINT_LINES = 12


def main(arguments: list[str] | None = None, folder: Path = ROOT / FOLDER) -> int:
    """Write the pages to `folder`, or with --check compare them; 1 where one is out of date."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where a page is out of date"
    )
    if not parser.parse_args(arguments).check:
        folder.mkdir(parents=True, exist_ok=True)
        for name, make in PAGES.items():
            (folder / name).write_text(make(), encoding="utf-8")
        return 0
    hints = [hint for name, make in PAGES.items() if (hint := difference(folder / name, make()))]
    for hint in hints:
        print(hint, file=sys.stderr)
    if hints:
        print("Write them again: python -m tools.docs_reference", file=sys.stderr)
    return 1 if hints else 0


def difference(path: Path, wanted: str) -> str:
    """The first lines in which the file differs from `wanted`; "" where it does not."""
    there = path.read_text(encoding="utf-8") if path.is_file() else ""
    if there == wanted:
        return ""
    lines = difflib.unified_diff(
        there.splitlines(),
        wanted.splitlines(),
        f"{path.name} (there)",
        f"{path.name} (wanted)",
        "",
        "",
        0,
        "",
    )
    return "\n".join(list(lines)[:_HINT_LINES])


if __name__ == "__main__":
    sys.exit(main())
