"""What a deployment may choose, and what it is told where a choice cannot be."""

import pytest
from aws_cdk.aws_logs import RetentionDays

from nightspot.cdk import Settings, SettingsError, read_settings

pytestmark = pytest.mark.xdist_group("infra")


KEY = "arn:aws:kms:eu-west-1:123456789012:key/11111111-aaaa-bbbb-cccc-000000000001"


ROLE = "arn:aws:iam::123456789012:role/search-training"


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
    "given", [{"cost-center": "4711", "formula": "a=b"}, ["cost-center=4711", "formula=a=b"],
              "cost-center=4711, formula=a=b"],
    ids=["mapping", "list", "text"],
)  # fmt: skip
def test_tags_are_read_from_a_mapping_a_list_or_text(given):
    assert read(tags=given).tag_values == {"cost-center": "4711", "formula": "a=b"}


def test_roles_of_teams_are_read_from_a_mapping_as_well():
    assert read(training_roles={"search": ROLE}) == read(training_roles=[f"search={ROLE}"])
    assert read(training_roles={"search": ROLE}).training_role_values == {"search": ROLE}


def test_a_mapping_is_no_list_for_other_settings():
    with pytest.raises(SettingsError, match="must be a list, or text with commas"):
        read(subnet_ids={"subnet-1": "a"})


def test_the_stack_s_key_counts_among_those_of_buckets():
    other = KEY.replace("1111", "2222")
    assert read(kms_key_arn=KEY, kms_key_arns=[other]).bucket_keys == (KEY, other)
    assert read(kms_key_arns=[other]).bucket_keys == (other,)


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
            {"kms_key_arn": "alias/ours"},
            "nightspot:kms_key_arn: 'alias/ours' must be the ARN of a KMS key, not of an alias",
        ),
        (
            {"kms_key_arn": KEY, "kms_key_arns": [KEY]},
            f"nightspot:kms_key_arns: '{KEY}' must not be that of nightspot:kms_key_arn, whose users may use it "
            "for your buckets as well",
        ),
        (
            {"report_bucket_name": "s3://ours"},
            "nightspot:report_bucket_name: 's3://ours' must be the name of an S3 bucket, without s3://",
        ),
        (
            {"access_log_bucket_name": "Ours"},
            "nightspot:access_log_bucket_name: 'Ours' must be the name of an S3 bucket, without s3://",
        ),
        (
            {"permissions_boundary_arn": "arn:aws:iam::123456789012:role/boundary"},
            "nightspot:permissions_boundary_arn: 'arn:aws:iam::123456789012:role/boundary' must be the ARN of an "
            "IAM policy",
        ),
        (
            {"function_subnet_ids": "subnet-1"},
            "nightspot:function_subnet_ids: 'subnet-1' must come with nightspot:function_security_group_ids",
        ),
        (
            {"function_security_group_ids": "sg-1"},
            "nightspot:function_security_group_ids: 'sg-1' must come with nightspot:function_subnet_ids",
        ),
        ({"backup_days": -1}, "nightspot:backup_days: -1 must be 0 (none) to 36,500"),
        *(
            (
                {"tags": tag},
                f"nightspot:tags: {tag!r} must be NAME=VALUE, at most 128 and 256 characters out of letters, "
                "digits, spaces and . _ : / = + @ -",
            )
            for tag in ("cost-center", "=4711", "cost;center=4711", f"{'x' * 129}=1", f"x={'1' * 257}")
        ),
        *(
            (
                {"tags": tag},
                f"nightspot:tags: {tag!r} must not start with aws: or nightspot:, which are taken",
            )
            for tag in ("aws:owner=us", "Nightspot:environment=prod")
        ),
        *(
            (
                {"training_roles": role},
                f"nightspot:training_roles: {role!r} must be TEAM=ARN of an IAM role; a team is named by 1 to 20 "
                "lower-case letters and digits, a letter first, with hyphens between",
            )
            for role in (
                "search",
                "search=our-role",
                f"Search={ROLE}",
                f"search-={ROLE}",
                f"{'s' * 21}={ROLE}",
            )
        ),
        (
            {"training_roles": [f"search={ROLE}", f"search={ROLE}2"]},
            f"nightspot:training_roles: 'search={ROLE}' must have a team of its own",
        ),
        (
            {"tags": {f"t{n}": "1" * 210 for n in range(3)}},
            "nightspot:tags: 639 characters together must be at most 500: a function's environment holds them",
        ),
        ({"tags": ["a=1", "a=2"]}, "nightspot:tags: 'a=1' must have a name of its own"),
        (
            {"tags": {f"t{n}": "1" for n in range(11)}},
            f"nightspot:tags: {','.join(f't{n}=1' for n in range(11))!r} must be at most 10",
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
