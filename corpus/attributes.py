"""What a product of the demo corpus can be, and the pairs that training never sees.

A pair is held out when its two values occur together in no training sample, while each occurs with
every other partner: a model that draws it has composed it.
"""

from functools import lru_cache
from typing import NamedTuple

CATEGORIES = (
    "高跟鞋", "跑鞋", "西服", "连衣裙", "T恤", "双肩背包",
    "帽子", "机器人", "沙发", "水杯", "雨伞", "手提包",
)
COLORS = ("红色", "蓝色", "绿色", "黄色", "粉色", "紫色", "黑色", "白色", "灰色", "棕色")
PATTERNS = ("纯色", "条纹", "格纹", "波点", "迷彩", "碎花")

HELD_OUT_CATEGORY_PATTERN: frozenset[tuple[str, str]] = frozenset({
    ("高跟鞋", "迷彩"), ("双肩背包", "迷彩"),
    ("跑鞋", "格纹"), ("雨伞", "格纹"),
    ("西服", "波点"), ("水杯", "波点"),
    ("T恤", "条纹"), ("沙发", "条纹"),
    ("手提包", "碎花"),
})
HELD_OUT_CATEGORY_COLOR: frozenset[tuple[str, str]] = frozenset({
    ("高跟鞋", "紫色"), ("跑鞋", "粉色"), ("连衣裙", "棕色"), ("双肩背包", "黄色"),
    ("帽子", "绿色"), ("机器人", "红色"), ("沙发", "蓝色"), ("水杯", "黑色"),
})
SPLITS = ("train", "held_out_pattern", "held_out_color", "all")


class Attributes(NamedTuple):
    """The three true attributes of a product, each one of CATEGORIES, COLORS, PATTERNS."""

    category: str
    color: str
    pattern: str


def check_attributes(attributes: Attributes) -> None:
    """Raise ValueError when a value is unknown."""
    choices = (CATEGORIES, COLORS, PATTERNS)
    for name, value, known in zip(Attributes._fields, attributes, choices, strict=True):
        if value not in known:
            raise ValueError(f"{name} {value!r} is unknown; choose one of {' '.join(known)}")


def held_out(attributes: Attributes) -> bool:
    """Whether training must not see this combination (either of its pairs is held out)."""
    category, color, pattern = attributes
    return (category, pattern) in HELD_OUT_CATEGORY_PATTERN or (category, color) in HELD_OUT_CATEGORY_COLOR


@lru_cache(maxsize=len(SPLITS))
def attribute_sets(split: str) -> tuple[Attributes, ...]:
    """All combinations of a split, in a fixed order.

    "train" holds no held-out pair of either sort; "held_out_pattern" those whose category-pattern pair
    alone is held out; "held_out_color" likewise; "all" every combination, those with both pairs held out
    included. Raises ValueError for another split.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is unknown; choose one of {' '.join(SPLITS)}")
    chosen = []
    for category in CATEGORIES:
        for color in COLORS:
            for pattern in PATTERNS:
                pattern_is_out = (category, pattern) in HELD_OUT_CATEGORY_PATTERN
                color_is_out = (category, color) in HELD_OUT_CATEGORY_COLOR
                belongs = {
                    "train": not pattern_is_out and not color_is_out,
                    "held_out_pattern": pattern_is_out and not color_is_out,
                    "held_out_color": color_is_out and not pattern_is_out,
                    "all": True,
                }[split]
                if belongs:
                    chosen.append(Attributes(category, color, pattern))
    return tuple(chosen)
