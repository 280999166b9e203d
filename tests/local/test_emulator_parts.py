"""What stands between ministack and this project, without ministack: it has tests of its own in tests/emulator."""

import http.client
import json
import stat
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from cryptography import x509

from nightspot.cdk.bundle import PLATFORM, PYTHON_VERSION, BundleError, target_named
from nightspot.job.reading import load_jobs
from nightspot.local.emulator import environment
from nightspot.local.emulator.account import EmulatorError, emulated_account, exports, make_certificate
from nightspot.local.emulator.sagemaker_server import sagemaker_server
from nightspot.local.emulator.training import command_of_jobs
from nightspot.local.sagemaker.process import CommandError
from nightspot.local.sagemaker.request_rules import ServiceFaultError


class FakeSageMaker:
    def create_training_job(self, request):
        return {"TrainingJobArn": f"arn:{request['TrainingJobName']}"}

    def describe_training_job(self, _request):
        raise ServiceFaultError("ValidationException", "Requested resource not found.")

    stop_training_job = list_training_jobs = describe_training_job


@pytest.fixture
def server(socket_enabled):
    with sagemaker_server() as server:
        yield server


def exchange(server, method, target="", body=None, path=None):
    url = urlsplit(server.url)
    connection = http.client.HTTPConnection(url.netloc, timeout=20)
    try:
        connection.request(method, path or url.path, json.dumps(body or {}), {"X-Amz-Target": target})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None
    finally:
        connection.close()


def test_a_call_is_answered_by_the_simulation(server):
    server.simulator = FakeSageMaker()
    asked = {"TrainingJobName": "a"}
    assert exchange(server, "POST", "SageMaker.CreateTrainingJob", asked) == (
        200,
        {"TrainingJobArn": "arn:a"},
    )


def test_what_the_simulation_refuses_has_awss_code_on_the_wire(server):
    server.simulator = FakeSageMaker()
    status, document = exchange(server, "POST", "SageMaker.DescribeTrainingJob")
    assert (status, document["__type"]) == (400, "ValidationException")


@pytest.mark.parametrize("target", ["SageMaker.CreateEndpoint", "", "CreateEndpoint"])
def test_a_call_that_is_not_simulated_is_named(target, server):
    server.simulator = FakeSageMaker()
    status, document = exchange(server, "POST", target)
    assert (status, document["__type"]) == (400, "UnknownOperationException")


def test_nothing_is_answered_before_the_simulation_is_there(server):
    assert exchange(server, "POST", "SageMaker.ListTrainingJobs")[0] == 400


def test_who_does_not_know_the_path_is_refused(server):
    server.simulator = FakeSageMaker()
    assert exchange(server, "POST", "SageMaker.CreateTrainingJob", path="/")[0] == 403
    server.put_event({"id": "1"})
    assert exchange(server, "GET", path="/") == (204, None)


def test_events_are_fetched_one_by_one_in_their_order(server):
    for number in ("1", "2"):
        server.put_event({"id": number})
    assert [exchange(server, "GET")[1]["id"] for _ in range(2)] == ["1", "2"]


def test_the_certificate_is_of_this_machines_loopback_and_its_key_is_for_nobody_else(tmp_path):
    path = make_certificate(tmp_path)
    made = x509.load_pem_x509_certificate(path.read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert (made.not_valid_after_utc - datetime.now(UTC)).days < 8
    assert stat.S_IMODE(path.with_suffix(".key").stat().st_mode) == 0o600


def test_an_emulator_that_ends_at_once_is_an_error_with_its_last_words(tmp_path, socket_enabled):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no module named ministack\nexit 3\n")
    broken.chmod(0o755)
    account = emulated_account(broken, tmp_path / "account", port=1, sagemaker_url="http://127.0.0.1:1/")
    with pytest.raises(EmulatorError, match="ended with status 3: no module named ministack"):
        account.__enter__()


def test_a_python_that_is_not_there_is_an_error(tmp_path):
    account = emulated_account(
        tmp_path / "python", tmp_path / "account", port=1, sagemaker_url="http://127.0.0.1:1/"
    )
    with pytest.raises(EmulatorError, match="cannot be started"):
        account.__enter__()


def test_the_emulators_environment_is_made_once_and_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls, said = [], []

    def uv(*arguments):
        calls.append(arguments[0])
        if arguments[0] == "venv":
            environment.Path(arguments[-1], "bin").mkdir(parents=True)

    monkeypatch.setattr(environment, "_uv", uv)
    first, second = (environment.emulator_python(said.append) for _ in range(2))
    assert first == second
    assert calls == ["venv", "pip"]
    assert len(said) == 1
    assert [each.name for each in first.parents[2].iterdir()] == [first.parents[1].name]


def test_an_installation_that_fails_leaves_nothing_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(environment, "LOCK_FILE", tmp_path / "lock.txt")
    environment.LOCK_FILE.write_text("no-such-package===1 --hash=none\n")
    monkeypatch.setattr(environment.sys, "executable", str(tmp_path / "python"))
    (tmp_path / "python").write_text("#!/bin/sh\necho it does not resolve >&2\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(EmulatorError, match="it does not resolve"):
        environment.emulator_python(lambda _line: None)
    assert list((tmp_path / "nightspot").iterdir()) == []


def test_a_training_job_runs_its_jobs_local_command(tmp_path):
    jobs = load_jobs(environment.Path(__file__).parents[2] / "jobs")
    command_of = command_of_jobs(jobs, tmp_path)
    found = command_of({"Tags": [{"Key": "nightspot:job", "Value": "recommender"}]})
    assert jobs["recommender"].local is not None
    assert (found.command, found.directory) == (jobs["recommender"].local.command, tmp_path)
    with pytest.raises(CommandError, match="'other', which is no job file"):
        command_of({"Tags": [{"Key": "nightspot:job", "Value": "other"}]})


def test_a_bundle_is_for_lambda_unless_it_is_asked_for_this_machine(monkeypatch):
    assert target_named(None) == target_named("lambda") == (PYTHON_VERSION, PLATFORM)
    assert target_named("this-machine")[1].startswith(("x86_64-", "aarch64-"))
    with pytest.raises(BundleError, match="nightspot:bundle_for: 'arm' must be lambda or this-machine"):
        target_named("arm")
    monkeypatch.setattr("nightspot.cdk.bundle.platforms.system", lambda: "Windows")
    with pytest.raises(BundleError, match="this machine is Windows"):
        target_named("this-machine")


def test_exports_are_lines_for_a_shell():
    assert exports({"A": "b", "C": "with space"}) == "export A=b\nexport C='with space'"
