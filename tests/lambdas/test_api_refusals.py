"""How the API refuses: every refusal is a problem (RFC 9457), and none tells what is inside."""

from __future__ import annotations

import re

import pytest
from botocore.exceptions import EndpointConnectionError

from nightspot.api.models import OVERRIDES
from nightspot.api.routes import (
    ROUTES,
    SHAPES,
    ApiProblem,
    Operation,
    ProblemKind,
    finished,
    methods_of,
    route_of,
)
from nightspot.job.overrides import read_overrides
from nightspot.lambdas import api as http_api
from nightspot.local.serving import event_of
from nightspot.local.stage.emulated_aws import LocalContext

START = "/jobs/recommender/runs"


class Broken:
    """A table on which every call fails."""

    def __init__(self, error):
        self.error = error

    def __getattr__(self, name):
        def call(*_args, **_options):
            raise self.error

        return call


def is_a_problem(answer, status, kind, path):
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = ApiProblem.model_validate(answer.json)
    assert (problem.status, problem.type) == (status, f"urn:nightspot:problem:{kind.value}")
    assert (problem.title, problem.instance) == (SHAPES[kind].title, path)


@pytest.mark.parametrize(
    "path", ["/", "/nope", "/jobs/recommender", "/runs/a/b/c", "/v1/jobs", "/openapi.yaml"]
)
def test_an_unknown_address_is_told_where_the_addresses_are(api, path):
    answer = api.ask("GET", path)
    is_a_problem(answer, 404, ProblemKind.UNKNOWN_ADDRESS, path)
    assert "/openapi.json" in answer.json["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("DELETE", "/runs/20261121-000000", "GET"), ("GET", START, "POST"), ("OPTIONS", "/jobs", "GET")],
)
def test_a_wrong_method_is_told_which_is_right(api, method, path, allowed):
    answer = api.ask(method, path)
    is_a_problem(answer, 405, ProblemKind.WRONG_METHOD, path)
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", '/runs/"x', ProblemKind.UNKNOWN_RUN),
        ("POST", "/runs/☃/retry", ProblemKind.UNKNOWN_RUN),
        ("POST", "/jobs/☃/runs", ProblemKind.UNKNOWN_JOB),
    ],
)
def test_a_right_method_is_never_called_wrong(api, method, path, kind):
    is_a_problem(api.ask(method, path), 404, kind, path)


@pytest.mark.parametrize("path", ['/runs/"x', "/runs/☃"])
def test_a_wrong_method_is_wrong_for_a_strange_name_too(api, path):
    answer = api.ask("DELETE", path)
    is_a_problem(answer, 405, ProblemKind.WRONG_METHOD, path)
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[1]",
        b'[{"market": "spot"}]',
        b'"spot"',
        b"1",
        b"true",
        b'{"budget": NaN}',
        b"\xff\xfe",
        b"[" * 60_000,
    ],
)
def test_a_body_that_is_no_json_object_is_refused(api, body):
    is_a_problem(api.ask("POST", START, body), 400, ProblemKind.MALFORMED_BODY, START)
    assert not api.machine.started


def test_a_number_of_very_many_digits_is_refused(api):
    body = b'{"budget": ' + b"9" * 5000 + b"}"
    is_a_problem(api.ask("POST", START, body), 400, ProblemKind.MALFORMED_BODY, START)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_a_body_of_another_media_type_is_refused(api, kind):
    answer = api.ask("POST", START, b"market=spot", content_type=kind)
    is_a_problem(answer, 415, ProblemKind.WRONG_MEDIA_TYPE, START)


@pytest.mark.parametrize("kind", ["Application/JSON", " application/json ", "APPLICATION/json;charset=utf-8"])
def test_the_media_type_is_json_however_it_is_written(api, kind):
    assert api.ask("POST", START, {"market": "spot"}, content_type=kind).status == 202
    assert api.machine.inputs[0]["market"] == "spot"


@pytest.mark.parametrize(
    "kind", ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded", ""]
)
def test_no_body_is_fine_whatever_its_media_type(api, kind):
    assert api.ask("POST", START, content_type=kind).status == 202


def test_a_media_type_that_the_resolver_alone_does_not_know_is_refused(api):
    # The check in front of it lets none through.
    http_api.app.context["use"] = api.use
    headers = [("Content-Type", "text/plain")]
    event = event_of("POST", START, [], headers, b"x", identity_arn=api.CALLER)
    answer = http_api.app.resolve(event, LocalContext("Api"))
    assert (answer["statusCode"], "wrong-media-type" in answer["body"]) == (415, True)


def test_a_body_may_have_64_kib_and_not_a_byte_more(api):
    fits = b"{}" + b" " * (64 * 1024 - 2)
    assert api.ask("POST", START, fits).status == 202
    is_a_problem(api.ask("POST", START, fits + b" "), 413, ProblemKind.BODY_TOO_LARGE, START)


def test_a_body_in_base64_is_read_like_any_other(api):
    event = event_of("POST", START, [], [], b"", identity_arn=None)
    assert api.answer({**event, "body": "e30=", "isBase64Encoded": True}).status == 202
    answer = api.answer({**event, "body": "e30", "isBase64Encoded": True})
    is_a_problem(answer, 400, ProblemKind.MALFORMED_BODY, START)


@pytest.mark.parametrize("code", ["ThrottlingException", "ServiceUnavailable", "InternalServerError"])
def test_where_aws_cannot_answer_now_the_caller_is_asked_to_come_again(api, aws_fault, code):
    api.machine.refusal = aws_fault(code, "Rate exceeded")
    answer = api.ask("POST", START)
    is_a_problem(answer, 503, ProblemKind.AWS_IS_BUSY, START)
    assert answer.headers["retry-after"] == "5"


def test_where_aws_cannot_be_reached_the_caller_is_asked_to_come_again(api):
    api.table = Broken(EndpointConnectionError(endpoint_url="https://dynamodb"))
    is_a_problem(api.ask("GET", "/runs"), 503, ProblemKind.AWS_IS_BUSY, "/runs")


def test_what_aws_refuses_is_told_in_its_words_without_the_account(api, aws_fault):
    api.machine.refusal = aws_fault("AccessDeniedException", "arn:aws:iam::123456789012:role/api may not")
    answer = api.ask("POST", START)
    is_a_problem(answer, 502, ProblemKind.REFUSED_BY_AWS, START)
    assert "may not" in answer.json["detail"]
    assert "123456789012" not in answer.text


def test_what_nobody_expected_is_logged_and_not_told(api, caplog):
    api.table = Broken(RuntimeError("the password is hunter2"))
    answer = api.ask("GET", "/runs")
    is_a_problem(answer, 500, ProblemKind.INTERNAL, "/runs")
    assert "hunter2" not in answer.text
    assert any(record.exc_info and "hunter2" in str(record.exc_info[1]) for record in caplog.records)


def test_a_run_that_cannot_be_read_keeps_no_other_from_a_list(api, world, caplog):
    run = world.plan()["run"]
    world.dynamodb.update_item(
        TableName="nightspot-runs",
        Key={"pk": {"S": "JOB#recommender"}, "sk": {"S": f"RUN#2026-11-21T00:00:00Z#{run['run_id']}"}},
        UpdateExpression="SET summary.decisions = :many",
        ExpressionAttributeValues={":many": {"S": "many"}},
    )
    answer = api.ask("GET", "/runs")
    assert (answer.status, answer.json["runs"]) == (200, [])
    assert "decisions: 'many': input should be a valid integer" in caplog.text


def test_no_answer_is_for_a_cache_or_for_a_browser_s_guess_and_no_page_of_others_reads_it(api):
    for answer in (api.ask("GET", "/jobs"), api.ask("GET", "/nope"), api.ask("POST", START, b"{")):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_every_request_is_logged_with_its_caller_and_counted(api, caplog, metrics):
    api.ask("GET", "/jobs")
    (record,) = (record for record in caplog.records if record.message == "request answered")
    assert (record.route, record.status, record.caller) == ("/jobs", 200, api.CALLER)
    assert metrics()["ApiRequest"] == [1]


def test_a_fault_is_counted(api, metrics):
    api.table = Broken(RuntimeError())
    api.ask("GET", "/runs")
    assert metrics()["ApiFault"] == [1]


def test_every_kind_of_problem_has_its_shape():
    assert set(SHAPES) == set(ProblemKind)


def test_the_document_has_every_route_and_every_refusal(api):
    document = api.ask("GET", "/openapi.json").json
    found = {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert set(found) == {(route.method, route.path) for route in ROUTES.values()}
    for operation, route in ROUTES.items():
        written = found[route.method, route.path]
        assert written["operationId"] == operation.value
        assert set(written["responses"]) == {str(status) for status in (route.success, *route.statuses)}
        for status in route.statuses:
            content = written["responses"][str(status)]["content"]
            assert content == {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }
        names = {one["name"] for one in written.get("parameters", ()) if one["in"] == "query"}
        assert names == set(route.query)
        assert ("requestBody" in written) is route.has_body


def test_the_document_is_signed_for_and_says_where_the_api_is(api):
    first, second = api.ask("GET", "/openapi.json"), api.ask("GET", "/openapi.json")
    assert first.text == second.text
    document = first.json
    assert document["servers"] == [{"url": "/v1"}]
    assert document["security"] == [{"sigv4": []}]
    assert document["components"]["securitySchemes"]["sigv4"]["x-amazon-apigateway-authtype"] == "awsSigv4"


def test_the_document_leads_nowhere_that_it_does_not_know(api):
    text = api.ask("GET", "/openapi.json").text
    known = set(api.ask("GET", "/openapi.json").json["components"]["schemas"])
    assert set(re.findall(r"#/components/schemas/(\w+)", text)) == known


def test_a_route_that_the_resolver_does_not_have_cannot_be_documented():
    with pytest.raises(KeyError):
        finished({"components": {"schemas": {}}, "paths": {}}, "/")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"market": "spot", "instance_types": ["ml.g5.xlarge"]},
        {"instance_types": {"spot": [{"instance_type": "ml.g5.xlarge", "speed": 0.5, "patience": "30m"}]}},
        {"deadline": "07:00", "budget": 12, "fallback": "never"},
        {"deadline": {"at": "07:00", "timezone": "Europe/Dublin"}, "budget": {"per_run_usd": 1.5}},
        {"deadline": {"within": "6h"}, "hyperparameters": {"a": "b", "c": 1, "d": 0.5, "e": True}},
        {"deadline": 3600, "market": None, "budget": None},
    ],
)
def test_the_document_s_overrides_are_those_that_are_taken(given):
    import jsonschema

    jsonschema.validate(given, OVERRIDES)
    read_overrides(given)


@pytest.mark.parametrize(
    "given",
    [
        {"market": "both"},
        {"instance_types": []},
        {"instance_types": ["g5.xlarge"]},
        {"budget": 0},
        {"hyperparameters": {"a": []}},
        {"nope": 1},
        [],
    ],
)
def test_the_document_refuses_what_is_refused(given):
    import jsonschema

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(given, OVERRIDES)


def test_the_document_s_overrides_have_every_key():
    from nightspot.api.models import RunOverrides

    assert set(OVERRIDES["properties"]) == set(RunOverrides.model_fields)


def test_an_address_is_found_by_its_method_with_or_without_a_slash_at_its_end():
    assert route_of("GET", "/runs/") is ROUTES[Operation.LIST_RUNS]
    assert route_of("GET", "/runs/x") is ROUTES[Operation.GET_RUN]
    assert route_of("POST", "/runs") is None
    assert methods_of("/runs/x/stop") == ("POST",)
