"""Decides what the reference of the commands says: what the parser knows of each, and what exit statuses mean."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from nightspot.cli import app
from nightspot.cli.exit_status import MEANINGS
from tools.reference_examples import EXAMPLES
from tools.reference_text import block, code, page, plain, table

# Brackets at the end of a help text: Typer's own facts, or a default in the command's words.
_BRACKETS = re.compile(r"\s*\[([^\[\]]+)\](\.?)$")
_FACT = re.compile(r"default: .*|required|.*\bx\b.*")
_TYPE = re.compile(r" ?<(?:list\[)?([^<>\[\]]+)\]?>")
# Typer's names of types, in the words of the other options.
_METAVARS = {"int range": "N", "int": "N", "float": "X", "float range": "X", "path": "PATH", "str": "TEXT"}


@dataclass(frozen=True)
class Command:
    """One command: its words without `nightspot`, and Typer's object."""

    words: tuple[str, ...]
    command: Any
    context: Any

    @property
    def name(self) -> str:
        """Such as "local serve"."""
        return " ".join(self.words)


def commands(root: Any = None) -> tuple[Command, ...]:
    """Every command that does something itself, in the order of the help; those that are hidden are left out."""
    group = root or typer.main.get_command(app)
    return tuple(_below(group, (), None))


def _below(group: Any, words: tuple[str, ...], parent: Any) -> Iterator[Command]:
    here = group.context_class(group, info_name=words[-1] if words else "nightspot", parent=parent)
    for name, command in group.commands.items():
        if command.hidden:
            continue
        path = (*words, name)
        if hasattr(command, "commands"):
            yield from _below(command, path, here)
        else:
            yield Command(path, command, command.context_class(command, info_name=name, parent=here))


def commands_page(root: Path, examples: Mapping[str, tuple[str, ...]] = EXAMPLES) -> str:
    """docs/reference/commands.md; paths below `root` are written relative to it."""
    found = commands()
    text = page(
        "Commands",
        "`nightspot COMMAND --help` says the same. In a clone of this repository the command is "
        "`.venv/bin/nightspot`, which `make demo` or `make test` installs. What to use when: "
        "[quick start](../quick-start.md), [runbook](../operate.md), "
        "[commands to operate](../operate_commands.md).",
        table(
            ("command", "what it does"),
            [(f"[{code(one.name)}](#{_anchor(one)})", plain(_first(one))) for one in found],
        ),
        "## Exit statuses",
        "Of the commands that start, follow or end a run; the others end with 0, with 1 for what is yours to mend, "
        "and with 2 where the call makes no sense.",
        table(("status", "meaning"), [(str(status.value), text) for status, text in MEANINGS.items()]),
        *[part for one in found for part in _command(one, examples.get(one.name, ()))],
    )
    return text.replace(f"{root.resolve()}/", "")


def _command(one: Command, examples: tuple[str, ...]) -> Iterator[str]:
    yield f"## nightspot {one.name}"
    yield plain(_paragraphs(one.command.help or ""))
    yield block("text", one.command.get_usage(one.context).removeprefix("Usage: "))
    if examples:
        yield block("console", "\n".join(f"$ {line}" for line in examples))
    arguments = [p for p in one.command.params if p.param_type_name == "argument" and not p.hidden]
    yield table(("argument", "default", "meaning"), [_row(p, one.context) for p in arguments])
    options = [p for p in one.command.params if p.param_type_name == "option" and not p.hidden]
    yield table(("option", "default", "meaning"), [_row(p, one.context) for p in options])


def _row(parameter: Any, context: Any) -> tuple[str, str, str]:
    name, text = parameter.get_help_record(context)
    default, limits = "", []
    while brackets := _BRACKETS.search(text):
        text = text[: brackets.start()] + brackets[2]
        for fact in brackets[1].split("; ") if _FACT.fullmatch(brackets[1]) else (f"default: {brackets[1]}",):
            if fact == "required":
                default = "**required**"
            elif fact.startswith("default: "):
                default = code(fact.removeprefix("default: "))
            else:
                limits.append(code(re.sub(r"\bx\b", "value", fact)))
    meaning = plain(text) + (f" {', '.join(limits)}" if limits else "")
    return code(_named(name, parameter)), default, meaning


def _named(name: str, parameter: Any) -> str:
    """The option or argument with its metavar; an argument's own name says enough."""
    kind = _TYPE.search(name)
    if kind is None:
        return name
    if parameter.param_type_name == "argument":
        return _TYPE.sub("", name)
    # With spaces, so that a long list of choices can be broken.
    return _TYPE.sub(f" {_METAVARS.get(kind[1], kind[1].replace('|', ' | '))}", name)


def _first(one: Command) -> str:
    return _paragraphs(one.command.help or "").split("\n\n", maxsplit=1)[0]


def _paragraphs(text: str) -> str:
    """Each paragraph on one line."""
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def _anchor(one: Command) -> str:
    return "-".join(("nightspot", *one.words))
