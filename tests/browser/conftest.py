"""A headless Chromium that opens pages from files, and keeps what they said and asked for."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nightspot.record.model import read_record
from nightspot.view.html import charts_script
from nightspot.view.html.pages import run_page, runs_page

HERE = Path(__file__).parent
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
# As long as a busy machine with two cores may take to draw six charts.
PATIENCE_MILLISECONDS = 30_000


@pytest.hookimpl(tryfirst=True)  # and so before that of all tests, which looks for the mark
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One browser in one process, and a clear word where there is none."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))
            if CHROMIUM is None:
                reason = "needs Chromium: apt-get install chromium, or name one in CHROMIUM"
                item.add_marker(pytest.mark.skip(reason=reason))


@dataclass
class Opened:
    """A page that is open and drawn."""

    page: object
    said: list[str] = field(default_factory=list)  # on the console
    asked_for: list[str] = field(default_factory=list)  # over the network, beside the file itself

    def __getattr__(self, name):
        return getattr(self.page, name)

    def values(self, selector):
        """The machine-readable numbers of the elements."""
        script = "all => all.map(each => Number((each.querySelector('data') || each).value))"
        return self.page.eval_on_selector_all(selector, script)

    def texts(self, selector):
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]


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
def show(chromium, tmp_path):
    """show(html, width=1440, scheme="light") -> the page, open and drawn."""
    contexts = []

    def open_page(html, width=1440, scheme="light", **options):
        path = tmp_path / f"page-{len(contexts)}.html"
        path.write_text(html, encoding="utf-8")
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, **options
        )
        contexts.append(context)
        page = context.new_page()
        opened = Opened(page)
        page.on("console", lambda message: opened.said.append(message.text))
        page.on("pageerror", lambda error: opened.said.append(str(error)))
        page.on("dialog", lambda dialog: opened.said.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: opened.asked_for.append(request.url))
        page.goto(path.as_uri())
        if options.get("java_script_enabled", True):
            charts = page.locator(".chart").count()
            drawn = f"document.documentElement.dataset.drawn === '{charts}'"
            page.wait_for_function(drawn, timeout=PATIENCE_MILLISECONDS)
        opened.asked_for.remove(path.as_uri())
        return opened

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def script():
    return charts_script.make()


@pytest.fixture
def record():
    return json.loads((HERE.parent / "view" / "html" / "bad_night.json").read_text(encoding="utf-8"))


@pytest.fixture
def run_html(record, script):
    return run_page(read_record(record), script)


@pytest.fixture
def month(record):
    """Ten nights of two jobs; one cost is not known."""
    nights = []
    for number in range(10):
        night = {
            **record,
            "run_id": f"run-{number}",
            "job": ("recommender", "search")[number % 2],
            "started_at": f"2026-11-{number + 1:02d}T00:00:11+00:00",
        }
        if number == 3:
            night |= {"cost_usd": None, "saved_usd": None, "missing": ["billable_seconds"]}
        nights.append(night)
    return nights


@pytest.fixture
def month_html(month, script):
    return runs_page(map(read_record, month), script, link_of=lambda run: f"{run.run_id}.html")
