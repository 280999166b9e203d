"""The moment in an AWS event, in whatever form it comes."""

from __future__ import annotations

from datetime import UTC, datetime

# A number is epoch seconds below this (until the year 5138), and epoch milliseconds from it on (since 1973).
# fact: sagemaker.events.time
_FIRST_MS = 100_000_000_000
_LAST_MS = 253_402_300_799_999  # 31 December 9999, where Python's dates end


def read_event_ms(value: object) -> int | None:
    """Epoch milliseconds; None where `value` is missing or tells no moment since 1970. Never raises.

    AWS documents a training job's times in events as text or number of epoch milliseconds. Seconds, a fraction and
    ISO 8601 are read as well; a time without a zone is UTC.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = _number(value)
        ms = round(number if number >= _FIRST_MS else number * 1000)
    except (ValueError, OverflowError):
        return None
    return ms if 0 < ms <= _LAST_MS else None


def _number(value: float | str) -> float:
    try:
        return float(value)
    except ValueError:
        moment = datetime.fromisoformat(str(value).strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
