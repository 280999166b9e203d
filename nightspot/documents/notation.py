"""In which notation a document stands: JSON, YAML, a printed Python object; or what it is that cannot be read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from nightspot.documents.printed import UnreadablePrintError, looks_printed, may_be_printed, read_printed
from nightspot.failures import texts
from nightspot.formats.strict_json import read_json
from nightspot.job.errors import WHOLE_FILE, InvalidJobError, Problem, describe
from nightspot.job.reading import read_yaml

# Executions have long histories; YAML is read slowly.
_MOST_YAML_CHARACTERS = 1_000_000
_MOST_LOOKED_AT = 50_000
_ASK_FOR_JSON = "ask for JSON: --output json"

# How files begin that hold no text.
_PACKED = (
    (b"\x1f\x8b", "is compressed (gzip), as CloudTrail's files are: unpack it with gunzip"),
    (b"PK\x03\x04", "is a zip archive: unpack it"),
    (b"BZh", "is compressed (bzip2): unpack it with bunzip2"),
    (b"%PDF", "is a PDF, not text"),
    (b"\x80\x04", "is a pickled Python object: print it with json.dumps(…, default=str)"),
    (b"\x80\x05", "is a pickled Python object: print it with json.dumps(…, default=str)"),
)
_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)

# Texts that say what they are, and that nobody can read back.
_UNREADABLE = (
    (
        re.compile(r"\s*-{10,}\s*\n\|[^\n]{0,400}\|\s*\n[+|]"),
        f"is the table output of the AWS CLI, which leaves values out: {_ASK_FOR_JSON}",
    ),
    (
        re.compile(
            r"(?m)\A(?:[^\n]*\n){0,60}?(?:ALGORITHMSPECIFICATION|RESOURCECONFIG|STOPPINGCONDITION"
            r"|OUTPUTDATACONFIG"
            r"|TRAININGJOBSUMMARIES|SECONDARYSTATUSTRANSITIONS|HYPERPARAMETERS|EXECUTIONS|EVENTS"
            r"|PIPELINEEXECUTIONSTEPS)\t"
        ),
        f"is the text output of the AWS CLI, which has no names of fields: {_ASK_FOR_JSON}",
    ),
    (
        re.compile(r"\s*<(?:!DOCTYPE|html|\?xml)\b", re.IGNORECASE),
        "is HTML or XML: copy the text out of it, or ask for JSON",
    ),
)
# What is no document, but may stand in a log.
_PROGRAMS = (
    (
        re.compile(
            r"(?:[^\n]*\n){0,400}?\s*(?:resource|module|provider|data"
            r"|variable)\s+\"[\w-]+\"(?:\s+\"[\w-]+\")?\s*\{"
        ),
        "is a Terraform file: give what AWS has, the output of aws sagemaker describe-training-job",
    ),
    (
        re.compile(
            r"(?s)\s*(?:#[^\n]*\n|\"\"\"|'''|from [\w.]+ import |import \w+).*(?:Estimator|ModelTrainer"
            r"|PyTorch)\("
        ),
        "is a Python program: give what it makes, "
        "json.dumps(sagemaker.workflow.airflow.training_config(estimator)) "
        "of the SageMaker SDK 2, or the description of a job that it has started",
    ),
)


@dataclass(frozen=True)
class Notation:
    """The plain data of a text (None where it is words), and what is wrong with a notation that can be read."""

    data: Any = None
    problems: tuple[Problem, ...] = ()


def decoded(raw: bytes, *, lenient: bool = False) -> str:
    """The text of a file's bytes: UTF-8, or what its byte order mark says; `lenient` takes what is no text for �.

    Raises InvalidJobError, which says what it is instead.
    """
    for start, rule in _PACKED:
        if raw.startswith(start):
            raise InvalidJobError([Problem(WHOLE_FILE, f"{len(raw)} bytes", rule)])
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), "utf-8")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        if lenient:
            return raw.decode(errors="replace")
        raise InvalidJobError([Problem(WHOLE_FILE, f"{len(raw)} bytes", "must be UTF-8 text")]) from error


def read_notation(text: str, *, lenient: bool = False) -> Notation:
    """The plain data of `text`. Raises InvalidJobError where it is a notation that cannot be read back.

    Words, of whatever sort, have no data; `lenient` takes programs for words too.
    """
    if texts.is_users_text(text):
        # Behind AlgorithmError stands whatever a training script has printed.
        return Notation()
    data = _json(text)
    if data is not None:
        return data
    for pattern, rule in _UNREADABLE if lenient else (*_UNREADABLE, *_PROGRAMS):
        if pattern.match(text[:_MOST_LOOKED_AT]):
            raise InvalidJobError([Problem(WHOLE_FILE, "the text", rule)])
    return _printed(text) or _yaml(text)


def _json(text: str) -> Notation | None:
    twice: list[str] = []
    stripped = text.strip().removeprefix("\ufeff")
    try:
        data = read_json(stripped, twice.append)
    except (ValueError, RecursionError):
        data = _several(stripped, twice)
        if data is None:
            return None
    if isinstance(data, str) and data.lstrip()[:1] in {"{", "["}:
        return _json(data)  # JSON in JSON
    rule = "the key appears twice in one mapping"
    return Notation(
        data, tuple(Problem(key[:80] or WHOLE_FILE, describe(key), rule) for key in dict.fromkeys(twice))
    )


def _several(text: str, twice: list[str]) -> list[Any] | None:
    """Documents one after the other, as several commands and logs write them; None for anything else."""
    if text[:1] not in {"{", "["}:
        return None
    decoder, found, position = json.JSONDecoder(), [], 0
    try:
        while position < len(text):
            _, end = decoder.raw_decode(text, position)
            found.append(read_json(text[position:end], twice.append))
            position = end + len(text[end:]) - len(text[end:].lstrip())
    except (ValueError, RecursionError):
        return None
    return found if len(found) > 1 else None


def _printed(text: str) -> Notation | None:
    if not (looks_printed(text) or may_be_printed(text)):
        return None
    try:
        return Notation(read_printed(text))
    except UnreadablePrintError as error:
        if not looks_printed(text):
            return None
        rule = f"is a printed Python object, and {error}: print it with json.dumps(…, default=str)"
        raise InvalidJobError([Problem(WHOLE_FILE, "the text", rule)]) from error


_STARTS_YAML = re.compile(
    r"(?:\s*#[^\n]*\n|\s*---[^\n]*\n|\s*%YAML[^\n]*\n)*\s*(?:- |[\"']?[\w./:-]+[\"']?\s*:(?:\s|$)|\{|\[)"
)
_BETWEEN = re.compile(r"(?m)^---(?:[ \t].*)?$")


def _yaml(text: str) -> Notation:
    if not _STARTS_YAML.match(text):
        return Notation()
    parts = [part for part in _BETWEEN.split(text) if part.strip()]
    found = [read_yaml(part, _MOST_YAML_CHARACTERS) for part in parts[:100]]
    data = [document for document, _ in found]
    problems = tuple(problem for _, each in found for problem in each)
    if any(document is None for document in data):
        return Notation(None, problems)
    return Notation(data[0] if len(data) == 1 else data, problems)
