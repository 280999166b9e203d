"""Decides how the generated pages are written in Markdown: their first lines, tables and cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

NOTICE = "<!-- Made by tools/docs_reference.py. Mend the code that it reads, then run it again. -->"

_ADDRESS = re.compile(r"https://[\w./%#?=&-]*?([\w%#?=&-]+(?:\.html)?)/?(?=[.,;:)]*(?:\s|$))")


def page(title: str, *parts: str) -> str:
    """A whole page: the notice, the title, and the parts with a blank line between two of them."""
    return "\n\n".join([NOTICE, f"# {title}", *(part.strip("\n") for part in parts if part)]) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts; "" where there are no rows."""
    body = [f"| {' | '.join(cell(text) for text in row)} |" for row in rows]
    if not body:
        return ""
    return "\n".join([f"| {' | '.join(header)} |", f"|{'---|' * len(header)}", *body])


def cell(text: str) -> str:
    """`text` on one line, with no mark that would end the cell."""
    return " ".join(text.replace("|", "\\|").split())


def code(text: object) -> str:
    """A code span; its own back quotes are left out, because a span cannot hold them."""
    return "`" + str(text).replace("`", "") + "`"


def plain(text: str) -> str:
    """`text` as prose: what looks like HTML or a link stays visible, code spans stay, addresses become links."""
    pieces = text.split("`")
    # An odd number of back quotes opens a span that nothing closes.
    if len(pieces) % 2 == 0:
        return _prose(text.replace("`", "'"))
    return "`".join(_prose(piece) if number % 2 == 0 else piece for number, piece in enumerate(pieces))


def _prose(text: str) -> str:
    shown = text.replace("<", "&lt;").replace(">", "&gt;").replace("[", "\\[")
    # By its last word: an address in full has no place to break, and would stretch its column.
    return _ADDRESS.sub(lambda found: f"[{found[1].removesuffix('.html')}]({found[0]})", shown)


def block(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.strip(chr(10))}\n```"
