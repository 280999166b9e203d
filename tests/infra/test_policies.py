"""The evaluator of policies that other tests rely on, held against statements whose verdict IAM's guide gives."""

from __future__ import annotations

import pytest

from tests.infra.policies import Policies, key_allows


def policies(*statements):
    return Policies(
        {
            "Resources": {
                "Table": {"Type": "AWS::DynamoDB::Table"},
                "Role": {
                    "Type": "AWS::IAM::Role",
                    "Properties": {"Policies": [{"PolicyDocument": {"Statement": list(statements)}}]},
                },
            }
        }
    )


def statement(effect="Allow", **parts):
    return {"Effect": effect, "Action": "s3:GetObject", "Resource": "*", **parts}


def allows(*statements, action="s3:GetObject", resource="arn:aws:s3:::b/k", **context):
    return policies(*statements).allows("Role", action, resource, **context)


def test_without_a_statement_everything_is_denied():
    assert not allows()


def test_a_denial_wins_over_whatever_allows():
    assert allows(statement())
    assert not allows(statement(), statement("Deny"))
    assert not allows(statement("Deny", Action="s3:*"), statement())


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ("s3:GetObject", "s3:getobject", True),
        ("s3:Get*", "s3:GetObjectTagging", True),
        ("s3:Get?bject", "s3:GetObject", True),
        ("s3:GetObject", "s3:GetObjectTagging", False),
    ],
)
def test_actions_know_wildcards_and_no_case(pattern, value, fits):
    assert allows(statement(Action=pattern), action=value) is fits


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ("arn:aws:s3:::b/k", "arn:aws:s3:::b/k", True),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b/deep/er", True),
        ("arn:aws:s3:::b/k", "arn:aws:s3:::b/K", False),
        ("arn:aws:s3:::b.c/*", "arn:aws:s3:::bxc/k", False),
        ("arn:aws:s3:::b/[k]", "arn:aws:s3:::b/k", False),
    ],
)
def test_resources_know_wildcards_and_case(pattern, value, fits):
    assert allows(statement(Resource=pattern), resource=value) is fits


def test_not_action_and_not_resource_are_all_the_others():
    other = {"Effect": "Allow", "NotAction": ["s3:PutObject"], "NotResource": ["arn:aws:s3:::secret/*"]}
    assert allows(other)
    assert not allows(other, action="s3:PutObject")
    assert not allows(other, resource="arn:aws:s3:::secret/k")


@pytest.mark.parametrize(
    ("operator", "wanted", "given", "holds"),
    [
        ("StringEquals", "a*", "ab", False),
        ("StringEquals", ["x", "ab"], "ab", True),
        ("StringLike", "a*", "ab", True),
        ("Bool", "true", "True", True),
        ("Bool", "true", "false", False),
    ],
)
def test_a_condition_has_to_hold(operator, wanted, given, holds):
    assert allows(statement(Condition={operator: {"aws:Key": wanted}}), aws__key=given) is holds


def test_a_condition_on_what_a_call_does_not_say_fails():
    assert not allows(statement(Condition={"StringLike": {"s3:prefix": "*"}}))


def test_an_operator_that_is_not_known_is_no_verdict():
    with pytest.raises(ValueError, match="NumericLessThan"):
        allows(statement(Condition={"NumericLessThan": {"k": "1"}}), k="0")


def test_functions_of_cloudformation_become_arns():
    joined = {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":s3:::b/", {"Ref": "Table"}]]}
    arn = {"Fn::GetAtt": ["Table", "Arn"]}
    assert allows(statement(Resource=[joined, arn]), resource="arn:aws:s3:::b/Table")
    table = "arn:aws:dynamodb:eu-west-1:123456789012:table/Table"
    assert allows(statement(Resource=[joined, arn]), resource=table)


BOUNDED = {
    "Resources": {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "PermissionsBoundary": "arn:aws:iam::123456789012:policy/at-most",
                "Policies": [{"PolicyDocument": {"Statement": [statement(Action="s3:*")]}}],
            },
        }
    }
}


def test_a_boundary_has_to_allow_as_well():
    limits = {
        "arn:aws:iam::123456789012:policy/at-most": {
            "Statement": [statement(Action=["s3:GetObject", "sns:*"])]
        }
    }
    bounded = Policies(BOUNDED, limits)
    assert bounded.allows("Role", "s3:GetObject")
    assert not bounded.allows("Role", "s3:PutObject")
    assert not bounded.allows("Role", "sns:Publish")


def test_a_boundary_that_nobody_has_shown_is_an_error():
    with pytest.raises(KeyError, match="at-most"):
        Policies(BOUNDED).allows("Role", "s3:GetObject")


KEY_POLICY = {
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
            "Action": "kms:*",
            "Resource": "*",
        },
        {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "kms:Decrypt",
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}},
        },
    ]
}


@pytest.mark.parametrize(
    ("principal", "action", "context", "allowed"),
    [
        ("arn:aws:iam::123456789012:role/x", "kms:Decrypt", {}, True),
        ("arn:aws:iam::999999999999:role/x", "kms:Decrypt", {}, False),
        ("events.amazonaws.com", "kms:Decrypt", {"aws__SourceAccount": "123456789012"}, True),
        ("events.amazonaws.com", "kms:Decrypt", {}, False),
        ("events.amazonaws.com", "kms:Encrypt", {"aws__SourceAccount": "123456789012"}, False),
        ("sns.amazonaws.com", "kms:Decrypt", {"aws__SourceAccount": "123456789012"}, False),
    ],
    ids=["own role", "foreign role", "service", "without its condition", "another action", "another service"],
)
def test_a_key_s_policy_lets_in_the_account_and_the_services_that_it_names(
    principal, action, context, allowed
):
    assert key_allows(KEY_POLICY, principal, action, **context) is allowed
