"""How the command line is tested: called in this process, its output without line breaks."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from nightspot.cli import app


class Answer:
    """What a command answered."""

    def __init__(self, result):
        self.status = result.exit_code
        self.out = result.stdout
        self.err = re.sub(r"\s+", " ", result.stderr)
        # Whatever is not a clean exit would have been a traceback.
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception


@pytest.fixture(scope="session", autouse=True)
def parser_is_made_once() -> Iterator[None]:
    """Making the parser of all commands takes longer than what most tests call it for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.testing._get_command", functools.cache(get_command))
        yield


@pytest.fixture
def nightspot(monkeypatch, tmp_path):
    """`nightspot(*arguments)` in an empty current directory; `stdin` is what is piped into it."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments, stdin=None: Answer(
        CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)
    )


@pytest.fixture
def root(request):
    return Path(request.config.rootpath)


@pytest.fixture
def good_job(root):
    return (root / "jobs" / "recommender.yaml").read_text(encoding="utf-8")
