"""What pages are tested with: the record of a bad night as a demo left it, and variations of it."""

import copy
import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def record():
    """A night in which Spot was empty, took the machine twice and stayed empty: on-demand finished the work."""
    return json.loads((HERE / "bad_night.json").read_text(encoding="utf-8"))


@pytest.fixture
def old_record(request):
    """The same kind of night from before phases, progress and last safe moments were on record."""
    path = Path(request.config.rootpath) / "tests" / "terminal" / "bad_night.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def changed(record):
    """changed(outcome="failed", attempt={...}) -> a copy with other fields; `attempt` changes the last one."""

    def change(attempt=None, **fields):
        other = {**copy.deepcopy(record), **fields}
        if attempt:
            other["attempts"][-1] |= attempt
        return other

    return change
