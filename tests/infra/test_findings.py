"""Security findings: none open, each accepted for one resource alone."""

import pytest
from aws_cdk import Fn, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from nightspot.cdk.permissions import accept, accept_wildcard

pytestmark = pytest.mark.xdist_group("infra")


def bad_bucket(stack, name="Bad"):
    """Without access logs and without TLS."""
    return s3.Bucket(stack, name)


def curious_role(stack, resource):
    role = iam.Role(stack, "Curious", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    role.add_to_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=[resource]))
    return role


@pytest.mark.parametrize(
    "variant",
    [
        "deployed",
        "idle",
        "joined",
        "in_one_subnet",
        "disposable",
        "checking_quotas",
        "by_the_book",
        "chatting",
    ],
)
def test_no_finding_is_open_whatever_the_settings(request, variant):
    """An open one would have made the synthesis raise, as the next test shows."""
    assert request.getfixturevalue(variant).template["Resources"]


def test_an_open_finding_makes_the_synthesis_raise_and_names_its_rule(synthesise):
    with pytest.raises(RuntimeError, match="AwsSolutions-S1") as caught:
        synthesise(jobs={}, spoil=bad_bucket)
    assert "AwsSolutions-S10" in str(caught.value)


def test_a_finding_is_accepted_on_its_resource_alone(synthesise):
    def spoil(stack):
        accepted = bad_bucket(stack, "Accepted")
        for finding in ("AwsSolutions-S1", "AwsSolutions-S10"):
            accept(accepted, finding, "It is a test.")
        bad_bucket(stack, "Open")

    with pytest.raises(RuntimeError) as caught:
        synthesise(jobs={}, spoil=spoil)
    assert "Nightspot/Open" in str(caught.value)
    assert "Nightspot/Accepted" not in str(caught.value)


def test_an_accepted_wildcard_is_that_one_and_nothing_wider(synthesise):
    def only_logs(stack):
        bucket = synthesised_bucket(stack)
        role = curious_role(stack, f"{bucket.bucket_arn}/*")
        accept_wildcard(role, f"{bucket.bucket_arn}/logs/*", "It is a test.")

    def everything(stack):
        bucket = synthesised_bucket(stack)
        role = curious_role(stack, f"{bucket.bucket_arn}/*")
        accept_wildcard(role, f"{bucket.bucket_arn}/*", "It is a test.")

    def synthesised_bucket(stack: Stack):
        return s3.Bucket.from_bucket_name(stack, "Theirs", "theirs")

    with pytest.raises(RuntimeError, match="AwsSolutions-IAM5"):
        synthesise(jobs={}, spoil=only_logs)
    assert synthesise(jobs={}, spoil=everything).only("IAM::Role", "Curious")


def test_an_arn_that_is_made_in_another_way_is_refused():
    stack = Stack()
    role = curious_role(stack, "arn:aws:s3:::theirs/logs")
    with pytest.raises(ValueError, match="Fn::ImportValue"):
        accept_wildcard(role, Fn.import_value("theirs"), "It is a test.")
