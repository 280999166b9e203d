"""`nightspot local serve`: its mistakes, and one server with a real training process, ended by a signal."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nightspot.aws.runs.api_client import ApiClient, ApiError
from nightspot.cli.local_serve import app
from nightspot.local import serving

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120
JOB = """
name: {name}
deadline: {{within: 3h}}
work: 1h
checkpoint_every: 10m
capacity: {{spot: [ml.g5.xlarge], on_demand: [ml.g5.xlarge]}}
training_job:
  RoleArn: ${{TrainingRoleArn}}
  AlgorithmSpecification: {{TrainingImage: training:latest, TrainingInputMode: File}}
  OutputDataConfig: {{S3OutputPath: "s3://${{ModelBucket}}/nightly/"}}
  CheckpointConfig: {{S3Uri: "s3://${{CheckpointBucket}}/nightly/"}}
  ResourceConfig: {{InstanceCount: 1, VolumeSizeInGB: 50}}
  StoppingCondition: {{MaxRuntimeInSeconds: 7200}}
"""
LOCAL = """
local: {{command: [python, trainer.py, {name}], time_scale: 900}}
"""
TRAINER = """
import os, sys, time
from pathlib import Path
Path(sys.argv[1] + ".pid").write_text(str(os.getpid()))
time.sleep(120 if sys.argv[1] == "long" else 0)
"""


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """`jobs/` with a job that is trained at once, one that takes long, and one that cannot be trained here."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "jobs"
    folder.mkdir()
    for name in ("short", "long"):
        (folder / f"{name}.yaml").write_text((JOB + LOCAL).format(name=name))
    (folder / "aws-only.yaml").write_text(JOB.format(name="aws-only"))
    (tmp_path / "trainer.py").write_text(TRAINER)
    return folder


def said(*arguments):
    return CliRunner().invoke(app, ["serve", *arguments])


class TestMistakes:
    def test_a_folder_that_is_not_there(self, jobs):
        answer = said("elsewhere")
        assert answer.exit_code == 1
        assert "elsewhere: " in answer.stderr
        assert "must be a directory of job files" in answer.stderr

    def test_a_folder_without_a_job_file(self, jobs, tmp_path):
        (tmp_path / "empty").mkdir()
        answer = said("empty")
        assert answer.exit_code == 1
        assert "error: empty: local: there is no job file" in answer.stderr

    def test_jobs_of_which_none_can_be_trained_here(self, jobs):
        for name in ("short", "long"):
            (jobs / f"{name}.yaml").unlink()
        answer = said()
        assert answer.exit_code == 1
        assert "aws-only: at least one job must say with local.command" in answer.stderr

    def test_a_port_that_is_taken(self, jobs, socket_enabled):
        with serving.listening(0) as taken:
            port = str(taken.getsockname()[1])
            answer = said("--port", port)
        assert answer.exit_code == 1
        assert f"--port: {port}: cannot be listened on" in answer.stderr
        assert not Path("build").exists()

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--night", "badd"), "night: 'badd'"),
            (("--time-scale", "0.5"), "--time-scale: 0.5: must be a number from 1 on"),
            (("--time-scale", "inf"), "--time-scale: inf: must be a number from 1 on"),
            (("--port", "70000"), "--port: 70000: must be a number from 0 to 65535"),
            (("--seed", "-1"), "--seed: -1: must be a number from 0 on"),
        ],
    )
    def test_an_option_that_makes_no_sense(self, jobs, arguments, words):
        answer = said(*arguments)
        assert answer.exit_code == 2
        assert words in answer.stderr


class Server:
    """`nightspot local serve --json` in a process of its own."""

    def __init__(self, *arguments):
        launch = "from nightspot.cli.local_serve import app; app()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", launch, "serve", "--json", "--port", "0", *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.ready = json.loads(line)

    def ended_by(self, number):
        """What it wrote to standard output after its first line, and to standard error."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=PATIENCE_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.process.kill()
        self.process.communicate()


def until(happened):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := happened()):
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.05)
    return found


def is_over(client, path):
    record = outcome_of(client, path)
    return record if record is not None and record["outcome"] != "running" else None


def outcome_of(client, path):
    """None as long as the run's plan is not recorded."""
    try:
        return client.get(path)
    except ApiError as error:
        if error.status != 404:
            raise
        return None


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.workflow
def test_runs_train_here_and_a_signal_ends_all_of_it(jobs, tmp_path, socket_enabled):
    with Server() as server:
        assert (server.ready["jobs"], server.ready["left_out"]) == (["long", "short"], ["aws-only"])
        client = ApiClient(server.ready["url"])
        short = client.post("/jobs/short/runs", {}).body
        record = until(lambda: is_over(client, short["links"]["self"]))
        assert (record["outcome"], record["requested_by"][:3]) == ("succeeded", "api")
        kept = tmp_path / "build" / "runs" / f"{short['run_id']}.json"
        until(kept.exists)

        long = client.post("/jobs/long/runs", {}).body
        pid_file = tmp_path / "long.pid"
        until(pid_file.exists)
        pid = int(until(pid_file.read_text))
        assert is_alive(pid)
        out, err = server.ended_by(signal.SIGTERM)

    assert server.process.returncode == 0, err
    assert out == ""
    assert "note: aws-only is left out" in err
    assert f"interrupted: run {long['run_id']} of long" in err
    until(lambda: not is_alive(pid))
    interrupted = json.loads((tmp_path / "build" / "runs" / f"{long['run_id']}.json").read_text())
    assert interrupted["outcome"] == "stopped"
    assert interrupted["attempts"][0]["instance_type"] == "ml.g5.xlarge"
