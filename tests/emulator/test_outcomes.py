"""How runs on the deployed stack end that do not go as planned, and who hears of it."""

import json
from contextlib import contextmanager

import pytest

from nightspot.local.sagemaker.request_rules import ServiceFault
from tests.emulator.account_of_stories import until

pytestmark = [pytest.mark.emulator, pytest.mark.long, pytest.mark.xdist_group("emulator")]

NO_QUOTA = ServiceFault(
    "ResourceLimitExceeded",
    "The account-level service limit 'ml.m5.large for spot training job usage' is 0 Instances, with current"
    " utilization of 0 Instances and a request delta of 1 Instances. Please use AWS Service Quotas to request an"
    " increase for this quota.",
)


def test_a_refused_request_goes_on_with_the_next_rung(production, account):
    account.simulator.fail_next("CreateTrainingJob", NO_QUOTA)
    execution = production.end_of(production.start({"job": "quick"}))

    assert execution["status"] == "SUCCEEDED", (execution.get("cause"), production.failures())
    attempts = json.loads(execution["output"])["attempts"]
    assert [(each["instance_type"], each["failure_class"]) for each in attempts] == [
        ("ml.m5.large", "quota_permanent"),
        ("ml.m5.xlarge", None),
    ]


def test_an_input_that_is_refused_says_why(production):
    execution = production.end_of(production.start({"job": "recommendre"}))

    assert execution["status"] == "FAILED"
    # Its error has the name of the exception only under AWS's own runtime client.
    assert execution["error"] == "Nightspot.InvalidInput"
    assert execution["cause"].startswith("job: 'recommendre' is not a job.")


def test_a_scheduled_start_that_nobody_can_make_ends_in_the_dead_letter_queue(production):
    production.dead_letters()  # of other stories
    payload = json.dumps({"job": "recommendre", "scheduled_at": "yesterday"}).encode()
    # As Scheduler calls it.
    production.client("lambda").invoke(
        FunctionName=production.function("StartRun"), InvocationType="Event", Payload=payload
    )
    (letter,) = until(production.dead_letters, "a dead letter")
    assert json.loads(letter)["requestPayload"] == json.loads(payload)
    assert json.loads(letter)["requestContext"]["condition"] == "RetriesExhausted"


def test_a_function_that_cannot_be_called_ends_a_run_with_messages(production):
    functions, decide = production.client("lambda"), production.function("DecideNextStep")
    # No concurrency at all: each call is throttled.
    functions.put_function_concurrency(FunctionName=decide, ReservedConcurrentExecutions=0)
    try:
        with misses_counted_in_hundreds(production):
            arn = production.start({"job": "crashed"})
            execution = production.end_of(arn)
    finally:
        functions.delete_function_concurrency(FunctionName=decide)

    assert execution["error"] == "Nightspot.DecisionCrashed"
    states = production.states_of(arn)
    assert states.count("Report the failure") == 1
    assert states.count("Decide the next step") > 2
    assert states[-3:] == ["Record the crash", "Sound the alarm", "The decision crashed"]
    assert production.message("crashed")
    item = production.client("dynamodb").scan(
        TableName=production.outputs["TableName"],
        FilterExpression="sk = :crash",
        ExpressionAttributeValues={":crash": {"S": "CRASH"}},
    )["Items"]
    assert [each["job"]["S"] for each in item] == ["crashed"]


@contextmanager
def misses_counted_in_hundreds(stack):
    """After the first, each call of a function that fails counts for a hundred: hours of tries are a few."""
    workflows, arn = stack.client("stepfunctions"), stack.outputs["StateMachineArn"]
    deployed = workflows.describe_state_machine(stateMachineArn=arn)["definition"]
    counted = "{% $misses + 1 %}"
    assert counted in deployed
    changed = deployed.replace(counted, "{% $misses = 0 ? 1 : $misses + 100 %}")
    workflows.update_state_machine(stateMachineArn=arn, definition=changed)
    try:
        yield
    finally:
        workflows.update_state_machine(stateMachineArn=arn, definition=deployed)


@contextmanager
def denied(stack, action, *functions):
    """These functions of a stack may not do it, whatever else their roles say."""
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": action, "Resource": "*"}]}
    iam, roles = stack.client("iam"), [stack.role(name) for name in functions]
    for role in roles:
        iam.put_role_policy(RoleName=role, PolicyName="denied", PolicyDocument=json.dumps(policy))
    try:
        yield
    finally:
        for role in roles:
            iam.delete_role_policy(RoleName=role, PolicyName="denied")


def test_a_refused_wake_is_counted_where_an_alarm_looks_and_the_reconciler_wakes_the_run(production, account):
    wanted = "TrainingObservabilityWakeRefused"
    template = json.loads((account.folder / "cdk.out" / "Production.template.json").read_text())
    (alarm,) = (each for name, each in template["Resources"].items() if name.startswith(wanted))
    (metric,) = (each["MetricStat"]["Metric"] for each in alarm["Properties"]["Metrics"])

    with denied(production, "states:SendTaskSuccess", "WakeRun", "CloseRun"):
        arn = production.start({"job": "refused-wake"})
        counted = until_counted(production, "WakeRun", "WakeRefused")
    (about,) = counted["_aws"]["CloudWatchMetrics"]
    assert about["Namespace"] == metric["Namespace"]
    dimensions = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
    assert {name: counted[name] for name in dimensions} == dimensions
    assert [sorted(dimensions)] == [sorted(names) for names in about["Dimensions"]]

    production.client("lambda").invoke(FunctionName=production.function("Reconcile"), Payload=b"{}")
    execution = production.end_of(arn)
    assert execution["status"] == "SUCCEEDED", (execution.get("cause"), production.failures())


def until_counted(stack, function, name):
    """The line of a function's log that counts this metric."""

    def line():
        lines = [text for text in stack.logs(function) if text.startswith('{"_aws"') and f'"{name}":' in text]
        return json.loads(lines[-1]) if lines else None

    return until(line, name)
