"""What a function had to leave, the reconciler delivers: once, as soon as it can, and not for ever."""

from __future__ import annotations

import json

import boto3
import pytest

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.notices import NoticeTopics
from nightspot.decide.audit import Delivery
from nightspot.lambdas import notify, start_run
from nightspot.lambdas.notify import Messenger
from nightspot.lambdas.start_run import StartDependencies
from nightspot.local.stage.emulated_aws import REGION, TABLE, LocalContext

NIGHT = {"job": "recommender", "scheduled_at": "2026-11-21T00:00:00Z"}
NAME = "recommender-2026-11-21T0000Z"
ARN = f"arn:aws:states:eu-west-1:123456789012:execution:nightspot:{NAME}"
NOTHING = {"found": {}, "repaired": {}, "failed": 0}


def subjects(world):
    return [each.subject for each in world.table.pending.all()]


class TestAStart:
    @pytest.fixture
    def start(self, world):
        use = StartDependencies(world.use.starter, world.table.pending, lambda: world.now)
        return lambda: start_run.handler(dict(NIGHT), LocalContext("StartRun"), use=use)

    @pytest.fixture
    def waiting(self, world, start, aws_fault):
        """A start that Step Functions could not take; it still takes none."""
        world.step_functions.start_refusal = aws_fault("ThrottlingException")
        assert start() == {"pending": True}

    def test_that_cannot_be_taken_is_kept(self, world, waiting):
        (kept,) = world.table.pending.all()
        assert (kept.subject, json.loads(kept.event)) == (f"START#{NAME}", NIGHT)

    def test_is_started_by_the_reconciler_with_the_same_name_and_input(self, world, waiting, metrics):
        metrics()
        found = {"found": {"start_pending": 1}, "repaired": {}, "failed": 0}
        assert world.reconcile() == found
        world.step_functions.start_refusal = None
        assert world.reconcile() == {**found, "repaired": {"start_pending": 1}}
        assert world.step_functions.started == {ARN: {**NIGHT, "requested_by": "schedule"}}
        assert world.reconcile() == NOTHING
        assert metrics() == {}  # a few minutes: nothing that a person must hear of

    def test_that_somebody_else_has_started_is_not_started_again(self, world, waiting, start):
        world.step_functions.start_refusal = None
        assert start()["is_new"]
        assert world.reconcile()["repaired"] == {"start_pending": 1}
        assert (list(world.step_functions.started), subjects(world)) == ([ARN], [])

    def test_rings_when_it_waits_for_long(self, world, waiting, metrics):
        metrics()
        world.pass_time(minutes=15)
        assert world.reconcile() == {"found": {"delivery_overdue": 1}, "repaired": {}, "failed": 0}
        assert metrics()["Reconciled"] == [1]
        assert subjects(world) == [f"START#{NAME}"]

    def test_is_given_up_after_a_day_and_rings(self, world, waiting, metrics):
        metrics()
        world.pass_time(days=1)
        world.step_functions.start_refusal = None
        gone = {"delivery_given_up": 1}
        assert world.reconcile() == {"found": gone, "repaired": gone, "failed": 0}
        assert metrics()["Reconciled"] == [1]
        assert (world.step_functions.started, subjects(world)) == ({}, [])

    @pytest.mark.parametrize("code", ["AccessDeniedException", "StateMachineDoesNotExist"])
    def test_that_is_refused_rings_and_waits_for_whoever_puts_it_right(
        self, world, waiting, aws_fault, metrics, code
    ):
        metrics()
        world.step_functions.start_refusal = aws_fault(code)
        assert world.reconcile()["failed"] == 1
        assert metrics()["Reconciled"] == [1]
        world.step_functions.start_refusal = None
        assert world.reconcile()["repaired"] == {"start_pending": 1}
        assert (list(world.step_functions.started), subjects(world)) == ([ARN], [])

    def test_whose_name_has_another_input_is_given_up_and_rings(self, world, waiting):
        world.step_functions.start_refusal = None
        world.step_functions.started[ARN] = {"job": "another"}
        assert world.reconcile()["failed"] == 1
        assert (list(world.step_functions.started), subjects(world)) == ([ARN], [])

    @pytest.mark.parametrize("event", ["", "{", "[]", '{"job": "recommender"}'])
    def test_that_cannot_be_read_keeps_no_other_from_its_start(self, world, waiting, event):
        world.table.pending.keep(Delivery.START, "a", event, world.now)
        world.step_functions.start_refusal = None
        answer = world.reconcile()
        assert (answer["repaired"], answer["failed"]) == ({"start_pending": 1}, 1)
        assert (list(world.step_functions.started), subjects(world)) == ([ARN], [])

    def test_that_the_table_does_not_keep_either_comes_back(self, world, start, aws_fault, monkeypatch):
        world.step_functions.start_refusal = aws_fault("ThrottlingException")
        monkeypatch.setattr(world.table.pending, "keep", lambda *_: False)
        with pytest.raises(TransientAwsError):
            start()


class Sns:
    """Publishes, unless a test has it refuse."""

    def __init__(self) -> None:
        self.refusal: Exception | None = None
        self.sent: list[str] = []

    def publish(self, **given):
        if self.refusal is not None:
            raise self.refusal
        self.sent.append(given["Subject"])
        return {"MessageId": "1"}


class TestANotice:
    @pytest.fixture
    def sns(self):
        return Sns()

    @pytest.fixture
    def tell(self, world, sns):
        """tell() -> Notify's answer to the last event on the bus."""
        topics = NoticeTopics(
            sns, boto3.client("dynamodb", region_name=REGION), TABLE, mail_arn="arn:aws:sns:::mail"
        )
        use = Messenger(topics, world.table.pending, zone=lambda _job: "UTC", now=lambda: world.now)

        def call():
            entry = world.bus.entries[-1]
            event = {
                "source": entry["Source"],
                "detail-type": entry["DetailType"],
                "resources": entry["Resources"],
                "detail": json.loads(entry["Detail"]),
            }
            return notify.handler(event, LocalContext("Notify"), use=use)

        return call

    @pytest.fixture
    def subject(self, world, night, sns, tell, aws_fault):
        """Of the notice of a stopped run that SNS could not take; it still takes none."""
        run = night.trains()
        world.step_functions.over.add(run.execution_arn)
        world.reconcile()
        night.shows(run.attempts[0].training_job_name, "Stopped", BillableTimeInSeconds=3600)
        world.reconcile()
        assert world.reconcile() == NOTHING
        assert world.bus.told == ["Nightspot Run Stopped"]
        sns.refusal = aws_fault("InternalError")
        assert tell() == {"told": [], "pending": True}
        return f"NOTICE#{run.run_id}/end"

    def test_goes_round_until_everybody_is_told(self, world, sns, tell, subject):
        first = world.bus.entries[-1]
        for _ in range(2):
            assert world.reconcile() == {"found": {"notice_pending": 1}, "repaired": {}, "failed": 0}
            assert tell() == {"told": [], "pending": True}
        assert subjects(world) == [subject]
        sns.refusal = None
        world.reconcile()
        assert tell() == {"told": ["mail"]}
        assert (len(sns.sent), subjects(world)) == (1, [])
        again = world.bus.entries[-1]
        assert json.loads(again["Detail"]) == {**json.loads(first["Detail"]), "again": True}
        assert {name: again[name] for name in ("Source", "DetailType", "Resources", "EventBusName")} == {
            name: first[name] for name in ("Source", "DetailType", "Resources", "EventBusName")
        }
        assert world.reconcile() == NOTHING

    def test_that_was_sent_after_all_is_sent_once(self, world, sns, tell, subject):
        sns.refusal = None
        assert tell() == {"told": ["mail"]}
        assert subjects(world) == [subject]  # no write on the usual way
        world.reconcile()
        assert tell() == {"told": []}
        assert (len(sns.sent), subjects(world)) == (1, [])

    def test_waits_while_eventbridge_takes_nothing(self, world, tell, subject, aws_fault):
        world.bus.refusal = aws_fault("InternalException")
        assert world.reconcile() == {"found": {"notice_pending": 1}, "repaired": {}, "failed": 0}
        assert subjects(world) == [subject]

    def test_rings_when_it_waits_for_long(self, world, subject, metrics):
        metrics()
        world.pass_time(minutes=15)
        assert world.reconcile()["found"] == {"delivery_overdue": 1}
        assert metrics()["Reconciled"] == [1]

    def test_is_given_up_after_a_day_and_rings(self, world, subject, metrics):
        metrics()
        sent = len(world.bus.entries)
        world.pass_time(days=1)
        assert world.reconcile()["repaired"]["delivery_given_up"] == 1
        assert metrics()["Reconciled"] == [1]
        assert (len(world.bus.entries), subjects(world)) == (sent, [])

    def test_that_the_table_does_not_keep_either_comes_back(
        self, world, tell, subject, aws_fault, monkeypatch
    ):
        monkeypatch.setattr(world.table.pending, "keep", lambda *_: False)
        with pytest.raises(Exception, match="InternalError"):
            tell()

    def test_that_is_kept_already_is_no_error_while_the_table_takes_nothing(
        self, world, tell, subject, monkeypatch
    ):
        world.reconcile()
        monkeypatch.setattr(world.table.pending, "keep", lambda *_: False)
        assert tell()["pending"] is True
