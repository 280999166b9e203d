"""Decides how a message looks in Slack, as a custom notification of Amazon Q Developer in chat applications.

Its schema: https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html
What a text may hold in Slack: https://docs.slack.dev/messaging/formatting-message-text
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nightspot.view.messages.content import Content
from nightspot.view.messages.links import Link
from nightspot.view.messages.plain import shortened
from nightspot.view.messages.wording import Mood

# A text block of Slack's holds 3,000 characters; what is longer would be cut anywhere, through a link as well.
# https://docs.slack.dev/reference/block-kit/blocks/section-block
DESCRIPTION_CHARACTERS = 3000
TITLE_CHARACTERS = 250
NEXT_STEP_CHARACTERS = 350
KEYWORD_CHARACTERS = 75
_LONGEST_BECAUSE = 500
_LONGEST_HEADLINE = 500

_ZERO_WIDTH_SPACE = "\u200b"
_SIGNS: Mapping[Mood, str] = {
    Mood.GOOD: ":white_check_mark:",
    Mood.CAUTION: ":warning:",
    Mood.BAD: ":x:",
}


def notification(content: Content, subject: str) -> dict[str, Any]:
    """The notification, JSON-ready. One run is one thread."""
    advice = [escaped(content.advice, NEXT_STEP_CHARACTERS)] if content.advice else []
    return {
        "version": "1.0",
        "source": "custom",
        "content": {
            "textType": "client-markdown",
            "title": f"{_SIGNS[content.mood]} {escaped(subject, TITLE_CHARACTERS - 20)}",
            "description": _description(content),
            "nextSteps": advice,
            "keywords": [escaped(word, KEYWORD_CHARACTERS) for word in (content.job, content.run_id) if word],
        },
        "metadata": {
            "threadId": content.run_id,
            "summary": escaped(subject, TITLE_CHARACTERS),
            "eventType": content.happening.value,
            "relatedResources": list(content.resources),
            "additionalContext": {"job": content.job, "run_id": content.run_id},
        },
    }


def escaped(text: str, most: int | None = None) -> str:
    """`text` as Slack shows it letter by letter, at most `most` characters long.

    &, < and > open links and mentions ("<!channel>", "<@U123>"), and a bare "@here" is one in some clients. Signs
    that only make text bold are left, but for the backtick, which would swallow what follows.
    """
    pieces = [_ESCAPES.get(character, character) for character in text]
    if most is not None and sum(map(len, pieces)) > most:
        # By whole pieces: half an entity would be shown as it stands.
        while sum(map(len, pieces)) > most - 3:
            pieces.pop()
        pieces.append("...")
    return "".join(pieces)


_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": f"@{_ZERO_WIDTH_SPACE}", "`": "'"}


def _description(content: Content) -> str:
    """The news, the figures, the attempts as far as there is room, and the links, which are never cut."""
    headline = f"*{escaped(content.headline, _LONGEST_HEADLINE)}*"
    told = [escaped(" ".join(content.had_happened)), escaped(shortened(content.because, _LONGEST_BECAUSE))]
    figures = [f"*{escaped(label)}:* {escaped(value)}" for label, value in content.figures]
    attempts = [f"• {escaped(line)}" for line in content.attempts]
    links = [" · ".join(_link(link) for link in content.links)]
    shorter = (
        [[headline, *told], figures, attempts, links],
        [[headline, *told], figures, links],
        [[headline], figures, links],
        [[headline], links],
    )
    texts = ["\n\n".join(_lines(block) for block in blocks if _lines(block)) for blocks in shorter]
    return next((text for text in texts if len(text) <= DESCRIPTION_CHARACTERS), headline)


def _lines(block: list[str]) -> str:
    return "\n".join(line for line in block if line)


def _link(link: Link) -> str:
    """An address ends at | or >, and & would begin an entity."""
    url = link.url.replace("&", "&amp;").replace("|", "%7C").replace("<", "%3C").replace(">", "%3E")
    return f"<{url}|{escaped(link.label).replace('|', '/')}>"
