"""What of a foreign text may be shown: characters that a person sees, and nothing that steers what shows them.

For texts of containers, of AWS and of whoever starts a run, wherever they go: terminal, page, SVG, message.
"""

from __future__ import annotations

import re
from unicodedata import category

# ECMA-48: control sequences (colours, the cursor), strings for the terminal (its title, links), and short ones.
# Bounded, so that a text of nothing but their beginnings takes no longer than another.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,8}[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90-\x9f\n]{0,1024}(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]{0,8}[0-~]"
)


def visible(text: str) -> str:
    """`text` without escape sequences, control and format characters (those that turn the reading direction or have
    no width among them), halves of characters and what is none.

    Line ends, tabs and spaces of any width stay; other white space is a space.
    """
    if text.isprintable():
        return text
    text = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    return "".join(_shown(character) for character in text)


def one_line(text: str) -> str:
    """`visible` text on one line."""
    return " ".join(visible(text).splitlines()).replace("\t", " ")


def _shown(character: str) -> str:
    if character.isprintable() or character in "\n\t" or category(character) == "Zs":
        return character
    return " " if character.isspace() else ""
