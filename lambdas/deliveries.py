"""Delivers what a function had to leave: the start of a scheduled run, a notice that is to become messages."""

from __future__ import annotations

import json

from botocore.exceptions import BotoCoreError, ClientError

from nightspot.lambdas.dependencies import Dependencies
from nightspot.lambdas.observability import logger
from nightspot.lambdas.start_run import ScheduledStart, start
from nightspot.aws.notices.notices import NoticeNotSentError
from nightspot.aws.runs.starting import InvalidStartError, NameTakenError
from nightspot.decide.audit import Delivery, Finding, Pending, Repair

MOST_LOGGED = 10_000  # characters of an event


def deliver(finding: Finding, pending: Pending, use: Dependencies) -> bool:
    """Deliver it once more, or give it up. Whether nothing more is to be done about it.

    Raises TransientAwsError and StartRefusedError where it is left for later. What can never be started is given
    up, and why is raised.
    """
    if finding.repair is Repair.GIVE_UP:
        return _give_up(pending, finding.sentence, use)
    if pending.delivery is Delivery.NOTICE:
        return _send(pending, use)
    if use.starter is None:
        return False
    try:
        start(ScheduledStart.model_validate_json(pending.event), use.starter)
    except (NameTakenError, InvalidStartError, ValueError) as error:
        _give_up(pending, str(error), use)
        raise
    return use.table.pending.forget(pending.delivery, pending.name)


def _send(pending: Pending, use: Dependencies) -> bool:
    """It is TellPeople that knows whether everybody was told, and forgets it then."""
    try:
        use.notices.send_again(json.loads(pending.event))
    except (NoticeNotSentError, ClientError, BotoCoreError) as error:
        logger.warning("notice not sent again", extra={"notice": pending.name, "error": str(error)})
    return False


def _give_up(pending: Pending, why: str, use: Dependencies) -> bool:
    given = {"delivery": pending.subject, "why": why, "given": pending.event[:MOST_LOGGED]}
    logger.error("a delivery is given up", extra=given)
    return use.table.pending.forget(pending.delivery, pending.name)
