"""API Gateway's part: who gets through, what the function sees, and what comes back."""

import base64
import io
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from nightspot.local.serving import Gateway, Refusal, RequestSender, answer_of, event_of

REGION = "eu-west-1"
KEY, SECRET = "AKIDEXAMPLE", "not-a-secret"
ARN = "arn:aws:iam::123456789012:user/ci"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LIMIT = 10 * 1024 * 1024


def environ_of(method, url, headers=(), body=b"", **changes):
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    environ = {
        "REQUEST_METHOD": method,
        "REQUEST_URI": target,
        "QUERY_STRING": parts.query,
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": parts.netloc,
        "CONTENT_LENGTH": str(len(body)) if body else "",
        "wsgi.input": io.BytesIO(body),
    }
    for name, value in dict(headers).items():
        key = name.upper().replace("-", "_")
        environ[key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"] = value
    return {**environ, **changes}


def called(gateway, environ):
    """What a WSGI server would send: status, headers, body."""
    said = {}

    def start_response(status, headers):
        said.update(status=int(status.split()[0]), headers=dict(headers))

    body = b"".join(gateway(environ, start_response))
    return SimpleNamespace(**said, body=body, json=json.loads(body) if body else None)


def anyone(_request):
    return RequestSender(None)


class Function:
    """A Lambda function that keeps what it was given."""

    def __init__(self, response=None):
        self.events = []
        self.response = response or {"statusCode": 200, "headers": {}, "body": "{}"}

    def __call__(self, event):
        self.events.append(event)
        return self.response


def sent(request, authorise, function=None, **changes):
    gateway = Gateway(function or Function(), authorise=authorise)
    return called(
        gateway, {**environ_of(request.method, request.url, request.headers, request.body), **changes}
    )


class TestWhatTheFunctionSees:
    def test_the_event_is_a_rest_apis(self):
        headers = [("Accept", "a"), ("Accept", "b"), ("User-Agent", "tests")]
        event = event_of(
            "GET", "/runs/a%20b", [("job", "x"), ("job", "y")], headers, b"", identity_arn=ARN, stage="v1"
        )
        assert event["path"] == "/runs/a%20b"
        assert event["queryStringParameters"] == {"job": "y"}
        assert event["multiValueQueryStringParameters"] == {"job": ["x", "y"]}
        assert event["headers"] == {"Accept": "b", "User-Agent": "tests"}
        assert event["multiValueHeaders"]["Accept"] == ["a", "b"]
        assert event["body"] is None
        context = event["requestContext"]
        assert (context["stage"], context["path"], context["protocol"]) == (
            "v1",
            "/v1/runs/a%20b",
            "HTTP/1.1",
        )
        assert context["identity"]["userArn"] == ARN
        assert context["identity"]["userAgent"] == "tests"
        assert json.loads(json.dumps(event)) == event

    def test_what_is_not_there_is_null_as_in_aws(self):
        event = event_of("GET", "/", [], [], b"", identity_arn=None)
        assert event["queryStringParameters"] is event["multiValueQueryStringParameters"] is None
        assert event["headers"] is event["multiValueHeaders"] is None

    def test_a_body_that_is_no_text_comes_as_base64(self):
        event = event_of("POST", "/", [], [], b"\xff\x00", identity_arn=None)
        assert event["isBase64Encoded"] is True
        assert base64.b64decode(event["body"]) == b"\xff\x00"

    def test_powertools_reads_it(self):
        from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent

        event = APIGatewayProxyEvent(
            event_of("POST", "/jobs/a/runs", [("a", "1")], [("X-Key", "k")], b'{"a": 1}', identity_arn=ARN)
        )
        assert event.json_body == {"a": 1}
        assert event.resolved_headers_field.get("x-key") in ("k", ["k"])
        assert event.request_context.identity.user_arn == ARN

    def test_a_stage_in_the_address_is_not_in_the_path(self):
        function = Function()
        gateway = Gateway(function, authorise=anyone, stage="v1", stage_in_path=True)
        assert called(gateway, environ_of("GET", "http://localhost/v1/runs")).status == 200
        assert function.events[0]["path"] == "/runs"
        assert function.events[0]["requestContext"]["path"] == "/v1/runs"
        for elsewhere in ("/runs", "/v1", "/v1x/runs"):
            assert called(gateway, environ_of("GET", f"http://localhost{elsewhere}")).status == 403
        assert len(function.events) == 1


class TestWhatComesBack:
    def test_many_values_of_a_header_and_a_binary_body(self):
        status, headers, body = answer_of(
            {
                "statusCode": 200,
                "headers": {"Content-Type": "x/y", "Link": "gone"},
                "multiValueHeaders": {"link": ["a", "b"]},
                "body": base64.b64encode(b"\xff").decode(),
                "isBase64Encoded": True,
            }
        )
        assert (status, body) == (200, b"\xff")
        assert headers == [("Content-Type", "x/y"), ("link", "a"), ("link", "b")]

    @pytest.mark.parametrize(
        "malformed",
        [
            {},
            {"statusCode": "many"},
            {"statusCode": 99},
            {"statusCode": 200, "body": {"a": 1}},
            {"statusCode": 200, "body": "%", "isBase64Encoded": True},
        ],
    )
    def test_an_answer_that_is_none_is_502_and_says_nothing_of_the_inside(self, malformed):
        faults = []
        gateway = Gateway(lambda _event: malformed, authorise=anyone, on_fault=faults.append)
        answer = called(gateway, environ_of("GET", "http://localhost/"))
        assert (answer.status, answer.json["message"]) == (502, "Internal server error")
        assert len(faults) == 1

    def test_a_function_that_fails_is_502(self):
        faults = []

        def fails(_event):
            raise RuntimeError("the table is on fire")

        gateway = Gateway(fails, authorise=anyone, on_fault=faults.append)
        answer = called(gateway, environ_of("GET", "http://localhost/"))
        assert answer.status == 502
        assert b"fire" not in answer.body
        assert str(faults[0]) == "the table is on fire"

    def test_the_length_is_the_bodys_and_head_has_none(self):
        function = Function({"statusCode": 200, "headers": {"Content-Length": "7"}, "body": "ü"})
        gateway = Gateway(function, authorise=anyone)
        answered = {}
        body = gateway(
            environ_of("HEAD", "http://localhost/"), lambda status, headers: answered.update(headers)
        )
        assert (list(body), answered["Content-Length"]) == ([], "2")


class TestLimits:
    def test_a_body_too_long_is_not_even_read(self):
        unread = io.BytesIO(b"x" * 10)
        lies = {"CONTENT_LENGTH": str(LIMIT + 1), "wsgi.input": unread}
        assert (
            called(Gateway(Function(), authorise=anyone), environ_of("POST", "http://x/", **lies)).status
            == 413
        )
        assert unread.tell() == 0

    def test_a_refusal_of_the_gateways_own_says_who_and_why(self):
        gateway = Gateway(Function(), authorise=lambda _request: Refusal(421, "not here", "Elsewhere"))
        answer = called(gateway, environ_of("GET", "http://x/"))
        assert (answer.status, answer.json["title"]) == (421, "Misdirected Request")
        assert answer.headers["x-amzn-ErrorType"] == "Elsewhere"
