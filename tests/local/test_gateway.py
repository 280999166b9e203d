"""API Gateway's part: who gets through, what the function sees, and what comes back."""

import base64
import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from nightspot.local.serve.gateway import Gateway, Identity, Refusal, answer_of, event_of
from nightspot.local.serve.signatures import Secret, Signatures

REGION = "eu-west-1"
KEY, SECRET = "AKIDEXAMPLE", "not-a-secret"
ARN = "arn:aws:iam::123456789012:user/ci"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LIMIT = 10 * 1024 * 1024


def signatures(now=NOW, secrets=None, region=REGION):
    known = secrets if secrets is not None else {KEY: (SECRET, ARN)}
    return Signatures(known.get, region, now=lambda: now)


@pytest.fixture
def signed(monkeypatch):
    """signed(method, url, body=…) -> a request as botocore signs it, at NOW."""
    import botocore.auth

    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: NOW.replace(tzinfo=None))

    def sign(
        method, url, body=b"", *, secret=SECRET, token=None, region=REGION, service="execute-api", **more
    ):
        request = AWSRequest(method=method, url=url, data=body, **more)
        SigV4Auth(Credentials(KEY, secret, token), service, region).add_auth(request)
        prepared = request.prepare()
        headers = {str(key): _text(value) for key, value in prepared.headers.items()}
        return SimpleNamespace(method=method, url=prepared.url, headers=headers, body=body)

    return sign


def _text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


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
    return Identity(None)


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


class TestWhoGetsThrough:
    @pytest.mark.parametrize(
        ("path", "params"),
        [
            ("/runs", None),
            ("/", None),
            ("/runs", [("since", "2026-11-21T00:00:00Z"), ("job", "recommender"), ("limit", "5")]),
            ("/runs", [("job", "b"), ("job", "a"), ("job", "a b"), ("empty", "")]),
            ("/runs", [("job", "Empfehlungen für Ömer/日本"), ("tilde", "~-._!*'()")]),
            (f"/jobs/{quote('näch te', safe='')}/runs", None),
            ("/runs/2026:11:21", None),
            ("/runs/a%2Fb", None),
        ],
    )
    def test_a_request_that_botocore_signed_is_its_users(self, signed, path, params):
        function = Function()
        # AWSRequest.prepare would write "+" for a space and sign %20; both mean the same.
        request = signed("GET", f"http://localhost{path}", params=params)
        answer = sent(request, signatures(), function)
        assert answer.status == 200, answer.json
        (event,) = function.events
        assert event["requestContext"]["identity"]["userArn"] == ARN
        assert event["requestContext"]["identity"]["accessKey"] == KEY
        if params:
            values = [v for many in event["multiValueQueryStringParameters"].values() for v in many]
            assert sorted(values) == sorted(v for _, v in params)

    def test_a_signed_body_is_let_through_as_it_is(self, signed):
        function = Function()
        request = signed("POST", "http://localhost/jobs/a/runs", '{"deadline": "früh"}'.encode())
        assert sent(request, signatures(), function).status == 200
        assert json.loads(function.events[0]["body"]) == {"deadline": "früh"}

    def test_nobody_who_does_not_sign_gets_through(self):
        function = Function()
        gateway = Gateway(function, authorise=signatures())
        answer = called(gateway, environ_of("GET", "http://localhost/runs"))
        assert (answer.status, answer.json["message"]) == (403, "Missing Authentication Token")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json["status"] == 403
        assert answer.json["title"] == "Forbidden"
        assert not function.events

    @pytest.mark.parametrize(
        "tampered",
        [
            {"body": b'{"budget": 9000}'},
            {"url": "http://localhost/jobs/b/runs?x=1&y=2"},
            {"url": "http://localhost/jobs/a/runs?x=1&y=3"},
            {"url": "http://localhost/jobs/a/runs?x=1"},
            {"method": "PUT"},
            {"url": "http://127.0.0.1/jobs/a/runs?x=1&y=2"},
        ],
        ids=["body", "path", "query", "shorter query", "method", "host"],
    )
    def test_what_was_changed_after_signing_is_refused(self, signed, tampered):
        request = signed("POST", "http://localhost/jobs/a/runs?x=1&y=2", b'{"budget": 1}')
        assert sent(request, signatures()).status == 200
        changed = SimpleNamespace(**{**vars(request), **tampered})
        changed.headers = {**request.headers, "Content-Length": str(len(changed.body))}
        answer = sent(changed, signatures())
        assert answer.status == 403
        assert "does not match" in answer.json["detail"]
        assert answer.headers["x-amzn-ErrorType"] == "InvalidSignatureException"

    def test_a_query_in_another_order_means_the_same(self, signed):
        request = signed("GET", "http://localhost/runs?b=2&a=1")
        request.url = "http://localhost/runs?a=1&b=2"
        assert sent(request, signatures()).status == 200

    def test_a_client_must_sign_the_encoded_form_of_its_query(self, signed):
        """AWS encodes what it received before it signs again, so a bare colon never matches."""
        request = signed("GET", "http://localhost/runs?since=2026-11-21T00:00:00Z")
        assert sent(request, signatures()).status == 403

    def test_a_body_is_held_against_the_hash_that_the_client_signed(self, signed):
        body = b'{"budget": 1}'
        headers = {"X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()}
        request = signed("POST", "http://localhost/jobs/a/runs", body, headers=headers)
        assert sent(request, signatures()).status == 200
        request.body = b'{"budget": 9}'
        answer = sent(request, signatures())
        assert answer.status == 403
        assert "X-Amz-Content-SHA256" in answer.json["detail"]

    @pytest.mark.parametrize(
        ("refused", "said"),
        [
            ({"secret": "another"}, "does not match"),
            ({"region": "us-east-1"}, "valid region: 'eu-west-1', not 'us-east-1'"),
            ({"service": "s3"}, "valid service: 'execute-api', not 's3'"),
            ({"token": "made-up"}, "security token included in the request is invalid"),
        ],
    )
    def test_what_is_signed_with_or_for_something_else_is_refused(self, signed, refused, said):
        answer = sent(signed("GET", "http://localhost/runs", **refused), signatures())
        assert answer.status == 403
        assert said in answer.json["detail"]

    def test_an_unknown_key_is_refused(self, signed):
        answer = sent(signed("GET", "http://localhost/runs"), signatures(secrets={}))
        assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (403, "UnrecognizedClientException")

    def test_a_role_needs_its_session_token(self, signed):
        role = {KEY: Secret(SECRET, ARN, "the-token")}
        with_token = signed("GET", "http://localhost/runs", token="the-token")
        without = signed("GET", "http://localhost/runs")
        other = signed("GET", "http://localhost/runs", token="an-older-token")
        answers = [sent(request, signatures(secrets=role)).status for request in (with_token, without, other)]
        assert answers == [200, 403, 403]

    def test_a_token_that_was_put_in_after_signing_is_refused(self, signed):
        request = signed("GET", "http://localhost/runs")
        request.headers["X-Amz-Security-Token"] = "the-token"
        answer = sent(request, signatures(secrets={KEY: Secret(SECRET, ARN, "the-token")}))
        assert answer.status == 403
        assert "'x-amz-security-token' must be a 'SignedHeader'" in answer.json["detail"]

    @pytest.mark.parametrize(
        ("off", "status"),
        [
            (timedelta(minutes=4, seconds=59), 200),
            (timedelta(minutes=5, seconds=1), 403),
            (-timedelta(minutes=4, seconds=59), 200),
            (-timedelta(minutes=5, seconds=1), 403),
        ],
    )
    def test_a_signature_is_good_for_five_minutes_both_ways(self, signed, off, status):
        answer = sent(signed("GET", "http://localhost/runs"), signatures(now=NOW + off))
        assert answer.status == status

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("AWS4-HMAC-SHA256", "Basic", "must begin with AWS4-HMAC-SHA256"),
            ("Signature=", "Sig=", "requires 'Signature' parameter"),
            ("SignedHeaders=host;x-amz-date", "SignedHeaders=x-amz-date", "'host' must be a 'SignedHeader'"),
            ("SignedHeaders=host;x-amz-date", "SignedHeaders=host", "'x-amz-date' must be a 'SignedHeader'"),
            (
                "host;x-amz-date",
                "host;x-amz-date;x-other",
                "names 'x-other', which the request does not have",
            ),
            ("/aws4_request", "/aws5_request", "Credential must be ACCESS_KEY/DATE/REGION/SERVICE"),
            ("20261121", "20261120", "Date in Credential scope does not match"),
        ],
    )
    def test_a_header_that_is_not_whole_is_refused_with_what_is_wrong(self, signed, old, new, said):
        request = signed("GET", "http://localhost/runs")
        request.headers["Authorization"] = request.headers["Authorization"].replace(old, new)
        answer = sent(request, signatures())
        assert answer.status == 403
        assert said in answer.json["detail"]

    @pytest.mark.parametrize("date", ["yesterday", "", "2026-11-21T12:00:00Z"])
    def test_a_date_that_is_none_is_refused(self, signed, date):
        request = signed("GET", "http://localhost/runs")
        request.headers["X-Amz-Date"] = date
        answer = sent(request, signatures())
        assert answer.status == 403
        assert f"not {date!r}" in answer.json["detail"]


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

    def test_the_encoding_of_the_path_stays_even_where_a_server_only_tells_the_decoded_one(self):
        function = Function()
        decoded = {"REQUEST_URI": "", "PATH_INFO": "/jobs/näch te/runs".encode().decode("latin-1")}
        called(Gateway(function, authorise=anyone), environ_of("GET", "http://localhost/", **decoded))
        assert function.events[0]["path"] == "/jobs/n%C3%A4ch%20te/runs"


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
    def test_a_body_of_ten_megabytes_is_the_largest(self):
        function = Function()
        gateway = Gateway(function, authorise=anyone)
        assert called(gateway, environ_of("POST", "http://localhost/", body=b"x" * LIMIT)).status == 200
        answer = called(gateway, environ_of("POST", "http://localhost/", body=b"x" * (LIMIT + 1)))
        assert answer.status == 413
        assert "Request Too Long" in answer.json["message"]
        assert len(function.events) == 1

    def test_a_body_too_long_is_not_even_read(self):
        unread = io.BytesIO(b"x" * 10)
        lies = {"CONTENT_LENGTH": str(LIMIT + 1), "wsgi.input": unread}
        assert (
            called(Gateway(Function(), authorise=anyone), environ_of("POST", "http://x/", **lies)).status
            == 413
        )
        assert unread.tell() == 0

    def test_a_body_in_chunks_is_read_to_its_end_and_no_further_than_the_limit(self):
        function = Function()
        gateway = Gateway(function, authorise=anyone)
        chunks = {"wsgi.input_terminated": True, "wsgi.input": io.BytesIO(b"whole")}
        assert called(gateway, environ_of("POST", "http://x/", **chunks)).status == 200
        assert function.events[0]["body"] == "whole"
        endless = {"wsgi.input_terminated": True, "wsgi.input": io.BytesIO(b"x" * (LIMIT + 5))}
        assert called(gateway, environ_of("POST", "http://x/", **endless)).status == 413

    @pytest.mark.parametrize("length", ["-1", "many", "1.5"])
    def test_a_length_that_is_none_is_refused(self, length):
        answer = called(
            Gateway(Function(), authorise=anyone), environ_of("POST", "http://x/", CONTENT_LENGTH=length)
        )
        assert answer.status == 400
        assert repr(length) in answer.json["detail"]

    def test_headers_have_a_limit_too(self):
        answer = called(
            Gateway(Function(), authorise=anyone), environ_of("GET", "http://x/", {"X-Long": "x" * 10_240})
        )
        assert answer.status == 431

    def test_a_refusal_of_the_gateways_own_says_who_and_why(self):
        gateway = Gateway(Function(), authorise=lambda _request: Refusal(421, "not here", "Elsewhere"))
        answer = called(gateway, environ_of("GET", "http://x/"))
        assert (answer.status, answer.json["title"]) == (421, "Misdirected Request")
        assert answer.headers["x-amzn-ErrorType"] == "Elsewhere"
