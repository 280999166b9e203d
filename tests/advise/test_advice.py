"""What is advised for the five shipped job files, and for jobs of which something is not known."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from nightspot.advise.advice import advise, as_json
from nightspot.advise.filters import Filter, FilterVerdict
from nightspot.advise.offers import Option
from nightspot.advise.question import Question
from nightspot.aws.prices import load_price_book
from nightspot.job.reading import load_job
from nightspot.market.samples import BacktestError
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
    because = next(finding for finding in advice.findings if finding.verdict is FilterVerdict.NO)
    assert because.filter is REFUSED_BY[name]
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


def test_a_savings_plan_that_beats_spot_is_recommended(advising):
    rate = PlanRate(3.0, 100.0, datetime(2028, 1, 1, tzinfo=UTC))
    price = Price(33.0, "a list", advising.today, assumed=False, plans=(rate,))
    advice = advising.advice(price=lambda _type, _region: price, nights=6)
    assert advice.recommended is Option.SAVINGS_PLAN
    assert "use on-demand with a Savings Plan instead, about $72 a month" in advice.sentence


def test_where_no_night_misses_its_deadline_on_spot_nothing_more_is_needed(advising):
    advice = advising.advice(
        "jobs/recommender.yaml",
        ('{at: "08:00", timezone: UTC}', "{within: 23h}"),
        hints={"placement_score": 9},
        nights=6,
    )
    assert offer(advice, Option.MANAGED_SPOT).missed_nights == 0
    assert advice.recommended is Option.MANAGED_SPOT
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
