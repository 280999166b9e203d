"""The job for GitLab: what it starts, keeps to itself, and ends with."""

import pytest

from nightspot.cli._shared import ExitStatus

EVIL = "$(touch evil)`touch evil`; touch evil"


def test_gitlab_starts_and_follows_one_run_with_the_token_in_a_file_that_nobody_else_reads(gitlab, shell):
    done = gitlab(NIGHTSPOT_OPTIONS="--market=spot\n--budget=10")
    common = ["run", "recommender", "--api", shell.url, "--region", "eu-west-1", "--idempotency-key", "4711"]
    common += ["--market=spot", "--budget=10"]
    assert done.calls == [[*common, "--json"], [*common, "--wait", "--timeout", "170m"]]
    assert done.status == 0
    assert (shell.place / "nightspot.env").read_text() == f"NIGHTSPOT_RUN_ID={shell.run_id}\n"
    (token,) = shell.place.glob("tmp.*/token")
    assert (token.read_text(), token.stat().st_mode & 0o077) == ("a.b.c", 0)


@pytest.mark.parametrize("status", ExitStatus)
def test_gitlab_s_job_ends_with_nightspot_s_own_status(gitlab, status):
    assert gitlab(ENDS_WITH=status.value).status == status.value


def test_gitlab_s_job_ends_with_the_status_of_a_start_that_is_refused(gitlab):
    done = gitlab(REFUSES=2)
    assert (done.status, len(done.calls)) == (2, 1)


def test_gitlab_s_wait_alone_refuses_a_model_with_remarks(gitlab):
    done = gitlab(NIGHTSPOT_FAIL_ON_REMARKS="true")
    assert ["--fail-on-remarks" in call for call in done.calls] == [False, True]


def test_gitlab_runs_nothing_of_what_its_variables_hold(gitlab, shell):
    gitlab(NIGHTSPOT_JOB=EVIL, NIGHTSPOT_PACKAGE=EVIL, NIGHTSPOT_OPTIONS=f"--market={EVIL}")
    assert not (shell.place / "evil").exists()


@pytest.mark.parametrize("name", ["JOB", "API_URL", "REGION", "ROLE_ARN", "PACKAGE"])
def test_gitlab_names_the_variable_that_is_missing(gitlab, name):
    done = gitlab(**{f"NIGHTSPOT_{name}": ""})
    assert (done.status, done.calls) == (2, [])
    assert done.err.startswith(f"NIGHTSPOT_{name}: nothing; must be given")


def test_gitlab_takes_overrides_alone(gitlab):
    done = gitlab(NIGHTSPOT_OPTIONS="--stack=Other")
    assert (done.status, done.calls) == (2, [])


def test_gitlab_lets_lateness_pass_with_a_warning_and_nothing_else(pipeline):
    assert pipeline("nightspot.gitlab-ci.yml")[".nightspot-train"]["allow_failure"] == {
        "exit_codes": [ExitStatus.LATE.value]
    }
