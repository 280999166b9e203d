"""Every rule of a job file, with a file that breaks it and one that keeps it."""

import pytest

REQUEST = "training_job"
STOPPING = f"{REQUEST}.StoppingCondition"
RESOURCES = f"{REQUEST}.ResourceConfig"
DROP = object()  # replaced by the fixture of the same meaning

# what is changed -> the field that is named, and a part of the rule
BROKEN = {
    "an unknown key": ({"wrok": "4h"}, "wrok", "did you mean work?"),
    "an unknown key below": (
        {"deadline": {"at": "08:00", "timezne": "UTC"}},
        "deadline.timezne",
        "did you mean timezone?",
    ),
    "an unknown key on a rung": (
        {"capacity.spot.1": {"instance_type": "ml.g5.48xlarge", "sped": 0.8}},
        "capacity.spot[1].sped",
        "did you mean speed?",
    ),
    "a python name for a key": ({"work_seconds": 14400}, "work_seconds", "is not a known key"),
    "no name": ({"name": DROP}, "name", "is required"),
    "no deadline": ({"deadline": DROP}, "deadline", "is required"),
    "capital letters in the name": ({"name": "Recommender"}, "name", "lower-case"),
    "a hyphen at the end": ({"name": "recommender-"}, "name", "at both ends"),
    "a line break after the name": ({"name": "recommender\n"}, "name", "lower-case"),
    "a long name": ({"name": "r" * 33}, "name", "at most 32 characters"),
    "a number for the name": ({"name": 7}, "name", "must be text"),
    "both cron and rate": (
        {"schedule": {"cron": "0 0 * * ? *", "rate": "1 day"}},
        "schedule",
        "exactly one of cron and rate",
    ),
    "neither cron nor rate": ({"schedule": {"timezone": "UTC"}}, "schedule", "exactly one of"),
    "a Unix cron": ({"schedule.cron": "0 0 * * *"}, "schedule.cron", "has five: add the year"),
    "a rate in weeks": ({"schedule": {"rate": "1 week"}}, "schedule.rate", "minutes, hours or days"),
    "an unknown zone": (
        {"schedule.timezone": "Europe/Dubin"},
        "schedule.timezone",
        "did you mean Europe/Dublin?",
    ),
    "a path for a zone": ({"deadline.timezone": "../../etc/passwd"}, "deadline.timezone", "IANA"),
    "a folder of zones": ({"deadline.timezone": "Europe"}, "deadline.timezone", "IANA"),
    "both at and within": ({"deadline.within": "8h"}, "deadline", "exactly one of at and within"),
    "neither at nor within": ({"deadline": {}}, "deadline", "exactly one of at and within"),
    "a zone without a time": (
        {"deadline": {"within": "8h", "timezone": "Europe/Dublin"}},
        "deadline",
        "only means something with `at`",
    ),
    "a number for a time": ({"deadline.at": 480}, "deadline.at", "in quotes"),
    "a time past midnight": ({"deadline.at": "24:00"}, "deadline.at", "23:59"),
    "a time with words": ({"deadline.at": "8 am"}, "deadline.at", "time of day"),
    "work without a unit": ({"work": "4"}, "work", "such as"),
    "no work": ({"work": 0}, "work", "above zero"),
    "work in fractions": ({"work": 1.5}, "work", "duration"),
    "a month of work": ({"work": "29d"}, "work", "at most 28 days"),
    "a checkpoint after the work": ({"checkpoint_every": "5h"}, "checkpoint_every", "longer than work (4 h)"),
    "an empty ladder": (
        {"capacity": {"spot": [], "on_demand": []}},
        "capacity",
        "at least one instance type",
    ),
    "a name for a list of rungs": ({"capacity.spot": "ml.p4d.24xlarge"}, "capacity.spot", "a list"),
    "a type twice": (
        {"capacity.spot.1": "ml.p4d.24xlarge"},
        "capacity.spot[1].instance_type",
        "only once under spot",
    ),
    "a type that does not exist": (
        {"capacity.spot.1": "ml.g5.48xlarg"},
        "capacity.spot[1].instance_type",
        "did you mean ml.g5.48xlarge?",
    ),
    "a type of EC2's": (
        {"capacity.on_demand.0": "p4d.24xlarge"},
        "capacity.on_demand[0].instance_type",
        "did you mean ml.p4d.24xlarge?",
    ),
    "a standing rung": ({"capacity.spot.1.speed": 0}, "capacity.spot[1].speed", "above 0"),
    "an impossible pace": ({"capacity.spot.1.speed": 101}, "capacity.spot[1].speed", "at most 100"),
    "a pace that is no number": (
        {"capacity.spot.1.speed": float("nan")},
        "capacity.spot[1].speed",
        "",
    ),
    "a pace in text": ({"capacity.spot.1.speed": "0.8"}, "capacity.spot[1].speed", "a number"),
    "a slow first rung": (
        {"capacity.spot.0": {"instance_type": "ml.p4d.24xlarge", "speed": 0.9}},
        "capacity.spot[0].speed",
        "work is stated for the first rung",
    ),
    "a fallback to nowhere": ({"capacity.on_demand": []}, "fallback", "rung under capacity.on_demand"),
    "nothing to fall from": (
        {"capacity.spot": [], "fallback": "never"},
        "fallback",
        "rung under capacity.spot",
    ),
    "an eager job that may not buy": (
        {"policy": "eager", "fallback": "never"},
        "policy",
        "needs fallback: on_demand",
    ),
    "an unknown policy": ({"policy": "lazy"}, "policy", "'patient', 'eager' or 'on_demand'"),
    "an unknown fallback": ({"fallback": "sometimes"}, "fallback", "'on_demand' or 'never'"),
    "a free run": ({"budget.per_run_usd": 0}, "budget.per_run_usd", "above 0"),
    "a boundless budget": ({"budget.per_run_usd": float("inf")}, "budget.per_run_usd", "finite"),
    "a change-over of nothing": ({"change_over": {"spot": 0}}, "change_over.spot", "above zero"),
    "no command": ({"local.command": []}, "local.command", "must not be empty"),
    "a slow story": ({"local.time_scale": 0.5}, "local.time_scale", "at least 1"),
    "a number in the environment": (
        {"local.environment": {"EPOCHS": 3}},
        "local.environment.EPOCHS",
        "put it in quotes",
    ),
    "no tracker": ({"tracking": {}}, "tracking", "at least one of mlflow and wandb"),
    "a password in the address of a tracker": (
        {"tracking": {"mlflow": {"uri": "https://me:secret@mlflow.example.com"}}},
        "tracking.mlflow.uri",
        "must not hold a user or password",
    ),
    "a server of wandb that is no web address": (
        {"tracking": {"wandb": {"url": "wandb.example.com"}}},
        "tracking.wandb.url",
        "must be an http(s) address",
    ),
    "a project of wandb that is a path": (
        {"tracking": {"wandb": {"project": "team/recommender"}}},
        "tracking.wandb.project",
        "",
    ),
    "a run of wandb beside tracking": (
        {"tracking": {"wandb": {}}, f"{REQUEST}.Environment": {"WANDB_RUN_ID": "mine"}},
        f"{REQUEST}.Environment.WANDB_RUN_ID",
        "must not be given beside tracking, which sets it",
    ),
    "a list for the request": ({REQUEST: []}, REQUEST, "must be a mapping"),
    "Spot without a checkpoint": (
        {f"{REQUEST}.CheckpointConfig": DROP},
        f"{REQUEST}.CheckpointConfig.S3Uri",
        "is required with Spot rungs",
    ),
    "a checkpoint over https": (
        {f"{REQUEST}.CheckpointConfig.S3Uri": "https://checkpoints/nightly"},
        f"{REQUEST}.CheckpointConfig.S3Uri",
        "s3://bucket/prefix",
    ),
    "input over https": (
        {
            f"{REQUEST}.InputDataConfig": [
                {
                    "ChannelName": "train",
                    "DataSource": {
                        "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "https://our-data/interactions/"}
                    },
                }
            ]
        },
        f"{REQUEST}.InputDataConfig[0].DataSource.S3DataSource.S3Uri",
        "must begin with s3://",
    ),
    "output over https": (
        {f"{REQUEST}.OutputDataConfig.S3OutputPath": "https://our-models/nightly/"},
        f"{REQUEST}.OutputDataConfig.S3OutputPath",
        "must begin with s3://",
    ),
    "a bucket without a prefix": (
        {f"{REQUEST}.CheckpointConfig.S3Uri": "s3://checkpoints"},
        f"{REQUEST}.CheckpointConfig.S3Uri",
        "s3://bucket/prefix",
    ),
    "a training job's name": (
        {f"{REQUEST}.TrainingJobName": "tonight"},
        f"{REQUEST}.TrainingJobName",
        "set by Nightspot for each attempt",
    ),
    "a training job's empty name": (
        {f"{REQUEST}.TrainingJobName": None},
        f"{REQUEST}.TrainingJobName",
        "set by Nightspot for each attempt",
    ),
    "the Spot flag": (
        {f"{REQUEST}.EnableManagedSpotTraining": False},
        f"{REQUEST}.EnableManagedSpotTraining",
        "set by Nightspot for each attempt",
    ),
    "a serverless job": (
        {f"{REQUEST}.ServerlessJobConfig": {}},
        f"{REQUEST}.ServerlessJobConfig",
        "no instances to choose",
    ),
    "instance groups": (
        {f"{RESOURCES}.InstanceGroups": []},
        f"{RESOURCES}.InstanceGroups",
        "one instance type",
    ),
    "instance preferences": (
        {f"{RESOURCES}.InstancePreferences": [{"InstanceType": "ml.p4d.24xlarge"}]},
        f"{RESOURCES}.InstancePreferences",
        "excludes managed Spot",
    ),
    "a selected type": (
        {f"{RESOURCES}.SelectedInstanceType": "ml.p4d.24xlarge"},
        f"{RESOURCES}.SelectedInstanceType",
        "an answer of SageMaker's",
    ),
    "a warm pool beside Spot": (
        {f"{RESOURCES}.KeepAlivePeriodInSeconds": 600},
        f"{RESOURCES}.KeepAlivePeriodInSeconds",
        "warm pools exclude managed Spot",
    ),
    "a type off the ladder": (
        {f"{RESOURCES}.InstanceType": "ml.m5.large"},
        f"{RESOURCES}.InstanceType",
        "must be on the ladder",
    ),
    "no instances": ({f"{RESOURCES}.InstanceCount": 0}, f"{RESOURCES}.InstanceCount", "at least 1"),
    "no algorithm": (
        {f"{REQUEST}.AlgorithmSpecification": DROP},
        f"{REQUEST}.AlgorithmSpecification",
        "exactly one of TrainingImage and AlgorithmName",
    ),
    "two algorithms": (
        {f"{REQUEST}.AlgorithmSpecification.AlgorithmName": "forest"},
        f"{REQUEST}.AlgorithmSpecification",
        "exactly one of TrainingImage and AlgorithmName",
    ),
    "a run shorter than the work": (
        {f"{STOPPING}.MaxRuntimeInSeconds": 14399},
        f"{STOPPING}.MaxRuntimeInSeconds",
        "at least work (14400 s)",
    ),
    "a run longer than SageMaker's": (
        {f"{STOPPING}.MaxRuntimeInSeconds": 2419201},
        f"{STOPPING}.MaxRuntimeInSeconds",
        "at most 28 days",
    ),
    "a wait shorter than the run": (
        {f"{STOPPING}.MaxWaitTimeInSeconds": 21599},
        f"{STOPPING}.MaxWaitTimeInSeconds",
        "at least MaxRuntimeInSeconds (21600)",
    ),
    "a wait shorter than the work": (
        {STOPPING: {"MaxWaitTimeInSeconds": 14399}},
        f"{STOPPING}.MaxWaitTimeInSeconds",
        "at least work (14400)",
    ),
    "a wait without Spot": (
        {"capacity.spot": [], f"{STOPPING}.MaxWaitTimeInSeconds": 30000},
        f"{STOPPING}.MaxWaitTimeInSeconds",
        "without a Spot rung",
    ),
    "a variable of Nightspot's": (
        {f"{REQUEST}.Environment": {"NIGHTSPOT_RUN": "1"}},
        f"{REQUEST}.Environment.NIGHTSPOT_RUN",
        "must not start with NIGHTSPOT_",
    ),
    "a tag of Nightspot's": (
        {f"{REQUEST}.Tags": [{"Key": "team", "Value": "a"}, {"Key": "nightspot:job", "Value": "b"}]},
        f"{REQUEST}.Tags[1].Key",
        "must not start with nightspot: or aws:",
    ),
    "a tag of AWS's": (
        {f"{REQUEST}.Tags": [{"Key": "AWS:team", "Value": "a"}]},
        f"{REQUEST}.Tags[0].Key",
        "must not start with nightspot: or aws:",
    ),
    "a tag twice": (
        {f"{REQUEST}.Tags": [{"Key": "team", "Value": "a"}, {"Key": "team", "Value": "b"}]},
        f"{REQUEST}.Tags[1].Key",
        "only once",
    ),
    "too many tags": (
        {f"{REQUEST}.Tags": [{"Key": f"k{n}", "Value": ""} for n in range(46)]},
        f"{REQUEST}.Tags",
        "at most 45",
    ),
    "more than Step Functions carries": (
        {f"{REQUEST}.HyperParameters": {f"h{n}": "x" * 2500 for n in range(80)}},
        REQUEST,
        "at most 196,608 bytes as JSON",
    ),
}

ONLY_ON_DEMAND = {"capacity.spot": [], "capacity.on_demand": ["ml.p4d.24xlarge"]}
KEPT = {
    "nothing changed": {},
    "a name of 32 characters": {"name": "r" * 32},
    "hyphens inside the name": {"name": "a--b-7"},
    "no schedule": {"schedule": DROP},
    "an empty schedule": {"schedule": None},
    "a wrapped rate": {"schedule": {"rate": "rate(12 hours)", "timezone": "Europe/Dublin"}},
    "a deadline within": {"deadline": {"within": "8h"}},
    "a time with seconds": {"deadline.at": "07:59:30"},
    "work in plain seconds": {"work": 14400},
    "a checkpoint at the end": {"checkpoint_every": "4h"},
    "short work and no word on checkpoints": {"work": "10m", "checkpoint_every": DROP},
    "the same type in both markets": {"capacity.spot": ["ml.p4d.24xlarge"]},
    "a faster second rung": {"capacity.spot.1.speed": 100},
    "a slower on-demand rung": {
        "capacity.on_demand.0": {"instance_type": "ml.g5.48xlarge", "speed": 0.8},
    },
    "in a hurry": {"policy": "eager"},
    "Spot or nothing": {"capacity.on_demand": [], "fallback": "never"},
    "only on-demand": ONLY_ON_DEMAND,
    "only on-demand, unsaved": {**ONLY_ON_DEMAND, f"{REQUEST}.CheckpointConfig": DROP},
    "a warm pool without Spot": {**ONLY_ON_DEMAND, f"{RESOURCES}.KeepAlivePeriodInSeconds": 600},
    "no budget": {"budget": None},
    "no local command": {"local": None},
    "a type on the ladder": {f"{RESOURCES}.InstanceType": "ml.g5.48xlarge"},
    "an algorithm of one's own": {
        f"{REQUEST}.AlgorithmSpecification": {"AlgorithmName": "forest", "TrainingInputMode": "File"},
    },
    "a run as long as the work": {f"{STOPPING}.MaxRuntimeInSeconds": 14400, "capacity.spot.1.speed": 1},
    "the default limit": {STOPPING: DROP},
    "work of more than SageMaker's default limit": {STOPPING: DROP, "work": "25h"},
    "a wait as long as the work": {STOPPING: {"MaxWaitTimeInSeconds": 14400}},
    "a wait as long as the run": {f"{STOPPING}.MaxWaitTimeInSeconds": 21600},
    "a retry of SageMaker's": {f"{REQUEST}.RetryStrategy": {"MaximumRetryAttempts": 2}},
    "a variable of one's own": {f"{REQUEST}.Environment": {"RUN_NIGHTSPOT": "1"}},
    "150 KB of hyperparameters": {f"{REQUEST}.HyperParameters": {f"h{n}": "x" * 2500 for n in range(60)}},
    "45 tags": {f"{REQUEST}.Tags": [{"Key": f"k{n}", "Value": ""} for n in range(45)]},
}


def _resolved(changes, drop):
    return {path: drop if value is DROP else value for path, value in changes.items()}


@pytest.mark.parametrize(("changes", "field", "rule"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_rule_is_reported_at_its_field_and_nowhere_else(problems_with, drop, changes, field, rule):
    problems = problems_with(_resolved(changes, drop))
    assert [problem.field for problem in problems] == [field]
    assert rule in problems[0].rule
    assert problems[0].severity == "error"


@pytest.mark.parametrize("changes", KEPT.values(), ids=KEPT.keys())
def test_a_file_that_keeps_the_rules_is_accepted(job_with, drop, changes):
    assert job_with(_resolved(changes, drop)).name
