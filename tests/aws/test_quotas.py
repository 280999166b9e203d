"""The account's quotas on training instances, or a plain word that nobody knows them."""

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from nightspot.aws.prices import Quotas, QuotasUnknownError
from nightspot.job.markets import Market
from nightspot.plan.planning import quota_name

SPOT = "ml.p4d.24xlarge for spot training job usage"
ON_DEMAND = "ml.p4d.24xlarge for training job usage"
OTHER = "ml.g5.xlarge for endpoint usage"


@pytest.fixture
def client():
    return boto3.client(
        "service-quotas", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )


@pytest.fixture
def stubber(client):
    """Answers exactly the calls that a test expects, in their order."""
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def expect(stubber, operation, *quotas, page=None, following=None):
    """One page of quotas: (name, value), where None stands for what Service Quotas cannot tell."""
    listed = [
        {"QuotaName": name, "Value": value}
        if value is not None
        else {"QuotaName": name, "ErrorReason": {"ErrorCode": "DEPENDENCY_ACCESS_DENIED_ERROR"}}
        for name, value in quotas
    ]
    answer = {"Quotas": listed} | ({"NextToken": following} if following else {})
    asked = {"ServiceCode": "sagemaker", "MaxResults": 100} | ({"NextToken": page} if page else {})
    stubber.add_response(operation, answer, asked)


def applied(stubber, *quotas, **paging):
    expect(stubber, "list_service_quotas", *quotas, **paging)


def default(stubber, *quotas, **paging):
    expect(stubber, "list_aws_default_service_quotas", *quotas, **paging)


def test_the_account_s_own_values_are_found_by_their_exact_names(client, stubber):
    applied(stubber, (OTHER, 7.0), (SPOT, 0.0), (f"{ON_DEMAND} in total", 9.0), (ON_DEMAND, 2.0))
    assert Quotas(client).limits([SPOT, ON_DEMAND]) == {SPOT: 0.0, ON_DEMAND: 2.0}


def test_no_page_is_asked_for_once_all_are_found(client, stubber):
    applied(stubber, (OTHER, 7.0), following="second")
    applied(stubber, (SPOT, 4.0), page="second", following="third")
    assert Quotas(client).limits([SPOT]) == {SPOT: 4.0}


def test_what_was_never_raised_has_the_default_of_aws(client, stubber):
    applied(stubber, (SPOT, 4.0))
    default(stubber, (SPOT, 0.0), (OTHER, 1.0), following="second")
    default(stubber, (ON_DEMAND, 1.0), page="second", following="third")
    assert Quotas(client).limits([SPOT, ON_DEMAND]) == {SPOT: 4.0, ON_DEMAND: 1.0}


def test_a_quota_that_aws_does_not_list_is_absent(client, stubber):
    applied(stubber, (OTHER, 7.0))
    default(stubber, (OTHER, 7.0))
    assert Quotas(client).limits([SPOT]) == {}


def test_a_value_that_service_quotas_cannot_tell_is_not_taken_for_the_default(client, stubber):
    applied(stubber, (SPOT, None), (ON_DEMAND, 1.0))
    assert Quotas(client).limits([SPOT, ON_DEMAND]) == {ON_DEMAND: 1.0}


def test_nothing_wanted_is_nothing_asked(client, stubber):
    assert Quotas(client).limits(iter(())) == {}


def test_the_names_that_a_plan_asks_for_are_those_of_aws():
    assert {quota_name(market, "ml.p4d.24xlarge") for market in Market} == {SPOT, ON_DEMAND}


@pytest.mark.parametrize("operation", ["list_service_quotas", "list_aws_default_service_quotas"])
@pytest.mark.parametrize("code", ["AccessDeniedException", "TooManyRequestsException", "ServiceException"])
def test_a_refusal_is_told_with_its_reason(client, stubber, operation, code):
    if operation == "list_aws_default_service_quotas":
        applied(stubber)
    stubber.add_client_error(operation, code, "not now")
    with pytest.raises(QuotasUnknownError, match=rf"{code}.*not now") as caught:
        Quotas(client).limits([SPOT])
    assert str(caught.value).startswith("Service Quotas did not list SageMaker's quotas: ")


class Unreachable:
    """Service Quotas behind a broken line."""

    def get_paginator(self, operation):
        return self

    def paginate(self, **arguments):
        raise EndpointConnectionError(endpoint_url="https://example.org")


def test_a_service_that_cannot_be_reached_is_told_too():
    with pytest.raises(QuotasUnknownError, match="example"):
        Quotas(Unreachable()).limits([SPOT])
