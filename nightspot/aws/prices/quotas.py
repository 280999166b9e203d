"""Reads from Service Quotas how many instances of a type the account may train on at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

_PAGE_SIZE = 100  # the most that Service Quotas gives; SageMaker has thousands of quotas


class QuotasUnknownError(Exception):
    """Service Quotas did not say; the text tells why."""


class Quotas:
    """SageMaker's quotas in one account and region. `client` is boto3's Service Quotas client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def limits(self, names: Iterable[str]) -> Mapping[str, float]:
        """Instances by quota name (`planning.quota_name`); one that AWS does not list or cannot tell is absent.

        The account's own value where one was ever applied, else AWS's default. Raises QuotasUnknownError.
        """
        wanted = frozenset(names)
        try:
            applied = self._listed("list_service_quotas", wanted)
            defaults = self._listed("list_aws_default_service_quotas", wanted - applied.keys())
        except (ClientError, BotoCoreError) as error:
            raise QuotasUnknownError(f"Service Quotas did not list SageMaker's quotas: {error}") from error
        return {name: value for name, value in (applied | defaults).items() if value is not None}

    def _listed(self, operation: str, wanted: frozenset[str]) -> dict[str, float | None]:
        """What `operation` lists of the wanted; None where it cannot tell the value. No page more than needed."""
        found: dict[str, float | None] = {}
        if not wanted:
            return found
        pages = self._client.get_paginator(operation).paginate(
            ServiceCode="sagemaker", PaginationConfig={"PageSize": _PAGE_SIZE}
        )
        for page in pages:
            for quota in page["Quotas"]:
                if quota["QuotaName"] in wanted:
                    # With an ErrorReason there is no value, and AWS's default would be a guess.
                    found[quota["QuotaName"]] = quota.get("Value")
            if len(found) == len(wanted):
                break
        return found
