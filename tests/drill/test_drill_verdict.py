"""The verdict of a drill, from what was seen alone: no process, no clock."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.drill import resumes
from nightspot.drill.lives import WORDS, Kill, KillKind, Life, RestoreSeen, SaveSeen, SeenStep, StepSeen
from nightspot.drill.resumes import Cause, DrillReason, Role, told
from nightspot.drill.verdict import DrillEvidence, judge, needs_second_run


def texts(story, *disturbed, undisturbed=None, **more):
    evidence = DrillEvidence(undisturbed or story.training(), disturbed, **more)
    return [reason.text for reason in judge(evidence)]


def causes(story, *disturbed, undisturbed=None, **more):
    evidence = DrillEvidence(undisturbed or story.training(), disturbed, **more)
    return [reason.cause for reason in judge(evidence)]


@given(step=st.integers(3, 11), kind=st.sampled_from(KillKind))
def test_repeating_the_steps_since_the_last_checkpoint_is_right_wherever_the_kill_fell(story, step, kind):
    assert texts(story, story.killed_at(step, kind=kind)) == []


@given(cuts=st.lists(st.integers(3, 11), min_size=1, max_size=6).map(sorted))
def test_any_number_of_kills_is_right_where_each_life_goes_on_from_the_newest_checkpoint(story, cuts):
    lives, first, restored = [], 1, None
    for cut in cuts:
        if cut >= first:
            lives.append(story.life(first, cut, restored=restored, kill=KillKind.KILL))
            restored = cut - cut % story.every
            first = restored + 1
    assert texts(story, story.training(*lives, story.life(first, restored=restored))) == []


def test_a_kill_before_the_first_checkpoint_starts_from_the_beginning_and_that_is_right(story):
    training = story.training(story.life(last=2, kill=KillKind.KILL), story.life())
    assert texts(story, training) == []


def test_a_save_that_was_durable_when_the_kill_came_may_be_restored_before_it_was_reported(story):
    killed = story.life(last=6, kill=KillKind.DURING_SAVE, seen={"saves": (), "saving": 6})
    assert texts(story, story.training(killed, story.life(7, restored=6))) == []


def test_a_save_that_was_not_uploaded_need_not_be_restored(story):
    killed = story.life(last=6, kill=KillKind.UNSYNCED, kept=1)
    assert texts(story, story.training(killed, story.life(4, restored=3))) == []
    kept = replace(killed, kept=None)
    assert causes(story, story.training(kept, story.life(4, restored=3))) == [Cause.WENT_BACK]


def test_a_step_that_the_checkpoint_contains_is_trained_twice(story):
    assert texts(story, story.killed_at(8, first=6, restored=6))[0] == (
        "step 6 was trained twice: the checkpoint of step 6 was restored and training went on with step 6"
    )


def test_a_step_is_skipped(story):
    assert texts(story, story.killed_at(8, first=8))[0] == (
        "step 7 was skipped: the checkpoint of step 6 was restored and training went on with step 8"
    )


def test_a_script_that_tells_of_every_third_step_skips_none_that_it_never_told_of(story):
    def thirds(life):
        steps = tuple(each for each in life.seen.steps if each.step % 3 == 0)
        return replace(life, seen=replace(life.seen, steps=steps))

    undisturbed = story.training(thirds(story.life()))
    killed = story.life(last=8, kill=KillKind.KILL)
    right = story.training(thirds(killed), thirds(story.life(7, restored=6)))
    assert texts(story, right, undisturbed=undisturbed) == []
    skipping = story.training(thirds(killed), thirds(story.life(10, restored=6)))
    assert causes(story, skipping, undisturbed=undisturbed)[0] is Cause.SKIPPED


def test_a_checkpoint_is_ignored(story):
    ignored = story.training(
        story.life(last=10, kill=KillKind.KILL),
        story.life(seen={"restore": None}),
        model={"model.bin": "right"},
    )
    assert texts(story, ignored) == [
        "training began again at step 1 although step 9 was saved: the checkpoint was ignored"
    ]


def test_a_first_step_that_was_saved_and_is_done_again_is_a_checkpoint_ignored(story):
    seen = {"restore": None, "saves": tuple(SaveSeen(n, at=float(n)) for n in range(1, 13))}
    undisturbed = story.training(story.life(seen=seen))
    again = story.training(
        story.life(last=1, kill=KillKind.KILL, seen={"saves": seen["saves"][:1]}), story.life(seen=seen)
    )
    assert causes(story, again, undisturbed=undisturbed) == [Cause.BEGAN_AGAIN]


def test_a_checkpoint_that_did_not_count_is_named_with_what_was_wrong_with_it(story):
    nothing = {"restore": RestoreSeen(None, ("checkpoint-9: its end is missing",))}
    began_again = story.training(story.life(last=10, kill=KillKind.KILL), story.life(seen=nothing))
    assert texts(story, began_again)[0].endswith("no checkpoint counted: checkpoint-9: its end is missing")


def test_a_script_that_tells_of_steps_at_odd_distances_is_not_blamed_for_those_it_does_not_tell_of(story):
    def only(life, steps):
        return replace(
            life, seen=replace(life.seen, steps=tuple(s for s in life.seen.steps if s.step in steps))
        )

    undisturbed = story.training(only(story.life(), {2, 3, 7, 12}))
    killed = only(story.life(last=8, kill=KillKind.KILL), {2, 3, 7})
    resumed = only(story.life(7, restored=6), {9, 12})
    assert texts(story, story.training(killed, resumed), undisturbed=undisturbed) == []


def test_an_older_checkpoint_than_the_newest_is_a_step_back(story):
    assert texts(story, story.killed_at(11, first=7, restored=6))[0] == (
        "step 6 was restored although step 9 was saved"
    )


def test_the_part_that_the_script_never_read_is_the_one_that_was_not_restored(story):
    wrong = story.step(
        7, parts={"weights": "?", "optimiser": "?"}, unread=("optimiser",), metrics={"loss": 0.58}
    )
    assert texts(story, story.killed_at(8, changed=[wrong])) == [
        "the optimiser's state was not restored: part `optimiser` differs at step 7 (never taken from the "
        "checkpoint), loss jumps from 0.1667 to 0.58 (undisturbed: 0.1429)"
    ]


def test_a_number_that_is_off_by_less_than_it_moves_in_a_step_does_not_jump(story):
    wrong = story.step(7, parts={"weights": "?"}, metrics={"loss": 0.15})
    assert texts(story, story.killed_at(8, changed=[wrong]))[0].endswith(
        "part `weights` differs at step 7, loss is 0.15 instead of 0.1429 at step 7"
    )


def test_a_number_that_is_not_finite_is_another_number(story):
    wrong = story.step(7, metrics={"loss": None})
    first, second = texts(story, story.killed_at(8, changed=[wrong]))
    assert first.startswith("after a resume at step 7, loss is not finite, nearer to a training from the")
    assert second == "after a resume loss is not finite instead of 0.1429 at step 7"


def test_parts_that_were_not_read_and_are_right_are_nobody_s_fault(story):
    fine = story.step(7, unread=("optimiser",))
    assert texts(story, story.killed_at(8, changed=[fine])) == []


def test_the_part_that_is_what_it_was_at_the_beginning_was_not_restored(story):
    wrong = story.step(7, parts={"weights": "?", "optimiser": "optimiser@1"})
    assert texts(story, story.killed_at(8, changed=[wrong]))[0] == (
        "the optimiser's state was not restored: part `optimiser` differs at step 7 "
        "(as at step 1, from the beginning)"
    )


def test_of_all_parts_that_differ_a_generator_is_the_first_cause(story):
    wrong = story.step(7, parts={"weights": "?", "optimiser": "?", "generator": "?"})
    assert texts(story, story.killed_at(8, changed=[wrong]))[0] == (
        "the generator was not restored: part `generator` differs at step 7"
    )


def test_where_all_was_read_and_the_state_differs_something_is_not_in_the_checkpoint(story):
    wrong = story.step(7, parts={"weights": "?"})
    assert texts(story, story.killed_at(8, changed=[wrong]))[0] == (
        "something that the next step depends on is not in the checkpoint, or was not loaded: "
        "part `weights` differs at step 7"
    )


def test_what_follows_from_a_lost_place_is_not_told_as_a_second_cause(story):
    wrong = story.step(6, parts={"weights": "?"})
    assert causes(story, story.killed_at(8, first=6, restored=6, changed=[wrong])) == [Cause.TWICE]


def test_once_a_resume_was_wrong_later_lives_are_not_blamed_for_what_they_inherit(story):
    wrong = story.step(7, parts={"weights": "?"})
    inherited = story.step(10, parts={"weights": "?", "generator": "?"})
    lives = [
        story.life(last=8, kill=KillKind.KILL),
        story.life(7, 10, restored=6, kill=KillKind.KILL, changed=[wrong]),
        story.life(10, restored=9, changed=[inherited]),
    ]
    (text,) = texts(story, story.training(*lives))
    assert "part `weights` differs at step 7" in text
    assert "more" not in text


def test_a_life_that_cannot_go_on_after_a_kill_in_a_save_found_no_whole_checkpoint(story):
    dead = Life(SeenStep(), exit_code=1, last_words="EOFError: Ran out of input")
    killed = story.life(last=6, kill=KillKind.DURING_SAVE, seen={"saving": 6})
    assert texts(story, story.training(killed, dead, model={})) == [
        "the checkpoint was not whole after a kill during a save: the next life ended with exit code 1: "
        "EOFError: Ran out of input"
    ]
    assert causes(story, story.training(story.life(last=5, kill=KillKind.KILL), dead, model={})) == [
        Cause.FAILED
    ]
    restoring = Life(SeenStep(library=True, restoring=True), kill=Kill(2, KillKind.DURING_RESTORE), found=2)
    assert causes(story, story.training(killed, restoring, restoring, dead, model={})) == [Cause.NOT_WHOLE]
    by_chance = story.life(last=6, kill=KillKind.TERM, seen={"saving": 6})
    assert causes(story, story.training(by_chance, dead, model={})) == [Cause.NOT_WHOLE]


def test_a_life_that_never_ends_is_told(story):
    hangs = Life(SeenStep(), too_long=True, seconds=30.0)
    assert texts(story, story.training(story.life(last=5, kill=KillKind.KILL), hangs, model={})) == [
        "after a kill while training, the training was still running after 30 s"
    ]


def test_no_checkpoint_at_all_loses_everything(story):
    none = story.training(story.life(seen={"saves": ()}))
    assert texts(story, undisturbed=none) == [
        "no checkpoint was ever written; a kill at any moment loses everything"
    ]


def test_a_checkpoint_at_the_end_only_comes_too_late(story):
    life = story.life()
    late = story.training(replace(life, seen=replace(life.seen, saves=life.seen.saves[-1:])))
    assert causes(story, undisturbed=late) == [Cause.SAVED_TOO_LATE]


def test_an_undisturbed_training_that_fails_is_the_only_reason(story):
    broken = story.training(story.life(last=4, exit_code=3, last_words="KeyError: 'lr'"), model={})
    assert texts(story, undisturbed=broken) == [
        "undisturbed, the training ended with exit code 3: KeyError: 'lr'"
    ]


def test_a_drill_without_a_kill_is_not_passed(story):
    assert causes(story, story.training()) == [Cause.NO_KILL_LANDED]
    assert causes(story, story.killed_at(8), story.training()) == []


def test_another_model_is_told_by_its_files(story):
    training = replace(story.killed_at(8), model={"model.bin": "wrong"})
    assert texts(story, training) == ["the model is another than undisturbed: file `model.bin` differs"]
    assert causes(story, replace(training, model={"other.bin": "right"})) == [Cause.MODEL_DIFFERS]


def test_only_what_chance_could_explain_asks_for_a_second_undisturbed_training(story):
    other = DrillEvidence(story.training(), (replace(story.killed_at(8), model={"model.bin": "wrong"}),))
    assert needs_second_run(other)
    assert not needs_second_run(replace(other, tolerance=0.1))
    assert not needs_second_run(replace(other, again=story.training()))
    skipped = replace(story.killed_at(8, first=8), model={"model.bin": "wrong"})
    assert not needs_second_run(DrillEvidence(story.training(), (skipped,)))
    assert not needs_second_run(DrillEvidence(story.training(), (story.killed_at(8),)))


def varied(story, share, **life):
    """The same training with every loss, and every bit of the state, a little different."""
    steps = tuple(
        story.step(n, metrics={"loss": (1 + share) / n}, parts={"weights": f"w{share}"}) for n in range(1, 13)
    )
    return story.life(changed=steps, **life)


def test_a_job_that_is_not_deterministic_is_judged_by_how_far_two_undisturbed_ones_are_apart(story):
    def judged(share):
        right = story.life(last=8, kill=KillKind.KILL)
        training = story.training(
            right, replace(varied(story, share), seen=after_six(share)), model={"model.bin": "x"}
        )
        again = story.training(varied(story, 0.01), model={"model.bin": "y"})
        return causes(story, training, again=again)

    def after_six(share):
        seen = varied(story, share).seen
        return replace(seen, steps=seen.steps[6:], restore=RestoreSeen(6))

    assert judged(0.03) == []
    assert judged(0.2)[0] is Cause.METRICS_DIFFER


def test_within_a_tolerance_bits_of_state_and_model_may_differ_and_numbers_may_not(story):
    wrong = story.step(7, parts={"weights": "?"}, metrics={"loss": 1.05 / 7})
    training = replace(story.killed_at(8, changed=[wrong]), model={"model.bin": "other"})
    assert causes(story, training, tolerance=0.1) == []
    assert causes(story, training, tolerance=0.01) == [Cause.NOT_RESTORED]


def test_a_tolerance_cannot_judge_a_job_that_shows_no_number(story):
    silent = replace(story.life(), seen=SeenStep(library=True, steps=(), saves=story.life().seen.saves))
    undisturbed = story.training(silent)
    killed = replace(silent, kill=story.killed_at(8).kills[0], exit_code=None)
    training = story.training(killed, silent, model={"model.bin": "other"})
    evidence = {"undisturbed": undisturbed, "tolerance": 0.5}
    assert causes(story, training, **evidence) == [Cause.NOT_SHOWN, Cause.MODEL_DIFFERS]


def log_only(life, saved_at=()):
    """The same life of a script without the library: no journal, no digests."""
    steps = tuple(StepSeen(each.step, each.metrics) for each in life.seen.steps)
    return replace(life, seen=SeenStep(steps=steps), saved_at=saved_at)


def test_without_the_library_steps_come_from_the_log_and_saves_from_the_directory(story):
    undisturbed = story.training(log_only(story.life(), (3, 6, 9, 12)))
    killed = log_only(story.life(last=8, kill=KillKind.KILL), (3, 6))

    def said(first, **changes):
        return texts(
            story, story.training(killed, log_only(story.life(first, **changes))), undisturbed=undisturbed
        )

    assert said(7) == []
    assert said(10) == ["step 9 was skipped: training had got to step 8 and went on with step 10"]
    assert said(1) == [
        "training began again at step 1 although about step 6 was saved: the checkpoint was ignored"
    ]
    # The line about a step may come before or after its save.
    assert said(6) == said(5) == []
    assert said(3) == ["training went on with step 3 although step 6 was saved"]
    jump = said(7, changed=[story.step(7, metrics={"loss": 0.38})])
    assert jump == ["after a resume loss jumps from 0.1667 to 0.38 (undisturbed: 0.1429)"]


def test_each_cause_is_told_once_and_counted(story):
    twice = story.killed_at(8, first=6, restored=6)
    assert texts(story, twice, twice)[0].endswith("went on with step 6 (and once more)")
    assert texts(story, twice, twice, twice)[0].endswith("went on with step 6 (and 2 more times)")


def test_what_came_first_is_told_first():
    given = [
        DrillReason(Cause.MODEL_DIFFERS, "d", 0),
        DrillReason(Cause.BEGAN_AGAIN, "e", 1, 1),
        DrillReason(Cause.FAILED, "c", 0, 2),
        DrillReason(Cause.NOT_WHOLE, "b", 0, 2),
        DrillReason(Cause.SKIPPED, "a", 0, 1),
        DrillReason(Cause.NO_KILL_LANDED, "f"),
    ]
    assert "".join(each.text for each in told(given)) == "abcdef"


def test_every_cause_every_kind_and_every_role_has_its_words():
    assert set(resumes.CAUSE_WORDS) == set(Cause)
    assert set(WORDS) == set(KillKind)
    assert set(resumes.WORDS) == set(Role)


@pytest.mark.parametrize(
    ("part", "role"),
    [
        ("squares/user", Role.OPTIMISER),
        ("optimizer", Role.OPTIMISER),
        ("training.random", Role.GENERATOR),
        ("rng_state", Role.GENERATOR),
        ("lr_scheduler", Role.SCHEDULER),
        ("scaler", Role.SCALER),
        ("sampler", Role.POSITION),
        ("model.fc1.weight", Role.MODEL),
        ("parameters/item", Role.MODEL),
        ("recall", Role.OTHER),
    ],
)
def test_a_part_is_known_by_its_name(part, role):
    assert resumes.role_of(part) is role
