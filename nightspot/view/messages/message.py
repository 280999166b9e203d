"""How a message reads as an e-mail and in Slack (Amazon Q Developer's custom notification)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nightspot.record.events import RunEvent
from nightspot.view.messages.content import Content, Notice, content_of
from nightspot.view.messages.plain import Link, in_ascii, shortened
from nightspot.view.messages.wording import Severity, is_told

# A text block of Slack's holds 3,000 characters; what is longer would be cut anywhere, through a link as well.
# https://docs.slack.dev/reference/block-kit/blocks/section-block
DESCRIPTION_CHARACTERS = 3000
TITLE_CHARACTERS = 250
NEXT_STEP_CHARACTERS = 350
KEYWORD_CHARACTERS = 75
_LONGEST_BECAUSE = 500
_LONGEST_HEADLINE = 500

_ZERO_WIDTH_SPACE = "\u200b"
_SIGNS: Mapping[Severity, str] = {
    Severity.GOOD: ":white_check_mark:",
    Severity.CAUTION: ":warning:",
    Severity.BAD: ":x:",
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
            "eventType": content.run_event.value,
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


# SNS: ASCII, begins with a letter, a number or punctuation, no line breaks, less than 100 characters.
# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
SUBJECT_CHARACTERS = 99
_NAME_CHARACTERS = 32  # of the subject: a long name must not push the news out of it


@dataclass(frozen=True)
class Message:
    """A notice in words. `key` is the same for every delivery of the same notice."""

    key: str
    job: str
    run_event: str
    subject: str
    text: str
    chat: Mapping[str, Any]  # JSON-ready: a custom notification of Amazon Q Developer in chat applications


def message_of(notice: Notice, *, tell_success: bool = False) -> Message | None:
    """The message that the notice becomes; None for one that nobody is told. `tell_success`: quiet ones too."""
    if not is_told(notice.run_event, notice.detail, tell_success=tell_success):
        return None
    content = content_of(notice)
    subject = subject_of(content)
    return Message(
        key=notice.key,
        job=content.job,
        run_event=content.run_event.value,
        subject=subject,
        text=text_of(content),
        chat=notification(content, subject),
    )


def subject_of(content: Content) -> str:
    """ "recommender: model ready, 57 min early, fell back to on-demand, $79.88"."""
    name = shortened(in_ascii(content.job).strip() or "job", _NAME_CHARACTERS)
    return shortened(f"{name}: {in_ascii(content.subject)}", SUBJECT_CHARACTERS)


def text_of(content: Content) -> str:
    """The e-mail's text: the news first, one fact a line, addresses last and alone on their lines."""
    told = " ".join(content.had_happened)
    blocks = [
        [content.headline, told],
        [_because(content)],
        [f"{label}: {value}" for label, value in content.figures],
        ["Attempts:", *content.attempts] if content.attempts else [],
        [f"What you can do: {content.advice}" if content.advice else ""],
        [line for link in content.links for line in (f"{link.label}:", link.url)],
        [f"Run {content.run_id} of {content.job}."],
    ]
    kept = ([line for line in block if line] for block in blocks)
    return "\n\n".join("\n".join(block) for block in kept if block) + "\n"


def _because(content: Content) -> str:
    # "Training job … has completed" is no answer to "why?".
    asked = "" if content.run_event is RunEvent.RUN_SUCCEEDED else "Why: "
    return f"{asked}{content.because}" if content.because else ""
