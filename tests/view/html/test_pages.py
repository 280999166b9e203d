"""The pages as files: whole, self-contained, and deaf to whatever markup a text may hold."""

import base64
import hashlib
import html
import json
import re
import unicodedata
from html.parser import HTMLParser

import pytest

from nightspot.record import sentences
from nightspot.record.model import read_record
from nightspot.record.statement import statement
from nightspot.view.html import charts_script
from nightspot.view.html.pages import SHARES, headline, run_page, runs_page, title

SCRIPT = "window.vegaEmbed = () => {};"
STEERING = "\u2028\u202e\x1b[2J\x00\x85\u200b\ud800\ufffe"
HOSTILE = f"""<img src=x onerror=alert(1)></script><script>alert(2)</script>"'`{STEERING}{{{{ 7*7 }}}}"""


def page_of(record, script):
    return run_page(read_record(record), script)


def page_of_runs(records, script, **options):
    return runs_page(map(read_record, records), script, **options)


class Elements(HTMLParser):
    """All elements with their attributes, and the text of scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.found, self.raw, self.text = [], [], []
        self._inside = None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._inside = tag if tag in {"script", "style"} else None
        if self._inside:
            self.raw.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        (self.raw[-1][2] if self._inside else self.text).append(data)

    def names(self):
        return {tag for tag, _ in self.found}

    def attributes(self, name):
        return [attributes[name] for _, attributes in self.found if name in attributes]

    def data(self, unit):
        return [
            float(attributes["value"])
            for tag, attributes in self.found
            if tag == "data" and attributes["data-unit"] == unit
        ]


def hostile(record):
    record |= {"job": HOSTILE, "run_id": HOSTILE, "story": HOSTILE, "because": HOSTILE, "outcome": "failed"}
    record |= {"model_artifact": HOSTILE, "checkpoints": HOSTILE, "metrics": {HOSTILE: 1.0}}
    record |= {"plan_note": HOSTILE, "requested_by": HOSTILE}
    record["left_out"] = [{"market": "spot", "instance_type": HOSTILE, "because": HOSTILE}]
    for attempt in record["attempts"]:
        attempt |= {"instance_type": HOSTILE, "training_job_name": HOSTILE, "failure_reason": HOSTILE}
        attempt |= {"status": HOSTILE, "failure_class": None}
    for step in record["steps"]:
        step["because"] = HOSTILE
        if step["progress"]:
            step["progress"]["metrics"] = {HOSTILE: 0.5}
    return record


def pages_of(record):
    yield page_of(record, SCRIPT)
    yield page_of_runs([record], SCRIPT, job=record["job"], link_of=lambda _: "x.html")
    yield page_of_runs([record, {**record, "job": "another"}], SCRIPT)


def test_a_page_fetches_nothing_and_says_so_to_the_browser(record):
    for page in pages_of(record):
        elements = Elements(page)
        assert not elements.names() & {"link", "img", "iframe", "object", "base", "form", "video"}
        assert elements.attributes("src") == []
        policy = elements.attributes("content")[0]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy


def test_the_policy_names_exactly_the_scripts_and_the_style_of_the_page(record):
    for page in pages_of(record):
        elements = Elements(page)
        policy = elements.attributes("content")[0]
        ours = ["".join(text) for _, attributes, text in elements.raw if attributes.get("type") is None]
        hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in ours}
        assert len(ours) == 3
        assert set(re.findall(r"'sha256-([^']+)'", policy)) == hashes


def test_hostile_texts_are_texts(record):
    benign = [Elements(page) for page in pages_of(record)]
    attacked = [Elements(page) for page in pages_of(hostile(record))]
    for before, after in zip(benign, attacked, strict=True):
        assert after.names() <= before.names() | {"p"}
        assert after.attributes("onerror") == []
        assert after.attributes("src") == []
        assert len(after.raw) == sum(tag in {"script", "style"} for tag, _ in after.found)
        assert "".join(after.text).count("<img src=x onerror=alert(1)>")
        assert "49" not in re.findall(r"\{\{|49", "".join(after.text))


def test_no_character_of_a_text_steers_what_shows_the_page(record):
    """Nor makes it ill-formed: XML has no place for most of them."""
    for page in pages_of(hostile(record)):
        text = page + "".join(Elements(page).text)
        assert {c for c in text if unicodedata.category(c)[0] == "C"} <= {"\n"}
        assert not {*"\x1b\x85\u2028"} & set(
            text.encode("ascii", "backslashreplace").decode("unicode_escape")
        )


def test_specs_survive_in_their_script_elements(record):
    elements = Elements(page_of(hostile(record), SCRIPT))
    specs = [json.loads("".join(t)) for _, a, t in elements.raw if a.get("type") == "application/json"]
    assert [spec for spec in specs if "onerror=alert(1)" in json.dumps(spec)]
    assert len(specs) == len(elements.attributes("data-spec"))


def test_a_script_that_would_end_its_element_is_refused(record):
    for text in ("a</SCRIPT>b", "a<!--b"):
        with pytest.raises(charts_script.ChartsScriptError, match="neither"):
            page_of(record, text)


def test_a_page_without_the_script_has_tables_and_no_charts(record):
    page = page_of(record, None)
    elements = Elements(page)
    assert "script" not in elements.names()
    assert "script-src 'none'" in elements.attributes("content")[0]
    assert record["steps"][0]["because"] in html.unescape(page)


def test_every_amount_of_the_ledger_is_on_the_page_and_no_other(record):
    amounts = Elements(page_of(record, None)).data("usd")
    ledger = {record[name] for name in ("cost_usd", "on_demand_cost_usd")}
    ledger |= {attempt["cost_usd"] for attempt in record["attempts"]}
    saved = record["on_demand_cost_usd"] - record["cost_usd"]
    assert saved == pytest.approx(record["saved_usd"], abs=1e-3)
    assert set(amounts) == ledger | {saved}


def test_every_duration_of_the_ledger_is_on_the_page(record):
    durations = Elements(page_of(record, None)).data("seconds")
    for attempt in record["attempts"]:
        for name in ("waited_seconds", "trained_seconds", "billable_seconds"):
            assert attempt[name] in durations
    assert record["margin_seconds"] in durations


def test_every_decision_is_in_the_table(record):
    page = html.unescape(page_of(record, None))
    for step in record["steps"]:
        assert f"<bdi>{step['because']}</bdi>" in page
        assert f'datetime="{step["at"]}"' in page


def test_a_simulated_night_says_that_it_is_one(changed):
    assert "A simulated night" in page_of(changed(), None)
    assert "A simulated night" not in page_of(changed(simulated=False), None)


def test_a_real_night_leads_to_the_console_and_a_simulated_one_nowhere(changed):
    real = Elements(page_of(changed(simulated=False), None)).attributes("href")
    assert [link for link in real if link.startswith("https://eu-west-1.console.aws.amazon.com/")]
    simulated = Elements(page_of(changed(), None)).attributes("href")
    assert [link for link in simulated if not link.startswith("#")] == []


@pytest.mark.parametrize("outcome", ["running", "failed", "skipped", "stopped", "refused"])
def test_every_outcome_has_a_page(changed, outcome):
    unfinished = changed(outcome=outcome, margin_seconds=None, deadline_met=False, model_artifact=None)
    assert "no model" in page_of(unfinished, SCRIPT)
    assert "no model" in page_of({**unfinished, "attempts": [], "steps": []}, SCRIPT)


def test_an_old_record_has_a_page(old_record):
    assert "open (no details on record)" in page_of(old_record, SCRIPT)


def month(changed):
    for day in range(1, 11):
        fields = {"started_at": f"2026-11-{day:02d}T00:00:00+00:00", "run_id": f"run-{day}"}
        if day == 3:
            fields |= {"deadline_met": False, "margin_seconds": -60.0}
        if day == 4:
            fields |= {"outcome": "failed", "deadline_met": False, "margin_seconds": None}
        if day == 5:
            fields |= {"cost_usd": None, "cost_at_least_usd": 20.0, "missing": ["billable_seconds"]}
        yield changed(**fields)


def test_the_sums_of_a_page_are_the_accounts(changed):
    runs = list(month(changed))
    sums = statement([read_record(run) for run in runs])
    amounts = Elements(page_of_runs(runs, None)).data("usd")
    for name in ("cost_usd", "on_demand_cost_usd", "saved_usd"):
        assert sums.totals[name].known in amounts
    page = page_of_runs(runs, None)
    assert "of 9 of 10 nights" in re.sub(r"\s+", " ", page)
    shares = Elements(page).data("percent")
    assert [sums.shares[name] * 100 for name in SHARES] == shares[-len(SHARES) :]


def test_pages_say_how_their_saving_could_be_too_high(changed):
    run = changed(yardstick="ml.g5.12xlarge", yardstick_in_time=True, price_assumed=True)
    said = sentences.how_too_high(read_record(run))
    assert "a price is assumed; a cheaper type than ml.g5.12xlarge" in said
    assert said in html.unescape(page_of(run, None))
    together = sentences.how_too_high_together(statement([read_record(run)]))
    assert together in html.unescape(page_of_runs([run], None))
    assert "too high" not in page_of(changed(outcome="failed", deadline_met=False), None)


def test_pages_of_runs_under_a_savings_plan_have_both_bounds(changed):
    fields = {"cost_usd": 47.16, "on_demand_cost_usd": 0.0, "saved_usd": -47.16, "saved_at_most_usd": 44.84}
    run = changed(**fields)
    for page in (page_of(run, SCRIPT), page_of_runs([run], SCRIPT)):
        amounts = Elements(page).data("usd")
        assert -47.16 in amounts
        assert pytest.approx(44.84) in amounts


def test_a_month_says_why_its_nights_fell_back(changed):
    reasons = ("too_slow", "last_safe_moment", "last_safe_moment")
    runs = [changed(fell_back=True, fell_back_reason=reason) for reason in reasons]
    assert "Why they fell back: last safe moment (2), too slow (1)." in page_of_runs(runs, None)
    assert "Why they fell back" not in page_of_runs([changed()], None)


def test_a_month_is_headed_by_its_count_and_its_saving(changed):
    runs = list(month(changed))
    said = headline(statement([read_record(run) for run in runs]))
    assert said.startswith("8 of 10 nights had the model in time; $")
    assert said.endswith("saved against on-demand alone, as far as is known (9 of 10 nights).")
    assert headline(statement([])) == "No run is on record here."


def test_a_loss_is_not_called_a_saving(changed):
    dear = changed(cost_usd=200.0, saved_usd=-66.8)
    assert "$66.81 (50.2\u00a0%) more than on-demand alone" in headline(statement([read_record(dear)]))


def test_runs_are_listed_newest_first_with_their_links(changed):
    runs = list(month(changed))
    elements = Elements(page_of_runs(runs, None, link_of=lambda run: f"{run.run_id}.html"))
    ids = elements.attributes("data-run")
    assert ids == [f"run-{day}" for day in range(10, 0, -1)]
    assert elements.attributes("href") == [f"{name}.html" for name in ids]


def test_jobs_and_months_are_compared_where_there_are_several(changed):
    october = changed(started_at="2026-10-31T00:00:00+00:00", job="search", run_id="x")
    several = page_of_runs([*month(changed), october], SCRIPT)
    assert {'id="jobs"', 'id="months"'} <= set(re.findall(r'id="\w+"', several))
    alone = page_of_runs(list(month(changed)), SCRIPT)
    assert not {'id="jobs"', 'id="months"'} & set(re.findall(r'id="\w+"', alone))


def test_no_runs_make_a_page_that_says_so():
    assert "No run is on record here." in page_of_runs([], SCRIPT)


def test_a_page_is_named_by_what_it_is_about():
    assert title("recommender", "2026-11") == "recommender, November 2026"
    assert title(None, None) == "All jobs"


def test_the_facts_tell_which_code_was_trained(record):
    code = {"digest": "d" * 64, "entry_point": "train.py", "revision": "1" * 40, "dirty": True}
    words = f"train.py {'d' * 12} (git {'1' * 12}, with uncommitted changes)"
    assert words in page_of(record | {"code": code}, SCRIPT)
    assert ">Code<" not in page_of(record, SCRIPT)


def test_the_facts_tell_who_started_the_run_and_what_its_plan_has_to_say(record):
    note = "Started 2 h late: 6 h are left of 8 h."
    page = page_of(record | {"plan_note": note, "requested_by": "schedule"}, SCRIPT)
    assert note in page
    assert "schedule" in page
    assert "Started by" not in page_of(record | {"plan_note": None, "requested_by": None}, SCRIPT)
