"""Two environments in one account and region: neither sees the other. And what becomes of runs older than them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from itertools import combinations

import aws_cdk as cdk
import boto3
import pytest
from moto import mock_aws
from moto.events.models import EventPattern

from nightspot.aws.notices import NoticeTopics
from nightspot.cdk import Settings, SettingsError, TrainingRuns
from nightspot.cdk.identity import MOST_NAMED_JOBS, default_environment
from nightspot.formats.run_ids import is_environment, training_job_name
from nightspot.lambdas import close_run, notify
from nightspot.local.stage.emulated_aws import REGION, LocalContext
from nightspot.run.model import Outcome, run_from_json
from tests.lambdas.conftest import Bus, SageMaker, StepFunctions, World

pytestmark = pytest.mark.xdist_group("infra")

RUN_ID = "20261121-25feuomo"
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
ON_JOBS = ("CreateTrainingJob", "StopTrainingJob", "DescribeTrainingJob", "AddTags")


@pytest.fixture(scope="session")
def prod(synthesise):
    return synthesise(Settings(environment="prod"))


@pytest.fixture(scope="session")
def staging(synthesise):
    return synthesise(Settings(environment="staging"))


def pattern(synthesised, rule, execution="arn:aws:states:eu-west-1:123456789012:execution:main:"):
    """The rule's pattern as EventBridge has it; its stack's executions are those of `execution`."""
    text = json.dumps(synthesised.only("Events::Rule", rule)[1]["EventPattern"])
    found = json.loads(text, object_hook=lambda value: execution if "Fn::Join" in value else value)
    return EventPattern.load(json.dumps(found)).matches_event


def state_change(name, status="InProgress", secondary="Training", at=MIDNIGHT):
    detail = {
        "TrainingJobName": name,
        "TrainingJobStatus": status,
        "SecondaryStatus": secondary,
        "LastModifiedTime": int(at.timestamp() * 1000),
    }
    return {
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Training Job State Change",
        "time": at.isoformat(),
        "detail": detail,
    }


def resources(synthesised):
    """What any role may do to training jobs, as the ends of the ARNs."""
    wanted = {f"sagemaker:{action}" for action in ON_JOBS}
    return {
        resource.rpartition("/")[2]
        for statement in synthesised.statements
        if wanted & statement.actions
        for resource in statement.resources
    }


def test_the_training_jobs_that_one_environment_s_roles_may_touch_are_none_of_the_other_s(prod, staging):
    assert (resources(prod), resources(staging)) == ({"nightspot-prod-*"}, {"nightspot-staging-*"})


@pytest.mark.parametrize("rule", ["WakeUp", "TrainingJobEnded"])
def test_the_rules_of_one_environment_match_no_training_job_of_the_other(prod, staging, rule):
    event = state_change(training_job_name("prod", "recommender", RUN_ID, 1), "Completed", "Completed")
    assert pattern(prod, rule)(event)
    assert not pattern(staging, rule)(event)


@pytest.mark.parametrize("rule", ["NoticesTold", "NoticesCrashed"])
def test_the_rules_of_one_environment_match_no_notice_of_the_other(prod, staging, rule):
    kind = prod.only("Events::Rule", rule)[1]["EventPattern"]["detail-type"][0]
    event = {"source": "nightspot", "detail-type": kind, "detail": {"environment": "prod", "job": "x"}}
    assert pattern(prod, rule)(event)
    assert not pattern(staging, rule)(event)


def test_a_crash_that_an_older_workflow_tells_without_an_environment_is_told_by_its_own_stack_alone(prod):
    own, other = (f"arn:aws:states:eu-west-1:123456789012:execution:{name}:" for name in ("mine", "theirs"))
    event = {
        "source": "nightspot",
        "detail-type": "Nightspot Decision Crashed",
        "detail": {"job": "recommender", "execution_arn": f"{own}night-1"},
    }
    assert pattern(prod, "NoticesCrashed", own)(event)
    assert not pattern(prod, "NoticesCrashed", other)(event)


def test_metrics_queries_and_tags_carry_the_environment(prod):
    alarms = prod.of_type("CloudWatch::Alarm").values()
    queries = [query for alarm in alarms for query in alarm.get("Metrics", ())]
    looked_at = [query["MetricStat"]["Metric"] for query in queries if "MetricStat" in query]
    own = [metric["Dimensions"] for metric in looked_at if metric["Namespace"] == "Nightspot"]
    assert len(own) > 5
    assert all({"Name": "environment", "Value": "prod"} in dimensions for dimensions in own)
    assert all(
        query["Name"].startswith("Nightspot/prod/")
        for query in prod.of_type("Logs::QueryDefinition").values()
    )
    for kind in ("DynamoDB::Table", "Lambda::Function", "StepFunctions::StateMachine"):
        for resource in prod.of_type(kind).values():
            assert {"Key": "nightspot:environment", "Value": "prod"} in resource["Tags"]


# --- what a deployment is called -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stack", "environment"),
    [("Nightspot", "main"), ("Nightspot-prod", "prod"), ("Nightspot-staging", "staging")],
)
def test_a_stack_s_name_names_its_environment(stack, environment):
    assert default_environment(stack) == environment


STACKS = (
    *("Nightspot", "Nightspot-main", "nightspot", "Nightspot-prod", "NightspotProd", "prod", "Prod", "p-rod"),
    *(
        "Nightspot-my-training",
        "Nightspot-my-trainings",
        "Nightspot-production-eu",
        "Nightspot-production-us",
    ),
    *("Nightspot-2026", "X", "7"),
)


@pytest.mark.parametrize("stack", STACKS)
def test_every_stack_s_name_gives_a_name_for_an_environment(stack):
    assert is_environment(default_environment(stack))


def test_stacks_of_different_names_are_different_environments():
    assert len({default_environment(stack) for stack in STACKS}) == len(STACKS)


def test_what_one_environment_s_names_begin_with_no_other_s_do():
    names = ("p", "prod", "prod2", "prods", "staging")
    for one, other in combinations(names, 2):
        assert not training_job_name(other, "x", RUN_ID, 1).startswith(f"nightspot-{one}-")
        assert not training_job_name(one, "x", RUN_ID, 1).startswith(f"nightspot-{other}-")


@pytest.mark.parametrize("name", ["prod", None], ids=["named alike", "called after the stack"])
def test_two_deployments_of_one_name_in_one_account_and_region_are_refused(jobs, bundle, name):
    stack = cdk.Stack(cdk.App(), "Nightspot-prod")
    TrainingRuns(stack, "One", jobs=jobs, bundle=bundle, settings=Settings(environment="prod"))
    with pytest.raises(SettingsError) as caught:
        TrainingRuns(stack, "Two", jobs=jobs, bundle=bundle, settings=Settings(environment=name))
    rule = "must be another one than that of Nightspot-prod/One"
    assert str(caught.value) == f"nightspot:environment: 'prod' {rule}"


def test_the_same_name_in_two_regions_is_no_clash(jobs, bundle):
    app = cdk.App()
    for region in ("eu-west-1", "us-east-1"):
        place = cdk.Environment(account="123456789012", region=region)
        stack = cdk.Stack(app, f"Nightspot-{region}", env=place)
        TrainingRuns(stack, "Training", jobs=jobs, bundle=bundle, settings=Settings(environment="prod"))


# --- a stack that was deployed before there were environments ---------------------------------------------------


@pytest.mark.parametrize("job", ["by-hand", "recommender", "search"])
@pytest.mark.parametrize("run_id", [RUN_ID, "20261121-abc123"], ids=["a newer id", "an older id"])
def test_a_stack_without_the_setting_still_hears_of_its_older_runs_and_may_stop_them(deployed, job, run_id):
    name = training_job_name("", job, run_id, 1)
    assert pattern(deployed, "WakeUp")(state_change(name))
    assert any(fnmatchcase(name, resource) for resource in resources(deployed))


def test_it_knows_no_other_stack_s_older_runs_and_no_other_environment_s(deployed):
    for name in (
        training_job_name("", "ranking", RUN_ID, 1),
        training_job_name("prod", "recommender", RUN_ID, 1),
    ):
        assert not pattern(deployed, "WakeUp")(state_change(name))
        assert not any(fnmatchcase(name, resource) for resource in resources(deployed))


def test_with_more_jobs_than_a_policy_can_list_it_may_use_all_names(synthesise, jobs):
    many = {
        f"job-{n}": jobs["by-hand"].model_copy(update={"name": f"job-{n}"})
        for n in range(MOST_NAMED_JOBS + 1)
    }
    assert resources(synthesise(jobs=many)) == {"nightspot-*"}
    assert resources(synthesise(Settings(environment="prod"), jobs=many)) == {"nightspot-prod-*"}


# --- one night in each, on one account ---------------------------------------------------------------------------


@dataclass
class Topic:
    """SNS: keeps the subjects."""

    subjects: list[str] = field(default_factory=list)

    def publish(self, *, Subject: str, **_more: object) -> None:  # noqa: N803
        self.subjects.append(Subject)


class Environment:
    """One deployment: its own table in DynamoDB, its own workflow; SageMaker and the bus are the account's."""

    def __init__(self, name, synthesised, sagemaker, bus):
        client = boto3.client("dynamodb", region_name=REGION)
        table = f"{name}-runs"
        keys = {"pk": "HASH", "sk": "RANGE"}
        client.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
        )
        self.name, self.synthesised, self.letters, self.topic = name, synthesised, [], Topic()
        self.world = World(name, client, table)
        self.world.sagemaker, self.world.bus, self.world.step_functions = sagemaker, bus, StepFunctions()
        self.executions = f"arn:aws:states:{REGION}:123456789012:execution:{name}:"
        topics = NoticeTopics(self.topic, client, table, mail_arn=f"arn:aws:sns:{REGION}:123456789012:{name}")
        pending, now = self.world.table.pending, lambda: self.world.now
        self.messenger = notify.Messenger(topics, pending, lambda _job: "UTC", now, tell_success=True)

    def starts(self):
        planned = self.world.plan(execution=f"{self.executions}night-1")["run"]
        self.run = self.world.decide(planned)["run"]
        self.job = run_from_json(self.run).attempts[0].training_job_name
        self.world.begin_to_wait(self.job, f"token of {self.name}")

    def decides(self):
        self.run = self.world.decide(self.run)["run"]
        return run_from_json(self.run)

    def hears(self, event, *, any_name):
        """By the rules of its template; with `any_name`, of every training job, as by hand one could be named."""
        world = self.world
        for rule, call in (
            ("WakeUp", lambda: world.wake(time=world.now, **event["detail"])),
            ("TrainingJobEnded", lambda: close_run.handler(event, LocalContext("CloseRun"), use=world.use)),
        ):
            is_told_anyhow = any_name and event["source"] == "aws.sagemaker"
            if pattern(self.synthesised, rule)(event) or is_told_anyhow:
                self.takes(event, call)
        for rule in ("NoticesTold", "NoticesCrashed"):
            if pattern(self.synthesised, rule, self.executions)(event):
                self.takes(event, lambda: notify.handler(event, LocalContext("Notify"), use=self.messenger))

    def takes(self, event, call):
        try:
            call()
        except Exception as error:  # whatever it is, Lambda would bring it back and give it up
            self.letters.append((event, error))


@pytest.mark.parametrize("any_name", [False, True], ids=["as the rules have it", "were the rules wider"])
def test_two_environments_each_play_a_night_and_neither_hears_stops_or_loses_anything(
    prod, staging, any_name
):
    with mock_aws():
        s3 = boto3.client("s3", region_name=REGION)
        s3.create_bucket(Bucket="checkpoints", CreateBucketConfiguration={"LocationConstraint": REGION})
        sagemaker, bus = SageMaker(), Bus()
        both = [Environment("prod", prod, sagemaker, bus), Environment("staging", staging, sagemaker, bus)]

        def tell_everybody(event):
            for environment in both:
                environment.hears(event, any_name=any_name)

        for environment in both:
            environment.starts()
        assert [each.job.startswith(f"nightspot-{each.name}-recommender-2") for each in both] == [True] * 2
        trained = ("Training", MIDNIGHT + timedelta(minutes=5))
        for environment in both:
            sagemaker.shows(environment.job, "InProgress", ("Starting", MIDNIGHT), trained)
            tell_everybody(state_change(environment.job))
        for environment in both:
            assert environment.world.step_functions.returned == [f"token of {environment.name}"]
            environment.decides()
            environment.world.begin_to_wait(environment.job, "the next")
            # It looks at everything that goes on in the account.
            environment.world.pass_time(hours=1)
            assert environment.world.reconcile() == {"found": {}, "repaired": {}, "failed": 0}
        done = MIDNIGHT + timedelta(hours=4)
        for environment in both:
            environment.world.now = done
            ended = ("Completed", done)
            sagemaker.shows(environment.job, "Completed", ("Starting", MIDNIGHT), trained, ended)
        for environment in both:
            tell_everybody(state_change(environment.job, "Completed", "Completed", done))
        for environment in both:
            assert environment.world.step_functions.returned[1:] == ["the next"]
            assert environment.decides().outcome is Outcome.SUCCEEDED
            environment.world.record(environment.run)
            # Its end once more: what it leaves of a record is closed.
            tell_everybody(state_change(environment.job, "Completed", "Completed", done))
        for entry in bus.entries:
            detail = json.loads(entry["Detail"])
            tell_everybody({"source": entry["Source"], "detail-type": entry["DetailType"], "detail": detail})

        assert [environment.letters for environment in both] == [[], []]
        assert sagemaker.stops == []
        for environment in both:
            assert len(environment.topic.subjects) == 1
            (record,) = environment.world.table.history("recommender")
            assert record.outcome == "succeeded"
