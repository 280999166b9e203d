"""A deployment from Python: runs are started, waited for, stopped and retried, by the stack and by the API."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from nightspot import Client, Job, Run, RunFailedError
from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.api_client import ApiError, ApiUrlError
from nightspot.client.access import NotPossibleHereError
from nightspot.client.run import RunCost
from nightspot.client.sources import RunNotFoundError
from nightspot.client.starting import NotRetryableError, UnknownJobError
from nightspot.job.overrides import InvalidOverridesError
from nightspot.record.model import Ending
from nightspot.run.model import Outcome
from tests.cloud import Api


@pytest.fixture
def record(root):
    return json.loads((root / "tests" / "view" / "html" / "bad_night.json").read_text(encoding="utf-8"))


@pytest.fixture
def api(record):
    return Api(record)


class TestByTheStack:
    def test_a_run_is_started_and_waited_for(self, stack, cloud):
        run = stack.start("recommender", deadline="6h", budget_usd=50)
        assert cloud.inputs == [
            {"job": "recommender", "budget": 50.0, "deadline": "6h", "requested_by": "nightspot.Client"}
        ]
        assert (run.job, run.state, run.outcome, run.is_over) == ("recommender", Ending.RUNNING, None, False)
        assert run.wait() is run
        assert (run.id, run.is_over, run.model_uri) == (cloud.run.run_id, True, "s3://models/a")
        assert run.raise_for_outcome() is run

    def test_a_deadline_that_the_work_does_not_fit_into_is_a_warning(self, stack, cloud):
        with pytest.warns(UserWarning, match="deadline"):
            stack.start("recommender", deadline="1h")
        assert len(cloud.inputs) == 1

    def test_a_wait_that_is_too_short_leaves_the_run_alone(self, stack, cloud):
        cloud.ending = None
        run = stack.start("recommender")
        with pytest.raises(TimeoutError, match=f"run {run.id} of recommender goes on after 90 s of waiting"):
            run.wait(timeout=90)
        assert cloud.slept == 90

    def test_a_run_without_a_model_says_why(self, stack, cloud):
        run = stack.run("20261120-abc999")
        assert run.outcome is Ending.FAILED
        with pytest.raises(RunFailedError, match=r"Spot ended as user code\. ExitCode 1") as raised:
            run.raise_for_outcome()
        assert raised.value.run is run

    def test_a_start_whose_input_was_refused_is_not_waited_for(self, stack, cloud):
        cloud.refused = {"status": "FAILED", "error": "Nightspot.InvalidInput", "cause": "deadline: too late"}
        run = stack.start("recommender")
        with pytest.raises(RunFailedError, match="deadline: too late"):
            run.wait()
        assert cloud.slept == 0

    def test_a_fault_that_passes_is_outlived(self, stack, cloud):
        cloud.fault, cloud.ending = "ThrottlingException", None
        run = stack.start("recommender")
        with pytest.raises(TimeoutError):
            run.wait(timeout=300)

    def test_a_fault_that_might_pass_and_does_not_is_raised_after_four_hours(self, stack, cloud):
        cloud.fault, cloud.ending = "ExpiredTokenException", None
        run = stack.start("recommender")
        with pytest.raises(Exception, match="ExpiredTokenException"):
            run.wait()
        assert cloud.slept == pytest.approx(4 * 3600, abs=60)

    def test_a_fault_that_does_not_pass_ends_the_wait(self, stack, cloud):
        cloud.fault, cloud.ending = "AccessDeniedException", None
        with pytest.raises(Exception, match="AccessDeniedException"):
            stack.start("recommender").wait(timeout=300)

    def test_mistakes_cost_nothing(self, stack, cloud):
        with pytest.raises(
            UnknownJobError, match=r"'recomender': must be one of .*; did you mean recommender\?"
        ):
            stack.start("recomender")
        with pytest.raises(InvalidOverridesError, match="budget"):
            stack.start("recommender", budget_usd=-1)
        assert cloud.executions == {}

    def test_the_job_object_must_be_the_deployed_one(self, stack, cloud, root):
        job = Job.from_file(root / "jobs" / "recommender.yaml")
        assert stack.start(job).job == "recommender"
        other = Job(job.text.replace("work: 4h", "work: 5h"))
        assert other.text != job.text
        with pytest.raises(
            NotPossibleHereError, match="'recommender': differs from the job file that is deployed"
        ):
            stack.start(other)
        assert len(cloud.executions) == 1

    def test_jobs_and_runs_are_listed(self, stack):
        described = {job.name: job for job in stack.jobs()}
        assert described["recommender"].last_run.run_id == "20261120-abc999"
        assert [run.id for run in stack.runs("recommender")] == ["20261120-abc999"]
        assert stack.runs(limit=0) == []

    def test_an_unknown_run_is_told_with_its_neighbours(self, stack):
        with pytest.raises(RunNotFoundError, match=r"did you mean 20261120-abc999\?"):
            stack.run("20261120-abc998")

    def test_a_retry_takes_the_old_overrides_along(self, stack, cloud):
        run = stack.run("20261120-abc999").retry(hyperparameters={"seed": "8"})
        (asked,) = cloud.inputs
        assert asked["resume_from"] == "20261120-abc999"
        assert asked["market"] == "spot"
        assert asked["hyperparameters"] == {"epochs": "3", "seed": "8"}
        assert isinstance(run, Run)

    def test_what_must_not_be_retried_is_refused(self, stack, cloud):
        later = cloud.old.started_at + timedelta(hours=1)
        done = replace(cloud.old, run_id="20261120-abc222", started_at=later, outcome=Outcome.SUCCEEDED)
        cloud.table.record_plan(done)
        with pytest.raises(NotRetryableError, match="'20261120-abc222': has succeeded"):
            stack.run("20261120-abc222").retry()
        with pytest.raises(NotRetryableError, match="went on from its checkpoints and has succeeded"):
            stack.run("20261120-abc999").retry()
        assert cloud.executions == {}


class TestByTheApi:
    def test_a_run_is_started_and_waited_for(self, serve, api, record):
        started = {
            "run_id": record["run_id"],
            "job": "recommender",
            "execution_arn": "arn",
            "started_at": "2026-11-21T00:00:11+00:00",
            "is_new": True,
            "warnings": ["deadline: '1h': is too short"],
        }
        running = {**record, "outcome": "running", "ended_at": None, "links": {}}
        api.answers["POST /jobs/recommender/runs"] = [(202, started)]
        path = f"GET /runs/{record['run_id']}"
        api.answers[path] = [
            (404, {"detail": "not yet"}),
            (503, {"detail": "busy"}),
            (200, running),
            *api.answers[path],
        ]
        with pytest.warns(UserWarning, match="deadline: '1h': is too short"):
            run = serve(api).start("recommender", market="spot", idempotency_key="mine")
        assert json.loads(api.asked[0][3]) == {"market": "spot"}
        assert api.asked[0][4]["Idempotency-Key"] == "mine"
        assert run.wait(timeout=60).outcome is Ending.IN_TIME

    def test_its_cost_is_that_of_the_record(self, serve, api, record):
        run = serve(api).run()
        assert run.cost == RunCost(
            run.record.cost_usd,
            run.record.on_demand_cost_usd,
            run.record.saved_usd,
            run.record.saved_percent,
            run.record.cost_at_least_usd,
        )
        assert run.cost.paid_usd == pytest.approx(record["cost_usd"])

    def test_a_listed_run_gets_its_whole_record_when_it_is_asked_for(self, serve, api, record):
        summary = {name: value for name, value in record.items() if name != "steps"}
        api.answers["GET /runs"] = [(200, {"runs": [{**summary, "decisions": 3}], "next": None})]
        (run,) = serve(api).runs()
        assert len(run.record.steps) == len(record["steps"])

    def test_a_refusal_is_in_the_api_s_words(self, serve, api):
        api.answers["POST /jobs/recommender/runs"] = [(409, {"detail": "Another run of the job is going on"})]
        with pytest.raises(ApiError, match="409: Another run of the job is going on"):
            serve(api).start("recommender")

    def test_a_stop_is_asked_for_until_the_run_is_over(self, serve, api, record):
        path = f"POST /runs/{record['run_id']}/stop"
        api.answers[path] = [
            (202, {"sentence": "It stops.", "state": "asked"}),
            (200, {"sentence": "Over.", "state": "over"}),
        ]
        run = serve(api).run().stop()
        assert run.is_over
        assert [method for method, asked, *_ in api.asked if asked.endswith("/stop")] == ["POST", "POST"]

    def test_logs_are_cloudwatch_s(self, serve, api):
        with pytest.raises(
            NotPossibleHereError, match=r"logs: the API at .* has none: .* Client\(stack=...\)"
        ):
            serve(api).run().logs()


class TestInANotebook:
    def test_a_run_is_its_page_in_a_frame_of_its_own(self, serve, api, monkeypatch):
        monkeypatch.setattr("nightspot.client.run.script", lambda _folder: None)
        run = serve(api).run()
        shown = run._repr_html_()
        assert shown.startswith('<iframe srcdoc="&lt;!DOCTYPE html&gt;')
        assert 'sandbox="allow-scripts"' in shown
        assert shown.count("<") == 2  # the frame's own tags alone: no text of the record is markup out here
        assert run.record.job in shown

    def test_a_run_that_is_not_on_record_yet_is_one_line(self, stack):
        run = stack.start("recommender")
        assert (
            run._repr_html_()
            == f"<p>Run(&#x27;{run.id}&#x27;, job=&#x27;recommender&#x27;, state=&#x27;running&#x27;)</p>"
        )


class TestWhichDeployment:
    def test_only_one_place_is_taken(self):
        with pytest.raises(
            ValueError, match="stack: only one of stack and url can say where the deployment is"
        ):
            Client(stack="Nightspot", url="https://api.example.com")

    def test_an_address_of_http_is_refused_unless_it_is_this_machine_s(self):
        with pytest.raises(ApiUrlError, match="must be https"):
            Client(url="http://api.example.com")

    def test_nobody_answers(self, serve, api, monkeypatch):
        api.answers["GET /runs"] = [(503, {"detail": "busy"})]
        monkeypatch.setattr("nightspot.aws.runs.api_client.PAUSE_SECONDS", ())
        with pytest.raises((ApiError, TransientAwsError), match="busy"):
            serve(api).runs()
