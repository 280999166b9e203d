"""What docs/job-file.md shows can be used as it stands."""

import json
import re

import pytest

from nightspot.job.overrides import Overrides, apply_overrides, read_overrides
from nightspot.job.reading import load_job, parse_job


@pytest.fixture
def page(request):
    return (request.config.rootpath / "docs" / "job-file.md").read_text(encoding="utf-8")


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def test_the_file_shown_is_a_sound_job(page):
    text, *sections = blocks(page, "yaml")
    assert parse_job(text).name == "recommender"
    # What is shown by itself further down fits into it.
    assert sections
    for section in sections:
        parse_job(text + section)


def test_the_inputs_shown_fit_the_job_shown(page, request):
    example = load_job(request.config.rootpath / "jobs" / "recommender.yaml")
    inputs = [json.loads(text) for text in blocks(page, "json")]
    assert len(inputs) == 3
    for given in inputs:
        assert given.pop("job") == example.name
        assert apply_overrides(example, read_overrides(given, check_instance_types=True)) != example


@pytest.mark.parametrize("key", Overrides.model_fields)
def test_every_override_has_a_row(page, key):
    section = page.partition("## Per-run overrides")[2].partition("\n## ")[0]
    assert f"\n| `{key}` |" in section
