"""A PyTorch training that was interrupted goes on as if nothing had happened."""

import copy
import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make frameworks")

from nightspot.checkpoint import SettingError, TrainingState  # noqa: E402
from nightspot.checkpoint.pytorch import ResumableLoader, torch_checkpointer, torch_gather  # noqa: E402

pytestmark = [
    pytest.mark.xdist_group("torch"),
    # Python 3.12 warns of what data loaders have always done.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

SIZE, BATCH, STEPS = 22, 4, 15  # two and a half epochs, the last batch of each smaller
SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def start(tmp_path, clock):
    """Each call is a process that starts on the same directory."""

    def checkpointer(**options):
        return torch_checkpointer(tmp_path / "checkpoints", **{"environ": {}, "now": clock, **options})

    return checkpointer


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Training:
    """Model with dropout and batch norm, AdamW, OneCycleLR, GradScaler, and a shuffled loader."""

    def __init__(self, seed=1, workers=0):
        torch.manual_seed(seed)
        random.seed(seed)
        layers = torch.nn
        self.model = layers.Sequential(
            layers.Linear(5, 8),
            layers.BatchNorm1d(8),
            layers.ReLU(),
            layers.Dropout(0.3),
            layers.Linear(8, 1),
        )
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=0.01)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(self.optimiser, max_lr=0.1, total_steps=STEPS)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_factor=1.5, growth_interval=2)
        generator = torch.Generator().manual_seed(5)
        data = torch.utils.data.TensorDataset(
            torch.randn(SIZE, 5, generator=generator), torch.randn(SIZE, 1, generator=generator)
        )
        self.loader = ResumableLoader(data, BATCH, seed=3, num_workers=workers)
        self.carried = TrainingState(scheduler=self.scheduler, scaler=self.scaler, loader=self.loader)
        self.steps, self.losses = 0, []

    @property
    def state(self):
        return {"model": self.model, "optimiser": self.optimiser, "training": self.carried}

    def run(self, until, after_step=lambda step: None):
        while self.steps < until:
            for features, target in self.loader:
                output = self.model(features + 0.01 * random.random())
                loss = torch.nn.functional.mse_loss(output, target)
                self.optimiser.zero_grad()
                self.scaler.scale(loss).backward()
                self.scaler.step(self.optimiser)
                self.scaler.update()
                self.scheduler.step()
                self.steps += 1
                self.losses.append(loss.item())
                after_step(self.steps)
                if self.steps == until:
                    break
        return self

    def resume(self, restored):
        restored.load_into(self.state)
        self.steps = restored.step
        return self

    def weights(self):
        return torch.cat([each.flatten() for each in self.model.state_dict().values()])


@pytest.fixture(scope="module")
def undisturbed():
    return Training().run(STEPS)


# The first step, the end of an epoch, the middle of one, the last step but one; all others take long.
FEW = {(1, False), (6, True), (9, False), (STEPS - 1, True)}


@pytest.mark.parametrize(
    ("step", "asynchronous"),
    [
        pytest.param(*case, marks=() if case in FEW else pytest.mark.long)
        for case in itertools.product(range(1, STEPS), (False, True))
    ],
)
def test_resumed_after_any_step_it_ends_with_the_same_bits(start, undisturbed, step, asynchronous):
    first = Training()
    with start(asynchronous=asynchronous) as checkpointer:
        first.run(step, lambda done: checkpointer.save(done, first.state))
        # What goes on beside the save must not get into it.
        first.run(step + 1)

    second = Training(seed=99)
    second.resume(start().restore()).run(STEPS)

    assert second.losses == undisturbed.losses[step:]
    assert torch.equal(second.weights(), undisturbed.weights())


@pytest.mark.parametrize("left_out", ["model", "optimiser", "scheduler", "scaler", "loader", "random"])
def test_each_part_that_is_left_out_changes_what_is_learnt(start, undisturbed, left_out):
    first = Training()
    first.run(7)
    start().save(7, first.state)
    second = Training(seed=99)
    fresh = {**second.state, "training": second.carried.state_dict()}

    restored = start().restore()
    if left_out in ("model", "optimiser"):
        kept = copy.deepcopy(fresh[left_out].state_dict())
        second.resume(restored)
        fresh[left_out].load_state_dict(kept)
    else:
        saved = restored.state["training"]
        inner = saved if left_out == "random" else saved["carried"]
        inner[left_out] = (fresh["training"] if left_out == "random" else fresh["training"]["carried"])[
            left_out
        ]
        second.resume(restored)
    second.run(STEPS)

    assert not torch.equal(second.weights(), undisturbed.weights())


def test_workers_that_prefetch_do_not_move_the_position(start):
    undisturbed = Training(workers=0).run(STEPS)
    first = Training(workers=2)
    first.run(8, lambda done: start().save(done, first.state) if done == 8 else None)

    second = Training(seed=99, workers=2).resume(start().restore()).run(STEPS)

    assert torch.equal(second.weights(), undisturbed.weights())


def test_torch_s_generator_is_restored_wherever_new_tensors_go(start):
    torch.manual_seed(5)
    start().save(1, {"training": TrainingState()})
    expected = torch.rand(3)

    restored = start().restore()
    with torch.device("meta"):
        restored.load_into({"training": TrainingState()})

    assert torch.equal(torch.rand(3), expected)


def test_gathering_without_a_process_group_is_refused():
    with pytest.raises(SettingError, match="must be initialised before it is used"):
        torch_gather()(1)


def ranks(folder, *arguments):
    environ = {"PATH": os.environ["PATH"], "WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "lo"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPTS / "two_torch_ranks.py"), str(folder), *arguments],
            env={**environ, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [each.communicate(timeout=300)[0] for each in processes]
    return [each.returncode for each in processes], [json.loads(each) for each in outputs]


@pytest.mark.long
def test_two_ranks_stop_as_one_and_go_on_as_one(tmp_path):
    (tmp_path / "undisturbed").mkdir()
    (tmp_path / "stopped").mkdir()
    _, undisturbed = ranks(tmp_path / "undisturbed")

    statuses, stopped = ranks(tmp_path / "stopped", "5")  # rank 1 alone is told to stop
    assert statuses == [143, 143]
    assert {each["done"] for each in stopped} == {5}
    _, resumed = ranks(tmp_path / "stopped")

    assert {each["resumed from"] for each in resumed} == {5}
    assert [each["weights"] for each in resumed] == [each["weights"] for each in undisturbed]
    assert resumed[0]["weights"] == resumed[1]["weights"]
    assert len(list((tmp_path / "stopped" / "checkpoints").glob("*rank00000.nsck"))) == 2
    assert not list((tmp_path / "stopped" / "checkpoints").glob("*rank00001.nsck"))
