"""The pages as a person meets them: wide and narrow, by light and in the dark, with and without a mouse."""

from __future__ import annotations

import pytest

from nightspot.record.model import read_record
from nightspot.view.html.pages import run_page, runs_page
from nightspot.view.html.theme import PALETTE, stretches_of

PAGES = ["run_html", "month_html"]
HOSTILE = """<img src=x onerror=alert(1)></script><script>alert(2)</script>"'`\u2028\u202e"""


@pytest.fixture(params=PAGES)
def html(request):
    return request.getfixturevalue(request.param)


def rgb(colour):
    return f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})"


def scrolls_sideways(page):
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_a_page_draws_its_charts_in_silence_and_without_a_network(show, html, width, scheme):
    page = show(html, width=width, scheme=scheme)
    assert page.said == []
    assert page.asked_for == []
    assert page.locator(".chart").count() == page.locator(".chart svg").count() > 0
    assert not scrolls_sideways(page)


@pytest.mark.parametrize("width", [360, 1440])
def test_no_chart_is_wider_than_its_place(show, html, width):
    page = show(html, width=width)
    boxes = "all => all.map(e => [e.getBoundingClientRect().width, e.parentElement.clientWidth])"
    for drawn, place in page.eval_on_selector_all(".chart svg", boxes):
        assert drawn <= place + 1


@pytest.mark.parametrize(("scheme", "column"), [("light", 0), ("dark", 1)])
def test_ground_text_and_marks_follow_the_reader_s_scheme(show, run_html, scheme, column):
    page = show(run_html, scheme=scheme)
    look = page.evaluate(
        "(({backgroundColor, color}) => [backgroundColor, color])(getComputedStyle(document.body))"
    )
    assert look == [rgb(PALETTE["ground"][column]), rgb(PALETTE["text"][column])]
    fills = page.eval_on_selector_all(".chart svg path", "all => all.map(e => getComputedStyle(e).fill)")
    assert rgb(PALETTE["spot"][column]) in fills


def test_paper_is_light_whatever_the_screen_is(show, run_html):
    page = show(run_html, scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    look = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert look == rgb(PALETTE["ground"][0])


def test_every_number_on_the_page_is_the_ledger_s(show, run_html, record):
    page = show(run_html)
    for column in ("waited_seconds", "trained_seconds", "billable_seconds", "interruptions", "cost_usd"):
        cells = page.values(f"#attempts td[data-field={column}]")
        assert cells == [attempt[column] for attempt in record["attempts"]], column
    assert page.values("#cost") == page.values("#cost-sum") == [record["cost_usd"]]
    assert page.values("#alone") == [record["on_demand_cost_usd"]]
    assert page.values("#saved") == pytest.approx([record["on_demand_cost_usd"] - record["cost_usd"]])
    assert page.values("#margin") == [record["margin_seconds"]]
    assert page.values("#attempts-count") == [len(record["attempts"])]
    assert page.get_attribute("#ready time", "datetime") == record["ended_at"]
    assert page.get_attribute("#deadline time", "datetime") == record["deadline"]


def test_what_is_written_is_what_the_machine_reads(show, run_html):
    page = show(run_html)
    amounts = "all => all.map(e => [Number(e.value), e.textContent])"
    pairs = page.eval_on_selector_all("data[data-unit=usd]", amounts)
    assert pairs
    for value, text in pairs:
        assert text == f"${value:,.2f}"


def test_the_stretches_add_up_to_the_night(show, run_html, record):
    page = show(run_html)
    run = read_record(record)
    shown = page.values("td[data-field=stretch]")
    assert shown == [stretch.seconds for stretch in stretches_of(run)]
    assert page.values("#night-seconds") == [(run.over_at - run.started_at).total_seconds()]
    assert sum(shown) == pytest.approx(page.values("#night-seconds")[0])


def test_the_bars_of_the_timeline_are_as_long_as_their_stretches(show, run_html, record):
    page = show(run_html)
    told = [stretch for stretch in stretches_of(read_record(record)) if stretch.attempt is not None]
    bars = page.locator("[data-spec=spec-timeline] [aria-roledescription=bar]")
    widths = [
        box["width"]
        for box in bars.evaluate_all("all => all.map(e => ({width: e.getBoundingClientRect().width}))")
    ]
    assert len(widths) == len(told)
    per_second = max(widths) / max(stretch.seconds for stretch in told)
    for width, stretch in zip(widths, told, strict=True):
        # The rectangle on the screen is cut to whole pixels.
        assert width == pytest.approx(stretch.seconds * per_second, abs=2)


def test_every_decision_is_reached_by_keyboard_and_says_why(show, run_html, record):
    page = show(run_html)
    marks = page.locator("[data-spec=spec-timeline] [role=graphics-symbol][tabindex='0']")
    says = marks.evaluate_all("all => all.map(e => e.getAttribute('aria-label'))")
    for step in record["steps"]:
        assert [text for text in says if text.endswith(step["because"])]
    assert page.locator("#tip").is_hidden()
    decision = page.locator(
        f"[data-spec=spec-timeline] [aria-label$='{record['steps'][0]['because']}']"
    ).first
    decision.focus()
    assert page.locator("#tip").inner_text().endswith(record["steps"][0]["because"])
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()


def test_the_tab_key_alone_leads_into_the_timeline(show, run_html):
    page = show(run_html)
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.getAttribute('role')"))
    assert "graphics-symbol" in reached
    assert page.locator("#tip").is_visible()


def test_pointing_at_a_decision_says_why(show, run_html, record):
    page = show(run_html)
    page.locator(f"[data-spec=spec-timeline] [aria-label$='{record['steps'][0]['because']}']").first.hover()
    page.wait_for_selector("#tip:not([hidden])")
    assert page.locator("#tip").inner_text().endswith(record["steps"][0]["because"])


def test_marks_stay_reachable_when_the_window_changes(show, run_html):
    page = show(run_html)
    reachable = "[data-spec=spec-timeline] [role=graphics-symbol][tabindex='0']"
    before = page.locator(reachable).count()
    page.set_viewport_size({"width": 500, "height": 900})
    page.wait_for_function(
        "document.querySelector('[data-spec=spec-timeline] svg').getBoundingClientRect().width < 500"
    )
    page.wait_for_function(f'document.querySelectorAll("{reachable}").length === {before}')


@pytest.mark.parametrize("width", [360, 1440])
def test_without_scripts_the_tables_tell_the_whole_night(show, run_html, record, width):
    page = show(run_html, width=width, java_script_enabled=False)
    text = page.locator("main").inner_text()
    for step in record["steps"]:
        assert step["because"] in text
    assert not scrolls_sideways(page)


def test_the_sums_of_a_month_are_those_of_its_runs(show, month_html, month):
    page = show(month_html)
    known = [night["cost_usd"] for night in month if night["cost_usd"] is not None]
    assert page.values("#runs tbody td[data-field=cost_usd]:has(data)") == list(reversed(known))
    assert sum(known) <= page.values("#cost")[0]
    assert "of 9 of 10 nights" in page.locator("#cost").inner_text()


def test_each_run_of_a_month_leads_to_its_page(show, month_html, month):
    page = show(month_html)
    links = page.eval_on_selector_all("#runs a", "all => all.map(e => e.getAttribute('href'))")
    assert links == [f"{night['run_id']}.html" for night in reversed(month)]


def attacked(record):
    record |= {"job": HOSTILE, "run_id": HOSTILE, "because": HOSTILE, "outcome": "failed", "story": HOSTILE}
    record["metrics"] = {HOSTILE: 1.0}
    for attempt in record["attempts"]:
        attempt |= {"instance_type": HOSTILE, "training_job_name": HOSTILE, "failure_reason": HOSTILE}
    for step in record["steps"]:
        step["because"] = HOSTILE
        if step["progress"]:
            step["progress"]["metrics"] = {HOSTILE: 0.5 + step["progress"]["step"]}
    return record


@pytest.mark.parametrize("make", [run_page, lambda run, script: runs_page([run], script, job=HOSTILE)])
def test_hostile_texts_become_no_markup_and_run_nowhere(show, record, script, make):
    page = show(make(read_record(attacked(record)), script))
    assert page.said == []
    assert page.asked_for == []
    assert page.locator("img").count() == 0
    assert "<img src=x onerror=alert(1)></script>" in page.locator("header").inner_text()
    attacking = page.locator("[role=graphics-symbol][tabindex='0'][aria-label*=onerror]")
    assert attacking.count()
    attacking.first.focus()
    assert "<img src=x onerror=alert(1)>" in page.locator("#tip").inner_text()
    assert page.locator("#tip *").count() == 0
    assert page.said == []


def test_a_mark_of_direction_stays_where_it_is(show, record, script):
    """An override of direction in a job's name must not turn the words behind it round."""
    page = show(run_page(read_record({**record, "job": "abc\u202e"}), script))
    across = """() => {
      const line = document.querySelector(".over");
      const text = [...line.childNodes].find(node => node.nodeType === 3 && node.textContent.includes("November"));
      const at = word => {
        const range = document.createRange(), start = text.textContent.indexOf(word);
        range.setStart(text, start); range.setEnd(text, start + word.length);
        return range.getBoundingClientRect().left;
      };
      return [at("November"), at("2026")];
    }"""
    first, second = page.evaluate(across)
    assert first < second
