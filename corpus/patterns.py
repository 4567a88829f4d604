"""Surface patterns and their colours.

Motifs are coarse (14 px and more at 128 px) so that a code grid of one code per 8 x 8 pixels can hold them;
lengths are given for a 128-unit frame and scale with the picture.
"""

import math
import random
from collections.abc import Callable
from typing import NamedTuple

import skia

FRAME = 128.0
Rgb = tuple[int, int, int]


class Palette(NamedTuple):
    """A product colour's tones; `plaid` is base, band and crossing, `camouflage` light, mid and dark."""

    main: Rgb
    dark: Rgb
    light: Rgb
    stripe: Rgb
    dot: Rgb
    plaid: tuple[Rgb, Rgb, Rgb]
    camouflage: tuple[Rgb, Rgb, Rgb]
    flowers: tuple[tuple[Rgb, Rgb], tuple[Rgb, Rgb]]


_WHITE: Rgb = (252, 252, 250)
_YELLOW: Rgb = (255, 214, 40)
_ORANGE: Rgb = (245, 140, 20)
_PINK: Rgb = (255, 130, 180)
_RED: Rgb = (215, 25, 45)
_SKY: Rgb = (120, 200, 250)

PALETTES: dict[str, Palette] = {
    "红色": Palette((214, 22, 34), (140, 8, 20), (240, 90, 90), _WHITE, _WHITE,
                  ((250, 208, 204), (224, 62, 66), (166, 8, 22)),
                  ((246, 128, 116), (208, 24, 36), (110, 4, 16)),
                  ((_WHITE, _ORANGE), (_YELLOW, (120, 40, 10)))),
    "蓝色": Palette((28, 88, 210), (12, 44, 128), (92, 146, 240), _WHITE, _WHITE,
                  ((208, 224, 250), (82, 132, 228), (16, 56, 170)),
                  ((126, 172, 248), (30, 88, 206), (8, 32, 104)),
                  ((_WHITE, _ORANGE), (_YELLOW, (230, 90, 20)))),
    "绿色": Palette((26, 150, 62), (10, 84, 34), (100, 200, 120), _WHITE, _WHITE,
                  ((208, 240, 212), (84, 186, 108), (12, 112, 42)),
                  ((146, 208, 110), (34, 142, 56), (10, 66, 28)),
                  ((_WHITE, _ORANGE), (_PINK, _YELLOW))),
    "黄色": Palette((252, 204, 20), (196, 142, 4), (255, 230, 110), _WHITE, _WHITE,
                  ((255, 246, 200), (254, 218, 74), (226, 162, 0)),
                  ((255, 240, 140), (250, 202, 24), (190, 132, 0)),
                  ((_WHITE, (240, 110, 20)), (_RED, _WHITE))),
    "粉色": Palette((252, 130, 182), (204, 66, 126), (255, 184, 214), _WHITE, _WHITE,
                  ((255, 234, 243), (254, 162, 202), (232, 84, 148)),
                  ((255, 206, 226), (250, 134, 184), (206, 58, 124)),
                  ((_WHITE, _ORANGE), (_YELLOW, _RED))),
    "紫色": Palette((124, 44, 186), (70, 16, 116), (174, 112, 226), _WHITE, _WHITE,
                  ((230, 212, 246), (158, 96, 214), (88, 20, 144)),
                  ((192, 140, 238), (122, 46, 184), (58, 12, 98)),
                  ((_WHITE, _ORANGE), (_YELLOW, (230, 90, 20)))),
    "黑色": Palette((30, 30, 34), (10, 10, 12), (78, 78, 84), _WHITE, _WHITE,
                  ((168, 168, 172), (66, 66, 70), (10, 10, 12)),
                  ((112, 112, 116), (36, 36, 40), (4, 4, 6)),
                  ((_WHITE, _ORANGE), (_PINK, _YELLOW))),
    "白色": Palette((250, 250, 249), (204, 206, 210), (255, 255, 255), (190, 196, 206), (70, 72, 78),
                  ((252, 252, 251), (222, 225, 230), (180, 185, 194)),
                  ((252, 252, 252), (222, 224, 228), (172, 177, 186)),
                  ((_RED, _YELLOW), (_SKY, (250, 170, 20)))),
    "灰色": Palette((134, 138, 144), (84, 88, 94), (178, 182, 188), _WHITE, _WHITE,
                  ((216, 218, 222), (152, 156, 162), (92, 96, 102)),
                  ((184, 188, 194), (128, 132, 138), (74, 78, 84)),
                  ((_WHITE, _ORANGE), (_YELLOW, (190, 60, 20)))),
    "棕色": Palette((126, 70, 28), (74, 38, 12), (176, 120, 74), _WHITE, _WHITE,
                  ((232, 208, 184), (166, 108, 64), (94, 48, 16)),
                  ((198, 150, 100), (124, 70, 30), (62, 32, 10)),
                  ((_WHITE, _ORANGE), (_SKY, _YELLOW))),
}


def argb(color: Rgb, alpha: int = 255) -> int:
    """Skia's integer colour."""
    return (alpha << 24) | (color[0] << 16) | (color[1] << 8) | color[2]


def _paint(color: Rgb, alpha: int = 255) -> skia.Paint:
    return skia.Paint(AntiAlias=True, Color=argb(color, alpha))


def _turned(canvas: skia.Canvas, rng: random.Random, angle: float) -> tuple[float, float]:
    """Rotate the canvas about the frame's middle; return a random phase in (0, 1) for both axes."""
    canvas.rotate(angle, FRAME / 2, FRAME / 2)
    return rng.random(), rng.random()


def draw_plain(canvas: skia.Canvas, palette: Palette, rng: random.Random) -> None:
    """纯色"""
    canvas.clear(argb(palette.main))


def draw_stripes(canvas: skia.Canvas, palette: Palette, rng: random.Random) -> None:
    """条纹: two colours in turn, period 14-17; mostly horizontal, sometimes vertical."""
    canvas.clear(argb(palette.main))
    period = rng.uniform(14.0, 17.0)
    phase, _ = _turned(canvas, rng, rng.choice((0.0, 0.0, 90.0)) + rng.uniform(-5.0, 5.0))
    share = rng.uniform(0.44, 0.5)
    for index in range(-3, int(FRAME / period) + 4):
        top = (index + phase) * period
        canvas.drawRect(skia.Rect(-40, top, FRAME + 40, top + share * period), _paint(palette.stripe))


def draw_plaid(canvas: skia.Canvas, palette: Palette, rng: random.Random) -> None:
    """格纹: two crossing bands on a light tint, darkest where they cross, period 20-24."""
    base, band, crossing = palette.plaid
    canvas.clear(argb(base))
    period = rng.uniform(20.0, 24.0)
    width = period * rng.uniform(0.46, 0.52)
    phase_x, phase_y = _turned(canvas, rng, rng.uniform(-5.0, 5.0))
    steps = range(-2, int(FRAME / period) + 3)
    for index in steps:
        at = (index + phase_x) * period
        canvas.drawRect(skia.Rect(at, -40, at + width, FRAME + 40), _paint(band))
    for index in steps:
        at = (index + phase_y) * period
        canvas.drawRect(skia.Rect(-40, at, FRAME + 40, at + width), _paint(band))
    for column in steps:
        for row in steps:
            x, y = (column + phase_x) * period, (row + phase_y) * period
            canvas.drawRect(skia.Rect(x, y, x + width, y + width), _paint(crossing))


def _lattice(rng: random.Random, spacing: float, jitter: float, angle: float) -> list[tuple[float, float]]:
    """Points of a triangular lattice that covers the frame, turned by `angle` degrees."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    phase_x, phase_y = rng.uniform(0, spacing), rng.uniform(0, spacing)
    count = int(FRAME / spacing) + 4
    points = []
    for row in range(-count // 2, count // 2 + 2):
        for column in range(-count // 2, count // 2 + 2):
            x = (column + 0.5 * (row % 2)) * spacing + phase_x
            y = row * spacing * 0.88 + phase_y
            points.append((
                FRAME / 2 + x * cos - y * sin + rng.uniform(-jitter, jitter),
                FRAME / 2 + x * sin + y * cos + rng.uniform(-jitter, jitter),
            ))
    return points


def _in_frame(x: float, y: float) -> bool:
    """Whether a motif centred there (no wider than 40) can touch the frame."""
    return -20.0 < x < FRAME + 20.0 and -20.0 < y < FRAME + 20.0


def draw_dots(canvas: skia.Canvas, palette: Palette, rng: random.Random) -> None:
    """波点: discs 8-10 across on a triangular lattice, spacing 15-18."""
    canvas.clear(argb(palette.main))
    spacing = rng.uniform(15.0, 18.0)
    radius = min(5.0, spacing * rng.uniform(0.27, 0.29))
    paint = _paint(palette.dot)
    for x, y in _lattice(rng, spacing, 0.0, rng.uniform(-8.0, 8.0)):
        if _in_frame(x, y):
            canvas.drawCircle(x, y, radius, paint)


def _blob(rng: random.Random, x: float, y: float, radius: float) -> skia.Path:
    """A closed smooth outline with random bulges, wider than high."""
    count = 8
    start = rng.uniform(0, 2 * math.pi)
    corners = []
    for index in range(count):
        angle = start + 2 * math.pi * index / count
        reach = radius * rng.uniform(0.62, 1.2)
        corners.append((x + 1.2 * reach * math.cos(angle), y + 0.85 * reach * math.sin(angle)))
    path = skia.Path()
    middles = [
        ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
        for a, b in zip(corners, corners[1:] + corners[:1], strict=True)
    ]
    path.moveTo(*middles[-1])
    for corner, middle in zip(corners, middles, strict=True):
        path.quadTo(*corner, *middle)
    path.close()
    return path


def draw_camouflage(canvas: skia.Canvas, palette: Palette, rng: random.Random) -> None:
    """迷彩: irregular blobs 16-30 across, light and dark on the middle tone."""
    light, mid, dark = palette.camouflage
    canvas.clear(argb(mid))
    paints = (_paint(light), _paint(dark))
    for index, (x, y) in enumerate(_lattice(rng, rng.uniform(19.0, 22.0), 2.5, rng.uniform(-15.0, 15.0))):
        blob = _blob(rng, x, y, rng.uniform(9.0, 12.5))
        if _in_frame(x, y):
            canvas.drawPath(blob, paints[index % 2])


def draw_flowers(canvas: skia.Canvas, palette: Palette, rng: random.Random) -> None:
    """碎花: flowers of five petals, 15-18 across, two kinds, centres 21-24 apart."""
    canvas.clear(argb(palette.main))
    kinds = [(_paint(petal), _paint(centre)) for petal, centre in palette.flowers]
    size = rng.uniform(1.0, 1.12)
    for index, (x, y) in enumerate(_lattice(rng, rng.uniform(21.0, 23.5), 1.0, rng.uniform(-20.0, 20.0))):
        petal, centre = kinds[index % 2]
        start = rng.uniform(0, 2 * math.pi)
        if not _in_frame(x, y):
            continue
        for number in range(5):
            angle = start + 2 * math.pi * number / 5
            reach_x, reach_y = 4.5 * size * math.cos(angle), 4.5 * size * math.sin(angle)
            canvas.drawCircle(x + reach_x, y + reach_y, 3.5 * size, petal)
        canvas.drawCircle(x, y, 3.1 * size, centre)


DRAWERS: dict[str, Callable[[skia.Canvas, Palette, random.Random], None]] = {
    "纯色": draw_plain,
    "条纹": draw_stripes,
    "格纹": draw_plaid,
    "波点": draw_dots,
    "迷彩": draw_camouflage,
    "碎花": draw_flowers,
}


def pattern_image(pattern: str, palette: Palette, rng: random.Random, size: int) -> skia.Image:
    """The pattern over the whole frame, (size, size) pixels."""
    surface = skia.Surface(size, size)
    canvas = surface.getCanvas()
    canvas.scale(size / FRAME, size / FRAME)
    DRAWERS[pattern](canvas, palette, rng)
    return surface.makeImageSnapshot()
