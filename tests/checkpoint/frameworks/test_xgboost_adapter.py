"""A boosting that is interrupted and resumed ends with XGBoost's same model, byte for byte."""

from __future__ import annotations

import signal

import pytest

pytest.importorskip("xgboost", reason="XGBoost is not installed: make frameworks")

import numpy as np
import xgboost
from xgboost.callback import EarlyStopping, EvaluationMonitor, LearningRateScheduler, TrainingCallback

from nightspot.checkpoint import StateError
from nightspot.checkpoint.xgboost import resume

pytestmark = pytest.mark.xdist_group("xgboost")

ROUNDS = 12
PARAMS = {
    "objective": "binary:logistic",
    "max_depth": 4,
    "nthread": 1,
    "seed": 7,
    "eval_metric": ["auc", "logloss"],
}
SAMPLED = {"subsample": 0.7, "colsample_bytree": 0.6, "colsample_bylevel": 0.8, "colsample_bynode": 0.8}


class ReclaimedError(Exception):
    """The machine is gone."""


class Kill(TrainingCallback):
    """Takes the machine away in the middle of a round, after what this round saved."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def after_iteration(self, model, epoch, evals_log):
        self.left -= 1
        if not self.left:
            raise ReclaimedError
        return False


def matrices(seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(700, 8)).astype(np.float32)
    features[rng.random(features.shape) < 0.05] = np.nan
    signal_part = np.nan_to_num(features[:, 0]) * np.nan_to_num(features[:, 1])
    labels = (signal_part + 0.4 * rng.normal(size=700) > 0).astype(np.float32)
    train = xgboost.DMatrix(features[:500], labels[:500])
    return train, [(train, "train"), (xgboost.DMatrix(features[500:], labels[500:]), "valid")]


class Trainer:
    """Trains in one process after another on the same directory."""

    def __init__(self, process):
        self.process = process

    def __call__(
        self, params=SAMPLED, *, rounds=ROUNDS, callbacks=list, kill_after=None, start=None, **options
    ):
        """One process: the booster's bytes and its evaluations; `callbacks` makes new ones each time."""
        checkpointer = self.process(total_steps=rounds, every_steps=options.pop("every_steps", 1))
        training = resume(checkpointer, rounds, callbacks=callbacks(), **options)
        booster = self.boost(training, params, kill_after, start)
        return bytes(booster.save_raw("ubj")), training.evals_result

    def boost(self, training, params, kill_after=None, start=None, **options):
        train, evals = matrices()
        given = {
            "num_boost_round": training.rounds_left,
            "xgb_model": training.booster or start,
            "evals": evals,
            "evals_result": training.evals_result,
            "verbose_eval": False,
            "callbacks": training.callbacks + ([Kill(kill_after)] if kill_after else []),
        }
        return xgboost.train({**PARAMS, **params}, train, **{**given, **options})


@pytest.fixture
def train(process):
    return Trainer(process)


@pytest.fixture
def undisturbed(tmp_path_factory, clock):
    """As `train`, each time in a directory of its own."""
    from nightspot.checkpoint import Checkpointer

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
    "two threads": {**SAMPLED, "nthread": 2},
    "seed_per_iteration": {**SAMPLED, "seed_per_iteration": True},
    "approx": {**SAMPLED, "tree_method": "approx"},
    "exact": {"tree_method": "exact", "subsample": 0.7, "colsample_bytree": 0.6},
    "dart": {**SAMPLED, "booster": "dart", "rate_drop": 0.3},
    "forests": {**SAMPLED, "num_parallel_tree": 3},
    "leaf-wise": {**SAMPLED, "grow_policy": "lossguide", "max_leaves": 9, "max_bin": 32},
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


def test_linear_boosters_resume_too(train, undisturbed):
    params = {
        "booster": "gblinear",
        "updater": "coord_descent",
        "feature_selector": "random",
        "max_depth": None,
    }
    interrupt(train, params, after=4)

    assert train(params) == undisturbed(params)


@pytest.mark.parametrize("params", [{}, {"max_bin": 32, "monotone_constraints": "(1,0,0,0,0,0,0,0)"}])
def test_where_nothing_is_drawn_the_model_is_the_one_without_checkpoints(train, params):
    matrix, evals = matrices()
    plain = xgboost.train({**PARAMS, **params}, matrix, ROUNDS, evals=evals, verbose_eval=False)

    assert train(params)[0] == bytes(plain.save_raw("ubj"))


def test_seeds_and_rounds_draw_differently(undisturbed):
    assert undisturbed({**SAMPLED, "seed": 8}) != undisturbed({**SAMPLED, "seed": 7})

    # With next to nothing learnt, the same rows would give the same tree.
    model, _ = undisturbed({"subsample": 0.5, "learning_rate": 1e-6})
    trees = xgboost.Booster(model_file=bytearray(model)).get_dump()
    assert len(set(trees)) == ROUNDS


def test_unrepeatable_draws_are_xgboosts_own_and_do_not_come_back(train, undisturbed):
    matrix, evals = matrices()
    plain = xgboost.train({**PARAMS, **SAMPLED}, matrix, ROUNDS, evals=evals, verbose_eval=False)
    assert undisturbed(repeatable=False)[0] == bytes(plain.save_raw("ubj"))

    interrupt(train, after=5, repeatable=False)
    assert train(repeatable=False)[0] != bytes(plain.save_raw("ubj"))


def early():
    return [EarlyStopping(rounds=4, data_name="valid", metric_name="logloss")]


# Best after seven rounds, so the fourth without a better one is the eleventh.
STOPPED = {"learning_rate": 0.5, "max_depth": 3}


@pytest.mark.parametrize("after", [1, 6, 10])
def test_early_stopping_goes_on_counting(train, undisturbed, after):
    whole = undisturbed(STOPPED, rounds=40, callbacks=early)
    assert len(whole[1]["valid"]["auc"]) == 11
    interrupt(train, STOPPED, rounds=40, callbacks=early, after=after)

    # The model carries its best round and score.
    assert train(STOPPED, rounds=40, callbacks=early) == whole


def test_a_training_that_stopped_early_is_not_taken_up_again(train):
    whole = train(STOPPED, rounds=40, callbacks=early, every_steps=1000)
    training = resume(train.process(), 40, callbacks=early())

    assert training.rounds_left == 0
    assert (bytes(train.boost(training, STOPPED).save_raw("ubj")), training.evals_result) == whole
    # However many rounds are asked for.
    training = resume(train.process(), 40, callbacks=early())
    again = train.boost(training, STOPPED, num_boost_round=40)
    assert bytes(again.save_raw("ubj")) == whole[0]


def test_more_patience_can_be_given_on_the_way(train, undisturbed):
    def patient():
        return [EarlyStopping(rounds=12, data_name="valid", metric_name="logloss")]

    interrupt(train, STOPPED, rounds=40, callbacks=early, after=6)

    resumed = train(STOPPED, rounds=40, callbacks=patient)
    assert resumed == undisturbed(STOPPED, rounds=40, callbacks=patient)
    assert len(resumed[1]["valid"]["auc"]) > 11


def test_a_callback_with_a_state_of_its_own_is_carried_by_it(train):
    class Count(TrainingCallback):
        def __init__(self):
            self.rounds = 0
            self.handle = signal

        def after_iteration(self, model, epoch, evals_log):
            self.rounds += 1
            return False

    class OwnCount(Count):
        def state_dict(self):
            return {"counted": self.rounds}

        def load_state_dict(self, state):
            self.rounds = state["counted"]

    counts = []

    def counting():
        counts.append((Count(), OwnCount()))
        return list(counts[-1])

    interrupt(train, callbacks=counting, after=5)
    train(callbacks=counting)

    assert [each.rounds for each in counts[-1]] == [ROUNDS, ROUNDS]


def test_what_a_callback_collects_is_whole_in_the_hands_of_the_script(train):
    class Collect(TrainingCallback):
        def __init__(self, into):
            self.into = into

        def after_iteration(self, model, epoch, evals_log):
            self.into.append(epoch)
            return False

    interrupt(train, callbacks=lambda: [Collect([])], after=5)
    collected = []
    train(callbacks=lambda: [Collect(collected)])

    assert collected == list(range(ROUNDS))


def test_only_the_best_rounds_are_kept_where_that_is_wished(train, undisturbed):
    def best():
        return [EarlyStopping(rounds=4, save_best=True)]

    whole = undisturbed(STOPPED, rounds=40, callbacks=best)
    interrupt(train, STOPPED, rounds=40, callbacks=best, after=3)

    assert train(STOPPED, rounds=40, callbacks=best) == whole
    assert train(STOPPED, rounds=40, callbacks=best) == whole


def test_a_schedule_of_learning_rates_goes_on_where_it_was(train, undisturbed):
    def falling():
        return [LearningRateScheduler(lambda done: 0.5 * 0.7**done)]

    whole = undisturbed(callbacks=falling)
    assert whole != undisturbed()
    interrupt(train, callbacks=falling, after=5)

    assert train(callbacks=falling) == whole


def test_callbacks_see_the_rounds_of_the_whole_training(train):
    lines = []

    def monitor():
        return [EvaluationMonitor(logger=lines.append, period=5)]

    interrupt(train, callbacks=monitor, after=7)
    train(callbacks=monitor)

    assert [line.split("\t")[0] for line in lines] == ["[0]", "[5]", "[10]", "[11]"]


def test_more_rounds_than_planned_go_on_longer(train, undisturbed):
    train()

    assert train(rounds=20) == undisturbed(rounds=20)


def test_rounds_are_counted_once_whatever_number_is_asked_for(train, undisturbed):
    interrupt(train, after=5)
    training = resume(train.process(total_steps=ROUNDS), ROUNDS)

    assert (training.rounds_done, training.rounds_left) == (5, 7)
    booster = train.boost(training, SAMPLED, num_boost_round=ROUNDS)
    assert bytes(booster.save_raw("ubj")) == undisturbed()[0]


def test_yesterdays_booster_can_be_what_the_training_begins_with(train, undisturbed):
    matrix, _ = matrices(seed=1)
    yesterday = xgboost.train(PARAMS, matrix, 6)
    interrupt(train, start=yesterday, after=5)

    resumed = train(start=yesterday)

    assert resumed == undisturbed(start=yesterday)
    assert xgboost.Booster(model_file=bytearray(resumed[0])).num_boosted_rounds() == 6 + ROUNDS


def test_each_round_is_a_step_with_its_evaluations_as_metrics(train, process):
    _, evaluations = train()

    restored = process().restore()
    assert restored.step == ROUNDS
    assert restored.metrics == {
        f"{data}-{metric}": evaluations[data][metric][-1]
        for data in ("train", "valid")
        for metric in ("auc", "logloss")
    }


def test_a_training_without_evaluations_resumes_as_well(train, undisturbed):
    def run(process, *, kill_after=None):
        checkpointer = process(total_steps=ROUNDS, every_steps=1)
        training = resume(checkpointer, ROUNDS)
        return bytes(train.boost(training, SAMPLED, kill_after, evals=()).save_raw("ubj"))

    with pytest.raises(ReclaimedError):
        run(train.process, kill_after=5)
    assert run(train.process) == undisturbed()[0]


def test_what_is_saved_along_comes_back(process, train):
    class Sampler:
        def __init__(self):
            self.at = 0

        def state_dict(self):
            return {"at": self.at}

        def load_state_dict(self, state):
            self.at = state["at"]

    sampler = Sampler()
    training = resume(process(every_steps=1), ROUNDS, also={"sampler": sampler, "settings": {"seed": 7}})
    sampler.at = 3
    train.boost(training, SAMPLED)

    sampler = Sampler()
    training = resume(process(), ROUNDS, also={"sampler": sampler})
    assert sampler.at == 3
    assert training.restored.state["settings"] == {"seed": 7}


def test_a_requested_stop_saves_the_round_and_leaves(process, train, undisturbed):
    class Terminate(TrainingCallback):
        def before_iteration(self, model, epoch, evals_log):
            if epoch == 4:
                signal.raise_signal(signal.SIGTERM)
            return False

    checkpointer = process(total_steps=ROUNDS, every_steps=1000, handle_sigterm=True)
    training = resume(checkpointer, ROUNDS, callbacks=[])
    training.callbacks.append(Terminate())
    with pytest.raises(SystemExit) as leaving:
        train.boost(training, SAMPLED)
    assert leaving.value.code == 143

    assert resume(process(), ROUNDS).rounds_done == 5
    assert train() == undisturbed()


def test_an_asynchronous_save_is_of_the_round_it_was_made_after(process, train, undisturbed):
    with process(total_steps=ROUNDS, every_steps=1, asynchronous=True) as checkpointer:
        training = resume(checkpointer, ROUNDS)
        with pytest.raises(ReclaimedError):
            train.boost(training, SAMPLED, kill_after=6)

    assert resume(process(), ROUNDS).rounds_done == 6
    assert train() == undisturbed()


class TestRefused:
    """What would resume to something else, with the field and the rule."""

    def test_a_booster_that_is_not_the_resumed_one(self, train, process):
        interrupt(train, after=5)
        training = resume(process(), ROUNDS)

        with pytest.raises(StateError, match="has 0 rounds where 5 are expected: xgb_model must be"):
            train.boost(training, SAMPLED, xgb_model=None)

    def test_early_stopping_that_nobody_can_carry(self, train, process):
        training = resume(process(every_steps=1000), ROUNDS)

        with pytest.raises(StateError, match=r"early_stopping_rounds: .* must be EarlyStopping\(rounds="):
            train.boost(training, SAMPLED, early_stopping_rounds=4)

    def test_other_evaluations(self, train, process):
        interrupt(train, after=5)
        training = resume(process(), ROUNDS)

        with pytest.raises(StateError, match="evals and eval_metric must be those"):
            train.boost(training, SAMPLED, evals=matrices()[1][:1])

    def test_other_callbacks(self, train, process):
        interrupt(train, after=5)

        with pytest.raises(StateError, match=r"callbacks=\['xgboost.callback.EarlyStopping'\]: must be"):
            resume(process(), ROUNDS, callbacks=early())

    def test_a_callback_that_cannot_be_saved(self, process, train):
        class Logs(TrainingCallback):
            def before_training(self, model):
                self.where = signal
                return model

        training = resume(process(every_steps=1), ROUNDS, callbacks=[Logs()])
        with pytest.raises(StateError, match=r"Logs\.where is module: must be something that can be pickled"):
            train.boost(training, SAMPLED)

    def test_a_checkpoint_of_something_else(self, process):
        process().save(3, {"weights": b"w"})

        with pytest.raises(StateError, match=r"adapter for xgboost; it has \['weights'\]"):
            resume(process(), ROUNDS)

    def test_cross_validation(self, process):
        training = resume(process(), ROUNDS)

        with pytest.raises(StateError, match=r"xgboost\.cv cannot be resumed"):
            xgboost.cv(PARAMS, matrices()[0], 3, callbacks=training.callbacks)

    def test_a_name_that_is_the_adapters_own(self, process):
        with pytest.raises(StateError, match=r"also has the names \['model'\]"):
            resume(process(), ROUNDS, also={"model": b""})

    @pytest.mark.parametrize("count", [0, 2.5, True])
    def test_a_number_of_rounds_that_is_none(self, process, count):
        with pytest.raises(ValueError, match=r"num_boost_round=.*: must be a whole number from 1 on"):
            resume(process(), count)
