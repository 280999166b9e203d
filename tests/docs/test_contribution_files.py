"""What contributors and releases go by names only what is there: forms, hooks, workflows, targets, the version."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import nightspot
from tools.documented_commands import Line, problem_of
from tools.release_notes import CHANGELOG, ReleaseError, main, release_notes

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
# https://docs.github.com/en/communities/using-templates-to-encourage-useful-issues-and-pull-requests/syntax-for-githubs-form-schema
FIELDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}
_MAKE = re.compile(r"`make ([^`\n]+)`")
_OWN_FILE = re.compile(r"(?<![\w/])(?:\./)?((?:\.ci|\.github|docs|infra|nightspot|tests|tools)/[\w./-]*\w)")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs_of(workflow: Path) -> dict[str, Any]:
    jobs: dict[str, Any] = read(workflow)["jobs"]
    return jobs


def steps_of(workflow: Path) -> Iterator[dict[str, Any]]:
    for job in jobs_of(workflow).values():
        yield from job.get("steps", ())


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.name)
def test_an_issue_form_has_what_github_asks_for(form):
    shape = read(form)
    fields = [field for field in shape["body"] if field["type"] != "markdown"]
    assert shape["name"]
    assert shape["description"]
    assert {field["type"] for field in shape["body"]} <= FIELDS
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)


def test_the_form_of_a_bug_asks_for_what_explains_a_run_and_warns_of_secrets():
    text = (ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text(encoding="utf-8")
    for wanted in ("Redact", "Version", "nightspot doctor", "nightspot show RUN --json", "SECURITY.md"):
        assert wanted in text
    for span in re.findall(r"`(?:\.venv/bin/)?(nightspot [^`]+)`", text):
        assert problem_of(Line("bug.yml", tuple(span.split()), whole=False), ROOT) is None


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", ".github/pull_request_template.md"])
def test_every_make_target_that_is_named_exists(name):
    named = _MAKE.findall((ROOT / name).read_text(encoding="utf-8"))
    assert named
    assert {
        words: problem_of(Line(name, ("make", *words.split())), ROOT) for words in named
    } == dict.fromkeys(named)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "docs/compatibility.md"])
def test_every_file_that_a_page_names_is_there(page):
    spans = re.findall(r"`([^`\n]+)`", (ROOT / page).read_text(encoding="utf-8"))
    paths = [span for span in spans if re.fullmatch(r"\.?[\w-]+(/[\w.*-]+)+|[A-Z_]+\.md|\w+\.toml", span)]
    assert paths or page == "SECURITY.md"
    assert [path for path in paths if not path.startswith("build/") and not list(ROOT.glob(path))] == []


def test_hooks_call_tools_of_the_environment_and_fetch_nothing():
    (repo,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    locked = (ROOT / "requirements/dev.txt").read_text(encoding="utf-8")
    assert repo["repo"] == "local"
    for hook in repo["hooks"]:
        assert hook["language"] == "system"
        tool = hook["entry"].split()[0].removeprefix(".venv/bin/")
        package = {"lint-imports": "import-linter"}.get(tool, tool)
        assert re.search(rf"^{package}==", locked, re.MULTILINE), tool


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
class TestAWorkflow:
    def test_takes_actions_by_commit_and_files_that_are_there(self, workflow):
        used = re.findall(r"uses: (.*)", workflow.read_text(encoding="utf-8"))
        assert used
        for use in used:
            if use.startswith("./"):
                assert (ROOT / use).is_file()
            else:
                assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+", use), use

    def test_runs_targets_and_files_that_are_there(self, workflow):
        for step in steps_of(workflow):
            script = step.get("run", "")
            for target in re.findall(r"(?:^|\s)make ([a-z-]+)", script):
                assert problem_of(Line(workflow.name, ("make", target)), ROOT) is None
            for path in _OWN_FILE.findall(script):
                assert (ROOT / path).is_file(), path
            for module in re.findall(r"python3 -m ([\w.]+)", script):
                assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module

    def test_puts_no_expression_into_a_script(self, workflow):
        """A branch with a `$(…)` in its name would run."""
        assert [step["run"] for step in steps_of(workflow) if "${{" in step.get("run", "")] == []

    def test_says_what_it_may_do(self, workflow):
        assert read(workflow)["permissions"] in ({}, {"contents": "read"})


def test_in_a_release_what_may_write_builds_nothing():
    jobs = jobs_of(ROOT / ".github/workflows/release.yml")
    writing = {name for name, job in jobs.items() if "write" in job["permissions"].values()}
    assert writing == {"publish"}
    assert not any("checkout" in step.get("uses", "") for step in jobs["publish"]["steps"])


def test_the_version_stands_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"] == {"path": "nightspot/__init__.py"}
    # Besides: tests/checkpoint has the wheel's, and the copy of the library that stands alone.
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", nightspot.__version__)


class TestReleaseNotes:
    LOG = (
        "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-12-24\n\n### Added\n\n* More.\n\n"
        "## [1.2.2] - 2026-12-01\n\n* Less.\n"
    )

    def test_are_the_section_of_the_version(self):
        assert release_notes("v1.2.3", "1.2.3", self.LOG) == "### Added\n\n* More.\n"
        assert release_notes("v1.2.2", "1.2.2", self.LOG) == "* Less.\n"

    @pytest.mark.parametrize(
        ("tag", "version", "reason"),
        [
            ("v1.2.4", "1.2.3", "must be v1.2.3"),
            ("1.2.3", "1.2.3", "must be v1.2.3"),
            ("v1.2.4", "1.2.4", r"needs a section \[1.2.4\]"),
            ("v1x2.3", "1x2.3", "needs a section"),
        ],
    )
    def test_are_refused_where_the_tag_or_the_changelog_does_not_fit(self, tag, version, reason):
        with pytest.raises(ReleaseError, match=reason):
            release_notes(tag, version, self.LOG)

    def test_a_section_without_a_word_is_none(self):
        with pytest.raises(ReleaseError, match="something in it"):
            release_notes("v1.2.3", "1.2.3", self.LOG.replace("### Added\n\n* More.\n", ""))

    def test_the_command_says_what_is_wrong_and_ends_with_1(self, capsys):
        assert main(["v0.0.0"]) == 1
        assert "error: v0.0.0: must be v" in capsys.readouterr().err


def test_the_changelog_has_a_place_for_what_is_next():
    text = CHANGELOG.read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE)[0] == "[Unreleased]"
