"""What is left of a text that is stored: no accounts, addresses, keys or secrets, and never much time spent."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.failures import Fault, classify, redact

LONGEST = 32_768  # a cause of Step Functions
ALLOWED_SECONDS = (
    0.25  # some milliseconds, on a busy machine; with a pattern that tries every pair, ten seconds
)
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY"


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        (f"key {SECRET_KEY} leaked", "key <secret> leaked"),
        ("Bearer abc.def-123 x", "Bearer <token> x"),
        ("authorization: basic dXNlcjpwYXNz", "authorization: basic <token>"),
        ("jwt eyJhbGciOiJI.eyJzdWIiOiIx.SflKxw end", "jwt <token> end"),
        ("https://jo:hunter2@git.example.com/x", "https://<secret>@git.example.com/x"),
        ("https://ghtoken@git.example.com/x", "https://<secret>@git.example.com/x"),
        (
            "GET https://b.s3.eu-west-1.amazonaws.com/jo/x.csv?X-Amz-Signature=ab12 403",
            "GET https://b.s3.eu-west-1.amazonaws.com/<key> 403",
        ),
        ("https://cdn/x?X-Amz-Signature=ab12", "https://cdn/x?X-Amz-Signature=<secret>"),
        ("arn:aws:s3:::data/people/jo.csv", "arn:aws:s3:::data/<key>"),
        ("S3 key: people/jo.csv is bad", "S3 key: <key> is bad"),
        ("S3 prefix: [people/jo] is bad", "S3 prefix: [<key>] is bad"),
        ("train.py --hf-token abc --epochs 3", "train.py --hf-token <secret> --epochs 3"),
        ("--password 'two words' x", "--password <secret> x"),
        ('{"password": "two words", "x": 1}', '{"password": <secret>, "x": 1}'),
        (r"{\"api_key\":\"abc\", 1", r"{\"api_key\":<secret>, 1"),
        ('File "/home/jo/train.py"', 'File "/home/<user>/train.py"'),
        ("at /Users/jo/x", "at /Users/<user>/x"),
        ("account 1234-5678-9012", "account <account>"),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/x:1", "<account>.dkr.ecr.eu-west-1.amazonaws.com/x:1"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- x", "<private key> x"),
        ("-----BEGIN PRIVATE KEY-----\nMII cut off", "<private key>"),
        ("glpat-abcdefghij1234567890", "glpat-<token>"),
    ],
)
def test_what_opens_a_door_or_names_somebody_is_taken_out(text, stored):
    assert redact(text) == stored


@pytest.mark.parametrize(
    "text",
    [
        "ExpiredToken: The provided token has expired",
        "InvalidSignature: The request signature is wrong",
        "connect to 10.0.0.7:443 refused",
        "image x@sha256:0123456789abcdef",
        "commit 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12",
        "S3 prefix has to end with a full file or folder",
        "--tokenizer_name distilbert --sk-learn-something-rather-long x",
        "/opt/conda/lib/python3.11/site-packages/torch/nn/modules/module.py",
        "the basic training and its secrets",
    ],
)
def test_what_helps_and_harms_nobody_stays(text):
    assert redact(text) == text


@given(st.text(max_size=50), st.from_regex(r"[0-9]{12}", fullmatch=True), st.text(max_size=50))
def test_no_account_id_is_ever_left(before, account, after):
    assert re.search(r"(?<!\d)\d{12}(?!\d)", redact(f"{before}{account}{after}")) is None


@given(st.sampled_from(["{}", "ask {}, please", '"{}"', "to:{}", "<{}>", "x={}"]), st.emails())
def test_no_e_mail_address_is_ever_left(glue, address):
    assert address not in redact(glue.format(address))


def test_an_account_id_that_only_the_cut_makes_is_not_left():
    assert redact("x" * 1012 + "1234567890123") == "x" * 1012 + "<account>"


def test_a_secret_on_the_edge_of_what_is_read_is_not_left():
    # What is taken out makes the text short enough for its end to be kept.
    text = f"token={'a' * (LONGEST - 20)} jo@example.com {'y' * 50}"
    assert redact(text) == "token=<secret>"


def test_a_longer_text_than_is_read_loses_its_end_only():
    assert redact("word " * 10_000).startswith("word word")
    assert len(redact("word " * 10_000)) <= 1024
    assert redact("z" * 40_000) == "z" * 1024


HOSTILE = {
    part: (part * LONGEST)[:LONGEST]
    for part in (
        *("a", "1", "@", " ", "\n", "-", "=", "\\", "{", "[", "://", "a@", "a.", "Aa1", "-a", "--", "1234-"),
        *('{"a":', '{"a":1,', "token", 'password="', "secret-key", "access_key_", "bearer ", "--token "),
        *("s3://", "https://s3", "eyJaaaaaaaa.", "sk-1", "/home/", "arn:aws:s3:::", "-----BEGIN PRIVATE KEY"),
        *(
            "Failed Reason: ",
            "ClientError: ",
            "SageMaker.Foo: ",
            "(Service: ",
            "S3 key: ",
            "An error occurred (X)",
        ),
        "An error occurred (X) when calling the Y operation: ",
    )
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=[repr(part) for part in HOSTILE])
def test_the_longest_hostile_text_is_read_at_once(text):
    for read in (
        redact,
        lambda hostile: classify(failure_reason=hostile),
        lambda hostile: classify(fault=Fault("SageMaker.SageMakerException", hostile)),
    ):
        # One of three: the machine may be busy with something else.
        assert any(seconds(read, text) < ALLOWED_SECONDS for _ in range(3))


def seconds(read, text):
    started = time.process_time()
    read(text)
    return time.process_time() - started
