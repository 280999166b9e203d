"""Small functions that a check makes in Lambda, and calls of AWS that such a function makes in its place."""

from __future__ import annotations

import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from nightspot.selftest.model import NotTriedError
from nightspot.selftest.workspace import Workspace

RUNTIME = "python3.13"  # the product's functions' runtime


def make_function(
    workspace: Workspace, part: str, code: str, *, limit_seconds: int, megabytes: int = 128
) -> str:
    """The name of a new function whose `handler` stands in `code`. Raises NotTriedError, ClientError."""
    name, client, packed = workspace.name(part), workspace.client("lambda"), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("index.py", code)
    workspace.made("function", name)
    client.create_function(
        FunctionName=name,
        Runtime=RUNTIME,
        Role=workspace.role_arn(),
        Handler="index.handler",
        Code={"ZipFile": packed.getvalue()},
        Timeout=limit_seconds,
        MemorySize=megabytes,
    )
    for _ in range(30):
        if client.get_function_configuration(FunctionName=name).get("State", "Active") == "Active":
            return name
        workspace.sleep(2)
    raise NotTriedError(f"the function {name} did not become active")


_MEGABYTES = 512
# Below the 60 seconds for which boto3 waits for an answer: else it would invoke the function once more.
_LIMIT_SECONDS = 50
# Longer than any question of the product may take: what takes too long is to be measured, and not to fail.
_CODE = """
import datetime, json, time
import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

CONFIG = Config(connect_timeout=5, read_timeout=40, retries={"mode": "standard", "total_max_attempts": 1})
clients = {}

def as_json(value):
    return {"$time": value.isoformat()} if isinstance(value, datetime.datetime) else str(value)

def handler(event, context):
    key = event["service"], event["region"]
    if key not in clients:
        clients[key] = boto3.client(event["service"], region_name=event["region"], config=CONFIG)
    client, operation, arguments = clients[key], event["operation"], event["arguments"]
    began, answer = time.monotonic(), {}
    try:
        if event["all_pages"]:
            pages = list(client.get_paginator(operation).paginate(**arguments))
        else:
            pages = [getattr(client, operation)(**arguments)]
    except ClientError as error:
        answer["error"] = error.response["Error"]
    except BotoCoreError as error:
        answer["unanswered"] = f"{type(error).__name__}: {error}"
    else:
        answer["pages"] = [{k: v for k, v in page.items() if k != "ResponseMetadata"} for page in pages]
    answer["seconds"] = time.monotonic() - began
    return json.loads(json.dumps(answer, default=as_json))
"""


@dataclass
class Elsewhere:
    """Clients of boto3, as far as the product uses them, whose calls a function in Lambda makes.

    `seconds`: by operation ("get_products"), how long each call took there, with all its pages; the time to reach
    the function, and to build its client, is not in it.
    """

    workspace: Workspace
    name: str
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def made(cls, workspace: Workspace, part: str) -> Elsewhere:
        """With a new function. It has as much memory, so as much of a processor, as the product's own."""
        return cls(
            workspace,
            make_function(workspace, part, _CODE, limit_seconds=_LIMIT_SECONDS, megabytes=_MEGABYTES),
        )

    def client(self, service: str, region: str) -> _Client:
        """A client of `service` in `region`."""
        return _Client(self, service, region)

    def ask(
        self, service: str, region: str, operation: str, arguments: Mapping[str, Any], *, all_pages: bool
    ) -> list[dict[str, Any]]:
        """The pages that AWS has answered the function.

        Raises ClientError, and ReadTimeoutError where AWS did not answer, as boto3 does; NotTriedError where the
        function itself has failed.
        """
        question = {"service": service, "region": region, "operation": operation, "all_pages": all_pages}
        payload = json.dumps({**question, "arguments": arguments}, default=datetime.isoformat)
        invoked = self.workspace.client("lambda").invoke(FunctionName=self.name, Payload=payload.encode())
        text = invoked["Payload"].read().decode()
        try:
            answer = json.loads(text, object_hook=_with_times)
            took = float(answer["seconds"])
        except (ValueError, TypeError, KeyError):
            raise NotTriedError(f"the function {self.name} answered {text[:200]}") from None
        if "error" in answer:
            raise ClientError({"Error": answer["error"]}, operation)
        self.seconds[operation].append(round(took, 3))
        if "unanswered" in answer:
            raise ReadTimeoutError(endpoint_url=service, error=answer["unanswered"])
        pages: list[dict[str, Any]] = answer["pages"]
        return pages


def _with_times(value: dict[str, Any]) -> Any:
    return datetime.fromisoformat(value["$time"]) if value.keys() == {"$time"} else value


class _Client:
    """`client.operation(…)` and `client.get_paginator("operation").paginate(…)`."""

    def __init__(self, elsewhere: Elsewhere, service: str, region: str) -> None:
        self._elsewhere, self._where = elsewhere, (service, region)

    def __getattr__(self, operation: str) -> Any:
        def call(**arguments: Any) -> dict[str, Any]:
            return self._elsewhere.ask(*self._where, operation, arguments, all_pages=False)[0]

        return call

    def get_paginator(self, operation: str) -> _Pages:
        return _Pages(self._elsewhere, (*self._where, operation))


@dataclass(frozen=True)
class _Pages:
    elsewhere: Elsewhere
    what: tuple[str, str, str]

    def paginate(self, **arguments: Any) -> Iterator[dict[str, Any]]:
        yield from self.elsewhere.ask(*self.what, arguments, all_pages=True)
