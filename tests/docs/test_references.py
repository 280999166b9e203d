"""What is made from the code is that of today's code; what is written by hand has every field, setting and word."""

import ast
import re

import pytest

from nightspot.job.schema import DESCRIPTIONS, MODELS, job_file_schema
from nightspot.record.events import RunEvent
from nightspot.record.model import Ending
from nightspot.run.model import Action, AttemptState, Outcome, Resume
from nightspot.run.reasons import Reason
from tools import docs_reference

# Where the fields of each model of the job file stand on its page.
PLACES = {
    "Job": "",
    "Schedule": "schedule.",
    "Deadline": "deadline.",
    "Capacity": "capacity.",
    "InstanceType": "….",
    "ChangeOver": "change_over.",
    "Budget": "budget.",
    "OverrideLimits": "overrides.",
    "Code": "code.",
    "Mlflow": "tracking.mlflow.",
    "Wandb": "tracking.wandb.",
    "Local": "local.",
}


@pytest.mark.parametrize("name", docs_reference.PAGES)
def test_the_page_is_up_to_date(name, root):
    hint = docs_reference.difference(root / docs_reference.FOLDER / name, docs_reference.PAGES[name]())

    assert hint == "", "run: python -m tools.docs_reference"


def test_check_names_the_page_that_is_out_of_date_and_the_command_that_writes_it(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(
        docs_reference, "PAGES", {"one.md": lambda: "# One\n\nnew\n", "two.md": lambda: "# Two\n"}
    )
    (tmp_path / "one.md").write_text("# One\n\nold\n")
    (tmp_path / "two.md").write_text("# Two\n")

    assert docs_reference.main(["--check"], tmp_path) == 1
    said = capsys.readouterr().err
    assert "-old" in said
    assert "+new" in said
    assert "two.md" not in said
    assert "python -m tools.docs_reference" in said
    assert docs_reference.main([], tmp_path) == 0
    assert docs_reference.main(["--check"], tmp_path) == 0


def test_an_option_of_many_commands_stands_once_with_the_commands_that_take_it(root):
    text = (root / docs_reference.FOLDER / "commands.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\* `--table NAME`.*$", text, re.MULTILINE)

    assert len(lines) == 1
    assert re.search(r" Taken by: .*runs, show", lines[0])
    assert "`--help`:" not in text


@pytest.fixture(scope="module")
def job_file_rows(root):
    """The rows of the page's first table: a field's default by its key."""
    text = (root / "docs/job-file.md").read_text(encoding="utf-8")
    table = text.partition("## Fields\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?) \| (.+?) \| .+ \|$", table, re.MULTILINE)
    return {key: default for keys, default in rows for key in re.findall(r"`([^`]+)`", keys)}


def test_the_page_of_the_job_file_has_a_row_for_each_field_and_no_other(job_file_rows):
    fields = [path.split(".") for path in DESCRIPTIONS if path.split(".")[0] in PLACES]
    sections = {"deadline", "capacity", "change_over", "budget", "overrides", "tracking", "code", "local"}

    assert set(PLACES) <= set(MODELS)
    assert {f"{PLACES[model]}{name}" for model, name in fields} - sections == set(job_file_rows)


def test_the_page_of_the_job_file_has_the_defaults_of_the_schema(job_file_rows):
    schema = job_file_schema()
    sections = {"Job": schema, **{name: schema["$defs"].get(name, {}) for name in PLACES if name != "Job"}}
    for model, place in PLACES.items():
        for name, field in sections[model].get("properties", {}).items():
            default = field.get("default")
            shown = job_file_rows.get(f"{place}{name}")
            if shown is not None and isinstance(default, str | bool):
                written = str(default).lower() if isinstance(default, bool) else default.replace("min", "m")
                assert shown.startswith(f"`{written}`"), (model, name)


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("outcome", Outcome),
        ("ending", Ending),
        ("action", Action),
        ("reason", Reason),
        ("attempt state", AttemptState),
        ("resume", Resume),
    ],
)
def test_every_word_is_explained_in_the_order_of_its_enum(heading, words, root):
    text = (root / docs_reference.FOLDER / "outcomes.md").read_text(encoding="utf-8")
    section = text.partition(f": {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| [A-Z].*\. \|$", section, re.MULTILINE)

    assert rows == [word.value for word in words]


def test_every_event_is_on_the_page_of_notices(root):
    text = (root / "docs/notices.md").read_text(encoding="utf-8")

    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == {
        run_event.value for run_event in RunEvent
    }


def test_every_setting_has_a_row_with_its_default(root, settings):
    text = (root / docs_reference.FOLDER / "settings.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `nightspot:(\w+)` \| [^|]+ \| ([^|]+) \|", text, re.MULTILINE))

    assert set(rows) == {*settings, "bundle_for", "stack_name"}
    for name, default in settings.items():
        if isinstance(default, ast.Constant) and default.value is not None:
            assert rows[name] == f"`{str(default.value).lower()}`", name
