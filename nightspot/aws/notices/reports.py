"""Keeps the pages of runs in S3, where whoever gets a notice can open them."""

from __future__ import annotations

from typing import Any, Protocol

from botocore.exceptions import ClientError

from nightspot.aws.faults import NO_ANSWER, TransientAwsError, raise_if_transient

PREFIX = "reports"


class S3Client(Protocol):
    """The part of boto3's S3 client that is used here."""

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        ContentType: str,  # noqa: N803
    ) -> dict[str, Any]: ...


class Reports:
    """The pages in one bucket, below `reports/`."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def write(self, run_id: str, page: str) -> str:
        """Keep the run's page (HTML), in place of an older one. Returns its S3 URI.

        Raises TransientAwsError where the call is worth repeating, ClientError for all else.
        """
        key = f"{PREFIX}/{run_id}.html"
        try:
            self._client.put_object(
                Bucket=self._bucket, Key=key, Body=page.encode(), ContentType="text/html; charset=utf-8"
            )
        except NO_ANSWER as error:
            raise TransientAwsError(str(error)) from error
        except ClientError as error:
            raise_if_transient(error)
            raise
        return f"s3://{self._bucket}/{key}"
