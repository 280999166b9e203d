"""A job file out of a request or of a described job: what stays, what goes, and what is said about it."""

import copy

import pytest
import yaml
from botocore.loaders import Loader
from botocore.model import ServiceModel
from hypothesis import given
from hypothesis import strategies as st

from nightspot.formats.figures import parse_duration
from nightspot.job.errors import InvalidJobError
from nightspot.job.from_request import (
    ANSWER_FIELDS,
    COMMENTS,
    REQUEST_FIELDS,
    DraftedJob,
    Wishes,
    draft_job,
    job_file_text,
    name_of,
    time_scale_of,
)
from nightspot.job.reading import parse_job

REQUEST = {
    "TrainingJobName": "recommender-2026-11-20-03-12-45-123",
    "RoleArn": "arn:aws:iam::123456789012:role/training",
    "AlgorithmSpecification": {"TrainingImage": "training:latest", "TrainingInputMode": "File"},
    "HyperParameters": {"epochs": "3", "when": "18:30", "empty": ""},
    "OutputDataConfig": {"S3OutputPath": "s3://models/nightly/", "KmsKeyId": ""},
    "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 50},
    "StoppingCondition": {"MaxRuntimeInSeconds": 21600, "MaxWaitTimeInSeconds": 43200},
    "CheckpointConfig": {"S3Uri": "s3://checkpoints/fixed/"},
    "EnableManagedSpotTraining": True,
}
DESCRIBED = {
    **REQUEST,
    "TrainingJobArn": "arn:aws:sagemaker:eu-west-1:123456789012:training-job/x",
    "TrainingJobStatus": "Completed",
    "SecondaryStatus": "Completed",
    "SecondaryStatusTransitions": [{"Status": "Training", "StartTime": "2026-11-20T03:12:45+00:00"}],
    "CreationTime": "2026-11-20T03:12:45+00:00",
    "ModelArtifacts": {"S3ModelArtifacts": "s3://models/nightly/x/model.tar.gz"},
    "TrainingTimeInSeconds": 11520,
    "BillableTimeInSeconds": 3720,
    "InputDataConfig": [],
    "FinalMetricDataList": [{"MetricName": "loss", "Value": 0.1, "Timestamp": 1.0}],
    "ResponseMetadata": {"HTTPStatusCode": 200},
}


def drafted(given, /, *, without=(), changes=None, **wishes):
    request = {key: value for key, value in copy.deepcopy(given).items() if key not in without}
    request.update(changes or {})
    return draft_job(request, Wishes(**wishes))


def noted(draft):
    return {note.field.removeprefix("training_job."): note.rule for note in draft.notes}


def problems_of(given, **wishes):
    with pytest.raises(InvalidJobError) as caught:
        draft_job(given, Wishes(**wishes))
    return [str(found) for found in caught.value.problems]


@pytest.mark.parametrize("given", [REQUEST, DESCRIBED])
def test_the_draft_is_a_job_that_passes_every_rule(given):
    job = parse_job(job_file_text(drafted(given)))
    assert job.name == "recommender"
    assert [rung.instance_type for rung in job.capacity.spot] == ["ml.g5.xlarge"]
    assert job.capacity.on_demand == job.capacity.spot
    assert job.instance_count == 2


def test_the_request_is_kept_less_what_nightspot_sets():
    request = drafted(DESCRIBED).document["training_job"]
    assert request == {
        "RoleArn": REQUEST["RoleArn"],
        "AlgorithmSpecification": REQUEST["AlgorithmSpecification"],
        "HyperParameters": REQUEST["HyperParameters"],
        "OutputDataConfig": {"S3OutputPath": "s3://models/nightly/"},
        "ResourceConfig": {"InstanceCount": 2, "VolumeSizeInGB": 50},
        "StoppingCondition": {"MaxRuntimeInSeconds": 21600},
        "CheckpointConfig": REQUEST["CheckpointConfig"],
    }


def test_what_was_given_is_not_changed():
    before = copy.deepcopy(DESCRIBED)
    draft_job(DESCRIBED)
    assert before == DESCRIBED


def test_the_tables_are_botocores_own():
    service = ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")
    asked = set(service.operation_model("CreateTrainingJob").input_shape.members)
    answered = set(service.operation_model("DescribeTrainingJob").output_shape.members)
    assert asked == REQUEST_FIELDS
    assert answered - asked == ANSWER_FIELDS


def test_a_field_of_a_newer_answer_is_left_out_with_a_word():
    draft = drafted(DESCRIBED, changes={"MoonPhase": "full"})
    assert "MoonPhase" not in draft.document["training_job"]
    assert noted(draft)["MoonPhase"].startswith("was left out: it is not a field")


def test_a_field_that_a_request_cannot_have_is_for_the_rules_to_refuse():
    text = job_file_text(drafted(REQUEST, changes={"RoleARN": "x"}))
    with pytest.raises(InvalidJobError) as caught:
        parse_job(text)
    assert [found.field for found in caught.value.problems] == ["training_job.RoleARN"]


def test_what_the_sdk_exports_of_an_estimator_is_a_request_and_uploads_that_are_left_to_the_author():
    upload = {"Path": ".", "Bucket": "code", "Key": "source.tar.gz", "Tar": True}
    drafted = draft_job({**REQUEST, "S3Operations": {"S3Upload": [upload]}})
    assert drafted.document == draft_job(REQUEST).document
    (note,) = [note for note in drafted.notes if note.field == "S3Operations"]
    assert "upload the code there yourself" in note.rule


def test_a_fixed_checkpoint_prefix_has_a_word():
    rule = noted(drafted(REQUEST))["CheckpointConfig.S3Uri"]
    assert rule.startswith("each run gets a prefix of its own below it")
    assert drafted(REQUEST).document["interruptible"] == "from_checkpoint"


def test_a_job_without_checkpoints_starts_over_and_says_so():
    draft = drafted(REQUEST, without=["CheckpointConfig"])
    assert draft.document["interruptible"] == "from_start"
    assert "starts over" in noted(draft)["CheckpointConfig.S3Uri"]
    parse_job(job_file_text(draft))


def test_the_wait_limit_and_a_warm_pool_go_with_a_word():
    resources = {**REQUEST["ResourceConfig"], "KeepAlivePeriodInSeconds": 600}
    draft = drafted(REQUEST, changes={"ResourceConfig": resources})
    assert "the deadline decides" in noted(draft)["StoppingCondition.MaxWaitTimeInSeconds"]
    assert "warm pools exclude" in noted(draft)["ResourceConfig.KeepAlivePeriodInSeconds"]
    assert "KeepAlivePeriodInSeconds" not in draft.document["training_job"]["ResourceConfig"]


@pytest.mark.parametrize(
    ("wait", "checkpoints", "stays"), [(3600, False, True), (3601, False, False), (3600, True, False)]
)
def test_a_wait_limit_that_a_built_in_algorithm_may_need_stays(wait, checkpoints, stays):
    # SageMaker takes no longer one of an algorithm that does not checkpoint.
    limits = {"MaxRuntimeInSeconds": 3000, "MaxWaitTimeInSeconds": wait}
    draft = drafted(
        REQUEST, changes={"StoppingCondition": limits}, without=[] if checkpoints else ["CheckpointConfig"]
    )
    assert ("MaxWaitTimeInSeconds" in draft.document["training_job"]["StoppingCondition"]) is stays
    assert ("StoppingCondition.MaxWaitTimeInSeconds" in noted(draft)) is not stays
    parse_job(job_file_text(draft))


def test_preferred_types_become_the_ladder_in_their_order():
    preferred = [{"InstanceType": "ml.g5.xlarge"}, {"InstanceType": "ml.g4dn.xlarge"}]
    draft = drafted(REQUEST, changes={"ResourceConfig": {"InstancePreferences": preferred}})
    assert draft.document["capacity"]["spot"] == ["ml.g5.xlarge", "ml.g4dn.xlarge"]
    assert "speed" in noted(draft)["ResourceConfig.InstancePreferences"]
    parse_job(job_file_text(draft))


def test_the_sdks_own_hyperparameters_do_not_tie_the_job_to_the_one_described():
    parameters = {"sagemaker_job_name": '"x"', "sagemaker_submit_directory": '"s3://code/x"', "epochs": "3"}
    draft = drafted(DESCRIBED, changes={"HyperParameters": parameters})
    assert "sagemaker_job_name" not in draft.document["training_job"]["HyperParameters"]
    assert "HyperParameters.sagemaker_submit_directory" in noted(draft)


def test_a_job_that_nightspot_started_loses_nightspots_marks():
    draft = drafted(
        DESCRIBED,
        changes={
            "TrainingJobName": "nightspot-recommender-20261121-abc123-2",
            "Environment": {
                "NIGHTSPOT_RUN_ID": "20261121-abc123",
                "NIGHTSPOT_ATTEMPT": "2",
                "WANDB_RUN_ID": "20261121-abc123",
                "WANDB_RESUME": "allow",
                "MLFLOW_RUN_CONTEXT": "{}",
            },
            "CheckpointConfig": {"S3Uri": "s3://checkpoints/nightly/20261121-abc123"},
            "Tags": [{"Key": "nightspot:job", "Value": "x"}, {"Key": "team", "Value": "a"}],
        },
    )
    request = draft.document["training_job"]
    assert draft.document["name"] == "recommender"
    assert request["CheckpointConfig"]["S3Uri"] == "s3://checkpoints/nightly/"
    assert request["Tags"] == [{"Key": "team", "Value": "a"}]
    assert "Environment" not in request
    parse_job(job_file_text(draft))


def test_variables_are_copied_with_a_word_that_shows_none_of_them():
    draft = drafted(REQUEST, changes={"Environment": {"TOKEN": "s3cret"}})
    assert draft.document["training_job"]["Environment"] == {"TOKEN": "s3cret"}
    assert "secret" in noted(draft)["Environment"]
    assert "s3cret" not in " ".join(str(note) for note in draft.notes)


@pytest.mark.parametrize(
    ("changes", "work"),
    [
        ({}, "3h15min"),  # 3 h 12 min of training, rounded up
        # Never beyond the job's own limit.
        (
            {"TrainingTimeInSeconds": 21500, "StoppingCondition": {"MaxRuntimeInSeconds": 21540}},
            "5h59min",
        ),
        ({"TrainingJobStatus": "Failed"}, "4h"),  # two thirds of the limit: this job has not done the work
        ({"TrainingTimeInSeconds": None}, "4h"),
    ],
)
def test_the_work_is_what_a_completed_job_took_else_a_part_of_its_limit(changes, work):
    assert drafted(DESCRIBED, changes=changes).document["work"] == work


def test_the_work_can_be_said():
    assert drafted(DESCRIBED, work="2h").document["work"] == "2h"


def test_the_file_tells_what_the_described_job_trained_and_billed():
    assert "# The described job completed: it trained 3 h 12 min and was billed 1 h 2 min." in job_file_text(
        drafted(DESCRIBED)
    )


def test_without_a_deadline_there_is_time_to_train_twice():
    # Twice 3 h 15 min, and change-overs of 10 and 15 minutes.
    assert drafted(DESCRIBED).document["deadline"] == {"within": "7h"}


@pytest.mark.parametrize(
    ("deadline", "document"),
    [("08:00", {"at": "08:00", "timezone": "Europe/Dublin"}), ("8h", {"within": "8h"})],
)
def test_a_deadline_is_a_time_or_a_duration(deadline, document):
    draft = drafted(REQUEST, deadline=deadline, timezone="Europe/Dublin", schedule="02:30")
    assert draft.document["deadline"] == document


@pytest.mark.parametrize(
    ("schedule", "document"),
    [
        ("02:30", {"cron": "30 2 * * ? *", "timezone": "UTC"}),
        ("cron(0 0 ? * MON-FRI *)", {"cron": "cron(0 0 ? * MON-FRI *)", "timezone": "UTC"}),
        ("0 0 * * ? *", {"cron": "0 0 * * ? *", "timezone": "UTC"}),
        ("12 hours", {"rate": "12 hours", "timezone": "UTC"}),
        ("rate(1 day)", {"rate": "rate(1 day)", "timezone": "UTC"}),
    ],
)
def test_a_schedule_is_a_time_of_day_a_cron_or_a_rate(schedule, document):
    draft = drafted(REQUEST, schedule=schedule)
    assert draft.document["schedule"] == document
    parse_job(job_file_text(draft))


def test_a_command_trains_here_and_its_work_passes_in_half_a_minute():
    draft = drafted(REQUEST, command=("python", "train.py"), work="4h")
    assert draft.document["local"] == {"command": ["python", "train.py"], "time_scale": 480}
    assert time_scale_of("10s") == 1


def test_without_on_demand_a_night_is_skipped():
    draft = drafted(REQUEST, on_demand=False)
    assert draft.document["capacity"] == {"spot": ["ml.g5.xlarge"]}
    assert draft.document["fallback"] == "never"
    parse_job(job_file_text(draft))


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("recommender", "recommender"),
        ("Team_Recommender.V2", "team-recommender-v2"),
        ("pytorch-training-2026-11-20-03-12-45-123", "pytorch-training"),
        ("nightspot-recommender-20261121-abc123-12", "recommender"),
        ("x" * 31 + "-y", "x" * 31),
        ("--", ""),
        (7, ""),
    ],
)
def test_a_name_is_made_of_the_training_jobs(name, plain):
    assert name_of(name) == plain


@pytest.mark.parametrize("given", [None, [], "text", {}, {"TrainingJobSummaries": []}])
def test_what_is_no_training_job_is_refused(given):
    (problem,) = problems_of(given)
    assert problem.startswith("(file): ")
    assert problem.endswith("must be a CreateTrainingJob request, or what DescribeTrainingJob answers")


def test_everything_that_is_missing_is_said_at_once():
    fields = [line.partition(": ")[0] for line in problems_of({"RoleArn": "x"})]
    assert fields == ["name", "training_job.ResourceConfig.InstanceType", "work"]


def test_a_zone_without_a_time_is_refused():
    (problem,) = problems_of(REQUEST, timezone="Europe/Dublin", deadline="8h")
    assert problem.startswith("timezone: 'Europe/Dublin': means nothing here")


def test_every_key_of_a_draft_has_a_comment():
    draft = drafted(REQUEST, schedule="02:30", command=("python",))
    assert draft.document.keys() == COMMENTS.keys()


texts = st.text(max_size=20)


@given(st.dictionaries(texts.filter(bool), texts, max_size=4))
def test_the_text_reads_as_the_document_whatever_the_values(parameters):
    document = {
        **drafted(REQUEST).document,
        "training_job": {"HyperParameters": parameters, "Tags": [{"Key": "a"}]},
    }
    assert yaml.safe_load(job_file_text(DraftedJob(document))) == document


@given(st.integers(1, 10**6))
def test_a_guessed_work_is_said_to_the_second_and_fits_its_limit(limit):
    draft = drafted(REQUEST, changes={"StoppingCondition": {"MaxRuntimeInSeconds": limit}})
    assert parse_duration(draft.document["work"]) == max(1, int(limit / 1.5))
