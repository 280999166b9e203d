"""What is said of each kill, what is worth a note, and what is drawn."""

import io
import json
from dataclasses import replace

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from nightspot.drill.grades import Grade
from nightspot.drill.lives import Kill, KillKind, Life, SeenStep
from nightspot.drill.report import moment_in_words, report_of
from nightspot.drill.verdict import DrillEvidence
from nightspot.terminal import drill_plot, drill_text
from nightspot.terminal.lines import console_for

STARTS_WITH = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


def evidence_of(story, *disturbed, **more):
    return DrillEvidence(story.training(), disturbed, planned=1, **more)


def reported(story, *disturbed, **more):
    return report_of("small", evidence_of(story, *disturbed, **more))


def test_a_kill_costs_the_steps_since_the_checkpoint_that_was_restored(story):
    (kill,) = reported(story, story.killed_at(8)).kills
    assert (kill.resumed_from, kill.lost_steps, kill.lost_seconds) == (6, 2, 2.0)
    assert (kill.restore_seconds, kill.moment, kill.verdict) == (0.01, "after step 8", "ok")


def test_a_kill_before_the_first_checkpoint_costs_everything(story):
    (kill,) = reported(story, story.training(story.life(last=2, kill=KillKind.KILL), story.life())).kills
    assert (kill.resumed_from, kill.lost_steps, kill.restore_seconds) == (0, 2, None)


def test_a_kill_in_a_restore_costs_nothing_and_the_one_before_is_not_judged_by_it(story):
    restoring = Life(SeenStep(library=True, restoring=True), kill=Kill(2, KillKind.DURING_RESTORE), found=2)
    training = story.training(story.life(last=8, kill=KillKind.KILL), restoring, story.life(7, restored=6))
    first, second = reported(story, training).kills
    assert (first.resumed_from, first.lost_steps, first.verdict) == (6, 2, "ok, killed again")
    assert (second.lost_steps, second.moment, second.verdict) == (0, "during the restore", "ok")


def test_the_kill_whose_resume_was_wrong_is_marked_and_those_after_it_are_not_judged(story):
    lives = [
        story.life(last=4, kill=KillKind.KILL),
        story.life(4, 7, restored=3, kill=KillKind.KILL),
        story.life(8, 10, restored=6, kill=KillKind.KILL),
        story.life(10, restored=9),
    ]
    report = reported(story, story.training(*lives))
    assert [kill.verdict for kill in report.kills] == [
        "ok",
        "failed: a step skipped",
        "after the first failure",
    ]


def test_a_step_done_twice_is_shown_to_have_been(story):
    (kill,) = reported(story, story.killed_at(8, first=6, restored=6)).kills
    assert (kill.resumed_from, kill.lost_steps, kill.verdict) == (5, 3, "failed: a step twice")


def test_a_life_that_began_again_is_shown_to_have_done_so_whatever_it_had_restored(story):
    began_again = story.training(story.life(last=8, kill=KillKind.KILL), story.life(restored=6))
    (kill,) = reported(story, began_again).kills
    assert (kill.resumed_from, kill.lost_steps) == (0, 8)


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        (KillKind.KILL, {}, "after step 8"),
        (KillKind.KILL, {"seen": {"saving": 8}}, "during the save of step 8"),
        (KillKind.DURING_SAVE, {"seen": {"saving": 8}}, "during the save of step 8"),
        (KillKind.DURING_SAVE, {}, "right after the save of step 6"),
        (KillKind.UNSYNCED, {"kept": 1}, "after the save of step 6"),
        (KillKind.DURING_RESTORE, {}, "after step 8"),
        (KillKind.DURING_RESTORE, {"seen": {"steps": (), "restore": None}}, "during the restore"),
        (KillKind.DURING_RESTORE, {"seen": {"steps": ()}}, "right after the restore"),
        (KillKind.DURING_RESTORE, {"seen": {"steps": (), "library": False}}, "while starting up"),
        (KillKind.KILL, {"seen": {"steps": ()}}, "2.0 s after its start"),
        (
            KillKind.DURING_SAVE,
            {"seen": {"library": False, "saves": ()}},
            "as checkpoint files changed after step 8",
        ),
        (
            KillKind.TERM,
            {"seen": {"library": False}, "writing": True},
            "as checkpoint files changed after step 8",
        ),
    ],
)
def test_a_kill_s_moment_is_what_was_seen_of_it(story, kind, changes, words):
    life = story.life(last=8, kill=kind, **changes)
    assert moment_in_words(life, life.kill) == words


def test_what_sigterm_did_is_a_note(story):
    def said(kill, **changes):
        killed = replace(story.life(last=8, kill=KillKind.TERM, **changes), kill=kill)
        report = reported(story, story.training(killed, story.life(7, restored=6)))
        assert report.passed
        return report.notes[0]

    assert "did not leave in time and was killed (saved nothing more)" in said(
        Kill(1, KillKind.TERM, asked_at=8.0)
    )
    left = Kill(1, KillKind.TERM, asked_at=5.0, left_seconds=0.25)
    assert "left within 0.2 s with exit code 143 (saved step 6 once more)" in said(left, exit_code=143)


def test_a_part_that_chance_alone_changes_is_named_and_not_blamed_on_the_kills(story):
    other = story.training(
        story.life(changed=[story.step(n, parts={"generator": f"x{n}"}) for n in range(1, 13)])
    )
    resumed = story.training(
        story.life(last=8, kill=KillKind.KILL),
        story.life(
            7, restored=6, changed=[story.step(n, parts={"generator": f"y{n}"}) for n in range(7, 13)]
        ),
    )
    report = reported(story, resumed, again=other)
    assert report.outcome is Grade.EXACT
    assert any(note.startswith("part `generator` of the state differs between two") for note in report.notes)


def test_where_a_second_undisturbed_training_is_the_same_the_kills_are_to_blame(story):
    report = reported(story, story.killed_at(8), again=story.training())
    assert (
        "a second undisturbed training was the same to the bit: the differences come from the kills"
        in report.notes
    )


def test_kills_that_came_too_late_and_models_that_are_not_there_are_notes(story):
    report = reported(story, story.killed_at(8))
    assert not any("landed" in note for note in report.notes)
    few = report_of("small", replace(evidence_of(story, story.killed_at(8)), planned=3))
    assert "1 of 3 kills landed: the training ended before the others" in few.notes
    no_model = DrillEvidence(story.training(model={}), (replace(story.killed_at(8), model={}),), planned=1)
    assert any("no model to compare" in note for note in report_of("small", no_model).notes)


def test_a_report_is_json_with_its_outcome_causes_and_kills(story):
    told = json.loads(json.dumps(reported(story, story.killed_at(8, first=8)).as_json(), allow_nan=False))
    assert (told["job"], told["where"], told["outcome"], told["causes"]) == (
        "small",
        "local",
        "FAIL",
        ["skipped"],
    )
    assert told["reasons"][0].startswith("step 7 was skipped")
    assert (told["kills"][0]["kind"], told["kills"][0]["resumed_from"]) == ("kill", 6)


def test_the_text_shows_outcome_reasons_and_a_row_for_each_kill(story, capsys):
    report = reported(story, story.killed_at(8, first=8))
    drill_text.show_report(console_for(), report)
    shown = capsys.readouterr().out
    assert "FAIL  small: resumes at the wrong step" in shown
    assert "because         step 7 was skipped" in shown
    assert "after step 8" in shown
    assert "failed: a step skipped" in shown
    drill_text.show_report(console_for(), reported(story, story.killed_at(8)))
    assert "PASS" in capsys.readouterr().out


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_a_picture_is_written_in_the_kind_that_its_name_says(story, tmp_path, ending):
    path = tmp_path / "new" / f"drill{ending}"
    evidence = evidence_of(story, story.killed_at(8))
    drill_plot.draw(path, evidence, report_of("small", evidence))
    assert path.read_bytes().startswith(STARTS_WITH[ending])


def test_the_curves_are_the_undisturbed_one_and_one_for_each_life_with_its_kill(story):
    axes = Figure().subplots()
    drill_plot.draw_curves(axes, evidence_of(story, story.killed_at(8)), "loss")
    undisturbed, first, second, kill = axes.get_lines()
    assert list(undisturbed.get_xdata()) == list(range(1, 13))
    assert (first.get_xdata()[-1], second.get_xdata()[0]) == (8, 7)
    assert (list(kill.get_xdata()), list(kill.get_ydata())) == ([8], [1 / 8])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "undisturbed",
        "killed and resumed",
    ]


def test_the_lives_show_what_was_kept_and_what_was_lost(story):
    axes = Figure().subplots()
    drill_plot.draw_lives(axes, evidence_of(story, story.killed_at(8)))
    bars = [(bar.get_x(), bar.get_width()) for bar in axes.patches]
    assert bars == [(0, 6), (6, 2), (6, 6), (12, 0)]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["life 1", "life 2"]
    twice = Figure().subplots()
    drill_plot.draw_lives(twice, evidence_of(story, story.killed_at(8), story.killed_at(5)))
    assert [label.get_text() for label in twice.get_yticklabels()][2] == "2: life 1"


def test_a_training_without_steps_has_no_picture_and_one_without_metrics_only_lives(story):
    silent = story.training(replace(story.life(), seen=SeenStep()))
    assert not drill_plot.can_draw(DrillEvidence(silent, (silent,)))
    assert not drill_plot.can_draw(DrillEvidence(story.training()))
    assert drill_plot.can_draw(evidence_of(story, story.killed_at(8)))
    steps = tuple(replace(each, metrics={}) for each in story.life().seen.steps)
    mute = story.training(replace(story.life(), seen=replace(story.life().seen, steps=steps)))
    assert drill_plot.metric_of(DrillEvidence(mute)) is None


def test_every_kind_of_kill_has_a_mark_of_its_own():
    assert set(drill_plot.MARKS) == set(KillKind)
    assert len({mark.shape for mark in drill_plot.MARKS.values()}) == len(KillKind)
    assert len({mark.colour for mark in drill_plot.MARKS.values()}) == len(KillKind)


def test_the_title_says_the_outcome_and_the_first_reason_in_two_lines_at_most(story):
    report = reported(story, story.killed_at(8))
    assert drill_plot.title_of(report) == (
        "PASS  small: resumes to the bit: after 1 kill the result is that of an uninterrupted run"
    )
    long = replace(report, outcome=Grade.NOT, claim="does not resume", reasons=("a `part` of it " * 40,))
    title = drill_plot.title_of(long)
    assert title.startswith("FAIL  small: does not resume: a part of it")
    assert title.count("\n") == 2
    assert title.endswith("…")


def test_on_a_terminal_it_is_shown_which_process_runs_and_elsewhere_only_lines(story):
    def shown(*, is_terminal):
        out = io.StringIO()
        console = Console(file=out, force_terminal=is_terminal, width=100)
        with drill_text.DrillProgress(console) as progress:
            progress.life("training-1", 2, story.life(), 3, 7)
        return out.getvalue()

    assert "4 of 7" in shown(is_terminal=True)
    assert shown(is_terminal=False) == (
        "  3 of 7  training-1, life 2: 12 steps, 4 saves in 2.0 s, exit code 0\n"
    )


def test_the_middle_grade_is_in_the_text_and_in_the_picture_s_title(story, capsys):
    wrong = [story.step(n, parts={"generator": "?"}, metrics={"loss": 1.02 / n}) for n in range(7, 13)]
    report = reported(story, story.killed_at(8, changed=wrong))
    claim = "resumes, not to the bit: random state not restored; loss differs by up to 2 %"
    assert drill_plot.title_of(report).replace("\n", " ").startswith(f"INEXACT  small: {claim}")
    drill_text.show_report(console_for(), report)
    out = capsys.readouterr().out
    assert f"INEXACT  small: {claim}" in out
    assert "inexact" in out
    assert "failed" not in out
