"""What the API works with: the runs' table, what starts and stops runs, and the clock, made once per process."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from nightspot.lambdas.dependencies import dependencies, late_client
from nightspot.lambdas.environment import read_environment
from nightspot.aws.runs.executions import Executions
from nightspot.aws.runs.starting import Starter
from nightspot.aws.runs.stopping import Stopper
from nightspot.aws.table.run_table import RunTable

if TYPE_CHECKING:
    from datetime import datetime

    from nightspot.job import Job

_TOKEN_BYTES = 3


@dataclass(frozen=True)
class ApiDependencies:
    """The API's collaborators. A test or `nightspot local serve` passes its own."""

    now: Callable[[], datetime]
    jobs: Callable[[], Mapping[str, Job]]
    table: RunTable
    starter: Starter
    stopper: Stopper
    executions: Executions
    token_hex6: Callable[[], str] = lambda: secrets.token_hex(_TOKEN_BYTES)  # tells runs of one second apart


@cache
def api_dependencies() -> ApiDependencies:
    """The deployed function's."""
    use = dependencies()
    machine_arn = read_environment().state_machine_arn
    return ApiDependencies(
        now=use.now,
        jobs=use.jobs,
        table=use.table,
        starter=Starter(use.step_functions, machine_arn),
        stopper=Stopper(use.table, late_client("sagemaker"), use.executions),
        executions=use.executions,
    )
