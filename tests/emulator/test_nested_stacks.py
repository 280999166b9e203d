"""Schedules that the stack has no room for, in nested stacks: deployed by the CDK CLI, each starts its job."""

import json

import pytest

from tests.emulator.account_of_stories import SCHEDULED, STACKS

pytestmark = [pytest.mark.emulator, pytest.mark.long, pytest.mark.xdist_group("emulator")]


def schedules_in(stack, name):
    """What Scheduler says of each schedule of a CloudFormation stack."""
    pages = stack.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=name)
    names = [
        each["PhysicalResourceId"].rpartition("/")[2]
        for page in pages
        for each in page["StackResourceSummaries"]
        if each["ResourceType"] == "AWS::Scheduler::Schedule"
    ]
    return [stack.client("scheduler").get_schedule(Name=each) for each in names]


@pytest.mark.parametrize("name", STACKS)
def test_schedules_stand_in_nested_stacks_and_call_the_function_of_their_environment(name, account):
    stack = account.stacks[name]
    nested = [
        each["PhysicalResourceId"]
        for each in stack.resources
        if each["ResourceType"] == "AWS::CloudFormation::Stack" and each["LogicalResourceId"] != name
    ]
    assert nested
    own, others = schedules_in(stack, name), [found for each in nested for found in schedules_in(stack, each)]

    started = [json.loads(each["Target"]["Input"])["job"] for each in (*own, *others)]
    assert sorted(started) == sorted(SCHEDULED)
    assert len(own) == 1
    assert {each["State"] for each in (*own, *others)} == {"ENABLED"}
    # What a nested stack is given by its parent is what the parent's own schedule has.
    (target,) = (each["Target"] for each in own)
    assert target["Arn"].endswith(f":function:{stack.function('StartRun')}")
    for each in others:
        assert {**each["Target"], "Input": None} == {**target, "Input": None}
    described = stack.client("cloudformation").describe_stacks
    for each in nested:
        (found,) = described(StackName=each)["Stacks"]
        assert found["StackStatus"] == "CREATE_COMPLETE"
