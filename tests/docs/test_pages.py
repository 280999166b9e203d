"""The pages hang together: all are in the menu, and what they name is there."""

import ast
import re

import pytest
import yaml

# Behind a colon it is part of an ARN or a URN.
_SETTING = re.compile(r"(?<![:\w])nightspot:([a-z_]+)")
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
# Of tags on training jobs and of warnings at synth: they look like settings.
_NO_SETTINGS = {"job", "run", "attempt", "one"}


@pytest.fixture(scope="session")
def menu(root) -> list[str]:
    """The pages of the menu, in order."""
    pages: list[str] = []
    waiting = [yaml.safe_load((root / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            pages.append(part)
        else:
            waiting.extend(reversed(part if isinstance(part, list) else list(part.values())))
    return pages


def test_every_page_is_in_the_menu_once(root, menu):
    there = {str(path.relative_to(root / "docs")) for path in (root / "docs").rglob("*.md")}

    assert set(menu) == there
    assert len(menu) == len(set(menu))


def test_every_setting_that_a_document_names_exists(document, settings):
    known = {*settings, "bundle_for", "stack_name"}
    named = set(_SETTING.findall(document.read_text(encoding="utf-8")))

    assert named - known - _NO_SETTINGS == set()


def test_links_outside_the_site_lead_to_files_and_headings(root_document, root):
    for link in _LINK.findall(root_document.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = root / path
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {_as_anchor(heading) for heading in headings}, link


def test_every_page_that_code_and_examples_name_is_there(root):
    folders = ("nightspot", "infra", "lambdas", "examples", "jobs", ".github")
    files = [root / "Makefile", *(path for folder in folders for path in (root / folder).rglob("*"))]
    named = {
        page
        for path in files
        if path.suffix in {"", ".py", ".yaml", ".yml", ".md"} and path.is_file()
        for page in re.findall(r"(?<![/\w])docs/[\w/-]+\.(?:md|json)", path.read_text(encoding="utf-8"))
    }

    assert named
    assert [page for page in sorted(named) if not (root / page).is_file()] == []


def test_every_alarm_of_the_deployment_is_in_the_runbook(root):
    tree = ast.parse((root / "infra/observability.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    named = {
        ast.literal_eval(call.args[0])
        for call in calls
        if ast.unparse(call.func) in {"AlarmSpec", "self._alarm"} and isinstance(call.args[0], ast.Constant)
    }
    table = (root / "docs/operate.md").read_text(encoding="utf-8").split("\n## Alarms\n")[1].split("\n## ")[0]

    assert named
    assert named == set(re.findall(r"`([A-Z][A-Za-z]+)`", table))


def test_no_list_is_glued_to_the_paragraph_above_it(document):
    """Python-Markdown takes such a list for prose, though GitHub does not."""
    glued = []
    before, in_code = "", False
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), start=1):
        in_code ^= line.lstrip().startswith("```")
        is_item = re.match(r"([*-]|[0-9]+\.) ", line)
        goes_on = re.match(r"([*-]|[0-9]+\.) |\s", before)
        if is_item and before.strip() and not goes_on and not in_code:
            glued.append(f"{document.name}:{number}")
        before = line

    assert glued == []


def _as_anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
