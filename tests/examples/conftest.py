"""How the pipelines of examples/ci are tried: their shell in a real bash, with a pretended nightspot."""

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

CI = Path(__file__).parents[2] / "examples" / "ci"

RUN_ID = "20261121T000000-recommender"
URL = "https://abc123.execute-api.eu-west-1.amazonaws.com/v1"
RECORD = {
    "job": "recommender",
    "run_id": RUN_ID,
    "outcome": "succeeded",
    "because": "Done at 05:10 | 100 % <trained>",
    "deadline": "2026-11-21T08:00:00+00:00",
    "ended_at": "2026-11-21T05:10:00+00:00",
    "cost_usd": 41.5,
}

NIGHTSPOT = f"""#!{sys.executable}
import json, os, sys
with open("calls.jsonl", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "show":
    if os.environ.get("NO_RECORD"):
        sys.exit("error: no such run")
    print(os.environ["RECORD"])
elif "--json" in sys.argv:
    if os.environ.get("REFUSES"):
        print("a warning", file=sys.stderr)
        print("error: deadline: 'soon' must be a time", file=sys.stderr)
        sys.exit(int(os.environ["REFUSES"]))
    print(json.dumps({{"run_id": "{RUN_ID}", "is_new": True}}))
else:
    print("00:10 the first decision")
    sys.exit(int(os.environ["ENDS_WITH"]))
"""


def executable(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def a_python_that_installs_nothing(path):
    """Its environments have a pip that says what it was asked for."""
    executable(
        path,
        f"""#!/bin/bash
if [[ "$1" != -m ]]; then exec {sys.executable} "$@"; fi
mkdir -p "$3/bin" && printf '#!/bin/bash\\necho "$@"\\n' > "$3/bin/pip" && chmod +x "$3/bin/pip"
""",
    )


@pytest.fixture
def shell(tmp_path):
    """Runs a script in bash as GitHub does, with the given environment and a pretended nightspot."""
    place = tmp_path / "bin"
    place.mkdir()
    executable(place / "nightspot", NIGHTSPOT)
    a_python_that_installs_nothing(place / "python3")

    def run(script, **environment):
        github = {
            "RUNNER_TEMP": tmp_path,
            **{f"GITHUB_{name}": tmp_path / name for name in ("OUTPUT", "STEP_SUMMARY", "PATH")},
        }
        done = subprocess.run(
            ["/bin/bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=tmp_path,
            env={
                "PATH": f"{place}:/usr/bin:/bin",
                "RECORD": json.dumps(RECORD),
                "ENDS_WITH": "0",
                **{key: str(value) for key, value in (github | environment).items()},
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        calls = tmp_path / "calls.jsonl"
        outputs = (tmp_path / "OUTPUT").read_text() if (tmp_path / "OUTPUT").exists() else ""
        summary = tmp_path / "STEP_SUMMARY"
        return SimpleNamespace(
            status=done.returncode,
            out=done.stdout,
            err=done.stderr,
            outputs=dict(line.split("=", 1) for line in outputs.splitlines()),
            summary=summary.read_text() if summary.exists() else "",
            calls=[json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else [],
        )

    run.place = tmp_path
    run.url, run.run_id, run.record = URL, RUN_ID, RECORD
    return run


@pytest.fixture
def pipeline() -> Callable[[str], dict]:
    """A file of examples/ci by its name; YAML 1.1 reads the key `on` as true."""

    def read(name):
        (path,) = CI.rglob(name)
        return {
            "on" if key is True else key: value for key, value in yaml.safe_load(path.read_text()).items()
        }

    return read


@pytest.fixture
def steps(pipeline):
    """The steps of the reusable workflow's job, by name."""
    return {step["name"]: step for step in pipeline("nightspot-train.yml")["jobs"]["train"]["steps"]}


@pytest.fixture
def night(shell, steps):
    """The step that starts and waits."""

    def play(**environment):
        given = {
            "JOB": "recommender",
            "API_URL": shell.url,
            "REGION": "eu-west-1",
            "KEY": "my-key",
            "ATTEMPT": "77-1",
            "OPTIONS": "",
            "WAIT": "true",
            "WAIT_AT_MOST": "340m",
            "FAIL_ON_REMARKS": "false",
        }
        step = steps["Start the run and wait"]
        assert step["env"].keys() == given.keys()
        return shell(step["run"], **given | environment)

    return play


@pytest.fixture
def tell(shell, steps):
    """The step that tells how it ended."""

    def play(status, **environment):
        given = {
            "API_URL": shell.url,
            "REGION": "eu-west-1",
            "RUN_ID": shell.run_id,
            "STATUS": status,
            "FAIL_WHEN_LATE": "true",
        }
        step = steps["Tell how it ended"]
        assert step["env"].keys() == given.keys()
        return shell(step["run"], **given | environment)

    return play


@pytest.fixture
def gitlab(shell, pipeline):
    """The GitLab job's script."""

    def play(**environment):
        (script,) = pipeline("nightspot.gitlab-ci.yml")[".nightspot-train"]["script"]
        given = {
            "NIGHTSPOT_JOB": "recommender",
            "NIGHTSPOT_API_URL": shell.url,
            "NIGHTSPOT_REGION": "eu-west-1",
            "NIGHTSPOT_ROLE_ARN": "arn:aws:iam::123456789012:role/ci",
            "NIGHTSPOT_PACKAGE": "nightspot[cli]",
            "NIGHTSPOT_FAIL_ON_REMARKS": "false",
            "NIGHTSPOT_TIMEOUT": "170m",
            "NIGHTSPOT_ID_TOKEN": "a.b.c",
            "CI_JOB_ID": "4711",
            "TMPDIR": shell.place,
        }
        return shell(script, **given | environment)

    return play
