"""What the progress file leaves out, so that the scheduler can record it; the checkpoint keeps it all."""

import json
import logging
import math
import sys
from fractions import Fraction

import pytest

from nightspot.checkpoint.core import progress
from nightspot.run.progress_file import read_progress


@pytest.fixture
def saved(process, tmp_path):
    """saved(metrics) -> those in the progress file, those in the checkpoint, and what the scheduler leaves out."""

    def save(metrics, **options):
        process(**options).save(1, b"s", metrics=metrics)
        body = (tmp_path / "nightspot.json").read_bytes()
        return json.loads(body)["metrics"], process().restore().metrics, read_progress(body).left_out

    return save


def test_fifty_metrics_are_shown_and_all_are_kept(saved, caplog):
    metrics = {f"m{n}": float(n) for n in range(12_000)}
    shown, kept, left_out = saved(metrics)
    assert list(shown) == list(metrics)[: progress.MOST_METRICS]
    assert kept == metrics
    assert left_out == ()
    assert "'m50'" in caplog.text
    assert "11950 in all" in caplog.text


NUMBERS = [1e200, -1e200, 1e126, 10**126, 10**300]


@pytest.mark.parametrize("number", NUMBERS, ids=[f"{number:g}" for number in NUMBERS])
def test_a_number_that_the_record_cannot_hold_is_left_out(saved, number):
    assert saved({"perplexity": number, "loss": 0.5}) == (
        {"loss": 0.5},
        {"perplexity": number, "loss": 0.5},
        (),
    )


BEYOND = {
    "whole": 10**400,
    "unprintable": 10**5000,
    "fraction": Fraction(10**400),
    "nan": math.nan,
    "infinite": -math.inf,
}


@pytest.mark.parametrize("number", BEYOND.values(), ids=BEYOND)
def test_a_number_beyond_the_floats_is_null_and_ends_no_training(saved, number):
    shown, kept, left_out = saved({"perplexity": number, "loss": 0.5})
    assert shown == kept == {"perplexity": None, "loss": 0.5}
    assert left_out == ()


def test_what_is_nearer_to_zero_than_the_record_can_say_is_zero(saved):
    shown, kept, left_out = saved({"p": 1e-200})
    assert (shown, kept, left_out) == ({"p": 0.0}, {"p": 1e-200}, ())


NAMES = {"empty": "", "long": "n" * 129, "colour": "\x1b[31m", "two lines": "two\nlines", "half": "\ud800"}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_that_cannot_be_shown_is_left_out(saved, name):
    shown, kept, left_out = saved({name: 1.0, "loss": 0.5})
    assert (shown, left_out) == ({"loss": 0.5}, ())
    assert kept == {name: 1.0, "loss": 0.5}


def test_a_total_without_an_end_is_no_total(process, tmp_path):
    """sys.maxsize is what people write for "until it is stopped"."""
    process(total_steps=sys.maxsize).save(3, b"s")
    file = read_progress((tmp_path / "nightspot.json").read_bytes())
    assert (file.progress.step, file.progress.total_steps, file.progress.fraction) == (3, None, None)
    assert file.left_out == ()


def test_each_rule_is_warned_of_once(process, caplog):
    caplog.set_level(logging.WARNING, logger="nightspot.checkpoint")
    trainer = process()
    for step in range(1, 4):
        trainer.save(step, b"s", metrics={"perplexity": 1e200 * step, "n" * 200: 1.0})
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert warnings[0].startswith("not in nightspot.json: metrics['nnn")
    assert warnings[1] == (
        "not in nightspot.json: metrics['perplexity'] (1 in all): numbers must be from -9.9e+125 to 9.9e+125"
    )


def test_the_best_by_a_metric_beyond_the_limits_is_still_kept(process, tmp_path):
    many = {f"m{n}": 0.0 for n in range(progress.MOST_METRICS)}
    trainer = process(keep_last=1, keep_best=("loss", "min"))
    for step, loss in enumerate((3.0, 1.0, 2.0), start=1):
        trainer.save(step, b"s", metrics={**many, "loss": loss})
    assert [path.name[:20] for path in sorted(tmp_path.glob("*.nsck"))] == [
        "checkpoint-000000002",
        "checkpoint-000000003",
    ]
