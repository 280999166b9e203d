"""The library goes into other people's images: it brings nothing with it."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nightspot
from nightspot import checkpoint

FOLDER = Path(checkpoint.__file__).parent
SOURCES = sorted(FOLDER.glob("*.py"))

IMPORTED = """
import sys
before = set(sys.modules)
import nightspot.checkpoint
print(*sorted(set(sys.modules) - before), sep="\\n")
"""

ALONE = """
import sys
sys.path.insert(0, sys.argv[1])
from vendored import Checkpointer, LIBRARY_VERSION
Checkpointer(sys.argv[2], environ={}).save(2, b"state")
assert Checkpointer(sys.argv[2], environ={}).restore().state == b"state"
print(LIBRARY_VERSION)
"""


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-I", *arguments], check=True, capture_output=True, text=True
    ).stdout


def test_importing_it_loads_the_standard_library_and_itself():
    loaded = run("-c", IMPORTED).split()

    assert "nightspot.checkpoint.checkpointer" in loaded
    foreign = [
        name
        for name in loaded
        if name.partition(".")[0] not in sys.stdlib_module_names
        and name != "nightspot"
        and not name.startswith("nightspot.checkpoint")
    ]
    assert foreign == []


def test_the_folder_works_alone_without_any_installed_package(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "vendored", ignore=shutil.ignore_patterns("__pycache__"))

    assert run("-S", "-c", ALONE, str(tmp_path), str(tmp_path / "checkpoints")).strip() == (
        checkpoint.LIBRARY_VERSION
    )


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_python_3_9_can_parse_it(source):
    tree = ast.parse(source.read_text(), feature_version=(3, 9))

    annotated = any(isinstance(node, ast.FunctionDef | ast.AnnAssign) for node in ast.walk(tree))
    assert not annotated or "from __future__ import annotations" in source.read_text()


def test_it_is_released_with_nightspot():
    assert nightspot.__version__ == checkpoint.LIBRARY_VERSION
