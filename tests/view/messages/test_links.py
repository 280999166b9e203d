"""Where a message leads: addresses as the console itself writes them."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.view.messages.plain import LOG_GROUP, Console

DUBLIN = Console("eu-west-1")
NAME = "nightspot-recommender-20261121-abc123-1"


def test_an_execution_is_opened_in_its_region():
    arn = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:night-1"
    assert DUBLIN.execution(arn) == (
        "https://eu-west-1.console.aws.amazon.com/states/home?region=eu-west-1"
        "#/v2/executions/details/arn:aws:states:eu-west-1:123456789012:execution:nightspot:night-1"
    )


def test_the_log_streams_of_a_training_job_are_filtered_by_its_name_and_the_slash_behind_it():
    assert DUBLIN.training_job_logs(NAME) == (
        "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1"
        "#logsV2:log-groups/log-group/$252Faws$252Fsagemaker$252FTrainingJobs"
        f"$3FlogStreamNameFilter$3D{NAME}$252F"
    )


def test_a_training_job_has_a_page():
    assert DUBLIN.training_job(NAME) == (
        f"https://eu-west-1.console.aws.amazon.com/sagemaker/home?region=eu-west-1#/jobs/{NAME}"
    )


def test_an_object_is_opened_by_bucket_and_key():
    assert DUBLIN.s3_object("s3://our-models/reports/a b.html") == (
        "https://eu-west-1.console.aws.amazon.com/s3/object/our-models?region=eu-west-1&prefix=reports/a%20b.html"
    )


@pytest.mark.parametrize(
    ("arn", "host"),
    [
        ("arn:aws:states:us-east-1:123456789012:execution:a:b", "us-east-1.console.aws.amazon.com"),
        ("arn:aws-cn:states:cn-north-1:123456789012:execution:a:b", "cn-north-1.console.amazonaws.cn"),
        (
            "arn:aws-us-gov:states:us-gov-west-1:123456789012:execution:a:b",
            "us-gov-west-1.console.amazonaws-us-gov.com",
        ),
    ],
)
def test_each_partition_has_its_console(arn, host):
    assert Console.of_arn(arn).execution(arn).startswith(f"https://{host}/states/home?")


@pytest.mark.parametrize("text", ["", "arn", "execution:one", "arn:aws:s3:::bucket", "a:b:c:d:e:f"])
def test_what_is_no_arn_of_a_region_leads_nowhere(text):
    assert Console.of_arn(text) is None


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=80))
def test_whatever_the_name_the_filter_reads_it_back_and_nothing_ends_the_address(name):
    url = DUBLIN.training_job_logs(name)
    group, _, streams = url.partition("log-group/")[2].partition("$3FlogStreamNameFilter$3D")
    assert unquote(unquote(group.replace("$", "%"))) == LOG_GROUP
    assert unquote(unquote(streams.replace("$", "%"))) == f"{name}/"
    assert url.isascii()
    assert not set(url) & set(' <>|"\\^`{}\n')
