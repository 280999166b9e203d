"""How the command line is tested: called in this process, its output without line breaks."""

import re
from pathlib import Path

import pytest
import typer
from click.testing import CliRunner

from nightspot.cli import app


class Answer:
    """What a command answered."""

    def __init__(self, result):
        self.status = result.exit_code
        self.out = result.stdout
        self.err = re.sub(r"\s+", " ", result.stderr)
        # Whatever is not a clean exit would have been a traceback.
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception


@pytest.fixture(scope="session")
def program():
    """The command line, put together once: that takes longer than most commands."""
    return typer.main.get_command(app)


@pytest.fixture
def nightspot(monkeypatch, tmp_path, program):
    """`nightspot(*arguments)` in an empty current directory; `stdin` is what is piped into it."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments, stdin=None: Answer(
        CliRunner().invoke(program, [str(a) for a in arguments], input=stdin)
    )


@pytest.fixture
def root(request):
    return Path(request.config.rootpath)


@pytest.fixture
def good_job(root):
    return (root / "jobs" / "recommender.yaml").read_text(encoding="utf-8")
