"""The pages of runs in S3."""

from __future__ import annotations

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.notices import Reports


class Refusing:
    def __init__(self, error):
        self.error = error

    def put_object(self, **_arguments):
        raise self.error


def refusal(code):
    return ClientError({"Error": {"Code": code, "Message": ""}}, "PutObject")


def test_a_page_lies_below_reports_and_opens_as_html():
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="models")
        uri = Reports(s3, "models").write("20261121-abc123", "<p>grün</p>")
        kept = s3.get_object(Bucket="models", Key="reports/20261121-abc123.html")
        assert uri == "s3://models/reports/20261121-abc123.html"
        assert kept["Body"].read().decode() == "<p>grün</p>"
        assert kept["ContentType"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("error", [refusal("SlowDown"), EndpointConnectionError(endpoint_url="s3")])
def test_what_may_pass_is_worth_repeating(error):
    with pytest.raises(TransientAwsError):
        Reports(Refusing(error), "models").write("one", "page")


def test_what_will_not_pass_is_told_as_it_is():
    with pytest.raises(ClientError, match="AccessDenied"):
        Reports(Refusing(refusal("AccessDenied")), "models").write("one", "page")
