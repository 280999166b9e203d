"""`nightspot local aws`: a new project, deployed by its own command line to an account on this machine."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.emulator.account_of_stories import COMMAND_SECONDS, EMULATORS, NODE, ROOT
from tests.emulator.conftest import skip_without_emulators

pytestmark = [pytest.mark.emulator, pytest.mark.long, pytest.mark.xdist_group("emulator")]


@pytest.fixture
def nightspot(tmp_path):
    """The command line as a user has it, in a project that `nightspot new` has made."""
    skip_without_emulators()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "PATH": os.pathsep.join([str(NODE), str(ROOT / "node_modules" / ".bin"), os.environ["PATH"]]),
    }
    project = tmp_path / "first"

    def run(*arguments, **more):
        return subprocess.run(
            [sys.executable, "-m", "nightspot", *arguments],
            env={**environment, **more},
            cwd=project if project.exists() else tmp_path,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    made = run("new", "first")
    assert made.returncode == 0, made.stderr
    return run, environment, project


def test_a_new_project_is_deployed_and_runs_on_this_machine(nightspot, socket_enabled):
    run, environment, project = nightspot
    command = [sys.executable, "-m", "nightspot", "local", "aws", "--port", "0", "--json"]
    server = subprocess.Popen(
        [*command, "--emulator", str(EMULATORS)],
        env=environment,
        cwd=project,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        told = json.loads(server.stdout.readline())
        for line in (told["deploy"], told["run"]):
            program, *arguments = shlex.split(line)
            assert program == "nightspot"
            done = run(*arguments, **told["environment"])
            assert done.returncode == 0, done.stdout + done.stderr
    finally:
        server.send_signal(signal.SIGINT)
        status = server.wait(60)
        server.stdout.close()
    assert status == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", urlsplit(told["url"]).port)) != 0
    assert not Path(told["log"]).parent.exists()
    assert told["jobs"] == ["first"]
