"""The files under examples/ci: their parts fit each other, the page about them, and the command line."""

import inspect
import re
from pathlib import Path

import pytest
import typer
import yaml

from nightspot.cli import app
from nightspot.cli.runs.start import StartOverrides

CI = Path(__file__).parents[2] / "examples" / "ci"
REUSABLE = CI / "github" / "nightspot-train.yml"
CALLER = CI / "github" / "example-caller.yml"
PAGE = CI.parents[1] / "docs" / "ci.md"
GITLAB = CI / "gitlab" / "nightspot.gitlab-ci.yml"


def document(path):
    # YAML 1.1 reads the key `on` as true.
    return {"on" if key is True else key: value for key, value in yaml.safe_load(path.read_text()).items()}


def scripts():
    for path in (REUSABLE, CALLER):
        for name, job in document(path)["jobs"].items():
            for step in job.get("steps", ()):
                if "run" in step:
                    yield pytest.param(step["run"], id=f"{path.stem}: {name}: {step['name']}")


@pytest.mark.parametrize("script", list(scripts()))
def test_no_expression_stands_in_a_script(script):
    assert "${{" not in script


def test_github_s_workflow_has_the_parts_that_github_knows():
    workflow = document(REUSABLE)
    assert workflow.keys() == {"name", "on", "jobs"}
    call = workflow["on"]["workflow_call"]
    assert call.keys() == {"inputs", "outputs"}
    for given in call["inputs"].values():
        assert given.keys() in ({"description", "type", "required"}, {"description", "type", "default"})
        kind = {"string": str, "boolean": bool, "number": int}[given["type"]]
        assert given.get("required") is True or type(given["default"]) is kind
    (job,) = workflow["jobs"].values()
    assert job["permissions"] == {"id-token": "write", "contents": "read"}
    # `queue: max`, or GitHub cancels a pending job for the next one; it is refused beside cancel-in-progress.
    assert job["concurrency"].items() >= {"cancel-in-progress": False, "queue": "max"}.items()
    assert all(step.keys() <= {"name", "id", "if", "env", "run", "uses", "with"} for step in job["steps"])
    assert all(("run" in step) != ("uses" in step) for step in job["steps"])


def test_everything_that_the_workflow_refers_to_is_there():
    text = REUSABLE.read_text()
    workflow = document(REUSABLE)
    (job,) = workflow["jobs"].values()
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(workflow["on"]["workflow_call"]["inputs"])
    assert set(re.findall(r"jobs\.train\.outputs\.([\w-]+)", text)) == set(job["outputs"])
    assert {"run-id", "outcome", "cost-usd"} == set(workflow["on"]["workflow_call"]["outputs"])
    written = {
        (step["id"], name)
        for step in job["steps"]
        if "id" in step
        for name in re.findall(r"""(?:echo "|write\(f")([\w-]+)=""", step["run"])
    }
    read = set(re.findall(r"steps\.([\w-]+)\.outputs\.([\w-]+)", text))
    assert read == written


def test_actions_of_others_are_pinned_to_a_commit_and_say_which_version_it_is():
    uses = re.findall(r"^\s*(?:- )?uses: (.+)$", REUSABLE.read_text(), re.MULTILINE)
    assert uses
    for line in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_the_caller_hands_over_what_the_workflow_asks_for_and_lets_it_ask_for_a_token():
    caller = document(CALLER)
    train = caller["jobs"]["train"]
    assert train["uses"] == f"./.github/workflows/{REUSABLE.name}"
    inputs = document(REUSABLE)["on"]["workflow_call"]["inputs"]
    assert train["with"].keys() <= inputs.keys()
    assert {name for name, given in inputs.items() if given.get("required")} <= train["with"].keys()
    assert caller["permissions"] == document(REUSABLE)["jobs"]["train"]["permissions"]
    outputs = document(REUSABLE)["on"]["workflow_call"]["outputs"]
    assert set(re.findall(r"needs\.train\.outputs\.([\w-]+)", CALLER.read_text())) <= outputs.keys()


def test_the_page_has_every_input_of_the_workflow_and_its_default():
    page = PAGE.read_text(encoding="utf-8")
    table = page.partition("| input | default | meaning |")[2].partition("\n\n")[0]
    told = {
        name: row[1].strip()
        for line in table.splitlines()
        if len(row := line.strip("|").split("|")) == 3
        for name in re.findall(r"`([\w-]+)`", row[0])
    }
    inputs = document(REUSABLE)["on"]["workflow_call"]["inputs"]
    assert told.keys() == inputs.keys()
    for name, given in inputs.items():
        if given.get("required"):
            assert told[name] == ""
        elif default := given["default"]:
            assert told[name] == f"`{str(default).lower() if default is True else default}`"


def test_the_page_s_pipelines_are_yaml_and_give_gitlab_s_job_what_it_asks_for():
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    read = [yaml.safe_load(block) for block in blocks]
    (gitlab_job,) = (block["train"] for block in read if "train" in block)
    asked = document(GITLAB)[".nightspot-train"]["variables"]
    assert gitlab_job["variables"].keys() <= asked.keys()
    assert {name for name, value in asked.items() if not value} == gitlab_job["variables"].keys()


ALL_OVERRIDES = """--market=on_demand
--instance-type=ml.g5.48xlarge@0.45
--deadline=6h
--hyperparameter=epochs=24
--budget=200
--fallback=never"""


@pytest.mark.parametrize("play", ["night", "tell", "gitlab"])
def test_every_call_is_one_that_the_command_line_understands(request, play):
    given = {
        "night": {"OPTIONS": ALL_OVERRIDES},
        "tell": {"status": 0},
        "gitlab": {"NIGHTSPOT_OPTIONS": ALL_OVERRIDES},
    }
    commands = typer.main.get_command(app).commands
    calls = request.getfixturevalue(play)(**given[play]).calls
    assert calls
    for name, *arguments in calls:
        context = commands[name].make_context(name, arguments)
        assert not context.args


def test_the_overrides_that_pipelines_may_give_are_all_that_there_are():
    given = {line.partition("=")[0] for line in ALL_OVERRIDES.splitlines()}
    known = inspect.signature(StartOverrides).parameters
    assert given == {f"--{name.replace('_', '-')}" for name in known}
    for path in (REUSABLE, GITLAB):
        assert set(re.findall(r"(--[a-z-]+)=\*", path.read_text())) == given
