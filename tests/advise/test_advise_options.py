"""The options' arithmetic, computed once more by hand."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from nightspot.advise.filters import count
from nightspot.advise.nights import with_nightspot, with_spot_alone
from nightspot.advise.offers import LABELS, WORK, Nights, Option, offers_of
from nightspot.advise.question import PlanRoom
from nightspot.run.pricing import PlanRate, Price

NEVER = ("fallback: on_demand", "fallback: never")


def priced_with_a_plan(instance_type, region):
    rate = PlanRate(20.0, 100.0, datetime(2028, 1, 1, tzinfo=UTC))
    return Price(33.0, "a list", datetime(2026, 11, 21, tzinfo=UTC).date(), assumed=False, plans=(rate,))


def by_option(case, ours, alone=None):
    return {offer.option: offer for offer in offers_of(case, Nights(ours, alone or ours))}


def test_every_option_has_a_label_its_hours_and_a_maker(advising):
    assert set(LABELS) == set(WORK) == set(Option)
    assert [offer.option for offer in offers_of(advising.case(), Nights(None, None))] == list(Option)


def test_on_demand_costs_its_training_hours_at_the_price(advising):
    found = by_option(advising.case(), advising.played())[Option.ON_DEMAND]
    assert found.usd.value == pytest.approx(30 * 4 * 33)
    assert found.usd.word == "priced"
    assert found.total_usd(200.0) == found.usd.value


def test_nightspot_costs_what_its_nights_cost_and_the_work_and_the_late_nights(advising):
    found = by_option(advising.case(), advising.played(late=10))[Option.NIGHTSPOT]
    # A night of NIGHT costs 1.4 hours of on-demand.
    assert found.usd.value == pytest.approx(30 * 1.4 * 33)
    assert found.usd.word == "assumed"
    assert found.work_usd == pytest.approx(16 / 12 * 100 + 100)
    assert found.missed_nights == pytest.approx(3)
    # Ten of a hundred are seen, so at 95 % confidence fewer than 16.96.
    assert found.most_missed_nights == pytest.approx(30 * 0.1696, rel=0.01)
    work = 16 / 12 * 100 + 100
    assert found.total_usd(200.0) == pytest.approx(30 * 1.4 * 33 + work + 200 * found.most_missed_nights)


def test_where_the_fallback_is_forbidden_nights_are_skipped(advising):
    never = advising.case("jobs/recommender.yaml", NEVER)
    played = with_nightspot(never.stage)
    found = by_option(never, played)[Option.NIGHTSPOT]
    assert found.missed_nights == pytest.approx(30 * played.without_model)
    assert found.capacity == f"{count(found.missed_nights)} nights skipped"
    assert found.usd.value == pytest.approx(33 * played.mean_hours)


def test_several_machines_cost_several_prices(advising):
    four = advising.case("jobs/recommender.yaml", ("InstanceCount: 1", "InstanceCount: 4"))
    found = by_option(four, advising.played())
    assert found[Option.ON_DEMAND].usd.value == pytest.approx(4 * 30 * 4 * 33)
    assert found[Option.NIGHTSPOT].usd.value == pytest.approx(4 * 30 * 1.4 * 33)


def test_machines_of_ec2_have_no_price_until_somebody_says_it(advising):
    found = by_option(advising.case(), advising.played())
    assert {found[o].usd.word for o in (Option.EC2_SPOT, Option.BATCH_SPOT, Option.RESERVED)} == {"unknown"}
    told = by_option(advising.case(hints={"ec2_spot_usd_per_hour": 8.0}), advising.played())
    # NIGHT holds Spot for 15,000 seconds.
    assert told[Option.EC2_SPOT].usd.value == pytest.approx(30 * 15_000 / 3600 * 8)
    assert told[Option.EC2_SPOT].usd.word == "assumed"
    assert told[Option.BATCH_SPOT].usd == told[Option.EC2_SPOT].usd
    assert told[Option.EC2_SPOT].work_usd == pytest.approx(80 / 12 * 100 + 800)


def test_a_savings_plan_is_priced_where_the_account_has_one(advising):
    case = advising.case(price=priced_with_a_plan)
    played = advising.played(fallen_back=10)
    found = by_option(case, played)
    # Its commitment is paid already: an idle one makes the hours that it covers cost nothing more.
    assert found[Option.SAVINGS_PLAN].usd.value == 0
    assert found[Option.ON_DEMAND].usd.value == pytest.approx(30 * 4 * 33)
    # Ten nights of a hundred hold on-demand for two hours.
    under = found[Option.SAVINGS_PLAN_FALLBACK]
    assert under.usd.value == pytest.approx(found[Option.NIGHTSPOT].usd.value - 30 * 0.1 * 2 * 33)


def test_a_plan_that_exists_is_not_set_up(advising):
    found = by_option(advising.case(price=priced_with_a_plan), advising.played())
    assert found[Option.SAVINGS_PLAN].work_usd == 0
    assert found[Option.SAVINGS_PLAN_FALLBACK].work == replace(
        found[Option.NIGHTSPOT].work, words=WORK[Option.SAVINGS_PLAN_FALLBACK].words
    )


def test_a_commitment_for_half_of_the_machines_leaves_the_other_half_at_the_list(advising):
    def price(instance_type, region):
        rate = PlanRate(20.0, 40.0, datetime(2028, 1, 1, tzinfo=UTC))
        return replace(priced_with_a_plan(instance_type, region), plans=(rate,))

    case = advising.case("jobs/recommender.yaml", ("InstanceCount: 1", "InstanceCount: 4"), price=price)
    found = by_option(case, advising.played())
    assert found[Option.SAVINGS_PLAN].usd.value == pytest.approx(30 * 4 * 33 * 2)


def test_a_plan_that_other_work_uses_up_saves_nothing(advising):
    case = advising.case(price=priced_with_a_plan, hints={"plan_room": PlanRoom.USED})
    found = by_option(case, advising.played())
    assert case.least_hourly is None
    assert found[Option.SAVINGS_PLAN].usd.value == found[Option.ON_DEMAND].usd.value
    assert found[Option.SAVINGS_PLAN_FALLBACK].usd.word == "unknown"


def test_without_one_its_price_is_unknown_and_what_the_job_alone_would_come_to_is_said(advising):
    found = by_option(advising.case(), advising.played())[Option.SAVINGS_PLAN]
    assert found.usd.word == "unknown"
    assert "used 17 % of the hours" in found.note
    assert "$8,554 a month" in found.note  # 720 h at 36 % of $33


def test_spot_alone_pays_nothing_for_what_comes_after_the_deadline(advising):
    case = advising.case("jobs/recommender.yaml", ('{at: "08:00", timezone: UTC}', "{within: 4h20m}"))
    assert by_option(case, None)[Option.MANAGED_SPOT].usd.word == "unknown"
    played = with_spot_alone(replace(case.stage, truths=case.stage.truths[:1]))
    month = played.months[0]
    assert any(night.late for night in month)
    ratio = case.spot_ratio.value
    assert played.month_hours[0] == pytest.approx(sum(night.spot_seconds for night in month) / 3600 * ratio)


def test_what_no_night_can_make_is_unknown_and_on_demand_misses_every_night(advising):
    case = advising.case("jobs/recommender.yaml", ('{at: "08:00", timezone: UTC}', "{within: 4h}"))
    found = {offer.option: offer for offer in offers_of(case, Nights(None, None))}
    assert found[Option.NIGHTSPOT].usd.word == "unknown"
    assert found[Option.ON_DEMAND].missed_nights == 30
