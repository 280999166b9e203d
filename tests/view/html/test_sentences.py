"""What the head of a run's page says, in each of the ways in which a run can end."""

import pytest

from nightspot.failures.codes import FailureClass
from nightspot.record import sentences
from nightspot.record.model import Ending, RecordNotReadableError, read_record
from nightspot.run.model import Resume
from nightspot.view.html.theme import MOODS


def test_a_model_in_time_is_told_with_its_moment_and_its_margin(record):
    run = read_record(record)
    assert sentences.how_it_ended(run) == "The model was ready at 07:12 UTC, 47 min before the deadline."
    assert sentences.how_it_went(run) == (
        "Spot took the machine away twice. At 05:28 UTC the work went on to on-demand ml.p4d.24xlarge. "
        "Training went on from its checkpoint, as its progress file proves."
    )


def test_a_model_with_remarks_is_told_with_them(changed):
    remarks = [{"kind": "unfinished_steps", "text": "finished at step 3 of 24"}]
    run = read_record(changed(remarks=remarks))
    assert sentences.how_it_ended(run) == (
        "The model was ready at 07:12 UTC, 47 min before the deadline, but finished at step 3 of 24."
    )


def test_a_late_model_is_told_as_late(changed):
    late = read_record(changed(deadline_met=False, margin_seconds=-4321.0))
    assert sentences.how_it_ended(late) == "The model was ready at 07:12 UTC, 1 h 12 min after the deadline."


@pytest.mark.parametrize("ending", Ending)
def test_every_ending_has_a_headline_a_label_and_a_mood(ending):
    assert sentences.HEADLINES[ending].endswith(".")
    assert sentences.LABELS[ending]
    assert MOODS[ending] in {"good", "warn", "bad", "quiet"}


def test_only_what_is_in_time_is_good():
    assert [ending for ending, mood in MOODS.items() if mood == "good"] == [Ending.IN_TIME]


@pytest.mark.parametrize("verdict", Resume)
def test_every_verdict_on_a_resume_has_a_word(verdict):
    assert sentences.RESUMES[verdict]


@pytest.mark.parametrize("outcome", ["failed", "skipped", "stopped", "refused"])
def test_a_run_without_a_model_says_so_and_claims_no_saving(changed, outcome):
    run = read_record(changed(outcome=outcome, deadline_met=False, margin_seconds=None))
    assert sentences.how_it_ended(run) == sentences.HEADLINES[Ending(outcome)]
    assert "saved" not in sentences.money(run)
    assert "without a model" in sentences.money(run)


def test_a_broken_resume_is_not_passed_over(changed):
    said = sentences.how_it_went(read_record(changed(resume="broken")))
    assert "did not continue from its checkpoint" in said


def test_progress_that_could_not_be_read_is_said_with_the_refusal(changed):
    said = sentences.how_it_went(read_record(changed(progress_unreadable="AccessDenied: kms:Decrypt.")))
    assert said.endswith("Its progress files could not be read: AccessDenied: kms:Decrypt.")


def test_a_night_without_a_break_says_so(changed):
    quiet = changed(fell_back=False, interruptions=0, resume=None)
    del quiet["attempts"][0]
    assert sentences.how_it_went(read_record(quiet)) == (
        "On-demand ml.p4d.24xlarge did the whole work without a break."
    )


def test_the_money_is_the_account_s(record):
    account = read_record(record)
    said = sentences.money(read_record(record))
    assert f"cost ${account.cost_usd:,.2f};" in said
    assert f"would have cost ${account.on_demand_cost_usd:,.2f}: ${account.saved_usd:,.2f} (" in said
    assert said.endswith("saved.")


def test_a_dearer_night_is_not_called_a_saving(changed):
    said = sentences.money(read_record(changed(cost_usd=150.0, on_demand_cost_usd=100.0, saved_usd=-50.0)))
    assert said.endswith("$50.00 (50.0\u00a0%) more than that.")


def test_an_unknown_cost_is_a_lower_bound_and_says_why(changed):
    unknown = changed(cost_usd=None, saved_usd=None, saved_percent=None, unpriced_attempts=[2])
    unknown |= {"cost_at_least_usd": 29.5, "missing": ["billable_seconds"]}
    assert sentences.money(read_record(unknown)) == (
        "The cost is not known: at least $29.50, because attempt 2 has no price or no billable time."
    )


@pytest.mark.parametrize("failure", FailureClass)
def test_every_failure_class_reads_as_words(changed, failure):
    attempt = read_record(changed(attempt={"failure_class": failure.value})).attempts[-1]
    assert "_" not in sentences.how_an_attempt_ended(attempt)
    assert "nightspot" not in sentences.how_an_attempt_ended(attempt)


def test_an_attempt_without_a_failure_ends_as_sagemaker_says(changed):
    def ending(**fields):
        return sentences.how_an_attempt_ended(read_record(changed(attempt=fields)).attempts[-1])

    assert ending(status="Completed") == "completed"
    assert ending(status=None) == "not created"
    assert ending(ended_at=None) == "still open"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"deadline": "2026-11-21T08:00:00"}, "deadline: '2026-11-21T08:00:00': "),
        ({"outcome": "lost"}, "outcome: 'lost': input should be "),
        ({"cost_usd": "much"}, "cost_usd: 'much': input should be a valid number"),
        ({"steps": [{"action": "dance"}]}, r"steps\.0\.action: 'dance': "),
        ({"attempts": [{"number": 1}]}, r"attempts\.0\.training_job_name: nothing: field required"),
    ],
)
def test_a_record_that_cannot_be_read_names_field_value_and_rule(changed, fields, words):
    with pytest.raises(RecordNotReadableError, match=words):
        read_record(changed(**fields))


def test_a_refused_input_has_a_page_too(changed):
    refused = changed(outcome="refused", run_id=None, started_at=None, attempts=[], steps=[], ended_at=None)
    assert sentences.how_it_ended(read_record(refused)) == "Nothing was started."
