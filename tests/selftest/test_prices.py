"""A6: prices asked from a function. Its own code runs here, with boto3's clients and recorded answers of AWS."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import timedelta
from functools import cached_property
from itertools import count
from types import SimpleNamespace

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from nightspot.facts.model import Verdict
from nightspot.selftest import free
from nightspot.selftest.model import NotTriedError, Seen

REGION = "eu-west-1"


def product(kind, usd="1.5150000000"):
    """A product as the Price List writes it, https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/."""
    attributes = {"regionCode": REGION, "instanceName": kind, "platoinstancetype": "Training"}
    tier = {"unit": "Hrs", "beginRange": "0", "endRange": "Inf", "pricePerUnit": {"USD": usd}}
    term = {"effectiveDate": "2026-08-01T00:00:00Z", "priceDimensions": {"one": tier}}
    return json.dumps(
        {
            "product": {"attributes": {**attributes, "usagetype": f"EU-Train:{kind}"}},
            "terms": {"OnDemand": {"one": term}},
        }
    )


class Aws:
    """What AWS answers, by operation; an exception is raised."""

    def __init__(self, now, without=()):
        self.now, self.without, self.asked = now, without, []

    def answer(self, model, params, **_rest):
        self.asked.append((model.name, params))
        found = getattr(self, model.name)(params)
        if isinstance(found, Exception):
            raise found
        return SimpleNamespace(status_code=200), {**found, "ResponseMetadata": {"RequestId": "one"}}

    def GetProducts(self, params):  # noqa: N802 - as boto3 has it
        filters = {each["Field"]: each["Value"] for each in json.loads(params["body"])["Filters"]}
        kind = filters.get("instanceName")
        return {"PriceList": [product(kind)] if kind and kind not in self.without else []}

    def DescribeSavingsPlans(self, _params):  # noqa: N802
        return {"savingsPlans": []}

    def DescribeSpotPriceHistory(self, params):  # noqa: N802
        assert params["body"]["StartTime"] < params["body"]["EndTime"]
        since = self.now - timedelta(days=2)
        price = {"Timestamp": since, "SpotPrice": "0.035", "AvailabilityZone": "eu-west-1a"}
        return {"SpotPriceHistory": [price]}


class Here:
    """moto's Lambda, but a function that is invoked runs here. Each call of AWS takes so many seconds."""

    def __init__(self, client, aws, takes):
        self._client, self._aws, self._takes = client, aws, takes
        self.given = {}

    def __getattr__(self, name):
        return getattr(self._client, name)

    def create_function(self, **given):
        self.given = given
        return self._client.create_function(**given)

    def invoke(self, *, FunctionName, Payload):  # noqa: N803 - as boto3 has it
        assert FunctionName == self.given["FunctionName"]
        answer = self._handler(json.loads(Payload), None)
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}

    @cached_property
    def _handler(self):
        module, _, name = self.given["Handler"].partition(".")
        packed = zipfile.ZipFile(io.BytesIO(self.given["Code"]["ZipFile"]))
        space, numbers = {}, count()
        exec(packed.read(f"{module}.py").decode(), space)  # noqa: S102 - it is the product's own
        space["time"] = SimpleNamespace(monotonic=lambda: next(numbers) * self._takes)
        space["boto3"] = SimpleNamespace(client=self._recorded)
        return space[name]

    def _recorded(self, service, *, region_name, config):
        client = boto3.client(service, region_name=region_name, config=config)
        client.meta.events.register("before-call", self._aws.answer)
        return client


def asked(opened, aws, takes=0.25):
    workspace, seen = opened.workspace, Seen()
    others, here = workspace.client, Here(workspace.client("lambda"), aws, takes)
    workspace.client = lambda service: here if service == "lambda" else others(service)
    try:
        free.prices_answer(workspace, seen)
    except (NotTriedError, ClientError) as error:
        because = str(error)
    else:
        because = ""
    return {each.id: each for each in seen.observations(workspace.now())}, because


@pytest.fixture
def opened(account):
    return account()


def test_prices_are_asked_five_times_from_a_function_that_is_removed(opened):
    aws = Aws(opened.workspace.now())

    seen, because = asked(opened, aws)

    assert because == ""
    assert {name: len(each.observed) for name, each in seen.items()} == {
        "pricing.training.filter": 1,
        "pricing.spot.component": 1,
        "pricing.seconds": 16,  # three types, and whether Spot has a product
        "savingsplans.seconds": 5,
        "ec2.spotprices.seconds": 15,
    }
    assert {each.verdict for each in seen.values()} == {Verdict.AS_DESIGNED}
    assert seen["pricing.seconds"].observed[0] == 0.25
    assert seen["pricing.seconds"].evidence == (
        "get_products from a function in eu-west-1: p50 0.25 s, p95 0.25 s of 16 calls",
    )
    assert "ml.m5.large: $1.515 (EU-Train:ml.m5.large)" in seen["pricing.training.filter"].evidence[0]
    assert len(opened.workspace.client("lambda").list_functions()["Functions"]) == 1
    assert opened.workspace.clean_up() == []
    assert opened.workspace.client("lambda").list_functions()["Functions"] == []


def test_the_spread_of_some_seconds():
    assert free._spread([5, 1, 4, 2, 3]) == "p50 3 s, p95 4.8 s of 5 calls"
    assert free._spread([0.25]) == "p50 0.25 s, p95 0.25 s of 1 calls"


def test_a_type_that_the_filters_do_not_find_is_named(opened):
    seen, _ = asked(opened, Aws(opened.workspace.now(), without={"ml.p4d.24xlarge"}))

    assert seen["pricing.training.filter"].observed == ("missing",)
    assert seen["pricing.training.filter"].evidence[0].startswith("ml.p4d.24xlarge, ml.m5.large: $1.515")


def test_a_price_list_that_takes_longer_than_the_product_waits_is_found(opened):
    seen, _ = asked(opened, Aws(opened.workspace.now()), takes=13.5)

    assert seen["pricing.seconds"].verdict is Verdict.SAFE
    assert "p50 14 s" in seen["pricing.seconds"].evidence[0]


def test_a_refusal_is_told_as_boto3_tells_it(opened):
    aws = Aws(opened.workspace.now())
    denied = {"Error": {"Code": "AccessDeniedException", "Message": "pricing:GetProducts"}}
    aws.GetProducts = lambda _params: ClientError(denied, "GetProducts")

    seen, because = asked(opened, aws)

    assert seen == {}
    assert "(AccessDeniedException) when calling the get_products operation: pricing:GetProducts" in because


def test_an_answer_that_never_comes_is_measured_all_the_same(opened):
    aws = Aws(opened.workspace.now())
    aws.DescribeSavingsPlans = lambda _params: ReadTimeoutError(endpoint_url="savingsplans")

    seen, because = asked(opened, aws, takes=40)

    assert "Read timeout" in because
    assert seen["savingsplans.seconds"].observed == (40,)


def test_a_function_that_does_not_answer_is_not_tried(opened):
    """moto's own Lambda runs nothing."""
    with pytest.raises(NotTriedError, match="nightspot-selftest-1a2b3c-a6 answered"):
        free.prices_answer(opened.workspace, Seen())


def test_the_functions_may_write_no_log_group_of_their_own(opened):
    policy = opened.workspace._training_policy()
    (logs,) = (each for each in policy["Statement"] if any("logs:" in name for name in each["Action"]))

    assert logs["Resource"].endswith(":log-group:/aws/sagemaker/TrainingJobs*")
