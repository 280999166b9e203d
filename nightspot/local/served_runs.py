"""What is kept of the runs that somebody else starts in an open stage: a record of each when it is over."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from nightspot.aws.runs.executions import CONTINUE_RUN
from nightspot.job.errors import InvalidJobError
from nightspot.local.stage import records, staging
from nightspot.local.stage.emulated_aws import states_entered
from nightspot.local.stage.night_files import Night
from nightspot.local.stage.records import Ended, Played
from nightspot.local.stage.session import Stage
from nightspot.record.summary import record_of
from nightspot.run.model import Outcome, Run

LOOK_REAL_SECONDS = 0.25
# What an execution's input says beside the overrides.
NO_OVERRIDES = frozenset({"job", "scheduled_at", "resume_from", "requested_by"})
INTERRUPTED = "nightspot local serve was ended while the run was going on"


@dataclass(frozen=True)
class KeptRun:
    """A run that is over, and where its record is."""

    run_id: str | None  # None: its input was refused
    job: str
    outcome: str
    path: Path
    interrupted: bool = False  # it was going on when the stage was closed


class ServedRuns:
    """Looks at the stage's executions from a thread of its own, and writes the record of each that has ended.

    `directory` gets the records, as `nightspot run --local` leaves them; `places` are the `job_file` and `scratch`
    of all of them. `on_kept` hears of each record, from that thread; `on_fault` of one that could not be written
    (OSError). Use it as a context manager inside the stage's own.
    """

    def __init__(
        self,
        stage: Stage,
        night: Night,
        directory: Path,
        places: Mapping[str, str],
        *,
        on_kept: Callable[[KeptRun], None] = lambda _kept: None,
        on_fault: Callable[[OSError], None] = lambda _error: None,
        recorded_at: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._stage = stage
        self._night = night
        self._directory = directory
        self._places = places
        self._on_kept = on_kept
        self._on_fault = on_fault
        self._recorded_at = recorded_at
        self._done: set[str] = set()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="served-runs", daemon=True)

    def __enter__(self) -> ServedRuns:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> tuple[KeptRun, ...]:
        """Look a last time, and end what is still going on: it is recorded as stopped. Idempotent.

        Returns what was ended.
        """
        self._closed.set()
        self._thread.join(timeout=30)
        self._look(is_last=True)
        return tuple(self._interrupt(execution) for execution in self._executions("RUNNING"))

    def _watch(self) -> None:
        while not self._closed.wait(LOOK_REAL_SECONDS):
            self._look()

    def _look(self, *, is_last: bool = False) -> None:
        for execution in self._executions():
            arn = execution["executionArn"]
            if execution["status"] == "RUNNING" or arn in self._done:
                continue
            described = self._stage.workflows.describe_execution(executionArn=arn)
            run = self._stage.run_of(described)
            if run is not None and run.outcome is None and not is_last:
                continue  # it is about to be closed, or another execution goes on with it
            self._done.add(arn)
            is_restart = CONTINUE_RUN in json.loads(described["input"])
            # Of several executions that had a run, the last one is what is kept of it.
            if not is_restart if run is None else run.execution_arn == arn:
                self._keep(described, run, {})

    def _executions(self, status: str | None = None) -> list[dict[str, Any]]:
        wanted = {"stateMachineArn": self._stage.machine_arn, **({"statusFilter": status} if status else {})}
        pages = self._stage.workflows.get_paginator("list_executions").paginate(**wanted)
        return [execution for page in pages for execution in page["executions"]]

    def _interrupt(self, execution: Mapping[str, Any]) -> KeptRun:
        arn = execution["executionArn"]
        self._done.add(arn)
        with contextlib.suppress(ClientError):  # it may have ended in this very moment
            self._stage.workflows.stop_execution(executionArn=arn, error="Interrupted", cause=INTERRUPTED)
        described = self._stage.workflows.describe_execution(executionArn=arn)
        ended = {"error": "Interrupted", "cause": INTERRUPTED, "execution_status": "ABORTED"}
        return self._keep(described, self._stage.run_of(described), ended)

    def _keep(self, execution: Mapping[str, Any], run: Run | None, changes: Mapping[str, Any]) -> KeptRun:
        arn, given = execution["executionArn"], json.loads(execution["input"])
        if run is not None and CONTINUE_RUN in given:
            given = {"job": run.job, **run.overrides}
        table = self._stage.dependencies.table
        if run is not None and run.outcome is None and changes:
            run = replace(run, outcome=Outcome.STOPPED, outcome_because=INTERRUPTED)
        entered = None if run is None else len(states_entered(self._stage.workflows, arn))
        known = None if run is None else record_of(run, table.steps(run.run_id), table.phases(run.run_id))
        if known is not None and known.ended_at is None:
            known = known.model_copy(update={"ended_at": self._stage.clock.now()})
        ended = _end(execution, self._stage, {"state_transitions": entered, **changes})
        record = records.record_of(self._facts_of(given, run), known, ended, self._recorded_at())
        path = self._directory / f"{record.run_id}.json"
        try:
            path = records.write(self._directory, record)
        except OSError as error:
            self._on_fault(error)
        run_id = None if run is None else run.run_id
        kept = KeptRun(run_id, str(given.get("job")), record.outcome.value, path, interrupted=bool(changes))
        self._on_kept(kept)
        return kept

    def _facts_of(self, given: Mapping[str, Any], run: Run | None) -> Played:
        overrides = {key: value for key, value in given.items() if key not in NO_OVERRIDES}
        job = self._stage.jobs[str(given["job"])]
        started_at = run.started_at if run is not None else self._stage.clock.now()
        try:
            known = staging.facts(job, replace(self._night, overrides=overrides), started_at, **self._places)
        except InvalidJobError:
            # What cannot be applied to the job was refused by the plan, too.
            known = staging.facts(job, replace(self._night, overrides={}), started_at, **self._places)
            known = known.model_copy(update={"overrides": overrides})
        return known.model_copy(update={"time_scale": self._stage.clock.scale})


def _end(execution: Mapping[str, Any], stage: Stage, changes: Mapping[str, Any]) -> Ended:
    stopped = execution.get("stopDate")
    until = time.time() if stopped is None else stopped.timestamp()
    return Ended(
        **{
            "execution_status": execution["status"],
            "error": execution.get("error"),
            "cause": execution.get("cause"),
            "dead_letters": len(stage.dead_letters.letters),
            "real_seconds": max(0.0, round(until - execution["startDate"].timestamp(), 1)),
            **changes,
        }
    )
