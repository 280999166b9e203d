"""The profile of docs/hardened.md: what is encrypted, who may use the key, where functions run, what packs find.

The profile, the policies and the table of findings are read from the page, so the page is what is tested.
"""

from __future__ import annotations

import fnmatch
import json
import re

import pytest
from aws_cdk import NestedStack, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template

from nightspot.cdk import Settings, SettingsError, TrainingRuns
from nightspot.cdk.bundle import PACKAGE
from nightspot.cdk.network import CHANGES, LOOKS
from nightspot.job.errors import InvalidJobError
from tests.infra.policies import ACCOUNT, REGION, Policies, key_allows
from tests.infra.test_bundle import clients_in
from tests.infra.test_linters import findings as lint_findings

pytestmark = pytest.mark.xdist_group("infra")

KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/nightspot-boundary"
PACKS = {"NIST": "NIST.800.53.R5", "HIPAA": "HIPAA.Security"}
# CDK puts tags beside a resource's own properties under other names for these.
OTHER_TAGS = {"AWS::Backup::BackupVault": "BackupVaultTags", "AWS::Backup::BackupPlan": "BackupPlanTags"}


@pytest.fixture(scope="module")
def stack(hardened):
    return hardened.synthesised


@pytest.fixture(scope="module")
def policies(stack, documented):
    beside = {BOUNDARY: documented("NightspotRolesAtMost"), KEY: documented("IamDecides")}
    return Policies(stack.template, beside)


@pytest.fixture(scope="module")
def page(pytestconfig):
    return (pytestconfig.rootpath / "docs" / "hardened.md").read_text(encoding="utf-8")


def table_of(page, heading):
    """The cells of the rows of the first table below the heading."""
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    _, _, *rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


# What of each type holds data, and where its key stands.
ENCRYPTED = {
    "DynamoDB::Table": lambda p: p["SSESpecification"]["KMSMasterKeyId"],
    "S3::Bucket": lambda p: p["BucketEncryption"]["ServerSideEncryptionConfiguration"][0][
        "ServerSideEncryptionByDefault"
    ]["KMSMasterKeyID"],
    "SNS::Topic": lambda p: p["KmsMasterKeyId"],
    "SQS::Queue": lambda p: p["KmsMasterKeyId"],
    "Logs::LogGroup": lambda p: p["KmsKeyId"],
    "Lambda::Function": lambda p: p["KmsKeyArn"],
    "Backup::BackupVault": lambda p: p["EncryptionKeyArn"],
}


@pytest.mark.parametrize("kind", ENCRYPTED)
def test_all_that_keeps_data_is_encrypted_with_the_one_key(stack, kind):
    keys = [ENCRYPTED[kind](properties) for properties in stack.of_type(kind).values()]
    assert keys
    assert set(keys) == {KEY}


def test_buckets_ask_the_key_for_all_their_objects_at_once(stack):
    for bucket in stack.of_type("S3::Bucket").values():
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
        assert rule["BucketKeyEnabled"] is True


def test_the_plan_names_the_key_for_models_in_the_stack_s_own_bucket_alone(stack, synthesise):
    _, plan = stack.only("Lambda::Function", "PlanRun")
    assert plan["Environment"]["Variables"]["NIGHTSPOT_OUTPUT_KEY_ARN"] == KEY
    settings = Settings(kms_key_arn=KEY, model_bucket_name="our-models", api=False)
    _, plan = synthesise(settings, jobs={}).only("Lambda::Function", "PlanRun")
    assert "NIGHTSPOT_OUTPUT_KEY_ARN" not in plan["Environment"]["Variables"]


def test_without_a_key_of_the_user_s_no_role_may_use_any(deployed):
    assert not [s for s in deployed.statements if any(a.startswith("kms:") for a in s.actions)]


def test_every_use_of_the_key_goes_through_the_one_service_that_needs_it(stack, policies):
    """AWS Backup's role apart, whose grants AWS's own policy for it does not limit either."""
    users = {role for s in stack.statements for role in s.roles if s.resources == (KEY,)}
    assert len(users) >= 12
    for statement in stack.statements:
        if statement.resources != (KEY,) or "Backup" in statement.roles[0]:
            continue
        (service,) = [statement.conditions["StringEquals"]["kms:ViaService"]]
        assert re.match(r"(dynamodb|s3|sns|sqs)\.", policies.resolved(service))


def users_of(stack, prefix):
    """The roles that are allowed an action that begins so, but for the one of AWS Backup."""
    return {
        role
        for s in stack.statements
        for role in s.roles
        if any(action.startswith(prefix) for action in s.actions) and "Backup" not in role
    }


@pytest.mark.parametrize(
    ("action", "service"),
    [("dynamodb:", "dynamodb"), ("sns:Publish", "sns"), ("sqs:SendMessage", "sqs"), ("s3:GetObject", "s3")],
)
def test_who_uses_what_is_encrypted_may_use_the_key_through_it(stack, policies, action, service):
    """Whatever function comes next: it cannot be given the table and not the table's key."""
    users = users_of(stack, action)
    assert users
    via = {"kms__ViaService": f"{service}.{REGION}.amazonaws.com"}
    assert {role for role in users if not policies.allows(role, "kms:Decrypt", KEY, **via)} == set()
    others = {role for role in stack.of_type("IAM::Role") if "Backup" not in role} - users
    assert {role for role in others if policies.allows(role, "kms:Decrypt", KEY, **via)} - users_of(
        stack, "s3:"
    ) == set()


class KeyPolicy:
    """The key's policy on the page, asked about services and roles."""

    def __init__(self, document):
        self._document = document

    def lets(self, principal, *actions, **context):
        return all(key_allows(self._document, principal, f"kms:{action}", **context) for action in actions)


@pytest.fixture(scope="module")
def key_policy(documented):
    return KeyPolicy(documented("IamDecides"))


def group_arn(stack, policies, name):
    """Its name as CloudFormation makes it, where the template gives none."""
    given = stack.of_type("Logs::LogGroup")[name].get("LogGroupName")
    start = "".join(p if isinstance(p, str) else "1a2b3c4d" for p in given["Fn::Join"][1]) if given else None
    return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{start or f'Nightspot-prod-{name}-AbCdEf'}"


def test_the_key_s_policy_lets_cloudwatch_logs_encrypt_each_log_group_and_no_other(
    stack, policies, key_policy
):
    logs = f"logs.{REGION}.amazonaws.com"
    # DescribeKey as well is in AWS's own example of this policy, though it carries no such context.
    uses = ("Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey")
    groups = [group_arn(stack, policies, name) for name in stack.of_type("Logs::LogGroup")]
    assert len(groups) == 13
    for arn in groups:
        assert key_policy.lets(logs, *uses, **{"kms:EncryptionContext:aws:logs:arn": arn}), arn
    theirs = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:payroll"
    for context in ({}, {"kms:EncryptionContext:aws:logs:arn": theirs}):
        assert not key_policy.lets(logs, "Decrypt", **context)
    foreign = groups[0].replace(ACCOUNT, "999999999999")
    assert not key_policy.lets(logs, "Decrypt", **{"kms:EncryptionContext:aws:logs:arn": foreign})


def test_the_key_s_policy_lets_in_the_services_that_send_without_a_role(stack, key_policy):
    topics = {name for name, topic in stack.of_type("SNS::Topic").items() if "KmsMasterKeyId" in topic}
    rung = [a["Ref"] for alarm in stack.of_type("CloudWatch::Alarm").values() for a in alarm["AlarmActions"]]
    assert rung
    assert set(rung) <= topics
    assert key_policy.lets("cloudwatch.amazonaws.com", "Decrypt", "GenerateDataKey")
    letters = [
        target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0]
        for rule in stack.of_type("Events::Rule").values()
        for target in rule["Targets"]
    ]
    assert letters
    assert set(letters) <= {
        n for n, queue in stack.of_type("SQS::Queue").items() if "KmsMasterKeyId" in queue
    }
    assert key_policy.lets("events.amazonaws.com", "Decrypt", "GenerateDataKey")
    for service in ("cloudwatch", "events"):
        assert not key_policy.lets(f"{service}.amazonaws.com", "Encrypt")
        assert not key_policy.lets(f"{service}.amazonaws.com", "CreateGrant")


@pytest.mark.parametrize(
    "principal",
    ["lambda.amazonaws.com", "sagemaker.amazonaws.com", "logs.us-east-1.amazonaws.com", "iam::999999999999"],
)
def test_the_key_s_policy_lets_nobody_else_in(key_policy, principal):
    asking = principal if "amazonaws" in principal else f"arn:aws:{principal}:role/theirs"
    arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:Nightspot-prod-x"
    for action in ("Decrypt", "GenerateDataKey", "CreateGrant"):
        assert not key_policy.lets(asking, action, **{"kms:EncryptionContext:aws:logs:arn": arn})


def test_the_key_s_policy_leaves_the_stack_s_roles_to_iam(stack, policies, key_policy):
    for role in stack.of_type("IAM::Role"):
        assert key_policy.lets(policies.arn("IAM::Role", role), "Decrypt", "GenerateDataKey")


def test_every_role_has_the_boundary_and_no_other(stack, deployed):
    assert {role.get("PermissionsBoundary") for role in stack.of_type("IAM::Role").values()} == {BOUNDARY}
    assert not [role for role in deployed.of_type("IAM::Role").values() if "PermissionsBoundary" in role]


def test_the_boundary_on_the_page_allows_what_roles_use_and_nothing_else(
    stack, checking_quotas, deployed, documented
):
    (statement,) = documented("NightspotRolesAtMost")["Statement"]
    used = {
        action
        for synthesised in (stack, checking_quotas, deployed)
        for each in synthesised.statements
        for action in each.actions
    }
    # The pipelines' role, which the profile has not.
    used.add("execute-api:Invoke")
    # Of a denial: it allows nothing.
    used -= {"ec2:DetachNetworkInterface"}
    assert set(statement["Action"]) == used
    assert statement["Action"] == sorted(statement["Action"])


def test_the_boundary_is_on_the_roles_of_cdk_and_of_pipelines_as_well(synthesise):
    settings = Settings(
        permissions_boundary_arn=BOUNDARY, keep_data=False, github_repository="our-company/our-training"
    )
    roles = synthesise(settings, jobs={}).of_type("IAM::Role")
    assert [name for name in roles if "CustomS3AutoDelete" in name]
    assert [name for name in roles if "Pipelines" in name]
    assert {role.get("PermissionsBoundary") for role in roles.values()} == {BOUNDARY}
    of_pipelines = next(role for name, role in roles.items() if "Pipelines" in name)
    assert {"Key": "nightspot:environment", "Value": "main"} in of_pipelines["Tags"]


def test_in_an_app_of_the_user_s_boundary_and_tags_stay_within_the_construct(bundle):
    """And reach the nested stacks in it."""
    stack = Stack()
    settings = Settings(permissions_boundary_arn=BOUNDARY, tags=("cost-center=4711",))
    runs = TrainingRuns(stack, "Training", jobs={}, bundle=bundle, settings=settings)
    iam.Role(stack, "Theirs", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    nested = NestedStack(runs, "More")
    iam.Role(nested, "Ours", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    roles = Template.from_stack(stack).find_resources("AWS::IAM::Role")
    theirs = roles.pop(next(name for name in roles if name.startswith("Theirs")))
    assert {"PermissionsBoundary", "Tags"} & theirs["Properties"].keys() == set()
    assert {role["Properties"]["PermissionsBoundary"] for role in roles.values()} == {BOUNDARY}
    (ours,) = Template.from_stack(nested).find_resources("AWS::IAM::Role").values()
    assert ours["Properties"]["PermissionsBoundary"] == BOUNDARY
    assert {"Key": "cost-center", "Value": "4711"} in ours["Properties"]["Tags"]


def test_the_tags_are_on_everything_that_takes_tags(stack, deployed):
    """By the same stack without them: what has Nightspot's own tag there has the user's here."""
    wanted = {"cost-center": "4711", "data-class": "confidential", "nightspot:environment": "prod"}
    seen = 0
    for name, resource in stack.template["Resources"].items():
        properties = resource.get("Properties", {})
        tags = properties.get(OTHER_TAGS.get(resource["Type"], "Tags"))
        if tags is None:
            continue
        found = tags if isinstance(tags, dict) else {tag["Key"]: tag["Value"] for tag in tags}
        assert found.items() >= wanted.items(), name
        seen += 1
    tagged = [r for r in deployed.template["Resources"].values() if "Tags" in r.get("Properties", {})]
    assert seen >= len(tagged) > 40


def test_the_tags_reach_the_training_jobs(stack):
    _, plan = stack.only("Lambda::Function", "PlanRun")
    assert json.loads(plan["Environment"]["Variables"]["NIGHTSPOT_TAGS"]) == {
        "cost-center": "4711",
        "data-class": "confidential",
    }


def test_a_job_with_no_room_for_the_tags_is_refused(synthesise, jobs):
    tags = [{"Key": f"tag-{n}", "Value": "x"} for n in range(45)]
    job = jobs["by-hand"]
    full = job.model_copy(update={"training_job": {**job.training_job, "Tags": tags}})
    with pytest.raises(InvalidJobError) as caught:
        synthesise(Settings(tags=("a=1",)), jobs={"by-hand": full})
    rule = "must be at most 44: nightspot:tags adds 1, and Nightspot up to 5"
    assert str(caught.value) == f"by-hand: training_job.Tags: 45: {rule}"


def test_a_key_of_another_region_is_refused_where_the_region_is_known(synthesise, monkeypatch):
    monkeypatch.setenv("CDK_DEFAULT_REGION", "us-east-1")
    with pytest.raises(SettingsError) as caught:
        synthesise(Settings(kms_key_arn=KEY), jobs={})
    assert str(caught.value) == (
        f"nightspot:kms_key_arn: '{KEY}' must be a key of us-east-1, where the stack is"
    )


def test_every_function_is_in_the_vpc(stack):
    wanted = {
        "SubnetIds": ["subnet-0aaaaaaaaaaaaaaa1", "subnet-0aaaaaaaaaaaaaaa2"],
        "SecurityGroupIds": ["sg-0aaaaaaaaaaaaaaa2"],
    }
    functions = stack.of_type("Lambda::Function")
    assert len(functions) == 11
    assert {name for name, function in functions.items() if function.get("VpcConfig") != wanted} == set()


def test_lambda_may_make_interfaces_for_a_function_and_the_function_s_code_may_not(stack, policies):
    interface = f"arn:aws:ec2:{REGION}:{ACCOUNT}:network-interface/eni-1"
    shared = f"arn:aws:ec2:{REGION}:999999999999:subnet/subnet-0aaaaaaaaaaaaaaa1"
    for name in stack.of_type("Lambda::Function"):
        (role,) = [
            f["Role"]["Fn::GetAtt"][0] for n, f in stack.of_type("Lambda::Function").items() if n == name
        ]
        own = {"lambda__SourceFunctionArn": policies.arn("Lambda::Function", name)}
        for action in CHANGES:
            assert policies.allows(role, action, interface)
            assert not policies.allows(role, action, interface, **own)
        for action in LOOKS:
            assert policies.allows(role, action)
            assert not policies.allows(role, action, **own)
        assert policies.allows(role, "ec2:CreateNetworkInterface", shared)
        assert not policies.allows(role, "ec2:CreateNetworkInterface", shared.replace("aaa1", "aaa9"))
        assert not policies.allows(role, "ec2:RunInstances", interface)


def test_a_function_is_made_after_the_policy_that_lambda_checks(stack):
    for name in stack.of_type("Lambda::Function"):
        made_after = stack.template["Resources"][name]["DependsOn"]
        assert [other for other in made_after if "DefaultPolicy" in other]
        assert not [other for other in made_after if "NoNetworkInterfaces" in other]


def test_the_page_has_an_endpoint_for_every_client_that_functions_make(page):
    rows = table_of(page, "Functions in a VPC")
    listed = {client for row in rows for client in re.findall(r"`([\w-]+)`", row[0])}
    made, _ = clients_in(PACKAGE)
    assert listed == made


ENDPOINTS = {
    "dynamodb": ec2.GatewayVpcEndpointAwsService.DYNAMODB,
    "s3": ec2.GatewayVpcEndpointAwsService.S3,
    "sagemaker": ec2.InterfaceVpcEndpointAwsService.SAGEMAKER_API,
    "stepfunctions": ec2.InterfaceVpcEndpointAwsService.STEP_FUNCTIONS,
    "events": ec2.InterfaceVpcEndpointAwsService.EVENTBRIDGE,
    "sns": ec2.InterfaceVpcEndpointAwsService.SNS,
    "ec2": ec2.InterfaceVpcEndpointAwsService.EC2,
}


@pytest.mark.parametrize("client", ENDPOINTS)
def test_an_endpoint_is_named_as_cdk_names_it(page, client):
    """CDK knows none for Service Quotas, prices and Savings Plans."""
    service = ENDPOINTS[client]
    (row,) = (row for row in table_of(page, "Functions in a VPC") if row[0] == f"`{client}`")
    parts = Stack().resolve(service.name)["Fn::Join"][1]
    name = "".join(part if isinstance(part, str) else "REGION" for part in parts)
    kind = "gateway" if isinstance(service, ec2.GatewayVpcEndpointAwsService) else "interface"
    assert row[1:3] == [f"`{name}`", kind]


def test_the_log_bucket_s_policy_lets_s3_write_where_the_buckets_log_and_nowhere_else(stack, documented):
    (statement,) = documented("NightspotAccessLogs")["Statement"]
    assert statement["Principal"] == {"Service": "logging.s3.amazonaws.com"}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    pattern = statement["Resource"]
    places = [bucket["LoggingConfiguration"] for bucket in stack.of_type("S3::Bucket").values()]
    assert len({place["LogFilePrefix"] for place in places}) == 3
    for place in places:
        arn = f"arn:aws:s3:::{place['DestinationBucketName']}/{place['LogFilePrefix']}2026-11-30-x"
        assert fnmatch.fnmatchcase(arn, pattern)
    assert not fnmatch.fnmatchcase("arn:aws:s3:::our-access-logs/payroll/x", pattern)


def test_the_table_is_copied_each_day_and_each_copy_kept_for_the_days(stack):
    _, plan = stack.only("Backup::BackupPlan")
    (rule,) = plan["BackupPlan"]["BackupPlanRule"]
    assert rule["ScheduleExpression"] == "cron(20 17 * * ? *)"
    assert rule["Lifecycle"] == {"DeleteAfterDays": 35}
    _, selection = stack.only("Backup::BackupSelection")
    table, _ = stack.only("DynamoDB::Table")
    assert selection["BackupSelection"]["Resources"] == [{"Fn::GetAtt": [table, "Arn"]}]


def test_the_role_of_backups_copies_this_table_and_restores_nothing(stack, policies):
    table = policies.arn("DynamoDB::Table", "")
    through_dynamodb = {"kms__ViaService": f"dynamodb.{REGION}.amazonaws.com"}
    vault = policies.resolved({"Fn::GetAtt": [stack.only("Backup::BackupVault")[0], "BackupVaultArn"]})
    for action in ("StartAwsBackupJob", "CreateBackup", "DescribeTable", "ListTagsOfResource"):
        assert policies.allows("BackupRole", f"dynamodb:{action}", table)
        assert not policies.allows("BackupRole", f"dynamodb:{action}", f"{table}-payroll")
    assert policies.allows("BackupRole", "dynamodb:DeleteBackup", f"{table}/backup/1")
    assert policies.allows("BackupRole", "backup:CopyIntoBackupVault", vault)
    assert policies.allows("BackupRole", "kms:GenerateDataKey", KEY, **through_dynamodb)
    assert policies.allows("BackupRole", "kms:CreateGrant", KEY, kms__GrantIsForAWSResource="true")
    for action, resource in (
        ("dynamodb:RestoreTableFromAwsBackup", table),
        ("dynamodb:GetItem", table),
        ("dynamodb:DeleteTable", table),
        ("backup:DeleteRecoveryPoint", vault),
        ("kms:CreateGrant", KEY),
        ("kms:Decrypt", KEY),
    ):
        assert not policies.allows("BackupRole", action, resource), action


def test_the_vault_is_kept_as_the_data_is(stack, deployed):
    name, _ = stack.only("Backup::BackupVault")
    assert stack.template["Resources"][name]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert not deployed.of_type("Backup::BackupVault")


def accepted(page):
    """(rule of a pack, pattern of paths) by row."""
    for rule, packs, places, reason in table_of(page, "What the packs still find"):
        assert len(reason) > 40, rule
        for pack in packs.split(", "):
            for place in places.split(", "):
                name = PACKS[pack]
                yield f"{name}-{rule.strip('`')}", place.strip("`")


def test_every_finding_of_the_packs_stands_on_the_page_with_its_reason(hardened, page):
    rows = list(accepted(page))
    assert len(hardened.findings) > 50
    unexplained = {
        (rule, path)
        for rule, path in hardened.findings
        if sum(rule == known and fnmatch.fnmatchcase(path, pattern) for known, pattern in rows) != 1
    }
    assert unexplained == set()


def test_every_row_of_the_page_is_a_finding_still(hardened, page):
    gone = [
        (known, pattern)
        for known, pattern in accepted(page)
        if not any(rule == known and fnmatch.fnmatchcase(path, pattern) for rule, path in hardened.findings)
    ]
    assert gone == []


def test_aws_solutions_leaves_nothing_open(hardened):
    assert not [rule for rule, _ in hardened.findings if rule.startswith("AwsSolutions")]


@pytest.mark.long
def test_cfn_lint_finds_nothing_in_the_hardened_template(stack):
    assert lint_findings(stack.template) == []
