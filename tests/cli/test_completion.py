"""`nightspot completion`: what the shells' scripts are, and what really completes."""

import os
import shutil
import subprocess
import sys

import pytest

from nightspot.cli import completion
from nightspot.cli.completion import Shell


@pytest.mark.parametrize("shell", Shell)
def test_every_shell_has_a_script_that_asks_the_command(nightspot, shell):
    answer = nightspot("completion", shell.value)
    assert answer.status == 0
    assert "_NIGHTSPOT_COMPLETE" in answer.out
    assert f"complete_{shell.value}" in answer.out


def test_without_an_argument_it_is_the_shell_of_the_environment(nightspot, monkeypatch):
    monkeypatch.setenv("SHELL", "/usr/local/bin/fish")
    assert "complete_fish" in nightspot("completion").out
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    answer = nightspot("completion")
    assert answer.status == 2
    assert "SHELL: '/bin/tcsh': must be given as one of bash, zsh, fish" in answer.err


@pytest.fixture
def folder(tmp_path, monkeypatch, good_job):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "a.yaml").write_text(good_job)
    (tmp_path / "jobs" / "broken.yml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "build" / "runs").mkdir(parents=True)
    (tmp_path / "build" / "runs" / "20261121-d74a4a.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_jobs_and_runs_that_are_here_are_offered():
    assert completion.jobs("") == ["recommender"]
    assert completion.jobs("x") == []
    assert completion.runs("2026") == ["20261121-d74a4a"]
    assert completion.runs("x") == []


COMPLETIONS = {
    "nightspot wat": "watch",
    "nightspot run ''": "recommender",
    "nightspot show 2026": "20261121-d74a4a",
    "nightspot local s": "serve",
    "nightspot runs --out": "--outcome",
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes(folder, root):
    """The script as it is printed, sourced by a real bash, which then calls the function that it registers."""
    binary = folder / "bin" / "nightspot"
    binary.parent.mkdir()
    binary.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nightspot "$@"\n')
    binary.chmod(0o755)
    program = "source <(nightspot completion bash)\n" + "\n".join(
        f"""
        COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=()
        _nightspot_completion nightspot
        echo "${{COMPREPLY[*]}}"
        """
        for words in COMPLETIONS
    )
    environment = {**os.environ, "PATH": f"{binary.parent}:{os.environ['PATH']}", "PYTHONPATH": str(root)}
    done = subprocess.run(
        ["bash", "--norc", "-c", program],  # noqa: S607 - whichever bash the user has
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert dict(zip(COMPLETIONS, done.stdout.splitlines(), strict=True)) == COMPLETIONS
    assert "Traceback" not in done.stderr
