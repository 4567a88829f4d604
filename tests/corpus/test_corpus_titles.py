import random

from corpus.attributes import Attributes, attribute_sets
from corpus.titles import (
    ADJECTIVES,
    CATEGORY_WORDS,
    COLOR_WORDS,
    FILLERS,
    PATTERN_WORDS,
    all_words,
    write_title,
)


def splits_into_words(title: str) -> bool:
    words = set(all_words())
    reachable = [True] + [False] * len(title)
    for end in range(1, len(title) + 1):
        reachable[end] = any(reachable[start] and title[start:end] in words for start in range(end))
    return reachable[-1]


def test_titles_name_their_attributes_and_no_other_colour():
    said_color = 0
    titles = 0
    for seed, attributes in enumerate(attribute_sets("all") * 3):
        title = write_title(attributes, random.Random(seed))
        assert 6 <= len(title) <= 24
        assert any(word in title for word in CATEGORY_WORDS[attributes.category])
        if attributes.pattern != "纯色":
            assert any(word in title for word in PATTERN_WORDS[attributes.pattern])
        said_color += any(word in title for word in COLOR_WORDS[attributes.color])
        titles += 1
        assert splits_into_words(title)
    assert 0.89 < said_color / titles < 0.95


def test_no_synonym_holds_another_value_s_name():
    for table in (CATEGORY_WORDS, COLOR_WORDS, PATTERN_WORDS):
        owners = {}
        for value, synonyms in table.items():
            for word in synonyms:
                assert owners.setdefault(word, value) == value
    color_letters = "红蓝绿黄粉紫黑白灰棕咖褐"
    others = [*FILLERS, *sum(ADJECTIVES.values(), ()), *sum(CATEGORY_WORDS.values(), ())]
    others += sum(PATTERN_WORDS.values(), ())
    assert not [word for word in others if any(letter in word for letter in color_letters)]


def test_the_paper_s_titles_are_covered():
    for title in ("军旅风迷彩高跟鞋", "绵羊毛商务休闲西服套装", "减震透气跑鞋"):
        assert splits_into_words(title)


def test_titles_vary_in_order():
    attributes = Attributes("沙发", "灰色", "格纹")
    titles = {write_title(attributes, random.Random(seed)) for seed in range(50)}
    assert len(titles) > 40
