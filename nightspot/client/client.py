"""A deployment as a notebook or a program has it: its jobs and runs, and the start of a run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nightspot.api.models import JobDescription, JobsList, line_as_json, lines_of
from nightspot.aws.runs.operating import deployed_jobs, fetched, output_of
from nightspot.aws.table.run_table import RunTable
from nightspot.client import starting
from nightspot.client.access import STACK, Access, NotPossibleHereError, api_client, session_of
from nightspot.client.job import Job
from nightspot.client.run import ASKED_BY, Run, runs_of
from nightspot.client.sources import ApiSource, Deployed, Folder, RunNotFoundError, unknown_run
from nightspot.job.model import Job as JobFile
from nightspot.job.overrides import read_overrides


class Client:
    """A deployment, by its stack or its API; or the records of this machine.

    `Client()` asks AWS for the stack Nightspot, `Client(stack="Nightspot-dev", region=..., profile=...)` for
    another one. `Client(url=...)` asks a deployed API, signed with the caller's credentials, or that of `nightspot
    local serve` (http://127.0.0.1:8787). `Client(folder="build/runs")` reads what local runs have left.

    Raises DeploymentError for a stack that cannot be read, ApiUrlError for an address, botocore's errors for
    credentials and regions, ValueError where more than one of the three is named.
    """

    def __init__(
        self,
        *,
        stack: str | None = None,
        url: str | None = None,
        folder: str | Path | None = None,
        region: str | None = None,
        profile: str | None = None,
    ) -> None:
        given = [name for name, value in (("stack", stack), ("url", url), ("folder", folder)) if value]
        if len(given) > 1:
            raise ValueError(f"{given[0]}: only one of {' and '.join(given)} can say where the deployment is")
        if folder:
            self._access = access_to_folder(Path(folder))
        elif url:
            api = api_client(url, region, profile)
            self._access = Access(ApiSource(api), f"the API at {api.url}", api=api)
        else:
            session = session_of(profile, region)
            name = stack or STACK
            table = output_of(name, "TableName", cloudformation=session.client("cloudformation"))
            source = Deployed(RunTable(session.client("dynamodb"), table), table)
            self._access = Access(
                source, f"the table {table}", client_of=session.client, table_name=table, stack=name
            )

    def jobs(self) -> list[JobDescription]:
        """The deployed jobs by name: schedule, deadline, ladder, last run, and what the month has cost."""
        if self._access.api is not None:
            return JobsList.model_validate(self._access.api.get("/jobs")).jobs
        described: Mapping[str, JobFile] = {} if self._access.client_of is None else self._deployed()
        month = f"{datetime.now(UTC):%Y-%m}"
        lines = lines_of(described, self._access.source.runs(None, None), month)
        answer = {"month": month, "jobs": [line_as_json(line) for line in lines]}
        return JobsList.model_validate(answer).jobs

    def runs(self, job: str | None = None, *, month: str | None = None, limit: int = 20) -> list[Run]:
        """The newest runs first, `limit` at most; of one job, and of those that started in `month` ("2026-11").

        Raises RunNotFoundError for a job without runs, MonthError.
        """
        return list(runs_of(self._access, self._access.source.runs(job, month)[:limit]))

    def run(self, run_id: str | None = None) -> Run:
        """The run of this id, or the newest of all. Raises RunNotFoundError, with near ids."""
        try:
            record = self._access.source.run(run_id)
        except RunNotFoundError as error:
            if run_id is None:
                raise
            known = self._access.source.ids()
            raise RunNotFoundError(unknown_run(run_id, known, self._access.words)) from error
        return Run(self._access, run_id or record.run_id, job=record.job, record=record)

    def start(
        self,
        job: str | Job,
        *,
        market: str | None = None,
        instance_types: Sequence[str | Mapping[str, Any]] | Mapping[str, Any] | None = None,
        deadline: str | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        budget_usd: float | None = None,
        fallback: str | None = None,
        idempotency_key: str | None = None,
    ) -> Run:
        """Start a run of a deployed job; what is given here changes this run only (docs/job-file.md, overrides).

        The same `idempotency_key` again is the same run. By a stack the job's name and the overrides are checked
        first, and a Job must be the one that is deployed. What makes the run unlikely to be in time is a warning of
        Python's (UserWarning). Raises UnknownJobError, InvalidOverridesError, ApiError,
        NameTakenError, StartRefusedError, and TransientAwsError where it may have started all the same.
        """
        given = {
            "market": market,
            "instance_types": instance_types,
            "deadline": deadline,
            "hyperparameters": hyperparameters,
            "budget": budget_usd,
            "fallback": fallback,
        }
        overrides = {name: value for name, value in given.items() if value is not None}
        read_overrides(overrides, check_instance_types=True)
        name = job if isinstance(job, str) else job.name
        if self._access.api is not None:
            path = starting.start_path(name)
            begun = starting.post_start(self._access.api, path, overrides, key=idempotency_key)
        else:
            begun = self._start_execution(name, job, overrides, idempotency_key)
        for warning in begun.warnings:
            warnings.warn(warning, stacklevel=2)
        return Run(self._access, begun.run_id, job=begun.job, execution_arn=begun.execution_arn)

    def _start_execution(
        self, name: str, job: str | Job, overrides: Mapping[str, Any], key: str | None
    ) -> starting.StartedRun:
        step_functions, table = self._access.aws("stepfunctions"), self._access.table()
        jobs = self._deployed()
        cautions = starting.check_with_jobs(jobs, name, overrides)
        # As data: where a file's code lies on this machine is not part of it.
        if isinstance(job, Job) and jobs[name].model_dump() != job.model.model_dump():
            rule = "differs from the job file that is deployed: deploy it first, or start the job by its name"
            raise NotPossibleHereError(f"job: {name!r}: {rule}")
        machine = output_of(
            self._access.stack, starting.MACHINE_OUTPUT, cloudformation=self._access.aws("cloudformation")
        )
        begun = starting.start_execution(
            step_functions, table, machine, name, overrides, requested_by=ASKED_BY, key=key
        )
        return replace(begun, warnings=cautions)

    def _deployed(self) -> Mapping[str, JobFile]:
        return deployed_jobs(
            self._access.stack,
            cloudformation=self._access.aws("cloudformation"),
            lambdas=self._access.aws("lambda"),
            fetch=fetched,
        ).jobs

    def __repr__(self) -> str:
        return f"Client({self._access.words})"


def access_to_folder(folder: Path) -> Access:
    """The records that runs on this machine have left."""
    return Access(Folder(folder), str(folder))
