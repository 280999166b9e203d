"""Decides how the findings in job files are shown: one line per problem, `field: value: rule`."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from nightspot.job import CheckedFile

_STYLES = {"error": "red", "warning": "yellow"}


def has_errors(found: CheckedFile) -> bool:
    """Whether the file is refused."""
    return any(problem.severity == "error" for problem in found.problems)


def show_checked(console: Console, found: CheckedFile) -> None:
    """The file with `ok`, or with its problems below it. Lines are not wrapped, so that they can be searched."""
    line = Text(f"{found.path}: ")
    line.append(*(("errors", "bold red") if has_errors(found) else ("ok", "green")))
    console.print(line, soft_wrap=True)
    for problem in found.problems:
        console.print(Text(f"  {problem.severity}: {problem}", _STYLES[problem.severity]), soft_wrap=True)


def as_json(found: CheckedFile) -> dict[str, Any]:
    """`{file, ok, problems: [{field, value, rule, severity}]}`."""
    return {
        "file": str(found.path),
        "ok": not has_errors(found),
        "problems": [
            {"field": p.field, "value": p.value, "rule": p.rule, "severity": p.severity}
            for p in found.problems
        ],
    }
