"""What a run does on the deployed stack."""

import json

import pytest

pytestmark = [pytest.mark.emulator, pytest.mark.long, pytest.mark.xdist_group("emulator")]


def test_a_run_trains_a_model_with_the_permissions_of_every_role(production):
    arn = production.start({"job": "quick"})
    execution = production.end_of(arn)

    assert execution["status"] == "SUCCEEDED", execution
    assert json.loads(execution["output"])["outcome"] == "succeeded"
