"""What the handlers read from their environment, checked once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class Environment(BaseModel):
    """The environment of every handler. Raises pydantic.ValidationError, naming the variable, at the first use."""

    model_config = ConfigDict(frozen=True)

    table_name: str = Field(alias="NIGHTSPOT_TABLE_NAME", min_length=3)
    bus_name: str = Field(alias="NIGHTSPOT_BUS_NAME", min_length=1)
    jobs_directory: Path = Field(alias="NIGHTSPOT_JOBS_DIRECTORY", default=Path("jobs"))
    region: str = Field(alias="AWS_REGION", min_length=1)


def read_environment(environ: Mapping[str, str] = os.environ) -> Environment:
    """The handlers' environment."""
    return Environment.model_validate(dict(environ))
