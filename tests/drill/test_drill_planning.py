"""Which kills are tried, and when."""

import random
from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from nightspot.drill.lives import NEEDS_ANOTHER_SAVE, KillKind, Life, SaveSeen, SeenStep, Training
from nightspot.drill.planning import kinds_of, pace_of, plan, targets_of


def planned(undisturbed, kills, seed):
    return plan(undisturbed, kills, random.Random(seed).random)


@given(kills=st.integers(1, 40), seed=st.integers(0, 999))
def test_as_many_of_each_kind_as_possible_are_tried(kills, seed):
    kinds = kinds_of(kills, random.Random(seed).random)
    assert len(kinds) == kills
    counts = Counter(kinds)
    assert max(counts.values()) - min(counts.get(kind, 0) for kind in KillKind) <= 1


@given(kills=st.integers(1, 40), seed=st.integers(0, 999))
def test_every_kill_has_a_checkpoint_to_resume_from_and_something_left_to_train(story, kills, seed):
    groups = planned(story.training(), kills, seed)
    every = [kill for group in groups for kill in group]
    assert [kill.number for kill in every] == list(range(1, kills + 1))
    for group in groups:
        assert group[0].kind is not KillKind.DURING_RESTORE
        for kill in group:
            assert 0 <= kill.share < 1
            if kill.kind is KillKind.DURING_RESTORE:
                assert kill.target is None
            else:
                assert story.every <= kill.target < story.last
            if kill.kind in NEEDS_ANOTHER_SAVE:
                assert kill.target <= story.last - story.every


@given(seed=st.integers(0, 999))
def test_the_kills_of_one_training_come_one_after_the_other(story, seed):
    for group in planned(story.training(), 6, seed):
        targets = [
            kill.target for kill in group if kill.target is not None and kill.kind not in NEEDS_ANOTHER_SAVE
        ]
        assert targets == sorted(targets)


def test_the_same_seed_plans_the_same_kills_and_another_seed_others(story):
    undisturbed = story.training()
    assert planned(undisturbed, 6, 7) == planned(undisturbed, 6, 7)
    assert len({planned(undisturbed, 6, seed) for seed in range(10)}) > 5


def test_few_checkpoints_make_more_trainings_rather_than_kills_without_progress(story):
    # Four saves: room for three kills in a training, besides those of a restore.
    many = planned(story.training(), 15, 7)
    assert len(many) == 4
    assert all(sum(kill.target is not None for kill in group) <= 3 for group in many)


def test_where_steps_are_not_known_every_life_is_killed_after_its_first_save():
    training = Training((Life(SeenStep(), exit_code=0, saved_at=(None,) * 4),), {"model": "m"})
    groups = planned(training, 5, 7)
    assert {kill.target for group in groups for kill in group} == {None}
    assert sum(len(group) for group in groups) == 5


def test_nothing_can_be_tried_where_no_checkpoint_comes_before_the_end(story):
    life = story.life()
    end_only = story.training(replace(life, seen=replace(life.seen, saves=life.seen.saves[-1:])))
    assert targets_of(end_only) == ()
    assert planned(end_only, 6, 7) == ()
    assert planned(Training((Life(SeenStep(), exit_code=0, saved_at=(None,)),)), 6, 7) == ()


def test_a_share_is_one_of_what_things_took_undisturbed(story):
    life = story.life()
    saves = (SaveSeen(3, 3.0, 0.2), SaveSeen(6, 6.0, 0.4), SaveSeen(9, 9.0, 9.0))
    pace = pace_of(story.training(replace(life, seen=replace(life.seen, saves=saves), start_up_seconds=0.7)))
    assert (pace.step_seconds, pace.save_seconds) == (1.0, 0.4)
    assert (pace.restore_seconds, pace.start_up_seconds) == (0.01, 0.7)
    silent = Life(SeenStep(), exit_code=0, seconds=8.0, saved_at=(None,) * 4, write_seconds=0.3)
    assert pace_of(Training((silent,))).step_seconds == 2.0
    assert pace_of(Training((silent,))).save_seconds == 0.3
