"""Tells people what they should hear of a run: a message by e-mail and in chat for each notice that matters."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, Field

from nightspot.aws.faults import NotYetError
from nightspot.aws.notices import AGAIN, NoticeTopics
from nightspot.aws.table.open_runs import PendingDeliveries
from nightspot.aws.table.run_table import RunTable
from nightspot.decide.audit import Delivery
from nightspot.lambdas.dependencies import dependencies, late_client, read_environment
from nightspot.lambdas.observability import count, entry, logger
from nightspot.view.messages.content import Notice
from nightspot.view.messages.message import Message, message_of
from nightspot.view.messages.plain import zone_of
from nightspot.view.messages.wording import run_event_of

_NOT_SENT = (NotYetError, ClientError, BotoCoreError)


class NightspotEvent(BaseModel):
    """EventBridge's event with Nightspot's own source, as far as telling needs it."""

    detail_type: str = Field(alias="detail-type")
    detail: dict[str, Any]


@dataclass(frozen=True)
class Messenger:
    """What telling works with. A test passes its own."""

    topics: NoticeTopics
    pending: PendingDeliveries
    zone: Callable[[str], str]  # (job) -> the IANA name of the zone in which its people think
    now: Callable[[], datetime]
    tell_success: bool = False


@entry("Notice")
def handler(event: dict[str, Any], context: LambdaContext, *, use: Messenger | None = None) -> dict[str, Any]:
    """`{"told": [channels]}`, those on which a message was published now.

    The same event again tells nothing twice. With `"pending": true` where a channel could not be told: the
    reconciler sends the event again. Where the table does not keep the event either, raises what kept the channel
    from being told; Lambda's asynchronous retry brings the event back.
    """
    given = NightspotEvent.model_validate(event)
    run_event = run_event_of(given.detail_type)
    if run_event is None:
        logger.info("not one of Nightspot's events", extra={"detail_type": given.detail_type})
        return {"told": []}
    use = use or messenger()
    notice = Notice(run_event, given.detail, use.zone(str(given.detail.get("job"))))
    message = message_of(notice, tell_success=use.tell_success)
    told, failed = ([], []) if message is None else _tell(message, use)
    is_kept = given.detail.get(AGAIN) is True
    if not failed:
        if is_kept:
            use.pending.forget(Delivery.NOTICE, notice.key)
        return {"told": told}
    if not is_kept and not use.pending.keep(Delivery.NOTICE, notice.key, _text_of(event), use.now()):
        raise failed[0]
    return {"told": told, "pending": True}


def _text_of(event: Mapping[str, Any]) -> str:
    # As short as it came: an item holds 400 KB, an event 256.
    return json.dumps(event, ensure_ascii=False)


def _tell(message: Message, use: Messenger) -> tuple[list[str], list[Exception]]:
    """The channels on which the message was published now, and what kept it from the others."""
    now = use.now()
    attributes = {"job": message.job, "happening": message.run_event}
    sends: dict[str, Callable[[], bool]] = {
        "mail": lambda: use.topics.mail(message.key, message.subject, message.text, attributes, now),
        "chat": lambda: use.topics.chat(message.key, message.chat, attributes, now),
    }
    told: list[str] = []
    failed: list[Exception] = []
    for channel, send in sends.items():
        try:
            if send():
                told.append(channel)
        except _NOT_SENT as error:
            logger.warning("message not sent", extra={"channel": channel, "error": str(error)})
            failed.append(error)
    logger.info(message.subject, extra={"job": message.job, "notice": message.key, "told": told})
    count("MessageSent", len(told))
    return told, failed


@cache
def messenger() -> Messenger:
    """The deployed function's."""
    environment = read_environment()

    def zone(job: str) -> str:
        return zone_of(dependencies().jobs().get(job))

    dynamodb = late_client("dynamodb")
    return Messenger(
        topics=NoticeTopics(
            late_client("sns"),
            dynamodb,
            environment.table_name,
            mail_arn=environment.notice_topic_arn,
            chat_arn=environment.chat_topic_arn or None,
        ),
        pending=RunTable(dynamodb, environment.table_name).pending,
        zone=zone,
        now=lambda: datetime.now(UTC),
        tell_success=environment.tell_success,
    )
