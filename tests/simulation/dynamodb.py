"""DynamoDB's client as far as it is used here: one table with pk and sk, conditions, limits and weak reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from random import Random
from typing import Any

from tests.simulation.calls import Call, Calls, client_error
from tests.simulation.clock import Clock
from tests.simulation.dynamodb_expressions import ExpressionError, Item, Names, holds, projected, updated

MOST_ITEM_BYTES = 400 * 1024
MOST_PAGE_BYTES = 1024 * 1024
MOST_NESTED = 32
MOST_DIGITS = 38
WEAK_SECONDS = 1.0  # how old a read may be that does not ask for consistency
Key = tuple[str, str]


@dataclass(frozen=True)
class Change:
    """One write: the item before and after it, None where there is none."""

    at: float
    key: Key
    before: Item | None
    after: Item | None
    caller: str


class _NeverStale(Random):
    """No read is older than it has to be."""

    def random(self) -> float:
        return 1.0


def without_faults() -> DynamoDb:
    """A table in a world of its own, in which no call fails and every read is up to date."""
    clock, even = Clock(), _NeverStale(0)
    return DynamoDb(clock, Calls(clock, even, lambda _call: None, lambda _call, _what: None), even)


@dataclass
class DynamoDb:
    """The table of the deployment, and its client. Every public method but `item` and `items` is boto3's."""

    clock: Clock
    calls: Calls
    random: Random
    on_change: Callable[[Change], None] = lambda _change: None
    _items: dict[str, dict[str, Item]] = field(default_factory=dict)
    _recent: dict[Key, tuple[float, Item | None]] = field(default_factory=dict)

    # --- for those who judge ------------------------------------------------------------------------------

    def item(self, pk: str, sk: str) -> Item | None:
        """The item as it is."""
        return self._items.get(pk, {}).get(sk)

    def items(self) -> list[Item]:
        """All items, by their keys."""
        return [self._items[pk][sk] for pk in sorted(self._items) for sk in sorted(self._items[pk])]

    def put(self, item: Item) -> None:
        """Write an item past all checks."""
        self._store(item["pk"]["S"], item["sk"]["S"], item, "the story")

    # --- boto3's ------------------------------------------------------------------------------------------

    def put_item(self, **given: Any) -> dict[str, Any]:
        return self._make("put_item", given, self._put_item)

    def get_item(self, **given: Any) -> dict[str, Any]:
        return self._make("get_item", given, self._get_item)

    def update_item(self, **given: Any) -> dict[str, Any]:
        return self._make("update_item", given, self._update_item)

    def delete_item(self, **given: Any) -> dict[str, Any]:
        return self._make("delete_item", given, self._delete_item)

    def query(self, **given: Any) -> dict[str, Any]:
        return self._make("query", given, self._query)

    def scan(self, **given: Any) -> dict[str, Any]:
        return self._make("scan", given, self._scan)

    def transact_write_items(self, **given: Any) -> dict[str, Any]:
        return self._make("transact_write_items", given, self._transact)

    def _make(self, operation: str, given: Mapping[str, Any], effect: Callable[..., dict[str, Any]]) -> Any:
        def checked(call: Call) -> dict[str, Any]:
            try:
                return effect(call, **given)
            except ExpressionError as error:
                raise client_error("ValidationException", str(error), operation) from error

        return self.calls.make("dynamodb", operation, given, checked)

    def _put_item(self, call: Call, *, Item: Item, **given: Any) -> dict[str, Any]:  # noqa: N803
        key = _key_of(Item)
        before = self.item(*key)
        self._check_condition(given, before, "PutItem")
        _check_item(Item)
        self._store(*key, Item, call.caller)
        return {"Attributes": _copied(before)} if before and given.get("ReturnValues") == "ALL_OLD" else {}

    def _get_item(self, call: Call, *, Key: Item, **given: Any) -> dict[str, Any]:  # noqa: N803
        key = _key_of(Key)
        item = self.item(*key)
        if not given.get("ConsistentRead"):
            item = self._as_it_may_have_been(key, item)
        if item is not None and "ProjectionExpression" in given:
            names = _names(given)
            item = projected(given["ProjectionExpression"], item, names)
        return {} if item is None else {"Item": _copied(item)}

    def _as_it_may_have_been(self, key: Key, item: Item | None) -> Item | None:
        at, before = self._recent.get(key, (-WEAK_SECONDS, None))
        is_new = self.clock.now - at < WEAK_SECONDS
        return before if is_new and self.random.random() < 0.3 else item

    def _update_item(self, call: Call, *, Key: Item, **given: Any) -> dict[str, Any]:  # noqa: N803
        key = _key_of(Key)
        before = self.item(*key)
        names = self._check_condition(given, before, "UpdateItem", finish=False)
        after, touched = updated(given.get("UpdateExpression", ""), before or dict(Key), names)
        names.check_all_used()
        if touched & {"pk", "sk"}:
            raise ExpressionError(
                "One or more parameter values were invalid: Cannot update attribute, part of the key"
            )
        _check_item(after)
        self._store(*key, after, call.caller)
        wanted = given.get("ReturnValues", "NONE")
        if wanted == "ALL_NEW":
            return {"Attributes": _copied(after)}
        if wanted == "ALL_OLD":
            return {"Attributes": _copied(before or {})}
        if wanted in {"UPDATED_NEW", "UPDATED_OLD"}:
            of = after if wanted == "UPDATED_NEW" else before or {}
            return {"Attributes": {name: _copied(of[name]) for name in touched if name in of}}
        return {}

    def _delete_item(self, call: Call, *, Key: Item, **given: Any) -> dict[str, Any]:  # noqa: N803
        key = _key_of(Key)
        before = self.item(*key)
        self._check_condition(given, before, "DeleteItem")
        if before is not None:
            self._store(*key, None, call.caller)
        return {"Attributes": _copied(before)} if before and given.get("ReturnValues") == "ALL_OLD" else {}

    def _query(self, call: Call, **given: Any) -> dict[str, Any]:
        names = _names(given)
        if "IndexName" in given:
            raise ExpressionError("The table does not have the specified index")
        condition = given["KeyConditionExpression"]
        partitions = [value["S"] for value in names.values.values() if value.get("S") in self._items]
        found: list[Item] = []
        for pk in dict.fromkeys(partitions):
            found += [item for item in self._items[pk].values() if holds(condition, item, names)]
        holds(condition, {}, names)  # so that the placeholders count as used
        found.sort(key=lambda item: item["sk"]["S"].encode())
        if not given.get("ScanIndexForward", True):
            found.reverse()
        return self._page(found, given, names)

    def _scan(self, call: Call, **given: Any) -> dict[str, Any]:
        return self._page(self.items(), given, _names(given))

    def _page(self, found: list[Item], given: Mapping[str, Any], names: Names) -> dict[str, Any]:
        start = given.get("ExclusiveStartKey")
        if start is not None:
            keys = [_key_of(item) for item in found]
            wanted = _key_of(start)
            forward = given.get("ScanIndexForward", True)
            # The item itself may be gone by now.
            found = [
                item
                for item, key in zip(found, keys, strict=True)
                if (key > wanted if forward else key < wanted)
            ]
        limit, size, page = given.get("Limit"), 0, []
        last: Item | None = None
        for item in found:
            size += item_size(item)
            page.append(item)
            if (limit is not None and len(page) >= limit) or size >= MOST_PAGE_BYTES:
                last = item
                break
        condition = given.get("FilterExpression")
        kept = [item for item in page if condition is None or holds(condition, item, names)]
        if condition is not None:
            holds(condition, {}, names)
        if "ProjectionExpression" in given:
            kept = [projected(given["ProjectionExpression"], item, names) for item in kept]
            projected(given["ProjectionExpression"], {}, names)
        names.check_all_used()
        answer: dict[str, Any] = {"Items": _copied(kept), "Count": len(kept), "ScannedCount": len(page)}
        if given.get("Select") == "COUNT":
            del answer["Items"]
        if last is not None and (last is not found[-1] or limit is not None):
            answer["LastEvaluatedKey"] = {"pk": last["pk"], "sk": last["sk"]}
        return answer

    def _transact(self, call: Call, *, TransactItems: list[dict[str, Any]], **given: Any) -> dict[str, Any]:  # noqa: N803
        reasons = []
        for action in TransactItems:
            ((kind, asked),) = action.items()
            before = self.item(*_key_of(asked["Item"] if kind == "Put" else asked["Key"]))
            names = _names(asked)
            condition = asked.get("ConditionExpression")
            failed = condition is not None and not holds(condition, before, names)
            reasons.append({"Code": "ConditionalCheckFailed" if failed else "None"})
        if any(reason["Code"] != "None" for reason in reasons):
            codes = ", ".join(reason["Code"] for reason in reasons)
            raise client_error(
                "TransactionCanceledException",
                f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]",
                "TransactWriteItems",
                CancellationReasons=reasons,
            )
        for action in TransactItems:
            ((kind, asked),) = action.items()
            if kind != "ConditionCheck":
                {"Put": self._put_item, "Update": self._update_item, "Delete": self._delete_item}[kind](
                    call, **asked
                )
        return {}

    def _check_condition(
        self, given: Mapping[str, Any], before: Item | None, operation: str, *, finish: bool = True
    ) -> Names:
        names = _names(given)
        condition = given.get("ConditionExpression")
        if condition is not None and not holds(condition, before, names):
            more = {}
            if given.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" and before is not None:
                more["Item"] = _copied(before)
            raise client_error(
                "ConditionalCheckFailedException", "The conditional request failed", operation, **more
            )
        if finish:
            names.check_all_used()
        return names

    def _store(self, pk: str, sk: str, item: Item | None, caller: str) -> None:
        before = self.item(pk, sk)
        self._recent[pk, sk] = (self.clock.now, before)
        if item is None:
            del self._items[pk][sk]
        else:
            self._items.setdefault(pk, {})[sk] = item
        self.on_change(Change(self.clock.now, (pk, sk), before, item, caller))


def _copied(value: Any) -> Any:
    """A copy, so that nobody changes what is stored. What is written is new with each call, and stored as it is."""
    if isinstance(value, dict):
        return {name: _copied(inner) for name, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def _names(given: Mapping[str, Any]) -> Names:
    values = given.get("ExpressionAttributeValues", {})
    for value in values.values():
        check_value(value)
    return Names(given.get("ExpressionAttributeNames", {}), values)


def _key_of(item: Mapping[str, Any]) -> Key:
    for name in ("pk", "sk"):
        value = item.get(name, {}).get("S")
        if not isinstance(value, str) or not value:
            raise ExpressionError(
                f"One or more parameter values were invalid: the key {name} must be a text that is not empty"
            )
    return item["pk"]["S"], item["sk"]["S"]


def _check_item(item: Item) -> None:
    for value in item.values():
        check_value(value)
    size = item_size(item)
    if size > MOST_ITEM_BYTES:
        raise ExpressionError("Item size has exceeded the maximum allowed size")


def check_value(value: Any, depth: int = 1) -> None:
    """Raise ExpressionError for what DynamoDB stores not."""
    if depth > MOST_NESTED:
        raise ExpressionError("Nesting Levels have exceeded supported limits")
    if not isinstance(value, dict) or len(value) != 1:
        raise ExpressionError(f"Supplied AttributeValue has more than one datatype, or none: {value!r:.80}")
    ((kind, content),) = value.items()
    if kind == "N":
        _check_number(content)
    elif kind == "M":
        for inner in content.values():
            check_value(inner, depth + 1)
    elif kind == "L":
        for inner in content:
            check_value(inner, depth + 1)
    elif kind == "S" and not isinstance(content, str):
        raise ExpressionError(f"Invalid type for a text: {content!r:.80}")
    elif kind not in {"S", "B", "BOOL", "NULL", "SS", "NS", "BS"}:
        raise ExpressionError(f"Unknown type {kind}")


def _check_number(content: Any) -> None:
    try:
        number = Decimal(content) if isinstance(content, str) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite():
        raise ExpressionError(f"The parameter cannot be converted to a numeric value: {content!r}")
    if not number:
        return
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    if len(digits) > MOST_DIGITS:
        raise ExpressionError("Attempting to store more than 38 significant digits in a Number")
    if not Decimal("1e-130") <= number.copy_abs() <= Decimal("9." + "9" * 37 + "e125"):
        raise ExpressionError(
            "Number overflow. Attempting to store a number with magnitude out of the supported range"
        )


def item_size(item: Mapping[str, Any]) -> int:
    """Bytes, as DynamoDB counts them."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind == "S":
        return len(content.encode(errors="surrogatepass"))
    if kind == "N":
        return len(content) // 2 + 1
    if kind == "M":
        return 3 + item_size(content) + len(content)
    if kind == "L":
        return 3 + sum(_value_size(inner) + 1 for inner in content)
    return 1 if kind in {"BOOL", "NULL"} else sum(len(str(inner)) for inner in content)
