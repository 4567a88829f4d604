"""A product as a list of parts, before it has a colour or a place: what the shape functions build.

Coordinates are free units with y downwards; `corpus.products` scales the whole to the frame.
"""

from functools import lru_cache
from typing import NamedTuple

import skia

# "surface" (the pattern), "main", "dark", "light" (the product's tones), or an ARGB colour.
Fill = str | int

BLACK, WHITE, CREAM, GOLD, STEEL = 0xFF26262B, 0xFFF6F6F4, 0xFFEADCC6, 0xFFE0B040, 0xFFA9AEB6


class Part(NamedTuple):
    """A filled path (width 0) or a stroked one; `shade` scales the shading, 0 for flat."""

    path: skia.Path
    fill: Fill
    width: float
    shade: float


@lru_cache(maxsize=4096)
def _tokens(text: str) -> tuple[str | float, ...]:
    spaced = text.replace(",", " ")
    for letter in "MLCQZ":
        spaced = spaced.replace(letter, f" {letter} ")
    return tuple(token if token in "MLCQZ" else float(token) for token in spaced.split())


def outline(text: str) -> skia.Path:
    """A path from SVG path data with absolute M, L, C, Q and Z."""
    path = skia.Path()
    calls = {"M": (path.moveTo, 2), "L": (path.lineTo, 2), "Q": (path.quadTo, 4), "C": (path.cubicTo, 6)}
    tokens = _tokens(text)
    index = 0
    while index < len(tokens):
        letter = tokens[index]
        index += 1
        if letter == "Z":
            path.close()
            continue
        call, count = calls[str(letter)]
        while index < len(tokens) and not isinstance(tokens[index], str):
            call(*tokens[index : index + count])
            index += count
    return path


def rounded(left: float, top: float, right: float, bottom: float, radius: float) -> skia.Path:
    """A rectangle with round corners."""
    return skia.Path().addRoundRect(skia.Rect(left, top, right, bottom), radius, radius)


def oval(x: float, y: float, radius_x: float, radius_y: float) -> skia.Path:
    """An ellipse around (x, y)."""
    return skia.Path().addOval(skia.Rect(x - radius_x, y - radius_y, x + radius_x, y + radius_y))


def mirrored(path: skia.Path, axis_x: float) -> skia.Path:
    """The path reflected about the vertical line x = axis_x."""
    copy = skia.Path()
    path.transform(skia.Matrix().setScale(-1, 1, axis_x, 0), copy)
    return copy


class Sketch:
    """Collects parts from back to front."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    def surface(self, path: skia.Path | str, shade: float = 1.0) -> None:
        """A part that carries the product's pattern."""
        self.fill(path, "surface", shade)

    def fill(self, path: skia.Path | str, fill: Fill, shade: float = 1.0) -> None:
        """A filled part."""
        self.parts.append(Part(outline(path) if isinstance(path, str) else path, fill, 0.0, shade))

    def line(self, path: skia.Path | str, fill: Fill, width: float, shade: float = 0.0) -> None:
        """A stroked part, `width` in the sketch's own units."""
        self.parts.append(Part(outline(path) if isinstance(path, str) else path, fill, width, shade))

    def both_sides(self, path: skia.Path | str, fill: Fill, axis_x: float, shade: float = 1.0) -> None:
        """A filled part and its mirror image."""
        first = outline(path) if isinstance(path, str) else path
        self.fill(first, fill, shade)
        self.fill(mirrored(first, axis_x), fill, shade)
