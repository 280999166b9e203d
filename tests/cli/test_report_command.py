"""`nightspot report`: which records it is made of, what it writes, and where."""

import csv
import io
import json
import xml.etree.ElementTree as ET

import boto3
import pytest

from nightspot.aws.table.run_table import RunTable
from nightspot.cli import report
from nightspot.local.stage.emulated_aws import REGION, TABLE, create_resources
from nightspot.view.html import charts_script
from tests import records as past_records

SCRIPT = "window.vegaEmbed = () => {};"


@pytest.fixture(autouse=True)
def _no_charts(monkeypatch, request):
    """What draws charts takes seconds; a stand-in, except where a test is about it."""
    if request.node.get_closest_marker("parametrize") is None or "picture" not in request.node.name:
        monkeypatch.setattr(report, "script", lambda _folder: SCRIPT)


@pytest.fixture
def record(root):
    return json.loads((root / "tests" / "view" / "html" / "bad_night.json").read_text(encoding="utf-8"))


@pytest.fixture
def nights(tmp_path, record):
    """Records in build/runs: two nights of the recommender in November, one in October, one of search."""
    for job, day in (
        ("recommender", "2026-11-20"),
        ("recommender", "2026-11-21"),
        ("recommender", "2026-10-31"),
        ("search", "2026-11-21"),
    ):
        night = {**record, "job": job, "run_id": f"{job}-{day}", "started_at": f"{day}T00:00:11+00:00"}
        past_records.keep(tmp_path / "build" / "runs", night)
    return tmp_path


def test_the_newest_run_is_reported_by_default(nightspot, nights):
    answer = nightspot("report")
    assert answer.status == 0
    assert answer.out == "The report is search-2026-11-21.html.\n"
    assert "The model was ready at" in (nights / "search-2026-11-21.html").read_text()


def test_a_run_is_reported_by_its_id_to_the_file_that_is_named(nightspot, nights):
    nightspot("report", "--run", "recommender-2026-11-20", "--out", "pages/night.html")
    assert "run <bdi>recommender-2026-11-20</bdi>" in (nights / "pages" / "night.html").read_text()


def test_a_job_s_month_holds_its_runs_and_no_others(nightspot, nights):
    assert nightspot("report", "--job", "recommender", "--month", "2026-11").status == 0
    page = (nights / "recommender-2026-11.html").read_text()
    assert page.count("data-run=") == 2
    assert "2 of 2 nights had the model in time" in page


def test_all_jobs_are_on_one_page(nightspot, nights):
    nightspot("report", "--all")
    page = (nights / "all.html").read_text()
    assert page.count("data-run=") == 4
    assert 'id="jobs"' in page


def test_each_run_s_page_is_written_beside_and_linked(nightspot, nights):
    nightspot("report", "--all", "--runs", "--out", "site/index.html")
    page = (nights / "site" / "index.html").read_text()
    for name in ("recommender-2026-11-20", "search-2026-11-21"):
        assert f'href="{name}.html"' in page
        assert f"<bdi>{name}</bdi>" in (nights / "site" / f"{name}.html").read_text()


def test_without_their_pages_simulated_runs_are_not_linked(nightspot, nights):
    nightspot("report", "--all")
    assert "href=" not in (nights / "all.html").read_text()


def test_csv_of_a_run_has_a_row_for_each_attempt(nightspot, nights, record):
    answer = nightspot("report", "--run", "recommender-2026-11-20", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    assert [float(row["cost_usd"]) for row in rows] == [a["cost_usd"] for a in record["attempts"]]


def test_csv_of_a_job_has_a_row_for_each_run_oldest_first(nightspot, nights, record):
    answer = nightspot("report", "--job", "recommender", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    assert [row["month"] for row in rows] == ["2026-10", "2026-11", "2026-11"]
    assert {float(row["cost_usd"]) for row in rows} == {record["cost_usd"]}


def test_json_of_a_run_is_its_record(nightspot, nights, record):
    answer = nightspot("report", "--run", "recommender-2026-11-20", "--format", "json")
    assert json.loads(answer.out)["steps"] == record["steps"]


def test_json_of_many_runs_has_the_sums_and_every_account(nightspot, nights, record):
    answer = json.loads(nightspot("report", "--job", "recommender", "--format", "json").out)
    assert answer["nights"] == len(answer["accounts"]) == 3
    assert answer["totals"]["cost_usd"]["value"] == pytest.approx(3 * record["cost_usd"])


def test_standard_output_takes_a_page_too(nightspot, nights):
    assert nightspot("report", "--out", "-").out.startswith("<!DOCTYPE html>")
    assert not list(nights.glob("*.html"))


@pytest.mark.parametrize("which", [("--run", "recommender-2026-11-20"), ("--all",)])
def test_a_picture_is_drawn_in_both_formats(nightspot, nights, which):
    assert nightspot("report", *which, "--format", "svg", "--out", "x.svg").status == 0
    drawn = (nights / "x.svg").read_text()
    assert ET.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - ours
    assert "var(" not in drawn
    nightspot("report", *which, "--format", "png", "--out", "x.png")
    assert (nights / "x.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_nothing_known_to_draw_is_said(nightspot, tmp_path, record):
    unknown = {**record, "cost_usd": None, "saved_usd": None, "missing": ["billable_seconds"]}
    past_records.keep(tmp_path / "build" / "runs", unknown)
    answer = nightspot("report", "--all", "--format", "png")
    assert answer.status == 1
    assert "error: --format: png: there is no run here whose saving is known" in answer.err


def test_without_what_draws_charts_a_page_has_tables_and_says_so(nightspot, nights, monkeypatch):
    def missing(*_arguments):
        raise report.ChartsMissingError

    monkeypatch.setattr(report, "script", missing)
    answer = nightspot("report")
    assert answer.status == 0
    assert "warning: the page has tables and no charts" in answer.err
    assert "<script" not in (nights / "search-2026-11-21.html").read_text()
    monkeypatch.setattr(report, "_converter", missing)
    answer = nightspot("report", "--format", "svg")
    assert answer.status == 1
    assert "install nightspot[local]" in answer.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--run", "a", "--all"), "only one of --run, --job and --all"),
        (("--month", "2026-11"), "--month needs --job or --all"),
        (("--all", "--month", "11/2026"), "--month: '11/2026': must be a year and a month"),
        (("--runs",), "--runs needs --job or --all"),
        (("--all", "--runs", "--out", "-"), "--runs needs --job or --all"),
        (("--region", "eu-west-1"), "--region needs --table, --stack or --api"),
        (("--table", "t", "--from-folder", "f"), "only one of --from-folder and --table"),
        (("--format", "pdf"), "'pdf' is not one of"),
    ],
)
def test_options_that_do_not_go_together_are_usage_errors(nightspot, arguments, words):
    answer = nightspot("report", *arguments)
    assert answer.status == 2
    assert words in answer.err.replace("│ ", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--run", "elsewhere"), "run: 'elsewhere': is not in build/runs; the newest are: "),
        (("--job", "x"), "--job: 'x': build/runs has no record of it; it has recommender, search"),
        (("--from-folder", "nowhere"), "nowhere: holds no record of a run"),
    ],
)
def test_what_is_not_on_record_is_named(nightspot, nights, arguments, words):
    answer = nightspot("report", *arguments)
    assert answer.status == 1
    assert words in answer.err


def test_a_record_that_no_page_can_be_made_of_is_named(nightspot, tmp_path, record):
    past_records.keep(tmp_path / "build" / "runs", {**record, "deadline": "soon"})
    answer = nightspot("report")
    assert answer.status == 1
    assert "error: deadline: 'soon': " in answer.err


def test_a_file_s_name_is_safe_whatever_a_job_is_called():
    assert report.file_name("../a b/\u202ec", report.Format.HTML) == "a-b-c.html"
    assert report.file_name("...", report.Format.CSV) == "report.csv"


@pytest.fixture
def deployed(emulated_aws, story):
    """A table with two runs of the recommender."""
    create_resources(())
    table = RunTable(boto3.client("dynamodb", region_name=REGION), TABLE)
    for run_id, month in (("one", 10), ("two", 11)):
        started = story.midnight.replace(month=month)
        table.record_plan(story.run(run_id=run_id, started_at=started))
    return table


@pytest.mark.usefixtures("deployed")
def test_a_deployment_s_runs_come_from_its_table(nightspot, tmp_path):
    where = ("--table", TABLE, "--region", REGION)
    nightspot("report", "--job", "recommender", "--month", "2026-11", *where)
    page = (tmp_path / "recommender-2026-11.html").read_text()
    assert page.count("data-run=") == 1
    assert "https://eu-west-1.console.aws.amazon.com/states/" in page
    assert nightspot("report", "--run", "two", *where).status == 0
    assert "The run is still going on." in (tmp_path / "two.html").read_text()
    nightspot("report", "--all", *where)
    assert (tmp_path / "all.html").read_text().count("data-run=") == 2


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--run", "x"), f"--run: 'x': is not in the table {TABLE}"),
        (("--job", "x"), f"--job: 'x': the table {TABLE} has no run of it"),
    ],
)
def test_what_the_table_lacks_is_named(nightspot, arguments, words):
    answer = nightspot("report", *arguments, "--table", TABLE, "--region", REGION)
    assert answer.status == 1
    assert words in answer.err


@pytest.mark.usefixtures("deployed")
def test_without_a_choice_the_newest_run_of_the_table_is_reported(nightspot):
    answer = nightspot("report", "--table", TABLE, "--region", REGION, "--format", "json")
    assert json.loads(answer.out)["run_id"] == "two"


@pytest.mark.usefixtures("deployed")
def test_a_table_that_is_not_there_is_told_in_aws_s_words(nightspot):
    answer = nightspot("report", "--all", "--table", "elsewhere", "--region", REGION)
    assert answer.status == 1
    assert "error: AWS: " in answer.err
    assert "ResourceNotFoundException" in answer.err


class TestTheScriptOfCharts:
    """Kept between calls, and made again where it is not what it should be."""

    @pytest.fixture
    def made(self, monkeypatch):
        calls = []

        def make():
            calls.append("made")
            return SCRIPT

        monkeypatch.undo()
        monkeypatch.setattr(charts_script, "make", make)
        monkeypatch.setattr(charts_script, "made_by", lambda: "maker 1")
        return calls

    def test_it_is_made_once(self, tmp_path, made):
        assert [report.script(tmp_path / "cache") for _ in range(3)] == [SCRIPT] * 3
        assert made == ["made"]
        assert [path.name for path in (tmp_path / "cache").iterdir()] == ["maker-1.js"]

    def test_a_cache_that_cannot_be_written_is_only_slow(self, tmp_path, made):
        blocked = tmp_path / "file"
        blocked.write_text("")
        assert report.script(blocked) == SCRIPT

    def test_the_cache_is_where_the_user_s_caches_are(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        assert report.cache_folder({}) == tmp_path / ".cache" / "nightspot"
        assert report.cache_folder({"XDG_CACHE_HOME": "relative"}) == tmp_path / ".cache" / "nightspot"
        assert report.cache_folder({"XDG_CACHE_HOME": "/c"}).as_posix() == "/c/nightspot"
