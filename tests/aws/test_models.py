"""Whether there is a model, and anything in it, by a look that costs little and can do no harm."""

from __future__ import annotations

import gzip
import io
import tarfile

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from nightspot.aws.runs.checkpoints import MOST_ARCHIVE_BYTES, MOST_UNPACKED_BYTES, Models, state_of_archive
from nightspot.local.sagemaker.object_store import upload_archive
from nightspot.record.sentences import ModelState

BUCKET = "models"
URI = f"s3://{BUCKET}/nightly/job-1/output/model.tar.gz"
KEY = "nightly/job-1/output/model.tar.gz"


@pytest.fixture
def s3():
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


def archive(*members: tuple[str, bytes | None]) -> bytes:
    """A .tar.gz with these files; None is a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type = tarfile.DIRTYPE
            else:
                member.size = len(content)
            packed.addfile(member, io.BytesIO(content or b""))
    return buffer.getvalue()


def link(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed.addfile(member)
    return buffer.getvalue()


ARCHIVES = {
    "nothing": (b"", ModelState.EMPTY),
    "an empty archive": (archive(), ModelState.EMPTY),
    "an empty file": (archive(("model.bin", b"")), ModelState.EMPTY),
    "empty folders": (archive(("a", None), ("a/b", None)), ModelState.EMPTY),
    "a link": (link("model.bin"), ModelState.EMPTY),
    "a file": (archive(("model.bin", b"w")), ModelState.STORED),
    "a file in a folder": (archive(("a", None), ("a/empty", b""), ("a/model.bin", b"w")), ModelState.STORED),
    "no archive": (b"not packed at all", None),
    "half an archive": (archive(("model.bin", b"weights" * 1000))[:50], None),
    "packed, and no archive": (gzip.compress(b"text" * 1000), None),
    "a bomb": (gzip.compress(bytes(MOST_UNPACKED_BYTES + 1)), None),
}


@pytest.mark.parametrize(("body", "state"), ARCHIVES.values(), ids=ARCHIVES)
def test_an_archive_counts_by_what_is_in_it(s3, body, state):
    assert len(body) <= MOST_ARCHIVE_BYTES
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=body)
    assert Models(s3).state(URI) is state


@given(
    st.binary(max_size=200),
    st.integers(0, 511),
    st.binary(min_size=1, max_size=20),
)
def test_whatever_stands_in_an_archive_its_reading_ends(garbage, where, spoiled):
    with gzip.GzipFile(fileobj=io.BytesIO(archive(("model.bin", b"w" * 100)))) as whole:
        plain = bytearray(whole.read())
    plain[where : where + len(spoiled)] = spoiled
    for body in (garbage, gzip.compress(garbage), gzip.compress(bytes(plain))):
        assert state_of_archive(body) in {*ModelState, None}


def test_what_the_simulated_sagemaker_stores_is_what_is_read(s3, tmp_path):
    upload_archive(s3, tmp_path, URI)
    assert Models(s3).state(URI) is ModelState.EMPTY
    (tmp_path / "model.bin").write_bytes(b"w")
    upload_archive(s3, tmp_path, URI)
    assert Models(s3).state(URI) is ModelState.STORED


def test_a_large_model_is_not_fetched():
    class Large:
        def head_object(self, **_key):
            return {"ContentLength": 92 * 10**9}

        def get_object(self, **_key):
            raise AssertionError("fetched")

    assert Models(Large()).state(URI) is ModelState.STORED


def test_a_model_that_is_not_listed_is_missing_whatever_s3_calls_it():
    class OnePrefixAlone:
        def head_object(self, **_key):
            raise ClientError({"Error": {"Code": "403"}}, "HeadObject")

        def list_objects_v2(self, **_prefix):
            return {}

    assert Models(OnePrefixAlone()).state(URI) is ModelState.MISSING


def test_no_object_and_no_address_are_no_model(s3):
    assert Models(s3).state(URI) is ModelState.MISSING
    assert Models(s3).state(None) is ModelState.MISSING


@pytest.mark.parametrize(
    "uri", ["", "s3://", "s3://[", "model.tar.gz", "s3://models/\ud800.tar.gz", "s3://a b/c"]
)
def test_what_is_no_address_is_no_reason_to_stop(s3, uri):
    assert Models(s3).state(uri) in {ModelState.MISSING, None}


def test_a_model_that_is_not_packed_counts_by_its_files(s3):
    """OutputDataConfig.CompressionType NONE."""
    uri = f"s3://{BUCKET}/nightly/job-1/output/model"
    assert Models(s3).state(uri) is ModelState.MISSING
    s3.put_object(Bucket=BUCKET, Key="nightly/job-1/output/model/config", Body=b"")
    s3.put_object(Bucket=BUCKET, Key="nightly/job-1/output/model-of-another/weights", Body=b"w")
    assert Models(s3).state(uri) is ModelState.EMPTY
    s3.put_object(Bucket=BUCKET, Key="nightly/job-1/output/model/weights", Body=b"w")
    assert Models(s3).state(uri) is ModelState.STORED


@pytest.mark.parametrize("operation", ["head_object", "get_object", "list_objects_v2"])
@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "403"}}, "HeadObject"),
        ClientError(
            {"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}}, "GetObject"
        ),
        EndpointConnectionError(endpoint_url="https://s3.example"),
    ],
    ids=["refused", "busy", "away"],
)
def test_a_model_that_nobody_can_look_at_is_not_known_and_that_is_logged(operation, error, caplog):
    class Refusing:
        def __getattr__(self, name):
            def call(**_arguments):
                # The list, too: it would say that there is none.
                if name in {operation, "list_objects_v2"}:
                    raise error
                return {"ContentLength": 10, "Body": io.BytesIO(b"")}

            return call

    uri = URI if operation != "list_objects_v2" else URI.removesuffix(".tar.gz")
    assert Models(Refusing()).state(uri) is None
    assert "was not looked at" in caplog.text
