"""The API on this machine: who is answered, several jobs in one stage, and what is kept of their runs."""

import http.client
import io
import json
import socket
import sys
import tarfile
import time
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

import pytest

from nightspot.job.model import Job
from nightspot.local.sagemaker.markets import Markets, SimulatedMarket, Supply
from nightspot.local.served_runs import ServedRuns
from nightspot.local.serving import (
    NothingToServeError,
    PortError,
    Refusal,
    Request,
    RequestSender,
    api_of,
    as_user,
    every_day,
    listening,
    loopback_only,
    playable,
    serving,
)
from nightspot.local.stage import records
from nightspot.local.stage.night_files import NIGHTS, Night
from nightspot.local.stage.session import LocalAws, NoLocalCommandError

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
SCALE = 900.0
TRAINER = """
import os, sys, time
from pathlib import Path
Path(os.environ["SM_MODEL_DIR"], "who.txt").write_text(f"{os.environ['WHO']} in {Path.cwd().name}")
time.sleep(float(sys.argv[1]))
"""


def job_of(name, *, seconds=0.0, who=None, local=True, hyperparameters=None, **changes):
    """An hour of work that is due three hours after its start, trained by `seconds` of sleep."""
    own = {
        "local": {
            "command": [sys.executable, "-c", TRAINER, str(seconds)],
            "environment": {"WHO": who or name},
            "time_scale": SCALE,
        }
    }
    return Job.model_validate(
        {
            "name": name,
            "deadline": {"within": "3h"},
            "work": "1h",
            "checkpoint_every": "10m",
            "capacity": {"spot": ["ml.g5.xlarge"], "on_demand": ["ml.g5.xlarge"]},
            "training_job": {
                "RoleArn": "arn:aws:iam::123456789012:role/counter",
                "AlgorithmSpecification": {"TrainingImage": "training:1", "TrainingInputMode": "File"},
                "HyperParameters": hyperparameters or {},
                "OutputDataConfig": {"S3OutputPath": f"s3://{name}-models/"},
                "CheckpointConfig": {"S3Uri": f"s3://{name}-checkpoints/"},
                "ResourceConfig": {"InstanceCount": 1, "VolumeSizeInGB": 10},
                "StoppingCondition": {"MaxRuntimeInSeconds": 7200},
            },
            **(own if local else {}),
            **changes,
        }
    )


def request_of(**headers):
    return Request("GET", "/runs", (), tuple((key.title(), value) for key, value in headers.items()), b"")


class TestWhoIsAnswered:
    @pytest.mark.parametrize("host", ["localhost:8787", "127.0.0.1:8787", "LOCALHOST:8787"])
    def test_this_machine_by_its_own_names(self, host):
        answer = loopback_only(8787, as_user("ada"))(request_of(host=host))
        assert answer == RequestSender("local: ada")

    @pytest.mark.parametrize(
        "host", ["evil.example:8787", "localhost", "localhost:80", "127.0.0.1.evil.example:8787", ""]
    )
    def test_nobody_who_calls_it_by_another_name(self, host):
        answer = loopback_only(8787, as_user("ada"))(request_of(host=host))
        assert isinstance(answer, Refusal)
        assert answer.status == 421
        assert repr(host) in answer.message

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000"])
    def test_no_page_of_another_site(self, origin):
        answer = loopback_only(8787, as_user("ada"))(request_of(host="localhost:8787", origin=origin))
        assert isinstance(answer, Refusal)
        assert (answer.status, repr(origin) in answer.message) == (403, True)

    def test_a_page_of_its_own(self):
        asked = request_of(host="localhost:8787", origin="http://localhost:8787")
        assert loopback_only(8787, as_user("ada"))(asked) == RequestSender("local: ada")


class TestWhatIsPlayed:
    def test_a_job_without_a_local_command_is_left_out(self):
        ready = playable({"a": job_of("a"), "b": job_of("b", local=False)}, None)
        assert (set(ready.jobs), ready.left_out) == ({"a"}, ("b",))

    def test_jobs_of_which_none_can_be_trained_here_are_refused_by_name(self):
        with pytest.raises(NothingToServeError, match=r"local: a, b: at least one job must say"):
            playable({"b": job_of("b", local=False), "a": job_of("a", local=False)}, None)

    def test_all_go_at_the_pace_of_the_slowest(self):
        fast = job_of("fast")
        slow = job_of("slow")
        slow = slow.model_copy(update={"local": slow.local.model_copy(update={"time_scale": 60.0})})
        ready = playable({"fast": fast, "slow": slow}, None)
        assert ready.time_scale == 60.0
        assert {job.local.time_scale for job in ready.jobs.values()} == {60.0}
        assert playable({"fast": fast, "slow": slow}, 120.0).time_scale == 120.0

    def test_a_seed_is_only_for_jobs_that_have_one(self):
        ready = playable(
            {"with": job_of("with", hyperparameters={"seed": "1"}), "without": job_of("without")}, None, 9
        )
        assert ready.jobs["with"].training_job["HyperParameters"] == {"seed": "9"}
        assert ready.jobs["without"].training_job["HyperParameters"] == {}

    @pytest.mark.parametrize("night", NIGHTS.values(), ids=NIGHTS)
    def test_every_day_has_the_same_market(self, night):
        day = 86_400.0
        played = every_day(night).markets
        for hour in range(24):
            at = hour * 3600.0
            for chosen in ("ml.p4d.24xlarge", "ml.p4de.24xlarge"):
                first = night.markets.market_for(chosen, spot=True).state_at(at)
                later = played.market_for(chosen, spot=True)
                assert [later.state_at(at), later.state_at(at + day), later.state_at(at + 30 * day)] == [
                    first
                ] * 3

    def test_a_machine_is_taken_on_the_second_day_as_on_the_first(self):
        market = SimulatedMarket.scripted([{"available": "2h"}, {"reclaim": "1h"}, {"available": "rest"}])
        repeated = every_day(Night("n", "", Markets(default_spot=market))).markets.default_spot
        assert repeated.next_reclaim(3 * 3600.0) == (86_400.0 + 7200.0, False)
        assert repeated.state_at(86_400.0) is Supply.AVAILABLE

    def test_a_market_of_more_than_a_day_is_left_as_it_is(self):
        market = SimulatedMarket.scripted([{"missing": "25h"}, {"available": "rest"}])
        night = Night("n", "", Markets(default_spot=market))
        assert every_day(night) == night


def where(address):
    return address.hostname, address.port


def raw(address, head, body):
    """The answer to a request as it is written here, whose client then writes no more."""
    with socket.create_connection(where(address), timeout=20) as connection:
        connection.sendall(head + b"Host: localhost:%d\r\n\r\n" % address.port + body)
        connection.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        answer.read = partial(bytes, answer.read())
    return answer


class TestTheServer:
    @pytest.fixture
    def address(self, socket_enabled):
        def handler(event):
            user = event["requestContext"]["identity"]["userArn"]
            return {
                "statusCode": 200,
                "headers": {},
                "body": json.dumps([event["path"], event["body"], user]),
            }

        with serving(handler, listening(0), as_user("ada")) as url:
            yield urlsplit(url)

    def asked(self, address, method="GET", path="/", body=None, **headers):
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        found = answer.status, json.loads(answer.read())
        connection.close()
        return found

    def test_an_event_goes_in_and_an_answer_comes_out(self, address):
        assert self.asked(address, "POST", "/jobs/a%20b/runs", b"{}") == (
            200,
            ["/jobs/a%20b/runs", "{}", "local: ada"],
        )

    def test_it_listens_on_the_loopback_address_alone(self, address):
        assert address.hostname == "127.0.0.1"

    def test_a_name_that_a_page_made_up_is_refused(self, address):
        status, problem = self.asked(address, Host="rebound.example")
        assert (status, problem["title"]) == (421, "Misdirected Request")

    @pytest.mark.parametrize(("length", "status"), [("10485761", 413), ("7", 400)])
    def test_a_length_that_is_not_the_body_s_is_refused(self, address, caplog, length, status):
        answer = raw(address, f"POST / HTTP/1.1\r\nContent-Length: {length}\r\n".encode(), b"hello")
        assert (answer.status, json.loads(answer.read())["status"]) == (status, status)
        assert "Traceback" not in caplog.text

    def test_a_port_that_is_taken_is_a_clear_error(self, address):
        with pytest.raises(PortError, match=rf"--port: {address.port}: cannot be listened on .*in use"):
            listening(address.port)

    def test_nobody_answers_afterwards(self, socket_enabled):
        with serving(lambda _event: {"statusCode": 200}, listening(0), as_user("ada")) as url:
            port = urlsplit(url).port
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
            pass


@pytest.fixture
def stage_of(tmp_path, slower):
    """stage_of(*jobs, night=…) -> an emulated AWS to open, at half the pace when a test is tried again."""

    def opened(*jobs, night=None, **changes):
        return LocalAws(
            jobs={job.name: job for job in jobs},
            night=night or Night("quiet", ""),
            scratch=tmp_path / "scratch",
            started_at=MIDNIGHT,
            price=lambda _instance_type, _region: 10.0,
            time_scale=SCALE / slower,
            **changes,
        )

    return opened


def asked_of(api, method, path, body=None):
    from nightspot.local.serving import event_of

    content = b"" if body is None else json.dumps(body).encode()
    headers = [("Content-Type", "application/json")]
    answer = api(event_of(method, path, [], headers, content, identity_arn="local: ada"))
    return answer["statusCode"], json.loads(answer["body"])


@pytest.mark.workflow
class TestSeveralJobsInOneStage:
    def test_each_is_trained_by_its_own_command_in_its_own_directory(self, stage_of, tmp_path):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        aws = stage_of(job_of("one"), job_of("two"), directory=tmp_path, directories={"two": elsewhere})
        with aws.open() as stage:
            arns = [stage.start(name, {"job": name}, f"{name}-1") for name in ("one", "two")]
            ended = [stage.wait(arn) for arn in arns]
            again = stage.wait(stage.start("one", {"job": "one"}, "one-2"))
            said = {name: who_trained(stage, name) for name in ("one", "two")}
        assert [each["status"] for each in (*ended, again)] == ["SUCCEEDED"] * 3
        assert said == {"one": [f"one in {tmp_path.name}"] * 2, "two": ["two in elsewhere"]}

    def test_a_job_that_cannot_be_trained_here_is_not_started(self, stage_of):
        with stage_of(job_of("one"), job_of("none", local=False)).open() as stage:
            with pytest.raises(NoLocalCommandError, match=r"job 'none' has no local.command"):
                stage.start("none", {"job": "none"}, "none-1")
            assert stage.simulator.states() == []

    def test_a_stage_without_such_a_job_is_not_even_opened(self, tmp_path):
        aws = LocalAws({}, Night("quiet", ""), tmp_path / "scratch", MIDNIGHT, lambda *_: 10.0)
        with pytest.raises(NoLocalCommandError, match="none of"), aws.open():
            pass
        assert not (tmp_path / "scratch").exists()


def who_trained(stage, job):
    s3 = stage.clients["s3"]
    found = []
    for entry in s3.list_objects_v2(Bucket=f"{job}-models")["Contents"]:
        body = s3.get_object(Bucket=f"{job}-models", Key=entry["Key"])["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            found.append(archive.extractfile("who.txt").read().decode())
    return found


@pytest.mark.workflow
class TestWhatIsKept:
    def test_a_run_that_the_api_started_is_recorded_as_a_night_of_run_local(self, stage_of, tmp_path):
        kept = []
        night = NIGHTS["quiet"]
        with stage_of(job_of("one"), night=night).open() as stage:
            api = api_of(stage)
            with ServedRuns(stage, night, tmp_path / "runs", {"job_file": "jobs"}, on_kept=kept.append):
                body = {"market": "on_demand", "hyperparameters": {"depth": "3"}}
                status, started = asked_of(api, "POST", "/jobs/one/runs", body)
                assert status == 202, started
                stage.wait(started["execution_arn"])
            status, shown = asked_of(api, "GET", f"/runs/{started['run_id']}")
        assert (status, shown["outcome"]) == (200, "succeeded")
        (one,) = kept
        assert (one.run_id, one.outcome, one.interrupted) == (started["run_id"], "succeeded", False)
        record = records.read(tmp_path / "runs", started["run_id"])
        assert record.overrides == {"market": "on_demand", "hyperparameters": {"depth": "3"}}
        assert record.simulated is True
        assert record.execution_status == "SUCCEEDED"
        assert record.cost_usd == shown["cost_usd"] > 0
        assert record.story == night.story
        assert record.job == "one"

    def test_a_run_that_is_going_on_at_the_end_is_recorded_as_stopped(self, stage_of, tmp_path):
        kept = []
        with stage_of(job_of("one", seconds=60)).open() as stage:
            arn = stage.start("one", {"job": "one"}, "one-1")
            runs = ServedRuns(stage, NIGHTS["quiet"], tmp_path / "runs", {}, on_kept=kept.append)
            with runs:
                until(lambda: [s for s in stage.simulator.states() if s.secondary == "Training"])
                (ended,) = runs.close()
            assert stage.wait(arn)["status"] == "ABORTED"
        assert kept == [ended]
        assert ended.interrupted
        record = records.read(tmp_path / "runs", ended.run_id)
        assert (record.outcome, record.execution_status) == ("stopped", "ABORTED")
        assert "nightspot local serve was ended" in record.because
        assert record.ended_at is not None
        assert record.ending == "stopped"

    def test_a_run_that_crashed_is_kept_once_when_another_execution_has_ended_it(self, stage_of, tmp_path):
        kept, crashed = [], []

        def wrap(name, handler):
            def plan(event):
                return {**handler(event), "most_misses": 0}  # the first failure is a crash

            def decide(event):
                arn = event["run"]["execution_arn"]
                if arn in crashed or not crashed:
                    crashed.append(arn)
                    raise KeyError("boom")
                return handler(event)

            return {"PlanRun": plan, "DecideNextStep": decide}.get(name, handler)

        with stage_of(job_of("one"), wrap=wrap).open() as stage:
            with ServedRuns(stage, NIGHTS["quiet"], tmp_path, {}, on_kept=kept.append):
                given = {"job": "one", "market": "on_demand"}
                assert stage.wait(stage.start("one", given, "one-1"))["status"] == "SUCCEEDED"
            (one,) = kept
        record = records.read(tmp_path, one.run_id)
        assert (record.outcome, record.execution_status) == ("succeeded", "SUCCEEDED")
        assert record.overrides == {"market": "on_demand"}
        assert record.execution_arn.endswith(f"one-{one.run_id}-r1")

    def test_an_input_that_the_plan_refused_is_recorded_with_its_reason(self, stage_of, tmp_path):
        with stage_of(job_of("one")).open() as stage, ServedRuns(stage, NIGHTS["quiet"], tmp_path, {}):
            stage.wait(stage.start("one", {"job": "one", "deadline": "soon"}, "one-1"))
        record = records.read(tmp_path, "refused")
        assert record.outcome == "refused"
        assert "deadline" in record.because
        assert record.overrides == {"deadline": "soon"}

    def test_a_folder_that_cannot_be_written_is_told_and_stops_nothing(self, stage_of, tmp_path):
        (tmp_path / "runs").write_text("a file")
        faults = []
        with (
            stage_of(job_of("one")).open() as stage,
            ServedRuns(stage, NIGHTS["quiet"], tmp_path / "runs", {}, on_fault=faults.append),
        ):
            assert stage.wait(stage.start("one", {"job": "one"}, "one-1"))["status"] == "SUCCEEDED"
        assert isinstance(faults[0], OSError)


def until(happened, real_seconds=60):

    deadline = time.monotonic() + real_seconds
    while not happened():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.02)
