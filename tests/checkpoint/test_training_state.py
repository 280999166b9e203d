"""What people forget comes along: generators, the place in the data, the best result, scheduler and scaler."""

import json
import random
import sys
from types import SimpleNamespace

import pytest

from nightspot.checkpoint import StateError, TrainingState, capture_random_state, restore_random_state


class Numbers(list):
    def tolist(self):
        return list(self)


class Torch:
    """As much of torch as is asked here."""

    uint8 = "uint8"

    def __init__(self, devices=0):
        self.state = Numbers([1, 2, 3])
        self.devices = [Numbers([each]) for each in range(devices)]
        self.initialised = True
        self.cuda = SimpleNamespace(
            is_available=lambda: bool(self.devices),
            is_initialized=lambda: self.initialised,
            device_count=lambda: len(self.devices),
            get_rng_state_all=lambda: self.devices,
            set_rng_state=lambda state, device: self.devices.__setitem__(device, state),
        )

    def get_rng_state(self):
        return self.state

    def set_rng_state(self, state):
        self.state = state

    def tensor(self, values, dtype, device):
        assert (dtype, device) == ("uint8", "cpu")
        return Numbers(values)


@pytest.fixture
def torch(monkeypatch):
    def install(devices=0):
        module = Torch(devices)
        monkeypatch.setitem(sys.modules, "torch", module)
        return module

    return install


@pytest.fixture(autouse=True)
def _no_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)


def test_the_same_numbers_come_after_a_restore(process):
    np = pytest.importorskip("numpy")
    np.random.standard_normal()  # leaves a second normal number in the generator
    random.gauss(0, 1)
    process().save(1, {"random": capture_random_state()})

    def draw():
        numpy_numbers = [np.random.standard_normal() for _ in range(3)]
        return numpy_numbers, [random.gauss(0, 1), random.random()]

    first = draw()
    draw()
    restore_random_state(process().restore().state["random"])

    assert draw() == first


def test_it_is_plain_enough_for_any_serialiser(torch):
    torch(devices=2)
    state = capture_random_state()

    assert json.loads(json.dumps(state)) == state
    assert {"random", "torch", "torch.cuda"} <= set(state)


def test_torch_is_restored_with_all_its_devices(torch):
    there = torch(devices=2)
    state = capture_random_state()
    there.state, there.devices = Numbers([9]), [Numbers([8]), Numbers([7])]

    restore_random_state(state)

    assert there.state == [1, 2, 3]
    assert there.devices == [[0], [1]]


@pytest.mark.parametrize(("now", "restored"), [(0, []), (1, [[0]]), (3, [[0], [1], [9]])])
def test_on_another_number_of_devices_those_there_are_go_on_and_the_log_says_so(torch, caplog, now, restored):
    torch(devices=2)
    state = capture_random_state()
    there = torch(devices=now)
    there.devices = [Numbers([9]) for _ in range(now)]

    restore_random_state(state)

    assert there.devices == restored
    assert f"random state of 2 CUDA devices: this machine has {now}" in caplog.text


def test_devices_that_are_not_in_use_yet_are_restored_and_not_captured(torch):
    there = torch(devices=1)
    state = capture_random_state()
    there.initialised, there.devices = False, [Numbers([9])]

    assert "torch.cuda" not in capture_random_state()
    restore_random_state(state)

    assert there.devices == [[0]]


def test_a_module_that_is_not_imported_now_is_named_and_nothing_is_touched(torch, monkeypatch):
    torch()
    state = capture_random_state()
    monkeypatch.delitem(sys.modules, "torch")
    before = random.getstate()
    state["random"][1][0] += 1

    with pytest.raises(StateError, match=r"random state of \['torch'\]: must be imported"):
        restore_random_state(state)
    assert random.getstate() == before


def test_a_generator_that_was_not_saved_is_logged(torch, caplog):
    state = capture_random_state()
    torch()
    restore_random_state(state)

    assert "no random state of torch" in caplog.text


class Scheduler:
    def __init__(self):
        self.epoch = 0

    def state_dict(self):
        return {"epoch": self.epoch}

    def load_state_dict(self, state):
        self.epoch = state["epoch"]
        random.random()  # as loaders that draw numbers do


def test_the_place_in_the_training_comes_back_with_all_that_it_carries(process):
    scheduler = Scheduler()
    training = TrainingState(scheduler=scheduler)
    training.epoch, training.step_in_epoch, training.best_metric, scheduler.epoch = 3, 250, 0.31, 3
    process().save(1, {"training": training})
    first = random.random()

    scheduler = Scheduler()
    training = TrainingState(scheduler=scheduler)
    process().restore().load_into({"training": training})

    assert (training.epoch, training.step_in_epoch, training.best_metric) == (3, 250, 0.31)
    assert scheduler.epoch == 3
    assert random.random() == first


def test_a_training_that_carries_something_else_is_refused_before_anything_is_loaded(process):
    saved = TrainingState(scheduler=Scheduler())
    saved.epoch = 3
    other = TrainingState(scaler=Scheduler())

    with pytest.raises(StateError, match=r"carried=\['scaler'\]: saved with \['scheduler'\]"):
        other.load_state_dict(saved.state_dict())
    assert other.epoch == 0


def test_what_has_no_state_cannot_be_carried():
    with pytest.raises(StateError, match="scheduler is int: must have state_dict"):
        TrainingState(scheduler=3)
