"""Very many jobs: their schedules stand in nested stacks, and hardly move when jobs come and go."""

from __future__ import annotations

import json

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from nightspot.cdk import NightspotStack, Settings
from nightspot.cdk.placement import MOST_IN_MAIN, TooManySchedulesError, placed
from tests.infra.conftest import Synthesised

pytestmark = pytest.mark.xdist_group("infra")

MOST_RESOURCES = 500
LARGEST_TEMPLATE_BYTES = 1024 * 1024
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
BOUNDARY = "arn:aws:iam::123456789012:policy/at-most"


@pytest.fixture(scope="module")
def many(jobs):
    """`many(count)`: so many jobs, each with the schedule of `recommender`."""
    job = jobs["recommender"]
    return lambda count: {
        name: job.model_copy(update={"name": name}) for name in (f"team-{n}-nightly" for n in range(count))
    }


@pytest.fixture(scope="module")
def thousand(many, jobs, bundle):
    """(the stack, the templates of its nested stacks) of a thousand jobs; `search` has a rate, the others a time.

    With a boundary and tags. Without the security checks, which take as long again: the small stacks have them,
    with the same schedules.
    """
    app = cdk.App()
    chosen = {**many(999), "search": jobs["search"]}
    settings = Settings(permissions_boundary_arn=BOUNDARY, tags=("cost-center=4711",))
    stack = NightspotStack(app, "Nightspot", jobs=chosen, bundle=bundle, settings=settings)
    nested = [child for child in stack.node.find_all() if isinstance(child, cdk.NestedStack)]
    return Synthesised(stack, Template.from_stack(stack).to_json()), [
        Template.from_stack(child).to_json() for child in nested
    ]


def schedules_of(template):
    found = template["Resources"].values()
    return [each["Properties"] for each in found if each["Type"] == "AWS::Scheduler::Schedule"]


def test_a_thousand_jobs_fit_into_cloudformation_s_limits(thousand):
    synthesised, nested = thousand
    for template in (synthesised.template, *nested):
        assert len(template["Resources"]) < MOST_RESOURCES
        assert len(json.dumps(template)) < LARGEST_TEMPLATE_BYTES
        assert len(template.get("Parameters", {})) <= 200


def test_each_of_a_thousand_jobs_has_one_schedule_that_starts_it(thousand, many):
    synthesised, nested = thousand
    found = [each for template in (synthesised.template, *nested) for each in schedules_of(template)]
    started = [json.loads(each["Target"]["Input"])["job"] for each in found]
    assert sorted(started) == sorted([*many(999), "search"])


def test_a_nested_schedule_calls_the_same_function_by_the_same_role_as_any_other(thousand, as_text):
    """What a nested stack is given by its parent stands in its parameters."""
    synthesised, nested = thousand
    given = [
        {name: as_text(value) for name, value in stack.get("Parameters", {}).items()}
        for stack in synthesised.of_type("CloudFormation::Stack").values()
    ]
    target = schedules_of(synthesised.template)[0]["Target"]
    parts = (target["Arn"], target["RoleArn"], target["DeadLetterConfig"]["Arn"])
    wanted = {as_text(value) for value in parts}
    assert len(given) == len(nested) > 1
    for parameters in given:
        assert set(parameters.values()) == wanted
    for template in nested:
        (refs,) = {
            tuple(each["Ref"] for each in (t["Arn"], t["RoleArn"], t["DeadLetterConfig"]["Arn"]))
            for t in (schedule["Target"] for schedule in schedules_of(template))
        }
        assert set(refs) == set(template["Parameters"])


def test_a_nested_stack_waits_for_what_its_schedules_may_do(thousand):
    synthesised, _ = thousand
    role, _ = synthesised.only("IAM::Role", "SchedulesRole")
    stacks = [
        r for r in synthesised.template["Resources"].values() if r["Type"] == "AWS::CloudFormation::Stack"
    ]
    assert all(role in stack["DependsOn"] for stack in stacks)


def test_nested_stacks_have_the_tags_and_no_role_without_the_boundary(thousand):
    """CloudFormation puts a nested stack's tags on what in it takes tags; schedules take none."""
    synthesised, nested = thousand
    stacks = synthesised.of_type("CloudFormation::Stack").values()
    assert len(stacks) == len(nested)
    for stack in stacks:
        tags = {tag["Key"]: tag["Value"] for tag in stack["Tags"]}
        assert tags == {"cost-center": "4711", "nightspot:environment": "main"}
    roles = [
        resource["Properties"]
        for template in (synthesised.template, *nested)
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::IAM::Role"
    ]
    assert {role.get("PermissionsBoundary") for role in roles} == {BOUNDARY}


def test_up_to_the_limit_everything_stays_where_it_was(many):
    assert set(placed(many(MOST_IN_MAIN)).values()) == {None}
    assert placed({}) == {}


def test_a_schedule_that_stays_is_the_same_resource_among_a_thousand(thousand, deployed):
    """So that an update does not make it anew."""
    name, schedule = deployed.only("Scheduler::Schedule", "search")
    assert thousand[0].of_type("Scheduler::Schedule")[name] == schedule


@pytest.mark.parametrize("count", [300, 301, 700, 1000])
def test_one_job_more_or_less_moves_one_other_at_the_most(many, count):
    jobs = many(count)
    before = placed(jobs)
    for name in ("aaa", "zzz", "team-5000-nightly", "m"):
        after = placed({**jobs, name: jobs["team-0-nightly"]})
        assert sum(after[each] != before[each] for each in before) <= 1
    for name in list(jobs)[:40]:
        after = placed({each: job for each, job in jobs.items() if each != name})
        assert sum(after[each] != before[each] for each in after) <= 1


def test_a_rate_which_would_count_anew_stays_in_the_stack(many, jobs):
    rates = {f"rate-{n}": jobs["search"] for n in range(100)}
    places = placed({**many(1000), **rates})
    assert {places[name] for name in rates} == {None}


def test_too_many_are_refused_with_their_number(many):
    with pytest.raises(TooManySchedulesError, match=r"^jobs: 9000 with a schedule are too many"):
        placed(many(9000))
    placed(many(3000))
