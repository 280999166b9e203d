"""What travels between S3 and a machine's disk."""

from __future__ import annotations

import os

import pytest

from nightspot.local.sagemaker.object_store import CheckpointSync, download_prefix
from nightspot.local.sagemaker.request_rules import ServiceFaultError, split_uri


@pytest.fixture
def keys(s3):
    def listed():
        entries = s3.list_objects_v2(Bucket="bucket").get("Contents", [])
        return sorted(entry["Key"] for entry in entries)

    return listed


def put(s3, *keys):
    for key in keys:
        s3.put_object(Bucket="bucket", Key=key, Body=key.encode())


def test_what_lies_below_a_prefix_is_restored_with_its_subfolders(s3, tmp_path):
    put(s3, "run/a.ckpt", "run/deep/b.ckpt", "run/deep/", "runner/c.ckpt")
    sync = CheckpointSync(s3, "s3://bucket/run/", tmp_path)
    assert sync.restore() == 2
    assert (tmp_path / "deep" / "b.ckpt").read_text() == "run/deep/b.ckpt"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.ckpt", "b.ckpt", "deep"]


def test_only_what_changed_is_uploaded(s3, tmp_path, keys):
    put(s3, "run/a.ckpt")
    sync = CheckpointSync(s3, "s3://bucket/run", tmp_path)
    sync.restore()
    s3.delete_object(Bucket="bucket", Key="run/a.ckpt")
    (tmp_path / "b.tmp").write_text("half-written")
    sync.push()
    assert keys() == ["run/b.tmp"]
    (tmp_path / "a.ckpt").write_text("changed")
    sync.push()
    assert keys() == ["run/a.ckpt", "run/b.tmp"]


def test_a_change_that_keeps_the_size_is_seen(s3, tmp_path):
    sync = CheckpointSync(s3, "s3://bucket/run", tmp_path)
    file = tmp_path / "step"
    file.write_text("1")
    sync.push()
    file.write_text("2")
    os.utime(file, ns=(0, 12345))
    sync.push()
    assert s3.get_object(Bucket="bucket", Key="run/step")["Body"].read() == b"2"


def test_a_file_deleted_locally_is_deleted_in_s3_and_others_are_left_alone(s3, tmp_path, keys):
    put(s3, "run/a.ckpt", "run/b.ckpt")
    sync = CheckpointSync(s3, "s3://bucket/run", tmp_path)
    sync.restore()
    put(s3, "run/added-later.ckpt")
    (tmp_path / "a.ckpt").unlink()
    sync.push()
    assert keys() == ["run/added-later.ckpt", "run/b.ckpt"]


def test_a_uri_that_names_one_object_brings_that_object(s3, tmp_path):
    put(s3, "data/train.csv", "data/train.csv.old")
    assert download_prefix(s3, "s3://bucket/data/train.csv", tmp_path) == 1
    assert (tmp_path / "train.csv").read_text() == "data/train.csv"


def test_a_bucket_that_does_not_exist_holds_no_data(s3, tmp_path):
    assert download_prefix(s3, "s3://nowhere/data", tmp_path / "data") == 0
    assert (tmp_path / "data").is_dir()


def test_a_uri_is_split_into_bucket_and_key():
    assert split_uri("s3://bucket/a/b/") == ("bucket", "a/b")
    assert split_uri("s3://bucket") == ("bucket", "")


@pytest.mark.parametrize("uri", ["", "bucket/key", "https://bucket/key", "s3:///key"])
def test_what_is_not_an_s3_uri_is_refused(uri):
    with pytest.raises(ServiceFaultError, match="not a valid S3 URI"):
        split_uri(uri)
