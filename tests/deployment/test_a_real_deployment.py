"""The stack as the CDK CLI deploys it, and runs that go through on it: started by hand, and over the API."""

import io
import json
import time
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from botocore.credentials import Credentials
from typer.testing import CliRunner

from nightspot.api.routes import ROUTES
from nightspot.aws.runs.api_client import ApiClient, ApiError
from nightspot.cli import app
from nightspot.local.stage.emulated_aws import states_entered, wait_for_end
from tests.deployment.signatures import Signatures

pytestmark = [
    pytest.mark.deployment,
    pytest.mark.long,
    pytest.mark.xdist_group("deployment"),
    # Policies, schedules, alarms: the template's tests look at those.
    pytest.mark.filterwarnings("ignore:Tried to parse AWS.*not supported by moto:UserWarning"),
]

REGION = "eu-west-1"
KEY, SECRET = "AKIAPIPELINE00000000", "the-pipeline's-own"
PIPELINE = "arn:aws:sts::123456789012:assumed-role/pipeline/night"
PATIENCE_SECONDS = 120


def test_a_run_succeeds_on_the_deployed_stack(alive, deployment):
    workflows = deployment.client("stepfunctions")
    started = workflows.start_execution(
        stateMachineArn=deployment.state_machine_arn,
        name="by-hand",
        input=json.dumps({"job": "recommender"}),
    )
    execution = wait_for_end(workflows, started["executionArn"], PATIENCE_SECONDS)

    assert execution["status"] == "SUCCEEDED", execution
    output = json.loads(execution["output"])
    assert output["outcome"] == "succeeded"
    items = deployment.client("dynamodb").scan(TableName=deployment.table_name)["Items"]
    keys = {(item["pk"]["S"], item["sk"]["S"]) for item in items}
    assert (f"RUN#{output['run_id']}", "RUN") in keys
    assert (f"RUN#{output['run_id']}", "ATTEMPT#001") in keys
    (job,) = alive.simulator.states()
    assert job.request["RoleArn"] == alive.environment_of("plan_run")["NIGHTSPOT_TRAINING_ROLE_ARN"]
    assert len(states_entered(workflows, started["executionArn"])) <= 40


def test_every_method_of_the_api_takes_only_whom_iam_allows(deployed_api):
    expected = {(route.method, route.path) for route in ROUTES.values()}
    assert {(each.http_method, each.path) for each in deployed_api.methods} == expected
    assert {each.authorization for each in deployed_api.methods} == {"AWS_IAM"}


def test_a_pipeline_starts_a_run_with_overrides_waits_for_it_and_reads_its_report(
    alive, deployment, deployed_api, tmp_path, monkeypatch
):
    client = client_of(deployed_api, alive)
    overrides = {"market": "spot", "deadline": "6h", "hyperparameters": {"epochs": "12"}}
    answer = client.post("/jobs/recommender/runs", overrides, idempotency_key="build 17")
    assert answer.status == 202
    assert answer.body["is_new"] is True
    run_id = answer.body["run_id"]

    record = until_over(client, deployment, answer.body)

    assert (record["run_id"], record["job"], record["outcome"]) == (run_id, "recommender", "succeeded")
    assert record["overrides"]["hyperparameters"] == {"epochs": "12"}
    assert record["overrides"]["market"] == "spot"
    assert PIPELINE in record["requested_by"]
    (attempt,) = record["attempts"]
    assert (attempt["market"], attempt["status"]) == ("spot", "Completed")
    assert record["cost_usd"] == attempt["cost_usd"] > 0
    assert [step["action"] for step in record["steps"]][-1] == "finish"
    (job,) = alive.simulator.states()
    assert job.request["HyperParameters"]["epochs"] == "12"
    assert run_id in [each["run_id"] for each in client.get("/runs", {"job": "recommender"})["runs"]]

    kept = deployment.client("s3").get_object(
        Bucket=alive.environment_of("record_outcome")["NIGHTSPOT_REPORT_BUCKET"], Key=f"reports/{run_id}.html"
    )
    assert run_id in kept["Body"].read().decode()
    monkeypatch.chdir(tmp_path)
    written = CliRunner().invoke(
        app, ["report", "--run", run_id, "--table", deployment.table_name, "--region", REGION]
    )
    assert written.exit_code == 0, written.output
    assert run_id in (tmp_path / f"{run_id}.html").read_text()


def test_the_same_idempotency_key_starts_one_execution(alive, deployment, deployed_api):
    client = client_of(deployed_api, alive)
    before = executions(deployment)
    answers = [client.post("/jobs/recommender/runs", {}, idempotency_key="twice").body for _ in range(2)]
    assert [answer["is_new"] for answer in answers] == [True, False]
    assert answers[0]["run_id"] == answers[1]["run_id"]
    assert executions(deployment) - before == {answers[0]["execution_arn"]}
    with pytest.raises(ApiError) as refused:
        client.post("/jobs/recommender/runs", {"market": "on_demand"}, idempotency_key="twice")
    assert refused.value.status == 409
    until_over(client, deployment, answers[0])


@pytest.mark.parametrize("path", ["/jobs", "/runs", "/openapi.json", "/elsewhere"])
def test_who_does_not_sign_gets_403(alive, deployed_api, path):
    answer = sent(gateway_of(deployed_api, alive), "GET", f"{deployed_api.url}{path}", {}, b"")
    assert answer.status_code == 403
    assert json.loads(answer.content)["message"] == "Missing Authentication Token"


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(KEY, "another"),
        Credentials("AKIANOBODY0000000000", SECRET),
        Credentials(KEY, SECRET, "stale"),
    ],
    ids=["a wrong secret", "an unknown key", "a token that is none"],
)
def test_who_signs_wrongly_gets_403_and_starts_nothing(alive, deployment, deployed_api, credentials):
    client = client_of(deployed_api, alive, credentials)
    before = executions(deployment)
    with pytest.raises(ApiError) as refused:
        client.post("/jobs/recommender/runs", {})
    assert refused.value.status == 403
    assert executions(deployment) == before


def gateway_of(deployed_api, alive):
    secrets = {KEY: (SECRET, PIPELINE)}
    return deployed_api.gateway(alive.handlers, Signatures(secrets.get, REGION))


def client_of(deployed_api, alive, credentials=None):
    """The commands' own client of the API at its deployed address, without a wire in between."""
    gateway = gateway_of(deployed_api, alive)
    return ApiClient(
        deployed_api.url,
        credentials=credentials or Credentials(KEY, SECRET),
        send=lambda request: sent(
            gateway, request.method, request.url, dict(request.headers.items()), request.body or b""
        ),
        sleep=lambda _seconds: None,
    )


def sent(gateway, method, url, headers, body):
    """What a WSGI server in front of the gateway would do."""
    parts = urlsplit(url)
    environ = {
        "REQUEST_METHOD": method,
        "REQUEST_URI": parts.path,
        "QUERY_STRING": parts.query,
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": parts.netloc,
        "wsgi.input": io.BytesIO(body),
    }
    for name, value in {**headers, "Content-Length": str(len(body))}.items():
        key = name.upper().replace("-", "_")
        text = value.decode() if isinstance(value, bytes) else str(value)
        environ[key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"] = text
    said = {}
    content = b"".join(
        gateway(
            environ, lambda status, given: said.update(status=int(status.split()[0]), headers=dict(given))
        )
    )
    return SimpleNamespace(status_code=said["status"], headers=said["headers"], content=content)


def until_over(client, deployment, started):
    """The run's record at its end, or what its execution failed of."""
    workflows = deployment.client("stepfunctions")
    deadline = time.monotonic() + PATIENCE_SECONDS
    path = started["links"]["self"]
    while True:
        # The report is written after the record: the run is over when its execution is.
        execution = workflows.describe_execution(executionArn=started["execution_arn"])
        assert execution["status"] in {"RUNNING", "SUCCEEDED"}, execution
        record = record_or_none(client, path)
        if execution["status"] == "SUCCEEDED" and record and record["outcome"] != "running":
            return record
        assert time.monotonic() < deadline, f"the run is not over: {json.dumps(record, indent=1)}"
        time.sleep(0.25)


def record_or_none(client, path):
    """None as long as the run's plan is not recorded."""
    try:
        return client.get(path)
    except ApiError as error:
        if error.status != 404:
            raise
        return None


def executions(deployment):
    client = deployment.client("stepfunctions")
    listed = client.list_executions(stateMachineArn=deployment.state_machine_arn)["executions"]
    return {each["executionArn"] for each in listed}
