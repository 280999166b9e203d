"""Which deployment a program speaks to: its stack, its API, or the records of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import NoCredentialsError

from nightspot.aws.runs.api_client import ApiClient, checked_url, is_loopback, region_of, transport
from nightspot.aws.table.run_table import RunTable
from nightspot.client.sources import Source

STACK = "Nightspot"  # what `make deploy` calls it


class NotPossibleHereError(Exception):
    """What was asked for needs another way to the deployment; the text names it."""


def session_of(profile: str | None, region: str | None) -> Any:
    """boto3's session for what a program was told; its region is None where none is configured. BotoCoreError."""
    import boto3  # noqa: PLC0415 - it takes a second, which what asks no AWS does without

    # boto3 itself knows AWS_DEFAULT_REGION only; everything else of AWS's sets and reads AWS_REGION.
    return boto3.Session(profile_name=profile, region_name=region or os.environ.get("AWS_REGION") or None)


def api_client(
    url: str,
    region: str | None,
    profile: str | None,
    session: Callable[[str | None, str | None], Any] = session_of,
) -> ApiClient:
    """Signed; for an address of this machine only where keys are in the environment or a profile is named.

    Raises ApiUrlError, NoCredentialsError, and what `session` raises.
    """
    url = checked_url(url)
    if is_loopback(url) and profile is None and "AWS_ACCESS_KEY_ID" not in os.environ:
        return ApiClient(url)
    # An address of API Gateway's own says its region, so that none has to be configured.
    own = session(profile, region or region_of(url))
    credentials = own.get_credentials()
    if credentials is None:
        raise NoCredentialsError
    send = transport(url, ca_bundle=os.environ.get("AWS_CA_BUNDLE"))
    return ApiClient(url, credentials=credentials, region=own.region_name, send=send)


@dataclass(frozen=True)
class Access:
    """A way to runs. Of `api`, `client_of` and neither of the two (records of this machine) one holds.

    `client_of` gives boto3's client of a service; `table_name` and `stack` are the deployment's.
    """

    source: Source
    words: str  # "the table nightspot-runs", "the API at https://...", "build/runs"
    api: ApiClient | None = None
    client_of: Callable[[str], Any] | None = None
    table_name: str = ""
    stack: str = ""

    @property
    def is_emulated(self) -> bool:
        """Whether it is the API of `nightspot local serve`, by its address."""
        return self.api is not None and is_loopback(self.api.url)

    def aws(self, service: str) -> Any:
        """boto3's client. Raises NotPossibleHereError where AWS itself is not asked."""
        if self.client_of is None:
            raise NotPossibleHereError(f"{self.words}: needs Client(stack=...), which asks AWS itself")
        return self.client_of(service)

    def table(self) -> RunTable:
        """The deployment's. Raises NotPossibleHereError."""
        return RunTable(self.aws("dynamodb"), self.table_name)
