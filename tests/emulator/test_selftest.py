"""The self-test on the emulated account: over the wire, by its command, in the account that a person would name."""

import json
import sys

import pytest

pytestmark = [pytest.mark.emulator, pytest.mark.long, pytest.mark.xdist_group("emulator")]

# What ministack and the simulated SageMaker can answer as AWS is expected to.
AS_DESIGNED = ("A1", "A5", "B5", "B6", "B8", "B17", "B18", "C13")
# What they cannot: the conditions of roles in IAM's simulator, throttling.
NOT_TRIED = ("A8", "B19")


def test_the_self_test_runs_as_far_as_the_emulated_account_goes_and_says_how_far(
    account, production, tmp_path
):
    only = [word for check in (*AS_DESIGNED, *NOT_TRIED) for word in ("--only", check)]
    told = account.command(
        *(sys.executable, "-m", "nightspot", "selftest", *only, "--stack", production.name),
        *("--image", "training:latest", "--folder", str(tmp_path), "--yes", "--json"),
    )

    report = json.loads(told[told.index("{") :])
    verdicts = {check["id"]: check["verdict"] for check in report["checks"]}
    assert verdicts == dict.fromkeys(AS_DESIGNED, "as designed") | dict.fromkeys(NOT_TRIED, "not tried")
    reasons = {check["id"]: check["because"] for check in report["checks"]}
    assert all(reasons[check] for check in NOT_TRIED)
    # The real path of a run, and what it leaves, as far as there is such a thing here.
    left = ("metrics", "saved queries", "trace", "API")
    assert [each.partition(":")[0] for each in reasons["C13"].split("; ")] == list(left)
    seen = {fact["id"] for fact in report["facts"] if fact["id"].startswith("deployment.")}
    assert {"deployment.wake.seconds", "deployment.letters", "deployment.model", "deployment.page"} <= seen
    assert report["left_behind"] == []
    # An emulator's answers are no facts about AWS.
    assert list(tmp_path.iterdir()) == []
    left = [role["RoleName"] for role in account.client("iam").list_roles()["Roles"]]
    assert [name for name in left if name.startswith("nightspot-selftest-")] == []
