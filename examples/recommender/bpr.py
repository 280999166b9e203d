"""What the recommender learns from and how: Bayesian Personalised Ranking, NumPy only.

Matrix factorisation for implicit feedback (Rendle et al., UAI 2009): an item a user took should
score above one the user did not. Everything random comes from generators made of the seed.
"""

from __future__ import annotations

import io
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

# One thread, or sums are taken in an order that depends on the machine's load. It has to be said
# before NumPy is loaded.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

CLUSTERS = 24
HELD_OUT = 4
TAKEN = 24
AT = 10
BATCH = 2048
NEGATIVES = 4
REGULARISATION = 0.01


@dataclass(frozen=True)
class Interactions:
    """Who took what, as two int64 arrays of one length, split per user."""

    users: int
    items: int
    train_user: np.ndarray
    train_item: np.ndarray
    test_user: np.ndarray
    test_item: np.ndarray

    @property
    def fingerprint(self) -> int:
        """Differs where the interactions or their split differ."""
        arrays = (self.train_user, self.train_item, self.test_user, self.test_item)
        return zlib.crc32(b"".join(array.tobytes() for array in arrays))


def generate(users: int, items: int, seed: int) -> Interactions:
    """Interactions with a planted structure: tastes in latent clusters, and a popularity skew.

    A user likes three of the clusters, an item belongs to one, and within and across clusters few
    items are popular (Zipf). Each user takes TAKEN different items.
    """
    if items <= TAKEN:
        raise ValueError(f"items={items}: must be more than the {TAKEN} that each user takes")
    rng = np.random.default_rng([seed, 0])
    popularity = rng.permutation(1.0 / np.arange(1, items + 1) ** 0.6)
    taste = np.full((users, CLUSTERS), 0.01, dtype=np.float32)
    liked = rng.random((users, CLUSTERS), dtype=np.float32).argsort(axis=1)[:, :3]
    np.put_along_axis(taste, liked, np.float32([[0.6, 0.3, 0.15]]), axis=1)
    appeal = taste[:, rng.integers(0, CLUSTERS, items)] * popularity.astype(np.float32)
    # The largest of appeal / Exp(1) are a weighted sample without replacement (Efraimidis 2006).
    keys = appeal / rng.standard_exponential((users, items), dtype=np.float32)
    taken = np.argpartition(-keys, TAKEN, axis=1)[:, :TAKEN]
    return split(np.repeat(np.arange(users), TAKEN), taken.ravel(), seed)


def load(path: Path, seed: int) -> Interactions:
    """Read arrays `user` and `item` (integers from 0 on, one pair per interaction) from an .npz."""
    with np.load(path) as arrays:
        return split(arrays["user"].astype(np.int64), arrays["item"].astype(np.int64), seed)


def split(user: np.ndarray, item: np.ndarray, seed: int) -> Interactions:
    """Hold out HELD_OUT interactions of every user who has more than twice as many."""
    if user.shape != item.shape or user.ndim != 1 or user.size == 0:
        raise ValueError(f"user {user.shape} and item {item.shape}: must be lists of one length")
    if min(user.min(), item.min()) < 0:
        raise ValueError("user and item: must be numbered from 0 on")
    shuffled = np.random.default_rng([seed, 1]).permutation(user.size)
    order = shuffled[np.argsort(user[shuffled], kind="stable")]
    user, item = user[order], item[order]
    starts, counts = np.unique(user, return_index=True, return_counts=True)[1:]
    place = np.arange(user.size) - np.repeat(starts, counts)
    test = (place < HELD_OUT) & (np.repeat(counts, counts) > 2 * HELD_OUT)
    if not test.any() or item.max() < AT:
        raise ValueError(
            f"{user.size} interactions with {item.max() + 1} items: need more than {AT} items, and "
            f"a user with more than {2 * HELD_OUT} interactions"
        )
    return Interactions(
        int(user.max()) + 1, int(item.max()) + 1, user[~test], item[~test], user[test], item[test]
    )


def recall(scores: np.ndarray, data: Interactions) -> float:
    """Recall@10: the share of held-out items among a user's ten best items not seen in training.

    scores: users x items; it is overwritten.
    """
    scores[data.train_user, data.train_item] = -np.inf
    best = np.argpartition(-scores, AT, axis=1)[:, :AT]
    hits = (best[data.test_user] == data.test_item[:, None]).any(axis=1)
    return float(hits.mean())


def popularity_recall(data: Interactions) -> float:
    """What recommending everybody the most popular items reaches: the mark to beat."""
    counts = np.bincount(data.train_item, minlength=data.items).astype(np.float32)
    return recall(np.tile(counts, (data.users, 1)), data)


class Model:
    """User and item factors, item biases, their Adagrad accumulators, and the generator."""

    def __init__(self, data: Interactions, factors: int, learning_rate: float, seed: int) -> None:
        self._data = data
        self._learning_rate = np.float32(learning_rate)
        self._rng = np.random.default_rng([seed, 2])
        shapes = {"user": (data.users, factors), "item": (data.items, factors)}
        self.parameters = {
            name: self._rng.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes.items()
        }
        self.parameters["bias"] = np.zeros((data.items, 1), dtype=np.float32)
        self._squares = {name: np.full_like(array, 1e-6) for name, array in self.parameters.items()}

    def epoch(self) -> float:
        """Set every interaction against NEGATIVES other items, in a new order; the mean loss."""
        data, losses = self._data, []
        order = self._rng.permutation(np.tile(np.arange(data.train_user.size), NEGATIVES))
        negatives = self._rng.integers(0, data.items, order.size)
        for start in range(0, order.size, BATCH):
            chosen = order[start : start + BATCH]
            losses.append(
                self._step(
                    data.train_user[chosen],
                    data.train_item[chosen],
                    negatives[start : start + BATCH],
                )
            )
        return float(np.mean(losses))

    def recall(self) -> float:
        """Recall@10 on the held-out interactions."""
        user, item, bias = (self.parameters[name] for name in ("user", "item", "bias"))
        return recall(user @ item.T + bias.T, self._data)

    def to_state(self) -> dict[str, bytes]:
        """Everything the next epoch depends on, by name."""
        arrays = {f"parameters/{name}": array for name, array in self.parameters.items()}
        arrays |= {f"squares/{name}": array for name, array in self._squares.items()}
        state = {name: _to_bytes(array) for name, array in arrays.items()}
        return state | {"generator": json.dumps(self._rng.bit_generator.state).encode()}

    def load_state(self, state: dict[str, bytes]) -> None:
        """Become what `to_state` described, to the bit."""
        for name in self.parameters:
            self.parameters[name] = np.load(io.BytesIO(state[f"parameters/{name}"]))
            self._squares[name] = np.load(io.BytesIO(state[f"squares/{name}"]))
        self._rng.bit_generator.state = json.loads(state["generator"])

    def write(self, path: Path) -> None:
        """Write the arrays user, item and bias; the same model gives the same bytes."""
        np.savez(path, **self.parameters)

    def _step(self, users: np.ndarray, taken: np.ndarray, others: np.ndarray) -> np.float32:
        user, item, bias = (self.parameters[name] for name in ("user", "item", "bias"))
        factors, difference = user[users], item[taken] - item[others]
        margin = (factors * difference).sum(axis=1, keepdims=True) + bias[taken] - bias[others]
        pull = 1 / (1 + np.exp(margin))
        both = np.concatenate([taken, others])
        towards = np.concatenate([pull, -pull])
        self._move("user", users, pull * difference)
        self._move("item", both, towards * np.concatenate([factors, factors]))
        self._move("bias", both, towards)
        return np.logaddexp(np.float32(0), -margin).mean()

    def _move(self, name: str, rows: np.ndarray, ascent: np.ndarray) -> None:
        # Adagrad on the rows' summed gradients; rows not in the batch have none and stay.
        parameter, squares = self.parameters[name], self._squares[name]
        gradient = np.zeros_like(parameter)
        np.add.at(gradient, rows, ascent - np.float32(REGULARISATION) * parameter[rows])
        squares += gradient * gradient
        parameter += self._learning_rate * gradient / np.sqrt(squares)


def _to_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
