"""The live view of `nightspot watch`, and credentials that run out while somebody waits."""

import json
from datetime import UTC, datetime
from io import StringIO

import pytest
import typer
from botocore.exceptions import ClientError, CredentialRetrievalError
from rich.console import Console

from nightspot.aws.runs.api_client import ApiError, CannotLookError
from nightspot.cli._shared import ExitStatus
from nightspot.cli.account import Aws
from nightspot.cli.runs import follow, watch
from nightspot.cli.runs.follow import Look, LookRefusedError
from nightspot.cli.runs.place import Place
from nightspot.client.sources import Folder, RunNotFoundError
from nightspot.record.model import RecordNotReadableError, read_record
from nightspot.terminal import deployed_run
from nightspot.terminal.deployed_run import News, NewsKind

NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)


@pytest.fixture
def record(root):
    path = root / "tests" / "view" / "html" / "bad_night.json"
    return {**json.loads(path.read_text(encoding="utf-8")), "started_at": "2026-11-21T00:00:11+00:00"}


def refused(code):
    return ClientError({"Error": {"Code": code, "Message": code}}, "GetItem")


def printed(view):
    console = Console(file=StringIO(), width=120)
    console.print(view)
    return console.file.getvalue()


def test_the_view_has_the_time_left_the_cost_the_jobs_and_the_newest_lines(record):
    going = {**record, "outcome": "running", "ended_at": None, "cost_usd": None, "cost_at_least_usd": 12.5}
    going = read_record(going)
    lines = [News(NewsKind.DECISION, f"decision {number}", NOW) for number in range(20)]
    text = printed(deployed_run.view(going, lines, NOW, record["run_id"]))
    assert "5 h to the deadline (08:00 UTC)" in text
    assert "at least $12.50 so far" in text
    assert "on-demand  ml.p4d.24xlarge" in text
    assert "decision 19" in text
    assert "decision 11" not in text
    assert "is not on record yet" in printed(deployed_run.view(None, [], NOW, "x"))


def test_on_a_terminal_the_view_is_drawn_every_second_until_the_end(record, monkeypatch, tmp_path):
    slept = []
    monkeypatch.setattr(watch, "sleep", slept.append)
    console = Console(file=StringIO(), force_terminal=True, width=120)
    looks = [Look(read_record({**record, "outcome": "running"})), Look(read_record(record))]
    place = Place(Folder(tmp_path), "somewhere")
    followed = watch.Screen(place, record["run_id"], console).run(lambda: looks.pop(0))
    assert followed.status is ExitStatus.IN_TIME
    assert slept == [1.0] * 15
    assert "The model is ready" in console.file.getvalue()


class Table:
    """A source whose credentials have run out until it is opened anew."""

    def __init__(self, record, error=None):
        self.record = record
        self.error = error

    def run(self, run_id):
        if self.error:
            raise self.error
        if self.record is None:
            raise RunNotFoundError(run_id)
        return self.record


def looker(place):
    return follow.looker(place, "x", None)


def test_credentials_that_have_run_out_are_read_anew(record, monkeypatch):
    aws = Aws("eu-west-1", lambda _service: None)
    place = Place(Table(read_record(record), refused("ExpiredTokenException")), "t", aws, "t")
    renewals = []

    def renewed(old):
        renewals.append(old)
        return Place(Table(read_record(record)), "t", aws, "t")

    monkeypatch.setattr(follow, "renewed", renewed)
    look = looker(place)
    with pytest.raises(CannotLookError):
        look()
    assert look().record.outcome == "succeeded"
    look()
    assert renewals == [place]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (refused("AccessDeniedException"), "AWS: An error occurred"),
        (ApiError(403, "Forbidden"), "API: 403: Forbidden"),
        (RecordNotReadableError("steps: nothing: is required"), "steps: nothing: is required"),
    ],
)
def test_what_is_refused_for_good_is_no_fault_that_passes(record, error, words):
    place = Place(Table(read_record(record), error), "t", Aws("eu-west-1", lambda _service: None))
    with pytest.raises(LookRefusedError, match=words):
        looker(place)()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (CredentialRetrievalError(provider="process", error_msg="x"), "process"),
        (typer.BadParameter("AWS_PROFILE: 'x': could not be found"), "could not be found"),
        (typer.Exit(1), "there are none"),
        (FileNotFoundError(2, "No such file", "token"), "token: No such file"),
    ],
)
def test_new_credentials_that_are_not_there_yet_are_looked_for_again(record, monkeypatch, error, words):
    aws = Aws("eu-west-1", lambda _service: None)
    place = Place(Table(read_record(record), refused("ExpiredTokenException")), "t", aws, "t")
    answers = [error, Place(Table(read_record(record)), "t", aws, "t")]

    def renewed(_old):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(follow, "renewed", renewed)
    look = looker(place)
    with pytest.raises(CannotLookError):
        look()
    with pytest.raises(CannotLookError, match=words):
        look()
    assert look().record.outcome == "succeeded"


def test_an_end_that_is_recorded_while_it_is_looked_at_is_no_crash(record):
    going = {
        **record,
        "outcome": "running",
        "execution_arn": "arn:aws:states:eu-west-1:123456789012:execution:a:b",
    }
    table = Table(read_record(going))

    class StepFunctions:
        def describe_execution(self, **_request):
            table.record = read_record(record)
            return {"status": "SUCCEEDED"}

    seen = looker(Place(table, "t", Aws("eu-west-1", lambda _service: StepFunctions()), "t"))()
    assert (seen.record.outcome, seen.end) == ("succeeded", None)
