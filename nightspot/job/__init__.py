"""Decides whether a job file describes a job that can run, and gives it back as data.

Pure: no boto3, no clock, no environment; botocore's model is read only to check the request. Each name is loaded
when it is first asked for, so that a decision, which knows only markets, brings no YAML reader and no model.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nightspot.job.bundled import dump_jobs, read_jobs
    from nightspot.job.cautions import warnings_for
    from nightspot.job.errors import InvalidJobError, InvalidOverridesError, Problem
    from nightspot.job.files import CheckedFile, check_files, load_job, load_jobs
    from nightspot.job.markets import (
        Concurrency,
        Fallback,
        Interruptible,
        Market,
        MarketChoice,
        Policy,
    )
    from nightspot.job.model import Budget, Capacity, ChangeOver, InstanceType, Job, Local
    from nightspot.job.overrides import (
        Overrides,
        apply_overrides,
        merge_overrides,
        overrides_as_json,
        read_overrides,
    )
    from nightspot.job.placeholders import PlaceholderError, fill
    from nightspot.job.reading import parse_job
    from nightspot.job.times import Deadline, Schedule

_NAMES = {
    "bundled": ("dump_jobs", "read_jobs"),
    "cautions": ("warnings_for",),
    "errors": ("InvalidJobError", "InvalidOverridesError", "Problem"),
    "files": ("CheckedFile", "check_files", "load_job", "load_jobs"),
    "markets": ("Concurrency", "Fallback", "Interruptible", "Market", "MarketChoice", "Policy"),
    "model": ("Budget", "Capacity", "ChangeOver", "InstanceType", "Job", "Local"),
    "overrides": ("Overrides", "apply_overrides", "merge_overrides", "overrides_as_json", "read_overrides"),
    "placeholders": ("PlaceholderError", "fill"),
    "reading": ("parse_job",),
    "times": ("Deadline", "Schedule"),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "Budget",
    "Capacity",
    "ChangeOver",
    "CheckedFile",
    "Concurrency",
    "Deadline",
    "Fallback",
    "InstanceType",
    "Interruptible",
    "InvalidJobError",
    "InvalidOverridesError",
    "Job",
    "Local",
    "Market",
    "MarketChoice",
    "Overrides",
    "PlaceholderError",
    "Policy",
    "Problem",
    "Schedule",
    "apply_overrides",
    "check_files",
    "dump_jobs",
    "fill",
    "load_job",
    "load_jobs",
    "merge_overrides",
    "overrides_as_json",
    "parse_job",
    "read_jobs",
    "read_overrides",
    "warnings_for",
]


def __getattr__(name: str) -> Any:
    """PEP 562: the module's attribute at its first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
