"""What is wrong with runs, training jobs and locks, and what repairs it: every kind, from what is there alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from nightspot.decide import audit
from nightspot.decide.audit import (
    ADVICE,
    MOST_RESTARTS,
    REPAIR_OF,
    RESTART_AFTER,
    WORDS,
    AuditKind,
    Execution,
    ExecutionState,
    HeldLock,
    ListedJob,
    Repair,
    RunLook,
    Snapshot,
    UnsentEnd,
)
from nightspot.failures.codes import FailureClass
from nightspot.run.model import AttemptState, Outcome

ARN = "arn:aws:states:eu-west-1:123456789012:execution:nightspot:one"
CRASHES = [ExecutionState.FAILED, ExecutionState.TIMED_OUT, ExecutionState.SUCCEEDED]


@pytest.fixture
def now(story):
    """Three o'clock; the crashes and aborts were a second ago."""
    return story.at("03:00")


@pytest.fixture
def execution(now):
    """execution(state): how Step Functions shows the run's execution."""

    def made(state, ended_at=now - timedelta(seconds=1)):
        return Execution(ARN, state, ended_at if state is not ExecutionState.FORGOTTEN else None)

    return made


@pytest.fixture
def look(story, execution, now):
    """look(run, state, **changes): a run that trained until three o'clock, and how its execution is."""

    def looked(run=None, state=ExecutionState.RUNNING, **changes):
        run = run or story.run(attempts=(story.training(since="00:10"),), steps=2)
        recorded = run.outcome is not None
        fields = {
            "run": run,
            "is_recorded": recorded,
            "execution": None if state is None else execution(state),
            "last_decision_at": now - timedelta(hours=1),
            **changes,
        }
        return RunLook(**fields)

    return looked


@pytest.fixture
def kinds(now):
    """kinds(look): what is found, in order."""
    return lambda seen, at=now: [finding.kind for finding in audit.of_run(seen, at)]


@pytest.fixture
def going_on(story):
    return {story.attempt().training_job_name: story.view(("Training", "00:10", None))}


def over(story, *attempts, **changes):
    fields = {"outcome": Outcome.FAILED, "outcome_because": "x.", "steps": 9, "attempts": attempts, **changes}
    return story.run(**fields)


class TestTheTables:
    def test_every_kind_has_one_repair_or_advice_and_words_for_it(self):
        assert set(REPAIR_OF) == set(AuditKind)
        assert set(REPAIR_OF.values()) == set(Repair)
        assert set(WORDS) == set(Repair) - {Repair.NONE}
        assert set(ADVICE) == {kind for kind in AuditKind if REPAIR_OF[kind] is Repair.NONE}
        assert all(audit.AuditFinding(kind, None, None, "x", "x").remedy for kind in AuditKind)

    def test_there_is_a_wait_before_each_restart(self):
        assert len(RESTART_AFTER) == MOST_RESTARTS
        assert sorted(RESTART_AFTER) == list(RESTART_AFTER)

    def test_what_is_only_worth_knowing_rings_for_nobody(self):
        for kind in AuditKind:
            finding = audit.AuditFinding(kind, "run", "job", "subject", "sentence")
            assert finding.repair is REPAIR_OF[kind]
            assert finding.is_wrong or (not finding.rings and finding.repair is Repair.NONE)


class TestAnOpenRun:
    def test_that_goes_on_is_left_alone(self, look, kinds):
        assert kinds(look()) == []

    @pytest.mark.parametrize(
        ("minutes", "found"), [(150, []), (151, [AuditKind.LOOP_SILENT])], ids=["2 h 30 min", "2 h 31 min"]
    )
    def test_that_decides_nothing_for_long_is_woken(self, look, kinds, now, minutes, found):
        assert kinds(look(last_decision_at=now - timedelta(minutes=minutes))) == found

    def test_that_never_decided_is_silent_since_its_start(self, look, kinds, story):
        assert kinds(look(last_decision_at=None), story.at("02:31")) == [AuditKind.LOOP_SILENT]

    def test_of_whose_execution_aws_says_nothing_is_left_alone(self, look, kinds, now):
        silent = look(state=ExecutionState.NOT_SAID, last_decision_at=now - timedelta(days=1))
        assert kinds(silent) == []

    @pytest.mark.parametrize("state", CRASHES)
    def test_whose_execution_crashed_is_restarted_at_once(self, look, kinds, going_on, state):
        assert kinds(look(state=state, jobs=going_on)) == [AuditKind.LOOP_GONE]

    @pytest.mark.parametrize(("restarts", "minutes"), [(1, 5), (2, 30)])
    def test_that_crashes_again_is_restarted_later(
        self, look, execution, kinds, now, going_on, restarts, minutes
    ):
        def seen(ago):
            ended = execution(ExecutionState.FAILED, ended_at=now - ago)
            return look(state=None, execution=ended, restarts=restarts, jobs=going_on)

        assert kinds(seen(timedelta(minutes=minutes, seconds=-1))) == [AuditKind.RESTART_LATER]
        assert kinds(seen(timedelta(minutes=minutes))) == [AuditKind.LOOP_GONE]

    def test_the_first_restart_waits_for_no_clock(self, look, execution, kinds, now, going_on):
        ahead = execution(ExecutionState.FAILED, ended_at=now + timedelta(seconds=3))
        assert kinds(look(state=None, execution=ahead, jobs=going_on)) == [AuditKind.LOOP_GONE]

    def test_that_was_restarted_often_enough_is_left_to_its_training_job(self, look, kinds, going_on):
        seen = look(state=ExecutionState.FAILED, restarts=MOST_RESTARTS, jobs=going_on)
        assert kinds(seen) == [AuditKind.JOB_UNWATCHED]
        (finding,) = audit.of_run(seen, seen.run.started_at + timedelta(hours=3))
        assert (finding.repair, finding.is_wrong) == (Repair.NONE, True)

    @pytest.mark.parametrize("view", ["over", "never there"])
    def test_that_was_restarted_often_enough_is_closed_when_its_training_job_is_over(
        self, look, kinds, story, view
    ):
        name = story.attempt().training_job_name
        jobs = {name: story.view(("Training", "00:10", "02:00"), status="Failed") if view == "over" else None}
        assert (
            kinds(look(state=ExecutionState.FAILED, restarts=MOST_RESTARTS, jobs=jobs))[0]
            is AuditKind.RECORD_OPEN
        )

    def test_past_the_time_at_which_it_gives_up_is_restarted_no_more(self, look, execution, story, kinds):
        # The deadline is 08:00, and a day later it gives up.
        run = story.run(steps=2)
        for at, found in (("31:59:59", AuditKind.LOOP_GONE), ("32:00:00", AuditKind.RECORD_OPEN)):
            ended = execution(ExecutionState.FAILED, ended_at=story.at(at))
            assert kinds(look(run, None, execution=ended), story.at(at)) == [found]

    def test_whose_plan_was_not_made_to_the_end_is_closed(self, look, kinds, story):
        assert kinds(look(story.run(), ExecutionState.FAILED, is_planned=False)) == [AuditKind.RECORD_OPEN]

    @pytest.mark.parametrize(
        ("state", "wish"), [(ExecutionState.ABORTED, None), (ExecutionState.FAILED, "nightspot stop")]
    )
    def test_whose_end_somebody_wanted_is_closed_though_its_training_job_goes_on(
        self, look, kinds, story, going_on, state, wish
    ):
        run = story.run(attempts=(story.training(since="00:10"),), steps=2, stop_asked_by=wish)
        assert kinds(look(run, state, jobs=going_on)) == [AuditKind.RECORD_OPEN]

    def test_whose_training_job_may_still_come_is_closed_a_minute_later(self, look, kinds, story, now):
        asked = story.attempt(
            asked_at=now - timedelta(seconds=59), state=AttemptState.ASKED, status=None, secondary_status=None
        )
        run = story.run(attempts=(asked,), steps=1)
        seen = look(run, ExecutionState.ABORTED, jobs={asked.training_job_name: None})
        assert kinds(seen) == [AuditKind.JOB_MAY_COME]
        assert kinds(seen, now + timedelta(seconds=1)) == [AuditKind.RECORD_OPEN]

    def test_of_whose_training_job_sagemaker_says_nothing_is_not_closed_yet(self, look, kinds):
        assert kinds(look(state=ExecutionState.ABORTED)) == [AuditKind.JOB_UNSEEN]
        # To restart it, nobody has to see the training job.
        assert kinds(look(state=ExecutionState.FAILED)) == [AuditKind.LOOP_GONE]

    def test_that_has_just_begun_is_not_taken_for_forgotten(self, look, kinds, story, now):
        run = story.run(started_at=now - timedelta(seconds=119))
        seen = look(run, ExecutionState.FORGOTTEN, last_decision_at=None)
        assert kinds(seen) == []
        assert kinds(seen, now + timedelta(seconds=1)) == [AuditKind.LOOP_GONE]


class TestARunThatIsOver:
    def test_and_told_and_billed_is_finished(self, look, kinds, story, now):
        run = over(story, story.ended(None, billable_seconds=60.0, trained_seconds=60.0))
        seen = look(run, None)
        assert (kinds(seen), audit.is_finished(seen, now), audit.is_whole(run)) == ([], True, True)

    @pytest.mark.parametrize("state", [*CRASHES, ExecutionState.ABORTED])
    def test_by_its_last_decision_alone_is_recorded_once_its_execution_is_gone(
        self, look, kinds, story, state
    ):
        assert kinds(look(over(story), state, is_recorded=False)) == [AuditKind.OUTCOME_UNRECORDED]

    def test_by_its_last_decision_is_its_execution_s_to_record(self, look, kinds, story, now):
        seen = look(over(story), is_recorded=False)
        assert (kinds(seen), audit.is_finished(seen, now)) == ([], False)

    def test_and_untold_is_told_once_its_execution_is_gone(self, look, kinds, story, now):
        untold = UnsentEnd(now)
        for state, found in (
            (ExecutionState.RUNNING, []),
            (ExecutionState.SUCCEEDED, [AuditKind.END_UNTOLD]),
        ):
            seen = look(over(story), state, untold=untold)
            assert (kinds(seen), audit.is_finished(seen, now)) == (found, False)

    def test_stops_the_training_job_that_still_trains_for_it(self, look, kinds, story, going_on, now):
        seen = look(over(story, story.training(since="00:10")), None, jobs=going_on)
        assert kinds(seen) == [AuditKind.JOB_ORPHANED]
        stopping = {name: replace(view, status="Stopping") for name, view in going_on.items()}
        seen = replace(seen, jobs=stopping)
        assert (kinds(seen), audit.is_finished(seen, now)) == ([], False)

    def test_has_two_minutes_before_a_new_training_job_is_an_orphan(self, look, kinds, story, going_on):
        seen = look(over(story, story.training(since="00:10")), None, jobs=going_on)
        assert kinds(seen, story.at("00:11:59")) == []
        assert kinds(seen, story.at("00:12")) == [AuditKind.JOB_ORPHANED]

    @pytest.mark.parametrize("was_seen", [True, False])
    def test_gets_the_end_of_its_training_job_on_record(self, look, kinds, story, was_seen):
        attempt = story.training(since="00:10")
        view = story.view(("Training", "00:10", "02:00"), status="Stopped") if was_seen else None
        seen = look(over(story, attempt), None, jobs={attempt.training_job_name: view})
        assert kinds(seen) == [AuditKind.BILL_INCOMPLETE]

    def test_gets_its_bill_when_sagemaker_says_it_and_is_waited_for_two_days(self, look, kinds, story, now):
        ended = story.ended(None, trained_seconds=60.0, ended_at=story.at("02:00"))
        view = story.view(("Training", "00:10", "02:00"), status="Completed")
        seen = look(over(story, ended), None, jobs={ended.training_job_name: view})
        assert (kinds(seen), audit.is_finished(seen, now)) == ([], False)
        assert audit.is_finished(seen, story.at("02:00") + timedelta(days=2))
        billed = replace(seen, jobs={ended.training_job_name: replace(view, billable_seconds=60.0)})
        assert kinds(billed) == [AuditKind.BILL_INCOMPLETE]

    def test_gets_into_its_history_what_its_ledger_has_already(self, look, kinds, story, now):
        ended = story.ended(None, billable_seconds=60.0)
        seen = look(over(story, ended), None, unrecorded=frozenset({ended.training_job_name}))
        assert (kinds(seen), audit.is_finished(seen, now)) == ([AuditKind.BILL_INCOMPLETE], False)


class TestAStartInDoubt:
    @pytest.fixture
    def doubtful(self, story):
        return story.ended(
            FailureClass.UNKNOWN, status=None, secondary_status=None, asked_at=story.at("02:40")
        )

    @pytest.mark.parametrize("failure", FailureClass)
    def test_is_a_fault_after_which_the_training_job_may_be_there(self, story, failure):
        attempt = story.ended(failure, status=None, secondary_status=None)
        in_doubt = {FailureClass.UNKNOWN, FailureClass.SERVICE_FAULT, FailureClass.THROTTLED}
        assert audit.is_doubtful(attempt) is (failure in in_doubt)
        assert not audit.is_doubtful(replace(attempt, status="Failed"))

    def test_is_in_doubt_too_where_its_run_went_on_without_seeing_its_end(self, story):
        left = story.ended(FailureClass.STOPPED_BY_NIGHTSPOT, unsettled=True)
        assert audit.is_doubtful(left)
        assert not audit.is_doubtful(replace(left, unsettled=False))

    def test_is_looked_for_until_half_an_hour_is_over(self, look, story, doubtful):
        seen = look(over(story, doubtful), None)
        absent = replace(seen, jobs={doubtful.training_job_name: None})
        late = story.at("03:10")
        assert not audit.is_finished(absent, late - timedelta(seconds=1))
        assert audit.is_finished(absent, late)
        assert not audit.is_finished(seen, late)  # nobody has looked
        assert not audit.is_whole(seen.run)

    def test_that_came_after_all_is_stopped_and_then_billed(self, look, kinds, story, doubtful):
        view = story.view(("Starting", "02:45", None))
        seen = look(over(story, doubtful), None, jobs={doubtful.training_job_name: view})
        assert kinds(seen) == [AuditKind.JOB_ORPHANED]
        stopped = story.view(("Starting", "02:45", "02:58"), status="Stopped")
        assert kinds(replace(seen, jobs={doubtful.training_job_name: stopped})) == [AuditKind.BILL_INCOMPLETE]

    def test_that_came_while_its_run_goes_on_is_stopped_too(self, look, kinds, story, doubtful):
        run = story.run(attempts=(doubtful, story.training(since="02:50", number=2)), steps=3)
        view = story.view(("Starting", "02:45", None))
        assert kinds(look(run, jobs={doubtful.training_job_name: view})) == [AuditKind.JOB_ORPHANED]

    def test_that_its_run_does_not_know_is_for_the_restart_to_find(self, look, kinds, story, going_on):
        run = story.run(steps=1)
        assert kinds(look(run, jobs=going_on)) == []
        assert kinds(look(run, ExecutionState.FAILED, jobs=going_on)) == [AuditKind.LOOP_GONE]


class TestASnapshot:
    @pytest.fixture
    def found(self, now):
        return lambda **seen: [(f.kind, f.subject) for f in audit.findings(Snapshot(now, **seen))]

    def test_of_nothing_finds_nothing(self, found):
        assert found() == []

    def test_has_the_findings_of_every_run(self, found, look, story):
        runs = tuple(look(story.run(run_id=f"20261121-abc12{n}"), ExecutionState.ABORTED) for n in range(2))
        assert found(runs=runs) == [(AuditKind.RECORD_OPEN, ARN)] * 2

    def test_says_which_training_jobs_are_of_no_run_and_touches_none(self, found, look):
        listed = (
            ListedJob("nightspot-recommender-20261121-abc123-1", "InProgress", "20261121-abc123"),
            ListedJob("nightspot-other-20261121-ffffff-1", "InProgress", "20261121-ffffff"),
        )
        assert found(runs=(look(),), listed=listed) == [(AuditKind.JOB_OF_UNKNOWN_RUN, listed[1].name)]

    def test_a_run_that_cannot_be_read_is_said_and_its_training_job_is_not_another_s(self, found):
        listed = (ListedJob("nightspot-recommender-20261121-abc123-1", "InProgress", "20261121-abc123"),)
        unreadable = {"20261121-abc123": "ValidationError: deadline"}
        assert found(listed=listed, unreadable=unreadable) == [(AuditKind.UNREADABLE, "20261121-abc123")]

    @pytest.mark.parametrize(("status", "wrong"), [("InProgress", True), ("Stopping", False)])
    def test_two_machines_on_one_prefix_are_found(self, found, look, story, status, wrong):
        prefix = story.run().checkpoint_s3_uri
        runs = tuple(look(story.run(run_id=f"20261121-abc12{n}", steps=1)) for n in range(2))
        listed = (
            ListedJob("nightspot-recommender-20261121-abc120-1", "InProgress", "20261121-abc120"),
            ListedJob("nightspot-recommender-20261121-abc121-1", status, "20261121-abc121"),
        )
        assert found(runs=runs, listed=listed) == ([(AuditKind.TWO_MACHINES, prefix)] if wrong else [])

    def test_jobs_without_checkpoints_cannot_disturb_each_other(self, found, look, story):
        runs = tuple(
            look(story.run(run_id=f"20261121-abc12{n}", steps=1, checkpoint_s3_uri=None)) for n in range(2)
        )
        listed = tuple(
            ListedJob(f"nightspot-recommender-20261121-abc12{n}-1", "InProgress", f"20261121-abc12{n}")
            for n in range(2)
        )
        assert found(runs=runs, listed=listed) == []


class TestALock:
    @pytest.fixture
    def kinds_of(self, now):
        def found(owner, execution=None):
            runs = () if owner is None else (owner,)
            locks = (HeldLock("recommender", "20261121-abc123", execution),)
            seen = audit.findings(Snapshot(now, runs=runs, locks=locks))
            return [finding.kind for finding in seen if finding.kind is AuditKind.LOCK_LEFT]

        return found

    def test_of_a_run_that_goes_on_is_its_own(self, kinds_of, look):
        assert kinds_of(look()) == []

    def test_of_a_run_that_is_over_is_freed(self, kinds_of, look, story):
        assert kinds_of(look(over(story), None)) == [AuditKind.LOCK_LEFT]

    def test_is_just_being_freed_while_the_end_is_told(self, kinds_of, look, story, now):
        assert kinds_of(look(over(story), untold=UnsentEnd(now))) == []
        gone = look(over(story), ExecutionState.FAILED, untold=UnsentEnd(now))
        assert kinds_of(gone) == [AuditKind.LOCK_LEFT]

    @pytest.mark.parametrize(
        ("state", "found"),
        [
            (ExecutionState.RUNNING, []),
            (ExecutionState.NOT_SAID, []),
            (ExecutionState.FAILED, [AuditKind.LOCK_LEFT]),
        ],
    )
    def test_of_a_run_that_is_not_on_record_is_freed_once_its_execution_is_over(
        self, kinds_of, execution, state, found
    ):
        assert kinds_of(None, execution(state)) == found
