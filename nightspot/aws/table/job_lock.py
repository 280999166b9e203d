"""Which run of a job may train: at most one holds the job's lock, and a crashed one loses it by itself.

One item, JOB#name / LOCK. Every change is one conditional write, so DynamoDB decides who was first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from nightspot.aws.table.dynamodb import Table, from_dynamodb, is_condition_failure, key, to_dynamodb

# Reserved words of DynamoDB's expressions.
_NAMES = {"#owner": "owner", "#until": "until"}


@dataclass(frozen=True)
class Holder:
    """The run that a job's lock belongs to."""

    run_id: str
    execution_arn: str
    until: datetime  # aware UTC, a whole second; from this moment on the lock is free
    wanted_by: str | None = None  # the run that asked last
    # The run that had it before and did not give it back: dead, or silent for too long. Its training job may go on.
    taken_from: str | None = None


@dataclass(frozen=True)
class _Answer:
    """What became of a conditional write."""

    accepted: bool
    present: Holder | None  # whose lock the condition met; None: the write was accepted, or there is no lock

    def is_of(self, run_id: str) -> bool:
        return self.accepted or (self.present is not None and self.present.run_id == run_id)


class JobLock:
    """The locks of all jobs in one table. `client` is boto3's DynamoDB client.

    Times are aware. `until` is rounded up to the second, in which DynamoDB's TTL counts. Every call may be
    repeated, and raises TransientAwsError where that is worth while, ClientError for all else, and ValueError
    for a time without a zone or an `until` that is over already.
    """

    def __init__(self, client: Any, table_name: str) -> None:
        self._call = Table(client, table_name).call

    def acquire(
        self, job: str, run_id: str, execution_arn: str, *, now: datetime, until: datetime
    ) -> Holder | None:
        """None: the lock is this run's. Else the run that holds it.

        A free or expired lock is taken until `until`; one that is this run's already stays as it is.
        """
        answer = self._take(
            _item(job, run_id, execution_arn, now, until),
            "attribute_not_exists(pk) OR expires <= :now",
            {":now": {"N": f"{now.timestamp():.6f}"}},
        )
        return None if answer.is_of(run_id) else answer.present

    def take_over(
        self, job: str, run_id: str, execution_arn: str, *, from_run_id: str, now: datetime, until: datetime
    ) -> bool:
        """Take the lock from `from_run_id`, known to be dead. False where it is not that run's any more."""
        answer = self._take(
            _item(job, run_id, execution_arn, now, until), "#owner = :from", {":from": {"S": from_run_id}}
        )
        # boto3 repeats a write whose answer was lost; the repetition is refused to the new owner itself.
        return answer.is_of(run_id)

    def holder(self, job: str) -> Holder | None:
        """The run that the lock belongs to, though it may have expired; None where it is free."""
        return _holder_or_none(self._call("get_item", Key=_key_of(job), ConsistentRead=True).get("Item"))

    def ask_for(self, job: str, *, owner_run_id: str, by_run_id: str) -> bool:
        """Tell the owner at its next `renew` that `by_run_id` wants the lock; the newest to ask is told.

        False where the lock is not `owner_run_id`'s any more.
        """
        return self._write(
            "update_item",
            Key=_key_of(job),
            UpdateExpression="SET wanted_by = :by",
            ConditionExpression="#owner = :owner",
            ExpressionAttributeNames={"#owner": _NAMES["#owner"]},
            ExpressionAttributeValues={":owner": {"S": owner_run_id}, ":by": {"S": by_run_id}},
        ).accepted

    def renew(
        self, job: str, run_id: str, execution_arn: str, *, now: datetime, until: datetime
    ) -> Holder | None:
        """The owner's heartbeat: keep the lock until `until`, or for longer where it is kept longer already.

        The lock is `execution_arn`'s from then on: another execution may have gone on with the run.

        The lock as it is then, with who wants it; None where it is another run's. One that expired, or is gone
        altogether, is this run's again as long as nobody has taken it.
        """
        item = _item(job, run_id, execution_arn, now, until)
        answer = self._write(
            "update_item",
            Key=_key_of(job),
            UpdateExpression="SET #until = :until, expires = :expires, execution_arn = :arn",
            ConditionExpression="#owner = :me AND expires < :expires",
            ExpressionAttributeNames=_NAMES,
            ExpressionAttributeValues={
                ":me": {"S": run_id},
                ":until": item["until"],
                ":expires": item["expires"],
                ":arn": item["execution_arn"],
            },
            ReturnValues="ALL_NEW",
        )
        if answer.present is None:
            answer = self._write("put_item", Item=item, ConditionExpression="attribute_not_exists(pk)")
            if answer.accepted:
                return _holder(item)
        return answer.present if answer.is_of(run_id) else None

    def release(self, job: str, run_id: str) -> bool:
        """Free the lock. False where it is not this run's (any more)."""
        return self._write(
            "delete_item",
            Key=_key_of(job),
            ConditionExpression="#owner = :me",
            ExpressionAttributeNames={"#owner": _NAMES["#owner"]},
            ExpressionAttributeValues={":me": {"S": run_id}},
        ).accepted

    def _take(self, item: Mapping[str, Any], condition: str, values: Mapping[str, Any]) -> _Answer:
        """Make the lock that of `item`, under a condition. It keeps on whom it was taken from, if from anybody."""
        fields = {name: value for name, value in item.items() if name not in {"pk", "sk"}}
        names = {f"#{name}": name for name in fields}
        changes = ", ".join(f"#{name} = :{name}" for name in fields)
        return self._write(
            "update_item",
            Key={name: item[name] for name in ("pk", "sk")},
            # First of all, before another owner is written.
            UpdateExpression=f"SET taken_from = if_not_exists(#owner, :owner), {changes} REMOVE wanted_by",
            ConditionExpression=condition,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues={**{f":{name}": value for name, value in fields.items()}, **values},
        )

    def _write(self, operation: str, **arguments: Any) -> _Answer:
        """`present` is the item after an update that asks for it, or the one that a refusal met."""
        try:
            # With the refusal comes the item that caused it: a read afterwards might meet another.
            answer = self._call(operation, ReturnValuesOnConditionCheckFailure="ALL_OLD", **arguments)
        except ClientError as error:
            if not is_condition_failure(error):
                raise
            return _Answer(accepted=False, present=_holder_or_none(error.response.get("Item")))
        return _Answer(accepted=True, present=_holder_or_none(answer.get("Attributes")))


def _item(job: str, run_id: str, execution_arn: str, now: datetime, until: datetime) -> dict[str, Any]:
    for name, moment in (("now", now), ("until", until)):
        if moment.utcoffset() is None:
            raise ValueError(f"{name}: {moment.isoformat()} must have a time zone")
    if until <= now:
        raise ValueError(f"until: {until.isoformat()} must be after now, {now.isoformat()}")
    end = _whole_second(until)
    return {
        **_key_of(job),
        **to_dynamodb(
            {
                "owner": run_id,
                "execution_arn": execution_arn,
                "taken_at": now.astimezone(UTC).isoformat(),
                "until": end.isoformat(),
                # What the conditions compare, and by which DynamoDB forgets the lock of a job that is gone.
                "expires": int(end.timestamp()),
            }
        ),
    }


def _whole_second(moment: datetime) -> datetime:
    """Not before `moment`, in UTC."""
    floor = moment.astimezone(UTC).replace(microsecond=0)
    return floor if floor == moment else floor + timedelta(seconds=1)


def _key_of(job: str) -> dict[str, Any]:
    return key(f"JOB#{job}", "LOCK")


def _holder_or_none(item: Mapping[str, Any] | None) -> Holder | None:
    return None if item is None else _holder(item)


def _holder(item: Mapping[str, Any]) -> Holder:
    values = from_dynamodb(item)
    owner, before = values["owner"], values.get("taken_from")
    return Holder(
        run_id=owner,
        execution_arn=values["execution_arn"],
        until=datetime.fromisoformat(values["until"]),
        wanted_by=values.get("wanted_by"),
        taken_from=None if before == owner else before,
    )
