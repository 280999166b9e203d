"""Part A: what can be asked without starting anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import quantiles
from time import monotonic
from typing import Any

import botocore.session
from botocore.exceptions import ClientError

from nightspot.aws.price_list import PLANS_API_REGION as SAVINGS_PLANS_REGION
from nightspot.aws.price_list import (
    Listed,
    PriceList,
    PricesUnknownError,
    SavingsPlans,
    SpotPrices,
    api_region,
    ec2_type,
)
from nightspot.aws.prices import Quotas, QuotasUnknownError
from nightspot.job.markets import Market
from nightspot.plan.planning import quota_name
from nightspot.selftest.functions import Elsewhere
from nightspot.selftest.model import Check, NotTriedError, Seen
from nightspot.selftest.patterns import EVENTS, PATTERNS
from nightspot.selftest.roles import wrong_grants
from nightspot.selftest.samples import requests_by_field
from nightspot.selftest.states import (
    LONGEST_WAIT_SECONDS,
    answer,
    definition,
    differences,
    question,
    read_cases,
    really_tested,
    sample_names,
    stopped_by_the_workflow,
)
from nightspot.selftest.workspace import Workspace, code_and_words

# A common type of each kind: a processor, one graphics processor, eight of them.
TYPES = ("ml.m5.large", "ml.g5.xlarge", "ml.p4d.24xlarge")
MORE_TYPES = ("ml.c5.xlarge", "ml.g4dn.xlarge", "ml.p5.48xlarge")
TIMES_ASKED = 5
_SHOWN = 5  # differences in the evidence
# TestState's refusals that are about the state that it was given.
_OF_THE_REQUEST = frozenset({"ValidationException", "InvalidDefinition", "InvalidExecutionInput"})


def _states(workspace: Workspace) -> Any:
    return workspace.client("stepfunctions")


def _execution_arn(workspace: Workspace) -> str:
    place = f"{workspace.partition}:states:{workspace.region}:{workspace.account_id}"
    return f"arn:{place}:execution:{workspace.name('states')}:one"


def validates(workspace: Workspace, seen: Seen) -> None:
    """A1: Step Functions accepts the workflow."""
    workflow = json.dumps(definition(sample_names(workspace.region, workspace.account_id)))
    said = _states(workspace).validate_state_machine_definition(
        definition=workflow, type="STANDARD", severity="WARNING"
    )
    found = said["diagnostics"]
    words = "; ".join(f"{each['severity']} {each['code']}: {each['message']}" for each in found[:_SHOWN])
    wrong = len(found) if found or said["result"] == "OK" else 1
    seen.saw("stepfunctions.definition.valid", wrong, words or said["result"])


def states_agree(workspace: Workspace, seen: Seen) -> None:
    """A2: every case of every state comes to what the local interpreters come to."""
    workflow = definition(sample_names(workspace.region, workspace.account_id))
    role, client = workspace.role_arn(), _states(workspace)
    wrong = []
    for case in read_cases():
        if case.waits_seconds > LONGEST_WAIT_SECONDS:
            continue
        is_task = workflow["States"][case.state]["Type"] == "Task"
        try:
            got = answer(client.test_state(**question(case, workflow, _execution_arn(workspace), role)))
        except ClientError as error:
            if code_and_words(error)[0] not in _OF_THE_REQUEST:
                raise
            wrong.append(f"{case.name}: {': '.join(code_and_words(error))}")
            continue
        if found := differences(case.then, got, is_task=is_task):
            wrong.append(f"{case.name}: {', '.join(found)}: {got.model_dump_json(include=set(found))[:300]}")
    seen.saw("stepfunctions.states.differ", len(wrong), "; ".join(wrong[:_SHOWN]))


def real_calls(workspace: Workspace, seen: Seen) -> None:
    """A3: what the workflow's own calls of AWS do and how they fail."""
    _write_an_item(workspace, seen)
    _send_an_event(workspace, seen)
    error, cause = stopped_by_the_workflow(workspace, workspace.name("never"))
    seen.saw("stepfunctions.sdk.error", error.partition(".")[0] + ".", f"{error}: {cause}")


def _crashed_states(
    workspace: Workspace, table: str
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    names = {**sample_names(workspace.region, workspace.account_id), "TableName": table}
    states = definition(names)["States"]
    variables = {
        "run": {"job": "selftest", "run_id": workspace.name("crash"), "attempts": []},
        "crash": {"Error": "Lambda.Unknown", "Cause": "A test."},
    }
    return states["Record the crash"], states["Sound the alarm"], variables


def _write_an_item(workspace: Workspace, seen: Seen) -> None:
    table, dynamodb = workspace.name("table"), workspace.client("dynamodb")
    workspace.made("table", table)
    dynamodb.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
    )
    for _ in range(30):
        if dynamodb.describe_table(TableName=table)["Table"]["TableStatus"] == "ACTIVE":
            break
        workspace.sleep(2)
    record, _, variables = _crashed_states(workspace, table)
    said = really_tested(workspace, record, variables)
    key = {"pk": {"S": f"RUN#{variables['run']['run_id']}"}, "sk": {"S": "CRASH"}}
    item = dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item", {})
    is_there = item.get("error") == {"S": "Lambda.Unknown"} and "crashed_at" in item
    seen.saw("stepfunctions.updateitem.written", "yes" if is_there else "no", str(said.get("cause", "")))


def _send_an_event(workspace: Workspace, seen: Seen) -> None:
    workspace.queue()
    _, alarm, variables = _crashed_states(workspace, "none")
    said = really_tested(workspace, alarm, variables)
    for _ in range(20):
        if found := [each for each in workspace.messages() if each.get("source") == "nightspot"]:
            kind = type(found[0]["detail"]).__name__
            seen.saw("stepfunctions.event.detail", "object" if kind == "dict" else kind)
            return
        workspace.sleep(3)
    seen.saw("stepfunctions.event.detail", "nothing arrived", str(said.get("cause", "")))


def fields_known(workspace: Workspace, seen: Seen) -> None:
    """A4: which fields of CreateTrainingJob the SDK of Step Functions knows. For information."""
    model = botocore.session.get_session().get_service_model("sagemaker")
    shape = model.operation_model("CreateTrainingJob").input_shape
    nobody = f"arn:{workspace.partition}:iam::{workspace.account_id}:role/{workspace.name('nobody')}"
    unknown = []
    for field, request in requests_by_field(
        shape, {"RoleArn": nobody, "TrainingJobName": workspace.name("fields")}
    ):
        # With a role that is not there nothing can start.
        said = really_tested(
            workspace,
            {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:sagemaker:createTrainingJob",
                "Arguments": request,
            },
        )
        if said.get("error") == "States.Runtime" or "not supported" in str(said.get("cause", "")):
            unknown.append(field)
    seen.saw("stepfunctions.sdk.fields.unknown", len(unknown), ", ".join(unknown))


def patterns_match(workspace: Workspace, seen: Seen) -> None:
    """A5: the rules' patterns match the events that they must, and no other."""
    client = workspace.client("events")
    wrong = []
    for what, event, wanted in EVENTS:
        for name, pattern in PATTERNS.items():
            said = client.test_event_pattern(EventPattern=json.dumps(pattern), Event=json.dumps(event))
            if "Result" not in said:
                raise workspace.not_here("does not answer TestEventPattern")
            if said["Result"] != (name in wanted):
                wrong.append(f"{name}: {what}")
    seen.saw("events.pattern.matches", len(wrong), "; ".join(wrong))


@contextmanager
def _timed(seen: Seen, fact: str) -> Iterator[None]:
    began = monotonic()
    yield
    seen.saw(fact, round(monotonic() - began, 2))


_TIMED_BY = {
    "get_products": "pricing.seconds",
    "describe_savings_plans": "savingsplans.seconds",
    "describe_savings_plan_rates": "savingsplans.seconds",
    "describe_spot_price_history": "ec2.spotprices.seconds",
}


def prices_answer(workspace: Workspace, seen: Seen) -> None:
    """A6: how long prices take from a function, and whether the filters find them.

    The function is the self-test's own, and not a stack's AskPrices: that one asks each type once a day, tells no
    durations, writes into the table that runs plan with, and may ask Cost Explorer, at $0.01 a call.
    """
    asked_by = Elsewhere.made(workspace, "a6")
    try:
        _ask_for_prices(workspace, seen, asked_by)
    finally:
        for operation, seconds in asked_by.seconds.items():
            for each in seconds[:-1]:
                seen.saw(_TIMED_BY[operation], each)
            words = f"{operation} from a function in {workspace.region}: {_spread(seconds)}"
            seen.saw(_TIMED_BY[operation], seconds[-1], words)


def _ask_for_prices(workspace: Workspace, seen: Seen, asked_by: Elsewhere) -> None:
    at, near = workspace.now(), api_region(workspace.region)
    pricing = asked_by.client("pricing", near)
    price_list, found = PriceList(pricing), dict[str, Listed | None]()
    for _ in range(TIMES_ASKED):
        for kind in TYPES:
            found[kind] = _price(lambda k=kind: price_list.training(k, workspace.region, at))  # type: ignore[misc]
    missing = [kind for kind, price in found.items() if price is None]
    listed = [
        f"{kind}: ${price.usd_per_hour:g} ({price.usage_type})" for kind, price in found.items() if price
    ]
    seen.saw("pricing.training.filter", "missing" if missing else "found", ", ".join((*missing, *listed)))
    spot = pricing.get_products(
        ServiceCode="AmazonSageMaker",
        Filters=[
            {"Type": "TERM_MATCH", "Field": field, "Value": value}
            for field, value in (("regionCode", workspace.region), ("component", "SpotTraining"))
        ],
        MaxResults=1,
    )
    seen.saw("pricing.spot.component", "there" if spot["PriceList"] else "not there")
    plans = SavingsPlans(asked_by.client("savingsplans", SAVINGS_PLANS_REGION))
    usage = [price.usage_type for price in found.values() if price] or ["USE1-Train:ml.m5.large"]
    history = SpotPrices(asked_by.client("ec2", workspace.region))
    for _ in range(TIMES_ASKED):
        _price(lambda: plans.rates(usage, at))
        for kind in TYPES:
            _price(lambda k=kind: history.mean_usd_per_hour(ec2_type(k), at))  # type: ignore[misc]


def _spread(seconds: Sequence[float]) -> str:
    """ "p50 0.31 s, p95 0.9 s of 15 calls"."""
    twentieths = quantiles(seconds, n=20, method="inclusive") if len(seconds) > 1 else [seconds[0]] * 19
    return f"p50 {twentieths[9]:.2g} s, p95 {twentieths[18]:.2g} s of {len(seconds)} calls"


def _price(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except PricesUnknownError as error:
        cause = error.__cause__
        if isinstance(cause, ClientError):
            raise cause from error
        raise NotTriedError(str(error)) from error


def quotas_listed(workspace: Workspace, seen: Seen) -> None:
    """A7: what Service Quotas calls the quotas, and how long its lists take."""
    wanted = {kind: [quota_name(market, kind) for market in Market] for kind in (*TYPES, *MORE_TYPES)}
    with _timed(seen, "quotas.seconds"):
        try:
            limits = Quotas(workspace.client("service-quotas")).limits(
                name for names in wanted.values() for name in names
            )
        except QuotasUnknownError as error:
            raise NotTriedError(str(error)) from error
    workspace.shared["quotas"] = dict(limits)
    for kind, names in wanted.items():
        there = [name for name in names if name in limits]
        words = {2: "both listed", 1: "one listed", 0: "none listed"}[len(there)]
        seen.saw(
            "sagemaker.quota.names", words, f"{kind}: {', '.join(f'{n} = {limits[n]:g}' for n in there)}"
        )


def roles_allow(workspace: Workspace, seen: Seen) -> None:
    """A8: IAM's simulator on the deployed roles: what runs need is allowed, and what they must not do is not."""
    wrong = wrong_grants(workspace)
    seen.saw("iam.roles.wrong", len(wrong), "; ".join(wrong[:_SHOWN]))


_ROLE = ("iam:CreateRole", "iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:DeleteRole", "iam:PassRole")
_QUEUE = (
    "sqs:CreateQueue",
    "sqs:GetQueueAttributes",
    "sqs:SetQueueAttributes",
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:GetQueueUrl",
    "sqs:DeleteQueue",
    "events:PutRule",
    "events:PutTargets",
    "events:RemoveTargets",
    "events:DeleteRule",
)
_FUNCTION = ("lambda:CreateFunction", "lambda:GetFunctionConfiguration", "lambda:DeleteFunction")
_TABLE = ("dynamodb:CreateTable", "dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:DeleteTable")

CHECKS = (
    Check(
        "A1",
        "Does Step Functions accept the workflow?",
        ("states:ValidateStateMachineDefinition",),
        ("stepfunctions.definition.valid",),
        validates,
    ),
    Check(
        "A2",
        "Does each state do what the local interpreters do?",
        ("states:TestState", *_ROLE),
        ("stepfunctions.states.differ",),
        states_agree,
        minutes=3,
    ),
    Check(
        "A3",
        "What do the workflow's own calls of AWS do, and how do they fail?",
        ("states:TestState", *_ROLE, *_QUEUE, *_TABLE),
        ("stepfunctions.updateitem.written", "stepfunctions.event.detail", "stepfunctions.sdk.error"),
        real_calls,
        minutes=1,
    ),
    Check(
        "A4",
        "Which fields of CreateTrainingJob does Step Functions' SDK know? (for information)",
        ("states:TestState", *_ROLE),
        ("stepfunctions.sdk.fields.unknown",),
        fields_known,
        minutes=2,
    ),
    Check(
        "A5",
        "Do the rules match the events that they must?",
        ("events:TestEventPattern",),
        ("events.pattern.matches",),
        patterns_match,
    ),
    Check(
        "A6",
        "How long do prices take, asked from a function, and do the filters find them?",
        (*_ROLE, *_FUNCTION, "lambda:InvokeFunction"),
        (
            "pricing.seconds",
            "pricing.training.filter",
            "pricing.spot.component",
            "savingsplans.seconds",
            "ec2.spotprices.seconds",
        ),
        prices_answer,
        minutes=2,
    ),
    Check(
        "A7",
        "What are the quotas called?",
        ("servicequotas:ListServiceQuotas", "servicequotas:ListAWSDefaultServiceQuotas"),
        ("sagemaker.quota.names", "quotas.seconds"),
        quotas_listed,
        minutes=0.5,
    ),
    Check(
        "A8",
        "May the deployed roles do what runs need, and nothing of what they must not?",
        ("iam:SimulatePrincipalPolicy", "cloudformation:DescribeStacks"),
        ("iam.roles.wrong",),
        roles_allow,
        minutes=0.5,
        needs_stack=True,
    ),
)
