"""The wheel of the working tree, built once, and an environment that has Nightspot from it alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("examples", "infra", "jobs", "lambdas", "nightspot", "statemachine")
FILES = ("pyproject.toml", "CHANGELOG.md", "LICENSE", "README.md")


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel made of it, of a copy: others may be writing here meanwhile."""
    copy, dist = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    for name in FOLDERS:
        # As a clone has them: some folders of the package are links.
        without = shutil.ignore_patterns("__pycache__", "*.tmp")
        shutil.copytree(ROOT / name, copy / name, ignore=without, symlinks=True)
    for name in FILES:
        shutil.copy(ROOT / name, copy)
    subprocess.run(
        [
            *(sys.executable, "-m", "uv", "build", "--quiet", "--offline", "--no-build-isolation"),
            *("--python", sys.executable, "--out-dir", str(dist)),
        ],
        cwd=copy,
        check=True,
        timeout=300,
    )
    return dist


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    (built,) = dist.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment: Nightspot of the wheel, and what it needs as it is in this environment."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, timeout=300)
    subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps"),
            *("--python", str(environment / "bin" / "python"), str(wheel)),
        ],
        check=True,
        timeout=300,
    )
    # Nothing of it is a .pth file's doing, such as that of this working tree's own installation.
    (packages,) = environment.glob("lib/python3*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment


@pytest.fixture
def call(installed: Path, tmp_path: Path) -> Callable[..., str]:
    """`call("nightspot", …)`: what a program of that environment prints, in an empty folder. Fails as it fails."""

    def call(program: str, *arguments: object, folder: Path = tmp_path) -> str:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            [installed / "bin" / program, *(str(each) for each in arguments)],
            cwd=folder,
            env={**inherited, "PYTHONDONTWRITEBYTECODE": "1"},
            check=False,
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    return call
