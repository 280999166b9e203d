"""A boosting that is interrupted and resumed ends with LightGBM's same model text, as far as LightGBM allows."""

from __future__ import annotations

import signal

import pytest

pytest.importorskip("lightgbm", reason="LightGBM is not installed: make frameworks")

import lightgbm
import numpy as np

from nightspot.checkpoint import Checkpointer, StateError
from nightspot.checkpoint.lightgbm import resume

pytestmark = pytest.mark.xdist_group("lightgbm")

ROUNDS = 12
PARAMS = {
    "objective": "binary",
    "metric": ["auc", "binary_logloss"],
    "num_leaves": 8,
    "seed": 7,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
SAMPLED = {
    "bagging_fraction": 0.7,
    "bagging_freq": 3,
    "feature_fraction": 0.6,
    "feature_fraction_bynode": 0.8,
}


class ReclaimedError(Exception):
    """The machine is gone."""


class Kill:
    """Takes the machine away after what the round saved."""

    def __init__(self, after):
        self.left = after
        self.order = 2000

    def __call__(self, env):
        self.left -= 1
        if not self.left:
            raise ReclaimedError


def datasets():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(700, 8))
    labels = (features[:, 0] * features[:, 1] + 0.4 * rng.normal(size=700) > 0).astype(float)
    train = lightgbm.Dataset(features[:500], labels[:500])
    return train, train.create_valid(features[500:], labels[500:])


def boost(training, params, kill_after=None, start=None, **options):
    train, valid = datasets()
    given = {
        "num_boost_round": training.rounds_left,
        "init_model": training.booster or start,
        "valid_sets": [valid, train],
        "valid_names": ["valid", "train"],
        "callbacks": training.callbacks + ([Kill(kill_after)] if kill_after else []),
    }
    return lightgbm.train({**PARAMS, **params}, train, **{**given, **options})


class Trainer:
    """Trains in one process after another on the same directory."""

    def __init__(self, process):
        self.process = process

    def __call__(
        self, params=SAMPLED, *, rounds=ROUNDS, callbacks=list, kill_after=None, start=None, **options
    ):
        """One process: the model's text and all evaluations; `callbacks` makes new ones each time."""
        checkpointer = self.process(total_steps=rounds, every_steps=options.pop("every_steps", 1))
        evaluations = {}
        carried = [*callbacks(), lightgbm.record_evaluation(evaluations)]
        training = resume(checkpointer, rounds, callbacks=carried, **options)
        booster = training.booster
        if training.rounds_left:
            booster = boost(training, params, kill_after, start)
        return (
            booster.model_to_string(num_iteration=-1),
            evaluations,
            booster.best_iteration,
            booster.best_score,
        )


@pytest.fixture
def train(process):
    return Trainer(process)


@pytest.fixture
def undisturbed(tmp_path_factory, clock):
    """As `train`, each time in a directory of its own."""

    def run(*arguments, **options):
        folder = tmp_path_factory.mktemp("undisturbed")
        return Trainer(lambda **more: Checkpointer(folder, environ={}, now=clock, **more))(
            *arguments, **options
        )

    return run


def interrupt(train, *arguments, after, **options):
    with pytest.raises(ReclaimedError):
        train(*arguments, kill_after=after, **options)


SETTINGS = {
    "rows and columns sampled": SAMPLED,
    "nothing sampled": {},
    "two threads": {**SAMPLED, "num_threads": 2},
    "few rows each round": {"bagging_fraction": 0.3, "bagging_freq": 1},
    "balanced rows": {"pos_bagging_fraction": 0.7, "neg_bagging_fraction": 0.5, "bagging_freq": 2},
    "other names": {"subsample": 0.6, "subsample_freq": 1, "colsample_bytree": 0.5, "bagging_seed": 3},
    "extra trees": {**SAMPLED, "extra_trees": True},
    "quantised": {**SAMPLED, "use_quantized_grad": True, "stochastic_rounding": False},
}


@pytest.mark.parametrize("params", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("after", [5, *(pytest.param(n, marks=pytest.mark.long) for n in (1, ROUNDS - 1))])
def test_it_ends_with_the_same_model_and_the_same_evaluations(train, undisturbed, params, after):
    interrupt(train, params, after=after)

    assert train(params) == undisturbed(params)


def test_the_third_interruption_changes_no_more_than_the_first(train, undisturbed):
    for _ in range(3):
        interrupt(train, after=3)

    assert train() == undisturbed()


def test_what_was_boosted_after_the_last_checkpoint_is_boosted_again(train, undisturbed):
    interrupt(train, after=8, every_steps=5)

    assert train(every_steps=5) == undisturbed()


def test_where_nothing_is_drawn_the_model_is_the_one_without_checkpoints(train):
    data, _ = datasets()
    plain = lightgbm.train(PARAMS, data, ROUNDS).model_to_string()

    assert train({})[0] == plain


def test_seeds_draw_different_models(undisturbed):
    def trees(seed):
        return undisturbed({**SAMPLED, "seed": seed})[0].partition("end of trees")[0]

    assert trees(7) != trees(8)


def test_rows_stay_the_same_for_as_many_rounds_as_were_asked_for(undisturbed):
    # With next to nothing learnt, the same rows give the same tree.
    params = {"bagging_fraction": 0.5, "bagging_freq": 3, "learning_rate": 1e-9, "boost_from_average": False}
    lines = undisturbed(params)[0].splitlines()
    counts = [line for line in lines if line.startswith("leaf_count=")]

    assert len(counts) == ROUNDS
    assert [counts.index(each) for each in counts] == [0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 9, 9]


def test_unrepeatable_draws_are_lightgbms_own_and_do_not_come_back(train, undisturbed):
    data, _ = datasets()
    plain = lightgbm.train({**PARAMS, **SAMPLED}, data, ROUNDS).model_to_string()
    assert undisturbed(repeatable=False)[0] == plain

    interrupt(train, after=5, repeatable=False)
    assert train(repeatable=False)[0].partition("end of trees")[0] != plain.partition("end of trees")[0]


UNREPEATABLE = {
    "dart": {"boosting": "dart", "drop_rate": 0.5},
    "goss": {"data_sample_strategy": "goss", "learning_rate": 0.5},
    "linear trees": {"linear_tree": True},
    "stochastic rounding": {"use_quantized_grad": True},
}


@pytest.mark.parametrize("params", UNREPEATABLE.values(), ids=UNREPEATABLE)
def test_what_cannot_be_repeated_is_said_at_the_start(train, undisturbed, params, caplog):
    interrupt(train, params, after=5)
    assert "a resumed training will differ from an undisturbed one" in caplog.text

    # Should this fail, LightGBM has learnt to resume, and the warning can go.
    assert train(params)[0] != undisturbed(params)[0]


def test_nothing_is_said_where_all_can_be_repeated(train, caplog):
    train()

    assert "differ" not in caplog.text


def early():
    return [lightgbm.early_stopping(2, first_metric_only=True, verbose=False)]


# Best after five rounds.
STOPPED = {"learning_rate": 0.3, "metric": ["binary_logloss", "auc"]}


@pytest.mark.parametrize("after", [1, 4, 6])
def test_early_stopping_goes_on_counting(train, undisturbed, after):
    whole = undisturbed(STOPPED, rounds=40, callbacks=early)
    assert (len(whole[1]["valid"]["auc"]), whole[2]) == (7, 5)
    interrupt(train, STOPPED, rounds=40, callbacks=early, after=after)

    # The best round and its scores are part of what is compared.
    assert train(STOPPED, rounds=40, callbacks=early) == whole


def test_a_training_that_stopped_early_is_not_taken_up_again(train):
    whole = train(STOPPED, rounds=40, callbacks=early, every_steps=1000)

    assert resume(train.process(), 40, callbacks=[*early(), lightgbm.record_evaluation({})]).rounds_left == 0
    assert train(STOPPED, rounds=40, callbacks=early) == whole


def test_a_finished_training_gives_its_booster_and_its_evaluations(train):
    whole = train()

    training = resume(train.process(), ROUNDS, callbacks=[lightgbm.record_evaluation({})])
    assert training.rounds_left == 0
    assert training.evals_result == whole[1]
    assert training.booster.model_to_string() == whole[0]


def test_more_rounds_than_planned_go_on_longer(train, undisturbed):
    train()

    assert train(rounds=20)[1:] == undisturbed(rounds=20)[1:]


def test_a_schedule_of_parameters_goes_on_where_it_was(train, undisturbed):
    def falling():
        rates = [0.5 * 0.7**done for done in range(ROUNDS)]
        return [lightgbm.reset_parameter(learning_rate=rates)]

    whole = undisturbed(callbacks=falling)
    interrupt(train, callbacks=falling, after=5)

    assert train(callbacks=falling) == whole


def test_callbacks_see_the_rounds_of_the_whole_training(train):
    seen = []

    def watching():
        def watch(env):
            seen.append((env.iteration, env.begin_iteration, env.end_iteration))

        return [watch]

    interrupt(train, callbacks=watching, after=7)
    train(callbacks=watching)

    assert seen == [(number, 0, ROUNDS) for number in range(ROUNDS)]


def test_a_callback_with_a_state_of_its_own_is_carried(train):
    class Count:
        def __init__(self):
            self.rounds = 0

        def __call__(self, env):
            self.rounds += 1

        def state_dict(self):
            return {"rounds": self.rounds}

        def load_state_dict(self, state):
            self.rounds = state["rounds"]

    interrupt(train, callbacks=lambda: [Count()], after=5)
    count = Count()
    train(callbacks=lambda: [count])

    assert count.rounds == ROUNDS


def test_a_callback_without_such_methods_is_carried_by_what_it_has_changed(train):
    class Count:
        def __init__(self):
            self.rounds, self.seen = 0, []

        def __call__(self, env):
            self.rounds += 1
            self.seen.append(env.iteration)

    def counting():
        rounds = 0

        def count(env):
            nonlocal rounds
            rounds += 1
            counts.append(rounds)

        return count

    counts = []
    interrupt(train, callbacks=lambda: [Count(), counting(), Count().__call__], after=5)
    counts.clear()
    count = Count()
    train(callbacks=lambda: [count, counting(), Count().__call__])

    assert count.rounds == ROUNDS
    assert count.seen == list(range(ROUNDS))
    assert counts[-1] == ROUNDS


def test_a_memory_that_cannot_be_saved_is_refused_at_the_save(train):
    class Holding:
        def __call__(self, env):
            self.generator = (each for each in ())

    with pytest.raises(
        StateError, match=r"Holding.generator is generator: must be something that can be pickled"
    ):
        train(callbacks=lambda: [Holding()], every_steps=1)


def test_yesterdays_booster_can_be_what_the_training_begins_with(train, undisturbed):
    data, _ = datasets()
    yesterday = lightgbm.train(PARAMS, data, 6)
    interrupt(train, start=yesterday, after=5)

    resumed = train(start=yesterday)

    assert resumed == undisturbed(start=yesterday)
    assert lightgbm.Booster(model_str=resumed[0]).num_trees() == 6 + ROUNDS


def test_each_round_is_a_step_with_its_evaluations_as_metrics(train, process):
    evaluations = train()[1]

    restored = process().restore()
    assert restored.step == ROUNDS
    assert restored.metrics == {
        f"{data}-{metric}": evaluations[data][metric][-1]
        for data in ("train", "valid")
        for metric in ("auc", "binary_logloss")
    }


def test_a_requested_stop_saves_the_round_and_leaves(process, train, undisturbed):
    def terminate(env):
        if env.iteration == 4:
            signal.raise_signal(signal.SIGTERM)

    checkpointer = process(total_steps=ROUNDS, every_steps=1000, handle_sigterm=True)
    training = resume(checkpointer, ROUNDS, callbacks=[lightgbm.record_evaluation({})])
    training.callbacks.append(terminate)
    with pytest.raises(SystemExit) as leaving:
        boost(training, SAMPLED)
    assert leaving.value.code == 143

    assert process().restore().step == 5
    assert train() == undisturbed()


class TestRefused:
    """What would resume to something else, with the field and the rule."""

    def test_a_booster_that_is_not_the_resumed_one(self, train, process):
        interrupt(train, after=5)
        training = resume(process(), ROUNDS, callbacks=[lightgbm.record_evaluation({})])

        with pytest.raises(StateError, match="init_model has 0 rounds where 5 are expected"):
            boost(training, SAMPLED, init_model=None)

    def test_more_rounds_than_are_left(self, train, process):
        interrupt(train, after=5)
        training = resume(process(), ROUNDS, callbacks=[lightgbm.record_evaluation({})])

        with pytest.raises(StateError, match=r"num_boost_round=12: .* must be rounds_left=7"):
            boost(training, SAMPLED, num_boost_round=ROUNDS)

    def test_early_stopping_that_nobody_can_carry(self, process):
        with pytest.raises(StateError, match=r"early_stopping_round=4: .* must be lightgbm\.early_stopping"):
            boost(resume(process(), ROUNDS), {"early_stopping_rounds": 4})

    def test_random_forests(self, process):
        with pytest.raises(StateError, match="boosting='rf': LightGBM cannot continue"):
            boost(resume(process(), ROUNDS), {**SAMPLED, "boosting": "rf"})

    def test_initial_scores_that_lightgbm_would_drop(self, process):
        data, _ = datasets()
        data.set_init_score(np.full(500, 0.3))

        with pytest.raises(StateError, match="init_score: LightGBM drops it"):
            lightgbm.train(PARAMS, data, ROUNDS, callbacks=resume(process(), ROUNDS).callbacks)

    def test_other_evaluations(self, train, process):
        interrupt(train, after=5)
        training = resume(process(), ROUNDS, callbacks=[lightgbm.record_evaluation({})])

        with pytest.raises(StateError, match="valid_sets and metrics must be those"):
            boost(training, SAMPLED, valid_names=["test", "train"])

    def test_other_callbacks(self, train, process):
        interrupt(train, after=5)

        with pytest.raises(StateError, match=r"callbacks=\[\]: must be of the kinds"):
            resume(process(), ROUNDS)

    def test_cross_validation(self, process):
        with pytest.raises(StateError, match=r"lightgbm\.cv cannot be resumed"):
            lightgbm.cv(
                PARAMS, datasets()[0], 2, stratified=False, callbacks=resume(process(), ROUNDS).callbacks
            )

    def test_a_checkpoint_of_something_else(self, process):
        process().save(3, b"weights")

        with pytest.raises(StateError, match="adapter for lightgbm; it has bytes"):
            resume(process(), ROUNDS)
