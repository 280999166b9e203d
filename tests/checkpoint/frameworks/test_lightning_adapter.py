"""Lightning's Trainer continues from our checkpoints as if nothing had happened."""

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
lightning = pytest.importorskip("lightning.pytorch", reason="lightning is not installed: make frameworks")

from nightspot.checkpoint import SettingError, StateError  # noqa: E402
from nightspot.checkpoint.lightning import NightspotCallback  # noqa: E402
from nightspot.checkpoint.pytorch import ResumableLoader  # noqa: E402

pytestmark = [
    pytest.mark.xdist_group("lightning"),
    # Lightning 2.6 still uses what PyTorch 2.13 has renamed.
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),
    # Advice on how a training could be faster, or log more.
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:Starting from v1.9.0, `tensorboardX` has been removed"),
]

SAMPLES, BATCH, EPOCHS, STEPS = 20, 4, 3, 15


class Module(lightning.LightningModule):
    """Small, and with dropout: each step depends on the generator."""

    def __init__(self, **hyperparameters):
        super().__init__()
        self.save_hyperparameters()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1)
        )
        self.losses = []
        self.epochs_ended = 0

    def training_step(self, batch, batch_idx):
        features, target = batch
        loss = torch.nn.functional.mse_loss(self.layers(features), target)
        self.log("mean_target", target.mean())
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self):
        optimiser = torch.optim.AdamW(self.parameters(), lr=0.05)
        steps = self.trainer.estimated_stepping_batches
        each_step = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.1, total_steps=steps)
        return [optimiser], [{"scheduler": each_step, "interval": "step"}]


class EachEpoch(Module):
    """Its learning rate changes at the end of an epoch, after a validation."""

    def validation_step(self, batch, batch_idx):
        features, target = batch
        self.log("val_loss", torch.nn.functional.mse_loss(self.layers(features), target))

    def configure_optimizers(self):
        optimiser = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)
        return [optimiser], [torch.optim.lr_scheduler.StepLR(optimiser, 1, gamma=0.5)]


def rows():
    features = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(5))
    return torch.utils.data.TensorDataset(features, features.sum(1, keepdim=True))


class InterruptionError(Exception):
    """The machine is gone."""


class At(lightning.Callback):
    """Does something when the batch after so many steps begins."""

    def __init__(self, step, act):
        self.step, self.act = step, act

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
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


class Process:
    """One that starts on the same checkpoints."""

    def __init__(
        self, folder, *also, callback=None, seed=1, kind=Module, resumable=True, loaders=None, **options
    ):
        torch.manual_seed(seed)
        self.callback = callback
        self.module = kind()
        resuming = {"seed": 3} if resumable else {"shuffle": True}
        self.loaders = loaders or (ResumableLoader if resumable else torch.utils.data.DataLoader)(
            rows(), batch_size=BATCH, **resuming
        )
        self.trainer = lightning.Trainer(
            callbacks=[*([callback] if callback else []), *also],
            default_root_dir=folder,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **{"max_epochs": EPOCHS, **options},
        )

    def fit(self, **options):
        path = self.callback.restore() if self.callback else None
        self.trainer.fit(self.module, self.loaders, **{"ckpt_path": path, **options})
        return self

    def weights(self):
        return torch.cat([each.detach().flatten() for each in self.module.parameters()])


@pytest.fixture
def start(tmp_path, clock):
    def process(*also, settings=None, **options):
        callback = NightspotCallback(
            tmp_path / "checkpoints", **{"environ": {}, "now": clock, "every_steps": 1, **(settings or {})}
        )
        return Process(tmp_path, *also, callback=callback, **options)

    return process


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return Process(tmp_path_factory.mktemp("undisturbed")).fit()


# The first step, the end of an epoch, the middle of one, the last step but one; all others take long.
FEW = {(1, False), (5, True), (7, False), (STEPS - 1, True)}


@pytest.mark.parametrize(
    ("step", "asynchronous"),
    [
        pytest.param(*case, marks=() if case in FEW else pytest.mark.long)
        for case in itertools.product(range(1, STEPS), (False, True))
    ],
)
def test_resumed_after_any_step_it_ends_with_the_same_bits(start, undisturbed, step, asynchronous):
    with interrupted():
        start(At(step, interrupt), settings={"asynchronous": asynchronous}).fit()

    resumed = start(seed=99).fit()

    assert resumed.module.losses == undisturbed.module.losses[step:]
    assert torch.equal(resumed.weights(), undisturbed.weights())


@pytest.mark.parametrize("step", [3, 5, 6, 10])
def test_schedulers_of_epochs_and_validation_go_on_too(start, tmp_path, step):
    def with_validation(*also, **options):
        loader = ResumableLoader(rows(), BATCH, seed=3)
        process = start(*also, kind=EachEpoch, loaders=loader, **options)
        validation = torch.utils.data.DataLoader(rows(), batch_size=10)
        process.trainer.fit(process.module, loader, validation, ckpt_path=process.callback.restore())
        return process

    expected = with_validation()
    for each in (tmp_path / "checkpoints").iterdir():
        each.unlink()
    with interrupted():
        with_validation(At(step, interrupt))

    resumed = with_validation(seed=99)

    assert resumed.module.losses == expected.module.losses[step:]
    assert torch.equal(resumed.weights(), expected.weights())


@pytest.mark.parametrize("epoch", [1, 2])
def test_any_loader_will_do_where_an_epoch_has_ended(start, tmp_path, epoch):
    expected = Process(tmp_path / "undisturbed", resumable=False).fit()
    with interrupted():
        start(At(epoch * 5, interrupt), resumable=False, settings={"every_steps": 5}).fit()

    resumed = start(seed=99, resumable=False).fit()

    assert resumed.module.losses == expected.module.losses[epoch * 5 :]
    assert torch.equal(resumed.weights(), expected.weights())


class Patient(lightning.Callback):
    """A user's own, as they are written: it begins anew with each training, and stops it after so many steps."""

    def __init__(self, patience):
        self.patience = patience

    def on_train_start(self, trainer, pl_module):
        self.seen, self.trainer, self.module = [], trainer, pl_module

    def on_train_batch_end(self, trainer, *_):
        self.seen.append(trainer.global_step)
        trainer.should_stop = len(self.seen) >= self.patience


@pytest.mark.parametrize("step", [7, 10])
def test_the_patience_of_early_stopping_goes_on_after_a_resume(start, step):
    def stopping_early():
        # No epoch is better by 1000: each after the first one is counted.
        return lightning.callbacks.EarlyStopping("mean_target", min_delta=1000, patience=2)

    with interrupted():
        start(At(step, interrupt), stopping_early(), max_epochs=9).fit()
    resumed = start(stopping_early(), max_epochs=9, seed=99).fit()

    assert resumed.trainer.global_step == 15


def test_a_callback_of_one_s_own_goes_on_too_though_it_resets_itself_at_the_beginning(start):
    with interrupted():
        start(Patient(9), At(7, interrupt)).fit()
    mine = Patient(9)
    resumed = start(mine, seed=99).fit()

    assert mine.seen == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert resumed.trainer.global_step == 9
    assert mine.trainer is resumed.trainer
    assert [each for each in resumed.trainer.callbacks if "_Last" in type(each).__name__] == []


def test_a_callback_that_remembered_something_must_be_there_at_the_resume(start):
    with interrupted():
        start(Patient(9), At(7, interrupt)).fit()

    with pytest.raises(StateError, match=r"the checkpoint holds what .*Patient remembered; must have it too"):
        start().fit()


def test_gradients_that_are_being_summed_up_are_in_no_checkpoint(start, tmp_path):
    expected = Process(tmp_path / "undisturbed", accumulate_grad_batches=2).fit()
    with interrupted():
        start(At(4, interrupt), accumulate_grad_batches=2).fit()
    progress = json.loads((tmp_path / "checkpoints" / "nightspot.json").read_text())
    assert (progress["step"], progress["total_steps"]) == (4, 9)

    resumed = start(seed=99, accumulate_grad_batches=2).fit()

    assert torch.equal(resumed.weights(), expected.weights())


def test_the_progress_file_has_the_step_the_trainer_s_total_and_the_loss(start, tmp_path):
    with interrupted():
        process = start(At(7, interrupt), settings={"every_steps": 3})
        process.fit()

    progress = json.loads((tmp_path / "checkpoints" / "nightspot.json").read_text())
    assert (progress["step"], progress["total_steps"], progress["fraction"]) == (6, STEPS, 0.4)
    assert progress["metrics"]["loss"] == process.module.losses[5]
    assert "mean_target" in progress["metrics"]
    assert progress["resumed_from"] is None

    start().fit()
    progress = json.loads((tmp_path / "checkpoints" / "nightspot.json").read_text())
    assert (progress["step"], progress["resumed_from"]) == (STEPS, {"step": 6, "attempt": None})


def test_the_older_checkpoint_counts_where_the_newest_is_broken(start, undisturbed, tmp_path, caplog):
    with interrupted():
        start(At(6, interrupt), settings={"every_steps": 2}).fit()
    newest = max((tmp_path / "checkpoints").glob("*.nsck"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)

    with caplog.at_level(logging.WARNING, "nightspot.checkpoint"):
        resumed = start(seed=99).fit()

    assert f"skipped {newest.name}" in caplog.text
    assert resumed.module.losses == undisturbed.module.losses[4:]
    assert torch.equal(resumed.weights(), undisturbed.weights())


@pytest.mark.parametrize("step", [2, 4])
def test_when_asked_to_stop_it_saves_the_step_leaves_and_goes_on_from_there(start, undisturbed, step):
    def ask():
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    first = start(At(step, ask), settings={"every_steps": 100, "handle_sigterm": True})
    with pytest.raises(SystemExit) as left:
        first.fit()
    # Lightning itself leaves so, and with a status that would say success.
    assert left.value.code == 143
    assert first.trainer.global_step == step + 1
    assert signal.getsignal(signal.SIGTERM) == before

    resumed = start(seed=99).fit()
    resumed.callback.exit_if_asked()

    assert torch.equal(resumed.weights(), undisturbed.weights())


@pytest.mark.parametrize("accumulate", [1, 2])
def test_with_a_notice_and_no_signal_it_finishes_the_step_and_fit_returns(start, tmp_path, accumulate):
    expected = Process(tmp_path / "undisturbed", accumulate_grad_batches=accumulate).fit()
    notice = tmp_path / "notice"
    environ = {"NIGHTSPOT_RECLAIM_NOTICE_FILE": str(notice)}
    first = start(
        At(3, notice.touch),
        settings={"every_steps": 100, "environ": environ},
        accumulate_grad_batches=accumulate,
    ).fit()
    assert first.trainer.global_step == 4
    with pytest.raises(SystemExit) as left:
        first.callback.exit_if_asked()
    assert left.value.code == 143

    resumed = start(seed=99, accumulate_grad_batches=accumulate).fit()

    assert torch.equal(resumed.weights(), expected.weights())


class Draws(lightning.Callback):
    """As many do before training starts."""

    def on_fit_start(self, trainer, pl_module):
        torch.rand(3)


def test_what_is_drawn_before_training_starts_does_not_matter(start, undisturbed):
    with interrupted():
        start(At(3, interrupt)).fit()

    resumed = start(Draws(), seed=99).fit()

    assert torch.equal(resumed.weights(), undisturbed.weights())


def test_nothing_is_left_beside_the_checkpoints(start, tmp_path):
    with interrupted():
        start(At(3, interrupt)).fit()
    start().fit()

    assert sorted(each.name for each in tmp_path.iterdir()) == ["checkpoints"]


class Setting:
    """Of a class that torch does not know."""


class WithAnObject(Module):
    def on_save_checkpoint(self, checkpoint):
        checkpoint["setting"] = Setting()


def test_a_checkpoint_that_fit_would_refuse_is_refused_when_it_is_saved(start, tmp_path):
    with pytest.raises(StateError, match=r"Lightning's checkpoint has \['.*Setting'\], .*add_safe_globals"):
        start(kind=WithAnObject).fit()
    assert not list((tmp_path / "checkpoints").glob("*.nsck"))


def test_with_weights_only_off_on_both_sides_any_object_goes(start):
    off = {"settings": {"weights_only": False}, "kind": WithAnObject}
    with interrupted():
        start(At(3, interrupt), **off).fit()

    assert len(start(**off).fit(weights_only=False).module.losses) == STEPS - 3


def test_a_class_that_was_made_known_to_torch_goes_too(start):
    with torch.serialization.safe_globals([Setting]):
        with interrupted():
            start(At(3, interrupt), kind=WithAnObject).fit()

        assert len(start(kind=WithAnObject).fit().module.losses) == STEPS - 3


def test_a_restore_that_is_not_passed_on_is_noticed_before_anything_is_trained(start):
    with interrupted():
        start(At(3, interrupt)).fit()
    process = start()

    with pytest.raises(StateError, match=r"begins after step 0, and the newest .* step 3: .*ckpt_path"):
        process.fit(ckpt_path=None)
    assert process.module.losses == []


def test_the_loader_s_epoch_is_found_wherever_it_is_among_the_loaders(start):
    def several():
        return {
            "one": ResumableLoader(rows(), BATCH, seed=3),
            "two": [ResumableLoader(rows(), BATCH, seed=4)],
        }

    class Several(Module):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch["one"], batch_idx)

    expected = start(kind=Several, loaders=several(), settings={"every_steps": 5})
    expected.trainer.fit(expected.module, expected.loaders)
    for each in Path(expected.callback.checkpointer.directory).iterdir():
        each.unlink()
    with interrupted():
        start(At(5, interrupt), kind=Several, loaders=several()).fit()

    resumed = start(kind=Several, loaders=several(), seed=99).fit()

    assert torch.equal(resumed.weights(), expected.weights())


def test_what_the_trainer_knows_must_not_be_said_twice():
    with pytest.raises(SettingError, match=r"\['world_size'\]: must not be given, the trainer says it"):
        NightspotCallback(world_size=2)
    NightspotCallback().exit_if_asked()


def test_the_second_of_two_ranks_saves_with_the_first_and_writes_nothing(tmp_path, clock):
    """Lightning itself is not started twice here: this is what it tells the callback on rank 1."""
    written = []
    callback = NightspotCallback(
        tmp_path / "checkpoints", environ={}, now=clock, every_steps=2, gather=lambda number: [number, number]
    )
    trainer = types.SimpleNamespace(
        global_step=0,
        global_rank=1,
        world_size=2,
        is_global_zero=False,
        estimated_stepping_batches=4,
        callback_metrics={},
        save_checkpoint=written.append,
        callbacks=[callback],
        is_last_batch=False,
    )
    callback.on_train_start(trainer, types.SimpleNamespace(automatic_optimization=True))
    trainer.global_step = 2
    trainer.callbacks[-1].on_train_batch_end(trainer, None, torch.tensor(0.5), None, 1)

    assert len(written) == 1
    assert list((tmp_path / "checkpoints").iterdir()) == []
