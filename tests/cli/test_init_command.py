"""`nightspot init`: a job file by asking, from a request, and from a described training job."""

import json
import shlex
import sys

import pytest
import yaml

from nightspot.cli import app, new
from nightspot.cli import init as init_module
from nightspot.cli.init import (
    ask,
    broken_checkpoints,
    broken_command,
    broken_data,
    broken_deadline,
    broken_schedule,
    broken_types,
)
from nightspot.job.cautions import warnings_for
from nightspot.job.from_request import Wishes, draft_job, job_file_text
from nightspot.job.reading import load_job, parse_job

DESCRIBED = {
    "TrainingJobName": "recommender-2026-11-20-03-12-45-123",
    "TrainingJobArn": "arn:aws:sagemaker:eu-west-1:123456789012:training-job/recommender",
    "TrainingJobStatus": "Completed",
    "SecondaryStatus": "Completed",
    "SecondaryStatusTransitions": [{"Status": "Completed", "StartTime": "2026-11-20T03:12:45+00:00"}],
    "RoleArn": "arn:aws:iam::123456789012:role/training",
    "AlgorithmSpecification": {"TrainingImage": "training:latest", "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://models/nightly/", "KmsKeyId": ""},
    "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
    "StoppingCondition": {"MaxRuntimeInSeconds": 21600, "MaxWaitTimeInSeconds": 43200},
    "CheckpointConfig": {"S3Uri": "s3://checkpoints/fixed/"},
    "EnableManagedSpotTraining": True,
    "TrainingTimeInSeconds": 11520,
    "BillableTimeInSeconds": 3720,
}


@pytest.fixture
def nightspot(nightspot, monkeypatch):
    """The whole command line, with the two commands of this file also where it does not name them yet."""
    monkeypatch.setattr(app, "registered_commands", list(app.registered_commands))
    known = {command.callback for command in app.registered_commands}
    for command in {init_module.init, new.schema} - known:
        app.command()(command)
    return nightspot


@pytest.fixture
def described(tmp_path):
    path = tmp_path / "described.json"
    path.write_text(json.dumps(DESCRIBED))
    return path


@pytest.fixture
def written(tmp_path):
    return lambda name="recommender": tmp_path / "jobs" / f"{name}.yaml"


def test_a_described_job_becomes_a_file_that_validates(nightspot, described, written):
    answer = nightspot("init", described)
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith("jobs/recommender.yaml: ok\n")
    assert "  note: training_job.CheckpointConfig.S3Uri: 's3://checkpoints/fixed/': each run" in answer.out
    assert nightspot("validate", written()).status == 0
    assert written().read_text().count("\n# ") >= 8


def test_a_described_job_becomes_a_file_that_runs(nightspot, described, written):
    command = shlex.join([sys.executable, "-c", "print('trained')"])
    assert nightspot("init", described, "--command", command).status == 0
    answer = nightspot("run", written(), "--local", "--json")
    assert answer.status == 0, answer.out + answer.err
    assert json.loads(answer.out)["deadline_met"] is True


def test_the_options_are_the_authors_word(nightspot, described, written):
    options = {
        "--name": "other",
        "--schedule": "02:30",
        "--deadline": "08:00",
        "--timezone": "Europe/Dublin",
        "--work": "2h",
    }
    assert nightspot("init", described, *(word for pair in options.items() for word in pair)).status == 0
    job = load_job(written("other"))
    assert job.schedule.expression == "cron(30 2 * * ? *)"
    assert (job.deadline.at.hour, job.deadline.timezone, job.work_seconds) == (8, "Europe/Dublin", 7200)


def test_a_script_takes_the_place_of_the_code_that_was_uploaded(nightspot, described, written, tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src/train.py").write_text("print('trained')\n")
    uploaded = {
        "sagemaker_program": '"old.py"',
        "sagemaker_submit_directory": '"s3://bucket/job/source/sourcedir.tar.gz"',
        "epochs": "3",
    }
    described.write_text(json.dumps({**DESCRIBED, "HyperParameters": uploaded}))
    answer = nightspot("init", described, "--code", "src/train.py")
    assert answer.status == 0, answer.err
    document = yaml.safe_load(written().read_text())
    assert document["code"] == {"source_dir": "../src", "entry_point": "train.py"}
    assert document["training_job"]["HyperParameters"] == {"epochs": "3"}
    assert "sagemaker_submit_directory" not in answer.out
    assert nightspot("validate", written()).status == 0


def test_a_script_that_is_not_there_writes_nothing(nightspot, described, written):
    answer = nightspot("init", described, "--code", "src/train.py")
    assert answer.status == 2
    assert "code" in answer.err
    assert not written().exists()


def test_a_request_comes_from_standard_input_and_the_file_goes_to_standard_output(nightspot, tmp_path):
    answer = nightspot("init", "-", "--out", "-", stdin=json.dumps(DESCRIBED))
    assert answer.status == 0
    assert parse_job(answer.out).name == "recommender"
    assert "standard output: ok" in answer.err
    assert not list(tmp_path.iterdir())


def test_yaml_is_read_too(nightspot, tmp_path, written):
    (tmp_path / "request.yaml").write_text(yaml.safe_dump(DESCRIBED))
    assert nightspot("init", "request.yaml").status == 0
    assert written().exists()


def test_a_byte_order_mark_does_not_matter(nightspot, tmp_path, written):
    # With tabs, which YAML does not take: it has to be read as JSON.
    text = json.dumps(DESCRIBED, indent="\t")
    (tmp_path / "request.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert nightspot("init", "request.json").status == 0


def test_a_request_without_a_name_is_called_like_its_file(nightspot, tmp_path, described):
    described.write_text(json.dumps({**DESCRIBED, "TrainingJobName": None}))
    assert nightspot("init", described, "--out", "deep/Fancy_Name.yaml").status == 0
    assert load_job(tmp_path / "deep" / "Fancy_Name.yaml").name == "fancy-name"


def test_the_remarks_of_validate_are_shown(nightspot, described):
    answer = nightspot("init", described, "--deadline", "1h")
    assert answer.status == 0
    assert "  warning: deadline: within 1 h: cannot be met" in answer.out


def test_json_says_the_same_and_nothing_else(nightspot, described):
    said = json.loads(nightspot("init", described, "--json").out)
    assert (said["file"], said["ok"], said["job"]) == ("jobs/recommender.yaml", True, "recommender")
    assert {"field", "value", "rule"} == set(said["notes"][0])


def test_a_file_that_is_there_is_not_overwritten_but_by_force(nightspot, described, written):
    assert nightspot("init", described).status == 0
    written().write_text("years of work")
    for options in [(), ("--out", "jobs/recommender.yaml")]:
        answer = nightspot("init", described, *options)
        assert answer.status == 2
        assert "--out: 'jobs/recommender.yaml': exists already: say --force" in answer.err
        assert written().read_text() == "years of work"
    assert nightspot("init", described, "--force").status == 0
    assert load_job(written()).name == "recommender"


def test_two_jobs_of_one_folder_have_two_names(nightspot, described, tmp_path):
    assert nightspot("init", described).status == 0
    answer = nightspot("init", described, "--out", "jobs/other.yaml")
    assert answer.status == 2
    assert "name: 'recommender': is the name of another job, in jobs/recommender.yaml" in answer.err
    assert not (tmp_path / "jobs" / "other.yaml").exists()


def test_a_limit_as_long_as_the_work_is_warned_of_by_init_and_by_validate(nightspot, described, written):
    # The job trained for 5 h of the 6 h that it may pay for: 1.2 x 5 h and two intervals of 30 min are 7 h.
    answer = nightspot("init", described, "--work", "5h")
    warning = (
        "  warning: training_job.StoppingCondition.MaxRuntimeInSeconds: 21600: is tight: a run pays for no more "
        "than that, and interruptions repeat work; 1.2 x work and 2 x checkpoint_every are 25200 (7 h)"
    )
    assert (answer.status, warning in answer.out.splitlines()) == (0, True)
    assert warning in nightspot("validate", written()).out.splitlines()


MISTAKES = [
    (("--work", "soon"), "work: 'soon': must be a duration"),
    (("--work", "7h"), "training_job.StoppingCondition.MaxRuntimeInSeconds: 21600: must be at least work"),
    (("--deadline", "soon"), "deadline.within: 'soon': must be a duration"),
    (("--deadline", "25:00"), "deadline.at: '25:00': must be a time of day"),
    (("--schedule", "0 0 * * *"), "schedule.cron: '0 0 * * *': must have six fields"),
    (("--schedule", "12 fortnights"), "schedule.rate: '12 fortnights': must be a rate"),
    (("--schedule", "02:30", "--timezone", "Europe/Dubin"), "did you mean Europe/Dublin?"),
    (("--timezone", "Europe/Dublin"), "timezone: 'Europe/Dublin': means nothing here"),
    (("--name", "No Good"), "name: 'No Good': must be lower-case letters"),
    (("--command", "python 's3cret"), "--command: a text of 14 characters: must close the quotes"),
    (("--json", "--out", "-"), "both want standard output"),
]


@pytest.mark.parametrize(("options", "said"), MISTAKES)
def test_a_bad_option_writes_nothing_and_names_field_value_and_rule(
    nightspot, described, tmp_path, options, said
):
    answer = nightspot("init", described, *options)
    assert answer.status == 2
    assert said in answer.err
    assert "s3cret" not in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["described.json"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not valid YAML"),
        ("[" * 1200, "(file): "),
        ("[]", "(file): a list of 0: must be a CreateTrainingJob request"),
        ("", "(file): nothing: must hold"),
        ('{"RoleArn": "x", "TrainingJobName": "a"}', "ResourceConfig.InstanceType: nothing: is required"),
        (json.dumps({**DESCRIBED, "RoleArn": "x"}), "training_job.RoleArn: 'x': must"),
        (json.dumps({"TrainingJobNam": "a"}), "must be a CreateTrainingJob request"),
    ],
)
def test_a_bad_file_writes_nothing(nightspot, tmp_path, text, said):
    (tmp_path / "bad.json").write_text(text)
    answer = nightspot("init", "bad.json", "--work", "1h")
    assert answer.status == 2
    assert "error: bad.json: " in answer.err
    assert said in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.json"]


REQUEST = {
    key: value for key, value in DESCRIBED.items() if key not in {"TrainingJobName", "TrainingJobStatus"}
}
STATE = {
    "Type": "Task",
    "Resource": "arn:aws:states:::sagemaker:createTrainingJob.sync",
    "Parameters": {
        **{
            key: value for key, value in DESCRIBED.items() if key in {"OutputDataConfig", "StoppingCondition"}
        },
        "TrainingJobName.$": "$$.Execution.Name",
        "RoleArn.$": "$.role",
        "AlgorithmSpecification": {"TrainingImage": "training:latest", "TrainingInputMode": "File"},
        "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
        "HyperParameters": {"epochs.$": "$.epochs"},
    },
}


def test_a_state_of_step_functions_becomes_a_file_that_says_what_is_to_be_filled_in(
    nightspot, tmp_path, written
):
    (tmp_path / "machine.json").write_text(json.dumps({"StartAt": "Train", "States": {"Train": STATE}}))
    answer = nightspot("init", "machine.json")
    assert answer.status == 0, answer.err
    assert (
        "note: training_job.HyperParameters.epochs: '$.epochs': was left out: it comes from the execution's input"
        in answer.out
    )
    assert load_job(written("train")).training_job["RoleArn"] == "${TrainingRoleArn}"


def test_what_must_be_filled_in_is_refused_with_where_it_comes_from(nightspot, tmp_path):
    parameters = {
        **STATE["Parameters"],
        "ResourceConfig": {"InstanceType.$": "$.type", "InstanceCount.$": "$.count"},
    }
    (tmp_path / "state.json").write_text(json.dumps({**STATE, "Parameters": parameters}))
    answer = nightspot("init", "state.json", "--name", "a")
    assert answer.status == 2
    assert (
        "state.json: training_job.ResourceConfig.InstanceType: nothing: comes from the execution's input "
        "($.type): fill it in" in answer.err
    )
    assert (
        "training_job.ResourceConfig.InstanceCount: nothing: comes from the execution's input ($.count)"
        in answer.err
    )
    assert not (tmp_path / "jobs").exists()


def test_a_state_whose_whole_request_is_the_input_is_refused_with_that(nightspot, tmp_path):
    state = {"Type": "Task", "Resource": STATE["Resource"], "Arguments": "{% $states.input %}"}
    (tmp_path / "state.json").write_text(json.dumps(state))
    answer = nightspot("init", "state.json", "--name", "a")
    assert answer.status == 2
    assert "comes from the execution's input ({% $states.input %}): fill it in" in answer.err


def test_of_several_training_jobs_one_is_picked(nightspot, tmp_path, written):
    states = {
        name: {**STATE, "Parameters": {**STATE["Parameters"], "TrainingJobName": name}}
        for name in ("one", "two")
    }
    (tmp_path / "machine.json").write_text(json.dumps({"StartAt": "one", "States": states}))
    answer = nightspot("init", "machine.json")
    assert (answer.status, "name one with --pick, of one, two" in answer.err) == (2, True)
    assert nightspot("init", "machine.json", "--pick", "two").status == 0
    assert written("two").exists()


def test_a_heterogeneous_cluster_is_refused_in_one_clear_sentence(nightspot, tmp_path):
    groups = [{"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "InstanceGroupName": "a"}]
    request = {
        **REQUEST,
        "TrainingJobName": "a",
        "ResourceConfig": {"InstanceGroups": groups, "VolumeSizeInGB": 50},
    }
    (tmp_path / "request.json").write_text(json.dumps(request))
    answer = nightspot("init", "request.json", "--work", "1h")
    assert answer.status == 2
    assert (
        "training_job.ResourceConfig.InstanceGroups: a list of 1: must not be given: it is a heterogeneous "
        "cluster" in answer.err
    )
    assert "InstanceType: nothing" not in answer.err


def test_a_key_that_stands_twice_is_refused_as_in_a_job_file(nightspot, tmp_path):
    (tmp_path / "request.json").write_text('{"RoleArn": "a", "RoleArn": "b"}')
    answer = nightspot("init", "request.json")
    assert answer.status == 2
    assert "request.json: RoleArn: 'RoleArn': the key appears twice" in answer.err


def test_a_file_that_is_no_text_or_not_there_is_refused(nightspot, tmp_path):
    (tmp_path / "bad.bin").write_bytes(b"\xff\xfe{")
    assert "bad.bin: (file): 3 bytes: must be UTF-8 text" in nightspot("init", "bad.bin").err
    answer = nightspot("init", "nowhere.json")
    assert (answer.status, "nowhere.json: No such file" in answer.err) == (2, True)


def test_without_a_file_and_a_terminal_nothing_is_asked(nightspot):
    answer = nightspot("init")
    assert answer.status == 2
    assert "questions are asked only on a terminal" in answer.err


def answering(**answers):
    """A prompt that answers by a word of the question, or takes the default; every answer must be accepted."""
    asked = []

    def prompt(question):
        asked.append(question.text)
        found = [answer for word, answer in answers.items() if word in question.text]
        answer = found[0] if found else question.default
        assert question.broken_rule(answer) is None, (question.text, answer)
        return answer

    return prompt, asked


def test_answers_make_a_job_that_passes_every_rule():
    prompt, _ = answering(Name="recommender", image="training:latest", data="s3://data/clicks/")
    request, wishes = ask(prompt, Wishes(), lambda name: None)
    job = parse_job(job_file_text(draft_job(request, wishes)))
    assert job.training_job["RoleArn"] == "${TrainingRoleArn}"
    assert job.training_job["CheckpointConfig"] == {"S3Uri": "s3://${CheckpointBucket}/recommender/"}
    assert job.training_job["StoppingCondition"]["MaxRuntimeInSeconds"] == 21600
    assert (job.deadline.at.hour, job.schedule, job.local) == (8, None, None)


@pytest.mark.parametrize("work", ["10m", "1h", "4h", "20d"])
def test_the_limit_that_answers_get_is_enough_by_our_own_rule(work):
    prompt, _ = answering(Name="recommender", image="training:latest", **{"Training time": work})
    request, wishes = ask(prompt, Wishes(), lambda name: None)
    job = parse_job(job_file_text(draft_job(request, wishes)))
    assert not [found for found in warnings_for(job) if "MaxRuntimeInSeconds" in found.field]


def test_other_answers_are_taken_as_they_are():
    prompt, _ = answering(
        Name="a",
        image="training:latest",
        types="ml.p4d.24xlarge, ml.g5.48xlarge",
        checkpoints="none",
        Ready="6h",
        Start="02:30",
        zone="Europe/Dublin",
        Buy="no",
        Command="python train.py --epochs 3",
    )
    request, wishes = ask(prompt, Wishes(), lambda name: None)
    job = parse_job(job_file_text(draft_job(request, wishes)))
    assert [rung.instance_type for rung in job.capacity.spot] == ["ml.p4d.24xlarge", "ml.g5.48xlarge"]
    assert (job.interruptible, job.fallback, job.deadline.within_seconds) == ("from_start", "never", 21600)
    assert job.schedule.timezone == "Europe/Dublin"
    assert job.local.command == ("python", "train.py", "--epochs", "3")


def test_what_the_options_say_is_not_asked():
    prompt, asked = answering(image="training:latest")
    given = Wishes("a", "02:30", "08:00", "UTC", "1h", command=("python",))
    _, wishes = ask(prompt, given, lambda name: None)
    assert (wishes.name, wishes.schedule, wishes.command) == ("a", "02:30", ("python",))
    assert not [
        text for text in asked if text.startswith(("Name", "Training time", "Ready", "Start", "Time zone"))
    ]
    assert not [text for text in asked if text.startswith("Command")]


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (broken_types, "ml.g5.xlarge, ml.g5.2xlarge", "ml.nothing"),
        (broken_types, "ml.g5.xlarge", "ml.g5.xlarge ml.g5.xlarge"),
        (broken_types, "ml.g5.xlarge", ""),
        (broken_data, "s3://data/clicks/", "clicks"),
        (broken_data, "", "https://data"),
        (broken_checkpoints, "none", "s3://bucket"),
        (broken_checkpoints, "s3://${CheckpointBucket}/a/", "s3://${Bucket}/a/"),
        (broken_deadline, "08:00", "25:00"),
        (broken_deadline, "8h", "eight"),
        (broken_schedule, "", "0 0 * * *"),
        (broken_schedule, "02:30", "99:30"),
        (broken_command, "python 'a b'", "python 'a"),
        (broken_command, "", "  "),
    ],
)
def test_an_answer_is_judged_when_it_is_given(rule, good, bad):
    assert rule(good) is None
    assert rule(bad)


def test_on_a_terminal_a_bad_answer_is_asked_again(nightspot, tmp_path, monkeypatch, written):
    monkeypatch.setattr(init_module, "on_terminal", lambda: True)
    answers = ["No Good", "recommender", "", "training:latest", *[""] * 12]
    answer = nightspot("init", stdin="\n".join(answers) + "\n")
    assert answer.status == 0, answer.err
    assert "must be lower-case letters" in answer.err
    assert "\njobs/recommender.yaml: ok\n" in answer.out
    assert load_job(written()).training_job["AlgorithmSpecification"]["TrainingImage"] == "training:latest"


def test_a_name_whose_file_is_there_is_asked_again(nightspot, tmp_path, monkeypatch, written):
    monkeypatch.setattr(init_module, "on_terminal", lambda: True)
    written().parent.mkdir()
    written("taken").write_text("years of work")
    answer = nightspot("init", stdin="\n".join(["taken", "free", "training:latest", *[""] * 12]) + "\n")
    assert answer.status == 0, answer.err
    assert "jobs/taken.yaml exists already" in answer.err
    assert written("free").exists()


def test_the_schema_is_printed(nightspot, root):
    answer = nightspot("schema")
    assert answer.status == 0
    assert answer.out == (root / "docs" / "job-file.schema.json").read_text(encoding="utf-8")
    assert nightspot("schema", "extra").status == 2
