"""Calls on one DynamoDB table: which faults are worth repeating, and how items become plain values and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError

from nightspot.aws.faults import NO_ANSWER, TransientAwsError, raise_if_transient


class Table:
    """One table, by name. `client` is boto3's DynamoDB client."""

    def __init__(self, client: Any, table_name: str) -> None:
        self._client = client
        self._table_name = table_name

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """The answer of `operation`, such as "put_item", on this table.

        Raises TransientAwsError where the call is worth repeating, ClientError for all else.
        """
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(TableName=self._table_name, **arguments)
        except NO_ANSWER as error:
            raise TransientAwsError(str(error)) from error
        except ClientError as error:
            raise_if_transient(error)
            raise
        return answer


def key(pk: str, sk: str) -> dict[str, Any]:
    """The key of an item, as a call takes it."""
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def is_condition_failure(error: ClientError) -> bool:
    """Whether DynamoDB refused a write because of its condition."""
    return bool(error.response.get("Error", {}).get("Code") == "ConditionalCheckFailedException")


def to_dynamodb(item: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-ready values as DynamoDB writes them."""
    # DynamoDB takes no binary floats.
    exact = json.loads(json.dumps(item), parse_float=Decimal)
    serialise = _dynamodb_types().TypeSerializer().serialize
    return {name: serialise(value) for name, value in exact.items()}


def from_dynamodb(item: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON-ready values of an item: whole numbers are int, others float."""
    deserialise = _dynamodb_types().TypeDeserializer().deserialize
    return {name: _plain(deserialise(value)) for name, value in item.items()}


def _dynamodb_types() -> Any:
    # Here, not above: it brings all of boto3, half of a cold start.
    from boto3.dynamodb import types  # noqa: PLC0415

    return types


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
