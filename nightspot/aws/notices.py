"""Tells the world what happened to a run: EventBridge events, messages to topics (each once), pages in S3."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from nightspot.aws.faults import NotYetError, TransientAwsError, asking_aws
from nightspot.aws.table.dynamodb import Table, is_condition_failure, key
from nightspot.record.events import OF_OUTCOME, RunEvent
from nightspot.run.model import Run

SOURCE = "nightspot"
AGAIN = "again"  # in the detail of a notice that the reconciler has sent again
_ENDS = frozenset(OF_OUTCOME.values())


class Notices:
    """The bus on which notices are published."""

    def __init__(self, client: Any, bus_name: str) -> None:
        self._client = client
        self._bus_name = bus_name

    def send(self, run_event: RunEvent, run: Run, at: datetime, detail: dict[str, Any]) -> None:
        """Publish one notice. At least once: `notice_id` is the same for the same event of a run's step.

        A run has one end, whichever decision or repair has recorded it: all notices of it have one id.
        Raises TransientAwsError where EventBridge refuses it.
        """
        entry = {
            "Time": at,
            "Source": SOURCE,
            "DetailType": run_event.detail_type,
            "EventBusName": self._bus_name,
            "Resources": [run.execution_arn],
            "Detail": json.dumps(
                {
                    # Of a run without one, the rules know by its execution whose it is.
                    **({"environment": run.environment} if run.environment else {}),
                    "notice_id": _notice_id(run_event, run),
                    "job": run.job,
                    "run_id": run.run_id,
                    "execution_arn": run.execution_arn,
                    "deadline": run.deadline.isoformat(),
                    **detail,
                }
            ),
        }
        self._put(entry)

    def send_again(self, event: Mapping[str, Any]) -> None:
        """Publish a notice once more, from its event, marked so that its receiver knows. Raises as `send` does."""
        self._put(
            {
                "Source": SOURCE,
                "DetailType": event["detail-type"],
                "EventBusName": self._bus_name,
                "Resources": list(event.get("resources", ())),
                "Detail": json.dumps({**event["detail"], AGAIN: True}, ensure_ascii=False),
            }
        )

    def _put(self, entry: dict[str, Any]) -> None:
        answer = self._client.put_events(Entries=[entry])
        if answer.get("FailedEntryCount"):
            raise TransientAwsError(f"{entry['DetailType']}: {answer['Entries'][0].get('ErrorMessage')}")


def _notice_id(run_event: RunEvent, run: Run) -> str:
    if run_event in _ENDS:
        return f"{run.run_id}/end"
    return f"{run.run_id}/{run.steps}/{run_event.value}"


PREFIX = "reports"


class Reports:
    """The pages in one bucket, below `reports/`."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def write(self, run_id: str, page: str) -> str:
        """Keep the run's page (HTML), in place of an older one. Returns its S3 URI.

        Raises TransientAwsError where the call is worth repeating, ClientError for all else.
        """
        return self._put(f"{PREFIX}/{run_id}.html", page, "text/html; charset=utf-8")

    def write_cassette(self, run_id: str, attempt: int, cassette: str) -> str:
        """Keep the recorded life (JSON) of an attempt's training job, as `write` does."""
        return self._put(f"{PREFIX}/cassettes/{run_id}-{attempt}.json", cassette, "application/json")

    def _put(self, key: str, text: str, content_type: str) -> str:
        with asking_aws():
            self._client.put_object(
                Bucket=self._bucket, Key=key, Body=text.encode(), ContentType=content_type
            )
        return f"s3://{self._bucket}/{key}"


# The function's own limit: whoever claimed a message longer ago is dead.
CLAIM_LIFE = timedelta(seconds=60)
# EventBridge and Lambda repeat for a day at the most.
KEPT = timedelta(days=7)


class NoticeTopics:
    """The topic for e-mail and, where there is one, the topic for chat. Clients are boto3's."""

    def __init__(
        self, sns: Any, dynamodb: Any, table_name: str, *, mail_arn: str, chat_arn: str | None = None
    ) -> None:
        self._sns = sns
        self._call = Table(dynamodb, table_name).call
        self._mail_arn = mail_arn
        self._chat_arn = chat_arn

    def mail(
        self, message_key: str, subject: str, text: str, attributes: Mapping[str, str], now: datetime
    ) -> bool:
        """Publish the message unless it is out already. Whether it was published now.

        `attributes` are what a subscription can filter by. Raises NotYetError where another delivery is
        sending it just now or AWS does not answer, ClientError where SNS refuses it; both calls may be repeated.
        """
        arguments = {"Subject": subject, "Message": text, "MessageAttributes": _attributes(attributes)}
        return self._once(f"NOTICE#{message_key}", "MAIL", self._mail_arn, arguments, now)

    def chat(
        self,
        message_key: str,
        notification: Mapping[str, Any],
        attributes: Mapping[str, str],
        now: datetime,
    ) -> bool:
        """Publish the notification to the chat topic, if there is one. Otherwise as `mail`."""
        if self._chat_arn is None:
            return False
        body = json.dumps(notification, ensure_ascii=False)
        arguments = {"Message": body, "MessageAttributes": _attributes(attributes)}
        return self._once(f"NOTICE#{message_key}", "CHAT", self._chat_arn, arguments, now)

    def _once(
        self, pk: str, channel: str, topic_arn: str, arguments: Mapping[str, Any], now: datetime
    ) -> bool:
        if not self._claim(pk, channel, now):
            return False
        published = False
        try:
            self._sns.publish(TopicArn=topic_arn, **arguments)
            published = True
        finally:
            if not published:
                self._set(pk, channel, "claimed_until = :value", now)
        self._set(pk, channel, "sent_at = :value", now)
        return True

    def _claim(self, pk: str, channel: str, now: datetime) -> bool:
        """Take it on to send the message. False where it is out; raises NotYetError while another sends it."""
        try:
            self._call(
                "update_item",
                Key=key(pk, channel),
                UpdateExpression="SET claimed_until = :until, expires = :expires",
                ConditionExpression=(
                    "attribute_not_exists(sent_at) AND (attribute_not_exists(pk) OR claimed_until <= :now)"
                ),
                ExpressionAttributeValues={
                    ":now": {"S": _text(now)},
                    ":until": {"S": _text(now + CLAIM_LIFE)},
                    ":expires": {"N": str(int((now + KEPT).timestamp()))},
                },
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if not is_condition_failure(error):
                raise
            if "sent_at" in error.response.get("Item", {}):
                return False
            raise NotYetError(f"{pk} {channel}") from error
        return True

    def _set(self, pk: str, channel: str, what: str, now: datetime) -> None:
        self._call(
            "update_item",
            Key=key(pk, channel),
            UpdateExpression=f"SET {what}",
            ExpressionAttributeValues={":value": {"S": _text(now)}},
        )


def _text(moment: datetime) -> str:
    """Of one length, so that DynamoDB compares texts as it would times."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _attributes(attributes: Mapping[str, str]) -> dict[str, Any]:
    # SNS refuses an empty one.
    return {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items() if value}
