"""Titles in a Chinese shop's style: synonyms, adjectives and filler words in varied order.

Every synonym names exactly one attribute value, so a title never contradicts its picture.
"""

import random
import re

from corpus.attributes import CATEGORIES, COLORS, PATTERNS, Attributes, check_attributes

CATEGORY_WORDS: dict[str, tuple[str, ...]] = {
    "高跟鞋": ("高跟鞋", "细跟鞋", "女鞋高跟", "高跟单鞋", "女式高跟鞋"),
    "跑鞋": ("跑鞋", "运动鞋", "跑步鞋", "慢跑鞋", "训练鞋"),
    "西服": ("西服", "西装", "西服外套", "西服套装", "西装上衣"),
    "连衣裙": ("连衣裙", "连身裙", "裙子", "长裙", "女裙"),
    "T恤": ("T恤", "T恤衫", "汗衫T恤", "打底衫", "上衣T恤"),
    "双肩背包": ("双肩背包", "双肩包", "书包", "旅行背包", "电脑背包"),
    "帽子": ("帽子", "遮阳帽", "太阳帽", "休闲帽", "户外帽子"),
    "机器人": ("机器人", "玩具机器人", "智能机器人", "机器人玩具", "早教机器人"),
    "沙发": ("沙发", "布艺沙发", "客厅沙发", "休闲沙发", "小户型沙发"),
    "水杯": ("水杯", "杯子", "茶杯", "喝水杯", "随手杯"),
    "雨伞": ("雨伞", "晴雨伞", "太阳伞", "遮阳伞", "长柄伞"),
    "手提包": ("手提包", "手拎包", "女包", "手提女包", "拎包"),
}
COLOR_WORDS: dict[str, tuple[str, ...]] = {
    "红色": ("红色", "大红", "中国红", "正红色", "大红色", "红"),
    "蓝色": ("蓝色", "宝蓝", "宝石蓝", "海蓝色", "湛蓝", "蓝"),
    "绿色": ("绿色", "草绿", "翠绿色", "森林绿", "绿"),
    "黄色": ("黄色", "明黄", "柠檬黄", "亮黄色", "黄"),
    "粉色": ("粉色", "粉红", "樱花粉", "粉红色", "少女粉"),
    "紫色": ("紫色", "葡萄紫", "罗兰紫", "深紫色", "紫"),
    "黑色": ("黑色", "纯黑", "曜石黑", "经典黑", "黑"),
    "白色": ("白色", "纯白", "雪白", "珍珠白", "白"),
    "灰色": ("灰色", "中灰", "高级灰", "烟灰色", "灰"),
    "棕色": ("棕色", "咖啡色", "咖色", "褐色", "巧克力色"),
}
PATTERN_WORDS: dict[str, tuple[str, ...]] = {
    "纯色": ("纯色", "素色", "无花纹", "净色", "纯色款"),
    "条纹": ("条纹", "横条", "海魂条纹", "条纹款", "间条"),
    "格纹": ("格纹", "格子", "方格", "英伦格子", "格子款"),
    "波点": ("波点", "圆点", "波尔卡圆点", "复古波点", "圆点图案"),
    "迷彩": ("迷彩", "军旅风迷彩", "丛林迷彩", "迷彩色块", "军事迷彩"),
    "碎花": ("碎花", "小碎花", "花朵", "田园碎花", "印花小花"),
}
ADJECTIVES: dict[str, tuple[str, ...]] = {
    "高跟鞋": ("尖头", "时尚", "优雅", "气质", "性感", "真皮", "浅口", "通勤"),
    "跑鞋": ("减震", "透气", "减震透气", "轻便", "防滑", "耐磨", "网面", "缓震"),
    "西服": ("绵羊毛", "商务", "休闲", "商务休闲", "修身", "正装", "职业", "免烫"),
    "连衣裙": ("雪纺", "收腰", "显瘦", "气质", "复古", "度假", "法式", "棉麻"),
    "T恤": ("纯棉", "宽松", "百搭", "透气", "日常", "情侣", "休闲", "吸汗"),
    "双肩背包": ("大容量", "防水", "轻便", "学生", "旅行", "商务", "护脊", "耐磨"),
    "帽子": ("防晒", "遮阳", "透气", "百搭", "户外", "街头", "可折叠", "时尚"),
    "机器人": ("智能", "儿童", "遥控", "语音", "会唱歌", "益智", "编程", "可爱"),
    "沙发": ("布艺", "北欧", "简约", "舒适", "可拆洗", "小户型", "客厅", "现代"),
    "水杯": ("保温", "陶瓷", "大容量", "便携", "防漏", "可爱", "办公室", "家用"),
    "雨伞": ("防晒", "防风", "加固", "自动", "便携", "两用", "大号", "结实"),
    "手提包": ("真皮", "大容量", "时尚", "通勤", "百搭", "气质", "复古", "质感"),
}
FILLERS = (
    "新款", "夏季新款", "秋冬", "春季", "包邮", "正品", "热卖", "爆款", "特价", "韩版", "欧美风", "人气",
    "高档", "潮流", "男女", "厂家直销", "送礼", "学院风", "ins风", "限时",
)
LONGEST = 24
SHORTEST = 6
COLOR_UNSAID = 0.08
PLAIN_UNSAID = 0.15


def _parts(attributes: Attributes, rng: random.Random) -> tuple[list[str], list[str]]:
    """The words that must be said, in their order, and those that may be left out."""
    said = []
    if rng.random() >= COLOR_UNSAID:
        said.append(_synonym(COLOR_WORDS[attributes.color], rng))
    if attributes.pattern != "纯色" or rng.random() >= PLAIN_UNSAID:
        said.append(_synonym(PATTERN_WORDS[attributes.pattern], rng))
    rng.shuffle(said)
    adjectives = rng.sample(ADJECTIVES[attributes.category], rng.choice((0, 1, 1, 2)))
    fillers = rng.sample(FILLERS, rng.choice((0, 0, 1, 2)))
    extras = adjectives + fillers
    rng.shuffle(extras)
    return said, extras


def _synonym(words: tuple[str, ...], rng: random.Random) -> str:
    """The plain name in half of the cases, else any of the others."""
    return words[0] if rng.random() < 0.5 else rng.choice(words[1:])


def write_title(attributes: Attributes, rng: random.Random) -> str:
    """A shop title of 6 to 24 characters that fits the attributes.

    The category is always said, the pattern too (plain may go unsaid), the colour in 92 % of titles.
    Raises ValueError for unknown attributes.
    """
    attributes = Attributes(*attributes)
    check_attributes(attributes)
    said, extras = _parts(attributes, rng)
    noun = _synonym(CATEGORY_WORDS[attributes.category], rng)
    words = [*said, noun] if rng.random() < 0.85 else [noun, *said]
    spare = [word for word in (*ADJECTIVES[attributes.category], *FILLERS) if word not in extras]
    while len("".join(words)) < SHORTEST and not extras:
        extras.append(rng.choice(spare))
    for word in extras:
        if len("".join(words)) + len(word) <= LONGEST and word not in "".join(words):
            words.insert(rng.randrange(len(words) + 1), word)
    while len("".join(words)) < SHORTEST:
        words.insert(0, rng.choice(spare))
    return "".join(words)


def all_words() -> tuple[str, ...]:
    """Every word that a title can hold, single characters included: what the tokenizer is trained on."""
    words: set[str] = {*CATEGORIES, *COLORS, *PATTERNS, *FILLERS}
    for table in (CATEGORY_WORDS, COLOR_WORDS, PATTERN_WORDS, ADJECTIVES):
        for synonyms in table.values():
            words.update(synonyms)
    words.update(piece for word in tuple(words) for piece in re.findall(r"[A-Za-z]+|[^A-Za-z]", word))
    return tuple(sorted(words))
