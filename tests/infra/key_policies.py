"""Whether a KMS key's own policy lets somebody use it.

Of its own: @cloud-copilot/iam-simulate, which judges all other policies here, does not know encryption contexts
whose name has a colon, such as that of CloudWatch Logs.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import Any

_OPERATORS = {"StringEquals": str.__eq__, "ArnLike": fnmatch.fnmatchcase}


def key_allows(document: Mapping[str, Any], principal: str, action: str, **context: str) -> bool:
    """Whether `principal`, a service ("events.amazonaws.com") or a role's ARN, may.

    Of a context key `__` stands for its colon.
    The account's "root" stands for each of its roles that IAM lets use the key. Raises KeyError for an operator of
    conditions that is not known here, ValueError for a denial.
    """
    keys = {name.replace("__", ":"): value for name, value in context.items()}
    return any(
        _is_for(statement["Principal"], principal)
        and any(fnmatch.fnmatchcase(action, pattern) for pattern in _listed(statement["Action"]))
        and _holds(statement.get("Condition", {}), keys)
        for statement in _allowing(document)
    )


def _allowing(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if {statement["Effect"] for statement in document["Statement"]} != {"Allow"}:
        raise ValueError("a denial is not known here")
    return list(document["Statement"])


def _is_for(wanted: Mapping[str, Any], principal: str) -> bool:
    if not principal.startswith("arn:"):
        return principal in _listed(wanted.get("Service", []))
    root = ":".join([*principal.split(":")[:5], "root"])
    return bool({principal, root} & {*_listed(wanted.get("AWS", []))})


def _holds(conditions: Mapping[str, Mapping[str, Any]], keys: Mapping[str, str]) -> bool:
    """All operators, all keys; of a key's values one is enough. A key that the call does not have fails."""
    return all(
        name in keys and any(_OPERATORS[operator](keys[name], value) for value in _listed(values))
        for operator, wanted in conditions.items()
        for name, values in wanted.items()
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
