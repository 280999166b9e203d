"""The price book that ships with Nightspot."""

import datetime as dt

import pytest

from nightspot.aws.prices import Price, load_price_book, read_price_book


def _block(usd, date, assumed, source="a list"):
    return {
        "region": "eu-west-1",
        "source": source,
        "date": date,
        "assumed": assumed,
        "usd_per_hour": {"ml.m5.large": usd},
    }


@pytest.mark.parametrize(
    ("instance_type", "region", "usd", "assumed"),
    [
        ("ml.p4d.24xlarge", "eu-west-1", 33.0, True),
        ("ml.g5.2xlarge", "us-east-1", 1.515, False),
        ("ml.m5.large", "us-east-1", 0.115, False),
        ("ml.g5.xlarge", "eu-west-1", 1.57, False),
    ],
)
def test_the_book_knows_a_price_and_how_sure_it_is(instance_type, region, usd, assumed):
    price = load_price_book().usd_per_hour(instance_type, region)
    assert (price.usd_per_hour, price.assumed) == (usd, assumed)


@pytest.mark.parametrize(
    ("instance_type", "region"),
    [("ml.p4d.24xlarge", "mars-1"), ("p4d.24xlarge", "eu-west-1"), ("", "")],
)
def test_what_the_book_does_not_know_is_none(instance_type, region):
    assert load_price_book().usd_per_hour(instance_type, region) is None


def test_every_price_has_a_source_a_date_and_a_sane_figure():
    for (instance_type, region), price in load_price_book().prices.items():
        assert instance_type.startswith("ml.")
        assert region
        assert price.source
        assert dt.date(2020, 1, 1) < price.date
        assert 0 < price.usd_per_hour < 200


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (_block(0.2, "2026-01-31", assumed=False), _block(0.1, "2025-01-31", assumed=False)),
        (_block(0.2, "2025-01-31", assumed=False), _block(0.1, "2026-01-31", assumed=True)),
    ],
    ids=["the later list", "a list, not an assumption"],
)
def test_of_two_prices_the_better_founded_counts(one, other, order):
    book = read_price_book({"blocks": [one, other][::order]})
    assert book.usd_per_hour("ml.m5.large", "eu-west-1").usd_per_hour == 0.2


def test_a_price_says_who_gave_it_and_when():
    book = read_price_book({"blocks": [_block(0.2, "2026-01-31", assumed=False)]})
    assert book.usd_per_hour("ml.m5.large", "eu-west-1") == Price(
        usd_per_hour=0.2, source="a list", date=dt.date(2026, 1, 31), assumed=False
    )


def test_the_book_cannot_be_written_in():
    with pytest.raises(TypeError):
        load_price_book().prices["ml.m5.large", "eu-west-1"] = None
