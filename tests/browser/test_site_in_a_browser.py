"""The site is opened from disk, where browsers start no workers, and still finds what is looked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long  # the site is built and searched

ROOT = Path(__file__).parents[2]
PATIENCE_MILLISECONDS = 30_000


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True)
    return folder


@pytest.fixture
def page(chromium):
    """A page with `said` (errors, on the console too) and `asked_for` (addresses that are no files)."""
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    page.said, page.asked_for = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith("file:") or page.asked_for.append(asked.url))
    yield page
    page.close()


@pytest.mark.parametrize("start", ["index.html", "reference/commands.html"])
def test_the_search_finds_a_page_from_wherever_it_is_opened(page, site, start):
    page.goto((site / start).as_uri())
    page.fill("input.md-search__input", "thrashing")
    found = page.locator(".md-search-result__item")
    found.first.wait_for(timeout=PATIENCE_MILLISECONDS)

    assert "matching documents" in page.inner_text(".md-search-result__meta")
    assert any("thrashing" in text.lower() for text in found.all_inner_texts())
    assert page.said == []
    assert page.asked_for == []


@pytest.mark.parametrize("name", ["job-file.html", "reference/commands.html", "operate.html"])
def test_tables_are_no_wider_than_the_text(page, site, name):
    page.goto((site / name).as_uri())

    wider = page.eval_on_selector_all(
        ".md-typeset__scrollwrap",
        "all => all.filter(each => each.scrollWidth > each.clientWidth + 1).length",
    )
    assert wider == 0
