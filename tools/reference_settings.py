"""Decides what the page of settings says: each context value of a deployment, read from infra/settings.py.

The source is read and not imported, because CDK needs Node for an import alone, and comments are texts.
"""

from __future__ import annotations

import ast
import io
import tokenize
from dataclasses import dataclass
from pathlib import Path

from tools.reference_text import code, page, plain, table

SETTINGS_FILE = Path("infra/settings.py")
_CLASS = "Settings"
# Read by infra/__main__.py itself, before there is a stack that settings could belong to.
STACK_NAME = ("nightspot:stack_name", "Nightspot", "the stack's name; another name is another environment")

# Where the source has no comment of the field's own, or one that speaks of the field above as well.
MEANINGS = {
    "checkpoint_bucket_name": "an existing bucket, best a versioned one; without it, the stack makes one",
    "model_bucket_name": "an existing bucket; without it, the stack makes one",
    "subnet_ids": "for jobs that state no VpcConfig of their own; together with the security groups",
    "security_group_ids": "for jobs that state no VpcConfig of their own; together with the subnets",
    "log_days": "how long logs are kept: 7, 14, 30, 60, 90, 180, 365 or 731 days",
    "gitlab_host": "the GitLab that the project is on",
}
# Python's words in comments, as whoever writes a context value says them.
_IN_WORDS = {
    "None:": "without it,",
    "False:": "`false`:",
    "True:": "`true`:",
    "`cdk destroy`": "`make destroy`",
}


class SettingsPageError(ValueError):
    """infra/settings.py has a setting that the page cannot tell of."""


@dataclass(frozen=True)
class Setting:
    """One field of `nightspot.cdk.Settings`."""

    name: str
    kind: str
    default: object
    meaning: str

    @property
    def key(self) -> str:
        """As it is called in CDK's context."""
        return f"nightspot:{self.name}"


def settings_page(root: Path) -> str:
    """docs/reference/settings.md."""
    rows = [(code(STACK_NAME[0]), "text", code(STACK_NAME[1]), STACK_NAME[2])]
    rows += [
        (code(one.key), _kind(one.kind), _default(one.default), plain(one.meaning))
        for one in read_settings_file(root)
    ]
    return page(
        "Settings of a deployment",
        "Context values of CDK. They stand in `cdk.json` under `context`, or are given once:",
        '```console\n$ CDK_OPTIONS="-c nightspot:log_days=30 -c nightspot:chat_topic=true" make deploy\n```',
        "Lists are JSON lists in `cdk.json`, and words with commas between them after `-c`. A value that cannot be "
        "used ends the synthesis with its key, the value and the rule. What they are for: "
        "[deploy](../deploy.md#choices).",
        table(("key", "kind", "default", "meaning"), rows),
    )


def read_settings_file(root: Path) -> tuple[Setting, ...]:
    """The fields of the class `Settings` below the repository's `root`, in order.

    Raises SettingsPageError for a field without a plain default, or without meaning.
    """
    source = (root / SETTINGS_FILE).read_text(encoding="utf-8")
    comments = _comments(source)
    lines = source.splitlines()
    (found,) = [
        node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == _CLASS
    ]
    fields = [node for node in found.body if isinstance(node, ast.AnnAssign)]
    settings = []
    for field in fields:
        name = ast.unparse(field.target)
        if field.value is None or field.end_lineno is None:
            raise SettingsPageError(f"Settings.{name}: has no default")
        own = [comments[n] for n in range(field.lineno, field.end_lineno + 1) if n in comments]
        above = _comment_above(lines, field.lineno)
        meaning = MEANINGS.get(name) or _in_words(" ".join([*above, *own]))
        if not meaning:
            raise SettingsPageError(f"Settings.{name}: needs a comment, or a text in MEANINGS")
        default = _value(field.value, source)
        settings.append(Setting(name, ast.unparse(field.annotation), default, meaning))
    return tuple(settings)


def _value(default: ast.expr, source: str) -> object:
    """A literal, or a constant of the module."""
    if not isinstance(default, ast.Name):
        return ast.literal_eval(default)
    for line in ast.parse(source).body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == default.id:
            return ast.literal_eval(line.value)
    raise SettingsPageError(f"{default.id}: is no constant of {SETTINGS_FILE}")


def _in_words(comment: str) -> str:
    for python, word in _IN_WORDS.items():
        comment = comment.replace(python, word)
    return comment


def _comments(source: str) -> dict[int, str]:
    """Comments by line; those on lines of their own are not among them."""
    return {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and token.line.strip() != token.string
    }


def _comment_above(lines: list[str], line: int) -> list[str]:
    """The comment lines right above `line` (counted from 1)."""
    above: list[str] = []
    for text in reversed(lines[: line - 1]):
        if not text.strip().startswith("#"):
            break
        above.insert(0, text.strip().lstrip("# "))
    return above


def _kind(annotation: str) -> str:
    if annotation.startswith("tuple"):
        return "list"
    return {"bool": "`true` or `false`", "int": "whole number"}.get(annotation, "text")


def _default(value: object) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return code(str(value).lower())
    return code(value)
