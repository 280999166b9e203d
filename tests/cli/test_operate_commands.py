"""`nightspot jobs`, `runs`, `stop` and `logs`: the same words for local records and for a deployment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
import typer
from typer.testing import CliRunner

from nightspot.aws.table.run_table import RunTable
from nightspot.cli import account, jobs
from nightspot.cli.account import Aws
from nightspot.cli.runs import show as operate_runs
from nightspot.cli.runs import stop
from nightspot.cli.runs import watch as operate_logs
from nightspot.failures.codes import FailureClass
from nightspot.job.model import dump_jobs
from nightspot.job.reading import load_jobs
from nightspot.local.stage.emulated_aws import REGION, TABLE, create_resources
from nightspot.record.model import Ending
from nightspot.run.model import Outcome
from nightspot.view.messages.plain import LOG_GROUP
from tests import records as past_records

RUN_ID = "20261121-abc123"
JOB_NAME = f"nightspot-recommender-{RUN_ID}-1"
NOW = datetime.now(UTC)
TOO_SLOW = {"fell_back": True, "fell_back_reason": "too_slow"}


class Answer:
    """What a command answered: its status, what it printed, and its errors on one line."""

    def __init__(self, result: Any) -> None:
        self.status = result.exit_code
        self.out = result.stdout
        self.err = " ".join(result.stderr.replace("│", " ").split())
        # Whatever is not a clean exit would have been a traceback.
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception


@pytest.fixture
def nightspot(monkeypatch, tmp_path):
    """`nightspot(command, *arguments)` in an empty current directory."""
    monkeypatch.chdir(tmp_path)
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    for command in (jobs.jobs, operate_runs.runs, stop.stop, operate_logs.logs):
        app.command()(command)
    return lambda *arguments, stdin=None: Answer(
        CliRunner().invoke(app, [str(each) for each in arguments], input=stdin)
    )


@pytest.fixture
def record(request) -> dict[str, Any]:
    path = request.config.rootpath / "tests" / "view" / "html" / "bad_night.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def nights(tmp_path, record):
    """In build/runs: two nights of the recommender in November and one in October, a failed one of search."""
    for job, day, changes in (
        ("recommender", "2026-11-20", {}),
        ("recommender", "2026-11-21", {"deadline_met": False, "margin_seconds": -600.0, "resume": None}),
        ("recommender", "2026-10-31", {}),
        ("search", "2026-11-19", {"outcome": "failed", "margin_seconds": None, **TOO_SLOW}),
    ):
        night = {
            **record,
            "job": job,
            "run_id": f"{job}-{day}",
            "started_at": f"{day}T00:00:11+00:00",
            **changes,
        }
        past_records.keep(tmp_path / "build" / "runs", night)
    return tmp_path


def ids(answer: Answer) -> list[str]:
    return [run["run_id"] for run in json.loads(answer.out)["runs"]]


def test_runs_are_listed_newest_first_with_what_they_came_to(nightspot, nights):
    answer = nightspot("runs")
    lines = answer.out.splitlines()
    assert answer.status == 0
    assert [line.split()[0] for line in lines[2:]] == [
        "recommender-2026-11-21",
        "recommender-2026-11-20",
        "search-2026-11-19",
        "recommender-2026-10-31",
    ]
    assert lines[3].split() == [
        *("recommender-2026-11-20", "recommender", "2026-11-20", "00:00", "in", "time"),
        *("$84.05", "36.9", "%", "47", "min", "proven", "2"),
    ]
    assert "-10 min" in lines[2]
    assert " late " in lines[2]


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        (("--job", "search"), ["search-2026-11-19"]),
        (("--outcome", "late"), ["recommender-2026-11-21"]),
        (("--outcome", "late", "--outcome", "failed"), ["recommender-2026-11-21", "search-2026-11-19"]),
        (("--month", "2026-10"), ["recommender-2026-10-31"]),
        (("--month", "2026-11", "--since", "2026-11-21"), ["recommender-2026-11-21"]),
        (("--month", "2026-10", "--since", "2026-11-01"), []),
        (("--since", "2026-11-20"), ["recommender-2026-11-21", "recommender-2026-11-20"]),
        (("--since", "2026-11-21T01:00:11+01:00"), ["recommender-2026-11-21"]),
        (("--limit", "1"), ["recommender-2026-11-21"]),
        (("--outcome", "stopped"), []),
        (("--reason", "too_slow"), ["search-2026-11-19"]),
        (("--reason", "too_slow", "--outcome", "late"), []),
    ],
)
@pytest.mark.parametrize("where", [(), ("--local",), ("--from-folder", "build/runs")])
def test_only_what_is_asked_for_is_listed(nightspot, nights, arguments, chosen, where):
    assert ids(nightspot("runs", "--json", *arguments, *where)) == chosen


def test_json_has_the_account_of_a_run_and_how_many_there_are(nightspot, nights, record):
    answer = json.loads(nightspot("runs", "--json", "--limit", "2").out)
    assert answer["matching"] == 4
    second = answer["runs"][1]
    assert (second["cost_usd"], second["resume"]) == (record["cost_usd"], "proven")


def test_a_list_that_is_cut_says_so(nightspot, nights):
    assert "1 of 4; --limit shows more." in nightspot("runs", "--limit", "1").out


def test_nothing_to_list_is_said(nightspot, nights):
    assert "No run of 4 in build/runs is like that." in nightspot("runs", "--outcome", "refused").out
    assert "There is no run in nowhere." in nightspot("runs", "--from-folder", "nowhere").out


def test_a_cost_that_is_not_known_altogether_is_a_lower_bound(nightspot, tmp_path, record):
    past_records.keep(tmp_path / "build" / "runs", {**record, "cost_usd": None, "cost_at_least_usd": 12.5})
    assert ">= $12.50" in nightspot("runs").out


def test_every_ending_has_a_style():
    assert set(operate_runs.STYLES) == set(Ending)


@pytest.fixture
def aws(monkeypatch, emulated_aws, story, tmp_path):
    """A deployment in moto with two runs, one of them over; SageMaker and Step Functions are `Cloud`'s."""
    create_resources(())
    table = RunTable(boto3.client("dynamodb", region_name=REGION), TABLE)
    cloud = Cloud(table, story)
    monkeypatch.setattr(
        account, "aws_of", lambda profile, region: Aws(region or REGION, cloud.client, profile)
    )
    monkeypatch.setattr(stop, "sleep", cloud.sleep)
    monkeypatch.setattr(jobs, "fetched", lambda _address: cloud.code)
    return cloud


class Cloud:
    """What the commands ask beside DynamoDB and CloudWatch; a stop takes effect while somebody sleeps."""

    def __init__(self, table: RunTable, story: Any) -> None:
        self.table = table
        self.story = story
        self.run = story.run(attempts=(story.training(since="01:00", queued_seconds=60.0),), steps=1)
        self.stopped: list[str] = []
        self.alive = True
        self.ends = True
        self.code = b""
        table.record_plan(self.run)
        old = story.run(run_id="20261120-abc999", started_at=story.midnight - timedelta(days=1))
        table.record_plan(replace(old, steps=2, outcome=Outcome.FAILED, outcome_because="No rung is left."))

    def client(self, service: str) -> Any:
        if service in {"dynamodb", "logs"}:
            return boto3.client(service, region_name=REGION)
        assert service in {"sagemaker", "stepfunctions", "cloudformation", "lambda"}, service
        return self

    def sleep(self, _seconds: float) -> None:
        if self.stopped and self.ends:
            over = self.story.ended(FailureClass.STOPPED_BY_PERSON)
            because = "Spot ended as stopped by person."
            ended = replace(
                self.run, steps=9, attempts=(over,), outcome=Outcome.STOPPED, outcome_because=because
            )
            self.table.record_outcome(ended)

    def stop_training_job(self, **request: str) -> dict[str, Any]:
        self.stopped.append(request["TrainingJobName"])
        return {}

    def describe_execution(self, **_request: str) -> dict[str, Any]:
        return {"status": "RUNNING" if self.alive else "ABORTED"}

    def describe_stacks(self, **_request: str) -> dict[str, Any]:
        return {"Stacks": [{"Outputs": [{"OutputKey": "TableName", "OutputValue": TABLE}]}]}

    def get_paginator(self, _operation: str) -> Cloud:
        return self

    def paginate(self, **_request: str) -> list[dict[str, Any]]:
        planner = {
            "LogicalResourceId": "TrainingFunctionsPlanRun2052680D",
            "ResourceType": "AWS::Lambda::Function",
            "PhysicalResourceId": "plan-run",
        }
        return [{"StackResourceSummaries": [planner]}]

    def get_function(self, **_request: str) -> dict[str, Any]:
        return {"Code": {"Location": "https://code.example/plan-run"}}


@pytest.mark.parametrize("where", [("--table", TABLE), ("--stack", "Nightspot")])
def test_a_deployment_is_found_by_its_table_and_by_its_stack(nightspot, aws, where):
    assert ids(nightspot("runs", "--json", *where)) == [RUN_ID, "20261120-abc999"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("runs", "--local", "--table", "t"), "only one of --local and --table"),
        (("jobs", "--from-folder", "f", "--stack", "s"), "only one of --from-folder and --stack"),
        (("logs", "--region", REGION), "--region needs --table, --stack or --api"),
        (("runs", "--profile", "p"), "--profile needs --table, --stack or --api"),
        (("runs", "--since", "soon"), "--since: 'soon': must be a duration such as 7d"),
        (("runs", "--since", "999999999d"), "--since: '999999999d': must be a duration such as 7d"),
        (("runs", "--month", "11/2026"), "--month: '11/2026': must be a month such as 2026-11"),
        (("runs", "--outcome", "good"), "'good' is not one of"),
        (("runs", "--reason", "bad_luck"), "'bad_luck' is not one of"),
        (("runs", "--limit", "0"), "--limit: 0: must be at least 1"),
        (("logs", "--tail", "-3"), "--tail: -3: must be at least 1"),
        (("stop",), "Missing argument 'RUN'"),
        (("stop", RUN_ID, "--timeout", "soon"), "--timeout: 'soon': must be a duration"),
        (("stop", RUN_ID, "--json"), "--json needs --yes"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(nightspot, arguments, words):
    answer = nightspot(*arguments)
    assert answer.status == 2
    assert words in answer.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("logs", "recommender-2026-11-12"), "is not in build/runs; did you mean recommender-2026-11-21 or"),
        (("logs", "x"), "run: 'x': is not in build/runs; the newest are recommender-2026-11-21, "),
        (("runs", "--job", "x"), "--job: 'x': build/runs has no record of it; it has recommender, search"),
        (("logs", "--from-folder", "nowhere"), "run: nothing: nowhere has no run"),
        (("logs", "x", "--from-folder", "nowhere"), "run: 'x': is not in nowhere; it has none"),
        (("logs", "--attempt", "7"), "--attempt: 7: must be one of 1, 2"),
        (("jobs", "nowhere"), "'nowhere': must be a directory of job files"),
    ],
)
def test_what_is_not_on_record_is_named_with_what_is(nightspot, nights, arguments, words):
    answer = nightspot(*arguments)
    assert answer.status == 1
    assert words in answer.err


@pytest.mark.parametrize("command", [("stop", "--yes"), ("logs",)])
def test_an_unknown_run_of_a_deployment_is_named_with_those_that_are_near(nightspot, aws, command):
    answer = nightspot(*command, "20261121-abc12", "--table", TABLE)
    assert answer.status == 1
    assert f"run: '20261121-abc12': is not in the table {TABLE}; did you mean {RUN_ID} or" in answer.err
    assert aws.stopped == []


def test_a_record_that_cannot_be_read_is_not_called_unknown(nightspot, nights):
    (nights / "build" / "runs" / "broken.json").write_text("{")
    assert "broken.json: cannot be read" in nightspot("logs", "broken").err


def test_a_run_whose_ledger_is_gone_is_not_offered_as_its_own_near_match(nightspot, aws):
    key = {"pk": {"S": f"RUN#{RUN_ID}"}, "sk": {"S": "RUN"}}
    boto3.client("dynamodb", region_name=REGION).delete_item(TableName=TABLE, Key=key)
    answer = nightspot("logs", RUN_ID, "--table", TABLE)
    assert answer.status == 1
    assert "did you mean" not in answer.err


def test_a_table_that_is_not_there_is_aws_s_word(nightspot, aws):
    answer = nightspot("runs", "--table", "elsewhere")
    assert answer.status == 1
    assert "error: AWS: " in answer.err


def test_a_person_who_says_yes_stops_the_run_and_sees_its_end(nightspot, aws):
    answer = nightspot("stop", RUN_ID, stdin="y\n")
    assert answer.status == 0
    assert (
        f"Stop run {RUN_ID} of recommender in the table {TABLE} and its training job {JOB_NAME}?"
        in answer.err
    )
    # The first line is the echo of the answer.
    assert answer.out.splitlines()[1:] == [
        f"Training job {JOB_NAME} was asked to stop; the run ends when that is over.",
        f"Run {RUN_ID} is over: stopped. Spot ended as stopped by person.",
    ]
    assert aws.stopped == [JOB_NAME]


@pytest.mark.parametrize("stdin", ["n\n", ""])
def test_who_does_not_say_yes_stops_nothing(nightspot, aws, stdin):
    assert nightspot("stop", RUN_ID, stdin=stdin).status == 1
    assert aws.stopped == []


def test_no_wait_only_asks(nightspot, aws, monkeypatch):
    monkeypatch.setattr(stop, "sleep", None)
    answer = nightspot("stop", RUN_ID, "--yes", "--no-wait")
    assert answer.status == 0
    assert aws.stopped == [JOB_NAME]


def test_json_says_how_far_the_stop_is(nightspot, aws):
    answer = json.loads(nightspot("stop", RUN_ID, "--yes", "--json", "--table", TABLE).out)
    assert answer == {
        "run_id": RUN_ID,
        "job": "recommender",
        "state": "over",
        "training_job_name": None,
        "outcome": "stopped",
        "because": "Spot ended as stopped by person.",
    }


def test_a_run_that_is_over_needs_no_stop_and_no_question(nightspot, aws):
    answer = nightspot("stop", "20261120-abc999")
    assert answer.status == 0
    assert answer.out == "Run 20261120-abc999 is over: failed. No rung is left.\n"


def test_an_end_that_does_not_come_is_an_error(nightspot, aws):
    aws.ends = False
    answer = nightspot("stop", RUN_ID, "--yes", "--timeout", "1m")
    assert answer.status == 1
    assert f"run: '{RUN_ID}': its end is not on record after 1 min" in answer.err


def test_a_run_whose_execution_is_gone_is_waited_for_until_its_end_is_recorded(nightspot, aws):
    aws.alive = False
    answer = nightspot("stop", RUN_ID, "--yes")
    assert answer.status == 0
    assert answer.out.splitlines() == [
        f"The execution of run {RUN_ID} is gone; its training job {JOB_NAME} was asked to stop. "
        "Its end is recorded in some minutes.",
        f"Run {RUN_ID} is over: stopped. Spot ended as stopped by person.",
    ]


def test_a_run_between_two_training_jobs_is_told_to_end_and_need_not_be_waited_for(nightspot, aws, story):
    aws.table.record_plan(replace(aws.run, steps=3, attempts=(story.ended(FailureClass.THROTTLED),)))
    answer = nightspot("stop", RUN_ID, "--yes", "--no-wait")
    assert answer.status == 0
    assert answer.out == (
        f"Run {RUN_ID} has no training job to stop just now; it ends with its next decision.\n"
    )
    assert aws.table.stop_asked_by(RUN_ID) == "nightspot stop"


def write_logs(*lines: str, stream: str = f"{JOB_NAME}/algo-1-1700") -> None:
    logs = boto3.client("logs", region_name=REGION)
    if not logs.describe_log_groups()["logGroups"]:
        logs.create_log_group(logGroupName=LOG_GROUP)
    logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName=stream)
    at = round((NOW - timedelta(hours=1)).timestamp() * 1000)
    events = [{"timestamp": at + number, "message": line} for number, line in enumerate(lines)]
    logs.put_log_events(logGroupName=LOG_GROUP, logStreamName=stream, logEvents=events)


def test_logs_of_a_deployed_run_have_times(nightspot, aws):
    write_logs("epoch 1", "epoch 2")
    answer = nightspot("logs", RUN_ID, "--table", TABLE)
    hour_ago = NOW - timedelta(hours=1)
    assert answer.status == 0
    lines = answer.out.splitlines()
    assert [line.rpartition("UTC")[2] for line in lines] == ["  epoch 1", "  epoch 2"]
    assert lines[0].startswith(f"{hour_ago:%Y-%m-%d %H:%M:%S}.")
    assert nightspot("logs", RUN_ID, "--tail", "1", "--table", TABLE).out.splitlines() == lines[1:]


def test_machines_are_named_where_there_are_several(nightspot, aws):
    write_logs("one")
    write_logs("two", stream=f"{JOB_NAME}/algo-2-1700")
    assert nightspot("logs", RUN_ID, "--table", TABLE).out.splitlines()[1].endswith("  algo-2  two")


def test_the_newest_attempt_speaks_unless_another_is_named(nightspot, aws, story):
    second = f"nightspot-recommender-{RUN_ID}-2"
    attempts = (
        story.ended(FailureClass.INTERRUPTED),
        story.attempt(story.on_demand, number=2, training_job_name=second),
        story.attempt(number=3, training_job_name="not-made", status=None),
    )
    aws.table.record_plan(replace(aws.run, steps=3, attempts=attempts))
    write_logs("first")
    write_logs("second", stream=f"{second}/algo-1-1700")
    assert nightspot("logs", RUN_ID, "--table", TABLE).out.endswith("second\n")
    assert nightspot("logs", RUN_ID, "--attempt", "1", "--table", TABLE).out.endswith("first\n")


def test_what_a_script_writes_does_not_steer_the_terminal(nightspot, aws):
    write_logs("\x1b[31mred\x1b[0m\x1b]0;title\x07")
    out = nightspot("logs", RUN_ID, "--table", TABLE).out
    assert "UTC  red" in out
    assert not {"\x1b", "\x07"} & set(out)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (None, f"run {RUN_ID} has no training job yet; ask again"),
        ({"status": None}, "was not made, so it has no logs: SageMaker has not shown it yet"),
        ({"queued_seconds": None}, "still waits for a machine; its logs begin"),
        ({"queued_seconds": 60.0}, "has a machine and has logged nothing yet"),
    ],
)
def test_without_logs_it_is_said_why_and_what_to_do(nightspot, aws, story, changes, words):
    attempts = () if changes is None else (story.attempt(**changes),)
    aws.table.record_plan(replace(aws.run, steps=3, attempts=attempts))
    answer = nightspot("logs", RUN_ID, "--table", TABLE)
    assert (answer.status, answer.out) == (0, "")
    assert words in answer.err
    as_json = json.loads(nightspot("logs", RUN_ID, "--json", "--table", TABLE).out)
    assert as_json["lines"] == []
    assert words in as_json["note"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "never had a machine, so it has no logs"),
        (
            {"queued_seconds": 60.0, "failure_reason": "ClientError: no image"},
            "ended before its container wrote anything, or its logs have expired: ClientError: no image",
        ),
    ],
)
def test_an_ended_training_job_without_logs_says_why(nightspot, aws, story, changes, words):
    ended = story.ended(FailureClass.CONFIGURATION, **changes)
    aws.table.record_plan(replace(aws.run, steps=3, attempts=(ended,)))
    assert words in nightspot("logs", RUN_ID, "--table", TABLE).err


def test_a_run_that_ended_without_a_training_job_says_why(nightspot, aws):
    answer = nightspot("logs", "20261120-abc999", "--table", TABLE)
    assert "ended without a training job: No rung is left." in answer.err


def test_local_logs_are_those_of_the_record_s_night(nightspot, nights, record):
    name = record["attempts"][-1]["training_job_name"]
    folder = nights / "build" / "demo" / "logs"
    folder.mkdir(parents=True)
    (folder / f"{name}.log").write_text("epoch 1\nepoch 2\n")
    assert nightspot("logs").out == "epoch 1\nepoch 2\n"
    lines = json.loads(nightspot("logs", "--local", "--json").out)["lines"]
    assert lines[0] == {"time": None, "machine": "algo-1", "message": "epoch 1"}


def test_who_has_read_enough_of_the_logs_gets_no_error(nights, record, root):
    name = record["attempts"][-1]["training_job_name"]
    folder = nights / "build" / "demo" / "logs"
    folder.mkdir(parents=True)
    (folder / f"{name}.log").write_text("epoch\n" * 100_000)
    program = (
        "import typer\n"
        "from nightspot.cli.runs import watch as logs\n"
        "app = typer.Typer()\n"
        "app.command()(logs.logs)\n"
        "app()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=nights,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdout.readline() == "epoch\n"
        reader.stdout.close()
        assert reader.stderr.read() == ""
    assert reader.returncode == 0


def test_local_logs_that_a_later_night_emptied_are_gone(nightspot, nights):
    answer = nightspot("logs")
    assert answer.status == 0
    assert "are gone: a later run emptied build/demo" in answer.err


@pytest.fixture
def job_files(nights, good_job):
    (nights / "jobs").mkdir()
    (nights / "jobs" / "recommender.yaml").write_text(good_job, encoding="utf-8")
    return nights / "jobs"


@pytest.mark.usefixtures("job_files")
def test_jobs_have_their_schedule_ladder_and_last_run(nightspot):
    answer = nightspot("jobs")
    assert answer.status == 0
    table = " ".join(answer.out.split())
    for word in (
        "recommender",
        "cron(",
        "Spot",
        "on-demand",
        "late,",
        "2026-11-21",
        "no job file",
        "failed,",
    ):
        assert word in table


def test_json_of_jobs_has_the_description_and_the_newest_run(nightspot, job_files):
    first, second = json.loads(nightspot("jobs", "--json").out)["jobs"]
    assert (first["name"], first["described"], first["last_run"]["run_id"]) == (
        "recommender",
        True,
        "recommender-2026-11-21",
    )
    assert first["schedule"]["cron"]
    assert (second["name"], second["described"], second["capacity"]) == ("search", False, None)


@pytest.mark.usefixtures("nights")
def test_a_folder_that_is_not_there_is_named(nightspot):
    assert "'jobs': must be a directory of job files" in nightspot("jobs").err


def test_a_stack_s_jobs_are_the_deployed_ones(nightspot, aws, request):
    import io
    import zipfile

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as code:
        code.writestr("jobs.json", dump_jobs(load_jobs(request.config.rootpath / "jobs")))
    aws.code = content.getvalue()
    line, other = json.loads(nightspot("jobs", "--stack", "Nightspot", "--json").out)["jobs"]
    assert (line["name"], line["described"], line["last_run"]["outcome"]) == ("recommender", True, "running")
    assert (other["name"], other["described"], other["last_run"]) == ("smoke", True, None)


def test_a_stack_whose_jobs_cannot_be_read_says_what_else_can_be_named(nightspot, aws):
    answer = nightspot("jobs", "--stack", "Nightspot")
    assert answer.status == 1
    assert "holds no jobs.json" in answer.err
    assert "a folder of job files can be named instead" in answer.err


def test_only_https_addresses_are_fetched():
    with pytest.raises(OSError, match="not HTTPS"):
        jobs.fetched("file:///etc/hostname")


@pytest.mark.parametrize("text", ["{", '{"job": "x"}', "[]"])
@pytest.mark.parametrize("command", ["runs", "jobs"])
def test_a_file_that_is_no_record_is_left_out_of_a_list_and_named(
    nightspot, nights, job_files, command, text
):
    (nights / "build" / "runs" / "broken.json").write_text(text)
    answer = nightspot(command, "--json")
    assert answer.status == 0
    assert answer.err.startswith("note: left out: build/runs/broken.json: ")
    assert answer.err.count("broken.json") == 1
    told = json.loads(answer.out)
    assert len(told[command]) == (4 if command == "runs" else 2)


def test_a_record_with_a_figure_that_makes_no_sense_is_left_out_too(nightspot, nights, record):
    past_records.keep(nights / "build" / "runs", {**record, "run_id": "odd", "cost_usd": -5})
    answer = nightspot("runs", "--json")
    assert "odd" not in ids(answer)
    assert "left out: build/runs/odd.json: cost_usd: -5" in answer.err
