"""S3's client as far as it is used here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import IncompleteReadError

from tests.simulation.calls import Call, Calls, client_error
from tests.simulation.clock import Clock
from tests.simulation.paging import Paged, page_of

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True)
class Stored:
    """One object."""

    body: bytes
    at: float

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'


@dataclass(frozen=True)
class Version:
    """What became of a key at a moment; `size` None: it was deleted."""

    at: float
    bucket: str
    key: str
    size: int | None


class Body:
    """The answer's stream."""

    def __init__(self, content: bytes, *, is_torn: bool = False) -> None:
        self._content, self._is_torn = content, is_torn

    def read(self, amount: int | None = None) -> bytes:
        if self._is_torn:
            error = IncompleteReadError(
                actual_bytes=len(self._content) // 2, expected_bytes=len(self._content)
            )
            error.injected = True  # type: ignore[attr-defined]
            raise error
        size = len(self._content) if amount is None else amount
        taken, self._content = self._content[:size], self._content[size:]
        return taken

    def iter_chunks(self, chunk_size: int = 1024) -> Any:
        while chunk := self.read(chunk_size):
            yield chunk

    def close(self) -> None:
        self._content = b""

    def __enter__(self) -> Body:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class S3(Paged):
    """All buckets. The methods with keyword arguments are boto3's; `store` and `forget` are the machines' own."""

    clock: Clock
    calls: Calls
    tears_body: Callable[[], bool] = lambda: False
    objects: dict[tuple[str, str], Stored] = field(default_factory=dict)
    history: list[Version] = field(default_factory=list)

    def store(self, bucket: str, key: str, body: bytes) -> None:
        """Put an object past all faults."""
        self.objects[bucket, key] = Stored(body, self.clock.now)
        self.history.append(Version(self.clock.now, bucket, key, len(body)))

    def forget(self, bucket: str, key: str) -> None:
        """Delete an object past all faults, if it is there."""
        if self.objects.pop((bucket, key), None) is not None:
            self.history.append(Version(self.clock.now, bucket, key, None))

    def keys(self, bucket: str, prefix: str) -> list[str]:
        """The keys below a prefix, in order."""
        return sorted(key for at, key in self.objects if at == bucket and key.startswith(prefix))

    def get_object(self, **given: Any) -> dict[str, Any]:
        return self.calls.make("s3", "get_object", given, lambda _call: self._get(given))

    def head_object(self, **given: Any) -> dict[str, Any]:
        return self.calls.make("s3", "head_object", given, lambda _call: self._head(given))

    def put_object(self, **given: Any) -> dict[str, Any]:
        return self.calls.make("s3", "put_object", given, lambda _call: self._put(given))

    def delete_object(self, **given: Any) -> dict[str, Any]:
        def delete(_call: Call) -> dict[str, Any]:
            self.forget(given["Bucket"], given["Key"])
            return {}

        return self.calls.make("s3", "delete_object", given, delete)

    def list_objects_v2(self, **given: Any) -> dict[str, Any]:
        return self.calls.make("s3", "list_objects_v2", given, lambda _call: self._list(given))

    def list_object_versions(self, **given: Any) -> dict[str, Any]:
        """All on one page."""
        answer: dict[str, Any] = {"Versions": [], "DeleteMarkers": []}
        for number, each in enumerate(self.history):
            if each.bucket != given["Bucket"] or not each.key.startswith(given.get("Prefix", "")):
                continue
            said = {"Key": each.key, "VersionId": str(number), "LastModified": self.clock.moment(each.at)}
            if each.size is None:
                answer["DeleteMarkers"].append(said)
            else:
                answer["Versions"].append({**said, "Size": each.size})
        return answer

    def _get(self, given: Mapping[str, Any]) -> dict[str, Any]:
        found = self._find(given, "NoSuchKey", "The specified key does not exist.", "GetObject")
        if given.get("IfMatch") not in {None, found.etag}:
            raise client_error(
                "PreconditionFailed", "At least one of the pre-conditions did not hold", "GetObject", 412
            )
        body, more = found.body, {}
        if "Range" in given:
            match = _RANGE.fullmatch(given["Range"])
            if match is None or int(match[1]) >= max(1, len(body)):
                raise client_error("InvalidRange", "The requested range is not satisfiable", "GetObject", 416)
            first, last = int(match[1]), int(match[2]) if match[2] else len(body) - 1
            more["ContentRange"] = f"bytes {first}-{min(last, len(body) - 1)}/{len(body)}"
            body = body[first : last + 1]
        return {**self._facts(found, len(body)), **more, "Body": Body(body, is_torn=self.tears_body())}

    def _head(self, given: Mapping[str, Any]) -> dict[str, Any]:
        found = self._find(given, "404", "Not Found", "HeadObject")
        return self._facts(found, len(found.body))

    def _facts(self, found: Stored, length: int) -> dict[str, Any]:
        return {
            "ContentLength": length,
            "ETag": found.etag,
            "LastModified": self.clock.moment(found.at),
            "Metadata": {},
        }

    def _find(self, given: Mapping[str, Any], code: str, message: str, operation: str) -> Stored:
        found = self.objects.get((given["Bucket"], given["Key"]))
        if found is None:
            raise client_error(code, message, operation, 404)
        return found

    def _put(self, given: Mapping[str, Any]) -> dict[str, Any]:
        key = (given["Bucket"], given["Key"])
        before = self.objects.get(key)
        if given.get("IfNoneMatch") == "*" and before is not None:
            raise client_error(
                "PreconditionFailed", "At least one of the pre-conditions did not hold", "PutObject", 412
            )
        if "IfMatch" in given and (before is None or before.etag != given["IfMatch"]):
            raise client_error(
                "PreconditionFailed", "At least one of the pre-conditions did not hold", "PutObject", 412
            )
        body = given.get("Body", b"")
        stored = Stored(body.encode() if isinstance(body, str) else bytes(body), self.clock.now)
        self.objects[key] = stored
        self.history.append(Version(self.clock.now, *key, len(stored.body)))
        return {"ETag": stored.etag}

    def _list(self, given: Mapping[str, Any]) -> dict[str, Any]:
        keys = self.keys(given["Bucket"], given.get("Prefix", ""))
        if "StartAfter" in given:
            keys = [key for key in keys if key > given["StartAfter"]]
        keys, following = page_of(keys, given.get("ContinuationToken"), given.get("MaxKeys", 1000))
        found = {key: self.objects[given["Bucket"], key] for key in keys}
        answer: dict[str, Any] = {"KeyCount": len(keys), "IsTruncated": following is not None}
        if found:
            answer["Contents"] = [
                {
                    "Key": key,
                    "Size": len(each.body),
                    "ETag": each.etag,
                    "LastModified": self.clock.moment(each.at),
                }
                for key, each in found.items()
            ]
        if following is not None:
            answer["NextContinuationToken"] = following
        return answer
