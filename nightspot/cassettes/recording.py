"""Records a training job's life from a SageMaker client: boto3's own, or one of a simulated SageMaker."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from nightspot.cassettes.model import Cassette, Entry, Origin, Source, versions
from nightspot.cassettes.redacting import Redactor
from nightspot.formats.statuses import ENDED

__all__ = ["Recorder", "versions"]


class Recorder:
    """Records one job. Not thread safe; nothing is redacted later than it is recorded.

    `client` is boto3's SageMaker client or works as it does; `now` gives aware moments of the clock by which the
    client answers. `s3` is boto3's S3 client: with it and `prefix_uri` (an s3:// URI), `list_versions` records what
    was stored there. `names`: words that must not be seen, such as the bucket's. `keys`: see `Redactor`.
    """

    def __init__(
        self,
        client: Any,
        job_name: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        s3: Any = None,
        prefix_uri: str | None = None,
        names: tuple[str, ...] = (),
        keys: re.Pattern[str] | None = None,
    ) -> None:
        self._client = client
        self._job_name = job_name
        self._now = now
        self._s3 = s3
        bucket, prefix = _bucket_and_prefix(prefix_uri)
        self._bucket, self._prefix = bucket, prefix
        self._redactor = Redactor(job_name, now(), names=(*names, bucket), keys=keys)
        self._entries: list[Entry] = []
        self._versions_seen: set[tuple[str, str]] = set()
        self._last: dict[str, Any] | None = None

    # --- calls ----------------------------------------------------------------------------------------------

    def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateTrainingJob; its moment becomes the cassette's 0. A refusal is recorded and raised."""
        self._redactor.start = self._now()
        return self._call("CreateTrainingJob", lambda: self._client.create_training_job(**request), request)

    def stop(self) -> dict[str, Any]:
        """StopTrainingJob. A refusal is recorded and raised."""
        return self._call(
            "StopTrainingJob", lambda: self._client.stop_training_job(TrainingJobName=self._job_name)
        )

    def describe(self) -> dict[str, Any]:
        """DescribeTrainingJob, recorded where it differs from the last one. Raises what the client raises."""
        answer: dict[str, Any] = self._client.describe_training_job(TrainingJobName=self._job_name)
        kept = self._redactor.answer(answer)
        if kept != self._last:
            self._last = kept
            self._add(Source.DESCRIBE, kept)
        return answer

    def _call(
        self, operation: str, call: Callable[[], Any], request: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        said: dict[str, Any] = {"operation": operation}
        if request is not None:
            said["request"] = self._redactor.answer(request)
        try:
            answer: dict[str, Any] = call()
        except ClientError as error:
            self._add(Source.CALL, {**said, "error": self._error(error)})
            raise
        self._add(Source.CALL, {**said, "answer": self._redactor.answer(answer)})
        return answer

    def _error(self, error: ClientError) -> dict[str, Any]:
        response: Mapping[str, Any] = error.response
        said = response.get("Error", {})
        return {
            "code": str(said.get("Code", "")),
            "message": self._redactor.text(str(said.get("Message", ""))),
            "status": response.get("ResponseMetadata", {}).get("HTTPStatusCode"),
        }

    # --- what others say ------------------------------------------------------------------------------------

    def event(self, event: Mapping[str, Any], at: datetime | None = None) -> None:
        """An EventBridge event that arrived now, or at `at`."""
        self._add(Source.EVENT, self._redactor.event(event), at)

    def log(self, line: str, at: datetime | None = None) -> None:
        """A line of the job's log."""
        self._add(Source.LOG, {"line": self._redactor.text(line)}, at)

    def note(self, name: str, at: datetime | None = None, **numbers: float | bool | None) -> None:
        """A fact by a name of one's own, such as "sigterm", with numbers: see `nightspot.cassettes.harvest`."""
        self._add(Source.LOG, {"note": name, **numbers}, at)

    def file(self, key: str, size: int | None, at: datetime | None = None) -> None:
        """The script has written a file of the checkpoint directory, of `size` bytes; None: it has removed it.

        `key`: below the directory, as in S3 below the prefix. A simulator lives it again.
        """
        said = {"note": "removed"} if size is None else {"note": "wrote", "bytes": size}
        self._add(Source.LOG, {**said, "key": self._redactor.key(key)}, at)

    def list_versions(self) -> int:
        """Record the versions and delete markers below the prefix that were not there before; how many.

        In a bucket without versions S3 lists the objects that are there. 0 without `s3` and `prefix_uri`.
        """
        if self._s3 is None or not self._bucket:
            return 0
        found = 0
        pages = self._s3.get_paginator("list_object_versions").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        )
        for page in pages:
            for kind, name in (("put", "Versions"), ("delete", "DeleteMarkers")):
                for entry in page.get(name, ()):
                    found += self._version(kind, entry)
        return found

    def _version(self, kind: str, entry: Mapping[str, Any]) -> bool:
        seen = (entry["Key"], f"{entry.get('VersionId')} {entry['LastModified']}")
        if seen in self._versions_seen:
            return False
        self._versions_seen.add(seen)
        payload: dict[str, Any] = {
            "kind": kind,
            "key": self._redactor.key(entry["Key"].removeprefix(self._prefix).lstrip("/")),
        }
        if kind == "put":
            payload["size"] = int(entry["Size"])
        self._add(Source.S3, payload, entry["LastModified"])
        return True

    def watch(
        self,
        *,
        sleep: Callable[[float], None],
        every_seconds: float = 1.0,
        longest_seconds: float = 3600.0,
        events: Callable[[], Iterable[Mapping[str, Any]]] = lambda: (),
        until: Callable[[Mapping[str, Any]], bool] = lambda answer: answer["TrainingJobStatus"] in ENDED,
    ) -> dict[str, Any]:
        """Look every so many seconds until the job is over; its last description.

        `events` gives those that arrived since it was called last (a queue's messages). `until` may end the watch
        earlier. Raises TimeoutError after `longest_seconds` that were slept.
        """
        slept = 0.0
        while True:
            answer = self.describe()
            for event in events():
                self.event(event)
            if until(answer):
                return answer
            if slept >= longest_seconds:
                raise TimeoutError(f"{self._job_name} is {answer['SecondaryStatus']} after {slept:g} s")
            sleep(every_seconds)
            slept += every_seconds

    # --- the cassette ---------------------------------------------------------------------------------------

    def _add(self, source: Source, payload: dict[str, Any], at: datetime | None = None) -> None:
        self._entries.append(
            Entry(t=self._redactor.seconds(at or self._now()), source=source, payload=payload)
        )

    def cassette(
        self, what: str, *, origin: Origin, evidence: str, more_versions: Mapping[str, str] | None = None
    ) -> Cassette:
        """What was recorded so far. `more_versions`: what else was used, such as an image's digest."""
        return Cassette(
            what=what,
            origin=origin,
            evidence=evidence,
            recorded_on=self._redactor.start.astimezone(UTC).date().isoformat(),
            versions={**versions(), **(more_versions or {})},
            entries=tuple(sorted(self._entries, key=lambda entry: entry.t)),
        )


def _bucket_and_prefix(uri: str | None) -> tuple[str, str]:
    if uri is None:
        return "", ""
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc:
        raise ValueError(f"prefix_uri: {uri!r} must look like s3://bucket/prefix")
    prefix = parts.path.strip("/")
    return parts.netloc, f"{prefix}/" if prefix else ""
