"""Decides what is kept of a night that was played here: one JSON file per run, never overwritten."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Record = dict[str, Any]

# What a summary lacks where the run's input was refused: it has no attempts, no costs, no deadline kept.
_NOTHING_YET: Mapping[str, Any] = {
    "run_id": None,
    "outcome": None,
    "because": None,
    "ended_at": None,
    "deadline_met": False,
    "margin_seconds": None,
    "cost_usd": None,
    "on_demand_cost_usd": None,
    "saved_percent": None,
    "unpriced_attempts": [],
    "model_artifact": None,
    "metrics": {},
    "attempts": [],
    "steps": [],
}


class RecordError(Exception):
    """A record of a run cannot be found or read."""


def record_of(facts: Mapping[str, Any], summary: Mapping[str, Any], end: Mapping[str, Any]) -> Record:
    """One night as JSON: what was played (`facts`), LocalNight.summary, how the workflow ended (`end`)."""
    metrics = summary.get("metrics", {})
    return {
        "simulated": True,
        **facts,
        **_NOTHING_YET,
        **summary,
        "recall_at_10": metrics.get("recall_at_10"),
        **end,
    }


def write(directory: Path, record: Record) -> Path:
    """Keep the record as `<run id>.json` in `directory`; a second one of that id is `<run id>-2.json`.

    Whole or not at all: readers see no half of it. Raises OSError where it cannot be written.
    """
    text = json.dumps(record, indent=2) + "\n"
    stem = record["run_id"] or "refused"
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".writing-") as folder:
        part = Path(folder, "record.json")
        part.write_text(text, encoding="utf-8")
        number = 1
        while True:
            path = directory / (f"{stem}.json" if number == 1 else f"{stem}-{number}.json")
            try:
                # Unlike a rename, a link does not replace what is there.
                os.link(part, path)
            except FileExistsError:
                number += 1
            else:
                return path


def names(directory: Path) -> list[str]:
    """The names of the records in `directory`, newest first; none where there is no such directory."""
    files = sorted(directory.glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    return [path.stem for path in reversed(files)]


def read(directory: Path, name: str | None = None) -> Record:
    """The record `name`, or the newest one. Raises RecordError, naming what there is."""
    known = names(directory)
    if not known:
        raise RecordError(f"{directory}: holds no record of a run; `nightspot demo` makes one")
    if name is None:
        name = known[0]
    if name not in known:
        raise RecordError(f"run: {name!r}: is not in {directory}; the newest are: {', '.join(known[:5])}")
    path = directory / f"{name}.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: cannot be read: {error}") from error
    missing = {*_NOTHING_YET, "simulated", "spot_first", "time_scale"} - set(
        record if isinstance(record, dict) else ()
    )
    if missing:
        raise RecordError(f"{path}: is no record of a run: it lacks {', '.join(sorted(missing))}")
    known_record: Record = record
    return known_record
