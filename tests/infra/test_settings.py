"""What a deployment may choose, and what it is told where a choice cannot be."""

import pytest
from aws_cdk.aws_logs import RetentionDays

from nightspot.cdk import Settings, SettingsError, read_settings

pytestmark = pytest.mark.xdist_group("infra")


def read(**context):
    return read_settings({f"nightspot:{key}": value for key, value in context.items()}.get)


def test_without_context_everything_has_a_safe_default():
    assert read() == Settings()
    assert read().keep_data is True
    assert read().check_quotas is False
    assert read().live_prices is True
    assert read().notice_email is None
    assert read().chat_topic is False
    assert read().tell_success is False
    assert read().harvest_cassettes is False


def test_other_keys_of_the_context_are_none_of_its_business():
    assert read_settings({"checkpoint_days": 3, "aws:checkpoint_days": 4}.get) == Settings()


def test_text_from_the_command_line_is_read_as_what_it_means():
    settings = read(
        checkpoint_days="14",
        keep_data="false",
        check_quotas="true",
        live_prices="false",
        subnet_ids="subnet-1, subnet-2,",
        security_group_ids="sg-1",
        notice_email="nights@example.com",
    )
    assert settings == Settings(
        checkpoint_days=14,
        keep_data=False,
        check_quotas=True,
        live_prices=False,
        subnet_ids=("subnet-1", "subnet-2"),
        security_group_ids=("sg-1",),
        notice_email="nights@example.com",
    )


def test_cdk_json_may_hold_lists_numbers_and_truth_values():
    settings = read(data_bucket_names=["our-data", "their-data"], log_days=30, keep_data=True)
    assert settings == Settings(data_bucket_names=("our-data", "their-data"), log_days=30)


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"keep_data": "no"}, "nightspot:keep_data: 'no' must be true or false"),
        ({"chat_topic": "slack"}, "nightspot:chat_topic: 'slack' must be true or false"),
        ({"tell_success": 1.5}, "nightspot:tell_success: 1.5 must be true or false"),
        ({"check_quotas": "yes"}, "nightspot:check_quotas: 'yes' must be true or false"),
        ({"live_prices": "no"}, "nightspot:live_prices: 'no' must be true or false"),
        ({"checkpoint_days": "soon"}, "nightspot:checkpoint_days: 'soon' must be a whole number"),
        ({"checkpoint_days": 30.5}, "nightspot:checkpoint_days: 30.5 must be a whole number"),
        ({"checkpoint_days": True}, "nightspot:checkpoint_days: True must be a whole number"),
        ({"checkpoint_days": 0}, "nightspot:checkpoint_days: 0 must be at least 1"),
        ({"checkpoint_version_days": 0}, "nightspot:checkpoint_version_days: 0 must be at least 1"),
        (
            {"reserved_concurrency": -1},
            "nightspot:reserved_concurrency: -1 must be 0 (none) or more",
        ),
        (
            {"log_days": "31"},
            "nightspot:log_days: 31 must be one of 7, 14, 30, 60, 90, 180, 365, 731",
        ),
        ({"subnet_ids": 7}, "nightspot:subnet_ids: 7 must be a list, or text with commas"),
        (
            {"subnet_ids": "subnet-1,subnet-2"},
            "nightspot:subnet_ids: 'subnet-1,subnet-2' must come with nightspot:security_group_ids",
        ),
        (
            {"security_group_ids": ["sg-1"]},
            "nightspot:security_group_ids: 'sg-1' must come with nightspot:subnet_ids",
        ),
        *(
            (
                {"environment": name},
                f"nightspot:environment: {name!r} must be 1 to 8 lower-case letters and digits, "
                "with a letter first",
            )
            for name in ("", "Prod", "pro-d", "2prod", "production", "prod ", "pröd")
        ),
        ({"notice_email": "me"}, "nightspot:notice_email: 'me' must be an e-mail address"),
        (
            {"checkpoint_bucket_name": "s3://ours/checkpoints"},
            "nightspot:checkpoint_bucket_name: 's3://ours/checkpoints' must be the name of an S3 bucket, "
            "without s3://",
        ),
        (
            {"model_bucket_name": ""},
            "nightspot:model_bucket_name: '' must be the name of an S3 bucket, without s3://",
        ),
        (
            {"data_bucket_names": "our-data,Ours"},
            "nightspot:data_bucket_names: 'Ours' must be the name of an S3 bucket, without s3://",
        ),
        (
            {"kms_key_arns": "arn:aws:kms:eu-west-1:123456789012:alias/ours"},
            "nightspot:kms_key_arns: 'arn:aws:kms:eu-west-1:123456789012:alias/ours' must be the ARN of a KMS key, "
            "not of an alias",
        ),
        (
            {"training_role_arn": "our-training"},
            "nightspot:training_role_arn: 'our-training' must be the ARN of an IAM role",
        ),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_key_and_the_rule(context, message):
    with pytest.raises(SettingsError) as caught:
        read(**context)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("days", "retention"),
    [
        (7, RetentionDays.ONE_WEEK),
        (14, RetentionDays.TWO_WEEKS),
        (30, RetentionDays.ONE_MONTH),
        (60, RetentionDays.TWO_MONTHS),
        (90, RetentionDays.THREE_MONTHS),
        (180, RetentionDays.SIX_MONTHS),
        (365, RetentionDays.ONE_YEAR),
        (731, RetentionDays.TWO_YEARS),
    ],
)
def test_logs_are_kept_for_the_days_that_cloudwatch_knows(days, retention):
    assert read(log_days=days).log_retention is retention
