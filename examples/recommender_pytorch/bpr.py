"""What the PyTorch recommender learns from and how: Bayesian Personalised Ranking.

The model of examples/recommender, and data of the same structure, with nothing but PyTorch: an item that
a user took should score above one that the user did not (Rendle et al., UAI 2009).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

CLUSTERS = 24
HELD_OUT = 4
TAKEN = 24
AT = 10
BATCH = 2048
NEGATIVES = 4
REGULARISATION = 0.01


class DataError(Exception):
    """The interactions are too few, or no pairs of whole numbers."""


@dataclass(frozen=True)
class Interactions:
    """Who took what, as int64 tensors of one length, split per user."""

    users: int
    items: int
    train_user: Tensor
    train_item: Tensor
    test_user: Tensor
    test_item: Tensor

    @property
    def fingerprint(self) -> str:
        """Differs where the interactions or their split differ."""
        hashed = hashlib.sha256()
        for each in (self.train_user, self.train_item, self.test_user, self.test_item):
            hashed.update(repr(each.tolist()).encode())
        return hashed.hexdigest()[:16]


def generate(users: int, items: int, seed: int) -> Interactions:
    """Interactions with a planted structure: tastes in latent clusters, and a popularity skew.

    A user likes three of the clusters, an item belongs to one, and few items are popular (Zipf). Each
    user takes TAKEN different items. Raises DataError for fewer items than that.
    """
    if items <= TAKEN:
        raise DataError(f"items={items}: must be more than the {TAKEN} that each user takes")
    draw = torch.Generator().manual_seed(seed)
    popularity = (1 / torch.arange(1, items + 1) ** 0.6)[torch.randperm(items, generator=draw)]
    liked = torch.rand(users, CLUSTERS, generator=draw).argsort(1)[:, :3]
    taste = torch.full((users, CLUSTERS), 0.01).scatter(
        1, liked, torch.tensor([[0.6, 0.3, 0.15]]).expand(users, 3)
    )
    appeal = taste[:, torch.randint(CLUSTERS, (items,), generator=draw)] * popularity
    # The largest of appeal / Exp(1) are a weighted sample without replacement (Efraimidis 2006).
    keys = appeal / torch.empty(users, items).exponential_(generator=draw)
    taken = keys.topk(TAKEN, dim=1).indices
    return split(torch.arange(users).repeat_interleave(TAKEN), taken.flatten(), seed)


def load(path: Path, seed: int) -> Interactions:
    """Read `user` and `item`, a pair per interaction, from what torch.save wrote: {"user": …, "item": …}."""
    if not path.is_file():
        raise DataError(f"{path}: must be a file that torch.save wrote, with the tensors user and item")
    saved = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(saved, dict) or not all(
        isinstance(saved.get(name), Tensor) for name in ("user", "item")
    ):
        raise DataError(f"{path}: must have the tensors user and item")
    return split(saved["user"].long(), saved["item"].long(), seed)


def split(user: Tensor, item: Tensor, seed: int) -> Interactions:
    """Hold out HELD_OUT interactions of every user who has more than twice as many; DataError."""
    if user.shape != item.shape or user.dim() != 1 or user.numel() == 0:
        raise DataError(f"user {tuple(user.shape)} and item {tuple(item.shape)}: must be lists of one length")
    if min(user.min(), item.min()) < 0:
        raise DataError("user and item: must be numbered from 0 on")
    shuffled = torch.randperm(user.numel(), generator=torch.Generator().manual_seed(seed))
    order = shuffled[user[shuffled].argsort(stable=True)]
    user, item = user[order], item[order]
    counts = torch.bincount(user)
    place = torch.arange(user.numel()) - (counts.cumsum(0) - counts)[user]
    test = (place < HELD_OUT) & (counts[user] > 2 * HELD_OUT)
    if not test.any() or item.max() < AT:
        raise DataError(
            f"{user.numel()} interactions with {int(item.max()) + 1} items: need more than {AT} items, and "
            f"a user with more than {2 * HELD_OUT} interactions"
        )
    return Interactions(
        int(user.max()) + 1, int(item.max()) + 1, user[~test], item[~test], user[test], item[test]
    )


def recall(scores: Tensor, data: Interactions) -> float:
    """Recall@10: the share of held-out items among a user's ten best items not seen in training.

    scores: users x items.
    """
    unseen = scores.clone()
    unseen[data.train_user, data.train_item] = -torch.inf
    best = unseen.topk(AT, dim=1).indices
    return (best[data.test_user] == data.test_item[:, None]).any(1).double().mean().item()


def popularity_recall(data: Interactions) -> float:
    """What recommending everybody the most popular items reaches: the mark to beat."""
    counts = torch.bincount(data.train_item, minlength=data.items).float()
    return recall(counts.expand(data.users, -1), data)


class Model(nn.Module):
    """User and item factors, and item biases."""

    def __init__(self, users: int, items: int, factors: int) -> None:
        super().__init__()
        self.user = nn.Parameter(0.05 * torch.randn(users, factors))
        self.item = nn.Parameter(0.05 * torch.randn(items, factors))
        self.bias = nn.Parameter(torch.zeros(items))

    def forward(self, users: Tensor, taken: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss of setting each taken item against another one, and what is to be minimised."""
        user, item, other = self.user[users], self.item[taken], self.item[others]
        bias, other_bias = self.bias[taken], self.bias[others]
        losses = nn.functional.softplus(-((user * (item - other)).sum(1) + bias - other_bias))
        sizes = sum((each**2).sum() for each in (user, item, other, bias, other_bias))
        return losses.mean(), losses.sum() + REGULARISATION / 2 * sizes

    def scores(self) -> Tensor:
        """Every user's of every item."""
        return (self.user @ self.item.T + self.bias).detach().cpu()


def train_epoch(model: Model, optimiser: torch.optim.Optimizer, data: Interactions) -> float:
    """Set every interaction against NEGATIVES other items, in a new order; the mean loss.

    Order and items are drawn from torch's own generator.
    """
    device = model.bias.device
    order = torch.arange(data.train_user.numel()).repeat(NEGATIVES)[
        torch.randperm(NEGATIVES * data.train_user.numel())
    ]
    negatives = torch.randint(data.items, (order.numel(),))
    losses = []
    for chosen, others in zip(order.split(BATCH), negatives.split(BATCH), strict=True):
        users, taken = data.train_user[chosen].to(device), data.train_item[chosen].to(device)
        loss, objective = model(users, taken, others.to(device))
        optimiser.zero_grad()
        objective.backward()
        optimiser.step()
        losses.append(loss.detach())
    return torch.stack(losses).mean().item()
