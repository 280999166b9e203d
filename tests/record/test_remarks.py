"""A success that the evidence speaks against stays a success, and says so everywhere."""

from __future__ import annotations

import pytest

from nightspot.record.sentences import WORDING, ModelState, remarks_in_words, remarks_of
from nightspot.record.summary import summarise
from nightspot.run.model import Outcome, Remark, RunRemark, evolve, run_from_json, to_json
from tests.records import past_run


@pytest.fixture
def succeeded(story):
    """succeeded(step, total) -> a run whose last checkpoint is of that step."""

    def run(step=24, total=24, **changes):
        attempt = story.ended(None, status="Completed", ended_at=story.at("04:10"))
        progress = story.progress(step, "04:00", total_steps=total, attempt=1)
        return story.run(
            **{"attempts": [attempt], "progress": progress, "outcome": Outcome.SUCCEEDED, **changes}
        )

    return run


def kinds(run, model=ModelState.STORED):
    return [remark.kind for remark in remarks_of(run, model)]


def test_every_remark_has_its_words():
    assert set(WORDING) == set(Remark)


def test_a_whole_training_with_a_model_has_no_remark(succeeded):
    assert kinds(succeeded()) == []


def test_an_end_before_the_last_step_is_remarked(succeeded):
    (remark,) = remarks_of(succeeded(3, 24), ModelState.STORED)
    assert remark == RunRemark(Remark.UNFINISHED_STEPS, "finished at step 3 of 24")


@pytest.mark.parametrize(("step", "total"), [(3, None), (0, None), (30, 24), (24, 24)])
def test_where_no_more_steps_are_known_none_are_missed(succeeded, step, total):
    assert kinds(succeeded(step, total)) == []


def test_a_script_without_progress_is_not_suspected(succeeded):
    assert kinds(succeeded(progress=None)) == []


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (ModelState.STORED, []),
        (ModelState.EMPTY, [Remark.MODEL_EMPTY]),
        (ModelState.MISSING, [Remark.MODEL_MISSING]),
        (None, []),
    ],
)
def test_a_model_is_remarked_on_only_where_somebody_has_looked(succeeded, model, found):
    assert kinds(succeeded(), model) == found


@pytest.mark.parametrize("outcome", [None, *(each for each in Outcome if each is not Outcome.SUCCEEDED)])
def test_only_a_success_has_remarks(succeeded, outcome):
    assert kinds(succeeded(3, 24, outcome=outcome), ModelState.EMPTY) == []


@pytest.fixture
def remarked(succeeded):
    run = succeeded(3, 24)
    return evolve(run, remarks=remarks_of(run, ModelState.EMPTY))


def test_remarks_are_in_the_ledger_the_summary_and_its_first_sentence(remarked):
    assert run_from_json(to_json(remarked)) == remarked
    summary = summarise(remarked).to_json()
    assert summary["remarks"] == [
        {"kind": "unfinished_steps", "text": "finished at step 3 of 24"},
        {"kind": "model_empty", "text": "the model artefact is empty"},
    ]
    assert summary["outcome"] == "succeeded"
    assert (
        "before the deadline, but finished at step 3 of 24, and the model artefact is empty"
        in (summary["headline"])
    )


def test_a_summary_of_an_older_version_has_none():
    assert past_run().remarks == ()
    assert remarks_in_words(past_run()) == ""
