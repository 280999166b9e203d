"""What a person reads: the subject and the text of an e-mail."""

import pytest

from nightspot.failures.codes import FailureClass
from nightspot.failures.explanations import EXPLANATIONS
from nightspot.record.events import RunEvent
from nightspot.run.model import Outcome
from nightspot.view.messages.message import message_of
from nightspot.view.messages.plain import usd
from nightspot.view.messages.wording import may_be_told

TELLABLE = [run_event for run_event in RunEvent if may_be_told(run_event)]


def lines_of(message):
    return message.text.splitlines()


def figures_of(message):
    pairs = (line.partition(": ") for line in lines_of(message))
    return {label: value for label, _, value in pairs if value}


def test_the_closing_message_says_which_code_was_trained(notices):
    code = {"digest": "d" * 64, "entry_point": "train.py", "revision": None, "pushed_by": "user/jo"}
    message = message_of(notices.closing(notices.fallen_back(), summary={"code": code}))
    assert figures_of(message)["Code"] == f"train.py {'d' * 12} (not in git; pushed by user/jo)"


def test_a_night_that_fell_back_is_one_text_with_its_whole_story(notices):
    """The whole of it once, so that a reader of this test sees what a person gets."""
    figures = {"on_demand_cost_usd": 148.5, "saved_usd": 69.3, "saved_percent": 46.67}
    message = message_of(notices.closing(notices.fallen_back(), zone="Europe/Paris", summary=figures))
    assert message.subject == ("recommender: model ready, 57 min early, fell back to on-demand, $79.20")
    console = "https://eu-west-1.console.aws.amazon.com"
    logs = (
        f"{console}/cloudwatch/home?region=eu-west-1#logsV2:log-groups/log-group/"
        "$252Faws$252Fsagemaker$252FTrainingJobs$3FlogStreamNameFilter$3Dnightspot-recommender-20261121-abc123"
    )
    assert (
        message.text
        == f"""\
The model of recommender is ready.
Spot interrupted the training 2 times. It fell back to on-demand.

the reason.

Ready: Sat 21 Nov 2026, 08:03 Europe/Paris (07:03 UTC), 57 min before the deadline
Deadline: Sat 21 Nov 2026, 09:00 Europe/Paris (08:00 UTC)
Cost: $79.20
On-demand alone: $148.50 (ml.p4d.24xlarge)
Saved: $69.30 (46.7 %)
Caution: The saving could be too high: its repeated work is an estimate; a cheaper type than ml.p4d.24xlarge that \
the job file does not name would make it smaller.

Attempts:
1. Spot ml.p4d.24xlarge: waited 2 h, trained 3 h, 2 interruptions; ended: stopped by Nightspot; $29.70
2. on-demand ml.p4d.24xlarge: waited 2 min, trained 1 h 30 min; completed; $49.50

Execution:
{console}/states/home?region=eu-west-1#/v2/executions/details/{message.chat["metadata"]["relatedResources"][0]}
Logs of attempt 1:
{logs}-1$252F
Logs of attempt 2:
{logs}-2$252F

Run 20261121-abc123 of recommender.
"""
    )


def test_progress_that_may_not_be_read_is_told_with_the_refusal_and_what_to_do(notices):
    refusal = (
        "An error occurred (AccessDenied) when calling the GetObject operation: User: arn:aws:sts::123456789012:"
        "assumed-role/Nightspot-DecideNextStepRole/x is not authorized to perform: kms:Decrypt"
    )
    message = message_of(notices.at_once(RunEvent.PROGRESS_UNREADABLE, progress_unreadable=refusal))
    assert message.subject == "recommender: its progress may not be read"
    said = figures_of(message)["The refusal"]
    assert "assumed-role/Nightspot-DecideNextStepRole" in said
    assert "kms:Decrypt" in said
    assert "123456789012" not in said
    for named in ("DecideNextStepRoleArn", "policy of the bucket's key", "s3:ListBucket", "nightspot doctor"):
        assert named in message.text
    older = message_of(notices.at_once(RunEvent.PROGRESS_UNREADABLE))
    assert figures_of(older)["The refusal"] == "not known"


def test_every_figure_is_the_summary_s(notices):
    notice = notices.closing(notices.fallen_back())
    summary = notice.detail["summary"]
    figures = figures_of(message_of(notice))
    assert figures["Cost"] == usd(summary["cost_usd"])
    assert figures["On-demand alone"] == f"{usd(summary['on_demand_cost_usd'])} (ml.p4d.24xlarge)"
    assert figures["Saved"] == f"{usd(summary['saved_usd'])} ({summary['saved_percent']:.1f} %)"
    for number, attempt in enumerate(summary["attempts"], start=1):
        (line,) = (line for line in lines_of(message_of(notice)) if line.startswith(f"{number}. "))
        assert line.endswith(f"; {usd(attempt['cost_usd'])}")


@pytest.mark.parametrize(
    ("missing", "label", "value"),
    [
        ({"cost_usd": None, "cost_at_least_usd": 0.0}, "Cost", "unknown"),
        (
            {"cost_usd": None, "unpriced_attempts": [1, 3], "cost_at_least_usd": 12.0},
            "Cost",
            "unknown, because attempt 1, 3 has no price or no billable time; at least $12.00",
        ),
        ({"on_demand_cost_usd": None}, "On-demand alone", "unknown"),
        ({"on_demand_cost_usd": None}, "Saved", "unknown"),
        ({"missing": ["billable_seconds"]}, "Saved", "unknown"),
        ({"ended_at": None}, "Ready", "unknown, 57 min before the deadline"),
        (
            {"margin_seconds": None},
            "Ready",
            "Sat 21 Nov 2026, 07:03 UTC, how long before or after the deadline is unknown",
        ),
    ],
)
def test_what_is_missing_is_called_unknown_and_nothing_is_computed_from_it(notices, missing, label, value):
    message = message_of(notices.closing(notices.fallen_back(), summary=missing))
    assert figures_of(message)[label] == value


def test_a_cost_that_is_missing_is_unknown_in_the_subject_too(notices):
    message = message_of(notices.closing(notices.fallen_back(), summary={"cost_usd": None}))
    assert message.subject.endswith(", cost unknown")


def test_a_night_dearer_than_on_demand_says_so(notices):
    more = {"cost_usd": 145.0, "on_demand_cost_usd": 132.5}
    message = message_of(notices.closing(notices.fallen_back(), summary=more))
    assert figures_of(message)["Saved"] == "nothing; it cost $12.50 (9.4 %) more"


def test_under_a_savings_plan_a_message_has_the_lower_saving_and_says_what_it_depends_on(notices):
    plan = {"cost_usd": 47.16, "on_demand_cost_usd": 0.0, "saved_usd": -47.16, "saved_at_most_usd": 44.84}
    figures = figures_of(message_of(notices.closing(notices.fallen_back(), summary=plan)))
    assert figures["Saved"] == (
        "nothing; it cost $47.16 more. It depends on the room in the Savings Plan: at best $44.84 saved."
    )
    assert "the higher figure, $44.84, depends on the room in the Savings Plan" in figures["Caution"]


def test_a_message_without_a_saving_has_no_word_on_how_it_could_be_too_high(notices):
    unknown = notices.closing(notices.fallen_back(), summary={"on_demand_cost_usd": None})
    assert "Caution" not in figures_of(message_of(unknown))


def test_a_late_model_is_late_in_subject_headline_and_figures(notices):
    message = message_of(notices.closing(notices.fallen_back(ready="08:25", said_late=True)))
    assert message.subject.startswith("recommender: model ready, 25 min LATE, fell back")
    assert lines_of(message)[0] == "The model of recommender is ready, after its deadline."
    assert figures_of(message)["Ready"].endswith("25 min after the deadline")
    assert "It was expected to be late." in message.text
    assert "What you can do" in message.text


def test_a_model_with_remarks_has_them_in_subject_and_text(notices):
    texts = ("finished at step 3 of 24", "the model artefact is empty")
    remarks = [{"kind": "any", "text": text} for text in texts]
    message = message_of(notices.closing(notices.quiet(), summary={"remarks": remarks}))
    assert message.subject.startswith("recommender: model ready, but finished at step 3 of 24, and the model")
    assert lines_of(message)[0] == "The model of recommender is ready, but check it before you use it."
    assert "Finished at step 3 of 24. The model artefact is empty." in message.text
    assert "What you can do: Read the training log." in message.text
    assert message.chat["content"]["title"].startswith(":warning:")


def test_a_failure_says_why_what_it_cost_and_what_can_be_done_but_not_what_it_saved(notices):
    message = message_of(notices.closing(notices.failed()))
    assert message.subject == "recommender: NO MODEL, the run failed (user code), $9.90"
    figures = figures_of(message)
    assert "AlgorithmError: exit code 1" in figures["Why"]
    assert figures["Cost"] == "$9.90"
    assert not {"Ready", "Saved", "On-demand alone"} & figures.keys()
    assert figures["What you can do"] == EXPLANATIONS[FailureClass.USER_CODE].advice


@pytest.mark.parametrize("failure", FailureClass)
def test_every_class_of_failure_has_its_advice(notices, failure):
    message = message_of(notices.closing(notices.failed(failure)))
    assert f"What you can do: {EXPLANATIONS[failure].advice}" in message.text


@pytest.mark.parametrize("outcome", [Outcome.SKIPPED, Outcome.REFUSED])
def test_a_run_that_bought_nothing_says_how_to_have_it_otherwise(notices, outcome):
    text = message_of(notices.closing(notices.over(outcome))).text
    assert {Outcome.SKIPPED: "fallback: on_demand", Outcome.REFUSED: "concurrency: replace"}[outcome] in text


def test_a_skipped_night_is_advised_on_the_skip_and_not_on_its_last_attempt(notices, story):
    attempts = [story.ended(FailureClass.NO_CAPACITY, waited_seconds=60.0)]
    text = message_of(notices.closing(notices.over(Outcome.SKIPPED, attempts=attempts))).text
    assert "fallback: on_demand" in text
    assert EXPLANATIONS[FailureClass.NO_CAPACITY].advice not in text


def test_a_model_of_which_nobody_knows_when_it_was_ready_is_perhaps_late(notices):
    unknown = {"deadline_met": False, "margin_seconds": None}
    subject = message_of(notices.closing(notices.quiet(), summary=unknown)).subject
    assert subject.startswith("recommender: model ready, perhaps late, $")


def test_a_risk_is_told_with_the_decision_and_links_to_the_job_that_trains(notices):
    message = message_of(notices.at_once(RunEvent.AT_RISK))
    assert message.subject == "recommender: the model may be late"
    figures = figures_of(message)
    assert figures["Why"] == "on-demand is starting; it should finish by 09:12 UTC, after 08:00 UTC."
    assert figures["Deadline"] == "Sat 21 Nov 2026, 08:00 UTC"
    assert figures["Attempt 2"] == "nightspot-recommender-20261121-abc123-2, on-demand ml.p4d.24xlarge"
    addresses = [line for line in lines_of(message) if line.startswith("https://")]
    assert [address.partition("#")[0].split("/")[3] for address in addresses] == [
        "states",
        "sagemaker",
        "cloudwatch",
    ]


def test_a_risk_before_the_first_attempt_has_no_job_to_link_to(notices):
    notice = notices.at_once(
        RunEvent.AT_RISK, attempt=None, training_job_name=None, market=None, instance_type=None
    )
    text = message_of(notice).text
    assert "None" not in text
    assert "sagemaker/home" not in text


def test_a_crash_names_what_goes_on_and_where_it_is(notices):
    message = message_of(notices.crash())
    figures = figures_of(message)
    name = "nightspot-recommender-20261121-abc123-1"
    assert figures["Why"] == "the ledger has no rungs"
    assert figures["Error"] == "KeyError"
    assert figures["Training jobs that go on"] == name
    assert (
        f"{name}:\nhttps://eu-west-1.console.aws.amazon.com/sagemaker/home?region=eu-west-1#/jobs/{name}"
        in (message.text)
    )


@pytest.mark.parametrize("left", [[], None, ""])
def test_a_crash_after_which_nothing_goes_on_says_so(notices, left):
    message = message_of(notices.crash(training_jobs_left_running=left))
    assert figures_of(message)["Training jobs that go on"] == "none"


@pytest.mark.parametrize(
    "cause",
    [
        "token=abcdef123456 was refused for 123456789012",
        '{"errorMessage": "token=abcdef123456 was refused for 123456789012"}',
        '["token=abcdef123456", "123456789012"]',
    ],
)
def test_the_cause_of_a_crash_is_redacted_because_nobody_has_done_it_before(notices, cause):
    message = message_of(notices.crash(cause=cause, error="Error of 123456789012", execution_arn=""))
    assert "abcdef123456" not in message.text + str(message.chat)
    assert "123456789012" not in message.text + str(message.chat)


@pytest.mark.parametrize(
    ("report", "address"),
    [
        ("https://reports.example.com/run.html", "https://reports.example.com/run.html"),
        (
            "s3://our-models/reports/20261121-abc123.html",
            "https://eu-west-1.console.aws.amazon.com/s3/object/our-models?region=eu-west-1"
            "&prefix=reports/20261121-abc123.html",
        ),
    ],
)
def test_the_report_is_the_first_link_where_there_is_one(notices, report, address):
    message = message_of(notices.closing(notices.fallen_back(), report=report))
    addresses = [line for line in lines_of(message) if line.startswith("https://")]
    assert addresses[0] == address
    assert f"<{address.replace('&', '&amp;')}|Report>" in message.chat["content"]["description"]


@pytest.mark.parametrize(
    "report", [None, "", 7, {"key": "x"}, "javascript:alert(1)", "http://x", "https://a b"]
)
def test_what_is_no_address_is_no_link(notices, report):
    assert "Report" not in message_of(notices.closing(notices.fallen_back(), report=report)).text


def test_without_an_execution_there_are_no_links_to_a_console(notices):
    notice = notices.closing(notices.fallen_back(), execution_arn="", summary={"execution_arn": ""})
    assert "https://" not in message_of(notice).text


def test_of_ninety_attempts_the_first_and_the_last_are_told(notices, story):
    attempts = [
        story.ended(FailureClass.NO_CAPACITY, number=number, waited_seconds=60.0) for number in range(1, 91)
    ]
    message = message_of(notices.closing(notices.over(Outcome.FAILED, attempts=attempts)))
    numbers = [line.partition(".")[0] for line in lines_of(message) if ". Spot" in line]
    assert numbers == ["1", "2", "87", "88", "89", "90"]
    assert "(84 more attempts)" in lines_of(message)


def test_only_attempts_that_had_a_machine_have_logs(notices, story):
    refused = story.ended(FailureClass.NO_CAPACITY, waited_seconds=60.0)
    run = notices.fallen_back()
    run = notices.over(Outcome.SUCCEEDED, attempts=[refused, run.attempts[1]])
    assert "Logs of attempt 2:" in message_of(notices.closing(run)).text
    assert "Logs of attempt 1:" not in message_of(notices.closing(run)).text


@pytest.mark.parametrize("run_event", TELLABLE)
def test_every_message_leads_to_its_run(notices, run_event):
    message = message_of(notices.any_of(run_event))
    assert "Run 20261121-abc123 of recommender." in message.text
    assert "#/v2/executions/details/" in message.text
    assert "None" not in message.text
    assert "{" not in message.text


def test_a_notice_that_nobody_is_told_becomes_no_message(notices):
    assert message_of(notices.closing(notices.quiet())) is None
    assert message_of(notices.closing(notices.quiet()), tell_success=True).subject == (
        "recommender: model ready, 3 h 50 min early, $39.60"
    )


def test_the_same_notice_has_the_same_key_and_a_crash_one_of_its_execution(notices):
    first, again = (message_of(notices.closing(notices.failed())).key for _ in range(2))
    assert first == again == "20261121-abc123/9/RunFailed"
    crash, other = notices.crash(), notices.crash(execution_arn="arn:aws:states:eu-west-1:123456789012:x:y")
    assert message_of(crash).key == f"{crash.detail['execution_arn']}/DecisionCrashed"
    assert message_of(crash).key != message_of(other).key
