"""`nightspot advise`: what it answers, what its JSON promises, and how it refuses what makes no sense."""

import json

import pytest

SUMMARY = {
    "job": "recommender",
    "resume": "proven",
    "started_at": "2026-11-20T00:00:00+00:00",
    "run_id": "20261120-abc123",
    "outcome": "succeeded",
    "attempts": [
        {
            "number": 1,
            "training_job_name": "nightspot-recommender-20261120-abc123-1",
            "asked_at": "2026-11-20T00:00:10+00:00",
            "market": "spot",
            "instance_type": "ml.p4d.24xlarge",
            "status": "Completed",
            "ended_at": "2026-11-20T05:00:00+00:00",
            "trained_seconds": 14400.0,
            "billable_seconds": 4320.0,
            "queued_seconds": 60.0,
            "interruptions": 0,
        }
    ],
}


@pytest.fixture
def job(tmp_path, good_job):
    path = tmp_path / "job.yaml"
    path.write_text(good_job)
    return path


def test_a_yes_and_a_no_both_end_with_status_0(nightspot, root, job):
    yes = nightspot("advise", job, "--nights", 6)
    assert (yes.status, yes.err) == (0, "")
    assert yes.out.startswith("Advice            Use managed Spot with Nightspot and fall back to on-demand")
    no = nightspot("advise", root / "examples" / "advise" / "no_slack.yaml", "--nights", 6)
    assert (no.status, no.err) == (0, "")
    assert no.out.startswith("Advice            Do not use Spot: use on-demand instead")


def test_json_is_one_object_and_the_same_for_the_same_seed(nightspot, job):
    first, second = (nightspot("advise", job, "--nights", 2, "--json") for _ in range(2))
    told = json.loads(first.out)
    assert told["recommended"] in {each["option"] for each in told["options"]}
    assert told["inputs"]["nights_a_month"] == {"value": 2, "basis": "priced", "source": "given by you"}
    assert first.out == second.out


def test_what_is_given_is_reckoned_with(nightspot, job):
    options = ("--spot-price", "30%", "--failed-night-usd", 5000, "--setup-hours", 0, "--operate-hours", 0)
    told = json.loads(nightspot("advise", job, "--nights", 2, *options, "--json").out)
    assert told["inputs"]["spot_over_on_demand"]["value"] == pytest.approx(0.3)
    assert told["inputs"]["given"] == ["failed_night_usd", "operate_hours", "setup_hours"]
    assert told["options"][0]["work_usd_a_month"] == 0
    assert told["filters"][3]["numbers"]["failed_night_usd"] == 5000


def test_runs_and_a_drill_are_evidence(nightspot, job, tmp_path):
    (tmp_path / "runs.json").write_text(json.dumps([SUMMARY] * 5))
    (tmp_path / "drill.json").write_text('{"outcome": "PASS", "job": "recommender", "kills": []}')
    evidence = ("--history", "runs.json", "--drill", "drill.json")
    told = json.loads(nightspot("advise", job, "--nights", 2, *evidence, "--json").out)
    assert told["filters"][0]["verdict"] == "yes"
    assert told["inputs"]["spot_over_on_demand"] == {
        "value": 0.3,
        "basis": "measured",
        "source": "Spot saves 70 % of an hour, measured: 5 Spot attempts of this job on ml.p4d.24xlarge",
    }


def test_a_savings_plan_and_on_demands_queue_can_be_said(nightspot, job):
    told = {
        room: json.loads(nightspot("advise", job, "--nights", 2, "--savings-plan", room, "--json").out)
        for room in ("idle", "used")
    }
    assert told["idle"]["recommended"] == "savings_plan"
    assert told["used"]["inputs"]["savings_plan"] == "used"
    assert told["used"]["recommended"] != "savings_plan"
    for queue, words in (("0", "on-demand's queue never there"), ("2h", "one start in 4 waits, up to 2 h")):
        answer = nightspot("advise", job, "--nights", 2, "--on-demand-queue", queue, "--json")
        assert words in json.loads(answer.out)["inputs"]["nights"]


def test_a_dated_trace_is_played_from_the_jobs_hour_on(nightspot, job, tmp_path):
    metadata = {"gap_seconds": 600, "start": "2026-03-01T18:00:00Z"}
    # Each day has a machine from midnight to noon.
    (tmp_path / "zone-a.json").write_text(
        json.dumps({"metadata": metadata, "data": ([0] * 36 + [1] * 72 + [0] * 36) * 6})
    )
    told = json.loads(nightspot("advise", job, "--nights", 2, "--traces", "zone-a.json", "--json").out)
    assert told["inputs"]["market"] == "your traces (1, 1 of them with a date: from the job's hours on)"
    assert told["month"]["on_demand_nights"] == 0


def test_a_page_is_written_beside_the_answer(nightspot, job, tmp_path):
    answer = nightspot("advise", job, "--nights", 2, "--html", "advice.html")
    assert answer.status == 0
    assert "Page              advice.html" in answer.out
    assert (tmp_path / "advice.html").read_text().startswith("<!DOCTYPE html>")


def test_a_type_without_a_price_is_advised_with_unknowns(nightspot, job):
    answer = nightspot("advise", job, "--nights", 2, "--region", "eu-north-1")
    assert answer.status == 0
    assert "unknown" in answer.out
    assert "eu-north-1 is known" in " ".join(answer.out.split())


def test_own_traces_are_played(nightspot, job, tmp_path):
    trace = {"metadata": {"gap_seconds": 600}, "data": ([1] * 36 + [0] * 36) * 6}
    (tmp_path / "zone-a.json").write_text(json.dumps(trace))
    answer = nightspot("advise", job, "--nights", 2, "--traces", "zone-a.json", "--json")
    assert json.loads(answer.out)["inputs"]["market"] == "your traces (1)"


BAD_OPTIONS = [
    (("--nights", "0"), "--nights: 0: must be a number from 0.1 to 45,000"),
    (("--nights", "nan"), "--nights: nan: must be a number"),
    (("--zones", "0"), "--zones: 0: must be a number from 1 to 12"),
    (("--placement-score", "11"), "--placement-score: 11: must be a number from 1 to 10"),
    (("--interruption-band", "7"), "--interruption-band: '7': must be one of <5, 5-10"),
    (("--spot-price", "0"), "--spot-price: '0': must be a share from 0.01 to 1"),
    (("--spot-price", "120%"), "--spot-price: '120%': must be a share"),
    (("--window", "soon"), "--window: 'soon': must be a duration"),
    (("--save-time", "-1s"), "--save-time: '-1s': must be a duration"),
    (("--engineer-usd-per-hour", "-1"), "--engineer-usd-per-hour: -1: must be a number from 0"),
    (("--failed-night-usd", "inf"), "--failed-night-usd: inf: must be a number from 0 to 1,000,000"),
    (("--html", "page.txt"), "--html: 'page.txt': must end in .html"),
    (("--html", "no/page.html"), "--html: 'no/page.html': must be in a folder that exists"),
    (("--seed", "-1"), "--seed"),
    (("--savings-plan", "full"), "--savings-plan"),
    (("--on-demand-queue", "soon"), "--on-demand-queue: 'soon': must be a duration"),
    (("--traces", "none.json"), "none.json"),
    (("--drill", "none.json"), "none.json: No such file"),
    (("--history", "none.json"), "none.json: No such file"),
]


@pytest.mark.parametrize(("options", "said"), BAD_OPTIONS)
def test_an_option_that_makes_no_sense_is_refused(nightspot, job, options, said):
    answer = nightspot("advise", job, *options)
    assert (answer.status, answer.out) == (2, "")
    assert said in answer.err.replace(" │ ", " ")


BAD_FILES = [
    ("--history", "{", "must be JSON in UTF-8"),
    ("--history", "3", "must be a JSON list of run summaries"),
    ("--history", '[{"job": "recommender"}]', "[0]: must be a run's summary, an object with `attempts`"),
    ("--history", '[{"attempts": [3]}]', "[0].job: nothing: field required"),
    ("--history", '[{"attempts": [], "simulated": true}]', "[0].simulated: true: must be a run on AWS"),
    (
        "--history",
        '[{"attempts": [], "job": "other", "outcome": "failed", "started_at": "2026-11-20T00:00:00Z"}]',
        "none of them is of the job recommender",
    ),
    ("--drill", "[]", "outcome: None: must be PASS, INEXACT or FAIL"),
    ("--drill", '{"outcome": "MAYBE"}', "outcome: 'MAYBE': must be PASS, INEXACT or FAIL"),
    ("--drill", '{"outcome": "PASS", "job": "other"}', "job: 'other': must be 'recommender'"),
    ("--traces", "{}", "--traces: "),
]


@pytest.mark.parametrize(("option", "text", "said"), BAD_FILES)
def test_a_file_that_makes_no_sense_is_refused(nightspot, job, tmp_path, option, text, said):
    (tmp_path / "given.json").write_text(text)
    answer = nightspot("advise", job, option, "given.json")
    assert (answer.status, answer.out) == (2, "")
    assert said in answer.err


def test_a_job_file_with_mistakes_is_refused_with_each_of_them(nightspot, job, good_job):
    job.write_text(good_job.replace("work: 4h ", "work: soon "))
    answer = nightspot("advise", job)
    assert answer.status == 2
    assert "job.yaml: work: 'soon': must be a duration" in answer.err


def test_a_job_that_is_started_by_hand_needs_a_window(nightspot, job, good_job):
    job.write_text(good_job.replace('schedule: {cron: "0 0 * * ? *", timezone: UTC}', ""))
    answer = nightspot("advise", job)
    assert answer.status == 2
    assert "--window: must be given" in answer.err
    assert nightspot("advise", job, "--window", "8h", "--nights", 2).status == 0
