"""What the Price List is asked, and which of its many prices counts."""

import json
from datetime import UTC, datetime

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from nightspot.aws.price_list import Listed, PriceList, PricesUnknownError, api_region, listed

NIGHT = datetime(2026, 11, 21, tzinfo=UTC)
G5 = "ml.g5.2xlarge"
TRAINING = {"regionCode": "us-east-1", "instanceName": G5, "platoinstancetype": "Training"}
EC2 = {
    "regionCode": "us-east-1",
    "instanceType": "g5.2xlarge",
    "operatingSystem": "Linux",
    "preInstalledSw": "NA",
    "tenancy": "Shared",
    "capacitystatus": "Used",
}


@pytest.fixture
def client():
    return boto3.client("pricing", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")


@pytest.fixture
def stubber(client):
    """Answers exactly the calls that a test expects, in their order, in shapes that botocore's model allows."""
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def tier(usd="1.5150000000", *, begin="0", unit="Hrs", **prices):
    return {
        "unit": unit,
        "beginRange": begin,
        "endRange": "Inf",
        "description": "$1.515 per Training ml.g5.2xlarge hour in US East (N. Virginia)",
        "appliesTo": [],
        "pricePerUnit": prices or {"USD": usd},
    }


def term(*tiers, since="2026-08-01T00:00:00Z"):
    return {
        "effectiveDate": since,
        "offerTermCode": "JRTCKXETXF",
        "priceDimensions": {f"SKU.JRTCKXETXF.{number}": each for number, each in enumerate(tiers)},
        "termAttributes": {},
    }


def product(*terms, usage="USE1-Train:ml.g5.2xlarge", **attributes):
    """One product as GetProducts writes it, if not yet as text."""
    return {
        "product": {
            "productFamily": "ML Instance",
            "sku": "SKU",
            "attributes": {
                **TRAINING,
                "servicecode": "AmazonSageMaker",
                "instanceType": f"{G5}-Training",
                "usagetype": usage,
                **attributes,
            },
        },
        "serviceCode": "AmazonSageMaker",
        "terms": {
            "OnDemand": {f"SKU.{number}": each for number, each in enumerate(terms or [term(tier())])},
            "Reserved": {},
        },
        "version": "20261119",
        "publicationDate": "2026-11-19T00:00:00Z",
    }


def expect(stubber, *products, service="AmazonSageMaker", wanted=TRAINING, page=None, following=None):
    texts = [each if isinstance(each, str) else json.dumps(each) for each in products]
    answer = {"FormatVersion": "aws_v1", "PriceList": texts} | ({"NextToken": following} if following else {})
    asked = {
        "ServiceCode": service,
        "Filters": [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in wanted.items()],
        "FormatVersion": "aws_v1",
        "MaxResults": 100,
    }
    stubber.add_response("get_products", answer, asked | ({"NextToken": page} if page else {}))


def price_among(*products, at=NIGHT):
    return listed(products, TRAINING, f"Train:{G5}", at)


def test_training_is_asked_for_by_region_and_name_and_has_its_usage_type(client, stubber):
    expect(stubber, product())
    found = PriceList(client).training(G5, "us-east-1", NIGHT)
    assert found == Listed(1.515, "USE1-Train:ml.g5.2xlarge")


def test_the_ec2_machine_is_asked_for_with_linux_on_shared_hardware(client, stubber):
    machine = product(term(tier("1.2120000000")), usage="BoxUsage:g5.2xlarge", **EC2)
    expect(stubber, machine, service="AmazonEC2", wanted=EC2)
    assert PriceList(client).ec2("g5.2xlarge", "us-east-1", NIGHT) == Listed(1.212, "BoxUsage:g5.2xlarge")


def test_a_price_on_a_later_page_is_found(client, stubber):
    expect(stubber, product(usage="USE1-Host:ml.g5.2xlarge", platoinstancetype="Hosting"), following="2nd")
    expect(stubber, product(), page="2nd")
    assert PriceList(client).training(G5, "us-east-1", NIGHT).usd_per_hour == 1.515


def test_a_type_that_is_not_listed_has_no_price(client, stubber):
    expect(stubber)
    assert PriceList(client).training(G5, "us-east-1", NIGHT) is None


@pytest.mark.parametrize(
    "code", ["AccessDeniedException", "ThrottlingException", "InternalErrorException", "NotFoundException"]
)
def test_a_refusal_is_told_with_its_reason(client, stubber, code):
    stubber.add_client_error("get_products", code, "not now")
    with pytest.raises(PricesUnknownError, match=rf"AmazonSageMaker .*{G5}.*{code}.*not now"):
        PriceList(client).training(G5, "us-east-1", NIGHT)


class Unreachable:
    """The Price List behind a broken line."""

    def get_paginator(self, operation):
        return self

    def paginate(self, **arguments):
        return iter(self)

    def __iter__(self):
        raise EndpointConnectionError(endpoint_url="https://example.org")


def test_a_list_that_cannot_be_reached_is_told_too():
    with pytest.raises(PricesUnknownError, match="example"):
        PriceList(Unreachable()).training(G5, "us-east-1", NIGHT)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '"text"', "7"])
def test_a_product_that_cannot_be_read_does_not_hide_the_others(client, stubber, text):
    expect(stubber, text, product())
    assert PriceList(client).training(G5, "us-east-1", NIGHT).usd_per_hour == 1.515


@pytest.mark.parametrize(
    "attributes",
    [
        {"platoinstancetype": "Hosting"},
        {"instanceName": "ml.g5.4xlarge"},
        {"regionCode": "us-east-2"},
    ],
)
def test_a_product_that_the_filters_should_have_kept_out_has_no_say(attributes):
    assert price_among(product(**attributes)) is None


def test_the_usage_type_of_training_beats_a_dearer_one_of_something_else():
    other = product(term(tier("9.0")), usage="USE1-TrainPlan:ml.g5.2xlarge")
    assert price_among(other, product()) == Listed(1.515, "USE1-Train:ml.g5.2xlarge")
    assert price_among(other) == Listed(9.0, "USE1-TrainPlan:ml.g5.2xlarge")


def test_a_usage_type_is_taken_whole_with_and_without_its_region():
    short, longer = (
        product(term(tier("1.0")), usage=usage)
        for usage in ("Train:ml.g5.2xlarge", "USE1-NoTrain:ml.g5.2xlarge")
    )
    assert price_among(short, longer).usage_type == "Train:ml.g5.2xlarge"
    assert price_among(longer, product(term(tier("0.5")))).usd_per_hour == 0.5


def test_of_several_prices_of_one_usage_type_the_dearest_counts():
    assert price_among(product(term(tier("1.0"))), product(term(tier("2.0")))).usd_per_hour == 2.0


def test_a_reservation_at_zero_is_no_price():
    assert price_among(product(term(tier("0.0000000000")))) is None
    assert price_among(product(term(tier("0.0000000000"))), product()).usd_per_hour == 1.515


def test_of_tiers_the_one_of_the_first_paid_hours_counts():
    tiers = [tier("1.0", begin="1000"), tier("0", begin="0"), tier("1.5", begin="100")]
    assert price_among(product(term(*tiers))).usd_per_hour == 1.5


def test_a_price_of_tomorrow_is_not_yet_one_and_of_those_in_force_the_newest_counts():
    terms = [
        term(tier("3.0"), since="2026-11-22T00:00:00Z"),
        term(tier("2.0"), since="2026-11-01T00:00:00Z"),
        term(tier("1.0"), since="2025-01-01T00:00:00Z"),
    ]
    assert price_among(product(*terms)).usd_per_hour == 2.0
    assert price_among(product(*reversed(terms))).usd_per_hour == 2.0


@pytest.mark.parametrize("since", ["", "soon", None, 7])
def test_a_term_that_does_not_say_since_when_is_in_force_behind_those_that_do(since):
    vague = term(tier("1.0"), since=since)
    assert price_among(product(vague)).usd_per_hour == 1.0
    assert price_among(product(vague, term(tier("2.0")))).usd_per_hour == 2.0


@pytest.mark.parametrize("unit", ["Hrs", "hrs", "Hours", "hour"])
def test_hours_are_hours_however_they_are_written(unit):
    assert price_among(product(term(tier(unit=unit)))).usd_per_hour == 1.515


@pytest.mark.parametrize("unit", ["GB-Mo", "Quantity", "", None])
def test_a_price_of_anything_but_hours_is_none(unit):
    assert price_among(product(term(tier(unit=unit)))) is None


def test_a_price_in_another_currency_alone_is_not_guessed_into_usd():
    """China's list."""
    assert price_among(product(term(tier(CNY="11.2000000000")))) is None
    both = product(term(tier(CNY="11.2000000000", USD="1.6")))
    assert price_among(both).usd_per_hour == 1.6


@pytest.mark.parametrize("usd", ["-1", "NaN", "Infinity", "free", None, [], {}])
def test_what_is_no_amount_is_no_price(usd):
    assert price_among(product(term(tier(usd)))) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PLACES = [
    (),
    ("product",),
    ("product", "attributes"),
    ("product", "attributes", "usagetype"),
    ("terms",),
    ("terms", "OnDemand"),
    ("terms", "OnDemand", "SKU.0"),
    ("terms", "OnDemand", "SKU.0", "effectiveDate"),
    ("terms", "OnDemand", "SKU.0", "priceDimensions"),
    ("terms", "OnDemand", "SKU.0", "priceDimensions", "SKU.JRTCKXETXF.0"),
    ("terms", "OnDemand", "SKU.0", "priceDimensions", "SKU.JRTCKXETXF.0", "beginRange"),
    ("terms", "OnDemand", "SKU.0", "priceDimensions", "SKU.JRTCKXETXF.0", "pricePerUnit"),
]


@given(st.sampled_from(PLACES), json_values)
def test_whatever_stands_in_a_product_nothing_crashes_and_no_other_price_suffers(place, value):
    broken = value
    if place:
        broken = product()
        inner = broken
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = value
    found = price_among(broken, product(term(tier("1000"))))
    assert found.usd_per_hour == 1000.0


@given(st.lists(st.floats(0.001, 500), min_size=1, max_size=6), st.randoms())
def test_the_order_of_products_does_not_matter(amounts, random):
    products = [product(term(tier(str(usd)))) for usd in amounts]
    random.shuffle(products)
    assert price_among(*products).usd_per_hour == max(amounts)


@pytest.mark.parametrize(
    ("region", "api"),
    [("eu-west-1", "us-east-1"), ("us-east-1", "us-east-1"), ("cn-north-1", "cn-northwest-1")],
)
def test_the_list_is_asked_in_one_of_its_few_regions(region, api):
    assert api_region(region) == api
    partition = "aws-cn" if region.startswith("cn-") else "aws"
    assert api in boto3.Session().get_available_regions("pricing", partition_name=partition)
