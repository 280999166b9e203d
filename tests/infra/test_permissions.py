"""Who may do what: every statement of every role's policies."""

import re

import pytest

from nightspot.aws.notices import PREFIX, SOURCE
from nightspot.cdk.functions import WAKING
from nightspot.cdk.settings import Settings
from nightspot.plan.planning import training_job_name
from tests.infra.policies import ACCOUNT, REGION, Policies
from tests.simulation.older import older_workflow

pytestmark = pytest.mark.xdist_group("infra")

TRAINING_JOBS = "arn:<AWS::Partition>:sagemaker:<AWS::Region>:<AWS::AccountId>:training-job"
OWN_JOBS = f"{TRAINING_JOBS}/nightspot-main-*"
# Of the fixture's jobs: their runs may go on from before there were environments (docs/compatibility.md).
OLDER_JOBS = {f"{TRAINING_JOBS}/nightspot-{job}-20*" for job in ("by-hand", "recommender", "search")}
BUS = "arn:<AWS::Partition>:events:<AWS::Region>:<AWS::AccountId>:event-bus/default"
MACHINES = "arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:stateMachine:*"
EXECUTIONS = "arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:<StateMachine.Name>:*"
ROLE, STARTER = "WorkflowRole", "StartTrainingJobRole"

# What AWS lets nobody narrow to a resource; each with the page that says so.
KNOWS_NO_RESOURCE = {
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    # https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html
    "ecr:GetAuthorizationToken",
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html
    "cloudwatch:PutMetricData",
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_servicequotas.html
    "servicequotas:ListAWSDefaultServiceQuotas",
    "servicequotas:ListServiceQuotas",
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awspricelist.html
    "pricing:GetProducts",
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
    "ec2:DescribeSpotPriceHistory",
    # By the ARN of a plan, says https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssavingsplans.html;
    # but all of an account's plans are listed to find one.
    "savingsplans:DescribeSavingsPlanRates",
    "savingsplans:DescribeSavingsPlans",
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscostexplorerservice.html
    "ce:GetSavingsPlansUtilization",
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemakerai.html
    "sagemaker:ListTrainingJobs",
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html
    "states:SendTaskSuccess",
}
PRICES = {
    "ce:GetSavingsPlansUtilization",
    "ec2:DescribeSpotPriceHistory",
    "pricing:GetProducts",
    "savingsplans:DescribeSavingsPlanRates",
    "savingsplans:DescribeSavingsPlans",
}
# Wildcards within a resource, each where its name is made at run time.
KNOWN_WILDCARDS = {
    OWN_JOBS,
    *OLDER_JOBS,
    EXECUTIONS,
    "arn:<AWS::Partition>:logs:<AWS::Region>:<AWS::AccountId>:log-group:/aws/sagemaker/TrainingJobs*",
    "arn:<AWS::Partition>:ecr:<AWS::Region>:*:repository/*",
    "arn:<AWS::Partition>:ec2:<AWS::Region>:<AWS::AccountId>:network-interface/*",
    # A shared subnet's or group's ARN has the account of its owner.
    "arn:<AWS::Partition>:ec2:<AWS::Region>:*:subnet/subnet-1",
    "arn:<AWS::Partition>:ec2:<AWS::Region>:*:security-group/sg-1",
    "arn:<AWS::Partition>:ec2:<AWS::Region>:*:security-group/sg-2",
    "<Checkpoints.Arn>/*",
    "<Models.Arn>/*",
    "<Models.Arn>/*/output/model.tar.gz",
    "<Reports.Arn>/reports/*",
    "arn:<AWS::Partition>:s3:::our-models/*/output/model.tar.gz",
    "arn:<AWS::Partition>:s3:::our-reports/reports/*",
    "arn:<AWS::Partition>:s3:::our-checkpoints/*",
    "arn:<AWS::Partition>:s3:::our-data/*",
}
# What Lambda needs to hand over what it gave up on.
HANDS_OVER = {"sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"}
# What it takes to repair a run.
SETTLES = {
    "dynamodb:DeleteItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
    "events:PutEvents",
    "s3:GetObject",
    "s3:ListBucket",
    "s3:PutObject",
    "sagemaker:DescribeTrainingJob",
    "sagemaker:StopTrainingJob",
    "states:DescribeExecution",
    "states:SendTaskSuccess",
    "states:StartExecution",
}
EVERY_FUNCTION = {
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
# Not the disposable one: the CDK's own function that empties its buckets has a role of the CDK's making.
VARIANTS = ["deployed", "idle", "joined", "in_one_subnet", "checking_quotas", "by_the_book", "chatting"]


@pytest.fixture(params=VARIANTS)
def variant(request):
    return request.getfixturevalue(request.param)


def actions(statements):
    return set().union(*(statement.actions for statement in statements))


def resources_of(action, statements):
    return {resource for s in statements if action in s.actions for resource in s.resources}


def short(resource):
    """Ids of buckets and the state machine without the construct's path and hash."""
    return re.sub(r"<Training(?:Data|Workflow)(\w+?)[0-9A-F]{8}\.(Arn|Name)>", r"<\1.\2>", resource)


def test_every_role_has_statements_to_look_at(variant):
    roles = set(variant.of_type("IAM::Role"))
    assert roles == {role for statement in variant.statements for role in statement.roles}
    assert len(roles) >= 5


def test_no_role_has_a_policy_that_aws_may_widen(variant):
    assert not [name for name, role in variant.of_type("IAM::Role").items() if "ManagedPolicyArns" in role]


def test_no_statement_allows_actions_by_wildcard(variant):
    assert not [action for action in actions(variant.statements) if "*" in action]


def test_only_what_aws_cannot_narrow_is_allowed_on_everything(variant):
    everywhere = [statement for statement in variant.statements if "*" in statement.resources]
    assert everywhere
    assert actions(everywhere) - KNOWS_NO_RESOURCE == set()


def test_a_wildcard_within_a_resource_is_one_of_a_known_few(variant):
    found = {short(r) for s in variant.statements for r in s.resources if "*" in r and r != "*"}
    assert found
    assert found - KNOWN_WILDCARDS == set()


def test_metrics_may_be_put_in_two_namespaces_only(deployed):
    (statement,) = (s for s in deployed.statements if "cloudwatch:PutMetricData" in s.actions)
    assert statement.actions == {"cloudwatch:PutMetricData"}
    assert statement.conditions == {
        "StringLike": {"cloudwatch:namespace": ["/aws/sagemaker/*", "Nightspot*"]}
    }


def test_only_the_training_role_is_passed_and_only_to_sagemaker(variant):
    passing = [statement for statement in variant.statements if "iam:PassRole" in statement.actions]
    own = {f"<{name}.Arn>" for name in variant.of_type("IAM::Role") if "DataRole" in name}
    for statement in passing:
        assert statement.actions == {"iam:PassRole"}
        assert statement.conditions == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
        assert set(statement.resources) == (own or {"arn:aws:iam::123456789012:role/our-training"})
    # The workflow's, for the executions of before there was StartTrainingJob.
    roles = [role for statement in passing for role in statement.roles]
    assert sorted(roles) == sorted(variant.only("IAM::Role", part)[0] for part in (ROLE, STARTER))


@pytest.mark.parametrize("action", ["iam:PassRole", "sagemaker:CreateTrainingJob", "sagemaker:AddTags"])
def test_a_named_environment_starts_training_jobs_by_one_function_alone(synthesise, action):
    """No run of it is older than that function (docs/deploy.md, "From a stack without environments")."""
    named = synthesise(Settings(environment="prod"))
    starting = {role for s in named.statements if action in s.actions for role in s.roles}
    assert starting == {named.only("IAM::Role", STARTER)[0]}


def test_a_run_of_an_older_workflow_may_start_its_training_jobs_as_before(deployed):
    """Step Functions goes on with the definition that an execution began with, and with the role as it is now."""
    (state,) = (
        s for s in older_workflow()["States"].values() if "createTrainingJob" in s.get("Resource", "")
    )
    assert state["Resource"] == "arn:aws:states:::aws-sdk:sagemaker:createTrainingJob"
    policies = Policies(deployed.template)
    job = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/nightspot-main-recommender-20261121-abc123-1"
    role = policies.arn("IAM::Role", "DataRole")
    for starter in (ROLE, STARTER):
        assert policies.allows(starter, "sagemaker:CreateTrainingJob", job)
        assert policies.allows(starter, "sagemaker:AddTags", job)
        assert policies.allows(starter, "iam:PassRole", role, iam__PassedToService="sagemaker.amazonaws.com")


@pytest.mark.parametrize("action", ["CreateTrainingJob", "StopTrainingJob", "AddTags", "DescribeTrainingJob"])
def test_training_jobs_are_touched_only_where_their_name_is_nightspot_s(variant, action):
    named = resources_of(f"sagemaker:{action}", variant.statements)
    assert named - OLDER_JOBS == {OWN_JOBS}


def test_no_other_action_of_sagemaker_is_allowed(variant):
    assert {action for action in actions(variant.statements) if action.startswith("sagemaker:")} == {
        "sagemaker:AddTags",
        "sagemaker:CreateTrainingJob",
        "sagemaker:DescribeTrainingJob",
        "sagemaker:ListTrainingJobs",
        "sagemaker:StopTrainingJob",
    }


def test_training_jobs_are_listed_by_the_reconciler_alone(variant):
    listing = [s for s in variant.statements if "sagemaker:ListTrainingJobs" in s.actions]
    assert {role for statement in listing for role in statement.roles} == {
        variant.only("IAM::Role", "ReconcileRole")[0]
    }


def test_the_names_that_runs_give_are_the_names_that_the_roles_know(story):
    name = training_job_name(story.run(environment="main"), 1)
    assert re.fullmatch(OWN_JOBS.rpartition("/")[2].replace("*", ".+"), name)


@pytest.mark.parametrize(
    ("function", "its_own"),
    [
        (
            "PlanRun",
            {
                "dynamodb:DeleteItem",
                "dynamodb:GetItem",
                "dynamodb:PutItem",
                "dynamodb:Query",
                "dynamodb:UpdateItem",
                "events:PutEvents",
                "s3:GetObject",
                "s3:ListBucket",
                "sagemaker:DescribeTrainingJob",
                "sagemaker:StopTrainingJob",
                "states:DescribeExecution",
                "states:SendTaskSuccess",
            },
        ),
        ("AskPrices", {"dynamodb:PutItem", "dynamodb:Query", *PRICES, *HANDS_OVER}),
        (
            "DecideNextStep",
            {
                "dynamodb:GetItem",
                "dynamodb:PutItem",
                "dynamodb:UpdateItem",
                "events:PutEvents",
                "s3:GetObject",
                "s3:ListBucket",
                "sagemaker:DescribeTrainingJob",
                "sagemaker:StopTrainingJob",
                "states:DescribeExecution",
                "states:SendTaskSuccess",
            },
        ),
        (
            "RecordOutcome",
            {
                "dynamodb:DeleteItem",
                "dynamodb:PutItem",
                "dynamodb:Query",
                "dynamodb:UpdateItem",
                "events:PutEvents",
                "s3:GetObject",
                "s3:ListBucket",
                "s3:PutObject",
            },
        ),
        ("StartTrainingJob", {"iam:PassRole", "sagemaker:AddTags", "sagemaker:CreateTrainingJob"}),
        (
            "StartRun",
            {
                "dynamodb:UpdateItem",
                "states:DescribeExecution",
                "states:StartExecution",
                *HANDS_OVER,
            },
        ),
        ("CloseRun", {*SETTLES, *HANDS_OVER}),
        ("Reconcile", {"sagemaker:ListTrainingJobs", *SETTLES, *HANDS_OVER}),
        (
            "WakeRun",
            {
                "dynamodb:GetItem",
                "dynamodb:UpdateItem",
                "states:SendTaskSuccess",
                *HANDS_OVER,
            },
        ),
        (
            "Notify",
            {
                "dynamodb:DeleteItem",
                "dynamodb:UpdateItem",
                "sns:Publish",
                *HANDS_OVER,
            },
        ),
    ],
)
def test_a_function_has_only_what_it_uses(deployed, function, its_own):
    assert actions(deployed.allowed_to(f"{function}Role")) == EVERY_FUNCTION | its_own


@pytest.mark.parametrize(
    "function",
    [
        "PlanRun",
        "DecideNextStep",
        "RecordOutcome",
        "CloseRun",
        "Reconcile",
        "StartRun",
        "Notify",
        "WakeRun",
        "AskPrices",
    ],
)
def test_a_function_touches_the_one_table_alone(deployed, function):
    table, _ = deployed.only("DynamoDB::Table")
    for statement in deployed.allowed_to(f"{function}Role"):
        if any(action.startswith("dynamodb:") for action in statement.actions):
            assert statement.resources == (f"<{table}.Arn>",)


@pytest.mark.parametrize("function", ["StartRun", "CloseRun", "Reconcile"])
def test_runs_of_this_state_machine_are_all_that_a_function_starts(variant, function):
    machine, _ = variant.only("StepFunctions::StateMachine")
    assert resources_of("states:StartExecution", variant.allowed_to(f"{function}Role")) == {f"<{machine}>"}


@pytest.mark.parametrize("function", ["PlanRun", "DecideNextStep", "StartRun", "CloseRun", "Reconcile"])
def test_runs_look_only_at_the_executions_of_their_own_state_machine(variant, function):
    """An execution's ARN has the machine's name where the machine's own has `stateMachine`."""
    found = resources_of("states:DescribeExecution", variant.allowed_to(f"{function}Role"))
    assert {short(resource) for resource in found} == {EXECUTIONS}


@pytest.mark.parametrize("function", sorted(WAKING))
def test_a_wake_up_hangs_on_nothing_that_aws_does_not_document(variant, function):
    """By AWS's lists SendTaskSuccess knows no resource; the state machine's ARN may stop to work."""
    woken = resources_of("states:SendTaskSuccess", variant.allowed_to(f"{function}Role"))
    assert woken == {"*"}


def test_only_what_wakes_runs_may_return_task_tokens(variant):
    waking = {role for s in variant.statements if "states:SendTaskSuccess" in s.actions for role in s.roles}
    assert waking == {variant.only("IAM::Role", f"Functions{name}Role")[0] for name in WAKING}


def test_every_event_that_may_be_put_is_of_nightspot_s_own_source(variant):
    """Else a function could pass off an event as SageMaker's, on the bus that all services use."""
    putting = [s for s in variant.statements if "events:PutEvents" in s.actions]
    assert {role for s in putting for role in s.roles} >= {variant.only("IAM::Role", ROLE)[0]}
    for statement in putting:
        assert statement.actions == {"events:PutEvents"}
        assert statement.resources == (BUS,)
        # One request has several events: all of them count, and none at all is no event of ours.
        assert statement.conditions == {
            "ForAllValues:StringEquals": {"events:source": SOURCE},
            "Null": {"events:source": "false"},
        }


def test_only_the_messenger_publishes_and_only_on_this_stack_s_topics(deployed, chatting):
    for synthesised in (deployed, chatting):
        publishing = [s for s in synthesised.statements if "sns:Publish" in s.actions]
        role, _ = synthesised.only("IAM::Role", "NotifyRole")
        assert {name for statement in publishing for name in statement.roles} == {role}
        topics = {f"<{name}>" for name in synthesised.of_type("SNS::Topic")}
        assert resources_of("sns:Publish", publishing) == topics


def test_quotas_are_listed_only_by_the_plan_and_only_where_the_deployment_says_so(deployed, checking_quotas):
    quotas = {"servicequotas:ListServiceQuotas", "servicequotas:ListAWSDefaultServiceQuotas"}
    plan, _ = checking_quotas.only("IAM::Role", "PlanRunRole")
    assert quotas <= actions(checking_quotas.allowed_to("PlanRunRole"))
    assert {role for s in checking_quotas.statements if s.actions & quotas for role in s.roles} == {plan}
    assert not quotas & actions(deployed.statements)


def test_prices_are_asked_by_one_function_alone_and_only_where_the_deployment_says_so(deployed, by_the_book):
    asking, _ = deployed.only("IAM::Role", "AskPricesRole")
    assert {role for s in deployed.statements if s.actions & PRICES for role in s.roles} == {asking}
    for action in PRICES:
        assert resources_of(action, deployed.allowed_to("AskPricesRole")) == {"*"}
    assert not PRICES & actions(by_the_book.statements)
    assert not [name for name in by_the_book.of_type("Lambda::Function") if "AskPrices" in name]


def test_a_run_may_do_what_its_workflow_says_and_no_more(deployed):
    statements = deployed.allowed_to(ROLE)
    assert actions(statements) - KNOWS_NO_RESOURCE == {
        "dynamodb:UpdateItem",
        "events:PutEvents",
        "iam:PassRole",
        "lambda:InvokeFunction",
        "sagemaker:AddTags",
        "sagemaker:CreateTrainingJob",
        "sagemaker:StopTrainingJob",
    }
    assert resources_of("events:PutEvents", statements) == {BUS}
    table, _ = deployed.only("DynamoDB::Table")
    assert resources_of("dynamodb:UpdateItem", statements) == {f"<{table}.Arn>"}


def test_a_run_cannot_delete_anything_but_a_log_delivery(deployed):
    """Log delivery is set up anew at every update of the state machine; AWS asks for it."""
    assert {a for a in actions(deployed.allowed_to(ROLE)) if "Delete" in a} == {"logs:DeleteLogDelivery"}


def test_a_run_cannot_wake_itself(deployed):
    names = resources_of("lambda:InvokeFunction", deployed.allowed_to(ROLE))
    assert len(names) == 4
    assert not [name for name in names if "WakeRun" in name]


def trust(synthesised):
    """(service, the conditions under which it may become the role) by the role's logical id."""
    for name, role in synthesised.of_type("IAM::Role").items():
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        yield name, statement["Principal"]["Service"], statement.get("Condition", {})


def test_a_service_may_become_a_role_for_this_account_alone(variant, as_text):
    """Where AWS does not document that the service names the account, a service that does not is not kept out."""
    account = {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    expected = {
        "lambda.amazonaws.com": {"StringEqualsIfExists": account},
        "sagemaker.amazonaws.com": {"StringEqualsIfExists": account},
        "scheduler.amazonaws.com": {"StringEquals": account},
        "states.amazonaws.com": {"StringEquals": account, "ArnLike": {"aws:SourceArn": MACHINES}},
    }
    found = {name: (service, conditions) for name, service, conditions in trust(variant)}
    assert len(found) >= 5
    for name, (service, conditions) in found.items():
        if "ArnLike" in conditions:
            conditions["ArnLike"] = {key: as_text(value) for key, value in conditions["ArnLike"].items()}
        assert conditions == expected[service], name


def test_only_sagemaker_may_become_the_training_role(deployed):
    assert [service for name, service, _ in trust(deployed) if "DataRole" in name] == [
        "sagemaker.amazonaws.com"
    ]


def test_training_jobs_read_and_write_nightspot_s_buckets_and_only_read_the_user_s_data(in_one_subnet):
    statements = in_one_subnet.allowed_to("DataRole")
    assert {short(r) for r in resources_of("s3:PutObject", statements)} == {
        "<Checkpoints.Arn>/*",
        "<Models.Arn>/*",
    }
    data = "arn:<AWS::Partition>:s3:::our-data"
    assert actions(s for s in statements if f"{data}/*" in s.resources) == {"s3:GetObject"}
    assert {data} <= resources_of("s3:ListBucket", statements)


def test_training_jobs_join_only_the_named_subnets_and_groups(in_one_subnet, deployed):
    joining = resources_of("ec2:CreateNetworkInterface", in_one_subnet.allowed_to("DataRole"))
    assert {resource.rpartition(":")[2] for resource in joining} == {
        "network-interface/*",
        "subnet/subnet-1",
        "security-group/sg-1",
        "security-group/sg-2",
    }
    assert not [a for a in actions(deployed.allowed_to("DataRole")) if a.startswith("ec2:")]


def test_a_schedule_may_call_the_one_function_and_leave_dead_letters(deployed):
    function, _ = deployed.only("Lambda::Function", "StartRun")
    queue, _ = deployed.only("SQS::Queue")
    statements = deployed.allowed_to("SchedulesRole")
    assert actions(statements) == {"lambda:InvokeFunction", "sqs:SendMessage"}
    assert resources_of("lambda:InvokeFunction", statements) == {f"<{function}.Arn>"}
    assert resources_of("sqs:SendMessage", statements) == {f"<{queue}.Arn>"}


def test_only_a_schedule_of_this_account_may_become_the_schedules_role(deployed):
    (statement,) = deployed.only("IAM::Role", "SchedulesRole")[1]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_what_starts_scheduled_runs_starts_those_of_this_state_machine_alone(variant):
    machine, _ = variant.only("StepFunctions::StateMachine")
    statements = variant.allowed_to("StartRunRole")
    assert resources_of("states:StartExecution", statements) == {f"<{machine}>"}


def test_the_user_s_own_role_and_buckets_get_no_policy_of_ours(joined):
    assert not joined.of_type("S3::Bucket")
    assert not joined.of_type("S3::BucketPolicy")
    assert not [name for name in joined.of_type("IAM::Role") if "DataRole" in name]
    writing = resources_of("s3:PutObject", joined.statements)
    assert writing == {"arn:<AWS::Partition>:s3:::our-reports/reports/*"}


def test_the_decision_reads_progress_in_the_user_s_own_bucket(joined):
    statements = joined.allowed_to("DecideNextStepRole")
    assert resources_of("s3:GetObject", statements) == {"arn:<AWS::Partition>:s3:::our-checkpoints/*"}
    assert resources_of("s3:ListBucket", statements) == {"arn:<AWS::Partition>:s3:::our-checkpoints"}


@pytest.mark.parametrize("function", ["RecordOutcome", "CloseRun", "Reconcile"])
def test_the_outcome_writes_reports_and_touches_no_model(deployed, function):
    found = resources_of("s3:PutObject", deployed.allowed_to(f"{function}Role"))
    assert {short(resource) for resource in found} == {"<Reports.Arn>/reports/*"}


def test_the_outcome_may_look_whether_there_is_a_model_and_at_nothing_else_there(deployed):
    allowed = deployed.allowed_to("RecordOutcomeRole")
    assert {short(found) for found in resources_of("s3:GetObject", allowed)} == {
        "<Models.Arn>/*/output/model.tar.gz"
    }
    assert {short(found) for found in resources_of("s3:ListBucket", allowed)} == {"<Models.Arn>"}


def test_reports_lie_where_the_function_may_write(deployed):
    (allowed,) = resources_of("s3:PutObject", deployed.allowed_to("RecordOutcomeRole"))
    assert allowed.endswith(f"/{PREFIX}/*")
