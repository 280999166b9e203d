"""Writes what of the documentation is made from the code, or says with --check which of it is out of date.

That is docs/reference, and tables of docs/limits.md (from the registry of facts and the newest facts file) and of
docs/selftest.md. The rest of these two pages is written by hand.

python -m tools.docs_reference            # writes it
python -m tools.docs_reference --check    # exit status 1, and the first lines that differ
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from nightspot.cli import app
from nightspot.cli._shared import MEANINGS
from nightspot.facts import table
from nightspot.facts.files import newest_facts_file
from nightspot.lambdas.api import document
from nightspot.selftest.checks import CHECKS
from nightspot.selftest.permissions import policy_text

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path("docs/reference")
_HINT_LINES = 12
# An option with the same words in so many commands stands once, above them all.
_SHARED = 4
_OPTION = re.compile(r"^\* `--.*\n", re.MULTILINE)


def commands_page() -> str:
    """docs/reference/commands.md: what `typer … utils docs` writes, and the exit statuses."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="nightspot").replace(
        f"{ROOT}/", ""
    )
    # The menu of the site lists the commands, and a usage line is nothing to copy.
    text = re.sub(r"\*\*Commands\*\*:\n\n(?:\* .*\n)+\n|\* `--help`: .*\n|\*\*Usage\*\*:\n\n", "", text)
    _, *sections = re.split(r"^##+ ", text.replace("```console\n$ ", "```text\n"), flags=re.MULTILINE)
    takers: dict[str, list[str]] = {}
    for section in sections:
        for option in _OPTION.findall(section):
            takers.setdefault(option, []).append(section.split("`")[1].removeprefix("nightspot "))
    shared = {option: names for option, names in takers.items() if len(names) >= _SHARED}
    lines = [f"{option[:-1]} Taken by: {', '.join(names)}." for option, names in shared.items()]
    for option in shared:
        sections = [section.replace(option, "") for section in sections]
    sections = [re.sub(r"\*\*Options\*\*:\n\n(?!\*)", "", section) for section in sections]
    statuses = [f"| {status.value} | {meaning} |" for status, meaning in MEANINGS.items()]
    return "\n".join(
        [
            "<!-- Made by tools/docs_reference.py from the code. Change the code, then run it again. -->\n",
            "# Commands\n\n`nightspot COMMAND --help` says the same.\n\n## Exit statuses\n",
            "Of the commands that start, follow or end a run. Others end with 0, with 1 for a problem that they",
            "found, and with 2 for a mistake in the call; the drill has [its own](../drill.md#grades).\n",
            "| status | meaning |\n|---|---|",
            *statuses,
            "\n## Options of many commands\n\nEach is listed here once.\n",
            *lines,
            "",
            *(f"## {section.strip()}\n" for section in sections if section.strip().count("\n")),
        ]
    )


def openapi_file() -> str:
    """docs/reference/openapi.json: the API's own document, for any OpenAPI viewer."""
    return json.dumps(document("/"), indent=1, ensure_ascii=False) + "\n"


def limits_page() -> str:
    """docs/limits.md with the parts between its markers made again."""
    file, today = newest_facts_file(ROOT / "facts"), datetime.now(UTC).date()
    return _filled(
        "limits.md",
        "facts",
        {
            "evidence": wrapped(table.evidence(file)),
            "limits": table.limits_table(file, today),
            "open": table.open_table(file, today),
        },
    )


def selftest_page() -> str:
    """docs/selftest.md, with the table of checks and the policy of who makes them."""
    rows = ["| check | what | minutes | at most | |", "|---|---|---|---|---|"]
    price = {"ml.m5.large": 0.115}  # us-east-1's; others are cheap enough for the column
    for check in CHECKS:
        usd = check.worst_usd(lambda kind: price.get(kind, 1.0))
        extra = f"`--{check.opt_in}`" if check.opt_in else "`--stack`" if check.needs_stack else ""
        rows.append(f"| {check.id} | {check.question} | {check.minutes:g} | ${usd:.2f} | {extra} |")
    policy = f"```json\n{policy_text(CHECKS)}\n```"
    return _filled("selftest.md", "selftest", {"checks": "\n".join(rows), "policy": policy})


def _filled(page: str, topic: str, parts: Mapping[str, str]) -> str:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for name, part in parts.items():
        before, begin, rest = text.partition(f"<!-- {topic}: {name} -->\n")
        _, end, after = rest.partition(f"\n<!-- {topic} end -->")
        if not begin or not end:
            raise ValueError(f"docs/{page}: the markers of {topic}: {name} must stand there")
        text = f"{before}{begin}\n{part}\n{end}{after}"
    return text


def wrapped(text: str) -> str:
    """A paragraph in lines as the other pages have them."""
    return textwrap.fill(text, 118, break_on_hyphens=False)


PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "openapi.json": openapi_file,
    "../limits.md": limits_page,
    "../selftest.md": selftest_page,
}


def main(arguments: list[str] | None = None, folder: Path = ROOT / FOLDER) -> int:
    """Write the files to `folder`, or with --check compare them; 1 where one is out of date."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where one is out of date")
    if not parser.parse_args(arguments).check:
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
    lines = difflib.unified_diff(
        there.splitlines(),
        wanted.splitlines(),
        f"{path.name} (there)",
        f"{path.name} (wanted)",
        n=0,
        lineterm="",
    )
    return "\n".join(list(lines)[:_HINT_LINES])


if __name__ == "__main__":
    sys.exit(main())
