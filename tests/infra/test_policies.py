"""What other tests ask about a template's policies: gathered from it whole, and never a verdict on a mistake."""

from __future__ import annotations

import pytest

from tests.infra.policies import Policies, key_allows

OBJECT = "arn:aws:s3:::b/k"
BUCKET = "arn:aws:s3:::b"


def policies(*statements, **resources):
    return Policies(
        {
            "Resources": {
                "Table": {"Type": "AWS::DynamoDB::Table"},
                "Role": {
                    "Type": "AWS::IAM::Role",
                    "Properties": {"Policies": [{"PolicyDocument": {"Statement": list(statements)}}]},
                },
                **resources,
            }
        }
    )


def statement(effect="Allow", **parts):
    return {"Effect": effect, "Action": "s3:GetObject", "Resource": "*", **parts}


def allows(*statements, action="s3:GetObject", resource=OBJECT, **context):
    return policies(*statements).allows("Role", action, resource, **context)


def attached(kind, *statements):
    document = {"Statement": list(statements)}
    return {
        "Type": f"AWS::IAM::{kind}",
        "Properties": {"PolicyDocument": document, "Roles": [{"Ref": "Role"}]},
    }


def test_without_a_statement_that_fits_everything_is_denied():
    assert not allows(statement(Action="s3:PutObject"))
    assert not allows(statement(Resource="arn:aws:s3:::other/*"))


def test_a_denial_wins_over_whatever_allows():
    assert allows(statement())
    assert not allows(statement(), statement("Deny"))
    assert not allows(statement("Deny", Action="s3:*"), statement())


@pytest.mark.parametrize("kind", ["Policy", "ManagedPolicy"])
def test_what_is_attached_to_a_role_counts_as_its_own(kind):
    own = policies(statement(Action="s3:PutObject"), More=attached(kind, statement()))
    assert own.allows("Role", "s3:GetObject", OBJECT)
    assert own.allows("Role", "s3:PutObject", OBJECT)


def test_not_action_and_not_resource_are_all_the_others():
    other = {"Effect": "Allow", "NotAction": ["s3:PutObject"], "NotResource": ["arn:aws:s3:::secret/*"]}
    assert allows(other)
    assert not allows(other, action="s3:PutObject")
    assert not allows(other, resource="arn:aws:s3:::secret/k")


def test_a_condition_is_held_against_what_the_call_says():
    under = statement(Action="s3:ListBucket", Condition={"StringLike": {"s3:prefix": "ours/*"}})
    assert allows(under, action="s3:ListBucket", resource=BUCKET, s3__prefix="ours/x")
    assert not allows(under, action="s3:ListBucket", resource=BUCKET, s3__prefix="theirs/x")
    assert not allows(under, action="s3:ListBucket", resource=BUCKET)


def test_a_key_of_several_values_is_compared_by_a_set_operator_alone():
    bus = "arn:aws:events:eu-west-1:123456789012:event-bus/default"

    def puts(operator, source):
        condition = {operator: {"events:source": "nightspot"}}
        own = statement(Action="events:PutEvents", Condition=condition)
        return allows(own, action="events:PutEvents", resource=bus, events__source=source)

    assert puts("ForAllValues:StringEquals", "nightspot")
    assert not puts("ForAllValues:StringEquals", "payroll")
    assert not puts("StringEquals", "nightspot")


NO_QUESTION = {
    "an action that does not exist": ({"action": "s3:ReadObject"}, "invalid.action"),
    "a resource that the action does not know": ({"resource": BUCKET}, "no.resource.types"),
    "a resource where the action knows none": (
        {"action": "states:SendTaskSuccess", "resource": "arn:aws:states:eu-west-1:123456789012:stateMachine:m"},
        "must.use.wildcard",
    ),
    "a condition key that the action does not know": ({"s3__prefix": "ours/"}, "knows no condition key s3:prefix"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "why"), NO_QUESTION.values(), ids=NO_QUESTION)
def test_a_call_that_nobody_can_make_is_no_verdict(call, why):
    with pytest.raises(ValueError, match=why):
        allows(statement(Action="*"), **call)


@pytest.mark.parametrize(
    "mistake",
    [{"Effect": "Perhaps"}, {"Ressource": "*"}, {"Action": "s3"}],
    ids=["an effect", "an element", "an action"],
)
def test_a_policy_with_a_mistake_is_no_verdict(mistake):
    with pytest.raises(ValueError, match=r"policy\.errors"):
        allows({**statement(), **mistake})


def test_functions_of_cloudformation_become_arns():
    joined = {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":s3:::b/", {"Ref": "Table"}]]}
    arn = {"Fn::GetAtt": ["Table", "Arn"]}
    both = statement(Action=["s3:GetObject", "dynamodb:GetItem"], Resource=[joined, arn])
    assert allows(both, resource="arn:aws:s3:::b/Table")
    table = "arn:aws:dynamodb:eu-west-1:123456789012:table/Table"
    assert allows(both, action="dynamodb:GetItem", resource=table)
    assert not allows(both, action="dynamodb:GetItem", resource=f"{table}-of-others")


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
    assert bounded.allows("Role", "s3:GetObject", OBJECT)
    assert not bounded.allows("Role", "s3:PutObject", OBJECT)
    assert not bounded.allows("Role", "sns:Publish", "arn:aws:sns:eu-west-1:123456789012:notices")


def test_a_boundary_that_nobody_has_shown_is_an_error():
    with pytest.raises(KeyError, match="at-most"):
        Policies(BOUNDED).allows("Role", "s3:GetObject", OBJECT)


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
