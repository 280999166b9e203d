"""The answer as JSON, on a terminal and as a page."""

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from nightspot.advise.advice import as_json
from nightspot.advise.filters import Filter, FilterVerdict
from nightspot.advise.offers import LABELS, Option
from nightspot.terminal import advise_text
from nightspot.terminal.lines import console_for

EVIL = '<script>alert("x")</script>'
WORDS = {"measured", "priced", "assumed", "unknown"}


class Page(HTMLParser):
    """What a browser would see: tags in order, and the text by the id of its element."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_data(self, data):
        self.text += data


def shown(advice):
    stream = io.StringIO()
    advise_text.show(console_for(stream), advice)
    return stream.getvalue()


def policy_of(text):
    return next(
        value for name, value in Page(text).attributes if name == "content" and "default-src" in value
    )


def test_json_has_its_keys_and_no_number_that_json_does_not_know(recommender_advice):
    told = json.loads(json.dumps(as_json(recommender_advice), allow_nan=False))
    assert set(told) == {
        "job",
        "region",
        "simulated",
        "spot",
        "recommended",
        "recommendation",
        "filters",
        "options",
        "month",
        "inputs",
        "how_it_could_be_too_high",
        "notes",
    }
    assert [each["filter"] for each in told["filters"]] == [each.value for each in Filter]
    assert {each["verdict"] for each in told["filters"]} <= {each.value for each in FilterVerdict}
    assert [each["option"] for each in told["options"]] == [each.value for each in Option]
    assert told["recommended"] in {each["option"] for each in told["options"]}
    assert told["month"]["best_usd"]["value"] <= told["month"]["median_usd"]["value"]


def test_every_figure_says_how_good_it_is_and_where_it_comes_from(recommender_advice):
    told = as_json(recommender_advice)
    figures = [each["usd_a_month"] for each in told["options"]]
    figures += [told["month"][name] for name in ("median_usd", "best_usd", "worst_usd")]
    figures += [told["inputs"][name] for name in ("on_demand_usd_per_hour", "spot_over_on_demand")]
    for figure in figures:
        assert figure["basis"] in WORDS
        assert figure["source"]
        assert (figure["value"] is None) == (figure["basis"] == "unknown")


def test_a_job_without_a_price_has_no_money_anywhere_in_its_json(advising):
    told = as_json(advising.advice(price=advising.unpriced, nights=6))
    assert {each["usd_a_month"]["value"] for each in told["options"]} == {None}
    assert told["month"]["median_usd"]["value"] is None
    assert all(trial["usd_a_month"] is None for trial in told["month"]["deadlines"])
    assert all(trial["on_demand_hours"] > 0 for trial in told["month"]["deadlines"])


def test_every_verdict_has_a_colour_on_the_terminal_and_on_the_page():
    assert set(advise_text.STYLES) == set(FilterVerdict)
    assert set(advise_text.MOODS) == set(FilterVerdict)


def test_the_terminal_says_the_advice_first_and_then_everything_else(recommender_advice):
    text = shown(recommender_advice)
    plain = re.sub(r"\s+", " ", text)
    assert plain.startswith(f"Advice {recommender_advice.sentence}")
    for finding in recommender_advice.findings:
        assert finding.reason in plain
    for sentence in recommender_advice.month.advice:
        assert sentence in plain
    assert "Too high? The saving is too high if Spot saves less than 65 % of an hour (assumed)" in plain
    for label in LABELS.values():
        assert label.split()[0] in text
    assert max(len(line) for line in text.splitlines()) <= 110


@pytest.mark.parametrize("path", ["examples/advise/no_slack.yaml"])
def test_a_no_and_a_missing_price_are_shown_without_a_number(advising, path):
    text = shown(advising.advice(path, price=advising.unpriced, nights=6))
    assert "Do not use Spot" in text
    assert "hours of on-demand" in text


def test_the_page_holds_the_numbers_of_the_json(recommender_advice):
    seen = Page(advise_text.page(recommender_advice))
    assert recommender_advice.sentence in seen.text
    assert "Is Spot right for recommender? Yes." in seen.text
    assert as_json(recommender_advice)["how_it_could_be_too_high"] in seen.text
    for offer in recommender_advice.offers:
        assert LABELS[offer.option] in seen.text
        assert advise_text.money(offer.usd.value) in seen.text
        assert offer.usd.source in seen.text
    for trial in (*recommender_advice.month.deadlines, *recommender_advice.month.intervals):
        assert advise_text.trial_row(trial)[1] in seen.text


def test_the_page_fetches_nothing_and_runs_nothing(recommender_advice):
    text = advise_text.page(recommender_advice)
    seen = Page(text)
    assert not {"script", "link", "img", "iframe"} & set(seen.tags)
    assert not [
        name for name, _ in seen.attributes if name in ("src", "href", "style") or name.startswith("on")
    ]
    assert "default-src 'none'" in policy_of(text)
    assert "prefers-color-scheme: dark" in text


def test_hostile_names_do_not_become_markup(recommender_advice):
    case = recommender_advice.case
    job = case.job.model_copy(update={"name": EVIL})
    notes = (EVIL, '"><img src=x onerror=alert(1)>')
    finding = replace(recommender_advice.findings[0], reason=EVIL)
    hostile = replace(
        recommender_advice,
        case=replace(case, job=job, notes=notes),
        sentence=EVIL,
        findings=(finding, *recommender_advice.findings[1:]),
    )
    seen = Page(advise_text.page(hostile))
    assert not {"script", "img"} & set(seen.tags)
    assert seen.text.count(EVIL) >= 4
    assert EVIL in shown(hostile).replace("\n", " ")


def test_the_style_is_the_one_that_the_policy_names(recommender_advice):
    text = advise_text.page(recommender_advice)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy_of(text)
