"""`nightspot synth` and `nightspot deploy`: which app they run, with which programs, and what is passed on."""

import json
import os
import sys
from pathlib import Path

import pytest

from nightspot.cli import deploy

# Writes down how it was called: as the CDK command line, as an app, or as node.
PROGRAM = """#!{python}
import json, os, pathlib, sys
names = ("AWS_REGION", "AWS_DEFAULT_REGION", "CDK_CONTEXT_JSON", "CDK_OUTDIR", "PATH")
call = {{"arguments": sys.argv, "environment": {{name: os.environ.get(name) for name in names}}}}
with open("calls.jsonl", "a") as file:
    file.write(json.dumps(call) + "\\n")
if "CDK_OUTDIR" in os.environ:
    pathlib.Path(os.environ["CDK_OUTDIR"]).mkdir()
    pathlib.Path(os.environ["CDK_OUTDIR"], "Nightspot.template.json").write_text("{{}}")
    print("said by the app")
sys.exit({status})
"""


@pytest.fixture
def program(tmp_path):
    """`program(path, status=0)`: a program that writes down its calls, which are what it gives back."""

    def program(path, status=0):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(PROGRAM.format(python=sys.executable, status=status))
        (tmp_path / path).chmod(0o755)

    return program


@pytest.fixture
def calls(tmp_path):
    return lambda: [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]


def test_what_is_deployed_is_left_to_the_cdk_command_line(nightspot, program, calls):
    program("node_modules/.bin/cdk")
    answer = nightspot(
        *("deploy", "--profile", "team", "--region", "eu-west-1", "-c", "nightspot:log_days=30"),
        *("--require-approval", "never", "--", "--no-rollback"),
    )
    assert answer.status == 0
    ((call),) = calls()
    assert call["arguments"][1:] == [
        *("deploy", "--app", f"{sys.executable} -m nightspot.cdk", "--context", "nightspot:log_days=30"),
        *("--profile", "team", "--require-approval", "never", "--no-rollback"),
    ]
    assert (call["environment"]["AWS_REGION"], call["environment"]["AWS_DEFAULT_REGION"]) == (
        "eu-west-1",
    ) * 2
    # `python` in cdk.json is this one.
    assert call["environment"]["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_the_app_of_cdk_json_is_the_one_that_is_deployed(nightspot, program, calls, tmp_path):
    program("node_modules/.bin/cdk")
    (tmp_path / "cdk.json").write_text('{"app": "python app.py"}')
    assert nightspot("deploy").status == 0
    assert [call["arguments"][1:] for call in calls()] == [["deploy"]]


def test_the_account_is_prepared_first_where_that_is_asked_for(nightspot, program, calls):
    program("node_modules/.bin/cdk")
    assert nightspot("deploy", "--bootstrap", "--profile", "team").status == 0
    assert [call["arguments"][1] for call in calls()] == ["bootstrap", "deploy"]
    assert [call["arguments"][-2:] for call in calls()] == [["--profile", "team"]] * 2


@pytest.mark.parametrize("own", [True, False], ids=["app of cdk.json", "no cdk.json"])
def test_an_account_is_prepared_and_deployed_to_with_one_synthesis(nightspot, program, calls, tmp_path, own):
    program("node_modules/.bin/cdk")
    if own:
        (tmp_path / "cdk.json").write_text('{"app": "python app.py"}')
    assert nightspot("deploy", "--bootstrap").status == 0
    assert [call["arguments"][1:] for call in calls()] == [
        [
            "bootstrap",
            *([] if own else ["--app", f"{sys.executable} -m nightspot.cdk"]),
            "--output",
            "cdk.out",
        ],
        ["deploy", "--app", "cdk.out"],
    ]


def test_a_deployment_that_fails_has_the_status_of_the_cdk_command_line(nightspot, program, calls):
    program("node_modules/.bin/cdk", status=3)
    assert nightspot("deploy", "--bootstrap").status == 3
    assert len(calls()) == 1


def test_without_the_cdk_command_line_npm_s_is_taken_at_the_tested_version(
    nightspot, program, calls, tmp_path, monkeypatch
):
    program("bin/node")
    program("lib/node_modules/npm/bin/npx-cli.js")
    monkeypatch.setattr(deploy, "_node_home", lambda: tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert nightspot("deploy").status == 0
    ((call),) = calls()
    assert call["arguments"][1:5] == [
        str(tmp_path / "lib/node_modules/npm/bin/npx-cli.js"),
        "--yes",
        f"aws-cdk@{deploy.CDK_VERSION}",
        "deploy",
    ]


def test_the_version_is_the_one_that_this_repository_s_tests_use(root):
    package = json.loads((root / "package.json").read_text(encoding="utf-8"))
    assert package["devDependencies"]["aws-cdk"] == deploy.CDK_VERSION


@pytest.mark.parametrize(
    ("programs", "words"),
    [
        ((), "Node.js is missing: install nightspot[cdk]"),
        (("node",), "the CDK command line is missing: install nightspot[cdk], or npm install"),
    ],
)
def test_without_programs_it_says_what_to_install(nightspot, program, programs, words, tmp_path, monkeypatch):
    for name in programs:
        program(f"bin/{name}")
    monkeypatch.setattr(deploy, "_node_home", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    answer = nightspot("deploy")
    assert (answer.status, words in answer.err) == (2, True), answer.err


def test_a_template_is_made_by_the_app_of_cdk_json_with_its_settings(nightspot, program, calls, tmp_path):
    program("app")
    given = {"app": "./app", "context": {"nightspot:log_days": 30, "nightspot:stack_name": "Team"}}
    (tmp_path / "cdk.json").write_text(json.dumps(given))
    answer = nightspot("synth", "--out", "out", "-c", "nightspot:log_days=7")
    assert (answer.status, answer.out) == (0, "out/Nightspot.template.json\n")
    ((call),) = calls()
    assert json.loads(call["environment"]["CDK_CONTEXT_JSON"]) == {
        "nightspot:log_days": "7",
        "nightspot:stack_name": "Team",
    }
    assert json.loads(nightspot("synth", "--out", "other", "--json").out) == {
        "templates": ["other/Nightspot.template.json"]
    }


def test_an_app_that_fails_fails_the_command(nightspot, program, tmp_path):
    program("app", status=4)
    (tmp_path / "cdk.json").write_text('{"app": "./app"}')
    assert nightspot("synth").status == 1


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_cdk_json_that_cannot_be_read_is_named(nightspot, tmp_path, text):
    (tmp_path / "cdk.json").write_text(text)
    answer = nightspot("synth")
    assert (answer.status, "cdk.json: must be" in answer.err) == (1, True)
