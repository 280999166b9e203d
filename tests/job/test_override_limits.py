"""How far the start of a run may change its job, with and without a word of the job file."""

import pytest

from nightspot.job.errors import InvalidOverridesError
from nightspot.job.limits import StartLimits, limits_of
from nightspot.job.markets import Market
from nightspot.job.model import OverrideLimits, dump_jobs, read_jobs
from nightspot.job.overrides import Overrides, apply_overrides, read_overrides

P4D, G5, P5 = "ml.p4d.24xlarge", "ml.g5.48xlarge", "ml.p5.48xlarge"


@pytest.fixture
def started(job_with):
    def start(overrides, changes=None):
        return apply_overrides(job_with(changes or {}), read_overrides(overrides))

    return start


@pytest.fixture
def refused(started):
    """The problems of a start that the job file does not allow: field, value and rule."""

    def start(overrides, changes=None):
        with pytest.raises(InvalidOverridesError) as caught:
            started(overrides, changes)
        return [(found.field, found.value, found.rule) for found in caught.value.problems]

    return start


# The good job: Spot p4d and g5, on-demand p4d, 160 USD, due at 08:00.
WITHIN_THE_FILE = {
    "the ladder's types, other order": {"instance_types": {"spot": [G5, P4D]}},
    "an on-demand type as Spot": {"market": "spot", "instance_types": [P4D]},
    "less money": {"budget": 159},
    "the same money": {"budget": 160},
    "a sooner deadline": {"deadline": "6h"},
    "a day": {"deadline": "24h"},
    "another time of day": {"deadline": "07:00"},
    "any hyperparameter of the script": {"hyperparameters": {"commit": "4a1f", "epochs": 3}},
    "no fallback": {"fallback": "never"},
    "on-demand alone, which the file has": {"market": "on_demand"},
}


@pytest.mark.parametrize("given", WITHIN_THE_FILE.values(), ids=WITHIN_THE_FILE)
def test_without_a_word_a_start_may_do_what_the_file_has_and_spend_less(started, given):
    assert started(given)


BEYOND_THE_FILE = {
    "a larger machine": (
        {"market": "spot", "instance_types": [P5]},
        ("instance_types[0].instance_type", f"'{P5}'", f"as Spot by a start of this job, only {P4D}, {G5}:"),
        "overrides.instance_types",
    ),
    "a Spot type on-demand": (
        {"instance_types": {"on_demand": [P4D, G5]}},
        (
            "instance_types.on_demand[1].instance_type",
            f"'{G5}'",
            f"on-demand by a start of this job, only {P4D}:",
        ),
        "overrides.instance_types",
    ),
    "more money": (
        {"budget": 161},
        ("budget.per_run_usd", "161.0", "must be at most 160:"),
        "overrides.per_run_usd",
    ),
    "a later deadline": (
        {"deadline": "25h"},
        ("deadline.within", "'1 d 1 h'", "must be at most 1 d after the start:"),
        "overrides.deadline",
    ),
    "other code": (
        {"hyperparameters": {"sagemaker_submit_directory": "s3://x/y.tar.gz"}},
        (
            "hyperparameters.sagemaker_submit_directory",
            "a hidden text of 15 characters",
            "may not be set by a start:",
        ),
        "overrides.hyperparameters",
    ),
}


@pytest.mark.parametrize(("given", "said", "setting"), BEYOND_THE_FILE.values(), ids=BEYOND_THE_FILE)
def test_what_costs_more_or_runs_other_code_needs_the_file_s_word(refused, given, said, setting):
    ((field, value, rule),) = refused(given)
    assert (field, value.replace("'", ""), said[2] in rule) == (said[0], said[1].replace("'", ""), True)
    assert setting in rule


WIDER = {
    "a larger machine": ({"market": "spot", "instance_types": [P5]}, {"overrides.instance_types": [P5]}),
    "a Spot type on-demand": (
        {"instance_types": {"on_demand": [G5]}},
        {"overrides.instance_types": {"on_demand": [G5]}},
    ),
    "more money": ({"budget": 300}, {"overrides.per_run_usd": 300}),
    "a later deadline": ({"deadline": "3d"}, {"overrides.deadline": "3d"}),
    "other code": (
        {"hyperparameters": {"sagemaker_program": "b.py"}},
        {"overrides.hyperparameters": ["sagemaker_program"]},
    ),
}


@pytest.mark.parametrize(("given", "changes"), WIDER.values(), ids=WIDER)
def test_the_file_s_word_allows_it(started, given, changes):
    assert started(given, changes)


NARROWER = {
    "only hyperparameters": (
        {"market": "spot", "hyperparameters": {"epochs": 1}},
        {"overrides.allow": ["hyperparameters"]},
        "market",
    ),
    "nothing": ({"fallback": "never"}, {"overrides.allow": []}, "fallback"),
    "one hyperparameter": (
        {"hyperparameters": {"epochs": 1, "data": "s3://x/y"}},
        {"overrides.hyperparameters": ["epochs"]},
        "hyperparameters.data",
    ),
    "no hyperparameter": (
        {"hyperparameters": {"epochs": 1}},
        {"overrides.hyperparameters": []},
        "hyperparameters.epochs",
    ),
    "a shorter deadline": ({"deadline": "7h"}, {"overrides.deadline": "6h"}, "deadline.within"),
    "no time of day, which may be a day away": (
        {"deadline": "07:00"},
        {"overrides.deadline": "6h"},
        "deadline.at",
    ),
    "a type for Spot alone": (
        {"instance_types": {"on_demand": [P5]}},
        {"overrides.instance_types": {"spot": [P5]}},
        "instance_types.on_demand[0].instance_type",
    ),
}


@pytest.mark.parametrize(("given", "changes", "field"), NARROWER.values(), ids=NARROWER)
def test_the_file_can_allow_less(refused, given, changes, field):
    assert [found[0] for found in refused(given, changes)] == [field]


def test_a_job_s_own_long_deadline_and_own_time_are_always_allowed(started):
    assert started({"deadline": "2d"}, {"deadline": {"within": "3d"}})
    assert started({"deadline": "08:00"}, {"overrides.deadline": "6h"})


def test_a_job_without_a_budget_lets_a_start_set_any(started, drop):
    assert started({"budget": 5000}, {"budget": drop}).budget.per_run_usd == 5000


def test_a_job_that_never_buys_on_demand_names_the_types_that_a_start_may(refused, started):
    never = {"capacity.on_demand": [], "fallback": "never"}
    given = {"fallback": "on_demand", "instance_types": {"on_demand": [P4D]}}
    ((field, _, rule),) = refused(given, never)
    assert field == "instance_types.on_demand[0].instance_type"
    assert "only nothing: add it to overrides.instance_types" in rule
    assert started(given, {**never, "overrides.instance_types": {"on_demand": [P4D]}})


def test_one_type_for_both_markets_is_told_once(refused):
    assert len(refused({"instance_types": [P5]})) == 1


def test_a_type_that_a_start_may_add_brings_its_pace_and_its_patience_from_the_file(started):
    added = {"instance_type": P5, "speed": 2.0, "patience": "20m"}
    job = started(
        {"instance_types": {"spot": [P5, {"instance_type": G5, "speed": 0.5}], "on_demand": [P5]}},
        {"overrides.instance_types": [added, {"instance_type": G5, "speed": 0.1}]},
    )
    spot, slower = job.capacity.spot
    assert (spot.speed, spot.patience_seconds) == (2.0, 1200)
    assert (slower.speed, job.capacity.on_demand[0].speed) == (0.5, 2.0)


def test_the_ladder_s_own_pace_counts_before_that_of_the_types_to_add(started):
    job = started(
        {"market": "spot", "instance_types": [G5]},
        {"overrides.instance_types": [{"instance_type": G5, "speed": 0.1}]},
    )
    assert job.capacity.spot[0].speed == 0.8


def test_everything_that_goes_too_far_is_said_at_once(refused):
    given = {
        "budget": 999,
        "deadline": "9d",
        "instance_types": [P5],
        "hyperparameters": {"SageMaker_program": "x"},
    }
    assert {found[0].partition(".")[0].partition("[")[0] for found in refused(given)} == set(given)


BAD_FILES = {
    "less than a run has": (
        {"overrides.per_run_usd": 100},
        "overrides.per_run_usd",
        "at least budget.per_run_usd",
    ),
    "more than the month": (
        {"overrides.per_run_usd": 400, "budget.per_month_usd": 300},
        "overrides.per_run_usd",
        "at most budget.per_month_usd (300)",
    ),
    "no such override": ({"overrides.allow": ["image"]}, "overrides.allow[0]", "must be 'market'"),
    "no such type": (
        {"overrides.instance_types": ["ml.p4d.24xlargo"]},
        "overrides.instance_types[0].instance_type",
        "did you mean ml.p4d.24xlarge",
    ),
    "no such type for a market": (
        {"overrides.instance_types": {"spot": ["ml.p4d.24xlargo"]}},
        "overrides.instance_types.spot[0].instance_type",
        "did you mean ml.p4d.24xlarge",
    ),
    "no such key": (
        {"overrides.budget": 5},
        "overrides.budget",
        "the keys are allow, instance_types, per_run_usd",
    ),
}


@pytest.mark.parametrize(("changes", "field", "rule"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_slip_of_the_pen_in_the_section_is_named(problems_with, changes, field, rule):
    (found,) = problems_with(changes)
    assert found.field == field
    assert rule in found.rule


def test_the_section_is_deployed_and_a_document_without_it_has_the_defaults(job_with):
    job = job_with(
        {
            "overrides.instance_types": {"spot": [P5]},
            "overrides.deadline": "6h",
            "overrides.allow": ["budget"],
        }
    )
    document = dump_jobs({"recommender": job})
    assert read_jobs(document) == {"recommender": job}
    older = job_with({}).model_dump(mode="json", by_alias=True)
    del older["overrides"]
    assert type(job).model_validate(older).overrides == OverrideLimits()


def test_each_override_can_be_barred(job_with):
    job = job_with({"overrides.allow": list(Overrides.model_fields)})
    assert set(job.overrides.allow) == set(Overrides.model_fields)


EVERY_OVERRIDE = ("market", "instance_types", "deadline", "hyperparameters", "budget", "fallback")
DAY = 24 * 3600


def test_what_a_file_without_a_word_lets_a_start_do_can_be_shown(job_with):
    assert limits_of(job_with({})) == StartLimits(
        EVERY_OVERRIDE, {Market.SPOT: (P4D, G5), Market.ON_DEMAND: (P4D,)}, 160, DAY, None
    )


def test_what_a_file_allows_and_forbids_can_be_shown(job_with, drop):
    said = {
        "overrides.allow": ["instance_types", "deadline"],
        "overrides.instance_types": {"on_demand": [P5, G5]},
        "overrides.per_run_usd": 300,
        "overrides.deadline": "6h",
        "overrides.hyperparameters": [],
    }
    assert limits_of(job_with(said)) == StartLimits(
        ("instance_types", "deadline"),
        {Market.SPOT: (P4D, G5), Market.ON_DEMAND: (P4D, P5, G5)},
        300,
        6 * 3600,
        (),
    )
    unlimited = limits_of(job_with({"budget": drop, "deadline": {"within": "3d"}}))
    assert (unlimited.per_run_usd, unlimited.deadline) == (None, 3 * DAY)


@pytest.mark.parametrize("changes", [{}, {"overrides.instance_types": [P5]}], ids=["default", "wider"])
@pytest.mark.parametrize("market", Market)
def test_a_start_may_buy_what_is_shown_and_nothing_else(job_with, started, refused, market, changes):
    shown = limits_of(job_with(changes)).instance_types[market]
    assert started({"instance_types": {market.value: list(shown)}}, changes)
    ((field, _, _),) = refused({"instance_types": {market.value: [*shown, "ml.c5.xlarge"]}}, changes)
    assert field == f"instance_types.{market.value}[{len(shown)}].instance_type"
