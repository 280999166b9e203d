"""With nothing but the wheel, in an empty folder: a project is made, trained, deployed, and used by other apps."""

import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

import nightspot

ROOT = Path(__file__).parents[2]
# All in one process: they share the built wheel.
pytestmark = pytest.mark.xdist_group("wheel")

APP = """
import sys
from pathlib import Path

import aws_cdk as cdk
from infra.network import OWN
from lambdas.hello import HELLO

from nightspot.cdk import Settings, TrainingRuns, build_bundle
from nightspot.job.reading import load_jobs

app = cdk.App()
stack = cdk.Stack(app, "Team")
jobs = load_jobs(Path("jobs"))
training = TrainingRuns(
    stack, "Training", jobs=jobs, bundle=build_bundle(jobs, Path("build")), settings=Settings(api=False)
)
cdk.CfnOutput(stack, "Own", value=OWN + HELLO)
app.synth()
own = sorted(name for name in sys.modules if name.partition(".")[0] in ("infra", "lambdas"))
assert own == ["infra", "infra.network", "lambdas", "lambdas.hello"], own
"""


def modules_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}


def test_wheel_and_sdist_have_each_module_once(dist, wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"nightspot"}
    rooms = {"infra": "cdk", "lambdas": "lambdas"}
    for folder, room in rooms.items():
        assert {f"nightspot/{room}/{name}" for name in modules_of(ROOT / folder)} <= names
    locks = {"lambdas/requirements.txt", "local/emulator/requirements.txt"}
    others = {"cli/project/job.yaml", "cli/project/gitignore", "cdk/flags.json", *locks}
    demo = {"demo/jobs/recommender.yaml", "demo/examples/recommender/train.py"}
    workflow = {"statemachine/training_run.asl.json"}
    assert {f"nightspot/{name}" for name in others | demo | workflow} <= names
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        packed = [member.name.partition("/")[2] for member in archive.getmembers()]
    assert [name for name in packed if name.startswith(("infra/", "lambdas/", "statemachine/"))] == []
    assert {name for name in names if ".dist-info/" not in name} <= set(packed)


def test_a_new_project_is_checked_trained_and_drilled(call, installed, tmp_path):
    where = call("python", "-c", "import nightspot; print(nightspot.__file__)")
    assert Path(where.strip()).is_relative_to(installed)
    assert call("nightspot", "--version") == f"{nightspot.__version__}\n"
    call("nightspot", "new", "my-training")
    project = tmp_path / "my-training"
    call("nightspot", "validate", "jobs", folder=project)
    record = json.loads(
        call("nightspot", "run", "jobs/my-training.yaml", "--local", "--json", folder=project)
    )
    assert (record["outcome"], record["deadline_met"]) == ("succeeded", True)
    drilled = json.loads(
        call(
            *("nightspot", "drill", "jobs/my-training.yaml", "--local", "--kills", "2", "--json"),
            folder=project,
        )
    )
    assert drilled["outcome"] == "PASS"
    advice = call(
        *("nightspot", "advise", "jobs/my-training.yaml", "--nights", "2", "--html", "advice.html", "--json"),
        folder=project,
    )
    assert json.loads(advice)["job"] == "my-training"
    assert (project / "advice.html").stat().st_size > 0


@pytest.mark.long
def test_the_demo_needs_no_clone(call, tmp_path):
    record = json.loads(call("nightspot", "demo", "--night", "quiet", "--json"))
    assert (record["job"], record["outcome"]) == ("recommender", "succeeded")
    assert (tmp_path / "build" / "runs" / f"{record['run_id']}.json").is_file()


@pytest.fixture
def with_dependencies(tmp_path):
    """`with_dependencies(folder)`: the functions' wheels are in its build folder, where this clone has any."""

    def with_dependencies(folder):
        if (ROOT / "build" / "dependencies").is_dir():
            shutil.copytree(ROOT / "build" / "dependencies", folder / "build" / "dependencies")

    return with_dependencies


@pytest.mark.long
@pytest.mark.deployment
def test_a_new_project_is_synthesised(call, tmp_path, with_dependencies):
    call("nightspot", "new", "my-training")
    project = tmp_path / "my-training"
    with_dependencies(project)
    made = call("nightspot", "synth", "-c", "nightspot:log_days=7", folder=project).split()
    assert made == ["cdk.out/Nightspot-my-training.template.json"]
    template = json.loads((project / made[0]).read_text())
    functions = [
        resource["Properties"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Function"
    ]
    ours = {each["Handler"] for each in functions if each["Handler"].startswith("nightspot.lambdas.")}
    assert "nightspot.lambdas.plan_run.handler" in ours
    assert template["Outputs"]["StartARun"]["Value"]["Fn::Join"][1][-1].endswith("""'{"job": "smoke"}'""")
    (bundle,) = (project / "build" / "bundle").iterdir()
    for handler in ours:
        assert (bundle / Path(*handler.split(".")[:-1])).with_suffix(".py").is_file()
    retention = {
        resource["Properties"].get("RetentionInDays")
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Logs::LogGroup"
    }
    assert retention == {7}


@pytest.mark.long
@pytest.mark.deployment
def test_the_construct_stands_in_an_app_with_packages_called_infra_and_lambdas(
    call, tmp_path, with_dependencies
):
    files = {
        "app.py": APP,
        "cdk.json": '{"app": "python app.py"}',
        "infra/__init__.py": "",
        "infra/network.py": "OWN = 'own '\n",
        "lambdas/__init__.py": "",
        "lambdas/hello.py": "HELLO = 'hello'\n",
        "jobs/smoke.yaml": (ROOT / "jobs" / "smoke.yaml").read_text(),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with_dependencies(tmp_path)
    assert call("nightspot", "synth").split() == ["cdk.out/Team.template.json"]
    template = json.loads((tmp_path / "cdk.out" / "Team.template.json").read_text())
    assert template["Outputs"]["Own"]["Value"] == "own hello"
    assert [r for r in template["Resources"].values() if r["Type"] == "AWS::StepFunctions::StateMachine"]
