"""Of each epoch every sample is given once, wherever it is interrupted."""

import json

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make frameworks")

from nightspot.checkpoint import SettingError, StateError  # noqa: E402
from nightspot.checkpoint.pytorch import ResumableLoader  # noqa: E402

pytestmark = [
    pytest.mark.xdist_group("torch"),
    # Python 3.12 warns of what data loaders have always done.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

SIZE, BATCH = 22, 4  # the last batch of an epoch is smaller


def flat(batches):
    return [sample for batch in batches for sample in batch]


def given(loader, batches=None):
    taken = []
    for batch in loader:
        taken.append(batch.tolist())
        if batches is not None and len(taken) == batches:
            break
    return taken


def test_each_epoch_has_every_sample_once_in_another_order():
    loader = ResumableLoader(range(SIZE), BATCH, seed=3)

    epochs = [flat(given(loader)) for _ in range(3)]

    assert loader.epoch == 3
    assert all(sorted(each) == list(range(SIZE)) for each in epochs)
    assert len({tuple(each) for each in epochs}) == 3
    assert flat(given(ResumableLoader(range(SIZE), BATCH, seed=4))) not in epochs


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("taken", range(7))
def test_from_any_batch_on_the_rest_of_the_epoch_follows(taken, workers):
    whole = ResumableLoader(range(SIZE), BATCH, seed=3)
    expected = given(whole) + given(whole)
    loader = ResumableLoader(range(SIZE), BATCH, seed=3, num_workers=workers)
    first = given(loader, taken) if taken else []

    resumed = ResumableLoader(range(SIZE), BATCH, seed=0, num_workers=workers)
    resumed.load_state_dict(json.loads(json.dumps(loader.state_dict())))

    assert first + given(resumed) + given(resumed) == expected


def test_saved_after_the_last_batch_an_epoch_only_has_to_be_left():
    loader = ResumableLoader(range(SIZE), BATCH)
    given(loader, 6)
    resumed = ResumableLoader(range(SIZE), BATCH)
    resumed.load_state_dict(loader.state_dict())
    assert (resumed.epoch, resumed.at_the_end) == (0, True)

    assert given(resumed) == []
    assert (resumed.epoch, resumed.at_the_end) == (1, False)


def test_a_loop_that_counts_the_batches_and_asks_for_no_more_gets_the_next_epoch_too():
    counted, exhausted = (ResumableLoader(range(SIZE), BATCH) for _ in range(2))

    assert [given(counted, len(counted)) for _ in range(3)] == [given(exhausted) for _ in range(3)]


def test_a_last_batch_that_is_dropped_is_not_waited_for():
    loader = ResumableLoader(range(SIZE), BATCH, drop_last=True)

    assert len(given(loader, 5)) == len(loader) == 5
    assert loader.at_the_end
    assert len(given(loader)) == 5
    assert loader.epoch == 2


def test_ranks_share_out_an_epoch_and_take_equally_many_steps():
    ranks = [ResumableLoader(range(SIZE), BATCH, seed=3, rank=rank, world_size=3) for rank in range(3)]

    shares = [given(each) for each in ranks]

    assert {len(each) for each in shares} == {2} == {len(each) for each in ranks}
    samples = flat(flat(each) for each in shares)
    assert set(samples) == set(range(SIZE))
    assert len(samples) == 24  # 22 filled up to a multiple of 3


def test_the_rest_of_an_epoch_is_shared_out_among_another_number_of_ranks():
    two = [ResumableLoader(range(SIZE), BATCH, seed=3, rank=rank, world_size=2) for rank in range(2)]
    seen = flat(flat(given(each, 1)) for each in two)

    alone = ResumableLoader(range(SIZE), BATCH)
    alone.load_state_dict(two[0].state_dict())

    assert sorted(seen + flat(given(alone))) == list(range(SIZE))


def test_in_order_where_nothing_is_shuffled():
    assert given(ResumableLoader(range(5), 2, shuffle=False)) == [[0, 1], [2, 3], [4]]


def test_nothing_is_drawn_from_the_training_s_generator():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    given(ResumableLoader(range(5), 2))

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size=0: must be a whole number from 1 on"),
        ({"batch_size": None}, "batch_size=None: must be"),
        ({"sampler": [1]}, r"\['sampler'\]: must not be given"),
        ({"rank": 2, "world_size": 2}, "rank=2, world_size=2: rank must be"),
        ({"dataset": []}, "dataset is list: must have a length, from 1 on"),
        ({"dataset": iter([1])}, "dataset is list_iterator: must have a length"),
    ],
)
def test_a_loader_that_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(SettingError, match=message):
        ResumableLoader(**{"dataset": range(4), **arguments})


def test_another_dataset_s_position_is_refused():
    state = ResumableLoader(range(4)).state_dict()

    with pytest.raises(StateError, match="size=5 of the loader: saved with 4"):
        ResumableLoader(range(5)).load_state_dict(state)
    with pytest.raises(StateError, match="shuffle=False of the loader: saved with True"):
        ResumableLoader(range(4), shuffle=False).load_state_dict(state)
