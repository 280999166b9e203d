"""What the stack is made of: data that is safe, functions that can be watched, nothing that costs while idle."""

import importlib
import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template

import nightspot
from nightspot.cdk import TrainingRuns
from nightspot.cdk.settings import Settings
from nightspot.cdk.triggers import WORKFLOW_FILE
from nightspot.lambdas.dependencies import BOUNDED, Environment
from nightspot.lambdas.start_training_job import ASKED_ONCE
from nightspot.lambdas.time_left import SPARE_SECONDS, longest_seconds
from tests.lambdas.test_no_answer import TIMEOUTS

pytestmark = pytest.mark.xdist_group("infra")

SNAPSHOT = Path(__file__).with_name("snapshot.json")
KEPT = {"AWS::DynamoDB::Table", "AWS::Logs::LogGroup", "AWS::S3::Bucket"}
RENEW = "NIGHTSPOT_RENEW_SNAPSHOT"
OF_SOME_SETTINGS = {
    "NIGHTSPOT_HARVEST_CASSETTES",
    "NIGHTSPOT_OUTPUT_KEY_ARN",
    "NIGHTSPOT_TAGS",
    "NIGHTSPOT_TRAINING_ROLE_ARNS",
}
OF_THE_PLAN = {"NIGHTSPOT_CHECK_QUOTAS", "NIGHTSPOT_LIVE_PRICES"}
OF_THE_MESSENGER = {"NIGHTSPOT_CHAT_TOPIC_ARN", "NIGHTSPOT_NOTICE_TOPIC_ARN", "NIGHTSPOT_TELL_SUCCESS"}
OF_WHAT_STARTS_RUNS = {"NIGHTSPOT_STATE_MACHINE_ARN"}
STACK_ID = {"Fn::Split": ["/", {"Ref": "AWS::StackId"}]}
DLC_ACCOUNT = "NIGHTSPOT_DLC_ACCOUNT_ID"  # where a job asks for one of AWS's images
FUNCTIONS = [
    "Api",
    "AskPrices",
    "CloseRun",
    "DecideNextStep",
    "PlanRun",
    "Reconcile",
    "RecordOutcome",
    "StartRun",
    "StartTrainingJob",
    "Notify",
    "WakeRun",
]

# Paid for by what is kept or used; alarms and dashboards, which have a price per month, come with the first job.
COSTS_NOTHING_WHILE_IDLE = {
    "AWS::ApiGateway::Deployment",
    "AWS::ApiGateway::GatewayResponse",
    "AWS::ApiGateway::Method",
    "AWS::ApiGateway::RequestValidator",
    "AWS::ApiGateway::Resource",
    "AWS::ApiGateway::RestApi",
    "AWS::ApiGateway::Stage",
    "AWS::CDK::Metadata",
    "AWS::DynamoDB::Table",
    "AWS::Events::Rule",
    "AWS::IAM::Policy",
    "AWS::IAM::Role",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::Function",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Topic",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::Queue",
    "AWS::SQS::QueuePolicy",
    "AWS::StepFunctions::StateMachine",
}


def types(synthesised):
    return Counter(resource["Type"] for resource in synthesised.template["Resources"].values())


def policies_of(synthesised, part):
    """Deletion and replacement policy of every resource whose logical id contains `part`."""
    return {
        (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy"))
        for name, resource in synthesised.template["Resources"].items()
        if part in name and resource["Type"] in KEPT
    }


@pytest.mark.parametrize("bucket", ["Checkpoints", "Models", "Reports"])
def test_a_bucket_is_versioned_encrypted_private_and_owned(deployed, bucket):
    _, properties = deployed.only("S3::Bucket", bucket)
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(properties["PublicAccessBlockConfiguration"]) == 4
    assert properties["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}


@pytest.mark.parametrize("bucket", ["Checkpoints", "Models", "Reports"])
def test_a_bucket_speaks_tls_only(deployed, as_text, bucket):
    name, _ = deployed.only("S3::Bucket", bucket)
    _, policy = deployed.only("S3::BucketPolicy", bucket)
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Action"] == "s3:*"
    assert statement["Principal"] == {"AWS": "*"}
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert {as_text(r) for r in statement["Resource"]} == {f"<{name}.Arn>", f"<{name}.Arn>/*"}


@pytest.mark.parametrize(
    ("variant", "bucket", "days"),
    [
        ("deployed", "Checkpoints", 1),
        ("in_one_subnet", "Checkpoints", 3),
        ("deployed", "Models", 14),
        ("in_one_subnet", "Models", 14),
        ("deployed", "Reports", 14),
    ],
)
def test_old_versions_and_broken_uploads_go(request, variant, bucket, days):
    """A script deletes all but its newest checkpoints: those versions are what the bill is made of."""
    _, properties = request.getfixturevalue(variant).only("S3::Bucket", bucket)
    rules = properties["LifecycleConfiguration"]["Rules"]
    assert {rule["Status"] for rule in rules} == {"Enabled"}
    assert [r["NoncurrentVersionExpiration"] for r in rules if "NoncurrentVersionExpiration" in r] == [
        {"NoncurrentDays": days}
    ]
    assert [r["AbortIncompleteMultipartUpload"] for r in rules if "AbortIncompleteMultipartUpload" in r] == [
        {"DaysAfterInitiation": 7}
    ]


@pytest.mark.parametrize(("variant", "days"), [("deployed", 30), ("in_one_subnet", 5)])
def test_checkpoints_go_after_the_days_that_were_set(request, variant, days):
    _, properties = request.getfixturevalue(variant).only("S3::Bucket", "Checkpoints")
    rules = properties["LifecycleConfiguration"]["Rules"]
    assert [rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule] == [days]


def test_the_bill_of_stored_checkpoints_is_the_one_in_the_documentation(deployed, pytestconfig):
    """Of the seed's night: eight checkpoints of 40 GB, of which the library keeps two."""
    _, properties = deployed.only("S3::Bucket", "Checkpoints")
    rules = properties["LifecycleConfiguration"]["Rules"]
    (expiry,) = (rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule)
    (old,) = (
        r["NoncurrentVersionExpiration"]["NoncurrentDays"]
        for r in rules
        if "NoncurrentVersionExpiration" in r
    )
    page = (pytestconfig.rootpath / "docs" / "costs.md").read_text(encoding="utf-8")
    usd = {}
    for days in (old, 14):
        # S3 works at midnight: half a day later, on average.
        gigabytes = 6 * 40 * (days + 0.5), 2 * 40 * (expiry + 0.5), 2 * 40 * (days + 0.5)
        usd[days] = [round(each * 0.023, 2) for each in (*gigabytes, sum(gigabytes))]
    for row in zip(usd[old], usd[14], strict=True):
        assert "| " + " | ".join(f"${each:,.2f}" for each in row) + " |" in page


@pytest.mark.parametrize("bucket", ["Models", "Reports"])
def test_models_and_pages_stay(deployed, bucket):
    _, properties = deployed.only("S3::Bucket", bucket)
    assert not [r for r in properties["LifecycleConfiguration"]["Rules"] if "ExpirationInDays" in r]


def test_the_table_is_paid_per_request_can_be_turned_back_and_forgets_tokens(deployed):
    _, table = deployed.only("DynamoDB::Table")
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert {key["AttributeName"]: key["KeyType"] for key in table["KeySchema"]} == {
        "pk": "HASH",
        "sk": "RANGE",
    }


def test_the_workflow_writes_the_attribute_by_which_the_table_forgets(deployed):
    _, table = deployed.only("DynamoDB::Table")
    wait = json.loads(WORKFLOW_FILE.read_text())["States"]["Wait for news"]
    attribute = table["TimeToLiveSpecification"]["AttributeName"]
    assert f"{attribute} = :expires" in wait["Arguments"]["UpdateExpression"]


@pytest.mark.parametrize("part", ["Table", "Checkpoints", "Models", "Reports", "Logs"])
def test_data_outlives_the_stack_unless_it_is_disposable(deployed, disposable, part):
    """And a first deployment that fails leaves nothing but the table, which is protected from deletion."""
    kept = "Retain" if part == "Table" else "RetainExceptOnCreate"
    assert policies_of(deployed, part) == {(kept, "Retain")}
    assert policies_of(disposable, part) == {("Delete", "Delete")}


def test_nothing_that_is_not_protected_is_left_by_a_first_deployment_that_fails(deployed, chatting, joined):
    for synthesised in (deployed, chatting, joined):
        left = [
            resource
            for resource in synthesised.template["Resources"].values()
            if resource.get("DeletionPolicy") == "Retain"
        ]
        assert [resource["Properties"]["DeletionProtectionEnabled"] for resource in left] == [True]


def test_the_table_is_protected_from_deletion_unless_it_is_disposable(deployed, disposable):
    assert deployed.only("DynamoDB::Table")[1]["DeletionProtectionEnabled"] is True
    assert disposable.only("DynamoDB::Table")[1]["DeletionProtectionEnabled"] is False


def test_a_disposable_stack_empties_its_buckets_because_cloudformation_does_not(deployed, disposable):
    assert len(disposable.of_type("S3::Bucket")) == len(
        [r for r in disposable.template["Resources"].values() if r["Type"] == "Custom::S3AutoDeleteObjects"]
    )
    assert not [kind for kind in types(deployed) if kind.startswith("Custom::")]


def test_every_function_has_a_handler_of_its_own(deployed):
    handlers = {function["Handler"] for function in deployed.of_type("Lambda::Function").values()}
    modules = {"".join(f"_{c.lower()}" if c.isupper() else c for c in name).strip("_") for name in FUNCTIONS}
    assert handlers == {f"nightspot.lambdas.{module}.handler" for module in modules}
    for module in modules:
        assert callable(importlib.import_module(f"nightspot.lambdas.{module}").handler)


def test_a_call_that_gets_no_answer_fits_into_every_function_s_time(deployed):
    """So that the function can say what failed, instead of being killed in it."""
    longest = longest_seconds(BOUNDED) + SPARE_SECONDS
    timeouts = {name: f["Timeout"] for name, f in deployed.of_type("Lambda::Function").items()}
    assert len(timeouts) == len(FUNCTIONS)
    by_module = {
        f["Handler"].split(".")[2]: f["Timeout"] for f in deployed.of_type("Lambda::Function").values()
    }
    # Each of them is tried against an AWS that does not answer.
    assert by_module == TIMEOUTS
    assert {name for name, seconds in timeouts.items() if seconds <= longest} == set()
    once = longest_seconds(ASKED_ONCE)
    (starting,) = (seconds for name, seconds in timeouts.items() if "StartTrainingJob" in name)
    # And as long again as a cold start takes.
    assert once + 10 < starting
    # A state that ended before its function would be followed by a decision that looks too early.
    assert (
        starting < json.loads(WORKFLOW_FILE.read_text())["States"]["Start the training job"]["TimeoutSeconds"]
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_runs_on_arm_is_traced_and_logs_json(deployed, name):
    _, function = deployed.only("Lambda::Function", name)
    assert function["Architectures"] == ["arm64"]
    assert function["Runtime"] == "python3.13"
    assert function["TracingConfig"] == {"Mode": "Active"}
    assert function["LoggingConfig"]["LogFormat"] == "JSON"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_keeps_its_logs_in_a_group_of_its_own_for_a_while(deployed, disposable, name):
    for synthesised, days in ((deployed, 90), (disposable, 7)):
        _, function = synthesised.only("Lambda::Function", name)
        group = function["LoggingConfig"]["LogGroup"]["Ref"]
        assert name in group
        assert synthesised.of_type("Logs::LogGroup")[group]["RetentionInDays"] == days


def test_every_log_group_has_a_retention(deployed):
    assert len(deployed.of_type("Logs::LogGroup")) == len(FUNCTIONS) + 1
    assert {g["RetentionInDays"] for g in deployed.of_type("Logs::LogGroup").values()} == {90}


@pytest.mark.parametrize("variant", ["deployed", "joined", "in_one_subnet"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_gets_an_environment_that_it_can_read(request, as_text, variant, name):
    _, function = request.getfixturevalue(variant).only("Lambda::Function", name)
    variables = {key: as_text(v) for key, v in function["Environment"]["Variables"].items()}
    known = (
        {field.alias for field in Environment.model_fields.values()}
        - {"AWS_REGION", DLC_ACCOUNT}
        - OF_SOME_SETTINGS
    )
    if name != "PlanRun":
        known -= OF_THE_PLAN
    if name != "Notify":
        known -= OF_THE_MESSENGER
    if name not in {"Api", "Reconcile", "StartRun"}:
        known -= OF_WHAT_STARTS_RUNS
    assert {key for key in variables if key.startswith("NIGHTSPOT_")} == known
    environment = Environment.model_validate({**variables, "AWS_REGION": "eu-west-1"})
    assert environment.checkpoint_bucket
    assert environment.model_bucket
    assert environment.report_bucket
    assert environment.training_role_arn
    assert environment.bus_name == "default"  # where SageMaker's events arrive as well


def test_existing_buckets_and_role_take_the_place_of_the_stack_s_own(joined):
    _, function = joined.only("Lambda::Function", "PlanRun")
    variables = function["Environment"]["Variables"]
    assert variables["NIGHTSPOT_CHECKPOINT_BUCKET"] == "our-checkpoints"
    assert variables["NIGHTSPOT_MODEL_BUCKET"] == "our-models"
    assert variables["NIGHTSPOT_REPORT_BUCKET"] == "our-reports"
    assert variables["NIGHTSPOT_TRAINING_ROLE_ARN"] == "arn:aws:iam::123456789012:role/our-training"


def test_concurrency_is_set_aside_only_where_it_is_asked_for(deployed, disposable):
    def reserved(synthesised):
        functions = synthesised.of_type("Lambda::Function").values()
        ours = [f for f in functions if f.get("Handler", "").startswith("nightspot.lambdas.")]
        return {f["Handler"].split(".")[2]: f.get("ReservedConcurrentExecutions") for f in ours}

    assert set(reserved(deployed).values()) == {None}
    found = reserved(disposable)
    # It works alone.
    assert (len(found), found.pop("reconcile"), set(found.values())) == (len(FUNCTIONS), 1, {3})


def test_the_plan_asks_for_quotas_where_the_deployment_says_so(deployed, checking_quotas, as_text):
    def asks(synthesised):
        _, function = synthesised.only("Lambda::Function", "PlanRun")
        variables = {key: as_text(value) for key, value in function["Environment"]["Variables"].items()}
        return Environment.model_validate({**variables, "AWS_REGION": "eu-west-1"}).check_quotas

    assert asks(checking_quotas) is True
    assert asks(deployed) is False


def test_lives_are_kept_by_what_hears_of_each_end_where_the_deployment_says_so(
    deployed, checking_quotas, as_text
):
    def keeps(synthesised, name):
        _, function = synthesised.only("Lambda::Function", name)
        variables = {key: as_text(value) for key, value in function["Environment"]["Variables"].items()}
        return Environment.model_validate({**variables, "AWS_REGION": "eu-west-1"}).harvest_cassettes

    assert keeps(checking_quotas, "CloseRun") is True
    assert [keeps(checking_quotas, "RecordOutcome"), keeps(deployed, "CloseRun")] == [False, False]


def test_the_plan_asks_for_prices_unless_the_deployment_says_otherwise(deployed, by_the_book, as_text):
    def asks(synthesised):
        _, function = synthesised.only("Lambda::Function", "PlanRun")
        variables = {key: as_text(value) for key, value in function["Environment"]["Variables"].items()}
        return Environment.model_validate({**variables, "AWS_REGION": "eu-west-1"}).live_prices

    assert asks(deployed) is True
    assert asks(by_the_book) is False


def test_the_vpc_reaches_the_functions_environment(joined, deployed, as_text):
    def vpc_config(synthesised):
        _, function = synthesised.only("Lambda::Function", "PlanRun")
        variables = {key: as_text(value) for key, value in function["Environment"]["Variables"].items()}
        return Environment.model_validate({**variables, "AWS_REGION": "eu-west-1"}).vpc_config

    assert vpc_config(joined) == {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}
    assert vpc_config(deployed) is None


def test_the_workflow_is_deployed_as_it_stands_in_its_file(deployed):
    _, machine = deployed.only("StepFunctions::StateMachine")
    assert machine["DefinitionString"] == WORKFLOW_FILE.read_text(encoding="utf-8")
    assert machine["StateMachineType"] == "STANDARD"
    assert machine["TracingConfiguration"] == {"Enabled": True}


def test_the_workflow_s_names_are_this_stack_s_functions_and_table(deployed, as_text):
    _, machine = deployed.only("StepFunctions::StateMachine")
    substitutions = {key: as_text(value) for key, value in machine["DefinitionSubstitutions"].items()}
    expected = {
        f"{name}FunctionArn": f"<{deployed.only('Lambda::Function', name)[0]}.Arn>"
        for name in ("PlanRun", "DecideNextStep", "StartTrainingJob", "RecordOutcome")
    }
    table, _ = deployed.only("DynamoDB::Table")
    assert substitutions == {
        **expected,
        "TableName": f"<{table}>",
        "EventBusName": "default",
        "Environment": "main",
    }
    for name in substitutions:
        assert f"${{{name}}}" in machine["DefinitionString"]


def test_the_workflow_logs_everything_into_a_group_with_a_retention(deployed):
    _, machine = deployed.only("StepFunctions::StateMachine")
    logging = machine["LoggingConfiguration"]
    assert logging["Level"] == "ALL"
    assert logging["IncludeExecutionData"] is True
    ((group, _),) = (
        destination["CloudWatchLogsLogGroup"]["LogGroupArn"]["Fn::GetAtt"]
        for destination in logging["Destinations"]
    )
    assert deployed.of_type("Logs::LogGroup")[group]["RetentionInDays"] == 90


def test_the_workflow_s_log_needs_no_entry_in_the_account_s_resource_policy(deployed, as_text):
    """That policy has 5,120 characters. The rest of the name is this stack's own, also after it was made again."""
    _, group = deployed.only("Logs::LogGroup", "Workflow")
    digits = {"Fn::Select": [0, {"Fn::Split": ["-", {"Fn::Select": [2, STACK_ID]}]}]}
    prefix, end = group["LogGroupName"]["Fn::Join"][1]
    assert prefix.startswith("/aws/vendedlogs/states/Nightspot-Training-Workflow-")
    assert end == digits
    others = [g for name, g in deployed.of_type("Logs::LogGroup").items() if "Workflow" not in name]
    assert not [g for g in others if "LogGroupName" in g]


def test_two_workflows_of_one_stack_have_logs_of_their_own(jobs, bundle):
    stack = Stack()
    for name in ("One", "Two"):
        TrainingRuns(stack, name, jobs=jobs, bundle=bundle, settings=Settings(environment=name.lower()))
    groups = Template.from_stack(stack).find_resources("AWS::Logs::LogGroup").values()
    names = [json.dumps(g["Properties"]["LogGroupName"]) for g in groups if "LogGroupName" in g["Properties"]]
    assert len(set(names)) == 2


def test_nothing_costs_money_while_it_is_idle(idle):
    assert set(types(idle)) - COSTS_NOTHING_WHILE_IDLE == set()
    assert not [f for f in idle.of_type("Lambda::Function").values() if "SnapStart" in f or "VpcConfig" in f]
    assert "ProvisionedThroughput" not in idle.only("DynamoDB::Table")[1]


def test_with_the_first_job_come_what_starts_it_and_what_watches_it(idle, deployed):
    assert set(types(deployed) - types(idle)) == {
        "AWS::CloudWatch::Alarm",
        "AWS::CloudWatch::Dashboard",
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::Logs::QueryDefinition",
        "AWS::Scheduler::Schedule",
    }
    assert not types(idle) - types(deployed)


def test_the_stack_says_how_to_start_a_run(deployed, idle, as_text):
    machine, _ = deployed.only("StepFunctions::StateMachine")
    command = as_text(deployed.template["Outputs"]["StartARun"]["Value"])
    assert f"--state-machine-arn <{machine}> " in command
    assert command.endswith("""--input '{"job": "by-hand"}'""")
    assert as_text(idle.template["Outputs"]["StartARun"]["Value"]).endswith("""'{"job": "JOB"}'""")


@pytest.mark.parametrize("variant", ["deployed", "joined"])
def test_the_stack_tells_what_commands_look_for(request, as_text, variant):
    synthesised = request.getfixturevalue(variant)
    outputs = {name: as_text(output["Value"]) for name, output in synthesised.template["Outputs"].items()}
    _, plan = synthesised.only("Lambda::Function", "PlanRun")
    variables = {name: as_text(value) for name, value in plan["Environment"]["Variables"].items()}
    assert outputs["Version"] == nightspot.__version__
    assert outputs["CheckpointBucket"] == variables["NIGHTSPOT_CHECKPOINT_BUCKET"]
    assert outputs["ModelBucket"] == variables["NIGHTSPOT_MODEL_BUCKET"]
    assert outputs["ReportBucket"] == variables["NIGHTSPOT_REPORT_BUCKET"]
    assert outputs["TableName"] == variables["NIGHTSPOT_TABLE_NAME"]
    assert outputs["StateMachineArn"] == f"<{synthesised.only('StepFunctions::StateMachine')[0]}>"


def test_a_fresh_deployment_starts_nothing_and_names_the_smoke_job_as_the_first_run(shipped, as_text):
    schedules = shipped.of_type("Scheduler::Schedule")
    assert [schedule["State"] for schedule in schedules.values()] == ["DISABLED"]
    assert as_text(shipped.template["Outputs"]["StartARun"]["Value"]).endswith("""'{"job": "smoke"}'""")


def test_the_plan_learns_whose_account_aws_s_images_are_in_from_cdk_s_table_of_regions(shipped, deployed):
    _, plan = shipped.only("Lambda::Function", "PlanRun")
    table, region, column = plan["Environment"]["Variables"][DLC_ACCOUNT]["Fn::FindInMap"]
    assert region == {"Ref": "AWS::Region"}
    accounts = {name: row[column] for name, row in shipped.template["Mappings"][table].items()}
    assert re.fullmatch("[0-9]{12}", accounts["eu-west-1"])
    assert all(re.fullmatch("([0-9]{12})?", account) for account in accounts.values())
    # Where no job asks for one of AWS's images, no region is left out.
    assert "Mappings" not in deployed.template


def test_a_team_may_put_training_runs_into_its_own_app_and_let_others_start_them(jobs, bundle):
    stack = Stack()
    training = TrainingRuns(stack, "Training", jobs=jobs, bundle=bundle)
    user = iam.Role(stack, "Pipeline", assumed_by=iam.ServicePrincipal("codebuild.amazonaws.com"))
    training.grant_start(user)
    policies = Template.from_stack(stack).find_resources("AWS::IAM::Policy")
    (policy,) = (p for name, p in policies.items() if name.startswith("Pipeline"))
    statements = policy["Properties"]["PolicyDocument"]["Statement"]
    starting = [s for s in statements if "states:StartExecution" in s["Action"]]
    assert [s["Resource"]["Ref"] for s in starting] == [
        stack.get_logical_id(training.workflow.state_machine.node.default_child)
    ]
    granted = {
        a for s in statements for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])
    }
    assert "dynamodb:Query" in granted
    assert not [action for action in granted if action.startswith("dynamodb:") and "Put" in action]


def test_the_stack_s_shape_is_the_recorded_one(deployed):
    """Narrow on purpose: what a run may do, and how many of what there are."""
    _, policy = deployed.only("IAM::Policy", "WorkflowRole")
    shape = {
        "resources": dict(sorted(types(deployed).items())),
        "what_a_run_may_do": policy["PolicyDocument"]["Statement"],
    }
    if os.environ.get(RENEW):
        SNAPSHOT.write_text(json.dumps(shape, indent=2) + "\n", encoding="utf-8")
    recorded = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    assert shape == recorded, (
        f"The stack's shape has changed. If that is what you want, renew the record and read its diff: "
        f"{RENEW}=1 .venv/bin/python -m pytest tests/infra/test_template.py"
    )
