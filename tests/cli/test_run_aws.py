"""`nightspot run`, `watch`, `retry`, `show` and `stop` against a deployment: by its stack and by its API."""

import io
import json
import re
import zipfile
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import boto3
import pytest

from nightspot.aws.runs import api_client
from nightspot.aws.runs.job_code import PushedCode, PushedCodes
from nightspot.cli import account, jobs
from nightspot.cli.account import Aws
from nightspot.cli.runs import start, stop, watch
from nightspot.client import access, starting
from nightspot.failures.codes import FailureClass
from nightspot.formats.run_ids import first_run_id_of
from nightspot.job.code_version import CODE_FILE, CodeVersion
from nightspot.job.model import dump_jobs
from nightspot.job.reading import load_jobs
from nightspot.local.stage.emulated_aws import REGION, TABLE, create_resources
from nightspot.run.model import Outcome, Remark, RunRemark
from tests import records as past_records
from tests.cloud import Api, Cloud, bundle_of

URL = "http://127.0.0.1:8787"


@pytest.fixture
def aws(monkeypatch, emulated_aws, story, root):
    create_resources(())
    cloud = Cloud(story)
    cloud.code = bundle_of(jobs=dump_jobs(load_jobs(root / "jobs")))
    # By this machine's clock a start after 03:45 UTC would be warned of.
    monkeypatch.setattr(starting, "now", lambda: story.midnight)
    monkeypatch.setattr(
        account, "aws_of", lambda profile, region: Aws(region or REGION, cloud.client, profile)
    )
    monkeypatch.setattr(jobs, "fetched", lambda _address: cloud.code)
    for module in (start, watch):
        monkeypatch.setattr(module, "sleep", cloud.sleep)
        monkeypatch.setattr(module, "monotonic", lambda: cloud.slept)
    return cloud


def test_a_deployed_job_is_started_by_its_name_and_told_how_to_go_on(nightspot, aws):
    answer = nightspot("run", "recommender", "--stack", "Nightspot", "--deadline", "6h", "--budget", "50")
    assert answer.status == 0, answer.err
    run_id = aws.run.run_id
    asked = {"job": "recommender", "budget": 50.0, "deadline": "6h", "requested_by": "nightspot run"}
    assert aws.inputs == [asked]
    assert f"Run {run_id} of recommender has started." in answer.out
    assert f"Watch:   nightspot watch {run_id} --stack Nightspot" in answer.out
    assert f"Stop:    nightspot stop {run_id} --stack Nightspot" in answer.out
    assert f"Console: https://{REGION}.console.aws.amazon.com/states/" in answer.out
    assert aws.slept == 0


def test_a_start_that_cannot_be_in_time_is_warned_of(nightspot, aws):
    answer = nightspot("run", "recommender", "--stack", "Nightspot", "--deadline", "10m")
    assert answer.status == 0
    assert "warning: deadline: within 10 min: cannot be met: the start leaves 10 min" in answer.err


def test_the_stack_of_make_deploy_is_the_default_and_json_is_one_object(nightspot, aws):
    answer = nightspot("run", "recommender", "--json")
    told = json.loads(answer.out)
    assert (told["run_id"], told["is_new"], told["job"]) == (aws.run.run_id, True, "recommender")
    assert answer.err == ""


def test_a_key_finds_the_run_that_it_started_before_an_update_of_the_code(nightspot, aws):
    aws.id_of = first_run_id_of
    nightspot("run", "recommender", "--idempotency-key", "build-7")
    again = json.loads(nightspot("run", "recommender", "--idempotency-key", "build-7", "--json").out)
    assert (again["run_id"], again["is_new"]) == (aws.run.run_id, False)


def test_the_same_key_is_the_same_run_and_with_another_input_refused(nightspot, aws):
    first = json.loads(nightspot("run", "recommender", "--idempotency-key", "build-7", "--json").out)
    again = json.loads(nightspot("run", "recommender", "--idempotency-key", "build-7", "--json").out)
    assert (first["run_id"], first["is_new"]) == (again["run_id"], True)
    assert again["is_new"] is False
    other = nightspot("run", "recommender", "--idempotency-key", "build-7", "--budget", "5")
    assert other.status == 1
    assert "is taken by an execution with another input" in other.err
    assert len(aws.executions) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("recomender",), "job: 'recomender': must be one of recommender, smoke; did you mean recommender?"),
        (("recommender", "--budget", "-1"), "budget"),
        (("recommender", "--fallback", "nowhere"), "fallback: 'nowhere'"),
        (("recommender", "--instance-type", "ml.p9.huge"), "instance_types"),
        (("recommender", "--market", "spot", "--fallback", "on_demand"), "contradicts market: spot"),
        (
            ("recommender", "--budget", "301"),
            "must be at most 300: set overrides.per_run_usd in the job file",
        ),
        (("recommender", "--instance-type", "ml.p5.48xlarge"), "add it to overrides.instance_types"),
    ],
)
def test_a_mistake_costs_nothing(nightspot, aws, arguments, words):
    answer = nightspot("run", *arguments)
    assert answer.status == 1
    assert words in answer.err
    assert aws.executions == {}


def test_a_stack_of_another_version_is_named_with_what_it_lacks(nightspot, aws, monkeypatch):
    outputs = [{"OutputKey": "TableName", "OutputValue": TABLE}]
    monkeypatch.setattr(aws, "describe_stacks", lambda **_request: {"Stacks": [{"Outputs": outputs}]})
    answer = nightspot("run", "recommender")
    assert answer.status == 1
    assert "--stack: stack 'Nightspot' has no output StateMachineArn" in answer.err


def test_who_may_not_read_the_jobs_is_told_so_and_starts_all_the_same(nightspot, aws):
    aws.code = b"no zip"
    answer = nightspot("run", "recommender")
    assert answer.status == 0
    assert "note: not checked before the start, but by the run's plan" in answer.err
    assert len(aws.executions) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "jobs/recommender.yaml"), "add --local; a deployed job is started by its name"),
        (("run", "recommender", "--night", "bad"), "--night: 'bad': needs --local"),
        (("run", "recommender", "--build", "x"), "--build: 'x': needs --local"),
        (("run", "job.yaml", "--local", "--wait"), "--wait: means nothing with --local"),
        (("run", "job.yaml", "--local", "--stack", "S"), "--stack: 'S': means nothing with --local"),
        (("run", "recommender", "--timeout", "1h"), "--timeout needs --wait"),
        (("run", "recommender", "--fail-on-remarks"), "--fail-on-remarks needs --wait"),
        (("retry", "x", "--fail-on-remarks"), "--fail-on-remarks needs --wait"),
        (("run", "recommender", "--wait", "--timeout", "soon"), "--timeout: 'soon': must be a duration"),
        (("run", "recommender", "--idempotency-key", "a b"), "--idempotency-key: 'a b': must be 1 to 128"),
        (("run", "recommender", "--stack", "S", "--api", URL), "only one of --stack and --api"),
        (("run", "recommender", "--api", "http://example.com"), "must be https"),
        (("watch", "x", "--job", "y"), "--job: 'y': means nothing beside RUN"),
        (("retry", "x", "--json"), "--json needs --yes"),
        (("logs", "x", "--api", URL), "the API has no logs, CloudWatch Logs has: give --stack NAME"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(nightspot, aws, arguments, words):
    answer = nightspot(*arguments)
    assert answer.status == 2
    assert words in answer.err
    assert aws.executions == {}


def test_a_pipeline_can_refuse_a_model_with_remarks(nightspot, aws):
    aws.ending["remarks"] = (RunRemark(Remark.UNFINISHED_STEPS, "finished at step 3 of 24"),)
    plain = nightspot("run", "recommender", "--wait")
    assert plain.status == 0
    assert "the deadline, but finished at step 3 of 24." in plain.out
    strict = nightspot("run", "recommender", "--wait", "--fail-on-remarks", "--json")
    told = json.loads(strict.out)
    assert (strict.status, told["exit_status"]) == (7, 7)
    assert told["record"]["remarks"] == [{"kind": "unfinished_steps", "text": "finished at step 3 of 24"}]


def test_a_model_without_remarks_is_not_refused(nightspot, aws):
    assert nightspot("run", "recommender", "--wait", "--fail-on-remarks").status == 0
    aws.ending["outcome"] = Outcome.SKIPPED
    assert nightspot("run", "recommender", "--wait", "--fail-on-remarks").status == 3


@pytest.mark.parametrize(
    "command",
    [
        ("runs", "--stack", "S"),
        ("jobs", "--table", "T"),
        ("logs", "x", "--stack", "S"),
        ("show", "x", "--table", "T"),
        ("watch", "--api", "https://api.example.com"),
        ("stop", "x"),
        ("retry", "x"),
        ("run", "recommender"),
        ("report", "--table", "T"),
        ("doctor",),
    ],
)
def test_a_region_that_cannot_be_one_is_refused_before_aws_is_asked(nightspot, command):
    answer = nightspot(*command, "--region", "EU")
    assert answer.status == 2
    assert "--region: 'EU': must be the name of a region, such as eu-west-1" in answer.err


def test_wait_tells_what_happens_and_ends_with_the_run(nightspot, aws):
    answer = nightspot("run", "recommender", "--wait")
    assert answer.status == 0, answer.err
    assert aws.slept == 15
    assert re.search(
        r"^2026-11-21 \d\d:\d\d:\d\d  job 1 \(Spot ml.p4d.24xlarge\) trains$", answer.out, re.MULTILINE
    )
    assert "The model is ready, 8 h before the deadline." in answer.out
    assert "\x1b" not in answer.out


@pytest.mark.parametrize(
    ("outcome", "failure", "status"),
    [
        (Outcome.FAILED, FailureClass.USER_CODE, 1),
        (Outcome.FAILED, FailureClass.NO_CAPACITY, 3),
        (Outcome.SKIPPED, FailureClass.NO_CAPACITY, 3),
        (Outcome.STOPPED, FailureClass.STOPPED_BY_PERSON, 5),
        (Outcome.FAILED, FailureClass.SERVICE_FAULT, 6),
    ],
)
def test_the_status_tells_whose_fault_it_was(nightspot, aws, story, outcome, failure, status):
    aws.ending = {"outcome": outcome, "outcome_because": "So it was."}
    aws.attempts = (story.ended(failure),)
    answer = nightspot("run", "recommender", "--wait")
    assert answer.status == status
    assert "There is no model" in answer.out


def test_a_late_model_has_a_status_of_its_own(nightspot, aws, story):
    aws.attempts = (story.ended(None, status="Completed", ended_at=story.at("09:00")),)
    assert nightspot("run", "recommender", "--wait").status == 4


def test_a_timeout_leaves_the_run_alone_and_says_how_to_stop_it(nightspot, aws):
    aws.ending = None
    answer = nightspot("run", "recommender", "--wait", "--timeout", "20s", "--json")
    assert answer.status == 124
    told = json.loads(answer.out)
    assert (told["exit_status"], told["record"]["outcome"]) == (124, "running")
    assert f"to stop it: nightspot stop {aws.run.run_id} --stack Nightspot" in answer.err


@pytest.mark.parametrize("command", [("run", "recommender"), ("retry", "20261120-abc999", "--yes")])
def test_a_wait_that_is_refused_for_good_still_says_which_run_goes_on(nightspot, aws, command):
    aws.ending, aws.fault = None, "AccessDeniedException"
    answer = nightspot(*command, "--wait", "--json")
    assert answer.status == 6
    told = json.loads(answer.out)
    assert (told["run_id"], told["exit_status"]) == (aws.run.run_id, 6)
    assert told["record"]["outcome"] == "running"
    assert (
        f"error: run {aws.run.run_id}: it cannot be looked at: AWS: An error occurred (AccessDenied"
        in answer.err
    )
    assert f"goes on. To follow it: nightspot watch {aws.run.run_id} --stack Nightspot" in answer.err


def test_a_wait_whose_first_look_is_refused_has_no_record(nightspot, aws, monkeypatch):
    monkeypatch.setattr(aws, "slept", 1)
    aws.fault = "AccessDeniedException"
    answer = nightspot("run", "recommender", "--wait", "--json")
    assert (answer.status, json.loads(answer.out)["record"]) == (6, None)


def test_a_watch_that_is_refused_for_good_says_that_the_run_goes_on(nightspot, aws):
    aws.ending = None
    nightspot("run", "recommender")
    aws.fault = "AccessDeniedException"
    answer = nightspot("watch", aws.run.run_id, "--table", TABLE, "--json")
    assert answer.status == 6
    assert all(json.loads(line)["run_id"] == aws.run.run_id for line in answer.out.splitlines())
    assert f"to stop it: nightspot stop {aws.run.run_id} --table {TABLE}" in answer.err


def test_ctrl_c_while_waiting_with_json_prints_the_run_all_the_same(nightspot, aws):
    aws.interrupt = True
    answer = nightspot("run", "recommender", "--wait", "--json")
    told = json.loads(answer.out)
    assert (answer.status, told["exit_status"], told["run_id"]) == (130, 130, aws.run.run_id)
    assert told["record"]["outcome"] == "running"


def test_ctrl_c_while_starting_says_that_a_run_may_have_begun(nightspot, aws, monkeypatch):
    def interrupted(**_request):
        raise KeyboardInterrupt

    monkeypatch.setattr(aws, "start_execution", interrupted)
    answer = nightspot("run", "recommender", "--json")
    assert (answer.status, answer.out) == (130, "")
    words = "interrupted; a run of recommender may have started all the same; to see: nightspot runs"
    assert f"{words} --job recommender --stack Nightspot" in answer.err


def test_ctrl_c_leaves_the_run_alone(nightspot, aws):
    aws.interrupt = True
    answer = nightspot("run", "recommender", "--wait")
    assert answer.status == 130
    assert f"interrupted; run {aws.run.run_id} goes on" in answer.err
    assert nightspot("watch", "--table", TABLE).status == 130


def test_an_input_that_the_plan_refuses_ends_the_wait_with_its_words(nightspot, aws):
    aws.refused = {"status": "FAILED", "error": "Nightspot.InvalidInput", "cause": "deadline: 'x': must be"}
    answer = nightspot("run", "recommender", "--wait")
    assert answer.status == 1
    assert "deadline: 'x': must be" in answer.err


def test_an_old_run_is_watched_and_shown_at_once(nightspot, aws):
    answer = nightspot("watch", "20261120-abc999", "--stack", "Nightspot")
    assert answer.status == 1
    assert "There is no model: failed. Spot ended as user code." in answer.out
    lines = [json.loads(line) for line in nightspot("watch", "--table", TABLE, "--json").out.splitlines()]
    assert [line["kind"] for line in lines][-1] == "end"
    assert lines[-1]["outcome"] == "failed"
    shown = nightspot("show", "20261120-abc999", "--table", TABLE)
    assert "watch: It trains." in shown.out
    assert "#/v2/executions/details/" in shown.out
    assert "logsV2:log-groups" in shown.out
    told = json.loads(nightspot("show", "--table", TABLE, "--json").out)
    assert told["console"]["training_jobs"][0]["attempt"] == 1


def test_retry_takes_the_old_run_s_overrides_along_and_says_so(nightspot, aws):
    answer = nightspot("retry", "20261120-abc999", "--hyperparameter", "epochs=5", stdin="y\n")
    assert answer.status == 0, answer.err
    expected = {
        "job": "recommender",
        "resume_from": "20261120-abc999",
        "hyperparameters": {"epochs": "5"},
        "market": "spot",
        "requested_by": "nightspot retry",
    }
    assert aws.inputs == [expected]
    assert "Saved:   step 12 of 24 (50 %)." in answer.out
    assert "Kept:    market: spot." in answer.out
    assert "from the last checkpoint of 20261120-abc999" in answer.out


def test_retry_says_before_it_starts_that_the_code_differs(nightspot, aws):
    deployed, pushed = (CodeVersion(letter * 64, "train.py", "1" * 40) for letter in "de")
    with zipfile.ZipFile(io.BytesIO(aws.code)) as code:
        documents = {
            "jobs.json": code.read("jobs.json"),
            CODE_FILE: json.dumps({"recommender": asdict(deployed)}),
        }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as code:
        for name, document in documents.items():
            code.writestr(name, document)
    aws.code = content.getvalue()
    aws.table.record_outcome(replace(aws.old, code=deployed))
    assert "code" not in nightspot("retry", "20261120-abc999", stdin="n\n").err
    codes = PushedCodes(boto3.client("dynamodb", region_name=REGION), TABLE)
    codes.put("recommender", PushedCode(pushed, deployed.identity, aws.story.midnight))
    answer = nightspot("retry", "20261120-abc999", stdin="n\n")
    assert f"Its code differs: train.py {'e' * 12} (git {'1' * 12})" in answer.err
    assert aws.executions == {}


def test_who_does_not_say_yes_buys_nothing(nightspot, aws):
    assert nightspot("retry", "20261120-abc999", stdin="n\n").status == 1
    assert aws.executions == {}
    assert nightspot("retry", "20261120-abc999", "--yes", "--json", "--table", TABLE).status == 0
    assert len(aws.executions) == 1


@pytest.mark.parametrize(
    ("outcome", "words"),
    [(None, "is still going on"), (Outcome.SUCCEEDED, "has succeeded, so nothing is left to train")],
)
def test_a_run_that_cannot_be_retried_is_refused(nightspot, aws, story, outcome, words):
    aws.table.record_plan(replace(aws.old, run_id="20261120-abc111", outcome=outcome))
    answer = nightspot("retry", "20261120-abc111", "--yes")
    assert answer.status == 1
    assert words in answer.err
    assert "is not in the table" in nightspot("retry", "x", "--yes").err
    assert "a local run cannot be retried" in nightspot("retry", "x", "--local").err
    assert aws.executions == {}


@pytest.mark.parametrize(
    ("outcome", "words"),
    [(None, "continues from its checkpoints already"), (Outcome.SUCCEEDED, "and has succeeded")],
)
def test_a_run_whose_checkpoints_another_one_uses_is_not_retried(nightspot, aws, outcome, words):
    later = aws.old.started_at + timedelta(hours=1)
    aws.table.record_plan(replace(aws.old, run_id="20261120-abc222", started_at=later, outcome=outcome))
    answer = nightspot("retry", "20261120-abc999", "--yes")
    assert answer.status == 1
    assert (
        f"20261120-abc222 {'continues' if outcome is None else 'went on'} from its checkpoints" in answer.err
    )
    assert words in answer.err
    assert aws.executions == {}


class Clock:
    """One that passes by sleeping."""

    def __init__(self):
        self.slept = 0.0

    def sleep(self, seconds):
        self.slept += seconds

    def monotonic(self):
        return self.slept


@pytest.fixture
def record(root):
    return json.loads((root / "tests" / "view" / "html" / "bad_night.json").read_text(encoding="utf-8"))


@pytest.fixture
def api(monkeypatch, record):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    arn = f"arn:aws:states:{REGION}:123456789012:execution:nightspot:x"
    served = Api({**record, "execution_arn": arn, "started_at": "2026-11-21T00:00:11+00:00"})
    for module in (api_client, access):
        monkeypatch.setattr(module, "transport", lambda _url, ca_bundle=None: served)
    clock = Clock()
    monkeypatch.setattr(start, "sleep", clock.sleep)
    monkeypatch.setattr(start, "monotonic", clock.monotonic)
    monkeypatch.setattr(stop, "sleep", lambda _seconds: None)
    started = {
        "run_id": record["run_id"],
        "job": "recommender",
        "execution_arn": arn,
        "started_at": "2026-11-21T00:00:11Z",
        "is_new": True,
    }
    served.answers["POST /jobs/recommender/runs"] = [(202, started)]
    served.answers[f"POST /runs/{record['run_id']}/retry"] = [(202, started)]
    return served


def test_the_api_starts_a_run_once_and_is_waited_for(nightspot, api, record):
    answer = nightspot("run", "recommender", "--api", URL, "--budget", "9", "--wait")
    assert answer.status == 0, answer.err
    method, path, _, body, headers = api.asked[0]
    assert (method, path, json.loads(body)) == ("POST", "/jobs/recommender/runs", {"budget": 9.0})
    assert headers["Idempotency-Key"]
    assert "Console" not in answer.out  # an address of this machine has none
    assert "36.9" in answer.out


@pytest.mark.parametrize(("status", "expected"), [(404, 1), (409, 1), (422, 1), (403, 1)])
def test_what_the_api_refuses_is_told_in_its_words(nightspot, api, status, expected):
    api.answers["POST /jobs/recommender/runs"] = [(status, {"detail": "No such thing."})]
    answer = nightspot("run", "recommender", "--api", URL)
    assert answer.status == expected
    assert f"API: {status}: No such thing." in answer.err


def test_a_start_that_nobody_answers_may_have_gone_through(nightspot, api, monkeypatch):
    monkeypatch.setattr(api_client, "PAUSE_SECONDS", ())
    api.answers["POST /jobs/recommender/runs"] = [(504, {"message": "Endpoint request timed out"})]
    answer = nightspot("run", "recommender", "--api", URL)
    assert answer.status == 6
    assert (
        f"may have started all the same; to see: nightspot runs --job recommender --api {URL}" in answer.err
    )
    api.answers["POST /jobs/recommender/runs"] = [(409, {"detail": "No such thing."})]
    assert "may have started" not in nightspot("run", "recommender", "--api", URL).err


def test_a_run_that_never_comes_on_record_is_told_where_to_look_for(nightspot, api, record, monkeypatch):
    api.answers[f"GET /runs/{record['run_id']}"] = [(404, {"detail": "is not on record"})]
    remote = "https://abc123.execute-api.eu-west-1.amazonaws.com/v1"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    api.answers = {
        name.replace(" /", " /v1/") if "runs" in name else name: answer
        for name, answer in api.answers.items()
    }
    answer = nightspot("run", "recommender", "--api", remote, "--wait", "--json")
    assert answer.status == 6
    assert json.loads(answer.out)["record"] is None
    assert "it is still not on record" in answer.err
    assert f"is arn:aws:states:{REGION}:123456789012:execution:nightspot:x" in answer.err
    assert "in the console: https://" in answer.err


def test_an_emulated_run_has_no_page_in_the_console(nightspot, api):
    assert json.loads(nightspot("run", "recommender", "--api", URL, "--json").out)["console"] is None


def test_an_api_that_cannot_answer_is_not_the_user_s_fault(nightspot, api, monkeypatch):
    monkeypatch.setattr(api_client, "PAUSE_SECONDS", ())
    api.answers["GET /runs"] = [(503, {"detail": "AWS could not answer just now."})]
    assert nightspot("runs", "--api", URL).status == 6


def test_runs_show_watch_and_report_read_the_api(nightspot, api, record):
    run_id = record["run_id"]
    assert json.loads(nightspot("runs", "--api", URL, "--json").out)["runs"][0]["run_id"] == run_id
    assert json.loads(nightspot("show", "--api", URL, "--json").out)["run_id"] == run_id
    assert "FALLBACK" in nightspot("show", run_id, "--api", URL).out
    assert nightspot("watch", run_id, "--api", URL).status == 0
    report = nightspot("report", "--run", run_id, "--api", URL, "--format", "json")
    assert json.loads(report.out)["run_id"] == run_id
    assert "is not in the API at http" in nightspot("show", "x", "--api", URL).err


def test_all_pages_of_the_api_are_read(nightspot, api, record):
    first = {**record, "run_id": "b", "started_at": "2026-11-20T00:00:00Z"}
    second = {**record, "run_id": "a", "started_at": "2026-11-19T00:00:00Z"}
    api.answers["GET /runs"] = [
        (200, {"runs": [first], "next": "C"}),
        (200, {"runs": [second], "next": None}),
    ]
    shown = json.loads(nightspot("runs", "--api", URL, "--json").out)["runs"]
    assert [run["run_id"] for run in shown] == ["b", "a"]
    assert api.asked[1][2]["cursor"] == ["C"]


def test_a_failed_run_is_retried_through_the_api_which_merges_the_overrides(nightspot, api, record):
    run_id = record["run_id"]
    failed = {**record, "outcome": "failed", "overrides": {"market": "spot"}, "checkpoints": "s3://c/x"}
    api.answers[f"GET /runs/{run_id}"] = [(200, failed)]
    answer = nightspot("retry", run_id, "--api", URL, "--deadline", "6h", "--yes")
    assert answer.status == 0, answer.err
    assert json.loads(api.asked[-1][3]) == {"deadline": "6h"}
    assert "Kept:    market: spot." in answer.out
    assert re.search(r"Saved:   step \d+", answer.out)


def test_the_api_is_asked_to_stop_until_the_run_is_over(nightspot, api, record):
    run_id = record["run_id"]
    look = {"run_id": run_id, "job": "recommender", "training_job_name": "j", "because": None, "links": {}}
    between = {**look, "state": "noted", "sentence": "Between two.", "outcome": "running"}
    asked = {**look, "state": "asked", "sentence": "It was asked to stop.", "outcome": "running"}
    over = {**look, "state": "over", "sentence": "It is over.", "outcome": "stopped"}
    path = f"POST /runs/{run_id}/stop"
    api.answers[path] = [(202, between), (503, {}), (202, asked), (202, asked), (202, over)]
    answer = nightspot("stop", run_id, "--yes", "--api", URL)
    assert answer.status == 0
    assert answer.out.splitlines() == ["Between two.", "It was asked to stop.", "It is over."]
    api.answers[path] = [(202, between)]
    assert nightspot("stop", run_id, "--yes", "--api", URL, "--no-wait").status == 0
    assert nightspot("stop", run_id, "--yes", "--api", URL, "--timeout", "30s").status == 1


@pytest.fixture
def described(tmp_path, good_job, record):
    """Here: a job file whose schedule is paused, and a night of this month."""
    resting = "schedule: {rate: 1 day, paused: true, flexible: 90m}"
    lines = [resting if line.startswith("schedule:") else line for line in good_job.splitlines()]
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "recommender.yaml").write_text("\n".join(lines), encoding="utf-8")
    started_at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}+00:00"
    past_records.keep(tmp_path / "build" / "runs", {**record, "job": "recommender", "started_at": started_at})


@pytest.mark.usefixtures("described")
def test_the_jobs_of_the_api_are_told_as_those_of_files(nightspot, api):
    here = json.loads(nightspot("jobs", "--json").out)
    assert here["jobs"][0].keys() >= {"budget", "concurrency", "fallback"}
    api.answers["GET /jobs"] = [(200, here)]
    assert json.loads(nightspot("jobs", "--api", URL, "--json").out) == here
    table = nightspot("jobs", "--api", URL).out
    assert table == nightspot("jobs").out
    assert "paused (rate(1 day)" in table
    assert "up to 1 h 30 min" in table


@pytest.mark.parametrize(
    ("answered", "words"),
    [
        ({"month": "2026-11"}, "GET /jobs: jobs: nothing: is required"),
        ({"month": "2026-11", "jobs": [{"name": "recommender"}]}, "jobs[0].schedule: nothing: is required"),
        (["a"], "a list of 1: must be a mapping"),
    ],
)
def test_an_address_that_answers_otherwise_is_no_api_of_nightspot(nightspot, api, answered, words):
    api.answers["GET /jobs"] = [(200, answered)]
    answer = nightspot("jobs", "--api", URL)
    assert answer.status == 1
    assert f"API: {URL} is no API of this version of Nightspot" in answer.err
    assert words in answer.err


@pytest.mark.parametrize("answered", [{"hello": "world"}, ["a"]])
@pytest.mark.parametrize(
    ("command", "path"),
    [(("runs",), "/runs"), (("show",), "/runs"), (("show", "20261121-abc123"), "/runs/{id}")],
)
def test_runs_of_another_server_are_no_traceback(nightspot, api, command, path, answered):
    api.answers["GET /runs"] = api.answers["GET /runs/20261121-abc123"] = [(200, answered)]
    answer = nightspot(*command, "--api", URL)
    assert answer.status == 1
    assert f"API: {URL} is no API of this version of Nightspot: GET {path} answers otherwise" in answer.err


def test_an_api_without_jobs_says_so(nightspot, api):
    api.answers["GET /jobs"] = [(200, {"month": "2026-11", "jobs": []})]
    assert f"There are no jobs: the API at {URL} has none" in nightspot("jobs", "--api", URL).out
