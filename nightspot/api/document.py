"""Decides what the OpenAPI document says beside what the resolver writes of models and parameters.

That is who may call, every refusal as a problem, and the headers of answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nightspot.api.problems import MEDIA_TYPE, SHAPES, Problem
from nightspot.api.routes import ANY, ROUTES, Operation, Route

_GATEWAY_TITLES = {
    403: "The request is not signed, or its signer may not do this",
    429: "Too many requests",
    504: "The API did not answer in time",
}
_HEADERS: Mapping[str, dict[str, Any]] = {
    "Location": {"description": "The address of the run.", "schema": {"type": "string"}},
    "Retry-After": {
        "description": "Seconds after which to ask again.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
}
_SCHEMAS = "#/components/schemas/"
_REFERENCE = {"$ref": f"{_SCHEMAS}Problem"}
# How API Gateway marks a method of IAM in its own exports.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions-authtype.html
SIGNED: dict[str, Any] = {
    "type": "apiKey",
    "in": "header",
    "name": "Authorization",
    "description": "AWS Signature Version 4, for the service execute-api.",
    "x-amazon-apigateway-authtype": "awsSigv4",
}


def finished(written: Mapping[str, Any], server: str) -> dict[str, Any]:
    """The document as the API gives it out: the same for the same version and `server`, the API's own address."""
    schemas = {
        **written["components"]["schemas"],
        "Problem": _problem_schema(),
        "FieldError": Problem.model_json_schema()["$defs"]["FieldError"],
    }
    paths = {route.path: _path(written["paths"][route.path]) for route in ROUTES.values()}
    used = _used(paths, schemas, set())
    return {
        **written,
        "servers": [{"url": server}],
        "security": [{"sigv4": []}],
        "paths": paths,
        "components": {
            "schemas": {name: schemas[name] for name in sorted(used)},
            "securitySchemes": {"sigv4": SIGNED},
        },
    }


def _path(written: Mapping[str, Any]) -> dict[str, Any]:
    return {method: _operation(operation) for method, operation in written.items()}


def _operation(written: Mapping[str, Any]) -> dict[str, Any]:
    operation = Operation(written["operationId"])
    route = ROUTES[operation]
    success = dict(written["responses"][str(route.success)])
    if route.headers:
        success["headers"] = {name: _HEADERS[name] for name in route.headers}
    responses = {str(route.success): success}
    for status in route.statuses:
        responses[str(status)] = _refusal(route, status)
    parameters = {"parameters": [_parameter(one) for one in written.get("parameters", ())]}
    return {**written, **(parameters if parameters["parameters"] else {}), "responses": responses}


def _parameter(written: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter without null, which no address can say, and with its header's name as people write it."""
    schema = {key: value for key, value in written["schema"].items() if key not in {"title", "description"}}
    choices = [one for one in schema.pop("anyOf", ()) if one != {"type": "null"}]
    name = written["name"].title() if written["in"] == "header" else written["name"]
    return {**written, "name": name, "schema": {**schema, **(choices[0] if choices else {})}}


def _refusal(route: Route, status: int) -> dict[str, Any]:
    titles = [SHAPES[kind].title for kind in (*route.kinds, *ANY) if SHAPES[kind].status == status]
    described = "; or: ".join(titles) or _GATEWAY_TITLES[status]
    with_retry = {"headers": {"Retry-After": _HEADERS["Retry-After"]}} if status in {429, 503} else {}
    return {"description": f"{described}.", "content": {MEDIA_TYPE: {"schema": _REFERENCE}}, **with_retry}


def _used(part: Any, schemas: Mapping[str, Any], seen: set[str]) -> set[str]:
    """The names of the schemas that `part` leads to, added to `seen`."""
    if isinstance(part, dict):
        name = str(part.get("$ref", "")).removeprefix(_SCHEMAS)
        if name and name not in seen:
            seen.add(name)
            _used(schemas[name], schemas, seen)
        part = list(part.values())
    for inner in part if isinstance(part, list) else ():
        _used(inner, schemas, seen)
    return seen


def _problem_schema() -> dict[str, Any]:
    schema = Problem.model_json_schema(ref_template=_SCHEMAS + "{model}")
    return {name: value for name, value in schema.items() if name != "$defs"}
