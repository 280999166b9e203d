"""Decides how a notice reads as an e-mail, and puts it beside its form for chat.

Plain text in lines that flow: hard breaks at 72 columns are ragged on a phone and cut addresses in two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nightspot.record.events import Happening
from nightspot.view.messages import chat
from nightspot.view.messages.content import Content, Notice, content_of
from nightspot.view.messages.plain import in_ascii, shortened
from nightspot.view.messages.wording import is_told

# SNS: ASCII, begins with a letter, a number or punctuation, no line breaks, less than 100 characters.
# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
SUBJECT_CHARACTERS = 99
_NAME_CHARACTERS = 32  # of the subject: a long name must not push the news out of it


@dataclass(frozen=True)
class Message:
    """A notice in words. `key` is the same for every delivery of the same notice."""

    key: str
    job: str
    happening: str
    subject: str
    text: str
    chat: Mapping[str, Any]  # JSON-ready: a custom notification of Amazon Q Developer in chat applications


def message_of(notice: Notice, *, tell_success: bool = False) -> Message | None:
    """The message that the notice becomes; None for one that nobody is told. `tell_success`: quiet ones too."""
    if not is_told(notice.happening, notice.detail, tell_success=tell_success):
        return None
    content = content_of(notice)
    subject = subject_of(content)
    return Message(
        key=notice.key,
        job=content.job,
        happening=content.happening.value,
        subject=subject,
        text=text_of(content),
        chat=chat.notification(content, subject),
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
    asked = "" if content.happening is Happening.RUN_SUCCEEDED else "Why: "
    return f"{asked}{content.because}" if content.because else ""
