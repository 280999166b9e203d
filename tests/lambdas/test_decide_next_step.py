"""The loop's decision: the world is read, one step is decided, recorded, told and counted."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ConnectTimeoutError

from nightspot.aws.table.run_table import RunTable
from nightspot.run.model import Action, run_from_json, step_from_json
from nightspot.run.reasons import Reason


@pytest.fixture
def planned(world, metrics):
    """A planned run, with what its planning said put aside."""
    run = world.plan()["run"]
    world.bus.entries.clear()
    metrics()
    return run


@pytest.fixture
def asked(world, planned, metrics):
    """A run whose first training job has been asked for."""
    answer = world.decide(planned)
    world.bus.entries.clear()
    metrics()
    return answer["run"]


def name_of(run) -> str:
    return run["attempts"][-1]["training_job_name"]


def test_the_first_step_asks_for_spot_with_a_request_that_is_ready_to_send(world, planned):
    answer = world.decide(planned)
    step = step_from_json(answer["step"])
    assert step.action is Action.START
    assert step.request["TrainingJobName"] == step.training_job_name == name_of(answer["run"])
    assert step.request["EnableManagedSpotTraining"] is True
    assert step.request["ResourceConfig"]["InstanceType"] == "ml.g5.xlarge"


def test_the_request_goes_to_the_state_machine_and_not_into_the_table(world, planned):
    answer = world.decide(planned)
    (recorded,) = world.table.steps(planned["run_id"])
    assert answer["step"]["request"] is not None
    assert recorded.request is None
    assert recorded.because == answer["step"]["because"]


def test_the_decision_is_on_record(world, planned):
    answer = world.decide(planned)
    assert world.table.run(planned["run_id"]) == run_from_json(answer["run"])


def test_the_same_event_twice_decides_the_same_and_records_it_once(world, planned):
    first = world.decide(planned)
    assert world.decide(planned) == first
    assert [step.number for step in world.table.steps(planned["run_id"])] == [1]
    ids = {detail["notice_id"] for detail in world.bus.details()}
    assert ids == {f"{planned['run_id']}/1/AttemptStarted"}


def test_an_event_that_comes_again_after_the_next_one_does_not_turn_the_record_back(world, planned, midnight):
    first = world.decide(planned)
    world.sagemaker.shows(name_of(first["run"]), "InProgress", ("Training", midnight))
    world.pass_time(hours=1)
    second = world.decide(first["run"])
    world.decide(planned)
    assert world.table.run(planned["run_id"]) == run_from_json(second["run"])


def test_what_sagemaker_shows_is_folded_into_the_ledger(world, asked, midnight):
    world.sagemaker.shows(name_of(asked), "InProgress", ("Starting", midnight), ("Training", midnight))
    world.pass_time(minutes=10)
    answer = world.decide(asked)
    assert answer["run"]["attempts"][0]["state"] == "training"
    assert answer["step"]["action"] == "watch"
    assert answer["step"]["training_job_name"] == name_of(asked)


def test_durable_progress_is_read_once_there_is_an_attempt(world, asked, midnight):
    uri = asked["checkpoint_s3_uri"]
    key = uri.removeprefix("s3://checkpoints/") + "/nightspot.json"
    document = {"step": 7, "total_steps": 10, "saved_at": midnight.isoformat()}
    world.s3.put_object(Bucket="checkpoints", Key=key, Body=json.dumps(document).encode())
    world.sagemaker.shows(name_of(asked), "InProgress", ("Training", midnight))
    world.pass_time(minutes=10)
    assert world.decide(asked)["run"]["progress"]["step"] == 7


def test_a_fault_of_the_call_before_is_classified_and_ends_the_run_where_it_is_final(world, asked):
    cause = "User: x is not authorized to perform: sagemaker:CreateTrainingJob"
    answer = world.decide(asked, {"Error": "SageMaker.AccessDeniedException", "Cause": cause})
    assert answer["run"]["attempts"][0]["failure"] == "permission"
    assert answer["step"]["action"] == "finish"
    assert answer["step"]["outcome"] == "failed"


def test_a_fault_of_the_market_is_answered_with_another_try(world, asked):
    cause = (
        "The account-level service limit 'x' is 1 Instances, with current utilization of 1 Instances and a "
        "request delta of 1 Instances."
    )
    answer = world.decide(asked, {"Error": "SageMaker.ResourceLimitExceededException", "Cause": cause})
    assert answer["run"]["attempts"][0]["failure"] == "quota_temporary"
    assert answer["step"]["action"] in {"start", "pause"}


def test_a_refused_stop_is_not_taken_for_the_end_of_the_job(world, asked, midnight):
    world.sagemaker.shows(name_of(asked), "InProgress", ("Training", midnight))
    world.pass_time(minutes=10)
    answer = world.decide(asked, {"Error": "SageMaker.SageMakerException", "Cause": "Rate exceeded"})
    assert answer["run"]["attempts"][0]["state"] == "training"


def test_each_happening_is_told_and_counted_once(world, planned, metrics, midnight):
    run = world.decide(planned)["run"]
    assert world.bus.told == ["Nightspot Attempt Started"]
    assert metrics() == {"Decision": [1], "AttemptStarted": [1]}

    reclaimed = midnight.replace(minute=30)
    statuses = (("Training", midnight), ("Interrupted", reclaimed), ("Starting", reclaimed))
    world.sagemaker.shows(name_of(run), "InProgress", *statuses)
    world.pass_time(minutes=40)
    run = world.decide(run)["run"]
    assert world.bus.told[1:] == ["Nightspot Interrupted"]
    assert metrics() == {"Decision": [1], "Interrupted": [1]}

    world.pass_time(minutes=1)
    world.decide(run)
    assert world.bus.told[2:] == []
    assert metrics() == {"Decision": [1]}


def test_falling_back_to_on_demand_is_told_with_the_reason(world, asked, metrics, midnight):
    gave_up = world.pass_time(hours=2, minutes=30)
    world.sagemaker.shows(name_of(asked), "Stopped", ("Starting", midnight), ("MaxWaitTimeExceeded", gave_up))
    answer = world.decide(asked)
    assert answer["step"]["rung"]["market"] == "on_demand"
    assert world.bus.told == ["Nightspot Attempt Started", "Nightspot Fell Back"]
    assert {detail["because"] for detail in world.bus.details()} == {answer["step"]["because"]}
    assert {detail["reason"] for detail in world.bus.details()} == {"last_safe_moment"}
    assert metrics() == {"Decision": [1], "AttemptStarted": [1], "FellBack": [1]}
    assert world.table.history("recommender")[0].fell_back_reason == "last_safe_moment"


def test_the_reason_and_its_figures_are_logged_and_on_record(world, planned, caplog):
    answer = world.decide(planned)
    (line,) = [record for record in caplog.records if record.message == answer["step"]["because"]]
    (recorded,) = world.table.steps(planned["run_id"])
    assert (line.reason, recorded.reason) == ("wait_for_spot", Reason.WAIT_FOR_SPOT)
    assert line.figures == recorded.figures == answer["step"]["figures"]


@pytest.mark.parametrize("refusal", ["ThrottlingException", "AccessDeniedException", None])
def test_a_notice_that_cannot_be_sent_does_not_stop_the_decision(world, planned, metrics, aws_fault, refusal):
    unreachable = ConnectTimeoutError(endpoint_url="https://example.org")
    world.bus.refusal = aws_fault(refusal) if refusal else unreachable
    answer = world.decide(planned)
    assert answer["step"]["action"] == "start"
    assert world.table.run(planned["run_id"]).steps == 1
    assert metrics() == {"Decision": [1], "AttemptStarted": [1], "NoticeLost": [1]}


def test_what_aws_says_of_a_lost_notice_is_redacted_in_the_log(world, planned, aws_fault, caplog):
    said = "User: arn:aws:iam::123456789012:user/jo is not authorized\x1b[2J"
    world.bus.refusal = aws_fault("AccessDeniedException", said)
    world.decide(planned)
    (line,) = [record for record in caplog.records if record.message == "notice lost"]
    assert "arn:aws:iam::<account>:user/jo is not authorized" in line.error
    assert not any(secret in line.error for secret in ("123456789012", "\x1b"))


GONE = ["ThrottlingException", "InternalServerError", "AccessDeniedException", "no answer"]


@pytest.fixture(params=GONE)
def away(request, aws_fault):
    """What boto3 raises while a service is away, or not to be used."""
    unreachable = ConnectTimeoutError(endpoint_url="https://example.org")
    return unreachable if request.param == "no answer" else aws_fault(request.param, "not now")


def test_a_decision_needs_no_answer_of_sagemaker(world, asked, metrics, away):
    world.sagemaker.refusal = away
    answer = world.decide(asked)
    assert (answer["step"]["action"], answer["step"]["wait_seconds"]) == ("watch", 60)
    assert answer["step"]["because"].startswith("SageMaker has not answered since 00:00 UTC.")
    assert answer["run"]["attempts"][0]["state"] == "asked"
    assert metrics()["DecidedWithout"] == [1]
    world.pass_time(hours=2, minutes=14)
    world.sagemaker.refusal = away
    waiting = {**answer["run"], "attempts": [{**answer["run"]["attempts"][0], "state": "waiting"}]}
    assert world.decide(waiting)["step"]["action"] == "stop"


def test_a_decision_needs_no_answer_of_s3_and_keeps_the_progress_that_is_known(world, asked, midnight, away):
    saved = {"step": 7, "total_steps": 10, "saved_at": midnight.isoformat()}

    class S3:
        def list_objects_v2(self, **_arguments):
            raise away

        get_object = list_objects_v2

    known = {**asked, "progress": saved}
    world.sagemaker.shows(name_of(asked), "InProgress", ("Training", midnight))
    world.s3 = S3()
    world.pass_time(minutes=10)
    answer = world.decide(known)
    assert answer["step"]["action"] == "watch"
    assert answer["run"]["progress"]["step"] == 7


@pytest.mark.parametrize(
    "code", ["AccessDenied", "KMS.DisabledException", "KMS.NotFoundException", "NoSuchBucket"]
)
def test_progress_that_may_not_be_read_stops_no_decision(world, asked, metrics, midnight, aws_fault, code):
    class Locked:
        def get_object(self, **_key):
            raise aws_fault(code, "no")

        def list_objects_v2(self, **_prefix):
            raise aws_fault(code, "no")

    world.sagemaker.shows(name_of(asked), "InProgress", ("Training", midnight))
    world.s3 = Locked()
    world.pass_time(minutes=10)
    answer = world.decide(asked)
    assert (answer["step"]["action"], answer["run"]["progress"]) == ("watch", None)
    assert metrics()["DecidedWithout"] == [1]


def test_people_hear_once_for_each_run_that_its_progress_may_not_be_read(
    world, asked, metrics, midnight, aws_fault
):
    why = "User: arn:aws:sts::123456789012:assumed-role/Decide/x is not authorized to perform: kms:Decrypt"

    class Locked:
        def list_objects_v2(self, *, Prefix, **_page):  # noqa: N803
            return {"Contents": [{"Key": f"{Prefix.removesuffix('.json')}.json"}]}

        def get_object(self, **_key):
            raise aws_fault("AccessDenied", why)

    world.sagemaker.shows(name_of(asked), "InProgress", ("Training", midnight))
    readable, world.s3 = world.s3, Locked()
    world.pass_time(minutes=10)
    first = world.decide(asked)["run"]
    assert metrics()["ProgressUnreadable"] == [1]
    (notice,) = [each for each in world.bus.entries if each["DetailType"] == "Nightspot Progress Unreadable"]
    told = json.loads(notice["Detail"])["progress_unreadable"]
    assert "assumed-role/Decide" in told
    assert "kms:Decrypt" in told
    assert "123456789012" not in told

    world.pass_time(minutes=10)
    second = world.decide(first)["run"]
    world.s3 = readable
    world.pass_time(minutes=10)
    third = world.decide(second)["run"]
    assert third["progress_unreadable"] == first["progress_unreadable"] == told
    again = [each for each in world.bus.entries if each["DetailType"] == "Nightspot Progress Unreadable"]
    assert len(again) == 1


@pytest.fixture
def table_away(world, away, monkeypatch):
    """table_away(True): no call of the table is answered."""

    def switch(is_away):
        def refuse(*_arguments, **_named):
            raise away

        for operation in ("put_item", "get_item", "update_item", "delete_item"):
            if is_away:
                monkeypatch.setattr(world.dynamodb, operation, refuse)
        if not is_away:
            monkeypatch.undo()

    return switch


def test_a_decision_needs_no_answer_of_the_table_and_is_written_with_a_later_one(
    world, planned, midnight, table_away
):
    run_id = planned["run_id"]
    table_away(True)
    first = world.decide(planned)
    assert first["step"]["action"] == "start"
    name = name_of(first["run"])
    world.sagemaker.shows(name, "Failed", ("Starting", midnight), ("Failed", midnight))
    world.sagemaker.jobs[name]["FailureReason"] = "CapacityError: none"
    second = world.decide(first["run"])
    assert [step["number"] for step in second["run"]["unwritten"]] == [1, 2]
    table_away(False)
    assert world.table.steps(run_id) == []

    world.pass_time(minutes=5)
    third = world.decide(second["run"])
    assert third["run"]["unwritten"] == []
    assert [step.number for step in world.table.steps(run_id)] == [1, 2, 3]
    assert world.table.run(run_id) == run_from_json(third["run"])
    # The first attempt ended while nothing could be written.
    assert list(world.table.phases(run_id)) == [1]


def test_what_cannot_be_written_for_long_never_outgrows_the_state_machine(world, planned, table_away):
    table_away(True)
    run, lost = world.decide(planned)["run"], 0
    run["unwritten"] = [{**run["unwritten"][0], "because": "x" * 1000, "number": n} for n in range(200)]
    after = world.decide(run)["run"]
    assert len(json.dumps(after)) < 230_000
    assert after["unwritten"][-1]["number"] == 2
    assert after["unwritten"][0]["number"] > lost


def test_a_completed_job_finishes_the_run(world, asked, midnight):
    world.sagemaker.shows(
        name_of(asked),
        "Completed",
        ("Training", midnight),
        ("Completed", midnight.replace(hour=4)),
        ModelArtifacts={"S3ModelArtifacts": "s3://models/model.tar.gz"},
    )
    world.pass_time(hours=5)
    answer = world.decide(asked)
    assert (answer["step"]["action"], answer["run"]["outcome"]) == ("finish", "succeeded")
    assert answer["run"]["attempts"][0]["model_artifact"] == "s3://models/model.tar.gz"


@pytest.fixture
def wished(world, asked, midnight):
    """A run that trains, and that a person wants ended."""
    world.table.ask_to_stop(asked["run_id"], "nightspot stop")
    world.sagemaker.shows(name_of(asked), "InProgress", ("Starting", midnight), ("Training", midnight))
    return asked


def test_a_wish_to_stop_is_read_with_the_next_decision(world, wished):
    answer = world.decide(wished)
    assert answer["step"]["action"] == "stop"
    assert answer["step"]["because"] == "The run was asked to stop (nightspot stop)."
    assert world.table.run(wished["run_id"]).stop_asked_by == "nightspot stop"


def test_a_wish_is_kept_in_the_ledger_and_not_read_again(world, wished, midnight, monkeypatch):
    answer = world.decide(wished)
    monkeypatch.delattr(RunTable, "stop_asked_by")
    world.sagemaker.shows(name_of(wished), "Stopped", ("Training", midnight), ("Stopping", midnight))
    world.pass_time(minutes=3)
    over = world.decide(answer["run"])
    assert (over["step"]["action"], over["run"]["outcome"]) == ("finish", "stopped")


def test_a_wish_comes_too_late_for_a_training_job_that_has_completed(world, wished, midnight):
    world.sagemaker.shows(name_of(wished), "Completed", ("Training", midnight), ("Completed", midnight))
    assert world.decide(wished)["run"]["outcome"] == "succeeded"


def test_a_wish_for_another_run_stops_nothing(world, planned):
    world.table.ask_to_stop("20261121-ffffff", "nightspot stop")
    assert world.decide(planned)["step"]["action"] == "start"
