"""Decides what the reference of the API says, out of its OpenAPI document: routes, bodies, answers, models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from nightspot.lambdas.api import document
from tools.reference_text import block, code, page, plain, table

Document = Mapping[str, Any]
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def api_page() -> str:
    """docs/reference/api.md."""
    return api_page_of(document("/"))


def api_page_of(written: Document) -> str:
    """The page of any OpenAPI document with models below `components.schemas`."""
    found = tuple(_operations(written))
    return page(
        "API: every route",
        "How to call it, who may, and what errors look like: [the API](../api.md). The same as OpenAPI: "
        "`GET /openapi.json`.",
        table(
            ("route", "what it does"),
            [
                (f"[{code(f'{method.upper()} {path}')}](#{_anchor(method, path)})", plain(_summary(one)))
                for method, path, one in found
            ],
        ),
        *[part for method, path, one in found for part in _operation(method, path, one)],
        "## Models",
        "What the figures mean: [costs](../costs.md). What the words mean: [outcomes](outcomes.md). Times are UTC.",
        *[part for name, schema in _models(written).items() for part in _model(name, schema)],
    )


def _operations(written: Document) -> Iterator[tuple[str, str, Document]]:
    for path, methods in written["paths"].items():
        for method in _METHODS:
            if method in methods:
                yield method, path, methods[method]


def _models(written: Document) -> dict[str, Any]:
    return dict(sorted(written.get("components", {}).get("schemas", {}).items()))


def _anchor(method: str, path: str) -> str:
    words = "".join(c if c.isalnum() else " " for c in path).split()
    return "-".join([method, *words])


def _summary(operation: Document) -> str:
    return str(operation.get("summary") or operation.get("description") or "").split("\n\n", maxsplit=1)[0]


def _operation(method: str, path: str, one: Document) -> Iterator[str]:
    yield f"## {code(f'{method.upper()} {path}')} {{ #{_anchor(method, path)} }}"
    yield plain(" ".join(str(one.get("description") or _summary(one)).split()))
    yield table(
        ("parameter", "in", "type", "meaning"),
        [
            (
                code(given["name"]) + (" **required**" if given.get("required") else ""),
                given["in"],
                _kind(given.get("schema", {})),
                plain(given.get("description") or given.get("schema", {}).get("description", "")),
            )
            for given in one.get("parameters", ())
        ],
    )
    body = one.get("requestBody", {}).get("content", {})
    if body:
        yield "Body: " + ", ".join(f"{code(kind)}, {_kind(of['schema'])}" for kind, of in body.items()) + "."
    yield table(
        ("status", "answer", "meaning"),
        [
            (
                code(status),
                ", ".join(_kind(of.get("schema", {})) for of in answer.get("content", {}).values()),
                plain(answer.get("description", "")),
            )
            for status, answer in one.get("responses", {}).items()
        ],
    )


def _model(name: str, schema: Document) -> Iterator[str]:
    yield f"### {name} {{ #{name.lower()} }}"
    yield plain(" ".join(str(schema.get("description", "")).split()))
    if "enum" in schema:
        yield "One of " + ", ".join(code(value) for value in schema["enum"]) + "."
    required = schema.get("required", ())
    yield table(
        ("field", "type", "", "meaning"),
        [
            (code(key), _kind(field), "required" if key in required else "", _meaning(field))
            for key, field in schema.get("properties", {}).items()
        ],
    )
    for example in schema.get("examples", ()):
        yield block("json", json.dumps(example, indent=2))


def _meaning(field: Document) -> str:
    return plain(" ".join(str(field.get("description", "")).split()))


def _kind(schema: Document) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", maxsplit=1)[-1]
        return f"[{name}](#{name.lower()})"
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return " or ".join(dict.fromkeys(_kind(one) for one in choices))
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    if "const" in schema:
        return code(schema["const"])
    if schema.get("type") == "array":
        return "list of " + _kind(schema.get("items", {}))
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return "mapping of " + (_kind(schema["additionalProperties"]) or "anything")
    if schema.get("format"):
        return f"{schema.get('type')} ({schema['format']})"
    return str(schema.get("type", "anything"))
