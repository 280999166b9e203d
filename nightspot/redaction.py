"""Decides what of a text may be stored or sent: neither who wrote it nor what opens a door.

Every pattern takes time in proportion to the text: the words behind a failure are the user's, and may be hostile.
"""

from __future__ import annotations

import re

MAX_REASON_CHARACTERS = 1024  # SageMaker's own limit for FailureReason
_READ_CHARACTERS = 32_768  # Step Functions' limit for a cause

_PRIVATE_NAMES = (
    # "ExpiredToken: …" is the name of a fault.
    r"(?<!Expired)(?<!Invalid)(?:token|secret|pass(?:word|wd|phrase)|pwd|api[_-]?key|access[_-]?key(?:[_-]?id)?"
    r"|private[_-]?key|secret[_-]?key|credentials?|signature)"
)
_VALUE = r"""(?:\\?"[^"\\]{1,512}\\?"|'[^']{1,512}'|[^\s]++)"""

# In this order: what opens a door first, so that a looser pattern below leaves nothing of it.
_SECRETS: tuple[tuple[str, str], ...] = (
    (r"(?s)-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}-----|\Z)", "<private key>"),
    (r"(://)[^\s/@\"'<>]{1,256}@", r"\1<secret>@"),
    (r"(?i)\b((?:bearer|authorization:\s{0,4}basic)\s+)(?!<)[\w.~+/=-]++", r"\1<token>"),
    (rf"(?i)({_PRIVATE_NAMES}\\?[\"']?\s{{0,8}}[=:]\s{{0,8}}){_VALUE}", r"\1<secret>"),
    (rf"(?i)((?<![\w-])--[\w-]{{0,40}}{_PRIVATE_NAMES}\s{{1,8}})(?!-){_VALUE}", r"\1<secret>"),
    (r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])", "<access key>"),
    (r"\beyJ[\w-]{6,}+(?:\.[\w-]++){1,2}", "<token>"),
    (
        r"(?i)(?<![\w-])((?:hf|gh[oprsu]|github_pat|glpat|sk|npm|dckr_pat|pypi|xox[abeprs])[-_])(?=[\w-]{0,64}\d)"
        r"[A-Za-z0-9_-]{16,}+",
        r"\1<token>",
    ),
    # The shape of AWS's secret keys: 40 characters of base64, of all kinds. A commit's hash has no capitals.
    (
        r"(?<![\w/+=.-])(?=[a-z0-9/+]{0,39}[A-Z])(?=[A-Z0-9/+]{0,39}[a-z])(?=[A-Za-z/+]{0,39}\d)"
        r"[A-Za-z0-9+][A-Za-z0-9/+]{39}(?![\w/+=.-])",
        "<secret>",
    ),
    (r"(?<![\w.!#$%&'*+/=?^{|}~`-])[\w.!#$%&'*+/=?^{|}~`-]++@[\w-]++(?:\.[\w-]++)+", "<e-mail>"),
    (r"(?i)(s3[an]?://[a-z0-9._-]++/)[^\s\"',)\]]++", r"\1<key>"),
    (r"(?i)(arn:aws[\w-]{0,20}:s3:::[a-z0-9._-]++/)[^\s\"',)\]]++", r"\1<key>"),
    (
        r"(?i)(https?://(?:[a-z0-9._-]{1,80}\.)?s3[a-z0-9.-]{0,40}\.amazonaws\.com(?:\.cn)?/)[^\s\"',)\]]++",
        r"\1<key>",
    ),
    (r"(?i)(\bS3 (?:key|object|prefix)s?\s{0,4}[:=]\s{0,4}\[?[\"']?)(?!s3://)[^\s\"',)\]]++", r"\1<key>"),
    (r"(/home/|/Users/|\\Users\\)[^\s/\\\"':]++", r"\1<user>"),
    (r"(?<![\d-])\d{4}-\d{4}-\d{4}(?![\d-])", "<account>"),
)
_PATTERNS = tuple((re.compile(pattern), replacement) for pattern, replacement in _SECRETS)
_ACCOUNT = re.compile(r"(?<!\d)\d{12}(?!\d)")


def redact(text: str) -> str:
    """`text` without account ids, e-mail addresses, S3 keys, secrets, home paths' users; at most 1,024 characters.

    What is left out is named in angle brackets. Addresses of machines (IPv4) stay: they are needed to see which
    network was not reached, and name nobody.
    """
    text = _whole_words(text)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    text = _ACCOUNT.sub("<account>", text).strip()[:MAX_REASON_CHARACTERS]
    # The cut may have made an account id of a longer number.
    return _ACCOUNT.sub("<account>", text).strip()


def _whole_words(text: str) -> str:
    """As much as is read, without a last word that the cut may have made unrecognisable."""
    if len(text) <= _READ_CHARACTERS:
        return text
    head = text[:_READ_CHARACTERS]
    return head.rsplit(None, 1)[0] if re.search(r"\s", head) else head
