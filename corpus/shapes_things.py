"""Shapes of what is carried or stands in a room: bags, robot, sofa, cup, umbrella."""

import random
from collections.abc import Callable

from corpus.sketch import BLACK, GOLD, STEEL, WHITE, Sketch, oval, rounded

WOOD, COFFEE = 0xFF7A4A26, 0xFF4A2A18


def backpack(rng: random.Random) -> Sketch:
    """双肩背包: from the front with a pocket: round top, square top, or a flap."""
    sketch = Sketch()
    variant = rng.choice(("round", "square", "flap"))
    width = rng.uniform(37, 42)
    left, right = 50 - width, 50 + width
    sketch.line("M38,16 C38,0 62,0 62,16", "dark", 4.5, 0.6)
    sketch.both_sides(rounded(left - 6, 58, left + 10, 94, 6), "dark", 50.0, 0.8)
    if variant == "square":
        sketch.surface(rounded(left, 12, right, 100, 14))
    else:
        sketch.surface(f"M{left},44 C{left},20 34,10 50,10 C66,10 {right},20 {right},44 L{right},90 "
                       f"C{right},97 {right - 4},100 {right - 10},100 L{left + 10},100 "
                       f"C{left + 4},100 {left},97 {left},90 Z")
    if variant == "flap":
        sketch.surface(f"M{left - 1},42 C{left},18 34,9 50,9 C66,9 {right},18 {right + 1},42 L{right + 1},56 "
                       f"C70,66 30,66 {left - 1},56 Z")
        sketch.fill(rounded(46, 56, 54, 70, 2), "dark", 0.5)
        sketch.fill(rounded(46.5, 63, 53.5, 68, 1.5), GOLD, 0.4)
    else:
        zip_line = f"M{left + 6},46 C{left + 8},26 36,18 50,18 C64,18 {right - 8},26 {right - 6},46"
        sketch.line(zip_line, "dark", 1.8)
    sketch.surface(rounded(left + 8, 66, right - 8, 95, 7))
    sketch.line(f"M{left + 11},72 L{right - 11},72", "dark", 2.0)
    if variant != "flap":
        sketch.fill(rounded(left + 16, 70, left + 20, 79, 1.5), STEEL, 0.3)
    return sketch


def robot(rng: random.Random) -> Sketch:
    """机器人: a toy from the front; head square or round, arms down or one raised."""
    sketch = Sketch()
    round_head = rng.random() < 0.5
    raised = rng.random() < 0.5
    glow = rng.choice((0xFF38C8F0, 0xFFFFC83C, 0xFFF05048))
    sketch.line("M50,12 L50,3", STEEL, 2.4, 0.5)
    sketch.fill(oval(50, 2, 3.4, 3.4), glow, 0.5)
    for x in (36.0, 54.0):
        sketch.fill(rounded(x, 92, x + 10, 108, 3), STEEL, 0.8)
        sketch.fill(rounded(x - 3, 104, x + 13, 113, 4), "dark", 0.8)
    sketch.fill(rounded(10, 52, 22, 86, 6), STEEL, 0.8)
    sketch.fill(oval(16, 87, 7.2, 7.2), "dark", 0.8)
    if raised:
        sketch.fill(rounded(78, 28, 90, 62, 6), STEEL, 0.8)
        sketch.fill(oval(84, 27, 7.2, 7.2), "dark", 0.8)
    else:
        sketch.fill(rounded(78, 52, 90, 86, 6), STEEL, 0.8)
        sketch.fill(oval(84, 87, 7.2, 7.2), "dark", 0.8)
    sketch.fill(rounded(43, 40, 57, 52, 2), STEEL, 0.8)
    sketch.surface(rounded(20, 48, 80, 96, 11))
    corner = 17.0 if round_head else 8.0
    sketch.surface(rounded(25, 10, 75, 45, corner))
    sketch.fill(rounded(31, 17, 69, 38, 8), 0xFF23262E, 0.4)
    for x in (41.0, 59.0):
        sketch.fill(oval(x, 26, 4.4, 4.4), glow, 0.2)
    sketch.line("M44,33.5 C47,35.5 53,35.5 56,33.5", glow, 1.6)
    sketch.fill(rounded(39, 78, 61, 89, 3), WHITE, 0.5)
    for x, color in ((44.0, 0xFFE04040), (50.0, 0xFFF0C030), (56.0, 0xFF40B060)):
        sketch.fill(oval(x, 83.5, 2.0, 2.0), color, 0.0)
    return sketch


def sofa(rng: random.Random) -> Sketch:
    """沙发: two seats, three seats, or one rounded back."""
    sketch = Sketch()
    variant = rng.choice(("two", "three", "round"))
    top = rng.uniform(2, 8)
    for x in (13.0, 100.0):
        sketch.fill(f"M{x},68 L{x + 7},68 L{x + 6},79 L{x + 1},79 Z", WOOD, 0.6)
    radius = 22.0 if variant == "round" else 8.0
    if variant == "round":
        sketch.surface(rounded(8, top, 112, 60, radius))
    else:
        count = 2 if variant == "two" else 3
        step = 100 / count
        for index in range(count):
            sketch.surface(rounded(10 + index * step, top, 10 + (index + 1) * step, 56, radius))
    sketch.surface(rounded(14, 54, 106, 72, 4), 0.8)
    count = 3 if variant == "three" else 2
    step = 88 / count
    for index in range(count):
        sketch.surface(rounded(16 + index * step, 40, 16 + (index + 1) * step, 57, 5))
    sketch.surface(rounded(0, 28, 19, 73, 8))
    sketch.surface(rounded(101, 28, 120, 73, 8))
    return sketch


def cup(rng: random.Random) -> Sketch:
    """水杯: a mug with a handle, a flask with a lid, or a tumbler with a straw."""
    sketch = Sketch()
    variant = rng.choice(("mug", "flask", "tumbler"))
    if variant == "mug":
        lean = rng.uniform(0, 5)
        sketch.line("M72,26 C98,18 98,72 71,68", "dark", 8.5, 0.8)
        sketch.surface(f"M8,12 L{10 + lean},88 C{11 + lean},98 {71 - lean},98 {72 - lean},88 L74,12 Z", 1.1)
        sketch.fill(oval(41, 12, 33, 8), "light", 0.6)
        sketch.fill(oval(41, 13.5, 28, 5.6), COFFEE, 0.4)
    elif variant == "flask":
        half = rng.uniform(22, 26)
        left, right = 50 - half, 50 + half
        sketch.surface(f"M{left},34 C{left},26 {left + 5},22 {left + 9},20 L{right - 9},20 "
                       f"C{right - 5},22 {right},26 {right},34 "
                       f"L{right},106 C{right},112 {right - 5},113 50,113 "
                       f"C{left + 5},113 {left},112 {left},106 Z", 1.1)
        sketch.fill(rounded(left + 8, 1, right - 8, 17, 4), "dark", 1.0)
        sketch.fill(rounded(left + 6, 16, right - 6, 22, 2), STEEL, 0.8)
    else:
        half = rng.uniform(28, 32)
        left, right = 50 - half, 50 + half
        sketch.line(f"M{56},24 L{66},-8", 0xFFE86A6A, 4.0, 0.6)
        sketch.surface(
            f"M{left},24 L{left + 8},104 C{left + 9},110 {right - 9},110 {right - 8},104 L{right},24 Z", 1.1
        )
        sketch.fill(rounded(left - 4, 15, right + 4, 27, 5), "dark", 0.9)
    return sketch


def umbrella(rng: random.Random) -> Sketch:
    """雨伞: open, from the side; five or four panels, hooked or straight handle."""
    sketch = Sketch()
    handle = rng.choice((BLACK, WOOD))
    high = rng.uniform(4, 12)
    low = rng.uniform(52, 58)
    sketch.line(f"M60,{high + 4} L60,{high - 5}", handle, 2.6, 0.4)
    if rng.random() < 0.65:
        sketch.line(f"M60,{low - 8} L60,98 C60,108 72,108 72,98", handle, 3.6, 0.5)
    else:
        sketch.line(f"M60,{low - 8} L60,90", handle, 3.2, 0.5)
        sketch.line("M60,92 L60,104", WOOD, 7.0, 0.5)
    edges = (0.0, 30.0, 60.0, 90.0, 120.0) if rng.random() < 0.5 else (0.0, 24.0, 48.0, 72.0, 96.0, 120.0)
    scallops = ""
    for right_edge, left_edge in zip(edges[:0:-1], edges[-2::-1], strict=True):
        middle = (right_edge + left_edge) / 2
        scallops += f"Q{middle},{low - 9} {left_edge},{low} "
    sketch.surface(f"M0,{low} C4,24 32,{high} 60,{high} C88,{high} 116,24 120,{low} {scallops} Z", 1.1)
    for edge in edges[1:-1]:
        bend = 60 + (edge - 60) * 0.86
        sketch.line(f"M60,{high} C{bend},{high + 8} {edge},{low - 22} {edge},{low - 1}", 0x50000000, 1.1)
    return sketch


def handbag(rng: random.Random) -> Sketch:
    """手提包: a trapezoid with one handle, a round-bottomed tote with two, or a flap bag."""
    sketch = Sketch()
    variant = rng.choice(("frame", "tote", "flap"))
    top = rng.uniform(34, 40)
    sketch.line(f"M30,{top + 4} C30,-8 70,-8 70,{top + 4}", "dark", 4.6, 0.7)
    if variant == "tote":
        sketch.surface(f"M6,{top} L94,{top} C98,60 98,80 88,95 C76,100 24,100 12,95 C2,80 2,60 6,{top} Z")
        sketch.line(f"M30,{top + 8} C30,8 70,8 70,{top + 8}", "dark", 4.2, 0.7)
        sketch.fill(rounded(4, top - 3, 96, top + 4, 3), "dark", 0.5)
    else:
        sketch.surface(f"M10,{top} L90,{top} C92,{top} 93,{top + 1} 94,{top + 4} "
                       f"L100,92 C100,97 98,98 94,98 L6,98 "
                       f"C2,98 0,97 0,92 L6,{top + 4} C7,{top + 1} 8,{top} 10,{top} Z")
        if variant == "flap":
            low = top + 34
            sketch.surface(
                f"M9,{top - 2} L91,{top - 2} L96,{top + 22} C80,{low} 20,{low} 4,{top + 22} Z"
            )
        else:
            sketch.line(f"M6,{top + 9} L94,{top + 9}", "dark", 1.8)
    clasp = top + (29 if variant == "flap" else 9)
    sketch.fill(rounded(44, clasp - 5, 56, clasp + 5, 2.5), GOLD, 0.6)
    return sketch


THINGS: dict[str, Callable[[random.Random], Sketch]] = {
    "双肩背包": backpack, "机器人": robot, "沙发": sofa, "水杯": cup, "雨伞": umbrella, "手提包": handbag,
}
