"""What a training container may write in place of a progress file, each by a name."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from math import exp
from typing import Any

Spoil = Callable[[bytes, int], bytes | None]


def named() -> Mapping[str, Spoil]:
    """All ways, by name. Each gets the whole file and the number of its save."""
    return {**_WHOLE, **{name: _changed(change) for name, change in _FIELDS.items()}}


def _changed(change: Callable[[dict[str, Any]], None]) -> Spoil:
    def spoil(body: bytes, _number: int) -> bytes:
        document = json.loads(body)
        change(document)
        return json.dumps(document).encode(errors="surrogatepass")

    return spoil


def _metrics(**metrics: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.update(metrics=metrics)


def _set(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.update({name: value})


def _without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.pop(name)


def _every_third(body: bytes, number: int) -> bytes | None:
    return body if number % 3 == 1 else None


_WHOLE: dict[str, Spoil] = {
    "never written": lambda _body, _number: None,
    "stale": _every_third,
    "torn": lambda body, number: body[: len(body) // 2] if number % 2 else body,
    "always torn": lambda body, _number: body[: len(body) // 2],
    "empty": lambda _body, _number: b"",
    "with a mark of its byte order": lambda body, _number: b"\xef\xbb\xbf" + body,
    "not UTF-8": lambda body, _number: body.replace(b"loss", b"\xff\xfe"),
    "UTF-16": lambda body, _number: body.decode().encode("utf-16"),
    "nested 100,000 deep": lambda _body, _number: b"[" * 100_000 + b"]" * 100_000,
    "nested objects": lambda _body, _number: b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "huge": lambda body, _number: body[:-1] + b', "more": "' + b"x" * 3_000_000 + b'"}',
    "an integer of 5,000 digits": lambda body, _number: body.replace(
        b'"schema": 1', b'"schema": ' + b"9" * 5000
    ),
    "a list": lambda _body, _number: b"[1, 2, 3]",
    "a number": lambda _body, _number: b"42",
    "null": lambda _body, _number: b"null",
    "NaN": lambda body, _number: body.replace(b'"fraction": ', b'"fraction": NaN, "x": '),
    "Infinity": lambda body, _number: body.replace(
        b'"seconds_per_step": ', b'"seconds_per_step": Infinity, "x": '
    ),
    "zero bytes": lambda body, _number: body + b"\x00" * 100,
}
_FIELDS: dict[str, Callable[[dict[str, Any]], None]] = {
    "metric 1e200": _metrics(perplexity=1e200),
    "metric 1e-200": _metrics(p=1e-200),
    "metric exp(-500)": _metrics(p=exp(-500)),
    "metric 1e130": _metrics(p=1e130),
    "metric -1e126": _metrics(p=-1e126),
    "metric 10**38": _metrics(n=10**38 + 1),
    "metric 10**400": _metrics(n=10**400),
    "metric 5e-324": _metrics(p=5e-324),
    "metric of text": _metrics(loss="low"),
    "metric of a list": _metrics(loss=[1, 2]),
    "metric true": _metrics(good=True),
    "metric without a name": _metrics(**{"": 1.0}),
    "metric with a name of 70,000 characters": _metrics(**{"n" * 70_000: 1.0}),
    "metric named with a surrogate": _metrics(**{"\ud800": 1.0}),
    "metric named with escapes": _metrics(**{"\x1b[31m\x00": 1.0}),
    "6,000 metrics": lambda document: document.update(metrics={f"m{n}": float(n) for n in range(6000)}),
    "12,000 names of 30 characters": lambda document: document.update(
        metrics={f"{n:030d}": 1.0 for n in range(12_000)}
    ),
    "total_steps sys.maxsize": _set("total_steps", sys.maxsize),
    "total_steps 10**38": _set("total_steps", 10**38),
    "total_steps 10**40": _set("total_steps", 10**40 + 1),
    "total_steps 0": _set("total_steps", 0),
    "total_steps -1": _set("total_steps", -1),
    "total_steps of text": _set("total_steps", "24"),
    "step 10**38": _set("step", 10**38),
    "step 10**40": _set("step", 10**40 + 7),
    "step -1": _set("step", -1),
    "step of text": _set("step", "many"),
    "step null": _set("step", None),
    "step 1.5": _set("step", 1.5),
    "no step": _without("step"),
    "no saved_at": _without("saved_at"),
    "saved_at without a zone": _set("saved_at", "2026-11-21T00:00:00"),
    "saved_at in the year 1": _set("saved_at", "0001-01-01T00:00:00+14:00"),
    "saved_at in the year 9999": _set("saved_at", "9999-12-31T23:59:59-14:00"),
    "saved_at of a number": _set("saved_at", 1795219200),
    "started_at nonsense": _set("started_at", "yesterday"),
    "started_at in the year 9999": _set("started_at", "9999-12-31T23:59:59-14:00"),
    "seconds_per_step 1e-200": _set("seconds_per_step", 1e-200),
    "seconds_per_step exp(-500)": _set("seconds_per_step", exp(-500)),
    "seconds_per_step negative": _set("seconds_per_step", -3.0),
    "seconds_per_step of text": _set("seconds_per_step", "12"),
    "fraction 1e-200": _set("fraction", 1e-200),
    "fraction 2": _set("fraction", 2),
    "fraction of text": _set("fraction", "half"),
    "attempt 10**40": _set("attempt", 10**40),
    "attempt of text": _set("attempt", "first"),
    "attempt -1": _set("attempt", -1),
    "resumed_from a list": _set("resumed_from", [1]),
    "resumed_from of text": _set("resumed_from", "step 3"),
    "resumed_from step 10**40": _set("resumed_from", {"step": 10**40, "attempt": 1}),
    "resumed_from step of text": _set("resumed_from", {"step": "x", "attempt": 1}),
    "metrics a list": _set("metrics", [1, 2]),
    "metrics of text": _set("metrics", "none"),
    "checkpoint a number": _set("checkpoint", 12),
    "checkpoint elsewhere": _set("checkpoint", "../../other/checkpoint-000000001-rank00000.nsck"),
    "checkpoint not there": _set("checkpoint", "checkpoint-999999999-rank00000.nsck"),
    "checkpoint of 2,000 characters": _set("checkpoint", "c" * 2000),
    "checkpoint a list": _set("checkpoint", ["a"]),
    "files 10**40": _set("files", 10**40),
    "files -1": _set("files", -1),
    "files of text": _set("files", "two"),
    "files 1.5": _set("files", 1.5),
    "files infinite": _set("files", float("inf")),
}
