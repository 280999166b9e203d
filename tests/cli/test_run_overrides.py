"""Every option of `nightspot run FILE --local`: what a good one asks for, and how a bad one is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from nightspot.cli import app
from nightspot.local.stage import staging
from nightspot.local.stage.emulated_aws import NightNotOverError

P4D, G5, G4 = "ml.p4d.24xlarge", "ml.g5.48xlarge", "ml.g4dn.xlarge"
TRAINER = Path(__file__).parents[1] / "workflow" / "scripts" / "trainer.py"
MARKET = f"spot: {{{P4D}: [{{missing: 40m}}, {{available: rest}}]}}"
TRACE = '{"metadata": {"gap_seconds": 3600}, "data": [0, 1, 1, 1]}'
BAD_MARKET = "spot: [{missing: 40x}, {available: rest}]"


def own(**overrides):
    """What the night is played with: these overrides and no others."""
    return {"overrides": overrides}


# (option, arguments, what the night is played with)
GOOD = [
    ("--local", (), {"job": "recommender", "night": "quiet", "overrides": {}, "time_scale": 480}),
    ("--night", ("--night", "interrupted"), {"night": "interrupted"}),
    ("--market", ("--market", "spot"), own(market="spot")),
    ("--market", ("--market", "on_demand"), own(market="on_demand")),
    ("--market", ("--market", "auto"), own(market="auto")),
    ("--market", ("--market", "m.yaml"), {"night": "market file", "overrides": {}}),
    ("--market-file", ("--market-file", "m.yaml"), {"night": "market file", "overrides": {}}),
    (
        "--market-file",
        ("--market-file", "m.yaml", "--market", "spot"),
        {"night": "market file", **own(market="spot")},
    ),
    ("--trace", ("--trace", "t.json"), {"night": "trace", "story": "Spot as it was in t.json."}),
    (
        "--trace-offset",
        ("--trace", "t.json", "--trace-offset", "2h"),
        {"night": "trace", "story": "Spot as it was in t.json from 2 h on."},
    ),
    ("--instance-type", ("--instance-type", G5), own(instance_types=[G5])),
    (
        "--instance-type",
        ("--instance-type", P4D, "--instance-type", f"{G5}@0.45"),
        own(instance_types=[P4D, {"instance_type": G5, "speed": 0.45}]),
    ),
    ("--deadline", ("--deadline", "6h"), own(deadline="6h")),
    ("--deadline", ("--deadline", "07:00"), own(deadline="07:00")),
    (
        "--hyperparameter",
        ("--hyperparameter", "epochs=12", "--hyperparameter", "note=a=b", "--hyperparameter", "empty="),
        own(hyperparameters={"epochs": "12", "note": "a=b", "empty": ""}),
    ),
    ("--budget", ("--budget", "99.5"), own(budget=99.5)),
    ("--fallback", ("--fallback", "never"), own(fallback="never")),
    ("--fallback", ("--fallback", "on_demand"), own(fallback="on_demand")),
    ("--time-scale", ("--time-scale", "300"), {"time_scale": 300}),
    ("--fail-on-remarks", ("--fail-on-remarks",), {"night": "quiet"}),
    ("--json", ("--json",), {"out": ""}),
    ("--build", ("--build", "elsewhere"), {"build": "elsewhere"}),
    (
        "--night",  # the ladder night brings overrides of its own; what the user says comes first
        ("--night", "ladder", "--budget", "300", "--instance-type", G5),
        own(instance_types=[G5], budget=300),
    ),
]
# (option, arguments, status, what is said)
BAD = [
    ("--night", ("--night", "foggy"), 2, "night: 'foggy': must be one of quiet, "),
    ("--market", ("--market", "sport"), 2, "--market: 'sport': must be one of spot, on_demand, auto, or a"),
    ("--market", ("--market", "gone.yaml"), 1, "market: 'gone.yaml': cannot be read: No such file"),
    (
        "--market",
        ("--market", "sport.yaml", "--market-file", "m.yaml"),
        2,
        "--market: 'sport.yaml': must be one of spot, on_demand, auto",
    ),
    ("--market-file", ("--market-file", "gone.yaml"), 1, "'gone.yaml': cannot be read: No such file"),
    ("--market-file", ("--market-file", "bad.yaml"), 1, "bad.yaml: spot[0].missing: '40x' must be seconds"),
    ("--trace", ("--trace", "m.yaml"), 1, "trace: m.yaml is not JSON"),
    ("--trace-offset", ("--trace-offset", "1h"), 2, "--trace-offset needs --trace"),
    ("--trace-offset", ("--trace", "t.json", "--trace-offset", "1w"), 2, "--trace-offset: '1w': must be a"),
    (
        "--instance-type",
        ("--instance-type", "ml.p4d.24xlargo"),
        1,
        "instance_types[0].instance_type: 'ml.p4d.24xlargo': must be an instance type that SageMaker trains "
        "on; did you mean ml.p4d.24xlarge?",
    ),
    ("--instance-type", ("--instance-type", "p4d"), 1, "'p4d': must be an instance type as SageMaker writes"),
    ("--instance-type", ("--instance-type", ""), 1, "instance_types[0].instance_type: '': must not be empty"),
    (
        "--instance-type",
        ("--instance-type", G5, "--instance-type", G5),
        1,
        f"instance_types[1].instance_type: '{G5}': must be named only once",
    ),
    (
        "--instance-type",
        ("--instance-type", f"{G5}@fast"),
        2,
        f"--instance-type: '{G5}@fast': must be TYPE or TYPE@SPEED, such as ml.g5.48xlarge@0.45",
    ),
    ("--instance-type", ("--instance-type", f"{G5}@0"), 1, "instance_types[0].speed: 0.0: must be above 0"),
    (
        "--instance-type",
        ("--instance-type", f"{G5}@nan"),
        1,
        "instance_types[0].speed: nan: must be a finite",
    ),
    ("--deadline", ("--deadline", "soon"), 1, "deadline: 'soon': must be a time of day such as \"07:00\""),
    ("--deadline", ("--deadline", "25:00"), 1, "deadline.at: '25:00': must be a time of day"),
    ("--deadline", ("--deadline", "29d"), 1, "deadline.within: 2505600: must be at most 28 days"),
    ("--deadline", ("--deadline", ""), 1, "deadline: '': must be a time of day"),
    ("--hyperparameter", ("--hyperparameter", "epochs"), 2, "--hyperparameter: 'epochs': must be NAME=VALUE"),
    ("--hyperparameter", ("--hyperparameter", "=5"), 2, "--hyperparameter: '=5': must be NAME=VALUE"),
    (
        "--hyperparameter",
        ("--hyperparameter", "a=1", "--hyperparameter", "a=2"),
        2,
        "--hyperparameter: 'a': must be given only once",
    ),
    (
        "--hyperparameter",
        ("--hyperparameter", "note=" + "x" * 2501),
        1,
        "hyperparameters.note: ",
    ),
    ("--budget", ("--budget", "lots"), 2, "--budget: 'lots': must be a number of US dollars"),
    ("--budget", ("--budget", "0"), 1, "budget.per_run_usd: 0.0: must be above 0"),
    ("--budget", ("--budget", "-5"), 1, "budget.per_run_usd: -5.0: must be above 0"),
    ("--budget", ("--budget", "nan"), 1, "budget.per_run_usd: nan: must be a finite number"),
    ("--fallback", ("--fallback", "nowhere"), 1, "fallback: 'nowhere': must be 'on_demand' or 'never'"),
    (
        "--fallback",
        ("--market", "spot", "--fallback", "on_demand"),
        1,
        "fallback: 'on_demand': contradicts market: spot, which buys no on-demand",
    ),
    ("--time-scale", ("--time-scale", "0.5"), 2, "--time-scale: 0.5: must be a number from 1 on"),
    ("--fail-on-remarks", ("--fail-on-remarks=7",), 2, "'--fail-on-remarks' does not take a value"),
    ("--json", ("--json=yes",), 2, "'--json' does not take a value"),
    ("--build", ("--build", "m.yaml"), 1, "m.yaml/runs"),
]


@pytest.fixture
def played(monkeypatch):
    """What a night was played with; no night comes to its end here."""
    nights = []

    def play(job, night, *, scratch, **_rest):
        nights.append(
            {
                "job": job.name,
                "time_scale": job.local.time_scale,
                "night": night.name,
                "story": night.story,
                "overrides": dict(night.overrides),
                "build": str(scratch.parent.parent),
            }
        )
        raise NightNotOverError("the execution")

    monkeypatch.setattr(staging, "play", play)
    return nights


@pytest.fixture
def folder(tmp_path, good_job):
    """The current directory of the command, with a job and markets in it."""
    files = {"job.yaml": good_job, "m.yaml": MARKET, "bad.yaml": BAD_MARKET, "t.json": TRACE}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def options_of_run():
    """The names of the command's options."""
    command = typer.main.get_command(app).commands["run"]
    return {name for parameter in command.params for name in parameter.opts if name.startswith("--")}


# Of a deployed job's run: test_run_aws has the good ones. Here they mean nothing.
OF_A_DEPLOYMENT = {
    "--stack": ("--stack", "Nightspot"),
    "--api": ("--api", "https://api.example.com"),
    "--region": ("--region", "eu-west-1"),
    "--profile": ("--profile", "training"),
    "--wait": ("--wait",),
    "--timeout": ("--timeout", "1h"),
    "--idempotency-key": ("--idempotency-key", "build-7"),
}


def test_every_option_is_tried_well_and_badly():
    of_a_night = options_of_run() - {"--help", *OF_A_DEPLOYMENT}
    assert {option for option, *_ in GOOD} == of_a_night
    # Without it nothing is played at all: see test_usage_mistakes.
    assert {option for option, *_ in BAD} == of_a_night - {"--local"}
    assert set(OF_A_DEPLOYMENT) <= options_of_run()


@pytest.mark.parametrize(("option", "arguments"), OF_A_DEPLOYMENT.items())
def test_what_is_about_a_deployment_means_nothing_here(nightspot, folder, played, option, arguments):
    answer = nightspot("run", "job.yaml", "--local", *arguments)
    assert answer.status == 2
    assert f"{option}: " in answer.err
    assert "means nothing with --local" in answer.err
    assert played == []


@pytest.mark.parametrize(("option", "arguments", "asked"), GOOD)
def test_a_good_option_reaches_the_night(nightspot, folder, played, option, arguments, asked):
    answer = nightspot("run", "job.yaml", "--local", *arguments)
    assert "the run hangs: the execution is still running" in answer.err
    [night] = played
    # As JSON answers: nothing but the record, and here there is none.
    night["out"] = answer.out
    assert {name: night[name] for name in asked} == asked


@pytest.mark.parametrize(("option", "arguments", "status", "said"), BAD)
def test_a_bad_option_is_one_clear_line_and_starts_nothing(
    nightspot, folder, played, option, arguments, status, said
):
    before = {path for path in folder.rglob("*") if path.is_file()}
    answer = nightspot("run", "job.yaml", "--local", *arguments)
    assert (answer.status, answer.out) == (status, "")
    assert said in answer.err
    assert answer.err.lower().count("error: ") == 1
    assert played == []
    assert {path for path in folder.rglob("*") if path.is_file()} == before


def test_what_the_job_file_does_not_let_a_start_change_is_refused_here_as_well(nightspot, folder, played):
    answer = nightspot("run", "job.yaml", "--local", "--budget", "301")
    assert answer.status == 1
    assert "budget.per_run_usd: 301.0: must be at most 300: set overrides.per_run_usd" in answer.err
    assert played == []


def test_the_rules_between_the_job_and_its_overrides_hold(nightspot, folder, played, good_job):
    spot_only = good_job.replace("  on_demand: [ml.p4d.24xlarge]\n", "").replace(
        "fallback: on_demand", "fallback: never"
    )
    (folder / "spot.yaml").write_text(spot_only, encoding="utf-8")
    answer = nightspot("run", "spot.yaml", "--local", "--market", "on_demand")
    assert answer.status == 1
    assert (
        "market: 'on_demand': needs instance types: the job has none under capacity.on_demand" in answer.err
    )
    assert played == []


JOB = f"""
name: counter
deadline: {{within: 3h}}
work: 20m
checkpoint_every: 10m
capacity: {{spot: [{G5}], on_demand: [{G5}]}}
overrides: {{instance_types: {{spot: [{G4}]}}}}
training_job:
  RoleArn: arn:aws:iam::123456789012:role/counter
  AlgorithmSpecification: {{TrainingImage: "counter:1", TrainingInputMode: File}}
  HyperParameters: {{steps: "12", every: "4"}}
  OutputDataConfig: {{S3OutputPath: s3://counter-models/nightly/}}
  CheckpointConfig: {{S3Uri: s3://counter-checkpoints/nightly/}}
  ResourceConfig: {{InstanceCount: 1, VolumeSizeInGB: 10}}
  StoppingCondition: {{MaxRuntimeInSeconds: 7200}}
local:
  command: [python, trainer.py]
  time_scale: 100
  environment: {{REAL_SECONDS_PER_STEP: "0.5"}}
"""


@pytest.mark.workflow
def test_a_real_night_with_overrides_does_as_they_say_and_keeps_them_on_record(tmp_path, slower):
    (tmp_path / "job.yaml").write_text(JOB, encoding="utf-8")
    (tmp_path / "trainer.py").write_text(TRAINER.read_text(encoding="utf-8"), encoding="utf-8")
    overrides = ["--market", "spot", "--instance-type", f"{G4}@0.5", "--deadline", "4h", "--budget", "5"]
    overrides += ["--hyperparameter", "steps=4", "--hyperparameter", "every=2", "--fallback", "never"]
    command = [sys.executable, "-m", "nightspot", "run", "job.yaml", "--local"]
    done = subprocess.run(
        [*command, "--time-scale", str(400 / slower), *overrides],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = " ".join(done.stdout.split())
    assert f"This run market: spot; instance_types: {G4} (speed 0.5); " in said
    assert "fallback: never." in said
    assert "model due by 04:00 UTC" in said
    [record] = (tmp_path / "build" / "runs").glob("*.json")
    night = json.loads(record.read_text(encoding="utf-8"))
    assert night["overrides"] == {
        "market": "spot",
        "instance_types": [{"instance_type": G4, "speed": 0.5}],
        "deadline": {"within": 14400},
        "hyperparameters": {"steps": "4", "every": "2"},
        "budget": {"per_run_usd": 5.0},
        "fallback": "never",
    }
    [attempt] = night["attempts"]
    assert (attempt["market"], attempt["instance_type"]) == ("spot", G4)
    assert attempt["step_after"] == 4  # of the job's twelve
    assert night["deadline_met"]
