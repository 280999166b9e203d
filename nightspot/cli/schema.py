"""`nightspot schema`: prints the JSON Schema by which editors complete and check job files."""

from __future__ import annotations

import sys

from nightspot.job.schema import job_file_schema_text


def schema() -> None:
    """Print the JSON Schema of job files, by which editors complete and check them."""
    sys.stdout.write(job_file_schema_text())
