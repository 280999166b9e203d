"""The progress file out of a container: any bytes give a result, and only what can be true is believed."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.checkpoint.core import progress as limits
from nightspot.checkpoint.core.files import progress_name
from nightspot.run import progress_file
from nightspot.run.model import Progress, to_json
from nightspot.run.progress_file import MOST_BYTES, MOST_METRICS, ProgressFile, order_of, read_progress

MLFLOW_PAGE = "https://mlflow.example.com/#/experiments/1/runs/53bc4d89"
GOOD = {
    "step": 40,
    "total_steps": 100,
    "fraction": 0.4,
    "seconds_per_step": 12.5,
    "saved_at": "2026-11-21T02:00:00.250Z",
    "checkpoint": "checkpoint-000000040-rank00000.nsck",
    "files": 1,
    "metrics": {"loss": 0.25},
    "attempt": 2,
    "resumed_from": {"step": 30, "attempt": 1},
    "started_at": "2026-11-21T01:00:00.000Z",
}
PROGRESS = Progress(
    step=40,
    total_steps=100,
    fraction=0.4,
    seconds_per_step=12.5,
    saved_at=datetime(2026, 11, 21, 2, 0, 0, 250_000, tzinfo=UTC),
    attempt=2,
    resumed_from_step=30,
    process_started_at=datetime(2026, 11, 21, 1, tzinfo=UTC),
    metrics={"loss": 0.25},
)


def read(**changes) -> ProgressFile:
    return read_progress(json.dumps({**GOOD, **changes}).encode())


def test_all_that_fits_is_read_and_nothing_is_left_out():
    assert read() == ProgressFile(PROGRESS, GOOD["checkpoint"], 1, ())


WHOLE_FILES = {
    "nothing": b"",
    "cut off": b'{"step": 4',
    "no text": b"\xff\xfe\x00\x00",
    "zeros": b"\x00" * 100,
    "a list": b"[1]",
    "null": b"null",
    "nested too deep": b'{"step": ' + b"[" * 60_000,
    "nested objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "too large": json.dumps({**GOOD, "note": "x" * MOST_BYTES}).encode(),
    "no step": b'{"saved_at": "2026-11-21T02:00:00Z"}',
    "no time": b'{"step": 4}',
}


@pytest.mark.parametrize("body", WHOLE_FILES.values(), ids=WHOLE_FILES)
def test_a_file_without_a_usable_core_shows_no_progress_and_says_so(body):
    file = read_progress(body)
    assert file.progress is None
    assert file.left_out


@pytest.mark.parametrize(
    "lead", [b"\xef\xbb\xbf", b"\n\t ", b'{"note": "\xff\xfe", '], ids=["BOM", "blanks", "bytes of a name"]
)
def test_bytes_that_are_no_utf_8_do_not_hide_the_step(lead):
    body = json.dumps(GOOD).encode()
    file = read_progress(lead + (body[1:] if lead.startswith(b"{") else body))
    assert file.progress == PROGRESS


def test_a_number_of_more_digits_than_python_reads_hides_only_itself():
    body = json.dumps(GOOD).replace("0.25}", "9" * 5000 + "}").encode()
    file = read_progress(body)
    assert (file.progress.step, file.progress.metrics) == (40, {})


CORE = [
    ("step", None),
    ("step", "40"),
    ("step", True),
    ("step", 4.5),
    ("step", -1),
    ("step", 10**38),
    ("step", 10**4000),
    ("step", math.inf),
    ("step", math.nan),
    ("step", [40]),
    ("saved_at", None),
    ("saved_at", 1795312800),
    ("saved_at", "yesterday"),
    ("saved_at", "2026-11-21T02:00:00"),
    ("saved_at", "0001-01-01T00:00:00+10:00"),
    ("saved_at", "9999-12-31T23:59:59-10:00"),
    ("saved_at", "1970-01-01T00:00:00Z"),
    ("saved_at", "2200-01-01T00:00:00Z"),
    ("saved_at", "2" * 50_000),
    ("saved_at", "2026-11-21T02:00:00\ud800"),
    ("checkpoint", 5),
    ("checkpoint", ""),
    ("checkpoint", "../other/checkpoint.nsck"),
    ("checkpoint", "/etc/passwd"),
    ("checkpoint", "a//b"),
    ("checkpoint", "a\x00b"),
    ("checkpoint", "a\nb"),
    ("checkpoint", "\ud800"),
    ("checkpoint", "\u202egnp.exe"),
    ("checkpoint", "ä" * 128),
    ("files", 0),
    ("files", -1),
    ("files", "two"),
    ("files", 10**9),
    ("files", 1.5),
]


@pytest.mark.parametrize(("field", "value"), CORE, ids=[f"{n}-{field}" for n, (field, _) in enumerate(CORE)])
def test_without_a_step_a_time_and_its_checkpoint_no_progress_is_promised(field, value):
    assert read(**{field: value}).progress is None


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("step", 40.0, 40),
        ("step", 0, 0),
        ("total_steps", 1e2, 100),
        ("seconds_per_step", 3, 3.0),
        ("seconds_per_step", 0, 0.0),
        ("seconds_per_step", 28 * 86_400, 2_419_200.0),
        ("attempt", 0, 0),
        ("fraction", 1, 1.0),
    ],
)
def test_every_way_to_write_a_number_is_read(field, value, kept):
    file = read(**{field: value})
    assert (getattr(file.progress, field), file.left_out) == (kept, ())


TOTALS = {
    "text": "many",
    "zero": 0,
    "negative": -3,
    "below the step": 39,
    "sys.maxsize": sys.maxsize,
    "long": 10**40,
    "infinite": math.inf,
    "half": 2.5,
    "true": True,
    "list": [],
}


@pytest.mark.parametrize("total", TOTALS.values(), ids=TOTALS)
def test_a_total_that_cannot_be_true_takes_its_fraction_with_it(total):
    file = read(total_steps=total)
    assert (file.progress.step, file.progress.total_steps, file.progress.fraction) == (40, None, None)
    assert file.left_out[0].startswith("total_steps: ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fraction", math.nan),
        ("fraction", -0.1),
        ("fraction", 1.1),
        ("fraction", "half"),
        ("seconds_per_step", math.inf),
        ("seconds_per_step", -2.0),
        ("seconds_per_step", 1e-300),
        ("seconds_per_step", 28 * 86_400 + 1),
        ("seconds_per_step", False),
        ("attempt", []),
        ("attempt", -1),
        ("attempt", 10**20),
    ],
)
def test_a_field_that_cannot_be_true_costs_itself_alone(field, value):
    file = read(**{field: value})
    assert getattr(file.progress, field) is None
    assert (file.progress.step, file.progress.metrics) == (40, {"loss": 0.25})
    assert [remark.partition(":")[0] for remark in file.left_out] == [field]
    assert file.progress.left_out == file.left_out


RESUMED = {
    "a number": 30,
    "a list": [],
    "a text": {"step": "30"},
    "negative": {"step": -1},
    "huge": {"step": 10**20},
    "empty": {},
}


@pytest.mark.parametrize("resumed", RESUMED.values(), ids=RESUMED)
def test_a_resume_that_cannot_be_read_is_not_taken_for_a_start_from_nothing(resumed):
    progress = read(resumed_from=resumed).progress
    assert (progress.resumed_from_step, progress.attempt) == (None, None)
    assert read(resumed_from=None).progress.attempt == 2


METRICS = {
    "null": (None, None),
    "NaN": (math.nan, None),
    "infinite": (math.inf, None),
    "too large": (1e126, None),
    "too small": (-1e200, None),
    "a long int": (10**126, None),
    "a longer int": (10**400, None),
    "the largest": (9.8e125, 9.8e125),
    "more digits than 38": (10**40, 1e40),
    "the smallest": (1e-130, 1e-130),
    "exp(-500)": (math.exp(-500), 0.0),
    "below zero": (-1e-200, 0.0),
    "denormal": (5e-324, 0.0),
    "true": (True, None),
    "text": ("0.5", None),
    "a list": ([0.5], None),
    "an object": ({}, None),
    "an int": (3, 3.0),
}


@pytest.mark.parametrize(("value", "kept"), METRICS.values(), ids=METRICS)
def test_a_metric_is_kept_where_the_record_can_hold_it(value, kept):
    file = read(metrics={"this": value, "other": 0.5})
    assert file.progress.metrics == {"other": 0.5} | ({} if kept is None else {"this": kept})
    # Null is the library's own word for a loss that has blown up.
    assert bool(file.left_out) == (kept is None and value is not None)


NAMES = {
    "empty": "",
    "long": "n" * 129,
    "escape": "\x1b[2J",
    "two lines": "a\nb",
    "turned": "\u202eb",
    "no width": "\u200b",
    "half": "\ud800",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_metric_whose_name_cannot_be_shown_is_left_out(name):
    file = read(metrics={name: 1.0, "loss": 0.5})
    assert file.progress.metrics == {"loss": 0.5}
    assert "\x1b" not in "".join(file.left_out)


@pytest.mark.parametrize("metrics", [[1], "loss", 5, True], ids=["list", "text", "number", "true"])
def test_metrics_of_another_shape_are_left_out(metrics):
    assert read(metrics=metrics).progress.metrics == {}


def test_of_many_metrics_the_first_ones_are_read_and_the_others_counted():
    file = read(metrics={f"m{n}": n for n in range(MOST_METRICS + 10)})
    assert list(file.progress.metrics) == [f"m{n}" for n in range(MOST_METRICS)]
    assert file.left_out == ("metrics: 10 more: must be at most 50",)


def test_of_many_remarks_a_few_are_kept_and_the_others_counted():
    file = read(metrics={f"m{n}": "x" for n in range(1000)})
    assert (len(file.left_out), file.left_out[-1]) == (11, "and 990 more")


def test_both_sides_have_the_same_bounds():
    names = [name for name in vars(limits) if name.startswith(("MOST_", "LARGEST_", "SMALLEST_"))]
    assert len(names) == 5
    assert {name: getattr(limits, name) for name in names} == {
        name: getattr(progress_file, name) for name in names
    }


numbers = st.one_of(
    st.integers(), st.floats(), st.sampled_from([10**38, 10**400, sys.maxsize, 1e130, 1e-200, True])
)
values = st.recursive(
    st.one_of(st.none(), numbers, st.text(max_size=30)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
documents = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.one_of(st.just(good), values) for name, good in GOOD.items()},
        "metrics": st.dictionaries(st.text(max_size=10), numbers, max_size=60) | values,
        "resumed_from": st.fixed_dictionaries({"step": values}) | values,
        "saved_at": st.datetimes(timezones=st.just(UTC)).map(str) | st.just(GOOD["saved_at"]) | values,
    },
)


@given(st.one_of(st.binary(max_size=300), documents.map(lambda document: json.dumps(document).encode())))
def test_whatever_it_says_there_is_a_result_within_the_bounds(body):
    file = read_progress(body)
    assert file.files >= 1
    if file.progress is None:
        assert file.left_out
        return
    told = json.loads(json.dumps(to_json(file.progress), allow_nan=False))
    assert 0 <= told["step"] <= (told["total_steps"] or progress_file.MOST_STEPS)
    assert len(told["metrics"]) <= MOST_METRICS
    assert all(value == 0 or 1e-130 <= abs(value) < 1e126 for value in told["metrics"].values())
    assert all(text.isprintable() for text in (*told["metrics"], *told["left_out"]))


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("nightspot-000003-000000012-000004.json", (3, 12, 4)),
        ("nightspot-1000000-1000000000000000-1000000000.json", (10**6, 10**15, 10**9)),
        ("nightspot-1000001-000000012-000004.json", None),
        ("nightspot-000003-1000000000000001-000004.json", None),
        ("nightspot-99999999999999999999.json", None),
        ("nightspot-3-12-4.json", None),
        ("nightspot-000003-000000012-000004.json.0a1b2c3d.tmp", None),
        ("nightspot.json", None),
        ("nightspot-٠٠٠٠٠٣-000000012-000004.json", None),
    ],
    ids=[
        "usual",
        "the most",
        "too many processes",
        "too many steps",
        "a huge number",
        "short",
        "a draft",
        "unnumbered",
        "arabic",
    ],
)
def test_a_name_says_which_is_newer_or_nothing(name, order):
    assert order_of(name) == order


def test_what_the_library_calls_its_files_is_what_is_read():
    for numbers in [(1, 0, 1), (10**6, 10**15, 10**6)]:
        assert order_of(progress_name(*numbers)) == numbers


def test_a_file_must_say_what_its_name_says():
    body = json.dumps({**GOOD, "process": 3, "number": 4}).encode()
    assert read_progress(body, (3, 40, 4)).progress == replace(PROGRESS, process=3, number=4)
    for other in [(4, 40, 4), (3, 41, 4), (3, 40, 5)]:
        assert read_progress(body, other).progress is None
        assert "its name says" in read_progress(body, other).left_out[0]
    assert read_progress(json.dumps(GOOD).encode(), (3, 40, 4)).progress is None


@given(st.binary(max_size=200), st.tuples(st.integers(), st.integers(), st.integers()))
def test_whatever_a_file_and_its_name_say_there_is_a_result(body, order):
    file = read_progress(body, order)
    assert (file.progress is None) == bool(file.left_out)


def test_the_pages_of_trackers_are_read():
    links = {
        "mlflow": MLFLOW_PAGE,
        "wandb": "http://wandb.local:8080/team/p/runs/1",
        "other": "https://x.example.com",
    }

    read = read_progress(json.dumps({**GOOD, "trackers": links}).encode())

    assert read.progress.trackers == {"mlflow": MLFLOW_PAGE, "wandb": "http://wandb.local:8080/team/p/runs/1"}
    assert read.left_out == ()


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "https://user:hunter2@mlflow.example.com/",
        'https://mlflow.example.com/"onclick=x',
        "https://mlflow.example.com/<script>",
        "https://mlflow.example.com/\n",
        "https://mlflow.example.com/ x",
        "https://m\u0142flow.example.com/",
        "https://mlflow.example.com/" + "x" * 500,
        "https://[",
        "file:///mlruns",
        "https:///no-host",
        7,
        ["https://mlflow.example.com/"],
    ],
    ids=[
        "script address",
        "password",
        "quote",
        "tag",
        "line break",
        "space",
        "look-alike letter",
        "too long",
        "broken host",
        "file",
        "no host",
        "number",
        "list",
    ],
)
def test_what_a_page_must_not_link_to_is_left_out_and_said(link):
    read = read_progress(json.dumps({**GOOD, "trackers": {"mlflow": link}}).encode())

    assert read.progress == PROGRESS.__class__(**{**vars(PROGRESS), "left_out": read.left_out})
    assert [remark.split(":")[0] for remark in read.left_out] == ["trackers.mlflow"]
    assert "hunter2" not in str(read.left_out)
