"""What attempts went through, and which jobs there are, as the table keeps them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import boto3
import pytest

from nightspot.aws.table.run_table import MOST_PHASES, RunTable
from nightspot.local.stage.emulated_aws import REGION, TABLE, create_resources
from nightspot.run.model import Action, AttemptState, Phase, Step


@pytest.fixture
def table(emulated_aws):
    create_resources(())
    return RunTable(boto3.client("dynamodb", region_name=REGION), TABLE)


def phases(story, count):
    """Waiting and training in turn, a second each."""
    states = (AttemptState.WAITING, AttemptState.TRAINING)
    moments = [story.midnight + timedelta(seconds=second) for second in range(count + 1)]
    return [Phase(states[n % 2], moments[n], moments[n + 1]) for n in range(count)]


def test_phases_come_back_by_attempt(table, story):
    run = story.run(steps=3)
    first, second = phases(story, 4), [Phase(AttemptState.WAITING, story.at("01:00"))]
    table.record_phases(run, {1: first, 2: second})
    assert table.phases(run.run_id) == {1: tuple(first), 2: tuple(second)}


def test_a_newer_look_takes_the_place_of_an_older_one_and_not_the_other_way_round(table, story):
    older, newer = phases(story, 2), phases(story, 6)
    table.record_phases(story.run(steps=2), {1: newer})
    table.record_phases(story.run(steps=1), {1: older})
    assert table.phases(story.run().run_id) == {1: tuple(newer)}
    table.record_phases(story.run(steps=3), {1: phases(story, 8)})
    assert len(table.phases(story.run().run_id)[1]) == 8


def test_a_history_that_no_item_holds_loses_its_middle(table, story):
    whole = phases(story, 3 * MOST_PHASES)
    table.record_phases(story.run(), {1: whole})
    kept = table.phases(story.run().run_id)[1]
    assert len(kept) == MOST_PHASES
    assert (kept[0], kept[-1]) == (whole[0], whole[-1])


def test_a_run_without_phases_has_none(table):
    assert table.phases("unknown") == {}


def test_the_jobs_are_those_with_a_run_on_record(table, story):
    assert table.jobs() == []
    for job, run_id in (("search", "one"), ("recommender", "two"), ("search", "three")):
        table.record_plan(story.run(job=job, run_id=run_id))
    assert table.jobs() == ["recommender", "search"]


def test_jobs_are_found_on_every_page_of_the_table(story):
    class Pages:
        """Two pages of a scan."""

        def scan(self, **arguments):
            if "ExclusiveStartKey" in arguments:
                return {"Items": [{"pk": {"S": "JOB#b"}}]}
            return {"Items": [{"pk": {"S": "JOB#a"}}], "LastEvaluatedKey": {"pk": {"S": "JOB#a"}}}

    assert RunTable(Pages(), TABLE).jobs() == ["a", "b"]


def test_what_a_decision_saw_is_on_record(table, story):
    run = story.run(steps=1)
    step = Step(
        number=1,
        at=story.at("01:00"),
        action=Action.WATCH,
        because="why",
        progress=story.progress(9, "00:50", metrics={"loss": 0.25}),
        last_safe_at=story.at("02:14"),
    )
    table.record_step(run, replace(run, steps=2), step)
    (kept,) = table.steps(run.run_id)
    assert (kept.progress, kept.last_safe_at) == (step.progress, step.last_safe_at)
