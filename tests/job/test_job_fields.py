"""The fields on money, company, reclaims and patience: their rules, and what they mean once they are read."""

import pytest

from nightspot.job.markets import Concurrency, Interruptible, Market
from nightspot.job.model import Budget

REQUEST = "training_job"
NO_CHECKPOINT = f"{REQUEST}.CheckpointConfig"

# what is changed -> the field that is named, and a part of the rule
BROKEN = {
    "an unknown word on concurrency": (
        {"concurrency": "queue"},
        "concurrency",
        "'forbid', 'allow' or 'replace'",
    ),
    "an unknown word on reclaims": (
        {"interruptible": "never"},
        "interruptible",
        "'from_checkpoint' or 'from_start'",
    ),
    "little patience": (
        {"capacity.spot.1": {"instance_type": "ml.g5.48xlarge", "patience": "4m59s"}},
        "capacity.spot[1].patience",
        "at least 5 min",
    ),
    "patience in fractions": (
        {"capacity.on_demand.0": {"instance_type": "ml.p4d.24xlarge", "patience": 600.5}},
        "capacity.on_demand[0].patience",
        "must be a duration",
    ),
    "patience by its python name": (
        {"capacity.spot.1": {"instance_type": "ml.g5.48xlarge", "patience_seconds": 600}},
        "capacity.spot[1].patience_seconds",
        "the keys are instance_type, speed, patience",
    ),
    "a budget of nothing": ({"budget": {}}, "budget", "at least one of per_run_usd and per_month_usd"),
    "a free month": ({"budget": {"per_month_usd": 0}}, "budget.per_month_usd", "above 0"),
    "a month's budget in text": ({"budget.per_month_usd": "3000"}, "budget.per_month_usd", "a number"),
    "a month that holds no run": (
        {"budget": {"per_run_usd": 150, "per_month_usd": 149.99}},
        "budget.per_month_usd",
        "at least per_run_usd (150)",
    ),
    "runs side by side that could spend a month twice": (
        {"concurrency": "allow", "budget": {"per_month_usd": 3000}},
        "budget.per_run_usd",
        "is required with per_month_usd and concurrency: allow",
    ),
    "Spot without a checkpoint, in so many words": (
        {NO_CHECKPOINT: None, "interruptible": "from_checkpoint"},
        f"{REQUEST}.CheckpointConfig.S3Uri",
        "say interruptible: from_start",
    ),
}

KEPT = {
    "a budget for the month alone": {"budget": {"per_month_usd": 3000}},
    "a month of one run": {"budget": {"per_run_usd": 150, "per_month_usd": 150}},
    "runs side by side": {"concurrency": "allow"},
    "runs side by side without any budget": {"concurrency": "allow", "budget": None},
    "runs side by side in a month's budget": {
        "concurrency": "allow",
        "budget": {"per_run_usd": 150, "per_month_usd": 3000},
    },
    "the newest run alone": {"concurrency": "replace", "budget": {"per_month_usd": 3000}},
    "Spot that starts over": {"interruptible": "from_start", NO_CHECKPOINT: None},
    "starting over in spite of checkpoints": {"interruptible": "from_start"},
    "five minutes of patience": {"capacity.spot.1.patience": "5m"},
    "patience in plain seconds": {"capacity.spot.1.patience": 300},
}


def _resolved(changes, drop):
    return {path: drop if path == NO_CHECKPOINT else value for path, value in changes.items()}


@pytest.mark.parametrize(("changes", "field", "rule"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_rule_is_reported_at_its_field_and_nowhere_else(problems_with, drop, changes, field, rule):
    problems = problems_with(_resolved(changes, drop))
    assert [problem.field for problem in problems] == [field]
    assert rule in problems[0].rule
    assert problems[0].severity == "error"


@pytest.mark.parametrize("changes", KEPT.values(), ids=KEPT.keys())
def test_a_file_that_keeps_the_rules_is_accepted(job_with, drop, changes):
    assert job_with(_resolved(changes, drop)).name


def test_a_file_that_is_silent_forbids_a_second_run_and_resumes_from_checkpoints(job_with):
    job = job_with({})
    assert job.concurrency is Concurrency.FORBID
    assert job.interruptible is Interruptible.FROM_CHECKPOINT
    assert [rung.patience_seconds for rung in job.capacity.spot] == [None, None]


@pytest.mark.parametrize("word", Concurrency)
def test_every_word_on_concurrency_is_read(job_with, word):
    assert job_with({"concurrency": word.value}).concurrency is word


@pytest.mark.parametrize("word", Interruptible)
def test_every_word_on_reclaims_is_read(job_with, word):
    assert job_with({"interruptible": word.value}).interruptible is word


@pytest.mark.parametrize(
    ("given", "budget"),
    [
        ({"per_run_usd": 150}, Budget(per_run_usd=150)),
        ({"per_month_usd": 3000}, Budget(per_month_usd=3000)),
        ({"per_run_usd": 150, "per_month_usd": 3000.5}, Budget(per_run_usd=150, per_month_usd=3000.5)),
    ],
)
def test_a_budget_has_one_limit_or_both(job_with, given, budget):
    assert job_with({"budget": given}).budget == budget


def test_patience_is_a_types_own_in_each_market(job_with):
    job = job_with(
        {
            "capacity": {
                "spot": [
                    {"instance_type": "ml.p4d.24xlarge", "patience": "1h30m"},
                    {"instance_type": "ml.g5.48xlarge", "speed": 0.8},
                ],
                "on_demand": [{"instance_type": "ml.p4d.24xlarge", "patience": 900}],
            }
        }
    )
    assert [rung.patience_seconds for rung in job.capacity.rungs_of(Market.SPOT)] == [5400, None]
    assert [rung.patience_seconds for rung in job.capacity.rungs_of(Market.ON_DEMAND)] == [900]
