"""The generated references are those of today's code, and what they add to it in words is whole."""

import json

import pytest
import yaml

from nightspot.job.overrides import Overrides, read_overrides
from nightspot.job.reading import load_job
from nightspot.job.schema import DESCRIPTIONS, MODELS
from nightspot.record.events import Happening
from nightspot.record.model import Ending
from nightspot.run.model import Action, AttemptState, Outcome, Resume
from nightspot.run.reasons import Reason
from tools import docs_reference, reference_job_file, reference_outcomes
from tools.documented_commands import Line, problem_of
from tools.reference_commands import commands
from tools.reference_examples import EXAMPLES
from tools.reference_settings import MEANINGS, SettingsPageError, read_settings_file, settings_page
from tools.reference_text import cell, plain


@pytest.mark.parametrize("name", docs_reference.PAGES)
def test_the_page_is_up_to_date(name, root):
    hint = docs_reference.difference(root / docs_reference.FOLDER / name, docs_reference.PAGES[name]())

    assert hint == "", "run: python -m tools.docs_reference"


def test_nothing_else_lies_among_the_generated_pages(root):
    found = {path.name for path in (root / docs_reference.FOLDER).iterdir()}

    assert found == set(docs_reference.PAGES)


def test_check_tells_which_page_is_out_of_date_and_how_to_mend_it(tmp_path, capsys, monkeypatch):
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


def test_written_pages_pass_the_check(tmp_path, monkeypatch):
    monkeypatch.setattr(docs_reference, "PAGES", {"one.md": lambda: "# One\n"})

    assert docs_reference.main(["--check"], tmp_path) == 1
    assert docs_reference.main([], tmp_path) == 0
    assert docs_reference.main(["--check"], tmp_path) == 0


def test_each_command_has_an_example_and_no_other_has():
    assert set(EXAMPLES) == {command.name for command in commands()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_a_command_are_calls_of_it(name, root):
    for example in EXAMPLES[name]:
        assert example.startswith(f"nightspot {name}")
        assert problem_of(Line(name, tuple(example.split())), root) is None


def test_the_examples_of_the_fields_are_a_valid_job_file(tmp_path):
    file = tmp_path / "recommender.yaml"
    file.write_text(reference_job_file.example_file())

    job = load_job(file)

    assert job.name == "recommender"
    assert set(yaml.safe_load(reference_job_file.example_file())) == {
        path.removeprefix("Job.") for path in DESCRIPTIONS if path.startswith("Job.")
    }


def test_every_section_and_choice_of_the_job_file_is_on_its_page():
    assert {"Job", *reference_job_file.SECTIONS, *reference_job_file.CHOICES} == set(MODELS)


def test_every_override_is_on_the_page_with_an_example_that_is_one():
    assert set(reference_job_file.OVERRIDES) == set(Overrides.model_fields)
    for name, (_, _, example) in reference_job_file.OVERRIDES.items():
        assert read_overrides(json.loads(example)).model_fields_set == {name}


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (Outcome, reference_outcomes.OUTCOMES),
        (Ending, reference_outcomes.ENDINGS),
        (Action, reference_outcomes.ACTIONS),
        (Reason, reference_outcomes.REASONS),
        (AttemptState, reference_outcomes.ATTEMPT_STATES),
        (Resume, reference_outcomes.RESUMES),
        (Happening, reference_outcomes.HAPPENINGS),
    ],
)
def test_every_word_is_explained_in_the_order_of_its_enum(words, texts):
    assert list(texts) == list(words)
    assert all(text[0].isupper() and text.endswith(".") for text in texts.values())


def test_each_text_about_a_setting_belongs_to_one(root):
    assert set(MEANINGS) <= {setting.name for setting in read_settings_file(root)}


def test_a_setting_without_a_comment_is_refused(tmp_path):
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra/settings.py").write_text("class Settings:\n    colour: str = 'red'\n")

    with pytest.raises(SettingsPageError, match=r"Settings\.colour: needs a comment"):
        settings_page(tmp_path)


def test_settings_are_read_with_their_defaults_and_comments(tmp_path):
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra/settings.py").write_text(
        'RED = "red"\n\n\n'
        "class Settings:\n"
        "    colour: str = RED  # of the door; None: no door\n"
        "    doors: int = 2  # how many\n"
    )

    found = read_settings_file(tmp_path)

    assert [(one.key, one.default, one.meaning) for one in found] == [
        ("nightspot:colour", "red", "of the door; without it, no door"),
        ("nightspot:doors", 2, "how many"),
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<name> of [x]", "&lt;name&gt; of \\[x]"),
        ("`<name>[0]` and <b>", "`<name>[0]` and &lt;b&gt;"),
        ("see https://example.com/a/API_B.html. Or", "see [API_B](https://example.com/a/API_B.html). Or"),
    ],
)
def test_texts_of_the_code_are_shown_as_they_are(text, shown):
    assert plain(text) == shown


def test_a_cell_stays_in_its_row():
    assert cell("a|b\nc") == "a\\|b c"
