"""The steps of the reusable workflow for GitHub Actions: what they start, hand on, and fail with."""

import json
import re

import pytest

from nightspot.cli._shared import ExitStatus

# What an evil caller hands over: nothing of it may be run, or begin a line of its own.
EVIL = "$(touch evil)`touch evil`; touch evil"


def test_a_run_is_started_under_the_key_and_then_followed_under_the_same(night, shell):
    done = night(OPTIONS="--deadline=6h\n\n  --hyperparameter=note=a b \n")
    common = [
        "run",
        "recommender",
        "--api",
        shell.url,
        "--region",
        "eu-west-1",
        "--idempotency-key",
        "my-key",
    ]
    common += ["--deadline=6h", "--hyperparameter=note=a b"]
    assert done.calls == [[*common, "--json"], [*common, "--wait", "--timeout", "340m"]]
    assert done.status == 0
    assert done.outputs == {"run-id": shell.run_id, "status": "0"}
    assert "the first decision" in done.out


def test_the_wait_alone_refuses_a_model_with_remarks(night):
    done = night(FAIL_ON_REMARKS="true")
    assert ["--fail-on-remarks" in call for call in done.calls] == [False, True]


def keys_of(done):
    return {call[call.index("--idempotency-key") + 1] for call in done.calls}


def test_without_a_key_the_two_calls_of_an_attempt_are_one_run_and_its_repetition_is(night):
    (first,) = keys_of(night(KEY="", OPTIONS="--deadline=6h\n--budget=9"))
    assert re.fullmatch("77-1-[0-9a-f]{12}", first)
    assert keys_of(night(KEY="", OPTIONS="--deadline=6h\n\n--budget=9")) == {first}


@pytest.mark.parametrize(
    "other", [{"OPTIONS": "--budget=9"}, {"OPTIONS": ""}, {"ATTEMPT": "77-2", "OPTIONS": "--deadline=6h"}]
)
def test_other_options_and_another_attempt_are_another_run(night, shell, other):
    (first,) = keys_of(night(KEY="", OPTIONS="--deadline=6h"))
    (shell.place / "calls.jsonl").unlink()
    (second,) = keys_of(night(KEY="", **other))
    assert first != second


def test_nobody_waits_where_nobody_should(night, shell):
    done = night(WAIT="false")
    assert len(done.calls) == 1
    assert done.outputs == {"run-id": shell.run_id, "status": "started"}


@pytest.mark.parametrize("status", sorted(set(ExitStatus) - {ExitStatus.IN_TIME}))
def test_a_wait_that_ends_badly_is_left_to_the_step_that_tells(night, shell, status):
    done = night(ENDS_WITH=status.value)
    assert done.status == 0
    assert done.outputs == {"run-id": shell.run_id, "status": str(status.value)}


def test_a_start_that_is_refused_fails_with_the_command_s_own_words(night):
    done = night(REFUSES=1)
    assert done.status == 1
    reason = "error: deadline: 'soon' must be a time"
    assert f"::error title=Nightspot started nothing::{reason}\n" in done.out
    assert "a warning" in done.err
    assert "run-id" not in done.outputs
    assert len(done.calls) == 1


@pytest.mark.parametrize("option", ["--api=https://evil.example", "--wait", "--deadline", "6h", EVIL])
def test_an_option_that_is_no_override_starts_nothing(night, shell, option):
    done = night(OPTIONS=f"--budget=10\n{option}")
    assert (done.status, done.calls) == (2, [])
    assert f"::error::options: '{option}' must be an override of nightspot run" in done.out
    assert not (shell.place / "evil").exists()


@pytest.mark.parametrize("name", ["JOB", "API_URL", "REGION", "KEY", "OPTIONS", "WAIT_AT_MOST"])
def test_what_a_caller_hands_over_is_never_run(night, shell, name):
    value = f"--fallback={EVIL}" if name == "OPTIONS" else EVIL
    done = night(**{name: value})
    assert not (shell.place / "evil").exists()
    assert value in done.calls[-1]


@pytest.mark.parametrize(
    ("status", "level", "words"),
    [
        (ExitStatus.USER, "error", "The job needs fixing"),
        (ExitStatus.USAGE, "error", "The options make no sense"),
        (ExitStatus.MARKET, "error", "The market had nothing in time"),
        (ExitStatus.LATE, "error", "after its deadline"),
        (ExitStatus.STOPPED, "error", "The run was stopped"),
        (ExitStatus.SERVICE, "error", "AWS failed"),
        (ExitStatus.REMARKS, "error", "the evidence says something against it"),
        (ExitStatus.STILL_RUNNING, "error", "the run goes on"),
        (ExitStatus.INTERRUPTED, "error", "The wait was interrupted"),
    ],
)
def test_a_night_that_is_not_in_time_fails_the_job_with_the_reason(tell, status, level, words):
    done = tell(status.value)
    assert done.status == status.value
    (line,) = done.out.splitlines()
    assert line.startswith(f"::{level} title=Nightspot::")
    assert words in line
    assert line.endswith("Done at 05:10 | 100 %25 <trained>")
    assert words in done.summary


def test_every_exit_status_has_words_of_its_own(steps):
    script = steps["Tell how it ended"]["run"]
    table = re.search(r"MEANINGS = \{(.*?)\n\}", script, re.DOTALL)[1]
    told = set(re.findall(r'"(\d+)":', table))
    assert told == {str(status.value) for status in ExitStatus}


def test_a_model_in_time_passes_and_says_what_it_cost(tell, shell):
    done = tell(0)
    assert done.status == 0
    assert "::" not in done.out
    assert done.outputs == {"outcome": "succeeded", "cost-usd": "41.5"}
    assert "### The model is ready in time." in done.summary
    assert "Done at 05:10 | 100 % &lt;trained&gt;" in done.summary
    assert f"| Run | {shell.run_id} |" in done.summary
    assert "| Cost | $41.50 |" in done.summary


def test_a_late_model_is_a_warning_where_the_caller_says_so(tell):
    done = tell(4, FAIL_WHEN_LATE="false")
    assert done.status == 0
    assert done.out.startswith("::warning title=Nightspot::The model is ready, after its deadline.")


def test_a_failure_is_no_warning_where_only_lateness_may_pass(tell):
    assert tell(3, FAIL_WHEN_LATE="false").status == 3


def test_a_run_that_nobody_waits_for_passes(tell, shell):
    done = tell("started", RECORD=json.dumps({**shell.record, "outcome": "running", "cost_usd": None}))
    assert done.status == 0
    assert done.outputs == {"outcome": "running", "cost-usd": ""}
    assert "Cost" not in done.summary


def test_a_wait_that_was_cut_off_fails(tell):
    done = tell("")
    assert done.status == 1
    assert "The wait was cut short; the run goes on." in done.out


def test_the_status_counts_even_where_the_record_cannot_be_read(tell):
    done = tell(3, NO_RECORD="1")
    assert done.status == 3
    assert done.outputs == {"outcome": "", "cost-usd": ""}


@pytest.mark.parametrize(
    ("minutes", "outputs"),
    [
        ("350", {"wait": "340m", "session-seconds": "21000"}),
        ("20", {"wait": "10m", "session-seconds": "1200"}),
        ("720", {"wait": "710m", "session-seconds": "43200"}),
        ("4320", {"wait": "4310m", "session-seconds": "43200"}),
    ],
)
def test_the_wait_ends_before_the_job_and_the_session_lasts_as_long_as_it_may(steps, shell, minutes, outputs):
    assert shell(steps["Compute the times"]["run"], MINUTES=minutes).outputs == outputs


@pytest.mark.parametrize("minutes", ["19", "0", "-30", "90.5", "", EVIL])
def test_a_time_limit_that_leaves_no_time_to_wait_is_refused(steps, shell, minutes):
    done = shell(steps["Compute the times"]["run"], MINUTES=minutes)
    assert done.status == 2
    assert f"::error::timeout-minutes: '{minutes}' must be a whole number, at least 20" in done.out
    assert not (shell.place / "evil").exists()


def test_the_command_line_is_installed_apart_from_the_machine_s_own_python(steps, shell):
    done = shell(steps["Install the command line"]["run"], PACKAGE=f"--index-url={EVIL}")
    assert done.status == 0
    # After `--` pip takes what follows for a package, whatever it looks like.
    assert done.out.endswith(f" -- --index-url={EVIL}\n")
    assert (shell.place / "PATH").read_text() == f"{shell.place}/nightspot/bin\n"
    assert not (shell.place / "evil").exists()
