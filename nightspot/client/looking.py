"""One look at a run from outside: its record, and its execution where the record does not say that it is over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nightspot.aws.runs.api_client import ExecutionEnd, execution_end
from nightspot.client.sources import RunNotFoundError, Source
from nightspot.record.model import RunRecord


@dataclass(frozen=True)
class Look:
    """What is seen of a run: its record (None: not on record), and how its execution ended without an outcome."""

    record: RunRecord | None
    end: ExecutionEnd | None = None


def look_at(source: Source, step_functions: Any | None, run_id: str, execution_arn: str | None) -> Look:
    """Look at a run where it is recorded. `step_functions`: boto3's client; None where it is not to be asked.

    `execution_arn`: of a run that may not be on record yet. Raises what the source and `execution_end` raise.
    """
    record = _record(source, run_id)
    arn = execution_arn if record is None else record.execution_arn or execution_arn
    if step_functions is None or arn is None or (record is not None and record.is_over):
        return Look(record)
    end = execution_end(step_functions, str(arn))
    if end is None:
        return Look(record)
    # It may have ended properly since the record was read.
    record = _record(source, run_id)
    return Look(record, None if record is not None and record.is_over else end)


def _record(source: Source, run_id: str) -> RunRecord | None:
    try:
        return source.run(run_id).model_copy(update={"run_id": run_id})
    except RunNotFoundError:
        return None
