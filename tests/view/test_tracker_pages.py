"""Record, page, message and terminal lead to the run's page in its tracker, and nowhere else."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from nightspot.record.events import RunEvent
from nightspot.record.model import read_record
from nightspot.record.sentences import tracker_pages
from nightspot.terminal import deployed_run
from nightspot.view.html.pages import run_page
from nightspot.view.messages.content import Notice, content_of
from tests.records import past_run

MLFLOW = "https://mlflow.example.com/#/experiments/1/runs/53bc4d89"
WANDB = "https://wandb.ai/our-team/recommender/runs/20261120-abc123"
LINKS = {"mlflow": MLFLOW, "wandb": WANDB}


@pytest.fixture
def run():
    return past_run([{"ended_at": "2026-11-20T04:00:00+00:00"}], trackers=LINKS)


def test_the_record_keeps_the_pages(run):
    assert list(tracker_pages(read_record(run.to_json()))) == [
        ("MLflow", MLFLOW),
        ("Weights & Biases", WANDB),
    ]


def test_a_record_of_an_older_version_has_none():
    assert list(tracker_pages(past_run())) == []


def test_the_page_links_to_them(run):
    page = run_page(run, None)

    assert f'href="{MLFLOW}"' in page
    assert f'href="{WANDB}"' in page
    assert "Weights &amp; Biases" in page


def test_show_prints_them(run):
    out = StringIO()
    deployed_run.show(Console(file=out, width=200), run, run.over_at, with_links=False)

    assert MLFLOW in out.getvalue()
    assert WANDB in out.getvalue()


def test_the_closing_message_links_to_them(run):
    detail = {"job": run.job, "run_id": run.run_id, "summary": run.to_json()}
    links = content_of(Notice(RunEvent.RUN_SUCCEEDED, detail)).links

    assert [(link.label, link.url) for link in links] == [("MLflow", MLFLOW), ("Weights & Biases", WANDB)]


@pytest.mark.parametrize(
    "link",
    ["javascript:alert(1)", 'https://x.example.com/"><script>', "https://me:secret@x.example.com/"],
    ids=["script address", "tag", "password"],
)
def test_what_else_stands_in_a_record_is_not_linked(link):
    run = past_run(trackers={"mlflow": link, "evil": MLFLOW})

    assert list(tracker_pages(run)) == []
    assert link not in run_page(run, None)
