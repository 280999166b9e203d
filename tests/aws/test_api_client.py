"""How the API's client signs, what it repeats, and what it makes of refusals."""

import json
from dataclasses import dataclass, field

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import EndpointConnectionError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.api_client import (
    PAUSE_SECONDS,
    ApiClient,
    ApiError,
    ApiUrlError,
    checked_url,
    is_loopback,
    region_of,
)

URL = "https://abc123.execute-api.eu-west-1.amazonaws.com/prod"
HERE = "http://127.0.0.1:8787"
KEYS = Credentials("AKIDEXAMPLE", "not-a-secret", "a-session")


@dataclass
class Reply:
    status_code: int
    body: object = None
    headers: dict = field(default_factory=dict)

    @property
    def content(self):
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Server:
    """Answers in turn; an exception is raised. Remembers what it was asked and how long was slept."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.slept = []

    def __call__(self, request):
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, url=URL, credentials=KEYS, **options):
        return ApiClient(url, credentials=credentials, send=self, sleep=self.slept.append, **options)


NO_ANSWER = EndpointConnectionError(endpoint_url=URL)


def test_a_call_is_signed_for_api_gateway_in_the_region_of_its_address():
    server = Server(Reply(200, {"runs": []}))
    assert server.client().get("/runs", {"job": "a b", "cursor": None, "limit": 5}) == {"runs": []}
    [request] = server.asked
    assert request.url == f"{URL}/runs?job=a%20b&limit=5"
    signed = request.headers["Authorization"]
    assert "AKIDEXAMPLE/" in signed
    assert "/eu-west-1/execute-api/aws4_request" in signed
    assert request.headers["X-Amz-Security-Token"] == "a-session"


def test_every_repetition_has_a_signature_of_its_own():
    class Renewed:
        count = 0

        def get_frozen_credentials(self):
            self.count += 1
            return Credentials(f"AKID{self.count}", "x").get_frozen_credentials()

    server = Server(Reply(503, {}), Reply(200, {}))
    server.client(credentials=Renewed()).get("/jobs")
    assert [request.headers["Authorization"].split("AKID")[1][0] for request in server.asked] == ["1", "2"]


def test_an_address_of_this_machine_is_asked_unsigned():
    server = Server(Reply(200, {}))
    server.client(HERE, credentials=None).get("/jobs")
    assert "Authorization" not in server.asked[0].headers


@pytest.mark.parametrize(
    ("url", "is_here"),
    [
        ("http://localhost:1/", True),
        ("http://api.localhost", True),
        ("http://[::1]:8787", True),
        ("http://127.8.8.8", True),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost.example.com", False),
        ("http://10.0.0.1", False),
    ],
)
def test_only_what_is_this_machine_counts_as_such(url, is_here):
    assert is_loopback(url) is is_here
    if not is_here:
        with pytest.raises(ApiUrlError, match="must be https"):
            checked_url(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("abc", "must be an address such as"),
        ("ftp://127.0.0.1", "must be an address such as"),
        ("https://", "must be an address such as"),
        ("https://a.example:port", "is no address"),
        (f"{URL}?x=1", "nothing behind"),
        (f"{URL}#x", "nothing behind"),
        ("https://me:word@api.example/prod", "must have no user"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(url, words):
    with pytest.raises(ApiUrlError, match=words):
        checked_url(url)


def test_credentials_and_region_are_asked_for_where_they_are_needed():
    with pytest.raises(ApiUrlError, match="needs credentials"):
        ApiClient(URL)
    with pytest.raises(ApiUrlError, match="does not say its region"):
        ApiClient("https://api.example.com", credentials=KEYS)
    assert region_of("https://x.execute-api.cn-north-1.amazonaws.com.cn/prod") == "cn-north-1"
    assert region_of("https://execute-api.example.com") is None


@pytest.mark.parametrize("first", [Reply(429, {}), Reply(500, {}), Reply(503, {}), NO_ANSWER])
def test_a_get_and_a_post_with_a_key_are_repeated(first):
    server = Server(first, Reply(200, {"a": 1}))
    assert server.client().get("/jobs") == {"a": 1}
    server = Server(first, first, Reply(202, {"b": 2}))
    assert server.client().post("/jobs/x/runs", {"budget": 5}, idempotency_key="k").status == 202
    assert server.slept == list(PAUSE_SECONDS[:2])
    assert {request.headers["Idempotency-Key"] for request in server.asked} == {"k"}
    assert json.loads(server.asked[-1].body) == {"budget": 5}


def test_a_post_without_a_key_is_not_repeated():
    server = Server(Reply(503, {"detail": "AWS could not answer just now"}))
    with pytest.raises(ApiError, match="503: AWS could not answer just now"):
        server.client().post("/runs/x/stop", {})
    with pytest.raises(TransientAwsError):
        Server(NO_ANSWER).client().post("/runs/x/stop", {})


def test_the_server_says_how_long_to_wait_within_reason():
    server = Server(
        Reply(429, {}, {"Retry-After": "5"}),
        Reply(429, {}, {"Retry-After": "86400"}),
        Reply(429, {}, {"Retry-After": "Sat, 21 Nov 2026 00:00:00 GMT"}),
        Reply(200, {}),
    )
    server.client().get("/jobs")
    assert server.slept == [5.0, 60.0, PAUSE_SECONDS[2]]


def test_after_the_last_repetition_the_fault_is_told():
    tries = len(PAUSE_SECONDS) + 1
    with pytest.raises(ApiError) as refused:
        Server(*[Reply(503, {})] * tries).client().get("/jobs")
    assert refused.value.status == 503
    with pytest.raises(TransientAwsError, match="does not answer"):
        Server(*[NO_ANSWER] * tries).client().get("/jobs")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            {"title": "T", "detail": "D", "errors": [{"field": "deadline", "value": "'x'", "rule": "must"}]},
            "422: D; deadline: 'x': must",
        ),
        (
            {"detail": "a: 'x': must", "errors": [{"field": "a", "value": "'x'", "rule": "must"}]},
            "422: a: 'x': must",
        ),
        ({"title": "The request breaks a rule"}, "422: The request breaks a rule"),
        ({"message": "Forbidden"}, "422: Forbidden"),
        (["x"], "422: the API gives no reason"),
        (b"<html>", "422: the API gives no reason"),
    ],
)
def test_a_refusal_is_in_the_api_s_words(body, text):
    with pytest.raises(ApiError) as refused:
        Server(Reply(422, body)).client().get("/jobs")
    assert str(refused.value) == text


def test_a_refusal_tells_no_account_and_a_page_is_no_answer():
    with pytest.raises(ApiError, match="<account>"):
        Server(Reply(403, {"message": "arn:aws:iam::123456789012:user/x may not"})).client().get("/jobs")
    with pytest.raises(ApiError, match="is this the API's address"):
        Server(Reply(200, b"<html>")).client().get("/jobs")
    assert Server(Reply(204, b"")).client().post("/x", {}).body is None
