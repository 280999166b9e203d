"""What the ledger sees of DescribeTrainingJob's answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from botocore.stub import Stubber

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.training_jobs import MOST_PAGES, TrainingJobs, view_of
from nightspot.decide.audit import ListedJob
from nightspot.decide.ledger import Transition

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
NAME = "nightspot-recommender-20261121-abc123-1"


def at(minutes: float) -> datetime:
    return MIDNIGHT + timedelta(minutes=minutes)


def transition(status: str, start: float, end: float | None = None) -> dict:
    entry = {"Status": status, "StartTime": at(start), "StatusMessage": "prose"}
    return entry if end is None else {**entry, "EndTime": at(end)}


def description(**fields) -> dict:
    return {
        "TrainingJobName": NAME,
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Starting",
        **fields,
    }


@pytest.fixture
def stubbed():
    """SageMaker's real client, which holds our calls and answers against AWS's model."""
    client = boto3.client(
        "sagemaker", region_name="eu-west-1", aws_access_key_id="testing", aws_secret_access_key="testing"
    )
    with Stubber(client) as stubber:
        yield TrainingJobs(client), stubber


# Required by the model, of no interest here.
MODEL_NEEDS = {
    "TrainingJobArn": f"arn:aws:sagemaker:eu-west-1:123456789012:training-job/{NAME}",
    "ModelArtifacts": {"S3ModelArtifacts": "s3://models/model.tar.gz"},
    "AlgorithmSpecification": {"TrainingInputMode": "File"},
    "ResourceConfig": {"VolumeSizeInGB": 10},
    "StoppingCondition": {},
    "CreationTime": MIDNIGHT,
}


def test_a_completed_job_is_seen_with_its_times_its_money_and_its_model(stubbed):
    jobs, stubber = stubbed
    answer = description(
        TrainingJobStatus="Completed",
        SecondaryStatus="Completed",
        SecondaryStatusTransitions=[transition("Starting", 0, 5), transition("Training", 5, 60)],
        TrainingTimeInSeconds=3300,
        BillableTimeInSeconds=990,
        TrainingEndTime=at(62),
    )
    stubber.add_response("describe_training_job", {**MODEL_NEEDS, **answer}, {"TrainingJobName": NAME})
    view = jobs.describe(NAME)
    assert (view.training_job_name, view.status, view.secondary_status) == (NAME, "Completed", "Completed")
    assert view.transitions == (
        Transition("Starting", at(0), at(5)),
        Transition("Training", at(5), at(60)),
    )
    assert (view.training_seconds, view.billable_seconds) == (3300, 990)
    assert view.model_artifact == "s3://models/model.tar.gz"
    assert view.ended_at == at(62)


def test_what_sagemaker_leaves_out_stays_unknown():
    view = view_of({"TrainingJobName": NAME, "TrainingJobStatus": "InProgress"})
    assert view.secondary_status == ""
    assert view.transitions == ()
    unknown = (
        view.failure_reason,
        view.training_seconds,
        view.billable_seconds,
        view.ended_at,
        view.model_artifact,
    )
    assert unknown == (None,) * 5


def test_a_status_that_nobody_knows_is_passed_on():
    view = view_of(description(TrainingJobStatus="Dreaming", SecondaryStatus="Snoring"))
    assert (view.status, view.secondary_status, view.ended_at) == ("Dreaming", "Snoring", None)


def test_the_failure_reason_is_passed_on_as_it_is():
    view = view_of(description(TrainingJobStatus="Failed", FailureReason="AlgorithmError:  CapacityError"))
    assert view.failure_reason == "AlgorithmError:  CapacityError"


def test_times_are_in_utc_whatever_zone_boto3_gives():
    dublin = MIDNIGHT.astimezone(timezone(timedelta(hours=1)))
    entry = {"Status": "Starting", "StartTime": dublin, "EndTime": dublin}
    (seen,) = view_of(description(SecondaryStatusTransitions=[entry])).transitions
    assert (seen.started_at.tzinfo, seen.ended_at.tzinfo) == (UTC, UTC)
    assert seen.started_at == MIDNIGHT


def test_a_stage_that_still_goes_on_has_no_end():
    (seen,) = view_of(description(SecondaryStatusTransitions=[transition("Training", 5)])).transitions
    assert seen.ended_at is None


@pytest.mark.parametrize(
    ("fields", "ended_at"),
    [
        pytest.param(
            {
                "TrainingJobStatus": "InProgress",
                "SecondaryStatusTransitions": [transition("Interrupted", 30, 31)],
                "TrainingEndTime": at(30),
                "LastModifiedTime": at(31),
            },
            None,
            id="in progress: not over, whatever the fields say",
        ),
        pytest.param(
            {"TrainingJobStatus": "Stopping", "SecondaryStatusTransitions": [transition("Stopping", 30)]},
            None,
            id="stopping: not over",
        ),
        pytest.param(
            {
                "TrainingJobStatus": "Stopped",
                "SecondaryStatusTransitions": [transition("Training", 5, 20), transition("Stopped", 90, 91)],
                "TrainingEndTime": at(20),
            },
            at(91),
            id="stopped while it waited again: not when it last trained",
        ),
        pytest.param(
            {
                "TrainingJobStatus": "Failed",
                "SecondaryStatusTransitions": [transition("Failed", 40)],
                "LastModifiedTime": at(99),
            },
            at(40),
            id="the last stage has no end: its start",
        ),
        pytest.param(
            {"TrainingJobStatus": "Failed", "LastModifiedTime": at(7)}, at(7), id="no stages: last modified"
        ),
        pytest.param({"TrainingJobStatus": "Failed"}, None, id="no word about it"),
        pytest.param(
            {
                "TrainingJobStatus": "Completed",
                "SecondaryStatusTransitions": [transition("Completed", 60, 61)],
            },
            at(61),
            id="completed without an end of training",
        ),
    ],
)
def test_when_a_job_was_over(fields, ended_at):
    assert view_of(description(**fields)).ended_at == ended_at


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ValidationException", "Requested resource not found."),
        ("ResourceNotFound", "Requested resource not found."),
        ("ResourceNotFoundException", ""),
    ],
)
def test_an_unknown_name_is_none(stubbed, code, message):
    jobs, stubber = stubbed
    stubber.add_client_error("describe_training_job", code, message)
    assert jobs.describe(NAME) is None


@pytest.mark.parametrize(("code", "status"), [("ThrottlingException", 400), ("Whatever", 503)])
def test_a_throttle_is_worth_repeating(stubbed, code, status):
    jobs, stubber = stubbed
    stubber.add_client_error("describe_training_job", code, "Rate exceeded", status)
    with pytest.raises(TransientAwsError, match="Rate exceeded"):
        jobs.describe(NAME)


@pytest.mark.parametrize(
    ("code", "message"),
    [("AccessDeniedException", "no"), ("ValidationException", "1 validation error detected")],
)
def test_a_refusal_is_passed_on(stubbed, code, message):
    jobs, stubber = stubbed
    stubber.add_client_error("describe_training_job", code, message)
    with pytest.raises(ClientError, match=code):
        jobs.describe(NAME)


def test_no_answer_at_all_is_worth_repeating():
    class Unplugged:
        def describe_training_job(self, *, TrainingJobName):  # noqa: N803
            raise ConnectTimeoutError(endpoint_url="https://example.org")

    with pytest.raises(TransientAwsError):
        TrainingJobs(Unplugged()).describe(NAME)


def listed(name: str, status: str = "InProgress") -> dict:
    arn = f"arn:aws:sagemaker:eu-west-1:123456789012:training-job/{name}"
    return {
        "TrainingJobName": name,
        "TrainingJobArn": arn,
        "CreationTime": MIDNIGHT,
        "TrainingJobStatus": status,
    }


def wanted(status: str, **more: str) -> dict:
    return {
        "NameContains": "nightspot-",
        "StatusEquals": status,
        "CreationTimeAfter": MIDNIGHT - timedelta(days=30),
        "SortBy": "CreationTime",
        "SortOrder": "Descending",
        **more,
    }


def test_all_that_goes_on_is_listed_page_by_page_without_what_is_no_run_s(stubbed):
    jobs, stubber = stubbed
    first, second = NAME, "nightspot-search-20261121-ffffff-12"
    others = [
        listed("nightspot-recommender-drill-261121-abcde-1"),
        listed("my-nightspot-x-20261121-abc123-1"),
    ]
    for expected, names, token in (
        (wanted("InProgress"), [listed(first), *others], "more"),
        (wanted("InProgress", NextToken="more"), [], "last"),
        (wanted("InProgress", NextToken="last"), [listed(second)], None),
        (wanted("Stopping"), [listed(first, "Stopping")], None),
    ):
        answer = {"TrainingJobSummaries": names, **({"NextToken": token} if token else {})}
        stubber.add_response("list_training_jobs", answer, expected)
    assert jobs.going_on(MIDNIGHT) == (
        ListedJob(first, "InProgress", "20261121-abc123"),
        ListedJob(second, "InProgress", "20261121-ffffff"),
        ListedJob(first, "Stopping", "20261121-abc123"),
    )
    stubber.assert_no_pending_responses()


def test_a_list_without_end_is_cut_and_said(stubbed, caplog):
    jobs, stubber = stubbed
    endless = {"TrainingJobSummaries": [], "NextToken": "more"}
    for number in range(MOST_PAGES):
        more = {"NextToken": "more"} if number else {}
        stubber.add_response("list_training_jobs", endless, wanted("InProgress", **more))
    stubber.add_response("list_training_jobs", {"TrainingJobSummaries": []}, wanted("Stopping"))
    assert jobs.going_on(MIDNIGHT) == ()
    assert "more than 50 pages" in caplog.text


@pytest.mark.parametrize(
    ("code", "error"), [("ThrottlingException", TransientAwsError), ("AccessDeniedException", ClientError)]
)
def test_a_list_that_aws_refuses_is_a_fault_or_an_error(stubbed, code, error):
    jobs, stubber = stubbed
    stubber.add_client_error("list_training_jobs", code)
    with pytest.raises(error):
        jobs.going_on(MIDNIGHT)
