"""What is saved: a model of transformer shapes with Adam's two moments, in tensors or NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

FLOAT_BYTES = 4
COPIES = 3  # the weights and Adam's two moments
WIDTHS = ((2e6, 128), (4e7, 512), (float("inf"), 1024))  # up to so many weights, this wide

Make = Callable[[tuple[int, ...]], Any]


def state_of(megabytes: float, make: Make) -> dict[str, Any]:
    """What a training script saves, of so many MB (1e6 bytes) but for a few hundred bytes.

    make: gives an array of float32 for a shape. The names and the nesting are those of `Module.state_dict()` and
    `Adam.state_dict()`.
    """
    shapes = list(_shapes(round(megabytes * 1e6 / FLOAT_BYTES / COPIES)))
    moments = {
        number: {"step": 1000.0, "exp_avg": make(shape), "exp_avg_sq": make(shape)}
        for number, (_, shape) in enumerate(shapes)
    }
    group = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "params": list(range(len(shapes)))}
    return {
        "model": {name: make(shape) for name, shape in shapes},
        "optimiser": {"state": moments, "param_groups": [group]},
        "step": 1000,
    }


def copied(value: Any, copy: Callable[[Any], Any]) -> Any:
    """The same nest of dicts and lists, every array in it copied by `copy`, in a fixed order."""
    if isinstance(value, dict):
        return {name: copied(each, copy) for name, each in value.items()}
    if isinstance(value, list):
        return [copied(each, copy) for each in value]
    return copy(value) if hasattr(value, "shape") else value


def arrays(value: Any) -> Iterator[Any]:
    """The arrays in a nest of dicts and lists, in the order of `copied`."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from arrays(each)
    elif hasattr(value, "shape"):
        yield value


def numpy_maker(seed: int = 7) -> Make:
    """Random numbers, because zeros may cost a kernel nothing."""
    random = np.random.default_rng(seed)
    return lambda shape: random.random(shape, dtype=np.float32)


def _shapes(weights: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Embedding, then layers, until there are exactly so many weights; the last tensor is what is left."""
    width = next(wide for most, wide in WIDTHS if weights <= most)
    left = weights
    for name, shape in _endless(width, weights):
        size = int(np.prod(shape))
        if size >= left:
            yield name, (left,)
            return
        yield name, shape
        left -= size


def _endless(width: int, weights: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "embedding.weight", (max(1, weights // 5 // width), width)
    layer = 0
    while True:
        for part, shape in (
            ("attention.in.weight", (3 * width, width)),
            ("attention.in.bias", (3 * width,)),
            ("attention.out.weight", (width, width)),
            ("attention.out.bias", (width,)),
            ("norm.weight", (width,)),
            ("norm.bias", (width,)),
            ("mlp.up.weight", (4 * width, width)),
            ("mlp.up.bias", (4 * width,)),
            ("mlp.down.weight", (width, 4 * width)),
            ("mlp.down.bias", (width,)),
        ):
            yield f"layers.{layer}.{part}", shape
        layer += 1
