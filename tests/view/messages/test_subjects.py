"""The rules of SNS for a subject, kept whatever a job is called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.record.events import RunEvent
from nightspot.view.messages.content import Notice
from nightspot.view.messages.message import message_of
from nightspot.view.messages.wording import may_be_told
from tests.records import past_run

TELLABLE = [run_event for run_event in RunEvent if may_be_told(run_event)]


def notice(run_event, job):
    detail = {"job": job, "run_id": "r", "action": "watch", "summary": past_run(cost_usd=12345.678).to_json()}
    return Notice(run_event, detail)


@pytest.mark.parametrize("run_event", TELLABLE)
@given(job=st.one_of(st.text(max_size=300), st.text(alphabet="\r\n\t \u202e\x00é東", max_size=20)))
def test_a_subject_is_one_that_sns_takes(run_event, job):
    subject = message_of(notice(run_event, job)).subject
    assert 0 < len(subject) < 100
    assert subject.isascii()
    assert subject.isprintable()
    assert not subject[0].isspace()


@pytest.mark.parametrize("run_event", TELLABLE)
def test_the_longest_name_that_a_job_can_have_pushes_no_news_out(run_event):
    """63 characters: SageMaker's limit for the names of training jobs."""
    late = past_run(margin_seconds=-99_999.0, cost_usd=12_345.678, deadline_met=False).to_json()
    detail = {"run_id": "r", "action": "watch", "happened": ["FellBack"], "summary": late}
    long, short = (message_of(Notice(run_event, {**detail, "job": name})).subject for name in ("x" * 63, "x"))
    assert long.partition(": ")[2] == short.partition(": ")[2]
    assert long.startswith("x" * 29 + "...: ")


def test_news_that_are_too_long_are_cut():
    remarked = past_run(remarks=[{"text": "x" * 200}]).to_json()
    subject = message_of(Notice(RunEvent.RUN_SUCCEEDED, {"job": "j", "summary": remarked})).subject
    assert len(subject) == 99
    assert subject.endswith("...")


def test_a_job_without_a_name_is_a_job():
    assert message_of(notice(RunEvent.RUN_FAILED, "\u202e")).subject.startswith("job: ")
