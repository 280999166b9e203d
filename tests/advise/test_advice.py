"""What is advised for the five shipped job files, and for jobs of which something is not known."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from nightspot.advise.advice import advise, as_json
from nightspot.advise.filters import Filter, FilterVerdict, usd
from nightspot.advise.offers import Option
from nightspot.advise.question import PlanRoom, Question
from nightspot.aws.prices import load_price_book
from nightspot.job.reading import load_job
from nightspot.market.model import MarketAvailability
from nightspot.market.samples import BacktestError, Zone
from nightspot.run.pricing import PlanRate, Price
from tests.records import past_run

ROOT = Path(__file__).parents[2]
REFUSED_BY = {
    "twenty_minutes": Filter.WORTH,
    "no_slack": Filter.DEADLINE,
    "no_checkpoints": Filter.RESUME,
    "fifty_dollars": Filter.WORTH,
}


@cache
def shipped(path):
    """The answer as the command gives it: shipped prices, no hints."""
    job = load_job(ROOT / path)
    today = datetime(2026, 11, 21, tzinfo=UTC).date()
    return advise(Question(job, load_price_book().usd_per_hour, "eu-west-1", today))


def verdicts(advice):
    return {finding.filter: finding.verdict for finding in advice.findings}


def offer(advice, option):
    return next(offer for offer in advice.offers if offer.option is option)


def test_the_recommender_belongs_on_spot_with_a_fallback():
    advice = shipped("jobs/recommender.yaml")
    assert advice.recommended is Option.NIGHTSPOT
    assert advice.sentence.startswith("Use managed Spot with Nightspot and fall back to on-demand: about $1,")
    assert "instead of $3,960" in advice.sentence
    assert FilterVerdict.NO not in verdicts(advice).values()
    assert offer(advice, Option.ON_DEMAND).usd.word == "assumed"


def test_each_counter_example_has_a_filter_that_it_is_about():
    files = {path.stem for path in (ROOT / "examples" / "advise").glob("*.yaml")}
    assert files == set(REFUSED_BY)


@pytest.mark.parametrize("name", REFUSED_BY)
def test_the_counter_examples_are_better_off_on_demand(name):
    advice = shipped(f"examples/advise/{name}.yaml")
    assert advice.recommended is Option.ON_DEMAND
    assert not advice.is_spot
    assert advice.sentence.startswith("Do not use Spot: use on-demand instead, about $")
    because = next(finding for finding in advice.findings if finding.filter is REFUSED_BY[name])
    assert because.verdict is FilterVerdict.NO
    assert because.reason in advice.sentence


def test_the_bills_of_the_counter_examples_are_what_they_are_called():
    fifty, twenty = (shipped(f"examples/advise/{name}.yaml") for name in ("fifty_dollars", "twenty_minutes"))
    assert 45 < offer(fifty, Option.ON_DEMAND).usd.value < 50
    assert twenty.case.run.work_seconds == 20 * 60


@pytest.mark.long
def test_the_same_seed_gives_the_same_answer_and_another_seed_other_nights(advising):
    one, again, other = (advising.advice(nights=6, seed=seed) for seed in (7, 7, 8))
    assert as_json(again) == as_json(one)
    assert other.month.median_usd.value != one.month.median_usd.value


def test_a_job_without_a_price_is_advised_by_shares(advising):
    advice = advising.advice(price=advising.unpriced, nights=6)
    assert advice.recommended is Option.NIGHTSPOT
    assert verdicts(advice)[Filter.WORTH] is FilterVerdict.UNKNOWN
    assert verdicts(advice)[Filter.FAILED_NIGHT] is FilterVerdict.UNKNOWN
    assert "no price of ml.p4d.24xlarge in eu-west-1 is known" in advice.sentence
    assert "% less than on-demand" in advice.sentence
    assert {each.usd.word for each in advice.offers} == {"unknown"}


def test_without_a_price_a_filter_that_says_no_still_does(advising):
    advice = advising.advice("examples/advise/no_slack.yaml", price=advising.unpriced, nights=6)
    assert advice.recommended is Option.ON_DEMAND


def test_a_failed_drill_is_the_end_of_it(advising):
    advice = advising.advice(drill={"outcome": "FAIL"}, nights=6)
    assert advice.recommended is Option.ON_DEMAND
    assert "The drill failed" in advice.sentence


def test_a_dear_engineer_makes_a_saving_too_small(advising):
    advice = advising.advice(economics={"engineer_usd_per_hour": 2000.0}, nights=6)
    assert advice.recommended is Option.ON_DEMAND
    assert verdicts(advice)[Filter.WORTH] is FilterVerdict.NO


def with_a_plan(advising, **fields):
    """A plan of $20 an hour on a type of $33, wide enough for the job."""
    rate = PlanRate(20.0, 20.0, datetime(2028, 1, 1, tzinfo=UTC))
    price = Price(33.0, "a list", advising.today, assumed=False, plans=(rate,))
    return advising.advice(price=lambda _type, _region: price, **fields)


def test_spot_is_not_recommended_on_money_that_a_savings_plan_has_spent_already(advising):
    advice = with_a_plan(advising)
    assert advice.recommended is Option.SAVINGS_PLAN
    assert not advice.is_spot
    spot = offer(advice, Option.SAVINGS_PLAN_FALLBACK).usd.value
    assert spot > 1000
    assert advice.sentence == (
        "Do not use Spot: use on-demand under your Savings Plan instead. Its commitment is paid already: on-demand"
        " adds about $0 a month while it is idle (up to $3,960 where other work uses it up: --savings-plan used),"
        f" and Spot would add {usd(spot)}."
    )
    worth = next(finding for finding in advice.findings if finding.filter is Filter.WORTH)
    assert worth.verdict is FilterVerdict.NO
    assert worth.numbers["saving_usd_a_month"] == pytest.approx(-spot)
    assert worth.numbers["best_saving_usd_a_month"] > 2000


def test_who_knows_that_the_plan_is_idle_is_told_of_one_bound_alone(advising):
    advice = with_a_plan(advising, hints={"plan_room": PlanRoom.IDLE}, nights=6)
    assert advice.recommended is Option.SAVINGS_PLAN
    assert "up to" not in advice.sentence


def test_who_knows_that_other_work_uses_the_plan_up_is_advised_as_without_one(advising):
    used = with_a_plan(advising, hints={"plan_room": PlanRoom.USED})
    assert used.recommended is Option.NIGHTSPOT
    assert "instead of $3,960" in used.sentence


def test_a_plan_that_only_the_user_knows_of_counts_as_well(advising):
    advice = advising.advice(hints={"plan_room": PlanRoom.UNKNOWN}, nights=6)
    assert advice.recommended is Option.SAVINGS_PLAN
    assert "on-demand adds about $0 a month while it is idle" in advice.sentence


def test_an_idle_plan_needs_no_price_to_beat_spot(advising):
    advice = advising.advice(price=advising.unpriced, hints={"plan_room": PlanRoom.IDLE}, nights=6)
    assert advice.recommended is Option.SAVINGS_PLAN


MACHINES = "InstanceCount: 1"


def test_two_machines_have_two_bounds_and_the_worse_decides(advising, recommender_advice):
    advice = advising.advice("jobs/recommender.yaml", (MACHINES, "InstanceCount: 2"))
    found, one = offer(advice, Option.NIGHTSPOT), offer(recommender_advice, Option.NIGHTSPOT)
    # One event for both is one machine's luck twice over; each by itself is lost twice as often.
    assert found.best_usd.value == pytest.approx(2 * one.usd.value)
    assert found.usd.value > 1.2 * found.best_usd.value
    assert advice.case.stage.setting == recommender_advice.case.stage.setting
    assert advice.recommended is Option.NIGHTSPOT
    both = f"about {usd(found.usd.value)} a month instead of $7,920 ({usd(found.best_usd.value)} if one event"
    assert both in advice.sentence
    worth = next(finding for finding in advice.findings if finding.filter is Filter.WORTH)
    assert worth.numbers["saving_usd_a_month"] == pytest.approx(7920 - found.usd.value)
    assert worth.numbers["best_saving_usd_a_month"] == pytest.approx(7920 - found.best_usd.value)


def test_four_machines_that_come_and_go_by_themselves_find_no_spot_together(advising):
    advice = advising.advice("jobs/recommender.yaml", (MACHINES, "InstanceCount: 4"))
    assert advice.recommended is Option.ON_DEMAND
    assert "if each of 4 machines comes and goes by itself" in advice.sentence


@pytest.mark.parametrize("fields", [{}, {"price": None}], ids=["at a price", "without a price"])
def test_sixteen_machines_are_not_sixteen_times_one_machines_luck(advising, recommender_advice, fields):
    fields = {"price": advising.unpriced} if fields else {}
    advice = advising.advice("jobs/recommender.yaml", (MACHINES, "InstanceCount: 16"), **fields)
    found = offer(advice, Option.NIGHTSPOT)
    assert found.usd.word == "unknown"
    assert advice.recommended is Option.ON_DEMAND
    assert advice.month is None
    assert "tell nothing of 16 at once" in advice.sentence
    assert verdicts(advice)[Filter.WORTH] is FilterVerdict.UNKNOWN
    if not fields:
        one = offer(recommender_advice, Option.NIGHTSPOT).usd.value
        assert found.best_usd.value == pytest.approx(16 * one)
        assert f"{usd(63_360 - 16 * one)} a month at best" in advice.sentence


def test_of_the_users_own_traces_only_the_shared_event_is_known(advising):
    up = MarketAvailability(np.array([0.0]), np.array([True]), 10 * 24 * 3600.0)
    fields = {"zones": [Zone("zone-a", up)], "nights": 6}
    one = advising.advice(**fields)
    two = advising.advice("jobs/recommender.yaml", (MACHINES, "InstanceCount: 2"), **fields)
    assert one.is_spot
    assert two.recommended is Option.ON_DEMAND
    assert "your traces tell of one machine at a time, and nothing of 2" in two.sentence.lower()
    best = offer(two, Option.NIGHTSPOT).best_usd.value
    assert best == pytest.approx(2 * offer(one, Option.NIGHTSPOT).usd.value)


def test_a_failed_night_of_a_hundred_thousand_dollars_changes_the_answer(advising):
    usual, dear = (advising.advice(economics={"failed_night_usd": cost}) for cost in (200.0, 100_000.0))
    assert usual.recommended is Option.NIGHTSPOT
    assert dear.recommended is Option.ON_DEMAND
    finding = next(finding for finding in dear.findings if finding.filter is Filter.FAILED_NIGHT)
    assert finding.verdict is FilterVerdict.NO
    assert finding.numbers["most_missed_nights_a_month"] >= 0.3
    assert finding.reason in dear.sentence


@pytest.mark.parametrize("queue", [0.0, 3600.0], ids=["none was late", "one was late"])
def test_nothing_is_said_never_to_be_late(advising, queue):
    advice = advising.advice(
        hints={"on_demand_queue_seconds": queue}, economics={"failed_night_usd": 100_000.0}
    )
    finding = next(finding for finding in advice.findings if finding.filter is Filter.FAILED_NIGHT)
    assert finding.verdict is FilterVerdict.NO
    assert "none late" not in str(as_json(advice))
    assert "none is to be expected" not in str(as_json(advice))
    assert "at 95 % confidence" in finding.reason


def test_on_demands_queue_is_named_as_assumed_until_it_is_given_or_measured(advising):
    def words(**fields):
        return as_json(advising.advice(nights=2, **fields))["inputs"]["nights"]

    assert "on-demand's queue assumed (one start in 4 waits, up to 1 h)" in words()
    assert "on-demand's queue given by you (one start in 4 waits, up to 2 h)" in words(
        hints={"on_demand_queue_seconds": 7200.0}
    )
    waits = [
        {**attempt, "queued_seconds": wait, "ready_seconds": wait + 300.0}
        for attempt, wait in zip(
            advising.attempts(5, market="on_demand"), (0, 60, 120, 600, 5400), strict=True
        )
    ]
    history = [past_run([attempt], work_seconds=14_000.0 + 100 * n) for n, attempt in enumerate(waits)]
    assert "as measured on 5 starts (2 min in the median, 1 h 30 min at the longest)" in words(
        history=history
    )


def test_managed_spot_alone_is_not_recommended_on_forty_nights(advising):
    """A weekly job, three days of work: that none of 40 nights was late says that fewer than 8 % are."""
    advice = advising.advice(
        "jobs/recommender.yaml",
        ('{cron: "0 0 * * ? *", timezone: UTC, paused: true}', "{rate: 7 days}"),
        ('{at: "08:00", timezone: UTC}', "{within: 167h}"),
        ("work: 4h ", "work: 72h "),
        ("MaxRuntimeInSeconds: 21600", "MaxRuntimeInSeconds: 400000"),
    )
    alone = offer(advice, Option.MANAGED_SPOT)
    assert alone.missed_nights == 0
    assert alone.most_missed_nights == pytest.approx(3 / 40 * 30 / 7)
    assert advice.recommended is Option.NIGHTSPOT
    assert "under 7.5 % late at 95 % confidence" in advice.sentence


def test_where_no_night_misses_its_deadline_on_spot_nothing_more_is_needed(advising):
    advice = advising.advice(
        "jobs/recommender.yaml",
        ('{at: "08:00", timezone: UTC}', "{within: 23h}"),
        hints={"placement_score": 9},
    )
    assert offer(advice, Option.MANAGED_SPOT).missed_nights == 0
    assert advice.recommended is Option.MANAGED_SPOT
    assert "under 1 % of nights miss their deadline at 95 % confidence" in advice.sentence
    assert advice.is_spot


def test_fallback_never_says_that_nights_are_skipped(advising):
    advice = advising.advice(
        "jobs/recommender.yaml",
        ("fallback: on_demand", "fallback: never"),
        economics={"failed_night_usd": 0.0},
        nights=6,
    )
    assert "skip the run where Spot has nothing" in advice.sentence
    assert "nights skipped" in advice.sentence


def test_a_deadline_that_nothing_can_meet_still_gets_an_answer(advising):
    advice = advising.advice("jobs/recommender.yaml", ('{at: "08:00", timezone: UTC}', "{within: 4h}"))
    assert advice.month is None
    assert advice.recommended is Option.ON_DEMAND
    assert "Not even on-demand is in time" in advice.sentence


def test_past_runs_are_reckoned_with(advising):
    history = [past_run(advising.attempts(5), resume="proven")]
    advice = advising.advice(history=history, nights=6)
    # 5,760 of 14,400 seconds were billed.
    assert advice.case.spot_ratio.value == pytest.approx(0.4)
    assert offer(advice, Option.NIGHTSPOT).usd.word == "priced"
    assert verdicts(advice)[Filter.RESUME] is FilterVerdict.YES


def test_a_job_on_demand_alone_is_asked_about_with_its_own_types_on_spot(advising):
    advice = advising.advice("jobs/recommender.yaml", ("  spot: [ml.p4d.24xlarge]\n", ""), nights=6)
    assert advice.recommended is Option.NIGHTSPOT
    assert any("names no Spot types" in note for note in advice.case.notes)


def test_a_job_that_does_not_tell_how_long_its_night_is_must_be_told(advising):
    schedule = 'schedule: {cron: "0 0 * * ? *", timezone: UTC, paused: true}'
    with pytest.raises(BacktestError, match="window_seconds: must be given"):
        advising.advice("jobs/recommender.yaml", (schedule, ""))
    advice = advising.advice("jobs/recommender.yaml", (schedule, ""), window_seconds=8 * 3600.0, nights=6)
    assert advice.recommended is Option.NIGHTSPOT
