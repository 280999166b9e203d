"""The example notebook, executed by a real kernel against a real `nightspot local serve`."""

import importlib.util
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "notebook"
READY_SECONDS = 120
KERNEL = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read("nightly.ipynb", as_version=4)
NotebookClient(notebook, timeout=300, resources={"metadata": {"path": "."}}).execute()
nbformat.write(notebook, "executed.ipynb")
"""

INSTALLED = all(map(importlib.util.find_spec, ("nbclient", "ipykernel")))


@pytest.fixture
def folder(tmp_path):
    copy = tmp_path / "notebook"
    shutil.copytree(
        EXAMPLE, copy, ignore=shutil.ignore_patterns("build", "__pycache__", ".ipynb_checkpoints")
    )
    return copy


@pytest.fixture
def environment(tmp_path):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "NIGHTSPOT_"))}
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    # `python` of the job's command is this one.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return {**clean, "PYTHONPATH": paths, "PATH": path, "IPYTHONDIR": str(tmp_path / "ipython")}


@pytest.fixture
def url(folder, environment):
    command = [sys.executable, "-m", "nightspot", "local", "serve", ".", "--port", "0", "--json"]
    server = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        ready, _, _ = select.select([server.stdout], [], [], READY_SECONDS)
        assert ready, "the server is not ready"
        yield json.loads(server.stdout.readline())["url"]
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)


@pytest.mark.long
@pytest.mark.skipif(not INSTALLED, reason="needs nbclient and ipykernel")
def test_every_cell_of_the_notebook_says_what_it_promises(folder, environment, url):
    done = subprocess.run(
        [sys.executable, "-c", KERNEL],
        cwd=folder,
        env={**environment, "NIGHTSPOT_URL": url},
        check=False,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    cells = json.loads((folder / "executed.ipynb").read_text())["cells"]
    outputs = [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]

    def said(number, kind="text/plain"):
        return "".join(
            "".join(part.get("text", part.get("data", {}).get(kind, ""))) for part in outputs[number]
        )

    assert said(1) == "[]"
    assert said(2).startswith("PASS"), said(2)
    assert said(3, "text/html").startswith("<iframe srcdoc=")
    assert "in_time" in said(4)
    assert "RunCost(paid_usd=" in said(4)
    assert said(5) == "['notebook']"
    assert "state='in_time'" in said(6)
    assert said(7).startswith("s3://")


def test_the_notebook_is_kept_without_outputs():
    cells = json.loads((EXAMPLE / "nightly.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert [(cell["outputs"], cell["execution_count"]) for cell in code] == [([], None)] * len(code)
