"""`nightspot validate`."""

import json
from pathlib import Path

from nightspot.job.reading import load_jobs


def test_a_sound_file_is_ok(nightspot, root):
    answer = nightspot("validate", root / "jobs" / "smoke.yaml")
    assert answer.status == 0
    assert answer.out.endswith("smoke.yaml: ok\n")


def test_the_shipped_jobs_are_sound_and_none_starts_by_itself(nightspot, root):
    answer = nightspot("validate", root / "jobs", "--json")
    assert answer.status == 0
    said = {
        Path(file["file"]).stem: [one["field"] for one in file["problems"]] for file in json.loads(answer.out)
    }
    assert said == {"recommender": ["schedule.paused"], "smoke": []}
    jobs = load_jobs(root / "jobs")
    assert [name for name, job in jobs.items() if job.schedule and not job.schedule.paused] == []


def test_every_mistake_is_named_with_field_value_and_rule(nightspot, tmp_path, good_job):
    bad = good_job.replace("work: 4h ", "work: soon ").replace("fallback: on_demand", "fallback: nowhere")
    (tmp_path / "a.yaml").write_text(bad)
    answer = nightspot("validate", "a.yaml")
    assert answer.status == 1
    assert answer.out.startswith("a.yaml: errors\n")
    assert "  error: work: 'soon': must be a duration" in answer.out
    assert "  error: fallback: 'nowhere': " in answer.out


def test_warnings_do_not_fail(nightspot, tmp_path, good_job):
    (tmp_path / "a.yaml").write_text(good_job.replace("0 0 * * ? *", "0 7 * * ? *"))
    answer = nightspot("validate", "a.yaml")
    assert answer.status == 0
    assert answer.out.startswith("a.yaml: ok\n  warning: deadline: 08:00 UTC: cannot be met")


def test_a_schedule_whose_years_are_past_is_warned_of(nightspot, tmp_path, good_job):
    (tmp_path / "a.yaml").write_text(good_job.replace("0 0 * * ? *", "0 0 * * ? 2020-2025"))
    answer = nightspot("validate", "a.yaml")
    assert answer.status == 0
    assert "  warning: schedule.cron: '0 0 * * ? 2020-2025': never fires again" in answer.out


def test_all_files_of_a_directory_are_checked(nightspot, tmp_path, good_job):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "a.yaml").write_text(good_job)
    (tmp_path / "jobs" / "b.yaml").write_text("name: [")
    answer = nightspot("validate", "jobs")
    assert answer.status == 1
    assert "a.yaml: ok\n" in answer.out
    assert "b.yaml: errors\n" in answer.out


def test_json_says_the_same_and_nothing_else(nightspot, tmp_path, good_job):
    (tmp_path / "a.yaml").write_text(good_job)
    (tmp_path / "b.yaml").write_text(
        good_job.replace("recommender\n", "b\n").replace("work: 4h ", "work: soon ")
    )
    answer = nightspot("validate", "a.yaml", "b.yaml", "--json")
    a, b = json.loads(answer.out)
    assert answer.status == 1
    assert a == {"file": "a.yaml", "ok": True, "problems": []}
    assert (b["ok"], len(b["problems"])) == (False, 1)
    assert b["problems"][0].items() >= {"field": "work", "value": "'soon'", "severity": "error"}.items()
    assert b["problems"][0]["rule"].startswith("must be a duration")


def test_a_path_that_does_not_exist_is_an_error(nightspot):
    answer = nightspot("validate", "nowhere.yaml")
    assert answer.status == 1
    assert "(file): 'nowhere.yaml': cannot be read: No such file" in answer.out


def test_a_directory_without_job_files_is_an_error(nightspot, tmp_path):
    (tmp_path / "jobs").mkdir()
    answer = nightspot("validate", "jobs")
    assert answer.status == 1
    assert "(file): 'jobs': holds no job files" in answer.out


def test_a_file_that_is_named_twice_is_one_job(nightspot, tmp_path, good_job):
    (tmp_path / "a.yaml").write_text(good_job)
    assert nightspot("validate", "a.yaml", "a.yaml").status == 0


def test_long_lines_are_not_broken_so_that_they_can_be_searched(nightspot, tmp_path):
    (tmp_path / "a.yaml").write_text("name: " + "x" * 60)
    assert all(
        line.startswith(("a.yaml", "  error: ")) for line in nightspot("validate", "a.yaml").out.splitlines()
    )


def test_nothing_to_check_is_a_usage_error(nightspot):
    answer = nightspot("validate")
    assert answer.status == 2
    assert "FILE" in answer.err
