"""Which code the next run of a job trains with: what was deployed, or what was pushed since; and its archive in S3.

A push is one item, JOB#name / CODE. It names the deployed code that it takes the place of, so a deployment that
brings other code ends it. An archive lies under its digest and is never overwritten with another, so whatever is
pushed or deployed meanwhile, a run's attempts all fetch the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from nightspot.aws.faults import asking_aws
from nightspot.aws.table.dynamodb import Table, accepted, from_dynamodb, key, to_dynamodb
from nightspot.job.code_version import CarriedCode, CodeVersion

_log = logging.getLogger(__name__)


class CodeMissingError(Exception):
    """A job's code is not where it should be; the text says what to do."""


@dataclass(frozen=True)
class PushedCode:
    """Code that was pushed for a job's next runs."""

    version: CodeVersion
    over: str  # the `identity` of the deployed code that it takes the place of
    at: AwareDatetime


class PushedCodes:
    """What was pushed, by job. `client` is boto3's DynamoDB client.

    Raises TransientAwsError where a call is worth repeating, ClientError for all else.
    """

    def __init__(self, client: Any, table_name: str) -> None:
        self._call = Table(client, table_name).call

    def get(self, job: str) -> PushedCode | None:
        """The last push; None without one, and for an item that cannot be read, which is logged."""
        item = self._call("get_item", Key=_key_of(job), ConsistentRead=True).get("Item")
        if item is None:
            return None
        try:
            return TypeAdapter(PushedCode).validate_python(from_dynamodb(item))
        except ValidationError as error:
            _log.error("the pushed code of %s cannot be read: %d errors", job, error.error_count())
            return None

    def put(self, job: str, pushed: PushedCode) -> None:
        """From now on the job's runs train with it; of two pushes at once the later one counts."""
        values: dict[str, Any] = TypeAdapter(PushedCode).dump_python(pushed, mode="json")
        at = pushed.at.astimezone(UTC).isoformat()
        self._call("put_item", Item={**_key_of(job), **to_dynamodb({**values, "at": at})})

    def end(self, job: str, pushed: PushedCode) -> None:
        """Forget this push, unless there is a newer one."""
        accepted(
            self._call,
            "delete_item",
            Key=_key_of(job),
            ConditionExpression="#at = :at",
            ExpressionAttributeNames={"#at": "at"},
            ExpressionAttributeValues={":at": {"S": pushed.at.astimezone(UTC).isoformat()}},
        )


class CodeArchives:
    """The archives in a bucket. `client` is boto3's S3 client. Raises like PushedCodes."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def uri(self, job: str, version: CodeVersion) -> str:
        """Where its archive is, or would be."""
        return f"s3://{self._bucket}/{version.key(job)}"

    def has(self, job: str, version: CodeVersion) -> bool:
        """Whether the archive is there."""
        wanted = version.key(job)
        with asking_aws():
            # Not HeadObject: who may list this prefix alone is told "forbidden" of what is not there.
            answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=wanted, MaxKeys=1)
        return any(each["Key"] == wanted for each in answer.get("Contents") or ())

    def store(self, job: str, version: CodeVersion, body: bytes) -> bool:
        """Put the archive there unless it is; whether it was put. Two at once put the same."""
        if self.has(job, version):
            return False
        with asking_aws():
            self._client.put_object(
                Bucket=self._bucket, Key=version.key(job), Body=body, ContentType="application/gzip"
            )
        return True


@dataclass(frozen=True)
class JobCode:
    """What a plan asks. `carried`: what came with the deployment."""

    carried: CarriedCode
    pushed: PushedCodes
    archives: CodeArchives

    def of_next_run(self, job: str) -> tuple[CodeVersion, str]:
        """The code and the S3 URI of its archive, which is there.

        Raises CodeMissingError, TransientAwsError, and ClientError.
        """
        deployed = self.carried.versions.get(job)
        if deployed is None:
            raise CodeMissingError(f"code: the deployment has none of {job}: deploy it again")
        pushed = self.pushed.get(job)
        if pushed is not None and pushed.over == deployed.identity:
            if not self.archives.has(job, pushed.version):
                where = self.archives.uri(job, pushed.version)
                raise CodeMissingError(
                    f"code: what {pushed.version.pushed_by} pushed is not at {where}: push it again, or deploy"
                )
            return pushed.version, self.archives.uri(job, pushed.version)
        if pushed is not None:
            _log.info("the code that was pushed for %s has been deployed over", job)
            self.pushed.end(job, pushed)
        self.archives.store(job, deployed, self.carried.body(deployed.digest))
        return deployed, self.archives.uri(job, deployed)


def current_of(deployed: CodeVersion | None, pushed: PushedCode | None) -> CodeVersion | None:
    """The same choice for who only looks, without the archives; None: the job has no code."""
    if deployed is not None and pushed is not None and pushed.over == deployed.identity:
        return pushed.version
    return deployed


def push(
    job: str, version: CodeVersion, body: bytes, deployed: CodeVersion, *, to: JobCode, now: datetime
) -> bool:
    """Store the archive, then make it the code of the job's next runs; whether it had to be stored.

    Pushing what is deployed ends a push. Raises TransientAwsError and ClientError.
    """
    stored = to.archives.store(job, version, body)
    to.pushed.put(job, PushedCode(version, deployed.identity, now))
    return stored


def _key_of(job: str) -> Mapping[str, Any]:
    return key(f"JOB#{job}", "CODE")
