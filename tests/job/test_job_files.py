"""Job files on disk."""

import pytest

from nightspot.job.errors import InvalidJobError
from nightspot.job.reading import check_files, load_job, load_jobs


@pytest.fixture
def good(request):
    from pathlib import Path

    return (Path(request.config.rootpath) / "jobs" / "recommender.yaml").read_text(encoding="utf-8")


def test_all_job_files_of_a_directory_are_read_by_the_jobs_names(tmp_path, good):
    (tmp_path / "a.yaml").write_text(good)
    (tmp_path / "b.yml").write_text(good.replace("name: recommender", "name: ranker"))
    (tmp_path / "notes.txt").write_text("not a job")
    (tmp_path / ".a.yaml").write_text("an editor's copy")
    assert list(load_jobs(tmp_path)) == ["recommender", "ranker"]


def test_an_empty_directory_holds_no_jobs(tmp_path):
    assert load_jobs(tmp_path) == {}


def test_two_files_must_not_describe_the_same_job(tmp_path, good):
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(good)
    with pytest.raises(InvalidJobError, match=r"b.yaml: name: 'recommender': .* another job, in a.yaml"):
        load_jobs(tmp_path)


def test_the_problems_of_all_files_are_reported_with_their_files(tmp_path, good):
    (tmp_path / "a.yaml").write_text(good.replace("work: 4h ", "work: soon "))
    (tmp_path / "b.yaml").write_text(good.replace("fallback: on_demand", "fallback: nowhere"))
    with pytest.raises(InvalidJobError) as caught:
        load_jobs(tmp_path)
    assert [problem.field for problem in caught.value.problems] == ["a.yaml: work", "b.yaml: fallback"]


@pytest.mark.parametrize("load", [load_job, load_jobs])
def test_what_is_not_there_is_a_problem_of_the_file(tmp_path, load):
    with pytest.raises(InvalidJobError, match=r"^\(file\): 'nowhere.yaml': "):
        load(tmp_path / "nowhere.yaml")


def test_a_file_that_is_not_text_is_a_problem_of_the_file(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidJobError, match="not UTF-8"):
        load_job(tmp_path / "a.yaml")


def test_checking_gives_jobs_warnings_and_errors_file_by_file(tmp_path, good):
    (tmp_path / "a.yaml").write_text(good)
    (tmp_path / "b.yaml").write_text(
        good.replace("0 0 * * ? *", "0 7 * * ? *").replace("recommender", "late")
    )
    (tmp_path / "c.yaml").write_text("name: [")
    (tmp_path / "d.yaml").write_text(good)
    found = check_files([tmp_path, tmp_path / "e.yaml"])
    assert [
        (path.name, job and job.name, [p.severity for p in problems]) for path, job, problems in found
    ] == [
        # The sample is paused.
        ("a.yaml", "recommender", ["warning"]),
        ("b.yaml", "late", ["warning", "warning"]),
        ("c.yaml", None, ["error"]),
        ("d.yaml", None, ["error"]),
        ("e.yaml", None, ["error"]),
    ]


def test_the_request_is_not_checked_where_it_was_checked_before(tmp_path, good):
    (tmp_path / "a.yaml").write_text(good.replace("ml.p4d.24xlarge", "ml.p9.48xlarge"))
    assert list(load_jobs(tmp_path, check_request=False)) == ["recommender"]
    assert load_job(tmp_path / "a.yaml", check_request=False).name == "recommender"
    with pytest.raises(InvalidJobError, match="SageMaker trains on"):
        load_jobs(tmp_path)
