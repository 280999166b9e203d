"""Every call of a function, of the workflow and of training, held against the policies.

For jobs with things of their own (role, bucket, key), for two teams, for buckets and a role that the settings name.
"""

from __future__ import annotations

import json

import pytest

from nightspot.aws.runs.checkpoints import PROGRESS_FILE
from nightspot.cdk import Settings, SettingsError
from nightspot.job.code_version import CodeVersion
from nightspot.job.errors import InvalidJobError
from nightspot.job.model import dig
from nightspot.job.reading import parse_job
from nightspot.job.request_shape import fill
from nightspot.plan.planning import checkpoint_prefix
from tests.infra.policies import ACCOUNT, REGION, Policies, call, verdicts

pytestmark = pytest.mark.xdist_group("infra")

SAGEMAKER = {"iam__PassedToService": "sagemaker.amazonaws.com"}
BY_S3 = {"kms__ViaService": f"s3.{REGION}.amazonaws.com"}
KEY = "arn:aws:kms:eu-west-1:123456789012:key/11111111-aaaa-bbbb-cccc-000000000001"
BUCKET_KEY = "arn:aws:kms:eu-west-1:123456789012:key/22222222-aaaa-bbbb-cccc-000000000002"
VOLUME_KEY_ID = "33333333-aaaa-bbbb-cccc-000000000003"
VOLUME_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{VOLUME_KEY_ID}"
FOREIGN_KEY = "arn:aws:kms:eu-west-1:123456789012:key/44444444-aaaa-bbbb-cccc-000000000004"
FOREIGN_JOB = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/payroll-forecast-1"
FOREIGN_MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:payroll"
FOREIGN_ROLE = f"arn:aws:iam::{ACCOUNT}:role/administrator"
SECRET = "arn:aws:s3:::payroll/salaries.csv"
RUN_ID = "20261121-abc123"
VERSION = CodeVersion("d" * 64, "train.py")
PRICE_ACTIONS = (
    "pricing:GetProducts",
    "savingsplans:DescribeSavingsPlans",
    "savingsplans:DescribeSavingsPlanRates",
    "ce:GetSavingsPlansUtilization",
    "ec2:DescribeSpotPriceHistory",
)
READ_PROGRESS = ("PlanRun", "DecideNextStep", "CloseRun", "Reconcile")
READ_MODELS = ("RecordOutcome", "CloseRun", "Reconcile")


def job(name, **parts):
    """A job; `parts`: what is given instead in its request."""
    key = f"\n    KmsKeyId: {parts['key']}" if "key" in parts else ""
    volume = f"\n    VolumeKmsKeyId: {parts['volume']}" if "volume" in parts else ""
    vpc = (
        f"\n  VpcConfig: {{Subnets: [{parts['subnet']}], SecurityGroupIds: [sg-own]}}"
        if "subnet" in parts
        else ""
    )
    channel = (
        f"""
  InputDataConfig:
    - ChannelName: train
      DataSource:
        S3DataSource: {{S3DataType: S3Prefix, S3Uri: "{parts["data"]}", S3DataDistributionType: FullyReplicated}}"""
        if "data" in parts
        else ""
    )
    code = "\ncode: {source_dir: ../training, entry_point: train.py}" if parts.get("has_code") else ""
    return parse_job(f"""
name: {name}{code}
deadline: {{within: 8h}}
work: 4h
capacity: {{spot: [ml.g5.xlarge], on_demand: [ml.g5.xlarge]}}
training_job:
  RoleArn: {parts.get("role", "${TrainingRoleArn}")}
  AlgorithmSpecification: {{TrainingImage: training:latest, TrainingInputMode: File}}{channel}{vpc}
  OutputDataConfig:
    S3OutputPath: "{parts.get("models", "s3://${ModelBucket}/nightly/")}"{key}
  CheckpointConfig: {{S3Uri: "{parts.get("checkpoints", "s3://${CheckpointBucket}/nightly/")}"}}
  ResourceConfig:
    InstanceCount: 1
    VolumeSizeInGB: 50{volume}
  StoppingCondition: {{MaxRuntimeInSeconds: 21600}}
""")


CASES = {
    "nothing of their own": ([job("plain")], Settings()),
    "their own role": ([job("owned", role="arn:aws:iam::${AWS::AccountId}:role/teams/ours")], Settings()),
    "their own buckets": (
        [
            job(
                "bucketed",
                checkpoints="s3://our-checkpoints-${AWS::AccountId}/search/nightly/",
                models="s3://our-models/search",
                data="s3://our-data/clicks/2026/",
            )
        ],
        Settings(),
    ),
    "a bucket without a prefix for models": ([job("topmost", models="s3://our-models")], Settings()),
    "checkpoints beside the models": ([job("beside", checkpoints="s3://${ModelBucket}/saved/")], Settings()),
    "their own keys": (
        [job("keyed", key=KEY, volume=VOLUME_KEY_ID, checkpoints="s3://our-checkpoints/nightly/")],
        Settings(kms_key_arns=(BUCKET_KEY,)),
    ),
    "two teams": (
        [
            job(
                "ads",
                role=f"arn:aws:iam::{ACCOUNT}:role/ads",
                checkpoints="s3://teams/ads/",
                models="s3://teams-models/ads/",
                key=KEY,
            ),
            job(
                "search",
                role=f"arn:aws:iam::{ACCOUNT}:role/search",
                checkpoints="s3://teams/search/",
                models="s3://teams-models/search/",
            ),
        ],
        Settings(),
    ),
    "teams with roles that the stack makes": (
        [
            job(
                "search",
                role="${TrainingRoleArn.search}",
                checkpoints="s3://${CheckpointBucket}/search/",
                models="s3://${ModelBucket}/search/",
                data="s3://our-data/search/",
                has_code=True,
            ),
            job(
                "ads",
                role="${TrainingRoleArn.ads-ranking}",
                checkpoints="s3://${CheckpointBucket}/ads/",
                models="s3://models-of-ads/",
                key=KEY,
                volume=VOLUME_KEY_ID,
                has_code=True,
            ),
            job("plain", has_code=True),
        ],
        Settings(data_bucket_names=("read-by-all",)),
    ),
    "teams with roles of the settings": (
        [
            job(
                "search",
                role="${TrainingRoleArn.search}",
                checkpoints="s3://${CheckpointBucket}/search/",
                models="s3://${ModelBucket}/search/",
            )
        ],
        Settings(training_roles=(f"search=arn:aws:iam::{ACCOUNT}:role/search-training",)),
    ),
    "more teams than a role's own policies have room for": (
        [
            job(
                f"team-{n}",
                role=f"arn:aws:iam::{ACCOUNT}:role/teams/training-of-team-{n}",
                checkpoints=f"s3://checkpoints-of-team-{n}/nightly/",
                models=f"s3://models-of-team-{n}/nightly/",
            )
            for n in range(30)
        ],
        Settings(),
    ),
    "buckets and a role of the settings": (
        [job("joined", checkpoints="s3://our-checkpoints/nightly/", has_code=True)],
        Settings(
            checkpoint_bucket_name="our-checkpoints",
            model_bucket_name="our-models",
            report_bucket_name="our-reports",
            training_role_arn=f"arn:aws:iam::{ACCOUNT}:role/our-training",
            kms_key_arns=(BUCKET_KEY,),
        ),
    ),
}


# With everything that a setting can ask for, below a permissions boundary.
HARDENED = "the hardened profile"


class Deployed:
    """A case: its policies, and what its jobs' requests say with the placeholders filled in."""

    def __init__(self, template, jobs, settings, beside=None):
        self.jobs = {each.name: each for each in jobs}
        self.settings = settings
        self.policies = Policies(template, beside)
        self.outputs = template["Outputs"]
        output = {
            name: self.policies.resolved(value["Value"])
            for name, value in self.outputs.items()
            if "Join" not in str(value)
        }
        self.role_arn = output["TrainingRoleArn"]
        self.model_bucket = output["ModelBucket"]
        self.report_bucket = output["ReportBucket"]
        self.buckets = {key: output[key] for key in ("CheckpointBucket", "ModelBucket", "ReportBucket")}
        names = {
            "CheckpointBucket": output["CheckpointBucket"],
            "ModelBucket": output["ModelBucket"],
            "TrainingRoleArn": self.role_arn,
            "AWS::AccountId": ACCOUNT,
            "AWS::Region": REGION,
        }
        plan = template["Resources"][self.policies.the("Lambda::Function", "PlanRun")]["Properties"]
        teams = json.loads(
            self.policies.resolved(plan["Environment"]["Variables"].get("NIGHTSPOT_TRAINING_ROLE_ARNS", "{}"))
        )
        names |= {f"TrainingRoleArn.{team}": arn for team, arn in teams.items()}
        # By ARN: the roles that the stack makes for training, as the template names them.
        self.made = {
            self.policies.arn("IAM::Role", part): part
            for part in ("DataRole", *(f"DataTeams{team.replace('-', '')}" for team in teams))
            if any(
                part in name
                for name, each in template["Resources"].items()
                if each["Type"] == "AWS::IAM::Role"
            )
        }
        # Of very many teams every third: a call under so long a policy takes milliseconds.
        self.requests = [fill(each.training_job, names) for each in jobs[:: max(1, len(jobs) // 10)]]
        # The workflow itself, in executions of before there was StartTrainingJob.
        older = [] if settings.environment else ["WorkflowRole"]
        self.starting = ["StartTrainingJobRole", *older]
        pattern = next(
            statement["Resource"][0]
            for statement in self.policies.statements("StartTrainingJobRole")
            if "sagemaker:CreateTrainingJob" in statement["Action"]
        )
        self.training_job = pattern.replace("*", f"plain-{RUN_ID}-1")
        self.job_name = self.training_job.rpartition("/")[2]


@pytest.fixture(scope="module")
def cases(synthesise, hardened, jobs, documented):
    beside = {
        hardened.settings.permissions_boundary_arn: documented("NightspotRolesAtMost"),
        hardened.settings.kms_key_arn: documented("IamDecides"),
    }
    known = {
        HARDENED: Deployed(hardened.synthesised.template, [*jobs.values()], hardened.settings, beside),
    }

    def get(name):
        if name not in known:
            jobs, settings = CASES[name]
            template = synthesise(settings, jobs={each.name: each for each in jobs}).template
            known[name] = Deployed(template, jobs, settings)
        return known[name]

    return get


def needed(deployed):
    """What runs of these jobs ask AWS for (review of every boto3 call of nightspot.lambdas and nightspot.aws)."""
    policies, own_job = deployed.policies, deployed.training_job
    table = policies.arn("DynamoDB::Table", "")
    machine = policies.ref("StepFunctions::StateMachine", "")
    execution = machine.replace(":stateMachine:", ":execution:") + ":one"
    bus = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"
    tables = {
        "PlanRun": "PutItem GetItem UpdateItem DeleteItem Query",
        "DecideNextStep": "PutItem GetItem UpdateItem",
        "RecordOutcome": "PutItem UpdateItem DeleteItem Query",
        "CloseRun": "PutItem GetItem UpdateItem DeleteItem Query",
        "Reconcile": "PutItem GetItem UpdateItem DeleteItem Query",
        "WakeRun": "GetItem UpdateItem",
        "StartRun": "UpdateItem",
        "Notify": "UpdateItem DeleteItem",
        "AskPrices": "PutItem Query",
        "ApiRole": "GetItem PutItem Query",
        "Workflow": "UpdateItem",
    }
    for role, operations in tables.items():
        for operation in operations.split():
            yield call(
                f"Functions{role}" if role == "ApiRole" else f"{role}Role", f"dynamodb:{operation}", table
            )
    for function in ("PlanRun", "DecideNextStep", "StartTrainingJob", "RecordOutcome"):
        yield call(
            "WorkflowRole", "lambda:InvokeFunction", policies.arn("Lambda::Function", f"Functions{function}")
        )
    yield call("WorkflowRole", "sagemaker:StopTrainingJob", own_job)
    for role in deployed.starting:
        for action in ("CreateTrainingJob", "AddTags"):
            yield call(role, f"sagemaker:{action}", own_job)
    yield call("WorkflowRole", "events:PutEvents", bus, events__source="nightspot")
    for function in READ_PROGRESS:
        role = f"{function}Role"
        yield call(role, "sagemaker:DescribeTrainingJob", own_job)
        yield call(role, "sagemaker:StopTrainingJob", own_job)
        yield call(role, "states:DescribeExecution", execution)
        yield call(role, "events:PutEvents", bus, events__source="nightspot")
    for function in ("CloseRun", "Reconcile", "StartRun", "ApiRole"):
        role = "FunctionsApiRole" if function == "ApiRole" else f"{function}Role"
        yield call(role, "states:StartExecution", machine)
    yield call("NotifyRole", "sns:Publish", policies.ref("SNS::Topic", ""))
    yield call("ReconcileRole", "sagemaker:ListTrainingJobs")
    if deployed.settings.live_prices:
        for action in PRICE_ACTIONS:
            yield call("AskPricesRole", action)
    yield from of_pages(deployed)
    yield from of_code(deployed)
    if deployed.settings.kms_key_arn:
        yield from of_the_stack_s_key(deployed.settings.kms_key_arn, tables)
    for request in deployed.requests:
        for role in deployed.starting:
            yield call(role, "iam:PassRole", request["RoleArn"], **SAGEMAKER)
        yield from of_a_request(deployed, request)


def of_pages(deployed):
    """What keeping the page of a run, or a training job's cassette, asks for."""
    pages = f"arn:aws:s3:::{deployed.report_bucket}/reports"
    yield call("CloseRunRole", "s3:PutObject", f"{pages}/cassettes/{RUN_ID}-1.json")
    for role in READ_MODELS:
        yield call(f"{role}Role", "s3:PutObject", f"{pages}/{RUN_ID}.html")
        for key in deployed.settings.bucket_keys:
            yield call(f"{role}Role", "kms:GenerateDataKey", key, **BY_S3)


def of_code(deployed):
    """What looking for a job's archive, storing it, and fetching it in a training container ask for."""
    for request, job in zip(deployed.requests, deployed.jobs.values(), strict=False):
        if job.code is None:
            continue
        bucket, archive = f"arn:aws:s3:::{deployed.report_bucket}", VERSION.key(job.name)
        yield call("PlanRunRole", "s3:ListBucket", bucket, s3__prefix=archive)
        yield call("PlanRunRole", "s3:PutObject", f"{bucket}/{archive}")
        made = deployed.made.get(request["RoleArn"])
        if made is not None:
            yield call(made, "s3:GetObject", f"{bucket}/{archive}")
        for key in deployed.settings.bucket_keys:
            yield call("PlanRunRole", "kms:GenerateDataKey", key, **BY_S3)
            if made is not None:
                yield call(made, "kms:Decrypt", key, **BY_S3)


def through(service):
    return {"kms__ViaService": f"{service}.{REGION}.amazonaws.com"}


def of_the_stack_s_key(key, tables):
    """What the table, the topics and the queue ask the key for, in the name of who uses them."""
    for role in tables:
        for action in ("Decrypt", "Encrypt", "GenerateDataKey"):
            name = f"Functions{role}" if role == "ApiRole" else f"{role}Role"
            yield call(name, f"kms:{action}", key, **through("dynamodb"))
    senders = {
        "sns": ["Notify"],
        "sqs": ["AskPrices", "CloseRun", "Notify", "Reconcile", "Schedules", "StartRun", "WakeRun"],
    }
    for service, roles in senders.items():
        for role in roles:
            for action in ("Decrypt", "GenerateDataKey"):
                yield call(f"{role}Role", f"kms:{action}", key, **through(service))


def of_a_request(deployed, request):
    """What one job's request leads to."""
    saved = checkpoint_prefix(request, RUN_ID).removeprefix("s3://")
    bucket, _, prefix = saved.partition("/")
    keys = [
        key for key in (dig(request, "OutputDataConfig", "KmsKeyId"), *deployed.settings.bucket_keys) if key
    ]
    for function in READ_PROGRESS:
        role = f"{function}Role"
        yield call(role, "s3:ListBucket", f"arn:aws:s3:::{bucket}", s3__prefix=f"{prefix}/nightspot")
        for name in (
            PROGRESS_FILE,
            "nightspot-000001-000000040-000003.json",
            "checkpoint-000000040-rank00000.nsck",
        ):
            yield call(role, "s3:GetObject", f"arn:aws:s3:::{saved}/{name}")
            yield call(role, "s3:ListBucket", f"arn:aws:s3:::{bucket}", s3__prefix=f"{prefix}/{name}")
        yield call(role, "s3:ListBucket", f"arn:aws:s3:::{bucket}", s3__prefix=f"{prefix}/")
        for key in keys:
            yield call(role, "kms:Decrypt", key, **BY_S3)
    where = request["OutputDataConfig"]["S3OutputPath"].removeprefix("s3://").rstrip("/")
    bucket, _, below = f"{where}/{deployed.job_name}/output".partition("/")
    for function in READ_MODELS:
        role = f"{function}Role"
        yield call(role, "s3:GetObject", f"arn:aws:s3:::{bucket}/{below}/model.tar.gz")
        for listed in ("model.tar.gz", "model/"):
            yield call(role, "s3:ListBucket", f"arn:aws:s3:::{bucket}", s3__prefix=f"{below}/{listed}")
        for key in keys:
            yield call(role, "kms:Decrypt", key, **BY_S3)
    made = deployed.made.get(request["RoleArn"])
    if made is None:
        return  # a role of the user's, whose permissions are the user's
    saved_bucket, _, saved_below = saved.partition("/")
    for action in ("GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload"):
        yield call(made, f"s3:{action}", f"arn:aws:s3:::{saved}/{PROGRESS_FILE}")
    yield call(made, "s3:ListBucket", f"arn:aws:s3:::{saved_bucket}", s3__prefix=f"{saved_below}/")
    yield call(made, "s3:PutObject", f"arn:aws:s3:::{bucket}/{below}/model.tar.gz")
    for channel in request.get("InputDataConfig", ()):
        uri = channel["DataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://")
        bucket, _, below = uri.partition("/")
        yield call(made, "s3:GetObject", f"arn:aws:s3:::{bucket}/{below}part-1.parquet")
        yield call(made, "s3:ListBucket", f"arn:aws:s3:::{bucket}", s3__prefix=below)
    for key in keys:
        for action in ("Decrypt", "GenerateDataKey", "Encrypt"):
            yield call(made, f"kms:{action}", key, **BY_S3)
    if "VolumeKmsKeyId" in request["ResourceConfig"]:
        yield call(made, "kms:CreateGrant", VOLUME_KEY, kms__GrantIsForAWSResource="true")


@pytest.mark.parametrize("name", [*CASES, HARDENED])
def test_whatever_a_run_asks_for_is_allowed(cases, name):
    found = verdicts(cases(name).policies, needed(cases(name)))
    assert len(found) > 60
    assert [text for text, allowed in found.items() if not allowed] == []


def forbidden_of_code(deployed):
    """No training changes what another runs, none of a team reads another team's, and PlanRun writes no page."""
    bucket = f"arn:aws:s3:::{deployed.report_bucket}"
    yield call("PlanRunRole", "s3:PutObject", f"{bucket}/reports/{RUN_ID}.html")
    yield call("PlanRunRole", "s3:DeleteObject", f"{bucket}/{VERSION.key('plain')}")
    if not any(job.code for job in deployed.jobs.values()):
        yield call("PlanRunRole", "s3:PutObject", f"{bucket}/{VERSION.key('plain')}")
    for function in ("DecideNextStep", "RecordOutcome", "CloseRun", "Reconcile", "StartTrainingJob"):
        yield call(f"{function}Role", "s3:PutObject", f"{bucket}/{VERSION.key('plain')}")
    for part in deployed.made.values():
        yield call(part, "s3:PutObject", f"{bucket}/{VERSION.key('plain')}")
        yield call(part, "s3:GetObject", f"{bucket}/reports/{RUN_ID}.html")
        if part.startswith("DataTeams"):
            yield call(part, "s3:GetObject", f"{bucket}/{VERSION.key('plain')}")


def forbidden(deployed):
    """What must be denied in every case, whatever its jobs name."""
    yield from forbidden_of_code(deployed)
    yield from forbidden_to_workflow(deployed)
    for role in ("StartTrainingJobRole", "WorkflowRole"):
        yield from forbidden_to_what_starts(deployed, role)
    if deployed.settings.environment:
        yield call("WorkflowRole", "sagemaker:CreateTrainingJob", deployed.training_job)
        yield call("WorkflowRole", "iam:PassRole", deployed.requests[0]["RoleArn"], **SAGEMAKER)
    yield call("StartTrainingJobRole", "sagemaker:StopTrainingJob", deployed.training_job)
    yield call("StartTrainingJobRole", "dynamodb:UpdateItem", deployed.policies.arn("DynamoDB::Table", ""))
    yield call(
        "StartTrainingJobRole", "lambda:InvokeFunction", deployed.policies.arn("Lambda::Function", "PlanRun")
    )
    for function in sorted({*READ_PROGRESS, *READ_MODELS}):
        yield from forbidden_to_function(deployed, f"{function}Role")
    yield call("NotifyRole", "sns:Publish", f"arn:aws:sns:{REGION}:{ACCOUNT}:payroll")
    yield call("NotifyRole", "s3:GetObject", SECRET)
    yield call(
        "WakeRunRole", "states:StartExecution", deployed.policies.ref("StepFunctions::StateMachine", "")
    )
    yield call("StartRunRole", "sagemaker:CreateTrainingJob", deployed.training_job)
    if deployed.settings.training_role_arn is None:
        yield call("DataRole", "s3:GetObject", SECRET)
        yield call("DataRole", "kms:Decrypt", FOREIGN_KEY, **BY_S3)
        yield call("DataRole", "kms:CreateGrant", VOLUME_KEY)
        yield call("DataRole", "sagemaker:CreateTrainingJob", deployed.training_job)
        yield call("DataRole", "iam:PassRole", deployed.requests[0]["RoleArn"], **SAGEMAKER)
        yield call("DataRole", "dynamodb:GetItem", deployed.policies.arn("DynamoDB::Table", ""))
        yield call("DataRole", "cloudwatch:PutMetricData", cloudwatch__namespace="AWS/Billing")


def forbidden_to_function(deployed, role):
    policies = deployed.policies
    table = policies.arn("DynamoDB::Table", "")
    machine = policies.ref("StepFunctions::StateMachine", "")
    model = f"arn:aws:s3:::{deployed.model_bucket}/nightly/{deployed.job_name}/output/model.tar.gz"
    yield call(role, "dynamodb:DeleteTable", table)
    yield call(role, "dynamodb:Scan", table)
    yield call(role, "dynamodb:PutItem", table.replace(":table/", ":table/payroll"))
    yield call(role, "iam:PassRole", deployed.requests[0]["RoleArn"], **SAGEMAKER)
    yield call(role, "sagemaker:StopTrainingJob", FOREIGN_JOB)
    yield call(role, "sagemaker:CreateTrainingJob", deployed.training_job)
    yield call(role, "s3:GetObject", SECRET)
    yield call(role, "s3:ListBucket", "arn:aws:s3:::payroll", s3__prefix="salaries")
    yield call(role, "s3:PutObject", model)
    yield call(role, "s3:DeleteObject", model)
    yield call(role, "s3:PutObject", f"arn:aws:s3:::{deployed.model_bucket}/reports/{RUN_ID}.html")
    yield call(role, "s3:GetObject", f"arn:aws:s3:::{deployed.report_bucket}/reports/{RUN_ID}.html")
    yield call(role, "s3:PutObject", f"arn:aws:s3:::{deployed.report_bucket}/index.html")
    yield call(role, "states:StopExecution", machine.replace(":stateMachine:", ":execution:") + ":one")
    yield call(role, "states:StartExecution", FOREIGN_MACHINE)
    yield call(role, "kms:Decrypt", FOREIGN_KEY, **BY_S3)
    yield call(role, "kms:Decrypt", KEY)
    yield call(role, "kms:CreateGrant", KEY, kms__GrantIsForAWSResource="true")
    yield call(role, "kms:ScheduleKeyDeletion", KEY)
    for own in [deployed.settings.kms_key_arn] if deployed.settings.kms_key_arn else []:
        yield call(role, "kms:Decrypt", own)
        yield call(role, "kms:Decrypt", own, **through("secretsmanager"))
        yield call(role, "kms:CreateGrant", own, kms__GrantIsForAWSResource="true")
        yield call(role, "kms:PutKeyPolicy", own)
    yield call(role, "sns:Publish", policies.ref("SNS::Topic", ""))
    yield call(role, "iam:PutRolePolicy", FOREIGN_ROLE)


def forbidden_to_what_starts(deployed, role):
    """To what makes training jobs."""
    own_role = deployed.requests[0]["RoleArn"]
    yield call(role, "iam:PassRole", FOREIGN_ROLE, **SAGEMAKER)
    yield call(role, "iam:PassRole", f"{own_role}-admin", **SAGEMAKER)
    yield call(role, "iam:PassRole", own_role.replace(ACCOUNT, "999999999999"), **SAGEMAKER)
    yield call(role, "iam:PassRole", own_role)
    yield call(role, "iam:PassRole", own_role, iam__PassedToService="lambda.amazonaws.com")
    for action in ("CreateTrainingJob", "AddTags"):
        yield call(role, f"sagemaker:{action}", FOREIGN_JOB)
    yield call(role, "s3:GetObject", SECRET)


def forbidden_to_workflow(deployed):
    for action in ("CreateTrainingJob", "StopTrainingJob", "AddTags"):
        yield call("WorkflowRole", f"sagemaker:{action}", FOREIGN_JOB)
    yield call(
        "WorkflowRole", "sagemaker:DeleteModel", f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model/nightspot-1"
    )
    yield call("WorkflowRole", "lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:payroll")
    yield call("WorkflowRole", "dynamodb:DeleteTable", deployed.policies.arn("DynamoDB::Table", ""))
    yield call("WorkflowRole", "s3:GetObject", SECRET)


@pytest.mark.parametrize("name", [*CASES, HARDENED])
def test_whatever_no_run_needs_is_denied(cases, name):
    found = verdicts(cases(name).policies, forbidden(cases(name)))
    assert len(found) > 100
    assert [text for text, allowed in found.items() if allowed] == []


OF_A_NEIGHBOUR = {
    "a notice in another's name": ("nothing of their own", "DecideNextStepRole", "events:PutEvents",
        f"arn:aws:events:eu-west-1:{ACCOUNT}:event-bus/default", {"events__source": "payroll"}),
    "a prefix that begins alike": ("their own buckets", "DecideNextStepRole", "s3:GetObject",
        f"arn:aws:s3:::our-checkpoints-{ACCOUNT}/search/nightly-of-others/nightspot.json", {}),
    "the rest of the bucket": ("their own buckets", "DecideNextStepRole", "s3:GetObject",
        f"arn:aws:s3:::our-checkpoints-{ACCOUNT}/payroll/x", {}),
    "the list of the whole bucket": ("their own buckets", "DecideNextStepRole", "s3:ListBucket",
        f"arn:aws:s3:::our-checkpoints-{ACCOUNT}", {}),
    "the list of another prefix": ("their own buckets", "PlanRunRole", "s3:ListBucket",
        f"arn:aws:s3:::our-checkpoints-{ACCOUNT}", {"s3__prefix": "payroll/"}),
    "a model that no run of Nightspot made": ("their own buckets", "RecordOutcomeRole", "s3:GetObject",
        "arn:aws:s3:::our-models/search/payroll-1/output/model.tar.gz", {}),
    "models for who reads progress alone": ("their own buckets", "DecideNextStepRole", "s3:GetObject",
        f"arn:aws:s3:::our-models/search/nightspot-x-{RUN_ID}-1/output/model.tar.gz", {}),
    "checkpoints for who reads models alone": ("their own buckets", "RecordOutcomeRole", "s3:GetObject",
        f"arn:aws:s3:::our-checkpoints-{ACCOUNT}/search/nightly/{RUN_ID}/nightspot.json", {}),
    "writing to the data": ("their own buckets", "DataRole", "s3:PutObject",
        "arn:aws:s3:::our-data/clicks/2026/x", {}),
    "data of another year": ("their own buckets", "DataRole", "s3:GetObject",
        "arn:aws:s3:::our-data/clicks/2025/x", {}),
    "the stack's role in a team's bucket": ("two teams", "DataRole", "s3:GetObject",
        f"arn:aws:s3:::teams/ads/{RUN_ID}/nightspot.json", {}),
    "the stack's role with a team's key": ("two teams", "DataRole", "kms:Decrypt", KEY, BY_S3),
    "a third team's role": ("two teams", "StartTrainingJobRole", "iam:PassRole",
        f"arn:aws:iam::{ACCOUNT}:role/payroll", SAGEMAKER),
    "a third team's prefix": ("two teams", "DecideNextStepRole", "s3:GetObject",
        "arn:aws:s3:::teams/payroll/x", {}),
    "the key of a volume for a function": ("their own keys", "DecideNextStepRole", "kms:Decrypt",
        VOLUME_KEY, BY_S3),
    "the key of a volume for reading S3": ("their own keys", "DataRole", "kms:Decrypt", VOLUME_KEY, BY_S3),
    "a key for another service than S3": ("their own keys", "DecideNextStepRole", "kms:Decrypt",
        KEY, {"kms__ViaService": f"secretsmanager.{REGION}.amazonaws.com"}),
    "a team's role at another team's checkpoints": ("teams with roles that the stack makes", "DataTeamssearch",
        "s3:GetObject", f"arn:aws:s3:::{{CheckpointBucket}}/ads/{RUN_ID}/a1/nightspot.json", {}),
    "a team's role at checkpoints of no team": ("teams with roles that the stack makes", "DataTeamssearch",
        "s3:PutObject", f"arn:aws:s3:::{{CheckpointBucket}}/nightly/{RUN_ID}/a1/nightspot.json", {}),
    "a team's role at a prefix that begins alike": ("teams with roles that the stack makes", "DataTeamssearch",
        "s3:GetObject", f"arn:aws:s3:::{{CheckpointBucket}}/search-ads/{RUN_ID}/a1/nightspot.json", {}),
    "a team's role and the list of the bucket": ("teams with roles that the stack makes", "DataTeamssearch",
        "s3:ListBucket", "arn:aws:s3:::{CheckpointBucket}", {"s3__prefix": "ads/"}),
    "a team's role at models of no team": ("teams with roles that the stack makes", "DataTeamssearch",
        "s3:PutObject", "arn:aws:s3:::{ModelBucket}/nightly/nightspot-x-1/output/model.tar.gz", {}),
    "a team's role reading a model": ("teams with roles that the stack makes", "DataTeamssearch",
        "s3:GetObject", "arn:aws:s3:::{ModelBucket}/search/nightspot-x-1/output/model.tar.gz", {}),
    "a team's role at pages": ("teams with roles that the stack makes", "DataTeamssearch",
        "s3:PutObject", f"arn:aws:s3:::{{ReportBucket}}/reports/{RUN_ID}.html", {}),
    "a team's role with another team's key": ("teams with roles that the stack makes", "DataTeamssearch",
        "kms:Decrypt", KEY, BY_S3),
    "a team's role with another team's volume key": ("teams with roles that the stack makes", "DataTeamssearch",
        "kms:CreateGrant", VOLUME_KEY, {"kms__GrantIsForAWSResource": "true"}),
    "a team's role at another team's data": ("teams with roles that the stack makes", "DataTeamsadsranking",
        "s3:GetObject", "arn:aws:s3:::our-data/search/x", {}),
    "the stack's role at a team's data": ("teams with roles that the stack makes", "DataRole",
        "s3:GetObject", "arn:aws:s3:::our-data/search/x", {}),
    "encrypting for who only reads": ("their own keys", "DecideNextStepRole", "kms:GenerateDataKey",
        BUCKET_KEY, BY_S3),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "role", "action", "resource", "context"), OF_A_NEIGHBOUR.values(), ids=OF_A_NEIGHBOUR
)
def test_what_lies_beside_a_named_thing_is_denied(cases, name, role, action, resource, context):
    where = resource.format(**cases(name).buckets)
    assert not cases(name).policies.allows(role, action, where, **context)


@pytest.mark.parametrize("role", ["StartTrainingJobRole", "WorkflowRole"])
def test_each_of_two_teams_roles_is_passed(cases, role):
    policies = cases("two teams").policies
    (passing,) = (s for s in policies.statements(role) if "iam:PassRole" in s["Action"])
    own = policies.arn("IAM::Role", "DataRole")
    assert set(passing["Resource"]) == {
        own,
        *(f"arn:aws:iam::{ACCOUNT}:role/{team}" for team in ("ads", "search")),
    }


@pytest.mark.parametrize("role", ["StartTrainingJobRole", "WorkflowRole"])
def test_a_team_s_role_is_passed_and_told_like_any_other(cases, role):
    deployed = cases("teams with roles that the stack makes")
    (passing,) = (s for s in deployed.policies.statements(role) if "iam:PassRole" in s["Action"])
    roles = [deployed.policies.arn("IAM::Role", part) for part in deployed.made.values()]
    assert len(roles) == 3
    assert set(passing["Resource"]) == set(roles)
    told = {
        name: deployed.policies.resolved(deployed.outputs[f"TrainingRoleArnOf{name}"]["Value"])
        for name in ("Search", "AdsRanking")
    }
    assert told == dict(zip(("AdsRanking", "Search"), roles[1:], strict=True))


@pytest.mark.parametrize("role", ["DataRole", "DataTeamssearch", "DataTeamsadsranking"])
def test_buckets_of_data_are_read_by_every_role_that_the_stack_makes(cases, role):
    policies = cases("teams with roles that the stack makes").policies
    assert policies.allows(role, "s3:GetObject", "arn:aws:s3:::read-by-all/manifest.json")
    assert policies.allows(role, "s3:ListBucket", "arn:aws:s3:::read-by-all", s3__prefix="x/")
    assert not policies.allows(role, "s3:PutObject", "arn:aws:s3:::read-by-all/manifest.json")


def test_a_team_s_role_of_the_settings_is_passed_and_gets_nothing_from_the_stack(cases):
    deployed = cases("teams with roles of the settings")
    (passing,) = (
        s for s in deployed.policies.statements("StartTrainingJobRole") if "iam:PassRole" in s["Action"]
    )
    assert f"arn:aws:iam::{ACCOUNT}:role/search-training" in passing["Resource"]
    assert list(deployed.made.values()) == ["DataRole"]


def team_job(name, team, checkpoints, models="s3://${ModelBucket}/"):
    return job(name, role=f"${{TrainingRoleArn.{team}}}", checkpoints=checkpoints, models=f"{models}{team}/")


@pytest.mark.parametrize(
    ("theirs", "settings"),
    [
        ("s3://${CheckpointBucket}/all/", Settings()),
        ("s3://${CheckpointBucket}/all/ads/", Settings()),
        ("s3://our-checkpoints/all/ads", Settings(checkpoint_bucket_name="our-checkpoints")),
    ],
    ids=["the same prefix", "a prefix below", "the bucket by its name"],
)
def test_teams_whose_places_are_not_apart_are_refused(synthesise, theirs, settings):
    two = [
        team_job("one", "search", "s3://${CheckpointBucket}/all/"),
        team_job("two", "ads", theirs),
    ]
    with pytest.raises(InvalidJobError) as caught:
        synthesise(settings, jobs={each.name: each for each in two})
    assert (
        "one: training_job.CheckpointConfig.S3Uri: 's3://${CheckpointBucket}/all/': "
        f"must not hold {theirs} of two, which is of team ads and not of search"
    ) in str(caught.value)


def test_jobs_of_one_team_may_share_a_prefix_and_a_team_may_lie_below_a_job_of_none(synthesise):
    jobs = [
        team_job("one", "search", "s3://${CheckpointBucket}/nightly/search"),
        team_job("two", "search", "s3://${CheckpointBucket}/nightly/search/"),
        job("plain"),
    ]
    assert synthesise(jobs={each.name: each for each in jobs}).only("IAM::Role", "DataTeamssearch")


def test_the_plan_s_environment_has_room_for_all_that_settings_and_job_files_may_name(synthesise):
    """Lambda takes 4 KB, and refuses the deployment of more."""
    teams = [f"team-with-a-name-{n:03}" for n in range(15)]
    settings = Settings(
        tags=tuple(f"name-of-tag-{n}={'x' * 36}" for n in range(10)),
        kms_key_arn=BUCKET_KEY,
        check_quotas=True,
        subnet_ids=tuple(f"subnet-{n:017}" for n in range(16)),
        security_group_ids=tuple(f"sg-{n:017}" for n in range(5)),
    )
    jobs = {team: team_job(team, team, f"s3://${{CheckpointBucket}}/{team}/") for team in teams}
    template = synthesise(settings, jobs=jobs).template
    policies = Policies(template)
    plan = template["Resources"][policies.the("Lambda::Function", "PlanRun")]["Properties"]
    variables = {key: policies.resolved(value) for key, value in plan["Environment"]["Variables"].items()}
    roles = json.loads(variables["NIGHTSPOT_TRAINING_ROLE_ARNS"])
    assert roles.keys() == set(teams)
    # Names are shorter here than the 64 characters that CloudFormation may give a role, and those of the buckets.
    longer = sum(64 - len(arn.rpartition("/")[2]) for arn in roles.values()) + 5 * 30
    assert sum(len(key) + len(value) for key, value in variables.items()) + longer < 4_096


def test_more_teams_than_the_plan_s_environment_has_room_for_are_refused(synthesise):
    jobs = [team_job(f"j{n:02}", f"t{n:02}", f"s3://${{CheckpointBucket}}/t{n:02}/") for n in range(16)]
    with pytest.raises(InvalidJobError) as caught:
        synthesise(jobs={each.name: each for each in jobs})
    rule = "must be one of at most 15 teams: the job files name 16"
    assert str(caught.value) == f"j15: training_job.RoleArn: 't15': {rule}"


def test_a_role_for_a_team_that_no_job_file_names_is_refused(synthesise):
    given = f"serach=arn:aws:iam::{ACCOUNT}:role/search"
    with pytest.raises(SettingsError) as caught:
        synthesise(
            Settings(training_roles=(given,)),
            jobs={"one": team_job("one", "search", "s3://${CheckpointBucket}/search/")},
        )
    assert str(caught.value) == (
        f"nightspot:training_roles: '{given}' must be of a team that a job file names as "
        "${TrainingRoleArn.TEAM}: search"
    )


def test_who_needs_a_key_is_told_in_outputs_for_the_key_s_policy(cases):
    deployed = cases("their own keys")
    using = {
        role
        for role in (
            "PlanRun",
            "DecideNextStep",
            "RecordOutcome",
            "CloseRun",
            "Reconcile",
            "WakeRun",
            "StartRun",
            "Notify",
        )
        if deployed.policies.allows(f"{role}Role", "kms:Decrypt", BUCKET_KEY, **BY_S3)
    }
    assert using == {*READ_PROGRESS, *READ_MODELS}
    for role in using:
        told = deployed.policies.resolved(deployed.outputs[f"{role}RoleArn"]["Value"])
        assert told == deployed.policies.arn("IAM::Role", f"Functions{role}Role")
    for role in ("Workflow", "StartTrainingJob"):
        told = deployed.policies.resolved(deployed.outputs[f"{role}RoleArn"]["Value"])
        assert told == deployed.policies.arn("IAM::Role", f"{role}Role")


def test_a_shared_subnet_is_its_owner_s_whose_account_nobody_here_knows(synthesise):
    shared = job("shared", subnet="subnet-of-the-job")
    settings = Settings(subnet_ids=("subnet-shared",), security_group_ids=("sg-1",))
    policies = Policies(synthesise(settings, jobs={"shared": shared}).template)
    for subnet in ("subnet-shared", "subnet-of-the-job"):
        for owner in ("999999999999", ACCOUNT):
            arn = f"arn:aws:ec2:{REGION}:{owner}:subnet/{subnet}"
            assert policies.allows("DataRole", "ec2:CreateNetworkInterface", arn)
    other = f"arn:aws:ec2:{REGION}:999999999999:subnet/subnet-of-others"
    assert not policies.allows("DataRole", "ec2:CreateNetworkInterface", other)


REFUSED = {
    "a role of another account": (
        {"role": "arn:aws:iam::999999999999:role/theirs"},
        "refused: training_job.RoleArn: 'arn:aws:iam::999999999999:role/theirs': must be a role of account "
        "123456789012, which is deployed to: no role of another one can be passed",
    ),
    "an access point": (
        {"models": "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/ours/x"},
        "refused: training_job.OutputDataConfig.S3OutputPath: "
        "'s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/ours/x': must name its bucket, or "
        "${CheckpointBucket} or ${ModelBucket}: no permission can be derived from anything else",
    ),
    "a wildcard in a prefix": (
        {"checkpoints": "s3://teams/*/"},
        "refused: training_job.CheckpointConfig.S3Uri: 's3://teams/*/': must have no * ? or $ in its prefix: "
        "a permission would take it for a wildcard",
    ),
    "a key by its alias": (
        {"key": "alias/ours"},
        "refused: training_job.OutputDataConfig.KmsKeyId: 'alias/ours': must be the ARN of a KMS key, or its id: "
        "an alias can be moved to a key that nobody granted",
    ),
}


@pytest.mark.parametrize(("parts", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_granted_is_refused_with_field_value_and_rule(synthesise, monkeypatch, parts, message):
    monkeypatch.setenv("CDK_DEFAULT_ACCOUNT", ACCOUNT)
    with pytest.raises(InvalidJobError) as caught:
        synthesise(jobs={"refused": job("refused", **parts)})
    assert str(caught.value) == message


def test_input_that_cannot_be_granted_is_warned_of(synthesise):
    data = "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/ours/x"
    stack = synthesise(jobs={"pointed": job("pointed", data=data)}).stack
    (found,) = (
        m.data
        for child in stack.node.find_all()
        for m in child.node.metadata
        if "input-not-granted" in str(m.data)
    )
    assert "pointed: training_job.InputDataConfig[0].DataSource.S3DataSource.S3Uri" in found
    assert "the training role may not read it" in found
