"""Records of past runs for tests that are about a few of their fields."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nightspot.local.stage import records
from nightspot.record.model import RunRecord, read_record

_RUN = {
    "job": "recommender",
    "run_id": "20261120-abc123",
    "outcome": "succeeded",
    "started_at": "2026-11-20T00:00:00+00:00",
}
_ATTEMPT = {
    "market": "spot",
    "instance_type": "ml.p4d.24xlarge",
    "asked_at": "2026-11-20T00:00:10+00:00",
}


def past_run(attempts: Iterable[Mapping[str, Any]] = (), **fields: Any) -> RunRecord:
    """A run that succeeded, unless `fields` say otherwise; an attempt is on Spot, unless it says otherwise."""
    numbered = [
        {"number": number, "training_job_name": f"job-{number}", **_ATTEMPT, **attempt}
        for number, attempt in enumerate(attempts, start=1)
    ]
    return read_record({**_RUN, **fields, "attempts": numbered})


def keep(directory: Path, record: Mapping[str, Any]) -> Path:
    """Write a local record as any version, or nobody, may have left it."""
    return records.write_text(directory, record["run_id"], json.dumps(record))
