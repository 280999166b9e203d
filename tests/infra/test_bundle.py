"""The functions' code: what is in it, and that the same sources give the same deployment."""

import ast
import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from importlib.metadata import PackageNotFoundError
from importlib.util import cache_from_source
from pathlib import Path

import botocore
import pytest

from nightspot.cdk import Bundle, BundleError, SettingsError, build_bundle, byte_code, wheels
from nightspot.cdk import bundle as bundles
from nightspot.cdk.bundle import (
    JOBS_FILE,
    LEFT_OUT,
    LOCK_FILE,
    PACKAGE,
    PLATFORM,
    PYTHON_VERSION,
    read_jobs_file,
    size_bytes,
)
from nightspot.cdk.wheels import Target
from nightspot.job.errors import InvalidJobError
from nightspot.job.model import Code
from nightspot.lambdas.dependencies import carried_code, read_environment
from nightspot.view.html import charts_script

pytestmark = pytest.mark.xdist_group("infra")

ROOT = Path(__file__).parents[2]
# All of it is left out, so that there is nothing to install.
NOTHING_TO_INSTALL = "pyyaml==1.0.0 \\\n    --hash=sha256:00\n    # via nightspot\n"
HANDLERS = ("close_run", "decide_next_step", "plan_run", "reconcile", "record_outcome", "wake_run")
OF_PAGES = {".css", ".j2", ".js"}
ABSENT_IN_LAMBDA = ("aws_cdk", "moto", "numpy", "rich", "typer", "vl_convert", "yaml")


@pytest.fixture
def tree(tmp_path):
    """A copy of the sources, with a lock file that asks for nothing."""
    root = tmp_path / "tree"
    shutil.copytree(ROOT / "nightspot", root / "nightspot", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "nightspot" / LOCK_FILE).write_text(NOTHING_TO_INSTALL)
    return root


@pytest.fixture
def build(tree, jobs):
    def make(some_jobs=jobs, *, byte_code=False, **target):
        return build_bundle(
            some_jobs, tree / "build", package=tree / "nightspot", byte_code=byte_code, **target
        )

    return make


def files(bundle):
    return {path.relative_to(bundle.path).as_posix() for path in bundle.path.rglob("*") if path.is_file()}


def test_it_holds_our_code_the_prices_and_the_jobs(build):
    found = files(build())
    assert {f"nightspot/lambdas/{name}.py" for name in HANDLERS} <= found
    assert {"nightspot/decide/policy.py", "nightspot/aws/prices.json", JOBS_FILE} <= found


def test_it_leaves_out_what_never_runs_in_a_function(build):
    found = files(build())
    assert not [name for name in found if name.startswith(LEFT_OUT)]
    assert not [name for name in found if Path(name).suffix not in {".py", ".json"} | OF_PAGES]
    assert {Path(name).parts[:2] for name in found if Path(name).suffix in OF_PAGES} == {
        ("nightspot", "view")
    }
    for part in LEFT_OUT:
        assert (ROOT / part).exists(), part


def test_it_holds_what_pages_are_made_of_and_the_script_that_draws_their_charts(build):
    bundle = build()
    found = files(bundle)
    own = {
        f"nightspot/view/html/templates/{path.name}"
        for path in (ROOT / "nightspot/view/html/templates").iterdir()
    }
    assert own
    assert own <= found
    script = charts_script.read(bundle.path / "nightspot" / "view" / "html" / charts_script.FILE.name)
    assert "vegaEmbed" in charts_script.checked(script)


def test_what_makes_the_charts_must_be_there(build, monkeypatch):
    def missing():
        raise PackageNotFoundError("vl-convert-python")

    monkeypatch.setattr(charts_script, "made_by", missing)
    with pytest.raises(BundleError, match=r"vl-convert-python is missing: install nightspot\[cdk\]"):
        build()


def test_another_version_of_what_draws_charts_gives_another_bundle(build, monkeypatch):
    first = build()
    monkeypatch.setattr(charts_script, "made_by", lambda: "vl-convert-python 99")
    assert build().digest != first.digest


def test_the_job_files_travel_as_checked_json(build, jobs):
    bundle = build()
    assert sorted(read_jobs_file(bundle)) == ["by-hand", "recommender", "search"]
    assert read_jobs_file(bundle)["recommender"]["schedule"]["timezone"] == "Europe/Dublin"


@pytest.fixture
def coded(tmp_path, jobs):
    """`coded("x = 1")`: the jobs, of which `recommender` has this script as its code."""

    def make(script):
        project = tmp_path / "project"
        (project / "training").mkdir(parents=True, exist_ok=True)
        (project / "training" / "train.py").write_text(script)
        code = Code(source_dir="training", entry_point="train.py").beside(project)
        return {**jobs, "recommender": jobs["recommender"].model_copy(update={"code": code})}

    return make


def test_the_code_of_jobs_travels_beside_their_files(build, coded, monkeypatch):
    bundle = build(coded("x = 1"))
    environment = {"TABLE_NAME": "runs", "BUS_NAME": "bus", "JOBS_FILE": str(bundle.path / JOBS_FILE)}
    named = {f"NIGHTSPOT_{name}": value for name, value in environment.items()}
    carried = carried_code(read_environment({**named, "AWS_REGION": "eu-west-1"}))
    assert list(carried.versions) == ["recommender"]
    version = carried.versions["recommender"]
    assert version.entry_point == "train.py"
    with tarfile.open(fileobj=io.BytesIO(carried.body(version.digest))) as archive:
        assert archive.extractfile("train.py").read() == b"x = 1"
    # What was deployed says so: `nightspot push` and `nightspot retry` read it.
    assert str(bundle.path) not in (bundle.path / "code.json").read_text()


def test_changed_code_gives_another_bundle_and_the_same_code_the_same(build, coded):
    first = build(coded("x = 1")).digest
    assert build(coded("x = 2")).digest != first
    assert build(coded("x = 1")).digest == first


def test_without_code_nothing_of_it_is_in_the_bundle(build):
    assert not {name for name in files(build()) if name.startswith("code")}


def test_more_code_than_functions_should_carry_is_refused(build, coded, monkeypatch):
    monkeypatch.setattr(bundles, "MOST_CODE_BYTES", 10)
    with pytest.raises(InvalidJobError, match="MiB of archives in all"):
        build(coded("x = 1"))


def test_the_same_sources_give_the_same_bundle(build, tree):
    first = build()
    (tree / "nightspot" / "decide" / "policy.py").touch()
    (tree / "nightspot" / "__pycache__").mkdir()
    (tree / "nightspot" / "__pycache__" / "policy.py").write_text("compiled")
    (tree / "nightspot" / "notes.txt").write_text("not ours to deploy")
    (tree / "nightspot" / "cli").mkdir(exist_ok=True)
    (tree / "nightspot" / "cli" / "show.py").write_text("never runs in a function")
    assert build() == first


def test_two_that_make_the_same_bundle_at_once_get_one_and_leave_nothing_else(build, tree, monkeypatch):
    script, others = charts_script.make(), []

    def meanwhile() -> str:
        if not others:
            others.append(None)  # the other one's own call
            others[0] = build()
        return script

    monkeypatch.setattr(charts_script, "make", meanwhile)
    bundle = build()
    assert bundle == others[0]
    assert [path.name for path in bundle.path.parent.iterdir()] == [bundle.path.name]
    assert (bundle.path / "nightspot" / "lambdas" / "plan_run.py").is_file()


def test_the_same_sources_elsewhere_give_the_same_digest(build, tree, jobs, tmp_path):
    first = build()
    elsewhere = tree.rename(tmp_path / "elsewhere")
    again = build_bundle(jobs, elsewhere / "build2", package=elsewhere / "nightspot", byte_code=False)
    assert again.digest == first.digest


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("nightspot/decide/policy.py", "# changed\n"),
        ("nightspot/aws/prices.json", "{}"),
        ("nightspot/lambdas/wake_run.py", "# changed\n"),
        ("nightspot/lambdas/added.py", "# new\n"),
    ],
)
def test_a_changed_source_gives_another_bundle(build, tree, path, text):
    first = build()
    (tree / path).write_text(text)
    second = build()
    assert second.digest != first.digest
    assert (second.path / path).read_text() == text


def test_a_removed_source_is_gone_from_the_bundle(build, tree):
    first = build()
    (tree / "nightspot" / "lambdas" / "wake_run.py").unlink()
    second = build()
    assert second.digest != first.digest
    assert "nightspot/lambdas/wake_run.py" in files(first) - files(second)


def test_a_changed_job_gives_another_bundle(build, jobs):
    assert build().digest != build({"search": jobs["search"]}).digest


def test_another_version_of_what_is_installed_gives_another_bundle(tree, jobs):
    from nightspot.cdk import bundle

    def digest(version):
        (tree / "nightspot" / LOCK_FILE).write_text(f"{NOTHING_TO_INSTALL}pydantic=={version}\n")
        lock = wheels.locked(tree / "nightspot" / LOCK_FILE)
        return bundle._digest(tree, wheels.content_of(lock, Target("3.13", "any")), [], "{}")

    assert digest("2.14.1") != digest("2.14.2")
    assert digest("2.14.1") == digest("2.14.1")


@pytest.mark.parametrize(
    "target", [{"python_version": "3.12"}, {"platform": "x86_64-manylinux2014"}], ids=str
)
def test_a_bundle_for_another_machine_is_another_one(build, target, monkeypatch):
    asked = []

    def install(lock, fresh, machine):
        asked.append(machine)
        (fresh / "wheel.txt").write_text(str(machine))

    monkeypatch.setattr(wheels, "_install", install)
    ours = build()
    other = build(**target)
    lambdas = {"python_version": PYTHON_VERSION, "platform": PLATFORM}
    assert asked == [Target(**lambdas), Target(**{**lambdas, **target})]
    assert (other.path / "wheel.txt").read_text() != (ours.path / "wheel.txt").read_text()
    assert other.digest != ours.digest


def test_the_functions_bring_the_sdk_that_is_locked():
    """The runtime's own is of another date in each region, and knows no newer field of CreateTrainingJob."""
    asked = wheels.locked(PACKAGE / LOCK_FILE)
    names = {line.partition("==")[0] for line in asked.splitlines() if not line.startswith(" ")}
    assert {"aws-lambda-powertools", "aws-xray-sdk", "pydantic", "pydantic-core", "tzdata"} <= names
    assert {"boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"} <= names
    assert "pyyaml" not in names
    assert asked.count("--hash=sha256:") >= len(names)


def clients_in(package):
    """The services of which the deployed code makes clients, and the modules that make any themselves."""
    services, makers = set(), set()
    for path in bundle_sources(package):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called == "late_client":
                services.add(ast.literal_eval(node.args[0]))
            elif called in {"client", "resource", "create_client", "Session"}:
                makers.add(path.relative_to(package).as_posix())
    return services, makers


def bundle_sources(package):
    from nightspot.cdk import bundle

    return [path for path in bundle._sources(package) if path.suffix == ".py"]


def test_the_sdk_s_data_is_of_the_services_that_functions_make_clients_of():
    services, makers = clients_in(PACKAGE)
    assert services == set(wheels.AWS_SERVICES)
    # By the service's name that it is given; nobody else makes any.
    assert makers == {"lambdas/dependencies.py"}


def test_of_the_sdk_s_data_the_rest_is_cut(tmp_path):
    data = tmp_path / "data"
    for name in (
        "endpoints.json",
        "partitions.json",
        "_retry.json",
        "sdk-default-configuration.json",
        "s3/2006-03-01/service-2.json.gz",
        "s3/2006-03-01/examples-1.json",
        "ec2/2014-09-01/service-2.json.gz",
        "ec2/2016-11-15/service-2.json.gz",
        "ec2/2016-11-15/endpoint-rule-set-1.json.gz",
        "workspaces/2015-04-08/service-2.json.gz",
    ):
        path = data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    wheels._cut_sdk_data(data)
    assert {path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file()} == {
        "endpoints.json",
        "partitions.json",
        "_retry.json",
        "sdk-default-configuration.json",
        "s3/2006-03-01/service-2.json.gz",
        "ec2/2016-11-15/service-2.json.gz",
        "ec2/2016-11-15/endpoint-rule-set-1.json.gz",
    }


def test_wheels_that_cannot_be_installed_are_told_with_the_installer_s_words(tree, jobs):
    lock = tree / "nightspot" / LOCK_FILE
    lock.write_text("nightspot-without-a-hash==1\n")
    with pytest.raises(BundleError, match=r"(?s)could not install the functions' dependencies.*hash"):
        build_bundle(jobs, tree / "build", package=tree / "nightspot")
    assert not list((tree / "build").glob("bundle/*"))


def test_a_changed_source_changes_the_code_s_key_in_the_template_and_nothing_else(
    synthesise, deployed, bundle
):
    same = synthesise(bundle=Bundle(bundle.path, bundle.digest)).template
    assert same == deployed.template
    changed = synthesise(bundle=Bundle(bundle.path, "1" * 64)).template
    assert changed != deployed.template
    for template in (same, changed):
        for resource in template["Resources"].values():
            if resource["Type"] == "AWS::Lambda::Function":
                del resource["Properties"]["Code"]["S3Key"]
    assert changed == same


def test_every_handler_finds_its_imports_in_the_bundle(build):
    """With dependencies of this machine's kind: the bundle's own are compiled for the functions' processor."""
    script = f"""
import importlib, sys
sys.path[:0] = [{str(build().path)!r}, {sysconfig.get_path("purelib")!r}]
for name in {ABSENT_IN_LAMBDA!r}:
    sys.modules[name] = None  # an import of it raises
for name in {HANDLERS!r}:
    handler = importlib.import_module(f"nightspot.lambdas.{{name}}").handler
    assert callable(handler), name
print(sys.modules["nightspot.decide.policy"].__file__)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script],
        env={"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(build().path)


@pytest.mark.deployment
@pytest.mark.xdist_group("deployment")  # shares the project's build folder with the deployment itself
def test_the_real_bundle_is_small_and_complete(jobs):
    """Installs the wheels from PyPI, unless the build folder holds them already."""
    bundle = build_bundle(jobs, ROOT / "build")
    assert size_bytes(bundle.path) < (45_000_000 if bundle.has_byte_code else 25_000_000)
    top = {path.name for path in bundle.path.iterdir()}
    assert {"nightspot", "pydantic", "aws_lambda_powertools", "aws_xray_sdk", "tzdata", "boto3"} <= top
    assert not top & {"yaml", "moto", "aws_cdk", "bin"}
    data = bundle.path / "botocore" / "data"
    assert {path.name for path in data.iterdir() if path.is_dir()} == set(wheels.AWS_SERVICES)
    assert size_bytes(data) < 6_000_000
    compiled = [path.name for path in bundle.path.rglob("*.so")]
    assert any(name.startswith("_pydantic_core.") for name in compiled)
    assert [name for name in compiled if "cpython-313-aarch64" not in name] == []
    assert json.loads((bundle.path / JOBS_FILE).read_text()).keys() == jobs.keys()


HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def test_byte_code_is_written_for_the_functions_python_and_says_where_the_files_lie_in_lambda(build):
    """By this interpreter, for functions of its version."""
    bundle = build(byte_code=True, python_version=HERE)
    assert bundle.has_byte_code
    sources = sorted(path for path in bundle.path.rglob("*.py"))
    compiled = [Path(cache_from_source(str(path))) for path in sources]
    assert sources
    assert [path for path in compiled if not path.is_file()] == []
    policy = compiled[sources.index(bundle.path / "nightspot" / "decide" / "policy.py")].read_bytes()
    # https://docs.python.org/3/library/importlib.html (PEP 552): by a digest of the source that nobody checks.
    assert int.from_bytes(policy[4:8], "little") == 0b01
    assert b"/var/task/nightspot/decide/policy.py" in policy
    assert str(bundle.path).encode() not in policy


def test_what_is_compiled_is_loaded_as_it_is_however_old_its_source_looks(build):
    bundle = build(byte_code=True, python_version=HERE)
    policy = bundle.path / "nightspot" / "decide" / "policy.py"
    # Of another time and content than the byte code: Lambda's files have the times of the upload.
    policy.write_text("raise RuntimeError('compiled anew')\n")
    path = f"import sys; sys.path.insert(0, {str(bundle.path)!r})"
    script = f"{path}; import nightspot.decide.policy as it; print(it.next_step)"
    done = subprocess.run(
        [sys.executable, "-B", "-c", script], capture_output=True, text=True, check=False, cwd=bundle.path
    )
    assert "next_step" in done.stdout, done.stderr


def test_the_same_sources_give_the_same_byte_code_wherever_they_are_built(build, tree, tmp_path, jobs):
    first = build(byte_code=True, python_version=HERE)
    elsewhere = build_bundle(
        jobs, tmp_path / "elsewhere", package=tree / "nightspot", python_version=HERE, byte_code=True
    )
    assert elsewhere.digest == first.digest
    for path in first.path.rglob("*.pyc"):
        assert (elsewhere.path / path.relative_to(first.path)).read_bytes() == path.read_bytes(), path.name


def test_without_a_python_of_the_functions_version_the_sources_are_deployed(build, monkeypatch):
    compiled = build(byte_code=True, python_version=HERE)
    monkeypatch.setattr("nightspot.cdk.bundle.python_of", lambda _version: None)
    bundle = build(byte_code=True, python_version=HERE)
    assert not bundle.has_byte_code
    assert not [name for name in files(bundle) if name.endswith(".pyc")]
    # Under one name, the one that was uploaded first would stand for both.
    assert bundle.digest != compiled.digest


def test_a_field_that_the_functions_botocore_does_not_know_is_refused_before_the_deployment(
    build, jobs, monkeypatch
):
    """As where the botocore that checks the job files is newer than the locked one."""

    def install(_lock, fresh, _machine):
        installed = Path(botocore.__file__).parent / "data" / "sagemaker" / "2017-07-24"
        model = json.loads(gzip.decompress((installed / "service-2.json.gz").read_bytes()))
        del model["shapes"]["CreateTrainingJobRequest"]["members"]["RetryStrategy"]
        older = fresh / "botocore" / "data" / "sagemaker" / "2017-07-24" / "service-2.json"
        older.parent.mkdir(parents=True)
        older.write_text(json.dumps(model))

    monkeypatch.setattr(wheels, "_install", install)
    build()
    job = jobs["by-hand"]
    newer = {**job.training_job, "RetryStrategy": {"MaximumRetryAttempts": 1}}
    with pytest.raises(InvalidJobError) as refused:
        build({"by-hand": job.model_copy(update={"training_job": newer})})
    (problem,) = refused.value.problems
    assert problem.field == "by-hand: training_job.RetryStrategy"
    assert problem.rule.startswith("is not a field of CreateTrainingJob")
    assert "the functions' botocore" in problem.rule


@pytest.mark.parametrize("has_byte_code", [True, False])
def test_who_deploys_without_byte_code_is_told_so(bundle, monkeypatch, capsys, has_byte_code):
    from nightspot.cdk import __main__ as deploying

    def stop(*_args, **_options):
        raise SettingsError("nightspot:x: the end of this test")

    made = Bundle(bundle.path, bundle.digest, has_byte_code=has_byte_code)
    monkeypatch.setattr(deploying, "load_jobs", lambda _folder: {})
    monkeypatch.setattr(deploying, "build_bundle", lambda _jobs, _build, **_target: made)
    monkeypatch.setattr(deploying, "NightspotStack", stop)
    with pytest.raises(SystemExit, match="the end of this test"):
        deploying.main()
    told = capsys.readouterr().err
    assert ("there is no Python 3.13 on this machine" in told) is not has_byte_code


def test_a_source_that_does_not_compile_is_no_bundle(build, tree):
    (tree / "nightspot" / "decide" / "policy.py").write_text("def half(:\n")
    with pytest.raises(BundleError, match=r"(?s)could not compile the functions' code.*policy\.py"):
        build(byte_code=True, python_version=HERE)
    assert not [path for path in (tree / "build" / "bundle").iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    "said", ["", "cpython-312", "pypy311-pp73"], ids=["nothing", "another", "no CPython"]
)
def test_what_only_looks_like_the_functions_python_compiles_nothing(monkeypatch, said):
    """A shim that finds no interpreter, or finds another one."""
    monkeypatch.setattr(byte_code, "_output", lambda command: "/usr/bin/python" if "uv" in command else said)
    byte_code.python_of.cache_clear()
    assert byte_code.python_of("3.13") is None
    byte_code.python_of.cache_clear()


# Calls SageMaker through the deployed function, traced, on a wire that answers; X-Ray's daemon is this socket.
IN_LAMBDA = """
import importlib, io, json, os, socket, sys
bundle, services, handlers = json.loads(sys.argv[1])
sys.path.insert(0, bundle)
daemon = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
daemon.bind(("127.0.0.1", 0))
daemon.settimeout(20)
os.environ["AWS_XRAY_DAEMON_ADDRESS"] = f"127.0.0.1:{daemon.getsockname()[1]}"
for name in handlers:
    importlib.import_module(f"nightspot.lambdas.{name}")
from nightspot.lambdas import start_training_job
from nightspot.lambdas.dependencies import late_client
for service in services:
    late_client(service).meta.service_model.operation_names
import boto3, botocore
from botocore.awsrequest import AWSResponse
client = start_training_job.training_jobs()._client._made
class Raw:
    def stream(self, **_):
        yield b'{"TrainingJobArn": "arn"}'
client.meta.events.register("before-send.sagemaker", lambda request, **_: AWSResponse(request.url, 200, {}, Raw()))
class Context:
    function_name, memory_limit_in_mb, aws_request_id = "StartTrainingJob", 512, "1"
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:StartTrainingJob"
request = {
    "TrainingJobName": "nightspot-x-20261121-abc123-1", "RoleArn": "arn:aws:iam::123456789012:role/training",
    "OutputDataConfig": {"S3OutputPath": "s3://m/"}, "ResourceConfig": {"VolumeSizeInGB": 1},
    "StoppingCondition": {}, "AlgorithmSpecification": {"TrainingInputMode": "File"},
}
answer = start_training_job.handler({"request": request}, Context())
traced = []
while not any("CreateTrainingJob" in text for text in traced):
    traced.append(daemon.recv(65535).decode())
sources = [boto3.__file__, botocore.__file__]
print(json.dumps({"answer": answer, "traced": traced, "sources": sources}))
"""


@pytest.fixture(scope="module")
def for_this_machine(jobs):
    """The real bundle, but with wheels that run here. From PyPI, unless the build folder holds them already."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    platform = f"{os.uname().machine}-manylinux2014"
    return build_bundle(jobs, ROOT / "build", python_version=version, platform=platform)


@pytest.mark.deployment
@pytest.mark.xdist_group("deployment")
def test_with_nothing_but_the_bundle_every_client_is_made_and_a_start_is_traced(for_this_machine):
    """No site-packages: what Lambda's runtime would bring is not there either."""
    handlers = [path.stem for path in (PACKAGE / "lambdas").glob("*.py") if path.stem != "__init__"]
    given = json.dumps([str(for_this_machine.path), wheels.AWS_SERVICES, handlers])
    environment = {
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "LAMBDA_TASK_ROOT": "/var/task",
        "AWS_LAMBDA_FUNCTION_NAME": "StartTrainingJob",
        "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
    }
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", IN_LAMBDA, given],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["answer"] == {"training_job_arn": "arn", "fault": None}
    assert all(Path(source).is_relative_to(for_this_machine.path) for source in said["sources"])
    subsegments = [json.loads(text.splitlines()[-1]) for text in said["traced"]]
    (call,) = (s for s in subsegments if s.get("aws", {}).get("operation") == "CreateTrainingJob")
    assert (call["name"], call["namespace"]) == ("api.sagemaker", "aws")
