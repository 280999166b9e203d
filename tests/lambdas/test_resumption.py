"""A run that continues from the checkpoints of another one: what it takes over, and what forbids it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError

from nightspot.decide.policy import next_step
from nightspot.job.markets import Concurrency, Market
from nightspot.lambdas.plan_run import InvalidInputError
from nightspot.run.model import Action, Outcome, Resume, run_from_json, to_json

FIRST, SECOND, THIRD = (f"arn:aws:states:eu-west-1:123456789012:execution:nightspot:{n}" for n in "123")


def saved(world, run, *, step: int, attempt: int = 1, **changes) -> None:
    """What a process of `run` has written into its checkpoint prefix."""
    key = run.checkpoint_s3_uri.removeprefix("s3://checkpoints/")
    document = {
        "run_id": run.run_id,
        "attempt": attempt,
        "step": step,
        "total_steps": 100,
        "fraction": step / 100,
        "seconds_per_step": 144.0,
        "saved_at": world.now.isoformat(),
        "started_at": (world.now - timedelta(hours=1)).isoformat(),
        "checkpoint": f"step-{step}.nsck",
        "resumed_from": None,
        **changes,
    }
    world.s3.put_object(Bucket="checkpoints", Key=f"{key}/step-{step}.nsck", Body=b"weights")
    world.s3.put_object(Bucket="checkpoints", Key=f"{key}/nightspot.json", Body=json.dumps(document))


def ended(world, outcome=Outcome.FAILED, execution=FIRST, given=None, **changes):
    """A run that is over, with its locks freed."""
    planned = run_from_json(world.plan(given, execution=execution)["run"])
    run = replace(planned, steps=9, outcome=outcome, outcome_because="so it was", **changes)
    world.record(to_json(run))
    return run


def retry(world, of, execution=SECOND, **more):
    given = {"job": "recommender", "resume_from": of.run_id, **more}
    return run_from_json(world.plan(given, started_at=world.now, execution=execution)["run"])


def test_a_retry_goes_on_where_the_failed_run_was_saved_last(world):
    first = ended(world)
    saved(world, first, step=60)
    run = retry(world, first)
    assert run.checkpoint_s3_uri == first.checkpoint_s3_uri
    assert (run.resume_from, run.run_id != first.run_id) == (first.run_id, True)
    assert run.plan_note == f"Continues from step 60 of 100, the last checkpoint of run {first.run_id}."
    assert world.table.run(first.run_id) == first


def test_its_first_decision_counts_what_is_saved_already(world):
    first = ended(world)
    saved(world, first, step=60)
    run = retry(world, first)
    decided = world.decide(to_json(run))
    attempt = run_from_json(decided["run"]).attempts[0]
    assert (attempt.step_before, attempt.safe_point) == (60, 60.0)
    # 4 h 48 min at most, of which 40 % are left.
    assert "1 h 55 min of work left at most" in decided["step"]["because"]
    assert decided["step"]["request"]["CheckpointConfig"]["S3Uri"] == first.checkpoint_s3_uri


@pytest.mark.parametrize(
    "code", ["AccessDenied", "KMS.DisabledException", "KMS.NotFoundException", "NoSuchBucket"]
)
def test_checkpoints_that_may_not_be_read_do_not_stop_a_retry(world, metrics, code):
    first = ended(world)

    class Locked:
        def get_object(self, **_key):
            raise ClientError({"Error": {"Code": code}}, "GetObject")

        def list_objects_v2(self, **_prefix):
            raise ClientError({"Error": {"Code": code}}, "ListObjectsV2")

    world.s3 = Locked()
    metrics()
    run = retry(world, first)
    assert run.checkpoint_s3_uri == first.checkpoint_s3_uri
    assert run.plan_note == f"Continues from the checkpoints of run {first.run_id} (how far, is not known)."
    assert metrics()["DecidedWithout"] == [1]


def started(world, run):
    """The ledger after its first attempt has begun to train."""
    ledger = world.decide(to_json(run))["run"]
    name = ledger["attempts"][0]["training_job_name"]
    world.sagemaker.shows(
        name, "InProgress", ("Starting", world.now), ("Training", world.pass_time(minutes=5))
    )
    return ledger


@pytest.mark.parametrize(
    ("resumed_from", "step", "verdict"),
    [({"step": 60, "attempt": 1}, 60, Resume.PROVEN), (None, 1, Resume.BROKEN)],
)
def test_its_first_attempt_proves_the_resume_or_breaks_it(world, resumed_from, step, verdict):
    first = ended(world)
    saved(world, first, step=60)
    ledger = started(world, retry(world, first))
    world.pass_time(minutes=1)
    before = run_from_json(world.decide(ledger)["run"])
    assert before.attempts[0].resume is None
    saved(world, first, step=step, resumed_from=resumed_from, started_at=world.now.isoformat())
    after = run_from_json(world.decide(to_json(before))["run"])
    assert after.attempts[0].resume is verdict


def test_the_pace_of_the_other_run_is_not_taken_for_the_attempt_s_own(world):
    first = ended(world)
    saved(world, first, step=60, attempt=1)
    seen = run_from_json(world.decide(started(world, retry(world, first)))["run"])
    assert seen.attempts[0].seconds_per_step is None
    assert seen.progress.step == 60


def test_without_any_checkpoint_it_starts_from_zero_and_says_so(world):
    first = ended(world)
    run = retry(world, first)
    assert run.checkpoint_s3_uri == first.checkpoint_s3_uri
    assert run.plan_note == f"Follows run {first.run_id} from zero: it has left no checkpoint."
    assert run.progress is None


def test_checkpoints_that_do_not_say_how_far_they_are_count_by_the_training_time(world):
    first = ended(world, inherited_fraction=0.5)
    key = first.checkpoint_s3_uri.removeprefix("s3://checkpoints/")
    world.s3.put_object(Bucket="checkpoints", Key=f"{key}/own.pt", Body=b"weights")
    run = retry(world, first)
    assert run.inherited_fraction == 0.5
    assert "about 50% of the work" in run.plan_note


def test_a_changed_job_may_be_retried_and_says_so(world):
    first = ended(world)
    saved(world, first, step=60)
    run = retry(world, first, hyperparameters={"lr": "0.1"})
    assert (run.progress.step, run.progress.fraction, run.progress.total_steps) == (60, None, None)
    assert run.plan_note.endswith(
        f"Its work is not that of run {first.run_id} (algorithm, channels, hyperparameters or `work` differ): how"
        " much of it is done, nobody knows."
    )


def test_a_retry_can_be_retried_on_the_same_checkpoints(world):
    first = ended(world)
    saved(world, first, step=60)
    second = retry(world, first)
    world.record(to_json(replace(second, steps=9, outcome=Outcome.FAILED, outcome_because="again")))
    third = retry(world, second, THIRD)
    assert third.checkpoint_s3_uri == first.checkpoint_s3_uri
    assert third.resume_from == second.run_id


@pytest.mark.parametrize(
    ("hours", "input_", "due"),
    [
        (1, {}, 8),
        (10, {}, 8),
        (10, {"deadline": {"within": "6h"}}, 16),
        (17, {}, 25),
    ],
    ids=["in-time", "overdue", "another-deadline-is-given", "after-the-next-deadline"],
)
def test_somebody_waits_for_its_model_since_the_deadline_of_the_run_that_it_resumes(
    world, midnight, hours, input_, due
):
    first = ended(world)
    world.pass_time(hours=hours)
    run = retry(world, first, **input_)
    assert run.deadline == midnight + timedelta(hours=due)
    step = next_step(run, run.started_at)
    assert (step.rung.market is Market.ON_DEMAND, step.late) == (due < hours, due < hours)


def test_who_asks_and_what_is_resumed_is_on_record_and_told(world):
    first = ended(world)
    run = retry(world, first, requested_by="ci: owner/repo#7")
    summary = world.table.history("recommender")[0]
    by_id = {each.run_id: each for each in world.table.history("recommender")}
    assert by_id[run.run_id].resume_from == first.run_id
    assert by_id[run.run_id].requested_by == "ci: owner/repo#7"
    assert by_id[run.run_id].plan_note == run.plan_note
    assert by_id[first.run_id].requested_by == "console"
    assert summary.headline
    assert world.bus.details()[-1]["resume_from"] == first.run_id
    assert world.bus.details()[-1]["plan_note"] == run.plan_note


def refusal(world, resume_from, execution=SECOND, **more) -> str:
    with pytest.raises(InvalidInputError) as caught:
        world.plan({"job": "recommender", "resume_from": resume_from, **more}, execution=execution)
    assert str(caught.value).startswith("resume_from: ")
    assert repr(resume_from) in str(caught.value)
    return str(caught.value)


def test_a_run_that_is_not_on_record_cannot_be_resumed(world):
    assert "must be the id of a run on record" in refusal(world, "20261121-ffffff")


def test_a_run_of_another_job_cannot_be_resumed(world):
    first = ended(world)
    assert "it is a run of recommender, and must be one of another" in refusal(
        world, first.run_id, job="another"
    )


def test_a_run_that_is_not_over_cannot_be_resumed(world):
    run = run_from_json(world.plan(execution=FIRST)["run"])
    assert "it must be over" in refusal(world, run.run_id)


def test_a_run_that_has_its_model_cannot_be_resumed(world):
    first = ended(world, Outcome.SUCCEEDED)
    assert "it has succeeded" in refusal(world, first.run_id)


@pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.SUCCEEDED])
def test_every_run_that_ended_without_a_model_can_be_resumed(world, outcome):
    first = ended(world, outcome)
    assert retry(world, first).resume_from == first.run_id


def test_refused_runs_do_not_hide_one_that_went_on_from_the_checkpoints_and_succeeded(world):
    """The review's L5: a start each quarter of an hour is refused while another run goes on."""
    first = ended(world)
    second = replace(retry(world, first), steps=9, outcome=Outcome.SUCCEEDED, outcome_because="done")
    world.record(to_json(second))
    for number in range(70):
        start = second.started_at + timedelta(minutes=1 + number)
        refused = {"run_id": f"20261121-r{number:07d}", "started_at": start, "outcome": Outcome.REFUSED}
        world.table.record_outcome(replace(first, checkpoint_s3_uri=None, **refused))
    assert f"run {second.run_id}, which went on from its checkpoints, has succeeded" in refusal(
        world, first.run_id, execution=THIRD
    )


@pytest.mark.parametrize("concurrency", list(Concurrency))
def test_of_two_retries_of_one_run_only_the_first_trains_on_its_checkpoints(world, concurrency):
    world.jobs["recommender"] = world.jobs["recommender"].model_copy(update={"concurrency": concurrency})
    first = ended(world)
    second = retry(world, first)
    assert f"run {second.run_id} continues from its checkpoints already" in refusal(
        world, first.run_id, THIRD
    )


def test_a_retry_that_is_planned_twice_is_one_run(world):
    first = ended(world)
    saved(world, first, step=60)
    assert retry(world, first) == retry(world, first)


def test_what_a_retry_has_finished_is_not_tried_again(world):
    first = ended(world)
    second = retry(world, first)
    world.record(to_json(replace(second, steps=9, outcome=Outcome.SUCCEEDED, outcome_because="done")))
    assert f"run {second.run_id}, which went on from its checkpoints, has succeeded" in refusal(
        world, first.run_id, THIRD
    )


def test_a_refusal_leaves_the_checkpoints_free(world):
    first = ended(world)
    second = retry(world, first)
    world.record(to_json(replace(second, steps=9, outcome=Outcome.SUCCEEDED, outcome_because="done")))
    refusal(world, first.run_id, THIRD)
    free = world.lock.acquire(
        first.checkpoint_s3_uri, "x", THIRD, now=world.now, until=world.now + timedelta(hours=1)
    )
    assert free is None


def test_the_crash_of_a_retry_does_not_block_the_next_one(world):
    world.jobs["recommender"] = world.jobs["recommender"].model_copy(
        update={"concurrency": Concurrency.ALLOW}
    )
    first = ended(world)
    retry(world, first)
    world.step_functions.over.add(SECOND)
    world.pass_time(minutes=5)
    assert retry(world, first, THIRD).prefix_locked


def test_a_machine_that_a_crash_left_behind_must_stop_saving_first(world):
    world.jobs["recommender"] = world.jobs["recommender"].model_copy(
        update={"concurrency": Concurrency.ALLOW}
    )
    first = ended(world)
    ledger = started(world, retry(world, first))
    name = ledger["attempts"][0]["training_job_name"]
    world.step_functions.over.add(SECOND)
    world.pass_time(minutes=5)
    assert f"training job {name}" in refusal(world, first.run_id, THIRD)
    world.sagemaker.shows(name, "Stopped", ("Stopped", world.now))
    assert retry(world, first, THIRD).prefix_locked


def test_a_run_that_was_closed_while_its_training_job_still_stops_is_not_resumed_yet(world):
    ledger = started(world, run_from_json(world.plan(execution=FIRST)["run"]))
    run = replace(run_from_json(ledger), outcome=Outcome.FAILED, outcome_because="its execution died")
    world.record(to_json(run))
    name = ledger["attempts"][0]["training_job_name"]
    world.sagemaker.shows(name, "Stopping", ("Stopping", world.now))
    assert "still saves there, and must be over: it is Stopping" in refusal(world, run.run_id)


def test_a_run_that_lost_its_checkpoints_to_another_one_gives_way(world):
    world.jobs["recommender"] = world.jobs["recommender"].model_copy(
        update={"concurrency": Concurrency.ALLOW}
    )
    first = ended(world)
    run = retry(world, first)
    world.pass_time(hours=3)
    taken = world.lock.acquire(
        run.checkpoint_s3_uri, "other", THIRD, now=world.now, until=world.now + timedelta(hours=1)
    )
    assert taken is None
    step = world.decide(to_json(run))["step"]
    assert step["action"] == Action.FINISH.value
    assert "continues from its checkpoints" in step["because"]


def test_every_decision_keeps_the_checkpoints_locked_and_the_end_frees_them(world):
    first = ended(world)
    run = retry(world, first)
    world.pass_time(hours=1, minutes=50)
    run = run_from_json(world.decide(to_json(run))["run"])
    world.pass_time(hours=1, minutes=50)

    def holder():
        until = world.now + timedelta(hours=1)
        return world.lock.acquire(first.checkpoint_s3_uri, "x", THIRD, now=world.now, until=until)

    assert holder().run_id == run.run_id
    world.record(to_json(replace(run, outcome=Outcome.FAILED, outcome_because="no")))
    assert holder() is None


def test_a_job_that_keeps_no_checkpoints_any_more_starts_from_zero_and_locks_nothing(world):
    first = ended(world)
    request = dict(world.jobs["recommender"].training_job)
    del request["CheckpointConfig"]
    world.jobs["recommender"] = world.jobs["recommender"].model_copy(update={"training_job": request})
    run = retry(world, first)
    assert (run.checkpoint_s3_uri, run.prefix_locked) == (None, False)
    assert "from zero: the job keeps no checkpoints" in run.plan_note
