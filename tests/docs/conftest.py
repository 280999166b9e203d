"""The documentation's files, as the tests of it look at them."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AT_THE_ROOT = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def settings(root) -> dict[str, ast.expr | None]:
    """The defaults of a deployment's settings by their names, as the source has them: CDK needs Node to import."""
    tree = ast.parse((root / "infra/settings.py").read_text(encoding="utf-8"))
    (found,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings"]
    return {
        ast.unparse(field.target): field.value for field in found.body if isinstance(field, ast.AnnAssign)
    }


@pytest.fixture(scope="session")
def build(root):
    """Runs `mkdocs build --strict`, from a folder with mkdocs.yml and docs."""

    def _build(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
        # Material tells of its own end of life, which is known and no warning about these pages.
        environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    return _build


@pytest.fixture(scope="session")
def site(root, build, tmp_path_factory):
    """The folder of today's site, built without a warning."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = build(root, folder)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`document` stands for each Markdown file that people read, one after the other; `root_document` for those
    that the site does not have.
    """
    if "document" in metafunc.fixturenames:
        files = [*(ROOT / name for name in AT_THE_ROOT), *sorted((ROOT / "docs").rglob("*.md"))]
        metafunc.parametrize("document", files, ids=[str(file.relative_to(ROOT)) for file in files])
    if "root_document" in metafunc.fixturenames:
        metafunc.parametrize("root_document", [ROOT / name for name in AT_THE_ROOT], ids=AT_THE_ROOT)
