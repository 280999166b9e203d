"""What is kept for pages: every decision with what it saw, every phase of every attempt."""

from dataclasses import replace

from nightspot.decide.ladder import last_safe_at, repair_rung, spot_leave_at
from nightspot.decide.ledger import phases_of
from nightspot.record.model import read_record
from nightspot.record.summary import record_of, summarise
from nightspot.run.model import Action, AttemptState, Phase, Step, phase_from_json, to_json


def test_phases_are_the_job_s_own_history_in_the_ledger_s_words(story):
    view = story.view(
        ("Starting", "00:00", "00:30"),
        ("Pending", "00:30", "01:00"),
        ("Downloading", "01:00", "01:02"),
        ("Training", "01:02", "02:00"),
        ("Interrupted", "02:00", "02:01"),
        ("Starting", "02:01", "02:30"),
        ("SomethingNew", "02:30", "02:31"),
        ("Training", "02:31", None),
    )
    assert phases_of(view) == (
        Phase(AttemptState.WAITING, story.at("00:00"), story.at("01:00")),
        Phase(AttemptState.STARTING, story.at("01:00"), story.at("01:02")),
        Phase(AttemptState.TRAINING, story.at("01:02"), story.at("02:00")),
        Phase(AttemptState.WAITING, story.at("02:00"), story.at("02:30")),
        Phase(AttemptState.TRAINING, story.at("02:31"), None),
    )


def test_phases_survive_json(story):
    phase = Phase(AttemptState.TRAINING, story.at("01:02"))
    assert phase_from_json(to_json(phase)) == phase


def test_a_record_is_the_summary_with_decisions_and_phases(story):
    run = story.run(attempts=(story.training(since="00:40"),))
    progress = story.progress(9, "01:30", fraction=0.375, metrics={"loss": 0.5})
    step = Step(
        number=1,
        at=story.at("02:00"),
        action=Action.WATCH,
        because="left alone",
        attempt=1,
        progress=progress,
        last_safe_at=story.at("04:00"),
    )
    phases = {1: (Phase(AttemptState.TRAINING, story.at("00:40")),)}
    record = record_of(run, [step], phases)
    assert {**record.to_json(), "attempts": None, "steps": None} == {
        **summarise(run).to_json(),
        "attempts": None,
        "steps": None,
    }
    read = read_record(record.to_json())
    assert read.attempts[0].phases[0].started_at == story.at("00:40")
    (seen,) = read.steps
    assert (seen.because, seen.last_safe_at) == ("left alone", story.at("04:00"))
    assert (seen.progress.step, seen.progress.fraction) == (9, 0.375)
    assert seen.progress.metrics == {"loss": 0.5}


def test_the_last_safe_moment_is_the_policy_s_own(story):
    now = story.at("01:00")
    waiting = story.run(attempts=(story.attempt(),))
    repair = repair_rung(waiting, now)
    assert last_safe_at(waiting, now) == spot_leave_at(waiting, story.spot, repair) == story.at("02:14")
    training = story.run(attempts=(story.training(since="00:40"),))
    # Were its machine taken back now, Spot would be waited for until then.
    assert last_safe_at(training, now) == spot_leave_at(training, story.spot, repair) == story.at("02:14")
    assert last_safe_at(story.run(), now, story.spot) == story.at("02:14")


def test_on_demand_has_no_last_safe_moment_and_neither_has_a_job_that_is_stopping(story):
    now = story.at("01:00")
    on_demand = story.run(attempts=(story.training(story.on_demand, since="00:40"),))
    assert last_safe_at(on_demand, now) is None
    assert last_safe_at(story.run(), now, story.on_demand) is None
    assert last_safe_at(story.run(), now) is None
    stopping = replace(story.attempt(), state=AttemptState.STOPPING)
    assert last_safe_at(story.run(attempts=(stopping,)), now) is None
