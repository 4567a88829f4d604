"""Draw a product: white background, soft shading, soft shadow, small variety of shape and pose.

A picture is a pure function of (attributes, seed, size). Shapes come as sketches in free units
(`corpus.shapes_worn`, `corpus.shapes_things`); here they get a pose, a place in a 128-unit frame, a
pattern and light.
"""

import random

import numpy as np
import skia

from corpus.attributes import Attributes, check_attributes
from corpus.patterns import FRAME, PALETTES, Palette, argb, pattern_image
from corpus.shapes_things import THINGS
from corpus.shapes_worn import WORN
from corpus.sketch import Part

SHAPES = {**WORN, **THINGS}
NEVER_MIRRORED = frozenset({"西服"})


def _posed(parts: list[Part], rng: random.Random, mirror: bool) -> tuple[list[Part], skia.Rect]:
    """The parts placed in the 128-unit frame, and their bounds there."""
    stretch = rng.uniform(-0.06, 0.06)
    pose = skia.Matrix().setScale((1 + stretch) * (-1 if mirror else 1), 1 - stretch)
    pose.postRotate(rng.uniform(-5.0, 5.0) * rng.random())
    bounds = skia.Rect.MakeEmpty()
    for part in parts:
        path = skia.Path()
        part.path.transform(pose, path)
        box = path.computeTightBounds()
        box.outset(part.width / 2, part.width / 2)
        bounds.join(box)
    scale = rng.uniform(0.81, 0.88) * FRAME / max(bounds.width(), bounds.height())
    pose.postScale(scale, scale)
    middle_x = FRAME / 2 + rng.uniform(-2.0, 2.0) - scale * bounds.centerX()
    middle_y = FRAME / 2 + rng.uniform(-2.5, 1.5) - scale * bounds.centerY()
    pose.postTranslate(middle_x, middle_y)
    placed = []
    for part in parts:
        path = skia.Path()
        part.path.transform(pose, path)
        placed.append(part._replace(path=path, width=part.width * scale))
    frame_bounds = skia.Rect(
        scale * bounds.left() + middle_x, scale * bounds.top() + middle_y,
        scale * bounds.right() + middle_x, scale * bounds.bottom() + middle_y,
    )
    return placed, frame_bounds


def _draw_shadow(canvas: skia.Canvas, bounds: skia.Rect, strength: float) -> None:
    """A flat ellipse that fades out, under the product's foot."""
    radius = bounds.width() * 0.46
    canvas.save()
    canvas.translate(bounds.centerX(), min(bounds.bottom() - 0.6, FRAME - 5.0))
    canvas.scale(1.0, 4.6 / radius)
    shader = skia.GradientShader.MakeRadial(
        skia.Point(0, 0), radius,
        [argb((0, 0, 0), int(110 * strength)), argb((0, 0, 0), int(60 * strength)), argb((0, 0, 0), 0)],
        [0.0, 0.55, 1.0],
    )
    canvas.drawCircle(0, 0, radius, skia.Paint(AntiAlias=True, Shader=shader))
    canvas.restore()


def _fill_color(fill: str | int, palette: Palette) -> int:
    if isinstance(fill, int):
        return fill
    return argb({"main": palette.main, "dark": palette.dark, "light": palette.light}[fill])


def _shade(canvas: skia.Canvas, path: skia.Path, strength: float, dark: bool) -> None:
    """Light from the upper left, darkness along the edge, within the path."""
    box = path.getBounds()
    canvas.save()
    canvas.clipPath(path, doAntiAlias=True)
    gleam = int((46 if dark else 62) * strength)
    light = skia.GradientShader.MakeLinear(
        [skia.Point(box.left(), box.top()), skia.Point(box.right() * 0.55 + box.left() * 0.45, box.bottom())],
        [argb((255, 255, 255), gleam), argb((255, 255, 255), 0), argb((0, 0, 0), 0),
         argb((0, 0, 0), int(58 * strength))],
        [0.0, 0.42, 0.55, 1.0],
    )
    canvas.drawRect(box, skia.Paint(Shader=light))
    for width, alpha in ((7.0, 16), (4.2, 22), (2.0, 30)):
        canvas.drawPath(path, skia.Paint(
            AntiAlias=True, Style=skia.Paint.kStroke_Style, StrokeWidth=width,
            Color=argb((0, 0, 0), int(alpha * strength)),
        ))
    canvas.restore()


def _draw_part(canvas: skia.Canvas, part: Part, surface: skia.Paint, palette: Palette) -> None:
    if part.fill == "surface":
        paint = skia.Paint(surface)
    else:
        paint = skia.Paint(AntiAlias=True, Color=_fill_color(part.fill, palette))
    if part.width:
        paint.setStyle(skia.Paint.kStroke_Style)
        paint.setStrokeWidth(part.width)
        paint.setStrokeCap(skia.Paint.kRound_Cap)
        paint.setStrokeJoin(skia.Paint.kRound_Join)
        if part.shade:
            edge = skia.Paint(paint)
            edge.setStrokeWidth(part.width + 0.9)
            edge.setColor(argb((40, 36, 40), 150))
            canvas.drawPath(part.path, edge)
        canvas.drawPath(part.path, paint)
        return
    canvas.drawPath(part.path, paint)
    if part.shade:
        _shade(canvas, part.path, part.shade, sum(palette.main) < 200)
        canvas.drawPath(part.path, skia.Paint(
            AntiAlias=True, Style=skia.Paint.kStroke_Style, StrokeWidth=0.8, Color=argb((30, 26, 30), 120),
        ))


def draw_product(attributes: Attributes, seed: int, size: int = 128) -> np.ndarray:
    """Draw one product.

    Returns uint8 RGB of shape (size, size, 3), the same for the same arguments. Raises ValueError for an
    unknown attribute or a size below 16 pixels.
    """
    attributes = Attributes(*attributes)
    check_attributes(attributes)
    if size < 16:
        raise ValueError(f"size {size} is too small; draw at 16 pixels or more")
    rng = random.Random(f"{seed}/{'/'.join(attributes)}")
    palette = PALETTES[attributes.color]
    sketch = SHAPES[attributes.category](rng)
    mirror = attributes.category not in NEVER_MIRRORED and rng.random() < 0.5
    parts, bounds = _posed(sketch.parts, rng, mirror)
    scale = size / FRAME
    pattern = pattern_image(attributes.pattern, palette, rng, size)
    shader = pattern.makeShader(
        skia.TileMode.kClamp, skia.TileMode.kClamp, skia.SamplingOptions(skia.FilterMode.kLinear),
        skia.Matrix().setScale(1 / scale, 1 / scale),
    )
    pixels = np.full((size, size, 4), 255, np.uint8)
    surface = skia.Surface(pixels, colorType=skia.kRGBA_8888_ColorType)
    canvas = surface.getCanvas()
    canvas.scale(scale, scale)
    _draw_shadow(canvas, bounds, rng.uniform(0.75, 1.0))
    paint = skia.Paint(AntiAlias=True, Shader=shader)
    for part in parts:
        _draw_part(canvas, part, paint, palette)
    return np.ascontiguousarray(pixels[:, :, :3])
