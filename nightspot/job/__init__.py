"""Decides whether a job file describes a job that can run, and gives it back as data.

Pure: no boto3, no clock, no environment; botocore's model is read only to check the request.
"""

from nightspot.job.bundled import dump_jobs, read_jobs
from nightspot.job.cautions import warnings_for
from nightspot.job.errors import InvalidJobError, Problem
from nightspot.job.files import CheckedFile, check_files, load_job, load_jobs
from nightspot.job.model import (
    Budget,
    Capacity,
    ChangeOver,
    Fallback,
    InstanceType,
    Job,
    Local,
    Market,
)
from nightspot.job.placeholders import PlaceholderError, fill
from nightspot.job.reading import parse_job
from nightspot.job.times import Deadline, Schedule

__all__ = [
    "Budget",
    "Capacity",
    "ChangeOver",
    "CheckedFile",
    "Deadline",
    "Fallback",
    "InstanceType",
    "InvalidJobError",
    "Job",
    "Local",
    "Market",
    "PlaceholderError",
    "Problem",
    "Schedule",
    "check_files",
    "dump_jobs",
    "fill",
    "load_job",
    "load_jobs",
    "parse_job",
    "read_jobs",
    "warnings_for",
]
