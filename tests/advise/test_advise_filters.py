"""Each filter at its limits."""

import pytest

from nightspot.advise import filters
from nightspot.advise.case import least_window_seconds
from nightspot.advise.filters import QUESTIONS, Filter, FilterVerdict, Money
from nightspot.advise.nights import with_nightspot
from nightspot.advise.question import Band
from tests.records import past_run

NO_CHECKPOINTS = "examples/advise/no_checkpoints.yaml"
YES, CARE, NO, UNKNOWN = FilterVerdict.YES, FilterVerdict.WITH_CARE, FilterVerdict.NO, FilterVerdict.UNKNOWN


def test_every_filter_asks_something():
    assert set(QUESTIONS) == set(Filter)


@pytest.mark.parametrize(
    ("drill", "resume", "verdict"),
    [
        (None, None, CARE),
        ("PASS", None, YES),
        ("FAIL", None, NO),
        (None, "proven", YES),
        (None, "broken", NO),
        (None, "not_visible", CARE),
        ("PASS", "broken", NO),
        ("FAIL", "proven", NO),
    ],
)
def test_a_resume_is_believed_when_it_is_proven(advising, drill, resume, verdict):
    history = [] if resume is None else [past_run(resume=resume)]
    drilled = None if drill is None else {"outcome": drill}
    case = advising.case(history=history, drill=drilled)
    assert filters.resume_filter(case).verdict is verdict


def test_the_newest_run_speaks_for_the_history(advising):
    def on(day, resume):
        return past_run(resume=resume, started_at=f"2026-11-0{day}T00:00:00+00:00")

    old, new = on(1, "broken"), on(2, "proven")
    assert filters.resume_filter(advising.case(history=[new, old])).verdict is YES
    assert filters.resume_filter(advising.case(history=[on(3, "broken"), new])).verdict is NO


@pytest.mark.parametrize(("work", "verdict"), [("60m", CARE), ("61m", NO)])
def test_without_checkpoints_an_hour_is_the_most(advising, work, verdict):
    case = advising.case(NO_CHECKPOINTS, ("work: 4h", f"work: {work}"))
    assert filters.resume_filter(case).verdict is verdict


def test_what_is_needed_is_the_policys_own_last_safe_moment(advising):
    # 4 h + 20 %, a checkpoint interval, both change-overs and the stop.
    needed = 4 * 1.2 * 3600 + 1800 + 600 + 180 + 900
    assert filters.needed_seconds(advising.case()) == pytest.approx(needed)


@pytest.mark.parametrize(
    ("window", "fallen_back", "late", "verdict"),
    [
        ("5h46m", 0, 0, YES),
        ("5h45m", 0, 0, NO),
        ("8h", 24, 0, YES),
        ("8h", 25, 0, CARE),
        ("8h", 74, 0, CARE),
        ("8h", 75, 0, NO),
        ("8h", 0, 1, YES),
        ("8h", 0, 2, CARE),
    ],
)
def test_slack_is_what_is_left_after_a_failed_try(advising, window, fallen_back, late, verdict):
    case = advising.case("jobs/recommender.yaml", ('{at: "08:00", timezone: UTC}', f"{{within: {window}}}"))
    played = advising.played(fallen_back=fallen_back, late=late)
    assert filters.deadline_filter(case, played).verdict is verdict


def test_a_night_that_not_even_on_demand_can_make_has_no_slack(advising):
    case = advising.case("jobs/recommender.yaml", ('{at: "08:00", timezone: UTC}', "{within: 4h}"))
    found = filters.deadline_filter(case, None)
    assert case.stage is None
    assert (found.verdict, found.numbers["on_demand_share"]) == (NO, None)
    assert found.reason.startswith("Not even on-demand is in time")


@pytest.mark.parametrize(
    "ladder",
    [
        "[{instance_type: ml.p5.48xlarge, speed: 2.0}]",
        "[ml.p4d.24xlarge, {instance_type: ml.p5.48xlarge, speed: 2.0}]",
    ],
    ids=["the first rung", "the second rung"],
)
def test_a_faster_on_demand_rung_makes_a_night_that_is_shorter_than_the_work(advising, ladder):
    case = advising.case(
        "jobs/recommender.yaml",
        ('{at: "08:00", timezone: UTC}', "{within: 3h}"),
        ("on_demand: [ml.p4d.24xlarge]", f"on_demand: {ladder}"),
        hints={"on_demand_queue_seconds": 0.0},
    )
    # Two hours of work, and fifteen minutes to start.
    assert least_window_seconds(case) == 2.25 * 3600
    assert case.stage is not None
    played = with_nightspot(case.stage)
    assert played.late < 0.05  # a start of an hour, four times the median
    assert not filters.deadline_filter(case, played).reason.startswith("Not even on-demand")


def test_a_slower_on_demand_rung_needs_a_longer_night(advising):
    case = advising.case(
        "jobs/recommender.yaml",
        ('{at: "08:00", timezone: UTC}', "{within: 6h}"),
        ("on_demand: [ml.p4d.24xlarge]", "on_demand: [{instance_type: ml.g5.48xlarge, speed: 0.5}]"),
    )
    assert least_window_seconds(case) == 8.25 * 3600
    assert case.stage is None


def test_an_unknown_pool_is_said_to_be_unknown(advising):
    found = filters.pool_filter(advising.case(), advising.played())
    assert found.verdict is UNKNOWN
    assert "Not measured" in found.reason


@pytest.mark.parametrize(
    ("hints", "fallen_back", "verdict"),
    [
        ({"placement_score": 8}, 0, YES),
        ({"placement_score": 5}, 0, YES),
        ({"placement_score": 2}, 0, CARE),
        ({"placement_score": 2}, 49, CARE),
        ({"placement_score": 2}, 50, NO),
        ({"placement_score": 8, "zones": 1}, 0, CARE),
        ({"band": Band.UNDER_5}, 60, YES),
    ],
)
def test_a_pool_is_judged_by_its_depth_and_its_bottlenecks(advising, hints, fallen_back, verdict):
    played = advising.played(fallen_back=fallen_back)
    assert filters.pool_filter(advising.case(hints=hints), played).verdict is verdict


def test_many_machines_at_once_want_care(advising):
    case = advising.case(
        "jobs/recommender.yaml", ("InstanceCount: 1", "InstanceCount: 4"), hints={"placement_score": 9}
    )
    found = filters.pool_filter(case, advising.played())
    assert found.verdict is CARE
    assert "4 machines must be had at once" in found.reason


@pytest.mark.parametrize(
    ("saving", "missed", "night", "verdict"),
    [
        (1000.0, 0.0, 200.0, YES),
        (1000.0, 0.5, 200.0, YES),  # a tenth
        (1000.0, 0.6, 200.0, CARE),
        (1000.0, 5.0, 200.0, NO),
        (1000.0, 0.0, 999.0, YES),
        (1000.0, 0.0, 1000.0, CARE),
        (-5.0, 0.0, 200.0, CARE),
        (-5.0, 0.1, 200.0, NO),
        (None, 0.0, 200.0, UNKNOWN),
        (1000.0, None, 200.0, UNKNOWN),
    ],
)
def test_failed_nights_are_held_against_the_saving(advising, saving, missed, night, verdict):
    found = filters.failed_night_filter(advising.case(), Money(saving, 100.0, missed, night))
    assert found.verdict is verdict


@pytest.mark.parametrize(
    ("saving", "verdict"),
    [(200.0, YES), (199.0, CARE), (100.0, CARE), (99.0, NO), (-1.0, NO), (None, UNKNOWN)],
)
def test_a_saving_must_pay_for_the_work_twice_to_be_a_plain_yes(advising, saving, verdict):
    found = filters.worth_filter(advising.case(), Money(saving, 100.0, 0.0, 200.0))
    assert found.verdict is verdict


def test_the_cost_of_a_failed_night_is_assumed_unless_it_is_given(advising):
    money = Money(1000.0, 100.0, 0.0, 200.0)
    assert "(assumed: two hours" in filters.failed_night_filter(advising.case(), money).reason
    given = advising.case(economics={"failed_night_usd": 200.0})
    assert "(given by you)" in filters.failed_night_filter(given, money).reason
