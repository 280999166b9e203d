"""What goes into a training image is the wheel, or the one folder, and brings nothing with it."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import nightspot

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.xdist_group("wheel")

LIBRARY = ROOT / "nightspot" / "checkpoint"

# The adapters import the framework that they are for, which must then be there.
FRAMEWORKS = {"xgboost", "lightgbm", "torch", "transformers", "lightning", "keras", "mlflow", "wandb"}
ON_TORCH = {"lightning"}

SAVE_AND_RESTORE = """
import sys
sys.path.insert(0, sys.argv[1])
import importlib
library = importlib.import_module(sys.argv[2])
Checkpointer = library.Checkpointer
state = {"weights": b"w", "training": library.TrainingState(), "numbers": [1, 2]}
with Checkpointer(sys.argv[3], environ={}, total_steps=4, asynchronous=True) as checkpointer:
    checkpointer.save(4, state, metrics={"a": 1.5})
restored = Checkpointer(sys.argv[3], environ={}).restore()
assert (restored.step, restored.state["weights"], restored.state["numbers"]) == (4, b"w", [1, 2])
attached = importlib.import_module(sys.argv[2] + ".attached")
print(library.__file__)
print(*sorted(name for name in sys.modules if name.partition(".")[0] not in sys.stdlib_module_names), sep="\\n")
"""


@pytest.fixture
def unpacked(wheel, tmp_path):
    """A folder with what the wheel installs, and nothing else."""
    folder = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(folder, package, checkpoints):
    """Save and restore with that folder alone on the path, after Python's own."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", SAVE_AND_RESTORE, folder, package, checkpoints],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    where, *modules = done.stdout.split("\n")[:-1]
    return Path(where), [name for name in modules if name != "__main__"]


def test_the_wheel_alone_saves_and_restores_and_loads_nothing_else(unpacked, tmp_path):
    where, modules = run(unpacked, "nightspot.checkpoint", tmp_path / "checkpoints")

    assert where.is_relative_to(unpacked)
    assert "nightspot.checkpoint.attached" in modules
    foreign = [
        name
        for name in modules
        if name != "nightspot" and not (name + ".").startswith("nightspot.checkpoint.")
    ]
    assert foreign == []


def test_the_folder_alone_works_under_another_name(tmp_path):
    shutil.copytree(LIBRARY, tmp_path / "script" / "saving", ignore=shutil.ignore_patterns("__pycache__"))

    where, modules = run(tmp_path / "script", "saving", tmp_path / "checkpoints")

    assert where == tmp_path / "script" / "saving" / "__init__.py"
    assert {name.partition(".")[0] for name in modules} == {"saving"}


def test_the_wheel_can_be_installed_where_training_images_are(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())

    assert metadata["Version"] == nightspot.__version__
    assert metadata["Requires-Python"] == ">=3.9"
    assert "checkpoint" in metadata.get_all("Provides-Extra")
    # Every requirement belongs to an extra, and none to this one.
    required = metadata.get_all("Requires-Dist", [])
    assert [each for each in required if "extra ==" not in each.replace("extra==", "extra ==")] == []
    assert [each for each in required if "'checkpoint'" in each.partition(";")[2]] == []


def test_the_wheel_has_every_file_of_the_library(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())

    assert packed >= {path.relative_to(ROOT).as_posix() for path in LIBRARY.rglob("*.py")}


@pytest.mark.parametrize(
    "source",
    [ROOT / "nightspot" / "__init__.py", *sorted(LIBRARY.rglob("*.py"))],
    ids=lambda path: path.relative_to(ROOT / "nightspot").as_posix(),
)
class TestPython39:
    """Images with Python 3.9 can import it; its interpreter is not here, so its grammar is asked."""

    def test_can_parse_it(self, source):
        ast.parse(source.read_text(encoding="utf-8"), feature_version=(3, 9))

    def test_has_what_it_calls(self, source):
        tree = ast.parse(source.read_text(encoding="utf-8"))
        called = [each for each in ast.walk(tree) if isinstance(each, ast.Call)]
        strict = [
            each.lineno
            for each in called
            if isinstance(each.func, ast.Name)
            and each.func.id == "zip"
            and any(keyword.arg == "strict" for keyword in each.keywords)
        ]
        slotted = [
            each.lineno
            for each in called
            if isinstance(each.func, ast.Name)
            and each.func.id == "dataclass"
            and {"slots", "kw_only"} & {keyword.arg for keyword in each.keywords}
        ]
        assert strict + slotted == []

    def test_has_what_it_imports(self, source):
        tree = ast.parse(source.read_text(encoding="utf-8"))
        absolute = {
            each.module.partition(".")[0]
            for each in ast.walk(tree)
            if isinstance(each, ast.ImportFrom) and not each.level and each.module
        } | {
            alias.name.partition(".")[0]
            for each in ast.walk(tree)
            if isinstance(each, ast.Import)
            for alias in each.names
        }
        since_3_9 = {"tomllib"}
        own = {source.stem} if source.stem in FRAMEWORKS else set()
        own |= {"torch"} if source.stem in ON_TORCH else set()
        later = {"UTC", "StrEnum", "Self", "assert_never", "TypeAlias", "ParamSpec", "override"}
        names = {
            alias.name
            for each in ast.walk(tree)
            if isinstance(each, ast.ImportFrom) and each.module in ("datetime", "enum", "typing")
            for alias in each.names
        }
        assert absolute - set(sys.stdlib_module_names) <= (own or FRAMEWORKS)
        assert absolute & since_3_9 == set()
        assert names & later == set()
