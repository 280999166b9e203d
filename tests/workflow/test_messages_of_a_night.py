"""What people hear of real nights: one closing message, and at once only what they could still act on."""

from nightspot.view.messages.plain import usd


def heard(played):
    return [message.run_event for message in played.messages]


def test_a_night_that_falls_back_is_exactly_one_message_with_the_run_s_own_figures(look_at):
    played, scratch = look_at("Spot never comes")

    assert "Nightspot Fell Back" in [entry["DetailType"] for entry in played.notices]
    (message,) = played.messages
    assert message.run_event == "RunSucceeded"
    assert "fell back to on-demand" in message.subject
    assert message.subject.endswith(f", {usd(played.record.cost_usd)}")
    assert f"Cost: {usd(played.record.cost_usd)}\n" in message.text
    assert played.record.attempts[1].training_job_name in message.text
    assert message.chat["metadata"]["threadId"] == played.record.run_id
    (text,) = (scratch / "messages").glob("*.txt")
    assert text.read_text(encoding="utf-8") == f"Subject: {message.subject}\n\n{message.text}"


def test_a_night_that_will_be_late_is_told_at_once_and_at_its_end(look_at):
    played, _ = look_at("on-demand queues")

    assert heard(played) == ["AtRiskOfBeingLate", "RunSucceeded"]
    assert " LATE, fell back" in played.messages[1].subject


def test_a_quiet_night_is_quiet(look_at):
    played, _ = look_at("quiet")
    assert heard(played) == []
