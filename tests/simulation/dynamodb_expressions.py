"""DynamoDB's expression language: conditions, filters, key conditions, updates and projections.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
Values are DynamoDB's own, such as {"S": "text"}.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any

Item = dict[str, Any]
_TOKEN = re.compile(r"\s*(<>|<=|>=|[=<>(),+\-.\[\]]|[#:]?[A-Za-z0-9_]+)")
_KEYWORDS = {"AND", "OR", "NOT", "BETWEEN", "IN", "SET", "REMOVE", "ADD", "DELETE"}
_MISSING = object()


class ExpressionError(ValueError):
    """What DynamoDB answers with a ValidationException."""


@dataclass
class Names:
    """The placeholders of a request, and which of them were used."""

    names: Mapping[str, str]
    values: Mapping[str, Any]
    used: set[str] = field(default_factory=set)

    def name(self, token: str) -> str:
        if not token.startswith("#"):
            return token
        if token not in self.names:
            raise ExpressionError(
                f"An expression attribute name used in the document path is not defined: {token}"
            )
        self.used.add(token)
        return self.names[token]

    def value(self, token: str) -> Any:
        if token not in self.values:
            raise ExpressionError(f"An expression attribute value used in expression is not defined: {token}")
        self.used.add(token)
        return self.values[token]

    def check_all_used(self) -> None:
        unused = (self.names.keys() | self.values.keys()) - self.used
        if unused:
            raise ExpressionError(f"Value provided in the expression's placeholders unused: {sorted(unused)}")


Test = Callable[[Item, Names], bool]
Operand = Callable[[Item, Names], Any]


def _comparing(left: Operand, sign: str, right: Operand) -> Test:
    return lambda item, names: _compare(left(item, names), sign, right(item, names))


def _each(tests: Sequence[Test], item: Item, names: Names) -> list[bool]:
    """All of them, so that all placeholders count as used."""
    return [test(item, names) for test in tests]


def _tokens(text: str) -> tuple[str, ...]:
    tokens, position = [], 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ExpressionError(f'Syntax error; token: "{text[position : position + 10]}"')
        tokens.append(match[1])
        position = match.end()
    return tuple(tokens)


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    @property
    def token(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    @property
    def keyword(self) -> str:
        return self.token.upper() if self.token.upper() in _KEYWORDS else ""

    def take(self, expected: str | None = None) -> str:
        token = self.token
        if not token or (expected is not None and token.upper() != expected):
            raise ExpressionError(f'Syntax error; token: "{token or "<EOF>"}", expected: {expected}')
        self._at += 1
        return token

    def at_call(self) -> bool:
        following = self._tokens[self._at + 1] if self._at + 1 < len(self._tokens) else ""
        return following == "(" and self.token[:1].isalpha()

    # --- conditions ---------------------------------------------------------------------------------------

    def condition(self) -> Test:
        test = self._or()
        if self.token:
            raise ExpressionError(f'Syntax error; token: "{self.token}"')
        return test

    def _or(self) -> Test:
        parts = [self._and()]
        while self.keyword == "OR":
            self.take()
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else lambda item, names: any(_each(parts, item, names))

    def _and(self) -> Test:
        parts = [self._not()]
        while self.keyword == "AND":
            self.take()
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else lambda item, names: all(_each(parts, item, names))

    def _not(self) -> Test:
        if self.keyword == "NOT":
            self.take()
            inner = self._not()
            return lambda item, names: not inner(item, names)
        if self.token == "(":
            self.take()
            inner = self._or()
            self.take(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Test:
        if self.at_call() and self.token.lower() in _TESTS:
            return self._test()
        left = self.operand()
        if self.keyword == "BETWEEN":
            self.take()
            low = self.operand()
            self.take("AND")
            high = self.operand()
            tests = [_comparing(left, ">=", low), _comparing(left, "<=", high)]
            return lambda item, names: all(_each(tests, item, names))
        if self.keyword == "IN":
            self.take()
            self.take("(")
            tests = [_comparing(left, "=", self.operand())]
            while self.token == ",":
                self.take()
                tests.append(_comparing(left, "=", self.operand()))
            self.take(")")
            return lambda item, names: any(_each(tests, item, names))
        sign = self.take()
        if sign not in {"=", "<>", "<", "<=", ">", ">="}:
            raise ExpressionError(f'Syntax error; token: "{sign}"')
        return _comparing(left, sign, self.operand())

    def _test(self) -> Test:
        name = self.take().lower()
        self.take("(")
        arguments = [self.operand()]
        while self.token == ",":
            self.take()
            arguments.append(self.operand())
        self.take(")")
        test = _TESTS[name]
        return lambda item, names: test(*(argument(item, names) for argument in arguments))

    # --- operands -----------------------------------------------------------------------------------------

    def operand(self) -> Operand:
        if self.at_call() and self.token.lower() in {"size", "if_not_exists", "list_append"}:
            return self._function()
        if self.token.startswith(":"):
            token = self.take()
            return lambda _item, names: names.value(token)
        path = self.path()
        return lambda item, names: _get(item, _resolved(path, names))

    def _function(self) -> Operand:
        name = self.take().lower()
        self.take("(")
        arguments = [self._sum()]
        while self.token == ",":
            self.take()
            arguments.append(self._sum())
        self.take(")")
        function = {"size": _size, "if_not_exists": _if_not_exists, "list_append": _list_append}[name]
        return lambda item, names: function(*[argument(item, names) for argument in arguments])

    def _sum(self) -> Operand:
        left = self.operand()
        while self.token in {"+", "-"}:
            sign, before, right = self.take(), left, self.operand()

            def total(
                item: Item, names: Names, before: Operand = before, right: Operand = right, sign: str = sign
            ) -> Any:
                return _add(before(item, names), right(item, names), sign)

            left = total
        return left

    def path(self) -> tuple[str | int, ...]:
        """`a.#b[3]`, placeholders not yet resolved."""
        parts: list[str | int] = [self._attribute()]
        while self.token in {".", "["}:
            if self.take() == ".":
                parts.append(self._attribute())
            else:
                parts.append(int(self.take()))
                self.take("]")
        return tuple(parts)

    def _attribute(self) -> str:
        token = self.take()
        if not re.fullmatch(r"#?\w+", token) or (token[0].isdigit()):
            raise ExpressionError(f'Syntax error; token: "{token}"')
        return token

    # --- updates ------------------------------------------------------------------------------------------

    def update(self) -> list[tuple[str, tuple[str | int, ...], Operand | None]]:
        """(clause, path, value) of each action."""
        actions: list[tuple[str, tuple[str | int, ...], Operand | None]] = []
        while self.token:
            clause = self.keyword
            if clause not in {"SET", "REMOVE", "ADD", "DELETE"}:
                raise ExpressionError(f'Syntax error; token: "{self.token}"')
            self.take()
            while True:
                actions.append(self._action(clause))
                if self.token != ",":
                    break
                self.take()
        return actions

    def _action(self, clause: str) -> tuple[str, tuple[str | int, ...], Operand | None]:
        path = self.path()
        if clause == "REMOVE":
            return clause, path, None
        if clause == "SET":
            self.take("=")
        return clause, path, self._sum()


@cache
def _condition(text: str) -> Test:
    return _Parser(text).condition()


@cache
def _update(text: str) -> Any:
    return _Parser(text).update()


@cache
def _projection(text: str) -> tuple[tuple[str | int, ...], ...]:
    return tuple(_Parser(part).path() for part in text.split(","))


def holds(text: str, item: Item | None, names: Names) -> bool:
    """Whether a condition holds for an item, {} or None for one that is not there."""
    return _condition(text)(item or {}, names)


def updated(text: str, item: Item, names: Names) -> tuple[Item, set[str]]:
    """The item after an update expression, and the names of the attributes that it touches."""
    touched: set[str] = set()
    # All values are of the item as it was.
    planned = [
        (clause, _resolved(path, names), value and value(item, names))
        for clause, path, value in _update(text)
    ]
    # What lies below a path is changed in place.
    after = copy.deepcopy(item) if any(len(path) > 1 for _, path, _ in planned) else dict(item)
    for clause, path, value in planned:
        touched.add(str(path[0]))
        if clause == "REMOVE":
            _remove(after, path)
        elif value is _MISSING:
            raise ExpressionError(
                "The provided expression refers to an attribute that does not exist in the item"
            )
        elif clause == "SET":
            _put(after, path, value)
        else:
            _add_or_delete(after, path, value, clause)
    return after, touched


def projected(text: str, item: Item, names: Names) -> Item:
    """The attributes of an item that a projection wants; top-level ones only."""
    wanted = [str(_resolved(path, names)[0]) for path in _projection(text.replace(" ", ""))]
    return {name: item[name] for name in wanted if name in item}


def _resolved(path: tuple[str | int, ...], names: Names) -> tuple[str | int, ...]:
    return tuple(part if isinstance(part, int) else names.name(part) for part in path)


def _get(item: Item, path: tuple[str | int, ...]) -> Any:
    value: Any = {"M": item}
    for part in path:
        members = value.get("L") if isinstance(part, int) else value.get("M")
        if members is None:
            return _MISSING
        if isinstance(part, int):
            if part >= len(members):
                return _MISSING
            value = members[part]
        elif part not in members:
            return _MISSING
        else:
            value = members[part]
    return value


def _parent(item: Item, path: tuple[str | int, ...]) -> Any:
    parent = _get(item, path[:-1]) if len(path) > 1 else {"M": item}
    kind = "L" if isinstance(path[-1], int) else "M"
    if parent is _MISSING or kind not in parent:
        raise ExpressionError("The document path provided in the update expression is invalid for update")
    return parent[kind]


def _put(item: Item, path: tuple[str | int, ...], value: Any) -> None:
    parent, last = _parent(item, path), path[-1]
    if isinstance(last, int) and last >= len(parent):
        parent.append(copy.deepcopy(value))
    else:
        parent[last] = copy.deepcopy(value)


def _remove(item: Item, path: tuple[str | int, ...]) -> None:
    parent = _parent(item, path)
    if _get(item, path) is not _MISSING:
        del parent[path[-1]]


def _add_or_delete(item: Item, path: tuple[str | int, ...], value: Any, clause: str) -> None:
    before = _get(item, path)
    kind = next(iter(value))
    if clause == "ADD" and kind == "N":
        _put(item, path, value if before is _MISSING else _add(before, value, "+"))
        return
    if kind not in {"SS", "NS", "BS"}:
        raise ExpressionError(f"Incorrect operand type for operator or function; operator: {clause}")
    members = [] if before is _MISSING else list(before[kind])
    if clause == "ADD":
        members += [member for member in value[kind] if member not in members]
    else:
        members = [member for member in members if member not in value[kind]]
    if members:
        _put(item, path, {kind: members})
    else:
        _remove(item, path)


def _plain(value: Any) -> tuple[str, Any]:
    kind, content = next(iter(value.items()))
    return kind, Decimal(content) if kind == "N" else content


def _compare(left: Any, sign: str, right: Any) -> bool:
    if left is _MISSING or right is _MISSING:
        return sign == "<>"
    (kind, one), (other_kind, other) = _plain(left), _plain(right)
    if sign in {"=", "<>"}:
        return (left == right if kind != "N" else kind == other_kind and one == other) is (sign == "=")
    if kind != other_kind or kind not in {"S", "N", "B"}:
        return False
    if kind == "S":
        one, other = one.encode(), other.encode()
    return bool({"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[sign])


def _size(value: Any) -> Any:
    if value is _MISSING:
        return _MISSING
    kind, content = _plain(value)
    return {"N": str(len(content.encode() if kind == "S" else content))}


def _if_not_exists(value: Any, otherwise: Any) -> Any:
    return otherwise if value is _MISSING else value


def _list_append(one: Any, other: Any) -> Any:
    if one is _MISSING or other is _MISSING:
        return _MISSING
    if "L" not in one or "L" not in other:
        raise ExpressionError("An operand in the update expression has an incorrect data type")
    return {"L": [*one["L"], *other["L"]]}


def _add(one: Any, other: Any, sign: str) -> Any:
    if one is _MISSING or other is _MISSING:
        return _MISSING
    if "N" not in one or "N" not in other:
        raise ExpressionError("An operand in the update expression has an incorrect data type")
    left, right = Decimal(one["N"]), Decimal(other["N"])
    return {"N": str(left + right if sign == "+" else left - right)}


def _begins_with(value: Any, start: Any) -> bool:
    return value is not _MISSING and value.get("S", "").startswith(start["S"]) and "S" in value


def _contains(value: Any, wanted: Any) -> bool:
    if value is _MISSING:
        return False
    kind, content = _plain(value)
    other_kind, other = _plain(wanted)
    if kind == "S":
        return other_kind == "S" and other in content
    if kind == "L":
        return wanted in content
    return kind == f"{other_kind}S" and wanted[other_kind] in content


_TESTS: dict[str, Callable[..., bool]] = {
    "attribute_exists": lambda value: value is not _MISSING,
    "attribute_not_exists": lambda value: value is _MISSING,
    "attribute_type": lambda value, kind: value is not _MISSING and kind["S"] in value,
    "begins_with": _begins_with,
    "contains": _contains,
}
