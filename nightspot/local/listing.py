"""Decides what ListTrainingJobs answers: which jobs, in which order, on which page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nightspot.local.descriptions import summary
from nightspot.local.faults import invalid
from nightspot.local.job_state import JobState

DEFAULT_PAGE = 10
SORT_KEYS = {"Name": "TrainingJobName", "CreationTime": "CreationTime", "Status": "TrainingJobStatus"}


def list_answer(states: Sequence[JobState], request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a ListTrainingJobs request over these jobs.

    As on AWS, a page is cut before StatusEquals is applied, so it may hold fewer jobs than asked
    for, or none, and still not be the last (botocore's documentation of ListTrainingJobs).
    Raises `ServiceFaultError` (ValidationException) for an unknown SortBy, and for a NextToken that
    this did not give.
    """
    summaries = [summary(state) for state in states]
    chosen = [entry for entry in summaries if _is_wanted(entry, request)]
    sort_by = str(request.get("SortBy", "CreationTime"))
    if sort_by not in SORT_KEYS:
        raise invalid(f"Value '{sort_by}' at 'sortBy' must be one of {', '.join(SORT_KEYS)}")
    chosen.sort(
        key=lambda entry: entry[SORT_KEYS[sort_by]],
        reverse=request.get("SortOrder", "Ascending") == "Descending",
    )
    token = str(request.get("NextToken") or "0")
    if not token.isdecimal():
        raise invalid("Invalid NextToken.")
    first = int(token)
    following = first + int(request.get("MaxResults") or DEFAULT_PAGE)
    status = request.get("StatusEquals")
    page = chosen[first:following]
    answer: dict[str, Any] = {
        "TrainingJobSummaries": [entry for entry in page if status in (None, entry["TrainingJobStatus"])]
    }
    if following < len(chosen):
        answer["NextToken"] = str(following)
    return answer


def _is_wanted(entry: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    created, modified = entry["CreationTime"], entry["LastModifiedTime"]
    return (
        request.get("NameContains", "").lower() in entry["TrainingJobName"].lower()
        and created > request.get("CreationTimeAfter", float("-inf"))
        and created < request.get("CreationTimeBefore", float("inf"))
        and modified > request.get("LastModifiedTimeAfter", float("-inf"))
        and modified < request.get("LastModifiedTimeBefore", float("inf"))
    )
