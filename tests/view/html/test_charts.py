"""The charts' specifications: what they hold is the record's, and what they hold can do no harm."""

import json
import re

import pytest

from nightspot.record.model import read_record
from nightspot.view.html import theme
from nightspot.view.html.bars import (
    MOST_METRICS,
    cost_spec,
    metric_names,
    metric_spec,
    per_job_spec,
    progress_spec,
    saved_spec,
)
from nightspot.view.html.theme import KIND_COLOURS, PALETTE, StretchKind, concrete, stretches_of
from nightspot.view.html.timeline import checkpoints_of, last_safe_of, timeline_spec


def layer(spec, name):
    (found,) = (each for each in spec["layer"] if each.get("name") == name)
    return found["data"]["values"]


def texts(spec):
    if isinstance(spec, dict):
        for value in spec.values():
            yield from texts(value)
    elif isinstance(spec, list):
        for value in spec:
            yield from texts(value)
    elif isinstance(spec, str):
        yield spec


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(first, second):
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_timeline_draws_every_stretch_of_an_open_job(record):
    run = read_record(record)
    drawn = layer(timeline_spec(run), "stretches")
    told = [stretch for stretch in stretches_of(run) if stretch.attempt is not None]
    assert [each["seconds"] for each in drawn] == [stretch.seconds for stretch in told]
    assert [(each["to"] - each["from"]) / 1000 for each in drawn] == pytest.approx(
        [stretch.seconds for stretch in told], abs=0.002
    )
    assert len({each["lane"] for each in drawn}) == 2


def test_the_timeline_holds_every_decision_with_its_reason(record):
    drawn = layer(timeline_spec(read_record(record)), "decisions")
    assert len(drawn) == len(record["steps"])
    for mark, step in zip(drawn, record["steps"], strict=True):
        assert mark["says"].endswith(step["because"])
        assert mark["loud"] == (step["action"] not in {"watch", "pause"})


def test_a_checkpoint_is_drawn_once_however_often_it_was_seen(record):
    drawn = layer(timeline_spec(read_record(record)), "checkpoints")
    steps = [step["progress"]["step"] for step in record["steps"] if step["progress"]]
    assert len(drawn) == len(set(steps)) < len(steps)


def test_the_last_safe_moment_is_the_newest_that_a_decision_saw(record):
    seen = last_safe_of(read_record(record))
    assert seen is not None
    assert seen.at.isoformat() == [s["at"] for s in record["steps"] if s["last_safe_at"]][-1]
    drawn = json.dumps(timeline_spec(read_record(record)))
    assert f"last safe moment {seen.last_safe_at:%H:%M} UTC" in drawn
    assert "deadline 08:00 UTC" in drawn


def test_a_record_from_before_shows_no_checkpoints_and_no_last_safe_moment(old_record):
    spec = json.dumps(timeline_spec(read_record(old_record)))
    assert "last safe moment" not in spec
    assert "Checkpoints" not in spec
    assert progress_spec(read_record(old_record)) is None


def test_progress_and_metrics_are_what_the_checkpoints_said(record):
    run = read_record(record)
    seen = [step.progress for step in checkpoints_of(run)]
    assert [point["step"] for point in progress_spec(run)["data"]["values"]] == [p.step for p in seen]
    assert metric_names(run) == ["best_recall_at_10", "loss", "recall_at_10"]
    points = metric_spec(run, "loss")["data"]["values"]
    assert [point["value"] for point in points] == [p.metrics["loss"] for p in seen]


def test_one_point_is_no_curve_and_of_many_metrics_only_the_first_are_drawn(record):
    for step in record["steps"]:
        if step["progress"]:
            step["progress"]["metrics"] = {f"m{n}": 1.0 for n in range(9)} | {"blown_up": None}
    assert metric_names(read_record(record)) == [f"m{n}" for n in range(MOST_METRICS)]
    (first, *_) = (step for step in record["steps"] if step["progress"])
    alone = read_record({**record, "steps": [first]})
    assert (metric_names(alone), progress_spec(alone)) == ([], None)


def test_the_cost_bars_are_the_attempts_and_on_demand_alone(record):
    bars = cost_spec(read_record(record))["layer"][0]["data"]["values"]
    *attempts, alone = bars
    assert [bar["to"] - bar["from"] for bar in attempts] == pytest.approx(
        [attempt["cost_usd"] for attempt in record["attempts"]]
    )
    assert attempts[-1]["to"] == pytest.approx(record["cost_usd"])
    assert alone["to"] == record["on_demand_cost_usd"]


@pytest.mark.parametrize("cost", [None, 0.0])
def test_no_bars_where_the_cost_is_not_known_or_nothing(changed, cost):
    unknown = changed(cost_usd=cost, saved_usd=None, missing=["billable_seconds"])
    assert cost_spec(read_record(unknown)) is None


def test_what_runs_saved_is_added_up_in_time_and_unknown_savings_are_left_out(changed):
    nights = [
        changed(run_id=str(day), started_at=f"2026-11-{day:02d}T00:00:00+00:00", cost_usd=cost)
        for day, cost in ((3, 33.1912), (1, 83.1912), (2, None))
    ]
    points = saved_spec([read_record(night) for night in nights])["data"]["values"]
    assert [point["sum"] for point in points] == pytest.approx([50.0, 150.0])
    assert saved_spec([read_record(changed(cost_usd=None))]) is None


def test_each_job_has_its_cost_above_on_demand_alone():
    cost, alone, names = per_job_spec([("b", 10.0, 30.0), ("a", 5.0, 6.0)])["layer"]
    assert [bar["usd"] for bar in cost["data"]["values"]] == [10.0, 5.0]
    assert [bar["usd"] for bar in alone["data"]["values"]] == [30.0, 6.0]
    assert [name["name"] for name in names["data"]["values"]] == ["b", "a"]
    assert per_job_spec([]) is None


def specs(run):
    yield timeline_spec(run)
    yield timeline_spec(run, legend=True)
    yield progress_spec(run)
    yield from (metric_spec(run, name) for name in metric_names(run))
    yield cost_spec(run)


def test_every_colour_is_a_name_of_the_style_sheet_and_a_picture_has_none_left(record):
    for spec in specs(read_record(record)):
        names = {text for text in texts(spec) if "var(" in text}
        assert names
        assert {name[len("var(--") : -1] for name in names} <= set(PALETTE)
        assert not [text for text in texts(concrete(spec)) if "var(" in text]


@pytest.mark.parametrize("kind", StretchKind)
def test_every_kind_of_stretch_has_a_colour(kind):
    assert KIND_COLOURS[kind][len("var(--") : -1] in PALETTE


@pytest.mark.parametrize("column", [0, 1])
def test_text_can_be_read_on_its_ground_by_light_and_in_the_dark(column):
    ground = PALETTE["ground"][column]
    for name in ("text", "muted", "link", "good", "bad", "warn"):
        assert contrast(PALETTE[name][column], ground) >= 4.5, name
    for name in ("spot", "on-demand"):
        assert contrast(PALETTE[name][column], ground) >= 3, name


def test_no_spec_reaches_for_the_network(record):
    for spec in specs(read_record(record)):
        urls = [text for text in texts(spec) if re.search(r"https?:", text)]
        assert urls == [theme.SCHEMA]  # a name, which nothing fetches


def test_texts_of_others_are_data_and_never_expressions(changed):
    hostile = "datum.loud || alert(1) \u202e</script>"
    record = changed()
    record["attempts"][0]["instance_type"] = hostile
    for step in record["steps"]:
        step["because"] = hostile
        if step["progress"]:
            step["progress"]["metrics"] = {hostile: 1.0}

    def keys(spec, path=()):
        if isinstance(spec, dict):
            for name, value in spec.items():
                yield from keys(value, (*path, name))
        elif isinstance(spec, list):
            for value in spec:
                yield from keys(value, path)
        elif isinstance(spec, str) and "alert" in spec:
            yield path, spec

    run = read_record(record)
    found = [each for spec in specs(run) for each in keys(spec)]
    assert found
    assert {path[-3:-1] for path, _ in found} <= {("data", "values"), ("layer", "data")}
    assert not [text for _, text in found if "\u202e" in text]
