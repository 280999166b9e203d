"""The three grades, from what was seen alone: when a training resumes, and when only its step counter does."""

from dataclasses import replace

import pytest

from nightspot.drill.closeness import Shown, at_the_resume, noise_of, quality_metrics
from nightspot.drill.grades import Grade, percent
from nightspot.drill.lives import Kill, KillKind, Life, SeenStep, StepSeen, Training
from nightspot.drill.report import report_of
from nightspot.drill.resumes import Cause
from nightspot.drill.verdict import DrillEvidence

LAST = 12
RIGHT = {step: 2.0 / step + 0.1 for step in range(1, LAST + 1)}
TORCH = ("epoch", "model", "0.weight", "0.bias", "optimizer", "momentum_buffer", "param_groups", "lr")


def life(losses, first=1, last=LAST, *, kill=False, name="loss", names=(), **more):
    """A life of a script without the library that printed these losses, by step."""
    steps = tuple(StepSeen(n, {name: losses[n], **more.get(n, {})}) for n in range(first, last + 1))
    killed = Kill(1, KillKind.KILL) if kill else None
    seen = SeenStep(steps=steps)
    saved = tuple(range(first, last + 1))
    code = None if kill else 0
    return Life(seen, kill=killed, exit_code=code, found=first - 1, saved_at=saved, seconds=1.0, names=names)


def drilled(resumed, *, undisturbed=RIGHT, names=(), at=6, name="loss", again=None, tolerance=None):
    """A drill of a training that is killed after step `at` and resumes with these losses."""
    right = Training((life(undisturbed, names=names, name=name),), {"model": "right"})
    lives = (life(undisturbed, last=at, kill=True, name=name), life(resumed, first=at + 1, name=name))
    other = None if again is None else Training((life(again, name=name),), {"model": "again"})
    evidence = DrillEvidence(
        right, (Training(lives, {"model": "other"}),), again=other, tolerance=tolerance, planned=1
    )
    return report_of("small", evidence)


def off(share, *, losses=RIGHT):
    return {step: value * (1 + (share if step % 2 else -share)) for step, value in losses.items()}


def test_other_draws_after_a_resume_are_the_middle_grade_with_what_was_not_saved_and_how_much_it_changed():
    report = drilled(off(0.02), names=TORCH)
    assert (report.outcome, report.passed) == (Grade.INEXACT, False)
    assert report.not_restored == ("random state not saved",)
    assert report.claim == (
        "resumes, not to the bit: random state not saved; loss differs by up to 2 % "
        "(0.2613 instead of 0.2667 at step 12) and by 2 % at the end"
    )
    assert report.difference.largest == pytest.approx(0.02, rel=0.03)
    assert report.kills[0].verdict == "inexact: other numbers"
    told = report.as_json()
    assert (told["outcome"], told["to_the_bit"], told["difference"]["metric"]) == ("INEXACT", False, "loss")


def test_a_step_counter_with_fresh_weights_does_not_resume():
    fresh = {step: RIGHT[step - 6] for step in range(7, LAST + 1)}
    report = drilled(fresh, names=TORCH)
    assert (report.outcome, report.claim) == (Grade.NOT, "does not resume")
    assert report.reasons[0].startswith(
        "after a resume at step 7, loss is 2.1, nearer to a training from the beginning (2.1) than to the "
        "undisturbed one (0.3857), as if the model had not been restored"
    )
    assert report.as_json()["causes"][0] == Cause.NOT_RESUMED
    assert report.kills[0].verdict == "failed: a fresh model"


def test_a_step_counter_with_fresh_weights_does_not_resume_in_a_job_that_is_never_the_same_either():
    fresh = {step: 1.03 * RIGHT[step - 6] for step in range(7, LAST + 1)}
    report = drilled(fresh, again=off(0.3))
    assert report.outcome is Grade.NOT
    assert drilled(off(0.3), again=off(0.2)).outcome is Grade.EXACT


def test_the_learning_rate_is_right_in_a_fresh_model_too_and_shows_nothing():
    rates = {step: 0.1 / step for step in RIGHT}
    report = drilled(rates, undisturbed=rates, name="lr")
    assert report.outcome is Grade.NOT
    assert "no step has a loss or another metric" in report.reasons[0]
    assert quality_metrics(Training((life(rates, name="epoch_seconds"),))) == ()
    assert quality_metrics(Training((life(rates, name="recall@10"),))) == ("recall@10",)


def test_a_metric_that_rises_is_judged_as_one_that_falls():
    rising = {step: 1 - 0.8 / step for step in RIGHT}
    assert drilled(off(0.01, losses=rising), undisturbed=rising, name="accuracy").outcome is Grade.INEXACT
    fresh = {step: rising[step - 6] for step in range(7, LAST + 1)}
    assert drilled(fresh, undisturbed=rising, name="accuracy").outcome is Grade.NOT


def test_a_loss_that_does_not_move_cannot_show_whether_the_training_resumed():
    flat = {step: 0.5 + 0.01 * (-1) ** step for step in RIGHT}
    report = drilled(off(0.01, losses=flat), undisturbed=flat)
    assert (report.outcome, report.claim) == (Grade.NOT, "was not seen to resume")
    assert "loss hardly changes while it trains" in report.reasons[0]


def test_a_loss_that_varies_from_step_to_step_is_averaged_over_several():
    falling = {step: 10.0 - 0.8 * step for step in RIGHT}
    undisturbed, resumed = Training((life(falling),)), life(off(0.01, losses=falling), first=8)

    def seen(noise):
        close = at_the_resume(resumed, "loss", undisturbed, noise)
        return close.shown, close.over

    # A fresh start would differ by 5.6.
    assert seen(0.5) == (Shown.CONTINUED, 1)
    assert seen(0.7) == (Shown.CONTINUED, 3)
    assert seen(2.0)[0] is Shown.UNCLEAR


def test_a_loss_that_was_higher_at_the_resume_than_at_the_first_step_shows_no_fresh_model():
    rising_first = {**RIGHT, 1: 1.5, 7: 6.3, 8: 0.4}
    resumed = {**rising_first, 7: 1.4}
    close = at_the_resume(life(resumed, first=7), "loss", Training((life(rising_first),)), 0.0)
    assert close.shown is Shown.UNCLEAR


def test_the_noise_of_a_curve_is_neither_its_trend_nor_its_fall_at_the_beginning():
    def noise(*values):
        return noise_of("loss", Training((life(dict(enumerate(values, 1)), last=len(values)),)))

    assert noise(10.0, 9.0, 8.0, 7.0, 6.0) == 0
    assert noise(9.0, 0.1, 0.1, 0.1) == 0
    assert noise(1.0, 2.0, 1.0, 2.0, 1.0) == 1.0


def test_losses_that_are_equal_to_the_last_digit_at_the_first_step_show_that_the_model_is_there():
    noisy = {step: 1.0 + 0.12345 * ((step * 7) % 5) for step in RIGHT}
    later = {**off(0.05, losses=noisy), 7: noisy[7]}
    report = drilled(later, undisturbed=noisy)
    assert report.outcome is Grade.INEXACT
    assert report.not_restored == ("the model restored, the optimiser's or random state probably not",)


def test_a_training_that_ends_where_it_began_has_lost_what_it_learnt():
    diverging = {**RIGHT, 10: 1.0, 11: 1.5, 12: 2.0}
    report = drilled(diverging)
    assert report.outcome is Grade.NOT
    assert "more than half of what was learnt is lost" in report.reasons[0]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (TORCH, "random state not saved"),
        ((*TORCH, "rng_state"), "probably random state, the optimiser's state or the place in the data"),
        (("epoch", "0.weight", "0.bias"), "random state and the optimiser's state not saved"),
        (("epoch", "weight"), "random state not saved"),
        (("0.weight", "rng_state"), "the optimiser's state not saved"),
        ((), "probably random state (order of the data, dropout) or the optimiser's state not restored"),
    ],
    ids=["no-generator", "all-saved", "model-only", "own-rule", "no-optimiser", "not-readable"],
)
def test_what_was_not_saved_is_known_by_the_names_in_the_checkpoint(names, said):
    assert f"resumes, not to the bit: {said}" in drilled(off(0.02), names=names).claim


def test_a_pass_with_a_tolerance_says_what_it_claims():
    report = drilled(off(0.02), tolerance=0.05)
    assert report.outcome is Grade.EXACT
    assert report.claim == (
        "resumes within the tolerance of 5 %, not to the bit: after 1 kill, loss differs by up to 2 % "
        "(0.2613 instead of 0.2667 at step 12) and by 2 % at the end"
    )
    beyond = drilled(off(0.02), tolerance=0.01)
    assert beyond.outcome is Grade.INEXACT
    assert beyond.claim.endswith("(allowed: 1 %)")


def test_what_is_the_same_to_the_bit_is_called_so_whatever_was_allowed(story):
    for tolerance in (None, 0.05):
        evidence = DrillEvidence(story.training(), (story.killed_at(8),), tolerance=tolerance)
        report = report_of("small", evidence)
        assert report.claim == "resumes to the bit: after 1 kill the result is that of an uninterrupted run"
        assert (report.as_json()["to_the_bit"], report.difference) == (True, None)


def test_no_tolerance_lets_a_fresh_model_pass():
    fresh = {step: RIGHT[step - 6] for step in range(7, LAST + 1)}
    assert drilled(fresh, tolerance=0.9).outcome is Grade.NOT


def test_a_time_that_is_never_the_same_lets_no_loss_differ():
    def timed(losses, factor, **more):
        one = life(losses, **more)
        steps = tuple(
            replace(each, metrics={**each.metrics, "seconds": factor * each.step}) for each in one.seen.steps
        )
        return replace(one, seen=SeenStep(steps=steps))

    right, again = (Training((timed(RIGHT, factor),), {"model": "right"}) for factor in (1.0, 1.4))
    lives = (timed(RIGHT, 1.1, last=6, kill=True), timed(off(0.1), 1.2, first=7))
    report = report_of("small", DrillEvidence(right, (Training(lives, {"model": "x"}),), again=again))
    assert report.outcome is Grade.INEXACT
    assert report.reasons[0].startswith("after a resume loss")


def test_with_the_library_a_model_that_was_never_taken_from_the_checkpoint_is_no_resume(story):
    wrong = story.step(7, parts={"weights": "?"}, unread=("weights",), metrics={})
    report = report_of("small", DrillEvidence(story.training(), (story.killed_at(8, changed=[wrong]),)))
    assert report.outcome is Grade.NOT
    assert report.reasons[0].startswith("what was learnt was not restored: `weights` at step 7 (never taken")


@pytest.mark.parametrize(
    ("parts", "unread", "said"),
    [
        ({"generator": "?", "weights": "?"}, (), "random state not restored"),
        ({"optimiser": "?", "weights": "?"}, ("optimiser",), "the optimiser's state not restored"),
    ],
    ids=["generator", "optimiser"],
)
def test_with_the_library_the_journal_knows_what_was_not_restored(story, parts, unread, said):
    wrong = story.step(7, parts=parts, unread=unread, metrics={"loss": 0.15})
    report = report_of("small", DrillEvidence(story.training(), (story.killed_at(8, changed=[wrong]),)))
    assert (report.outcome, report.not_restored) == (Grade.INEXACT, (said,))


def test_a_share_has_two_digits():
    assert [percent(share) for share in (0.0213, 0.003, 0.184, 0.9999)] == ["2.1 %", "0.3 %", "18 %", "100 %"]
