"""The functions' code: what is in it, and that the same sources give the same deployment."""

import json
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from nightspot.cdk import Bundle, BundleError, build_bundle
from nightspot.cdk.bundle import JOBS_FILE, LEFT_OUT, LOCK_FILE, read_jobs_file, size_bytes
from nightspot.view.html import charts_script

pytestmark = pytest.mark.xdist_group("infra")

ROOT = Path(__file__).parents[2]
# Everything on it is left to the runtime, so that there is nothing to install.
NOTHING_TO_INSTALL = "boto3==1.0.0 \\\n    --hash=sha256:00\n    # via nightspot\npyyaml==1.0\n"
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
    def make(some_jobs=jobs, **target):
        return build_bundle(some_jobs, tree / "build", package=tree / "nightspot", **target)

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
    assert build_bundle(jobs, elsewhere / "build2", package=elsewhere / "nightspot").digest == first.digest


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
        lock = bundle._needed(tree / "nightspot" / LOCK_FILE)
        return bundle._digest(tree, "3.13", lock, [], "{}")

    assert digest("2.14.1") != digest("2.14.2")
    assert digest("2.14.1") == digest("2.14.1")


@pytest.mark.parametrize(
    "target", [{"python_version": "3.12"}, {"platform": "x86_64-manylinux2014"}], ids=str
)
def test_a_bundle_for_another_machine_is_another_one(build, target, monkeypatch):
    from nightspot.cdk import bundle

    asked = []

    def install(lock, fresh, python_version, platform):
        asked.append((python_version, platform))
        (fresh / "wheel.txt").write_text(str(asked[-1]))

    monkeypatch.setattr(bundle, "_install", install)
    ours = build()
    other = build(**target)
    whole = {"python_version": bundle.PYTHON_VERSION, "platform": bundle.PLATFORM, **target}
    assert asked == [(bundle.PYTHON_VERSION, bundle.PLATFORM), (whole["python_version"], whole["platform"])]
    assert (other.path / "wheel.txt").read_text() != (ours.path / "wheel.txt").read_text()
    assert other.digest != ours.digest


def test_the_runtime_s_own_packages_are_not_asked_for(tree):
    from nightspot.cdk import bundle

    asked = bundle._needed(bundle.PACKAGE / LOCK_FILE)
    names = {line.partition("==")[0] for line in asked.splitlines() if not line.startswith(" ")}
    assert {"aws-lambda-powertools", "aws-xray-sdk", "pydantic", "pydantic-core", "tzdata"} <= names
    assert not names & {"boto3", "botocore", "jmespath", "pyyaml", "s3transfer", "urllib3"}
    assert asked.count("--hash=sha256:") >= len(names)


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
    assert size_bytes(bundle.path) < 15_000_000
    top = {path.name for path in bundle.path.iterdir()}
    assert {"nightspot", "pydantic", "aws_lambda_powertools", "aws_xray_sdk", "tzdata"} <= top
    assert not top & {"boto3", "botocore", "urllib3", "yaml", "moto", "aws_cdk", "bin"}
    compiled = [path.name for path in bundle.path.rglob("*.so")]
    assert any(name.startswith("_pydantic_core.") for name in compiled)
    assert [name for name in compiled if "cpython-313-aarch64" not in name] == []
    assert json.loads((bundle.path / JOBS_FILE).read_text()).keys() == jobs.keys()
