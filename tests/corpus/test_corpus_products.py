import random
import time

import numpy as np
import pytest

from corpus.attributes import (
    CATEGORIES,
    COLORS,
    HELD_OUT_CATEGORY_COLOR,
    HELD_OUT_CATEGORY_PATTERN,
    PATTERNS,
    Attributes,
    attribute_sets,
    held_out,
)
from corpus.patterns import PALETTES
from corpus.products import draw_product
from corpus.samples import sample_attributes, sample_product


def test_training_never_holds_a_held_out_pair():
    for seed in range(2 * len(attribute_sets("train"))):
        category, color, pattern = sample_attributes(seed, "train")
        assert (category, pattern) not in HELD_OUT_CATEGORY_PATTERN
        assert (category, color) not in HELD_OUT_CATEGORY_COLOR


def test_held_out_splits_differ_from_training_by_exactly_one_pair():
    assert ("高跟鞋", "迷彩") in HELD_OUT_CATEGORY_PATTERN
    for category, color, pattern in attribute_sets("held_out_pattern"):
        assert (category, pattern) in HELD_OUT_CATEGORY_PATTERN
        assert (category, color) not in HELD_OUT_CATEGORY_COLOR
    for category, color, pattern in attribute_sets("held_out_color"):
        assert (category, color) in HELD_OUT_CATEGORY_COLOR
        assert (category, pattern) not in HELD_OUT_CATEGORY_PATTERN
    assert len(attribute_sets("all")) == 720 == len(set(attribute_sets("all")))
    assert not any(held_out(attributes) for attributes in attribute_sets("train"))


def test_every_value_of_a_held_out_pair_occurs_in_training():
    seen = attribute_sets("train")
    assert {a.category for a in seen} == set(CATEGORIES)
    assert {a.color for a in seen} == set(COLORS)
    assert {a.pattern for a in seen} == set(PATTERNS)


def test_combinations_are_balanced():
    sets = attribute_sets("train")
    one_round = [sample_attributes(seed) for seed in range(len(sets))]
    assert sorted(one_round) == sorted(sets)


@pytest.mark.parametrize("category", CATEGORIES)
def test_product_fills_the_frame_on_white(category):
    for seed, pattern in enumerate(PATTERNS):
        image = draw_product(Attributes(category, "红色", pattern), seed)
        assert image.shape == (128, 128, 3) and image.dtype == np.uint8
        drawn = (image.max(2).astype(int) - image.min(2)) > 40
        rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
        assert max(np.ptp(rows), np.ptp(columns)) > 0.62 * 128
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        assert border.min() > 200


def test_same_arguments_same_picture_and_seeds_differ():
    attributes = Attributes("跑鞋", "蓝色", "波点")
    first = draw_product(attributes, 5)
    draw_product(attributes, 6)
    assert np.array_equal(first, draw_product(attributes, 5))
    assert not np.array_equal(first, draw_product(attributes, 6))
    one, two = sample_product(11), sample_product(11)
    assert one.title == two.title and np.array_equal(one.image, two.image)


def test_sizes_show_the_same_product():
    attributes = Attributes("雨伞", "紫色", "条纹")
    small = draw_product(attributes, 3, 128).astype(float)
    large = draw_product(attributes, 3, 256).astype(float)
    halved = large.reshape(128, 2, 128, 2, 3).mean((1, 3))
    assert np.abs(small - halved).mean() < 3.0


@pytest.mark.parametrize("color", COLORS)
def test_plain_product_shows_its_colour(color):
    image = draw_product(Attributes("T恤", color, "纯色"), 1)
    middle = np.median(image[54:74, 54:74].reshape(-1, 3), 0)
    nearest = min(COLORS, key=lambda name: float(np.abs(np.array(PALETTES[name].main) - middle).sum()))
    assert nearest == color


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="橙色"):
        draw_product(Attributes("T恤", "橙色", "纯色"), 0)
    with pytest.raises(ValueError, match="size 8"):
        draw_product(Attributes("T恤", "红色", "纯色"), 0, 8)
    with pytest.raises(ValueError, match="seed -1"):
        sample_product(-1)
    with pytest.raises(ValueError, match="nonsense"):
        attribute_sets("nonsense")


def test_drawing_is_fast():
    sets = attribute_sets("all")
    chosen = random.Random(0).sample(sets, 60)
    start = time.process_time()
    for seed, attributes in enumerate(chosen):
        draw_product(attributes, seed)
    # A busy machine may halve the rate of 100 pictures a second that an idle core reaches.
    assert 60 / (time.process_time() - start) > 40
