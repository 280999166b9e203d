"""boto3's paginators over the fakes' own pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# What a page calls the next one's beginning, and what the request calls it.
_TOKENS = (
    ("NextToken", "NextToken"),
    ("nextToken", "nextToken"),
    ("NextContinuationToken", "ContinuationToken"),
    ("LastEvaluatedKey", "ExclusiveStartKey"),
)


@dataclass(frozen=True)
class Paginator:
    """`client.get_paginator(operation)`."""

    client: Any
    operation: str

    def paginate(self, *, PaginationConfig: Any = None, **given: Any) -> Iterator[dict[str, Any]]:  # noqa: N803
        call = getattr(self.client, self.operation)
        while True:
            page = call(**given)
            yield page
            following = next(((asked, page[said]) for said, asked in _TOKENS if page.get(said)), None)
            if following is None:
                return
            given[following[0]] = following[1]


class Paged:
    """A client with paginators."""

    def get_paginator(self, operation: str) -> Paginator:
        return Paginator(self, operation)


def page_of(found: list[Any], start: str | None, most: int) -> tuple[list[Any], str | None]:
    """One page of `found` from the token `start` on, and the next one's token."""
    first = int(start or 0)
    last = first + most
    return found[first:last], str(last) if last < len(found) else None
