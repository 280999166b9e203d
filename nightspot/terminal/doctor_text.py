"""How findings are shown: problems in job files, and what the doctor has to say of an account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from nightspot.aws.doctor_visit import Check, Finding, State
from nightspot.job.reading import CheckedFile

STYLES: Mapping[State, str] = {
    State.OK: "green",
    State.WARNING: "yellow",
    State.PROBLEM: "bold red",
    State.NOT_CHECKED: "dim",
}
# (one, several), as the sum counts them.
COUNTED: Mapping[State, tuple[str, str]] = {
    State.PROBLEM: ("problem", "problems"),
    State.WARNING: ("warning", "warnings"),
    State.NOT_CHECKED: ("not checked", "not checked"),
    State.OK: ("ok", "ok"),
}
_STATE_CHARACTERS = max(len(state) for state in State)
_CHECK_CHARACTERS = max(len(check) for check in Check)
_INDENT = " " * (_STATE_CHARACTERS + 2 + _CHECK_CHARACTERS + 2)


def show_finding(console: Console, finding: Finding) -> None:
    """One finding. Lines are not wrapped, so that a command can be copied whole."""
    line = Text()
    line.append(f"{finding.state:<{_STATE_CHARACTERS}}  ", STYLES[finding.state])
    line.append(f"{finding.check:<{_CHECK_CHARACTERS}}  ")
    line.append(f"{finding.subject}: {finding.found}" if finding.subject else finding.found)
    console.print(line, soft_wrap=True)
    if finding.fix:
        console.print(Text(f"{_INDENT}fix: {finding.fix}"), soft_wrap=True)


def show_sum(console: Console, findings: Iterable[Finding]) -> None:
    """How many findings came out how, the worst first."""
    counts = Counter(finding.state for finding in findings)
    parts = [
        f"{counts[state]} {names[counts[state] != 1]}" for state, names in COUNTED.items() if counts[state]
    ]
    console.print(
        Text(", ".join(parts), STYLES[State.PROBLEM] if counts[State.PROBLEM] else ""), soft_wrap=True
    )


def findings_as_json(findings: Iterable[Finding]) -> dict[str, Any]:
    """`{ok, checks: [{check, subject, state, found, fix}]}`; `ok`: there is no problem."""
    shown = list(findings)
    return {
        "ok": not has_problems(shown),
        "checks": [
            {
                "check": str(each.check),
                "subject": each.subject or None,
                "state": str(each.state),
                "found": each.found,
                "fix": each.fix or None,
            }
            for each in shown
        ],
    }


def has_problems(findings: Iterable[Finding]) -> bool:
    """Whether the command is to fail."""
    return any(each.state is State.PROBLEM for each in findings)


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
