"""`nightspot doctor`: what a person sees, with which status it ends, and what it says of this machine."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import boto3
import pytest
import typer
from botocore.exceptions import ClientError, EndpointConnectionError
from rich.console import Console
from typer.testing import CliRunner

from nightspot.aws.doctor import CHECKS, Check, CheckFinding, CheckState, Visit
from nightspot.cli.doctor import (
    COUNTED,
    EASY_BYTES,
    GIB,
    LEAST_BYTES,
    MODULES,
    STYLES,
    ThisMachine,
    doctor,
    examine_machine,
    findings_as_json,
    show_finding,
    show_sum,
)
from nightspot.job.reading import check_files

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _nobody_s_machine(monkeypatch, tmp_path):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def jobs(tmp_path, good_job):
    """The folder of job files where the command is called, with the example's script beside it."""
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "recommender.yaml").write_text(good_job)
    script = tmp_path / "examples" / "recommender" / "train.py"
    script.parent.mkdir(parents=True)
    script.touch()
    return folder


@pytest.fixture
def command():
    """`command(*arguments)`: the answer of the command line with this one command."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(doctor)

    def call(*arguments):
        result = CliRunner().invoke(app, [str(each) for each in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return call


class Sts:
    """STS that answers with an error."""

    def __init__(self, error):
        self.error = error

    def get_caller_identity(self):
        raise self.error


def asked(capsys, error, monkeypatch, **options):
    """(status, standard output) where the first call of AWS ends with `error`."""
    answers = ("eu-west-1", lambda service: Sts(error))
    monkeypatch.setattr("nightspot.cli.doctor._session", lambda _profile, _region: answers)
    with pytest.raises(typer.Exit) as ended:
        doctor(**options)
    return ended.value.exit_code, capsys.readouterr().out


EXPIRED = ClientError({"Error": {"Code": "ExpiredToken", "Message": "old"}}, "GetCallerIdentity")
NO_NETWORK = EndpointConnectionError(endpoint_url="https://example.org")


def test_a_problem_ends_with_1_and_its_mend_is_below_it(jobs, capsys, monkeypatch):
    status, out = asked(capsys, EXPIRED, monkeypatch)
    assert status == 1
    lines = [" ".join(line.split()) for line in out.splitlines()]
    at = lines.index("problem credentials the credentials have expired")
    assert lines[at + 1].startswith("fix: aws sso login")
    assert lines[-1] == f"1 problem, {len(CHECKS) - 3} not checked, 2 ok"


def test_without_a_network_nothing_is_a_problem(jobs, capsys, monkeypatch):
    status, out = asked(capsys, NO_NETWORK, monkeypatch, as_json=True)
    assert status == 0
    document = json.loads(out)
    assert document["ok"] is True
    assert {each["check"]: each["state"] for each in document["checks"]} == {
        check.value: "ok" if check in {Check.REGION, Check.JOBS} else "not checked" for check in CHECKS
    }


def test_a_folder_without_jobs_still_has_its_account_looked_at(capsys, monkeypatch):
    status, out = asked(capsys, NO_NETWORK, monkeypatch)
    assert status == 0
    assert re.search(r"not checked\s+job files\s+there are no job files here", out)


def test_no_region_is_found_rather_than_refused(jobs, command):
    answer = command()
    assert answer.exit_code == 1
    assert "no region is configured" in answer.stdout


def test_the_file_that_is_named_is_the_one_that_is_looked_at(jobs, command, good_job):
    (jobs / "broken.yaml").write_text(good_job.replace("work: 4h ", "work: soon "))
    assert "work: 'soon'" in command(jobs, "--local").stdout
    good = command(jobs / "recommender.yaml", "--local")
    assert (good.exit_code, "soon" in good.stdout) == (0, False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.yaml",), "FILE: 'nowhere.yaml': must be a job file or a folder of them"),
        (("empty",), "FILE: 'empty': holds no job files"),
        (("--region", "mars"), "--region: 'mars': must be the name of a region"),
        (("--stack", "my stack"), "--stack: 'my stack': must be a letter"),
        (("--profile", "nobody"), "--profile: The config profile (nobody) could not be found"),
        (("--placeholder", "ModelBucket"), "--placeholder: 'ModelBucket': must be NAME=VALUE"),
        (("--local", "--region", "eu-west-1"), "--region: 'eu-west-1': means nothing with --local"),
        (("--local", "--stack", "Other"), "--stack: 'Other': means nothing with --local"),
    ],
)
def test_a_wrong_call_ends_with_2(command, tmp_path, arguments, said):
    (tmp_path / "empty").mkdir()
    answer = command(*arguments)
    assert answer.exit_code == 2
    assert said in re.sub(r"[\s│]+", " ", answer.stderr)


def test_a_profile_of_the_environment_that_is_not_there_is_named(command, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    answer = command()
    assert answer.exit_code == 2
    assert "AWS_PROFILE: The config profile (nobody)" in re.sub(r"[\s│]+", " ", answer.stderr)


def test_this_machine_is_looked_at_without_aws(jobs, command):
    answer = command("--local", "--json")
    found = {each["check"]: each for each in json.loads(answer.stdout)["checks"]}
    assert list(found) == ["Python", "packages", "disk", "job files", "local command"]
    assert found["local command"] == {
        "check": "local command",
        "subject": "recommender",
        "state": "ok",
        "found": "examples/recommender/train.py is there",
        "fix": None,
    }


def machine(tmp_path, **changes):
    fields = {
        "python": (3, 11, 9),
        "has_module": lambda name: True,
        "free_bytes": lambda path: EASY_BYTES,
        "program": lambda name: None,
    }
    return ThisMachine(tmp_path, **{**fields, **changes})


def local_finding(check, folder, machine):
    visit = Visit(None, lambda service: None, lambda: NOON, tuple(check_files([folder])))
    (finding,) = (found for found in examine_machine(machine, visit) if found.check is check)
    return finding


@pytest.mark.parametrize(
    ("check", "changes", "state", "said"),
    [
        (Check.PYTHON, {"python": (3, 11, 0)}, CheckState.OK, "3.11.0; Node.js and Docker are not needed"),
        (Check.PYTHON, {"python": (3, 10, 4)}, CheckState.PROBLEM, "3.10.4; 3.11 or newer"),
        (Check.PACKAGES, {}, CheckState.OK, "installed"),
        (Check.PACKAGES, {"has_module": lambda name: name != "yaml"}, CheckState.PROBLEM, "missing: pyyaml"),
        (Check.DISK, {}, CheckState.OK, "5.0 GiB free"),
        (Check.DISK, {"free_bytes": lambda path: LEAST_BYTES}, CheckState.WARNING, "1.0 GiB free"),
        (Check.DISK, {"free_bytes": lambda path: GIB // 2}, CheckState.PROBLEM, "0.5 GiB free"),
    ],
)
def test_a_night_needs_this_of_the_machine(jobs, tmp_path, check, changes, state, said):
    finding = local_finding(check, jobs, machine(tmp_path, **changes))
    assert finding.state is state
    assert said in finding.found
    assert bool(finding.fix) is (state is not CheckState.OK)


@pytest.mark.parametrize(
    ("given", "state", "said"),
    [
        ("[python, examples/recommender/train.py]", CheckState.OK, "train.py is there"),
        ("[python, -u, examples/recommender/train.py]", CheckState.OK, "train.py is there"),
        ("[python, examples/gone.py]", CheckState.PROBLEM, "there is no examples/gone.py below"),
        ("[python, -m, training.main]", CheckState.OK, "python is there"),
        ("[bash, anything.sh]", CheckState.OK, "bash is there"),
        ("[trainer, --fast]", CheckState.PROBLEM, "'trainer' is no program here"),
    ],
)
def test_the_job_s_own_command_is_there_or_not(jobs, tmp_path, good_job, given, state, said):
    (jobs / "recommender.yaml").write_text(good_job.replace("[python, examples/recommender/train.py]", given))
    here = machine(tmp_path, program=lambda name: "/bin/bash" if name == "bash" else None)
    finding = local_finding(Check.COMMAND, jobs, here)
    assert (finding.state, finding.subject) == (state, "recommender")
    assert said in finding.found


def test_a_job_without_a_local_command_is_a_warning(jobs, tmp_path, good_job):
    (jobs / "recommender.yaml").write_text(good_job.partition("\nlocal:")[0] + "\n")
    finding = local_finding(Check.COMMAND, jobs, machine(tmp_path))
    assert (finding.state, finding.found) == (CheckState.WARNING, "the file has no local.command")


def test_the_modules_of_the_local_run_are_really_there():
    assert local_missing() == []


def local_missing():
    has = ThisMachine(Path()).has_module
    return [name for name in MODULES if not has(name)]


def test_every_state_has_a_colour_and_is_counted():
    assert set(STYLES) == set(CheckState) == set(COUNTED)


def test_every_check_is_the_account_s_or_the_machine_s():
    of_the_machine = {Check.PYTHON, Check.PACKAGES, Check.DISK, Check.COMMAND}
    assert set(CHECKS) | of_the_machine == set(Check)
    assert not set(CHECKS) & of_the_machine


def test_lines_are_not_wrapped_so_that_commands_can_be_copied():
    stream = StringIO()
    console = Console(file=stream, width=40)
    finding = CheckFinding(Check.IMAGE, CheckState.WARNING, "said " * 20, "aws " * 20, "a:b")
    show_finding(console, finding)
    show_sum(console, [finding, finding])
    shown, fix, total = stream.getvalue().splitlines()
    assert "a:b: said said" in shown
    assert fix.strip() == "fix: " + " ".join(["aws"] * 20)
    assert total == "2 warnings"


def test_json_has_null_for_what_there_is_not():
    assert findings_as_json([CheckFinding(Check.CLOCK, CheckState.PROBLEM, "off")]) == {
        "ok": False,
        "checks": [{"check": "clock", "subject": None, "state": "problem", "found": "off", "fix": None}],
    }
