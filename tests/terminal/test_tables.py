"""What is shown of a run's record."""

import re

import pytest

from nightspot.local.stage.records import LocalRecord
from nightspot.record.model import read_as
from nightspot.terminal import tables


def squeezed(text):
    return re.sub(r"\s+", " ", text)


def local(record):
    return read_as(LocalRecord, record)


def outcome(screen, record):
    tables.show_outcome(screen, local(record))
    return squeezed(screen.text)


def test_the_outcome_says_which_code_was_trained(screen, record):
    code = {"digest": "d" * 64, "entry_point": "train.py", "revision": "1" * 40}
    assert f"train.py {'d' * 12} (git {'1' * 12})." in outcome(screen, record | {"code": code})


def test_the_header_says_what_is_simulated_and_what_is_real(screen, record):
    tables.show_header(screen, local(record))
    text = squeezed(screen.text)
    assert "Simulated SageMaker, its Spot market, S3, DynamoDB" in text
    assert "Real the workflow file, the Lambda handlers, the training process, its checkpoints" in text
    assert "Hours of the story are seconds here: 1 s = 8 min." in text
    assert "start 2026-11-21 00:00 UTC, model due by 08:00 UTC." in text
    assert "bad: Spot is empty at first" in text


def test_real_time_is_not_called_seconds(screen, record):
    tables.show_header(screen, local({**record, "time_scale": 1.0}))
    assert "The story takes its real time: 1 s = 1 s." in squeezed(screen.text)


def test_a_deadline_on_another_day_says_which(screen, record):
    tables.show_header(screen, local({**record, "deadline": "2026-11-22T08:00:00+00:00"}))
    assert "due by 2026-11-22 08:00 UTC" in squeezed(screen.text)


def test_every_attempt_has_its_row(wide_screen, record):
    wide_screen.print(tables.attempts_table(local(record)))
    rows = [line.split() for line in wide_screen.lines[-2:]]
    assert " ".join(rows[0]) == "1 Spot ml.p4d.24xlarge 2h 25m 3h 54m 2 x step 9 stopped by Nightspot $29.73"
    assert " ".join(rows[1]) == "2 on-demand ml.p4d.24xlarge 2m 1h 31m 1h 31m - step 15 completed $50.15"


def test_the_attempts_fit_into_100_columns(narrow_screen, record):
    narrow_screen.print(tables.attempts_table(local(record)))
    assert max(len(line.rstrip()) for line in narrow_screen.lines) <= 100
    for whole in ("ml.p4d.24xlarge", "on-demand", "1h 31m", "$29.73", "completed"):
        assert whole in narrow_screen.text


def test_what_is_not_known_is_said_so(wide_screen, record):
    attempt = {**record["attempts"][0], "cost_usd": None, "billable_seconds": None, "ended_at": None}
    attempt |= {"failure_class": None}
    wide_screen.print(tables.attempts_table(local({**record, "attempts": [attempt]})))
    assert "3h - 2 x step 9 still open not known" in squeezed(wide_screen.text)


def test_the_outcome_sums_up_time_money_and_quality(screen, record):
    text = outcome(screen, record)
    assert "ready at 07:03 UTC, 56 min before the deadline at 08:00 UTC." in text
    assert "$79.88 for all attempts; on-demand alone would have cost $127.19: 37.2 % saved." in text
    assert "$33.00 an hour on-demand (assumed 2026-11-21); Spot is simulated at 70 % less." in text
    assert "recall@10 0.2511" in text
    assert "45 state transitions: $0.0011 at $0.025 per 1,000." in text
    assert "s3://recommender-models-123456789012/nightly/" in text
    assert "build/demo/functions.log" in text


def test_a_model_after_the_deadline_is_called_late(screen, record):
    late = {**record, "deadline_met": False, "margin_seconds": -1800.0}
    assert "30 min AFTER the deadline" in outcome(screen, late)


def test_a_model_with_remarks_is_called_so(screen, record):
    remarks = [{"kind": "unfinished_steps", "text": "finished at step 3 of 24"}]
    said = outcome(screen, {**record, "remarks": remarks})
    assert "the deadline at 08:00 UTC, but finished at step 3 of 24." in said


def test_a_night_that_cost_more_than_on_demand_says_so(screen, record):
    assert "7.9 % more than that." in outcome(
        screen, {**record, "on_demand_cost_usd": record["cost_usd"] / 1.079}
    )


@pytest.mark.parametrize("alone", [None, 127.19])
def test_a_failed_night_has_saved_nothing(screen, record, alone):
    failed = {
        **record,
        "outcome": "failed",
        "deadline_met": False,
        "saved_percent": None,
        "on_demand_cost_usd": alone,
        "model_artifact": None,
    }
    text = outcome(screen, failed)
    assert "none (failed). Training job" in text
    assert "$79.88 for all attempts. Prices" in text
    assert "at the last checkpoint that is safe" in text
    assert "Artefact" not in text


def test_a_cost_without_a_price_is_not_guessed(screen, record):
    unpriced = {**record, "cost_usd": None, "unpriced_attempts": [1], "prices": [_no_price("ml.p5.48xlarge")]}
    text = outcome(screen, unpriced)
    assert "Cost not known, because attempt 1 has no price or no billable time." in text
    assert "ml.p5.48xlarge not known" in text


def test_an_input_that_was_refused_shows_why(screen, record):
    refused = {**record, "outcome": "refused", "because": None, "cause": "job: 'x' is not a job."}
    text = outcome(screen, {**refused, "attempts": [], "metrics": {}, "cost_usd": 0.0, "deadline_met": False})
    assert "none (refused). job: 'x' is not a job." in text


def test_decisions_are_shown_as_they_were_taken(wide_screen, record):
    tables.show_decisions(wide_screen, local(record), spot_first=True)
    assert len(wide_screen.lines) == len(record["steps"]) == 13
    assert wide_screen.lines[0].startswith(
        "00:01  Nightspot  START Spot ml.p4d.24xlarge as job 1: 7 h 58 min to"
    )
    fallbacks = [line for line in wide_screen.lines if "FALLBACK" in line]
    assert [line[:7] + line[18:62] for line in fallbacks] == [
        "05:29  FALLBACK: START on-demand ml.p4d.24xlarge as"
    ]
    assert wide_screen.lines[-1].startswith("07:03  Nightspot  FINISH succeeded: Training job ")


def _no_price(instance_type):
    return {
        "instance_type": instance_type,
        "usd_per_hour": None,
        "assumed": None,
        "date": None,
        "source": None,
    }


def test_what_a_run_did_otherwise_is_told_in_words():
    overrides = {
        "deadline": {"within": 43_200},
        "instance_types": [
            {"instance_type": "ml.g5.xlarge", "speed": 0.5},
            {"instance_type": "ml.p4d.24xlarge"},
        ],
        "budget": {"per_run_usd": 50},
    }
    assert tables.overrides_in_words(overrides) == (
        "deadline: within 12 h; instance_types: ml.g5.xlarge (speed 0.5), then ml.p4d.24xlarge; "
        "budget: per_run_usd 50"
    )
