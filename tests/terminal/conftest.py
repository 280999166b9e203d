"""What a report is tested with: a console that writes to memory, and the record of a bad night."""

import io
import json
from pathlib import Path

import pytest

from nightspot.terminal.lines import PatientConsole


class Screen(PatientConsole):
    """A console whose text can be read; without colours, as for a log."""

    def __init__(self, width):
        super().__init__(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)

    @property
    def text(self):
        return self.file.getvalue()

    @property
    def lines(self):
        return self.text.splitlines()


@pytest.fixture
def screen():
    return Screen(110)


@pytest.fixture
def wide_screen():
    """So wide that no line is wrapped."""
    return Screen(400)


@pytest.fixture
def narrow_screen():
    return Screen(100)


@pytest.fixture
def record(request):
    """A demo's record, as `nightspot demo` wrote it."""
    path = Path(request.config.rootpath) / "tests" / "terminal" / "bad_night.json"
    return json.loads(path.read_text(encoding="utf-8"))
