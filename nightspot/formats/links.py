"""Addresses that a page or a message may link to, wherever they come from."""

from __future__ import annotations

from urllib.parse import urlsplit

MOST_LINK_CHARACTERS = 500
LINK_RULE = (
    f"must be an http(s) address without a password in it, of at most {MOST_LINK_CHARACTERS} printable"
    " ASCII characters"
)


def web_link(text: object) -> str | None:
    """The address, if it is one by LINK_RULE; None otherwise."""
    if not isinstance(text, str) or not text.isascii() or not text.isprintable():
        return None
    if len(text) > MOST_LINK_CHARACTERS or any(each in text for each in " <>\"'`\\"):
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    is_web = parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc
    return text if is_web else None
