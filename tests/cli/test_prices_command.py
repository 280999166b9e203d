"""`nightspot prices`: the shipped book, or AWS when told, each figure with its source and age."""

import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.stub import ANY, Stubber

G5 = "ml.g5.2xlarge"


@pytest.fixture(autouse=True)
def _nobody_s_machine(monkeypatch):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def aws(monkeypatch):
    """Stubbers by service: boto3 gives their clients to whoever asks for one."""
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    regions = {"pricing": "us-east-1", "savingsplans": "us-east-1", "ec2": "us-east-1"}
    stubbers = {
        service: Stubber(boto3.client(service, region_name=region, **keys))
        for service, region in regions.items()
    }

    def client(service, region_name):
        assert region_name == regions[service]
        return stubbers[service].client

    monkeypatch.setattr(boto3, "client", client)
    for stubber in stubbers.values():
        stubber.activate()
    return stubbers


def listing(usd, **attributes):
    dimension = {"unit": "Hrs", "beginRange": "0", "endRange": "Inf", "pricePerUnit": {"USD": usd}}
    terms = {
        "OnDemand": {"T": {"effectiveDate": "2026-01-01T00:00:00Z", "priceDimensions": {"D": dimension}}}
    }
    product = {"product": {"attributes": {"regionCode": "us-east-1", **attributes}}, "terms": terms}
    return {"PriceList": [json.dumps(product)]}


def test_a_job_s_ladder_is_priced_from_the_book(nightspot, tmp_path, good_job):
    (tmp_path / "job.yaml").write_text(good_job)
    answer = nightspot("prices", "job.yaml")
    assert answer.status == 0
    assert "ml.p4d.24xlarge in eu-west-1" in answer.out
    assert "$33.000 an hour: assumed price of 2026-11-21" in answer.out
    assert "about 65 % less, assumed: five public SageMaker training logs" in answer.out


def days_since_the_book():
    return (datetime.now(UTC).date() - datetime(2023, 12, 31, tzinfo=UTC).date()).days


def test_json_has_every_figure_with_its_source(nightspot):
    before = days_since_the_book()
    answer = nightspot(
        "prices", "--instance-type", "ml.m5.xlarge", "--instance-type", "ml.never.heard", "--json"
    )
    document = json.loads(answer.out)
    known, unknown = document["instance_types"]
    assert (known["usd_per_hour"], known["basis"], known["price_source"]) == (0.257, "priced", "book")
    assert known["date"] == "2023-12-31"
    assert before <= known["age_days"] <= days_since_the_book()
    assert (unknown["usd_per_hour"], unknown["basis"], unknown["date"]) == (None, None, None)
    assert unknown["spot_discount"]["basis"] == "assumed"
    assert document["problems"] == []


def test_an_old_price_says_its_age(nightspot):
    answer = nightspot("prices", "--instance-type", "ml.m5.xlarge")
    assert "price of 2023-12-31, " in answer.out
    assert " years old; an AWS bill of December 2023" in answer.out


def test_a_price_that_nobody_knows_is_said_to_be_unknown(nightspot):
    answer = nightspot("prices", "--instance-type", "ml.never.heard")
    assert answer.status == 0
    assert "not known" in answer.out


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_is_the_environment_s_unless_one_is_given(nightspot, monkeypatch, variable):
    monkeypatch.setenv(variable, "us-east-1")
    assert "$1.515" in nightspot("prices", "--instance-type", G5).out
    assert "not known" in nightspot("prices", "--instance-type", G5, "--region", "eu-west-1").out


def test_live_asks_aws_and_shows_its_price_its_plans_and_ec2_s_hint(nightspot, aws):
    now = datetime.now(UTC)
    usage = "USE1-Train:ml.g5.2xlarge"
    training = listing("1.5150000000", instanceName=G5, platoinstancetype="Training", usagetype=usage)
    aws["pricing"].add_response("get_products", training)
    machine = {
        "operatingSystem": "Linux",
        "preInstalledSw": "NA",
        "tenancy": "Shared",
        "capacitystatus": "Used",
    }
    aws["pricing"].add_response(
        "get_products", listing("1.2120000000", instanceType="g5.2xlarge", usagetype="BoxUsage", **machine)
    )
    plan = {
        "savingsPlanId": "one",
        "savingsPlanType": "SageMaker",
        "currency": "USD",
        "commitment": "5.0",
        "end": (now + timedelta(days=30)).isoformat(),
    }
    aws["savingsplans"].add_response(
        "describe_savings_plans", {"savingsPlans": [plan]}, {"states": ["active"]}
    )
    rate = {"rate": "1.1", "currency": "USD", "unit": "Hrs", "serviceCode": "AmazonSageMaker"}
    aws["savingsplans"].add_response(
        "describe_savings_plan_rates",
        {"searchResults": [{**rate, "usageType": usage}]},
        {"savingsPlanId": "one", "filters": [{"name": "usageType", "values": [usage]}]},
    )
    spot = {"SpotPrice": "0.303", "Timestamp": now - timedelta(days=8), "AvailabilityZone": "us-east-1a"}
    aws["ec2"].add_response(
        "describe_spot_price_history",
        {"SpotPriceHistory": [spot]},
        {
            "InstanceTypes": ["g5.2xlarge"],
            "ProductDescriptions": ["Linux/UNIX"],
            "StartTime": ANY,
            "EndTime": ANY,
        },
    )
    answer = nightspot("prices", "--instance-type", G5, "--region", "us-east-1", "--live")
    assert answer.status == 0
    said = " ".join(answer.out.split())
    assert f"$1.515 an hour: price of {now:%Y-%m-%d}; AWS Price List API, usage type {usage}" in said
    assert "$1.100 an hour on-demand, until" in said
    assert "as far as its $5.00 an hour go; never assumed for Spot" in said
    assert "about 75 % less, priced: EC2's Spot price of g5.2xlarge" in said


def test_where_aws_refuses_the_book_stands_in_and_the_reason_is_shown(nightspot, aws):
    aws["pricing"].add_client_error("get_products", "AccessDeniedException", "not for you")
    aws["ec2"].add_client_error("describe_spot_price_history", "UnauthorizedOperation", "nor this")
    answer = nightspot("prices", "--instance-type", G5, "--region", "us-east-1", "--live", "--json")
    document = json.loads(answer.out)
    assert answer.status == 0
    assert document["instance_types"][0]["price_source"] == "book"
    assert [("not for you" in each, "nor this" in each) for each in document["problems"]] == [
        (True, False),
        (False, True),
    ]


def test_a_profile_that_is_not_there_is_a_mistake_in_words(nightspot, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    answer = nightspot("prices", "--instance-type", G5, "--live")
    assert answer.status == 1
    assert "error: --live: The config profile (nobody) could not be found" in answer.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give either a job file or --instance-type"),
        (("job.yaml", "--instance-type", G5), "give either a job file or --instance-type"),
        (("--instance-type", "g5.xlarge"), "--instance-type: 'g5.xlarge': must be one of SageMaker's"),
        (("--instance-type", G5, "--region", "mars"), "--region: 'mars': must be the name of a region"),
    ],
)
def test_a_wrong_call_is_a_usage_error(nightspot, arguments, said):
    answer = nightspot("prices", *arguments)
    assert answer.status == 2
    assert said in answer.err


def test_a_job_file_with_mistakes_is_not_priced(nightspot, tmp_path, good_job):
    (tmp_path / "job.yaml").write_text(good_job.replace("work: 4h ", "work: soon "))
    answer = nightspot("prices", "job.yaml")
    assert answer.status == 1
    assert "error: job.yaml: work: 'soon': must be a duration" in answer.err
