"""The table of checks: each says what it asks, calls and settles; the policy lets its maker make every call."""

from __future__ import annotations

import contextlib
import re

import pytest
from botocore.exceptions import ClientError

from nightspot.facts.registry import FACTS
from nightspot.selftest.checks import CHECKS
from nightspot.selftest.model import Choice, NotTriedError, Part, Seen
from nightspot.selftest.permissions import ALWAYS, LISTS, policy, resources
from nightspot.selftest.running import worst_usd

BY_ID = {check.id: check for check in CHECKS}


@pytest.mark.parametrize("check", CHECKS, ids=list(BY_ID))
def test_a_check_is_whole(check):
    assert re.fullmatch(r"[ABC]\d+", check.id)
    assert check.question
    assert check.facts
    assert set(check.facts) <= FACTS.keys()
    assert check.minutes > 0
    assert check.calls
    assert all(re.fullmatch(r"[a-z0-9-]+:[A-Z]\w+", call) for call in check.calls)
    assert len(check.truths) == len(check.facts)
    assert set(check.needs) <= BY_ID.keys()


def test_every_id_stands_once():
    assert len(BY_ID) == len(CHECKS)


def test_there_is_a_check_of_each_number():
    wanted = {"A": 8, "B": 19, "C": 18}

    assert BY_ID.keys() == {
        f"{part}{number}" for part, most in wanted.items() for number in range(1, most + 1)
    }


def test_everything_costs_less_than_a_dollar():
    prices = {"ml.m5.large": 0.115, "ml.t3.medium": 0.05}

    usual, with_stack = (
        worst_usd(Choice(has_stack=stack).of(CHECKS), lambda kind: prices.get(kind, 1.2))
        for stack in (False, True)
    )

    assert 0.2 < usual < 0.8
    assert with_stack < 1.0


def test_parts_a_and_b_may_cost_cents_at_the_most():
    free = [check for check in CHECKS if check.part is not Part.C]

    assert worst_usd([check for check in free if check.part is Part.A], lambda _type: 1.0) == 0
    assert worst_usd(free, lambda _type: 0.115) < 0.2


def offline(check, workspace):
    """Make a check as far as it goes here."""
    with contextlib.suppress(NotTriedError, NotImplementedError, ClientError):
        check.run(workspace, Seen())


def test_every_call_of_a_check_is_one_that_it_names(account, actions):
    """As far as the emulators go; with what removes its things at the end."""
    opened = account()
    workspace = opened.workspace
    for check in (each for each in CHECKS if each.part is not Part.C):
        offline(check, workspace)
        workspace.clean_up()

        assert actions(opened.calls) - set(check.calls) == set(), check.id
        # The next one makes everything for itself.
        opened.calls.clear()
        workspace._kept.clear()
        workspace._made.clear()


def test_the_policy_allows_every_call_and_no_other():
    statements = policy(CHECKS)["Statement"]
    allowed = {action for each in statements for action in each["Action"]}

    assert allowed == {*ALWAYS, *LISTS, *(call for check in CHECKS for call in check.calls)}
    assert not [action for action in allowed if "*" in action]


@pytest.mark.parametrize(
    "action",
    [
        "sagemaker:CreateTrainingJob",
        "iam:CreateRole",
        "iam:DeleteRole",
        "s3:DeleteBucket",
        "s3:DeleteObjectVersion",
        "sqs:DeleteQueue",
        "dynamodb:DeleteTable",
        "events:DeleteRule",
    ],
)
def test_what_could_do_harm_is_allowed_on_the_self_test_s_own_things_alone(action):
    assert all("nightspot-selftest-" in each for each in resources(action))


def test_jobs_are_stopped_and_roles_passed_that_are_the_self_test_s_or_the_stack_s():
    assert resources("sagemaker:StopTrainingJob") == ("arn:aws:sagemaker:*:*:training-job/nightspot-*",)
    assert all(
        "role/nightspot-selftest-" in each or "SchedulesRole" in each for each in resources("iam:PassRole")
    )
