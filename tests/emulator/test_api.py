"""The deployed API over the wire: requests signed by a user who may call it, by one who may not, and by nobody."""

import json
import uuid

import pytest
from botocore.credentials import Credentials

from nightspot.aws.runs.api_client import ApiClient, ApiError, transport

pytestmark = [pytest.mark.emulator, pytest.mark.long, pytest.mark.xdist_group("emulator")]

REGION = "eu-west-1"


@pytest.fixture
def client_with(production, account):
    """The API as somebody with these credentials calls it."""
    api_id = production.outputs["ApiUrl"].removeprefix("https://").partition(".")[0]
    url = f"{account.emulated.address}/_aws/execute-api/{api_id}/v1"
    sends = []

    def client(credentials):
        sends.append(transport(url, ca_bundle=str(account.emulated.certificate)))
        return ApiClient(url, credentials=credentials, region=REGION, send=sends[-1])

    yield client
    for send in sends:
        send.__self__.close()


@pytest.fixture
def api_of(production, client_with):
    """By the name of an IAM user, whether with the right: the API as they call it."""

    def client(name, *, may_call, secret=None):
        iam = production.client("iam")
        user = f"{name}-{uuid.uuid4().hex[:8]}"
        iam.create_user(UserName=user)
        key = iam.create_access_key(UserName=user)["AccessKey"]
        if may_call:
            every = f"arn:aws:execute-api:{REGION}:123456789012:*/v1/*"
            statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": every}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            iam.put_user_policy(UserName=user, PolicyName="calls", PolicyDocument=policy)
        return client_with(Credentials(key["AccessKeyId"], secret or key["SecretAccessKey"]))

    return client


def test_only_who_signs_and_has_the_right_gets_through(client_with, api_of):
    refused = {
        "nobody": client_with(None),
        "a user without the right": api_of("guest", may_call=False),
        "a user with a wrong secret": api_of("forger", may_call=True, secret="x" * 40),
    }
    for who, api in refused.items():
        with pytest.raises(ApiError) as error:
            api.get("/jobs")
        assert error.value.status == 403, who
    names = {each["name"] for each in api_of("operator", may_call=True).get("/jobs")["jobs"]}
    assert {"quick", "held"} <= names


def test_an_operator_starts_a_run_once_stops_it_and_retries_it(production, account, api_of):
    api, key = api_of("operator", may_call=True), uuid.uuid4().hex
    started = api.post("/jobs/held/runs", {}, idempotency_key=key)
    assert started.status == 202
    again = api.post("/jobs/held/runs", {}, idempotency_key=key)
    run_id = started.body["run_id"]
    assert again.body["run_id"] == run_id
    job = production.training_job_of(run_id)
    assert run_id in job

    assert api.post(f"/runs/{run_id}/stop", {}).status == 202
    execution = production.end_of(started.body["execution_arn"])
    assert execution["error"] == "Nightspot.stopped"
    assert "operator-" in execution["cause"]

    account.release_file.touch()
    try:
        retried = api.post(f"/runs/{run_id}/retry", {}, idempotency_key=uuid.uuid4().hex)
        assert retried.status == 202
        execution = production.end_of(retried.body["execution_arn"])
    finally:
        account.release_file.unlink()
    assert execution["status"] == "SUCCEEDED", (execution.get("cause"), production.failures())
    (found,) = (
        each for each in api.get("/runs", {"job": "held"})["runs"] if each["run_id"] == retried.body["run_id"]
    )
    assert found["outcome"] == "succeeded"
