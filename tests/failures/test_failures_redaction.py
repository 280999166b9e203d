"""What is left of a text that is stored: no accounts, addresses, keys or secrets, and never much time spent."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.failures.classify import Fault, classify, redact

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


HEX = "0123456789abcdef"
MIXED = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0fG"  # of all kinds, 32 characters
# Put together here: whoever looks for keys in repositories finds none.
KEYS = {
    "STS session token": ("IQoJ" + "b3JpZ2luX2Vj" + MIXED * 8 + "==", "<token>"),
    "STS session token, another": ("FwoG" + "ZXIvYXdz" + f"{MIXED}/{MIXED}+" * 4, "<token>"),
    "STS session token, an old one": ("AQoD" + "YXdz" + MIXED * 8, "<token>"),
    "STS session token, cut off": ("IQoJ" + "b3JpZ2luX2Vj" + MIXED, "<token>"),
    "Bedrock": ("ABSK" + "QmVkcm9ja0FQSUtleS" + MIXED * 2, "<token>"),
    "Slack webhook": (
        "https://hooks.slack.com/services/" + "T0" + "AB12CD/B0" + "EF34GH/" + MIXED[:24],
        "https://hooks.slack.com/services/<secret>",
    ),
    "Slack workflow": (
        "https://hooks.slack.com/workflows/" + "T0" + "AB12CD/A0/1/" + MIXED,
        "https://hooks.slack.com/workflows/<secret>",
    ),
    "Slack bot": ("xox" + "b-1234567890-" + MIXED, "xoxb-<token>"),
    "Slack app": ("xap" + "p-1-A0-" + MIXED, "xapp-<token>"),
    "Discord webhook": (
        "https://discord.com/api/webhooks/" + "1234567890/" + MIXED * 2,
        "https://discord.com/api/webhooks/<secret>",
    ),
    "Teams webhook": (
        "https://team.webhook.office.com/webhookb2/" + f"{HEX}@{HEX}/IncomingWebhook/{HEX}",
        "https://team.webhook.office.com/<secret>",
    ),
    "Telegram": ("1234567" + "890:AA" + MIXED + "x", "<token>"),
    "Telegram address": (
        "https://api.telegram.org/bot" + "1234567890:" + MIXED + "/sendMessage",
        "https://api.telegram.org/bot<secret>/sendMessage",
    ),
    "Weights & Biases": ("wandb " + "login " + HEX * 2 + HEX[:8], "wandb login <token>"),
    "Weights & Biases, in a text": (
        "wandb: ERROR invalid key " + HEX * 2 + HEX[:8] + " given",
        "wandb: ERROR invalid key <token> given",
    ),
    "Weights & Biases, in the environment": ("WANDB_API_KEY=" + HEX * 2 + HEX[:8], "WANDB_API_KEY=<secret>"),
    "Weights & Biases, an API key": ("the API key " + HEX * 2 + HEX[:8] + " is", "the API key <token> is"),
    "Weights & Biases, a server of one's own": ("local-" + HEX * 2 + HEX[:8], "<token>"),
    "Weights & Biases, new": ("wandb" + "_v1_" + MIXED * 2, "wandb_v1_<token>"),
    ".netrc": (
        "machine api.wandb.ai login user password " + HEX,
        "machine api.wandb.ai login user password <secret>",
    ),
    "Google": ("AI" + "za" + "Sy" + MIXED + "_", "<token>"),
    "Google OAuth": ("ya" + "29." + MIXED, "<token>"),
    "Google client": ("GOC" + "SPX-" + MIXED[:28], "GOCSPX-<token>"),
    "Databricks": ("da" + "pi" + HEX * 2, "<token>"),
    "Databricks, second": ("da" + "pi" + HEX * 2 + "-2", "<token>"),
    "SendGrid": ("S" + "G." + MIXED[:22] + "." + MIXED + "_ab", "<token>"),
    "Azure account": (
        "DefaultEndpointsProtocol=https;AccountName=x;Account" + "Key=" + MIXED * 2 + "==;EndpointSuffix=y",
        "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=<secret>",
    ),
    "Azure bus": ("SharedAccess" + "Key=" + MIXED + "=", "SharedAccessKey=<secret>"),
    "Azure address": (
        "https://x.blob.core.windows.net/c/b?sv=2022-11-02&sig=" + MIXED + "%3D&se=2026",
        "https://x.blob.core.windows.net/c/b?sv=2022-11-02&sig=<secret>&se=2026",
    ),
    "Azure signature": ("SharedAccess" + "Signature=sr=x", "SharedAccessSignature=<secret>"),
    "Azure client": ("abc" + "8Q~" + MIXED + "ab", "<token>"),
    "cookie": ("Cookie: session=" + MIXED + "; theme=dark", "Cookie: <secret>"),
    "cookie that is set": (
        "Set-Cookie: id=" + MIXED + "; Path=/; HttpOnly\nnext",
        "Set-Cookie: <secret>\nnext",
    ),
    "cookie in a dictionary": (
        "{'Cookie': 'id=" + MIXED + "; a=b', 'Host': 'x'}",
        "{'Cookie': '<secret>', 'Host': 'x'}",
    ),
    "cookie in JSON": (r'{"cookie": "id=' + MIXED + '", "a": 1}', r'{"cookie": "<secret>", "a": 1}'),
    "header": ("Authorization: Token " + HEX, "Authorization: <token>"),
    "header in a dictionary": ("{'Authorization': 'Splunk " + HEX + "'}", "{'Authorization': '<token>'}"),
    "header of a key": ("x-api-key: " + MIXED, "x-api-key: <secret>"),
    "Stripe": ("sk" + "_live_" + MIXED, "sk_<token>"),
    "Stripe, restricted": ("rk" + "_live_" + MIXED, "rk_<token>"),
    "Stripe, webhook": ("whs" + "ec_" + MIXED, "whsec_<token>"),
    "Twilio": ("S" + "K" + HEX * 2, "<token>"),
    "OpenAI": ("sk" + "-proj-" + MIXED * 2, "sk-<token>"),
    "Anthropic": ("sk" + "-ant-api03-" + MIXED * 2, "sk-<token>"),
    "Groq": ("gs" + "k_" + MIXED, "gsk_<token>"),
    "Replicate": ("r" + "8_" + MIXED, "r8_<token>"),
    "Hugging Face": ("h" + "f_" + MIXED, "hf_<token>"),
    "GitLab": ("gl" + "pat-" + MIXED[:20], "glpat-<token>"),
    "GitLab runner": ("gl" + "rt-" + MIXED[:20], "glrt-<token>"),
    "GitHub": ("gh" + "p_" + MIXED + "abcd", "ghp_<token>"),
    "npm": ("np" + "m_" + MIXED + "abcd", "npm_<token>"),
    "PyPI": ("py" + "pi-AgEI" + MIXED * 3, "pypi-<token>"),
    "Neptune": ("ey" + "JhcGlfYWRkcmVzcyI6" + MIXED + "==", "<token>"),
    "Vault": ("hv" + "s." + MIXED, "<token>"),
    "Atlassian": ("ATAT" + "T3xFfGF0" + MIXED, "<token>"),
    "presigned by AWS": (
        "https://cdn/x?X-Amz-Security-Token=" + "IQoJ" + MIXED * 4 + "&X-Amz-Signature=" + HEX * 4,
        "https://cdn/x?X-Amz-Security-Token=<secret>",
    ),
    "presigned by Google": (
        "https://cdn/x?X-Goog-Signature=" + HEX * 4,
        "https://cdn/x?X-Goog-Signature=<secret>",
    ),
    "key of an address": ("https://x/v1?key=" + MIXED + "&q=1", "https://x/v1?key=<secret>&q=1"),
    "JDBC": (
        "jdbc:postgresql://h/db?user=jo&password=hunter2",
        "jdbc:postgresql://h/db?user=jo&password=<secret>",
    ),
    "JDBC, Oracle": ("jdbc:oracle:thin:jo/hunter2@h:1521/db", "jdbc:oracle:thin:<secret>@h:1521/db"),
    "ODBC": ("Server=h;Uid=jo;Pwd=hunter2;", "Server=h;Uid=jo;Pwd=<secret>"),
    "an address with two signs": ("redis://:pa@ss@h:6379/0", "redis://<secret>@h:6379/0"),
    "PGP": (
        "-----BEGIN PGP PRIVATE KEY" + " BLOCK-----\nabc\n-----END PGP PRIVATE KEY BLOCK-----",
        "<private key>",
    ),
    "XML of STS": (
        "<SessionToken>" + "IQoJ" + MIXED * 4 + "</SessionToken>",
        "<SessionToken><token></SessionToken>",
    ),
    "nobody's kind": ("state " + MIXED * 7 + " end", "state <token> end"),
    "no width inside": ("gl" + "pat-" + "\u200b" + MIXED[:10] + "\u200b" + MIXED[10:20], "glpat-<token>"),
}


@pytest.mark.parametrize(("text", "stored"), KEYS.values(), ids=KEYS)
def test_the_keys_of_all_kinds_of_services_are_taken_out(text, stored):
    assert redact(f"said: {text}") == f"said: {stored}"


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
        "wandb: run nightly-7 at commit 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "no cookies are needed, no authorization either",
        "could not resolve host: hooks.slack.com",
        "voyage-large-2-instruct and text-embedding-3-small",
        "/opt/ml/code/Models/Experiment-12/checkpoints/Epoch_3/weights",
        "keyword arguments: key=value, sort=name",
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
        *(
            "wandb ",
            "login ",
            "login a password ",
            "authorization: a ",
            "cookie: a ",
            "api key ",
            "IQoJ",
            "IQoJa ",
        ),
        *(
            "SG.",
            "SG.aaaaaaaaaaaaaaaaaa.",
            "&sig=",
            "?key=",
            "hooks.slack.com/a/",
            "jdbc:oracle:thin:a/",
            "8Q~",
        ),
        *(
            "0123456789:AA",
            "local-",
            "aA1/",
            "://a",
            "://@",
            "eyJ",
            "\x1b[",
            "\x1b]0;",
            "\x9d",
            "\u202e",
            "\r",
        ),
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
