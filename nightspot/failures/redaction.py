"""What of a text may be stored or sent: neither who wrote it nor what opens a door.

Every pattern takes time in proportion to the text: the words behind a failure are the user's, and may be hostile.
"""

from __future__ import annotations

import re

from nightspot.formats.figures import visible

# fact: sagemaker.failurereason.characters
MAX_REASON_CHARACTERS = 1024  # SageMaker's own limit for FailureReason
_READ_CHARACTERS = (
    8_192  # of what is stored or sent, 1,024: what stands behind them only counts if secrets go
)

_PRIVATE_NAMES = (
    # "ExpiredToken: …" is the name of a fault.
    r"(?<!Expired)(?<!Invalid)(?:token|secret|pass(?:word|wd|phrase)|pwd|api[ _-]?key"
    r"|access[ _-]?key(?:[ _-]?id)?|(?:account|auth|encryption|master|private|secret|shared|signing)[ _-]?key"
    r"|credentials?|signature)"
)
_VALUE = r"""(?:\\?"[^"\\]{1,512}\\?"|'[^']{1,512}'|[^\s]++)"""
# A name and its value, as code, a header, JSON and a printed dictionary write them.
_IS = r"\\?[\"']?\s{0,8}[=:]\s{0,8}"
# How the keys of services begin that say whose they are; - or _ follows. A digit must come soon: a word has none.
_PREFIXES = "|".join(
    (
        "hf|gh[oprsu]|github_pat|gl(?:pat|agent|cbt|dt|ft|imt|ptt|rt|soat)|npm|pypi|rubygems|dckr_[op]at",
        "xox[abeprs]|xapp|wandb_v1|sk|rk|whsec|gsk|r8|pplx|xai|tgp_v1|pcsk|lsv2_(?:pt|sk)|nvapi",
        "do[opr]_v1|shp(?:at|ca|pa|ss)|lin_api|ntn|figd|pmak|nrak|gl(?:sa|c)|sntry[su]|phc|gocspx|hrku|tskey",
    )
)

# In this order: what opens a door first, so that a looser pattern below leaves nothing of it.
_SECRETS: tuple[tuple[str, str], ...] = (
    (
        r"(?s)-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]{0,40}-----|\Z)",
        "<private key>",
    ),
    (r"(://)[^\s/\"'<>]{1,256}@", r"\1<secret>@"),
    (r"(?i)(\bjdbc:oracle:\w{1,8}:)[^\s/@]{1,128}/[^\s/@]{1,128}@", r"\1<secret>@"),
    # Addresses that are keys: whoever knows one may post there.
    (r"(?i)(\bhooks\.slack(?:-gov)?\.com/\w{1,20}/)[\w/+-]++", r"\1<secret>"),
    (r"(?i)(\bdiscord(?:app)?\.com/api/(?:v\d{1,2}/)?webhooks/)[\w/-]++", r"\1<secret>"),
    (r"(?i)(\bwebhook\.office\.com/|\boutlook\.office\.com/webhook/)[^\s\"'<>]++", r"\1<secret>"),
    (r"(?i)(\bapi\.telegram\.org/bot)[\w:-]++", r"\1<secret>"),
    (r"(?i)([?&](?:key|code|auth|jwt|sid|session_?id|sig)=)[^\s&\"'<>]++", r"\1<secret>"),
    (rf"(?i)(\b(?:set-)?cookie2?{_IS}\\?[\"']?)[^\s\"'\\<>][^\r\n\"'\\]{{0,4096}}+", r"\1<secret>"),
    (r"(?i)\b((?:bearer|authorization:\s{0,4}basic)\s+)(?!<)[\w.~+/=-]++", r"\1<token>"),
    (
        rf"(?i)(\b(?:proxy-)?authorization{_IS}\\?[\"']?)(?!bearer\b|basic\b)(?:[\w-]{{1,32}}\s+)?[^\s\"'\\<]++",
        r"\1<token>",
    ),
    (rf"(?i)({_PRIVATE_NAMES}{_IS}){_VALUE}", r"\1<secret>"),
    (rf"(?i)(\b(?:shared[ _-]?access[ _-]?signature|sig){_IS})(?!<){_VALUE}", r"\1<secret>"),
    (rf"(?i)((?<![\w-])--[\w-]{{0,40}}{_PRIVATE_NAMES}\s{{1,8}})(?!-){_VALUE}", r"\1<secret>"),
    (r"(?i)(\blogin\s{1,8}[^\s]{1,256}\s{1,8}password\s{1,8})[^\s]++", r"\1<secret>"),  # .netrc
    (r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])", "<access key>"),
    # AWS's session tokens and Bedrock's keys are base64 of what always begins alike.
    (r"(?<![\w/+=-])(?:IQo[J-L]|F[A-Za-z]oG|AQo[DE]|ABSK)[\w/+%-]{24,}+=*+", "<token>"),
    (r"\beyJ[\w-]{6,}+(?:\.[\w-]++){1,2}", "<token>"),
    (r"\beyJ[\w/+-]{24,}+=*+", "<token>"),
    (rf"(?i)(?<![\w-])((?:{_PREFIXES})[-_])(?=[\w-]{{0,64}}\d)[A-Za-z0-9_-]{{16,}}+", r"\1<token>"),
    (r"(?<![\w-])(?:AIza[\w-]{30,}+|ya29\.[\w.-]{16,}+|1//0[\w-]{24,}+)", "<token>"),  # Google
    (r"(?<![\w-])SG\.[\w-]{16,}+\.[\w-]{16,}+", "<token>"),  # SendGrid
    (r"(?<![\w-])(?:dapi|dkea|dose)[0-9a-f]{32}(?:-\d)?(?![\w-])", "<token>"),  # Databricks
    (r"(?<![\w-])(?:SK|AC)[0-9a-f]{32}(?![\w-])", "<token>"),  # Twilio
    (r"(?<![\w-])hv[bs]\.[\w-]{20,}+|\bATATT3[\w=-]{20,}+|[\w~.-]{3}8Q~[\w~.-]{31,}+", "<token>"),
    (r"(?<![\w:-])\d{8,10}:AA[\w-]{33}(?![\w-])", "<token>"),  # Telegram
    # Weights & Biases' keys are 40 hexadecimal digits, as a commit's hash is: the words before tell them apart.
    (
        r"(?i)(\b(?:wandb|weights\s?&\s?biases|api[ _-]?keys?|log[ -]?in|relogin|authoriz\w{1,8})\b[^\n]{0,80}?)"
        r"(?<!commit )(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])",
        r"\1<token>",
    ),
    (r"(?<![\w-])local-[0-9a-f]{40}(?![0-9a-f])", "<token>"),
    # The shape of AWS's secret keys: 40 characters of base64, of all kinds. A commit's hash has no capitals.
    (
        r"(?<![\w/+=.-])(?=[a-z0-9/+]{0,39}[A-Z])(?=[A-Z0-9/+]{0,39}[a-z])(?=[A-Za-z/+]{0,39}\d)"
        r"[A-Za-z0-9+][A-Za-z0-9/+]{39}(?![\w/+=.-])",
        "<secret>",
    ),
    # What is longer than any name and as mixed is a key of somebody's.
    (
        r"(?<![\w/+=.-])(?=[a-z0-9/+_-]{0,199}[A-Z])(?=[A-Z0-9/+_-]{0,199}[a-z])(?=[A-Za-z/+_-]{0,199}\d)"
        r"[\w/+-]{200,}+=*+",
        "<token>",
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

    What is left out is named in angle brackets; what cannot be seen (control characters) is dropped first, so that
    it hides nothing. Addresses of machines (IPv4) stay: they are needed to see which network was not reached, and
    name nobody.
    """
    text = visible(_whole_words(text))
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
    words = head.rsplit(None, 1)
    return words[0] if len(words) > 1 else head
