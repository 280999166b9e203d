"""Runs while what functions ask of AWS is throttled, and answers to what they wrote are lost."""

import json

import pytest

from tests.emulator.account_of_stories import BURST

pytestmark = [pytest.mark.emulator, pytest.mark.long, pytest.mark.xdist_group("emulator")]

FAULTS = 80
MOST_ROUNDS = 6
# In sequences and not by chance: no call fails so often that an SDK gives up.
LOST = {"abort_frac": 0.3}  # committed, and the answer cut off
RULES = [
    {
        "service": "dynamodb",
        "operation": "Query",
        "sequence": {"fail": 1, "pass": 3},
        "error": {"code": "ProvisionedThroughputExceededException"},
    },
    {
        "service": "dynamodb",
        "operation": "GetItem",
        "sequence": {"fail": 1, "pass": 3},
        "error": {"code": "ThrottlingException"},
    },
    {
        "service": "dynamodb",
        "operation": "PutItem",
        "sequence": {"fail": 1, "pass": 3},
        "response": LOST,
    },
    {
        "service": "dynamodb",
        "operation": "UpdateItem",
        "sequence": {"fail": 1, "pass": 3},
        "response": LOST,
    },
    {
        "service": "sagemaker",
        "sequence": {"fail": 1, "pass": 3},
        "error": {"code": "ThrottlingException"},
    },
    {"service": "s3", "sequence": {"fail": 1, "pass": 3}, "error": {"code": "SlowDown", "status": 503}},
    {"service": "events", "sequence": {"fail": 1, "pass": 3}, "response": LOST},
    {"service": "stepfunctions", "sequence": {"fail": 1, "pass": 3}, "response": LOST},
]


def test_every_run_succeeds_with_one_training_job_under_eighty_faults(production, account):
    account.wire.inject(*RULES)
    outputs = []
    try:
        for _ in range(MOST_ROUNDS):
            started = [production.start({"job": name}) for name in BURST]
            for arn in started:
                # What was lost in spite of all retries is found by the reconciler, as on AWS.
                execution = production.end_of(arn, reconciled=True)
                assert execution["status"] == "SUCCEEDED", (execution.get("cause"), production.failures())
                outputs.append(json.loads(execution["output"]))
            fired = account.wire.fired()
            if len(fired) >= FAULTS:
                break
    finally:
        account.wire.inject()

    assert len(fired) >= FAULTS
    assert {each["service"] for each in fired} == {"dynamodb", "sagemaker", "s3", "events", "stepfunctions"}
    assert [len(output["attempts"]) for output in outputs] == [1] * len(outputs)
    runs = {output["run_id"] for output in outputs}
    jobs = [state.name for state in account.simulator.states() if any(run in state.name for run in runs)]
    assert len(jobs) == len(runs) == len(outputs)
