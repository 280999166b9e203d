"""Hugging Face's Trainer continues from our checkpoints as if nothing had happened."""

import gc
import itertools
import json
import logging
import os
import signal
import types
from contextlib import contextmanager
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make frameworks")
transformers = pytest.importorskip("transformers", reason="transformers is not installed: make frameworks")
pytest.importorskip("accelerate", reason="accelerate is not installed: make frameworks")

from nightspot.checkpoint import SettingError, StateError  # noqa: E402
from nightspot.checkpoint.huggingface import NightspotCallback  # noqa: E402

pytestmark = [
    pytest.mark.xdist_group("transformers"),
    # The Trainer asks for pinned memory without looking whether there is a device to pin it for.
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning"),
]

SAMPLES, BATCH, EPOCHS = 20, 4, 3
STEPS = 15


class Network(torch.nn.Module):
    """Small, and with dropout: each step depends on the generator."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1)
        )

    def forward(self, features, labels):
        output = self.layers(features).squeeze(-1)
        return {"loss": torch.nn.functional.mse_loss(output, labels), "logits": output}


class Rows(torch.utils.data.Dataset):
    def __init__(self):
        self.features = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(5))

    def __len__(self):
        return SAMPLES

    def __getitem__(self, place):
        return {"features": self.features[place], "labels": self.features[place].sum()}


class InterruptionError(Exception):
    """The machine is gone."""


class At(transformers.TrainerCallback):
    """Does something after a step."""

    def __init__(self, step, act):
        self.step, self.act = step, act

    def on_step_begin(self, args, state, control, **_):
        if state.global_step == self.step:
            self.act()


def interrupt():
    raise InterruptionError


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def start(tmp_path, clock):
    """Each call is a process that starts on the same checkpoints: callback and Trainer."""

    def process(*also, seed=1, arguments=None, **settings):
        callback = NightspotCallback(
            tmp_path / "checkpoints", **{"environ": {}, "now": clock, "every_steps": 2, **settings}
        )
        torch.manual_seed(seed)
        chosen = {
            "num_train_epochs": EPOCHS,
            "per_device_train_batch_size": BATCH,
            "learning_rate": 0.05,
            "lr_scheduler_type": "cosine",
            "logging_steps": 1,
            "save_strategy": "no",
            "use_cpu": True,
            "report_to": [],
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
            **(arguments or {}),
        }
        trainer = transformers.Trainer(
            Network(),
            transformers.TrainingArguments(str(tmp_path / "output"), **chosen),
            train_dataset=Rows(),
            eval_dataset=Rows(),
            callbacks=[callback, *also],
        )
        return callback, trainer

    return process


def weights(trainer):
    return torch.cat([each.detach().flatten() for each in trainer.model.parameters()])


def losses(trainer):
    return [each["loss"] for each in trainer.state.log_history if "loss" in each]


@contextmanager
def interrupted():
    with pytest.raises(InterruptionError):
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    torch.manual_seed(1)
    trainer = transformers.Trainer(
        Network(),
        transformers.TrainingArguments(
            str(folder),
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=BATCH,
            learning_rate=0.05,
            lr_scheduler_type="cosine",
            logging_steps=1,
            save_strategy="no",
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=Rows(),
    )
    trainer.train()
    return trainer


# The first step, the end of an epoch, the middle of one; all others take long.
FEW = {(1, False), (5, True), (11, False)}


@pytest.mark.parametrize(
    ("step", "asynchronous"),
    [
        pytest.param(*case, marks=() if case in FEW else pytest.mark.long)
        for case in itertools.product([1, 3, 4, 5, 6, 11], (False, True))
    ],
)
def test_resumed_after_any_step_it_ends_with_the_same_bits(start, undisturbed, tmp_path, step, asynchronous):
    callback, trainer = start(At(step, interrupt), every_steps=1, asynchronous=asynchronous)
    with interrupted():
        trainer.train(resume_from_checkpoint=callback.restore())
    callback.checkpointer.wait()

    callback, trainer = start(seed=99)
    trainer.train(resume_from_checkpoint=callback.restore())

    assert losses(trainer) == losses(undisturbed)
    assert torch.equal(weights(trainer), weights(undisturbed))


def test_without_the_resume_it_ends_otherwise(start, undisturbed):
    callback, trainer = start(seed=99)
    trainer.train(resume_from_checkpoint=callback.restore())

    assert not torch.equal(weights(trainer), weights(undisturbed))


def test_the_progress_file_has_the_step_the_trainer_s_total_and_the_loss(start, tmp_path):
    callback, trainer = start(At(7, interrupt), every_steps=3)
    assert callback.restore() is None
    with interrupted():
        trainer.train()

    progress = json.loads((tmp_path / "checkpoints" / "nightspot.json").read_text())
    assert (progress["step"], progress["total_steps"], progress["fraction"]) == (6, STEPS, 0.4)
    assert progress["metrics"]["loss"] == losses(trainer)[5]
    assert {"learning_rate", "grad_norm"} <= set(progress["metrics"])
    assert progress["resumed_from"] is None

    callback, trainer = start()
    trainer.train(resume_from_checkpoint=callback.restore())
    progress = json.loads((tmp_path / "checkpoints" / "nightspot.json").read_text())
    assert (progress["step"], progress["resumed_from"]) == (STEPS, {"step": 6, "attempt": None})


def test_the_older_checkpoint_counts_where_the_newest_is_broken(start, undisturbed, tmp_path, caplog):
    callback, trainer = start(At(6, interrupt), every_steps=2)
    with interrupted():
        trainer.train(resume_from_checkpoint=callback.restore())
    newest = max((tmp_path / "checkpoints").glob("*.nsck"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)

    callback, trainer = start(seed=99)
    with caplog.at_level(logging.WARNING, "nightspot.checkpoint"):
        trainer.train(resume_from_checkpoint=callback.restore())

    assert f"skipped {newest.name}" in caplog.text
    assert torch.equal(weights(trainer), weights(undisturbed))


def test_when_asked_to_stop_it_saves_the_step_leaves_and_goes_on_from_there(start, undisturbed):
    def ask():
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    callback, trainer = start(At(4, ask), every_steps=100, handle_sigterm=True)
    trainer.train(resume_from_checkpoint=callback.restore())
    assert trainer.state.global_step == 5
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(SystemExit) as left:
        callback.exit_if_asked()
    assert left.value.code == 143

    callback, trainer = start(seed=99)
    trainer.train(resume_from_checkpoint=callback.restore())
    callback.exit_if_asked()

    assert torch.equal(weights(trainer), weights(undisturbed))


EVERY_STEP = {
    "eval_strategy": "steps",
    "eval_steps": 1,
    "metric_for_best_model": "eval_loss",
    "greater_is_better": False,
}


class Patient(transformers.TrainerCallback):
    """A user's own, as they are written: it begins anew with each training, and stops it after so many steps."""

    def __init__(self, patience):
        self.patience = patience
        self.trainer = None

    def on_train_begin(self, args, state, control, **_):
        self.seen = []

    def on_step_end(self, args, state, control, **_):
        self.seen.append(state.global_step)
        if len(self.seen) >= self.patience:
            control.should_training_stop = True


def stopping_early():
    # No evaluation is better by 1000: each after the first one is counted.
    return transformers.EarlyStoppingCallback(early_stopping_patience=6, early_stopping_threshold=1000)


@pytest.mark.parametrize("asked_of_the_trainer_too", [False, True])
@pytest.mark.filterwarnings("ignore:.*load_best_model_at_end")
def test_the_patience_of_early_stopping_goes_on_after_a_resume(start, asked_of_the_trainer_too):
    arguments = {**EVERY_STEP, "restore_callback_states_from_checkpoint": asked_of_the_trainer_too}

    def trained(*also, seed=1):
        callback, trainer = start(*also, stopping_early(), seed=seed, every_steps=1, arguments=arguments)
        trainer.train(resume_from_checkpoint=callback.restore())
        return trainer

    with interrupted():
        trained(At(4, interrupt))

    assert trained(seed=99).state.global_step == 7


@pytest.mark.parametrize("nightspot_is_last", [False, True])
def test_a_callback_of_one_s_own_goes_on_too_though_it_resets_itself_at_the_beginning(
    start, nightspot_is_last
):
    def trained(*also, seed=1):
        mine = Patient(6)
        callback, trainer = start(mine, *also, seed=seed, every_steps=1)
        mine.trainer = trainer
        if nightspot_is_last:
            trainer.remove_callback(callback)
            trainer.add_callback(callback)
        trainer.train(resume_from_checkpoint=callback.restore())
        return mine, trainer

    with interrupted():
        trained(At(4, interrupt))
    mine, trainer = trained(seed=99)

    assert mine.seen == [1, 2, 3, 4, 5, 6]
    assert trainer.state.global_step == 6
    assert mine.trainer is trainer
    assert not [each for each in trainer.callback_handler.callbacks if "GivesBack" in type(each).__name__]


def test_a_callback_that_remembered_something_must_be_there_at_the_resume(start):
    callback, trainer = start(Patient(9), At(4, interrupt))
    with interrupted():
        trainer.train(resume_from_checkpoint=callback.restore())

    callback, trainer = start()
    with pytest.raises(StateError, match=r"the checkpoint holds what .*Patient remembered; must have it too"):
        trainer.train(resume_from_checkpoint=callback.restore())


def test_a_memory_that_cannot_be_saved_is_refused_at_the_first_save(start):
    class Holding(transformers.TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            self.generator = (each for each in ())

    callback, trainer = start(Holding())
    with pytest.raises(
        StateError, match=r"Holding.generator is generator: must be something that can be pickled"
    ):
        trainer.train(resume_from_checkpoint=callback.restore())


def test_nothing_is_left_beside_the_checkpoints(start, tmp_path):
    callback, trainer = start(At(3, interrupt), every_steps=2)
    with interrupted():
        trainer.train(resume_from_checkpoint=callback.restore())
    callback, trainer = start()
    unpacked = callback.restore()
    assert Path(unpacked, "trainer_state.json").is_file()
    trainer.train(resume_from_checkpoint=unpacked)

    assert not list(tmp_path.glob("nightspot-restored-*"))
    assert not list((tmp_path / "output").glob("checkpoint-*"))


def test_what_was_unpacked_goes_with_the_next_restore_and_with_the_callback(start, tmp_path):
    callback, trainer = start(At(3, interrupt), every_steps=2)
    with interrupted():
        trainer.train(resume_from_checkpoint=callback.restore())
    callback, trainer = start(scratch=tmp_path)
    assert Path(callback.restore()).parent == tmp_path

    callback.restore()
    assert len(list(tmp_path.glob("nightspot-restored-*"))) == 1

    del callback, trainer
    gc.collect()
    assert not list(tmp_path.glob("nightspot-restored-*"))


def test_restoring_says_nothing_in_the_progress_file_before_training_begins(start, tmp_path):
    callback, trainer = start(At(3, interrupt), every_steps=2)
    with interrupted():
        trainer.train(resume_from_checkpoint=callback.restore())
    before = (tmp_path / "checkpoints" / "nightspot.json").read_bytes()

    start()[0].restore()

    assert (tmp_path / "checkpoints" / "nightspot.json").read_bytes() == before


def test_the_trainer_s_own_checkpoints_stay_its_own(start, tmp_path):
    callback, trainer = start(every_steps=4, arguments={"save_strategy": "steps", "save_steps": 6})
    trainer.train(resume_from_checkpoint=callback.restore())

    kept = sorted(each.name for each in (tmp_path / "output").glob("checkpoint-*"))
    assert kept == ["checkpoint-12", "checkpoint-15", "checkpoint-6"]
    assert sorted(each.name for each in (tmp_path / "checkpoints").glob("*.nsck")) == [
        "checkpoint-000000012-rank00000.nsck",
        "checkpoint-000000015-rank00000.nsck",
    ]


def test_a_restore_that_is_not_passed_on_is_noticed_before_anything_is_trained(start):
    callback, trainer = start(At(3, interrupt), every_steps=2)
    with interrupted():
        trainer.train(resume_from_checkpoint=callback.restore())
    callback, trainer = start()
    callback.restore()

    with pytest.raises(
        StateError, match=r"begins after step 0, and the newest .* step 2: .*resume_from_checkpoint"
    ):
        trainer.train()
    assert trainer.state.global_step == 0


def test_a_checkpoint_without_the_optimiser_is_refused_before_anything_is_trained(start):
    callback, trainer = start(arguments={"save_only_model": True})

    with pytest.raises(SettingError, match="save_only_model=True: must be False"):
        trainer.train(resume_from_checkpoint=callback.restore())


def test_what_the_trainer_knows_must_not_be_said_twice():
    with pytest.raises(
        SettingError, match=r"\['total_steps', 'rank'\]: must not be given, the trainer says it"
    ):
        NightspotCallback(total_steps=3, rank=0)
    with pytest.raises(SettingError, match="must not be asked for before training has begun"):
        NightspotCallback().checkpointer  # noqa: B018
    NightspotCallback().exit_if_asked()


def test_the_second_of_two_ranks_waits_for_the_first_and_writes_nothing(tmp_path, clock):
    """The Trainer itself is not started twice here: this is what it tells the callback on rank 1."""
    met = []

    def gather(number):
        met.append(number)
        return [number, number]

    callback = NightspotCallback(
        tmp_path / "checkpoints", environ={}, now=clock, every_steps=2, gather=gather
    )
    arguments = types.SimpleNamespace(
        save_only_model=False,
        world_size=2,
        process_index=1,
        output_dir=str(tmp_path / "output"),
        save_total_limit=None,
    )
    state = types.SimpleNamespace(
        global_step=0, max_steps=4, is_world_process_zero=False, log_history=[{"loss": 0.5}]
    )
    control = transformers.TrainerControl()
    callback.on_train_begin(arguments, state, control)
    state.global_step = 2
    callback.on_step_end(arguments, state, control)
    assert control.should_save
    before = len(met)
    callback.on_save(arguments, state, control)

    assert met[before:] == [2]
    assert list((tmp_path / "checkpoints").iterdir()) == []
