"""`nightspot local aws`: a new project, deployed by its own command line to an account on this machine."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.emulator.account_of_stories import COMMAND_SECONDS, EMULATORS, NODE, ROOT, until
from tests.emulator.conftest import skip_without_emulators

pytestmark = [pytest.mark.emulator, pytest.mark.long, pytest.mark.xdist_group("emulator")]


@pytest.fixture(scope="module")
def nightspot(tmp_path_factory):
    """The command line as a user has it, in a project that `nightspot new` has made."""
    skip_without_emulators()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "PATH": os.pathsep.join([str(NODE), str(ROOT / "node_modules" / ".bin"), os.environ["PATH"]]),
    }
    tmp_path = tmp_path_factory.mktemp("local_aws")
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
    # The packages of the bundle are there already, from the other stories or the run before.
    (ROOT / "build").mkdir(exist_ok=True)
    (project / "build").symlink_to(ROOT / "build")
    return run, environment, project


@contextmanager
def served(environment, project):
    """The command, and what it says when it is ready."""
    command = [sys.executable, "-m", "nightspot", "local", "aws", "--port", "0", "--json"]
    server = subprocess.Popen(
        [*command, "--emulator", str(EMULATORS)],
        env=environment,
        cwd=project,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield server, json.loads(server.stdout.readline())
    finally:
        server.kill()
        server.wait(10)
        server.stdout.close()


def is_there(told):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(told["url"]).port)) == 0


def test_a_new_project_is_deployed_and_runs_on_this_machine(nightspot):
    run, environment, project = nightspot
    with served(environment, project) as (server, told):
        assert told["jobs"] == ["first", "smoke"]
        for line in (told["deploy"], told["run"]):
            program, *arguments = shlex.split(line)
            assert program == "nightspot"
            done = run(*arguments, **told["environment"])
            assert done.returncode == 0, done.stdout + done.stderr
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
    assert not Path(told["log"]).parent.exists()
    assert not is_there(told)


def test_an_account_whose_command_was_killed_ends_as_well(nightspot):
    _, environment, project = nightspot
    with served(environment, project) as (server, told):
        assert is_there(told)
        server.kill()
        until(lambda: not is_there(told), "the end of the emulator")
    shutil.rmtree(Path(told["log"]).parent)
