"""What EC2's Spot prices hint about the discount of managed Spot training."""

from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from nightspot.aws.price_list import PricesUnknownError, SpotPrices, discount_hint, ec2_type
from nightspot.run.pricing import Basis

NIGHT = datetime(2026, 11, 21, tzinfo=UTC)
WEEK = timedelta(days=7)


@pytest.fixture
def client():
    return boto3.client("ec2", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")


@pytest.fixture
def stubber(client):
    """Answers exactly the calls that a test expects, in their order, in shapes that botocore's model allows."""
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def change(usd, days_ago, zone="eu-west-1a"):
    return {
        "AvailabilityZone": zone,
        "InstanceType": "g5.xlarge",
        "ProductDescription": "Linux/UNIX",
        "SpotPrice": usd if isinstance(usd, str) else f"{usd:.6f}",
        "Timestamp": NIGHT - timedelta(days=days_ago),
    }


def expect(stubber, *changes, page=None, following=None):
    asked = {
        "InstanceTypes": ["g5.xlarge"],
        "ProductDescriptions": ["Linux/UNIX"],
        "StartTime": NIGHT - WEEK,
        "EndTime": NIGHT,
    }
    answer = {"SpotPriceHistory": list(changes)} | ({"NextToken": following} if following else {})
    stubber.add_response("describe_spot_price_history", answer, asked | ({"NextToken": page} if page else {}))


class Told:
    """EC2 that tells these changes."""

    def __init__(self, changes):
        self._changes = changes

    def get_paginator(self, operation):
        return self

    def paginate(self, **arguments):
        return [{"SpotPriceHistory": self._changes}]


def mean(*changes):
    return SpotPrices(Told(changes)).mean_usd_per_hour("g5.xlarge", NIGHT)


def test_the_price_of_a_week_is_asked_for(client, stubber):
    expect(stubber, change(0.3, 1), change(0.4, 9))
    usd = SpotPrices(client).mean_usd_per_hour("g5.xlarge", NIGHT)
    assert usd == pytest.approx((6 * 0.4 + 1 * 0.3) / 7)


def test_prices_on_a_later_page_count(client, stubber):
    expect(stubber, change(0.3, 1), following="2nd")
    expect(stubber, change(0.4, 9), page="2nd")
    usd = SpotPrices(client).mean_usd_per_hour("g5.xlarge", NIGHT)
    assert usd == pytest.approx((6 * 0.4 + 1 * 0.3) / 7)


def test_a_price_that_held_long_counts_for_more_than_one_of_an_hour():
    assert mean(change(0.2, 8), change(0.9, 1 / 24)) == pytest.approx((0.2 * 167 + 0.9) / 168)


def test_a_zone_with_many_changes_counts_no_more_than_one_with_few():
    restless = [change(0.4, days, "eu-west-1b") for days in (8, 5, 4, 3, 2, 1)]
    assert mean(change(0.2, 8), *restless) == pytest.approx(0.3)


def test_of_two_prices_from_before_the_week_the_later_one_held():
    assert mean(change(0.2, 8), change(0.9, 20)) == pytest.approx(0.2)


def test_a_machine_without_a_spot_price_has_none(client, stubber):
    expect(stubber)
    assert SpotPrices(client).mean_usd_per_hour("g5.xlarge", NIGHT) is None


@pytest.mark.parametrize("usd", ["", "free", "0", "-1", "NaN", "inf"])
def test_what_is_no_price_is_left_out(usd):
    assert mean(change(usd, 1)) is None
    assert mean(change(usd, 1), change(0.2, 2)) == pytest.approx(0.2)


def test_a_price_from_the_end_of_the_week_on_has_held_for_no_time():
    assert mean(change(0.2, 0)) is None


@given(
    st.lists(
        st.tuples(st.floats(0.01, 50), st.floats(0.001, 30), st.sampled_from("abc")), min_size=1, max_size=8
    ),
    st.randoms(),
)
def test_the_mean_lies_among_the_prices_whatever_their_order(rows, random):
    changes = [change(usd, days, f"eu-west-1{zone}") for usd, days, zone in rows]
    usd = mean(*changes)
    prices = [float(each["SpotPrice"]) for each in changes]
    assert min(prices) - 1e-9 <= usd <= max(prices) + 1e-9
    random.shuffle(changes)
    assert mean(*changes) == pytest.approx(usd)


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "RequestLimitExceeded", "InternalError"])
def test_a_refusal_is_told_with_its_reason(client, stubber, code):
    stubber.add_client_error("describe_spot_price_history", code, "not now")
    with pytest.raises(
        PricesUnknownError, match=rf"EC2 gave no Spot prices for .*g5.xlarge.*{code}.*not now"
    ):
        SpotPrices(client).mean_usd_per_hour("g5.xlarge", NIGHT)


class Unreachable:
    """EC2 behind a broken line."""

    def get_paginator(self, operation):
        return self

    def paginate(self, **arguments):
        return iter(self)

    def __iter__(self):
        raise EndpointConnectionError(endpoint_url="https://example.org")


def test_ec2_that_cannot_be_reached_is_told_too():
    with pytest.raises(PricesUnknownError, match="example"):
        SpotPrices(Unreachable()).mean_usd_per_hour("g5.xlarge", NIGHT)


def test_a_hint_compares_ec2_with_ec2_and_says_that_it_is_another_pool():
    hint = discount_hint("ml.g5.xlarge", 0.4, 1.0, NIGHT.date())
    assert (hint.value, hint.basis, hint.date) == (pytest.approx(0.6), Basis.PRICED, NIGHT.date())
    assert "EC2's Spot price of g5.xlarge" in hint.words
    assert "SageMaker has its own pool" in hint.words


def test_spot_that_costs_more_than_on_demand_saves_nothing():
    assert discount_hint("ml.g5.xlarge", 1.3, 1.0, NIGHT.date()).value == 0.0


@pytest.mark.parametrize(
    ("given_type", "machine"), [("ml.g5.xlarge", "g5.xlarge"), ("g5.xlarge", "g5.xlarge")]
)
def test_a_machine_is_the_type_without_ml(given_type, machine):
    assert ec2_type(given_type) == machine
