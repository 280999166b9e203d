"""What the command line says to a night that cannot be played; each with a status and without a traceback."""

import pytest

USAGE_MISTAKES = [
    (("demo", "--night", "foggy"), "night: 'foggy': must be one of quiet, interrupted, no-capacity, bad"),
    (("demo", "--night", "no-capasity"), "did you mean no-capacity?"),
    (("demo", "--seed", "x"), "--seed"),
    (("demo", "--seed", "-1"), "--seed"),
    (("demo", "--time-scale", "fast"), "--time-scale"),
    (("demo", "--time-scale", "0.5"), "--time-scale: 0.5: must be a number from 1 on"),
    (("demo", "--time-scale", "nan"), "must be a number from 1 on"),
    (("demo", "--time-scale", "inf"), "must be a number from 1 on"),
    (("run", "job.yaml"), "add --local; a deployed job is started by its name"),
    (("run",), "JOB"),
    (("run", "job.yaml", "--local", "--night", "foggy"), "must be one of quiet"),
    (("run", "job.yaml", "--local", "--night", "bad", "--market", "m.yaml"), "only one of --night, --market"),
    (("run", "job.yaml", "--local", "--market", "m.yaml", "--trace", "t.json"), "only one of --night"),
    (("run", "job.yaml", "--local", "--trace-offset", "3h"), "--trace-offset needs --trace"),
    (
        ("run", "job.yaml", "--local", "--trace", "t.json", "--trace-offset", "soon"),
        "--trace-offset: 'soon': must be a duration",
    ),
]


@pytest.mark.parametrize(("arguments", "said"), USAGE_MISTAKES)
def test_a_wrong_call_is_a_usage_error(nightspot, tmp_path, good_job, arguments, said):
    (tmp_path / "job.yaml").write_text(good_job)
    answer = nightspot(*arguments)
    assert answer.status == 2
    assert said in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["job.yaml"]


def test_a_job_without_a_local_command_cannot_be_played(nightspot, tmp_path, good_job):
    (tmp_path / "job.yaml").write_text(good_job[: good_job.index("\nlocal:")] + "\n")
    answer = nightspot("run", "job.yaml", "--local")
    assert answer.status == 1
    assert "error: job.yaml: local: nothing: must say with local.command how to train" in answer.err


def test_a_job_file_with_mistakes_is_not_played(nightspot, tmp_path, good_job):
    (tmp_path / "job.yaml").write_text(good_job.replace("work: 4h ", "work: soon "))
    answer = nightspot("run", "job.yaml", "--local")
    assert answer.status == 1
    assert "error: job.yaml: work: 'soon': must be a duration" in answer.err


def test_a_market_file_with_mistakes_is_not_played(nightspot, tmp_path, good_job):
    (tmp_path / "job.yaml").write_text(good_job)
    (tmp_path / "m.yaml").write_text("spot: [{missing: 40x}, {available: rest}]")
    answer = nightspot("run", "job.yaml", "--local", "--market", "m.yaml")
    assert answer.status == 1
    assert "error: m.yaml: spot[0].missing: '40x' must be seconds" in answer.err


def test_a_trace_that_is_none_is_not_played(nightspot, tmp_path, good_job):
    (tmp_path / "job.yaml").write_text(good_job)
    (tmp_path / "t.json").write_text("{}")
    answer = nightspot("run", "job.yaml", "--local", "--trace", "t.json")
    assert answer.status == 1
    assert "metadata.gap_seconds is None; must be greater than 0" in answer.err


def test_a_folder_of_somebody_s_own_is_not_emptied(nightspot, tmp_path):
    (tmp_path / "build" / "demo").mkdir(parents=True)
    (tmp_path / "build" / "demo" / "thesis.txt").write_text("years of work")
    answer = nightspot("demo", "--build", "build")
    assert answer.status == 1
    assert "error: build/demo: holds more than an earlier night's logs" in answer.err
    assert (tmp_path / "build" / "demo" / "thesis.txt").read_text() == "years of work"
