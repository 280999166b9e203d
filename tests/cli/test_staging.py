"""How a night is prepared."""

import logging
import warnings
from datetime import UTC, datetime

import pytest

from nightspot.job.reading import parse_job
from nightspot.local.stage import staging
from nightspot.local.stage.night_files import NIGHTS


@pytest.fixture
def job(good_job):
    return parse_job(good_job)


def test_at_another_pace_the_epochs_take_the_same_time_of_the_story(job):
    faster = staging.at_scale(job, 4800)
    assert faster.local.time_scale == 4800
    padding = f"RECOMMENDER_{staging.PADDING}"
    assert float(faster.local.environment[padding]) == pytest.approx(0.125)
    assert job.local.environment[padding] == "1.25"


@pytest.mark.parametrize("environment", [{}, {staging.PADDING: "slow"}])
def test_what_is_no_padding_is_left_to_the_script(job, environment):
    local = job.local.model_copy(update={"environment": environment})
    assert staging.at_scale(job.model_copy(update={"local": local}), 4800).local.environment == environment


NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
DUBLIN = {"timezone": "Europe/Dublin"}


@pytest.mark.parametrize(
    ("schedule", "deadline", "window"),
    [
        (None, {"at": "08:00"}, ("07-01 00:00", "07-01 08:00")),
        (None, {"within": "6h"}, ("07-01 00:00", "07-01 06:00")),
        ({"cron": "0 0 * * ? *"}, {"at": "08:00"}, ("07-02 00:00", "07-02 08:00")),
        ({"cron": "0 0 * * ? *", "paused": True}, {"at": "08:00"}, ("07-02 00:00", "07-02 08:00")),
        ({"cron": "30 2 * * ? *"}, {"at": "08:00"}, ("07-02 02:30", "07-02 08:00")),
        ({"cron": "30 2 * * ? *"}, {"within": "6h"}, ("07-02 02:30", "07-02 08:30")),
        ({"cron": "30 2 * * ? *", **DUBLIN}, {"at": "08:00", **DUBLIN}, ("07-02 01:30", "07-02 07:00")),
        ({"cron": "0 20 ? * FRI *"}, {"at": "06:00"}, ("07-03 20:00", "07-04 06:00")),
        ({"rate": "12 hours"}, {"within": "3h"}, ("07-02 00:00", "07-02 03:00")),
        ({"cron": "0 0 1 1 ? 2020"}, {"at": "08:00"}, ("07-01 00:00", "07-01 08:00")),
    ],
)
def test_the_window_that_is_played_is_the_job_s_own(job, schedule, deadline, window):
    sections = {**job.model_dump(by_alias=True), "schedule": schedule, "deadline": deadline}
    planned = type(job).model_validate(sections)
    start = staging.story_start(planned, NOON)
    known = staging.facts(planned, NIGHTS["quiet"], start)
    moments = (known.story_started_at, known.deadline)
    assert tuple(f"{moment:%m-%d %H:%M}" for moment in moments) == window


def test_the_seed_reaches_the_training_and_the_mishaps(job):
    seeded = staging.with_seed(job, 11)
    assert seeded.training_job["HyperParameters"] == {"epochs": "24", "seed": "11", "checkpoint-every": "3"}
    assert job.training_job["HyperParameters"]["seed"] == "7"
    assert staging.night_with_seed(NIGHTS["bad"], 11).options.events.seed == 11


def test_the_scratch_folder_of_an_earlier_night_is_emptied(tmp_path):
    scratch = staging.emptied(tmp_path / "demo")
    (scratch / "logs").mkdir()
    (scratch / "functions.log").write_text("old")
    assert list(staging.emptied(scratch).iterdir()) == []


def test_any_other_folder_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not emptied"):
        staging.emptied(tmp_path)
    assert (tmp_path / "mine.txt").exists()


def test_two_runs_in_one_second_have_folders_of_their_own(tmp_path):
    names = [staging.new_folder(tmp_path / "runs", "x").name for _ in range(3)]
    assert names == ["x", "x-2", "x-3"]


def test_what_python_logs_and_warns_goes_to_the_file(tmp_path, capsys):
    # The interpreter's own way of warning; pytest's would raise.
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with staging.python_logs_in(tmp_path / "python.log"):
            logging.getLogger("moto").warning("a word of moto's")
            logging.getLogger("botocore").info("too quiet")
            warnings.warn("a word of Python's", UserWarning, stacklevel=1)
    text = (tmp_path / "python.log").read_text()
    assert "WARNING moto: a word of moto's" in text
    assert "a word of Python's" in text
    assert "too quiet" not in text
    assert capsys.readouterr().err == ""
