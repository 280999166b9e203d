"""Addresses in S3: one rule for every field that is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.job.errors import InvalidJobError
from nightspot.job.places import PLACE_FIELDS, broken_place, bucket_of, is_bucket, places_in
from nightspot.job.reading import parse_job
from nightspot.job.request_shape import input_shape
from nightspot.local.stage.emulated_aws import _buckets
from tests.job.conftest import changed

SOURCE = {"S3DataType": "S3Prefix", "S3DataDistributionType": "FullyReplicated"}


def channel(uri):
    return [{"ChannelName": "train", "DataSource": {"S3DataSource": {**SOURCE, "S3Uri": uri}}}]


FIELDS = {
    "training_job.CheckpointConfig.S3Uri": lambda uri: uri,
    "training_job.OutputDataConfig.S3OutputPath": lambda uri: uri,
    "training_job.InputDataConfig": channel,
    "training_job.ProfilerConfig": lambda uri: {"S3OutputPath": uri},
    "training_job.DebugHookConfig": lambda uri: {"S3OutputPath": uri},
    "training_job.TensorBoardOutputConfig": lambda uri: {"S3OutputPath": uri},
}
BROKEN = {
    "a placeholder": "s3://<your_bucket>/out",
    "a placeholder in the prefix": "s3://bucket/<your prefix>/",
    "a variable of the shell": "s3://$BUCKET/x",
    "a variable in the prefix": "s3://bucket/$RUN/",
    "a command": "s3://bucket/$(date)/",
    "a template": "s3://{{ bucket }}/x",
    "a text that was not formatted": "s3://{bucket}/x",
    "a variable of Windows": "s3://%BUCKET%/x",
    "capitals": "s3://My-Bucket/x",
    "an underscore": "s3://my_bucket/x",
    "too short": "s3://ab/x",
    "too long": f"s3://{'a' * 64}/x",
    "a dot twice": "s3://a..b/x",
    "an address of a machine": "s3://10.0.0.1/x",
    "a hyphen first": "s3://-bucket/x",
    "nothing": "s3:///x",
    "https": "https://bucket.s3.amazonaws.com/x",
    "a path": "/opt/ml/x",
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("field", FIELDS)
def test_no_field_takes_what_is_no_address(field, name):
    with pytest.raises(InvalidJobError) as refused:
        parse_job(changed({field: FIELDS[field](BROKEN[name])}))
    assert any(found.field.startswith(field) for found in refused.value.problems)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("uri", ["s3://bucket/a/b=1/", "s3://${ModelBucket}/nightly/", "s3://a.b-c/x y/100%"])
def test_every_field_takes_an_address(field, uri):
    changes = {field: FIELDS[field](uri)}
    assert parse_job(changed(changes)).name == "recommender"


def test_data_may_be_a_whole_bucket_or_behind_an_access_point_and_checkpoints_may_not():
    for uri in ("s3://bucket", "s3://bucket/", "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/data/x"):
        assert broken_place(uri) is None
        assert broken_place(uri, needs_prefix=True) is not None


def test_the_fields_are_those_of_awss_own_model():
    found = set()

    def walk(shape, seen):
        for name, member in getattr(shape, "members", {}).items():
            if member.type_name == "string" and "s3://" in str(member.metadata.get("pattern", "")).replace(
                "(https|s3)", "s3"
            ):
                found.add(name)
            elif member.name not in seen:
                walk(member, {*seen, member.name})
        if shape.type_name == "list":
            walk(shape.member, seen)

    walk(input_shape(), set())
    assert found <= PLACE_FIELDS
    assert "S3Uri" in found


def test_no_bucket_is_made_of_what_cannot_be_one():
    request = {
        "Environment": {"A": "s3://$BUCKET/x", "B": "s3://data/x", "C": "s3://"},
        "OutputDataConfig": {"S3OutputPath": "s3://models/"},
    }
    assert sorted(_buckets(request)) == ["data", "models"]


@given(st.text(max_size=80) | st.from_regex(r"s3://[a-zA-Z0-9._/<>${}%-]{0,70}", fullmatch=True))
def test_a_bucket_is_taken_out_of_an_address_only_where_there_can_be_one(uri):
    bucket = bucket_of(uri)
    assert bucket is None or is_bucket(bucket)
    if broken_place(uri, needs_prefix=True) is None:
        assert bucket is not None
    assert list(places_in({"S3Uri": uri})) == [(("S3Uri",), uri)]
