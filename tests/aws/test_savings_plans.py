"""Which rates the account's Savings Plans give it on SageMaker training."""

from datetime import UTC, datetime

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from nightspot.aws.price_list import PLANS_API_REGION as API_REGION
from nightspot.aws.price_list import PricesUnknownError, SavingsPlans
from nightspot.run.pricing import PlanRate

NIGHT = datetime(2026, 11, 21, tzinfo=UTC)
USAGE = "USE1-Train:ml.g5.2xlarge"
OTHER = "USE1-Train:ml.p4d.24xlarge"


@pytest.fixture
def client():
    return boto3.client(
        "savingsplans", region_name=API_REGION, aws_access_key_id="x", aws_secret_access_key="x"
    )


@pytest.fixture
def stubber(client):
    """Answers exactly the calls that a test expects, in their order, in shapes that botocore's model allows."""
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def plan(plan_id="one", **changes):
    fields = {
        "offeringId": "0b7a1f2e",
        "savingsPlanId": plan_id,
        "start": "2026-01-01T00:00:00.000Z",
        "end": "2026-12-31T23:59:59.000Z",
        "state": "active",
        "savingsPlanType": "SageMaker",
        "paymentOption": "No Upfront",
        "productTypes": ["SageMaker"],
        "currency": "USD",
        "commitment": "5.00000000",
        "termDurationInSeconds": 31_536_000,
    }
    return {**fields, **changes}


def rate(usd="1.10000000", **changes):
    fields = {
        "rate": usd,
        "currency": "USD",
        "unit": "Hrs",
        "productType": "SageMaker",
        "serviceCode": "AmazonSageMaker",
        "usageType": USAGE,
        "operation": "RunInstance",
        "properties": [{"name": "region", "value": "us-east-1"}],
    }
    return {**fields, **changes}


def expect_plans(stubber, *plans, page=None, following=None):
    answer = {"savingsPlans": list(plans)} | ({"nextToken": following} if following else {})
    asked = {"states": ["active"]} | ({"nextToken": page} if page else {})
    stubber.add_response("describe_savings_plans", answer, asked)


def expect_rates(stubber, *rates, plan_id="one", wanted=(USAGE,), page=None, following=None):
    answer = {"savingsPlanId": plan_id, "searchResults": list(rates)}
    asked = {"savingsPlanId": plan_id, "filters": [{"name": "usageType", "values": list(wanted)}]}
    stubber.add_response(
        "describe_savings_plan_rates",
        answer | ({"nextToken": following} if following else {}),
        asked | ({"nextToken": page} if page else {}),
    )


ONE = PlanRate(1.1, 5.0, datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC))


def test_an_active_plan_has_a_rate_a_commitment_and_an_end(client, stubber):
    expect_plans(stubber, plan())
    expect_rates(stubber, rate())
    assert SavingsPlans(client).rates([USAGE], NIGHT) == {USAGE: (ONE,)}


def test_without_plans_there_are_no_rates(client, stubber):
    expect_plans(stubber)
    assert SavingsPlans(client).rates([USAGE], NIGHT) == {}


def test_no_usage_type_is_no_question(client, stubber):
    assert SavingsPlans(client).rates([], NIGHT) == {}


def test_several_plans_give_several_rates_of_each_type(client, stubber):
    expect_plans(stubber, plan(), plan("two", commitment="2.0"))
    expect_rates(stubber, rate(), rate("20.0", usageType=OTHER), wanted=(USAGE, OTHER))
    expect_rates(stubber, rate("1.2"), plan_id="two", wanted=(USAGE, OTHER))
    rates = SavingsPlans(client).rates([OTHER, USAGE, USAGE], NIGHT)
    assert {usage: [each.usd_per_hour for each in found] for usage, found in rates.items()} == {
        USAGE: [1.1, 1.2],
        OTHER: [20.0],
    }
    assert rates[USAGE][1].commitment_usd_per_hour == 2.0


def test_plans_and_rates_on_later_pages_are_found(client, stubber):
    expect_plans(stubber, plan("compute", savingsPlanType="Compute", productTypes=["EC2"]), following="2nd")
    expect_plans(stubber, plan(), page="2nd")
    expect_rates(stubber, rate(usageType="USE1-Host:ml.g5.2xlarge"), following="more")
    expect_rates(stubber, rate(), page="more")
    assert SavingsPlans(client).rates([USAGE], NIGHT) == {USAGE: (ONE,)}


@pytest.mark.parametrize(
    "changes",
    [
        {"savingsPlanType": "Compute", "productTypes": ["EC2", "Fargate", "Lambda"]},
        {"savingsPlanType": "EC2Instance", "productTypes": ["EC2"]},
        {"currency": "CNY"},
        {"commitment": "0"},
        {"commitment": "much"},
        {"end": "2026-11-20T23:59:59.000Z"},
        {"end": "some day"},
    ],
)
def test_a_plan_that_cannot_be_counted_on_is_not_asked_for_rates(client, stubber, changes):
    expect_plans(stubber, plan(**changes))
    assert SavingsPlans(client).rates([USAGE], NIGHT) == {}


def test_a_plan_of_a_type_of_tomorrow_counts_where_it_covers_sagemaker(client, stubber):
    expect_plans(stubber, plan(savingsPlanType="Everything", productTypes=["EC2", "SageMaker"]))
    expect_rates(stubber, rate())
    assert USAGE in SavingsPlans(client).rates([USAGE], NIGHT)


@pytest.mark.parametrize(
    "changes",
    [
        {"serviceCode": "AmazonEC2"},
        {"unit": "Request"},
        {"currency": "EUR"},
        {"rate": "0"},
        {"rate": "-1"},
        {"rate": "NaN"},
        {"rate": "cheap"},
        {"usageType": "USE1-Host:ml.g5.2xlarge"},
    ],
)
def test_a_rate_of_something_else_is_left_out(client, stubber, changes):
    expect_plans(stubber, plan())
    expect_rates(stubber, rate(**changes))
    assert SavingsPlans(client).rates([USAGE], NIGHT) == {}


@pytest.mark.parametrize("operation", ["describe_savings_plans", "describe_savings_plan_rates"])
@pytest.mark.parametrize("code", ["AccessDeniedException", "ValidationException", "InternalServerException"])
def test_a_refusal_is_told_with_its_reason(client, stubber, operation, code):
    if operation == "describe_savings_plan_rates":
        expect_plans(stubber, plan())
    stubber.add_client_error(operation, code, "not now")
    with pytest.raises(PricesUnknownError, match=rf"^the account's Savings Plans .*{code}.*not now"):
        SavingsPlans(client).rates([USAGE], NIGHT)


class Endless:
    """A service whose last page never comes."""

    def __init__(self):
        self.pages = 0

    def describe_savings_plans(self, **arguments):
        self.pages += 1
        return {"savingsPlans": [], "nextToken": "again"}


def test_pages_without_end_are_given_up():
    endless = Endless()
    assert SavingsPlans(endless).rates([USAGE], NIGHT) == {}
    assert endless.pages == 10


class Unreachable:
    """The service behind a broken line."""

    def describe_savings_plans(self, **arguments):
        raise EndpointConnectionError(endpoint_url="https://example.org")


def test_a_service_that_cannot_be_reached_is_told_too():
    with pytest.raises(PricesUnknownError, match="example"):
        SavingsPlans(Unreachable()).rates([USAGE], NIGHT)


ARN = "arn:aws:savingsplans::123456789012:savingsplan/one"


def test_a_rate_names_its_plan(client, stubber):
    expect_plans(stubber, plan(savingsPlanArn=ARN))
    expect_rates(stubber, rate())
    (found,) = SavingsPlans(client).rates([USAGE], NIGHT)[USAGE]
    assert (found.plan_arn, found.used_share, found.may_have_room) == (ARN, None, True)


@pytest.fixture
def cost_explorer():
    return boto3.client("ce", region_name=API_REGION, aws_access_key_id="x", aws_secret_access_key="x")


@pytest.fixture
def used_share(client, cost_explorer):
    """used_share(*days) -> what is known of the plan's use where Cost Explorer says so of these days."""

    def ask(*days):
        asked = {
            "TimePeriod": {"Start": "2026-11-13", "End": "2026-11-20"},
            "Granularity": "DAILY",
            "Filter": {"Dimensions": {"Key": "SAVINGS_PLAN_ARN", "Values": [ARN]}},
        }
        answer = {
            "SavingsPlansUtilizationsByTime": [
                {"TimePeriod": {"Start": "2026-11-13", "End": "2026-11-14"}, "Utilization": day}
                for day in days
            ],
            "Total": {"Utilization": {}},
        }
        with Stubber(cost_explorer) as stubber:
            stubber.add_response("get_savings_plans_utilization", answer, asked)
            return SavingsPlans(client, cost_explorer).used_share(ARN, NIGHT)

    return ask


def day_of(percentage, commitment="552.0"):
    return {"TotalCommitment": commitment, "UtilizationPercentage": percentage}


def test_a_plan_is_used_as_much_as_on_its_least_used_day(used_share):
    assert used_share(day_of("100"), day_of("83.3"), day_of("99.5")) == pytest.approx(0.833)
    assert used_share(day_of("100.0")) == 1


def test_a_day_before_the_plan_began_says_nothing_of_its_use(used_share):
    assert used_share(day_of("0", commitment="0"), day_of("100")) == 1


@pytest.mark.parametrize(
    "days",
    [(), ({},), (day_of("0", commitment="0"),), (day_of("100"), day_of("much")), (day_of("NaN"),)],
    ids=["no day", "an empty day", "no commitment", "one day without a figure", "not a number"],
)
def test_where_a_day_is_not_known_the_use_is_not(used_share, days):
    assert used_share(*days) is None


def test_without_a_cost_explorer_nothing_is_asked(client):
    assert SavingsPlans(client).used_share(ARN, NIGHT) is None


@pytest.mark.parametrize(
    "code", ["AccessDeniedException", "DataUnavailableException", "LimitExceededException"]
)
def test_a_refusal_of_the_use_is_told_with_its_reason(client, cost_explorer, code):
    with Stubber(cost_explorer) as stubber:
        stubber.add_client_error("get_savings_plans_utilization", code, "not now")
        with pytest.raises(PricesUnknownError, match=rf"^how much of a Savings Plan .*{code}.*not now"):
            SavingsPlans(client, cost_explorer).used_share(ARN, NIGHT)
