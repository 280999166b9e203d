"""Calls on one DynamoDB table: which faults are worth repeating, and how items become plain values and back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from decimal import Context, Decimal
from itertools import zip_longest
from typing import Any

from botocore.exceptions import ClientError

from nightspot.aws.faults import asking_aws, code_of

# fact: dynamodb.item.bytes
MOST_BYTES = 400_000  # of 400 KB, which are 409,600
_NUMBER_BYTES = 21
_CONTAINER_BYTES = 3
_LEAST_BYTES = 16  # of a value: less says nothing


def of_map(values: Mapping[str, Any]) -> int:
    """At most so many bytes count for the values and their names."""
    return sum(1 + len(name.encode()) + _size(value) for name, value in values.items())


def map_within(values: Mapping[str, Any], budget: int) -> dict[str, Any]:
    """The values in at most `budget` bytes: the small ones whole, and of the large ones an equal share of each.

    A text loses its end and a list its middle. Where the names alone do not fit, the largest values go.
    """
    kept: dict[str, Any] = {}
    by_size = sorted(values, key=lambda name: of_map({name: values[name]}))
    for position, name in enumerate(by_size):
        share = budget // (len(by_size) - position)
        room = share - 1 - len(name.encode())
        if room >= min(_LEAST_BYTES, _size(values[name])):
            kept[name] = _within(values[name], room)
            budget -= of_map({name: kept[name]})
    return {name: kept[name] for name in values if name in kept}


def _size(value: Mapping[str, Any]) -> int:
    ((kind, held),) = value.items()
    if kind == "S":
        return len(held.encode())
    if kind == "N":
        return _NUMBER_BYTES
    if kind == "L":
        return _CONTAINER_BYTES + sum(1 + _size(inner) for inner in held)
    return _CONTAINER_BYTES + of_map(held) if kind == "M" else 1


def _within(value: dict[str, Any], budget: int) -> dict[str, Any]:
    if _size(value) <= budget:
        return value
    ((kind, held),) = value.items()
    if budget < _LEAST_BYTES or kind == "N":
        return {"NULL": True}
    if kind == "S":
        return {"S": held.encode()[:budget].decode(errors="ignore")}
    if kind == "L":
        return {"L": _ends_within(held, budget - _CONTAINER_BYTES)}
    return {"M": map_within(held, budget - _CONTAINER_BYTES)}


def _ends_within(values: list[dict[str, Any]], budget: int) -> list[dict[str, Any]]:
    """The newest elements and the oldest ones, in turn, while they fit; the newest alone may be cut."""
    if not values:
        return []
    ends = [*reversed(range(len(values) // 2, len(values)))], [*range(len(values) // 2)]
    turns = [index for pair in zip_longest(*ends) for index in pair if index is not None]
    kept = {turns[0]: _within(values[turns[0]], budget - 1)}
    left = budget - 1 - _size(kept[turns[0]])
    for index in turns[1:]:
        left -= 1 + _size(values[index])
        if left < 0:
            break
        kept[index] = values[index]
    return [kept[index] for index in sorted(kept)]


# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
# fact: dynamodb.item.bytes
MOST_DEPTH = 31  # of nested values: 32 levels, the item's own the first
MOST_NAME_CHARACTERS = 1024  # of 64 KB
# fact: dynamodb.item.bytes
_NUMBERS = Context(prec=38, Emax=999_999, Emin=-999_999, traps=[])
# fact: dynamodb.item.bytes
_LARGEST = Decimal("9." + "9" * 37 + "E+125")
# fact: dynamodb.item.bytes
_SMALLEST = Decimal("1E-130")

Call = Callable[..., dict[str, Any]]  # `Table.call`
_log = logging.getLogger(__name__)


class Table:
    """One table, by name. `client` is boto3's DynamoDB client."""

    def __init__(self, client: Any, table_name: str) -> None:
        self._client = client
        self._table_name = table_name

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """The answer of `operation`, such as "put_item", on this table.

        Raises TransientAwsError where the call is worth repeating, ClientError for all else.
        """
        with asking_aws():
            answer: dict[str, Any] = getattr(self._client, operation)(TableName=self._table_name, **arguments)
        return answer


def key(pk: str, sk: str) -> dict[str, Any]:
    """The key of an item, as a call takes it."""
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def found(call: Call, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
    """The items that a query or scan finds, page by page."""
    while True:
        page = call(operation, **arguments)
        yield from page["Items"]
        if "LastEvaluatedKey" not in page:
            return
        arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def partition(call: Call, pk: str) -> Iterator[dict[str, Any]]:
    """The items of a partition, by their sort keys."""
    condition = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": {"S": pk}}}
    for item in found(call, "query", ConsistentRead=True, **condition):
        yield from_dynamodb(item)


def accepted(call: Call, operation: str, **arguments: Any) -> bool:
    """Whether a write was made; False where its condition was not met."""
    try:
        call(operation, **arguments)
    except ClientError as error:
        if not is_condition_failure(error):
            raise
        return False
    return True


def is_condition_failure(error: ClientError) -> bool:
    """Whether DynamoDB refused a write because of its condition."""
    return code_of(error) == "ConditionalCheckFailedException"


def to_dynamodb(item: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-ready values as DynamoDB writes them, whatever they are: no record may stop a decision.

    Numbers are rounded to its 38 digits and its range; NaN, and what is nested too deep, is null. An item that is
    too large is cut, which is logged: see `item_size`.
    """
    written: dict[str, Any] = _written(item, 0)["M"]
    size = of_map(written)
    if size <= MOST_BYTES:
        return written
    keys: dict[str, Any] = {name: written.pop(name) for name in ("pk", "sk") if name in written}
    _log.error("an item of %d bytes is cut to what DynamoDB holds: %s", size, keys)
    return {**keys, **map_within(written, MOST_BYTES - of_map(keys))}


def from_dynamodb(item: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON-ready values of an item: whole numbers of 64 bits are int, others float."""
    return {name: _read(value) for name, value in item.items()}


def _written(value: Any, depth: int) -> dict[str, Any]:
    if isinstance(value, str):
        return {"S": _text(value)}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, (int, float)):
        return _number(value)
    if value is None or depth > MOST_DEPTH:
        return {"NULL": True}
    if isinstance(value, Mapping):
        return {"M": {_name(name): _written(inner, depth + 1) for name, inner in value.items()}}
    return {"L": [_written(inner, depth + 1) for inner in value]}


def _text(text: str) -> str:
    # Half a surrogate pair is no character, and no UTF-8.
    return text.encode("utf-8", "replace").decode()


def _name(name: object) -> str:
    return _text(str(name))[:MOST_NAME_CHARACTERS] or "-"  # an empty one is refused


def _number(value: float) -> dict[str, Any]:
    if value != value:  # noqa: PLR0124 - NaN
        return {"NULL": True}
    exact = Decimal(repr(float(value))) if isinstance(value, float) else Decimal(value)
    rounded = min(max(_NUMBERS.plus(exact), _LARGEST.copy_negate()), _LARGEST)
    return {"N": "0" if rounded.copy_abs() < _SMALLEST else str(rounded)}


def _read(value: Mapping[str, Any]) -> Any:
    ((kind, held),) = value.items()
    if kind == "N":
        number = Decimal(held)
        is_int = abs(number) < 2**63 and number == number.to_integral_value()
        return int(number) if is_int else float(number)
    if kind == "M":
        return from_dynamodb(held)
    if kind == "L":
        return [_read(inner) for inner in held]
    return None if kind == "NULL" else held
