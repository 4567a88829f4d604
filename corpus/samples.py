"""Samples of the demo corpus: attributes, a title and a picture, all from one seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from corpus.attributes import Attributes, attribute_sets
from corpus.products import draw_product
from corpus.titles import write_title


@dataclass(frozen=True)
class ProductSample:
    """One product; `image` is uint8 RGB of shape (size, size, 3)."""

    attributes: Attributes
    seed: int
    title: str
    image: np.ndarray


@lru_cache(maxsize=64)
def _round_order(split: str, number: int) -> tuple[int, ...]:
    order = list(range(len(attribute_sets(split))))
    random.Random(f"order/{split}/{number}").shuffle(order)
    return tuple(order)


def sample_attributes(seed: int, split: str = "train") -> Attributes:
    """The attributes of a seed.

    Seeds from k n to (k + 1) n - 1 have each of the split's n combinations once, in an order of their own.
    """
    sets = attribute_sets(split)
    number, index = divmod(seed, len(sets))
    return sets[_round_order(split, number)[index]]


def sample_product(seed: int, split: str = "train", size: int = 128) -> ProductSample:
    """The sample of a seed (an integer of 0 or more); deterministic, combinations balanced.

    Raises ValueError for a negative seed, an unknown split or a size below 16 pixels.
    """
    if seed < 0:
        raise ValueError(f"seed {seed} is negative; seeds start at 0")
    attributes = sample_attributes(seed, split)
    title = write_title(attributes, random.Random(f"title/{split}/{seed}"))
    return ProductSample(attributes, seed, title, draw_product(attributes, seed, size))


def sample_products(
    count: int, first_seed: int = 0, split: str = "train", size: int = 128
) -> Iterator[ProductSample]:
    """`count` samples with seeds from `first_seed` on."""
    for seed in range(first_seed, first_seed + count):
        yield sample_product(seed, split, size)
