"""Job files as they travel in the Lambda bundle: checked when they were deployed, one JSON document."""

from __future__ import annotations

import json
from collections.abc import Mapping

from nightspot.job.model import Job


def dump_jobs(jobs: Mapping[str, Job]) -> str:
    """The jobs as one JSON document, the same text for the same jobs."""
    document = {name: job.model_dump(mode="json", by_alias=True) for name, job in jobs.items()}
    return json.dumps(document, indent=1, sort_keys=True)


def read_jobs(document: str) -> dict[str, Job]:
    """The jobs that `dump_jobs` wrote. Raises pydantic.ValidationError where it is another document."""
    return {name: Job.model_validate(job) for name, job in json.loads(document).items()}
