"""A self-test ends with a facts file and leaves nothing, whatever happens in it."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from botocore.exceptions import ClientError

from nightspot.aws.faults import TransientAwsError
from nightspot.facts.model import Verdict
from nightspot.selftest import workspace as desks
from nightspot.selftest.model import Check, Choice, Machine, NotTriedError, Part
from nightspot.selftest.permissions import LISTS
from nightspot.selftest.running import lanes, play, worst_usd


def check(id_, run=lambda _workspace, _seen: None, **more):
    return Check(id_, "?", (), (), run, **more)


def saw(**answers):
    def run(_workspace, seen):
        for name, value in answers.items():
            seen.saw(name.replace("__", "."), value, "as said")

    return run


def makes_everything(workspace, _seen):
    """Everything that a self-test can leave, and a job that waits for a machine."""
    workspace.client("sagemaker").create_training_job(**workspace.request("job"))
    workspace.made("training job", workspace.name("job"))
    workspace.caller_arn()
    workspace.queue()
    workspace.client("s3").put_object(Bucket=workspace.bucket(), Key="a/b", Body=b"1")
    workspace.client("s3").delete_object(Bucket=workspace.bucket(), Key="a/b")


def left(opened):
    """What is there still."""
    workspace = opened.workspace
    jobs = [each for each in opened.simulator.states() if not each.ended]
    return [
        *jobs,
        *(each["Name"] for each in workspace.client("s3").list_buckets()["Buckets"]),
        *(each["RoleName"] for each in workspace.client("iam").list_roles()["Roles"]),
        *workspace.client("sqs").list_queues().get("QueueUrls", ()),
        *(each["Name"] for each in workspace.client("events").list_rules()["Rules"]),
    ]


def test_each_result_stands_in_the_file_with_its_verdict(account):
    def fails(_workspace, _seen):
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no, 123456789012"}}, "TestState")

    def cannot(_workspace, _seen):
        raise NotTriedError("the emulator has no TestState")

    checks = [
        check("A1", saw(sagemaker__stop__starting__seconds=47)),
        check("A2", saw(sagemaker__stop__training__seconds=700)),
        check("A3", saw(sagemaker__refusal__role="unknown")),
        check("A4", fails),
        check("A5", cannot),
    ]

    workspace = account().workspace
    workspace.emulator = ""
    report = play(workspace, checks)

    assert {each.id: each.verdict for each in report.file.checks} == {
        "A1": Verdict.AS_DESIGNED,
        "A2": Verdict.SAFE,
        "A3": Verdict.BREAKS,
        "A4": Verdict.NOT_TRIED,
        "A5": Verdict.NOT_TRIED,
    }
    because = {each.id: each.because for each in report.file.checks}
    assert because["A4"].startswith("TestState: AccessDenied: no, ")
    assert because["A5"] == "the emulator has no TestState"
    text = report.file.model_dump_json()
    assert "123456789012" not in text
    assert {"nightspot", "botocore", "python", "image"} <= report.file.versions.keys()
    assert not report.interrupted


def test_a_fact_that_two_checks_have_seen_stands_once_with_both_answers(account):
    checks = [
        check("A1", saw(sagemaker__stop__starting__seconds=47)),
        check("A2", saw(sagemaker__stop__starting__seconds=700)),
    ]

    report = play(account().workspace, checks)

    (fact,) = report.file.facts
    assert fact.observed == (47, 700)
    assert fact.verdict is Verdict.SAFE
    assert fact.evidence == ("as said", "as said")


def test_what_was_made_is_removed_at_the_end(account):
    opened = account()

    report = play(opened.workspace, [check("A1", makes_everything)])

    assert report.file.left_behind == ()
    assert report.results[0].because == ""
    assert left(opened) == []
    assert len(opened.simulator.states()) == 1


def test_it_is_removed_when_a_check_has_a_fault_of_its_own(account):
    opened = account()

    def faulty(workspace, seen):
        makes_everything(workspace, seen)
        raise ValueError("a mistake in the check")

    with pytest.raises(ValueError, match="a mistake"):
        play(opened.workspace, [check("A1", faulty)])
    assert left(opened) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_is_removed_when_a_signal_ends_the_checks(account, number):
    opened, later = account(), []

    def interrupted(workspace, seen):
        makes_everything(workspace, seen)
        os.kill(os.getpid(), number)
        later.append("went on")

    report = play(opened.workspace, [check("A1", interrupted), check("A2", lambda *_: later.append("next"))])

    assert report.interrupted
    assert later == []
    assert left(opened) == []
    assert signal.getsignal(number) is not None


def test_it_is_removed_when_a_signal_comes_while_live_jobs_are_watched(account):
    opened, went_on = account(), threading.Event()

    def watches(workspace, seen):
        makes_everything(workspace, seen)
        os.kill(os.getpid(), signal.SIGTERM)
        while True:
            workspace.sleep(30)

    report = play(opened.workspace, [check("C1", watches), check("C2", lambda *_: went_on.set())], parallel=1)

    assert report.interrupted
    assert not went_on.is_set()
    assert left(opened) == []


def test_a_second_signal_does_not_break_off_the_removal(account, monkeypatch):
    opened, said = account(), []
    opened.workspace.say = said.append
    remove = desks._REMOVE["queue"]

    def impatient(workspace, name):
        os.kill(os.getpid(), signal.SIGINT)
        remove(workspace, name)

    monkeypatch.setitem(desks._REMOVE, "queue", impatient)

    report = play(opened.workspace, [check("A1", makes_everything)])

    assert left(opened) == []
    assert report.file.left_behind == ()
    assert "Stopping training jobs and removing what was made: please wait." in said


def test_what_cannot_be_removed_is_named_and_keeps_nothing_else(account, monkeypatch):
    opened = account()

    def refused(_workspace, _name):
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not yours"}}, "DeleteBucket")

    monkeypatch.setitem(desks._REMOVE, "bucket", refused)

    report = play(opened.workspace, [check("A1", makes_everything)])

    (said,) = report.file.left_behind
    assert said == f"bucket {opened.workspace.name('eu-west-1')}: AccessDenied: not yours"
    assert left(opened) == [opened.workspace.name("eu-west-1")]


def test_a_job_whose_creation_nobody_answered_is_stopped(account):
    """What may have been made is remembered before the call."""
    opened = account()

    def cut_off(workspace, _seen):
        request = workspace.request("lost")
        workspace.made("training job", workspace.name("lost"))
        workspace.client("sagemaker").create_training_job(**request)
        raise ConnectionError("the answer never came")

    with pytest.raises(ConnectionError):
        play(opened.workspace, [check("A1", cut_off)])
    assert left(opened) == []


def test_what_a_killed_self_test_has_left_is_found_and_removed_and_nothing_else(account, actions):
    opened = account()
    makes_everything(opened.workspace, None)
    opened.workspace.client("s3").create_bucket(
        Bucket="payroll", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    opened.workspace._made.clear()
    opened.calls.clear()

    found = opened.workspace.find_left()

    assert {kind for kind, _ in found} == {"training job", "rule", "queue", "bucket", "role"}
    assert actions(opened.calls) <= set(LISTS)
    assert opened.workspace.clean_up() == []
    assert left(opened) == ["payroll"]
    assert opened.workspace.find_left() == []


def test_the_worst_price_is_that_of_limits_and_stops():
    checks = [
        check("C1", jobs=(Machine(600), Machine(600, count=2))),
        check("B1", jobs=(Machine(1, instance_type="ml.g5.xlarge"),)),
    ]
    price = {"ml.m5.large": 0.115, "ml.g5.xlarge": 1.0}.__getitem__

    # (600 + 180) s x 3 machines x $0.115/h, and 181 s of $1.0/h
    assert worst_usd(checks, price) == pytest.approx(780 * 3 * 0.115 / 3600 + 181 / 3600)


def test_checks_that_need_one_another_stand_in_one_lane_in_order():
    checks = [check("C1"), check("C2"), check("C8", needs=("C1",)), check("C3")]

    assert [[each.id for each in lane] for lane in lanes(checks)] == [["C1", "C8"], ["C2"], ["C3"]]


def test_checks_of_the_deployed_stack_stand_in_one_lane_for_its_job_has_one_run_at_a_time():
    checks = [check("C1"), check("C13", needs_stack=True), check("C2"), check("C15", needs_stack=True)]

    assert [[each.id for each in lane] for lane in lanes(checks)] == [["C1"], ["C13", "C15"], ["C2"]]


def test_a_service_that_answers_no_more_ends_one_check_and_not_the_self_test(account):
    def throttled(_workspace, _seen):
        raise TransientAwsError("ThrottlingException")

    report = play(account().workspace, [check("A1", throttled), check("A2")])

    assert [each.because for each in report.file.checks] == ["TransientAwsError: ThrottlingException", ""]


@pytest.mark.parametrize(
    ("choice", "ids"),
    [
        (Choice(), ["A1", "B1", "C1", "C8", "B13"]),
        (Choice(parts=frozenset({Part.A})), ["A1"]),
        (Choice(only=frozenset({"C8"})), ["C1", "C8"]),
        (Choice(options=frozenset({"kms"})), ["A1", "B1", "C1", "C8", "C18", "B13"]),
        (Choice(has_stack=True), ["A1", "A8", "B1", "C1", "C8", "B13"]),
        (Choice(only=frozenset({"C18"})), ["C18"]),
    ],
    ids=["all", "a part", "with what it needs", "an option", "a stack", "by name"],
)
def test_which_checks_are_chosen(choice, ids):
    checks = [
        check("A1"),
        check("A8", needs_stack=True),
        check("B1"),
        check("B13", last=True),
        check("C1"),
        check("C8", needs=("C1",)),
        check("C18", opt_in="kms"),
    ]

    assert [each.id for each in choice.of(checks)] == ids


def test_a_check_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"Z9: must be one of A1"):
        Choice(only=frozenset({"Z9"})).of([check("A1")])


def test_what_an_emulator_does_otherwise_is_no_news_of_aws(account):
    report = play(account().workspace, [check("A3", saw(sagemaker__refusal__role="unknown"))])

    (only,) = report.file.checks
    assert only.verdict is Verdict.NOT_TRIED
    assert only.because.startswith("the simulated SageMaker differs: ")
    assert report.file.facts == ()
