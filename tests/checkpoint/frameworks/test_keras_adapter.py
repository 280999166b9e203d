"""Keras 3 continues from our checkpoints as if nothing had happened; here on its torch backend."""

import json
import os
import signal
from contextlib import contextmanager

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make frameworks")
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="Keras is not installed: make frameworks")

import numpy as np  # noqa: E402

from nightspot.checkpoint import SettingError, StateError  # noqa: E402
from nightspot.checkpoint.keras import resume  # noqa: E402

pytestmark = [
    pytest.mark.xdist_group("keras"),
    # Keras 3.15 makes arrays of PyTorch's tensors in the way of NumPy 1.
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
    ),
]

SAMPLES, BATCH, EPOCHS = 20, 4, 4
PER_EPOCH = SAMPLES // BATCH
STEPS = EPOCHS * PER_EPOCH
FEATURES = np.random.default_rng(5).normal(size=(SAMPLES, 4)).astype("float32")
TARGETS = FEATURES.sum(axis=1, keepdims=True)


class InterruptionError(Exception):
    """The machine is gone."""


class At(keras.callbacks.Callback):
    """Does something when the batch after so many steps begins; counts the batches that are really trained."""

    def __init__(self, step, act):
        super().__init__()
        self.step, self.act = step, act

    def on_train_batch_begin(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == self.step:
            self.act()


def interrupt():
    raise InterruptionError


@contextmanager
def interrupted():
    with pytest.raises(InterruptionError):
        yield


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def built(seed, **compiled):
    """Small, with dropout and batch normalisation: steps depend on a generator, and change other variables."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3, seed=seed),
            keras.layers.Dense(1),
        ]
    )
    model.compile(**{"optimizer": keras.optimizers.Adam(0.05), "loss": "mse", "metrics": ["mae"], **compiled})
    return model


class Trained:
    """One process: a model that was trained, or resumed and trained to its end."""

    def __init__(
        self, checkpointer, *, callbacks=(), beside=(), seed=1, shuffle=True, epochs=EPOCHS, **options
    ):
        self.model = built(seed)
        self.training = resume(checkpointer, self.model, epochs, callbacks=list(callbacks))
        data = {"x": FEATURES, "y": TARGETS, "batch_size": BATCH, "validation_data": (FEATURES, TARGETS)}
        self.history = self.model.fit(
            **{**data, **options},
            epochs=epochs,
            initial_epoch=self.training.initial_epoch,
            callbacks=[*self.training.callbacks, *beside],
            shuffle=shuffle,
            verbose=0,
        )
        checkpointer.close()

    def __eq__(self, other):
        mine, its = (
            [*each.model.get_weights(), *(variable.numpy() for variable in each.model.optimizer.variables)]
            for each in (self, other)
        )
        return (
            all(np.array_equal(one, another) for one, another in zip(mine, its, strict=True))
            and self.history.history == other.history.history
            and self.history.epoch == other.history.epoch
        )

    __hash__ = None


@pytest.fixture
def train(process):
    """Each call is a process that starts on the same checkpoints, and saves after every step."""

    def start(*, every_steps=1, settings=None, **options):
        return Trained(process(every_steps=every_steps, **(settings or {})), **options)

    return start


@pytest.fixture
def undisturbed(tmp_path_factory, clock):
    """The same without an interruption."""

    def start(**options):
        from nightspot.checkpoint import Checkpointer

        folder = tmp_path_factory.mktemp("undisturbed")
        return Trained(Checkpointer(folder, environ={}, now=clock, every_steps=1000), **options)

    return start


# The first step, the last batch of an epoch, the first of the next, the middle of one; all others take long.
FEW = {1, 4, 5, 8}


@pytest.mark.parametrize(
    "step", [pytest.param(step, marks=() if step in FEW else pytest.mark.long) for step in range(1, STEPS)]
)
def test_resumed_after_any_step_it_ends_with_the_same_bits(train, undisturbed, step):
    with interrupted():
        train(beside=[At(step, interrupt)])

    resumed = train(seed=99)

    assert resumed.training.steps_done == step
    assert resumed == undisturbed()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_without_shuffling_from_a_generator_of_batches_it_ends_with_the_same_bits(
    train, undisturbed, asynchronous
):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return PER_EPOCH

        def __getitem__(self, place):
            rows = slice(place * BATCH, (place + 1) * BATCH)
            return FEATURES[rows], TARGETS[rows]

    options = {"x": Batches(), "y": None, "batch_size": None, "shuffle": False}
    with interrupted():
        train(beside=[At(8, interrupt)], settings={"asynchronous": asynchronous}, **options)

    assert train(seed=99, **options) == undisturbed(**options)


def test_without_the_resume_it_ends_otherwise(train, undisturbed):
    assert train(seed=99) != undisturbed()


def early():
    # No epoch is better by 1000: each after the first one is counted.
    return [keras.callbacks.EarlyStopping("val_loss", min_delta=1000, patience=3, restore_best_weights=True)]


def plateau():
    return [keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=2, min_delta=1000, cooldown=1)]


def falling():
    return [keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.8)]


KINDS = {"early_stopping": early, "plateau": plateau, "scheduler": falling}


@pytest.mark.parametrize("step", [8, 10, 13])
@pytest.mark.parametrize("kind", KINDS)
def test_what_callbacks_remember_goes_on_after_a_resume(train, undisturbed, kind, step):
    whole = undisturbed(callbacks=KINDS[kind](), epochs=7)
    with interrupted():
        train(callbacks=KINDS[kind](), beside=[At(step, interrupt)], epochs=7)

    resumed = train(callbacks=KINDS[kind](), seed=99, epochs=7)

    assert resumed == whole
    assert len(resumed.history.epoch) == (4 if kind == "early_stopping" else 7)


def test_a_training_that_stopped_early_is_not_taken_up_again_and_gives_its_best_weights(train):
    whole = train(callbacks=early(), epochs=7, every_steps=1000)

    again = train(callbacks=early(), epochs=7, seed=99)

    assert again.training.initial_epoch == 7
    assert again.history.history == whole.history.history
    assert all(map(np.array_equal, again.model.get_weights(), whole.model.get_weights()))


def test_a_callback_that_remembered_something_must_be_there_at_the_resume(train):
    with interrupted():
        train(callbacks=early(), beside=[At(8, interrupt)])

    with pytest.raises(
        StateError, match=r"the checkpoint holds what .*EarlyStopping remembered; must have it too"
    ):
        train()


def test_when_asked_to_stop_it_saves_the_batch_leaves_and_goes_on_from_there(train, undisturbed):
    def ask():
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as left:
        train(beside=[At(6, ask)], every_steps=1000, settings={"handle_sigterm": True})
    assert left.value.code == 143

    resumed = train(seed=99)
    assert resumed.training.steps_done == 7
    assert resumed == undisturbed()


def test_a_batch_is_a_step_and_the_logs_are_the_metrics(train, tmp_path):
    with interrupted():
        train(beside=[At(8, interrupt)], every_steps=5, settings={"total_steps": STEPS})
    progress = json.loads((tmp_path / "nightspot.json").read_text())
    assert (progress["step"], progress["total_steps"]) == (5, STEPS)
    assert {"loss", "mae", "val_loss", "val_mae"} == set(progress["metrics"])

    trained = train(settings={"total_steps": STEPS})
    progress = json.loads((tmp_path / "nightspot.json").read_text())
    assert (progress["step"], progress["fraction"]) == (STEPS, 1.0)
    assert progress["metrics"]["val_loss"] == pytest.approx(trained.history.history["val_loss"][-1])


def test_the_drill_sees_every_step_once_with_its_state(train, tmp_path):
    journal = tmp_path / "journal"
    train(epochs=2, settings={"environ": {"NIGHTSPOT_DRILL_JOURNAL": str(journal)}})

    steps = [each for each in map(json.loads, journal.read_text().splitlines()) if each["event"] == "step"]
    assert [each["step"] for each in steps] == list(range(1, 2 * PER_EPOCH + 1))
    assert all({"weights", "optimizer", "metrics"} <= set(each["parts"]) for each in steps)


def test_a_model_of_another_shape_is_refused(train, process):
    train(epochs=1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    training = resume(process(), model, 2)

    with pytest.raises(StateError, match=r"the model's weights have the shapes .*: saved with"):
        model.fit(FEATURES, TARGETS, epochs=2, initial_epoch=1, callbacks=training.callbacks, verbose=0)


def test_a_resume_that_is_not_passed_on_is_noticed_before_anything_is_trained(train, process):
    train(epochs=2)
    model = built(1)
    training = resume(process(), model, 3)

    with pytest.raises(
        StateError, match="initial_epoch=0: must be that of the checkpoint, 2, as resume gave it"
    ):
        model.fit(FEATURES, TARGETS, epochs=3, callbacks=training.callbacks, verbose=0)


def test_wrong_arguments_are_named(process):
    with pytest.raises(SettingError, match="epochs=0: must be a whole number from 1 on"):
        resume(process(), built(1), 0)
    with pytest.raises(StateError, match=r"also has the names \['weights'\]: these are the adapter's own"):
        resume(process(), built(1), 1, also={"weights": 1})
    process().save(3, b"another's")
    with pytest.raises(StateError, match="must have been saved by the adapter for Keras; it has bytes"):
        resume(process(), built(1), 1)
