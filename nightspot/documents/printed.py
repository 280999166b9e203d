"""Printed Python objects: what `print(response)` writes of boto3's answers and of the SageMaker SDK's objects."""

from __future__ import annotations

import ast
import re
import warnings
from datetime import UTC, datetime
from typing import Any

# Under which key an object's class stands beside its fields.
CLASS = "(class)"
_MOST_CHARACTERS = 1_000_000
_LARGEST_NUMBER = 10**30
# What no expression can say: `<sagemaker.session.Session object at 0x7f…>`, `<InputMode.File: 'File'>`.
_OBJECT = re.compile(
    r"<(?:bound method |function )?[\w.]{1,200}(?: object)?(?: of [^<>\n]{1,200})? at 0x[0-9a-fA-F]{1,16}>"
)
_MEMBER = re.compile(r"<[\w.]{1,200}: ('[^'\n]{0,500}'|-?\d{1,20})>")
_LOOKS_PRINTED = re.compile(
    r"\bdatetime\.datetime\(|\btz(?:local|utc)\(\)|<[\w.]+ object at 0x|\bOrderedDict\(|\bUnassigned\(\)"
    r"|'\s*:\s*(?:None|True|False)\b|[{,]\s*'[\w.-]+'\s*:\s*[\[{'\"\d]"
)
_STARTS = re.compile(r"[\[({]|\w{1,80}\(\w+=")
_OBJECT_STARTS = re.compile(r"\s*[A-Z]\w{0,79}\(\w+=")
_PLACES = frozenset({"tzlocal", "tzutc", "timezone", "tzfile", "tzoffset", "ZoneInfo", "FixedOffset"})


class UnreadablePrintError(ValueError):
    """The text is a printed Python object that cannot be read back."""


def looks_printed(text: str) -> bool:
    """Whether a text that is no JSON has the marks of a printed Python object."""
    head = text.lstrip()[:20_000]
    return _STARTS.match(head) is not None and _LOOKS_PRINTED.search(head) is not None


def may_be_printed(text: str) -> bool:
    """Whether it is worth a try: `TrainingJob(training_job_name="a")` has no other mark."""
    return _OBJECT_STARTS.match(text) is not None


def read_printed(text: str) -> Any:
    """The plain data of a printed Python object: dicts, lists, texts, numbers, True, False, None.

    Times become ISO text in UTC where their zone is known, an object's fields a mapping with its class under CLASS,
    and what has no fields in print None. Nothing is run: only the notation is read. Raises UnreadablePrintError.
    """
    if len(text) > _MOST_CHARACTERS:
        raise UnreadablePrintError(f"it has more than {_MOST_CHARACTERS} characters")
    plain = _MEMBER.sub(r"\1", _OBJECT.sub("None", text.strip()))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(plain, mode="exec")
            if len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr | ast.Assign):
                raise UnreadablePrintError("it is no single object")
            return _value(tree.body[0].value)
    except UnreadablePrintError:
        raise
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError, OverflowError) as error:
        raise UnreadablePrintError("it is cut off, or has what Python does not read back") from error


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=int() as number) if abs(number) > _LARGEST_NUMBER:
            raise UnreadablePrintError("it has a number that no document of AWS's has")
        case ast.Constant(value=str() | int() | float() | None):
            return node.value
        case ast.Dict():
            return {_key(key): _value(value) for key, value in zip(node.keys, node.values, strict=True)}
        case ast.List() | ast.Tuple() | ast.Set():
            return [_value(item) for item in node.elts]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Call():
            return _call(node)
        case ast.Attribute(attr="utc"):
            return None
        case _:
            raise UnreadablePrintError(f"it has {type(node).__name__}, which is no plain data")


def _key(node: ast.expr | None) -> str:
    key = None if node is None else _value(node)
    if not isinstance(key, str):
        raise UnreadablePrintError("a key must be text")
    return key


def _call(node: ast.Call) -> Any:
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    arguments = [_value(argument) for argument in node.args]
    named = {keyword.arg or "": _value(keyword.value) for keyword in node.keywords}
    if name in {"datetime", "date"}:
        return _moment(node, arguments, named)
    if name in _PLACES or name == "Unassigned":
        return None
    if name == "Decimal" and len(arguments) == 1:
        number = float(arguments[0])
        return int(number) if number.is_integer() else number
    if name in {"OrderedDict", "defaultdict", "dict", "Box", "AttrDict"}:
        last = arguments[-1] if arguments else {}
        return {**(dict(last) if isinstance(last, list) else last or {}), **named}
    if len(arguments) == 1 and not named:
        return arguments[0]  # PosixPath('/opt/ml'), SecretStr('…')
    if arguments or not name:
        raise UnreadablePrintError(f"it has {name or 'a call'}(…), which is no plain data")
    return {**named, CLASS: name}


def _moment(node: ast.Call, arguments: list[Any], named: dict[str, Any]) -> str:
    given = {key: value for key, value in named.items() if key != "tzinfo"}
    numbers = [number for number in arguments if number is not None]  # its zone may stand among them
    moment = datetime(*numbers, **given)  # noqa: DTZ001 - the zone is read below
    in_utc = "utc" in ast.dump(node).lower()
    return (moment.replace(tzinfo=UTC) if in_utc else moment).isoformat()
