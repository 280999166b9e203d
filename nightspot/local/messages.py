"""Decides what is kept of the messages that a night here would have sent: one text and one chat form each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nightspot.job import Job
from nightspot.messages.content import Notice
from nightspot.messages.message import Message, message_of
from nightspot.messages.plain import zone_of
from nightspot.messages.telling import happening_of


def told(entries: Iterable[Mapping[str, Any]], job: Job) -> tuple[Message, ...]:
    """The messages of these EventBridge entries, in their order, as default settings would send them."""
    messages = []
    for entry in entries:
        happening = happening_of(entry["DetailType"])
        if happening is None:
            continue
        messages.append(message_of(Notice(happening, json.loads(entry["Detail"]), zone_of(job))))
    return tuple(message for message in messages if message is not None)


def written(entries: Iterable[Mapping[str, Any]], job: Job, folder: Path) -> tuple[Message, ...]:
    """`told`, and in `folder` as `1-RunFailed.txt` and `1-RunFailed.chat.json`; a quiet night makes no folder."""
    messages = told(entries, job)
    for number, message in enumerate(messages, start=1):
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{number}-{message.happening}"
        mail = f"Subject: {message.subject}\n\n{message.text}"
        (folder / f"{stem}.txt").write_text(mail, encoding="utf-8")
        chat = json.dumps(message.chat, indent=2, ensure_ascii=False)
        (folder / f"{stem}.chat.json").write_text(f"{chat}\n", encoding="utf-8")
    return messages
