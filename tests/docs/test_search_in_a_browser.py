"""The site is opened from disk, where browsers start no workers, and still finds what is looked for."""

import asyncio
import os
import shutil

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE_MILLISECONDS = 30_000

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("docs"),
    pytest.mark.skipif(
        CHROMIUM is None, reason="needs Chromium: apt-get install chromium, or name one in CHROMIUM"
    ),
]


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # The sandbox needs rights that a container does not give; the pages are our own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
    # playwright leaves its loop set; the next test in this process may want one of its own.
    asyncio.set_event_loop(None)


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


@pytest.mark.parametrize("name", ["reference/job-file.html", "reference/commands.html", "operate.html"])
def test_tables_are_no_wider_than_the_text(page, site, name):
    page.goto((site / name).as_uri())

    wider = page.eval_on_selector_all(
        ".md-typeset__scrollwrap",
        "all => all.filter(each => each.scrollWidth > each.clientWidth + 1).length",
    )
    assert wider == 0
