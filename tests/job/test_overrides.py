"""What an execution's input may say beside `job`, and what is refused before any job is asked."""

import json
import pickle
import subprocess
import sys
from datetime import time

import pytest

from nightspot.job.errors import InvalidJobError, InvalidOverridesError
from nightspot.job.markets import Fallback, Market, MarketChoice
from nightspot.job.overrides import overrides_as_json, read_overrides
from nightspot.job.times import Deadline

KEYS = "market, instance_types, deadline, hyperparameters, budget, fallback"

# what is given -> the field that is named, and a part of the rule
REFUSED = {
    "an unknown key": ({"mrket": "spot"}, "mrket", f"the keys are {KEYS}); did you mean market?"),
    "a key of the job file's": ({"schedule": None}, "schedule", f"the keys are {KEYS}"),
    "the job itself": ({"job": "recommender"}, "job", "is not a known key"),
    "a key that is no text": ({1: "spot"}, "[1]", "must have a text as its key"),
    "an unknown market": ({"market": "reserved"}, "market", "must be 'spot', 'on_demand' or 'auto'"),
    "an unknown fallback": ({"fallback": "later"}, "fallback", "must be 'on_demand' or 'never'"),
    "a fallback from Spot alone": (
        {"market": "spot", "fallback": "on_demand"},
        "fallback",
        "contradicts market: spot",
    ),
    "one type in text": ({"instance_types": "ml.g5.xlarge"}, "instance_types", "must be a list of"),
    "no types": ({"instance_types": []}, "instance_types", "must not be empty"),
    "types for no market": ({"instance_types": {}}, "instance_types", "under spot or on_demand"),
    "no types for a market": ({"instance_types": {"spot": []}}, "instance_types.spot", "must not be empty"),
    "types for an unknown market": (
        {"instance_types": {"sport": ["ml.g5.xlarge"]}},
        "instance_types.sport",
        "the keys are spot, on_demand); did you mean spot?",
    ),
    "types for on-demand, and Spot alone": (
        {"market": "spot", "instance_types": {"on_demand": ["ml.g5.xlarge"]}},
        "instance_types.on_demand",
        "contradicts market: spot",
    ),
    "types for Spot, and on-demand alone": (
        {"market": "on_demand", "instance_types": {"spot": ["ml.g5.xlarge"]}},
        "instance_types.spot",
        "contradicts market: on_demand",
    ),
    "a type of EC2's": (
        {"instance_types": ["g5.xlarge"]},
        "instance_types[0].instance_type",
        "as SageMaker writes it",
    ),
    "a type of EC2's in one market": (
        {"instance_types": {"spot": ["ml.g5.xlarge", {"instance_type": "g5.xlarge"}]}},
        "instance_types.spot[1].instance_type",
        "as SageMaker writes it",
    ),
    "a type twice": (
        {"instance_types": ["ml.g5.xlarge", {"instance_type": "ml.g5.xlarge", "speed": 0.5}]},
        "instance_types[1].instance_type",
        "only once",
    ),
    "a type without a name": (
        {"instance_types": [{"speed": 0.5}]},
        "instance_types[0].instance_type",
        "is required",
    ),
    "a misspelt pace": (
        {"instance_types": [{"instance_type": "ml.g5.xlarge", "sped": 0.5}]},
        "instance_types[0].sped",
        "the keys are instance_type, speed, patience); did you mean speed?",
    ),
    "a misspelt pace in one market": (
        {"instance_types": {"spot": [{"instance_type": "ml.g5.xlarge", "sped": 0.5}]}},
        "instance_types.spot[0].sped",
        "did you mean speed?",
    ),
    "a standing type": (
        {"instance_types": [{"instance_type": "ml.g5.xlarge", "speed": 0}]},
        "instance_types[0].speed",
        "above 0",
    ),
    "little patience": (
        {"instance_types": [{"instance_type": "ml.g5.xlarge", "patience": "4m"}]},
        "instance_types[0].patience",
        "at least 5 min",
    ),
    "a number for a type": ({"instance_types": [5]}, "instance_types[0]", "must be a mapping"),
    "a deadline in words": ({"deadline": "soon"}, "deadline", 'a time of day such as "07:00", a duration'),
    "a deadline yes": ({"deadline": True}, "deadline", "a time of day"),
    "a deadline past midnight": ({"deadline": "24:00"}, "deadline.at", "23:59"),
    "a deadline in a month": ({"deadline": "29d"}, "deadline.within", "at most 28 days"),
    "two deadlines": ({"deadline": {"at": "07:00", "within": "6h"}}, "deadline", "exactly one of"),
    "a misspelt deadline": ({"deadline": {"wthin": "6h"}}, "deadline.wthin", "did you mean within?"),
    "an unknown zone": (
        {"deadline": {"at": "07:00", "timezone": "Europe/Dubin"}},
        "deadline.timezone",
        "did you mean Europe/Dublin?",
    ),
    "a list of hyperparameters": ({"hyperparameters": ["epochs=1"]}, "hyperparameters", "a mapping"),
    "no hyperparameter": ({"hyperparameters": {"epochs": None}}, "hyperparameters.epochs", "must be text, a"),
    "a list for a hyperparameter": ({"hyperparameters": {"a": [1]}}, "hyperparameters.a", "must be text, a"),
    "no number": ({"hyperparameters": {"a": float("nan")}}, "hyperparameters.a", "a finite number"),
    "two lines": ({"hyperparameters": {"a": "b\nc"}}, "hyperparameters.a", "one line"),
    "a name of two lines": ({"hyperparameters": {"a\nb": "c"}}, "hyperparameters['a\\nb']", "one line"),
    "no name": ({"hyperparameters": {"": "x"}}, "hyperparameters['']", "must not be empty"),
    "a long name": (
        {"hyperparameters": {"k" * 257: "x"}},
        f"hyperparameters['{'k' * 80}']",
        "at most 256 characters",
    ),
    "a long value": ({"hyperparameters": {"a": "x" * 2501}}, "hyperparameters.a", "at most 2500 characters"),
    "101 hyperparameters": (
        {"hyperparameters": {f"k{n}": n for n in range(101)}},
        "hyperparameters",
        "at most 100 entries",
    ),
    "a name that no deployment knows": (
        {"hyperparameters": {"bucket": "${ModelBuckt}"}},
        "hyperparameters.bucket",
        "did you mean ModelBucket?",
    ),
    "a free run": ({"budget": 0}, "budget.per_run_usd", "above 0"),
    "a boundless run": ({"budget": float("inf")}, "budget.per_run_usd", "finite"),
    "a budget in text": ({"budget": "100"}, "budget", "must be a number of US dollars"),
    "a budget yes": ({"budget": True}, "budget", "must be a number of US dollars"),
    "another budget for the month": (
        {"budget": {"per_run_usd": 100, "per_month_usd": 100}},
        "budget.per_month_usd",
        "the month is the job's",
    ),
    "a list": ([], "(overrides)", "must be a mapping"),
}


@pytest.mark.parametrize(("given", "field", "rule"), REFUSED.values(), ids=REFUSED.keys())
def test_what_no_run_can_have_is_refused_at_its_field_and_nowhere_else(given, field, rule):
    with pytest.raises(InvalidOverridesError) as caught:
        read_overrides(given)
    assert [problem.field for problem in caught.value.problems] == [field]
    assert rule in caught.value.problems[0].rule


@pytest.mark.parametrize(
    "given",
    [
        {"market": "spot", "fallback": "never"},
        {"market": "on_demand", "fallback": "never"},
        {"market": "auto", "fallback": "on_demand"},
        {"market": "spot", "instance_types": {"spot": ["ml.g5.xlarge"]}},
        {"instance_types": {"spot": ["ml.g5.xlarge"], "on_demand": ["ml.g5.xlarge"]}},
        {"hyperparameters": {"k" * 256: "x" * 2500, "bucket": "${ModelBucket}"}},
        {"hyperparameters": {f"k{n}": n for n in range(100)}},
    ],
)
def test_what_a_run_can_have_is_read(given):
    assert set(overrides_as_json(read_overrides(given))) == set(given)


def test_all_problems_are_reported_at_once():
    with pytest.raises(InvalidOverridesError) as caught:
        read_overrides({"market": "x", "deadline": "x", "budget": "x", "instance_types": ["x"], "y": 1})
    fields = {problem.field for problem in caught.value.problems}
    assert fields == {"market", "deadline", "budget", "y"}


def test_the_error_reads_field_value_rule_and_can_be_caught_as_a_jobs():
    with pytest.raises(InvalidJobError, match=r"^budget\.per_run_usd: -1: must be above 0") as caught:
        read_overrides({"budget": -1})
    assert caught.value.__notes__ == ["in the overrides of a run"]
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems  # noqa: S301


@pytest.mark.parametrize("value", ["hunter2\n", ["hunter2"], "hunter2" * 500, "hunter2${x}"])
def test_no_problem_shows_a_hyperparameters_value(value):
    with pytest.raises(InvalidOverridesError) as caught:
        read_overrides({"hyperparameters": {"token": value}})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "deadline"),
    [
        ("6h", Deadline(within_seconds=21600)),
        (21600, Deadline(within_seconds=21600)),
        ("07:00", Deadline(at=time(7))),
        ("7:05:30", Deadline(at=time(7, 5, 30))),
        ({"within": "6h"}, Deadline(within_seconds=21600)),
        (
            {"at": "07:00", "timezone": "Europe/Dublin"},
            Deadline(at=time(7), timezone="Europe/Dublin"),
        ),
    ],
)
def test_a_deadline_is_read_in_short_and_in_full(given, deadline):
    assert read_overrides({"deadline": given}).deadline == deadline


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("012", "012"),
        ("true", "true"),
        ("", ""),
        (12, "12"),
        (-3, "-3"),
        (0.001, "0.001"),
        (1e-05, "1e-05"),
        (12.0, "12.0"),
        (True, "true"),
        (False, "false"),
    ],
)
def test_numbers_and_booleans_become_text_as_json_writes_them(given, text):
    assert read_overrides({"hyperparameters": {"x": given}}).hyperparameters == {"x": text}


@pytest.mark.parametrize("given", [1, 6, 90, 299])
def test_a_deadline_of_a_few_without_a_unit_is_refused(given):
    with pytest.raises(InvalidOverridesError, match="must have a unit"):
        read_overrides({"deadline": given})


@pytest.mark.parametrize("given", [100, 99.5])
def test_a_bare_number_is_the_runs_budget(given):
    overrides = read_overrides({"budget": given})
    assert overrides == read_overrides({"budget": {"per_run_usd": given}})
    assert overrides.budget.per_run_usd == given


def test_a_list_of_types_is_for_either_market_and_a_mapping_for_its_own():
    names = ["ml.g5.xlarge", "ml.p4d.24xlarge"]
    both = read_overrides({"instance_types": names})
    assert [rung.instance_type for rung in both.types_for(Market.SPOT)] == names
    assert both.types_for(Market.SPOT) == both.types_for(Market.ON_DEMAND)
    one = read_overrides({"instance_types": {"on_demand": names}})
    assert one.types_for(Market.SPOT) is None
    assert [rung.instance_type for rung in one.types_for(Market.ON_DEMAND)] == names


def test_a_key_without_a_value_is_no_override():
    given = dict.fromkeys(KEYS.split(", "))
    assert read_overrides(given) == read_overrides({})
    assert overrides_as_json(read_overrides(given)) == {}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, {}),
        ({"market": "spot"}, {"market": "spot"}),
        ({"instance_types": ["ml.g5.xlarge"]}, {"instance_types": [{"instance_type": "ml.g5.xlarge"}]}),
        (
            {
                "instance_types": {
                    "spot": [{"instance_type": "ml.g5.xlarge", "speed": 1.0, "patience": "10m"}]
                }
            },
            {"instance_types": {"spot": [{"instance_type": "ml.g5.xlarge", "speed": 1.0, "patience": 600}]}},
        ),
        ({"deadline": "6h"}, {"deadline": {"within": 21600}}),
        ({"deadline": "07:00"}, {"deadline": {"at": "07:00:00"}}),
        ({"hyperparameters": {"epochs": 12}}, {"hyperparameters": {"epochs": "12"}}),
        ({"budget": 100}, {"budget": {"per_run_usd": 100}}),
        ({"fallback": "never"}, {"fallback": "never"}),
    ],
)
def test_the_record_has_what_was_given_and_reads_back_the_same(given, kept):
    overrides = read_overrides(given)
    record = json.loads(json.dumps(overrides_as_json(overrides)))
    assert record == kept
    assert read_overrides(record) == overrides
    assert overrides_as_json(read_overrides(record)) == kept


def test_words_become_their_enums():
    overrides = read_overrides({"market": "auto", "fallback": "never"})
    assert (overrides.market, overrides.fallback) == (MarketChoice.AUTO, Fallback.NEVER)


def test_where_botocore_is_at_hand_an_unknown_type_is_refused_with_the_nearest():
    given = {"instance_types": {"spot": ["ml.g5.48xlarge"], "on_demand": ["ml.g5.48xlarg"]}}
    assert read_overrides(given)  # without a model there is no list to look into
    with pytest.raises(InvalidOverridesError, match=r"did you mean ml\.g5\.48xlarge\?") as caught:
        read_overrides(given, check_instance_types=True)
    (problem,) = caught.value.problems
    assert problem.field == "instance_types.on_demand[0].instance_type"
    sound = {"instance_types": ["ml.g5.48xlarge"]}
    assert read_overrides(sound, check_instance_types=True) == read_overrides(sound)


def test_overriding_loads_neither_a_yaml_reader_nor_botocore():
    program = """
import sys
from nightspot.job.model import Capacity, InstanceType, Job
from nightspot.job.overrides import apply_overrides, read_overrides
from nightspot.job.times import Deadline
job = Job(
    name="a",
    deadline=Deadline(within_seconds=3600),
    work_seconds=1200,
    capacity=Capacity(on_demand=(InstanceType(instance_type="ml.m5.large"),)),
    training_job={},
)
given = {"deadline": "2h", "instance_types": ["ml.m5.large"], "hyperparameters": {"a": 1}}
assert apply_overrides(job, read_overrides(given)).deadline.within_seconds == 7200
print(sorted({name.partition(".")[0] for name in sys.modules} & {"yaml", "botocore", "boto3"}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
