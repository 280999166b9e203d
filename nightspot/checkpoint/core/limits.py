"""What nightspot.json may hold: the scheduler reads nothing beyond these bounds.

`nightspot.run.progress_file`, which reads the file, has the same ones. A checkpoint itself keeps all that it is
given.
"""

from __future__ import annotations

from collections.abc import Mapping

MOST_METRICS = 50
MOST_NAME_CHARACTERS = 128
MOST_STEPS = 10**15
# Of the numbers that the scheduler's table holds: what is nearer to zero is zero.
LARGEST_METRIC = 9.9e125
SMALLEST_METRIC = 1e-130

_NAME_RULE = f"names must be 1 to {MOST_NAME_CHARACTERS} printable characters"
_NUMBER_RULE = f"numbers must be from -{LARGEST_METRIC:g} to {LARGEST_METRIC:g}"
_COUNT_RULE = f"must be at most {MOST_METRICS}"
_STEPS_RULE = f"must be at most {MOST_STEPS:,}"


def fitted(document: Mapping[str, object]) -> tuple[dict[str, object], dict[str, list[str]]]:
    """The progress document within the bounds, and by the rule that it broke what was left out."""
    left_out: dict[str, list[str]] = {}
    fits = dict(document)
    total_steps = document["total_steps"]
    if isinstance(total_steps, int) and total_steps > MOST_STEPS:
        left_out[_STEPS_RULE] = [f"total_steps={total_steps}"]
        fits["total_steps"] = fits["fraction"] = None
    metrics = document["metrics"]
    fits["metrics"] = _fitted_metrics(metrics if isinstance(metrics, Mapping) else {}, left_out)
    return fits, left_out


def _fitted_metrics(metrics: Mapping[str, object], left_out: dict[str, list[str]]) -> dict[str, object]:
    kept: dict[str, object] = {}
    for name, value in metrics.items():
        label = f"metrics[{name[:MOST_NAME_CHARACTERS]!r}]"
        if not 0 < len(name) <= MOST_NAME_CHARACTERS or not name.isprintable():
            left_out.setdefault(_NAME_RULE, []).append(label)
        elif value is not None and not _is_in_range(value):
            left_out.setdefault(_NUMBER_RULE, []).append(label)
        elif len(kept) == MOST_METRICS:
            left_out.setdefault(_COUNT_RULE, []).append(label)
        else:
            kept[name] = 0.0 if _is_tiny(value) else value
    return kept


def _is_in_range(value: object) -> bool:
    # NaN is in no range.
    return isinstance(value, (int, float)) and -LARGEST_METRIC <= value <= LARGEST_METRIC


def _is_tiny(value: object) -> bool:
    return isinstance(value, float) and abs(value) < SMALLEST_METRIC
