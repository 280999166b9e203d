"""What importing a handler costs: CPU time above the interpreter's start, next to the libraries' own.

Target: at most 350 ms for every handler, also where only the standard library has bytecode: Lambda's file system is
read-only, so a bundle of sources is compiled at every cold start. What a first call loads on top stands below.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROUNDS = 5
TARGET_MS = 350
RECORD_OUTCOME = "import nightspot.lambdas.record_outcome"
HANDLERS = ("plan_run", "decide_next_step", "record_outcome", "wake_run")
POWERTOOLS = "from aws_lambda_powertools import Logger, Metrics, Tracer"
TRACER = f"{POWERTOOLS}; Tracer(service='nightspot', patch_modules=['botocore'])"


def clients(*services: str) -> str:
    """The program that makes boto3's clients of `services`."""
    return f"import boto3; [boto3.client(service) for service in {services!r}]"


PROGRAMS = {
    "interpreter": "pass",
    "boto3": "import boto3",
    "pydantic": "import pydantic",
    "Powertools": POWERTOOLS,
    "all three": f"import boto3, pydantic; {POWERTOOLS}",
    **{f"nightspot.lambdas.{name}": f"import nightspot.lambdas.{name}" for name in HANDLERS},
    "record_outcome, X-Ray's SDK": f"{RECORD_OUTCOME}; {TRACER}",
    "  and the clients it calls": f"{RECORD_OUTCOME}; {TRACER}; {clients('dynamodb', 'events')}",
    "  and all that there are": (
        f"{RECORD_OUTCOME}; {TRACER}; " + clients("dynamodb", "events", "s3", "sagemaker", "stepfunctions")
    ),
}
# As in a function; the tracer is off elsewhere.
FUNCTION = {
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "LAMBDA_TASK_ROOT": "/var/task",
    "NIGHTSPOT_BUS_NAME": "default",
    "NIGHTSPOT_TABLE_NAME": "nightspot",
}


def cpu_ms(program: str, environment: Mapping[str, str]) -> float:
    """User and system time of a fresh interpreter that runs `program`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1000


def best(environment: Mapping[str, str]) -> dict[str, float]:
    """Each program's least CPU time above the interpreter's. Rounds are interleaved: noise meets all alike."""
    found = dict.fromkeys(PROGRAMS, float("inf"))
    for _ in range(ROUNDS):
        for name, program in PROGRAMS.items():
            found[name] = min(found[name], cpu_ms(program, environment))
    start = found.pop("interpreter")
    return {name: spent - start for name, spent in found.items()}


def heaviest(module: str, environment: Mapping[str, str], count: int = 12) -> list[tuple[str, float]]:
    """The packages whose own modules take longest in an import of `module`, in milliseconds (-X importtime)."""
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    done = subprocess.run(command, check=True, env=environment, cwd=ROOT, capture_output=True, text=True)
    spent: dict[str, float] = {}
    for own_us, name in re.findall(r"import time: +(\d+) \| +\d+ \| +(\S+)", done.stderr):
        package = name.partition(".")[0]
        spent[package] = spent.get(package, 0.0) + int(own_us) / 1000
    return sorted(spent.items(), key=lambda entry: -entry[1])[:count]


def main() -> None:
    """Print the table and what takes the heaviest handler's time."""
    plain = {**os.environ, **FUNCTION}
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"):
        plain.pop(name, None)
    with tempfile.TemporaryDirectory() as scratch:
        compiled = {**plain, "PYTHONPYCACHEPREFIX": scratch}
        with_bytecode = best(compiled)
        for folder in (ROOT, Path(sysconfig.get_path("purelib"))):
            shutil.rmtree(Path(scratch, *folder.parts[1:]), ignore_errors=True)
        sources = {**compiled, "PYTHONDONTWRITEBYTECODE": "1"}
        without = best(sources)
        heavy = max((f"nightspot.lambdas.{name}" for name in HANDLERS), key=without.__getitem__)
        shares = heaviest(heavy, sources)
    print(f"CPU ms above the interpreter's start, best of {ROUNDS}")
    print(f"{'import':28}{'with bytecode':>16}{'sources':>10}")
    for name, spent in with_bytecode.items():
        print(f"{name:28}{spent:16.0f}{without[name]:10.0f}")
    handlers = [f"nightspot.lambdas.{name}" for name in HANDLERS]
    worst = max(without[name] for name in handlers)
    verdict = "met" if worst <= TARGET_MS else "MISSED"
    print(f"target: {TARGET_MS} ms for every handler, from sources; {verdict} ({worst:.0f} ms)")
    print(f"\nWhat takes it in {heavy}, by package, from sources (ms, wall):")
    for package, spent in shares:
        print(f"{package:28}{spent:16.1f}")


if __name__ == "__main__":
    main()
