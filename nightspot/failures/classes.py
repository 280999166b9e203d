"""The classes of failure: one closed enum for why a training job did not complete."""

from __future__ import annotations

from enum import StrEnum


class FailureClass(StrEnum):
    """Why an attempt ended without a model. Closed: what is not understood is UNKNOWN."""

    NO_CAPACITY = "no_capacity"
    INTERRUPTED = "interrupted"
    WAIT_LIMIT = "wait_limit"
    RUNTIME_LIMIT = "runtime_limit"
    QUOTA_TEMPORARY = "quota_temporary"
    QUOTA_PERMANENT = "quota_permanent"
    THROTTLED = "throttled"
    SERVICE_FAULT = "service_fault"
    USER_CODE = "user_code"
    OUT_OF_MEMORY = "out_of_memory"
    CONFIGURATION = "configuration"
    PERMISSION = "permission"
    STOPPED_BY_PERSON = "stopped_by_person"
    STOPPED_BY_NIGHTSPOT = "stopped_by_nightspot"
    UNKNOWN = "unknown"
