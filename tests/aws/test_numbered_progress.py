"""Of many progress files below a prefix, the newest counts whose checkpoint is there; the rest is harmless."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from nightspot.aws.runs.checkpoints import MOST_PAGES, MOST_PROGRESS_FILES, PROGRESS_FILE, Checkpoints
from nightspot.checkpoint.core.files import checkpoint_name, progress_name
from nightspot.run.progress_file import MOST_BYTES, order_of

URI, PREFIX = "s3://checkpoints/nightly/run-1", "nightly/run-1/"
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)


class S3:
    """Objects by their key, and what was read of them."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.bytes_read = 0

    def put(self, name: str, body: bytes = b"") -> None:
        self.objects[PREFIX + name] = body

    def tell(self, process: int, step: int, number: int, **more: Any) -> str:
        """The word of that process, under its name; the checkpoint comes by `put`."""
        name = progress_name(process, step, number)
        self.put(name, document(process=process, step=step, number=number, **more))
        return name

    def list_objects_v2(self, *, Prefix: str, ContinuationToken: str = "", **_bucket: Any) -> dict[str, Any]:  # noqa: N803
        self.calls.append("list")
        keys = sorted(key for key in self.objects if key.startswith(Prefix) and key > ContinuationToken)
        page = keys[:1000]
        self.bytes_read += sum(250 + len(key) for key in page)  # as XML
        more = {"IsTruncated": True, "NextContinuationToken": page[-1]} if len(keys) > 1000 else {}
        return {"Contents": [{"Key": key, "Size": len(self.objects[key])} for key in page], **more}

    def get_object(self, *, Key: str, **_bucket: Any) -> dict[str, Any]:  # noqa: N803
        self.calls.append("get")
        return {"Body": _Counted(self, self._find(Key, "NoSuchKey"))}

    def head_object(self, *, Key: str, **_bucket: Any) -> dict[str, Any]:  # noqa: N803
        self.calls.append("head")
        return {"ContentLength": len(self._find(Key, "404"))}

    def _find(self, key: str, code: str) -> bytes:
        if key not in self.objects:
            raise ClientError(
                {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 404}}, "GetObject"
            )
        return self.objects[key]

    def progress(self) -> Any:
        self.calls, self.bytes_read = [], 0
        return Checkpoints(self).progress(URI)


class _Counted(io.BytesIO):
    def __init__(self, s3: S3, body: bytes) -> None:
        super().__init__(body)
        self._s3 = s3

    def read(self, size: int | None = -1) -> bytes:
        body = super().read(size)
        self._s3.bytes_read += len(body)
        return body


def document(step: int = 3, **changes: Any) -> bytes:
    good = {
        "schema": 1,
        "step": step,
        "attempt": 1,
        "saved_at": MIDNIGHT.isoformat(),
        "started_at": MIDNIGHT.isoformat(),
        "checkpoint": checkpoint_name(step, 0),
    }
    return json.dumps({**good, **changes}).encode()


@pytest.fixture
def s3() -> S3:
    return S3()


def test_the_newest_whose_checkpoint_is_there_counts(s3):
    for step in (3, 6, 9):
        s3.tell(1, step, step)
    for step in (3, 6):
        s3.put(checkpoint_name(step, 0))

    assert s3.progress().step == 6
    s3.put(checkpoint_name(9, 0))
    assert s3.progress().step == 9


def test_usually_a_look_takes_four_calls(s3):
    for step in (3, 6, 9):
        s3.tell(1, step, step)
        s3.put(checkpoint_name(step, 0))
    assert s3.progress().step == 9
    assert s3.calls == ["list", "get", "head"]

    s3.put(PROGRESS_FILE, document(9, process=1, number=9))
    assert s3.progress().step == 9
    assert s3.calls == ["list", "get", "head", "get", "head"]


def test_a_later_process_counts_before_one_that_was_further(s3):
    """It went back, because what the other one had said cannot be restored."""
    s3.tell(1, 9, 3)
    s3.tell(2, 6, 1, attempt=2)
    for step in (6, 9):
        s3.put(checkpoint_name(step, 0))

    assert (s3.progress().step, s3.progress().attempt) == (6, 2)


def test_a_word_after_a_restore_counts_before_that_of_the_process_that_saved(s3):
    s3.tell(1, 9, 3)
    s3.tell(2, 9, 1, attempt=2, resumed_from={"step": 9, "attempt": 1})
    s3.put(checkpoint_name(9, 0))

    assert s3.progress().resumed_from_step == 9


def test_of_sharded_state_the_newest_that_all_ranks_have_counts(s3):
    for step in (3, 6):
        s3.tell(1, step, step, files=2)
    s3.put(checkpoint_name(3, 0))
    s3.put(checkpoint_name(3, 1))
    s3.put(checkpoint_name(6, 0))

    assert s3.progress().step == 3
    s3.put(checkpoint_name(6, 1))
    assert s3.progress().step == 6


def at(minutes: float) -> str:
    return (MIDNIGHT + timedelta(minutes=minutes)).isoformat()


@pytest.mark.parametrize(
    ("unnumbered", "step"),
    [
        pytest.param({"step": 20, "started_at": at(60)}, 20, id="by a later process of an older library"),
        pytest.param({"step": 20, "started_at": at(-60)}, 9, id="by an earlier process of an older library"),
        pytest.param({"step": 20, "started_at": None, "saved_at": at(60)}, 20, id="of no process, later"),
        pytest.param({"step": 20, "started_at": None, "saved_at": at(-60)}, 9, id="of no process, earlier"),
        pytest.param({"step": 20, "process": 2, "number": 9}, 20, id="further, by the same process"),
        pytest.param({"step": 20, "process": 1, "number": 9}, 9, id="a stale copy"),
        pytest.param(
            {"step": 1, "process": 1, "number": 1, "started_at": at(60)},
            1,
            id="by a process that found nothing and began to count again",
        ),
    ],
)
def test_of_both_kinds_of_file_the_newer_one_counts(s3, unnumbered, step):
    s3.tell(2, 9, 1)
    s3.put(PROGRESS_FILE, document(**unnumbered))
    for each in (1, 9, 20):
        s3.put(checkpoint_name(each, 0))

    assert s3.progress().step == step


def test_an_older_library_alone_is_read_as_ever(s3):
    s3.put(PROGRESS_FILE, document(5))
    s3.put(checkpoint_name(5, 0))

    assert s3.progress().step == 5
    assert s3.calls == ["list", "get", "head"]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("nightspot-99999999999999999999.json", document(99)),
        (progress_name(9_999_999, 99, 1), document(99, process=9_999_999, number=1)),
        (progress_name(3, 10**16, 1), document(99, process=3, number=1)),
        (progress_name(3, 99, 1), b""),
        (progress_name(3, 99, 1), b"{"),
        (progress_name(3, 99, 1), b"[" * MOST_BYTES * 2),
        (progress_name(3, 99, 1), document(99, process=4, number=1)),
        (progress_name(3, 99, 1), document(99)),
        (progress_name(3, 99, 1), document(98, process=3, number=1)),
        (progress_name(3, 99, 1), document(99, process=3, number=1, checkpoint="../x", schema=7)),
        (progress_name(3, 99, 1) + ".0a1b2c3d.tmp", document(99, process=3, number=1)),
        ("nightspot-\u0663\u0663\u0663\u0663\u0663\u0663-000000099-000001.json", document(99)),
        ("nightspot/deep.json", document(99)),
    ],
    ids=[
        "a huge number",
        "more processes than there are",
        "more steps than there are",
        "empty",
        "cut off",
        "too long",
        "of another process",
        "without numbers",
        "of another step",
        "of another schema",
        "half written",
        "foreign digits",
        "in a folder",
    ],
)
def test_what_is_no_progress_file_is_harmless(s3, name, body):
    s3.tell(2, 9, 1)
    s3.put(checkpoint_name(9, 0))
    s3.put(checkpoint_name(99, 0))
    s3.put(name, body)

    assert s3.progress().step == 9


@pytest.mark.parametrize("files", [1, 2, 10_000])
def test_ten_thousand_hostile_files_cost_a_bounded_look(s3, files):
    for number in range(10_000):
        s3.tell(7, 99, number + 1, files=files)
    s3.put(PROGRESS_FILE, document(5))
    s3.put(checkpoint_name(5, 0))
    if files > 1:
        for rank in range(1, files):
            s3.put(checkpoint_name(99, rank))

    assert s3.progress().step == 5
    assert s3.calls.count("list") <= MOST_PAGES
    assert s3.calls.count("get") == MOST_PROGRESS_FILES + 1
    assert s3.bytes_read < (1_000_000 if files == 1 else 8_000_000)


NUMBERS = st.tuples(st.integers(1, 4), st.integers(0, 6), st.integers(1, 4))
WORDS = st.dictionaries(
    NUMBERS, st.sampled_from(["whole", "whole", "cut", "empty", "other", "huge"]), max_size=12
)
NAMES = st.one_of(
    st.text(max_size=40), st.from_regex(r"nightspot-?\d{0,30}(-\d{0,20}){0,3}\.json(\.tmp)?", fullmatch=True)
)


@given(WORDS, st.sets(st.integers(0, 6)), st.dictionaries(NAMES, st.binary(max_size=60), max_size=6))
def test_whatever_is_listed_the_newest_whole_word_with_a_checkpoint_is_found(words, saved, others):
    s3 = S3()
    for name, body in others.items():
        s3.put(f"nightspot{name}" if not name.startswith("nightspot") else name, body)
    for (process, step, number), how in words.items():
        name = s3.tell(process, step, number)
        body = s3.objects[PREFIX + name]
        spoilt = {
            "whole": body,
            "cut": body[:-2],
            "empty": b"",
            "other": document(step, process=process + 1, number=number),
            "huge": body + b" " * MOST_BYTES,
        }
        s3.put(name, spoilt[how])
    for step in saved:
        s3.put(checkpoint_name(step, 0))
    newest_first = sorted(
        [order for key in s3.objects if (order := order_of(key.removeprefix(PREFIX)))], reverse=True
    )
    whole = [
        order
        for order in newest_first[:MOST_PROGRESS_FILES]
        if words.get(order) == "whole" and order[1] in saved
    ]

    found = s3.progress()

    assert (found and (found.process, found.step, found.number)) == (whole[0] if whole else None)
    assert len(s3.calls) <= 2 * (MOST_PROGRESS_FILES + 1) + 1


def test_what_is_deleted_between_the_list_and_the_look_is_missing(s3):
    s3.tell(1, 3, 1)
    gone = s3.tell(1, 6, 2)
    for step in (3, 6):
        s3.put(checkpoint_name(step, 0))
    listed = s3.list_objects_v2

    def late(**given: Any) -> dict[str, Any]:
        answer = listed(**given)
        s3.objects.pop(PREFIX + gone, None)
        return answer

    s3.list_objects_v2 = late

    assert s3.progress().step == 3
