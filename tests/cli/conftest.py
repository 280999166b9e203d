"""How the command line is tested: called in this process, its output without line breaks."""

import re
from functools import cache
from pathlib import Path

import pytest
import typer
from typer import testing

from nightspot.cli import app


class Answer:
    """What a command answered."""

    def __init__(self, result):
        self.status = result.exit_code
        self.out = result.stdout
        self.err = re.sub(r"\s+", " ", result.stderr)
        # Whatever is not a clean exit would have been a traceback.
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception


# The command line is put together once: that takes longer than most commands.
put_together = cache(typer.main.get_command)


@pytest.fixture
def nightspot(monkeypatch, tmp_path):
    """`nightspot(*arguments)` in an empty current directory; `stdin` is what is piped into it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(testing, "_get_command", put_together)
    return lambda *arguments, stdin=None: Answer(
        testing.CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)
    )


@pytest.fixture
def root(request):
    return Path(request.config.rootpath)


@pytest.fixture
def good_job(root):
    """The example, whose schedule rests only where it is deployed before its image is there."""
    text = (root / "jobs" / "recommender.yaml").read_text(encoding="utf-8")
    return text.replace(", paused: true", "")
