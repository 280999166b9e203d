"""What people hear of real nights: one closing message, and at once only what they could still act on."""

import pytest

from nightspot.local.markets import Market, Markets
from nightspot.local.nights import Night
from nightspot.messages.plain import usd

pytestmark = pytest.mark.workflow


def heard(played):
    return [message.happening for message in played.messages]


def test_a_night_that_falls_back_is_exactly_one_message_with_the_run_s_own_figures(play, tmp_path):
    played = play(Night("test", "", Markets(default_spot=Market.never())))

    assert "Nightspot Fell Back" in [entry["DetailType"] for entry in played.notices]
    (message,) = played.messages
    assert message.happening == "RunSucceeded"
    assert "fell back to on-demand" in message.subject
    assert message.subject.endswith(f", {usd(played.summary['cost_usd'])}")
    assert f"Cost: {usd(played.summary['cost_usd'])}\n" in message.text
    assert played.summary["attempts"][1]["training_job_name"] in message.text
    assert message.chat["metadata"]["threadId"] == played.summary["run_id"]
    (text,) = (tmp_path / "scratch" / "messages").glob("*.txt")
    assert text.read_text(encoding="utf-8") == f"Subject: {message.subject}\n\n{message.text}"


def test_a_night_that_will_be_late_is_told_at_once_and_at_its_end(play):
    queue = Market.scripted([{"missing": "3h10m"}, {"available": "rest"}])
    markets = Markets(default_spot=Market.never(), default_on_demand=queue)
    played = play(Night("test", "", markets), deadline={"within": "2h30m"})

    assert heard(played) == ["AtRiskOfBeingLate", "RunSucceeded"]
    assert " LATE, fell back" in played.messages[1].subject


def test_a_quiet_night_is_quiet(play):
    assert heard(play(Night("quiet", ""))) == []
