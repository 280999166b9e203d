"""The form for chat: a custom notification that a channel shows well, whatever the texts hold."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.failures.codes import FailureClass
from nightspot.record.events import RunEvent
from nightspot.run.model import Outcome
from nightspot.view.messages.message import (
    DESCRIPTION_CHARACTERS,
    NEXT_STEP_CHARACTERS,
    TITLE_CHARACTERS,
    escaped,
    message_of,
)
from nightspot.view.messages.wording import may_be_told

TELLABLE = [run_event for run_event in RunEvent if may_be_told(run_event)]
LINK = re.compile(r"<https://[^\s<>|]+\|[^<>|]+>")
ENTITY = re.compile(r"&(?:amp|lt|gt);")


@pytest.mark.parametrize("run_event", TELLABLE)
def test_every_message_is_a_custom_notification(notices, run_event):
    chat = json.loads(json.dumps(message_of(notices.any_of(run_event)).chat))
    assert (chat["version"], chat["source"]) == ("1.0", "custom")
    assert set(chat) == {"version", "source", "content", "metadata"}
    assert set(chat["content"]) == {"textType", "title", "description", "nextSteps", "keywords"}
    assert chat["content"]["textType"] == "client-markdown"
    assert chat["metadata"]["eventType"] == run_event.value
    assert all(isinstance(value, str) for value in chat["metadata"]["additionalContext"].values())


def test_a_run_is_one_thread(notices):
    threads = {message_of(notices.any_of(run_event)).chat["metadata"]["threadId"] for run_event in TELLABLE}
    assert threads == {"20261121-abc123"}


def test_a_person_sees_at_first_sight_how_it_went(notices):
    def sign(notice):
        return message_of(notice).chat["content"]["title"].split()[0]

    assert sign(notices.closing(notices.fallen_back())) == ":white_check_mark:"
    assert sign(notices.closing(notices.fallen_back(ready="08:25"))) == ":warning:"
    assert sign(notices.closing(notices.failed())) == ":x:"


def test_the_description_says_what_the_mail_says(notices):
    message = message_of(notices.closing(notices.fallen_back()))
    description = message.chat["content"]["description"]
    assert description.startswith("*The model of recommender is ready.*\n")
    for line in message.text.splitlines():
        label, _, value = line.partition(": ")
        if label in {"Ready", "Deadline", "Cost", "On-demand alone", "Saved"}:
            assert f"*{label}:* {value}" in description
        if line.startswith("https://"):
            assert f"<{line}|" in description
    assert "• 1. Spot ml.p4d.24xlarge" in description


def test_what_can_be_done_is_the_next_step(notices):
    (step,) = message_of(notices.closing(notices.failed())).chat["content"]["nextSteps"]
    assert step.startswith("Read the training job's log in CloudWatch")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<!channel> & <@U123>", "&lt;!channel&gt; &amp; &lt;@\u200bU123&gt;"),
        ("@here look", "@\u200bhere look"),
        ("```code", "'''code"),
        ("&amp;", "&amp;amp;"),
    ],
)
def test_what_opens_a_mention_a_link_or_code_is_shown_as_it_stands(text, shown):
    assert escaped(text) == shown


@given(st.text(alphabet="&<>@`ab!|#", max_size=60), st.integers(min_value=10, max_value=80))
def test_a_text_that_is_cut_keeps_whole_entities_and_its_limit(text, most):
    shown = escaped(text, most)
    assert len(shown) <= most
    assert "&" not in ENTITY.sub("", shown)
    assert not set(shown) & set("<>`")


hostile = st.one_of(
    st.sampled_from(
        [
            "<!channel>",
            "<https://evil.example|click>",
            "@everyone",
            "&" * 2000,
            "```",
            "a|b>c<d",
            "https://a|b&c",
        ]
    ),
    st.text(max_size=600),
)


@given(job=hostile, reason=hostile, report=hostile)
def test_hostile_texts_mention_nobody_and_leave_the_links_whole(notices, job, reason, report):
    run = notices.failed(FailureClass.USER_CODE, reason)
    notice = notices.closing(run, job=job, report=report, summary={"because": reason})
    content = message_of(notice).chat["content"]
    assert len(content["description"]) <= DESCRIPTION_CHARACTERS
    assert len(content["title"]) <= TITLE_CHARACTERS
    assert all(len(step) <= NEXT_STEP_CHARACTERS for step in content["nextSteps"])
    assert "|Execution>" in content["description"]
    texts = [content["title"], content["description"], *content["nextSteps"], *content["keywords"]]
    for text in texts:
        rest = LINK.sub("", text)
        assert not set(rest) & set("<>`")
        assert "@" not in rest.replace("@\u200b", "")
        assert "&" not in ENTITY.sub("", rest)


def test_ninety_attempts_fit_and_the_links_are_still_there(notices, story):
    attempts = [
        story.ended(
            FailureClass.NO_CAPACITY,
            number=number,
            training_job_name=f"nightspot-{'x' * 40}-{number}",
            trained_seconds=60.0,
            billable_seconds=20.0,
        )
        for number in range(1, 91)
    ]
    run = notices.over(Outcome.FAILED, attempts=attempts, outcome_because="&" * 3000)
    description = message_of(notices.closing(run)).chat["content"]["description"]
    assert len(description) <= DESCRIPTION_CHARACTERS
    assert len(LINK.findall(description)) == 4
    assert "*Cost:*" in description
