"""What pytest collects is the same in every process and at every time, and each test has a name to call it by.

Processes that share the tests out (make test) stop when they disagree on what the tests are. They start some
seconds after one another, and each hashes texts in its own way.
"""

import os
import re
import subprocess
import sys

import pytest
from hypothesis import settings

MOST_CHARACTERS = 160  # of a case's name
LATER = """
import sys, time
for clock in ("time", "time_ns"):
    late = 86_400 * 40 * (10**9 if clock == "time_ns" else 1)
    setattr(time, clock, lambda now=getattr(time, clock), late=late: now() + late)
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def collect(arguments: list[str], folder: str) -> list[str]:
    """The ids that another process collects, with other hashes of texts and a clock that is 40 days ahead."""
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    done = subprocess.run(
        [sys.executable, "-c", LATER, "--collect-only", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return [line for line in done.stdout.splitlines() if "::" in line]


@pytest.mark.long
def test_another_process_collects_the_same_tests_later(collected, request):
    left_out = [f"--ignore-glob={each}" for each in request.config.option.ignore_glob or ()]
    others = collect([*left_out, *request.config.args], str(request.config.invocation_params.dir))
    here = set(collected)
    assert [nodeid for nodeid in others if nodeid not in here] == []
    assert others == collected


def faults_of(nodeid: str, root: str) -> list[str]:
    _function, _, case = nodeid.partition("[")
    return [
        fault
        for fault, found in {
            "longer than a name": len(case) > MOST_CHARACTERS,
            "not printable ASCII": not (nodeid.isascii() and nodeid.isprintable()),
            "a memory address": re.search(r"\bat 0x[0-9a-f]+|0x[0-9a-f]{8,}", nodeid),
            "a folder of this machine": root in nodeid,
        }.items()
        if found
    ]


def test_every_test_has_a_name(collected, request):
    root = str(request.config.rootpath)
    assert [(nodeid[:200], faults) for nodeid in collected if (faults := faults_of(nodeid, root))] == []


@pytest.mark.parametrize(
    "case",
    ["x" * 400, "snow \u2603", "<object object at 0x7f58bd05ea00>", "two\nlines"],
    ids=["long", "snow", "address", "lines"],
)
def test_what_is_no_name_is_found(case, request):
    assert faults_of(f"tests/test_x.py::test_y[{case}]", str(request.config.rootpath))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("ml.p4d.24xlarge", "ml.p4d.24xlarge"),
        ("a b " * 100, "a_b_a_b_a_b_a_b_a_b_a_b_a_b_a_b_a_b_a_b_a_b_a_b_"),
        ("[" * 300_000, "argument"),
        ("no\x00 text\n", "no_text"),
        (b"PK\x03\x04", "argument"),
        (re.compile("snow \u2603"), "snow"),
        (7, None),  # pytest's own way: 7
    ],
    ids=["short", "long", "brackets", "control", "bytes", "pattern", "number"],
)
def test_a_case_is_named_by_its_value_where_that_makes_a_name(request, value, name):
    hook = request.config.hook.pytest_make_parametrize_id
    assert hook(config=request.config, val=value, argname="argument") == name


def test_the_clock_of_the_machine_fails_no_property_and_all_try_the_same_examples(request):
    assert settings.default.deadline is None
    assert settings.default.derandomize
    of_one_test = re.compile(
        r"\b(deadline|derandomize|database)=|suppress_health_check=\[(?!\*settings\.default)"
    )
    named = [
        f"{path.name}: {call}"
        for path in (request.config.rootpath / "tests").rglob("test_*.py")
        for call in re.findall(r"\bsettings\(.*?\)\n", path.read_text(encoding="utf-8"), re.DOTALL)
        if of_one_test.search(call)
    ]
    assert named == []
