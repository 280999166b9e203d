"""Which lines of the documentation are commands, and whether the parser knows them as they stand.

Nothing is run. A command counts as known where its sub-command, its options and the kinds of their values are.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer

from nightspot.cli import app

_FENCE = re.compile(r"^ {0,3}```(\w*)")
_SHELLS = {"sh", "bash", "console"}
_SPAN = re.compile(r"(?<!`)`((?:\.venv/bin/)?nightspot [^`\n]+)`(?!`)")
_ASSIGNMENT = re.compile(r"[A-Z_]+=.*")
_TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
_BREAKS = {"|", "||", "&&", ";", ">", ">>", "<", "&"}


@dataclass(frozen=True)
class Line:
    """A command as documented: where it stands, and its words."""

    place: str  # "operate.md:12"
    words: tuple[str, ...]
    whole: bool = True  # False: a mention in prose, which may leave arguments out

    def __str__(self) -> str:
        return f"{self.place}: {' '.join(self.words)}"


def command_lines(path: Path) -> tuple[Line, ...]:
    """Every command in the shell blocks of a Markdown file, and every mention of `nightspot …` in its prose.

    In a `console` block only what stands behind `$ ` is a command, in one without a language that too, and what
    begins with `nightspot`.
    """
    return tuple(_lines(path.name, path.read_text(encoding="utf-8").splitlines()))


def _lines(name: str, lines: Sequence[str]) -> Iterator[Line]:
    language: str | None = None
    pending = ""
    for number, line in enumerate(lines, start=1):
        place = f"{name}:{number}"
        fence = _FENCE.match(line)
        if fence:
            language = fence[1] if language is None else None
            pending = ""
        elif language is None:
            for span in _SPAN.findall(line):
                yield from _commands(place, _words(span) or span.split(), whole=False)
        elif language in _SHELLS or line.startswith("$ ") or (not language and line.startswith("nightspot ")):
            text = line.removeprefix("$ ") if line.startswith("$ ") or pending else line
            if language == "console" and text == line and not pending:
                continue
            pending += text.removesuffix("\\")
            if not text.endswith("\\"):
                words = _words(pending)
                pending = "" if words is not None else f"{pending}\n"
                yield from _commands(place, words or (), whole=True)


def _words(text: str) -> tuple[str, ...] | None:
    """The words of a line of shell, pipes and semicolons among them; None where a quotation is still open."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    try:
        return tuple(lexer)
    except ValueError:
        return None


def _commands(place: str, line: Sequence[str], *, whole: bool) -> Iterator[Line]:
    """The commands of one line: what pipes and semicolons part, without the variables that are set before them."""
    words: list[str] = []
    for word in (*line, ";"):
        if word not in _BREAKS:
            if words or not _ASSIGNMENT.fullmatch(word):
                words.append(word)
        elif words:
            yield Line(place, tuple(words), whole)
            words = []


def problem_of(line: Line, root: Path) -> str | None:
    """What is wrong with a documented command, in a sentence; None where nothing is, or it is none of ours."""
    program, *rest = line.words
    if Path(program).name == "nightspot":
        return _problem_of_nightspot(rest, whole=line.whole)
    if program == "make":
        known = set(_TARGET.findall((root / "Makefile").read_text(encoding="utf-8")))
        unknown = [word for word in rest if word not in known and not _ASSIGNMENT.fullmatch(word)]
        return f"the Makefile has no {unknown[0]}" if unknown else None
    if Path(program).name == "python" and rest and rest[0].endswith(".py"):
        return None if (root / rest[0]).is_file() else f"there is no {rest[0]}"
    return None


@cache
def _parser() -> Any:
    return typer.main.get_command(app)


def _problem_of_nightspot(words: Sequence[str], *, whole: bool) -> str | None:
    command = _parser()
    name = "nightspot"
    rest = list(words)
    while hasattr(command, "list_commands") and rest and not rest[0].startswith("-"):
        if not whole and (rest[0].isupper() or rest[0] == "…"):
            return None  # "nightspot COMMAND --help"
        below = command.get_command(typer.Context(command), rest[0])
        if below is None:
            return f"`{name}` has no command {rest[0]}"
        command = below
        name = f"{name} {rest.pop(0)}"
    if not rest and not whole:
        return None
    if not whole:
        # Prose says FILE, N or JOB where a call says which: what counts is that the options are there.
        options = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
        known = options | {"--help"}
        unknown = [word for word in rest if word.startswith("-") and word != "-" and word not in known]
        return f"`{name}` has no option {unknown[0]}" if unknown else None
    try:
        command.make_context(name, rest)
    except typer.Exit:
        return None
    except typer.TyperException as error:
        return f"`{name}`: {error.format_message() if hasattr(error, 'format_message') else error}"
    return None
