"""A run stopped through the API, which is asked again while the run changes over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from nightspot.aws.faults import TransientAwsError
from nightspot.aws.runs.api_client import ApiClient, ApiError, as_passing
from nightspot.aws.runs.training_jobs import LOOK_SECONDS, StopState


def stop_by_api(
    api: ApiClient,
    run_id: str,
    *,
    longest_seconds: float | None,
    sleep: Callable[[float], None],
    on_news: Callable[[str], None] = lambda _sentence: None,
) -> dict[str, Any]:
    """Ask until the run is over, or `longest_seconds` have been slept (None: once). The last answer of the API.

    `on_news` hears of every sentence that differs from the one before. Raises ApiError, and TransientAwsError: a
    fault that may pass only at the end.
    """
    slept, told = 0.0, ""
    while True:
        is_last = longest_seconds is None or slept >= longest_seconds
        try:
            look: dict[str, Any] = api.post(f"/runs/{quote(run_id, safe='')}/stop", {}).body
        except (ApiError, TransientAwsError) as error:
            if is_last or as_passing(error) is None:
                raise
        else:
            if look["sentence"] != told:
                on_news(look["sentence"])
            told = look["sentence"]
            if is_last or look["state"] == StopState.OVER:
                return look
        sleep(LOOK_SECONDS)
        slept += LOOK_SECONDS
