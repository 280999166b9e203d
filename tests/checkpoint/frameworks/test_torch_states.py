"""What a PyTorch training saves comes back as data, is copied as it is, and code is refused."""

import collections
import gc
import os
import sys
import weakref

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make frameworks")

from nightspot.checkpoint import StateError, TrainingState, UnreadableStateError  # noqa: E402
from nightspot.checkpoint.pytorch import HostCopies, torch_checkpointer  # noqa: E402

pytestmark = pytest.mark.xdist_group("torch")


@pytest.fixture
def start(tmp_path, clock):
    """Each call is a process that starts on the same directory."""

    def checkpointer(**options):
        return torch_checkpointer(tmp_path / "checkpoints", **{"environ": {}, "now": clock, **options})

    return checkpointer


def parameters():
    return [torch.nn.Parameter(torch.ones(3))]


def stepped(optimiser, scheduler=None):
    for _ in range(2):
        for group in optimiser.param_groups:
            for each in group["params"]:
                each.grad = torch.ones_like(each)
        optimiser.step()
        if scheduler is not None:
            scheduler.step()
    return scheduler or optimiser


def with_scheduler(make):
    optimiser = torch.optim.SGD(parameters(), lr=0.1, momentum=0.9)
    return stepped(optimiser, make(optimiser))


SCHEDULERS = torch.optim.lr_scheduler
KINDS = {
    "Adam": lambda: stepped(torch.optim.Adam(parameters(), amsgrad=True)),
    "AdamW": lambda: stepped(torch.optim.AdamW(parameters())),
    "SGD": lambda: stepped(torch.optim.SGD(parameters(), lr=0.1, momentum=0.9)),
    "Adagrad": lambda: stepped(torch.optim.Adagrad(parameters())),
    "RMSprop": lambda: stepped(torch.optim.RMSprop(parameters())),
    "SGD, not stepped": lambda: torch.optim.SGD(parameters(), lr=0.1, momentum=0.9),
    "OneCycleLR": lambda: with_scheduler(lambda of: SCHEDULERS.OneCycleLR(of, 1.0, total_steps=9)),
    "LambdaLR": lambda: with_scheduler(lambda of: SCHEDULERS.LambdaLR(of, lambda step: 0.9**step)),
    "CosineAnnealingLR": lambda: with_scheduler(lambda of: SCHEDULERS.CosineAnnealingLR(of, 9)),
    "CyclicLR": lambda: with_scheduler(lambda of: SCHEDULERS.CyclicLR(of, 0.1, 1.0)),
    "StepLR": lambda: with_scheduler(lambda of: SCHEDULERS.StepLR(of, 3)),
    "MultiStepLR": lambda: with_scheduler(lambda of: SCHEDULERS.MultiStepLR(of, [1, 4])),
    "ReduceLROnPlateau": lambda: SCHEDULERS.ReduceLROnPlateau(torch.optim.SGD(parameters(), lr=0.1)),
    "SequentialLR": lambda: with_scheduler(
        lambda of: SCHEDULERS.SequentialLR(
            of, [SCHEDULERS.ConstantLR(of), SCHEDULERS.ExponentialLR(of, 0.9)], milestones=[1]
        )
    ),
    "GradScaler": lambda: torch.amp.GradScaler("cpu"),
    "TrainingState": TrainingState,
}


def same(left, right):
    """Whether they are equal all through, tensors included."""
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    return left == right


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_people_save_is_read_back_as_data(start, kind, asynchronous):
    part = KINDS[kind]()
    with start(asynchronous=asynchronous) as checkpointer:
        checkpointer.save(1, {"part": part})

    restored = start().restore().state["part"]

    assert same(restored, part.state_dict())
    part.load_state_dict(restored)


PLAIN = {
    "none": None,
    "truth": True,
    "large": 2**127 - 1,
    "float": float("inf"),
    "complex": 1 + 2j,
    "text": "é",
    "bytes": [b"\x00\xff"],
    "bytearray": [bytearray(b"a")],
    "list": [1, (2, [3])],
    "set": {1, 2},
    "counter": collections.Counter("aab"),
    "ordered": collections.OrderedDict(b=1, a=2),
    "keys": {1: "a", (2, "b"): None},
    "size": torch.Size([2, 3]),
    "dtype": torch.bfloat16,
    "device": torch.device("cpu"),
    "bfloat16": torch.ones(2, dtype=torch.bfloat16),
    "complex tensor": torch.tensor([1 + 2j]).conj(),
    "no elements": torch.empty(0, 3),
    "no dimensions": torch.tensor(3),
    "truths": torch.tensor([True]),
}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_plain_values_come_back_as_they_were(start, asynchronous):
    with start(asynchronous=asynchronous) as checkpointer:
        checkpointer.save(1, PLAIN)

    restored = start().restore().state

    assert same(restored, PLAIN)
    assert [type(each) for each in restored.values()] == [type(each) for each in PLAIN.values()]


def test_sparse_tensors_come_back_too(start):
    sparse = torch.tensor([[0.0, 2.0]]).to_sparse().coalesce()
    with start(asynchronous=True) as checkpointer:
        checkpointer.save(1, {"sparse": sparse})

    assert torch.equal(start().restore().state["sparse"].to_dense(), sparse.to_dense())


def test_numpy_s_scalars_come_back_as_python_s_numbers(start):
    np = pytest.importorskip("numpy")
    start().save(1, {"best": np.float64(0.5), "inner": {np.int64(3): np.float32(0.25), "is": np.bool_(True)}})

    state = start().restore().state

    assert state == {"best": 0.5, "inner": {3: 0.25, "is": True}}
    assert (type(state["best"]), type(state["inner"]["is"])) == (float, bool)


class Code:
    """Whoever unpickles it runs a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_a_restore_would_refuse_is_refused_by_the_save_and_named(start, asynchronous, tmp_path):
    np = pytest.importorskip("numpy")
    checkpointer = start(asynchronous=asynchronous)

    for value, name in [
        (np.zeros(3), r"state\['here'\]\['deep'\]\[1\] is numpy.ndarray: .*torch.as_tensor"),
        (Code(tmp_path), r"\[1\] is .*Code: values must be tensors, numbers"),
        (collections.defaultdict(list), r"is collections.defaultdict"),
        (sys.stdin, r"_io.TextIOWrapper|EncodedFile|DontReadFromInput"),
    ]:
        with pytest.raises(StateError, match=name):
            checkpointer.save(1, {"here": {"deep": [0, value]}})
    assert list((tmp_path / "checkpoints").glob("*.nsck")) == []


class Place:
    def __init__(self, row):
        self.row = row


def test_a_class_that_was_made_known_to_torch_is_let_through(start):
    with torch.serialization.safe_globals([Place]):
        start(asynchronous=True).save(1, {"place": [Place(3)]}, wait=True)

        assert start().restore().state["place"][0].row == 3


def test_a_file_with_code_in_it_is_refused_and_the_code_not_run(start, tmp_path):
    trap = tmp_path / "trap"
    start(serialise=torch.save).save(1, {"model": Code(trap)})

    with pytest.raises(
        UnreadableStateError, match=r"only data is read, no code is run, and the file names posix.mkdir"
    ):
        start().restore()
    assert not trap.exists()
    # It would have been run, had anybody unpickled it.
    start(deserialise=lambda stream: torch.load(stream, weights_only=False)).restore()
    assert trap.exists()


LARGE = 1 << 19  # floats: 2 MiB


def test_tied_weights_and_views_stay_tied(start):
    weight, storage = torch.randn(4, 4), torch.arange(12.0)
    state = {"in": {"w": weight}, "out": weight, "row": storage[4:8], "every third": storage[::3]}
    with start(asynchronous=True) as checkpointer:
        checkpointer.save(1, state)

    restored = start().restore().state

    assert same(restored, state)
    assert restored["in"]["w"] is restored["out"]
    restored["row"][2] = -1.0
    assert restored["every third"].tolist() == [0.0, 3.0, -1.0, 9.0]


def test_the_copy_knows_what_the_original_knew(start):
    module = torch.nn.BatchNorm1d(3)
    state = {
        "module": module.state_dict(),
        "parameter": torch.nn.Parameter(torch.ones(2), requires_grad=False),
    }

    held = HostCopies()(state)

    assert held["module"]._metadata == state["module"]._metadata != {}
    assert type(held["parameter"]) is torch.nn.Parameter
    assert not held["parameter"].requires_grad
    assert HostCopies()(torch.ones(2, requires_grad=True) * 2).requires_grad
    assert held["module"]["weight"].data_ptr() != module.weight.data_ptr()


def test_tensors_that_are_only_seen_as_conjugate_are_kept_apart():
    state = [torch.tensor([complex(0, place)]).conj() for place in range(50)]

    assert [each[0].item() for each in HostCopies()(state)] == [complex(0, -each) for each in range(50)]


def test_lists_that_contain_themselves_are_copied():
    ring = [1]
    ring.append(ring)

    held = HostCopies()(ring)

    assert held[1] is held is not ring


def test_a_copy_is_made_into_the_memory_of_the_one_before():
    copies, tensors = HostCopies(), [torch.zeros(LARGE), torch.zeros(LARGE), torch.zeros(3)]
    first = copies(tensors)
    places = {each.data_ptr() for each in first}
    tensors[1].fill_(1.0)

    second = copies(tensors)

    assert [each.mean().item() for each in second] == [0.0, 1.0, 0.0]
    assert {each.data_ptr() for each in second} == places
    assert len(places) == 3


def test_memory_that_does_not_fit_any_more_is_given_back():
    copies = HostCopies()
    gone = weakref.ref(copies([torch.zeros(LARGE)])[0].untyped_storage())
    copies([torch.zeros(2 * LARGE)])
    gc.collect()

    assert gone() is None


def test_after_a_state_that_was_refused_the_memory_is_still_there():
    copies, tensor = HostCopies(), torch.zeros(LARGE)
    place = copies([tensor])[0].data_ptr()
    with pytest.raises(StateError):
        copies([tensor, object()])

    assert copies([tensor])[0].data_ptr() == place


def test_a_save_beside_training_leaves_its_memory_to_the_next(start):
    tensor = torch.zeros(LARGE)
    seen = []

    def saved(value, stream):
        seen.append(value["w"].data_ptr())
        torch.save(value, stream)

    with start(asynchronous=True, serialise=saved) as checkpointer:
        for step in range(1, 5):
            tensor.fill_(step)
            checkpointer.save(step, {"w": tensor})

    assert len(set(seen)) == 1
    assert start().restore().state["w"].unique().tolist() == [4.0]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_file_is_hardly_larger_than_torch_s_own(start, tmp_path, asynchronous):
    state = {f"layer {place}": torch.randn(LARGE) for place in range(4)}
    torch.save(state, tmp_path / "plain.pt")
    with start(asynchronous=asynchronous) as checkpointer:
        path = checkpointer.save(1, state)

    assert path.stat().st_size <= 1.01 * (tmp_path / "plain.pt").stat().st_size


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_what_is_on_a_gpu_is_restored_into_host_memory(start):
    weight = torch.randn(LARGE, device="cuda")
    state = {"w": weight, "row": weight[3:9]}
    with start(asynchronous=True) as checkpointer:
        checkpointer.save(1, state)
        expected = weight.cpu()
        weight.zero_()

    restored = start().restore().state

    assert restored["w"].device.type == "cpu"
    assert torch.equal(restored["w"], expected)
    assert HostCopies()(state)["w"].is_pinned()
