"""What is left of a foreign text before it is shown: nothing that steers a terminal, a page or a message."""

from __future__ import annotations

import html
import time
from unicodedata import category
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.failures.redaction import redact
from nightspot.formats.figures import one_line, visible

SHOWN = {
    "a colour": ("\x1b[31mred\x1b[0m", "red"),
    "the cursor": ("done\x1b[2K\x1b[1A\x1b[?25l", "done"),
    "an 8-bit sequence": ("\x9b2Jcleared", "cleared"),
    "the window's title": ("\x1b]0;owned\x07hi", "hi"),
    "a link": ("\x1b]8;;https://evil.example\x1b\\text\x1b]8;;\x1b\\", "text"),
    "the clipboard": ("\x1b]52;c;cm0gLXJm\x07x", "x"),
    "a picture": ("\x1bPq#0;2;0;0;0\x1b\\x", "x"),
    "a character set": ("\x1b(0lqk", "lqk"),
    "half a sequence": ("end\x1b", "end"),
    "bell, backspace, delete, null": ("a\x07b\x08c\x7fd\x00e", "abcde"),
    "a line that overwrites another": ("50 %\r100 %", "50 % 100 %"),
    "line ends": ("one\r\ntwo\nthree\tfour", "one\ntwo\nthree\tfour"),
    "other line ends": ("a\x0bb\x0cc\x85d\u2028e\u2029f", "a b c d e f"),
    "reading direction": ("a\u202egpj.exe\u2066b\u200f", "agpj.exeb"),
    "no width": ("to\u200bken\ufeff\u2060 so\u00adft", "token soft"),
    "half a character": ("a\ud800b", "ab"),
    "no character": ("a\ufffeb\uffff", "ab"),
    "invisible letters": ("a\U000e0041\U000e0042", "a"),
    "spaces": ("5\u00a0h \u3000x", "5\u00a0h \u3000x"),
    "letters of everywhere": ("größer ≠ 模型 😀 e\u0301", "größer ≠ 模型 😀 e\u0301"),
}


@pytest.mark.parametrize(("text", "shown"), SHOWN.values(), ids=SHOWN)
def test_what_nobody_sees_is_dropped_and_what_everybody_sees_stays(text, shown):
    assert visible(text) == shown
    assert redact(text) == shown.strip()


def test_on_one_line_there_is_one_line():
    assert one_line("a\nb\r\nc\td\x1b[0m") == "a b c d"


anything = st.text(st.characters() | st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"]))


@given(anything)
def test_no_text_steers_what_shows_it(text):
    for shown in (visible(text), redact(text)):
        unseen = [c for c in shown if not c.isprintable() and c not in "\n\t" and category(c) != "Zs"]
        assert unseen == []
        # As a page and an SVG hold it.
        element = ElementTree.fromstring(f"<text>{html.escape(shown)}</text>")  # noqa: S314
        assert (element.text or "") == shown
        shown.encode()


@given(anything)
def test_what_is_shown_already_stays_as_it_is(text):
    assert visible(visible(text)) == visible(text)


STARTS = [
    "\x1b[",
    "\x1b]",
    "\x1b]a",
    "\x1bP",
    "\x9d",
    "\x9b",
    "\x90a",
    "\x1b ",
    "\x1b[0;",
    "\x1b[ ",
    "\u202e",
]


@pytest.mark.parametrize("part", STARTS, ids=ascii)
def test_a_hostile_text_takes_no_longer_than_its_length(part):
    def seconds(length):
        text = (part * length)[:length]
        begun = time.process_time()
        visible(text)
        return time.process_time() - begun

    # One of three: the machine may be busy with something else. Squares would be a minute.
    assert any(seconds(1_000_000) < 3 for _ in range(3))
