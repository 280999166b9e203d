"""Decides what the record of a run holds that its pages are made of: the summary, every decision, every stretch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nightspot.run import Phase, Progress, Run, Step, to_json
from nightspot.summary import summarise


def record_of(run: Run, steps: Iterable[Step], phases: Mapping[int, Sequence[Phase]]) -> dict[str, Any]:
    """The run as JSON: `summary.summarise`, its decisions, and the phases of each attempt by its number."""
    summary = summarise(run)
    attempts = [
        {**attempt, "phases": [to_json(phase) for phase in phases.get(attempt["number"], ())]}
        for attempt in summary["attempts"]
    ]
    return {**summary, "attempts": attempts, "steps": [step_of(step) for step in steps]}


def step_of(step: Step) -> dict[str, Any]:
    """One decision, JSON-ready, with what was durable when it was taken."""
    return {
        "action": step.action.value,
        "at": step.at.isoformat(),
        "because": step.because,
        "reason": step.reason.value if step.reason else None,
        "figures": dict(step.figures),
        "attempt": step.attempt,
        "late": step.late,
        "last_safe_at": step.last_safe_at.isoformat() if step.last_safe_at else None,
        "progress": _progress_of(step.progress) if step.progress else None,
    }


def _progress_of(progress: Progress) -> dict[str, Any]:
    return {
        "step": progress.step,
        "total_steps": progress.total_steps,
        "fraction": progress.fraction,
        "saved_at": progress.saved_at.isoformat(),
        "metrics": dict(progress.metrics),
    }
