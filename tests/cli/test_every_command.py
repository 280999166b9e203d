"""Each command of the reference with a good input and a bad one: its status, its words, and JSON that parses.

No night is played here (tests/cli/test_demo_command.py and tests/workflow play them): a recorded one stands for it.
"""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import typer

from nightspot import __version__
from nightspot.cli import COMMANDS, app
from nightspot.local.stage import records, staging
from nightspot.record.model import read_record
from tests import records as past_records
from tests.cli.conftest import put_together

RUN = "20261121-d74a4a"
TRAINING = """
import os
from pathlib import Path
from nightspot.checkpoint import Checkpointer
checkpointer = Checkpointer(total_steps=4, every_steps=1)
restored = checkpointer.restore()
for step in range((restored.step if restored else 0) + 1, 5):
    checkpointer.save_if_due(step, {}, metrics={"loss": 1.0 / step})
Path(os.environ["SM_MODEL_DIR"], "model").write_text("model")
"""
DESCRIBED = {
    "TrainingJobName": "recommender-1",
    "RoleArn": "arn:aws:iam::123456789012:role/training",
    "AlgorithmSpecification": {"TrainingImage": "training:latest", "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://models/nightly/"},
    "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
    "StoppingCondition": {"MaxRuntimeInSeconds": 21600},
    "CheckpointConfig": {"S3Uri": "s3://checkpoints/fixed/"},
}


@dataclass(frozen=True)
class Case:
    """A command's arguments that are good and those that are bad; `bad_status` with `words` on standard error.

    `good`: None for a command that only a deployment or a server can answer well, see `GOOD_ELSEWHERE`.
    """

    good: tuple[str, ...] | None
    bad: tuple[str, ...]
    words: str
    bad_status: int = 2
    json: tuple[str, ...] | None = ("--json",)  # what makes the good one print JSON; None: it has no data


CASES = {
    "new": Case(("project",), ("jobs",), "DIR: 'jobs': must be a new or an empty folder"),
    "init": Case(("described.json",), ("gone.json",), "gone.json"),
    "validate": Case(("job.yaml",), ("bad.yaml",), "work: 'soon': must be a duration", 1),
    "doctor": Case(
        ("job.yaml", "--local"), ("--region", "EU"), "--region: 'EU': must be the name of a region"
    ),
    "selftest": Case(("--plan",), ("--only", "Z9"), "--only: Z9: must be one of A1"),
    "facts harvest": Case(None, ("gone.json",), "gone.json: cannot be read: No such file or directory", 1),
    "facts diff": Case(None, ("gone.json", "gone.json"), "gone.json: No such file or directory", 1),
    "synth": Case(None, ("--context", "log_days"), "--context: 'log_days': must be KEY=VALUE"),
    "deploy": Case(None, ("--region", "EU"), "--region: 'EU': must be the name of a region", json=None),
    "smoke": Case(None, ("--timeout", "soon"), "--timeout: 'soon': must be a duration"),
    "push": Case(None, ("nobody",), "JOB: 'nobody': must be a job file, or a job in jobs: ", 1),
    "demo": Case(("--night", "quiet"), ("--night", "foggy"), "night: 'foggy': must be one of"),
    "run": Case(
        ("job.yaml", "--local"), ("job.yaml", "--local", "--deadline", "soon"), "deadline: 'soon'", 1
    ),
    "drill": Case(
        ("job.yaml", "--local", "--kills", "1"),
        ("job.yaml", "--local", "--kills", "0"),
        "--kills: 0: must be",
    ),
    "jobs": Case(("jobs",), ("nowhere",), "'nowhere': must be a directory of job files", 1),
    "runs": Case((), ("--since", "soon"), "--since: 'soon': must be a duration"),
    "show": Case((RUN,), ("x",), "run: 'x': is not in build/runs", 1),
    "history": Case(("job.yaml",), ("nobody",), "JOB: 'nobody': is no job of jobs/"),
    "watch": Case((RUN,), ("x",), "run: 'x': is not in build/runs", 1),
    "logs": Case((RUN,), (RUN, "--attempt", "9"), "--attempt: 9: must be one of 1, 2", 1),
    "stop": Case(None, (RUN, "--timeout", "soon"), "--timeout: 'soon': must be a duration"),
    "audit": Case(None, ("--fix", "--json"), "--json needs --yes, because nobody is asked"),
    "retry": Case(None, (RUN, "--local"), "--local: a local run cannot be retried", 1),
    "report": Case(
        ("--run", RUN),
        ("--job", "recommender", "--month", "11/2026"),
        "--month: '11/2026': must be a year and a month",
        json=("--format", "json"),
    ),
    "explain": Case(
        ("CapacityError: no capacity",), ("--status", "Odd"), "--status: 'Odd': 'Odd' must be one"
    ),
    "advise": Case(("job.yaml", "--nights", "2"), ("job.yaml", "--nights", "0"), "--nights"),
    "prices": Case(
        ("job.yaml",), ("job.yaml", "--region", "EU"), "--region: 'EU': must be the name of a region"
    ),
    "backtest": Case(
        ("--traces", "traces", "--starts", "1"), ("--traces", "traces", "--starts", "0"), "--starts"
    ),
    "schema": Case((), ("--wrong",), "--wrong", json=()),
    "completion": Case(("bash",), ("tcsh",), "tcsh", json=None),
    "local aws": Case(None, ("nowhere",), "'nowhere': must be a directory of job files", 1),
    "local serve": Case(
        None, ("jobs", "--time-scale", "0.5"), "--time-scale: 0.5: must be a number from 1 on"
    ),
}
# What its messages have, and no user should read.
OF_PYDANTIC = ("Value error", "pydantic", "Input should", "type=", "unable to parse")
# The test that has the good one.
GOOD_ELSEWHERE = {
    "facts harvest": "tests/cassettes/test_folding.py::test_the_command_reads_files_and_folders",
    "facts diff": "tests/cli/test_facts_command.py::test_diff_fails_where_what_changed_breaks_something",
    "synth": "tests/wheel/test_wheel.py::test_a_new_project_is_synthesised",
    "deploy": "tests/cli/test_deploy_commands.py::test_what_is_deployed_is_left_to_the_cdk_command_line",
    "smoke": "tests/cli/test_smoke_command.py::test_from_a_deployed_stack_to_a_model_and_all_that_a_run_leaves",
    "push": "tests/cli/test_push_command.py::test_a_changed_script_is_the_next_run_s_without_a_deployment",
    "audit": "tests/cli/test_audit_command.py::test_a_deployment_without_a_fault_is_said_to_be_so",
    "stop": "tests/cli/test_operate_commands.py::test_a_person_who_says_yes_stops_the_run_and_sees_its_end",
    "retry": "tests/cli/test_run_aws.py::test_retry_takes_the_old_run_s_overrides_along_and_says_so",
    "local aws": "tests/emulator/test_local_aws.py::test_a_new_project_is_deployed_and_runs_on_this_machine",
    "local serve": "tests/cli/test_every_command.py::test_the_served_api_says_where_it_is_and_ends_with_ctrl_c",
}


def test_every_command_has_a_case_and_every_case_a_command():
    group = typer.main.get_command(app)
    names = {name: getattr(group.commands[name], "commands", None) for name in group.list_commands(None)}
    known = [f"{name} {sub}" for name, subs in names.items() for sub in subs or ()]
    assert sorted([name for name, subs in names.items() if not subs] + known) == sorted(CASES)


def test_the_help_has_every_command_s_own_first_line():
    group = typer.main.get_command(app)
    for section in COMMANDS.values():
        for name, (_, line) in section.items():
            assert " ".join(group.commands[name].help.split("\n\n")[0].split()) == line


def test_the_help_the_version_and_names_for_a_shell_import_no_command(root):
    script = """
import sys
from nightspot.cli import app
from typer.testing import CliRunner
helped = CliRunner().invoke(app, ["--help"])
assert "Write a project into an empty folder" in helped.stdout, helped
assert CliRunner().invoke(app, ["--version"]).stdout.startswith("0.")
print(*sorted(name for name in sys.modules if name.startswith("nightspot.")))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["nightspot.cli", "nightspot.cli.completion"]


def test_the_version_is_the_package_s(call):
    assert call("--version").out == f"{__version__}\n"


def test_a_good_input_that_is_tried_elsewhere_is_there(root):
    assert {name for name, case in CASES.items() if case.good is None} == set(GOOD_ELSEWHERE)
    for place in GOOD_ELSEWHERE.values():
        path, _, name = place.partition("::")
        assert f"def {name}(" in (root / path).read_text(encoding="utf-8")


@pytest.fixture
def record(root):
    return json.loads((root / "tests" / "view" / "html" / "bad_night.json").read_text(encoding="utf-8"))


@pytest.fixture
def folder(tmp_path, good_job, record, monkeypatch):
    """The current directory: job files, a record, a trace; a night that is played ends as the recorded one."""
    job = good_job.replace("[python, examples/recommender/train.py]", f"[{sys.executable}, train.py]")
    trace = {"metadata": {"gap_seconds": 600}, "data": ([1] * 36 + [0] * 36) * 6}
    files = {
        "job.yaml": job,
        "jobs/recommender.yaml": job,
        "bad.yaml": job.replace("work: 4h ", "work: soon "),
        "train.py": TRAINING,
        "traces/zone-a.json": json.dumps(trace),
        "described.json": json.dumps(DESCRIBED),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    past_records.keep(tmp_path / "build" / "runs", {**record, "started_at": "2026-11-21T00:00:11+00:00"})
    log = tmp_path / "build" / "demo" / "logs" / f"{record['attempts'][-1]['training_job_name']}.log"
    log.parent.mkdir(parents=True)
    log.write_text("epoch 1\n")
    monkeypatch.setattr(staging, "play", lambda *_, **__: SimpleNamespace(record=read_record(record)))
    monkeypatch.setattr(staging, "ending", lambda _night: records.Ended(state_transitions=50))
    return tmp_path


@pytest.fixture
def call(nightspot, folder):
    """`call(command, *arguments)`, where nothing that a demo leaves goes into the repository."""

    def call(command, *arguments):
        here = ("--build", folder / "played") if command == "demo" and "foggy" not in arguments else ()
        return nightspot(*command.split(), *arguments, *here)

    return call


@pytest.mark.parametrize("command", [name for name, case in CASES.items() if case.good is not None])
def test_a_good_input_is_answered(call, command):
    answer = call(command, *CASES[command].good)
    assert answer.status == 0, answer.err
    assert answer.out


def test_the_json_of_every_command_that_has_data_parses(call):
    for command, case in CASES.items():
        if case.good is None or case.json is None:
            continue
        answer = call(command, *case.good, *case.json, *(("--out", "a.yaml") if command == "init" else ()))
        assert answer.status == 0, (command, answer.err)
        if command == "watch":
            assert [json.loads(line)["kind"] for line in answer.out.splitlines()][-1] == "end"
        else:
            assert json.loads(answer.out), command


@pytest.mark.parametrize("command", CASES)
def test_a_bad_input_is_refused_with_its_field_and_rule(call, command):
    case = CASES[command]
    answer = call(command, *case.bad)
    assert answer.status == case.bad_status, answer.out
    said = f"{answer.err} {answer.out}" if command == "validate" else answer.err
    assert case.words in said
    assert not [words for words in ("Traceback", *OF_PYDANTIC) if words in said]


@pytest.fixture
def option_of(monkeypatch):
    """`option_of(command)`: what stands before the value of each option; the command then does nothing."""

    def option_of(name):
        found = put_together(app)
        for each in name.split():
            found = found.commands[each]
        monkeypatch.setattr(found, "callback", lambda **_given: None)
        return [
            "" if each.param_type_name == "argument" else f"{each.opts[0]}="
            for each in found.params
            if not getattr(each, "is_flag", False)
        ]

    return option_of


@pytest.mark.parametrize("command", CASES)
def test_no_option_refuses_a_value_in_the_words_of_pydantic(nightspot, option_of, command):
    for option in option_of(command):
        for value in ("", "x", "1.5", "-1", "nan", "1e999", "9" * 30, "☃"):
            answer = nightspot(*command.split(), f"{option}{value}")
            found = [words for words in OF_PYDANTIC if words in answer.err]
            assert not found, answer.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("selftest", "--part", "D"), "'--part': 'D' is not one of 'A', 'B', 'C'."),
        (("runs", "--outcome", "good"), "'--outcome': 'good' is not one of 'running', 'succeeded',"),
        (
            ("report", "--format", "pdf"),
            "'--format': 'pdf' is not one of 'html', 'svg', 'png', 'csv', 'json'.",
        ),
        (("selftest", "--max-usd", "x"), "'--max-usd': 'x': must be a number"),
        (("selftest", "--max-usd=-1"), "'--max-usd': '-1': must be at least 0"),
        (("runs", "--limit", "1.5"), "'--limit': '1.5': must be a whole number"),
    ],
    ids=["a repeated choice", "an outcome", "a choice", "no number", "too small", "no whole number"],
)
def test_a_value_of_the_wrong_kind_is_refused_with_its_option_and_the_rule(nightspot, arguments, words):
    answer = nightspot(*arguments)
    assert (answer.status, answer.err.partition("Invalid value for ")[2].startswith(words)) == (2, True), (
        answer.err
    )


@pytest.mark.parametrize("command", CASES)
def test_every_command_helps_and_refuses_an_option_that_it_does_not_have(call, command, root):
    helped = call(command, "--help")
    assert helped.status == 0
    # Help is printed in the docs too: nothing of this machine is in it.
    assert str(root) not in "".join(helped.out.split())
    assert "--no-such-option" in call(command, "--no-such-option").err


def test_what_prints_data_has_json(call):
    without = {name for name in CASES if "--json" not in call(name, "--help").out}
    # A script, JSON itself, and a page whose JSON is one of its formats.
    assert without == {"completion", "deploy", "schema", "report"}


@pytest.mark.long
def test_the_served_api_says_where_it_is_and_ends_with_ctrl_c(folder):
    command = [sys.executable, "-m", "nightspot", "local", "serve", "jobs", "--port", "0", "--json"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        line = json.loads(server.stdout.readline())
        assert line["url"].startswith("http://127.0.0.1:")
        assert line["jobs"] == ["recommender"]
        server.send_signal(signal.SIGINT)
        assert "Traceback" not in server.stderr.read()
    assert server.returncode in {0, 130}
