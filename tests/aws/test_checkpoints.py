"""Progress as the training side wrote it, read from the checkpoint prefix."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.checkpoints import MOST_PAGES, PROGRESS_FILE, Checkpoints
from nightspot.checkpoint import Checkpointer
from nightspot.run.model import Progress
from nightspot.run.progress_file import MOST_BYTES

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
BUCKET = "checkpoints"
PREFIX = f"s3://{BUCKET}/nightly/20261121-abc123"
GOOD = {
    "schema": 1,
    "attempt": 2,
    "step": 40,
    "total_steps": 100,
    "fraction": 0.4,
    "seconds_per_step": 12.5,
    "saved_at": "2026-11-21T02:00:00.250Z",
    "checkpoint": "checkpoint-000000040-rank00000.nsck",
    "metrics": {"loss": 0.25},
    "resumed_from": {"step": 30, "attempt": 1},
}


class Bucket:
    """The run's prefix, as SageMaker uploads into it."""

    def __init__(self, client) -> None:
        self._client = client
        self.checkpoints = Checkpoints(client)

    def put(self, name: str, body: bytes = b"") -> None:
        self._client.put_object(Bucket=BUCKET, Key=f"nightly/20261121-abc123/{name}", Body=body)

    def put_progress(self, **changes) -> None:
        self.put(PROGRESS_FILE, json.dumps({**GOOD, **changes}).encode())

    def progress(self, s3_uri: str = PREFIX) -> Progress | None:
        return self.checkpoints.progress(s3_uri)


@pytest.fixture
def bucket(emulated_aws):
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    return Bucket(client)


@pytest.fixture
def complete(bucket):
    """The prefix with the checkpoint that the progress file names."""
    bucket.put(GOOD["checkpoint"])
    return bucket


def test_everything_that_the_loop_plans_with_is_read(complete):
    complete.put_progress()
    assert complete.progress() == Progress(
        step=40,
        saved_at=datetime(2026, 11, 21, 2, 0, 0, 250_000, tzinfo=UTC),
        total_steps=100,
        fraction=0.4,
        seconds_per_step=12.5,
        attempt=2,
        resumed_from_step=30,
        metrics={"loss": 0.25},
    )


def test_a_step_and_its_time_are_enough(bucket):
    bucket.put(PROGRESS_FILE, b'{"step": 3, "saved_at": "2026-11-21T03:00:00+01:00"}')
    assert bucket.progress() == Progress(step=3, saved_at=MIDNIGHT + timedelta(hours=2))


def test_a_slash_at_the_end_of_the_prefix_makes_no_difference(complete):
    complete.put_progress()
    assert complete.progress(f"{PREFIX}/") == complete.progress()


def test_without_a_file_there_is_no_progress(bucket):
    assert bucket.progress() is None


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"step": 4', id="cut off"),
        pytest.param(b"\xff\xfe\x00", id="no text"),
        pytest.param(b"[1, 2]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"saved_at": "2026-11-21T02:00:00Z"}', id="no step"),
        pytest.param(b'{"step": 4}', id="no time"),
    ],
)
def test_a_file_that_is_no_progress_file_costs_the_estimate_only(bucket, body):
    bucket.put(PROGRESS_FILE, body)
    assert bucket.progress() is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("step", "forty"), ("saved_at", "yesterday"), ("checkpoint", "../other.nsck"), ("files", 0)],
)
def test_a_file_that_promises_what_cannot_be_true_costs_the_estimate_only(complete, field, value):
    complete.put_progress(**{field: value})
    assert complete.progress() is None


@pytest.mark.parametrize("blown_up", [None, float("nan"), float("inf")])
def test_a_loss_that_has_blown_up_does_not_hide_the_progress(complete, blown_up):
    complete.put_progress(metrics={"loss": blown_up, "recall": 0.5})
    assert complete.progress().step == 40
    assert complete.progress().metrics == {"recall": 0.5}


def test_progress_counts_only_once_its_checkpoint_is_uploaded(bucket):
    bucket.put_progress()
    assert bucket.progress() is None
    bucket.put(GOOD["checkpoint"])
    assert bucket.progress().step == 40


def test_of_sharded_state_progress_counts_only_once_every_rank_has_uploaded_its_file(bucket):
    bucket.put_progress(world_size=3, files=3)
    for name in ("rank00000.nsck", "rank00001.nsck", "rank00002.nsck.1f.tmp"):
        bucket.put(f"checkpoint-000000040-{name}")
    bucket.put("checkpoint-000000041-rank00002.nsck")
    assert bucket.progress() is None
    bucket.put("checkpoint-000000040-rank00002.nsck")
    assert bucket.progress().step == 40


def test_more_ranks_than_one_page_of_a_listing_holds_are_counted():
    pages = {
        None: {"IsTruncated": True, "NextContinuationToken": "more"},
        "more": {"IsTruncated": False},
    }

    class Paged(Refusing):
        def get_object(self, **_key):
            return {"Body": io.BytesIO(json.dumps({**GOOD, "files": 2}).encode())}

        def list_objects_v2(self, *, Prefix, ContinuationToken=None, **_bucket):  # noqa: N803
            if Prefix.endswith("/nightspot"):
                return super().list_objects_v2(Prefix=Prefix)
            name = f"{Prefix}0000{len(pages) if ContinuationToken else 0}.nsck"
            return {"Contents": [{"Key": name}], **pages[ContinuationToken]}

    assert Checkpoints(Paged("none", ValueError())).progress(PREFIX).step == 40


def test_what_each_rank_of_sharded_state_writes_is_what_is_counted(bucket, tmp_path):
    for rank in range(2):
        Checkpointer(tmp_path, rank=rank, world_size=2, every_steps=1, environ={}).save(7, b"part")
    first, second = sorted(tmp_path.glob("*.nsck"))
    for path in (tmp_path / PROGRESS_FILE, first):
        bucket.put(path.name, path.read_bytes())
    assert bucket.progress() is None
    bucket.put(second.name, second.read_bytes())
    assert bucket.progress().step == 7


@pytest.mark.parametrize("replicated", [True, False])
def test_one_file_is_enough_where_one_rank_writes(bucket, tmp_path, replicated):
    size = 4 if replicated else 1
    Checkpointer(tmp_path, rank=0, world_size=size, replicated=replicated, environ={}).save(7, b"all")
    for path in tmp_path.iterdir():
        bucket.put(path.name, path.read_bytes())
    assert bucket.progress().step == 7


def test_what_the_checkpoint_library_writes_is_what_is_read(bucket, tmp_path):
    moment = MIDNIGHT
    first = Checkpointer(tmp_path, total_steps=100, environ={"NIGHTSPOT_ATTEMPT": "1"}, now=lambda: moment)
    first.restore()
    moment += timedelta(seconds=300)
    first.save(30, b"weights")

    second = Checkpointer(tmp_path, total_steps=100, environ={"NIGHTSPOT_ATTEMPT": "2"}, now=lambda: moment)
    second.restore()
    moment += timedelta(seconds=125)
    second.save(40, {"weights": b"w"}, metrics={"loss": 0.25, "blown_up": float("nan")})

    for path in tmp_path.iterdir():
        bucket.put(path.name, path.read_bytes())
    assert bucket.progress() == Progress(
        step=40,
        saved_at=MIDNIGHT + timedelta(seconds=425),
        total_steps=100,
        fraction=0.4,
        seconds_per_step=12.5,
        attempt=2,
        resumed_from_step=30,
        process_started_at=MIDNIGHT + timedelta(seconds=300),
        metrics={"loss": 0.25},
        process=2,
        number=2,
    )


def test_of_an_enormous_file_no_more_is_read_than_a_progress_file_has():
    class Endless(io.RawIOBase):
        asked = 0
        closed_by_reader = False

        def read(self, size=-1):
            assert size >= 0, "all of it"
            self.asked += size
            return b"[" * size

        def close(self):
            self.closed_by_reader = True

    stream = Endless()

    class S3(Refusing):
        def get_object(self, **_key):
            return {"Body": stream}

    assert Checkpoints(S3("none", ValueError())).progress(PREFIX) is None
    assert stream.asked <= MOST_BYTES + 1
    assert stream.closed_by_reader


def test_an_object_without_a_byte_is_no_progress(bucket):
    bucket.put(PROGRESS_FILE, b"")
    assert bucket.progress() is None


@pytest.mark.parametrize("prefix", ["s3://checkpoints/" + "p" * 1000, PREFIX])
def test_a_name_that_cannot_be_a_key_is_not_asked_for(prefix):
    class S3(Refusing):
        def get_object(self, **_key):
            name = "n" * 100 if prefix != PREFIX else "\ud800"
            return {"Body": io.BytesIO(json.dumps({**GOOD, "checkpoint": name}).encode())}

    assert Checkpoints(S3("none", AssertionError("asked"))).progress(prefix) is None


def test_what_another_run_has_uploaded_proves_nothing():
    """A prefix with `-rank` in it, and a checkpoint without."""
    document = {**GOOD, "checkpoint": "last.pt", "files": 2}

    class S3(Refusing):
        def get_object(self, **_key):
            return {"Body": io.BytesIO(json.dumps(document).encode())}

        def list_objects_v2(self, *, Prefix, **_page):  # noqa: N803
            if Prefix.endswith("/nightspot"):
                return super().list_objects_v2(Prefix=Prefix)
            return {"Contents": [{"Key": f"{Prefix}ed/{n}.nsck"} for n in range(9)]}

    assert Checkpoints(S3("none", ValueError())).progress("s3://b/high-ranked/20261121-abc123") is None


@pytest.mark.parametrize(
    "listing",
    [
        {"IsTruncated": True},
        {"IsTruncated": True, "Contents": [{}], "NextContinuationToken": "again"},
        {"Contents": None},
    ],
    ids=["no token", "no end", "no list"],
)
def test_an_odd_listing_ends_the_count(listing):
    class S3(Refusing):
        pages = 0

        def list_objects_v2(self, **_page):
            self.pages += 1
            return {"IsTruncated": True} if self.pages == 1 else listing

    s3 = S3("list", ValueError())
    assert Checkpoints(s3).progress(PREFIX) is None
    assert s3.pages <= MOST_PAGES


class Refusing:
    """S3 that has the progress file or not, and refuses one operation."""

    def __init__(self, operation: str, error: Exception) -> None:
        self._operation, self._error = operation, error

    def get_object(self, **_key):
        if self._operation == "get":
            raise self._error
        document = GOOD if self._operation != "list" else {**GOOD, "files": 2}
        return {"Body": io.BytesIO(json.dumps(document).encode())}

    def head_object(self, **_key):
        raise self._error

    def list_objects_v2(self, *, Prefix, **_page):  # noqa: N803
        if Prefix.endswith("/nightspot"):
            return {"Contents": [{"Key": f"{Prefix}.json"}]}
        raise self._error


def refusal(code: str, status: int = 400) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Any")


@pytest.mark.parametrize("operation", ["get", "head", "list"])
@pytest.mark.parametrize(
    "error",
    [refusal("SlowDown", 503), refusal("500", 500), ReadTimeoutError(endpoint_url="https://example.org")],
)
def test_a_service_fault_is_worth_repeating(operation, error):
    with pytest.raises(TransientAwsError):
        Checkpoints(Refusing(operation, error)).progress(PREFIX)


@pytest.mark.parametrize("code", ["SlowDown", "500"])
def test_a_listing_that_fails_for_a_moment_is_worth_repeating(code):
    class S3(Refusing):
        def list_objects_v2(self, **_page):
            raise refusal(code, 503)

    with pytest.raises(TransientAwsError):
        Checkpoints(S3("none", ValueError())).progress(PREFIX)


def test_who_may_read_and_not_list_gets_the_file_without_a_number(bucket):
    class Unlisted(Refusing):
        def list_objects_v2(self, **_page):
            raise refusal("AccessDenied", 403)

        def head_object(self, **_key):
            return {}

    assert Checkpoints(Unlisted("none", ValueError())).progress(PREFIX).step == 40


@pytest.mark.parametrize("operation", ["get", "head", "list"])
@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchBucket", "403"])
def test_a_refusal_is_not_taken_for_missing_progress(operation, code):
    with pytest.raises(ClientError):
        Checkpoints(Refusing(operation, refusal(code))).progress(PREFIX)


class OnePrefixAlone:
    """S3 to who may read and list one prefix alone: of an object that is missing it may say "access denied"."""

    def __init__(self, *keys: str, code: str = "AccessDenied") -> None:
        self._keys, self._code = keys, code

    def get_object(self, *, Key, **_bucket):  # noqa: N803
        if Key not in self._keys:
            raise refusal(self._code, 403)
        return {"Body": io.BytesIO(json.dumps(GOOD).encode())}

    def head_object(self, **_key):
        raise refusal("403", 403)

    def list_objects_v2(self, *, Prefix, **_bucket):  # noqa: N803
        return {"Contents": [{"Key": key} for key in self._keys if key.startswith(Prefix)]}


@pytest.mark.parametrize(
    "others", [(), (f"nightly/20261121-abc123/{PROGRESS_FILE}.tmp",)], ids=["none", "a draft"]
)
@pytest.mark.parametrize("code", ["AccessDenied", "403"])
def test_an_object_that_is_not_listed_is_missing_whatever_s3_calls_it(others, code):
    assert Checkpoints(OnePrefixAlone(*others, code=code)).progress(PREFIX) is None


def test_a_checkpoint_that_is_not_listed_is_not_uploaded_yet():
    only = f"nightly/20261121-abc123/{PROGRESS_FILE}"
    assert Checkpoints(OnePrefixAlone(only)).progress(PREFIX) is None


def test_a_file_that_is_listed_and_may_not_be_read_is_no_missing_one():
    class Locked(OnePrefixAlone):
        def get_object(self, **_key):
            raise refusal("AccessDenied", 403)

    with pytest.raises(ClientError):
        Checkpoints(Locked(f"nightly/20261121-abc123/{PROGRESS_FILE}")).progress(PREFIX)


def test_a_prefix_is_empty_until_something_lies_below_it(bucket):
    assert bucket.checkpoints.is_empty(PREFIX)
    bucket.put("own.pt")
    assert not bucket.checkpoints.is_empty(PREFIX)
    assert bucket.checkpoints.is_empty(PREFIX[:-1]), "a neighbour's prefix that begins alike"
