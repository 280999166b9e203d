"""What is true of every run's overrides, whatever they say and whatever the job."""

import re
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.job.errors import InvalidOverridesError
from nightspot.job.markets import Fallback
from nightspot.job.overrides import apply_overrides, overrides_as_json, read_overrides
from nightspot.job.request_shape import SAMPLES, fill
from nightspot.job.rules import Draft, broken_rules

P4D, G5, P5 = "ml.p4d.24xlarge", "ml.g5.48xlarge", "ml.p5.48xlarge"
REQUEST = "training_job"
FILES = (
    {},
    {"capacity.on_demand": [], "fallback": "never"},
    {"capacity.spot": []},
    {"capacity.on_demand.1": {"instance_type": P5, "speed": 2, "patience": "20m"}},
    {"fallback": "never"},
    {"concurrency": "allow", "budget": {"per_run_usd": 160, "per_month_usd": 3000}},
    {"capacity.spot": [], f"{REQUEST}.ResourceConfig.KeepAlivePeriodInSeconds": 600},
    {
        f"{REQUEST}.ResourceConfig.InstanceType": P4D,
        f"{REQUEST}.StoppingCondition.MaxWaitTimeInSeconds": 40000,
    },
)
# What a start may change is wide for half of them.
WIDE = {"overrides.instance_types": [P4D, G5, P5, "ml.m5.large"], "overrides.per_run_usd": 3000}
FILES = (*FILES, *({**changes, **WIDE} for changes in FILES))


@pytest.mark.parametrize("changes", FILES)
def test_nothing_overridden_is_the_same_job(job_with, changes):
    job = job_with(changes)
    assert apply_overrides(job, read_overrides({})) == job


type_lists = st.lists(
    st.sampled_from([P4D, G5, P5, {"instance_type": "ml.m5.large", "speed": 0.1, "patience": "5m"}]),
    min_size=1,
    max_size=3,
    unique_by=str,
)
any_overrides = st.fixed_dictionaries(
    {},
    optional={
        "market": st.sampled_from(["spot", "on_demand", "auto"]),
        "instance_types": type_lists
        | st.fixed_dictionaries({"spot": type_lists}, optional={"on_demand": type_lists})
        | st.fixed_dictionaries({"on_demand": type_lists}),
        "deadline": st.sampled_from(["6h", "07:00", {"at": "07:00", "timezone": "Asia/Kolkata"}]),
        "hyperparameters": st.dictionaries(
            st.text("abc", min_size=1), st.integers() | st.booleans() | st.floats(0, 1) | st.text("xyz")
        ),
        "budget": st.floats(0.01, 5000) | st.fixed_dictionaries({"per_run_usd": st.integers(1, 5000)}),
        "fallback": st.sampled_from(["on_demand", "never"]),
    },
)
UNTOUCHED = (
    "name",
    "schedule",
    "work_seconds",
    "checkpoint_every_seconds",
    "change_over",
    "interruptible",
    "concurrency",
    "local",
)


@given(overrides=any_overrides, changes=st.sampled_from(FILES))
def test_overrides_that_are_accepted_give_a_job_that_keeps_the_rules(job_with, overrides, changes):
    job = job_with(changes)
    try:
        changed = apply_overrides(job, read_overrides(overrides))
    except InvalidOverridesError:
        return
    sections = {field.name: getattr(changed, field.name) for field in fields(Draft)}
    sections["training_job"] = fill(changed.training_job, SAMPLES)
    assert list(broken_rules(Draft(**sections))) == []
    assert [getattr(changed, name) for name in UNTOUCHED] == [getattr(job, name) for name in UNTOUCHED]
    if overrides.get("market") == "spot":
        assert not changed.capacity.on_demand
        assert changed.fallback is Fallback.NEVER
    if overrides.get("market") == "on_demand":
        assert not changed.capacity.spot
    again = read_overrides(overrides_as_json(read_overrides(overrides)))
    assert apply_overrides(job, again) == changed


@given(overrides=any_overrides, changes=st.sampled_from(FILES))
def test_overrides_that_are_refused_are_named_by_their_own_keys(job_with, overrides, changes):
    problems = ()
    try:
        apply_overrides(job_with(changes), read_overrides(overrides))
    except InvalidOverridesError as error:
        problems = error.problems
    assert {re.split(r"[.\[]", found.field)[0] for found in problems} <= set(overrides)
