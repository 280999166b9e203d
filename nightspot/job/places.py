"""Places in S3 that a request names: which of its fields are one, and what an address must be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from nightspot.job.errors import PathPart

# The fields of a CreateTrainingJob request whose value is such an address, wherever they stand; a test holds them
# against botocore's model.
PLACE_FIELDS = frozenset({"S3Uri", "S3OutputPath"})
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = re.compile(r"(?!\d{1,3}(?:\.\d{1,3}){3}$)[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]")
_ACCESS_POINT = re.compile(r"arn:aws[\w-]*:s3[\w-]*:[\w-]+:\d{12}:accesspoint/[\w.-]+")
# What a person, a shell or a template should have filled in: `<bucket>`, `$BUCKET`, `{{ bucket }}`, `%BUCKET%`.
_LEFT_OPEN = re.compile(r"<[^<>]*>|\$\w+|\$\{[^}]*\}|\$\([^)]*\)|\{\{.*?\}\}|\{\w*\}|%[A-Z_]{2,}%|`")
_NOT_FILLED_IN = (
    "has {} in it, which nobody fills in: write the name itself, or ${{ModelBucket}} and the like"
)


def is_bucket(name: str) -> bool:
    """Whether S3 has buckets of such a name."""
    return _BUCKET.fullmatch(name) is not None


def bucket_of(uri: str) -> str | None:
    """The bucket of `s3://bucket/…`; None where there can be none."""
    found = re.match(r"s3://([^/]+)", uri)
    return found[1] if found and is_bucket(found[1]) else None


def broken_place(uri: object, *, needs_prefix: bool = False) -> str | None:
    """The rule that an address breaks; None for a sound one, and for what is no text, of which the shape tells.

    `needs_prefix`: there must be something behind the bucket, as for checkpoints.
    """
    if not isinstance(uri, str):
        return None
    left_open = _LEFT_OPEN.search(uri)
    if left_open is not None:
        return _NOT_FILLED_IN.format(left_open[0][:40])
    if not uri.startswith("s3://"):
        return "must begin with s3://: Nightspot reads bucket and prefix from s3://bucket/prefix alone"
    rest = uri.removeprefix("s3://")
    if _ACCESS_POINT.match(rest) and not needs_prefix:
        return None
    bucket, _, prefix = rest.partition("/")
    if not is_bucket(bucket):
        return (
            f"must be s3://bucket/prefix: {bucket[:80]!r} is no name of a bucket, which has 3 to 63 lower-case "
            "letters, digits, hyphens and single dots, a letter or digit at both ends"
        )
    if needs_prefix and (not prefix or prefix.startswith("/")):
        return "must be s3://bucket/prefix; each run gets its own prefix below it"
    return None


def places_in(request: Any, path: tuple[PathPart, ...] = ()) -> Iterator[tuple[tuple[PathPart, ...], Any]]:
    """Every address in a request, with its path."""
    if isinstance(request, dict):
        for key, value in request.items():
            if key in PLACE_FIELDS:
                yield (*path, key), value
            else:
                yield from places_in(value, (*path, key))
    elif isinstance(request, list):
        for n, value in enumerate(request):
            yield from places_in(value, (*path, n))
