"""The self-test on a real account, as tests: `pytest -m aws`, with NIGHTSPOT_AWS_ACCOUNT=<its twelve digits>.

Nobody runs it by accident: it is skipped unless the marker is asked for by name and the variable is the account of
the credentials. It costs what `nightspot selftest --plan` says.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nightspot.cli import account
from nightspot.cli.selftest import price_in, workspace_of
from nightspot.facts.files import write_facts_file
from nightspot.facts.model import Verdict
from nightspot.selftest.checks import CHECKS
from nightspot.selftest.model import Choice
from nightspot.selftest.running import play, worst_usd

pytestmark = [pytest.mark.aws, pytest.mark.enable_socket, pytest.mark.xdist_group("aws")]
ACCOUNT = "NIGHTSPOT_AWS_ACCOUNT"
MOST_USD = float(os.environ.get("NIGHTSPOT_SELFTEST_MAX_USD", "1"))


def why_not(markers: str, wanted: str | None) -> str | None:
    """Why the self-test must not be made; None where it may."""
    if "aws" not in markers.replace("not aws", "").split():
        return "is made with -m aws alone"
    if wanted is None:
        return f"needs {ACCOUNT}: the account that it may use"
    return None


@pytest.fixture(scope="module")
def results(request):
    """Every check's result, by id."""
    if reason := why_not(request.config.option.markexpr, os.environ.get(ACCOUNT)):
        pytest.skip(reason)
    aws = account.aws_of(None, None)
    price, stack = price_in(aws.region), os.environ.get("NIGHTSPOT_STACK")
    workspace = workspace_of(aws, price, stack)
    assert workspace.account_id == os.environ[ACCOUNT], f"{ACCOUNT} is not the account of the credentials"
    checks = Choice(has_stack=stack is not None).of(CHECKS)
    assert worst_usd(checks, price) <= MOST_USD
    report = play(workspace, checks, parallel=2)
    write_facts_file(report.file, Path("facts"))
    assert report.file.left_behind == ()
    return {result.check.id: result for result in report.results}


@pytest.mark.parametrize("check_id", [check.id for check in CHECKS])
def test_aws_answers_so_that_the_product_is_safe(results, check_id):
    if check_id not in results or results[check_id].verdict is Verdict.NOT_TRIED:
        pytest.skip(results[check_id].because if check_id in results else "needs an option")
    broken = [each for each in results[check_id].observations if each.verdict is Verdict.BREAKS]
    assert [f"{each.question}: {each.words}; accepted: {each.accepted}" for each in broken] == []
