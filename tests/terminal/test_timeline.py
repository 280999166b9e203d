"""What a night looks like while it is played."""

import io
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from nightspot.job.markets import Market
from nightspot.run.model import Action, Outcome, Rung, Step
from nightspot.terminal.lines import console_for
from nightspot.terminal.timeline import Timeline

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
SPOT = Rung(Market.SPOT, "ml.p4d.24xlarge", "eu-west-1")
ON_DEMAND = Rung(Market.ON_DEMAND, "ml.p4d.24xlarge", "eu-west-1")


@dataclass(frozen=True)
class Sighting:
    """As nightspot.local.stage.session shows it."""

    at: datetime
    kind: str
    text: str
    training_job_name: str | None = None
    status: str | None = None
    step: Step | None = None


def at(minutes):
    return MIDNIGHT + timedelta(minutes=minutes)


def start(minutes, rung, number):
    step = Step(number, at(minutes), Action.START, "there is time.", attempt=number, rung=rung)
    return Sighting(step.at, "decision", step.because, step=step)


def decided(minutes, action, because, **more):
    step = Step(9, at(minutes), action, because, **more)
    return Sighting(step.at, "decision", because, step=step)


def status(minutes, name, number=1):
    return Sighting(
        at(minutes), "status", "AWS's words", f"nightspot-recommender-20261121-abc123-{number}", name
    )


def log(minutes, text):
    return Sighting(at(minutes), "log", text, "nightspot-recommender-20261121-abc123-1")


def show(screen, *sightings, spot_first=True):
    timeline = Timeline(screen, spot_first=spot_first)
    for sighting in sightings:
        timeline(sighting)
    return screen.lines


def test_a_decision_stands_with_its_time_its_action_and_its_reason(wide_screen):
    lines = show(
        wide_screen,
        start(1, SPOT, 1),
        decided(33, Action.WATCH, "Spot is training; left alone."),
        decided(327, Action.STOP, "Spot has waited 1 h."),
        decided(420, Action.FINISH, "Job 2 has completed.", outcome=Outcome.SUCCEEDED),
    )
    assert lines == [
        "00:01  Nightspot  START Spot ml.p4d.24xlarge as job 1: there is time.",
        "00:33  Nightspot  watch: Spot is training; left alone.",
        "05:27  Nightspot  STOP: Spot has waited 1 h.",
        "07:00  Nightspot  FINISH succeeded: Job 2 has completed.",
    ]


def test_a_long_decision_is_wrapped_below_itself_and_words_stay_whole(narrow_screen):
    job = "nightspot-recommender-20261121-d74a4a-1"
    lines = show(narrow_screen, decided(0, Action.WATCH, f"{'word ' * 12}{job} goes on."))
    assert max(map(len, lines)) <= 100
    assert lines[1].startswith(" " * 18 + job)


def test_buying_on_demand_is_marked_as_the_fallback(wide_screen):
    lines = show(wide_screen, start(0, SPOT, 1), start(300, ON_DEMAND, 2))
    assert "FALLBACK" not in lines[0]
    assert lines[1].startswith("05:00  Nightspot  FALLBACK: START on-demand ml.p4d.24xlarge as job 2: ")


def test_on_demand_is_no_fallback_where_the_ladder_has_no_spot(wide_screen):
    assert "FALLBACK" not in show(wide_screen, start(0, ON_DEMAND, 1), spot_first=False)[0]


def test_a_spot_job_s_life_reads_in_plain_words(wide_screen):
    names = (
        "Starting",
        "Pending",
        "Starting",
        "Downloading",
        "Training",
        "Interrupted",
        "Starting",
        "Pending",
    )
    seen = [status(n, name) for n, name in enumerate(names)]
    lines = show(wide_screen, start(0, SPOT, 1), *seen, status(8, "Stopping"), status(9, "Stopped"))
    assert lines[1:] == [
        "00:01  job 1      waiting for Spot capacity",
        "00:02  job 1      machine given: Spot ml.p4d.24xlarge",
        "00:04  job 1      training",
        "00:05  job 1      INTERRUPTED: Spot took the ml.p4d.24xlarge away",
        "00:07  job 1      waiting for Spot capacity",
        "00:08  job 1      stopping",
        "00:09  job 1      stopped",
    ]


def test_a_machine_that_comes_at_once_is_shown_when_it_downloads(wide_screen):
    names = ("Starting", "Downloading", "Training", "Interrupted", "Starting", "Downloading", "Training")
    lines = show(wide_screen, start(0, SPOT, 1), *(status(n, name) for n, name in enumerate(names)))
    assert [line[:5] for line in lines if "machine given" in line] == ["00:01", "00:05"]


def test_the_second_job_is_told_from_the_first(wide_screen):
    lines = show(
        wide_screen,
        start(0, SPOT, 1),
        start(9, ON_DEMAND, 2),
        status(10, "Downloading", 2),
        status(11, "Stopped"),
    )
    assert lines[2:] == [
        "00:10  job 2      machine given: on-demand ml.p4d.24xlarge",
        "00:11  job 1      stopped",
    ]


def test_an_event_that_comes_twice_is_shown_once(wide_screen):
    assert len(show(wide_screen, status(5, "Pending"), status(5, "Pending"))) == 1


def test_a_status_that_aws_adds_one_day_is_shown_in_aws_s_words(wide_screen):
    assert show(wide_screen, status(5, "Teleporting")) == ["00:05  job 1      AWS's words"]


def test_progress_is_condensed_to_every_third_of_24_epochs(wide_screen):
    lines = show(wide_screen, *(log(n, f"epoch {n}/24 loss=0.1") for n in range(1, 25)))
    assert [line.split()[3] for line in lines] == [f"{n}/24" for n in range(3, 25, 3)]


@pytest.mark.parametrize(("total", "shown"), [(5, 5), (1000, 8), (1001, 8)])
def test_any_number_of_epochs_makes_few_lines_and_the_last_is_among_them(wide_screen, total, shown):
    lines = show(wide_screen, *(log(0, f"Epoch {n} of {total}") for n in range(1, total + 1)))
    assert len(lines) == shown
    assert f"Epoch {total} of {total}" in lines[-1]


def test_a_resume_is_shown_however_much_was_said_before(wide_screen):
    chatter = [log(0, f"line {n}") for n in range(50)]
    lines = show(
        wide_screen, *chatter, log(9, "resumed from epoch 9 (checkpoint of attempt 1)"), log(10, "more")
    )
    assert len(lines) == 13
    assert "further lines are in the job's log" in lines[11]
    assert lines[12] == "00:09    train    resumed from epoch 9 (checkpoint of attempt 1)"


def test_a_night_that_goes_on_after_midnight_says_which_day_it_is(wide_screen):
    lines = show(wide_screen, status(23 * 60, "Pending"), status(25 * 60, "Stopped"))
    assert lines[1] == "2026-11-22"
    assert lines[2].startswith("01:00  job 1")


def test_text_in_brackets_is_not_taken_for_a_style(wide_screen):
    assert "[bold]x[/bold] :smile:" in show(wide_screen, log(0, "[bold]x[/bold] :smile:"))[0]


def test_no_colours_and_110_columns_where_there_is_no_terminal():
    stream = io.StringIO()
    console = console_for(stream)
    Timeline(console, spot_first=True)(start(0, SPOT, 1))
    assert console.width == 110
    assert "\x1b" not in stream.getvalue()


def test_a_night_goes_on_when_nobody_reads_any_more():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a file descriptor
        timeline = Timeline(console_for(stream), spot_first=True)
        timeline(status(0, "Pending"))
        timeline(status(1, "Stopped"))


def test_a_night_goes_on_when_the_disk_is_full(screen, monkeypatch):
    timeline = Timeline(screen, spot_first=True)

    def full(text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(screen.file, "write", full)
    timeline(status(0, "Pending"))
    monkeypatch.undo()
    timeline(status(1, "Stopped"))
    assert "stopped" not in screen.text


def test_on_a_terminal_decisions_to_go_on_watching_share_one_line():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80)
    with Timeline(console, spot_first=True) as timeline:
        timeline(start(0, SPOT, 1))
        for minutes in (10, 20, 30):
            timeline(decided(minutes, Action.WATCH, f"look {minutes}."))
        timeline(decided(40, Action.STOP, "patience."))
    written = stream.getvalue()
    assert written.count("START") == written.count("patience.") == 1
    # Each time the line is erased first, and at the end for good.
    for minutes in (10, 20, 30):
        assert f"look {minutes}." in written
    assert written.count("\x1b[2K") >= 3
    assert "look" not in written[written.rindex("\x1b[2K") :]


def test_elsewhere_every_decision_is_a_line(screen):
    with Timeline(screen, spot_first=True) as timeline:
        for minutes in (10, 20):
            timeline(decided(minutes, Action.WATCH, f"look {minutes}."))
    assert [line.split()[-1] for line in screen.lines] == ["10.", "20."]
