"""`nightspot drill`: what it prints, what its status means, and how it refuses what cannot be drilled."""

import json
from importlib import import_module

import pytest
import typer

# The package's attribute of this name is the module; `from` would do as well if the command were called otherwise.
from nightspot.cli.account import Asked

command = import_module("nightspot.cli.drill")

GOOD = """
import os, time
from pathlib import Path
from nightspot.checkpoint import Checkpointer
checkpointer = Checkpointer(total_steps=8, every_steps=2)
restored = checkpointer.restore()
done, value = (restored.step, restored.state["value"]) if restored else (0, 1.0)
for step in range(done + int(os.environ.get("FIRST", "1")), 9):
    time.sleep(0.02)
    value *= 0.7
    checkpointer.save_if_due(step, {"value": value}, metrics={"loss": value})
Path(os.environ["SM_MODEL_DIR"], "model").write_text(str(value))
"""


@pytest.fixture
def job(tmp_path, good_job):
    """A job file in the current directory, with a command of our own."""

    def write(text=GOOD, **changes):
        (tmp_path / "train.py").write_text(text)
        content = good_job.replace("[python, examples/recommender/train.py]", "[python, train.py]")
        for old, new in changes.values():
            assert old in content
            content = content.replace(old, new)
        (tmp_path / "job.yaml").write_text(content)
        return tmp_path / "job.yaml"

    return write


@pytest.fixture
def no_drill(monkeypatch):
    """Whatever would be drilled is an error: the command refuses before it starts anything."""

    def refuse(*_, **__):
        raise AssertionError("a drill was started")

    monkeypatch.setattr("nightspot.local.drill.drill", refuse)


def test_a_good_job_passes_with_status_0_a_table_and_a_picture(nightspot, job, tmp_path):
    answer = nightspot("drill", job(), "--local", "--kills", 2)
    assert answer.status == 0
    assert answer.err == ""
    assert "the result is that of an uninterrupted run" in answer.out
    assert "1 of 4  undisturbed, life 1: 8 steps, 4 saves" in answer.out
    assert "4 of 4  " in answer.out
    assert "build/drills/recommender.png" in answer.out
    assert (tmp_path / "build" / "drills" / "recommender.png").read_bytes().startswith(b"\x89PNG")


def test_a_wrong_resume_fails_with_status_1_and_the_reason_in_json(nightspot, job, tmp_path):
    answer = nightspot(
        *("drill", job(), "--local", "--kills", 1, "--env", "FIRST=2", "--json"),
        *("--picture", tmp_path / "own.svg", "--keep", tmp_path / "kept", "--seed", 3),
    )
    # With FIRST=2 the undisturbed training begins with step 2 as well.
    assert (answer.status, answer.err) == (1, "")
    told = json.loads(answer.out)
    assert (told["outcome"], told["causes"][0], told["seed"]) == ("FAIL", "skipped", 3)
    assert told["reasons"][0].startswith("step ")
    assert told["picture"] == str(tmp_path / "own.svg")
    assert (tmp_path / "own.svg").is_file()
    assert max(each.name for each in (tmp_path / "kept" / "logs").iterdir()) == "undisturbed-life-1.log"
    assert list((tmp_path / "kept" / "journals").iterdir())


# Its draws begin anew with every process.
REDRAWN = GOOD.replace("value *= 0.7", "value *= draws.uniform(0.6, 0.8)").replace(
    "import os, time", "import os, random, time\ndraws = random.Random(7)"
)


def test_a_resume_that_is_not_to_the_bit_has_a_status_of_its_own(nightspot, job):
    answer = nightspot("drill", job(REDRAWN), "--local", "--kills", 1, "--json")
    assert (answer.status, answer.err) == (7, "")
    told = json.loads(answer.out)
    assert (told["outcome"], told["to_the_bit"]) == ("INEXACT", False)
    assert told["claim"].startswith("resumes, not to the bit: ")
    assert told["difference"]["metric"] == "loss"
    allowed = nightspot("drill", job(REDRAWN), "--local", "--kills", 1, "--tolerance", 0.9)
    assert allowed.status == 0
    assert "resumes within the tolerance of 90 %, not to the bit" in " ".join(allowed.out.split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--kills", 0), "--kills: 0: must be a number from 1 to 1000"),
        (("--kills", 1001), "--kills: 1001: must be"),
        (("--tolerance", 1), "--tolerance: 1: must be a share from 0 to less than 1"),
        (("--tolerance", "-0.1"), "--tolerance: -0.1: must be"),
        (("--timeout", "soon"), "--timeout: 'soon': must be a duration"),
        (("--grace", "0s"), "--grace: '0s': must be a duration"),
        (("--env", "FIRST"), "--env: 'FIRST': must be NAME=VALUE"),
        (("--env", "2X=1"), "--env: '2X': must be NAME=VALUE"),
        (("--env", "A=1", "--env", "A=2"), "--env: 'A': must be given only once"),
        (("--picture", "drill.txt"), "--picture: 'drill.txt': must end in .png, .svg, .pdf"),
    ],
)
def test_an_option_that_cannot_be_is_named_with_its_value_and_rule(nightspot, job, no_drill, options, words):
    answer = nightspot("drill", job(), "--local", *options)
    assert answer.status == 2
    assert words in answer.err.replace("│ ", "").replace(" │", "")


def test_a_folder_that_holds_something_is_not_taken_for_the_logs(nightspot, job, no_drill, tmp_path):
    path = job()
    answer = nightspot("drill", path, "--local", "--keep", tmp_path)
    assert answer.status == 2
    assert "must be a new or an empty folder" in answer.err


def test_a_job_file_that_is_wrong_is_bad_input_and_no_failed_drill(nightspot, job, no_drill, tmp_path):
    assert nightspot("drill", tmp_path / "none.yaml", "--local").status == 2
    answer = nightspot("drill", job(name=("name: recommender", "name: Not A Name")), "--local")
    assert answer.status == 2
    assert "name: 'Not A Name': must be lower-case letters" in answer.err


def test_a_job_that_cannot_train_here_or_keeps_nothing_is_refused(nightspot, job, no_drill):
    path = job()
    text = path.read_text()
    path.write_text(text[: text.index("# On this machine")])
    answer = nightspot("drill", path, "--local")
    assert answer.status == 2
    assert "local: nothing: must say with local.command" in answer.err
    path.write_text(
        text.replace("fallback: on_demand", "interruptible: from_start\nfallback: on_demand").replace(
            "  CheckpointConfig:    # each run gets a prefix of its own below this one\n"
            "    S3Uri: s3://${CheckpointBucket}/recommender/\n",
            "",
        )
    )
    answer = nightspot("drill", path, "--local")
    assert answer.status == 2
    assert "training_job.CheckpointConfig: nothing: must name where checkpoints go" in answer.err


def test_a_metric_definition_that_cannot_be_used_is_named(nightspot, job, no_drill):
    mode = "    TrainingInputMode: File\n"
    definition = '    MetricDefinitions: [{Name: step, Regex: "step ["}]\n'
    answer = nightspot("drill", job(metrics=(mode, mode + definition)), "--local")
    assert answer.status == 2
    assert "MetricDefinitions[0].Regex: 'step [': must be a regular expression" in answer.err


def test_a_command_that_is_not_there_is_bad_input(nightspot, job):
    answer = nightspot("drill", job(command=("[python, train.py]", "[no-such-command]")), "--local")
    assert answer.status == 2
    assert "no-such-command" in answer.err


def test_ctrl_c_ends_with_the_status_of_an_interrupt(nightspot, job, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("nightspot.local.drill.drill", interrupted)
    answer = nightspot("drill", job(), "--local")
    assert answer.status == 130
    assert "everything the drill had started is stopped" in answer.err


@pytest.mark.parametrize("option", ["--kills=2", "--seed=0", "--env=A=1", "--grace=5s", "--keep=logs"])
def test_what_is_for_this_machine_is_refused_on_aws(nightspot, job, monkeypatch, option):
    monkeypatch.setattr(command, "drill_on_aws", None)
    answer = nightspot("drill", job(), option)
    assert answer.status == 2
    assert f"{option.split('=')[0]}: is for a drill with --local" in answer.err


@pytest.mark.parametrize("option", ["--yes", "--max-usd=1", "--region=eu-west-1", "--placeholder=A=1"])
def test_what_is_for_aws_is_refused_on_this_machine(nightspot, job, no_drill, option):
    answer = nightspot("drill", job(), "--local", option)
    assert answer.status == 2
    assert f"{option.split('=')[0]}: is for a drill on AWS, without --local" in answer.err


def test_without_local_the_drill_is_one_of_aws_with_the_options_that_were_given(nightspot, job, monkeypatch):
    asked = {}

    def drill_on_aws(given, options, account, **how):
        asked.update(how, job=given.name, options=options, account=account)
        raise typer.Exit(1)

    monkeypatch.setattr(command, "drill_on_aws", drill_on_aws)
    answer = nightspot("drill", job(), "--max-minutes", 20, "--placeholder", "ModelBucket=m", "--json")
    assert answer.status == 1
    assert asked == {
        "job": "recommender",
        "options": command.OnAws(max_minutes=20),
        "account": Asked(placeholder=["ModelBucket=m"]),
        "as_json": True,
    }
    assert nightspot("drill", "none.yaml").status == 2
